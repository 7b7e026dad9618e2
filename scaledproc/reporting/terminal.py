"""Events to a terminal: a live display, plain lines where there is no terminal, or JSON for programs."""

from __future__ import annotations

import contextlib
import os
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

from scaledproc._util.process.streams import tolerant
from scaledproc._util.text import bytes_text, clean_text, count_text, seconds_text
from scaledproc.engine.progress import TROUBLE, RunProgress
from scaledproc.events import (
    ChunkDone,
    CombineDone,
    Detached,
    Event,
    JobPlanned,
    Note,
    ReuseFound,
    RunFinished,
    RunStarted,
    ShardDone,
    ShardState,
    to_json,
)
from scaledproc.execution.workers import printing
from scaledproc.reporting.text import counts_text, shard_lines, trouble_lines

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from rich.console import Console, RenderableType
    from rich.progress import Progress as Bar
    from rich.progress import Task
    from rich.table import Table

PLAIN_INTERVAL = 5.0  # seconds between two lines in a log
TROUBLE_INTERVAL = 1.0  # seconds between two groups of failures above the bar
MARGIN = 3  # columns left free at the right: the terminal shows ^C there, and in the last one would go to a new line
WIDE = 110  # columns, from which on the bar and its words have room in one line


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

    def pause(self) -> None:
        """Leave the terminal to a question."""


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
            self._stream = tolerant(kept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._redirections.close()

    def listen(self, event: Event) -> None:
        """Show an event."""
        print(to_json(event), file=self._stream, flush=True)


class PlainProgress(Progress):
    """Lines on standard error, one every few seconds while something happens.

    Parameters
    ----------
    stream
        Where to.
    interval
        Seconds between two lines about how far the run is. What fails meanwhile is told together with them.
    """

    def __init__(self, stream: IO[str] | None = None, interval: float = PLAIN_INTERVAL) -> None:
        self._stream = stream or sys.stderr
        self._interval = interval
        self._so_far: RunProgress | None = None
        self._last = time.monotonic()
        self._is_new = self._was_complete = False
        self._troubles: list[ShardState] = []
        self._later: threading.Timer | None = None
        self._lock = threading.RLock()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pause()

    def listen(self, event: Event) -> None:
        """Show an event."""
        with self._lock:
            if isinstance(event, RunStarted):
                self._print(started_text(event))
                self._so_far = RunProgress(event)
            elif isinstance(event, (ChunkDone, ShardDone, ShardState)):
                self._count(event)
            else:
                self._say_troubles()
            if isinstance(event, Note):
                self._print(f"note: {clean_text(event.text)}")
            elif isinstance(event, ReuseFound):
                self._print(reuse_text(event))
            elif isinstance(event, JobPlanned):
                self._print(f"would run: {clean_text(event.job)}")
            elif isinstance(event, CombineDone):
                self._print(f"combined {count_text(event.rows, 'row')} in {seconds_text(event.seconds)}")

    def pause(self) -> None:
        """Say what is to be said, and nothing more by itself."""
        with self._lock:
            self._say_troubles()
            if self._later is not None:
                self._later.cancel()
                self._later = None

    def _count(self, event: ChunkDone | ShardDone | ShardState) -> None:
        if self._so_far is None:
            return
        self._so_far.add(event)
        if isinstance(event, ShardState):
            self._is_new |= self._so_far.has_machines
            if event.state in TROUBLE and event.detail:
                self._troubles.append(event)
        else:
            self._is_new |= self._so_far.has_machines or isinstance(event, ChunkDone)
        wait = self._last + self._interval - time.monotonic()
        is_complete, was_complete = self._so_far.is_complete, self._was_complete
        self._was_complete = is_complete
        if wait <= 0 or (is_complete and not was_complete):
            self._say()
        elif self._later is None and self._so_far.has_machines:
            # Machines may say nothing for minutes: the last that was heard of them is not held back for so long.
            self._later = threading.Timer(wait, self._say_later)
            self._later.daemon = True
            self._later.start()

    def _say_later(self) -> None:
        with self._lock:
            if self._later is threading.current_thread():
                self._later = None
                self._say()

    def _say(self) -> None:
        self._say_troubles()
        if self._is_new and self._so_far is not None:
            shards = f"shards: {counts_text(self._so_far.counts)}; " if self._so_far.has_machines else ""
            self._print(f"{shards}{self._so_far.text()}")
            self._is_new = False
            self._last = time.monotonic()

    def _say_troubles(self) -> None:
        for line in trouble_lines(self._troubles):
            self._print(line)
        self._troubles.clear()

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class LiveProgress(Progress):
    """A bar that moves, on a terminal's standard error; with a table of what a backend's machines do.

    Parameters
    ----------
    console
        The terminal.
    """

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console

        # The stream itself: what stands in for sys.stderr while a task is at work writes to the console.
        self.console = console or Console(file=sys.stderr, highlight=False, emoji=False)
        self._task: Any = None
        self._so_far: RunProgress | None = None
        self._troubles: list[ShardState] = []
        self._troubled = 0.0
        self._is_paused = False
        # The bar is drawn by a thread of its own, which must not read the counts while they are being changed.
        self._lock = threading.RLock()
        self._bar = _bar(self.console, self._render)

    def __enter__(self) -> Self:
        printing.on_question = self.pause
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        printing.on_question = None
        self.pause()

    def listen(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, (ChunkDone, ShardDone, ShardState)):
            self._count(event)
            return
        self._say_troubles()
        if isinstance(event, (RunFinished, Detached)):
            self.pause()  # what comes now is the result, on standard output
        elif isinstance(event, Note):
            self._print(f"note: {clean_text(event.text)}")
        elif isinstance(event, ReuseFound):
            self._print(reuse_text(event))
        elif isinstance(event, RunStarted):
            self._print(started_text(event))
            self._so_far = RunProgress(event)
            self._task = self._bar.add_task("extracting", total=event.tasks, detail="starting")
        elif isinstance(event, JobPlanned):
            self._print(f"would run: {clean_text(event.job)}")

    def pause(self) -> None:
        """Take the display away, so that a question can be asked; the next step of the run brings it back."""
        self._is_paused = True
        self._bar.stop()
        self._say_troubles()

    def _count(self, event: ChunkDone | ShardDone | ShardState) -> None:
        if self._so_far is None:
            return
        with self._lock:
            self._so_far.add(event)
            if isinstance(event, ShardState) and event.state in TROUBLE and event.detail:
                self._troubles.append(event)
            has_begun = self._so_far.has_machines or self._so_far.tasks
            detail = self._so_far.text() if has_begun else "starting"
            description = "combining" if self._so_far.is_complete else "extracting"
            tasks = self._so_far.tasks
        self._bar.update(self._task, completed=tasks, detail=detail, description=description)
        if self._is_paused:
            self._is_paused = False
            self._bar.start()
        if time.monotonic() - self._troubled > TROUBLE_INTERVAL:
            self._say_troubles()

    def _say_troubles(self) -> None:
        with self._lock:
            lines = trouble_lines(self._troubles)
            self._troubles.clear()
        for line in lines:
            self._print(line)
        self._troubled = time.monotonic()

    def _render(self, bars: Table) -> Iterator[RenderableType]:
        """The bar and what is below it, as it fits the terminal; called by the thread that draws."""
        from rich.text import Text

        width, height = self.console.size
        room = max(width - MARGIN, 10)
        with self._lock:
            above = trouble_lines(self._troubles)
            yield from (Text(line, no_wrap=True, overflow="ellipsis") for line in above)
            yield bars
            if self._so_far is None:
                return
            words = [] if width >= WIDE or not self._bar.tasks else [str(self._bar.tasks[0].fields["detail"])]
            if self._so_far.has_machines:
                words.append(f"{counts_text(self._so_far.counts)} after {_elapsed_text(self._so_far.elapsed)}")
            below = [line for each in words for line in textwrap.wrap(each, room)]
            if self._so_far.has_machines:
                below += _table(self._so_far.at_work(), room, height - len(above) - len(below) - 2)
            yield from (Text(line, no_wrap=True, overflow="ellipsis") for line in below)

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False)


def _elapsed_text(seconds: float) -> str:
    return f"{int(seconds)} s" if seconds < 60 else seconds_text(seconds)


def _table(states: Sequence[ShardState], width: int, height: int) -> list[str]:
    """The shards that are at work, as many as there is room for."""
    if not states or height < 3:
        return []
    room = height - 1
    shown = states if len(states) <= room else states[: room - 1]
    more = [f"   … and {len(states) - len(shown):,} more"] if len(shown) < len(states) else []
    return [*shard_lines(shown, width), *more]


def _bar(console: Console, render: Callable[[Table], Iterable[RenderableType]]) -> Bar:
    """The moving bar; what is drawn with it comes from `render`, which is given the bar itself."""
    from rich.progress import BarColumn, SpinnerColumn, TextColumn
    from rich.progress import Progress as RichProgress

    class Turning(SpinnerColumn):
        def render(self, task: Task) -> RenderableType:
            return self.spinner.render(task.get_time())  # after 100 % too: to combine may take long

    columns = (
        Turning(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f} %"),
    )
    detail = TextColumn("{task.fields[detail]}")

    class Both(RichProgress):
        def get_renderables(self) -> Iterable[RenderableType]:
            self.columns = (*columns, detail) if console.width >= WIDE else columns
            yield from render(self.make_tasks_table(self.tasks))

    return Both(*columns, console=console, transient=True)


def choose(*, quiet: bool, as_json: bool) -> Progress:
    """The display that fits what was asked for and where standard error goes."""
    if as_json:
        return JsonProgress()
    if quiet:
        return Progress()
    return LiveProgress() if sys.stderr.isatty() else PlainProgress()


def reuse_text(event: ReuseFound) -> str:
    """What of a table is done, and what is taken from earlier runs."""
    return f"to do: {clean_text(event.text)}; the rows of {count_text(event.tasks - event.todo, 'task')} are reused"


def started_text(event: RunStarted) -> str:
    """What is about to happen."""
    return (
        f"plan {event.plan_id[:12]}: {count_text(event.tasks, 'task')}, {bytes_text(event.size)}, "
        f"{count_text(event.shards, 'shard')}, {count_text(event.chunks, 'chunk')}, "
        f"{count_text(event.cores, 'core')} (one thread each){'; continuing' if event.resumed else ''}"
    )
