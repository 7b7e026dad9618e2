"""`tasks.parquet`: what became of each task, a row each in the plan's order.

A further column is a field of `TASKS_SCHEMA`, and a value for each row where `task_rows` makes them. Behind these come
the rows that the task gave to each further table that the extractor declares, as `rows_<table>`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

DONE, QUARANTINED, REUSED = "done", "quarantined", "reused"
"""What `status` says: made by this run, failed, or taken from an earlier run."""

TASKS_SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in ("group", "unit", "anchor")),
        pa.field("shard", pa.int32(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("seconds", pa.float64()),
        pa.field("bytes_read", pa.int64()),
        pa.field("peak_memory", pa.int64()),
        pa.field("attempts", pa.int32()),
        pa.field("error_kind", pa.string()),
    ]
)
FAILED = ["anchor", "kind", "attempts"]
"""The columns of `errors.parquet` that the table is made with."""
REUSED_SCHEMA = pa.schema([pa.field("reused", pa.bool_(), nullable=False)])
"""Which tasks an earlier run made: what whoever puts a run together leaves for its last job, a row for each task."""


def tasks_schema(further: Iterable[str]) -> pa.Schema:
    """The table's columns, where an extractor declares further tables of these names."""
    return pa.schema([*TASKS_SCHEMA, *(pa.field(f"rows_{name}", pa.int64(), nullable=False) for name in further)])


def task_rows(
    tasks: Iterable[pa.Table],
    schema: pa.Schema,
    rows: NDArray[np.int64],
    reused: NDArray[np.bool_],
    costs: NDArray[np.int64],
    failed: pa.Table,
) -> Iterator[pa.Table]:
    """The table's rows, piece by piece.

    Parameters
    ----------
    tasks
        Columns group, unit, anchor and shard of all tasks, in pieces.
    schema
        As `tasks_schema` gives it.
    rows
        How many rows each task gave to the main table and to each further one, shape (tasks, tables).
    reused
        Whether they are an earlier run's, shape (tasks,).
    costs
        Microseconds, bytes read, bytes of peak memory and attempts of each task, shape (tasks, 4); -1 is null.
    failed
        The quarantined tasks: their columns `FAILED`.
    """
    import pyarrow.compute as pc

    start = 0
    bad = failed["anchor"].cast(pa.string()).combine_chunks()
    for piece in tasks:
        part = slice(start, start + piece.num_rows)
        start = part.stop
        anchors = piece["anchor"].cast(pa.string())
        status = pc.if_else(pa.array(reused[part]), REUSED, DONE)
        place = pc.index_in(anchors, value_set=bad)
        status = pc.if_else(pc.is_valid(place), QUARANTINED, status)
        micros, read, peak, attempts = (_known(costs[part, column]) for column in range(costs.shape[1]))
        columns: Mapping[str, pa.ChunkedArray | pa.Array] = {
            "group": piece["group"].cast(pa.string()),
            "unit": piece["unit"].cast(pa.string()),
            "anchor": anchors,
            "shard": piece["shard"].cast(pa.int32()),
            "status": status,
            "rows": pa.array(rows[part, 0], pa.int64()),
            "seconds": pc.divide(micros.cast(pa.float64()), 1e6),
            "bytes_read": read,
            "peak_memory": peak,
            "attempts": pc.coalesce(failed["attempts"].take(place), attempts.cast(pa.int32())),
            "error_kind": failed["kind"].take(place),
        }
        made = [columns[name] for name in TASKS_SCHEMA.names]
        made += [pa.array(rows[part, number], pa.int64()) for number in range(1, rows.shape[1])]
        yield pa.table(made, schema=schema)


def _known(values: NDArray[np.int64]) -> pa.Array:
    return pa.array(values, pa.int64(), mask=values < 0)
