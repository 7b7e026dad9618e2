"""The lease on local disks: a locked file. The system frees the lock when the process ends, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaledproc._util.process import processes
from scaledproc._util.process.processes import Process
from scaledproc.run_folder.lock.lease import Lease, Renewal, Seen
from scaledproc.run_folder.lock.lease_store import MOST, LeaseStore
from scaledproc.run_folder.names import LEASE
from scaledproc.storage.store import Store

if TYPE_CHECKING:
    from scaledproc.events import Event


class FileLeaseStore(LeaseStore):
    """A file that is locked as long as its process lives; it is touched for machines that do not see the lock."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        assert store.local is not None
        self._path = store.local / LEASE
        self._file = -1
        self._mine: Lease | None = None
        self._made: Path | None = None

    def take(self, lease: Lease, on_event: Callable[[Event], None] | None) -> None:
        """Lock the file and write into it; see `LeaseStore`."""
        self._make_folder()
        while self._file < 0:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            try:
                is_locked = _lock(handle)
                if is_locked is not False and not self._is(handle):
                    continue  # it was given back between the two
                self._decide(partial(self._look, handle, is_locked), on_event)
                self._write(handle, lease)
                self._file, self._mine, handle = handle, lease, -1
            finally:
                if handle >= 0:
                    os.close(handle)

    def renew(self) -> Renewal:
        """Touch the file; see `LeaseStore`."""
        state = self._state()
        if state == "mine":
            os.utime(self._file)
        return state

    def give_back(self) -> None:
        """Remove the file and its lock; see `LeaseStore`."""
        state: Renewal = "unreachable"
        with contextlib.suppress(OSError):
            state = self._state()
        if state == "mine":
            with contextlib.suppress(OSError):
                self._path.unlink()
        os.close(self._file)
        if self._made is not None:  # by this driver, which wrote nothing into it
            with contextlib.suppress(OSError):
                self._made.rmdir()

    def _make_folder(self) -> None:
        folder = self._path.parent
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        self._made = missing[0] if missing else None

    def _write(self, handle: int, lease: Lease) -> None:
        try:
            os.ftruncate(handle, 0)
            os.pwrite(handle, lease.to_json(), 0)
            os.fsync(handle)
        except OSError:  # a full disk
            with contextlib.suppress(OSError):
                self._path.unlink()
            raise

    def _is(self, handle: int) -> bool:
        with contextlib.suppress(OSError):
            return os.path.samestat(os.fstat(handle), os.lstat(self._path))
        return False

    def _look(self, handle: int, is_locked: bool | None) -> tuple[Any, Seen]:
        content, changed = os.pread(handle, MOST, 0), os.fstat(handle).st_mtime_ns
        found = Lease.from_json(content)
        if is_locked is False:
            return (content, changed), Seen(found or Lease("", Process("?", 0, ""), "just now", ""), alive=True)
        alive = processes.is_alive(found.holder) if found else None
        if is_locked and alive:
            alive = False  # the lock is free, so that it gave the lease up: a thread of this process, or it was stopped
        return (content, changed), Seen(found, alive, self._age(changed))

    def _age(self, changed: int) -> float | None:
        """Seconds, by the clock of whoever has the disk."""
        with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=self._path.parent) as file:
            return (os.fstat(file.fileno()).st_mtime_ns - changed) / 10**9
        return None

    def _state(self) -> Renewal:
        """Whether the file is this driver's: on disks without common locks another one may have written into it."""
        if not self._is(self._file):
            return "gone"
        found = Lease.from_json(os.pread(self._file, MOST, 0))
        is_mine = found is not None and self._mine is not None and found.token == self._mine.token
        return "mine" if is_mine else "other"


def _lock(handle: int) -> bool | None:
    """Whether a file is locked now; None where its disk knows no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
