"""Lines where there is no terminal: few, and each whole by itself."""

from __future__ import annotations

import sys
import threading
import time
from typing import IO, TYPE_CHECKING

from scaledproc.events import ChunkDone, Event, FetchMoved, ShardState
from scaledproc.reporting.terminal.base import Progress
from scaledproc.reporting.terminal.scene import Scene, elapsed_text, is_work
from scaledproc.reporting.text import counts_text

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

INTERVAL = 5.0  # seconds between two lines
FIRST = 20.0  # seconds after which a line says that something is still being begun; doubled from one to the next


class PlainProgress(Progress):
    """Lines on standard error, one every few seconds while something happens.

    Parameters
    ----------
    stream
        Where to.
    interval
        Seconds between two lines about how far it is. What fails meanwhile is told together with them.
    beginning
        What is done before anything is told.
    """

    def __init__(self, stream: IO[str] | None = None, interval: float = INTERVAL, beginning: str = "planning") -> None:
        self._stream = stream or sys.stderr
        self._interval = interval
        self._scene = Scene(beginning)
        self._began = self._last = time.monotonic()
        self._is_new = self._was_complete = self._is_failing = False
        self._later: threading.Timer | None = None
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        self._wait(FIRST)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pause()

    def listen(self, event: Event) -> None:
        """Show an event."""
        with self._lock:
            if not is_work(event):
                self._say_troubles()
            for line in self._scene.hear(event):
                self._print(line)
            if is_work(event):
                self._count(event)
            elif self._has_begun:
                self._cancel()

    def pause(self) -> None:
        """Say what is to be said, and nothing more by itself."""
        with self._lock:
            self._say_troubles()
            self._cancel()

    @property
    def _has_begun(self) -> bool:
        return self._scene.run is not None or self._scene.fetch is not None

    def _count(self, event: Event) -> None:
        run = self._scene.run
        if run is None:
            if isinstance(event, FetchMoved) and self._scene.fetch is not None:
                self._is_new = True
                if time.monotonic() - self._last >= self._interval:
                    self._say()
            return
        self._is_new |= run.has_machines or isinstance(event, ChunkDone)
        if isinstance(event, ShardState):
            self._is_new |= run.has_machines
        wait = self._last + self._interval - time.monotonic()
        is_complete, was_complete = run.is_complete, self._was_complete
        self._was_complete = is_complete
        if wait <= 0 or (is_complete and not was_complete):
            self._say()
        elif self._later is None and run.has_machines:
            # Machines may say nothing for minutes: the last that was heard of them is not held back for so long.
            self._wait(wait)

    def _wait(self, seconds: float) -> None:
        self._later = threading.Timer(seconds, self._say_later)
        self._later.daemon = True
        self._later.start()

    def _cancel(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def _say_later(self) -> None:
        with self._lock:
            if self._later is not threading.current_thread():
                return
            self._later = None
            if self._has_begun:
                self._say()
                return
            passed = time.monotonic() - self._began
            self._print(f"still {self._scene.doing}, since {elapsed_text(passed)}")
            self._wait(passed)

    def _say(self) -> None:
        self._say_troubles()
        if self._is_new:
            run = self._scene.run
            shards = f"shards: {counts_text(run.counts)}; " if run is not None and run.has_machines else ""
            self._print(f"{shards}{', '.join(self._scene.parts() if run is None else run.parts())}")
            if run is not None and not run.is_complete and self._scene.failing() and not self._is_failing:
                self._is_failing = True  # once; at the end the result tells of all
                self._print(f"  failed: {self._scene.failing()}")
            self._is_new = False
            self._last = time.monotonic()

    def _say_troubles(self) -> None:
        for line in self._scene.say_troubles():
            self._print(line)

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)
