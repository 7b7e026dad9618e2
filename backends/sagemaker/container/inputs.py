"""Where the service put the files of a manifest.

AWS does not document where below an input's LocalPath the objects of a manifest land. Users report three places: the
path relative to the manifest's prefix, the whole key (https://github.com/aws/sagemaker-python-sdk/issues/723), and the
last part of the key. So it is looked which of them holds a job's files.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from scaledproc.errors import ScaledprocError

SHOWN = 5
TREE = ".scaledproc"
"""Below a mount: the files of one that had them all in one folder, each at its path."""


class MissingInputError(ScaledprocError):
    """The service copied none of a job's files to where they could be. Another try would copy the same again."""


def input_root(mounted: Path, uri: str, names: Sequence[str], *, is_share: bool = False) -> Path:
    """The folder in which the files of a dataset have their relative paths, after the service copied them.

    Parameters
    ----------
    mounted
        The input's LocalPath.
    uri
        The dataset's URL: the prefix of the manifest.
    names
        The files that the job was to get, relative to the dataset.
    is_share
        Whether this machine got some of them only, which may be none.

    Raises
    ------
    MissingInputError
        If none of the files is in any of the places, or several of them have one place.
    """
    key = uri.partition("://")[2].partition("/")[2].strip("/")
    by_key = mounted / key if key else mounted
    if not names:
        return mounted
    counts = {"relative": _count(mounted, names)}
    if counts["relative"] < len(names):
        bases = [os.path.basename(name) for name in names]  # noqa: PTH119 - of many thousand names
        counts |= {"key": _count(by_key, names), "flat": _count(mounted, bases)}
    best = max(counts, key=lambda each: counts[each])  # the first of those with as many
    if not counts[best]:
        if is_share and not _entries(mounted):
            return mounted
        raise MissingInputError(_nothing(mounted, by_key, names))
    if best == "flat":
        return _put_in_order(mounted, names)
    return mounted if best == "relative" else by_key


def _count(folder: Path, names: Sequence[str]) -> int:
    """How many of the files are there."""
    where = str(folder)
    return sum(os.path.isfile(f"{where}/{name}") for name in names)  # noqa: PTH113 - of many thousand names


def _put_in_order(mounted: Path, names: Sequence[str]) -> Path:
    """Give files that lie in one folder their paths; the folder with these."""
    bases = Counter(name.rpartition("/")[2] for name in names)
    twice = next((base for base, count in bases.items() if count > 1), None)
    if twice is not None:
        same = [name for name in names if name.rpartition("/")[2] == twice]
        raise MissingInputError(
            f"the service put all files into one folder, {mounted}, so that {same[0]} and {same[1]} have one place: "
            "give --input-mode stage, or a choice of whole folders, which needs no manifest"
        )
    root = mounted / TREE
    try:
        for name in names:
            source = mounted / name.rpartition("/")[2]
            if source.is_file():
                target = root / name
                target.parent.mkdir(parents=True, exist_ok=True)
                source.rename(target)
    except OSError as error:
        raise MissingInputError(
            f"the service put all files into one folder, {mounted}, and they cannot be moved from there "
            f"({error.strerror or error}): give --input-mode stage"
        ) from None
    return root


def _nothing(mounted: Path, by_key: Path, names: Sequence[str]) -> str:
    """What was looked for, and what there is."""
    first = names[0]
    places = dict.fromkeys((f"{mounted}/{first}", f"{by_key}/{first}", f"{mounted}/{first.rpartition('/')[2]}"))
    seen = _entries(mounted)
    rest = ", …" if len(seen) > SHOWN else ""
    there = f"there are {', '.join(seen[:SHOWN])}{rest}" if seen else "there is nothing"
    return (
        f"the service copied none of the job's {len(names):,} files to where they could be: no {' nor '.join(places)}; "
        f"below {mounted} {there}"
    )


def _entries(folder: Path) -> list[str]:
    """The first files below a folder, or its folders where these are empty."""
    found: list[str] = []
    for where, folders, files in os.walk(folder):
        folders.sort()
        relative = Path(where).relative_to(folder)
        found += [(relative / name).as_posix() for name in sorted(files)]
        if len(found) > SHOWN:
            break
    return found
