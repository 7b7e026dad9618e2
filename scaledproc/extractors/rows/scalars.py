"""What one value of a row becomes in a column of each type: the one definition that all forms of rows share.

Each `Taker` takes any object and gives a value of its own, which nobody else holds and which Arrow stores as it is; or
it refuses, and says why. docs/values.md is this table for people. Here are the types that hold one value; `takers` has
those that hold several.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
import numbers
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from scaledproc.extractors.rows.values import RefusedValue, bare, described, is_datetime, is_within, shown

LARGEST_BINARY = 2**31 - 1  # bytes; Parquet's own limit
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9, "ps": 10**12, "fs": 10**15, "as": 10**18}
_SECONDS = {"m": 60, "h": 3600, "D": 86400, "W": 604800}
_EPOCH = dt.date(1970, 1, 1).toordinal()
_NUMBERS = ("int", "float", "decimal.Decimal")


class Taker:
    """Takes values for a column, or for what a nested one holds.

    Parameters
    ----------
    kind
        The declared type.
    nullable
        Whether it may be null.
    """

    plain: ClassVar[type | None] = None
    """Values of exactly this type are stored as they are; text in ASCII only."""
    python: ClassVar[str] = ""
    """The function that makes what it takes of other values."""
    exact: ClassVar[tuple[type, ...]] = ()
    """Types that `_take` knows, so that nothing has to be unwrapped first."""

    def __init__(self, kind: pa.DataType, *, nullable: bool) -> None:
        self.kind = kind
        self.nullable = nullable
        self.storage = kind
        """As what Arrow makes an array of the values."""
        self.bounds: tuple[int, int] | None = None
        """Where Python's whole numbers from the one to the other are stored as they are."""
        self.has_rules = False
        """Whether values that are of the declared type already may have to be refused, apart from nulls."""

    def take(self, value: Any) -> Any:
        """The value as it is stored.

        Raises
        ------
        RefusedValue
            If the value does not fit the column's type, or is missing where the column takes no null.
        """
        if value is not None and type(value) not in self.exact:
            value = bare(value)
        if value is not None:
            return self._take(value)
        if self.nullable:
            return None
        raise RefusedValue(self.no_null())

    def take_all(self, values: Iterable[Any]) -> list[Any]:
        """Each of the values, in a list of its own; raises what `take` does, with the place of the value."""
        values = list(values)
        kinds = set(map(type, values))
        if kinds <= {self.plain} and (self.plain is not str or all(map(str.isascii, values))):
            return values
        taken = []
        place = 0
        try:
            for place, value in enumerate(values):  # noqa: B007 - for the error
                taken.append(self.take(value))
        except RefusedValue as error:
            error.path = (place, *error.path)
            raise
        return taken

    def take_array(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:  # noqa: ARG002 - for those who can
        """A one-dimensional array as a whole, copied; None where its values have to be looked at one by one."""
        return None

    def _take(self, value: Any) -> Any:
        raise NotImplementedError

    def no_null(self) -> str:
        """Why null is refused, and what to do."""
        return "it may not be null; give a value, or declare the column as nullable"

    def wrong(self, value: Any, remedy: str = "") -> RefusedValue:
        """That a value is of another sort, and what to do."""
        what, declare = described(value)
        remedy = remedy or self._conversion(value) + (f", or declare the column as {declare}" if declare else "")
        return RefusedValue(f"{shown(value)} is {what}, not {self.kind}; {remedy}")

    def _conversion(self, value: Any) -> str:
        if not self.python or isinstance(value, (list, tuple, np.ndarray, Mapping, pa.ListScalar)):
            return "convert it"
        if self.python in _NUMBERS and isinstance(value, (dt.timedelta, np.timedelta64, pa.DurationScalar)):
            return "divide it by a unit, as datetime.timedelta(seconds=1) is"  # Python makes no number of one
        if self.python in _NUMBERS and isinstance(value, (complex, np.clongdouble)):
            return "give its .real and .imag, in a column each"
        return f"convert it by {self.python}()"


class _Null(Taker):
    def _take(self, value: Any) -> Any:
        raise self.wrong(value)


class _Bool(Taker):
    plain, python, exact = bool, "bool", (bool,)

    def _take(self, value: Any) -> Any:
        if type(value) is bool:
            return value
        raise self.wrong(value)

    def take_array(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
        return array.copy() if array.dtype.kind == "b" else None


class _Integer(Taker):
    python, exact = "int", (int, float)

    def __init__(self, kind: pa.DataType, *, nullable: bool) -> None:
        super().__init__(kind, nullable=nullable)
        signed = pa.types.is_signed_integer(kind)
        self.low = -(2 ** (kind.bit_width - 1)) if signed else 0
        self.high = 2 ** (kind.bit_width - signed) - 1
        self.bounds = (self.low, self.high)

    def take(self, value: Any) -> Any:
        return value if type(value) is int and self.low <= value <= self.high else super().take(value)

    def _take(self, value: Any) -> Any:
        if type(value) is not int:
            if isinstance(value, float):
                if not value.is_integer():
                    remedy = "give None for a missing value" if math.isnan(value) else "round it"
                    remedy += ", or declare the column as float64"
                    raise RefusedValue(f"{shown(value)} is no whole number, as {self.kind} needs; {remedy}")
            elif isinstance(value, (bool, np.timedelta64)) or not isinstance(value, numbers.Integral):
                raise self.wrong(value)
            value = int(value)
        if self.low <= value <= self.high:
            return value
        raise RefusedValue(
            f"{shown(value)} is out of range for {self.kind}; declare the column as a wider type, or as float64"
        )

    def take_all(self, values: Iterable[Any]) -> list[Any]:
        values = list(values)
        if set(map(type, values)) == {int} and self.low <= min(values) and max(values) <= self.high:
            return values
        return super().take_all(values)

    def take_array(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
        target = np.dtype(self.kind.to_pandas_dtype())
        if array.dtype.kind == "f" and not (np.isfinite(array).all() and (array == np.trunc(array)).all()):
            return None
        if array.dtype.kind not in "iuf" or array.dtype.char == "g" or not is_within(array, self.low, self.high):
            return None
        return array.astype(target)


class _Float(Taker):
    python, exact = "float", (float, int)
    digits: ClassVar[Mapping[int, int]] = {16: 11, 32: 24, 64: 53}
    too_large: ClassVar[Mapping[int, int]] = {16: 65520, 32: 2**128 - 2**103, 64: 2**1024 - 2**970}
    """From where on rounding gives infinity."""

    def __init__(self, kind: pa.DataType, *, nullable: bool) -> None:
        super().__init__(kind, nullable=nullable)
        self.precision = self.digits[kind.bit_width]
        self.limit = self.too_large[kind.bit_width]

    def _take(self, value: Any) -> Any:
        if isinstance(value, (float, np.longdouble)):
            rounded = float(value)
            if self.limit <= abs(rounded) and not np.isinf(value):
                raise RefusedValue(f"{shown(value)} is out of range for {self.kind}; {self._wider()}")
            return rounded
        if isinstance(value, (bool, np.timedelta64)) or not isinstance(value, numbers.Integral):
            raise self.wrong(value)
        number = int(value)
        if self.limit <= abs(number):
            raise RefusedValue(f"{shown(number)} is out of range for {self.kind}; {self._wider()}")
        # Without its trailing zeros: what is left has to fit the digits of a float.
        if number and (number // (number & -number)).bit_length() > self.precision:
            remedy = "declare int64 or decimal128, or round it by float()"
            raise RefusedValue(f"{shown(number)} is not exact as {self.kind}; {remedy}")
        return float(number)

    def _wider(self) -> str:
        return "declare the column as float64" if self.precision < 53 else "declare the column as decimal256 or string"

    def take_array(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
        target = np.dtype(self.kind.to_pandas_dtype())
        if array.dtype.char == "g":  # a long double
            return None
        if array.dtype.kind == "f":
            finite = array[np.isfinite(array)] if array.dtype.itemsize > target.itemsize else array[:0]
            if finite.size and not np.abs(finite).max() < self.limit:
                return None
        elif array.dtype.kind not in "iu" or not is_within(array, -(2**self.precision), 2**self.precision):
            return None
        return array.astype(target)


class _Double(_Float):
    plain = float


class _Half(_Float):
    def _take(self, value: Any) -> Any:
        return np.float16(super()._take(value))  # older versions of Arrow take nothing else


class _Text(Taker):
    plain, python, exact = str, "str", (str,)

    def _take(self, value: Any) -> Any:
        if not isinstance(value, str):
            is_nan = isinstance(value, float) and math.isnan(value)
            if isinstance(value, (bytes, bytearray, memoryview)):
                raise self.wrong(value, "convert it by .decode(), or declare the column as binary")
            raise self.wrong(value, "give None for a missing value" if is_nan else "")
        value = str.__str__(value)  # what a subclass shows may be something else than what it holds
        if not value.isascii() or len(value) > LARGEST_BINARY:
            try:
                size = len(value.encode())
            except UnicodeEncodeError:
                raise RefusedValue(
                    f"{shown(value)} is not valid Unicode text; replace what cannot be encoded, or declare binary"
                ) from None
            _check_length(size)
        return value


class _Binary(Taker):
    exact = (bytes, bytearray)

    def _take(self, value: Any) -> Any:
        if isinstance(value, (bytes, bytearray, memoryview)):
            value = value.tobytes() if isinstance(value, memoryview) else bytes(value)
            _check_length(len(value))
            return value
        raise self.wrong(value)


class _FixedBinary(_Binary):
    def _take(self, value: Any) -> Any:
        value = super()._take(value)
        if len(value) == self.kind.byte_width:
            return value
        raise RefusedValue(
            f"{shown(value)} has {len(value)} bytes, not {self.kind.byte_width}; declare the column as binary"
        )


class _Date(Taker):
    plain, exact = dt.date, (dt.date,)

    def _take(self, value: Any) -> Any:
        if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
            return dt.date(value.year, value.month, value.day)
        if isinstance(value, np.datetime64) and np.datetime_data(value.dtype)[0] == "D":
            days = int(value.astype(np.int64)) * np.datetime_data(value.dtype)[1]
        elif isinstance(value, (pa.Date32Scalar, pa.Date64Scalar)):
            days, rest = divmod(value.value, 1 if isinstance(value, pa.Date32Scalar) else 86_400_000)
            if rest:
                raise self.wrong(value)
        else:
            raise self.wrong(value, "give its date" if is_datetime(value) else "")
        if not -(2**31) <= days < 2**31:
            raise RefusedValue(f"{shown(value)} is out of range for {self.kind}")
        return days if pa.types.is_date32(self.kind) else days * 86_400_000


class _Clocked(Taker):
    """What Arrow stores as a count of units of time."""

    def __init__(self, kind: pa.DataType, *, nullable: bool) -> None:
        super().__init__(kind, nullable=nullable)
        self.unit: str = kind.unit
        self.zone: str | None = getattr(kind, "tz", None)

    def _count(self, value: Any, count: int, unit: str, step: int = 1) -> int:
        """A number of units as one of the column's own, which has to be whole."""
        if unit == self.unit and step == 1 and -(2**63) <= count < 2**63:  # nearly always
            return count
        if unit not in _PER_SECOND and unit not in _SECONDS:
            raise RefusedValue(f"{shown(value)} is counted in {unit}, not in a unit of time; convert it")
        total = count * step * _SECONDS.get(unit, 1) * _PER_SECOND[self.kind.unit]
        whole, rest = divmod(total, _PER_SECOND.get(unit, 1))
        if rest:
            is_of_us = count * step * 10**6 % _PER_SECOND[unit] == 0
            finer = "us" if is_of_us and self.kind.unit != "us" else "ns"
            raise RefusedValue(
                f"{shown(value)} is finer than {self.kind}; round it, or declare the column with the unit {finer}"
            )
        if not -(2**63) <= whole < 2**63:
            raise RefusedValue(
                f"{shown(value)} is out of range for {self.kind}; declare the column with a coarser unit"
            )
        return whole


class _Time(_Clocked):
    exact = (dt.time,)

    def _take(self, value: Any) -> Any:
        if isinstance(value, (pa.Time32Scalar, pa.Time64Scalar)):
            return self._count(value, value.value, value.type.unit)
        if not isinstance(value, dt.time):
            raise self.wrong(value)
        if value.tzinfo is not None:
            raise RefusedValue(f"{shown(value)} has a time zone, {self.kind} has none; give .replace(tzinfo=None)")
        seconds = value.hour * 3600 + value.minute * 60 + value.second
        return self._count(value, seconds * 10**6 + value.microsecond, "us")


class _Timestamp(_Clocked):
    exact = (dt.datetime,)

    def _take(self, value: Any) -> Any:
        if isinstance(value, dt.datetime):
            offset = value.utcoffset()
            self._check_zone(value, has_zone=offset is not None)
            seconds = (value.toordinal() - _EPOCH) * 86400 + value.hour * 3600 + value.minute * 60 + value.second
            count = seconds * 10**6 + value.microsecond
            if offset is not None:
                count -= offset // dt.timedelta(microseconds=1)
            nanosecond = getattr(value, "nanosecond", 0)  # pandas'
            return (
                self._count(value, count * 1000 + nanosecond, "ns") if nanosecond else self._count(value, count, "us")
            )
        if isinstance(value, np.datetime64):
            self._check_zone(value, has_zone=False)
            unit, step = np.datetime_data(value.dtype)
            if unit in ("Y", "M") and abs(int(value.astype(np.int64))) < 10**6:  # farther than any column goes
                value, unit, step = value.astype("M8[D]"), "D", 1
            return self._count(value, int(value.astype(np.int64)), unit, step)
        if isinstance(value, pa.TimestampScalar):
            self._check_zone(value, has_zone=value.type.tz is not None)
            return self._count(value, value.value, value.type.unit)
        raise self.wrong(value)

    def _check_zone(self, value: Any, *, has_zone: bool) -> None:
        """One rule: no zone is ever added or dropped; from one zone to another the instant stays."""
        if has_zone == (self.zone is not None):
            return
        unit = self.unit
        if has_zone:
            raise RefusedValue(
                f"{shown(value)} has a time zone, {self.kind} has none; "
                f'declare pyarrow.timestamp("{unit}", "UTC"), or remove it '
                "(.replace(tzinfo=None), .dt.tz_localize(None))"
            )
        raise RefusedValue(
            f"{shown(value)} has no time zone, {self.kind} has one; "
            f'declare pyarrow.timestamp("{unit}"), or give it the zone that is meant '
            "(.replace(tzinfo=...), .dt.tz_localize(...))"
        )


class _Duration(_Clocked):
    exact = (dt.timedelta,)

    def _take(self, value: Any) -> Any:
        if isinstance(value, dt.timedelta):
            count = (value.days * 86400 + value.seconds) * 10**6 + value.microseconds
            nanoseconds = getattr(value, "nanoseconds", 0)  # pandas'
            return (
                self._count(value, count * 1000 + nanoseconds, "ns") if nanoseconds else self._count(value, count, "us")
            )
        if isinstance(value, np.timedelta64):
            unit, step = np.datetime_data(value.dtype)
            return self._count(value, int(value.astype(np.int64)), unit, step)
        if isinstance(value, pa.DurationScalar):
            return self._count(value, value.value, value.type.unit)
        raise self.wrong(value)


class _Decimal(Taker):
    python, exact = "decimal.Decimal", (decimal.Decimal,)

    def _take(self, value: Any) -> Any:
        if isinstance(value, decimal.Decimal):
            sign, digits, exponent = value.as_tuple()
            if not isinstance(exponent, int):
                raise RefusedValue(f"{shown(value)} is no number, as {self.kind} needs; give None for a missing value")
            coefficient = "".join(map(str, digits)).lstrip("0")
        elif isinstance(value, (bool, np.timedelta64)) or not isinstance(value, numbers.Integral):
            is_float = isinstance(value, (float, np.longdouble))
            by_text = "convert it by decimal.Decimal(str(...)), or declare the column as float64"
            raise self.wrong(value, by_text if is_float else "")
        else:
            sign, exponent, number = int(value < 0), 0, abs(int(value))
            # The text of a long integer is slow, and limited.
            coefficient = str(number).lstrip("0") if number.bit_length() < 1000 else "9" * 300
        shift = exponent + self.kind.scale
        if coefficient and shift < 0:
            coefficient, rest = coefficient[:shift], coefficient[shift:]
            if rest.strip("0"):
                raise RefusedValue(
                    f"{shown(value)} has more than {self.kind.scale} decimal places; round it by .quantize(), "
                    "or declare a larger scale"
                )
        elif coefficient and len(coefficient) + shift <= self.kind.precision:
            coefficient += "0" * shift
        elif coefficient:
            coefficient = "9" * (self.kind.precision + 1)
        if len(coefficient) > self.kind.precision:
            raise RefusedValue(f"{shown(value)} has too many digits for {self.kind}; declare a larger precision")
        return decimal.Decimal((sign if coefficient else 0, tuple(map(int, coefficient or "0")), -self.kind.scale))


def _check_length(size: int) -> None:
    if size > LARGEST_BINARY:
        raise RefusedValue(f"it has {size:,} bytes, and Parquet keeps at most {LARGEST_BINARY:,}; cut it in pieces")


SCALAR_TAKERS: tuple[tuple[Callable[[pa.DataType], bool], type[Taker]], ...] = (
    (pa.types.is_null, _Null),
    (pa.types.is_boolean, _Bool),
    (pa.types.is_integer, _Integer),
    (pa.types.is_float64, _Double),
    (pa.types.is_float16, _Half),
    (pa.types.is_floating, _Float),
    (lambda kind: kind in (pa.string(), pa.large_string(), pa.string_view()), _Text),
    (lambda kind: kind in (pa.binary(), pa.large_binary(), pa.binary_view()), _Binary),
    (pa.types.is_fixed_size_binary, _FixedBinary),
    (pa.types.is_date, _Date),
    (pa.types.is_time, _Time),
    (pa.types.is_timestamp, _Timestamp),
    (pa.types.is_duration, _Duration),
    (pa.types.is_decimal, _Decimal),
)
"""What takes values of which types."""
