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
from scaledproc.execution.workers.pool import Pool
from scaledproc.extractors import Task
from scaledproc.run_folder.names import WORK_ERROR_SCHEMA
from scaledproc.storage.parquet import write_table
from scaledproc.testing import output_bytes


def test_a_shard_without_errors_has_the_table_that_would_be_written(tmp_path: Path) -> None:
    write_table(tmp_path / "errors", WORK_ERROR_SCHEMA, [])
    assert no_errors() == (tmp_path / "errors").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("chunks", [1, 4])
def test_chunks_and_shards_that_are_made_together_are_as_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunks: int
) -> None:
    """They are made by one call and committed at once; one whose task ends its process does not harm the others."""
    for number in range(60):
        (tmp_path / f"data/{number:02d}").mkdir(parents=True)
        for chunk in range(chunks):
            (tmp_path / f"data/{number:02d}/{chunk}.txt").write_text(str(number))

    @scaledproc.extractor(schema={"v": pa.list_(pa.int64())}, anchor="*.txt")
    def values(task: Task) -> Any:
        number = int(task.path.read_text())
        if number == 41 and task.anchor.endswith("/0.txt"):
            os._exit(3)
        if number == 5:
            task.warn("five")
        if number % 10 == 7:
            raise ValueError(number)
        return [{"v": list(range(number))}] * (number % 3)

    events: list[Event] = []
    options: dict[str, Any] = {"extractor": values, "jobs": 2, "chunk": 1}
    called: list[str] = []
    submit = Pool.submit

    def watched(self: Pool, function: Any, **how: Any) -> Any:
        called.append(function.func.__name__)
        return submit(self, function, **how)

    monkeypatch.setattr(Pool, "submit", watched)
    together = scaledproc.run(
        tmp_path / "data", tmp_path / "together", shards="folder", on_event=events.append, **options
    )
    assert set(called) >= ({"make_shards"} if chunks == 1 else {"run_chunks", "merge_shards"})
    assert len(called) < 60 * chunks
    alone = scaledproc.run(tmp_path / "data", tmp_path / "alone", shards="folder", worker_lifespan=20, **options)
    assert output_bytes(together.store) == output_bytes(alone.store)
    assert [row["kind"] for row in together.errors().to_pylist()].count("crash") == 1
    assert together.quarantined == 6 * chunks + 1
    assert together.warnings().num_rows == chunks
    assert sorted(event.shard for event in events if isinstance(event, ShardDone)) == list(range(60))
    assert sum(isinstance(event, ChunkDone) for event in events) == 60 * chunks
    assert not (tmp_path / "together/work").exists()
