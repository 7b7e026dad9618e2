"""What is there: the files of a dataset as a table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from scaledproc.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from scaledproc.storage import Store


@dataclass(frozen=True)
class Inventory:
    """The files of a dataset.

    Parameters
    ----------
    files
        Columns path (relative to the root), size (bytes), version; in no particular order.
    notes
        What was left out, for a person.
    """

    files: pa.Table
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        import pyarrow.compute as pc

        return int(pc.sum(self.files["size"]).as_py() or 0)


def take_inventory(
    dataset: Store, *, include: Sequence[str] = (), exclude: Sequence[str] = (), skip: str | None = None
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

    Raises
    ------
    ScaledprocError
        The dataset does not exist or cannot be listed.
    """
    listing = dataset.listing()
    return choose(Inventory(listing.table, listing.notes), include=include, exclude=exclude, skip=skip)


def choose(
    inventory: Inventory, *, include: Sequence[str] = (), exclude: Sequence[str] = (), skip: str | None = None
) -> Inventory:
    """What `take_inventory` would leave of an inventory; the parameters are its own."""
    import pyarrow.compute as pc

    files = inventory.files
    if skip:
        files = files.filter(pc.invert(pc.starts_with(files["path"], skip.rstrip("/") + "/")))
    if include:
        files = files.filter(matches(files["path"], include))
    if exclude:
        files = files.filter(pc.invert(matches(files["path"], exclude)))
    return Inventory(files, inventory.notes)


def matches(paths: pa.ChunkedArray, globs: Sequence[str]) -> pa.ChunkedArray:
    """Which paths any of the globs matches.

    `*` and `?` stand for what is within one name, `**` also for folders; a glob without `/` is matched against the
    last name of a path, one with `/` against the whole; one that ends in `/` stands for all below that folder.

    Raises
    ------
    UsageError
        A glob cannot be read.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    # `*.hea` is what is asked for most, and no expression is needed for it; nor for what nothing ends like.
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
