"""Where rows are cut into row groups: by their number and by their bytes, from the rows alone, however they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROW_GROUP = 65_536
"""Most rows of a row group; fixed, so that the bytes do not depend on how the rows were cut before."""
GROUP_BYTES = 32 * 2**20
"""Most bytes of a row group as Arrow has it, unless one row has more: a few copies of it are all that is in memory."""
_COLUMN_BYTES = 16 * 2**10  # of each column, at least, where there are thousands: each takes room in the file's footer


class RowGroups:
    """Takes tables of any size, and gives the same rows in contiguous tables that are row groups.

    A row group is full when it has so many rows, or when its next row would be more bytes than it may have.

    Parameters
    ----------
    schema
        Of the rows.
    rows, size
        Most rows and bytes of a row group.
    """

    def __init__(self, schema: pa.Schema, rows: int = ROW_GROUP, size: int = GROUP_BYTES) -> None:
        self._most_rows = rows
        self._most_bits = 8 * max(size, _COLUMN_BYTES * len(schema))
        self._knows_bound = not any(_has_views(field.type) for field in schema)
        self._held: list[pa.Table] = []
        self._rows = self._bits = 0
        self._bounded = 0  # the last ones of the held tables, whose bits were not counted: there are no more than those

    def add(self, table: pa.Table) -> Iterator[pa.Table]:
        """Take rows; the row groups that are full with them."""
        # To count each row's bytes takes a while, and what a table takes in memory is no less.
        bound = 8 * table.nbytes
        sums = None
        if not self._knows_bound or self._bits + bound > self._most_bits:
            self._count()
            if not self._knows_bound or self._bits + bound > self._most_bits:
                sums = np.concatenate([[0], np.cumsum(row_bits(table))])
        start = 0
        while start < table.num_rows:
            stop = min(start + self._most_rows - self._rows, table.num_rows)
            if sums is not None:
                fits = int(np.searchsorted(sums, sums[start] + self._most_bits - self._bits, "right")) - 1
                stop = min(stop, max(fits, start if self._rows else start + 1))
            if start < stop:
                piece = table.slice(start, stop - start)
                self._held.append(piece)
                self._rows += piece.num_rows
                self._bits += 8 * piece.nbytes if sums is None else int(sums[stop] - sums[start])
                self._bounded = self._bounded + 1 if sums is None else 0
            if self._rows == self._most_rows or stop < table.num_rows:
                yield self._taken()
            start = stop

    def rest(self) -> Iterator[pa.Table]:
        """The last row group, if there are rows left."""
        if self._rows:
            yield self._taken()

    def _taken(self) -> pa.Table:
        held, self._held = self._held, []
        self._rows = self._bits = self._bounded = 0
        return pa.concat_tables(held).combine_chunks()

    def _count(self) -> None:
        """Count the bits of the held tables of which only a bound is known."""
        for table in self._held[len(self._held) - self._bounded :]:
            self._bits += int(row_bits(table).sum()) - 8 * table.nbytes
        self._bounded = 0


def rebatch(tables: Iterable[pa.Table], rows: int = ROW_GROUP, size: int = GROUP_BYTES) -> Iterator[pa.Table]:
    """The same rows in the same order, in contiguous tables that are row groups."""
    groups = None
    for table in tables:
        groups = groups or RowGroups(table.schema, rows, size)
        yield from groups.add(table)
        del table  # while the next one is made
    if groups is not None:
        yield from groups.rest()


def ahead(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The tables as they are given; the next one is made by another thread while who takes them is at work on one."""
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as reader:
        coming = reader.submit(next, tables, None)
        while (table := coming.result()) is not None:
            coming = reader.submit(next, tables, None)
            yield table
            del table  # while the next one is waited for


class Rows:
    """Rows that are taken from a stream of tables, so many at a time."""

    def __init__(self, tables: Iterator[pa.Table]) -> None:
        self._tables = tables
        self._table: pa.Table | None = None
        self._at = 0

    def take(self, count: int) -> Iterator[pa.Table]:
        """The next ones; fewer where there are no more."""
        while count:
            if self._table is None or self._at == self._table.num_rows:
                table = next(self._tables, None)
                if table is None:
                    return
                self._table, self._at = table, 0
            piece = self._table.slice(self._at, count)
            self._at += piece.num_rows
            count -= piece.num_rows
            yield piece


def row_bits(table: pa.Table) -> NDArray[np.int64]:
    """How many bits each row takes as Arrow has it, shape (rows,): the same however the table lies in memory.

    Whether a value is null is not counted, nor what lies hidden behind one that is.
    """
    total = np.zeros(table.num_rows, np.int64)
    for column in table.columns:
        start = 0
        for chunk in column.chunks:
            total[start : start + len(chunk)] += _bits(chunk)
            start += len(chunk)
    return total


def _bits(array: Any) -> NDArray[np.int64] | int:
    """Bits of each value, shape (values,); one number where all take the same."""
    import pyarrow.compute as pc

    kind, types = array.type, pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _bits(array.storage)
    if types.is_null(kind):
        return 0
    if types.is_dictionary(kind):
        return int(kind.index_type.bit_width)
    if types.is_string_view(kind) or types.is_binary_view(kind):
        array = array.cast(pa.large_binary())
    elif types.is_struct(kind):
        return sum((_bits(child) for child in array.flatten()), start=np.zeros(len(array), np.int64))
    elif types.is_map(kind):
        array = array.cast(pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)])))
    elif not (types.is_nested(kind) or _is_text(kind)):
        return int(kind.bit_width)
    if not types.is_nested(array.type):
        return 32 + 8 * _filled(pc.binary_length(array))
    lengths, inner = _filled(pc.list_value_length(array)), _bits(array.flatten())
    own = 0 if types.is_fixed_size_list(kind) else 32
    if isinstance(inner, int):
        return own + lengths * inner
    sums, ends = np.concatenate([[0], np.cumsum(inner)]), np.cumsum(lengths)
    bits: NDArray[np.int64] = own + sums[ends] - sums[ends - lengths]
    return bits


def _filled(lengths: pa.Array) -> NDArray[np.int64]:
    """Lengths; 0 for null."""
    filled: NDArray[np.int64] = lengths.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return filled


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_string(kind) or types.is_binary(kind) or types.is_large_string(kind) or types.is_large_binary(kind)
    )


def _has_views(kind: pa.DataType) -> bool:
    """Whether values may share memory, so that they are more than what they take."""
    if isinstance(kind, pa.BaseExtensionType):
        return _has_views(kind.storage_type)
    types = pa.types
    shares = (types.is_string_view, types.is_binary_view, types.is_list_view, types.is_large_list_view)
    return any(test(kind) for test in shares) or any(
        _has_views(kind.field(at).type) for at in range(kind.num_fields if types.is_nested(kind) else 0)
    )
