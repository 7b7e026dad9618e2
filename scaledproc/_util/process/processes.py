"""Processes told from each other and from those that are gone, and a clock that all of a machine share."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_LINE = 4_096  # bytes, more than Linux tells of a process
_UNTOLD = ""  # when a process started that is there, but whose owner hides it


@dataclass(frozen=True)
class Process:
    """A process, so that it cannot be taken for another one.

    Parameters
    ----------
    machine
        Host name, the boot of its kernel, and the namespace that its process ids are of.
    pid
        Its id.
    born
        When it started, as the kernel tells it: an id is given again, with another time.
    """

    machine: str
    pid: int
    born: str

    @property
    def host(self) -> str:
        """The name of the process's machine."""
        return self.machine.partition("|")[0]


def elapsed() -> float:
    """Seconds by a clock that nobody sets and that goes on while the machine sleeps; the same in all its processes."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def this_process() -> Process:
    """Tell this process from all others."""
    return Process(_machine(), os.getpid(), _born(os.getpid()) or _UNTOLD)


def is_alive(process: Process) -> bool | None:
    """Whether a process is at work; None where it is another machine's or hidden, so that it cannot be told."""
    if process.machine != _machine():
        return None
    born = _born(process.pid)
    if born is None:
        return False
    return None if _UNTOLD in (born, process.born) else born == process.born


def text_of(process: Process) -> str:
    """A process as one line."""
    return f"{process.pid} {process.born} {process.machine}"


def process_of(text: str) -> Process:
    """The process of a line."""
    pid, born, machine = (*text.split(" ", 2), "", "")[:3]
    return Process(machine, int(pid) if pid.isdecimal() else 0, born)


@lru_cache(maxsize=1)
def _machine() -> str:
    boot = pids = ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        pids = str(Path("/proc/self/ns/pid").readlink())
    return f"{platform.node()}|{boot}|{pids}"


def _born(pid: int) -> str | None:
    """When a process started; None where there is none, or it is over and only waited for."""
    try:
        state, *rest = told_of(pid).rpartition(b")")[2].decode("ascii").split()
    except ProcessLookupError:  # it ended meanwhile
        return None
    except (FileNotFoundError, PermissionError):
        if Path("/proc/self/stat").exists():
            return _UNTOLD if _is_there(pid) else None  # /proc may be mounted with hidepid
    else:
        return None if state in "ZX" else rest[18]
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied:
        return _UNTOLD


def told_of(pid: int) -> bytes:
    """What Linux tells of a process in one line."""
    handle = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)  # hot: asked before each change
    try:
        return os.read(handle, _LINE)
    finally:
        os.close(handle)


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
