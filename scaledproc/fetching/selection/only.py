"""`--only`: the records, folders or subjects that a file lists, and which files of a dataset are theirs."""

from __future__ import annotations

import csv
import gzip
import io
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from scaledproc.errors import UsageError
from scaledproc.fetching.selection.headers import HEADER, Headers, read_headers
from scaledproc.fetching.selection.subset import Choice, Item, folder_of, group_of, pick, stems, unit_folders
from scaledproc.planning.inventory import matches
from scaledproc.storage.store import Store, describe

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN_NAMES = 10
LARGEST = 256 * 1024 * 1024
"""Bytes of a list; a longer file is something else."""

_SUBJECT = re.compile(r"p(?P<number>[0-9]{6,})", re.ASCII)
_SEGMENT = re.compile(r"(?P<record>.*[^/])_[0-9]{4}", re.ASCII)
_FLOAT = re.compile(r"[0-9]+\.0+", re.ASCII)


@dataclass(frozen=True)
class Selection:
    """What a list names.

    Parameters
    ----------
    source
        The file that has the list, as a person named it.
    names
        Each name once, in the list's order, without slashes at its ends.
    heading
        The first of them, where it may be the heading of a table's only column: nobody misses it.
    """

    source: str
    names: tuple[str, ...]
    heading: str | None = None
    _wanted: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_wanted", frozenset(self.names))

    @classmethod
    def read(cls, source: str | os.PathLike[str]) -> Selection:
        """The names that a local file lists: one a line, or a column of a CSV file.

        Parameters
        ----------
        source
            `FILE`, or `FILE:COLUMN` for a column of a CSV file with several. In a text file, empty lines and lines
            that begin with `#` are passed over.

        Raises
        ------
        UsageError
            If the file cannot be read, names nothing, or has several columns of which none (or none that is there) was
            named.
        """
        text, column = os.fspath(source), None
        path = Path(text).expanduser()
        if not path.is_file() and ":" in text:
            before, _, column = text.rpartition(":")
            path = Path(before).expanduser()
        try:
            if path.stat().st_size > LARGEST:
                raise ValueError("the file is too large for a list of names")
            content = _text_of(path)
        except UnicodeDecodeError:
            raise UsageError(f"--only {text}: the file is no UTF-8 text") from None
        except FileNotFoundError:
            raise UsageError(f"--only {text}: there is no such file; give one that lists names") from None
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise UsageError(f"--only {text}: {describe(error)}") from None
        is_table = column is not None or path.name.lower().removesuffix(".gz").endswith((".csv", ".tsv"))
        found = _column(text, path, content, column) if is_table else _lines(content)
        names = tuple(dict.fromkeys(name for entry in found if (name := _normal(entry))))
        heading = names[0] if names and is_table and column is None else None
        if not names or names == (heading,):
            raise UsageError(f"--only {text}: the file names nothing")
        return cls(text, names, heading)

    def of_folder(self, folder: str) -> frozenset[str]:
        """The names by which a folder, and all below it, is wanted; none where it is not."""
        return self._of_parts(folder.split("/")) if folder else frozenset()

    def of_file(self, path: str) -> frozenset[str]:
        """The names by which a file is wanted, for what it is called: as one of a record's files."""
        found = set()
        for stem in stems(path):
            segment = _SEGMENT.fullmatch(stem)
            for record in (stem, segment["record"]) if segment else (stem,):
                found |= {name for name in _endings(record.split("/")) if name in self._wanted}
        return frozenset(found)

    def _of_parts(self, parts: list[str]) -> frozenset[str]:
        found = set()
        for stop in range(1, len(parts) + 1):
            found |= {name for name in _endings(parts[:stop]) if name in self._wanted}
            subject = _SUBJECT.fullmatch(parts[stop - 1])
            if subject:
                found |= {name for name in (str(int(subject["number"])), subject["number"]) if name in self._wanted}
        return frozenset(found)


class Selected:
    """Finds the files of a selection among the paths of a dataset, and notes which names it found.

    Parameters
    ----------
    selection
        What is wanted.
    """

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        self.found: set[str] = set()
        self._folders: dict[str, bool] = {}
        self._files: set[str] = set()
        self._records: set[str] = set()

    def wants(self, path: str) -> bool:
        """Whether a file is wanted: for a folder that it lies in, for its own name, or as a wanted header names it."""
        return (
            self.wants_folder(path.rpartition("/")[0])
            or self._notes(path)
            or path in self._files
            or any(record in self._records for record in stems(path))
        )

    def wants_folder(self, folder: str) -> bool:
        """Whether all below a folder is wanted."""
        known = self._folders.get(folder)
        if known is None:
            names = self.selection.of_folder(folder)
            self.found |= names
            known = self._folders[folder] = bool(names)
        return known

    def follow(self, paths: Iterable[str], read: Headers, *, into_segments: bool) -> None:
        """Want also what the headers of wanted records name: segments, which have names of their own, and files.

        Parameters
        ----------
        paths
            Of the dataset.
        read
            Reads headers. Asked only for those of records that are wanted by name, in folders that are not.
        into_segments
            Whether to read the segments' headers too, for signal files that are not called as their segment is.
        """
        headers = [
            path
            for path in paths
            if path.endswith(HEADER) and not self.wants_folder(path.rpartition("/")[0]) and self._notes(path)
        ]
        seen: set[str] = set()
        while headers:
            seen.update(headers)
            inner: list[str] = []
            for header, (segments, files) in zip(headers, read(headers), strict=True):
                folder, slash, _ = header.rpartition("/")
                self._records.update(f"{folder}{slash}{name}" for name in segments)
                self._files.update(f"{folder}{slash}{name}" for name in files)
                inner += [f"{folder}{slash}{name}{HEADER}" for name in segments]
            headers = [header for header in dict.fromkeys(inner) if header not in seen] if into_segments else []

    @property
    def missing(self) -> list[str]:
        """The names that no path was found for, in the list's order."""
        return [name for name in self.selection.names if name not in self.found and name != self.selection.heading]

    @property
    def named(self) -> frozenset[str]:
        """The signal files that the headers of wanted records name."""
        return frozenset(self._files)

    def missing_text(self, where: str) -> str | None:
        """What of the list is not there, for a person; None where all is."""
        missing = self.missing
        if not missing:
            return None
        shown = ", ".join(missing[:SHOWN_NAMES]) + (", …" if len(missing) > SHOWN_NAMES else "")
        total = len(self.selection.names) - (self.selection.heading not in (None, *self.found))
        return f"{len(missing):,} of {total:,} names in {self.selection.source} are not in {where}: {shown}"

    def _notes(self, path: str) -> bool:
        names = self.selection.of_file(path)
        self.found |= names
        return bool(names)


def follow_headers(selected: Selected, store: Store, paths: pa.ChunkedArray) -> None:
    """Want also what the headers of wanted records name, as `Selected.follow` does it.

    Parameters
    ----------
    selected
        What is wanted.
    store
        The dataset, of which headers are read.
    paths
        Those of its files.
    """
    headers = paths.filter(matches(paths, [f"*{HEADER}"]))
    selected.follow(headers.to_pylist(), partial(read_headers, store), into_segments=False)


def _text_of(path: Path) -> str:
    content = path.read_bytes()
    if content.startswith(b"\x1f\x8b"):  # as MIMIC's tables come
        with gzip.open(path) as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ValueError("the file is too large for a list of names")
    return content.decode("utf-8-sig")


def _lines(content: str) -> Iterator[str]:
    return (line for line in content.splitlines() if not line.lstrip().startswith("#"))


def _column(source: str, path: Path, content: str, column: str | None) -> list[str]:
    """A column of a CSV file; its only one where none is named, with what may be its heading."""
    first = content.partition("\n")[0]
    delimiter = (
        "\t"
        if path.name.lower().removesuffix(".gz").endswith(".tsv")
        else ";"
        if ";" in first and "," not in first
        else ","
    )
    try:
        rows = [row for row in csv.reader(io.StringIO(content), delimiter=delimiter) if row]
    except csv.Error as error:
        raise UsageError(f"--only {source}: the file is no CSV: {error}") from None
    header = [name.strip() for name in rows[0]] if rows else []
    if column is None and len(header) > 1:
        raise UsageError(f"--only {source}: which column? Give --only {source}:COLUMN, with one of {', '.join(header)}")
    alike = [name for name in header if column is not None and name.casefold() == column.casefold()]
    if column not in header and len(alike) == 1:  # MIMIC-III has SUBJECT_ID, MIMIC-IV subject_id
        column = alike[0]
    if column is not None and column not in header:
        raise UsageError(f"--only {source}: the file has no column {column!r}, but {', '.join(header) or 'none'}")
    if column is not None and header.count(column) > 1:
        raise UsageError(
            f"--only {source}: the file has {header.count(column)} columns {column!r}: which one is meant is not known"
        )
    place = header.index(column) if column is not None else 0
    cells = [row[place] for row in rows[column is not None :] if place < len(row)]
    # What pandas makes of a column of numbers with gaps.
    return [cell.partition(".")[0] if _FLOAT.fullmatch(cell.strip()) else cell for cell in cells]


def _normal(name: str) -> str:
    return name.strip().removeprefix("./").strip("/").removesuffix(HEADER)


def _endings(parts: list[str]) -> Iterator[str]:
    """A path, without more and more of its first folders."""
    return ("/".join(parts[start:]) for start in range(len(parts)))


def choose_files(paths: Sequence[str], choice: Choice, read: Headers) -> list[str]:
    """Those of a dataset's files that are wanted, where no list tells which records there are.

    A record is then a folder that holds files and no folder that does.

    Parameters
    ----------
    paths
        All that there are.
    choice
        What is wanted; its globs are not looked at.
    read
        Reads headers.
    """
    chosen = [path for path in paths if choice.has_group(group_of(path))]
    if choice.only is not None:
        selected = Selected(choice.only)
        selected.follow(chosen, read, into_segments=True)
        chosen = [path for path in chosen if selected.wants(path)]
    if choice.counts:
        folders = {record.folder for record in pick(unit_folders(chosen), choice)}
        chosen = [path for path in chosen if folder_of(path) in folders]
    return chosen


def matching(items: list[Item], choice: Choice) -> list[Item]:
    """The files that the choice's globs include and do not exclude."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pa.chunked_array([pa.array([True] * len(items), pa.bool_())])
    paths = pa.chunked_array([pa.array([item.path for item in items], pa.large_string())])
    if choice.include:
        wanted = pc.and_(wanted, matches(paths, choice.include))
    if choice.exclude:
        wanted = pc.and_not(wanted, matches(paths, choice.exclude))
    return [item for item, is_wanted in zip(items, wanted.to_pylist(), strict=True) if is_wanted]
