"""What the headers of WFDB records name: the headers of their segments, and signal files."""

from __future__ import annotations

import re
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
    """The segments and the signal files that a header names; leniently, as nothing is computed from them.

    Of more lines than the first one says that there are, those beyond are not read, as header(5) has it.
    """
    lines = [line.split() for line in _LINE_ENDS.split(header)] if is_list(header) else []
    lines = [words for words in lines if words and not words[0].startswith("#")]
    if not lines:
        return [], []
    name, *rest = lines[0]
    _, is_master, segments = name.partition("/")
    count = _count(segments if is_master else "".join(rest[:1]))
    read = lines[1:] if count is None else lines[1 : 1 + count]
    names = list(dict.fromkeys(words[0] for words in read if words[0] != "~"))
    return (names, []) if is_master else ([], names)


_LINE_ENDS = re.compile(r"\r\n|\r|\n")


def _count(text: str) -> int | None:
    """A whole number, which may be written as `2.0`; None where it is none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if number.is_integer() and number >= 0 else None


def read_headers(store: Store, headers: Sequence[str]) -> list[tuple[list[str], list[str]]]:
    """The segments and the signal files that headers in a store name; none of headers that are gone."""

    def read(header: str) -> tuple[list[str], list[str]]:
        try:
            return names_in(store.read(header, LARGEST_HEADER).decode("utf-8", "replace"))
        except FileNotFoundError:
            return [], []

    with ThreadPoolExecutor(READERS, thread_name_prefix="headers") as pool:
        return list(pool.map(read, headers))
