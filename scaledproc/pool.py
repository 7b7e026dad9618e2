"""Processes for the cores of this machine: joblib's loky, never `fork`."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self, TypeVar

from scaledproc.errors import UsageError

T = TypeVar("T")

# Every process has one core: threads of numeric libraries below it would only fight over them.
ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "BLIS_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "NUMBA_NUM_THREADS",
    ),
    "1",
)


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
        Fewer than one was asked for.
    """
    if jobs is not None:
        if jobs < 1:
            raise UsageError(f"--jobs {jobs}: give 1 or more")
        return jobs
    import joblib

    return int(joblib.cpu_count())


class Pool:
    """Runs functions on so many cores; with one, in this process, so that a debugger works.

    Leaving it by an exception ends the processes at once.

    Parameters
    ----------
    jobs
        Number of processes.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._executor: Any = None

    def __enter__(self) -> Self:
        if self.jobs > 1:
            # joblib.Parallel gives results in order or none at all; the executor below it gives futures.
            from joblib.externals.loky.process_executor import ProcessPoolExecutor

            self._executor = ProcessPoolExecutor(
                self.jobs, env=ONE_THREAD, initializer=_start, initargs=(os.getpid(),), timeout=None
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._executor is None:
            return
        if kind is None:
            self._executor.shutdown(wait=True)
            return
        with _deaf():
            self._executor.shutdown(wait=True, kill_workers=True)

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """A future of the function's result; with one core it is done already."""
        if self._executor is not None:
            future: Future[T] = self._executor.submit(function)
            return future
        future = Future()
        try:
            future.set_result(function())
        except Exception as error:
            future.set_exception(error)
        return future


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Ctrl-C again, while the processes are being ended, would leave some of them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _start(driver: int) -> None:
    """In a new process: one thread, Ctrl-C is the driver's to handle, and nobody outlives the driver.

    Standard output is the driver's too: a program may be reading it.
    """
    sys.stdout = sys.stderr
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(driver,), daemon=True).start()
    import pyarrow as pa

    pa.set_cpu_count(1)


def _end_with(driver: int) -> None:
    """A killed driver tells nobody; but its children get another parent."""
    while os.getppid() == driver:
        time.sleep(1)
    os._exit(1)
