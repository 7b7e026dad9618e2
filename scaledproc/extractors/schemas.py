"""Schemas as they are declared: Arrow's, or mappings of columns to types or their names."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scaledproc.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

NAMES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "string", "large_string", "binary", "date32"),
    *("time64[us]", "timestamp[s]", "timestamp[ms]", "timestamp[us]", "timestamp[ns]", "duration[us]"),
)
"""Names of types that a person is told of; pyarrow has some more for the same."""
_MEANT: Mapping[Any, str] = {
    "int": "int64",
    "integer": "int64",
    "long": "int64",
    "number": "float64",
    "real": "float64",
    "str": "string",
    "text": "string",
    "object": "string",
    "bytes": "binary",
    "boolean": "bool",
    "datetime": "timestamp[us]",
    "timestamp": "timestamp[us]",
    "date": "date32",
    "timedelta": "duration[us]",
    int: "int64",
    float: "float64",
    str: "string",
    bool: "bool",
    bytes: "binary",
    dt.datetime: "timestamp[us]",
    dt.date: "date32",
    dt.timedelta: "duration[us]",
    dt.time: "time64[us]",
}
"""What is written elsewhere for a type, and Python's own."""
_SHOWN = 80  # characters of what was written


def as_schema(schema: pa.Schema | Mapping[str, Any], what: str = "the extractor's schema") -> pa.Schema:
    """A schema as it was declared, as Arrow's.

    Parameters
    ----------
    schema
        What was declared.
    what
        What a person is told that it is.

    Raises
    ------
    UsageError
        If the schema is neither, a column's name is no text, or its type is none.
    """
    import pyarrow as pa

    if isinstance(schema, pa.Schema):
        return schema
    if not isinstance(schema, Mapping):
        raise UsageError(
            f"{what} is a {type(schema).__name__}: give a mapping of columns to types, such as "
            "{'path': 'string', 'mean': 'float64'}, or a pyarrow.Schema"
        )
    return pa.schema([_field(name, kind, what) for name, kind in schema.items()])


def _field(name: Any, kind: Any, what: str) -> pa.Field:
    import pyarrow as pa

    if not isinstance(name, str):
        raise UsageError(f"{what}: the column {_short(name)} is no text: give its name as one")
    try:
        return pa.field(name, pa.type_for_alias(kind) if isinstance(kind, str) else kind)
    except (ValueError, TypeError):
        raise UsageError(f"{what}: the column {name!r} has the type {_short(kind)}, {_remedy(kind)}") from None


def _remedy(kind: Any) -> str:
    """What to write instead of what is no type."""
    from difflib import get_close_matches

    others = f"there are: {', '.join(NAMES)}; and all types of pyarrow, such as pyarrow.list_(pyarrow.float64())"
    meant = _MEANT.get(kind.lower() if isinstance(kind, str) else kind) if kind.__hash__ else None
    if meant is None and isinstance(kind, str):
        meant = next(iter(get_close_matches(kind.lower(), NAMES, n=1)), None)
    if meant is None and (known := _of_numpy(kind)):
        meant = known
    return f"which is none: is {meant!r} meant? {others.capitalize()}" if meant else f"which is none; {others}"


def _of_numpy(kind: Any) -> str:
    """The name of a type of NumPy's; empty where it is none."""
    import numpy as np
    import pyarrow as pa

    if kind is None:  # which NumPy takes for its default
        return ""
    try:
        found = str(pa.from_numpy_dtype(np.dtype(kind)))
    except (TypeError, ValueError, pa.ArrowNotImplementedError):
        return ""
    return {"double": "float64", "float": "float32", "halffloat": "float16"}.get(found, found)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
