"""Honest timing on a machine that does other things too: contestants take turns, medians are compared."""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import joblib
import psutil  # type: ignore[import-untyped, unused-ignore]

from scaledproc._util.process.startup import ONE_THREAD

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

HERE = Path(__file__).parent
CORES = min(joblib.cpu_count(), 4)  # more would end the small runs before there is anything to measure
QUIET = 0.10  # with more of the machine in use by others, seconds are shown but not judged


class Bystanders:
    """How much of the machine other processes used while a block ran; while all of them did, where it is used again.

    This process is none of them, nor are those that it started.
    """

    def __init__(self) -> None:
        self._others = self._whole = 0.0

    def __enter__(self) -> Self:
        self._before = self._times()
        return self

    def __exit__(self, *_: object) -> None:
        busy, whole, own = (after - before for after, before in zip(self._times(), self._before, strict=True))
        self._others += max(busy - own, 0.0)
        self._whole += whole

    def watching(self, contestant: Callable[[], float]) -> Callable[[], float]:
        """A contestant with whom the machine is watched.

        Those that leave processes behind for others to wait for are better not: what these used would count as others'.
        """

        def watched() -> float:
            with self:
                return contestant()

        return watched

    @property
    def share(self) -> float:
        """Of the machine, from 0 to 1."""
        return self._others / self._whole if self._whole else 0.0

    @property
    def are_quiet(self) -> bool:
        """Whether seconds can be judged."""
        return self.share <= QUIET

    @property
    def note(self) -> str:
        """For a table."""
        verdict = "" if self.are_quiet else ": too much to judge the seconds above, measure again"
        return f"other processes used {self.share:.0%} of the machine meanwhile{verdict}"

    @staticmethod
    def _times() -> tuple[float, float, float]:
        times = psutil.cpu_times()
        whole = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)  # these are in user's
        return whole - times.idle - getattr(times, "iowait", 0.0), whole, cpu_of_all()


def cpu_seconds() -> float:
    """CPU time of this process and of those that it has waited for."""
    return sum(os.times()[:4])


def cpu_of_all() -> float:
    """CPU time of this process and of all that it started, those too that are at work, such as a server."""
    seconds = cpu_seconds()
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it ends
            seconds += sum(child.cpu_times()[:4])
    return seconds


def take_turns(contestants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each contestant in each round; every other round goes backwards, so that none is always the first."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
        for name in list(contestants)[:: -1 if number % 2 else 1]:
            seconds[name].append(contestants[name]())
    return seconds


def warmed(root: Path, contestant: Callable[[], float]) -> Callable[[], float]:
    """A contestant whose data is read just before, not timed: what others left in memory is the same for all."""

    def run() -> float:
        for path in root.rglob("*"):
            if path.is_file():
                with path.open("rb", buffering=0) as file:
                    while file.read(2**22):
                        pass
        return contestant()

    return run


def time_command(arguments: Sequence[str], env: Mapping[str, str] | None = None) -> float:
    """Wall seconds of a whole Python command, its start-up included.

    Processes that it leaves in its own group are ended.

    Parameters
    ----------
    arguments
        Of Python.
    env
        Its environment, if not this process's.

    Raises
    ------
    RuntimeError
        It failed.
    """
    with tempfile.TemporaryFile("w+") as out:  # a pipe would stay open as long as anything that was left behind
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            env=env,
            start_new_session=True,
        )
        try:
            code = process.wait()
            seconds = time.perf_counter() - started
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if code:
            out.seek(0)
            raise RuntimeError(f"{' '.join(arguments)} failed:\n{out.read()}")
    return seconds


def time_alone(extractor: str, dataset: Path, processes: int) -> float:
    """Seconds that the tasks of a dataset take in plain processes without the engine (`alone.py`), start-up aside.

    Parameters
    ----------
    extractor
        Its specification.
    dataset
        A folder.
    processes
        They run at once, each with its share of the tasks; the seconds are their mean.
    """
    command = [sys.executable, str(HERE / "alone.py"), extractor, str(dataset)]
    running = [
        subprocess.Popen(
            [*command, str(part), str(processes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **ONE_THREAD},
        )
        for part in range(processes)
    ]
    for process in running:  # all are warm before any begins
        assert process.stdout is not None
        process.stdout.readline()
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return statistics.mean(float(process.communicate()[0]) for process in running)


class Table(str):
    """A table as text, which still knows its parts: text for the terminal, the rest for results and page.

    Parameters
    ----------
    heading
        What it shows, of which data, on how many cores.
    header, rows
        Cells; the first column names what was measured.
    notes
        Lines below it.
    """

    __slots__ = ("header", "heading", "notes", "rows")

    heading: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]

    def __new__(
        cls, heading: str, header: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] = ()
    ) -> Self:
        lines = [header, *rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
        text = [
            "  ".join(cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(cells))
            for cells in (list(zip(line, widths, strict=True)) for line in lines)
        ]
        made = super().__new__(
            cls, "\n".join([heading, "=" * len(heading), text[0], "-" * len(text[0]), *text[1:], *notes])
        )
        made.heading, made.header, made.notes = heading, tuple(header), tuple(notes)
        made.rows = tuple(map(tuple, rows))
        return made


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> Table:
    """Text in columns: the first to the left, the others to the right."""
    return Table(title, header, rows, notes)


def spread(seconds: Sequence[float]) -> str:
    """The fastest and the slowest: how far to trust a median."""
    return f"{min(seconds):.2f}-{max(seconds):.2f}"
