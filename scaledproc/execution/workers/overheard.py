"""What processes write to their standard streams, as whole lines for whoever shows them.

What several processes write to a terminal themselves comes between each other's lines, and a display that moves draws
over it; standard output may be a program's to read. A pipe of a folder, and no other kind, as a process of loky's
inherits no handles that it was not given.
"""

from __future__ import annotations

import contextlib
import locale
import os
import re
import select
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from scaledproc._util.text import clean_text

_NAME = "said"
_LONGEST = 2**16  # bytes of a line; longer ones are shown in parts
_AT_ONCE = 2**16
LINGER = 1.0
"""Seconds for which more is shown at the end: a program that a task left behind may write for ever."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")

Show = Callable[[Sequence[str]], None]
"""Takes lines, without their ends; called by a thread."""


class Overheard:
    """Listens to processes until it is closed.

    Parameters
    ----------
    folder
        A private one, for the pipe.
    show
        What takes the lines.

    Raises
    ------
    OSError
        If the folder's disk has no pipes.
    """

    def __init__(self, folder: Path, show: Show) -> None:
        self.path = folder / _NAME
        self._show = show
        self._held = b""
        self._until: float | None = None
        os.mkfifo(self.path, 0o600)
        with contextlib.ExitStack() as undone:
            # Both ends: it never ends by itself.
            self._pipe = os.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            undone.callback(os.close, self._pipe)
            self._woken, self._waker = os.pipe()
            undone.callback(os.close, self._woken)
            undone.callback(os.close, self._waker)
            self._thread = threading.Thread(target=self._listen, daemon=True)
            self._thread.start()
            self._files = undone.pop_all()

    def close(self) -> None:
        """Show the rest, once nobody writes any more."""
        self._until = time.monotonic() + LINGER
        os.write(self._waker, b".")  # its end would not be seen where a process was forked that has it too
        self._thread.join()
        self._files.close()

    def _listen(self) -> None:
        waiting = select.poll()
        waiting.register(self._pipe, select.POLLIN)
        waiting.register(self._woken, select.POLLIN)
        while True:
            waiting.poll()
            content = b""
            with contextlib.suppress(BlockingIOError):
                content = os.read(self._pipe, _AT_ONCE)
            is_last = self._until is not None and (not content or time.monotonic() > self._until)
            self._hear(content, is_last=is_last)
            if is_last:
                return

    def _hear(self, content: bytes, *, is_last: bool) -> None:
        *lines, self._held = (self._held + content).split(b"\n")
        if len(self._held) > _LONGEST or (is_last and self._held):
            lines.append(self._held)
            self._held = b""
        if lines:
            # Nothing that shows them may end the thread: the processes would wait for ever.
            with contextlib.suppress(Exception):
                self._show([_text_of(line) for line in lines])


def speak_into(path: Path | None) -> None:
    """In a process: have its standard streams, and those of programs that it starts, lead into the pipe.

    Where there is none, or nobody listens, they lead to standard error.
    """
    try:
        if path is None:
            raise FileNotFoundError
        pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        with contextlib.suppress(OSError):  # which is closed
            os.dup2(2, 1)
        return
    os.set_blocking(pipe, True)
    for stream in (1, 2):
        os.dup2(pipe, stream)
    if pipe > 2:
        os.close(pipe)


def _text_of(line: bytes) -> str:
    """A line without colours; of one that was written over, as bars of progress are, what it was last."""
    shown = line.rstrip(b"\r").rpartition(b"\r")[2]
    try:
        text = shown.decode()
    except UnicodeDecodeError:
        text = shown.decode(locale.getencoding(), errors="replace")
    return clean_text(_COLOURS.sub("", text))
