"""What is there: the files of a dataset as a table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from scaledproc.errors import UsageError
from scaledproc.storage.listing import count_note, hidden_note

if TYPE_CHECKING:
    import pyarrow as pa

    from scaledproc.storage.store import Store


RUN_FILES = ("run.json", "plan.parquet", "inventory.parquet")
"""What a folder of a run holds from its beginning on."""
AT_ONCE = 500  # folders in one expression


class NoteOfRuns(str):
    """A note that folders of runs were left out: as a person made them so, it warns of nothing."""

    __slots__ = ()


@dataclass(frozen=True)
class Inventory:
    """The files of a dataset.

    Parameters
    ----------
    files
        Columns path (relative to the root), size (bytes), version; in no particular order.
    notes
        What was left out, for a person; of folders of runs as `NoteOfRuns`.
    is_whole
        Whether `choose` left none of the files out that were listed.
    """

    files: pa.Table
    notes: tuple[str, ...] = ()
    is_whole: bool = True

    @property
    def size(self) -> int:
        """Bytes of all files."""
        import pyarrow.compute as pc

        return int(pc.sum(self.files["size"]).as_py() or 0)


def take_inventory(
    dataset: Store,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    skip: str | None = None,
    hidden: bool = False,
) -> Inventory:
    """List a dataset.

    Parameters
    ----------
    dataset
        Where it is.
    include, exclude
        Globs over the relative paths, see `matches`: only what some `include` matches (all, where there is none)
        and no `exclude`.
    skip
        A folder below the root to pass over without a word: the run's own output.
    hidden
        Whether to take files and folders whose names begin with a dot.

    Raises
    ------
    ScaledprocError
        If the dataset does not exist or cannot be listed.
    """
    listing = dataset.listing(hidden=hidden, leaves_out=lambda folder: leaves_out(folder, include, exclude))
    return choose(Inventory(listing.table, listing.notes), include=include, exclude=exclude, skip=skip, hidden=hidden)


def choose(
    inventory: Inventory,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    skip: str | None = None,
    hidden: bool = False,
) -> Inventory:
    """What `take_inventory` would leave of an inventory; the parameters are its own."""
    import pyarrow.compute as pc

    files, notes = inventory.files, list(inventory.notes)
    if skip:
        files = files.filter(pc.invert(pc.starts_with(files["path"], skip.rstrip("/") + "/")))
    if not hidden:
        files, found = without_hidden(files)
        notes += found
    files, found = _without_runs(files)
    notes += found
    if include:
        files = files.filter(matches(files["path"], include))
    if exclude:
        files = files.filter(pc.invert(matches(files["path"], exclude)))
    return Inventory(files, tuple(notes), inventory.is_whole and files.num_rows == inventory.files.num_rows)


def without_hidden(files: pa.Table) -> tuple[pa.Table, tuple[str, ...]]:
    """The files of which no part of the path begins with a dot; and a note of the others."""
    import pyarrow.compute as pc

    is_hidden = pc.or_(pc.match_substring(files["path"], "/."), pc.starts_with(files["path"], "."))
    if not pc.any(is_hidden).as_py():
        return files, ()
    names = pc.replace_substring_regex(files["path"].filter(is_hidden), r"(?s)\A((?:.*?/)??\.[^/]*).*", r"\1").unique()
    return files.filter(pc.invert(is_hidden)), hidden_note(len(names), names[0].as_py())


def _without_runs(files: pa.Table) -> tuple[pa.Table, tuple[str, ...]]:
    """The files that are in no folder of a run, which is known by the three files that say what it is; and a note."""
    import pyarrow.compute as pc

    paths = files["path"]
    folders: pa.Array | None = None
    for name in RUN_FILES:
        found = paths.filter(pc.ends_with(paths, f"/{name}"))
        found = pc.utf8_slice_codeunits(found, 0, -len(name)).combine_chunks()
        folders = found if folders is None else folders.filter(pc.is_in(folders, value_set=found))
        if not len(folders):
            return files, ()
    assert folders is not None
    outermost: list[str] = []
    for folder in sorted(folders.to_pylist()):
        if not (outermost and folder.startswith(outermost[-1])):
            outermost.append(folder)
    for start in range(0, len(outermost), AT_ONCE):
        some = "|".join(map(re.escape, outermost[start : start + AT_ONCE]))
        files = files.filter(pc.invert(pc.match_substring_regex(files["path"], rf"\A(?:{some})")))
    first = (
        f"of earlier runs {{}} left out (the first is {outermost[0].rstrip('/')}); to take its files name it as INPUT"
    )
    return files, tuple(map(NoteOfRuns, count_note(len(outermost), "folder", first)))


def leaves_out(folder: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Whether nothing below a folder is wanted by globs, as of `take_inventory`."""
    return _covers(exclude, folder) or (bool(include) and not any(_may_match_in(glob, folder) for glob in include))


def _covers(globs: Sequence[str], folder: str) -> bool:
    """Whether globs stand for a folder, or for whatever is in it."""
    if not globs:
        return False
    import pyarrow as pa
    import pyarrow.compute as pc

    inside = pa.chunked_array([[folder, f"{folder}/\x01", f"{folder}/\x01/\x01"]], pa.large_string())
    return bool(pc.any(matches(inside, globs)).as_py())


def _may_match_in(glob: str, folder: str) -> bool:
    """Whether a glob may match something below a folder."""
    parts = glob.removeprefix("/").split("/")
    if len(parts) == 1:  # matched against the last name
        return True
    for part, name in zip(parts[:-1], folder.split("/"), strict=False):
        if "**" in part:
            return True
        if not re.fullmatch(_to_regex(part).removeprefix(r"(?s)(?:\A|/)").removesuffix(r"\z"), name, re.DOTALL):
            return False
    return "**" in glob or glob.endswith("/") or len(parts) > len(folder.split("/"))


def matches(paths: pa.ChunkedArray, globs: Sequence[str]) -> pa.ChunkedArray:
    """Which paths any of the globs matches.

    `*` and `?` stand for what is within one name, `**` also for folders; a glob without `/` is matched against the
    last name of a path, one with `/` against the whole; one that ends in `/` stands for all below that folder.

    Raises
    ------
    UsageError
        If a glob's brackets make no pattern that a file could match.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    # An ending is what is asked for most, and no expression is needed for it; nor for what nothing ends like.
    endings = [glob[1:] for glob in globs if _ENDING.fullmatch(glob)]
    found = [pc.ends_with(paths, ending) for ending in endings]
    rest = [
        glob
        for glob in globs
        if not _ENDING.fullmatch(glob) and not (found and _ends_nothing(paths, _LITERAL_END.search(glob)))
    ]
    try:
        if rest or not found:
            found.append(pc.match_substring_regex(paths, "|".join(f"(?:{_to_regex(glob)})" for glob in rest)))
        return reduce(pc.or_, found)
    except pa.ArrowInvalid:
        raise UsageError(f"no file can match the glob {' or '.join(map(repr, globs))}: look at its [ and ]") from None


def globs_of(paths: pa.ChunkedArray, globs: Sequence[str]) -> list[str]:
    """Those of the globs that some path matches."""
    import pyarrow.compute as pc

    return [glob for glob in globs if pc.any(matches(paths, [glob]), min_count=0).as_py()]


def _ends_nothing(paths: pa.ChunkedArray, end: re.Match[str] | None) -> bool:
    """Whether no path has the end that a glob asks for."""
    import pyarrow.compute as pc

    return end is not None and not pc.any(pc.ends_with(paths, end[0])).as_py()


_ENDING = re.compile(r"\*[^*?\[\]/]*")
_LITERAL_END = re.compile(r"(?<=[*?\]])[^*?\[\]/]+\Z")
_GLOB_PART = re.compile(r"\*\*/|\*\*|\*|\?|\[!?[^\]/]+\]|.", re.DOTALL)
_GLOB_TO_REGEX = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def _to_regex(glob: str) -> str:
    """RE2 for a glob (the standard library's translation uses what RE2 has not)."""
    if glob.endswith("/"):
        glob += "**"
    start = r"\A" if "/" in glob else r"(?:\A|/)"
    body = "".join(_GLOB_TO_REGEX.get(part) or _literal(part) for part in _GLOB_PART.findall(glob.removeprefix("/")))
    return rf"(?s){start}{body}\z"


def _literal(part: str) -> str:
    if len(part) > 1:  # a character class
        return part.replace("\\", r"\\").replace("[!", "[^", 1)
    return re.escape(part)
