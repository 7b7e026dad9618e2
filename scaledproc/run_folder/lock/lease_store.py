"""How a lease is kept: in a way that local disks have, and in another one that stores elsewhere have."""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from scaledproc._util.process import processes
from scaledproc.errors import ScaledprocError
from scaledproc.run_folder.lock.lease import Lease, Renewal, Seen, may_take
from scaledproc.run_folder.names import LEASE
from scaledproc.storage.store import Store

if TYPE_CHECKING:
    from scaledproc.events import Event

MOST = 2**16
"""Bytes of a lease that are read."""
WATCHED = 0.5
"""Seconds between two looks, at most."""


class HeldError(ScaledprocError):
    """Another driver is at work on the same output. Exit code 4."""

    exit_code = 4

    def __init__(self, message: str, lease: Lease | None) -> None:
        super().__init__(message)
        self.lease = lease


def read_lease(store: Store) -> Lease | None:
    """Who has a run's folder, as its lease says; None where nobody has."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return Lease.from_json(store.read(LEASE, MOST))
    return None


class LeaseStore(ABC):
    """Where one driver's lease is kept.

    Parameters
    ----------
    store
        The run's folder.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    @abstractmethod
    def take(self, lease: Lease, on_event: Callable[[Event], None] | None) -> None:
        """Take the lease, where nobody holds it; tells `on_event` if another's must be watched for a while.

        Raises
        ------
        HeldError
            If another driver holds the lease.
        """

    @abstractmethod
    def renew(self) -> Renewal:
        """Show that its holder is alive; what became of it."""

    @abstractmethod
    def give_back(self) -> None:
        """Remove it, if it is still this driver's."""

    def _decide(self, look: Callable[[], tuple[Any, Seen]], on_event: Callable[[Event], None] | None) -> None:
        """Come back when the lease that is there may be taken.

        Raises
        ------
        HeldError
            If the holder of the lease that is there is alive, or may be.
        """
        first, seen = look()
        began = processes.elapsed()
        told = False
        while (verdict := may_take(seen)) == "watch":
            assert seen.lease is not None  # or there were nothing to watch
            if not told and on_event is not None:
                from scaledproc.events import Note

                holder = seen.lease.holder
                on_event(Note(f"process {holder.pid} on {holder.host} has this run and was not heard of: watching it"))
            told = True
            time.sleep(min(WATCHED, seen.lease.ttl / 10))
            now, seen = look()
            seen = replace(seen, watched=processes.elapsed() - began, changed=now != first)
        if verdict == "refuse":
            raise HeldError(self._held_text(seen), seen.lease)

    def _held_text(self, seen: Seen) -> str:
        store, lease = self.store, seen.lease
        if lease is None:  # it is locked, and says nothing yet
            return f"another scaledproc is beginning to write {store}; scaledproc status {store} shows how far it is"
        here = f" (ps -p {lease.holder.pid} shows it)" if seen.alive else ""
        after = "" if seen.alive else f"; if it is gone, the same command goes on {lease.ttl:.0f} s after its last sign"
        return (
            f"another scaledproc is writing {store}: process {lease.holder.pid} on {lease.holder.host}{here}, since "
            f"{lease.since}; scaledproc status {store} shows how far it is{after}"
        )
