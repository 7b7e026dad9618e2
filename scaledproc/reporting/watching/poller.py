"""Look at a run again and again, draw its page when something changed, and take no more than a share of a core."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from scaledproc._util.redaction import redacted
from scaledproc.errors import ScaledprocError

SHARE = 0.008
"""Of a core, which looking and drawing take at most: less than 1 %, with what the server takes."""
BUSY = 0.1
"""Of the time, which looking takes at most: a store that answers slowly is not asked all the time."""
SOON = 2.0
"""Seconds between two looks while somebody watches, at least."""
SELDOM = 30.0
"""Seconds between two looks while nobody has the page open, or the run is over: to know when it is, or is updated."""
WATCHED = 15.0
"""Seconds after a request, during which somebody watches: the page asks every 2 seconds."""
_Seen = TypeVar("_Seen")


def pause(cpu: float, wall: float, *, is_watched: bool) -> float:
    """Seconds until the next look.

    Parameters
    ----------
    cpu, wall
        Seconds of a core, and of the clock, that the last look took, with what it led to.
    is_watched
        Whether somebody watches.
    """
    return max(SOON if is_watched else SELDOM, cpu / SHARE, wall / BUSY)


@dataclass(frozen=True)
class Look(Generic[_Seen]):
    """What was seen, and whether the run is over: finished, and nobody is at work on an update of it."""

    seen: _Seen
    is_over: bool


class Poller(Generic[_Seen]):
    """Has the page of a run as it was last seen. Use as a context manager: a thread looks meanwhile.

    Parameters
    ----------
    look
        Looks at the run. Whatever goes wrong, then or while the page is made, it is tried again.
    draw
        Makes the page of what was seen; called only where that is not what was seen before.
    mark
        Puts a line on what went wrong since onto a page.
    tell
        Hears when the run is over, when an update of it is begun, and of trouble: a line for a person.

    Raises
    ------
    ScaledprocError
        If the first look fails. Later ones are tried again.
    """

    def __init__(
        self,
        look: Callable[[], Look[_Seen]],
        draw: Callable[[_Seen], str],
        tell: Callable[[str], None],
        mark: Callable[[str, str], str],
    ) -> None:
        self._look, self._draw, self._tell, self._mark = look, draw, tell, mark
        self._seen = look()
        self._drawn = draw(self._seen.seen)
        self._page = self._drawn.encode()
        self._trouble = ""
        self._asked = float("-inf")
        self._ended = threading.Event()
        self._wanted = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)

    def __enter__(self) -> Poller[_Seen]:
        if self._seen.is_over:
            self._tell("the run is over")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._wanted.set()
        self._thread.join(SOON)  # a look at a store that does not answer is left alone

    def page(self) -> bytes:
        """The page as it was last drawn; it is looked at again soon, as somebody watches."""
        was_idle = not self._is_watched
        self._asked = time.monotonic()
        if was_idle and not self._seen.is_over:
            self._wanted.set()
        return self._page

    @property
    def is_over(self) -> bool:
        """Whether the run is over, as it was last seen."""
        return self._seen.is_over

    @property
    def _is_watched(self) -> bool:
        return time.monotonic() - self._asked < WATCHED

    def _watch(self) -> None:
        earliest = time.monotonic() + SOON
        if self._seen.is_over:
            self._ended.wait(SELDOM)
        while not self._ended.is_set():
            cpu, wall = self._once()
            now, is_over = time.monotonic(), self._seen.is_over
            earliest = now + pause(cpu, wall, is_watched=not is_over)
            latest = now + pause(cpu, wall, is_watched=self._is_watched and not is_over)
            self._wanted.clear()
            self._wanted.wait(latest - time.monotonic())  # somebody who comes meanwhile waits for less
            self._ended.wait(max(earliest - time.monotonic(), 0.0))

    def _once(self) -> tuple[float, float]:
        """Look once; seconds of a core, and of the clock, that it took."""
        cpu, wall = time.process_time(), time.perf_counter()
        try:
            found = self._look()
            if found.seen != self._seen.seen:
                self._drawn = self._draw(found.seen)
        except Exception as error:  # a thread that ended would leave a page that looks as if the run stood still
            own = isinstance(error, ScaledprocError)
            self._say_trouble(redacted(str(error) if own else f"{type(error).__name__}: {error}"))
        else:
            self._say_trouble("")
            was_over, self._seen = self._seen.is_over, found
            if found.is_over != was_over:
                self._tell("the run is over" if found.is_over else "an update of it was begun")
        return time.process_time() - cpu, time.perf_counter() - wall

    def _say_trouble(self, text: str) -> None:
        """Tell of trouble once, and of its end; the page says it as long as it lasts."""
        if text and not self._trouble:
            self._tell(f"{text}; trying again")
        elif self._trouble and not text:
            self._tell("it can be read again")
        self._trouble = text
        drawn = self._mark(self._drawn, f"This page is not up to date: {text}") if text else self._drawn
        self._page = drawn.encode()
