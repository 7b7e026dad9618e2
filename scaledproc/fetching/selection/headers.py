"""What the headers of WFDB records name: the headers of their segments, and signal files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from scaledproc.fetching.selection.database_lists import is_list

if TYPE_CHECKING:
    from scaledproc.storage.store import Store

HEADER = ".hea"
"""What the name of a header ends with."""
LARGEST_HEADER = 16 * 1024 * 1024
READERS = 16
"""Headers that are read at once."""

Headers = Callable[[Sequence[str]], Iterable[tuple[Sequence[str], Sequence[str]]]]
"""Reads headers: of each, the names of its segments and those of its signal files, as they stand in its folder."""


def names_in(header: str) -> tuple[list[str], list[str]]:
    """The segments and the signal files that a header names; leniently, as nothing is computed from them."""
    lines = [line.split("#")[0].split() for line in header.splitlines()] if is_list(header) else []
    lines = [words for words in lines if words]
    if not lines:
        return [], []
    names = list(dict.fromkeys(words[0] for words in lines[1:] if words[0] != "~"))
    return (names, []) if "/" in lines[0][0] else ([], names)


def read_headers(store: Store, headers: Sequence[str]) -> list[tuple[list[str], list[str]]]:
    """The segments and the signal files that headers in a store name; none of headers that are gone."""

    def read(header: str) -> tuple[list[str], list[str]]:
        try:
            return names_in(store.read(header, LARGEST_HEADER).decode("utf-8", "replace"))
        except FileNotFoundError:
            return [], []

    with ThreadPoolExecutor(READERS, thread_name_prefix="headers") as pool:
        return list(pool.map(read, headers))
