"""The lease in stores elsewhere: an object that is only replaced as long as it is what was seen.

S3 sees to that by itself, where it heeds conditions. Where nothing does, the lease is looked at before and after it is
written, which two drivers that start within the same moment can slip through.
"""

from __future__ import annotations

import contextlib
import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from scaledproc._util.process import processes
from scaledproc.run_folder.lock.lease import Lease, Renewal, Seen
from scaledproc.run_folder.lock.lease_store import MOST, WATCHED, HeldError, LeaseStore
from scaledproc.run_folder.names import LEASE
from scaledproc.storage.store import Store, store_errors

if TYPE_CHECKING:
    from scaledproc.events import Event

_memory = threading.Lock()
_held: set[str] = set()
"""Tokens of the leases that this process holds now."""


class _ConflictError(Exception):
    """The lease is not what it was."""


@dataclass(frozen=True)
class _Found:
    """What is there; all None where nothing is, and the age where the store does not tell it."""

    content: bytes | None = None
    version: Any = None
    age: float | None = None

    @property
    def lease(self) -> Lease | None:
        return Lease.from_json(self.content) if self.content is not None else None


class ObjectLeaseStore(LeaseStore):
    """What the lease stores of all filesystems elsewhere do alike."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._path = store.path(LEASE)
        self._mine: Lease | None = None
        self._version: Any = None

    @abstractmethod
    def _read(self) -> _Found:
        """What is there now."""

    @abstractmethod
    def _take(self, content: bytes, version: Any) -> Any:
        """Write the lease for the first time, else as `_put`."""

    @abstractmethod
    def _put(self, content: bytes, version: Any) -> Any:
        """Write the lease if what is there is still of a version; the new version.

        Raises
        ------
        _ConflictError
            If what is there is of another version by now.
        """

    @abstractmethod
    def _remove(self, version: Any) -> None:
        """Remove the lease, if it is still of a version where the store can tell."""

    def take(self, lease: Lease, on_event: Callable[[Event], None] | None) -> None:
        """Write it in the place of what may be taken; see `LeaseStore`."""
        _held.add(lease.token)  # before it is to be seen
        try:
            for _ in range(3):
                self._decide(self._look, on_event)
                try:
                    self._version = self._take(lease.to_json(), self._version)
                except _ConflictError:
                    time.sleep(WATCHED / 5)
                    continue  # somebody was faster: look again
                self._mine = lease
                return
        finally:
            if self._mine is None:
                _held.discard(lease.token)
        raise HeldError(self._held_text(self._look()[1]), None)

    def renew(self) -> Renewal:
        """Replace it by another content; see `LeaseStore`."""
        assert self._mine is not None
        renewed = replace(self._mine, renewals=self._mine.renewals + 1)
        try:
            self._version = self._put(renewed.to_json(), self._version)
        except _ConflictError:
            there = self._read()
            if there.lease is None or there.lease.token != renewed.token:
                return "gone" if there.lease is None else "other"
            self._version, renewed = there.version, there.lease
        self._mine = renewed
        return "mine"

    def give_back(self) -> None:
        """Remove it, at the second try if the first one fails; where the store is away it expires."""
        for _ in range(2):
            with contextlib.suppress(*store_errors()):
                there = self._read()
                if there.lease is not None and self._mine is not None and there.lease.token == self._mine.token:
                    self._remove(there.version)
                break
        if self._mine is not None:
            _held.discard(self._mine.token)

    def _look(self) -> tuple[Any, Seen]:
        there = self._read()
        self._version, lease = there.version, there.lease
        alive = processes.is_alive(lease.holder) if lease else None
        if lease and lease.holder == processes.this_process() and lease.token not in _held:
            alive = False  # this process could not give it back when it was done
        return self._version, Seen(lease, alive, there.age)

    def _see_that_it_is(self, content: bytes) -> Any:
        """The version of what was written.

        Raises
        ------
        _ConflictError
            If the object has another content, so that another driver wrote it.
        """
        there = self._read()
        if there.content != content:
            raise _ConflictError
        return there.version


class PlainLeaseStore(ObjectLeaseStore):
    """In a store that fsspec has no conditions for: looked at, written, and looked at again."""

    def _read(self) -> _Found:
        try:
            content: bytes = self.store.fs.cat_file(self._path)
        except FileNotFoundError:
            return _Found()
        return _Found(content, content)

    def _take(self, content: bytes, version: Any) -> Any:
        return self._put(content, version)

    def _put(self, content: bytes, version: Any) -> Any:
        fs = self.store.fs
        with _memory:
            if self._read().version != version:
                raise _ConflictError
            try:
                fs.pipe_file(self._path, content, **({} if version else {"mode": "create"}))
            except FileExistsError:
                raise _ConflictError from None
            except FileNotFoundError:
                fs.makedirs(self._path.rpartition("/")[0], exist_ok=True)
                fs.pipe_file(self._path, content)
        if not self.store.is_private:
            time.sleep(WATCHED)  # the last of two that wrote at once has it
        return self._see_that_it_is(content)

    def _remove(self, version: Any) -> None:  # noqa: ARG002 - there are no conditions
        self.store.fs.rm_file(self._path)


class S3LeaseStore(ObjectLeaseStore):
    """In S3: on condition that it is what was seen, and looked at again where the store does not heed conditions."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._heeds = True

    def _read(self) -> _Found:
        try:
            answer = self._call("get_object", Range=f"bytes=0-{MOST}")
        except FileNotFoundError:
            return _Found()
        date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        age = (parsedate_to_datetime(date) - answer["LastModified"]).total_seconds() if date else None
        return _Found(answer["Body"].content, answer["ETag"], age)

    def _take(self, content: bytes, version: Any) -> Any:
        """The same write twice: its condition held, so that it cannot hold any more, and the second must be refused."""
        self._heeds = True
        taken = self._put(content, version)
        try:
            self._call("put_object", Body=content, **_condition(version))
        except store_errors() as error:
            if not _is_refused(error):
                raise
            return taken
        self._heeds = False
        time.sleep(WATCHED)  # the last of two that wrote at once has it
        return self._see_that_it_is(content)

    def _put(self, content: bytes, version: Any) -> Any:
        if not self._heeds and self._read().version != version:
            raise _ConflictError
        try:
            answer = self._call("put_object", Body=content, **_condition(version))
        except store_errors() as error:
            there = self._read()
            if there.content == content:  # an earlier attempt, whose answer was lost
                return there.version
            # Refused though nothing else is to be seen: whoever was faster does not show yet.
            if there.version != version or _is_refused(error):
                raise _ConflictError from error
            raise
        return answer["ETag"] if self._heeds else self._see_that_it_is(content)

    def _remove(self, version: Any) -> None:
        try:
            self._call("delete_object", IfMatch=version)
        except store_errors() as error:
            if _code(error) not in ("NotImplemented", "501"):
                raise
            self._call("delete_object")

    def _call(self, method: str, **more: Any) -> Any:
        bucket, key, _ = self.store.fs.split_path(self._path)
        return self.store.fs.call_s3(method, Bucket=bucket, Key=key, **more)


def _condition(version: Any) -> dict[str, str]:
    return {"IfMatch": version} if version else {"IfNoneMatch": "*"}


def _is_refused(error: BaseException) -> bool:
    """Whether S3 said that a condition does not hold."""
    return _code(error) in ("PreconditionFailed", "412", "ConditionalRequestConflict")


def _code(error: BaseException) -> str:
    answer = getattr(error.__cause__, "response", None) or {}
    return str(answer.get("Error", {}).get("Code"))
