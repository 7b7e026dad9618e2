"""`tasks.parquet`: what became of each task, a row each in the plan's order.

A further column is a field of `TASKS_SCHEMA`, and a value for each row where `task_rows` makes them. Behind these come
the rows that the task gave to each further table that the extractor declares, as `rows_<table>`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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
    ]
)
REUSED_SCHEMA = pa.schema([pa.field("reused", pa.bool_(), nullable=False)])
"""Which tasks an earlier run made: what whoever puts a run together leaves for its last job, a row for each task."""


def tasks_schema(further: Iterable[str]) -> pa.Schema:
    """The table's columns, where an extractor declares further tables of these names."""
    return pa.schema([*TASKS_SCHEMA, *(pa.field(f"rows_{name}", pa.int64(), nullable=False) for name in further)])


def task_rows(
    tasks: Iterable[pa.Table], schema: pa.Schema, rows: NDArray[np.int64], reused: NDArray[np.bool_], failed: pa.Array
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
    failed
        The anchors of the quarantined tasks.
    """
    start = 0
    for piece in tasks:
        part = slice(start, start + piece.num_rows)
        start = part.stop
        anchors = piece["anchor"].cast(pa.string())
        status = pc.if_else(pa.array(reused[part]), REUSED, DONE)
        status = pc.if_else(pc.is_in(anchors, value_set=failed.cast(pa.string())), QUARANTINED, status)
        columns: Mapping[str, pa.ChunkedArray | pa.Array] = {
            "group": piece["group"].cast(pa.string()),
            "unit": piece["unit"].cast(pa.string()),
            "anchor": anchors,
            "shard": piece["shard"].cast(pa.int32()),
            "status": status,
            "rows": pa.array(rows[part, 0], pa.int64()),
        }
        made = [columns[name] for name in TASKS_SCHEMA.names]
        made += [pa.array(rows[part, place], pa.int64()) for place in range(1, rows.shape[1])]
        yield pa.table(made, schema=schema)
