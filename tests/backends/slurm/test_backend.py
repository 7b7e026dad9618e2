"""What the backend `slurm` submits and decides, with a Slurm that is a function."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_slurm import Fake, Runs

import scaledproc
from scaledproc.api import expect, make_backend, past_runs, report, status, stop
from scaledproc.backend.base import Backend
from scaledproc.backends.batch import known_jobs
from scaledproc.backends.batch.calls import FullError, UnansweredError
from scaledproc.backends.slurm import backend as module
from scaledproc.engine import driver
from scaledproc.engine.job import do_job
from scaledproc.engine.options import JobOrder
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.events import Note, ShardDone, ShardState
from scaledproc.execution.worker import run_shards
from scaledproc.run_folder.folder import RunFolder
from scaledproc.storage.store import Store
from scaledproc.testing import PROBE


def test_an_array_and_then_the_table(fake: Fake, go: Runs, tmp_path: Path) -> None:
    run = go(partition="main", time="4h", mem="2GiB", at_once=3, extra=["--exclusive"], account="lab", gpus="1")

    assert {name for name, value in run.record.backend["expected"].items() if value > 0} == {
        "seconds",
        "work_seconds",
        "jobs",
    }
    array, last = fake.submitted
    assert {"--array=0-3%3", "--partition=main", "--time=240", "--mem=2048M", "--exclusive", "--gpus=1"} <= set(array)
    assert {"--account=lab", "--requeue", "--signal=B:TERM@20", "--cpus-per-task=1", "--parsable"} <= set(array)
    assert not any(word.startswith("--array") for word in last)
    assert f'worker {tmp_path}/out --shard "$SLURM_ARRAY_TASK_ID" --report' in fake.scripts[0]
    assert fake.scripts[0].startswith("#!/bin/bash\nexec ")
    assert "--grace=15" in fake.scripts[0]
    assert " --combine " in fake.scripts[1]
    assert any("4 jobs of 1 core, the first to start at 2026-11-29T08:00:00" in note for note in go.notes)
    assert next(event.state for event in go.events if isinstance(event, ShardState) and event.shard == 2) == "running"
    assert go.is_as_local()


def test_the_report_shows_how_long_jobs_waited(fake: Fake, go: Runs, tmp_path: Path) -> None:
    fake.queued, fake.late = 3, dict.fromkeys(range(4), 3)
    found = go(poll_seconds=0.05)

    waited = dict(found.record.timings["timeline"]["waited"])
    assert sorted(waited) == [0, 1, 2, 3]
    assert all(0.1 <= seconds < 60 for seconds in waited.values()), waited
    assert Path(report(tmp_path / "out", examples=0)).read_text().count('<rect class="bar wait"') == 4


def test_several_shards_a_job_where_the_site_asks_for_it(fake: Fake, go: Runs) -> None:
    fake.array = 3
    go()

    assert "--array=0-1" in fake.submitted[0]
    assert any(note.startswith("2 shards a job") for note in go.notes)
    assert go.is_as_local()


@pytest.mark.parametrize(("said", "expected"), [("KillWait   = 40 sec\n", 35.0), ("KillWait = 6 sec", 3.0), ("", 25.0)])
def test_the_grace_fits_the_site(monkeypatch: pytest.MonkeyPatch, said: str, expected: float) -> None:
    monkeypatch.setattr(module, "call", lambda *_: f"Configuration data\nUnkillableStepTimeout = 60 sec\n{said}")

    assert module.SlurmBackend(jobs=1).grace == expected
    assert module.SlurmBackend(jobs=1, grace="2m").grace == 120


def test_what_fails_is_submitted_again_alone(fake: Fake, go: Runs) -> None:
    fake.ends = {1: ["NODE_FAIL"], 3: ["PREEMPTED", "FAILED"]}
    go()

    assert [next(word for word in each if "--array" in word) for each in fake.submitted[:-1]] == [
        "--array=0-3",
        "--array=1,3",
        "--array=3",
    ]
    assert any("shard 1 is submitted again: its node failed" in note for note in go.notes)
    assert go.is_as_local()


def test_no_more_jobs_are_at_once_when_some_are_submitted_again(fake: Fake, go: Runs) -> None:
    fake.ends = {0: ["NODE_FAIL"], 1: ["OUT_OF_MEMORY", "FAILED"], 3: ["NODE_FAIL"]}
    fake.late = {2: 9, 3: 4}
    go(at_once=2, mem="1GiB", memory_step="1GiB")

    assert max(fake.at_work) == 2
    assert len(fake.submitted) > 3
    assert go.is_as_local()


def test_the_file_of_the_jobs_is_read_as_often_for_many_elements_as_for_few(
    fake: Fake, go: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[RunFolder] = []
    control: Callable[[module.SlurmBackend, RunFolder], dict[str, Any]] = module.SlurmBackend.control

    def counted(backend: module.SlurmBackend, run: RunFolder) -> dict[str, Any]:
        reads.append(run)
        return control(backend, run)

    monkeypatch.setattr(module.SlurmBackend, "control", counted)
    counts = []
    for shards in ("2", "4"):
        go(shards=shards)
        counts.append(len(reads))
        reads.clear()
        shutil.rmtree(tmp_path / "out")
        fake.jobs.clear()

    assert counts[0] == counts[1] > 0


def test_what_lacked_memory_gets_more(fake: Fake, go: Runs) -> None:
    fake.ends = {2: ["OUT_OF_MEMORY", "OUT_OF_MEMORY"]}
    go(mem="1GiB", memory_step="512MiB")

    assert [next(word for word in each if "--mem" in word) for each in fake.submitted] == [
        "--mem=1024M",
        "--mem=1536M",
        "--mem=2048M",
        "--mem=1024M",
    ]


@pytest.mark.parametrize(
    ("ends", "words", "submissions"),
    [
        (["OUT_OF_MEMORY"], "shard 2: it was killed, as it took more memory than it was given (job 1_2)", 1),
        (["CANCELLED"], "shard 2: it was cancelled (job 1_2)", 1),
        (["FAILED"] * 9, "shard 2: it ended with exit code 1 (job 3_2)", 3),
    ],
)
def test_what_is_given_up_fails_the_run_when_the_others_are_done(
    fake: Fake, go: Runs, tmp_path: Path, ends: list[str], words: str, submissions: int
) -> None:
    fake.ends = {2: ends}

    with pytest.raises(ScaledprocError) as error:
        go()
    assert words in str(error.value)
    assert len(fake.submitted) == submissions
    assert RunFolder.open(Store.at(str(tmp_path / "out"))).committed_shards() == {0, 1, 3}
    fake.ends = {}
    go()
    assert go.is_as_local()


def test_a_site_that_takes_few_jobs_gets_few(fake: Fake, go: Runs) -> None:
    fake.most = 2
    go()

    assert [next(word for word in each if "--array" in word) for each in fake.submitted[:2]] == [
        "--array=0-1",
        "--array=2-3",
    ]
    assert go.is_as_local()


def test_a_full_site_is_asked_once_a_look(fake: Fake, go: Runs, tmp_path: Path) -> None:
    for number in range(4, 16):
        (tmp_path / f"data/g{number}").mkdir()
        (tmp_path / f"data/g{number}/a.txt").write_text("x\ny\n")
    fake.most_there, fake.late = 1, {0: 20}
    go(shards="16")

    looks = fake.calls.count("squeue")
    assert looks > 20
    assert fake.refused <= looks + 5
    assert len(fake.jobs) == 16 + 1


def test_a_site_that_has_room_again_gets_twice_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    made, takes, sizes = module.SlurmBackend(jobs=1), [0], list[int]()

    def submits(_: Any, elements: Sequence[int], __: int) -> None:
        sizes.append(len(elements))
        if len(elements) > takes[0]:
            raise FullError("QOSMaxSubmitJobPerUserLimit")

    monkeypatch.setattr(made, "submit", submits)
    run: Any = None
    for takes[0] in (0, 0, 100, 100, 100, 2, 2):
        made._submit_some(run, range(8), 1, 0)

    assert sizes == [8, 4, 2, 1, 1, 1, 2, 4, 8, 4, 2, 2]


@pytest.mark.parametrize(
    ("troubles", "submissions"), [(["taken"], 2), (["refused", "refused"], 2), (["", "taken"], 2), (["", "refused"], 2)]
)
def test_a_call_without_an_answer_doubles_no_job(fake: Fake, go: Runs, troubles: list[str], submissions: int) -> None:
    fake.troubles = troubles
    go()

    assert len(fake.submitted) == submissions
    assert "--array=0-3" in fake.submitted[0]
    assert any(note.endswith("; submitting again") for note in go.notes)
    assert go.is_as_local()


def test_a_try_without_an_answer_counts_once(fake: Fake, go: Runs) -> None:
    fake.troubles, fake.ends = ["", "taken", "taken"], {1: ["FAILED"] * 9}
    with pytest.raises(ScaledprocError, match="exit code 1"):
        go()

    assert len(fake.submitted) == 3


def test_a_call_without_an_answer_leaves_a_detached_run_whole(fake: Fake, go: Runs) -> None:
    fake.troubles = ["taken", "refused", "", "taken"]
    go(detach=True, retries=1)

    assert len(fake.submitted) == 3
    assert "--dependency=afterok:1?afterok:2" in fake.submitted[2]


def test_a_site_that_never_takes_a_job_ends_the_run(fake: Fake, go: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.SlurmBackend, "pause", lambda *_: None)
    fake.most = 0
    with pytest.raises(FullError, match="QOSMaxSubmitJobPerUserLimit"):
        go()


def test_a_run_that_ends_between_two_looks_is_told_to_its_end(
    fake: Fake, go: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed: Callable[[module.SlurmBackend, RunFolder], set[int]] = module.SlurmBackend._committed
    ended: list[str] = []

    def ends(backend: module.SlurmBackend, run: RunFolder) -> set[int]:
        found = committed(backend, run)
        if len(found) == 4 and not ended:
            ended.append(run.store.uri)
            list(do_job(JobOrder.parse(run.store.uri, {"combine": True, "finish": True, "jobs": 1})))
        return found

    monkeypatch.setattr(module.SlurmBackend, "_committed", ends)
    go()

    assert len(ended) == 1
    told = [event for event in go.events if isinstance(event, ShardDone)]
    assert sorted((event.shard, event.rows) for event in told) == [(shard, 2) for shard in range(4)]
    assert go.is_as_local()


def test_a_job_of_a_finished_run_does_nothing(fake: Fake, go: Runs, tmp_path: Path) -> None:
    go()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    orders: list[dict[str, Any]] = [{"shards": (0,), "report": "9_0"}, {"combine": True, "finish": True}]
    for given in orders:
        (note,) = do_job(JobOrder.parse(str(tmp_path / "out"), given))
        assert isinstance(note, Note)
        assert "is finished; there is nothing to do" in note.text
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


def test_jobs_that_are_there_already_are_watched(fake: Fake, go: Runs) -> None:
    go.dies = True
    with pytest.raises(KeyError):
        go()
    assert len(fake.submitted) == 1
    go.dies = False
    go()

    assert len(fake.submitted) == 2
    assert go.is_as_local()


@pytest.mark.parametrize("when", ["submitted", "looked at"])
def test_jobs_that_end_a_run_meanwhile_are_not_undone(
    fake: Fake, go: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """A command that began while the run was not done does not write that over its end."""

    def end(*_: object, **__: object) -> str:
        words = {"shards": (0, 1, 2, 3), "combine": True, "finish": True, "jobs": 1}
        list(do_job(JobOrder.parse(str(tmp_path / "out"), words)))
        return "submitted"

    if when == "looked at":
        go(detach=True)
        monkeypatch.setattr(driver, "refuse_twins", end)
    else:
        monkeypatch.setattr(module.SlurmBackend, "detach", end)
    found = go(detach=True)

    assert found.record.state == "done"
    assert status(tmp_path / "out").state == "done"
    assert go.is_as_local()


@pytest.mark.parametrize("is_busy", [False, True])
def test_whoever_watches_asks_the_controller_seldom(
    fake: Fake, go: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_busy: bool
) -> None:
    go(detach=True, retries=0)
    clock = [1000.0]
    monkeypatch.setattr(known_jobs, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    if is_busy:
        monkeypatch.setattr(fake, "queue", lambda: raises(UnansweredError("Slurm: Socket timed out")))
    backends: dict[str, Backend] = {}
    fake.calls.clear()
    for second in range(60):
        clock[0] = 1000.0 + second
        run, found = past_runs.seen(tmp_path / "out", None, None, backends)
        if second == 10:  # what the run's folder tells is seen at once
            list(run_shards(RunFolder.open(run.store), [0, 1, 2, 3], jobs=1))
        assert len(found.done) == (0 if second <= 10 else 4)
        assert ("Socket timed out" in found.note) == is_busy

    assert fake.calls.count("squeue") == 4
    assert len(fake.calls) == 4


def raises(error: Exception) -> Any:
    raise error


def test_a_driver_is_told_to_stop_where_slurm_is_down(
    fake: Fake, go: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(detach=True, retries=0)
    monkeypatch.setattr(fake, "queue", lambda: raises(UnansweredError("Slurm: Socket timed out")))

    with pytest.raises(ScaledprocError, match="Socket timed out"):
        stop(tmp_path / "out")
    assert (tmp_path / "out/work/control/stop").exists()


def test_a_run_is_stopped_from_anywhere(fake: Fake, go: Runs, tmp_path: Path) -> None:
    go(detach=True, retries=0)

    assert stop(tmp_path / "out") == 5
    assert len(fake.cancelled) == 1


def test_a_partition_that_is_none_is_refused_before_anything_is_written(
    fake: Fake, go: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*command: str, script: str | None = None) -> str:
        if command[0] != "sbatch":
            return fake(*command)
        raise ScaledprocError("Slurm: invalid partition specified: nope")

    monkeypatch.setattr(module, "call", refuses)
    with pytest.raises(UsageError, match="invalid partition specified: nope"):
        go(partition="nope")
    assert not (tmp_path / "out").exists()


def test_a_template_is_the_script(fake: Fake, go: Runs, tmp_path: Path) -> None:
    (tmp_path / "site.sh").write_text(
        "#!/bin/bash -l\n#SBATCH --mail-type=FAIL\nmodule load apptainer\nexec {command}\n"
    )
    go(template=str(tmp_path / "site.sh"))

    assert fake.scripts[0].startswith("#!/bin/bash -l\n#SBATCH --mail-type=FAIL\nmodule load apptainer\nexec /")


def test_a_plan_shows_jobs_cores_and_time(fake: Fake, tmp_path: Path) -> None:
    plan = scaledproc.plan(tmp_path / "data", extractor=PROBE, shards="4")
    made = make_backend("slurm", None, None, {"cpus": 8, "at_once": 2})
    found = expect(plan, made, tmp_path / "data", PROBE)

    assert found is not None
    assert (found.content["jobs"], found.content["cores_per_job"], found.content["jobs_at_once"]) == (4, 8, 2)
    assert any("2026-11-29T08:00:00" in line for line in found.lines)


ASKS: list[tuple[bool, str]] = [(True, "and cancelled"), (False, "left to go on")]


@pytest.mark.parametrize(("answer", "words"), ASKS)
def test_ctrl_c_asks_whether_jobs_are_to_be_cancelled(fake: Fake, tmp_path: Path, answer: bool, words: str) -> None:
    backend = module.SlurmBackend(jobs=1, poll_seconds=0.01)
    asked: list[str] = []

    def ask(question: str) -> bool:
        asked.append(question)
        return answer

    answers: Callable[[str], bool] = ask
    assert backend.interrupt(answers) == ""
    backend._run, backend._at_work = RunFolder.open(Store.at(str(_begun(tmp_path, fake)))), 3
    assert words in backend.interrupt(answers)
    assert asked == ["3 jobs are queued or at work. Cancel them?"]
    assert len(fake.cancelled) == (1 if answer else 0)


def _begun(folder: Path, fake: Fake) -> Path:
    scaledproc.run(
        folder / "data", folder / "out", extractor=PROBE, backend="slurm", shards="4", jobs=1, settings={"detach": True}
    )
    fake.cancelled.clear()
    return folder / "out"
