"""Rows of several tables in one: what a chunk and a shard keep where an extractor declares further tables.

One column says which table a row is of, and each table has its own columns, which are null in the rows of all others.
So whatever is done with the rows of tasks, their order, commits, resuming and reuse, is done for all tables at once. A
task's rows stand together: those of the main table, then those of each further one, in the order of the names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from scaledproc.errors import UsageError
from scaledproc.extractors.described import undescribed
from scaledproc.extractors.rows.collector import PIECE, RowCollector, SchemaError, Taken
from scaledproc.extractors.rows.takers import taker_for
from scaledproc.extractors.tables import TableRows, tables_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from scaledproc.extractors.base import Extractor

MAIN = "features"
"""What the main table is called in the names of columns."""
OF = "table"
"""The column that says which table a row is of: 0 for the main one, then by the order of the names."""


def collector_for(extractor: Extractor) -> RowCollector:
    """What gathers an extractor's rows, of all its tables.

    Raises
    ------
    UsageError
        If a schema has a type that cannot be written the same way whatever the cuts are.
    """
    further = tables_of(extractor)
    return TablesCollector(extractor.schema, further) if further else RowCollector(extractor.schema)


def schema_between(extractor: Extractor) -> pa.Schema:
    """The columns of what is written before the tables are: the extractor's own where it has one table."""
    further = tables_of(extractor)
    return _together(extractor.schema, further) if further else undescribed(extractor.schema)


def columns_of_table(name: str, schema: pa.Schema) -> list[str]:
    """The columns that `rows_of_table` needs."""
    return [OF, *(f"{name}/{column}" for column in schema.names)]


def rows_of_table(together: Iterable[pa.Table], number: int, name: str, schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows of one table.

    Parameters
    ----------
    together
        Rows of all tables, in pieces.
    number, name, schema
        Which table: its place and its name, and its columns.
    """
    import pyarrow.compute as pc

    for piece in together:
        own = piece.filter(pc.equal(piece[OF], number))
        yield pa.Table.from_arrays([own[f"{name}/{column}"] for column in schema.names], schema=schema)
        del piece, own  # while the next one is read


class CountsByTable:
    """How many rows each task gave to each table, from rows of all tables that come in order.

    Parameters
    ----------
    together
        How many rows of all tables each task gave, shape (tasks,).
    tables
        How many tables there are, with the main one.

    Attributes
    ----------
    counts
        Those of what was seen so far, shape (tasks, tables).
    """

    def __init__(self, together: NDArray[np.int64], tables: int) -> None:
        self._ends = np.cumsum(together)
        self._seen = 0
        self.counts = np.zeros((len(together), tables), np.int64)

    def see(self, piece: pa.Table) -> pa.Table:
        """Count the next rows; the same rows.

        Raises
        ------
        IndexError
            If there are more rows than the tasks gave, or some are of no table.
        """
        places = np.arange(self._seen, self._seen + piece.num_rows)
        self._seen += piece.num_rows
        np.add.at(self.counts, (np.searchsorted(self._ends, places, "right"), piece[OF].to_numpy()), 1)
        return piece


def _together(main: pa.Schema, further: Mapping[str, pa.Schema]) -> pa.Schema:
    fields = [pa.field(OF, pa.int8(), nullable=False)]
    for name, schema in {MAIN: main, **further}.items():
        for column in schema:
            if not taker_for(column.type).nullable:
                raise UsageError(
                    f"column {column.name!r} is declared as {column.type}, of which Parquet keeps no null: beside "
                    "further tables that cannot be; declare it without a fixed size"
                )
            fields.append(pa.field(f"{name}/{column.name}", column.type))
    return pa.schema(fields)


@dataclass
class _TakenTables(Taken):
    """What was taken of a task so far, with that of the further tables."""

    further: dict[str, Taken] = field(default_factory=dict)


class TablesCollector(RowCollector):
    """Gathers the rows of one task after the other, of several tables.

    Parameters
    ----------
    schema
        Of the main table.
    further
        Of the others, by their names, in their order.

    Raises
    ------
    UsageError
        If a schema has a type that cannot be written the same way whatever the cuts are.
    """

    def __init__(self, schema: pa.Schema, further: Mapping[str, pa.Schema]) -> None:
        super().__init__(schema)
        self._further = {name: _collector(name, each) for name, each in further.items()}
        self._schemas = {MAIN: schema, **further}
        self._schema_between = _together(schema, further)
        self._counts: list[list[int]] = []

    def begin(self) -> Taken:
        """What takes a task's rows."""
        return _TakenTables(further={name: each.begin() for name, each in self._further.items()})

    def take_item(self, item: Any, taken: Taken) -> bool:
        """Take rows of any table; False where it is neither a row nor a table."""
        if not isinstance(item, TableRows):
            return super().take_item(item, taken)
        assert isinstance(taken, _TakenTables)
        own = self._further.get(item.table) if isinstance(item.table, str) else None
        if own is None:
            known = ", ".join(self._further)
            raise SchemaError(f"the extractor declares no table {item.table!r}; there are: {known}")
        try:
            own.take_all(item.given, taken.further[item.table])
        except SchemaError as error:
            error.args = (f"table {item.table!r}: {error}",)
            error.schema = own.schema
            raise
        return True

    def keep(self, taken: Taken) -> int:
        """Let what was taken of a task count; how many rows of all tables that is."""
        assert isinstance(taken, _TakenTables)
        counts = [super().keep(taken)]
        for name, own in self._further.items():
            counts.append(own.keep(taken.further[name]))
            self.size += taken.further[name].size
        self._counts.append(counts)
        return sum(counts)

    def clear(self) -> None:
        """Forget the rows that are held."""
        super().clear()
        self._counts = []
        for own in self._further.values():
            own.clear()

    def held_rows(self, start: int = 0, stop: int | None = None) -> pa.Table:
        """Some of the rows that are held, of all tables, from the beginning of a task to the end of one."""
        counts = np.array(self._counts, np.int64).reshape(-1, len(self._schemas))
        ends = np.concatenate([[0], counts.sum(axis=1).cumsum()])
        first, last = (int(np.searchsorted(ends, edge)) for edge in (start, ends[-1] if stop is None else stop))
        edges = np.concatenate([np.zeros((1, counts.shape[1]), np.int64), counts.cumsum(axis=0)])
        held: list[Callable[[int, int], pa.Table]] = [super().held_rows]
        held += [own.held_rows for own in self._further.values()]
        wide = [
            self._widened(number, rows(int(edges[first, number]), int(edges[last, number])))
            for number, rows in enumerate(held)
        ]
        tables = [self._schema_between.empty_table()]
        for task in range(first, last):
            for number, count in enumerate(counts[task].tolist()):
                if count:
                    tables.append(wide[number].slice(int(edges[task, number] - edges[first, number]), count))
        return pa.concat_tables(tables)

    def _widened(self, number: int, table: pa.Table) -> pa.Table:
        """Rows of one table among the columns of all."""
        columns: list[Any] = [pa.array(np.full(table.num_rows, number, np.int8))]
        nothing: dict[pa.DataType, pa.ChunkedArray] = {}
        for place, schema in enumerate(self._schemas.values()):
            if place == number:
                columns += table.columns
                continue
            for kind in schema.types:
                if kind not in nothing:
                    nothing[kind] = _nulls(table.num_rows, kind)
                columns.append(nothing[kind])
        return pa.Table.from_arrays(columns, schema=self._schema_between)


def _nulls(n: int, kind: pa.DataType) -> pa.ChunkedArray:
    """So many nulls, which take the memory of a few: other tables may have many rows, and columns."""
    few = pa.nulls(min(n, PIECE), kind)
    whole, rest = divmod(n, PIECE)
    return pa.chunked_array([*[few] * (whole if n > PIECE else 0), few.slice(0, rest if n > PIECE else n)], kind)


def _collector(name: str, schema: pa.Schema) -> RowCollector:
    try:
        return RowCollector(schema)
    except UsageError as error:
        raise UsageError(f"table {name!r}: {error}") from None
