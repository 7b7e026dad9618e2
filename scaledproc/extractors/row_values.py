"""What one value of a row becomes in a column of each type: the one definition that all forms of rows share.

Each `Taker` takes any object and gives a value of its own, which nobody else holds and which Arrow stores as it is; or
it refuses, and says why. docs/values.md is this table for people.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
import numbers
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

LARGEST_BINARY = 2**31 - 1  # bytes; Parquet's own limit
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9, "ps": 10**12, "fs": 10**15, "as": 10**18}
_SECONDS = {"m": 60, "h": 3600, "D": 86400, "W": 604800}
_SHOWN = 60  # characters of a value in a message
_EPOCH = dt.date(1970, 1, 1).toordinal()


class Refused(Exception):  # noqa: N818 - nothing went wrong with the program
    """A value does not fit its column.

    Parameters
    ----------
    reason
        What is wrong with it, and what to do.

    Attributes
    ----------
    path
        Where in the column's value it stands, from the outermost on: places in lists, names of fields.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.path: tuple[Any, ...] = ()


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

    def __init__(self, kind: pa.DataType, *, nullable: bool = True) -> None:
        self.kind = kind
        self.nullable = nullable
        self.storage = kind
        """As what Arrow makes an array of the values."""
        self.has_rules = False
        """Whether values that are of the declared type already may have to be refused, apart from nulls."""

    def take(self, value: Any) -> Any:
        """The value as it is stored.

        Raises
        ------
        Refused
            If it does not fit.
        """
        if value is not None and type(value) not in self.exact:
            value = bare(value)
        if value is not None:
            return self._take(value)
        if self.nullable:
            return None
        raise Refused(self._no_null())

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
        except Refused as error:
            error.path = (place, *error.path)
            raise
        return taken

    def take_array(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:  # noqa: ARG002 - for those who can
        """A one-dimensional array as a whole, copied; None where its values have to be looked at one by one."""
        return None

    def _take(self, value: Any) -> Any:
        raise NotImplementedError

    def _no_null(self) -> str:
        return "it may not be null; give a value, or declare the column as nullable"

    def _wrong(self, value: Any, remedy: str = "") -> Refused:
        what, declare = _described(value)
        is_one = not isinstance(value, (list, tuple, np.ndarray, Mapping, pa.ListScalar))
        by = f" by {self.python}()" if self.python and is_one else ""
        remedy = remedy or f"convert it{by}" + (f", or declare the column as {declare}" if declare else "")
        return Refused(f"{shown(value)} is {what}, not {self.kind}; {remedy}")


class _Null(Taker):
    def _take(self, value: Any) -> Any:
        raise self._wrong(value)


class _Bool(Taker):
    plain, python, exact = bool, "bool", (bool,)

    def _take(self, value: Any) -> Any:
        if type(value) is bool:
            return value
        raise self._wrong(value)

    def take_array(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
        return array.copy() if array.dtype.kind == "b" else None


class _Integer(Taker):
    python, exact = "int", (int, float)

    def __init__(self, kind: pa.DataType, *, nullable: bool = True) -> None:
        super().__init__(kind, nullable=nullable)
        signed = pa.types.is_signed_integer(kind)
        self.low = -(2 ** (kind.bit_width - 1)) if signed else 0
        self.high = 2 ** (kind.bit_width - signed) - 1

    def take(self, value: Any) -> Any:
        return value if type(value) is int and self.low <= value <= self.high else super().take(value)

    def _take(self, value: Any) -> Any:
        if type(value) is not int:
            if isinstance(value, float):
                if not value.is_integer():
                    remedy = "give None for a missing value" if math.isnan(value) else "round it"
                    remedy += ", or declare the column as float64"
                    raise Refused(f"{shown(value)} is no whole number, as {self.kind} needs; {remedy}")
            elif isinstance(value, (bool, np.timedelta64)) or not isinstance(value, numbers.Integral):
                raise self._wrong(value)
            value = int(value)
        if self.low <= value <= self.high:
            return value
        raise Refused(
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

    def __init__(self, kind: pa.DataType, *, nullable: bool = True) -> None:
        super().__init__(kind, nullable=nullable)
        self.precision = self.digits[kind.bit_width]
        self.limit = self.too_large[kind.bit_width]

    def _take(self, value: Any) -> Any:
        if isinstance(value, (float, np.longdouble)):
            rounded = float(value)
            if self.limit <= abs(rounded) and not np.isinf(value):
                raise Refused(f"{shown(value)} is out of range for {self.kind}; {self._wider()}")
            return rounded
        if isinstance(value, (bool, np.timedelta64)) or not isinstance(value, numbers.Integral):
            raise self._wrong(value)
        number = int(value)
        if self.limit <= abs(number):
            raise Refused(f"{shown(number)} is out of range for {self.kind}; {self._wider()}")
        # Without its trailing zeros: what is left has to fit the digits of a float.
        if number and (number // (number & -number)).bit_length() > self.precision:
            remedy = "declare int64 or decimal128, or round it by float()"
            raise Refused(f"{shown(number)} is not exact as {self.kind}; {remedy}")
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
                raise self._wrong(value, "convert it by .decode(), or declare the column as binary")
            raise self._wrong(value, "give None for a missing value" if is_nan else "")
        value = str.__str__(value)  # what a subclass shows may be something else than what it holds
        if not value.isascii() or len(value) > LARGEST_BINARY:
            try:
                size = len(value.encode())
            except UnicodeEncodeError:
                raise Refused(
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
        raise self._wrong(value)


class _FixedBinary(_Binary):
    def _take(self, value: Any) -> Any:
        value = super()._take(value)
        if len(value) == self.kind.byte_width:
            return value
        raise Refused(
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
                raise self._wrong(value)
        else:
            raise self._wrong(value, "give its date" if _is_datetime(value) else "")
        if not -(2**31) <= days < 2**31:
            raise Refused(f"{shown(value)} is out of range for {self.kind}")
        return days if pa.types.is_date32(self.kind) else days * 86_400_000


class _Clocked(Taker):
    """What Arrow stores as a count of units of time."""

    def _count(self, value: Any, count: int, unit: str, step: int = 1) -> int:
        """A number of units as one of the column's own, which has to be whole."""
        if unit not in _PER_SECOND and unit not in _SECONDS:
            raise Refused(f"{shown(value)} is counted in {unit}, not in a unit of time; convert it")
        total = count * step * _SECONDS.get(unit, 1) * _PER_SECOND[self.kind.unit]
        whole, rest = divmod(total, _PER_SECOND.get(unit, 1))
        if rest:
            is_of_us = count * step * 10**6 % _PER_SECOND[unit] == 0
            finer = "us" if is_of_us and self.kind.unit != "us" else "ns"
            raise Refused(
                f"{shown(value)} is finer than {self.kind}; round it, or declare the column with the unit {finer}"
            )
        if not -(2**63) <= whole < 2**63:
            raise Refused(f"{shown(value)} is out of range for {self.kind}; declare the column with a coarser unit")
        return whole


class _Time(_Clocked):
    exact = (dt.time,)

    def _take(self, value: Any) -> Any:
        if isinstance(value, (pa.Time32Scalar, pa.Time64Scalar)):
            return self._count(value, value.value, value.type.unit)
        if not isinstance(value, dt.time):
            raise self._wrong(value)
        if value.tzinfo is not None:
            raise Refused(f"{shown(value)} has a time zone, {self.kind} has none; give .replace(tzinfo=None)")
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
        raise self._wrong(value)

    def _check_zone(self, value: Any, *, has_zone: bool) -> None:
        """One rule: no zone is ever added or dropped; from one zone to another the instant stays."""
        unit = self.kind.unit
        if has_zone and self.kind.tz is None:
            raise Refused(
                f"{shown(value)} has a time zone, {self.kind} has none; "
                f'declare pyarrow.timestamp("{unit}", "UTC"), or remove it '
                "(.replace(tzinfo=None), .dt.tz_localize(None))"
            )
        if not has_zone and self.kind.tz is not None:
            raise Refused(
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
        raise self._wrong(value)


class _Decimal(Taker):
    exact = (decimal.Decimal,)

    def _take(self, value: Any) -> Any:
        if isinstance(value, decimal.Decimal):
            sign, digits, exponent = value.as_tuple()
            if not isinstance(exponent, int):
                raise Refused(f"{shown(value)} is no number, as {self.kind} needs; give None for a missing value")
            coefficient = "".join(map(str, digits)).lstrip("0")
        elif isinstance(value, (bool, np.timedelta64)) or not isinstance(value, numbers.Integral):
            raise self._wrong(value, "convert it by decimal.Decimal(str(...)), or declare the column as float64")
        else:
            sign, exponent, number = int(value < 0), 0, abs(int(value))
            # The text of a long integer is slow, and limited.
            coefficient = str(number).lstrip("0") if number.bit_length() < 1000 else "9" * 300
        shift = exponent + self.kind.scale
        if coefficient and shift < 0:
            coefficient, rest = coefficient[:shift], coefficient[shift:]
            if rest.strip("0"):
                raise Refused(
                    f"{shown(value)} has more than {self.kind.scale} decimal places; round it by .quantize(), "
                    "or declare a larger scale"
                )
        elif coefficient and len(coefficient) + shift <= self.kind.precision:
            coefficient += "0" * shift
        elif coefficient:
            coefficient = "9" * (self.kind.precision + 1)
        if len(coefficient) > self.kind.precision:
            raise Refused(f"{shown(value)} has too many digits for {self.kind}; declare a larger precision")
        return decimal.Decimal((sign if coefficient else 0, tuple(map(int, coefficient or "0")), -self.kind.scale))


class _List(Taker):
    exact = (list, tuple)

    def __init__(self, kind: pa.DataType, *, nullable: bool = True) -> None:
        super().__init__(kind, nullable=nullable)
        field = kind.value_field
        self.item = _inner_taker(field)
        self.has_rules = self.item.has_rules or not self.item.nullable

    def _take(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return self._take_array(value)
        if isinstance(value, (list, tuple)):
            return self.item.take_all(value)
        return self._take_other(value)

    def _take_array(self, array: np.ndarray[Any, Any]) -> Any:
        if type(array) is np.ma.MaskedArray:
            return self.item.take_all(array.tolist() if array.dtype.kind not in "mM" else array)
        if type(array) not in (np.ndarray, np.memmap) or array.dtype.kind == "V":
            raise self._wrong(array, "make an array of plain numbers of it by numpy.asarray()")
        if array.ndim == 1:
            taken = self.item.take_array(array)
            if taken is not None:
                return taken
            # As NumPy's own where Python has no such type or would lose its digits.
            return self.item.take_all(array if array.dtype.kind in "mM" or array.dtype.char == "g" else array.tolist())
        return self.item.take_all(array)

    def _take_other(self, value: Any) -> Any:
        if isinstance(value, pa.MapScalar):
            raise self._wrong(value)
        if isinstance(value, (pa.ListScalar, pa.Array, pa.ChunkedArray)):
            return self.item.take_all(value.values if isinstance(value, pa.Scalar) else value)
        if is_pandas(value, "Series", "Index"):
            dtype = value.dtype
            return self._take_array(value.to_numpy()) if isinstance(dtype, np.dtype) else self.item.take_all(value)
        if hasattr(value, "__arrow_c_stream__") and not hasattr(value, "columns"):  # a polars Series
            return self.item.take_all(pa.chunked_array(value))
        if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray, memoryview)):
            return self.item.take_all(value)
        is_ordered = not isinstance(value, (set, frozenset))
        raise self._wrong(value, "make a list of it" if is_ordered else "make a list of it by sorted()")


class _FixedList(_List):
    def __init__(self, kind: pa.DataType, *, nullable: bool = True) -> None:
        super().__init__(kind, nullable=nullable)
        self.nullable = False  # Parquet files that have one can be written and not be read

    def _take(self, value: Any) -> Any:
        taken = super()._take(value)
        if len(taken) == self.kind.list_size:
            return taken
        raise Refused(f"{shown(value)} has {len(taken)} items, not {self.kind.list_size}; declare the column as a list")

    def _no_null(self) -> str:
        return f"Parquet cannot keep a null of {self.kind}; give {self.kind.list_size} nulls, or declare it as a list"


class _Struct(Taker):
    exact = (dict,)

    def __init__(self, kind: pa.DataType, *, nullable: bool = True) -> None:
        super().__init__(kind, nullable=nullable)
        self.fields = {field.name: _inner_taker(field) for field in kind}
        self.has_rules = any(taker.has_rules or not taker.nullable for taker in self.fields.values())
        self.nullable = nullable and not any(map(_holds_no_null, self.fields.values()))

    def _take(self, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise self._wrong(value)
        missing = [name for name in self.fields if name not in value]
        if missing:
            raise Refused(f"it lacks {', '.join(map(repr, missing))} (give None for a null)")
        if len(value) != len(self.fields):
            extra = [str(name) for name in value if name not in self.fields]
            raise Refused(f"it has fields that {self.kind} does not: {', '.join(extra)}; remove or declare them")
        taken = {}
        name = ""
        try:
            for name, taker in self.fields.items():
                taken[name] = taker.take(value[name])
        except Refused as error:
            error.path = (name, *error.path)
            raise
        return taken

    def _no_null(self) -> str:
        if any(map(_holds_no_null, self.fields.values())):
            return f"Parquet cannot keep a null of {self.kind}; declare its lists without a fixed size"
        return super()._no_null()


class _Map(Taker):
    exact = (dict, list)

    def __init__(self, kind: pa.DataType, *, nullable: bool = True) -> None:
        super().__init__(kind, nullable=nullable)
        self.key = _inner_taker(kind.key_field)
        self.item = _inner_taker(kind.item_field)
        self.has_rules = self.key.has_rules or self.item.has_rules or not self.item.nullable

    def _take(self, value: Any) -> Any:
        if isinstance(value, pa.MapScalar):
            value = [(pair["key"], pair["value"]) for pair in map(_fields_of, value.values)]
        elif isinstance(value, (pa.ListScalar, np.ndarray)):  # as other forms have a list of pairs, or an empty one
            value = value.as_py() if isinstance(value, pa.Scalar) else value.tolist()
        pairs = list(value.items()) if isinstance(value, Mapping) else value
        if not isinstance(pairs, (list, tuple)):
            raise self._wrong(value, "give a dict, or pairs of keys and values")
        taken = []
        for place, pair in enumerate(pairs):
            if not isinstance(pair, (list, tuple, np.ndarray)) or len(pair) != 2:
                raise self._wrong(pair, "give a dict, or pairs of keys and values")
            try:
                taken.append((self.key.take(pair[0]), self.item.take(pair[1])))
            except Refused as error:
                error.path = (pair[0] if isinstance(value, Mapping) else place, *error.path)
                raise
        return taken


class _Extension(Taker):
    """A type of Arrow's or of the user's that lies over another one: what that takes, and what belongs to it."""

    def __init__(self, kind: pa.DataType, *, nullable: bool = True) -> None:
        super().__init__(kind, nullable=nullable)
        self.inner = taker_for(kind.storage_type, nullable=nullable)
        self.nullable, self.has_rules, self.storage = self.inner.nullable, self.inner.has_rules, self.inner.storage
        self.name = kind.extension_name
        self.shape = tuple(getattr(kind, "shape", ())) if self.name == "arrow.fixed_shape_tensor" else ()

    def _take(self, value: Any) -> Any:
        if self.name == "arrow.uuid" and isinstance(value, uuid.UUID):
            return value.bytes
        if self.name == "arrow.bool8":
            if type(value) is not bool:
                raise self._wrong(value)
            return int(value)
        if len(self.shape) > 1 and self.kind.permutation in (None, list(range(len(self.shape)))):
            value = _flat(value, self.shape)
        return self.inner.take(value)

    def _no_null(self) -> str:
        return self.inner._no_null()  # noqa: SLF001 - its own kind


def taker_for(kind: pa.DataType, *, nullable: bool = True) -> Taker:
    """What takes values of a type.

    Raises
    ------
    TypeError
        If no value of the type can be stored.
    """
    if isinstance(kind, pa.BaseExtensionType):
        return _Extension(kind, nullable=nullable)
    if pa.types.is_struct(kind) and len({field.name for field in kind}) != kind.num_fields:
        raise TypeError(f"{kind} names a field twice")
    if pa.types.is_dictionary(kind):
        raise TypeError(f"declare its value type {kind.value_type} (Parquet dictionary-encodes by itself)")
    for is_kind, taker in _TAKERS:
        if is_kind(kind):
            return taker(kind, nullable=nullable)
    raise TypeError("rows cannot have values of it")


def _inner_taker(field: pa.Field) -> Taker:
    if isinstance(field.type, pa.BaseExtensionType):
        raise TypeError(f"Arrow makes no {field.type} within another type; declare {field.type.storage_type} there")
    return taker_for(field.type, nullable=field.nullable)


_TAKERS: tuple[tuple[Callable[[pa.DataType], bool], type[Taker]], ...] = (
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
    (pa.types.is_map, _Map),
    (pa.types.is_struct, _Struct),
    (pa.types.is_fixed_size_list, _FixedList),
    (lambda kind: pa.types.is_list(kind) or pa.types.is_large_list(kind), _List),
)


def to_arrow(values: Sequence[Any], taker: Taker) -> pa.ChunkedArray:
    """Values that a taker gave, as Arrow's."""
    made = pa.array(values, type=taker.storage)
    chunked = made if isinstance(made, pa.ChunkedArray) else pa.chunked_array([made])
    return chunked if taker.storage == taker.kind else chunked.cast(taker.kind)


SIZED = frozenset((str, bytes, list, dict, np.ndarray))
"""Of which types values take memory beyond their place in a row."""


def size_of(value: Any) -> int:
    """How many bytes of memory a value that a taker gave takes beyond its place in a row, about."""
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, np.ndarray):
        return value.nbytes + 100
    if isinstance(value, dict):
        return 100 + sum(map(size_of, value.values()))
    if isinstance(value, (list, tuple)):
        if value and isinstance(value[0], (int, float)):
            return 32 * len(value) + 60
        return 60 + 8 * len(value) + sum(map(size_of, value))
    return 32


def bare(value: Any) -> Any:
    """A value without what NumPy or Arrow wrap around it; None for all that stands for nothing.

    Arrow's times stay as they are, because Python's are coarser and have fewer years, and so do its nested values.
    """
    if isinstance(value, np.ndarray):
        if value.ndim:
            return value
        return None if value is np.ma.masked else bare(value[()])
    if isinstance(value, np.generic):
        if isinstance(value, (np.datetime64, np.timedelta64)):
            return None if np.isnat(value) else value
        return value if isinstance(value, (np.longdouble, np.clongdouble, np.void)) else value.item()
    if isinstance(value, pa.Scalar):
        return _bare_scalar(value)
    return None if is_pandas(value, "NAType", "NaTType") else value


def _bare_scalar(scalar: pa.Scalar) -> Any:
    if not scalar.is_valid:
        return None
    if isinstance(scalar, _KEPT):
        return scalar
    if isinstance(scalar, pa.ExtensionScalar):
        return scalar.as_py() if scalar.type.extension_name in ("arrow.uuid", "arrow.bool8") else bare(scalar.value)
    return scalar.as_py()


_KEPT = (
    *(pa.TimestampScalar, pa.DurationScalar, pa.Time32Scalar, pa.Time64Scalar, pa.Date32Scalar, pa.Date64Scalar),
    *(pa.ListScalar, pa.StructScalar, pa.MapScalar),
)


def is_pandas(value: Any, *names: str) -> bool:
    """Whether something is of one of pandas' classes, or derived from one; does not import pandas."""
    return any(base.__name__ in names and base.__module__.partition(".")[0] == "pandas" for base in type(value).__mro__)


def is_within(array: np.ndarray[Any, Any], low: float, high: float) -> bool:
    """Whether all numbers of an array are in a range, compared exactly."""
    return not array.size or (low <= array.min().item() and array.max().item() <= high)


def shown(value: Any) -> str:
    """A value for a message, whatever form it came in."""
    try:
        value = _plainly(value)
        is_time = isinstance(value, (dt.date, dt.time, dt.timedelta))
        text = str(value).replace("T", " ") if is_time or isinstance(value, np.datetime64) else repr(value)
    except Exception as error:
        if isinstance(value, _KEPT[:6]):  # farther away than Python's years
            return f"{value.value} as {value.type}"
        text = f"a {type(value).__name__} that cannot be shown ({type(error).__name__})"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _plainly(value: Any) -> Any:
    """A value as Python's own, and no more of long ones than is shown."""
    if isinstance(value, pa.Scalar):
        value = value.as_py()
    if isinstance(value, np.ndarray):
        value = value[:_SHOWN].tolist() if value.ndim else value.tolist()
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plainly, value[:_SHOWN])) if type(value) in (list, tuple) else value
    if type(value) is dict:
        return {key: _plainly(each) for key, each in list(value.items())[:_SHOWN]}
    if isinstance(value, dt.timedelta) and not getattr(value, "nanoseconds", 0):
        return dt.timedelta(value.days, value.seconds, value.microseconds)  # pandas shows its own otherwise
    return value.item() if isinstance(value, np.generic) and not isinstance(value, np.datetime64) else value


def _described(value: Any) -> tuple[str, str]:
    """What a value is, and as what a column of such would be declared."""
    if isinstance(value, pa.Scalar) and not isinstance(value, (pa.ListScalar, pa.StructScalar)):
        return _DESCRIBED_ARROW.get(type(value), (f"a {value.type}", str(value.type)))
    for types, *described in _DESCRIBED:
        if isinstance(value, types):
            return described[0], described[1]
    if _is_datetime(value):
        return "a datetime", 'pyarrow.timestamp("us")'
    if isinstance(value, dt.date):
        return "a date", "date32"
    return f"a {type(value).__name__}", ""


_DESCRIBED_ARROW = {
    pa.TimestampScalar: ("a datetime", 'pyarrow.timestamp("us")'),
    pa.DurationScalar: ("a timedelta", 'pyarrow.duration("us")'),
    **dict.fromkeys((pa.Time32Scalar, pa.Time64Scalar), ("a time", 'pyarrow.time64("us")')),
    **dict.fromkeys((pa.Date32Scalar, pa.Date64Scalar), ("a date", "date32")),
}
_DESCRIBED: tuple[tuple[Any, str, str], ...] = (
    (bool, "a bool", "bool"),
    ((np.timedelta64, dt.timedelta), "a timedelta", 'pyarrow.duration("us")'),
    (int, "a whole number", "int64"),
    ((float, np.longdouble), "a float", "float64"),
    (str, "a text", "string"),
    ((bytes, bytearray, memoryview), "bytes", "binary"),
    (dt.time, "a time", 'pyarrow.time64("us")'),
    ((list, tuple, np.ndarray, pa.ListScalar), "a list", "pyarrow.list_(...)"),
    (Mapping, "a mapping", "pyarrow.struct(...)"),
)


def _is_datetime(value: Any) -> bool:
    return isinstance(value, (dt.datetime, np.datetime64, pa.TimestampScalar))


def _check_length(size: int) -> None:
    if size > LARGEST_BINARY:
        raise Refused(f"it has {size:,} bytes, and Parquet keeps at most {LARGEST_BINARY:,}; cut it in pieces")


def _holds_no_null(taker: Taker) -> bool:
    """Whether a null struct around it could not be read from Parquet again."""
    if isinstance(taker, _Extension):
        return _holds_no_null(taker.inner)
    if isinstance(taker, _Struct):
        return any(map(_holds_no_null, taker.fields.values()))
    return isinstance(taker, _FixedList)


def _fields_of(scalar: pa.StructScalar) -> Mapping[str, Any]:
    return {name: scalar[place] for place, name in enumerate(("key", "value"))}


def _flat(value: Any, shape: tuple[int, ...]) -> Any:
    """A tensor's numbers in their order, where it has the shape; as it is where it is flat already."""
    if isinstance(value, np.ndarray) and value.ndim > 1:
        if value.shape != shape:
            raise Refused(f"an array of the shape {value.shape} is no tensor of the shape {shape}; reshape it")
        return value.reshape(-1)
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], (list, tuple, np.ndarray)):
        return _flat_list(value, shape)
    return value


def _flat_list(value: Any, shape: tuple[int, ...]) -> list[Any]:
    if not isinstance(value, (list, tuple, np.ndarray)) or len(value) != shape[0]:
        raise Refused(f"{shown(value)} does not fit the shape {shape} of its tensor; reshape it")
    if len(shape) == 1:
        return list(value)
    return [number for part in value for number in _flat_list(part, shape[1:])]
