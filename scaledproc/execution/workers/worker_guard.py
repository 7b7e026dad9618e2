"""What a worker process notes of its work, so that its end can be explained; and what keeps its tasks within limits.

The driver gives each process a marker: a file of a few bytes that is mapped into memory, so that a note costs no system
call, is there after any death, and needs no file handle that a task could close or use up. Beside it lies a dump, to
which Python's fault handler writes where the process was: when it crashes, or when a task's time is over. Both work
while native code holds the interpreter's lock.

In the driver's own process (one core, no limits) there is no guard, and all of this does nothing.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import mmap
import os
import resource
import select
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scaledproc._util.process.memory import keep_freed_memory, resident_memory
from scaledproc.execution.limits import Limits
from scaledproc.execution.workers.recovery import Loss, WorkerLostError

LEAKED_FILES = 64
"""File handles that a process may have kept open at the end of a chunk; then it is replaced."""
LEAKED_MEMORY = 300 * 10**6
"""Bytes that a process may have kept at the end of a chunk; then it is replaced."""
_SHOWN_DUMP = 20_000
_PROBED = 4  # file numbers that are looked at: one may have been closed again
_ENDLESS = 2**30  # open files; poll() takes no larger numbers
_NOTE = struct.Struct("<qq")  # the number of the work, and where in it the process is
_LOADING, _BETWEEN = -1, -2


def write_marker(path: Path) -> None:
    """A marker for a process that is to start; with all its bytes on the disk, which may fill up later."""
    path.write_bytes(_NOTE.pack(-1, _LOADING))


def read_loss(marker: Path, dump: Path, number: int, exit_code: str) -> Loss:
    """How a process ended, and at which task.

    Parameters
    ----------
    marker, dump
        What it left.
    number
        Of the work that it had been given.
    exit_code
        `SIGSEGV`, or `exit code 3`.
    """
    noted, place = _NOTE.unpack(marker.read_bytes()[: _NOTE.size])
    trace = dump.read_text(errors="replace")[:_SHOWN_DUMP] if dump.exists() else ""
    is_timeout = trace.startswith("Timeout (")
    cause: Any = "timeout" if is_timeout else "memory" if exit_code == "SIGKILL" else "crash"
    begun = noted == number and place != _LOADING
    return Loss(cause, exit_code, place if begun and place >= 0 else None, begun=begun, trace=trace)


class Guard:
    """One worker process's notes and limits.

    Parameters
    ----------
    marker, dump
        Files that the driver reads when this process is gone.
    limits
        Of each task, and of this process.
    """

    def __init__(self, marker: Path, dump: Path, limits: Limits) -> None:
        with marker.open("r+b") as file:
            self._note = mmap.mmap(file.fileno(), _NOTE.size)
        self._number = -1
        self._before = 0
        self.is_in_task = False
        """Whether a task is at work now."""
        self._timeout = limits.task_timeout
        self._memory_limit = limits.memory_per_worker
        self._dump = dump.open("wb", buffering=0)
        faulthandler.enable(self._dump)
        if limits.memory_per_worker is not None:
            _limit_memory(limits.memory_per_worker)
        else:
            keep_freed_memory()
        self._files = _open_files()
        self._probe = _Probe()
        self._memory: int | None = None

    def begin(self, number: int) -> None:
        """A piece of work is begun: the extractor is about to be loaded."""
        self._number, self._before, self.is_in_task = number, 0, False
        self.note(_LOADING)

    def end_part(self, tasks: int) -> None:
        """A part of the work, of so many tasks, is done: the places of the next part's are counted on from there."""
        self._before += tasks

    def note(self, place: int) -> None:
        """Where in its work this process is."""
        _NOTE.pack_into(self._note, 0, self._number, place)

    def begin_task(self, place: int) -> None:
        """One task is at work from now on."""
        self.note(self._before + place)
        self.is_in_task = True
        if self._timeout is not None:
            faulthandler.dump_traceback_later(self._timeout, exit=True, file=self._dump)

    def end_task(self) -> None:
        """The task is not at work any more: its time limit is off."""
        if self._timeout is not None:
            faulthandler.cancel_dump_traceback_later()
        self.is_in_task = False

    def between(self, place: int) -> None:
        """See whether there is enough left for the task of a place that is not the first.

        Raises
        ------
        WorkerLostError
            If earlier tasks left so many files open that the next one may not get its own.
        """
        if self._probe.has_half():
            raise WorkerLostError(Loss("worn", "too many open files", self._before + place))

    def out_of_memory(self, place: int | None, trace: str = "") -> None:
        """A task had too little memory, which earlier ones may have taken: it is for a fresh process to tell.

        Raises
        ------
        WorkerLostError
            If the run has a memory limit. The error names no class: which one comes when memory is short is a matter of
            luck.
        """
        if self._memory_limit is not None:
            task = None if place is None else self._before + place
            raise WorkerLostError(Loss("memory", "MemoryError", task, trace=trace)) from None

    @contextlib.contextmanager
    def more_memory(self, factor: float) -> Iterator[None]:
        """Allow so many times as much memory, to a task that did not have enough."""
        if self._memory_limit is None or factor <= 1:
            yield
            return
        _limit_memory(round(self._memory_limit * factor))
        try:
            yield
        finally:
            _limit_memory(self._memory_limit)

    def is_worn(self) -> bool:
        """Whether this process has kept so much of its earlier work that a fresh one should take its place."""
        memory = resident_memory()
        if self._memory is None:  # libraries are loaded by now
            self._memory = memory
        return memory - self._memory > LEAKED_MEMORY or _open_files() - self._files > LEAKED_FILES


_guard: Guard | None = None


def is_worn() -> bool:
    """Whether this is a worker process that a fresh one should take the place of."""
    own = guard()
    return own is not None and own.is_worn()


def start_guard(marker: Path, dump: Path, limits: Limits) -> None:
    """Guard this process from now on."""
    global _guard
    _guard = Guard(marker, dump, limits)


def guard() -> Guard | None:
    """That of this process's tasks; None where it is the driver's.

    None too within a task: it may make a run of its own here, whose tasks must neither end the time limit of the task
    that they are part of, nor stand in its place.
    """
    return None if _guard is None or _guard.is_in_task else _guard


def begin_work(number: int) -> Guard:
    """A call of the pool is begun in this worker process: whatever the one before was ended by, no task is at work."""
    assert _guard is not None
    _guard.begin(number)
    return _guard


def is_worker() -> bool:
    """Whether this is a worker process, within a task too."""
    return _guard is not None


def end_part(tasks: int) -> None:
    """Note that a part of this process's work is done, of so many tasks."""
    if (own := guard()) is not None:
        own.end_part(tasks)


def between_tasks() -> None:
    """Note that the tasks are done: what ends this process now is not the last one's fault alone."""
    if (own := guard()) is not None:
        own.note(_BETWEEN)


def _limit_memory(size: int) -> None:
    """Have the system refuse more than so many bytes of memory of one's own, to which Python answers MemoryError.

    Linux counts under RLIMIT_DATA what is private and can be written, whether it was touched or not: heaps, arrays,
    stacks; not the code of libraries, nor files that are mapped. RLIMIT_AS would count those too.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (size if hard == resource.RLIM_INFINITY else min(size, hard), hard))


def _open_files() -> int:
    """How many files are open. The lowest free number would not tell: one that was closed again leaves a gap there."""
    try:
        with os.scandir("/dev/fd") as found:
            return sum(1 for _ in found)
    except OSError as error:
        return sys.maxsize if error.errno in (errno.EMFILE, errno.ENFILE) else 0


class _Probe:
    """Tells whether about half as many files are open as may be, with two quick system calls.

    A file gets the lowest free number, so that nearly all below one that is taken are taken too.
    """

    def __init__(self) -> None:
        self._ask_below(_file_limit())

    def has_half(self) -> bool:
        """Whether they are; also where fewer may be than before."""
        limit = _file_limit()
        if limit < self._limit:  # a task's doing, which the next ones need not bear
            return True
        if limit > self._limit:
            self._ask_below(limit)
        answers = self._files.poll(0)  # names those that are closed, and what it sees of others
        if answers == self._closed:  # as nearly always
            return False
        return len(answers) < _PROBED or any(not seen & select.POLLNVAL for _, seen in answers)

    def _ask_below(self, limit: int) -> None:
        self._limit, self._files = limit, select.poll()
        self._closed = [(file, select.POLLNVAL) for file in range(limit // 2, limit // 2 + _PROBED)]
        for file in range(limit // 2, limit // 2 + _PROBED):
            self._files.register(file, 0)


def _file_limit() -> int:
    limit: int = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limit if 0 <= limit < _ENDLESS else _ENDLESS
