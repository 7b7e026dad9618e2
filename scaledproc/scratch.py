"""Private folders on local disks, which are removed at the end: at the next start where this process was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

_PREFIX = "scaledproc-"
_LOCK = ".lock"
_TAKEN = b"x"  # in the lock, once it was taken: a lock without it may be about to be
_ABANDONED = 3600  # seconds, for a process that was killed between the two


class PrivateFolder(tempfile.TemporaryDirectory[str]):
    """A folder that nobody else may enter, removed when the block ends.

    A lock in it, which the system frees when this process ends however it ends, tells `remove_left` that it is in use.

    Parameters
    ----------
    parent
        Where to make it; the system's temporary folder where none is given.
    """

    def __init__(self, parent: Path | None = None) -> None:
        super().__init__(prefix=_PREFIX, dir=parent)
        self.path = Path(self.name)
        self._lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        os.write(self._lock, _TAKEN)

    def cleanup(self) -> None:
        """Remove it now."""
        super().cleanup()
        with contextlib.suppress(OSError):
            os.close(self._lock)
        self._lock = -1


def remove_left(parent: Path | None = None) -> None:
    """Remove the private folders of this user's processes that are gone.

    Parameters
    ----------
    parent
        As for `PrivateFolder`.
    """
    for path in Path(parent or tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # it is somebody's, or has no lock and so is not ours, or is gone meanwhile
            if stat.S_ISDIR(path.lstat().st_mode) and path.lstat().st_uid == os.getuid():
                _remove_unused(path)


def _remove_unused(path: Path) -> None:
    lock = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        was_taken = os.fstat(lock).st_size > 0  # the clock may have been set since: not by its age
        if was_taken or abs(time.time() - os.fstat(lock).st_mtime) > _ABANDONED:
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)
