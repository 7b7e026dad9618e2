"""The lease on a run's folder: held while a driver is at work, and what its store asks before each change."""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from scaledproc._util.process import processes
from scaledproc._util.process.processes import Process
from scaledproc._util.process.scratch import PrivateFolder, remove_left
from scaledproc.run_folder.lock.file_lease import FileLeaseStore
from scaledproc.run_folder.lock.lease import TTL, Lease, Renewal, still_holds
from scaledproc.run_folder.lock.lease_store import LeaseStore, read_lease
from scaledproc.run_folder.lock.object_lease import PlainLeaseStore, S3LeaseStore
from scaledproc.storage.fencing import OvertakenError
from scaledproc.storage.store import Store

if TYPE_CHECKING:
    from scaledproc.events import Event

_DEADLINE = struct.Struct("<d")
_SLACK = 1 / 3  # of a lease's time, which is left to a change that is begun at the last moment
_PARTING = 3.0  # seconds that a store may take to get the lease back from somebody who leaves at once


class LeaseLostError(OvertakenError):
    """The lease of this driver is another's, so that it must not change anything any more."""


@dataclass(frozen=True)
class LeaseFence:
    """What a store asks before each change: whether the run's folder is still this driver's.

    Parameters
    ----------
    store
        The folder.
    lease
        As it was taken.
    deadline
        A local file that says until when nobody else can have taken it. After that the store is asked.
    """

    store: Store
    lease: Lease
    deadline: Path

    @property
    def is_exclusive(self) -> bool:
        """Always: there is one driver at a time."""
        return True

    def __call__(self) -> float:
        """See whether something may be changed; seconds that it may take.

        Raises
        ------
        LeaseLostError
            If the lease is another driver's or gone, or the process that took it has ended.
        """
        if processes.is_alive(self.lease.holder) is False:  # a worker outlives its driver: the next may be at work
            raise LeaseLostError(f"process {self.lease.holder.pid} is gone, and nothing is committed for it any more")
        if (seconds := self.sure()) > 0:
            return seconds
        found = read_lease(self.store)
        if found is None or found.token != self.lease.token:
            raise LeaseLostError(_lost_text(self.store, found))
        return self.lease.ttl * _SLACK

    def sure(self) -> float:
        """Seconds until another driver might take the lease, without asking the store; 0 where that may be now."""
        try:
            handle = os.open(self.deadline, os.O_RDONLY | os.O_CLOEXEC)
            try:
                (until,) = _DEADLINE.unpack(os.read(handle, _DEADLINE.size + 1))
            finally:
                os.close(handle)
        except (OSError, struct.error):
            return 0.0
        left = float(until) - processes.elapsed()
        return left + self.lease.ttl * _SLACK if left >= 0 else 0.0


def _lost_text(store: Store, lease: Lease | None) -> str:
    who = f"by process {lease.holder.pid} on {lease.holder.host}" if lease else "or the folder removed"
    return (
        f"{store} was taken over {who} while this process was not heard of for {TTL:.0f} s or more; it commits nothing "
        f"any more. scaledproc status {store} shows who has it"
    )


@contextlib.contextmanager
def hold_lease(
    store: Store,
    backend: str,
    on_event: Callable[[Event], None] | None = None,
    *,
    me: Process | None = None,
    ttl: float = TTL,
) -> Iterator[Store]:
    """Hold the lease on a folder; the store to write it with, which changes only while it is held.

    Parameters
    ----------
    store
        The folder.
    backend
        Where this driver's jobs run.
    on_event
        Told if it takes a while.
    me, ttl
        This process; seconds without a sign of life.

    Raises
    ------
    HeldError
        If another driver holds the lease on the folder.
    """
    remove_left()
    since = datetime.now(UTC).isoformat(timespec="seconds")
    lease = Lease(uuid.uuid4().hex, me or processes.this_process(), since, backend, ttl)
    with PrivateFolder() as folder:
        fence = LeaseFence(store, lease, Path(folder) / "deadline")
        lease_store = _lease_store_of(store)
        lease_store.take(lease, on_event)
        with _Renewing(lease_store, lease, fence.deadline):
            yield replace(store, fence=fence)


def _lease_store_of(store: Store) -> LeaseStore:
    if store.local is not None:
        return FileLeaseStore(store)
    return S3LeaseStore(store) if store.is_s3 else PlainLeaseStore(store)


class _Renewing:
    """A thread that shows that this driver is alive, and gives the lease back when the block ends.

    Both in one thread, so that a renewal which hangs cannot bring the lease back when it was given back.
    """

    def __init__(self, lease_store: LeaseStore, lease: Lease, deadline: Path) -> None:
        self._lease_store = lease_store
        self._lease = lease
        self._deadline = deadline
        self._confirmed = processes.elapsed()
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._extend(self._lease.ttl)
        try:
            self._thread.start()
        except BaseException:
            self._lease_store.give_back()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._over.set()
        leaves_at_once = kind is not None and not issubclass(kind, Exception)
        self._thread.join(_PARTING if leaves_at_once else None)
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            while not self._over.wait(self._lease.ttl / 3):
                asked = processes.elapsed()
                outcome = self._renewed()
                if outcome == "mine":
                    self._confirmed = asked
                state = still_holds(outcome, processes.elapsed() - self._confirmed, self._lease.ttl)
                self._extend(self._lease.ttl if state == "holds" else 0.0)
                if state == "lost":
                    self._over.wait()
            self._lease_store.give_back()
        except BaseException as broken:
            self._error = broken

    def _renewed(self) -> Renewal:
        try:
            return self._lease_store.renew()
        except Exception:  # whatever a disk or a store raises: changes will ask it
            return "unreachable"

    def _extend(self, ttl: float) -> None:
        """Let changes pass without a question: not for all of the lease's time, as one may take a while."""
        part = self._deadline.with_name("next")
        try:
            part.write_bytes(_DEADLINE.pack(self._confirmed + ttl * (1 - _SLACK)))
            part.replace(self._deadline)
        except OSError:  # a full disk: each change asks the store then
            with contextlib.suppress(OSError):
                self._deadline.unlink()
