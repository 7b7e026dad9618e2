"""Copy a dataset to where a run can read it: in parallel, each file whole or not at all, without what is there."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from scaledproc._util.digests import digest_of
from scaledproc._util.text import bytes_text, count_text
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.events import Event, FetchMoved, FetchStarted, Note
from scaledproc.fetching.defaults import PARALLEL
from scaledproc.fetching.http import GIVE_UP, Client, LoginError, StoppedError, UnreachableError, WebError
from scaledproc.fetching.physionet import Database
from scaledproc.fetching.receipts import Receipt, Receipts
from scaledproc.fetching.selection.headers import read_headers
from scaledproc.fetching.selection.only import Selected, choose_files, matching
from scaledproc.fetching.selection.subset import Choice, Item, folder_of, group_of, is_plain
from scaledproc.fetching.threads import each
from scaledproc.planning.inventory import without_hidden
from scaledproc.storage.listing import FileInfo, Listing
from scaledproc.storage.local_files import open_file
from scaledproc.storage.store import Store, describe, store_errors

PIECE = 1024 * 1024
PREFIX = "physionet:"
_NO_VERSION = re.compile(r"[^/]+/[^\d/].*")  # behind a name: a version begins with a digit
_PAGE = re.compile(r"https://(?:www\.)?physionet\.org/(?:files|content)/(?P<name>[^/]+(?:/[^/]+)?)/?")
MACHINE_FAULTS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EMFILE, errno.ENFILE})

Tell = Callable[[int], None]


@dataclass(frozen=True)
class Failed:
    """A file that could not be fetched."""

    path: str
    reason: str


@dataclass(frozen=True)
class Fetched:
    """What a fetch did.

    Parameters
    ----------
    source, dest
        From where to where.
    files, size
        Fetched now, and their bytes.
    already, already_size
        There already, and their bytes.
    failed
        What could not be fetched; empty when all is there.
    seconds
        How long it took.
    notes
        What a person should know, such as that there was no list of checksums.
    """

    source: str
    dest: str
    files: int
    size: int
    already: int
    already_size: int
    failed: tuple[Failed, ...]
    seconds: float
    notes: tuple[str, ...] = ()


class FileSource(Protocol):
    """Where files come from."""

    @property
    def stop(self) -> threading.Event:
        """Set to end what is under way."""

    def items(self, choice: Choice) -> list[Item]:
        """The files that are wanted, sorted."""

    def fill_sizes(self, items: list[Item]) -> tuple[list[Item], dict[str, str]]:
        """The files with their sizes, and why some cannot be had."""

    def fetch(self, item: Item, part: Path, tell: Tell) -> None:
        """Write a file; raise SourceError, or WebError, where it cannot be had."""


class SourceError(Exception):
    """One file cannot be read."""


class Folder:
    """A dataset on any filesystem, as a source."""

    def __init__(self, store: Store, note: Callable[[str], None]) -> None:
        self.store = store
        self.stop = threading.Event()
        self.has_hidden = False
        """Whether hidden files or folders were left out, once `items` has looked."""
        self._note = note

    def __str__(self) -> str:
        return str(self.store)

    def items(self, choice: Choice) -> list[Item]:
        """The files that are wanted, sorted: a record is a folder with files and without such folders below."""
        listing = self.store.listing(hidden=choice.hidden)
        if not choice.hidden:  # of those that not all stores leave out
            table, notes = without_hidden(listing.table)
            listing = Listing(table, (*listing.notes, *notes))
            self.has_hidden = any("--hidden" in note for note in listing.notes)
        for note in listing.notes:
            self._note(note)
        files = [file for file in listing.files if is_plain(file.path)]
        if len(files) < len(listing.files):
            self._note(f"{count_text(len(listing.files) - len(files), 'file')} with strange names left out")
        choice.check_groups({group_of(file.path) for file in files})
        chosen = set(choose_files([file.path for file in files], choice, self._read_headers))
        return sorted(Item(file.path, file.size, version=file.version) for file in files if file.path in chosen)

    def _read_headers(self, headers: Sequence[str]) -> list[tuple[list[str], list[str]]]:
        return read_headers(self.store, headers)

    def fill_sizes(self, items: list[Item]) -> tuple[list[Item], dict[str, str]]:
        """Nothing is to be asked: the listing has the sizes."""
        return items, {}

    def _open(self, path: str) -> IO[bytes]:
        if self.store.local is None:
            return self.store.open(path)
        return os.fdopen(open_file(self.store.root, path), "rb")

    def fetch(self, item: Item, part: Path, tell: Tell) -> None:
        """Copy a file.

        Raises
        ------
        SourceError
            If the file is gone, may not be read, or changed since it was listed.
        """
        from fsspec.callbacks import Callback

        def moved(count: int) -> None:
            if self.stop.is_set():
                raise StoppedError
            tell(count)

        class Hearing(Callback):  # type: ignore[misc]  # fsspec has no types
            def relative_update(self, inc: int = 1) -> None:
                moved(inc)

        try:
            if self.store.local is None and not self.store.is_s3:
                self.store.fs.get_file(self.store.path(item.path), str(part), callback=Hearing())
                return
            with self._open(item.path) as file, part.open("wb") as copy:
                if item.version not in (None, "", getattr(file, "etag", item.version)):
                    raise SourceError(f"{item.path} changed since it was listed")
                while piece := file.read(PIECE):
                    copy.write(piece)
                    moved(len(piece))
        except Exception as error:
            if not isinstance(error, store_errors()) or getattr(error, "errno", None) in MACHINE_FAULTS:
                raise
            raise SourceError(describe(error)) from None


def open_source(
    where: str,
    storage_options: Mapping[str, Any],
    base_url: str,
    login: tuple[str, str] | None,
    parallel: int,
    note: Callable[[str], None],
) -> FileSource:
    """What SOURCE means: a folder that is there, a URL, or a database of PhysioNet.

    Parameters
    ----------
    where
        What a person typed.
    storage_options
        For the fsspec filesystem.
    base_url, login, parallel
        Where PhysioNet's databases lie, with which user and password, over how many connections.
    note
        Called with what a person should know.

    Raises
    ------
    UsageError
        If SOURCE is empty or is none of these, or `base_url` is no URL that the password may be sent to.
    ScaledprocError
        If the folder or the database does not exist, or the server cannot be reached.
    """
    if not where.strip():
        raise UsageError("SOURCE is empty: name a folder, a URL, or a PhysioNet database such as mimic3wdb/1.0")
    page = _PAGE.fullmatch(where)
    database = page["name"] if page else where.removeprefix(PREFIX) if where.startswith(PREFIX) else None
    if database is None:
        if "://" in where or Path(where).expanduser().exists():
            return Folder(open_store(where, storage_options), note)
        from scaledproc._util.nearest import meant_path

        meant = meant_path(Path(where).expanduser().absolute())
        if where[0] in "./~\\" or _NO_VERSION.fullmatch(where):
            raise ScaledprocError(f"{where} does not exist{meant}")
        if meant.endswith("?"):  # told at once, as a server that does not answer is asked for a while
            note(f"{where} is no folder here{meant} PhysioNet is asked for a database of that name")
    url = urlsplit(base_url)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise UsageError(
            f"--base-url {base_url!r}: give the URL that the databases lie under, with https:// or http://"
        )
    if login and url.scheme == "http" and not _is_loopback(url.hostname):
        raise UsageError(f"--base-url {base_url}: a password is not sent over http://; give an https:// URL")
    return Database.find(Client(parallel, login), database or where, base_url, note)


def open_store(where: str, storage_options: Mapping[str, Any]) -> Store:
    """A store for many files at once: s3fs would hold ten parts of each of them in memory."""
    is_s3 = where.startswith(("s3://", "s3a://"))
    return Store.at(where, {"max_concurrency": 1, **storage_options} if is_s3 else storage_options)


def fetch_files(
    source: FileSource, dest: Store, choice: Choice, *, parallel: int = PARALLEL, on_event: Callable[[Event], None]
) -> Fetched:
    """Copy what is wanted and not there yet.

    Parameters
    ----------
    source, dest
        From where to where; the relative paths stay.
    choice
        What of it.
    parallel
        Files at once.
    on_event
        Hears FetchStarted, FetchMoved and Note.

    Raises
    ------
    UsageError
        If DEST lies in SOURCE or is a file, or a group that was asked for is not there.
    ScaledprocError
        If nothing is to be fetched, there is no room, the destination cannot be written, or the source does not answer.
        What was fetched is kept.
    """
    begun = time.monotonic()
    if isinstance(source, Folder) and source.store.contains(dest) is not None:
        raise UsageError(f"DEST {dest} lies in SOURCE {source}: give a folder outside")
    if dest.local is not None and dest.local.exists() and not dest.local.is_dir():
        raise UsageError(f"DEST {dest} is a file: give a folder")
    items = source.items(choice)
    if choice.only is not None:
        selected = Selected(choice.only)
        for item in items:
            selected.wants(item.path)
        if missing := selected.missing_text(str(source)):
            on_event(Note(missing))
    items = matching(items, choice)
    if not items:
        lacks = "has no file that was asked for" if choice.is_narrowed else "has no files"
        hint = "; --hidden takes also what has a name that begins with a dot"
        has_hidden = isinstance(source, Folder) and source.has_hidden
        raise ScaledprocError(f"{source} {lacks}{hint if has_hidden else ''}")
    receipts = Receipts(dest)
    try:
        return _Fetch(source, dest, receipts, parallel, on_event, begun).run(items)
    except store_errors() as error:
        raise ScaledprocError(f"{dest} cannot be written: {describe(error)}; the same command continues") from error
    finally:
        receipts.close()


class _Outcome(NamedTuple):
    """How it went with one file."""

    path: str
    size: int
    problem: str | None = None
    is_unreachable: bool = False


class _Fetch:
    """One call of `fetch_files`."""

    def __init__(
        self,
        source: FileSource,
        dest: Store,
        receipts: Receipts,
        parallel: int,
        on_event: Callable[[Event], None],
        begun: float,
    ) -> None:
        self._source = source
        self._dest = dest
        self._receipts = receipts
        self._parallel = parallel
        self._on_event = on_event
        self._begun = begun
        self._moved = 0
        self._lock = threading.Lock()
        self._wrong: frozenset[str] = frozenset()

    def run(self, items: list[Item]) -> Fetched:
        there = self._there(items)
        proven = {item.path for item in items if item.path in there and self._is_proven(item, there[item.path])}
        already_size = sum(there[path].size for path in proven)
        asked = {item.path: item for item in items if item.path not in proven}
        rest, problems = self._source.fill_sizes(list(asked.values()))
        if more := [item for item in rest if item.path not in asked]:
            there.update(self._there(more))
        failed = [Failed(path, reason) for path, reason in problems.items()]
        found = [item for item in rest if item.path in there]
        if any(item.sha256 for item in found) and self._dest.local is not None:
            self._on_event(Note(f"checking {count_text(len(found), 'file')} that {_are(len(found))} there already"))
        right = {path: there[path].size for path in self._run(lambda item: self._looked_at(item, there), found) if path}
        todo = [item for item in rest if item.path not in right]
        self._wrong = frozenset(there) - proven - set(right)
        size = sum(item.size or 0 for item in todo)
        started = FetchStarted(
            source=str(self._source),
            dest=str(self._dest),
            files=len(todo),
            size=size,
            unsized=sum(item.size is None for item in todo),
            already=len(proven) + len(right),
            already_size=already_size + sum(right.values()),
            free=_free(self._dest.local) if self._dest.local is not None else None,
        )
        self._on_event(started)
        self._check_room(todo, started)
        self._remove_leftovers(todo)
        files, fetched = self._copy_all(todo, failed)
        return Fetched(
            source=started.source,
            dest=started.dest,
            files=files,
            size=fetched,
            already=started.already,
            already_size=started.already_size,
            failed=tuple(sorted(failed, key=lambda failure: failure.path)),
            seconds=time.monotonic() - self._begun,
        )

    # What is there already

    def _there(self, items: list[Item]) -> dict[str, FileInfo]:
        if not self._dest.exists():
            return {}
        wanted = {item.path for item in items}
        return {file.path: file for file in self._dest.listing().files if file.path in wanted}

    def _is_proven(self, item: Item, there: FileInfo) -> bool:
        """Whether a file was found right before, and is unchanged since on both sides."""
        receipt = self._receipts.get(item.path)
        proof = item.sha256 or item.version
        return bool(proof) and receipt == self._receipt(there, proof) and item.size in (None, there.size)

    def _receipt(self, there: FileInfo, proof: str) -> Receipt:
        return Receipt(there.size, there.version if self._dest.local is not None else "", proof)

    def _looked_at(self, item: Item, there: dict[str, FileInfo]) -> str | None:
        """The path of a file that is right; a local one is compared with its checksum, once."""
        file = there[item.path]
        if item.size not in (None, file.size):
            return ""
        if item.sha256 and self._dest.local is not None:
            if digest_of(Path(self._dest.path(item.path))) != item.sha256:
                return ""
        elif item.size is None or self._has_changed(item):
            return ""
        if proof := item.sha256 or item.version:
            self._receipts.add(item.path, self._receipt(file, proof))
        return item.path

    def _has_changed(self, item: Item) -> bool:
        """Whether the source had another version of the file when it was fetched."""
        receipt = self._receipts.get(item.path)
        return receipt is not None and receipt.proof != (item.sha256 or item.version)

    # Room

    def _check_room(self, todo: list[Item], started: FetchStarted) -> None:
        if started.free is not None:
            if started.size > started.free:
                raise ScaledprocError(
                    f"{bytes_text(started.size)} are to be fetched, and {self._dest} has {bytes_text(started.free)} "
                    "free: make room, or fetch less (--groups, --records, --include)"
                )
            return
        largest = sum(sorted((item.size or 0 for item in todo), reverse=True)[: self._parallel])
        scratch = Path(tempfile.gettempdir())
        if largest > _free(scratch):
            raise ScaledprocError(
                f"files wait in {scratch} for their upload, and {bytes_text(_free(scratch))} are free there; up to "
                f"{bytes_text(largest)} are needed: set TMPDIR to a folder with more room, or give --parallel 1"
            )

    def _remove_leftovers(self, todo: list[Item]) -> None:
        """What a killed fetch left; object stores have none."""
        if self._dest.local is not None:
            for folder in {folder_of(item.path) for item in todo}:
                self._dest.remove_temporaries(folder)

    # Copying

    def _copy_all(self, todo: list[Item], failed: list[Failed]) -> tuple[int, int]:
        files = size = silent = 0
        with closing(each(self._copy, todo, threads=self._parallel, stop=self._source.stop)) as outcomes:
            for outcome in outcomes:
                if outcome is not None and outcome.problem is None:
                    files, size, silent = files + 1, size + outcome.size, 0
                elif outcome is not None:
                    failed.append(Failed(outcome.path, outcome.problem or ""))
                    silent = silent + 1 if outcome.is_unreachable else 0
                    if silent >= GIVE_UP:
                        raise ScaledprocError(
                            f"{self._source} does not answer any more ({outcome.problem}); what was fetched is kept, "
                            "and the same command continues"
                        )
                self._on_event(FetchMoved(files, self._moved, len(failed)))
        return files, size

    def _copy(self, item: Item) -> _Outcome:
        """One file, twice if it was not what it should be the first time."""
        told = 0

        def tell(count: int) -> None:
            nonlocal told
            told += count
            with self._lock:
                self._moved += count

        problem, is_unreachable = "", False
        for _ in range(2):
            tell(-told)
            try:
                with self._dest.committing(item.path) as part:
                    self._source.fetch(item, part, tell)
                    size = part.stat().st_size
                    wrong = _what_is_wrong(part, size, item)
                    if wrong:
                        raise _WrongError(wrong)
                self._sign(item, size)
                return _Outcome(item.path, size)
            except _WrongError as error:
                problem = f"{error}, twice"
            except LoginError as error:
                assert isinstance(self._source, Database)  # no other source logs in
                raise ScaledprocError(self._source.credentials_text(error)) from None
            except (WebError, SourceError) as error:
                problem, is_unreachable = str(error), isinstance(error, UnreachableError)
                break
        tell(-told)
        if item.path in self._wrong:  # it was not right, so nothing is better than it
            self._dest.remove(item.path)
        return _Outcome(item.path, 0, problem, is_unreachable)

    def _sign(self, item: Item, size: int) -> None:
        proof = item.sha256 or item.version
        if not proof:
            return
        local = self._dest.local
        version = str((local / item.path).stat().st_mtime_ns) if local is not None else ""
        self._receipts.add(item.path, Receipt(size, version, proof))

    def _run(self, work: Callable[[Item], str | None], items: Iterable[Item]) -> Iterator[str | None]:
        with closing(each(work, items, threads=self._parallel, stop=self._source.stop)) as results:
            yield from results


class _WrongError(Exception):
    """What came is not the file."""


def _what_is_wrong(part: Path, size: int, item: Item) -> str | None:
    if item.sha256:
        return None if digest_of(part) == item.sha256 else "its checksum is not that of SHA256SUMS.txt"
    if item.size not in (None, size):
        return f"{size:,} bytes came, {item.size:,} were announced"
    return None


def _free(folder: Path) -> int:
    """Bytes free on the disk that a folder is on, or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
