"""The columns that lead a row back to its task: its group, unit and anchor, put in front of finished rows.

They are made at the end, of the plan and of how many rows each task gave, so no row is written twice for them, nothing
of a shard depends on them, and an extractor never sees them: neither its `finish` nor its `summarise`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.extractors.described import DESCRIPTION
from scaledproc.run_folder.names import PLAN
from scaledproc.storage.parquet import damage_told, open_reader
from scaledproc.storage.row_groups import ROW_GROUP, Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scaledproc.extractors import Task
    from scaledproc.storage.store import Store

KEYS = ("group", "unit", "anchor")
"""The names of the columns."""
_TEXTS = {
    "group": "The top folder that the task's unit lies in; . for files directly under the dataset's root.",
    "unit": "What names the files that belong together: by default their folder, below the dataset's root.",
    "anchor": "The file that started the task which gave the row, below the dataset's root.",
}
_FIELDS = tuple(
    pa.field(name, pa.string(), nullable=False, metadata={DESCRIPTION: text.encode()}) for name, text in _TEXTS.items()
)
_ENCODED = pa.dictionary(pa.int32(), pa.string())


def keyed_schema(schema: pa.Schema, what: str = "the extractor's table", own_keys: Sequence[str] = KEYS) -> pa.Schema:
    """The columns of a table with those that lead back in front.

    Parameters
    ----------
    schema
        The table's own.
    what
        What a person calls the table.
    own_keys
        Names of such columns that the table may have itself, as its values are the same: these take their place.

    Raises
    ------
    UsageError
        If the table has another column of such a name itself, or one that cannot have such texts, or `own_keys` has
        another name.
    """
    if other := [name for name in own_keys if name not in KEYS]:
        raise UsageError(f"the extractor's own_keys names {other[0]!r}: give some of {', '.join(KEYS)}")
    own = [name for name in KEYS if name in schema.names and name not in own_keys]
    if own:
        raise UsageError(
            f"{what} has a column {own[0]!r}, as one of the columns {', '.join(KEYS)} is called that lead each row "
            "back to its task: rename it, or leave these out with --no-with-keys (in Python with_keys=False; for good "
            "with @extractor(…, with_keys=False)). A class whose column is the task's says own_keys = "
            f"({own[0]!r},)"
        )
    for field in schema:
        if field.name in own_keys and not _has_texts(field.type):
            raise UsageError(
                f"{what} has a column {field.name!r} of {field.type}, of which the extractor says (own_keys) that it "
                "is the task's: make it a string, rename it, or leave the task's out with --no-with-keys"
            )
    return pa.schema([*_FIELDS, *(each for each in schema if each.name not in KEYS)], metadata=schema.metadata)


def _has_texts(kind: pa.DataType) -> bool:
    """Whether values of a type can be the texts that lead back."""
    kind = kind.value_type if isinstance(kind, pa.DictionaryType) else kind
    return kind in (pa.string(), pa.large_string(), pa.string_view())


def without_keys(table: pa.Table) -> pa.Table:
    """A table's columns behind those that lead back."""
    return table.select(range(len(KEYS), table.num_columns))


def _without_own(rows: pa.Table, expected: Mapping[str, pa.Array]) -> pa.Table:
    """Rows without columns of their own that have the values of those that lead back.

    Raises
    ------
    ScaledprocError
        If a row has another value in such a column than its task.
    """
    import pyarrow.compute as pc

    own = [name for name in KEYS if name in rows.schema.names]
    for name in own:
        same = pc.fill_null(pc.equal(rows[name].cast(pa.string()), expected[name].cast(pa.string())), False)
        if not pc.all(same, min_count=0).as_py():
            row = pc.index(same, False).as_py()
            raise ScaledprocError(
                f"the extractor says that its column {name!r} is the task's (own_keys), and a row of the task "
                f"{expected['anchor'][row].as_py()!r} has {rows[name][row].as_py()!r} there, not "
                f"{expected[name][row].as_py()!r}: rename the column, or leave the task's out with --no-with-keys"
            )
    return rows.drop_columns(own) if own else rows


def keyed_rows(rows: pa.Table, task: Task) -> pa.Table:
    """The rows of one task, with the columns that lead back to it."""
    texts = [pa.repeat(pa.scalar(text, pa.string()), rows.num_rows) for text in (task.group, task.unit, task.anchor)]
    rows = _without_own(rows, dict(zip(KEYS, texts, strict=True)))
    return pa.Table.from_arrays([*texts, *rows.columns], schema=keyed_schema(rows.schema))


def tasks_of_shards(store: Store, shards: range) -> Iterator[pa.Table]:
    """The tasks of some consecutive macro shards in a run's folder: group, unit and anchor of each, in order.

    Of the plan's file only what may have some of them is read.

    Raises
    ------
    DamagedError
        If the plan's file is damaged.
    """
    import pyarrow.compute as pc

    with damage_told(store, PLAN), store.open_for_arrow(PLAN) as source, open_reader(source) as file:
        place = file.schema_arrow.get_field_index("shard")
        for group in range(file.num_row_groups):
            found = file.metadata.row_group(group).column(place).statistics
            if found is not None and found.has_min_max and (found.max < shards.start or found.min >= shards.stop):
                continue
            for batch in file.iter_batches(ROW_GROUP, row_groups=[group], columns=[*KEYS, "shard"], use_threads=False):
                is_own = pc.and_(pc.greater_equal(batch["shard"], shards.start), pc.less(batch["shard"], shards.stop))
                yield pa.Table.from_batches([batch]).filter(is_own).select(KEYS).replace_schema_metadata(None)


class KeyColumns:
    """Puts the columns in front of a table's rows, which come in the plan's order.

    Parameters
    ----------
    tasks
        The plan's tasks in order, with the columns group, unit and anchor.
    counts
        For each macro shard how many rows each of its tasks gave to each table, shape (tasks, tables). They may be
        counted while the rows come: those of rows that are asked for are there.
    number
        Which of the tables it is.
    """

    def __init__(self, tasks: Iterator[pa.Table], counts: Sequence[NDArray[np.int64]], number: int) -> None:
        self._plan = Rows(tasks)
        self._counts = counts
        self._number = number
        self._shard = -1
        self._tasks: pa.Table | None = None  # of the shard
        self._used = 0  # of its rows

    def add(self, rows: pa.Table) -> pa.Table:
        """The next rows with the columns, each value of which stands once in a dictionary: as that it is written."""
        tasks, places = self._next(rows.num_rows)
        encoded = []
        for name in KEYS:
            values = tasks[name].cast(pa.string()).combine_chunks().dictionary_encode()
            encoded.append(pa.DictionaryArray.from_arrays(values.indices.take(places), values.dictionary))
        rows = _without_own(rows, dict(zip(KEYS, encoded, strict=True)))
        fields = [each.with_type(_ENCODED) for each in _FIELDS]
        schema = pa.schema([*fields, *rows.schema], metadata=rows.schema.metadata)
        return pa.Table.from_arrays([*encoded, *rows.columns], schema=schema)

    def _next(self, count: int) -> tuple[pa.Table, pa.Array]:
        """The tasks that the next rows are of, and for each row the place of its task among these."""
        pieces: list[pa.Table] = []
        lengths: list[NDArray[np.int64]] = []
        while count:
            # A copy, as another thread may count further rows of the last task that it is at.
            counted = self._counts[self._shard][:, self._number].copy() if self._shard >= 0 else np.zeros(0, np.int64)
            ends = np.cumsum(counted)
            stop = min(self._used + count, int(ends[-1]) if len(ends) else 0)
            if stop == self._used:
                self._shard, self._used = self._shard + 1, 0
                self._tasks = pa.concat_tables(list(self._plan.take(len(self._counts[self._shard]))) or [_NONE])
                continue
            assert self._tasks is not None
            first, last = np.searchsorted(ends, [self._used, stop - 1], "right").tolist()
            begins = np.maximum(ends[first : last + 1] - counted[first : last + 1], self._used)
            lengths.append(np.minimum(ends[first : last + 1], stop) - begins)
            pieces.append(self._tasks.slice(first, last + 1 - first))
            count -= stop - self._used
            self._used = stop
        of_tasks = np.concatenate([np.zeros(0, np.int64), *lengths])
        tasks = pa.concat_tables([_NONE, *(piece.cast(_NONE.schema) for piece in pieces)])
        gave = of_tasks > 0  # a task without rows has no place in a dictionary
        places = np.repeat(np.arange(int(gave.sum()), dtype=np.int32), of_tasks[gave])
        return tasks.filter(pa.array(gave)), pa.array(places)


_NONE = pa.schema(_FIELDS).empty_table()


def decoded(table: pa.Table) -> pa.Table:
    """A table whose columns that lead back are texts again, as they are read from a file."""
    texts = [table[name].cast(pa.string()) for name in KEYS]
    schema = pa.schema([*_FIELDS, *list(table.schema)[len(KEYS) :]], metadata=table.schema.metadata)
    return pa.Table.from_arrays([*texts, *table.columns[len(KEYS) :]], schema=schema)
