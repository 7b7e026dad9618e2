"""A job that comes late changes nothing of a run that is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

import scaledproc
from scaledproc.engine import job
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.names import RECORD, shard_errors_name, shard_name
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
