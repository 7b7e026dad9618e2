"""Which part of a dataset to fetch: plain decisions over paths."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from scaledproc.errors import UsageError

if TYPE_CHECKING:
    from scaledproc.fetching.selection.only import Selection

SHOWN_GROUPS = 10
NUMERICS = "n.csv.gz"
"""What follows a record's name in that of its file of numerics, in MIMIC-IV."""
_RANGE = re.compile(r"(?P<prefix>.*?)(?P<first>[0-9]+)-(?P=prefix)?(?P<last>[0-9]+)")


@dataclass(frozen=True)
class Choice:
    """What of a dataset is wanted.

    Parameters
    ----------
    groups
        Top folders, such as `30-39` or `30,32,p00-p09`; all where it is None.
    records
        At most so many records (or unit folders) of each group.
    limit
        At most so many altogether.
    include, exclude
        Globs over the paths, as of `scaledproc plan`.
    only
        The records, folders or subjects that a list names.
    hidden
        Whether a folder's files count too whose path has a name that begins with a dot. What a database lists is its.
    """

    groups: str | None = None
    records: int | None = None
    limit: int | None = None
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    only: Selection | None = None
    hidden: bool = False

    @property
    def counts(self) -> bool:
        """Whether only some records of a group are wanted."""
        return self.records is not None or self.limit is not None

    @property
    def is_all(self) -> bool:
        """Whether no folder is left out."""
        return self.groups is None and not self.counts and self.only is None

    @property
    def is_narrowed(self) -> bool:
        """Whether any file may be left out that is not hidden."""
        return bool(self.include or self.exclude) or not self.is_all

    def has_group(self, group: str) -> bool:
        """Whether a top folder is wanted (`.` for what lies directly under the root)."""
        return self.groups is None or any(_names(part, group) for part in parts(self.groups))

    def check_groups(self, there: Collection[str]) -> None:
        """Refuse a group that is not there.

        Raises
        ------
        UsageError
            If a part of `groups` names none of the folders that are there.
        """
        for part in parts(self.groups) if self.groups is not None else ():
            if not any(_names(part, group) for group in there):
                names = sorted(there)
                more = f" and {len(names) - SHOWN_GROUPS:,} more" if len(names) > SHOWN_GROUPS else ""
                raise UsageError(
                    f"--groups {part}: there is no such top folder; there are {', '.join(names[:SHOWN_GROUPS])}{more}"
                )


class Record(NamedTuple):
    """What `--records` counts: a folder with all below it, or the files of one name in a folder."""

    folder: str
    """Relative to the root; empty for the root itself."""
    stem: str = ""
    """The record's name in the folder; empty for all files there."""

    @property
    def group(self) -> str:
        """The top folder."""
        return self.folder.partition("/")[0] or "."

    @property
    def path(self) -> str:
        """The record as a RECORDS file names it."""
        return f"{self.folder}/{self.stem}" if self.folder and self.stem else self.stem or f"{self.folder}/"


class Item(NamedTuple):
    """A file that is wanted."""

    path: str
    """Relative to the root."""
    size: int | None = None
    """Bytes; None where nobody said yet."""
    sha256: str | None = None
    """Its checksum, where there is a list of them."""
    version: str = ""
    """Changes when the content does, where the source tells."""


def pick(
    records: Iterable[Record], choice: Choice, within: Callable[[Record], Iterable[Record]] = lambda record: [record]
) -> list[Record]:
    """Those records, in their order, that are wanted.

    Parameters
    ----------
    records
        What there is.
    choice
        What is wanted.
    within
        The records, in the same group, that a listed one really stands for; only read while more are wanted.
    """
    picked: list[Record] = []
    taken: Counter[str] = Counter()

    def is_full(record: Record) -> bool:
        return len(picked) == choice.limit or taken[record.group] == choice.records

    for listed in records:
        if choice.has_group(listed.group) and not is_full(listed):
            for record in within(listed):
                taken[record.group] += 1
                picked.append(record)
                if is_full(record):
                    break
    return picked


def group_of(path: str) -> str:
    """The top folder of a file."""
    return path.partition("/")[0] if "/" in path else "."


def folder_of(path: str) -> str:
    """The folder of a file; empty for the root."""
    return path.rpartition("/")[0]


def above(path: str) -> Iterable[str]:
    """The folders that a file lies in, from its own upwards, without the root."""
    while path := folder_of(path):
        yield path


def stems(path: str) -> Iterator[str]:
    """The records that a file can belong to, by its name: what stands before one of its dots.

    The numerics of MIMIC-IV are called after their record too: `81739927n.csv.gz`.
    """
    if path.endswith(NUMERICS):
        yield path.removesuffix(NUMERICS)
    start = path.rfind("/") + 1
    at = path.find(".", start + 1)
    while at > 0:
        yield path[:at]
        at = path.find(".", at + 1)


def unit_folders(paths: Iterable[str]) -> list[Record]:
    """The folders that hold files and no folder that does, sorted: what is a record where no list says so.

    A list or a note in a folder above them is no record.
    """
    folders = {folder_of(path) for path in paths}
    parents = {parent for folder in folders for parent in above(folder)} | ({""} if folders - {""} else set())
    return sorted(Record(folder) for folder in folders - parents)


def is_plain(name: str) -> bool:
    """Whether a name from elsewhere may be shown on a terminal."""
    return name.isprintable()


def parts(groups: str) -> list[str]:
    """The parts of `--groups`, between commas; one is empty where nothing stands there."""
    return [part.strip().rstrip("/") for part in groups.split(",")]


def _names(part: str, group: str) -> bool:
    """Whether one part of `--groups` means a group."""
    if part == group:
        return True
    found = _RANGE.fullmatch(part)
    if found is None or not group.startswith(found["prefix"]):
        return False
    number = group.removeprefix(found["prefix"])
    if not (number.isascii() and number.isdigit()):
        return False
    same_width = len(found["first"]) == len(found["last"])
    return int(found["first"]) <= int(number) <= int(found["last"]) and (
        not same_width or len(number) == len(found["first"])
    )
