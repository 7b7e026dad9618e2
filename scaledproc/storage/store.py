"""Every byte in or out: list, read, fetch, commit. On any filesystem that fsspec knows."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shlex
import shutil
import stat
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from scaledproc._util.redaction import has_login, remember_login, remember_secrets
from scaledproc._util.redaction import redacted as redacted
from scaledproc._util.scratch import PrivateFolder
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.storage.fencing import Change, Fence, subject_to
from scaledproc.storage.listing import (
    OBJECT_STORES,
    FileInfo,
    SizesUnknownError,
    is_safe_name,
    list_folder,
    list_objects,
    version_of,
)
from scaledproc.storage.s3_download import ChangedError, problem_of, writing

if TYPE_CHECKING:
    from scaledproc.storage.listing import Listing
    from scaledproc.storage.s3_download import S3Objects

TEMPORARY = ".part"  # a local commit in progress is `.<name>.<hex>.part`, beside its target
CHANGED_READS = 5  # of an object that is written anew again and again
READERS = 16  # requests at once
LISTINGS = 5  # of a folder that is removed, until one is empty
MOST_REMOVED = 1000  # objects by one request
PIECE = 4 * 2**20  # bytes that are copied at once
_archives = threading.Lock()


@dataclass(frozen=True, repr=False)
class Store:
    """A folder on some filesystem; cheap to make, safe to send to another process.

    Parameters
    ----------
    uri
        A path or URL; use `Store.at` to make one from what a person typed.
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
            No such protocol, or the package that speaks it is not installed.
        """
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
        try:
            if "://" not in uri:
                return cls(str(Path(uri).expanduser().absolute()), {})
            store = cls(uri.rstrip("/") if not uri.endswith("://") else uri, dict(options or {}))
            is_local = store.local is not None
        except ImportError as error:
            raise UsageError(f"{redacted(uri)}: {error}") from None
        except Exception as error:  # whatever a filesystem makes of a URL and options that it cannot take
            raise UsageError(f"{redacted(uri)}: {describe(error)}; is it spelled right?") from None
        return cls(str(store.local), {}) if is_local else store

    def __str__(self) -> str:
        return redacted(self.uri)

    def __repr__(self) -> str:
        return f"Store({str(self)!r})"

    def __hash__(self) -> int:
        return hash(self.uri)

    def __getstate__(self) -> dict[str, Any]:
        # A filesystem object holds sockets, locks and an event loop: each process makes its own.
        return {"uri": self.uri, "options": self.options, "fence": self.fence}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()

    @cached_property
    def _filesystem(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs
        from fsspec.implementations.local import LocalFileSystem

        if "://" not in self.uri:  # a plain path, whatever characters are in it
            return LocalFileSystem(), self.uri
        if self.uri.startswith(("s3://", "s3a://")):
            from scaledproc.storage.s3_filesystem import PatientS3FileSystem

            s3 = PatientS3FileSystem(**self.options)
            return s3, s3._strip_protocol(self.uri).rstrip("/") or "/"  # noqa: SLF001 - fsspec's way to say it
        fs, root = url_to_fs(self.uri, **self.options)
        return fs, root.rstrip("/") or "/"

    @property
    def fs(self) -> Any:
        """The fsspec filesystem."""
        return self._filesystem[0]

    @property
    def root(self) -> str:
        """The folder's path as the filesystem spells it."""
        return str(self._filesystem[1])

    @cached_property
    def local(self) -> Path | None:
        """The folder on this machine's own disks; None where the store is elsewhere."""
        from fsspec.implementations.local import LocalFileSystem

        return Path(self.root) if type(self.fs) is LocalFileSystem else None

    @property
    def is_private(self) -> bool:
        """Whether only this process can see it (memory://)."""
        return "memory" in self._protocols

    @property
    def is_s3(self) -> bool:
        """Whether its objects are S3's, whoever has them."""
        return bool(self._protocols & {"s3", "s3a"})

    @property
    def _is_archive(self) -> bool:
        from fsspec.archive import AbstractArchiveFileSystem

        return isinstance(self.fs, AbstractArchiveFileSystem)

    @property
    def _protocols(self) -> frozenset[str]:
        protocol = self.fs.protocol
        return frozenset((protocol,) if isinstance(protocol, str) else protocol)

    def path(self, name: str) -> str:
        """The filesystem's path of a name below the root."""
        if not name:
            return self.root
        return f"/{name}" if self.root == "/" else f"{self.root}/{name}"

    def child(self, name: str) -> Store:
        """The store of a folder below this one."""
        uri = f"{self.uri}{name}" if self.uri.endswith("/") else f"{self.uri}/{name}"
        return Store(uri, self.options, self.fence)

    def contains(self, other: Store) -> str | None:
        """Where `other` lies below this store, relative to it; '' for the same folder, None if it does not."""
        if type(self.fs) is not type(other.fs):
            return None
        here, there = self.root, other.root
        if self.local is not None:
            here, there = os.path.realpath(here), os.path.realpath(there)
        if here == there:
            return ""
        prefix = here if here.endswith("/") else here + "/"
        return there.removeprefix(prefix) if there.startswith(prefix) else None

    # Looking

    def exists(self, name: str = "") -> bool:
        """Whether there is a file or a folder of this name."""
        if self.local is not None:
            return Path(self.path(name)).exists()
        self.fs.invalidate_cache()
        return bool(self.fs.exists(self.path(name)))

    @property
    def lists_all(self) -> bool:
        """Whether a listing shows what is there. AWS's S3 does that too, but not all that speak its language."""
        return not self.is_s3

    def there(self, names: Iterable[str]) -> set[str]:
        """Those of some files that are there, each asked for by its name: a listing of some stores lags behind."""
        with ThreadPoolExecutor(READERS, thread_name_prefix="there") as pool:
            wanted = list(names)
            return {name for name, is_there in zip(wanted, pool.map(self._is_file, wanted), strict=True) if is_there}

    def _is_file(self, name: str) -> bool:
        if not self.is_s3:
            return self.exists(name)
        bucket, key, _ = self.fs.split_path(self.path(name))
        try:
            self.fs.call_s3("head_object", Bucket=bucket, Key=key)
        except FileNotFoundError:
            return False
        return True

    def sizes(self, names: Iterable[str], *, listed: bool = True) -> dict[str, int]:
        """Bytes of those of some files that are there.

        Parameters
        ----------
        names
            Relative to the root.
        listed
            Whether to believe a listing; each file that it lacks is asked for by its name all the same.
        """
        wanted, found = list(names), dict[str, int]()
        if listed and self.local is None:
            for folder in sorted({name.rpartition("/")[0] for name in wanted}):
                found |= {info["name"]: int(info["size"]) for info in self._listed(folder) if info["type"] == "file"}
        sizes = {name: found[path] for name in wanted if (path := self.path(name)) in found}
        left = [name for name in wanted if name not in sizes]
        with ThreadPoolExecutor(READERS, thread_name_prefix="sizes") as pool:
            asked = zip(left, pool.map(self._size, left), strict=True)
            return sizes | {name: size for name, size in asked if size is not None}

    def _size(self, name: str) -> int | None:
        try:
            if self.local is not None:
                return Path(self.path(name)).stat().st_size
            info = self.fs.info(self.path(name), **({"refresh": True} if self.is_s3 else {}))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return int(info["size"]) if info["type"] == "file" else None

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

    def listing(self, *, hidden: bool = True, leaves_out: Callable[[str], bool] = lambda _: False) -> Listing:
        """Every file below the root.

        Parameters
        ----------
        hidden, leaves_out
            As for `list_folder`, where the root is a local one; others are always listed whole.

        Raises
        ------
        ScaledprocError
            The root does not exist, is a file, may not be read, or its listing does not tell the files' sizes.
        """
        try:
            if self.local is not None:
                listing = list_folder(self.local, hidden=hidden, leaves_out=leaves_out)
            else:
                listing = list_objects(self.fs, self.root)
        except FileNotFoundError:
            raise ScaledprocError(f"{self} does not exist") from None
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
        return listing

    # Reading

    def open(self, name: str) -> IO[bytes]:
        """A file for reading, seekable.

        Raises
        ------
        OSError
            If it is none: a pipe would be waited for.
        """
        if self.local is not None:
            return Path(self._regular(name)).open("rb")
        handle: IO[bytes] = self.fs.open(self.path(name), "rb")
        return handle

    def open_for_arrow(self, name: str) -> IO[bytes]:
        """The same for Arrow. A local one is Arrow's own: its threads may hold it when the interpreter ends."""
        if self.local is None:
            return self.open(name)
        import pyarrow as pa

        handle: IO[bytes] = pa.OSFile(self._regular(name))
        return handle

    def _regular(self, name: str) -> str:
        path = self.path(name)
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - hot
            raise OSError(errno.EINVAL, "is no regular file", name)
        return path

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
            A name leads out of the folder.
        FileNotFoundError, PermissionError, ChangedError
            A file is gone, forbidden, or not what was listed; the last one only where the store can tell.
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
            A name leads out of the folder.
        OSError
            The store cannot be reached, or the disk is full.
        """
        targets = [[(file, _target(file, into)) for file in files] for files, into in groups]
        objects = self._objects
        if objects is None:
            return self._get_groups(targets)
        from scaledproc.storage.s3_download import Wanted

        prefix = self.root.partition("/")[2]
        wrong = objects.fetch(
            [
                [
                    Wanted(file.path, f"{prefix}/{file.path}" if prefix else file.path, target, file.size, file.version)
                    for file, target in group
                    if file.path.isprintable()  # others it does not take
                ]
                for group in targets
            ]
        )
        slow = [[pair for pair in group if not pair[0].path.isprintable()] for group in targets]
        return [first or second for first, second in zip(wrong, self._get_groups(slow), strict=True)]

    def _get_groups(self, groups: Sequence[Sequence[tuple[FileInfo, Path]]]) -> list[OSError | None]:
        """The same by fsspec's filesystem."""

        def get(group: Sequence[tuple[FileInfo, Path]]) -> None:
            with writing():
                for folder in {target.parent for _, target in group}:
                    folder.mkdir(parents=True, exist_ok=True)
            if self.is_s3:
                for file, target in group:
                    self._copy(file, target)
            elif group:
                self.fs.get([self.path(file.path) for file, _ in group], [str(target) for _, target in group])

        if not any(groups):
            return [None] * len(groups)
        if self._is_archive:  # whose files share one handle
            with _archives:
                return [problem_of(partial(get, group)) for group in groups]
        with ThreadPoolExecutor(READERS, thread_name_prefix="copy") as pool:
            return list(pool.map(lambda group: problem_of(partial(get, group)), groups))

    def _copy(self, file: FileInfo, target: Path) -> None:
        """Copy one version of an object, the one that was listed."""
        with self.open(file.path) as source, target.open("wb") as copy:
            if file.version not in ("", source.etag):  # type: ignore[attr-defined]
                raise ChangedError(f"{file.path} changed since it was listed")
            while piece := source.read(PIECE):
                copy.write(piece)

    @cached_property
    def _objects(self) -> S3Objects | None:
        """The fast way to S3's objects, where it leads to the same place."""
        if not self.is_s3:
            return None
        from scaledproc.storage.s3_download import open_bucket

        return open_bucket(self.fs, self.root.partition("/")[0])

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
            where the store knows such conditions.

        Raises
        ------
        OvertakenError
            If something else is there by then; or if nothing may be changed any more.
        """
        self._ask_fence()  # before a folder is made, and again at the end
        if self.local is None:
            change = self._replacing(name) if replacing else Change(self.fence)
            with scratch_folder() as folder:
                part = folder / "part"
                yield part
                if not part.exists():
                    raise FileNotFoundError(f"nothing was written to be {name}")
                self._ask_fence()
                with subject_to(change):
                    self._upload(part, self.path(name))
            return
        target = Path(self.path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{uuid.uuid4().hex}{TEMPORARY}")
        try:
            yield part
            _sync_file(part)
            self._ask_fence()
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        _sync_folder(target.parent)

    def _replacing(self, name: str) -> Change:
        """A change of what is there now. It is looked at before the fence is asked: so it is not another driver's."""
        if self.fence is None or not hasattr(self.fs, "version_now"):
            return Change(self.fence)
        return Change(self.fence, self.fs.version_now(self.path(name)), uuid.uuid4().hex)

    @contextlib.contextmanager
    def committing_together(self) -> Iterator[Callable[[str, int], Path]]:
        """What gives local paths to write, by name and step; when the block ends well, all appear, step after step.

        For local disks: to flush many files at once takes little longer than to flush one.
        """
        assert self.local is not None  # noqa: S101
        self._ask_fence()
        parts: list[tuple[int, Path, Path]] = []
        folders: set[str] = set()

        def path(name: str, step: int) -> Path:
            folder, _, last = self.path(name).rpartition("/")
            if folder not in folders:
                Path(folder).mkdir(parents=True, exist_ok=True)
                folders.add(folder)
            part = Path(f"{folder}/.{last}.{uuid.uuid4().hex}{TEMPORARY}")
            parts.append((step, part, Path(f"{folder}/{last}")))
            return part

        try:
            yield path
            paths = [part for _, part, _ in parts]
            with ThreadPoolExecutor(READERS, thread_name_prefix="flush") as pool:
                list(pool.map(_sync_files, [paths[n::READERS] for n in range(READERS)]))
            for step in sorted({step for step, _, _ in parts}):
                self._ask_fence()
                done = [(part, target) for at, part, target in parts if at == step]
                for part, target in done:
                    part.replace(target)
                for folder in {target.parent for _, target in done}:
                    _sync_folder(folder)
        except BaseException:
            for _, part, _ in parts:
                part.unlink(missing_ok=True)
            raise

    def _ask_fence(self) -> None:
        if self.fence is not None:
            self.fence()

    def _upload(self, part: Path, target: str) -> None:
        try:
            self.fs.put_file(str(part), target)
        except FileNotFoundError as error:
            if self._protocols & OBJECT_STORES:  # where makedirs would make a bucket of a mistyped name
                raise ScaledprocError(f"{self} cannot be written: {describe(error)}") from None
            self.fs.makedirs(target.rpartition("/")[0], exist_ok=True)
            self.fs.put_file(str(part), target)

    def write(self, name: str, content: bytes, *, replacing: bool = False) -> None:
        """Commit a whole file; see `committing`."""
        with self.committing(name, replacing=replacing) as part:
            part.write_bytes(content)

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all that is in it; nothing happens where there is none."""
        self._ask_fence()
        target = self.path(name)
        if self.local is not None:
            self._remove_local(Path(target))
        elif self.is_s3:
            for _ in range(LISTINGS):  # the last ones show what is gone already
                found = self.fs.find(target, withdirs=True, detail=True)  # some stores keep folders
                versions = {path: _etag(found[path]) for path in sorted(found, reverse=True)}
                if target not in versions and (found or (version := self.fs.version_now(target))):
                    versions[target] = "" if found else version  # a folder, which some stores keep too
                self._remove_objects(versions)
                if not found:
                    return
        else:
            self._remove_elsewhere(target)

    def _remove_local(self, path: Path) -> None:
        if path.is_dir() and not path.is_symlink():
            for each in list(path.iterdir()):
                self._ask_fence()
                shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink(missing_ok=True)
            path.rmdir()
        else:
            path.unlink(missing_ok=True)

    def _remove_elsewhere(self, target: str) -> None:
        self.fs.invalidate_cache()
        found = self.fs.find(target, withdirs=True, detail=True)
        if not found:
            return
        names = [target, *found]
        if not any(char in target for char in "*?["):
            for start in range(0, len(names), MOST_REMOVED):
                self._ask_fence()
                self.fs.rm(names[start : start + MOST_REMOVED])
            return
        for path in (*sorted(found, reverse=True), target):  # fsspec's rm would take such a name for a pattern
            self._ask_fence()
            with contextlib.suppress(FileNotFoundError):
                if (path in found and found[path]["type"] == "file") or self._protocols & OBJECT_STORES:
                    self.fs.rm_file(path)
                else:
                    self.fs.rmdir(path)

    def remove_files(self, names: Sequence[str]) -> None:
        """Remove files; nothing happens where one is not there.

        In S3 each only as it is listed now, so that a removal that arrives late does not meet a newer one. What is not
        listed is removed whatever it is, as a listing may lag behind.
        """
        if not self.is_s3:
            for name in names:
                self.remove(name)
            return
        listed = {
            info["name"]: _etag(info)
            for folder in sorted({name.rpartition("/")[0] for name in names})
            for info in self._listed(folder)
        }
        self._ask_fence()
        self._remove_objects({path: listed.get(path, "") for path in map(self.path, names)})

    def _listed(self, folder: str) -> list[dict[str, Any]]:
        """What is directly in a folder, as the filesystem tells it."""
        self.fs.invalidate_cache()
        try:
            return list(self.fs.ls(self.path(folder), detail=True))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _remove_objects(self, versions: Mapping[str, str]) -> None:
        """Remove objects as they were seen; each batch, and each attempt, asks the fence."""
        plain = [path for path in versions if path.isprintable()]
        with subject_to(Change(self.fence)):
            for start in range(0, len(plain), MOST_REMOVED):
                batch = {path: versions[path] for path in plain[start : start + MOST_REMOVED]}
                # A listing that lags behind shows what was there before. What is there now is this driver's to remove
                # if it was seen before the fence is asked, as it is for each request.
                others = {path: self.fs.version_now(path) for path in self.fs.remove_versions(batch)}
                self.fs.remove_versions({path: version for path, version in others.items() if version})
            for path in versions.keys() - set(plain):  # XML has no way to name it
                self.fs.rm_file(path)

    def remove_temporaries(self, folder: str = "") -> None:
        """Remove what a killed commit left in a folder (object stores leave nothing)."""
        if self.local is not None:
            self._ask_fence()
            for left in Path(self.path(folder)).glob(f".*{TEMPORARY}"):
                left.unlink(missing_ok=True)


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A private temporary folder, removed at the end; at the next start, where this process was killed."""
    with PrivateFolder() as folder:
        yield Path(folder)


def refuse_lost_slash(where: str) -> None:
    """See that a URL was not taken for a path, as `pathlib` does: of two slashes it leaves one.

    Raises
    ------
    UsageError
        It was.
    """
    found = _ONE_SLASH.search(where)
    if found:
        scheme, rest = found["scheme"] or found["store"], where[found.end() :]
        url = f"{scheme}://{rest.lstrip('/')}"
        remember_login(url)
        raise UsageError(f"a URL lost a slash, as pathlib.Path makes of one: give it as text, {redacted(url)}")


_ONE_SLASH = re.compile(
    rf"^(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/(?!/)|(?:^|/)(?P<store>{'|'.join(sorted(OBJECT_STORES))}|https?|memory):/(?!/)"
)


def _etag(info: Mapping[str, Any]) -> str:
    """What a listing says of an object's version; empty for what is none."""
    return str(info.get("ETag") or "") if info.get("type") == "file" else ""


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


def _sync_files(paths: Iterable[Path]) -> None:
    for path in paths:
        _sync_file(path)


def _sync_file(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where the system lets one sync a folder."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
