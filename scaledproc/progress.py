"""Events to a terminal: a live display, plain lines where there is no terminal, or JSON for programs."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import IO, TYPE_CHECKING, Any

from scaledproc.describe import bytes_text, count_text, seconds_text
from scaledproc.events import ChunkDone, CombineDone, Event, JobPlanned, Note, RunStarted, ShardDone

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

PLAIN_INTERVAL = 5.0  # seconds between two lines in a log


class Progress:
    """Listens to a run. Use as a context manager; give its `listen` to `scaledproc.run`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def listen(self, event: Event) -> None:
        """Hear of an event."""


class JsonProgress(Progress):
    """One JSON object a line, on standard output."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stdout
        self._redirections = contextlib.ExitStack()

    def __enter__(self) -> Self:
        # What an extractor, or a program that it starts, prints must not come between the lines.
        self._redirections.enter_context(contextlib.redirect_stdout(sys.stderr))
        with contextlib.suppress(OSError):  # a stream of a notebook or a test has no file
            descriptor = self._stream.fileno()
            self._stream.flush()
            kept = os.dup(descriptor)
            os.dup2(sys.stderr.fileno(), descriptor)
            self._redirections.callback(os.close, kept)
            self._redirections.callback(os.dup2, kept, descriptor)
            self._stream = self._redirections.enter_context(open(os.dup(kept), "w", encoding="utf-8"))  # noqa: PTH123
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._redirections.close()

    def listen(self, event: Event) -> None:
        """Show an event."""
        content = {"event": type(event).__name__, **asdict(event)}
        print(json.dumps(content), file=self._stream, flush=True)


class Tally:
    """What is done so far. Chunks count; a shard that an earlier process committed counts as a whole."""

    def __init__(self, started: RunStarted, clock: Callable[[], float] = time.monotonic) -> None:
        self.total_tasks = started.tasks
        self.total_size = started.size
        self.tasks = self.size = self.quarantined = self.resumed_size = self.resumed_tasks = 0
        self._clock = clock
        self._start = clock()

    def add(self, event: ChunkDone | ShardDone) -> None:
        """Count a chunk, or a shard whose chunks are gone."""
        if isinstance(event, ShardDone) and not event.resumed:
            return
        self.tasks += event.tasks
        self.size += event.size
        self.quarantined += event.quarantined
        if event.resumed:
            self.resumed_tasks += event.tasks
            self.resumed_size += event.size

    @property
    def throughput(self) -> float:
        """Bytes a second since this process began."""
        return (self.size - self.resumed_size) / max(self._clock() - self._start, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """At the pace so far; None before there is one."""
        done, left = self.tasks - self.resumed_tasks, self.total_tasks - self.tasks
        return (self._clock() - self._start) / done * left if done else None

    def text(self) -> str:
        """All of it in one line."""
        left = self.seconds_left
        parts = [
            f"{self.tasks:,}/{self.total_tasks:,} records",
            f"{bytes_text(self.size)} of {bytes_text(self.total_size)}",
            f"{bytes_text(self.throughput)}/s",
        ]
        if left is not None and self.tasks < self.total_tasks:
            parts.append(f"{seconds_text(left)} left")
        if self.quarantined:
            parts.append(f"{self.quarantined:,} failed")
        return ", ".join(parts)


class PlainProgress(Progress):
    """Lines on standard error, one every few seconds."""

    def __init__(self, stream: IO[str] | None = None, interval: float = PLAIN_INTERVAL) -> None:
        self._stream = stream or sys.stderr
        self._interval = interval
        self._tally: Tally | None = None
        self._last = time.monotonic()

    def listen(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, Note):
            self._print(f"note: {event.text}")
        elif isinstance(event, RunStarted):
            self._print(started_text(event))
            self._tally = Tally(event)
        elif isinstance(event, JobPlanned):
            self._print(f"would run: {event.job}")
        elif isinstance(event, (ChunkDone, ShardDone)) and self._tally:
            self._tally.add(event)
            if time.monotonic() - self._last >= self._interval or self._tally.tasks == self._tally.total_tasks:
                if isinstance(event, ChunkDone):
                    self._print(self._tally.text())
                self._last = time.monotonic()
        elif isinstance(event, CombineDone):
            self._print(f"combined {count_text(event.rows, 'row')} in {seconds_text(event.seconds)}")

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class LiveProgress(Progress):
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
        self._tally: Tally | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def listen(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, Note):
            self._print(f"note: {event.text}")
        elif isinstance(event, RunStarted):
            self._print(started_text(event))
            self._tally = Tally(event)
            self._task = self._bar.add_task("extracting", total=event.tasks, detail="starting")
        elif isinstance(event, JobPlanned):
            self._print(f"would run: {event.job}")
        elif isinstance(event, (ChunkDone, ShardDone)) and self._tally:
            self._tally.add(event)
            description = "combining" if self._tally.tasks == self._tally.total_tasks else "extracting"
            self._bar.update(
                self._task, completed=self._tally.tasks, detail=self._tally.text(), description=description
            )

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False)


def choose(*, quiet: bool, as_json: bool) -> Progress:
    """The display that fits what was asked for and where standard error goes."""
    if as_json:
        return JsonProgress()
    if quiet:
        return Progress()
    return LiveProgress() if sys.stderr.isatty() else PlainProgress()


def started_text(event: RunStarted) -> str:
    """What is about to happen."""
    return (
        f"plan {event.plan_id[:12]}: {count_text(event.tasks, 'record')}, {bytes_text(event.size)}, "
        f"{count_text(event.shards, 'shard')}, {count_text(event.chunks, 'chunk')}, "
        f"{count_text(event.cores, 'core')} (one thread each){'; continuing' if event.resumed else ''}"
    )
