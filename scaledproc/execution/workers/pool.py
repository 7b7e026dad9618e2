"""Processes for the cores of this machine: joblib's loky, never `fork`."""

from __future__ import annotations

import contextlib
import multiprocessing.resource_tracker
import os
import re
import shutil
import signal
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from scaledproc._util.process import startup
from scaledproc._util.process.machine import allowed_processes, cannot_start
from scaledproc._util.process.scratch import PrivateFolder, scratch_error
from scaledproc._util.process.signals import SIGNALS
from scaledproc._util.redaction import known_secrets
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.execution.limits import Limits
from scaledproc.execution.workers.overheard import Overheard
from scaledproc.execution.workers.printing import show_output
from scaledproc.execution.workers.recovery import WorkerLostError
from scaledproc.execution.workers.starting import ALIVE, start
from scaledproc.execution.workers.tracker import named_here
from scaledproc.execution.workers.worker_guard import begin_work, read_loss, write_marker

T = TypeVar("T")

_LEAST_PRIORITY = 19  # nice's

_SENT_ON = 1.0  # seconds, after which a call is taken to have been sent to a process
MOST_WARM = 8
"""Processes that are started before it is known how many will have work."""


def cores(jobs: int | None = None) -> int:
    """How many processes to use.

    Parameters
    ----------
    jobs
        As asked for. Where None is, the cores that this process may use: its affinity and its container's or cgroup's
        limit are respected.

    Raises
    ------
    UsageError
        If fewer than one process was asked for.
    """
    if jobs is not None:
        if jobs < 1:
            raise UsageError(f"--jobs {jobs}: give 1 or more")
        return jobs
    if multiprocessing.current_process().daemon:  # Python lets such a process start no others
        return 1
    return int(_joblib().cpu_count())


def _joblib() -> Any:
    """The module; without its warning of locks that cannot be had, which comes again as an error where that matters."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*joblib will operate in serial mode")
        import joblib
    return joblib


class Pool:
    """Runs functions on so many cores; with one and no limits, in this process, so that a debugger works.

    Each core is a process of its own, so that the end of one costs nobody but whoever was at work in it. It is replaced
    then, and when it has kept too much of its earlier work. Leaving the pool ends all processes at once.

    Parameters
    ----------
    jobs
        Number of processes; there are fewer where the system does not allow the files that they need.
    limits
        What ends a task, and a process.
    scratch
        Where to keep a few small files about the processes; the system's temporary folder where none is given.
    in_process
        Whether all work must be done in this process.
    """

    def __init__(
        self, jobs: int, limits: Limits | None = None, scratch: Path | None = None, *, in_process: bool | None = None
    ) -> None:
        self.limits = limits or Limits()
        self.jobs = jobs = allowed_processes(jobs)
        self.is_here = (jobs == 1 and not self.limits.need_processes) if in_process is None else in_process
        self._scratch = scratch
        self._lock = threading.RLock()
        self._waiting: deque[_Call] = deque()
        self._idle: list[_Core] = []
        self._cores: list[_Core] = []
        self._closed = False
        self._busy = 0

    def __enter__(self) -> Self:
        if not self.is_here:
            if multiprocessing.current_process().daemon:
                raise UsageError(
                    "this is a daemonic process, such as those of multiprocessing.Pool, which may start no others: use "
                    "jobs=1 without limits, or a concurrent.futures.ProcessPoolExecutor to call from"
                )
            self._folder = PrivateFolder(self._scratch)
            self._alive = -1
            with contextlib.suppress(OSError):  # a disk without pipes: who is left without a driver sees it later
                os.mkfifo(self.folder / ALIVE)
                self._alive = os.open(self.folder / ALIVE, os.O_RDWR | os.O_NONBLOCK)
            self._overheard = None
            with contextlib.suppress(OSError):  # then they write to standard error themselves
                self._overheard = Overheard(self.folder, show_output)
            said = None if self._overheard is None else self._overheard.path
            self._cores = [_Core(self.folder, number, self.limits, self._scratch, said) for number in range(self.jobs)]
            self._idle = list(reversed(self._cores))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def close(self, grace: float = 0.0) -> None:
        """End all processes and wait until they are gone; once.

        Parameters
        ----------
        grace
            Seconds that they get to end what they are at by themselves, and so to remove what they have begun to write.
        """
        if self.is_here or self._closed:
            return
        with self._lock:
            self._closed = True  # nothing else is begun
        until = time.monotonic() + grace
        while self._busy and time.monotonic() < until:
            time.sleep(0.01)
        with _deaf():
            for core in self._cores:
                core.retire()
            for core in self._cores:
                core.join()
            if self._overheard is not None:
                self._overheard.close()
            if self._alive >= 0:
                os.close(self._alive)
            self._folder.cleanup()

    def rest(self) -> None:
        """End the processes that have nothing to do, without waiting for it: a later call gets a new one."""
        with self._lock:
            for core in self._idle:
                core.retire()

    @property
    def folder(self) -> Path:
        """A private folder on this machine, for what one process leaves to another."""
        return self._folder.path

    def warm_up(self, function: Callable[[], object]) -> None:
        """Start processes before there is work for them, and have each call a function: to import what it will need.

        What comes of that is not asked: work that comes later meets the same, and tells.
        """
        for core in self._cores[:MOST_WARM]:  # which get work first
            core.warm_up(function)

    def submit(self, function: Callable[[], T], *, fresh: bool = False) -> Future[T]:
        """A future of the function's result; done already where there are no processes.

        Its exception is a `WorkerLostError` where the process ended.

        Parameters
        ----------
        function
            It and its result can be pickled.
        fresh
            Whether it needs a process that has done nothing before.
        """
        future: Future[Any] = Future()
        if self.is_here:
            try:
                future.set_result(function())
            except Exception as error:
                future.set_exception(error)
            return future
        with self._lock:
            self._waiting.append(_Call(future, function, fresh))
            self._dispatch()
        return future

    def withdraw(self) -> None:
        """Cancel what waits for a core."""
        with self._lock:
            for call in self._waiting:
                call.future.cancel()
            self._waiting.clear()

    def _dispatch(self) -> None:
        """Give idle cores what waits."""
        while self._waiting and self._idle and not self._closed:
            call, core = self._waiting.popleft(), self._idle.pop()
            future = core.start(call.function, fresh=call.fresh)
            self._busy += 1
            future.add_done_callback(partial(self._ended, core, call))

    def _ended(self, core: _Core, call: _Call, done: Future[Any]) -> None:
        """In a thread of the core's: it is free, then the result is there."""
        try:
            result, error = core.result(done), None
        except BaseException as found:
            result, error = None, found
        with self._lock:
            self._busy -= 1
            if not self._closed:
                self._idle.append(core)
                try:
                    self._dispatch()
                except Exception as broken:  # no process can be started: whoever waits must hear of it
                    error = error or broken
        if error is None:
            call.future.set_result(result)
        else:
            call.future.set_exception(error)


@dataclass(frozen=True)
class _Call:
    future: Future[Any]
    function: Callable[[], Any]
    fresh: bool


class _Core:
    """One process at a time, and what is known of it."""

    def __init__(self, folder: Path, number: int, limits: Limits, scratch: Path | None, said: Path | None) -> None:
        self._folder = folder
        self._said = said
        self._scratch = scratch
        self._number = number
        self._limits = limits
        self._executor: Any = None
        self._generation = 0
        self._calls = 0  # of this process
        self._ending: list[threading.Thread] = []

    def start(self, function: Callable[[], Any], *, fresh: bool) -> Future[Any]:
        """Begin a call; one at a time."""
        if fresh and self._calls:
            self.retire()
        try:
            return self._submit(function)
        except RuntimeError as error:
            if not _is_broken(error):
                raise
            self.retire()  # it ended while it was idle
            return self._submit(function)

    def warm_up(self, function: Callable[[], object]) -> None:
        """Start the process; calls wait until it is done with a function."""
        with _starting():
            try:
                self._running().submit(function)
            except RuntimeError as error:
                if not _is_broken(error):
                    raise
                self.retire()  # it ended while it was idle; a call starts another

    def result(self, done: Future[Any]) -> Any:
        """The result of a call that has ended; the process is replaced where it ended or is worn.

        Raises
        ------
        WorkerLostError
            If the process ended, or must end, before the call was done.
        """
        try:
            result, is_worn = done.result()
        except WorkerLostError:
            self.retire()
            raise
        except RuntimeError as error:
            if not _is_broken(error):
                raise
            if type(error).__name__ != "TerminatedWorkerError":  # what was sent could not be read there, or here
                raise ScaledprocError(f"a worker process cannot be talked to: {error.__cause__ or error}") from error
            loss = read_loss(self._marker, self._dump, self._calls, _exit_text(str(error)))
            self.retire()
            raise WorkerLostError(loss) from error
        if is_worn or (self._limits.worker_lifespan and self._calls >= self._limits.worker_lifespan):
            self.retire()
        return result

    def retire(self) -> None:
        """End the process, if there is one; the next call gets a new one."""
        executor, self._executor, self._calls = self._executor, None, 0
        if executor is None:
            return
        # Killed, as threads and programs that an extractor left would hold up its end. Elsewhere, as this may be a
        # thread of the executor's own.
        thread = threading.Thread(target=_end, args=(executor, self._own))
        with contextlib.suppress(RuntimeError):  # no more threads are allowed: it goes with this process
            thread.start()
        self._ending = [each for each in (*self._ending, thread) if each.is_alive()]

    def join(self) -> None:
        """Wait until all its processes are gone."""
        for thread in self._ending:
            thread.join()

    def _submit(self, function: Callable[[], Any]) -> Future[Any]:
        with _starting():
            executor = self._running()
            self._calls += 1
            call: Future[Any] = executor.submit(_call, self._calls, function)
        return call

    def _running(self) -> Any:
        """The executor, made where there is none."""
        if self._executor is None:
            # joblib.Parallel gives results in order or none at all; the executor below it gives futures.
            _joblib()
            from joblib.externals.loky.backend import resource_tracker
            from joblib.externals.loky.process_executor import ProcessPoolExecutor

            # Not later, as both trackers let signals through; and loky's complains where there can be no locks.
            with startup.library_first() as safe_path:
                multiprocessing.resource_tracker.ensure_running()
                multiprocessing.get_context("spawn").Lock()
                with named_here(resource_tracker):
                    resource_tracker.ensure_running()
            _give_way(resource_tracker)
            self._generation += 1
            try:
                self._own.mkdir()
                write_marker(self._marker)
            except OSError as error:
                raise scratch_error(error, self._scratch) from error
            self._executor = ProcessPoolExecutor(
                1,
                env={**startup.ENVIRONMENT, "TMPDIR": str(self._own), startup.SAFE_PATH: safe_path or "1"},
                initializer=start,
                initargs=(
                    *(os.getpid(), self._marker, self._dump, self._limits, known_secrets(), safe_path),
                    self._said,
                ),
                timeout=None,
            )
        return self._executor

    @property
    def _own(self) -> Path:
        """The process's folder; for its temporary files too, which it leaves when it is killed."""
        return self._folder / f"core-{self._number}-{self._generation}"

    @property
    def _marker(self) -> Path:
        return self._own / "marker"

    @property
    def _dump(self) -> Path:
        return self._own / "dump"


def _end(executor: Any, folder: Path) -> None:
    # loky's thread, told to end, would look in vain for calls that it has not yet sent on, and show a traceback.
    until = time.monotonic() + _SENT_ON
    unsent = getattr(executor, "_work_ids", None)
    while unsent is not None and not unsent.empty() and time.monotonic() < until:
        time.sleep(0.005)
    executor.shutdown(wait=True, kill_workers=True)
    shutil.rmtree(folder, ignore_errors=True)


def _is_broken(error: Exception) -> bool:
    return type(error).__name__ in ("TerminatedWorkerError", "BrokenProcessPool")


def _exit_text(message: str) -> str:
    """`SIGSEGV` or `exit code 3`, from what loky says: `{SIGSEGV(-11)}`, `{EXIT(3)}`."""
    match = re.search(r"\{(\w+)\((-?\d+)\)", message)
    if not match:
        return "unknown exit code"
    if not match[2].startswith("-"):
        return f"exit code {match[2]}"
    return match[1] if match[1] != "UNKNOWN" else f"signal {match[2][1:]}"


def _call(number: int, function: Callable[[], T]) -> tuple[T, bool]:
    """In a worker process: the result, and whether a fresh process should take this one's place."""
    startup.end()
    own = begin_work(number)
    result = function()
    return result, own.is_worn()


def _give_way(tracker: Any) -> None:
    """Let loky's tracker of resources load its packages, NumPy among them, when no core is wanted for tasks.

    It has nothing to do but at the end; what is sent to it waits in its pipe.
    """
    pid = getattr(getattr(tracker, "_resource_tracker", None), "_pid", None)
    if pid is not None and hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, pid, _LEAST_PRIORITY)


@contextlib.contextmanager
def _starting() -> Iterator[None]:
    """A process that is started meanwhile gets no signal before it can handle it: Python's own way is a traceback.

    Raises
    ------
    ScaledprocError
        If the machine does not let it start, for want of memory, processes, open files, locks or a working folder.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    except (OSError, MemoryError, RuntimeError, UnboundLocalError) as error:  # the last is loky's where a pipe fails
        if (reason := cannot_start(error)) is None or _is_broken(error):
            raise
        raise reason from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Ctrl-C again, while the processes are being ended, would leave some of them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
