"""Private folders on local disks, which are removed at the end: at the next start where this process was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
import tempfile
import time
from pathlib import Path

from scaledproc._util.process.processes import is_alive, process_of, text_of, this_process
from scaledproc.errors import ScaledprocError

_PREFIX = "scaledproc-"
_OURS = re.compile(rf"{_PREFIX}[a-z0-9_]{{8}}(\.tmp)?")
_SUFFIX = ".tmp"  # no folder of a person's own is called so, whatever is in it
_LOCK = ".lock"
_ABANDONED = 3600  # seconds, for a process that was killed before it had locked its folder


class PrivateFolder(tempfile.TemporaryDirectory[str]):
    """A folder that nobody else may enter, removed when the block ends.

    A lock in it, which the system frees when this process ends however it ends, tells `remove_left` that it is in use.
    Where the disk knows no locks (Lustre), what is written into it tells whose it is.

    Parameters
    ----------
    parent
        Where to make it; the system's temporary folder where none is given.

    Raises
    ------
    ScaledprocError
        If the folder, or the lock in it, cannot be made there.
    """

    def __init__(self, parent: Path | None = None) -> None:
        try:
            super().__init__(prefix=_PREFIX, suffix=_SUFFIX, dir=parent)
        except OSError as error:
            raise scratch_error(error, parent) from error
        self.path = Path(self.name)
        self._lock = -1
        try:
            self._lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            with contextlib.suppress(OSError):
                fcntl.flock(self._lock, fcntl.LOCK_EX)
            os.write(self._lock, text_of(this_process()).encode())
        except OSError as error:
            self.cleanup()
            raise scratch_error(error, parent) from error

    def cleanup(self) -> None:
        """Remove the folder with all that is in it, and free its lock."""
        super().cleanup()
        with contextlib.suppress(OSError):
            os.close(self._lock)
        self._lock = -1


def scratch_error(error: OSError, parent: Path | None = None) -> ScaledprocError:
    """What is wrong with scratch space, for a person."""
    reason = error.strerror or str(error)
    if parent is not None:
        return ScaledprocError(f"the scratch folder {parent} cannot be used: {reason}; name another with --scratch")
    with contextlib.suppress(OSError):
        where = tempfile.gettempdir()
        return ScaledprocError(f"the temporary folder {where} cannot be used: {reason}; name another with TMPDIR")
    return ScaledprocError(f"there is no temporary folder: {reason}; name one with TMPDIR")


def remove_left(parent: Path | None = None) -> None:
    """Remove the private folders of this user's processes that are gone.

    Parameters
    ----------
    parent
        As for `PrivateFolder`.
    """
    with contextlib.suppress(OSError):  # there is no such folder
        for path in Path(parent or tempfile.gettempdir()).glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):  # it is somebody's, or is gone meanwhile
                status = path.lstat()
                if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid():
                    _remove_unused(path, status)


def _remove_unused(path: Path, status: os.stat_result) -> None:
    try:
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        _remove_unlocked(path, status)
        return
    try:
        owner = os.pread(lock, 4096, 0).decode(errors="replace")  # nothing: about to be locked
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        except OSError:  # no locks here
            is_left = is_alive(process_of(owner)) is False
        else:
            owner = os.pread(lock, 4096, 0).decode(errors="replace")
            is_left = bool(owner)  # the clock may have been set since: not by its age
        if is_left or (not owner and _is_old(os.fstat(lock))):
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)


def _remove_unlocked(path: Path, status: os.stat_result) -> None:
    """One whose process was killed before it made the lock, or while it removed it."""
    if not _OURS.fullmatch(path.name) or stat.S_IMODE(status.st_mode) != stat.S_IRWXU or not _is_old(status):
        return
    if path.name.endswith(_SUFFIX):
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.rmdir()  # only if it is empty: others may call a folder so


def _is_old(status: os.stat_result) -> bool:
    return abs(time.time() - status.st_mtime) > _ABANDONED
