"""Windows of MIMIC-IV's numerics, whose values come at irregular times: each counts alike, however long it stood."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scaledproc.extractors.wfdb.numerics import (
    MOST_VALUES,
    name_and_units,
    note_of_absent,
    number_of,
    numerics_pieces,
)
from scaledproc.extractors.wfdb.signals.statistics import Coding
from scaledproc.extractors.wfdb.windows.measures.features import Timing, counts_of, values_of
from scaledproc.extractors.wfdb.windows.measures.fields import LONGEST, Coded, N, exact_row, table_of
from scaledproc.extractors.wfdb.windows.measures.told import Listed
from scaledproc.extractors.wfdb.windows.streams import NOTHING

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scaledproc.extractors.wfdb.windows.grid import Grid
    from scaledproc.extractors.wfdb.windows.measures.told import Batch, Measured
    from scaledproc.extractors.wfdb.windows.streams import Measures

_FAR = 2**62
_TOGETHER = 256
"""Windows that are given at once."""


class Series(NamedTuple):
    """A signal of numerics.

    Parameters
    ----------
    name, units
        As the column's heading has them.
    lines
        Which lines of the file, in the order of time, have a value.
    values
        Times `scale`, whole numbers.
    scale
        What makes whole numbers of them all.
    note
        What of it could not be understood.
    """

    name: str | None
    units: str | None
    lines: NDArray[np.int64]
    values: Sequence[int]
    scale: int
    note: str | None


class Numerics(NamedTuple):
    """A file of numerics.

    Parameters
    ----------
    times
        The counter at each line, ascending, times `ticks`, shape (lines,).
    ticks
        What makes whole numbers of them all.
    series
        Its signals.
    """

    times: NDArray[np.int64]
    ticks: int
    series: Sequence[Series]

    @property
    def first(self) -> Fraction | None:
        """The counter at the first line."""
        return Fraction(int(self.times[0]), self.ticks) if len(self.times) else None


def read_series(path: str) -> Numerics | None:
    """The signals of a file of numerics; None where it is something else: a CSV file whose first column is not `time`.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If the file is damaged, or no CSV file of numbers.
    """
    columns: list[_Column] | None = None
    times: list[Fraction | int] = []
    for piece in numerics_pieces(path):
        if columns is None:
            columns = [_Column(heading) for heading in piece.headings]
        times += piece.times
        for column, cells in zip(columns, piece.columns, strict=bool(piece.times)):
            column.add(cells)
        if sum(len(column.numbers) for column in columns) > MOST_VALUES:
            raise ValueError(f"it has more than {MOST_VALUES:,} different values; numerics have few")
    if columns is None:
        return None
    ticks = math.lcm(*{time.denominator for time in times})
    counted = [time.numerator * (ticks // time.denominator) for time in times]
    if any(abs(time) > _FAR for time in counted):
        raise ValueError("its times are beyond 62 bits of the counter's smallest steps")
    in_file = np.array(counted, np.int64)
    order = np.argsort(in_file, kind="stable")
    return Numerics(in_file[order], ticks, [column.series(order) for column in columns])


class _Column:
    """A column's cells, each as a number for what it says."""

    def __init__(self, heading: str) -> None:
        self._heading = heading
        self.numbers: defaultdict[str, int] = defaultdict()
        self.numbers.default_factory = self.numbers.__len__
        self._parts: list[NDArray[np.int32]] = []

    def add(self, cells: Sequence[str]) -> None:
        self._parts.append(np.fromiter(map(self.numbers.__getitem__, cells), np.int32, len(cells)))

    def series(self, order: NDArray[np.int64]) -> Series:
        cells = np.concatenate([np.empty(0, np.int32), *self._parts])[order]
        said = {number: number_of(text) for text, number in self.numbers.items()}
        scale = math.lcm(*{value.denominator for value in said.values() if value is not None})
        whole = [None if value is None else value.numerator * (scale // value.denominator) for value in said.values()]
        lines = np.flatnonzero(np.array([value is not None for value in whole], bool)[cells]) if whole else order[:0]
        often = np.bincount(cells, minlength=len(whole)).tolist()
        absent = {text: often[number] for text, number in self.numbers.items() if whole[number] is None}
        values = [value for value in map(whole.__getitem__, cells[lines].tolist()) if value is not None]
        return Series(*name_and_units(self._heading), lines, values, scale, note_of_absent(absent))


def windows_of_series(
    found: Numerics, chosen: Sequence[Series], frequency: Fraction, grid: Grid, measures: Measures
) -> Iterator[Batch]:
    """The windows in which any of some signals has a value, and what was measured of each that has, by their places.

    Parameters
    ----------
    found
        The file.
    chosen
        Signals of it.
    frequency
        Ticks of the counter a second.
    grid
        The windows, with the first line as the first sample.
    measures
        What is measured of them; `min_valid` says nothing here, as nothing tells how many values there should be.
    """
    if not len(found.times):
        return
    first = int(found.times[0])
    rate = frequency * found.ticks
    numbers = _numbers(found.times, first, rate, grid)
    starts, stops = grid.bounds(numbers, rate)
    lines = found.times.searchsorted(starts + first), found.times.searchsorted(stops + first)
    measured = [_Measured(found, series, lines, rate, measures) for series in chosen]
    for begin in range(0, len(numbers), _TOGETHER):
        places = range(begin, min(begin + _TOGETHER, len(numbers)))
        batch: list[tuple[int, Listed]] = []
        for which, each in enumerate(measured):
            those = [(numbers[place], told) for place in places if (told := each.of(place)) is not None]
            if those:
                batch.append((which, Listed([number for number, _ in those], [told for _, told in those])))
        if batch:
            yield batch


def _numbers(times: NDArray[np.int64], first: int, rate: Fraction, grid: Grid) -> list[int]:
    """The windows that have a line, ascending."""
    numbers: set[int] = set()
    for time in np.unique(times).tolist():
        at = grid.at + (time - first) / rate
        last = at // grid.step
        lowest = (at - grid.length) // grid.step + 1
        numbers.update(range(lowest if grid.first is None else max(lowest, grid.first), last + 1))
    return sorted(numbers)


class _Measured:
    """What is measured of the windows of one signal."""

    def __init__(
        self,
        found: Numerics,
        series: Series,
        lines: tuple[NDArray[np.int64], NDArray[np.int64]],
        rate: Fraction,
        measures: Measures,
    ) -> None:
        self._times, self._rate, self._lines = found.times[series.lines], rate, lines
        self._starts, self._stops = (series.lines.searchsorted(each) for each in lines)
        self._coding = Coding(None, series.scale, 0)
        self._nothing = (*measures.no_spectrum, *measures.no_beats)
        coded, lengths = Coded(NOTHING, 0, is_reversed=False), self._stops - self._starts
        values = series.values
        if lengths.max(initial=0) > LONGEST:
            raise ValueError(f"a window has more than {LONGEST:,} values: set a shorter one")
        if all(-NOTHING > value > NOTHING for value in values):
            samples = np.array(values, np.int32)
            self._rows = table_of(samples, self._starts, lengths, coded, measures.kernel)
        else:
            self._rows = [
                exact_row(values[start:stop], Coded(_NO_NUMBER, 0, is_reversed=False), 0) if start < stop else [0]
                for start, stop in zip(self._starts.tolist(), self._stops.tolist(), strict=True)
            ]

    def of(self, place: int) -> Measured | None:
        row = self._rows[place]
        if not row[N]:
            return None
        start, stop = int(self._starts[place]), int(self._stops[place])
        ticks = int(self._times[stop - 1] - self._times[start])
        timing = Timing(None, float(ticks / self._rate))
        n_lines = int(self._lines[1][place] - self._lines[0][place])
        counts = counts_of(row, n_lines, self._coding)
        return (*counts, *values_of(row, self._coding, timing), *self._nothing)


_NO_NUMBER = 2**1024
"""No value, as those of numerics are below 1e100 times a scale below 1e100."""
