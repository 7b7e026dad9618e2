"""Taking, renewing and giving back the lease on a run's folder.

On local disks the lease is a locked file: the system frees the lock when the process ends, however it ends. In S3 it is
an object that is only ever replaced on condition that it is still the same. Elsewhere it is written and read again,
which two drivers that start within the same moment can slip through.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import struct
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaledproc.errors import ScaledprocError
from scaledproc.leases import TTL, Lease, Process, Renewal, Seen, may_take, still_holds
from scaledproc.run_folder import LEASE
from scaledproc.scratch import PrivateFolder, remove_left
from scaledproc.storage import Store, store_errors

if TYPE_CHECKING:
    from scaledproc.events import Event

_MOST = 2**16
_DEADLINE = struct.Struct("<d")
_WATCHED = 0.5  # seconds between two looks, at most
_memory = threading.Lock()
_held: set[str] = set()
"""Tokens of the leases in stores elsewhere that this process holds now."""


class HeldError(ScaledprocError):
    """Another driver is at work on the same output. Exit code 4."""

    exit_code = 4

    def __init__(self, message: str, lease: Lease | None) -> None:
        super().__init__(message)
        self.lease = lease


class LeaseLostError(ScaledprocError):
    """The lease of this driver is another's, so that it must not commit any more."""


class _ConflictError(Exception):
    """The lease is not what it was."""


def elapsed() -> float:
    """Seconds by a clock that nobody sets and that goes on while the machine sleeps; the same in all its processes."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def this_process() -> Process:
    """Tell this process from all others."""
    return Process(_machine(), os.getpid(), _born(os.getpid()) or "")


def _machine() -> str:
    boot = pids = ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        pids = str(Path("/proc/self/ns/pid").readlink())
    return f"{platform.node()}|{boot}|{pids}"


def _born(pid: int) -> str | None:
    """When a process started; None where there is none, or it is over and only waited for."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return None
    else:
        return None if state in "ZX" else rest[18]
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
    except psutil.NoSuchProcess:
        return None


def is_alive(process: Process) -> bool | None:
    """Whether a process is at work; None where it is another machine's, and cannot be asked."""
    return _born(process.pid) == process.born if process.machine == _machine() else None


@dataclass(frozen=True)
class Fence:
    """What a store asks before each commit: whether the run's folder is still this driver's.

    Parameters
    ----------
    token
        Of the lease.
    deadline
        A local file that says until when nobody else can have taken it. After that the store is asked.
    """

    token: str
    deadline: Path

    def __call__(self, store: Store) -> None:
        """See whether something may be committed.

        Raises
        ------
        LeaseLostError
            It may not.
        """
        try:
            (until,) = _DEADLINE.unpack(self.deadline.read_bytes())
        except (OSError, struct.error):
            until = 0.0
        if elapsed() <= until:
            return
        found = read_lease(store)
        if found is None or found.token != self.token:
            raise LeaseLostError(_lost_text(store, found))


def _lost_text(store: Store, lease: Lease | None) -> str:
    who = f"by process {lease.holder.pid} on {lease.holder.host}" if lease else "or the folder removed"
    return (
        f"{store} was taken over {who} while this process was not heard of for {TTL:.0f} s or more; it commits nothing "
        f"any more. scaledproc status {store} shows who has it"
    )


def read_lease(store: Store) -> Lease | None:
    """Who has a run's folder, as its lease says; None where nobody has."""
    try:
        return Lease.from_json(store.read(LEASE, _MOST))
    except (FileNotFoundError, NotADirectoryError):
        return None


@contextlib.contextmanager
def holding(
    store: Store,
    backend: str,
    on_event: Callable[[Event], None] | None = None,
    *,
    me: Process | None = None,
    ttl: float = TTL,
) -> Iterator[Store]:
    """Hold the lease on a folder; the store to write it with, which commits only while it is held.

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
        Another driver has it.
    """
    remove_left()
    lease = Lease(uuid.uuid4().hex, me or this_process(), _now(), backend, ttl)
    keeper: _Keeper = _LocalKeeper(store) if store.local is not None else _RemoteKeeper(store)
    keeper.take(lease, on_event)
    try:
        with PrivateFolder() as folder, _Renewing(keeper, lease, Path(folder) / "deadline") as fence:
            yield replace(store, fence=fence)
    finally:
        keeper.give_back()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class _Renewing:
    """A thread that shows that this driver is alive, and ends when the block does."""

    def __init__(self, keeper: _Keeper, lease: Lease, deadline: Path) -> None:
        self._keeper = keeper
        self._lease = lease
        self._fence = Fence(lease.token, deadline)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> Fence:
        self._confirmed = elapsed()
        self._extend()
        self._thread.start()
        return self._fence

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _extend(self, until: float | None = None) -> None:
        """Let commits pass without a question: not for all of the lease's time, as one may take a while."""
        part = self._fence.deadline.with_name("next")
        part.write_bytes(_DEADLINE.pack(self._confirmed + self._lease.ttl * 2 / 3 if until is None else until))
        part.replace(self._fence.deadline)

    def _renew(self) -> None:
        while not self._over.wait(self._lease.ttl / 3):
            asked = elapsed()
            outcome = self._keeper.renew()
            if outcome == "mine":
                self._confirmed = asked
            state = still_holds(outcome, elapsed() - self._confirmed, self._lease.ttl)
            with contextlib.suppress(OSError):  # a full disk: commits ask the store then
                self._extend(None if state == "holds" else 0.0)
            if state == "lost":
                return


class _Keeper:
    """Where a lease is kept."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def take(self, lease: Lease, on_event: Callable[[Event], None] | None) -> None:
        raise NotImplementedError

    def renew(self) -> Renewal:
        raise NotImplementedError

    def give_back(self) -> None:
        raise NotImplementedError

    def _decide(self, look: Callable[[], tuple[Any, Seen]], on_event: Callable[[Event], None] | None) -> None:
        """Come back when the lease that is there may be taken.

        Raises
        ------
        HeldError
            It may not.
        """
        first, seen = look()
        began = elapsed()
        told = False
        while (verdict := may_take(seen)) == "watch":
            assert seen.lease is not None  # noqa: S101 - or there were nothing to watch
            if not told and on_event is not None:
                from scaledproc.events import Note

                holder = seen.lease.holder
                on_event(Note(f"process {holder.pid} on {holder.host} has this run and was not heard of: watching it"))
            told = True
            time.sleep(min(_WATCHED, seen.lease.ttl / 10))
            now, seen = look()
            seen = replace(seen, watched=elapsed() - began, changed=now != first)
        if verdict == "refuse":
            raise HeldError(_held_text(self.store, seen), seen.lease)


def _held_text(store: Store, seen: Seen) -> str:
    lease = seen.lease
    if lease is None:  # it is locked, and says nothing yet
        return f"another scaledproc is beginning to write {store}; scaledproc status {store} shows how far it is"
    here = f" (ps -p {lease.holder.pid} shows it)" if seen.alive else ""
    after = "" if seen.alive else f"; if it is gone, the same command goes on {lease.ttl:.0f} s after its last sign"
    return (
        f"another scaledproc is writing {store}: process {lease.holder.pid} on {lease.holder.host}{here}, since "
        f"{lease.since}; scaledproc status {store} shows how far it is{after}"
    )


class _LocalKeeper(_Keeper):
    """A file that is locked as long as its process lives; it is touched for machines that do not see the lock."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        assert store.local is not None  # noqa: S101
        self._path = store.local / LEASE
        self._file = -1
        self._mine: Lease | None = None
        self._made: Path | None = None

    def take(self, lease: Lease, on_event: Callable[[Event], None] | None) -> None:
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

    def _write(self, handle: int, lease: Lease) -> None:
        try:
            os.ftruncate(handle, 0)
            os.pwrite(handle, lease.to_json(), 0)
            os.fsync(handle)
        except OSError:  # a full disk
            with contextlib.suppress(OSError):
                self._path.unlink()
            raise

    def _make_folder(self) -> None:
        folder = self._path.parent
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        self._made = missing[0] if missing else None

    def _is(self, handle: int) -> bool:
        with contextlib.suppress(OSError):
            return os.path.samestat(os.fstat(handle), os.lstat(self._path))
        return False

    def _look(self, handle: int, is_locked: bool | None) -> tuple[Any, Seen]:
        content, changed = os.pread(handle, _MOST, 0), os.fstat(handle).st_mtime_ns
        found = Lease.from_json(content)
        if is_locked is False:
            return (content, changed), Seen(found or Lease("", Process("?", 0, ""), "just now", ""), alive=True)
        alive = is_alive(found.holder) if found else None
        if is_locked and alive:
            alive = False  # the lock is free, so that it gave the lease up: a thread of this process, or it was stopped
        return (content, changed), Seen(found, alive, self._age(changed))

    def _age(self, changed: int) -> float | None:
        """Seconds, by the clock of whoever has the disk."""
        with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=self._path.parent) as file:
            return (os.fstat(file.fileno()).st_mtime_ns - changed) / 10**9
        return None

    def renew(self) -> Renewal:
        try:
            state = self._state()
            if state == "mine":
                os.utime(self._file)
        except OSError:
            return "unreachable"
        return state

    def _state(self) -> Renewal:
        """Whether the file is this driver's: on disks without common locks another one may have written into it."""
        if not self._is(self._file):
            return "gone"
        found = Lease.from_json(os.pread(self._file, _MOST, 0))
        is_mine = found is not None and self._mine is not None and found.token == self._mine.token
        return "mine" if is_mine else "other"

    def give_back(self) -> None:
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


def _is_refused(error: BaseException) -> bool:
    """Whether S3 said that a condition does not hold."""
    answer = getattr(error.__cause__, "response", None) or {}
    return answer.get("Error", {}).get("Code") in ("PreconditionFailed", "412", "ConditionalRequestConflict")


def _lock(handle: int) -> bool | None:
    """Whether a file is locked now; None where its disk knows no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


class _RemoteKeeper(_Keeper):
    """An object that is only replaced as long as it is what was seen."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._path = store.path(LEASE)
        self._mine: Lease | None = None
        self._version: Any = None

    def take(self, lease: Lease, on_event: Callable[[Event], None] | None) -> None:
        _held.add(lease.token)  # before it is to be seen
        try:
            for _ in range(3):
                self._decide(self._look, on_event)
                try:
                    self._version = self._put(lease.to_json(), self._version)
                except _ConflictError:
                    time.sleep(_WATCHED / 5)
                    continue  # somebody was faster: look again
                self._mine = lease
                return
        finally:
            if self._mine is None:
                _held.discard(lease.token)
        raise HeldError(_held_text(self.store, self._look()[1]), None)

    def _look(self) -> tuple[Any, Seen]:
        content, self._version, age = self._read()
        found = Lease.from_json(content) if content is not None else None
        alive = is_alive(found.holder) if found else None
        if found and found.holder == this_process() and found.token not in _held:
            alive = False  # this process could not give it back when it was done
        return self._version, Seen(found, alive, age)

    def _read(self) -> tuple[bytes | None, Any, float | None]:
        """Content, version and age of the lease; nothing where there is none."""
        fs = self.store.fs
        try:
            if not self._is_s3:
                content = fs.cat_file(self._path)
                return content, content, None
            answer = fs.call_s3("get_object", **self._where, Range=f"bytes=0-{_MOST}")
        except FileNotFoundError:
            return None, None, None
        date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        age = (parsedate_to_datetime(date) - answer["LastModified"]).total_seconds() if date else None
        return answer["Body"].content, answer["ETag"], age

    def _put(self, content: bytes, version: Any) -> Any:
        """Write the lease if it still is what it was; its new version.

        Raises
        ------
        _ConflictError
            It is not.
        """
        fs = self.store.fs
        if self._is_s3:
            condition = {"IfMatch": version} if version else {"IfNoneMatch": "*"}
            try:
                answer = fs.call_s3("put_object", **self._where, Body=content, **condition)
            except store_errors() as error:
                now, found, _ = self._read()
                if now == content:  # an earlier attempt, whose answer was lost
                    return found
                # Refused though nothing else is to be seen: whoever was faster does not show yet.
                if found != version or _is_refused(error):
                    raise _ConflictError from error
                raise
            return answer["ETag"]
        with _memory:
            if self._read()[1] != version:
                raise _ConflictError
            try:
                fs.pipe_file(self._path, content, **({} if version else {"mode": "create"}))
            except FileExistsError:
                raise _ConflictError from None
            except FileNotFoundError:
                fs.makedirs(self._path.rpartition("/")[0], exist_ok=True)
                fs.pipe_file(self._path, content)
        if not self.store.is_private:
            time.sleep(_WATCHED)  # the last of two that wrote at once has it
        if self._read()[0] != content:
            raise _ConflictError
        return content

    @property
    def _is_s3(self) -> bool:
        return hasattr(self.store.fs, "call_s3")

    @property
    def _where(self) -> dict[str, str]:
        bucket, key, _ = self.store.fs.split_path(self._path)
        return {"Bucket": bucket, "Key": key}

    def renew(self) -> Renewal:
        assert self._mine is not None  # noqa: S101
        renewed = replace(self._mine, renewals=self._mine.renewals + 1)
        try:
            try:
                self._version = self._put(renewed.to_json(), self._version)
            except _ConflictError:
                content, version, _ = self._read()
                found = Lease.from_json(content) if content is not None else None
                if found is None or found.token != renewed.token:
                    return "gone" if found is None else "other"
                self._version, renewed = version, found
        except Exception:  # whatever a store raises: commits will ask it
            return "unreachable"
        self._mine = renewed
        return "mine"

    def give_back(self) -> None:
        if self._mine is not None:
            _held.discard(self._mine.token)
        with contextlib.suppress(*store_errors()):  # it expires
            content, _, _ = self._read()
            found = Lease.from_json(content) if content is not None else None
            if found is not None and self._mine is not None and found.token == self._mine.token:
                self.store.fs.rm_file(self._path)
