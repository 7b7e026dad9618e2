"""SIGINT and SIGTERM: the first asks for an end after what is at work, the second ends at once.

Only the commands listen for signals; in a notebook Ctrl-C is what it always was. Signals come to the process, so what
they asked for is the process's too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from types import FrameType
from typing import Any

GRACE = 30.0
"""Seconds that what is at work may take to its end."""
GRACE_IN_JOBS = 90.0
"""Seconds that a job on a service's machine has for it: services kill it some two minutes after SIGTERM."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """Whether this process was asked to end.

    Parameters
    ----------
    grace
        Seconds.
    """

    def __init__(self, grace: float = GRACE) -> None:
        self.grace = grace
        self.signal: int | None = None
        """The first signal that came."""
        self.asked: Future[None] = Future()
        """Done once an end is asked for, so that one can wait for it among other things."""
        self._heard = 0
        self._is_orderly = False
        self._timer: threading.Timer | None = None

    def hear(self, number: int, _: FrameType | None = None) -> None:
        """Handle a signal.

        Raises
        ------
        KeyboardInterrupt
            If nothing is at work that could be finished, no time is given for it, or this is the second signal: this
            process sends itself that one when the time is over.
        """
        self._heard += 1
        if self._heard > 2:  # what is at work may have caught the first two as errors of its own
            if os.isatty(2):  # where a moving display has hidden the cursor
                os.write(2, b"\x1b[?25h\n")
            os._exit(128 + number)
        is_first, self.signal = self.signal is None, self.signal or number
        if not is_first or not self._is_orderly or self.grace <= 0:
            raise KeyboardInterrupt
        # As a signal to this process: only its main thread can be interrupted, and only so.
        self._timer = threading.Timer(self.grace, os.kill, (os.getpid(), number))
        self._timer.daemon = True
        self._timer.start()
        self.asked.set_result(None)
        if on_screen is not None and on_screen():
            return  # a display that moves would write over it: it shows the text itself
        with contextlib.suppress(OSError):  # not by way of a stream: the signal may have come while that was written to
            os.write(2, f"\nscaledproc: {self.text}\n".encode())

    @property
    def text(self) -> str:
        """What a person is told while the block ends; empty where it was not asked to."""
        if not self.asked.done():
            return ""
        again = "Ctrl-C" if self.signal == signal.SIGINT else "SIGTERM"
        return f"finishing what is at work, {self.grace:g} s at most; a second {again} leaves at once"

    @contextlib.contextmanager
    def orderly(self) -> Iterator[None]:
        """A block that looks at `asked`, and ends by itself soon after that is done."""
        self.leave()  # a KeyboardInterrupt that came in a callback, of an import or a finalizer, was lost
        self._is_orderly = True
        try:
            yield
        finally:
            self._is_orderly = False
            if self._timer is not None:
                self._timer.cancel()

    def leave(self) -> None:
        """End now, by a KeyboardInterrupt, if a signal asked for the end.

        Raises
        ------
        KeyboardInterrupt
            If a signal asked for the end.
        """
        if self.signal is not None:
            raise KeyboardInterrupt


_current = Stopping()
on_screen: Callable[[], bool] | None = None
"""Whether a display moves now, which shows what `Stopping.text` tells."""


def stopping() -> Stopping:
    """What this process was asked for."""
    return _current


@contextlib.contextmanager
def listening(grace: float) -> Iterator[Stopping]:
    """Listen for signals while the block is at work."""
    global _current
    before, _current = _current, Stopping(grace)
    is_main = threading.current_thread() is threading.main_thread()  # no other may listen
    handlers = _handle(_current.hear) if is_main else {}
    try:
        yield _current
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        _ours.discard(_current.hear)
        _current = before


def leave_to_driver() -> None:
    """In a worker process: leave it to the driver when its work ends, also where a signal goes to all of a group.

    It gets a session of its own, so that Ctrl-C in the terminal does not reach the programs that a task runs, which
    would fail of it. Both signals are heard and not ignored: a program that is started would inherit that.
    """
    with contextlib.suppress(OSError):  # it leads one already
        os.setsid()
    vars(os)["setpgrp"] = lambda: None  # leads a group too; the system refuses that to who leads a session
    _handle(lambda *_: None)


_usual: dict[int, Any] = {}
_ours: set[Any] = set()


def _handle(handler: Any) -> dict[int, Any]:
    """Have both signals handled, but not in processes that are forked: these end of them as any other."""
    if not _usual:
        os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_be_usual)
    _ours.add(handler)
    before: dict[int, Any] = {number: signal.signal(number, handler) for number in SIGNALS}
    _usual.update({number: found for number, found in before.items() if found not in _ours})
    return before


class _Held(threading.local):
    mask: Any = ()


_held = _Held()


def _hold() -> None:
    """Signals wait while a process is forked: one to the child would be lost before it is ready for it."""
    _held.mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def _release() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _held.mask)


def _be_usual() -> None:
    for number, handler in _usual.items():
        if signal.getsignal(number) in _ours:
            signal.signal(number, handler)
    _release()
