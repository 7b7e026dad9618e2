"""Chunks to macro shards."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import scaledproc
from scaledproc.events import ChunkDone, Event, ShardDone
from scaledproc.execution.shard import no_errors
from scaledproc.extractors import Task
from scaledproc.run_folder.names import WORK_ERROR_SCHEMA
from scaledproc.storage.parquet import write_table
from scaledproc.testing import output_bytes


def test_a_shard_without_errors_has_the_table_that_would_be_written(tmp_path: Path) -> None:
    write_table(tmp_path / "errors", WORK_ERROR_SCHEMA, [])
    assert no_errors() == (tmp_path / "errors").read_bytes()


@pytest.mark.slow
def test_small_shards_that_are_made_together_are_as_others(tmp_path: Path) -> None:
    """They are made by one call and committed at once; one whose task ends its process does not harm the others."""
    for number in range(60):
        (tmp_path / f"data/{number:02d}").mkdir(parents=True)
        (tmp_path / f"data/{number:02d}/a.txt").write_text(str(number))

    @scaledproc.extractor(schema={"v": pa.list_(pa.int64())}, anchor="*.txt")
    def values(task: Task) -> Any:
        number = int(task.path.read_text())
        if number == 41:
            os._exit(3)
        if number % 10 == 7:
            raise ValueError(number)
        return [{"v": list(range(number))}] * (number % 3)

    events: list[Event] = []
    options: dict[str, Any] = {"extractor": values, "jobs": 2, "chunk": 1}
    together = scaledproc.run(
        tmp_path / "data", tmp_path / "together", shards="folder", on_event=events.append, **options
    )
    alone = scaledproc.run(tmp_path / "data", tmp_path / "alone", shards="folder", worker_lifespan=20, **options)
    assert output_bytes(together.store) == output_bytes(alone.store)
    assert [row["kind"] for row in together.errors().to_pylist()].count("crash") == 1
    assert together.quarantined == 7
    assert sorted(event.shard for event in events if isinstance(event, ShardDone)) == list(range(60))
    assert sum(isinstance(event, ChunkDone) for event in events) == 60
    assert not (tmp_path / "together/work").exists()
