"""Values as extractors give them: what they hold, how large they are, how a message shows them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

_SHOWN = 60  # characters of a value in a message


class RefusedValue(Exception):  # noqa: N818 - nothing went wrong with the program
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
    if isinstance(scalar, KEPT):
        return scalar
    if isinstance(scalar, pa.ExtensionScalar):
        return scalar.as_py() if scalar.type.extension_name in ("arrow.uuid", "arrow.bool8") else bare(scalar.value)
    return scalar.as_py()


KEPT = (
    *(pa.TimestampScalar, pa.DurationScalar, pa.Time32Scalar, pa.Time64Scalar, pa.Date32Scalar, pa.Date64Scalar),
    *(pa.ListScalar, pa.StructScalar, pa.MapScalar),
)


def is_pandas(value: Any, *names: str) -> bool:
    """Whether something is of one of pandas' classes, or derived from one; does not import pandas."""
    return any(base.__name__ in names and base.__module__.partition(".")[0] == "pandas" for base in type(value).__mro__)


_FLOATS = frozenset((float, np.float16, np.float32, np.float64, np.longdouble))


def is_nan(value: Any) -> bool:
    """Whether it is NaN, Python's or NumPy's: where pandas has that among objects, it stands for null."""
    return type(value) in _FLOATS and bool(value != value)


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
        if isinstance(value, KEPT[:6]):  # farther away than Python's years
            return f"{value.value} as {value.type}"
        text = f"a {type(value).__name__} that cannot be shown ({type(error).__name__})"
    text = " ".join(text.split()) if "\n" in text else text  # of an array or a table
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


def described(value: Any) -> tuple[str, str]:
    """What a value is, and as what a column of such would be declared."""
    if isinstance(value, pa.Scalar) and not isinstance(value, (pa.ListScalar, pa.StructScalar)):
        return _DESCRIBED_ARROW.get(type(value), (f"a {value.type}", str(value.type)))
    for types, *described in _DESCRIBED:
        if isinstance(value, types):
            return described[0], described[1]
    if is_datetime(value):
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


def is_datetime(value: Any) -> bool:
    """Whether it is a date with a time, in any form."""
    return isinstance(value, (dt.datetime, np.datetime64, pa.TimestampScalar))
