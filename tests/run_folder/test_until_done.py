"""A job that comes late changes nothing of a run that is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from support import Bucket

import scaledproc
from scaledproc.engine import job
from scaledproc.engine.options import JobOrder
from scaledproc.events import CombineDone
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.names import COMBINED, RECORD, shard_errors_name, shard_name
from scaledproc.run_folder.record import read_record
from scaledproc.run_folder.until_done import UntilDone
from scaledproc.storage.fencing import OvertakenError
from scaledproc.storage.store import Store
from scaledproc.testing import PROBE, output_bytes


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run that has just written its end, and has removed nothing of an unfinished one yet."""
    monkeypatch.setattr(RunFolder, "clean_up", lambda _: None)
    (tmp_path / "data/g").mkdir(parents=True)
    (tmp_path / "data/g/a.txt").write_text("x\npoison\n")
    (tmp_path / "data/g/b.txt").write_text("x\n")
    scaledproc.run(tmp_path / "data", tmp_path / "out", extractor=PROBE, backend="local", jobs=1, report=False)
    return RunFolder.open(Store.at(str(tmp_path / "out")))


def as_running(run: RunFolder) -> RunFolder:
    """As a job has it that opened the run before its end."""
    return replace(run, record=replace(run.record, state="running"))


def test_a_job_that_combines_late_takes_no_shard_for_damaged(
    finished: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = output_bytes(finished.store)
    committed: Callable[..., set[int]] = RunFolder.committed_shards

    def then_gone(run: RunFolder, *arguments: Any) -> set[int]:
        found = committed(run, *arguments)
        finished.store.remove(shard_errors_name(0))  # as the end of the run does
        return found

    monkeypatch.setattr(RunFolder, "committed_shards", then_gone)

    with pytest.raises(OvertakenError, match="this job changes nothing any more"):
        list(job._combined(as_running(finished), has_files=True))

    assert finished.store.exists(shard_name(0))
    assert output_bytes(finished.store) == before


def test_a_job_that_finishes_late_leaves_the_end_as_it_is(finished: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    before = finished.store.read(RECORD)
    order = JobOrder(str(finished.store), (), jobs=1, combine=True, finish=True)
    combined = CombineDone(rows=3, quarantined=1, summaries=(), seconds=0.0)
    finished.store.write(COMBINED, combined.to_json())
    # The other job wrote the end just after this one had written its table.
    monkeypatch.setattr(job, "_combined", lambda *_, **__: iter([combined]))

    with pytest.raises(OvertakenError, match="this job changes nothing any more"):
        list(job.perform(order, as_running(finished), progress=finished.store))

    assert finished.store.read(RECORD) == before


def test_a_job_that_finishes_in_time_removes_what_only_an_unfinished_run_needs(
    finished: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # of `finished`, which keeps that
    running = as_running(finished)
    finished.store.write(RECORD, running.record.to_json().encode())

    list(
        job.perform(
            JobOrder(str(finished.store), (), jobs=1, combine=True, finish=True), running, progress=running.store
        )
    )

    found = read_record(finished.store)
    assert found is not None
    assert found.state == "done"
    assert not finished.store.exists("work")


def test_a_folder_that_is_gone_is_changed_no_more(finished: RunFolder) -> None:
    fence = UntilDone(finished.store, finished.record.work_id)
    finished.store.write(RECORD, as_running(finished).record.to_json().encode())
    fence()
    finished.store.remove("")

    with pytest.raises(OvertakenError, match="is gone"):
        replace(finished.store, fence=fence).write("work/x", b"")
    assert not finished.store.exists()


def test_of_two_jobs_that_replace_a_file_at_once_both_do(finished: RunFolder, s3: Bucket) -> None:
    store = Store.at(s3.url("until-done"), s3.storage_options)
    store.write(RECORD, as_running(finished).record.to_json().encode())
    one, other = (replace(store, fence=UntilDone(store, finished.record.work_id)) for _ in range(2))

    for before in (None, b"an earlier run's"):
        if before:
            store.write("table", before)
        with one.committing("table", replacing=True) as part:
            part.write_bytes(b"rows")
            other.write("table", b"rows, made by another release", replacing=True)
        assert store.read("table") == b"rows"


@pytest.mark.parametrize(
    ("state", "work_id", "is_refused"), [("running", "", False), ("done", "", True), ("running", "x", True)]
)
def test_what_a_job_may_change(
    finished: RunFolder, state: Literal["running", "done"], work_id: str, is_refused: bool
) -> None:
    record = replace(finished.record, state=state)
    finished.store.write(RECORD, record.to_json().encode())
    store = replace(finished.store, fence=UntilDone(finished.store, work_id or record.work_id))
    if is_refused:
        with pytest.raises(OvertakenError):
            store.write("work/x", b"")
    else:
        store.write("work/x", b"")
        found = read_record(finished.store)
        assert found is not None
        finished.store.write(RECORD, replace(found, state="done").to_json().encode())
        with pytest.raises(OvertakenError):
            store.remove("work/x")
