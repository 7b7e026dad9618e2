"""How much memory this process takes, at most, while something is done; how much it may take; what it keeps."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import re
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_STATUS = Path("/proc/self/status")
_STATM = "/proc/self/statm"
_LINE = 4_096  # bytes, more than Linux tells there
_RESET = Path("/proc/self/clear_refs")
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt(3)
_KEPT = 64 * 2**20
"""Bytes of freed memory that a process keeps, at most, where what is freed lies together."""
OWN_EVERY = 0.02
"""Seconds between looks of `OwnPeak` that take 50 us or more: a fraction of a percent of the time."""


class PeakMemory:
    """Measures the resident memory of this process while the block is at work; processes that it starts do not count.

    Attributes
    ----------
    before
        Bytes when the block was entered; None where the system does not tell.
    peak
        Most bytes within the block. Where the system cannot forget what the process took before (only Linux can), it is
        None unless the block took more than that.
    """

    def __init__(self) -> None:
        self.before: int | None = None
        self.peak: int | None = None
        self._most = 0
        self._is_reset = False

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError):
            _RESET.write_text("5")  # from proc(5): the peak is from now on
            self._is_reset = True
        self.before = _of_status("VmRSS")
        self._most = _most_ever()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        most = _of_status("VmHWM") if self._is_reset else None
        if most is None and (ever := _most_ever()) > self._most:
            most = ever
        self.peak = most


def resident_memory() -> int:
    """How many bytes of this process are in memory now."""
    try:
        handle = os.open(_STATM, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        import psutil

        return int(psutil.Process().memory_info().rss)
    try:
        return int(os.read(handle, _LINE).split()[1]) * resource.getpagesize()
    finally:
        os.close(handle)


class OwnPeak:
    """Tells the most resident memory that this process has taken so far, in bytes, when called.

    The system's own figure, `getrusage`, begins with that of the process that started this one, since `execve` keeps
    it: the small worker of a large driver would be told as large as the driver. What tells it then takes as long as
    a small task, so that it is asked at most each `OWN_EVERY` seconds.
    """

    def __init__(self) -> None:
        most, own = _most_ever(), _of_status("VmHWM")
        self._inherited = most if own is not None and own < most else 0
        self._told, self._told_at = 0, -math.inf
        self.has_read = False
        """Whether the last call read a file of the system's."""

    def __call__(self, now: float | None = None) -> int:
        """The most so far; by the time `now` (of any clock) what was found less than `OWN_EVERY` before will do."""
        most = _most_ever()
        self.has_read = False
        if most > self._inherited:
            return most
        if now is None or now - self._told_at >= OWN_EVERY:
            self._told, self.has_read = _of_status("VmHWM") or most, True
            self._told_at = -math.inf if now is None else now
        return self._told


def keep_freed_memory() -> None:
    """Have this process use freed memory again instead of giving it back, where glibc allocates and nobody tuned it.

    Arrays of some hundred kilobytes are made and freed for each task. Fetching and clearing their pages each time took
    a sixth of the time of windows.
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    with contextlib.suppress(OSError, AttributeError):  # another library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _KEPT // 2)  # the most that it takes: larger ones are always given back
        mallopt(_M_TRIM_THRESHOLD, _KEPT)


def _of_status(name: str) -> int | None:
    """A line of what Linux tells of this process, in bytes."""
    try:
        with _STATUS.open("rb", buffering=0) as file:
            found = re.search(rb"^%s:\s+(\d+) kB$" % name.encode(), file.read(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def _most_ever() -> int:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


@dataclass(frozen=True)
class Memory:
    """What processes may have of memory, in bytes.

    Parameters
    ----------
    total, available
        What there is, and what of it is free.
    is_limited
        Whether a container or cgroup allows less than the machine has.
    """

    total: int
    available: int
    is_limited: bool


def usable_memory(cgroups: Path = _CGROUPS, own: Path = _OWN_CGROUP) -> Memory:
    """The machine's memory, or what the limits of the containers and cgroups that this process is in leave of it.

    Parameters
    ----------
    cgroups, own
        Where Linux tells of cgroups, and of this process's own.
    """
    import psutil

    machine = psutil.virtual_memory()
    found = Memory(int(machine.total), int(machine.available), is_limited=False)
    for limit, used in _limits(cgroups, own):
        if limit < found.total:
            found = Memory(limit, min(found.available, max(limit - used, 0)), is_limited=True)
    return found


def _limits(cgroups: Path, own: Path) -> Iterator[tuple[int, int]]:
    """Limits of memory and what is used of them: of this process's cgroup and of those around it, of both versions."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, place = line.split(":", 2)
        if kinds and "memory" not in kinds.split(","):
            continue
        root = cgroups / "memory" if kinds else cgroups
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if kinds else ("memory.max", "memory.current")
        inner = root / place.lstrip("/")
        for folder in (inner, *inner.parents):
            if folder.is_relative_to(root):
                # "max", or no file, is no limit.
                with contextlib.suppress(OSError, ValueError):
                    limit, used = (int((folder / name).read_text()) for name in names)
                    yield limit, used
