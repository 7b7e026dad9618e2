"""Standard streams of the commands: one that is closed, full, or that nobody reads any more ends no run."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import sys
from typing import IO, Any

_lost: dict[int, OSError] = {}  # by file number: what stood in the way


class _Tolerant(io.FileIO):
    """A stream's file. After the first failure all goes to the null device, of programs too that are started."""

    def write(self, content: Any) -> int:
        number, view = self.fileno(), memoryview(content).cast("B")
        try:
            while (written := super().write(view)) is None:  # whoever made it has it answer at once that it is busy
                select.select((), (number,), ())
        except OSError as error:
            _lose(number, error)
            return len(view)
        return written


def _lose(number: int, error: OSError) -> None:
    _lost[number] = error
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)
    if number != 2 and error.errno != errno.EPIPE:  # a reader that is gone wanted no more
        with contextlib.suppress(OSError):
            text = f"scaledproc: standard output cannot be written ({error.strerror}); the rest is left out\n"
            os.write(2, text.encode())


def lost_output() -> OSError | None:
    """Why what was written to standard output is not there; None where all is, or where its reader left."""
    error = _lost.get(1)
    return None if error is None or error.errno == errno.EPIPE else error


def tolerant(number: int, like: Any = None) -> IO[str]:
    """Text to an open file, without an error where it cannot be written.

    Parameters
    ----------
    number
        The file's; it stays open.
    like
        The stream whose settings are to be kept.
    """
    return io.TextIOWrapper(
        io.BufferedWriter(_Tolerant(number, "w", closefd=False)),
        encoding=getattr(like, "encoding", "utf-8"),
        errors="backslashreplace",
        line_buffering=getattr(like, "line_buffering", True),
        write_through=getattr(like, "write_through", False),
    )


def keep_streams() -> None:
    """Have this process's streams be there, and tolerant; those that somebody else has put in their place are left."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:  # closed; the next file that is opened would be taken for it, by programs that are started
            with contextlib.suppress(OSError):
                os.fstat(number)
                continue
            null = os.open(os.devnull, os.O_RDWR)
            if null == number:
                os.set_inheritable(number, True)  # else programs that are started have it closed again
            else:
                os.dup2(null, number)
                os.close(null)
            stream = open(number, "w" if number else "r", encoding="utf-8", closefd=False)  # noqa: SIM115 - for good
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        elif number and stream is getattr(sys, f"__{name}__"):
            with contextlib.suppress(OSError, ValueError):
                if stream.fileno() == number:
                    stream.flush()
                    setattr(sys, name, tolerant(number, stream))
