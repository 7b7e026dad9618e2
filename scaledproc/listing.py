"""Which files there are: local folders by `scandir`, stores of objects by several listings at once."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 65_536  # rows that are kept as Python objects until they become columns
LISTINGS = 16  # at once: a store answers each with 1,000 names, after a while
ENOUGH = 8  # folders, from which on it is them that are listed, not what is in them
MOST = 1_000  # folders, above which asking for each costs more than it saves
DEPTH = 4  # levels that are looked at for that many


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
        """Each as an object of its own."""
        return [FileInfo(*row) for row in zip(*self.table.to_pydict().values(), strict=True)]


class Columns:
    """Takes files one by one, and keeps them as Arrow columns: a Python object each would fill the memory."""

    def __init__(self) -> None:
        self._blocks: list[pa.RecordBatch] = []
        self._rows: tuple[list[str], list[int], list[str]] = ([], [], [])

    def add(self, path: str, size: int, version: str) -> None:
        """Take a file."""
        paths, sizes, versions = self._rows
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
        There is no such folder.
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
        """Take files of a folder."""
        inside = folder if folder.endswith("/") else folder + "/"
        for info in files:
            path = info["name"]
            if not path.startswith(inside):  # where a folder is gone, a file of its name may be found
                continue
            self.anything = True
            name = path.removeprefix(self._prefix)
            if is_safe_name(name):
                self.columns.add(name, int(info.get("size") or 0), version_of(info))
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


def list_folder(root: Path) -> Listing:
    """Every file below a local folder.

    Links to files are followed only while they stay below the root; links to folders are not followed.
    """
    columns = Columns()
    away = folders = other = unspeakable = 0
    real_root = os.path.realpath(root)
    pending = [""]
    while pending:
        folder = pending.pop()
        with _entries(root / folder) as entries:
            for entry in entries:
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    pending.append(name)
                    continue
                if entry.is_symlink():
                    target = os.path.realpath(root / name)
                    if Path(target).is_dir():
                        folders += 1
                        continue
                    if os.path.commonpath([real_root, target]) != real_root or not Path(target).exists():
                        away += 1
                        continue
                try:
                    status = entry.stat()
                except OSError as error:
                    error.filename = str(root / name)
                    raise
                if not stat.S_ISREG(status.st_mode):
                    other += 1
                elif not is_text(name):
                    unspeakable += 1
                else:
                    columns.add(name, status.st_size, str(status.st_mtime_ns))
    notes = (
        *count_note(away, "link", "leading outside the dataset (or nowhere) {} left out"),
        *count_note(folders, "folder link", "{} not followed"),
        *count_note(other, "special file", "(a pipe, a socket, a device) {} left out"),
        *count_note(unspeakable, "file", "whose name is not UTF-8 {} left out"),
    )
    return Listing(columns.table(), notes)


@contextlib.contextmanager
def _entries(folder: Path) -> Iterator[Iterator[os.DirEntry[str]]]:
    """A folder's entries, each looked up from there: from the root, all folders above it would be, for each of them."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with os.scandir(handle) as entries:
            yield entries
    finally:
        os.close(handle)


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
    for key in ("ETag", "etag", "md5Hash", "content_hash", "sha256", "LastModified", "mtime", "updated", "created"):
        if info.get(key):
            return str(info[key]).strip('"')
    return ""


def count_note(count: int, noun: str, rest: str) -> tuple[str, ...]:
    """A note of how many there were, if there were any."""
    if not count:
        return ()
    return (f"{count:,} {noun}{'' if count == 1 else 's'} {rest.format('was' if count == 1 else 'were')}",)
