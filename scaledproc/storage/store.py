"""Every byte in or out: list, read, fetch, commit. `Store` is the seam; each kind has a file of its own beside this.

The order of an atomic commit, and when the fence is asked, stand here alone: a kind says only how a part is written,
flushed and put in its place.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Self

from scaledproc._util.process.scratch import PrivateFolder
from scaledproc._util.redaction import has_login, redacted, remember_login, remember_secrets
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.storage.fencing import Change, Fence
from scaledproc.storage.listing import OBJECT_STORES, FileInfo, SizesUnknownError, is_safe_name, version_of
from scaledproc.storage.s3.download import ChangedError

if TYPE_CHECKING:
    from scaledproc.storage.listing import Listing

TEMPORARY = ".part"  # a local commit in progress is `.<name>.<hex>.part`, beside its target
CHANGED_READS = 5  # of an object that is written anew again and again
READERS = 16  # requests at once
COPIED = 4 * 2**20  # bytes that are copied at once
Target = tuple[FileInfo, Path]
"""A file to fetch, and where to."""


class Part(NamedTuple):
    """A file that is written to be committed."""

    path: Path
    """Where it is written."""
    name: str
    """What it will be, relative to the store's root."""
    change: Change
    """What the commit is subject to."""


@dataclass(frozen=True, repr=False)
class Store(ABC):
    """A folder on some filesystem; cheap to make, safe to send to another process.

    `Store.at` makes one of what a person typed: a `LocalStore`, an `S3Store`, or an `FsspecStore` for all other
    filesystems. `scaledproc.testing.StoreConformance` has the tests that each kind must pass.

    Parameters
    ----------
    uri
        A path or URL.
    options
        Arguments for the fsspec filesystem. They can hold secrets, so they are never shown or written.
    fence
        Asked before each attempt of a commit or a removal; raises where this process may not change anything any more.
    """

    uri: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    fence: Fence | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        remember_secrets(self.options)
        remember_login(self.uri)

    @classmethod
    def at(cls, where: str | os.PathLike[str], options: Mapping[str, Any] | None = None) -> Store:
        """The store at a path or URL.

        Raises
        ------
        UsageError
            If there is no such protocol, or the package that speaks it is not installed.
        """
        from scaledproc.storage.fsspec_store import FsspecStore
        from scaledproc.storage.local_store import LocalStore
        from scaledproc.storage.s3.s3_store import S3Store

        uri = os.fspath(where)
        if not uri.strip():
            raise UsageError("an empty path was given; name a folder or a URL")
        refuse_lost_slash(uri)
        remember_login(uri)
        if uri.startswith(("s3://", "s3a://")) and has_login(uri):
            raise UsageError(
                f"{redacted(uri)}: a URL of S3 holds no keys; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give "
                "--storage-option key=… and secret=…"
            )
        if "://" not in uri:
            return LocalStore(str(Path(uri).expanduser().absolute()))
        kind = S3Store if uri.startswith(("s3://", "s3a://")) else FsspecStore
        try:
            store = kind(uri.rstrip("/") if not uri.endswith("://") else uri, dict(options or {}))
            return LocalStore(store.root) if store.leads_here else store
        except ImportError as error:
            raise UsageError(f"{redacted(uri)}: {error}") from None
        except Exception as error:  # whatever a filesystem makes of a URL and options that it cannot take
            raise UsageError(f"{redacted(uri)}: {describe(error)}; is it spelled right?") from None

    def __str__(self) -> str:
        return redacted(self.uri)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __hash__(self) -> int:
        return hash(self.uri)

    def __getstate__(self) -> dict[str, Any]:
        # A filesystem object holds sockets, locks and an event loop: each process makes its own.
        return {"uri": self.uri, "options": self.options, "fence": self.fence}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()

    @property
    @abstractmethod
    def _filesystem(self) -> tuple[Any, str]:
        """The fsspec filesystem, and the folder's path as that spells it."""

    @property
    def fs(self) -> Any:
        """The fsspec filesystem."""
        return self._filesystem[0]

    @property
    def root(self) -> str:
        """The folder's path as the filesystem spells it."""
        return str(self._filesystem[1])

    @property
    def local(self) -> Path | None:
        """The folder on this machine's own disks; None where the store is elsewhere."""
        return None

    @property
    def is_private(self) -> bool:
        """Whether only this process can see it (memory://)."""
        return False

    @property
    def is_s3(self) -> bool:
        """Whether its objects are S3's, whoever has them."""
        return False

    @property
    def lists_all(self) -> bool:
        """Whether a listing shows what is there. AWS's S3 does that too, but not all that speak its language."""
        return True

    def path(self, name: str) -> str:
        """The filesystem's path of a name below the root."""
        if not name:
            return self.root
        return f"/{name}" if self.root == "/" else f"{self.root}/{name}"

    def child(self, name: str) -> Self:
        """The store of a folder below this one."""
        return replace(self, uri=f"{self.uri}{name}" if self.uri.endswith("/") else f"{self.uri}/{name}")

    def contains(self, other: Store) -> str | None:
        """Where `other` lies below this store, relative to it; '' for the same folder, None if it does not."""
        (kind, here), (other_kind, there) = self._place, other._place
        if kind is not other_kind:
            return None
        if here == there:
            return ""
        prefix = here if here.endswith("/") else here + "/"
        return there.removeprefix(prefix) if there.startswith(prefix) else None

    @property
    @abstractmethod
    def _place(self) -> tuple[type, str]:
        """The kind of filesystem, and the folder's one path there, by which two stores are compared."""

    # Looking

    @abstractmethod
    def exists(self, name: str = "") -> bool:
        """Whether there is a file or a folder of this name."""

    def there(self, names: Iterable[str]) -> set[str]:
        """Those of some files that are there, each asked for by its name: a listing of some stores lags behind."""
        with ThreadPoolExecutor(READERS, thread_name_prefix="there") as pool:
            wanted = list(names)
            return {name for name, is_there in zip(wanted, pool.map(self._is_file, wanted), strict=True) if is_there}

    def _is_file(self, name: str) -> bool:
        return self.exists(name)

    def sizes(self, names: Iterable[str], *, listed: bool = True) -> dict[str, int]:
        """Bytes of those of some files that are there.

        Parameters
        ----------
        names
            Relative to the root.
        listed
            Whether to believe a listing; each file that it lacks is asked for by its name all the same.
        """
        wanted = list(names)
        sizes = self._listed_sizes(wanted) if listed else {}
        left = [name for name in wanted if name not in sizes]
        with ThreadPoolExecutor(READERS, thread_name_prefix="sizes") as pool:
            asked = zip(left, pool.map(self._size, left), strict=True)
            return sizes | {name: size for name, size in asked if size is not None}

    def _listed_sizes(self, names: Sequence[str]) -> dict[str, int]:  # noqa: ARG002 - nothing where asking is as cheap
        """What listings tell of the sizes of files."""
        return {}

    @abstractmethod
    def _size(self, name: str) -> int | None:
        """Bytes of a file; None where there is none of this name."""

    def names(self, folder: str = "") -> list[str]:
        """The names directly in a folder, sorted; none where there is no such folder."""
        self.fs.invalidate_cache()
        try:
            paths = self.fs.ls(self.path(folder), detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        here = self.path(folder).rstrip("/")
        return sorted({p.rstrip("/").rpartition("/")[2] for p in paths if p.rstrip("/") != here} - {""})

    def size_of(self, folder: str) -> int:
        """Bytes of all files below a folder; 0 where there is none."""
        self.fs.invalidate_cache()
        try:
            return int(self.fs.du(self.path(folder)))
        except (FileNotFoundError, NotADirectoryError):
            return 0

    def versions(self, folder: str = "") -> dict[str, str]:
        """The files directly in a folder, each with what changes when its content does."""
        found = self._listed(folder)
        return {info["name"].rpartition("/")[2]: version_of(info) for info in found if info["type"] == "file"}

    def _listed(self, folder: str) -> list[dict[str, Any]]:
        """What is directly in a folder, as the filesystem tells it."""
        self.fs.invalidate_cache()
        try:
            return list(self.fs.ls(self.path(folder), detail=True))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def meant(self) -> str:
        """Which folder is meant, where none is there and one of nearly that name is; else nothing."""
        if self.local is None or os.path.exists(self.local):  # noqa: PTH110 - it raises nothing
            return ""
        from scaledproc._util.nearest import meant_path

        return redacted(meant_path(self.local))

    def listing(self, *, hidden: bool = True, leaves_out: Callable[[str], bool] = lambda _: False) -> Listing:
        """Every file below the root.

        Parameters
        ----------
        hidden, leaves_out
            As for `list_folder`, where the root is a local one; others are always listed whole.

        Raises
        ------
        ScaledprocError
            If the root does not exist, is a file, may not be read, or its listing does not tell the files' sizes.
        """
        try:
            return self._list(hidden=hidden, leaves_out=leaves_out)
        except FileNotFoundError:
            raise ScaledprocError(f"{self} does not exist{self.meant()}") from None
        except NotADirectoryError:
            raise ScaledprocError(f"{self} is a file; give the folder that holds the dataset") from None
        except PermissionError as error:
            inside = str(error.filename or "").removeprefix(f"{self.root}/")
            remedy = (
                f"; leave it out with --exclude {shlex.quote(f'{inside}/')}" if inside not in ("", self.root) else ""
            )
            raise ScaledprocError(f"{self} may not be read: {redacted(str(error))}{remedy}") from None
        except SizesUnknownError as error:
            raise ScaledprocError(
                f"{self} cannot be listed: the sizes of its files are not told, as web servers do not (the first is "
                f"{error}); copy the files to a folder or to S3, and name that"
            ) from None
        except store_errors() as error:
            raise ScaledprocError(f"{self} cannot be listed: {describe(error)}") from None
        except (TypeError, ValueError, AttributeError) as error:
            if not self.options:
                raise
            names = ", ".join(self.options)
            raise UsageError(f"{self} cannot be listed with the storage options {names}: {describe(error)}") from error

    @abstractmethod
    def _list(self, *, hidden: bool, leaves_out: Callable[[str], bool]) -> Listing:
        """Every file below the root; raises whatever the filesystem does."""

    # Reading

    @abstractmethod
    def open(self, name: str) -> IO[bytes]:
        """A file for reading, seekable.

        Raises
        ------
        OSError
            If the file cannot be opened, or is no file: a pipe would be waited for.
        """

    def open_for_arrow(self, name: str) -> IO[bytes]:
        """A file, open for Arrow, whose threads may hold it when the interpreter ends."""
        return self.open(name)

    def read(self, name: str, most: int = -1) -> bytes:
        """A whole file, or so many bytes of it; one that is written anew meanwhile is read again."""
        for _ in range(CHANGED_READS):
            try:
                with self.open(name) as file:
                    return file.read(most)
            except ChangedError:
                continue
        with self.open(name) as file:
            return file.read(most)

    def fetch(self, files: Iterable[FileInfo], into: Path) -> None:
        """Copy files into a local folder, under their names relative to the root.

        Raises
        ------
        ScaledprocError
            If a file's name leads out of the folder.
        FileNotFoundError, PermissionError, ChangedError
            If a file is gone, forbidden, or not what was listed; the last one only where the store can tell.
        """
        (wrong,) = self.fetch_groups([(list(files), into)])
        if wrong is not None:
            raise wrong

    def fetch_groups(self, groups: Sequence[tuple[Sequence[FileInfo], Path]]) -> list[OSError | None]:
        """Copy groups of files, each into a folder of its own, many files at once.

        Parameters
        ----------
        groups
            Files, and the local folder that they go to under their names relative to the root.

        Returns
        -------
        list
            For each group None, or what is wrong with one of its files: FileNotFoundError, PermissionError or
            ChangedError, as `fetch` raises them. The group's other files are then not all there.

        Raises
        ------
        ScaledprocError
            If a file's name leads out of the folder.
        OSError
            If the store cannot be reached, or the disk is full.
        """
        return self._fetch([[(file, _target(file, into)) for file in files] for files, into in groups])

    @abstractmethod
    def _fetch(self, groups: Sequence[Sequence[Target]]) -> list[OSError | None]:
        """Copy groups of files, each file to its place."""

    # Writing

    @contextlib.contextmanager
    def committing(self, name: str, *, replacing: bool = False) -> Iterator[Path]:
        """A local path to write; when the block ends well, its content appears under `name` in one step.

        On local disks that is a flush and a rename, elsewhere one upload. When the block raises, nothing appears.

        Parameters
        ----------
        name
            Relative to the root.
        replacing
            Whether it may only replace what is there now, so that it replaces nothing newer even if it arrives late;
            where the store knows such conditions, and the fence lets one process pass alone.

        Raises
        ------
        OvertakenError
            If something else is there by then; or if nothing may be changed any more.
        """
        with self.committing_together(replacing=replacing) as path:
            yield path(name, 0)

    @contextlib.contextmanager
    def committing_together(self, *, replacing: bool | Collection[str] = False) -> Iterator[Callable[[str, int], Path]]:
        """What gives local paths to write, by name and step; when the block ends well, all appear, step after step.

        To flush many files of a local disk at once takes little longer than to flush one.

        Parameters
        ----------
        replacing
            As for `committing`; or the names of those of which that is so.
        """
        self._ask_fence()  # before a folder is made, and again at the end
        steps: dict[int, list[Part]] = {}
        with self._parts() as make:

            def path(name: str, step: int) -> Path:
                is_replacing = replacing if isinstance(replacing, bool) else name in replacing
                change = self._replacing(name) if is_replacing else Change(self.fence)
                part = Part(make(name), name, change)
                steps.setdefault(step, []).append(part)
                return part.path

            yield path
            self._flush([part for parts in steps.values() for part in parts])
            for step in sorted(steps):
                self._ask_fence()
                self._put(steps[step])

    def _ask_fence(self) -> None:
        if self.fence is not None:
            self.fence()

    def _replacing(self, name: str) -> Change:  # noqa: ARG002 - for stores that know conditions
        """A change of what is there now. It is looked at before the fence is asked: so it is not another driver's."""
        return Change(self.fence)

    @abstractmethod
    def _parts(self) -> AbstractContextManager[Callable[[str], Path]]:
        """What gives paths on a local disk to write files of some names at; what is left of them goes at the end."""

    @abstractmethod
    def _flush(self, parts: Sequence[Part]) -> None:
        """See that parts are written.

        Raises
        ------
        FileNotFoundError
            If nothing was written to one of the parts.
        """

    @abstractmethod
    def _put(self, parts: Sequence[Part]) -> None:
        """Have each part appear under its name in one step, subject to its change; they stay when power is lost."""

    def put_in_place(self, name: str, target: str) -> None:
        """Have a file's content appear under another name, in the place of what is there, in one step.

        On local disks the file is renamed; elsewhere it stays under its name too.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        OvertakenError
            If something else is there by then; or if nothing may be changed any more.
        """
        with self.committing(target, replacing=True) as part, self.open(name) as source, part.open("wb") as copy:
            shutil.copyfileobj(source, copy, COPIED)

    def write(self, name: str, content: bytes, *, replacing: bool = False) -> None:
        """Commit a whole file; see `committing`."""
        with self.committing(name, replacing=replacing) as part:
            part.write_bytes(content)

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all that is in it; nothing happens where there is none."""
        self._ask_fence()
        self._remove(self.path(name))

    @abstractmethod
    def _remove(self, target: str) -> None:
        """Remove what has a path of the filesystem; the fence is asked before each further request."""

    def remove_files(self, names: Sequence[str]) -> None:
        """Remove files; nothing happens where one is not there.

        In S3 each only as it is listed now, so that a removal that arrives late does not meet a newer one. What is not
        listed is removed whatever it is, as a listing may lag behind.
        """
        for name in names:
            self.remove(name)

    def remove_temporaries(self, folder: str = "") -> None:  # noqa: B027 - object stores keep nothing
        """Remove what a killed commit left in a folder."""


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A private temporary folder, removed at the end; at the next start, where this process was killed."""
    with PrivateFolder() as folder:
        yield Path(folder)


def refuse_lost_slash(where: str) -> None:
    """Refuse a URL that was taken for a path, as `pathlib` does: of two slashes it leaves one.

    Raises
    ------
    UsageError
        If the text is a URL that has one slash where two belong, or lacks its colon.
    """
    colon = _NO_COLON.match(where)
    if colon and not Path(colon[1]).exists():
        url = f"{colon[1]}://{colon[2]}"
        remember_login(url)
        raise UsageError(f"a URL has a colon behind its first word: is {redacted(url)} meant?")
    found = _ONE_SLASH.search(where)
    if found:
        scheme, rest = found["scheme"] or found["store"], where[found.end() :]
        url = f"{scheme}://{rest.lstrip('/')}"
        remember_login(url)
        raise UsageError(f"a URL lost a slash, as pathlib.Path makes of one: give it as text, {redacted(url)}")


_NO_COLON = re.compile(rf"({'|'.join(sorted(OBJECT_STORES))}|https?|memory)//(?=[^/])(.*)")
_ONE_SLASH = re.compile(
    rf"^(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/(?!/)|(?:^|/)(?P<store>{'|'.join(sorted(OBJECT_STORES))}|https?|memory):/(?!/)"
)


def _target(file: FileInfo, into: Path) -> Path:
    if not is_safe_name(file.path):
        raise ScaledprocError(f"the name {file.path!r} leads out of its folder")
    return into / file.path


def describe(error: BaseException) -> str:
    """An error in one line for a person."""
    first = redacted(str(error)).strip().split("\n", 1)[0]
    text = f"{type(error).__name__}: {first}" if first else type(error).__name__
    if "redentials" in text:
        text += " (log in, set AWS_PROFILE, or for a public bucket give --storage-option anon=true)"
    return text


def store_errors() -> tuple[type[Exception], ...]:
    """What a filesystem raises: the base errors of botocore and of aiohttp, which `http://` goes by, are no OSError."""
    exceptions, aiohttp = sys.modules.get("botocore.exceptions"), sys.modules.get("aiohttp")
    return (
        OSError,
        *((exceptions.BotoCoreError, exceptions.ClientError) if exceptions else ()),
        *((aiohttp.ClientError,) if aiohttp else ()),
    )


def is_refusal(error: OSError) -> bool:
    """Whether a disk or a store said no; else a reader of file formats did, which has no other word for damage."""
    return error.errno is not None or isinstance(error, (ConnectionError, PermissionError, TimeoutError))
