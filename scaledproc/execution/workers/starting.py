"""The beginning of a worker process: one thread, no questions, no signals of its own, and an end with the driver's."""

from __future__ import annotations

import contextlib
import multiprocessing.resource_tracker
import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from scaledproc._util.process import startup
from scaledproc._util.process.lazy_pandas import defer_pandas
from scaledproc._util.process.signals import SIGNALS, leave_to_driver
from scaledproc._util.redaction import remember_secrets
from scaledproc.execution.limits import Limits
from scaledproc.execution.workers.overheard import speak_into
from scaledproc.execution.workers.printing import refuse_questions
from scaledproc.execution.workers.worker_guard import start_guard

ALIVE = "alive"
"""A pipe that the driver holds open as long as it lives."""


def start(
    driver: int,
    marker: Path,
    dump: Path,
    limits: Limits,
    secrets: Mapping[str, str],
    safe_path: str | None,
    said: Path | None,
) -> None:
    """Make this new process a worker: one thread, Ctrl-C is the driver's to handle, and it does not outlive the driver.

    Standard output is the driver's too: a program may be reading it.

    Parameters
    ----------
    driver
        The driver's process id.
    marker, dump
        Where to note what it is at, and where it was when it crashed.
    limits
        Of its tasks.
    secrets
        What must not be shown, by what is shown in the place of each.
    safe_path
        What the environment said of the current folder before.
    said
        The pipe that its standard streams are to lead into; to standard error where None is.
    """
    startup.restore_path(safe_path)
    startup.begin()
    speak_into(said)
    sys.stdout = sys.stderr
    leave_to_driver()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    refuse_questions()
    _keep_from_children()
    multiprocessing.set_start_method(None, force=True)  # an extractor's own pools are Python's, not of loky's kind
    threading.Thread(target=_end_with, args=(driver,), daemon=True).start()
    _end_by_signal(marker.parent.with_name(ALIVE))
    defer_pandas()
    if not marker.exists():
        os._exit(1)  # the driver has given up meanwhile
    import pyarrow as pa
    from joblib.externals.loky import process_executor

    pa.set_cpu_count(1)
    # loky would end a process that has grown by itself, and warn where the next call is on its way; the guard tells.
    process_executor._USE_PSUTIL = False  # noqa: SLF001 - no other switch
    remember_secrets(secrets)  # of all stores: an extractor may come to show those of the dataset's
    start_guard(marker, dump, limits)


def _keep_from_children() -> None:
    """Have no child of this process keep open what is closed when this process ends: the driver waits for just that.

    The system marks none of its pipes as the one. Those that are written to, but for the trackers' of resources, are of
    no use to a child: a forked one gets the null device in their place.
    """
    import fcntl

    from joblib.externals.loky.backend import resource_tracker

    trackers = {resource_tracker.getfd(), multiprocessing.resource_tracker.getfd()}
    with os.scandir("/dev/fd") as found:
        numbers = {int(entry.name) for entry in found} - trackers - {0, 1, 2}
    kept = []
    for number in numbers:
        with contextlib.suppress(OSError):  # what the folder was read by
            is_written = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY
            if is_written and stat.S_ISFIFO(os.fstat(number).st_mode):
                os.set_inheritable(number, False)
                kept.append(number)

    def give_up() -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        for number in kept:
            os.dup2(null, number, inheritable=False)
        os.close(null)

    os.register_at_fork(after_in_child=give_up)


def _end_with(driver: int) -> None:
    """A killed driver tells nobody; but its children get another parent."""
    while os.getppid() == driver:
        time.sleep(1)
    os._exit(1)


def _end_by_signal(pipe: Path) -> None:
    """End with the driver while native code holds the interpreter's lock too: by SIGIO, when the pipe has no writer."""
    import fcntl

    signal.signal(signal.SIGIO, signal.SIG_DFL)  # which ends the process
    try:
        end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:  # its disk has no pipes
        return
    fcntl.fcntl(end, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(end, fcntl.F_SETFL, fcntl.fcntl(end, fcntl.F_GETFL) | os.O_ASYNC)
