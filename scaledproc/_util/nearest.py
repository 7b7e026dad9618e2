"""What a misspelt name was meant to be: the nearest of those that there are. Imported where something is not there."""

from __future__ import annotations

import os
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice
from os.path import exists, isdir
from pathlib import Path

LOOKED_AT = 20_000
"""Entries of a folder, or paths, of which no more are compared."""


def known_text(word: str, known: Iterable[str]) -> str:
    """`; is 'local' meant? There are: dry-run, local`, where a known name is near; else what there is."""
    names = list(known)
    folded = {name.casefold(): name for name in names}
    near = get_close_matches(word.casefold(), folded, n=1, cutoff=0.7)
    if near and len(names) == 1:
        return f"; is {names[0]!r} meant?"
    there = f"here are: {', '.join(names)}" if names else ""
    return f"; is {folded[near[0]]!r} meant? T{there}" if near else f"; t{there}" if there else ""


def nearest_paths(word: str, paths: Iterable[str], n: int) -> list[str]:
    """The paths that are most like a word, by their folders and names or by one of these; the first ones where none is.

    Parameters
    ----------
    word
        What was written.
    paths
        What there is, with `/` between folders.
    n
        How many are wanted.
    """
    looked_at = list(islice(paths, LOOKED_AT))
    folded: dict[str, str] = {}
    for path in looked_at:
        folder, _, name = path.rpartition("/")
        stem = name.partition(".")[0]
        for part in (path, f"{folder}/{stem}", name, stem, folder):
            folded.setdefault(part.casefold(), path)
    near = get_close_matches(word.casefold(), folded, n=n, cutoff=0.6)
    return list(dict.fromkeys(folded[each] for each in near)) or looked_at[:n]


def meant_path(path: Path) -> str:
    """`; is PATH meant?` for a path that is not there, where the folder that should have it has nearly that name.

    What cannot be looked at, such as a closed folder, is not meant.
    """
    for folder in path.parents:
        if isdir(folder):  # noqa: PTH112 - before Python 3.14 a Path's own raises in a closed folder
            name = path.relative_to(folder).parts[0]
            try:
                with os.scandir(folder) as entries:
                    folded = {entry.name.casefold(): entry.name for entry in islice(entries, LOOKED_AT)}
            except OSError:
                return ""
            rest = path.relative_to(folder / name)
            near = get_close_matches(name.casefold(), folded, n=5, cutoff=0.7)
            found = next(filter(exists, (folder / folded[one] / rest for one in near)), None)
            if found:
                return f"; is {found} meant?"
            return f"; there is no {name!r} in {folder}" if rest.parts else ""
    return ""
