"""What this machine lets a run have: cores, memory, scratch space, shared memory for locks, open files."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scaledproc._util.process.machine import FILES_BESIDE, FILES_EACH, allowed_processes, cannot_start, raise_file_limit
from scaledproc._util.process.machine import too_few_files as few_files_text
from scaledproc._util.process.memory import usable_memory
from scaledproc._util.process.scratch import PrivateFolder
from scaledproc._util.text import bytes_text, count_text
from scaledproc.engine.doctor.findings import Finding, Verdict
from scaledproc.errors import ScaledprocError
from scaledproc.execution.limits import LEAST_MEMORY
from scaledproc.execution.workers.pool import cores

MEMORY_EACH = 10**9
"""Bytes for each worker process, below which tasks of a few hundred megabytes may not fit."""
LEAST_SCRATCH = 10**9
"""Bytes free on the scratch disk, below which staging, which takes half of them, has little room."""
SLOW_SCRATCH = 50e6
"""Bytes a second, below which a disk is slower than the network that staged files come by."""
PROBED = 128 * 2**20
"""Bytes that are written and read at most to measure a disk."""
PROBED_SECONDS = 1.0
PIECE = 4 * 2**20
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - nothing of ours is written there by its name
_NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "beegfs", "ceph", "fuse.sshfs", "fuse.s3fs", "9p"}
)
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})


def find_cores(jobs: int | None = None) -> Finding:
    """How many processes a run would use here, and by which limit.

    Parameters
    ----------
    jobs
        As a run is given it; counted where None is.
    """
    counted = cores(jobs)
    there = os.cpu_count() or 1
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else there
    details = {"cores": counted, "machine": there, "affinity": affinity}
    if jobs is not None and jobs > cores():
        return Finding(
            "cores",
            Verdict.WORRY,
            f"{jobs:,} processes are asked for, and this process may use {count_text(cores(), 'core')}",
            "leave --jobs out: more processes than cores do not end sooner",
            details=details,
        )
    if counted == there or jobs is not None:
        why = ""
    elif affinity == counted:
        why = f" of {there:,}: this process's affinity allows no more"
    else:
        why = f" of {there:,}: a limit of the container or cgroup, or LOKY_MAX_CPU_COUNT, allows no more"
    return Finding("cores", Verdict.FINE, f"{count_text(counted, 'core')}{why}", details=details)


def find_memory(jobs: int) -> Finding:
    """How much memory the machine or its container has, and whether it is enough for so many processes."""
    memory = usable_memory()
    each = memory.available // jobs
    details = {"total": memory.total, "available": memory.available, "limited": memory.is_limited}
    where = "that the container or cgroup allows" if memory.is_limited else "of the machine"
    text = (
        f"{bytes_text(memory.available)} free of {bytes_text(memory.total)} {where}, {bytes_text(each)} for each core"
    )
    if each >= MEMORY_EACH:
        return Finding("memory", Verdict.FINE, text, details=details)
    fits = max(memory.available // MEMORY_EACH, 1)
    if memory.available < LEAST_MEMORY:
        advice = f"a worker process needs {bytes_text(LEAST_MEMORY)}: end other programs, or use a larger machine"
        return Finding("memory", Verdict.MISSING, text, advice, stops=True, details=details)
    advice = f"use --jobs {fits}" if fits < jobs else "use a machine with more memory"
    return Finding("memory", Verdict.WORRY, text, f"{advice} where tasks take hundreds of megabytes", details=details)


def find_scratch(scratch: Path | None = None) -> Finding:
    """Whether scratch space can be used, how much is free, and how fast it is, measured.

    Parameters
    ----------
    scratch
        As a run is given it; the system's temporary folder where None is.
    """
    try:
        with PrivateFolder(scratch) as folder:
            path = Path(folder)
            speed, free, kind = measure_disk(path), shutil.disk_usage(path).free, filesystem_of(path)
    except ScaledprocError as error:
        return Finding("scratch", Verdict.MISSING, str(error), "name a folder with --scratch or TMPDIR", stops=True)
    except OSError as error:
        return Finding(
            "scratch",
            Verdict.MISSING,
            f"{scratch or tempfile.gettempdir()} cannot be written: {error.strerror}",
            "make room there, or name another folder with --scratch or TMPDIR",
            stops=True,
        )
    where = str(scratch or tempfile.gettempdir())
    text = (
        f"{where}: {bytes_text(free)} free, writes {bytes_text(speed.write)}/s, reads {bytes_text(speed.read)}/s"
        f"{f' ({kind})' if kind else ''}"
    )
    details = {"folder": where, "free": free, "write": speed.write, "read": speed.read, "filesystem": kind}
    advice = []
    if free < LEAST_SCRATCH:
        advice.append("make room there")
    if kind in _NETWORK:
        advice.append("it is a network's: name a folder of a local disk with --scratch or TMPDIR")
    elif kind in _IN_MEMORY:
        advice.append("what is staged there takes memory: name a folder of a disk with --scratch or TMPDIR")
    elif speed.write < SLOW_SCRATCH:
        advice.append("name a folder of a faster disk with --scratch or TMPDIR")
    return Finding("scratch", Verdict.WORRY if advice else Verdict.FINE, text, "; ".join(advice), details=details)


@dataclass(frozen=True)
class DiskSpeed:
    """Bytes a second, of one large file."""

    write: float
    read: float


def measure_disk(folder: Path, clock: Callable[[], float] = time.perf_counter) -> DiskSpeed:
    """How fast a file is written to a disk, with all of it on the disk at the end, and read from there again.

    Where the system does not forget on request what it has of a file in memory, the second is that memory's speed.
    """
    piece = os.urandom(PIECE)  # a disk that compresses gains nothing
    path = folder / "speed"
    try:
        with path.open("wb", buffering=0) as file:
            begun, size = clock(), 0
            while size < PROBED and clock() - begun < PROBED_SECONDS:
                size += file.write(piece)
            os.fsync(file.fileno())
            writing = clock() - begun
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        with path.open("rb", buffering=0) as file:
            begun, got = clock(), 0
            while (found := file.read(PIECE)) and clock() - begun < PROBED_SECONDS:
                got += len(found)
            reading = clock() - begun
    finally:
        path.unlink(missing_ok=True)
    return DiskSpeed(size / max(writing, 1e-9), got / max(reading, 1e-9))


def filesystem_of(folder: Path) -> str:
    """The kind of filesystem that a folder lies on, such as `ext4`; empty where the system does not tell."""
    import psutil

    inner = folder.resolve()
    found = [
        (len(each.mountpoint), at, each.fstype)
        for at, each in enumerate(psutil.disk_partitions(all=True))
        if inner.is_relative_to(each.mountpoint)
    ]
    return max(found)[2] if found else ""


def find_shared_memory(jobs: int) -> Finding:
    """Whether processes can share locks, which the system keeps in /dev/shm; tried by making one."""
    import multiprocessing

    name = "/dev/shm" if sys.platform == "linux" else "locks"  # noqa: S108 - a name for a person
    try:
        multiprocessing.get_context("spawn").Lock()
    except OSError as error:
        reason = cannot_start(error) or error
        return Finding(
            name,
            Verdict.MISSING,
            f"processes cannot share locks: {error.strerror}",
            str(reason).partition("): ")[2] or "use --jobs 1",
            stops=jobs > 1,
        )
    if not _SHARED_MEMORY.is_dir():
        return Finding(name, Verdict.FINE, "processes can share locks")
    free = shutil.disk_usage(_SHARED_MEMORY).free
    return Finding(name, Verdict.FINE, f"processes can share locks; {bytes_text(free)} free", details={"free": free})


def find_open_files(jobs: int) -> Finding:
    """Whether so many processes can be started with the open files that are allowed."""
    allowed, fits = raise_file_limit(), allowed_processes(jobs)
    details = {"allowed": allowed, "needed": FILES_BESIDE + FILES_EACH * jobs, "processes": fits}
    if fits < jobs:
        text = few_files_text(jobs, fits)
        return Finding("open files", Verdict.WORRY, text, "raise it: ulimit -n, or LimitNOFILE", details=details)
    text = f"{'any number' if allowed == sys.maxsize else f'{allowed:,}'} allowed; {details['needed']:,} are needed"
    return Finding("open files", Verdict.FINE, text, details=details)
