"""What an extractor returned, as Arrow rows of its declared schema; never a silent cast.

Rows are taken by value at the moment they are returned or yielded: what the extractor does with its objects afterwards
changes nothing.
"""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from types import GeneratorType, TracebackType
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pyarrow as pa

from scaledproc.errors import UsageError
from scaledproc.extractors.rows.columns import Shared, columns_of, nan_is_null, take_column, take_table
from scaledproc.extractors.rows.scalars import LARGEST_BINARY, Taker
from scaledproc.extractors.rows.takers import taker_for, to_arrow
from scaledproc.extractors.rows.values import SIZED, RefusedValue, is_nan, is_pandas, size_of
from scaledproc.extractors.tables import TableRows

PIECE = 8192
"""Rows that are gathered before they are written."""
HELD = 64 * 2**20
"""Bytes of rows that are gathered before they are written, about."""
UNPACKED = 8 * 2**20
"""Bytes of a task's rows, about, from which on they are made Arrow's, which need less, and let go in one piece."""
_SMALL = 50  # rows of a DataFrame, up to which it is taken as rows
_NESTED = frozenset((np.ndarray, list, tuple, dict))
_SHORT = 100  # characters of text that do not count by themselves
_MOST_FORMS = 256  # of a schema's rows that are remembered
_SIMPLE = frozenset((bool, int, float, dt.date, dt.time, dt.datetime, dt.timedelta))
"""Of which types values are in one piece, so that nothing that a taker makes of them counts."""
_CODES = {
    **{(-(1 << bits - 1), (1 << bits - 1) - 1): code for bits, code in zip((8, 16, 32, 64), "bhiq", strict=True)},
    **{(0, (1 << bits) - 1): code for bits, code in zip((8, 16, 32, 64), "BHIQ", strict=True)},
}
"""Of whole numbers within these bounds, as `struct` has them."""
_PER_VALUE = 60  # bytes that a value of a row takes, with the short text that it may be
REFUSALS = (pa.ArrowException, TypeError, ValueError, OverflowError)
"""What Arrow and Parquet raise for values that they do not take; and for want of memory, which is none of them."""


class SchemaError(Exception):
    """A row does not fit the extractor's declared schema."""

    item: Any = None
    """What was returned or yielded that has the row."""
    place: int = 0
    """Of the row in it, from 0."""
    schema: pa.Schema | None = None
    """That of the row, where it is not one of the main table's."""
    columns: Mapping[str, str] | None = None
    """What is wrong with its values, by the columns' names; None where something else is wrong."""


class RefusedRowsError(Exception):
    """Arrow or Parquet refuses rows that passed all checks.

    Parameters
    ----------
    errors
        Why, by the number of the call of `RowCollector.add`, among those since the last `take` that took something.
    """

    def __init__(self, errors: Mapping[int, SchemaError]) -> None:
        super().__init__("; ".join(map(str, errors.values())))
        self.errors = errors


def refused_among(ends: Sequence[int], make: Callable[[int, int], object]) -> dict[int, SchemaError]:
    """Which tasks' rows are refused, by halving; none where each alone is taken.

    Parameters
    ----------
    ends
        The number of rows up to the end of each task.
    make
        Does with a range of rows what is refused for some.
    """

    def search(start: int, stop: int) -> dict[int, SchemaError]:
        try:
            make(ends[start - 1] if start else 0, ends[stop - 1])
        except MemoryError:
            raise
        except REFUSALS as error:
            if stop - start == 1:
                return {start: SchemaError(f"Arrow or Parquet refuses the rows: {error}")}
            middle = (start + stop) // 2
            return search(start, middle) | search(middle, stop)
        return {}

    return search(0, len(ends)) if ends else {}


@dataclass
class Taken:
    """What was taken of a task so far: lists of rows, and tables, in order; the bytes of all, and of the tables."""

    parts: list[pa.Table | list[tuple[Any, ...]]] = field(default_factory=list)
    rows: int = 0
    size: int = 0
    packed: int = 0
    shared: Shared = field(default_factory=Shared)


class _Column(NamedTuple):
    """A column, with what values can be stored as they are."""

    name: str
    plain: type | None
    """Values of exactly this type: text in ASCII only, whole numbers within these bounds."""
    least: int
    most: int
    nullable: bool
    take: Callable[[Any], Any]


def _column(name: str, taker: Taker) -> _Column:
    least, most = taker.bounds or (0, -1)
    plain = int if taker.bounds is not None else taker.plain
    return _Column(name, plain, least, most, taker.nullable, taker.take)


class _Form(NamedTuple):
    """What has to be seen to of a row's values whose types are known, where the columns take all of these types."""

    whole: Callable[[Sequence[Any]], tuple[int, ...]]
    pack: Callable[..., bytes]
    """Raises `struct.error` where a whole number is not within the bounds of its column."""
    texts: Callable[[Sequence[Any]], tuple[str, ...]]
    others: tuple[tuple[int, Callable[[Any], Any]], ...]
    """The places of values that are stored as something else, with what makes that of them."""
    last: dict[int, tuple[Any, Any]]
    """By such a place the value before and what was made of it: a task's rows often share a time."""


def _getter(keys: Sequence[Any]) -> Callable[[Any], tuple[Any, ...]]:
    """What gives the values of so many keys, always in a tuple."""
    if len(keys) > 1:
        return itemgetter(*keys)
    if keys and isinstance(keys[0], int):  # a place: what gives a part gives a tuple
        return itemgetter(slice(keys[0], keys[0] + 1))
    return lambda values: tuple([values[key] for key in keys])


def _form_of(kinds: Sequence[type], columns: Sequence[_Column], takers: Sequence[Taker]) -> _Form | None:
    """The form of rows whose values have these types; None where some type needs a closer look."""
    whole: list[int] = []
    codes = "<"
    texts: list[int] = []
    others: list[tuple[int, Callable[[Any], Any]]] = []
    for place, (kind, column, taker) in enumerate(zip(kinds, columns, takers, strict=True)):
        if kind is column.plain:
            if kind is int:
                whole.append(place)
                codes += _CODES[column.least, column.most]
            elif kind is str:
                texts.append(place)
        elif kind is type(None):
            if not column.nullable:
                return None
        elif kind in _SIMPLE and kind in taker.exact:
            others.append((place, column.take))
        else:
            return None
    return _Form(
        _getter(whole),
        struct.Struct(codes).pack,
        _getter(texts),
        tuple(others),
        {},
    )


class RowCollector:
    """Gathers the rows of one task after the other.

    Parameters
    ----------
    schema
        What every row must fit.

    Attributes
    ----------
    rows
        How many rows were taken.
    size
        How many bytes of memory the rows since the last `take` need, about.

    Raises
    ------
    UsageError
        If the schema has a type that cannot be written the same way whatever the cuts are.
    """

    def __init__(self, schema: pa.Schema) -> None:
        if len(set(schema.names)) != len(schema.names):
            raise UsageError("the extractor's schema names a column twice")
        self._takers = [_taker_of(declared) for declared in schema]
        self._names = schema.names
        self._columns = [_column(name, taker) for name, taker in zip(schema.names, self._takers, strict=True)]
        self._get = _getter(schema.names)
        self._forms: dict[tuple[type, ...], _Form | None] = {}
        self._row_size = 100 + _PER_VALUE * len(self._columns)
        self.schema = schema
        self.rows = self.size = 0
        self._parts: list[pa.Table | list[tuple[Any, ...]]] = []
        self._ends: list[int] = []

    @property
    def ends(self) -> tuple[int, ...]:
        """The number of rows since the last `take` up to the end of each task that gave some."""
        return tuple(self._ends)

    @property
    def is_full(self) -> bool:
        """Whether it is time to take the rows, to keep memory flat."""
        return (bool(self._ends) and self._ends[-1] >= PIECE) or self.size >= HELD

    def add(self, returned: Any, check: Callable[[], object] | None = None) -> None:
        """Take all that a task returned, or nothing of it.

        Parameters
        ----------
        returned
            Rows, which may be made only as they are taken.
        check
            Called once all are there, before they count; what it raises is raised.

        Raises
        ------
        SchemaError
            If the row does not fit the schema.
        """
        taken = self.begin()
        self.take_all(returned, taken)
        if check is not None:
            check()
        count = self.keep(taken)
        self.rows += count
        self._ends.append(count + (self._ends[-1] if self._ends else 0))

    def begin(self) -> Taken:
        """What takes a task's rows."""
        return Taken()

    def take_all(self, returned: Any, taken: Taken) -> None:
        """Take all that a task returned.

        Raises
        ------
        SchemaError
            If the row does not fit the schema.
        """
        is_list = type(returned) is list  # as nearly always: of rows, so neither a row nor a table
        if not is_list and self._take_whole(returned, taken):
            return
        if not is_list and (isinstance(returned, (str, bytes)) or not isinstance(returned, Iterable)):
            what = "nothing" if returned is None else f"a {type(returned).__name__}"
            raise SchemaError(
                _undeclared(returned)
                or f"the extractor returned {what}; rows are mappings (return [] where there are none)"
            )
        for item in returned:
            try:
                if type(item) is dict:
                    self._take_row(item, taken)
                elif not self.take_item(item, taken):
                    raise SchemaError(
                        _undeclared(item)
                        or f"a row is a {type(item).__name__}, not a mapping of column names to values"
                    )
            except SchemaError as error:
                if error.item is None:
                    error.item = item
                raise error.with_traceback(_at_yield(returned, error.__traceback__)) from error.__cause__

    def keep(self, taken: Taken) -> int:
        """Let what was taken of a task count; how many rows that is."""
        for part in taken.parts:
            if isinstance(part, list) and self._parts and isinstance(self._parts[-1], list):
                self._parts[-1] += part
            else:
                self._parts.append(part)
        self.size += taken.size
        return taken.rows

    def clear(self) -> None:
        """Forget the rows that are held."""
        self._parts, self._ends, self.size = [], [], 0

    def take(self) -> pa.Table:
        """The rows gathered since the last call.

        Raises
        ------
        RefusedRowsError
            If Arrow does not take some of the rows after all.
        """
        try:
            table = self.held_rows()
        except MemoryError:
            raise
        except REFUSALS:
            errors = refused_among(self._ends, self.held_rows)
            if not errors:
                raise
            raise RefusedRowsError(errors) from None
        self.clear()
        return table

    def held_rows(self, start: int = 0, stop: int | None = None) -> pa.Table:
        """Some of the rows that are held."""
        tables, before = [self.schema.empty_table()], 0
        for part in self._parts:
            first = max(0, start - before)
            rows = part[first : None if stop is None else max(first, stop - before)]
            if len(rows):
                tables.append(self._to_table(rows) if isinstance(rows, list) else rows)
            before += len(part)
        return pa.concat_tables(tables)

    def _to_table(self, rows: list[tuple[Any, ...]]) -> pa.Table:
        columns = [to_arrow(values, taker) for values, taker in zip(zip(*rows, strict=True), self._takers, strict=True)]
        return pa.Table.from_arrays(columns, schema=self.schema)

    def _take_whole(self, returned: Any, taken: Taken) -> bool:
        """Take what is all that a task returned, if it is a row or a table; False where it is neither."""
        try:
            return self.take_item(returned, taken)
        except SchemaError as error:
            if error.item is None:
                error.item = returned
            raise

    def take_item(self, item: Any, taken: Taken) -> bool:
        """Take a row or a table; False where it is neither."""
        if type(item) is dict:
            self._take_row(item, taken)
        elif isinstance(item, (list, tuple, str, bytes)) or item is None:
            return False
        elif isinstance(item, pa.Table):
            self._take_table(item, taken)
        elif isinstance(item, pa.RecordBatch):
            self._take_table(pa.Table.from_batches([item]), taken)
        elif is_pandas(item, "DataFrame"):
            self._take_frame(item, taken)
        elif is_pandas(item, "Series"):
            if not item.index.is_unique:
                raise SchemaError(f"row {taken.rows + 1} names a column twice")
            kind = item.dtype
            row = {name: None if is_nan(value) and nan_is_null(kind) else value for name, value in item.items()}
            self._take_row(row, taken)
        elif isinstance(item, Mapping):
            self._take_row(item, taken)
        elif hasattr(item, "__arrow_c_stream__") and not isinstance(item, (pa.Array, pa.ChunkedArray)):
            self._take_stream(item, taken)
        else:
            return False
        return True

    # A row

    def _take_row(self, row: Mapping[Any, Any], taken: Taken) -> None:
        values = self._take_formed(row, taken) if type(row) is dict else None
        if values is None:
            values = self._take_values(row, taken)
        if not taken.parts or not isinstance(taken.parts[-1], list):
            taken.parts.append([])
        rows = taken.parts[-1]
        rows.append(values)
        taken.rows += 1
        if len(rows) >= PIECE or taken.size - taken.packed >= UNPACKED:  # as Arrow's they need less
            self._pack(rows, taken)

    def _take_formed(self, row: dict[Any, Any], taken: Taken) -> tuple[Any, ...] | None:
        """A row's values as they are stored, by the form of the row, as nearly always; None where that does not do."""
        try:
            values = self._get(row)
        except KeyError:
            return None
        kinds = tuple(map(type, values))
        form = self._forms.get(kinds)
        if form is None:
            if kinds in self._forms or len(self._forms) >= _MOST_FORMS:
                return None
            form = self._forms[kinds] = _form_of(kinds, self._columns, self._takers)
            if form is None:
                return None
        if len(row) != len(values):
            return None
        try:
            form.pack(*form.whole(values))
        except struct.error:
            return None
        texts = form.texts(values)
        size = self._row_size
        together = "".join(texts)
        if len(together) > _SHORT or not together.isascii():
            if len(together) > LARGEST_BINARY // 4:
                return None
            try:
                together.encode()
            except UnicodeEncodeError:
                return None
            size += sum([len(text) for text in texts if len(text) > _SHORT or not text.isascii()])
        if form.others:
            changed = list(values)
            try:
                for place, take in form.others:
                    value = values[place]
                    before = form.last.get(place)
                    if before is not None and before[0] is value:
                        changed[place] = before[1]
                        continue
                    changed[place] = made = take(value)
                    if type(value) is not dt.datetime or value.tzinfo is None:  # a zone may change
                        form.last[place] = (value, made)
            except RefusedValue:
                return None
            values = tuple(changed)
        taken.size += size
        return values

    def _take_values(self, row: Mapping[Any, Any], taken: Taken) -> tuple[Any, ...]:
        """A row's values as they are stored, each looked at by itself."""
        row = row.copy() if type(row) is dict else dict(row)
        size = self._row_size
        name = ""
        try:
            for name, plain, least, most, nullable, take in self._columns:
                value = row[name]
                kind = type(value)
                if kind is plain:  # nearly always; what else it may be takes longer to find out
                    if plain is int:
                        if least <= value <= most:
                            continue
                    elif plain is not str or (value.isascii() and len(value) <= _SHORT):
                        continue
                elif value is None and nullable:
                    continue
                row[name] = value = take(value)
                if type(value) in SIZED:
                    size += size_of(value)
        except (KeyError, RefusedValue) as error:
            self._check_names(list(row), taken)
            if isinstance(error, KeyError):
                raise
            self._refuse({name: error, **self._refused_after(name, row)}, taken)
        if len(row) != len(self._columns):
            self._check_names(list(row), taken)
        taken.size += size
        return self._get(row)

    def _refused_after(self, name: str, row: Mapping[str, Any]) -> dict[str, RefusedValue]:
        """What is refused of a row in the columns after one, by their names."""
        refused = {}
        for column in self._columns[self._names.index(name) + 1 :]:
            try:
                column.take(row[column.name])
            except RefusedValue as error:
                refused[column.name] = error
        return refused

    def _pack(self, rows: list[tuple[Any, ...]], taken: Taken) -> None:
        """Make a task's last rows Arrow's."""
        try:
            table = self._to_table(rows)
        except MemoryError:
            raise
        except REFUSALS as error:
            raise SchemaError(f"Arrow refuses the rows: {error}") from error
        taken.parts[-1] = table
        taken.packed += table.get_total_buffer_size()
        taken.size = taken.packed

    def _check_names(self, names: Sequence[Any], taken: Taken, hint: str = "") -> None:
        """See that a row or a table has the declared columns."""
        if names == self._names:
            return
        known = set(self._names)
        missing = [name for name in self._names if name not in names]
        texts = [name for name in names if name not in known and str(name) in missing]
        extra = [str(name) for name in names if name not in known and name not in texts]
        hint = hint or (f"; it has {texts[0]!r}, a {type(texts[0]).__name__}: use text" if texts else "")
        lacks = f"lacks the column {missing[0]!r} (give None for a null{hint})" if missing else ""
        if len(missing) > 1:
            lacks = f"lacks the columns {', '.join(map(repr, missing))} (give None for nulls{hint})"
        has = f"has columns that the schema does not: {', '.join(extra)}" if extra else ""
        if not (lacks or has):
            if len(names) == len(self._names):
                return
            has = f"has a column twice: {', '.join(map(str, names))}"
        raise SchemaError(f"row {taken.rows + 1} {' and '.join(filter(None, (lacks, has)))}")

    def _refuse(self, errors: Mapping[str, RefusedValue], taken: Taken, row: int = 0) -> NoReturn:
        """Say all that is wrong with a row, by its columns."""
        places = [f"{name!r}" + "".join(f"[{part!r}]" for part in error.path) for name, error in errors.items()]
        texts = "; ".join(f"column {place}: {error}" for place, error in zip(places, errors.values(), strict=True))
        refused = SchemaError(f"row {taken.rows + row + 1}, {texts}")
        refused.place, refused.columns = row, {name: str(error) for name, error in errors.items()}
        raise refused from None

    # Many rows

    def _take_table(self, table: pa.Table, taken: Taken) -> None:
        if not table.num_rows:  # of what nothing is there, the columns say nothing
            return
        if table.schema.names != self._names:
            self._check_names(table.schema.names, taken)
            table = table.select(self._names)
        made = take_table(table, self._takers, self.schema)
        if made is None:
            self._take_columns(table.columns, taken)
        else:
            self._hold(made, taken)

    def _take_stream(self, stream: Any, taken: Taken) -> None:
        """Another library's table: polars', DuckDB's, or one that is read as it is taken."""
        try:
            reader = pa.RecordBatchReader.from_stream(stream)
        except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError) as error:
            raise SchemaError(f"a {type(stream).__name__} is no table: {error}") from None
        for batch in reader:
            self._take_table(pa.Table.from_batches([batch]), taken)

    def _take_frame(self, frame: Any, taken: Taken) -> None:
        """Take a DataFrame; a small one as rows, as Arrow takes longer to make a table of it than many tasks take."""
        if not len(frame):
            return
        columns = frame.columns.tolist()
        levels = [name for name in frame.index.names if name in self.schema.names and name not in columns]
        self._check_names(columns, taken, "; it is in the index: use reset_index()" if levels else "")
        names = self._names
        if columns != names:
            frame = frame[names]
        rows = self._rows_of(frame) if len(frame) <= _SMALL else None
        if rows is None:
            self._take_columns(columns_of(frame), taken)
            return
        for values in rows:
            self._take_row(dict(zip(names, values, strict=True)), taken)

    def _rows_of(self, frame: Any) -> list[list[Any]] | None:
        """A small DataFrame's values; None where pandas would change some."""
        kinds: list[Any] = []
        rows: list[list[Any]] = frame.to_numpy(dtype=object).tolist()  # asking for the types would take as long again
        for values in rows:
            for column, value in enumerate(values):
                is_missing = is_nan(value)
                if is_missing or type(value) in _NESTED:
                    kinds = kinds or frame.dtypes.tolist()
                    kind = kinds[column]
                    # Beside NaN a category's integers are floats; in Arrow's lists null is NaN.
                    if str(kind) == "category" or (not is_missing and str(kind) != "object"):
                        return None
                    values[column] = None if is_missing and nan_is_null(kind) else value
        return rows

    def _take_columns(self, columns: Sequence[pa.ChunkedArray | list[Any]], taken: Taken) -> None:
        made = []
        refused: list[tuple[int, int, RefusedValue]] = []
        for place, (column, taker) in enumerate(zip(columns, self._takers, strict=True)):
            try:
                made.append(take_column(column, taker))
            except RefusedValue as error:
                row, error.path = error.path[0], error.path[1:]
                refused.append((row, place, error))
            except MemoryError:
                raise
            except REFUSALS as error:
                raise SchemaError(f"column {self.schema.names[place]!r}: Arrow refuses the values: {error}") from error
        if refused:  # the first row's, as if they had come row by row
            first = min(row for row, _, _ in refused)
            self._refuse({self._names[place]: error for row, place, error in refused if row == first}, taken, first)
        self._hold(pa.Table.from_arrays(made, schema=self.schema), taken)

    def _hold(self, table: pa.Table, taken: Taken) -> None:
        size = table.get_total_buffer_size()  # as given; no more is held once it is shared
        taken.parts.append(taken.shared.share(table))
        taken.rows += table.num_rows
        taken.packed += size
        taken.size += size


def _undeclared(item: Any) -> str:
    """What is wrong with rows of a further table, where none is declared; nothing where it is no such thing."""
    return f"the extractor declares no table {item.table!r}: tables={{…}} does" if isinstance(item, TableRows) else ""


def _taker_of(declared: pa.Field) -> Taker:
    try:
        return taker_for(declared.type, nullable=declared.nullable)
    except TypeError as error:
        raise UsageError(f"column {declared.name!r} is declared as {declared.type}: {error}") from None


def _at_yield(returned: Any, trace: TracebackType | None) -> TracebackType | None:
    """A traceback that begins where a generator stands, so that it has the line that yielded what is refused.

    Nothing is thrown into the generator: its own code might handle that.
    """
    standing = []
    while isinstance(returned, GeneratorType) and returned.gi_frame is not None:
        standing.append(returned.gi_frame)
        returned = returned.gi_yieldfrom
    for frame in reversed(standing):
        trace = TracebackType(trace, frame, frame.f_lasti, frame.f_lineno)
    return trace
