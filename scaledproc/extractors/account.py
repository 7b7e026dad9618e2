"""What an extractor tells a report of its table: plain data, which the report draws.

An extractor that can say more of its rows than their types overrides `Extractor.account`, and `Extractor.traces` where
it can draw from the data itself. What it gives are these few forms, so it needs to know nothing of pages, and every
text of them is shown as text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import ArrayLike

Reading = Callable[[Sequence[str]], "Iterator[pa.Table]"]
"""Reads a run's table: some of its columns, in order and in pieces."""


@dataclass(frozen=True)
class ReadPart:
    """A `Reading` that gives only a part of a very large table.

    Parameters
    ----------
    read
        Reads it.
    share
        Which part of the rows it gives, above 0 and below 1.
    """

    read: Reading
    share: float

    def __call__(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Read some columns."""
        return self.read(columns)


def share_read(read: Reading) -> float:
    """Which part of a table's rows a reading gives: 1 where it is all of them."""
    return read.share if isinstance(read, ReadPart) else 1.0


SERIOUS, DOUBTFUL, SMALL = 3, 2, 1
"""How much a worry weighs: rows are missing or wrong; somebody should look; good to know."""
BINS = 32


@dataclass(frozen=True)
class Histogram:
    """How many values lie between edges.

    Parameters
    ----------
    edges
        One more than there are bins, from the smallest on.
    counts
        Of each bin; what it has of a histogram that was put together from others may be no whole number.
    below, above
        Values beyond the edges.
    """

    edges: tuple[float, ...]
    counts: tuple[float, ...]
    below: float = 0
    above: float = 0


@dataclass(frozen=True)
class Share:
    """A part of a whole, which is shown in percent."""

    part: float
    whole: float


@dataclass(frozen=True)
class Flags:
    """What somebody should look at in a row of a table; nothing where it is empty."""

    texts: tuple[str, ...] = ()


Cell = str | int | float | None | Histogram | Share | Flags
"""What a table of a report may show."""


@dataclass(frozen=True)
class Facts:
    """A table: its heads, and rows with a cell for each of them."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    text: str = ""
    """What the reader should know of it."""


@dataclass(frozen=True)
class Spans:
    """What was when: a line each, with its stretches, in one unit from a common beginning."""

    title: str
    unit: str
    lines: tuple[tuple[str, tuple[tuple[float, float], ...]], ...]
    text: str = ""


@dataclass(frozen=True)
class Matrix:
    """How many of what a line and a column stand for occur together; both have the same names."""

    title: str
    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    text: str = ""


@dataclass(frozen=True)
class Trace:
    """A piece of a signal.

    Parameters
    ----------
    label, units
        What it is, and in what.
    seconds
        Its length.
    values
        At equal distances; None where a sample is missing.
    """

    label: str
    units: str
    seconds: float
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Example:
    """Pieces of signals that were recorded together."""

    title: str
    traces: tuple[Trace, ...]


@dataclass(frozen=True)
class Worry:
    """What somebody should know before the table is used.

    Parameters
    ----------
    weight
        `SERIOUS`, `DOUBTFUL` or `SMALL`.
    text
        A sentence.
    section
        The part of the report that tells more: `data`, `failures`, `time` or `run`.
    """

    weight: int
    text: str
    section: str = "data"


@dataclass(frozen=True)
class Account:
    """What an extractor says of a table."""

    worries: tuple[Worry, ...] = ()
    parts: tuple[Facts | Spans | Matrix, ...] = ()
    about: str = ""
    """Of what rows it is, where not all were read."""


def histogram(values: ArrayLike, low: float, high: float, bins: int = BINS) -> Histogram:
    """The histogram of numbers between two edges, with what lies beyond them counted apart.

    Parameters
    ----------
    values
        Numbers, shape (n,); those that are none are left out.
    low, high
        The first and the last edge. Where they are equal there is one bin, around that value.
    bins
        How many there are else.
    """
    array = np.asarray(values, np.float64)
    array = array[np.isfinite(array)]
    edges = edges_between(low, high, bins)
    counts, _ = np.histogram(array, edges)
    return Histogram(
        tuple(edges.tolist()),
        tuple(counts.tolist()),
        int(np.count_nonzero(array < edges[0])),
        int(np.count_nonzero(array > edges[-1])),
    )


def edges_between(low: float, high: float, bins: int = BINS) -> Any:
    """Edges of equal distance, shape (bins + 1,); of one bin around a value where both are equal."""
    if not low < high:
        around = abs(low) / 2 or 0.5
        return np.array([low - around, low + around])
    edges = np.linspace(low, high, bins + 1)
    edges[-1] = high
    return edges
