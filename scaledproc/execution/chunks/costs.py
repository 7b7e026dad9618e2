"""What each task cost: seconds, bytes read meanwhile, the peak of memory of its process, and how often it was tried."""

from __future__ import annotations

import contextlib
import os
import time
from functools import lru_cache
from pathlib import Path

from scaledproc._util.process.memory import OwnPeak

Cost = tuple[int, int, int, int]
"""Microseconds, bytes read, bytes of peak memory, attempts; -1 is what is not known."""
UNKNOWN: Cost = (-1, -1, -1, -1)

_COUNTERS = "/proc/self/io"
_OWN = 40  # bytes of the counters that are read, which the next reading counts


@lru_cache(maxsize=1)
def _own_peak(pid: int) -> OwnPeak:  # noqa: ARG001 - a forked process has its own
    return OwnPeak()


class Meter:
    """Takes what tasks cost, one after the other, with a few system calls for each.

    What is read counts as the system's `rchar` does: all that this process's threads were given by `read` and the like,
    from disks or from the cache, and not what they mapped. The peak is that of the process up to the task's end; where
    tasks take less than `OWN_EVERY`, up to the end of one shortly before it.
    """

    def __init__(self) -> None:
        self._file = -1
        with contextlib.suppress(OSError):
            self._file = os.open(_COUNTERS, os.O_RDONLY | os.O_CLOEXEC)
        self._peak = _own_peak(os.getpid())
        self._read = -1
        self._started = time.perf_counter()

    def begin(self, *, has_read: bool) -> None:
        """A task is begun.

        Parameters
        ----------
        has_read
            Whether something else was read since the last one, which is no task's.
        """
        if has_read:
            self._read = self._bytes_read()
        self._started = time.perf_counter()

    def end(self, attempts: int) -> Cost:
        """What the task cost that ends now."""
        now = time.perf_counter()
        before, until = self._read, self._bytes_read() - _OWN
        read = until - before if until >= before >= 0 else -1
        peak = self._peak(now)
        # What tells the peak may have read as well, which is not the next task's.
        self._read = self._bytes_read() if self._peak.has_read else until + _OWN if until >= 0 else -1
        return round(1e6 * (now - self._started)), read, peak, attempts

    def close(self) -> None:
        """Let the file go, unless a task did."""
        if self._file >= 0:
            with contextlib.suppress(OSError):
                if os.path.samestat(os.fstat(self._file), Path(_COUNTERS).stat()):
                    os.close(self._file)
            self._file = -1

    def _bytes_read(self) -> int:
        if self._file < 0:
            return -1
        try:
            name, _, rest = os.pread(self._file, _OWN, 0).partition(b": ")
            return int(rest.partition(b"\n")[0]) if name == b"rchar" else -1
        except (OSError, ValueError):  # a task closed it, or put something else there
            return -1
