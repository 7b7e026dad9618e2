"""A display that moves, on a terminal's standard error."""

from __future__ import annotations

import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING

from scaledproc._util.process import signals
from scaledproc.events import CombineDone, Detached, Event, RunFinished
from scaledproc.execution.workers import printing
from scaledproc.reporting.terminal.base import Progress
from scaledproc.reporting.terminal.scene import Scene, is_work
from scaledproc.reporting.text import trouble_lines

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from rich.console import Console, RenderableType

FRAMES = 8  # pictures a second: the spinner turns, and a person sees no more
TROUBLE_INTERVAL = 1.0  # seconds between two groups of failures above the bar
MARGIN = 3  # columns left free at the right: the terminal shows ^C there, and in the last one would go to a new line
WIDE = 110  # columns, from which on the bar and its words have room in one line
BAR = 24  # columns
LEAST_BAR = 6


class LiveProgress(Progress):
    """A bar that moves, with what is known in words; and a line for each machine, where a backend tells of them.

    Parameters
    ----------
    console
        The terminal.
    beginning
        What is done before anything is told.
    """

    def __init__(self, console: Console | None = None, beginning: str = "planning") -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.spinner import Spinner

        # The stream itself: what stands in for sys.stderr while a task is at work writes to the console.
        self.console = console or Console(file=sys.stderr, highlight=False, emoji=False)
        self._scene = Scene(beginning)
        self._troubled = 0.0
        # The bar is drawn by a thread of its own, which must not read the counts while they are being changed.
        self._lock = threading.RLock()
        self._spinner = Spinner("dots" if self.console.encoding.startswith("utf") else "line")
        self.live = Live(get_renderable=self.frame, console=self.console, refresh_per_second=FRAMES, transient=True)

    def __enter__(self) -> Self:
        printing.on_question = self.pause
        printing.on_output = self._show_output
        signals.on_screen = self._is_moving
        self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        printing.on_question = printing.on_output = None
        signals.on_screen = None
        self.pause()

    def _is_moving(self) -> bool:
        return self.live.is_started

    def listen(self, event: Event) -> None:
        """Show an event."""
        if not is_work(event):
            self._say_troubles()
        with self._lock:
            lines = list(self._scene.hear(event))
        if isinstance(event, (RunFinished, Detached)):
            self.pause()  # what comes now is the result, on standard output
            return
        for line in [] if isinstance(event, CombineDone) else lines:  # the result follows at once
            self._print(line)
        if is_work(event):
            if not self.live.is_started:
                self.live.start()
            if time.monotonic() - self._troubled > TROUBLE_INTERVAL:
                self._say_troubles()

    def pause(self) -> None:
        """Take the display away, so that a question can be asked; the next step of the run brings it back."""
        self.live.stop()
        self._say_troubles()

    def _say_troubles(self) -> None:
        with self._lock:
            lines = self._scene.say_troubles()
        for line in lines:
            self._print(line)
        self._troubled = time.monotonic()

    def _show_output(self, lines: Sequence[str]) -> None:
        self._print("\n".join(lines))

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False)

    def frame(self) -> RenderableType:
        """What is drawn now, as it fits the terminal; called by the thread that draws."""
        from rich.console import Group
        from rich.text import Text

        width, height = self.console.size
        room = max(width - MARGIN, 10)
        with self._lock:
            above = [*textwrap.wrap(signals.stopping().text, room), *trouble_lines(self._scene.troubles)]
            words = self._scene.parts()
            has_bar = self._scene.fraction is not None
            is_beside = width >= WIDE or not has_bar
            bar = self._bar(room, ", ".join(words) if is_beside else "")
            below = [] if is_beside else _broken(words, room)
            below += textwrap.wrap(self._scene.failing(), room, max_lines=2, placeholder="…")
            below += textwrap.wrap(self._scene.machines(), room)
            below += self._scene.table(room, height - len(above) - len(below) - 2)
        lines = [Text(line, no_wrap=True, overflow="ellipsis") for line in (*above, *below)]
        return Group(*lines[: len(above)], bar, *lines[len(above) :])

    def _bar(self, room: int, words: str) -> RenderableType:
        """The line of what is done: a spinner, what it is, the bar, a percentage and, beside it, words."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        fraction, doing = self._scene.fraction, self._scene.doing
        line = Table.grid(padding=(0, 1), pad_edge=False)
        cells: list[RenderableType] = [self._spinner.render(time.monotonic())]
        if fraction is None or room >= len(doing) + 8:
            cells.append(Text(doing, no_wrap=True))
        if fraction is not None:
            percent = f"{int(100 * fraction):>3} %"  # 100 % only when all is done
            left = room - len(doing) - len(percent) - 5
            if left >= LEAST_BAR:
                cells.append(ProgressBar(1.0, fraction, width=min(left, BAR)))
            cells.append(Text(percent, no_wrap=True))
        if words:
            cells.append(Text(words, no_wrap=True, overflow="ellipsis"))
        for _ in cells:
            line.add_column(no_wrap=True)
        line.add_row(*cells)
        return line


def _broken(parts: list[str], width: int) -> list[str]:
    """Parts in lines of a terminal, broken between them where that can be."""
    lines: list[str] = []
    for at, part in enumerate(parts):
        text = part if at == len(parts) - 1 else f"{part},"
        if lines and len(lines[-1]) + 1 + len(text) <= width:
            lines[-1] += f" {text}"
        else:
            lines += textwrap.wrap(text, width) or [""]
    return lines
