"""What this machine lets a process have: open files, processes, locks between them. Refusals in words."""

from __future__ import annotations

import contextlib
import errno
import resource
import sys
from pathlib import Path

from scaledproc.errors import ScaledprocError, causes_of

FILES_EACH = 7
"""Files that the driver keeps open for each process that it starts."""
FILES_BESIDE = 40
"""Files that it needs for all else: the run's folder, libraries while they are loaded, a process while it starts."""
FILES_WANTED = 2**16
"""More open files than that are not asked for: programs that a task starts may go through all of their numbers."""


def raise_file_limit(wanted: int = FILES_WANTED) -> int:
    """Have this process open so many files, as far as it may; how many it may open now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    allowed = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    if allowed > soft:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
            return allowed
    return soft


def allowed_processes(jobs: int) -> int:
    """How many of the wanted processes the limit of open files allows, which is raised as far as it may be.

    A single one is this process itself, which needs no files of its own.
    """
    if jobs == 1:
        return 1
    wanted = FILES_BESIDE + FILES_EACH * jobs
    allowed = raise_file_limit(wanted)
    return jobs if allowed >= wanted else max((allowed - FILES_BESIDE) // FILES_EACH, 1)


def too_few_files(jobs: int, fits: int) -> str:
    """A note on fewer processes than were asked for."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return (
        f"{fits} of {jobs} processes: this machine allows {allowed:,} open files, and {jobs} need "
        f"{FILES_BESIDE + FILES_EACH * jobs:,} (ulimit -n raises it)"
    )


def shortage(error: BaseException | None) -> str | None:
    """What a process may have no more of, and what to do, where that is behind an error; None where it is not."""
    for each in causes_of(error):
        number = each.errno if isinstance(each, OSError) else None
        if number in (errno.EMFILE, errno.ENFILE):
            allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            return f"{allowed:,} open files are allowed: raise that (ulimit -n), or use fewer processes (--jobs)"
        if number == errno.EAGAIN or "start new thread" in str(each):
            return (
                "no more processes and threads are allowed (ulimit -u, a container's limit), or no more memory for "
                "them (ulimit -v): raise that, or use fewer (--jobs)"
            )
        if number == errno.ENOMEM or isinstance(each, MemoryError) or "failed to map segment" in str(each):
            return "memory is short (ulimit -v, or a container's limit): raise that, or use fewer processes (--jobs)"
    return None


def cannot_start(error: BaseException) -> ScaledprocError | None:
    """Why no process can be started, from what became of it; None where it is none of the machine's refusals."""
    advice = shortage(error)
    if advice is None and not isinstance(error, OSError):
        return None
    if advice is None and not _has_folder():
        advice = "the working folder is gone: change into one that is there"
    # All else that they need are locks, which the system keeps there.
    advice = advice or (
        "processes share locks through /dev/shm, which must be there, writable and not full (docker run --shm-size): "
        "mend that, or use --jobs 1"
    )
    reason = (isinstance(error, OSError) and error.strerror) or type(error).__name__
    return ScaledprocError(f"no worker process can be started ({reason}): {advice}")


def _has_folder() -> bool:
    try:
        Path.cwd()
    except OSError:
        return False
    return True
