"""What a task prints: so much of it, to standard error; and a debugger in a task, which gets the terminal."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import IO, Any

from scaledproc._util.text import clean_text

PRINTED = 64 * 2**10
"""Characters that one task may print; the rest is dropped."""
_QUESTIONS = ("builtins.input", "pdb.Pdb")  # Python's audit events: somebody is about to be asked
_NO_TERMINAL = (
    "a debugger needs the terminal, which worker processes do not have: run with --jobs 1, and without --task-timeout, "
    "--memory-per-worker and --worker-lifespan"
)


class DebuggerError(RuntimeError):
    """A task asked for a debugger where nobody can answer it."""

    def __init__(self) -> None:
        super().__init__(_NO_TERMINAL)


class Printed(io.TextIOWrapper):
    """Standard output and error of tasks: what they print goes to standard error, so many characters of each.

    One for the process, as a task's logging may keep what it found as standard output. It has all that programs look
    for there, and neither a task that closes it nor a stream that cannot be written any more harms the next one.
    """

    mode = "w"

    def __init__(self) -> None:
        super().__init__(_PrintedBytes(self), encoding="utf-8", errors="backslashreplace", line_buffering=True)
        self._target: IO[str] | None = None
        self._left = PRINTED
        self._dropped = 0
        self._streams: tuple[Any, Any] | None = None
        self._tape: list[str] = []
        self._begun: list[str] = []  # of a line that has not ended
        self._lock = threading.RLock()
        self._who = ""
        self._last_resort: logging.Handler | None = None

    def begin(self, who: str = "") -> tuple[Any, ...]:
        """Stand in for both streams while a task is at work; gives what `end` needs. One task may run others."""
        # What an earlier task left running may have deleted them.
        out: Any = getattr(sys, "stdout", sys.__stdout__)
        err: Any = getattr(sys, "stderr", sys.__stderr__)
        before = (self._target, self._left, self._dropped, self._streams)
        self._streams = (out, err)
        if err is not self:
            self._target, self._left, self._dropped = err, PRINTED, 0
            self._tape, self._who = [], who
            self._last_resort, logging.lastResort = logging.lastResort, _records
        sys.stdout = sys.stderr = self
        return before

    def end(self, before: tuple[Any, ...], who: str) -> None:
        """Give the streams back, and say how much was dropped."""
        self._send()
        if self._streams is not None:  # else a debugger has them already
            sys.stdout, sys.stderr = self._streams
        if self._streams is None or self._streams[1] is not self:
            dropped, self._dropped = self._dropped, 0
            if dropped:
                text = f"\n… {who} printed {dropped:,} more characters, which are left out\n"
                self._tape.append(text)
                self._pass_on(text)
                self._send()
            if logging.lastResort is _records:
                logging.lastResort = self._last_resort
            self._target, self._left, self._dropped = before[:3]
        self._streams = before[3]

    @property
    def tape(self) -> str:
        """What the last task printed, as much of it as was passed on."""
        return "".join(self._tape)

    def record(self, record: logging.LogRecord) -> None:
        """Show a record of logging with the name of the task."""
        from scaledproc.extractors.files import short_name  # with Arrow, which a task has loaded

        name, record.name = record.name, short_name(record.name)
        try:
            text = clean_text(_FORMAT.format(record))
        finally:
            record.name = name
        self.write(f"{self._who}: {text}\n" if self._who else f"{text}\n")

    def give_way(self) -> None:
        """Leave the streams to a debugger until the task ends."""
        if self._streams is None:
            return
        self._send()
        (sys.stdout, sys.stderr), self._streams = self._streams, None
        if on_question is not None:
            on_question()
        self._target, self._left = sys.stderr, sys.maxsize  # for what has been kept of this

    @property
    def encoding(self) -> str:  # type: ignore[override]  # an attribute above, which changes here
        """The encoding of the stream that it goes to."""
        return str(getattr(self._target, "encoding", None) or "utf-8")

    def isatty(self) -> bool:
        """Whether the stream that it goes to is a terminal."""
        return self._target is not None and self._target.isatty()

    def fileno(self) -> int:
        """For programs that are started; what they print is not counted."""
        return 2 if self._target is None else self._target.fileno()

    def write(self, text: str) -> int:
        """Pass on what is allowed."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        shown = text[: self._left]
        if shown:
            self._left -= len(shown)
            self._tape.append(shown)
            self._pass_on(shown)
        self._dropped += len(text) - len(shown)
        return len(text)

    def flush(self) -> None:
        """Pass it on now."""
        self._send()
        if self._target is not None:
            with contextlib.suppress(OSError, ValueError):
                self._target.flush()

    def close(self) -> None:
        """Stay open: the next task prints too."""

    def detach(self) -> Any:
        """What takes bytes, without giving it away."""
        return self.buffer

    def _pass_on(self, text: str) -> None:
        """Pass on what ends with a line.

        By one call, as other processes write there too. `print` gives a line and its end apart, which the stream behind
        may pass on as it gets them (PYTHONUNBUFFERED).
        """
        ends = max(text.rfind("\n"), text.rfind("\r")) + 1
        with self._lock:
            if ends:
                self._begun.append(text[:ends])
                self._send()
            self._begun.append(text[ends:])
            if self._left <= 0:
                self._send()

    def _send(self) -> None:
        with self._lock:
            text, self._begun = "".join(self._begun), []
        if not text:
            return
        with contextlib.suppress(OSError, ValueError):  # a full disk, a reader that is gone: no fault of the task's
            (self._target or sys.__stderr__ or io.StringIO()).write(text)


class _PrintedBytes(io.RawIOBase):
    """`sys.stdout.buffer`."""

    name = "<stdout>"

    def __init__(self, text: Printed) -> None:
        super().__init__()
        self._text = text

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self._text.write(bytes(content).decode(errors="replace"))
        return len(content)

    def close(self) -> None:
        pass

    def fileno(self) -> int:
        return self._text.fileno()


class _Records(logging.Handler):
    """Takes records for which nobody configured a handler, as Python's own handler of last resort does."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            printed.record(record)
        except Exception:
            self.handleError(record)


_FORMAT = logging.Formatter("%(levelname)s %(name)s: %(message)s")
_records = _Records(logging.WARNING)
printed = Printed()
"""This process's."""
on_question: Callable[[], None] | None = None
"""Takes a moving display out of the way, where there is one."""
on_output: Callable[[Sequence[str]], None] | None = None
"""Shows lines that worker processes write, above a moving display, where there is one."""


def show_output(lines: Sequence[str]) -> None:
    """Show lines that worker processes wrote: above a moving display, else on standard error."""
    shows = on_output
    if shows is not None:
        shows(lines)
    elif sys.stderr is not None:
        sys.stderr.write("".join(f"{line}\n" for line in lines))
        sys.stderr.flush()


_is_watched = False


def watch_questions() -> None:
    """In a process that has a terminal: a task that asks a person, or starts a debugger, gets its streams back.

    By Python's audit events, as there are many ways to it: breakpoint(), pdb.set_trace(), ipdb, input().
    """
    global _is_watched
    if not _is_watched:
        _is_watched = True
        sys.addaudithook(_hear_audit)


def _hear_audit(event: str, _: Any) -> None:
    if event in _QUESTIONS:
        printed.give_way()


def refuse_questions() -> None:
    """In a process that has none: say so, and have nobody wait for it. A debugger of another kind may work."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    if not os.environ.get("PYTHONBREAKPOINT"):
        sys.breakpointhook = _refuse


def _refuse(*_: Any, **__: Any) -> None:
    raise DebuggerError


def was_debugged(error: BaseException) -> bool:
    """Whether a debugger that was started by its own name was told to quit, or found nobody to ask."""
    return type(error).__name__ == "BdbQuit" and type(error).__module__ == "bdb"
