"""What is measured of windows: of few of them as rows, one by one; of many as columns, which take far less time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scaledproc.extractors.wfdb.windows.measures.feature_columns import (
    NO_COUNT,
    Codings,
    are_exact,
    counts_of_many,
    values_of_many,
)
from scaledproc.extractors.wfdb.windows.measures.features import COUNTS, VALUES, Timing, counts_of, values_of
from scaledproc.extractors.wfdb.windows.measures.fields import Integers, N

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scaledproc.extractors.wfdb.signals.statistics import Coding

Measured = tuple[int | float | None, ...]
"""Of a window: `COUNTS`, `VALUES`, what its spectrum tells, and what its beats tell, in the order of the columns."""
NO_VALUES: Measured = (None,) * len(VALUES)
"""`VALUES` of a window of which too little is valid."""


class Counted(NamedTuple):
    """Windows of a signal, with what floats are made of.

    Parameters
    ----------
    numbers
        Of the windows, ascending.
    n_samples
        How many samples each has.
    integers
        Those of the windows.
    is_enough
        Of which windows more than the counts is told.
    coding
        What samples mean.
    fs
        Samples per second.
    spectra
        What each spectrum tells, as `Welch.spectra` does, shape (windows, columns).
    beats
        What the beats of each window tell, how many they are first, shape (windows, columns); NaN where that is
        nothing.
    """

    numbers: Sequence[int]
    n_samples: Sequence[int]
    integers: Integers
    is_enough: Sequence[bool]
    coding: Coding
    fs: float
    spectra: NDArray[np.float32]
    beats: NDArray[np.float64]

    def rows(self) -> list[Measured]:
        """What is measured of each window."""
        coding, timing = self.coding, Timing(self.fs)
        return [
            (
                *counts_of(row, n, coding),
                *(values_of(row, coding, timing) if is_enough else NO_VALUES),
                *[None if value != value else value for value in spectrum],  # NaN is null
                *[None if value != value else int(value) for value in beats[:1]],
                *[None if value != value else value for value in beats[1:]],
            )
            for row, n, is_enough, spectrum, beats in zip(
                self.integers.rows(),
                self.n_samples,
                self.is_enough,
                self.spectra.tolist(),
                self.beats.tolist(),
                strict=True,
            )
        ]

    def with_valid(self) -> Counted:
        """Those that have a valid sample."""
        has = self.integers.table[:, N] > 0
        if has.all():
            return self
        there = has.nonzero()[0].tolist()
        exact = self.integers.exact
        return Counted(
            [self.numbers[i] for i in there],
            [self.n_samples[i] for i in there],
            Integers(self.integers.table[has], {to: exact[i] for to, i in enumerate(there) if i in exact}),
            [self.is_enough[i] for i in there],
            self.coding,
            self.fs,
            self.spectra[has],
            self.beats[has],
        )


class Listed(NamedTuple):
    """Windows of a signal of which all is measured already: their numbers, ascending, and what is measured of each."""

    numbers: Sequence[int]
    measured: Sequence[Measured]

    def rows(self) -> Sequence[Measured]:
        """What is measured of each window."""
        return self.measured


Told = Counted | Listed
Batch = Sequence[tuple[int, Told]]
"""What is told of windows that follow each other, by the places of their signals, which ascend."""
CountedBatch = Sequence[tuple[int, Counted]]
"""The same of signals whose samples are counted."""


class ToldColumns(NamedTuple):
    """What is measured of windows, in the order of `Measured`.

    Parameters
    ----------
    counts
        `COUNTS`, shape (counts, windows); `NO_COUNT` where null.
    values
        `VALUES`, shape (values, windows); NaN where null.
    spectra
        What spectra tell, shape (columns, windows); NaN where null.
    beats
        What the beats of each window tell, shape (columns, windows); NaN where null.
    """

    counts: NDArray[np.int64]
    values: NDArray[np.float64]
    spectra: NDArray[np.float32]
    beats: NDArray[np.float64]


def columns_of(told: Sequence[Told], n_spectra: int) -> ToldColumns:
    """What is told of signals as columns, of which so many are of spectra."""
    counted = [each for each in told if isinstance(each, Counted)]
    if len(counted) < len(told):
        return _columns_of_rows([row for each in told for row in each.rows()], n_spectra)
    table = np.concatenate([each.integers.table for each in counted])
    lengths = [len(each.numbers) for each in counted]
    codings = Codings.of([each.coding for each in counted], [each.fs for each in counted], lengths)
    is_enough = np.array([is_enough for each in counted for is_enough in each.is_enough], bool)
    is_quick = is_enough & are_exact(table, codings)
    values = np.full((len(VALUES), len(table)), np.nan)
    begin = 0
    for each, length in zip(counted, lengths, strict=True):
        own = slice(begin, begin + length)
        is_quick[own][list(each.integers.exact)] = False
        for place in (is_enough[own] & ~is_quick[own]).nonzero()[0].tolist():
            row = each.integers.exact.get(place) or table[begin + place].tolist()
            values[:, begin + place] = values_of(row, each.coding, Timing(each.fs))
        begin += length
    quick = is_quick.nonzero()[0]
    values[:, quick] = values_of_many(table[quick], codings.gain[quick], codings.baseline[quick], codings.fs[quick])
    spectra = np.concatenate([each.spectra for each in counted])
    return ToldColumns(
        counts_of_many(table, [n for each in counted for n in each.n_samples], codings),
        values,
        spectra.T,
        np.concatenate([each.beats for each in counted]).T,
    )


def _columns_of_rows(rows: Sequence[Measured], n_spectra: int) -> ToldColumns:
    behind = len(COUNTS) + len(VALUES) + n_spectra
    counts = [[NO_COUNT if count is None else count for count in row[: len(COUNTS)]] for row in rows]
    return ToldColumns(
        np.array(counts, np.int64).T,
        np.array([row[len(COUNTS) : behind - n_spectra] for row in rows], np.float64).T,
        np.array([row[behind - n_spectra : behind] for row in rows], np.float32).T,
        np.array([row[behind:] for row in rows], np.float64).T,
    )
