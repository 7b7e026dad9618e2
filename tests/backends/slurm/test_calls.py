"""What Slurm's commands print, as data: lines that a real one printed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from scaledproc.backends.batch.calls import BusyError, FullError, UnansweredError
from scaledproc.backends.batch.elements import COMBINE
from scaledproc.backends.slurm import calls
from scaledproc.backends.slurm.calls import call, job_of, jobs_in
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.events import State

QUEUE = """6|0|PENDING|BeginTime|0|
2|0|FAILED|NonZeroExitCode|768|
2|1|RUNNING|None|0|
2|2|PENDING|JobArrayTaskLimit|0|
7|N/A|PENDING|Dependency|0|
slurm_load_jobs error: Socket timed out
"""


def test_the_jobs_of_a_queue_in_the_order_of_their_arrays() -> None:
    assert [(job.element, job.name, job.state) for job in jobs_in(QUEUE)] == [
        (0, "2_0", State.FAILED),
        (1, "2_1", State.RUNNING),
        (2, "2_2", State.QUEUED),
        (0, "6_0", State.QUEUED),
        (COMBINE, "7", State.QUEUED),
    ]


@pytest.mark.parametrize(
    ("state", "reason", "status", "expected", "fate", "words"),
    [
        ("PENDING", "Priority", 0, State.QUEUED, "", "Priority"),
        ("PENDING", "DependencyNeverSatisfied", 0, State.FAILED, "lost", "waits for failed"),
        ("CONFIGURING", "None", 0, State.STARTING, "", ""),
        ("RUNNING", "None", 0, State.RUNNING, "", ""),
        ("COMPLETING", "None", 0, State.RUNNING, "", ""),
        ("SUSPENDED", "None", 0, State.RUNNING, "", ""),
        ("COMPLETED", "None", 0, State.DONE, "well", "left no result"),
        ("OUT_OF_MEMORY", "OutOfMemory", 125, State.FAILED, "memory", "took more memory"),
        ("TIMEOUT", "TimeLimit", 15, State.FAILED, "time", "time limit"),
        ("NODE_FAIL", "NodeDown", 0, State.FAILED, "lost", "node failed"),
        ("PREEMPTED", "None", 0, State.FAILED, "lost", "preempted"),
        ("CANCELLED", "None", 15, State.STOPPED, "stopped", "cancelled"),
        ("FAILED", "NonZeroExitCode", 143 * 256, State.FAILED, "ended", "told to end"),
        ("FAILED", "RaisedSignal", 15, State.FAILED, "ended", "told to end"),
        ("FAILED", "NonZeroExitCode", 2 * 256, State.FAILED, "hopeless", "exit code 2"),
        ("FAILED", "NonZeroExitCode", 256, State.FAILED, "worker", "it ended with exit code 1"),
        ("FAILED", "JobLaunchFailure", 9, State.FAILED, "worker", "signal 9 ended it"),
        ("FAILED", "JobLaunchFailure", 4021, State.FAILED, "worker", "does not see the output"),
    ],
)
def test_what_became_of_a_job(state: str, reason: str, status: int, expected: State, fate: str, words: str) -> None:
    job = job_of("17", "4", state, reason, str(status))

    assert (job.element, job.name, job.state, job.fate) == (4, "17_4", expected, fate)
    assert words in job.detail
    assert job.is_over == (expected in (State.DONE, State.FAILED, State.STOPPED))


@pytest.mark.parametrize("status", ["N/A", "", "1:0", "-1"])
def test_an_exit_code_that_is_no_number_is_unknown(status: str) -> None:
    (job,) = jobs_in(f"17|4|FAILED|NonZeroExitCode|{status}|\n")

    assert (job.name, job.state, job.fate) == ("17_4", State.FAILED, "worker")
    assert "exit code is unknown" in job.detail


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts a program in front of all others, which fails with this text."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.mark.parametrize(
    ("name", "said", "kind"),
    [
        ("sbatch", "sbatch: error: Batch job submission failed: Invalid partition name specified", ScaledprocError),
        ("sbatch", "sbatch: error: QOSMaxSubmitJobPerUserLimit", FullError),
        ("sbatch", "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying", FullError),
        ("sbatch", "sbatch: error: Batch job submission failed: Requested time limit is invalid", ScaledprocError),
        ("sbatch", "sbatch: error: Batch job submission failed: Socket timed out on send/recv", UnansweredError),
        ("squeue", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)", UnansweredError),
        ("squeue", "slurm_load_jobs error: Invalid job id specified", BusyError),
    ],
)
def test_what_slurm_refuses(says: Path, name: str, said: str, kind: type[ScaledprocError]) -> None:
    program(says, name, f"echo '{said}' >&2; exit 1")

    with pytest.raises(ScaledprocError, match="Slurm: ") as error:
        call(name)
    assert type(error.value) is kind
    assert said.removeprefix("sbatch: error: ") in str(error.value)


def test_a_machine_without_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(UsageError, match="squeue is not here: this needs Slurm's commands"):
        call("squeue")


def test_a_controller_that_does_not_answer(says: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(says, "squeue", "exec sleep 5")
    monkeypatch.setattr(calls, "TIMEOUT", 0.1)

    with pytest.raises(UnansweredError, match="does not answer"):
        call("squeue")
