"""Runs that are submitted whole, for nobody to watch: what is submitted, and when a last job is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_slurm import Fake, Runs

from scaledproc.api import status
from scaledproc.backends.batch.calls import BusyError, FullError
from scaledproc.backends.slurm import backend as module
from scaledproc.engine.job import do_job
from scaledproc.engine.options import JobOrder
from scaledproc.errors import UsageError
from scaledproc.events import Detached
from scaledproc.execution.worker import run_shards
from scaledproc.run_folder.folder import RunFolder
from scaledproc.storage.store import Store


def told(go: Runs) -> list[str]:
    return [event.text for event in go.events if isinstance(event, Detached)]


def dependencies(fake: Fake) -> list[str]:
    words = [[word for word in each if word.startswith("--dependency=")] for each in fake.submitted]
    return [word[0].removeprefix("--dependency=") if word else "" for word in words]


def killed_at(fake: Fake, count: int) -> Callable[[tuple[str, ...], str], str]:
    submit = fake.submit

    def killed(command: tuple[str, ...], script: str) -> str:
        if fake.count == count:
            raise KeyError("killed")
        return submit(command, script)

    return killed


def test_all_is_submitted_at_once_for_nobody_to_watch(fake: Fake, go: Runs, tmp_path: Path) -> None:
    go(detach=True, retries=2)

    first, again, third, last = fake.submitted
    assert not any("--dependency" in word for word in first)
    assert {"--dependency=afternotok:1", "--kill-on-invalid-dep=yes", "--array=0-3"} <= set(again)
    assert "--dependency=afternotok:1,afternotok:2" in third
    assert "--dependency=afterok:1?afterok:2?afterok:3" in last
    assert fake.scripts[3].rstrip().endswith("--finish")
    assert status(tmp_path / "out").backend == "slurm"
    assert told(go) == ["4 jobs submitted, then job 4 for the table"]


def test_what_is_there_whole_is_not_submitted_again(fake: Fake, go: Runs) -> None:
    fake.queued = 9
    go(detach=True, retries=0)
    go(detach=True, retries=0)

    assert len(fake.submitted) == 2
    assert told(go)[1] == "5 jobs of this run in the queue already, the last one among them"


@pytest.mark.parametrize("arrays", [1, 2])
def test_a_command_killed_between_two_arrays_is_made_whole(
    fake: Fake, go: Runs, monkeypatch: pytest.MonkeyPatch, arrays: int
) -> None:
    """What follows waits for all that is there: each array waits for those before it, and the table for one of them."""
    fake.queued = 9
    with monkeypatch.context() as patched:
        patched.setattr(fake, "submit", killed_at(fake, arrays))
        with pytest.raises(KeyError):
            go(detach=True, retries=1)
    if arrays == 2:
        queue = fake.queue
        monkeypatch.setattr(
            fake, "queue", lambda: "".join(f"1|{each}|RUNNING|None|0|\n" for each in range(4)) + queue()
        )
    go(detach=True, retries=1)

    assert dependencies(fake)[arrays:] == [
        ",".join(f"afterany:{number + 1}" for number in range(arrays)),
        f"afternotok:{arrays + 1}",
        f"afterok:{arrays + 1}?afterok:{arrays + 2}",
    ]
    assert fake.scripts[-1].rstrip().endswith("--finish")
    assert told(go) == [f"4 jobs submitted after {4 * arrays} jobs, then job {arrays + 3} for the table"]


def test_what_a_driver_left_is_followed_by_what_is_missing(fake: Fake, go: Runs) -> None:
    go.dies, fake.queued = True, 9
    with pytest.raises(KeyError):
        go()
    go.dies = False
    go(detach=True, retries=0)

    assert dependencies(fake) == ["", "afterany:1", "afterok:2"]


def test_a_last_job_that_somebody_is_to_watch_is_not_taken_for_one_that_ends_the_run(
    fake: Fake, go: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = fake.submit

    def last(command: tuple[str, ...], script: str) -> str:
        if "--combine" in script:
            fake.queued = 9
            submit(command, script)
            raise KeyError("killed")
        return submit(command, script)

    with monkeypatch.context() as patched:
        patched.setattr(fake, "submit", last)
        with pytest.raises(KeyError):
            go()
    with pytest.raises(UsageError, match=r"submitted without --slurm-detach.* without that flag, which watches it"):
        go(detach=True)
    assert len(fake.submitted) == 2
    go()
    assert go.is_as_local()


def test_a_queue_that_takes_not_all_is_left_as_it_was(fake: Fake, go: Runs, tmp_path: Path) -> None:
    fake.most_there = 6
    for _ in range(2):
        with pytest.raises(FullError) as raised:
            go(detach=True, retries=1)
        assert str(raised.value) == (
            "QOSMaxSubmitJobPerUserLimit: --slurm-detach submits all jobs at once, 9 here, and not so many are taken; "
            "what was submitted is cancelled. Give more --slurm-shards-per-job or fewer --slurm-retries, or leave "
            "--slurm-detach out, which submits jobs as there is room"
        )
    assert fake.cancelled == ["1", "2"]

    fake.jobs.clear()
    go(detach=True, retries=0)
    assert dependencies(fake)[-2:] == ["", "afterok:3"]


def test_more_shards_a_job_make_room(fake: Fake, go: Runs, tmp_path: Path) -> None:
    fake.most_there = 5
    with pytest.raises(FullError):
        go(detach=True, retries=1)
    fake.jobs.clear()
    go(detach=True, retries=1, shards_per_job=2)

    assert "--array=0-1" in fake.submitted[-2]
    assert json.loads((tmp_path / "out/work/control/slurm.json").read_text())["each"] == 2
    fake.queue()
    fake.queue()
    go()
    assert go.is_as_local()


def test_what_cannot_be_cancelled_is_named(fake: Fake, go: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    def call(*command: str, script: str | None = None) -> str:
        if command[0] == "scancel":
            raise BusyError("Slurm: Socket timed out")
        return fake(*command, script=script)

    monkeypatch.setattr(module, "call", call)
    fake.most_there = 6
    with pytest.raises(FullError, match=r"what was submitted \(1\) cannot be cancelled: Slurm: Socket timed out"):
        go(detach=True, retries=1)


def test_where_jobs_are_there_they_are_waited_for(fake: Fake, go: Runs) -> None:
    go.dies, fake.queued = True, 9
    with pytest.raises(KeyError):
        go()
    go.dies, fake.most_there = False, 4
    with pytest.raises(FullError, match="Give fewer --slurm-retries, or wait until the 4 jobs that are there have end"):
        go(detach=True)
    assert fake.cancelled == []


def test_a_run_that_ends_while_its_state_is_read_is_done(
    fake: Fake, go: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reports of its shards are gone with that end."""
    go(detach=True, retries=0)
    committed = RunFolder.committed_shards
    ended: list[RunFolder] = []

    def ends(run: RunFolder, *given: Any) -> set[int]:
        found = committed(run, *given)
        if len(found) == 4 and not ended:
            ended.append(run)
            list(do_job(JobOrder.parse(str(tmp_path / "out"), {"combine": True, "finish": True, "jobs": 1})))
        return found

    list(run_shards(RunFolder.open(Store.at(str(tmp_path / "out"))), [0, 1, 2, 3], jobs=1))
    monkeypatch.setattr(RunFolder, "committed_shards", ends)
    found = status(tmp_path / "out")

    assert len(ended) == 1
    assert (found.state, len(found.done), found.states) == ("done", 4, ())
