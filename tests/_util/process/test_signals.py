"""SIGINT and SIGTERM: once, and what is at work is finished and committed; twice, and the command leaves at once."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from support import COMMAND, Cli, clean_environment, tree_bytes

from scaledproc._util.process.signals import Stopping, listening, stopping

SLOW = """
import os, pathlib, time
import scaledproc

@scaledproc.extractor(schema={"path": "string"}, anchor="*.txt")
def slow(task):
    with open(os.environ["LOG"], "a") as file:
        file.write(f"begin {task.anchor}\\n")
    end = time.monotonic() + float(os.environ["SECONDS"])
    while time.monotonic() < end:
        time.sleep(0.01)
    with open(os.environ["LOG"], "a") as file:
        file.write(f"end {task.anchor}\\n")
    return {"path": task.anchor}
"""


class Case:
    """A slow run in a folder with a space in its name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "a folder"
        self.folder.mkdir()
        (self.folder / "slow.py").write_text(SLOW)
        (self.folder / "in put").mkdir()
        for number in range(30):
            (self.folder / f"in put/{number:02}.txt").write_text("x")
        self.log = self.folder / "log"
        self.output = self.folder / "out $put"
        self.command = ["in put", "out $put", "--extractor", "slow.py:slow", "--chunk", "1"]

    @contextlib.contextmanager
    def started(self, words: Sequence[str], seconds: float, begun: int = 1) -> Iterator[subprocess.Popen[str]]:
        """The command at work, in a process group of its own."""
        process = subprocess.Popen(
            [*COMMAND, *words],
            cwd=self.folder,
            env=clean_environment({"LOG": str(self.log), "SECONDS": str(seconds)}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            wait_for(lambda: len(self.lines("begin")) >= begun or process.poll() is not None)
            assert process.poll() is None, process.communicate()
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    def lines(self, kind: str) -> list[str]:
        return (
            [line for line in self.log.read_text().splitlines() if line.startswith(kind)] if self.log.exists() else []
        )

    def committed(self) -> int:
        return len(list(self.output.glob("work/00000/[0-9]*.parquet")))


def wait_for(holds: object, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_once_finishes_what_is_at_work_and_commits_it(
    case: Case, cli: Cli, jobs: str, number: signal.Signals, code: int
) -> None:
    words = [*case.command, "--jobs", jobs]
    with case.started(words, 1.0, begun=int(jobs)) as process:
        os.killpg(process.pid, number)  # as a terminal does: to the workers too
        _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "finishing what is at work, 30 s at most" in errors
    begun, ended = len(case.lines("begin")), len(case.lines("end"))
    assert begun == ended == case.committed() >= int(jobs), "each chunk that was begun is committed"
    assert begun <= 2 * int(jobs) + 1
    assert not (case.output / "lease.json").exists()
    resuming = errors.strip().rpartition("this continues: ")[2]
    assert shlex.split(resuming) == ["scaledproc", *words]
    done = cli(*shlex.split(resuming)[1:], cwd=case.folder, env={"LOG": str(case.log), "SECONDS": "0"})
    assert done.returncode == 0, done.stderr
    assert len(case.lines("begin")) == 30, "nothing was done twice"


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_twice_leaves_at_once(case: Case, jobs: str) -> None:
    with case.started([*case.command, "--jobs", jobs], 1000) as process:
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 143, errors  # the first one's
    assert case.committed() == 0
    assert not (case.output / "lease.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_what_takes_longer_than_the_grace_is_left(case: Case, jobs: str) -> None:
    with case.started([*case.command, "--jobs", jobs, "--grace", "1s"], 1000) as process:
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert time.monotonic() - began >= 1
    assert "this continues" in errors
    assert case.lines("end") == []
    assert "Traceback" not in errors


@pytest.mark.slow
def test_a_worker_of_a_service_finishes_what_is_at_work(case: Case, cli: Cli) -> None:
    with case.started([*case.command, "--jobs", "2"], 1000) as process:
        process.kill()
    case.log.unlink()
    with case.started(["worker", "out $put", "--shard", "0", "--jobs", "2"], 1.0, begun=2) as process:
        process.send_signal(signal.SIGTERM)  # to the container's first process alone
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert "90 s at most" in errors
    assert len(case.lines("begin")) == len(case.lines("end")) == case.committed() >= 2
    before = tree_bytes(case.output / "work/00000")
    done = cli(*case.command, cwd=case.folder, env={"LOG": str(case.log), "SECONDS": "0"})
    assert done.returncode == 0, done.stderr
    assert len(case.lines("begin")) == 30
    assert before


@pytest.mark.parametrize(
    ("is_orderly", "grace", "numbers", "raises_at"),
    [
        (False, 30.0, [signal.SIGINT], 0),  # nothing is at work that could be committed
        (True, 30.0, [signal.SIGINT], None),
        (True, 30.0, [signal.SIGTERM, signal.SIGTERM], 1),
        (True, 30.0, [signal.SIGTERM, signal.SIGINT], 1),
        (True, 0.0, [signal.SIGTERM], 0),
    ],
)
def test_what_each_signal_does(
    is_orderly: bool, grace: float, numbers: list[signal.Signals], raises_at: int | None
) -> None:
    asked = Stopping(grace)
    with asked.orderly() if is_orderly else contextlib.nullcontext():
        for at, number in enumerate(numbers):
            with pytest.raises(KeyboardInterrupt) if at == raises_at else contextlib.nullcontext():
                asked.hear(number)
    assert asked.signal == numbers[0]
    assert asked.asked.done() == (is_orderly and grace > 0)
    with pytest.raises(KeyboardInterrupt):
        asked.leave()


def test_handlers_are_given_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with listening(1.0) as asked:
        assert stopping() is asked
        assert signal.getsignal(signal.SIGTERM) == asked.hear
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert stopping() is not asked


@pytest.mark.slow
@pytest.mark.parametrize("grace", ["-1", "soon", "1x"])
def test_a_grace_that_makes_no_sense(case: Case, cli: Cli, grace: str) -> None:
    done = cli(*case.command, "--grace", grace, cwd=case.folder)
    assert done.returncode == 2
    assert f"--grace '{grace}'" in done.stderr
