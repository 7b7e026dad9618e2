"""What a Parquet table has, column by column: from its footers, and from as many of its rows as are read in seconds."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scaledproc.extractors.account import Histogram, ReadPart, edges_between
from scaledproc.reporting.report.findings import Column, Table
from scaledproc.storage.parquet import damage_told, open_reader

if TYPE_CHECKING:
    from scaledproc.extractors.account import Reading
    from scaledproc.storage.store import Store

VALUES = 12_000_000
"""Values of a table that are read for histograms and distinct values: about two seconds of one core."""
ROWS = 2_000_000
"""Rows of a table that an extractor is given at most for its account."""
FIRST_ROWS = 8
PIECE = 65_536
"""Rows that are looked at at once."""
READERS = 16
DISTINCT = 20_000
"""Different values of a column that are counted; of more it is only said that there are more."""
DISTINCT_BYTES = 4 * 2**20
"""Bytes that these have together at most, about."""
LARGE = 256 * 2**20
"""Bytes of a column's texts in the rows that would be read, from which on they are not: it takes too long."""
MOST = 5
SHOWN = 80
"""Characters of a value."""
PILOT = 3
"""Row groups that tell where a histogram begins and ends."""
_REACH = 1.0
"""A histogram reaches to the smallest value where that lies within so many times its width beyond the quantile."""


@dataclass
class _Seen:
    """A column as far as it is read."""

    values: dict[Any, int] | None = field(default_factory=dict)
    first: Any = None
    """What the first piece has of `values`, as Arrow counted it: of most tables that is all, and a count suffices."""
    size: int = 0
    """Bytes of `values`, about."""
    edges: Any = None
    counts: Any = None
    below: int = 0
    above: int = 0
    rows: int = 0
    """Rows that were read, and how many of them are null, NaN, infinite."""
    nulls: int = 0
    nans: int = 0
    infinite: int = 0

    def merge(self, found: pa.StructArray) -> None:
        """Take how often each value is there."""
        assert self.values is not None
        for value, count in zip(found.field(0).to_pylist(), found.field(1).to_pylist(), strict=True):
            if value not in self.values:
                self.size += sys.getsizeof(value)
            self.values[value] = self.values.get(value, 0) + count

    @property
    def distinct(self) -> int | None:
        """How many different values there are; None where there are more than were counted."""
        if self.values is None:
            return None
        return len(self.values) or (0 if self.first is None else len(self.first))

    def most(self) -> list[tuple[Any, int]]:
        """The most frequent values, with how often each was read."""
        if self.values == {} and self.first is not None:
            order = np.argsort(-self.first.field(1).to_numpy(), kind="stable")[:MOST]
            found = self.first.take(pa.array(order))
            return list(zip(found.field(0).to_pylist(), found.field(1).to_pylist(), strict=True))
        return sorted((self.values or {}).items(), key=lambda item: -item[1])[:MOST]


@dataclass(frozen=True)
class _Group:
    """A row group of one of a table's files."""

    file: str
    number: int
    rows: int


@dataclass(frozen=True)
class _Files:
    """The footers of a table's files."""

    store: Store
    names: tuple[str, ...]
    footers: tuple[pq.FileMetaData, ...]
    schema: pa.Schema

    @classmethod
    def open(cls, store: Store, names: Sequence[str]) -> _Files:
        if len(names) == 1:
            footers: tuple[pq.FileMetaData, ...] = (_footer(store, names[0]),)
        else:
            with ThreadPoolExecutor(READERS, thread_name_prefix="footers") as pool:
                footers = tuple(pool.map(lambda name: _footer(store, name), names))
        return cls(store, tuple(names), footers, footers[0].schema.to_arrow_schema())

    @property
    def rows(self) -> int:
        return sum(footer.num_rows for footer in self.footers)

    def groups(self, most: int) -> list[_Group]:
        """All row groups, or some at equal distances, the first one among them, with about so many rows."""
        every = [
            _Group(name, number, footer.row_group(number).num_rows)
            for name, footer in zip(self.names, self.footers, strict=True)
            for number in range(footer.num_row_groups)
        ]
        if self.rows <= most or len(every) < 2:
            return every
        wanted = max(1, min(len(every), math.floor(len(every) * most / self.rows)))
        return [every[index] for index in sorted({index * len(every) // wanted for index in range(wanted)})]

    def read(self, groups: Iterable[_Group], columns: list[str] | None = None, most: int = PIECE) -> Iterator[pa.Table]:
        """The rows of some groups, in pieces of so many rows at most."""
        for name, chosen in groupby(groups, lambda group: group.file):
            numbers = [group.number for group in chosen]
            with (
                damage_told(self.store, name),
                self.store.open_for_arrow(name) as source,
                open_reader(source) as file,
            ):
                for number in numbers:
                    for batch in file.iter_batches(most, row_groups=[number], columns=columns, use_threads=False):
                        yield pa.Table.from_batches([batch])


def _footer(store: Store, name: str) -> pq.FileMetaData:
    with damage_told(store, name), store.open_for_arrow(name) as source, open_reader(source) as file:
        return file.metadata


def profile(store: Store, names: Sequence[str], shown: str, about: Mapping[str, str]) -> Table:
    """A table's columns, and its first rows.

    Missing values (nulls), smallest and largest ones come from the files' footers, so they are of all rows. Distinct
    values, NaN, infinities and histograms come from whole row groups at equal distances, all of them where the table is
    small.

    Parameters
    ----------
    store, names
        Which files have its rows, in their order.
    shown
        What the table is called.
    about
        What the extractor's documentation says of columns, by their names: of those whose fields say nothing.

    Raises
    ------
    DamagedError
        If a file is no sound Parquet file.
    """
    files = _Files.open(store, names)
    schema = files.schema
    groups = files.groups(max(1, VALUES // max(1, len(schema))))
    footer = _Footer(files)
    names = [each.name for each in schema if _is_counted(each, footer, groups)]
    seen = {name: _Seen() for name in names}
    _set_edges(files, groups, seen, footer)
    first = _first_rows(files, groups)  # by itself: of nested and large columns no more is read than is shown
    for table in files.read(groups, names) if names else ():
        for name in names:
            _add(seen[name], table[name])
    columns = [_column(each, seen.get(each.name), footer.of(each.name), about) for each in schema]
    return Table(shown, files.rows, sum(group.rows for group in groups), tuple(columns), tuple(first))


def _is_counted(each: pa.Field, footer: _Footer, groups: Sequence[_Group]) -> bool:
    """Whether a column's values are looked at: not those of nested types, nor texts that are large together."""
    if pa.types.is_nested(each.type):
        return False
    has_fixed_width = _is_number(each.type) or _is_time(each.type) or pa.types.is_boolean(each.type)
    return has_fixed_width or footer.size(each.name, groups) <= LARGE


def _first_rows(files: _Files, groups: Sequence[_Group]) -> list[tuple[str | None, ...]]:
    first = list[tuple[str | None, ...]]()
    for table in files.read(groups, most=FIRST_ROWS):
        first += _texts(table.slice(0, FIRST_ROWS - len(first)))
        if len(first) == FIRST_ROWS:
            break
    return first


def reading(store: Store, names: Sequence[str], most: int | None = None) -> Reading:
    """What reads a table: all of it, or whole row groups at equal distances that have about so many rows together.

    Parameters
    ----------
    store, names
        Which files have its rows, in their order.
    most
        Rows; `ROWS` where None is given.

    Raises
    ------
    DamagedError
        If a file is no sound Parquet file.
    """
    files = _Files.open(store, names)
    groups = files.groups(ROWS if most is None else most)

    def read(columns: Sequence[str]) -> Iterator[pa.Table]:
        return files.read(groups, list(columns))

    rows = sum(group.rows for group in groups)
    return read if rows == files.rows else ReadPart(read, rows / files.rows)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_temporal(kind))


def _set_edges(files: _Files, groups: Sequence[_Group], seen: Mapping[str, _Seen], footer: _Footer) -> None:
    """Where each number's histogram begins and ends: nearly all of the values, not a single one far away."""
    schema = files.schema
    names = [each.name for each in schema if each.name in seen and _is_number(each.type)]
    if not names or not groups:
        return
    places = sorted({0, len(groups) // 2, len(groups) - 1})[:PILOT]
    pieces = list(files.read([groups[place] for place in places], names))
    if not pieces:
        return
    pilot = pa.concat_tables(pieces)
    for name in names:
        values = _floats(pilot[name])
        values = values[np.isfinite(values)]
        if not len(values):  # there may be some elsewhere
            bounds = footer.of(name)
            values = np.array([each for each in (bounds.low, bounds.high) if _is_finite(each)], np.float64)
        if not len(values):
            continue
        values = np.sort(values)  # np.quantile imports what takes longer than all of this
        low, high = (float(values[round(share * (len(values) - 1))]) for share in (0.005, 0.995))
        least, most = float(values[0]), float(values[-1])
        bounds = footer.of(name)
        if bounds.has_range and _is_finite(bounds.low):
            least = float(bounds.low)
        if bounds.has_range and _is_finite(bounds.high):
            most = float(bounds.high)
        width = high - low
        low = least if least >= low - _REACH * width else low
        high = most if most <= high + _REACH * width else high
        if math.isfinite(low) and math.isfinite(high):
            seen[name].edges = _nice(low, high, is_whole=pa.types.is_integer(schema.field(name).type))
            seen[name].counts = np.zeros(len(seen[name].edges) - 1, np.int64)


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _nice(low: float, high: float, *, is_whole: bool) -> Any:
    """Edges of bins; around the numbers themselves where few whole ones are counted."""
    if is_whole and high - low < 32:
        return np.arange(low, high + 2) - 0.5
    return edges_between(low, high)


def _floats(column: pa.ChunkedArray) -> Any:
    values = column.drop_null()
    return np.asarray(values.cast(pa.float64(), safe=False).to_numpy())


def _add(seen: _Seen, column: pa.ChunkedArray) -> None:
    """Take a column of a piece."""
    seen.rows += len(column)
    seen.nulls += column.null_count
    if pa.types.is_floating(column.type):
        column = _with_one_zero(column)
        values = _floats(column)
        nans = np.isnan(values)
        seen.nans += int(np.count_nonzero(nans))
        seen.infinite += int(np.count_nonzero(np.isinf(values)))
        column = column.filter(pa.array(~nans))  # which is no value, so none of the different ones
    if seen.edges is not None:
        values = _floats(column)
        values = values[np.isfinite(values)]
        seen.counts += np.histogram(values, seen.edges)[0]
        seen.below += int(np.count_nonzero(values < seen.edges[0]))
        seen.above += int(np.count_nonzero(values > seen.edges[-1]))
    if seen.values is None:
        return
    try:
        found = pc.value_counts(column.combine_chunks().drop_null())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, TypeError):
        seen.values = None
        return
    if len(found) > DISTINCT or found.nbytes > DISTINCT_BYTES:
        seen.values = None
    elif seen.first is None:
        seen.first = found
    else:
        for each in (seen.first, found):
            seen.merge(each)
        seen.first = found.slice(0, 0)
        if len(seen.values) > DISTINCT or seen.size > DISTINCT_BYTES:
            seen.values = None


def _with_one_zero(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values of a column of floats that are not null, with 0.0 for -0.0: they are equal, and counted as one."""
    values = column.drop_null().to_numpy()
    return pa.chunked_array([pa.array(values + values.dtype.type(0), column.type)])


@dataclass(frozen=True)
class _Bounds:
    nulls: int | None
    low: Any = None
    high: Any = None
    is_whole: bool = True
    """Whether no row group has values without telling their range, as one of NaN alone."""

    @property
    def has_range(self) -> bool:
        return self.is_whole and self.low is not None and self.high is not None


class _Footer:
    """What the files' row groups say of themselves."""

    def __init__(self, files: _Files) -> None:
        self._files = files
        first = files.footers[0]
        self._places = {first.schema.column(index).path: index for index in range(first.num_columns)}
        self._found: dict[str, _Bounds] = {}

    def of(self, name: str) -> _Bounds:
        """Of a column of a plain type: those of all row groups together."""
        if name not in self._found:
            self._found[name] = self._read(name)
        return self._found[name]

    def size(self, name: str, groups: Sequence[_Group]) -> int:
        """Bytes of a column of a plain type in some row groups, before they are compressed."""
        place = self._places.get(name)
        if place is None:
            return 0
        footers = dict(zip(self._files.names, self._files.footers, strict=True))
        return sum(
            footers[group.file].row_group(group.number).column(place).total_uncompressed_size for group in groups
        )

    def _read(self, name: str) -> _Bounds:
        if not self._files.rows:
            return _Bounds(0)
        place = self._places.get(name)
        if place is None:
            return _Bounds(None)
        nulls, low, high, is_known = 0, None, None, True
        for footer in self._files.footers:
            for number in range(footer.num_row_groups):
                group = footer.row_group(number)
                if not group.num_rows:
                    continue
                found = group.column(place).statistics
                if found is None or not found.has_null_count:
                    return _Bounds(None)
                nulls += found.null_count
                if found.null_count == group.num_rows:
                    continue
                if not found.has_min_max:
                    is_known = False
                    continue
                low = found.min if low is None else min(low, found.min)
                high = found.max if high is None else max(high, found.max)
        return _Bounds(nulls, low, high, is_known)


def _column(each: pa.Field, seen: _Seen | None, bounds: _Bounds, about: Mapping[str, str]) -> Column:
    own = {key.decode(): value.decode(errors="replace") for key, value in (each.metadata or {}).items()}
    histogram = None
    if seen is not None and seen.counts is not None:
        counts = tuple(seen.counts.tolist())
        histogram = Histogram(tuple(seen.edges.tolist()), counts, seen.below, seen.above)
    most: tuple[tuple[str, int], ...] = ()
    if seen is not None and not _is_number(each.type) and not _is_time(each.type):
        most = tuple((value_text(value), count) for value, count in seen.most())
    return Column(
        name=each.name,
        type=str(each.type),
        units=own.get("units", own.get("unit", "")),
        description=own.get("description", about.get(each.name, "")),
        nulls=bounds.nulls,
        nans=0 if seen is None else seen.nans,
        infinite=0 if seen is None else seen.infinite,
        is_empty=seen is not None and 0 < seen.rows == seen.nulls + seen.nans,
        is_counted=seen is not None,
        low=value_text(bounds.low) if bounds.has_range else "",
        high=value_text(bounds.high) if bounds.has_range else "",
        distinct=None if seen is None else seen.distinct,
        most=most,
        histogram=histogram,
    )


def _texts(table: pa.Table) -> list[tuple[str | None, ...]]:
    return [
        tuple(None if value is None else value_text(value) for value in (_head(column[at]) for column in table.columns))
        for at in range(table.num_rows)
    ]


def _head(value: pa.Scalar) -> Any:
    """As much of a value as is shown: the rest may be as large as memory bears."""
    kind = value.type
    if not value.is_valid:
        return None
    if isinstance(kind, pa.BaseExtensionType):
        return _head(value.value) if pa.types.is_nested(kind.storage_type) else value.as_py()
    if pa.types.is_struct(kind):
        return {field.name: _head(value[at]) for at, field in enumerate(kind)}
    if pa.types.is_map(kind):
        return _until_shown((_head(each["key"]), _head(each["value"])) for each in value.values)
    if pa.types.is_nested(kind):
        return _until_shown(map(_head, value.values))
    plain = value.as_py()
    return plain[: SHOWN + 1] if isinstance(plain, str | bytes) else plain


def _until_shown(values: Iterable[Any]) -> list[Any]:
    found, length = [], 0
    for value in values:
        found.append(value)
        length += len(repr(value))
        if length > SHOWN:
            break
    return found


def value_text(value: Any) -> str:
    """A value for a person, cut where it is long."""
    if isinstance(value, float):
        return f"{value or 0.0:.6g}"  # Parquet's footer has -0.0 for the smallest of zeros
    text = value[:SHOWN].hex(" ") if isinstance(value, bytes) else str(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
