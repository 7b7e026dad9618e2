"""The events of a fetch to a terminal or to a log, and its end in words."""

from __future__ import annotations

import sys
import time
from typing import IO, TYPE_CHECKING, Any

from scaledproc._util.text import bytes_text, count_text, seconds_text
from scaledproc.events import Event, FetchMoved, FetchStarted, Note
from scaledproc.reporting.terminal import PLAIN_INTERVAL, Progress

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from scaledproc.fetching.transfer import Fetched

SHOWN_FAILURES = 20


class PlainFetch(Progress):
    """Lines on standard error, one every few seconds."""

    def __init__(self, stream: IO[str] | None = None, interval: float = PLAIN_INTERVAL) -> None:
        self._stream = stream or sys.stderr
        self._interval = interval
        self._pace: _Pace | None = None
        self._last = time.monotonic()

    def listen(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, Note):
            self._print(f"note: {event.text}")
        elif isinstance(event, FetchStarted):
            self._print(started_text(event))
            self._pace = _Pace(event)
        elif isinstance(event, FetchMoved) and self._pace and time.monotonic() - self._last >= self._interval:
            self._print(self._pace.text(event))
            self._last = time.monotonic()

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class LiveFetch(Progress):
    """A bar that moves, on a terminal's standard error."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, SpinnerColumn, TextColumn
        from rich.progress import Progress as Bar

        self.console = Console(stderr=True, highlight=False)
        self._bar = Bar(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[detail]}"),
            console=self.console,
            transient=True,
        )
        self._task: Any = None
        self._pace: _Pace | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        self._task = self._bar.add_task("looking", total=None, detail="what there is")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def listen(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, Note):
            self.console.print(f"note: {event.text}", markup=False)
        elif isinstance(event, FetchStarted):
            self.console.print(started_text(event), markup=False)
            self._pace = _Pace(event)
            # A file counts a little beside its bytes, so that the bar also moves where files are empty.
            self._bar.update(self._task, total=event.size + event.files, description="fetching", detail="starting")
        elif isinstance(event, FetchMoved) and self._pace:
            done = event.size + event.files + event.failed
            self._bar.update(self._task, completed=done, detail=self._pace.text(event))


class _Pace:
    """How far it is, how fast, and how long still."""

    def __init__(self, started: FetchStarted) -> None:
        self._started = started
        self._start = time.monotonic()

    def text(self, moved: FetchMoved) -> str:
        """What a fetch has done, how fast, and how long it still takes, in one line."""
        pace = moved.size / max(time.monotonic() - self._start, 1e-9)
        parts = [
            f"{moved.files:,}/{self._started.files:,} files",
            f"{bytes_text(moved.size)} of {bytes_text(self._started.size)}",
            f"{bytes_text(pace)}/s",
        ]
        if pace and moved.size < self._started.size:
            parts.append(f"{seconds_text((self._started.size - moved.size) / pace)} left")
        if moved.failed:
            parts.append(f"{moved.failed:,} failed")
        return ", ".join(parts)


def choose(*, quiet: bool, as_json: bool) -> Progress:
    """The display that fits what was asked for and where standard error goes."""
    if quiet or as_json:
        return Progress()
    return LiveFetch() if sys.stderr.isatty() else PlainFetch()


def started_text(event: FetchStarted) -> str:
    """What is about to happen."""
    unsized = f" and {count_text(event.unsized, 'file')} of unknown size" if event.unsized else ""
    already = f"; {_files_text(event.already, event.already_size)} there already" if event.already else ""
    free = f"; {bytes_text(event.free)} free" if event.free is not None else ""
    return f"{event.source} to {event.dest}: {_files_text(event.files, event.size)}{unsized} to fetch{already}{free}"


def finished_text(fetched: Fetched) -> str:
    """What was done, and what could not be."""
    already = f", {_files_text(fetched.already, fetched.already_size)} there already" if fetched.already else ""
    failed = f", {len(fetched.failed):,} failed" if fetched.failed else ""
    lines = [f"{_files_text(fetched.files, fetched.size)} fetched in {seconds_text(fetched.seconds)}{already}{failed}"]
    lines += [f"  {failure.path}: {failure.reason}" for failure in fetched.failed[:SHOWN_FAILURES]]
    if len(fetched.failed) > SHOWN_FAILURES:
        lines.append(f"  and {len(fetched.failed) - SHOWN_FAILURES:,} more (--json names all)")
    if fetched.failed:
        lines.append("the same command tries these again")
    lines.append(f"the dataset: {fetched.dest}")
    return "\n".join(lines)


def _files_text(count: int, size: int) -> str:
    return f"{count_text(count, 'file')} ({bytes_text(size)})"
