"""Which files there are: local folders by `scandir`, stores of objects by several listings at once."""

from __future__ import annotations

import contextlib
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from scaledproc.storage.links import LARGEST_POINTER, Links
from scaledproc.storage.local_files import READ, open_folder

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 65_536  # rows that are kept as Python objects until they become columns
LISTINGS = 16  # at once: a store answers each with 1,000 names, after a while
ENOUGH = 8  # folders, from which on it is them that are listed, not what is in them
MOST = 1_000  # folders, above which asking for each costs more than it saves
DEPTH = 4  # levels that are looked at for that many


class SizesUnknownError(Exception):
    """A listing does not tell how large a file is."""


OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "oss"})


class FileInfo(NamedTuple):
    """One file as a listing shows it."""

    path: str
    """Relative to the store's root, `/` between folders."""
    size: int
    """Bytes."""
    version: str
    """Changes when the content does: the store's etag, or the time of the last change."""


@dataclass(frozen=True, eq=False)
class Listing:
    """What a store holds, and what of it was passed over.

    Parameters
    ----------
    table
        Columns path, size, version, in no particular order.
    notes
        For a person.
    """

    table: pa.Table
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> list[FileInfo]:
        """The files of the listing, each as an object of its own."""
        return [FileInfo(*row) for row in zip(*self.table.to_pydict().values(), strict=True)]


class Columns:
    """Takes files one by one, and keeps them as Arrow columns: a Python object each would fill the memory."""

    def __init__(self) -> None:
        self._blocks: list[pa.RecordBatch] = []
        self._rows: tuple[list[str], list[int], list[str]] = ([], [], [])
        self.count = 0

    def add(self, path: str, size: int, version: str) -> None:
        """Take a file."""
        paths, sizes, versions = self._rows
        self.count += 1
        paths.append(path)
        sizes.append(size)
        versions.append(version)
        if len(paths) == BLOCK:
            self._flush()

    def table(self) -> pa.Table:
        """All that were taken."""
        import pyarrow as pa

        self._flush()
        return pa.Table.from_batches(self._blocks)

    def _flush(self) -> None:
        import pyarrow as pa

        self._blocks.append(pa.record_batch(list(self._rows), file_schema()))
        for column in self._rows:
            column.clear()


def file_schema() -> pa.Schema:
    """The columns of a listing."""
    import pyarrow as pa

    return pa.schema([("path", pa.large_string()), ("size", pa.int64()), ("version", pa.large_string())])


def list_objects(fs: Any, root: str) -> Listing:
    """Every file below a folder of an fsspec filesystem.

    Parameters
    ----------
    fs, root
        The filesystem, and the folder as it spells it.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If there is nothing at the root, or a file has its place.
    """
    import pyarrow as pa

    fs.invalidate_cache()
    above = _Found(root)
    if _is_object_store(fs):
        with ThreadPoolExecutor(LISTINGS, thread_name_prefix="list") as pool:
            folders = _folders_to_list(fs, root, above, pool)
            found = [above, *pool.map(lambda folder: _found_below(fs, root, folder), folders)]
    else:
        found = [above, _found_below(fs, root, root)]
    if not any(part.anything for part in found):
        if not fs.exists(root):
            raise FileNotFoundError
        if fs.isfile(root):
            raise NotADirectoryError
    strange = sum(part.strange for part in found)
    return Listing(
        pa.concat_tables([part.columns.table() for part in found]),
        count_note(strange, "object", "whose name cannot be a file's (`..`, `//`) {} left out"),
    )


class _Found:
    """What was found below a root: what is no file's name is only counted."""

    def __init__(self, root: str) -> None:
        self._prefix = root if root.endswith("/") else root + "/"
        self.columns = Columns()
        self.strange = 0
        self.anything = False

    def take(self, files: Iterable[Mapping[str, Any]], folder: str) -> None:
        """Take files of a folder.

        Raises
        ------
        SizesUnknownError
            If the filesystem does not tell the size of one.
        """
        inside = folder if folder.endswith("/") else folder + "/"
        for info in files:
            path = info["name"] if self._prefix != "/" else "/" + info["name"].lstrip("/")  # as archives name theirs
            if not path.startswith(inside):  # where a folder is gone, a file of its name may be found
                continue
            self.anything = True
            name = path.removeprefix(self._prefix)
            if info.get("size") is None:
                raise SizesUnknownError(name)
            if is_safe_name(name):
                self.columns.add(name, int(info["size"]), version_of(info))
            elif not name.endswith("/"):  # some tools mark folders with an empty object named `folder/`
                self.strange += 1


def _found_below(fs: Any, root: str, folder: str) -> _Found:
    found = _Found(root)
    found.take(fs.find(folder, withdirs=False, detail=True).values(), folder)
    return found


def _folders_to_list(fs: Any, root: str, found: _Found, pool: ThreadPoolExecutor) -> list[str]:
    """Folders that can be listed side by side; the files that are in none of them are taken at once."""
    folders = [root]
    for _ in range(DEPTH):
        if len(folders) >= ENOUGH:
            break
        levels = list(pool.map(_level, [fs] * len(folders), folders))
        deeper = [info["name"] for level in levels for info in level if info["type"] == "directory"]
        whole = {folder.rstrip("/") for folder in folders}
        is_plain = all(
            is_safe_name(name.rpartition("/")[2]) and name.rpartition("/")[0] in whole for name in deeper
        ) and len(set(deeper)) == len(deeper)
        if not is_plain or not len(folders) <= len(deeper) <= MOST:
            break
        for folder, level in zip(folders, levels, strict=True):
            found.take([info for info in level if info["type"] != "directory"], folder)
        folders = deeper
    return folders


def _level(fs: Any, folder: str) -> list[dict[str, Any]]:
    try:
        level: list[dict[str, Any]] = fs.ls(folder, detail=True)
    except FileNotFoundError:
        return []
    return level


def _is_object_store(fs: Any) -> bool:
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    return bool(OBJECT_STORES & set(protocols))


def list_folder(root: Path, *, hidden: bool = True, leaves_out: Callable[[str], bool] = lambda _: False) -> Listing:
    """Every file below a local folder.

    Links to files are followed as `Links` says; links to folders are not followed. What comes and goes meanwhile is
    there or not.

    Parameters
    ----------
    root
        The folder.
    hidden
        Whether files and folders whose names begin with a dot are listed too.
    leaves_out
        Whether nothing below a folder is wanted: such a one need not be readable.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If the root does not exist, or is a file.
    PermissionError
        If the root may not be read, or a folder in it that `leaves_out` does not leave out.
    """
    found = _FoundHere(str(root), hidden=hidden)
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            handle = open_folder(found.root, folder)
        except FileNotFoundError:
            if not folder:
                raise
            found.counts["vanished"] += 1
            continue
        except PermissionError:
            if folder and leaves_out(folder):
                continue
            raise
        try:
            with os.scandir(handle) as entries:
                pending += found.take(folder, entries, handle)
        finally:
            os.close(handle)
    return Listing(found.columns.table(), found.notes())


class _FoundHere:
    """What was found in local folders."""

    def __init__(self, root: str, *, hidden: bool) -> None:
        self.root = root
        self.columns = Columns()
        self.counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}
        self._takes_hidden = hidden
        self._links = Links(root)

    def take(self, folder: str, entries: Iterator[os.DirEntry[str]], handle: int) -> list[str]:
        """Take the files of a folder; the folders in it are returned."""
        folders = []
        pointers: tuple[bytes, ...] | None = None
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith(".") and not self._takes_hidden:
                self._leave("hidden", name)
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    if self._links.is_store(name):
                        self._leave("store", name)
                    else:
                        folders.append(name)
                    continue
                status = self._status(entry, name)
            except FileNotFoundError:
                self._leave("vanished", name)
                continue
            except OSError as error:
                error.filename = f"{self.root}/{name}"
                raise
            if status is None:
                continue
            if not stat.S_ISREG(status.st_mode):
                self._leave("special", name)
            elif not is_text(name):
                self._leave("unspeakable", name)
            else:
                if status.st_size <= LARGEST_POINTER:
                    pointers = self._links.pointers(folder) if pointers is None else pointers
                    if pointers and _begins_with(handle, entry.name, pointers):
                        self._leave("content", name)
                        continue
                self.columns.add(name, status.st_size, str(status.st_mtime_ns))
        return folders

    def _status(self, entry: os.DirEntry[str], name: str) -> os.stat_result | None:
        """Of a file, or of what a link leads to; None where the link is not followed."""
        if not entry.is_symlink():
            return entry.stat()
        followed = self._links.follow(name)
        with contextlib.suppress(OSError):
            target = Path(*followed).stat() if followed else entry.stat()
            if stat.S_ISDIR(target.st_mode):
                self._leave("folder", name)
                return None
            if followed:
                return target
        self._leave("content" if self._links.is_annexed(name) else "away", name)
        return None

    def _leave(self, why: str, name: str) -> None:
        self.counts[why] += 1
        self._first.setdefault(why, name)

    def notes(self) -> tuple[str, ...]:
        """What was left out, for a person."""
        counts = self.counts
        away = ""
        if counts["away"]:
            link = self._first["away"]
            target = os.readlink(f"{self.root}/{link}")  # noqa: PTH115 - of a text
            away = f"leading outside the dataset (or nowhere) {{}} left out; the first is {link} -> {target}"
        all_are = not self.columns.count and counts["away"] + counts["content"] > 0
        return (
            *(["all of its files are links or stand for content that is elsewhere"] if all_are else []),
            *count_note(counts["away"], "link", away + ("; " + _COPY_LINKS if all_are and counts["away"] else "")),
            *count_note(
                counts["content"],
                "file",
                f"of git-annex, DataLad or Git LFS whose content is not here {{}} left out; the first is "
                f"{self._first.get('content')}; in its folder, git annex get, datalad get or git lfs pull fetches it",
            ),
            *count_note(counts["folder"], "folder link", "{} not followed"),
            *hidden_note(counts["hidden"], self._first.get("hidden", "")),
            *count_note(
                counts["store"],
                "folder",
                f"of content {{}} left out ({self._first.get('store')}), as links in the dataset name its files",
            ),
            *count_note(counts["special"], "special file", "(a pipe, a socket, a device) {} left out"),
            *count_note(counts["unspeakable"], "file", "whose name is not UTF-8 {} left out"),
            *count_note(counts["vanished"], "name", "in INPUT {} gone before they were looked at"),
        )


_COPY_LINKS = "name a folder that holds both the links and what they lead to, or copy the files: cp -rL"


def _begins_with(folder: int, name: str, beginnings: tuple[bytes, ...]) -> bool:
    """Whether a file begins in one of these ways."""
    try:
        handle = os.open(name, READ, dir_fd=folder)
    except OSError:
        return False
    try:
        return os.read(handle, max(map(len, beginnings))).startswith(beginnings)
    finally:
        os.close(handle)


def hidden_note(count: int, first: str) -> tuple[str, ...]:
    """A note of hidden files and folders that are not taken."""
    if count == 1:
        return (f"1 hidden file or folder was left out ({first}); --hidden takes it too",)
    return (f"{count:,} hidden files and folders were left out (the first is {first}); --hidden takes them too",) * (
        count > 0
    )


def is_safe_name(name: str) -> bool:
    """Whether a relative name stays below its folder on any filesystem."""
    parts = name.split("/")
    return "\0" not in name and all(part not in ("", ".", "..") for part in parts) and is_text(name)


def is_text(name: str) -> bool:
    """Whether it can be encoded."""
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def version_of(info: Mapping[str, Any]) -> str:
    """What changes when a file's content does, from what a filesystem says of it."""
    for key in (
        "ETag",
        "etag",
        "md5Hash",
        "content_hash",
        "sha256",
        "CRC",
        "LastModified",
        "mtime",
        "updated",
        "created",
    ):
        if info.get(key):
            return str(info[key]).strip('"')
    return ""


def count_note(count: int, noun: str, rest: str) -> tuple[str, ...]:
    """A note of how many there were, if there were any."""
    if not count:
        return ()
    told = rest.replace("{}", "was" if count == 1 else "were", 1)  # names may have braces too
    return (f"{count:,} {noun}{'' if count == 1 else 's'} {told}",)
