"""What Slurm's commands print, as data: lines that a real one printed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from scaledproc.backends.batch.calls import BusyError, FullError, UnansweredError
from scaledproc.backends.batch.elements import COMBINE
from scaledproc.backends.slurm import calls
from scaledproc.backends.slurm.calls import (
    call,
    index_text,
    job_of,
    latest,
    of_exit_code,
    parse_queue,
)
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.events import State

QUEUE = """2|0|3|FAILED|JobLaunchFailure|node1
2|1|4|RUNNING|None|node1
2|2|5|PENDING|Resources|
2|3|2|COMPLETED|None|node2
6|0|6|PENDING|BeginTime|
7|N/A|7|PENDING|Dependency|
slurm_load_jobs error: Socket timed out
"""


def test_one_line_of_each_element() -> None:
    lines = latest(parse_queue(QUEUE))

    assert [(element, name, state) for element, name, _, state, _ in lines] == [
        (COMBINE, "7", "PENDING"),
        (0, "6_0", "PENDING"),
        (1, "2_1", "RUNNING"),
        (2, "2_2", "PENDING"),
        (3, "2_3", "COMPLETED"),
    ]


def test_a_job_that_works_counts_more_than_one_that_waits() -> None:
    lines = "2|0|2|RUNNING|None|node1\n3|0|3|PENDING|Dependency|\n4|0|4|CANCELLED|None|\n"

    assert latest(parse_queue(lines))[0][1] == "2_0"


@pytest.mark.parametrize(
    ("state", "reason", "code", "expected", "fate", "words"),
    [
        ("PENDING", "Priority", "", State.QUEUED, "", "Priority"),
        ("PENDING", "DependencyNeverSatisfied", "", State.FAILED, "lost", "waits for failed"),
        ("CONFIGURING", "None", "", State.STARTING, "", ""),
        ("RUNNING", "None", "", State.RUNNING, "", ""),
        ("COMPLETING", "None", "", State.RUNNING, "", ""),
        ("SUSPENDED", "None", "", State.RUNNING, "", ""),
        ("COMPLETED", "None", "", State.DONE, "worker", "left no result"),
        ("OUT_OF_MEMORY", "OutOfMemory", "0:125", State.FAILED, "memory", "took more memory"),
        ("TIMEOUT", "TimeLimit", "0:15", State.FAILED, "time", "time limit"),
        ("NODE_FAIL", "NodeDown", "", State.FAILED, "lost", "node failed"),
        ("PREEMPTED", "None", "", State.FAILED, "lost", "preempted"),
        ("CANCELLED", "None", "0:15", State.STOPPED, "stopped", "cancelled"),
        ("FAILED", "NonZeroExitCode", "143:0", State.FAILED, "ended", "told to end"),
        ("FAILED", "NonZeroExitCode", "2:0", State.FAILED, "hopeless", "exit code 2"),
        ("FAILED", "JobLaunchFailure", "0:9", State.FAILED, "worker", "signal 9"),
        ("FAILED", "RaisedSignal:53(Real-time_signal_19)", "0:53", State.FAILED, "worker", "does not see the output"),
        ("FAILED", "NonZeroExitCode", "", State.FAILED, "worker", "exit code unknown"),
    ],
)
def test_what_became_of_a_job(state: str, reason: str, code: str, expected: State, fate: str, words: str) -> None:
    job = job_of((4, "17_4", "21", state, reason), code)

    assert (job.element, job.name, job.state, job.fate) == (4, "17_4", expected, fate)
    assert words in job.detail
    assert job.is_over == (expected in (State.DONE, State.FAILED, State.STOPPED))


def test_an_exit_status() -> None:
    assert of_exit_code("1:0") == ("worker", "it ended with exit code 1")


def test_elements_as_an_array() -> None:
    assert index_text([0, 1, 2, 7], None) == "0-2,7"
    assert index_text([3], 10) == "3%10"


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


def test_the_cluster_configuration(says: Path) -> None:
    program(says, "scontrol", "printf 'Configuration data as of now\\nKillWait   = 30 sec\\nMaxArraySize = 1001\\n'")
    found = calls.configuration()

    assert calls.whole_number(found["KillWait"], 5) == 30
    assert calls.whole_number(found["MaxArraySize"], 5) == 1001
    assert calls.whole_number("UNLIMITED", 5) == 5
