"""A run in a notebook: one line that moves, and at the end the tasks that failed, with their tracebacks."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from scaledproc._util.text import clean_text, count_text
from scaledproc.engine.progress import RunProgress
from scaledproc.errors import ScaledprocError
from scaledproc.events import ChunkDone, Detached, Event, Note, RunFinished, RunStarted, ShardDone, ShardState
from scaledproc.reporting.terminal import started_text
from scaledproc.reporting.text import finished_text, shown

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from scaledproc.engine.options import Listener
    from scaledproc.run_folder.run import Run

INTERVAL = 0.2  # seconds between two pictures of the line
SHOWN_NOTES = 10
SHOWN_FAILURES = 5
TRACE = 10_000  # characters of a traceback
BAR = 40  # characters
WIDTH = 160  # characters of the line, which a narrow window scrolls
_HTML = '<pre style="white-space:pre;overflow-x:auto;line-height:normal">{code}</pre>'


class Display(Protocol):
    """What IPython gives for something that is shown, to show something else in its place."""

    def update(self, shown: Any, *, raw: bool) -> None:
        """Show something else."""


@contextmanager
def shown_here(on_event: Listener | None) -> Iterator[Shown]:
    """Who hears of a run: whoever was given, else in a notebook the line that moves, else nobody."""
    if on_event is not None or not in_notebook():
        yield Shown(on_event)
        return
    with NotebookProgress() as progress:
        yield Shown(progress.listen, progress)


class Shown:
    """Where a run's events go, and its end.

    Parameters
    ----------
    listen
        Hears the events.
    progress
        The display, where there is one.
    """

    def __init__(self, listen: Listener | None, progress: NotebookProgress | None = None) -> None:
        self.listen = listen
        self._progress = progress

    def finished(self, run: Run) -> None:
        """Show what failed."""
        if self._progress is not None:
            self._progress.show_failures(run)


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class NotebookProgress:
    """Listens to a run, and shows how far it is in one line below the cell. Use as a context manager."""

    def __init__(self) -> None:
        from IPython.display import display

        self._show: Any = display
        self._display: Display | None = None
        self._so_far: RunProgress | None = None
        self._words = "planning"
        self._notes: list[str] = []
        self._left_out = 0
        self._drawn = 0.0
        self._is_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and not self._is_over and self._display is not None:
            what = "interrupted" if kind is KeyboardInterrupt else "ended by an error"
            self._words = f"{what} after {self._done_text()}; what is committed is kept, the same call continues"
            self._draw()

    def listen(self, event: Event) -> None:
        """Hear of an event."""
        if isinstance(event, RunStarted):
            self._so_far = RunProgress(event)
            self._note(started_text(event))
            self._words = "starting"
        elif isinstance(event, Note):
            self._note(f"note: {clean_text(event.text)}")
        elif isinstance(event, (ChunkDone, ShardDone, ShardState)):
            if self._so_far is None:
                return
            self._so_far.add(event)
            has_begun = self._so_far.has_machines or self._so_far.tasks
            self._words = "combining" if self._so_far.is_complete else self._so_far.text() if has_begun else "starting"
            if time.monotonic() - self._drawn < INTERVAL and not self._so_far.is_complete:
                return
        elif isinstance(event, RunFinished):
            self._is_over = True
            self._words = finished_text(event).splitlines()[0]
        elif isinstance(event, Detached):
            self._is_over = True
            self._words = clean_text(event.text)
        else:
            return
        self._draw()

    def show_failures(self, run: Run) -> None:
        """Show the first tasks of a finished run that failed, with their tracebacks."""
        if run.record.state != "done" or not run.quarantined:
            return
        from scaledproc._util.html import details_html

        parts, texts = [], []
        for failure in run.errors().slice(0, SHOWN_FAILURES).select(["anchor", "error", "message"]).to_pylist():
            line = f"{shown(failure['anchor'])}: {failure['error']}: {shown(failure['message'])}"
            try:
                trace = run.traceback(failure["anchor"])
            except ScaledprocError as error:
                trace = str(error)
            parts.append(details_html(line, trace, TRACE))
            texts.append(f"{line}\n{clean_text(trace)}")
        left = run.quarantined - len(parts)
        if left > 0:
            more = f"… and {count_text(left, 'quarantined task')} more: run.errors()"
            parts.append(f"<p>{more}</p>")
            texts.append(more)
        self._show({"text/html": "".join(parts), "text/plain": "\n\n".join(texts)}, raw=True)

    def _note(self, text: str) -> None:
        if len(self._notes) < SHOWN_NOTES:
            self._notes.append(text)
        else:
            self._left_out += 1

    def _done_text(self) -> str:
        done = self._so_far
        return "no task" if done is None else f"{done.tasks:,} of {count_text(done.total_tasks, 'task')}"

    def _draw(self) -> None:
        picture = self._picture()
        if self._display is None:
            self._display = self._show(picture, raw=True, display_id=True)
        else:
            self._display.update(picture, raw=True)
        self._drawn = time.monotonic()

    def _picture(self) -> dict[str, str]:
        """The line, and above it what was said, as rich draws them: for a browser, and for what has none."""
        from rich.console import Console
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        line = Table.grid(padding=(0, 1))
        words = Text(self._words, no_wrap=True)
        if self._so_far is not None:
            total, done = max(self._so_far.total_tasks, 1), self._so_far.tasks
            line.add_row(ProgressBar(total, done, width=BAR), Text(f"{100 * done / total:.0f} %"), words)
        else:
            line.add_row(words)
        left_out = [f"… and {count_text(self._left_out, 'note')} more"] if self._left_out else []
        console = Console(file=io.StringIO(), record=True, width=WIDTH, force_jupyter=False, highlight=False)
        for note in (*self._notes, *left_out):
            console.print(Text(note))
        console.print(line)
        return {
            "text/html": console.export_html(inline_styles=True, clear=False, code_format=_HTML),
            "text/plain": console.export_text(),
        }
