"""Whole columns of Arrow's and pandas' as rows' columns: the same as value by value, and much faster."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from scaledproc.extractors.rows.scalars import LARGEST_BINARY, Taker
from scaledproc.extractors.rows.takers import to_arrow
from scaledproc.extractors.rows.values import RefusedValue, is_nan, is_within

_EXACT_IN_FLOAT = {pa.float64(): 2**53, pa.float32(): 2**24, pa.float16(): 2**11}
_WORTH = 64  # rows of a table, from which on it is looked for what is the same in all of them
_MOST_SHARED = 64  # values of a task whose columns are remembered
_LARGEST = {pa.float32(): float(np.finfo(np.float32).max), pa.float16(): float(np.finfo(np.float16).max)}


def take_table(table: pa.Table, takers: Sequence[Taker], declared: pa.Schema) -> pa.Table | None:
    """A table whose columns are in their order and of the declared types, in memory of its own.

    None where they are not, and where a value may have to be refused.
    """
    is_declared = table.schema.equals(declared)
    if (
        not (is_declared or table.schema.types == declared.types)
        or any(taker.has_rules for taker in takers)
        or _is_damaged(table)
    ):
        return None
    for column, taker in zip(table.columns, takers, strict=True):
        if (column.null_count and not taker.nullable) or _may_be_too_long(column):
            return None
    copied = _copied(table)
    return copied if is_declared else copied.cast(declared)


def take_column(column: pa.ChunkedArray | Sequence[Any], taker: Taker) -> pa.ChunkedArray:
    """A column in its declared type and in memory of its own.

    Raises
    ------
    RefusedValue
        If a value does not fit; its path begins with the row.
    """
    if not isinstance(column, pa.ChunkedArray):
        return to_arrow(taker.take_all(column), taker)
    _check_valid(column)
    if column.null_count == len(column) and taker.nullable:  # of which type nothing is, says nothing
        return pa.chunked_array([pa.nulls(len(column), taker.kind)])
    fast = None
    if not taker.has_rules and (taker.nullable or not column.null_count):
        with contextlib.suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
            fast = _cast(column, taker.kind)
    # Packed columns count as null only what is null before it is unpacked.
    if fast is None or (fast.null_count and not taker.nullable) or _may_be_too_long(fast):
        return to_arrow(taker.take_all(column), taker)
    return _copied(pa.table([fast], ["x"])).column(0)


class Shared:
    """Lets columns that have one value in all rows of a table share their memory with those of other tables.

    Such are names and numbers of what was measured, beside what was measured. Rows of a task wait until all are there,
    in tables as they came; so what is the same in each is a part of the longest such column that came before it.
    Nothing is made for that: no more is held than was given.
    """

    def __init__(self) -> None:
        self._held: dict[tuple[pa.DataType, Any], pa.Array] = {}

    def share(self, table: pa.Table) -> pa.Table:
        """The same rows; a table of few rows, and columns of other than texts and whole numbers, stay as they are."""
        if table.num_rows < _WORTH:
            return table
        columns = [self._column(column) for column in table.columns]
        return pa.Table.from_arrays(columns, schema=table.schema)

    def _column(self, column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
        kind, rows = column.type, len(column)
        is_exact = kind in (pa.string(), pa.large_string()) or pa.types.is_integer(kind)  # equal is the same bytes
        if not is_exact or column.num_chunks != 1:
            return column
        first, values = column[0], column.chunk(0)
        if not first.equals(column[rows - 1]) or not values.slice(1).equals(values.slice(0, rows - 1)):
            return column
        value = first.as_py()
        held = self._held.get((kind, value))
        if held is not None and len(held) >= rows:
            return held.slice(0, rows)
        if held is None and len(self._held) >= _MOST_SHARED:
            self._held.clear()
        self._held[kind, value] = values
        return column


def columns_of(frame: Any) -> list[pa.ChunkedArray | list[Any]]:
    """A DataFrame's columns, as Arrow's where that knows their types and else as values; missing ones are null."""
    return [_series(series) for _, series in frame.items()]


def nan_is_null(dtype: Any) -> bool:
    """Whether NaN stands for null in a DataFrame's column or a Series: in some of pandas' own types it is a number."""
    return isinstance(dtype, np.dtype) or str(dtype) in ("str", "category", "string") or str(dtype).startswith("Sparse")


def _series(series: Any) -> pa.ChunkedArray | list[Any]:
    values = series
    if isinstance(series.dtype, np.dtype):
        values = series.to_numpy()
        if values.dtype.kind not in "biufmM":  # objects are of any type, each
            return _without_nan(values.tolist())
    if getattr(series.dtype, "tz", None) is not None:
        return _zoned(series)
    try:
        made = pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, NotImplementedError):
        made = None  # sparse ones, long doubles, another order of bytes
    if made is None or isinstance(made.type, pa.BaseExtensionType):  # periods, intervals
        return _without_nan(list(values)) if nan_is_null(series.dtype) else list(values)
    return made if isinstance(made, pa.ChunkedArray) else pa.chunked_array([made])


def _zoned(series: Any) -> pa.ChunkedArray:
    """Datetimes with a time zone; pandas' own are without it for Arrow."""
    try:
        zone = pa.lib.tzinfo_to_string(series.dtype.tz)
    except ValueError:
        zone = "UTC"  # the instants are the same
    made = pa.array(series.dt.tz_convert(None).to_numpy(), from_pandas=True)
    return pa.chunked_array([made.view(pa.timestamp(made.type.unit, zone))])


def _without_nan(values: list[Any]) -> list[Any]:
    return [None if is_nan(value) else value for value in values]


def _cast(column: pa.ChunkedArray, declared: pa.DataType) -> pa.ChunkedArray | None:
    """The column in the declared type, where Arrow is known to keep or refuse all values as the takers do.

    None where that is not known. Where it raises or gives None, each value is looked at.
    """
    given, kinds = column.type, pa.types
    if given == declared:
        return column
    if kinds.is_dictionary(given):
        return _cast(column.cast(given.value_type), declared)
    if kinds.is_run_end_encoded(given):
        import pyarrow.compute as pc

        return _cast(pa.chunked_array([pc.run_end_decode(chunk) for chunk in column.chunks]), declared)
    is_checked = (
        _widens(given, declared)
        or (kinds.is_integer(given) and kinds.is_integer(declared))
        or (kinds.is_duration(given) and kinds.is_duration(declared))
        or (kinds.is_timestamp(given) and kinds.is_timestamp(declared) and (given.tz is None) == (declared.tz is None))
    )
    if kinds.is_integer(given) and declared in _EXACT_IN_FLOAT:
        is_checked = _is_between(column, _EXACT_IN_FLOAT[declared])
    elif given in (pa.float64(), pa.float32()) and kinds.is_integer(declared):
        is_checked = _is_between(column, _EXACT_IN_FLOAT[given])
    elif given in (pa.float64(), pa.float32()) and declared in _LARGEST:
        is_checked = _is_between(_finite(column), _LARGEST[declared])
    return column.cast(declared, safe=True) if is_checked else None


def _widens(given: pa.DataType, declared: pa.DataType) -> bool:
    """Whether every value of the one type is one of the other."""
    kinds = pa.types
    if given == declared or kinds.is_null(given):
        return not kinds.is_fixed_size_list(declared)
    for family in (_TEXTS, _BINARIES):
        if given in family:
            return declared in family
    if kinds.is_floating(given):
        return bool(kinds.is_floating(declared) and given.bit_width <= declared.bit_width)
    if kinds.is_integer(given) and kinds.is_integer(declared):
        is_wider = given.bit_width < declared.bit_width
        return bool(is_wider and (kinds.is_signed_integer(declared) or kinds.is_unsigned_integer(given)))
    if _is_list(given) and _is_list(declared):
        return _widens(given.value_type, declared.value_type)
    return False


_TEXTS = (pa.string(), pa.large_string(), pa.string_view())
_BINARIES = (pa.binary(), pa.large_binary(), pa.binary_view())


_VIEWS = (pa.string_view(), pa.binary_view())


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _is_between(column: pa.ChunkedArray, limit: float) -> bool:
    """Whether no number is farther from 0 than this, and none is NaN."""
    numbers = column.drop_null()
    return all(is_within(chunk.to_numpy(zero_copy_only=False), -limit, limit) for chunk in numbers.chunks)


def _copied(table: pa.Table) -> pa.Table:
    """A table in memory of its own: what an extractor built it over may change.

    Piece by piece, as what fits pieces may not fit one.
    """
    pieces = (pa.concat_batches([batch, batch.slice(0, 0)]) for batch in table.to_batches())
    return pa.Table.from_batches(pieces, table.schema)


def _finite(column: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow.compute as pc

    return pc.filter(column, pc.is_finite(column))


def _may_be_too_long(column: pa.ChunkedArray) -> bool:
    """Whether a value may be longer than what Parquet keeps: then each is looked at."""
    is_long = column.type in (*_TEXTS, *_BINARIES) and column.get_total_buffer_size() > LARGEST_BINARY
    if not is_long or column.type in _VIEWS:  # Arrow does not tell how long the values of views are
        return is_long
    import pyarrow.compute as pc

    return bool(pc.max(pc.binary_length(column)).as_py() > LARGEST_BINARY)


def _check_valid(column: pa.ChunkedArray) -> None:
    """See that the bytes are what the type says."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        row = _first(len(column), lambda start, stop: _is_damaged(column.slice(start, stop - start)))
        refused = RefusedValue(f"the Arrow table is damaged: {error}")
        refused.path = (row,)
        raise refused from None


def _is_damaged(column: pa.ChunkedArray | pa.Table) -> bool:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return True
    return False


def _first(count: int, is_bad: Callable[[int, int], bool]) -> int:
    """The first of some rows that is bad, where at least one is, by halving."""
    start, stop = 0, count
    while stop - start > 1:
        middle = (start + stop) // 2
        start, stop = (start, middle) if is_bad(start, middle) else (middle, stop)
    return start
