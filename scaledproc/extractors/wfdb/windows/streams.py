"""A signal's samples as they come, and what is measured of its windows."""

from __future__ import annotations

from operator import ge
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scaledproc.extractors.wfdb.signals.samples import InTime, coding_of
from scaledproc.extractors.wfdb.windows.kept import Kept
from scaledproc.extractors.wfdb.windows.measures.beats import NO_BEATS, Track
from scaledproc.extractors.wfdb.windows.measures.fields import GAP, LONGEST, Asked, Coded, N
from scaledproc.extractors.wfdb.windows.measures.spectra.transform_code import LANES
from scaledproc.extractors.wfdb.windows.measures.spectra.welch import (
    FEWEST,
    LONGEST_GAP,
    MOST_MISSING,
    n_columns,
    welch,
)
from scaledproc.extractors.wfdb.windows.measures.told import Counted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from fractions import Fraction

    from numpy.typing import NDArray

    from scaledproc.extractors.wfdb.headers.header import SignalLine
    from scaledproc.extractors.wfdb.signals.statistics import Coding
    from scaledproc.extractors.wfdb.windows.grid import Grid, Windows
    from scaledproc.extractors.wfdb.windows.measures.beats import Kind, Piece
    from scaledproc.extractors.wfdb.windows.measures.fields import Integers, Kernel
    from scaledproc.extractors.wfdb.windows.measures.spectra.welch import Band
    from scaledproc.extractors.wfdb.windows.measures.told import Measured

NOTHING = -(2**31)
"""Instead of a missing value, of a format that has none."""


class Measures(NamedTuple):
    """What is measured of windows.

    Parameters
    ----------
    min_valid
        The share of valid samples below which only the counts are told.
    bands
        Of the spectra.
    kernel
        What counts and sums up.
    has_beats
        Whether there are columns of beats.
    keeps_beats
        Whether the beats themselves are wanted.
    """

    min_valid: float
    bands: tuple[Band, ...]
    kernel: Kernel
    has_beats: bool = False
    keeps_beats: bool = False

    @property
    def no_spectrum(self) -> Measured:
        """Of a window that has none."""
        return (None,) * n_columns(self.bands)

    @property
    def no_beats(self) -> Measured:
        """Of a window of a signal that has none."""
        return NO_BEATS if self.has_beats else ()


class Looks(NamedTuple):
    """What is looked at in a signal besides its values.

    Parameters
    ----------
    has_spectra
        Whether spectra are.
    beats
        Which kind of beats; None where none are.
    """

    has_spectra: bool
    beats: Kind | None = None


class Span(NamedTuple):
    """How many samples signals have, and what follows from it: the same for all of a record that come as often.

    Parameters
    ----------
    n
        How many samples there are.
    fs, fs_as_float
        Samples per second.
    numbers
        All windows that have samples.
    shortest
        Samples that each window has at least.
    """

    n: int
    fs: Fraction
    fs_as_float: float
    numbers: range
    shortest: int

    @classmethod
    def of(cls, n: int, fs: Fraction, grid: Grid) -> Span:
        """That of so many samples.

        Raises
        ------
        ValueError
            If a window has more samples than can be summed up exactly.
        """
        shortest = grid.shortest(fs)
        if min(shortest + 1, n) > LONGEST:
            raise ValueError(f"a window has {shortest:,} samples; at most {LONGEST:,} can be: set a shorter one")
        rate, under = fs.as_integer_ratio()
        return cls(n, fs, rate / under, grid.numbers(n, fs), shortest)


class Stream:
    """The samples of a signal that are not yet behind all windows.

    Parameters
    ----------
    signal
        As its header describes it.
    span
        How many samples it has.
    grid
        Its windows.
    measures
        What is measured of them.
    looks
        What is looked at besides values.
    """

    def __init__(self, signal: SignalLine, span: Span, grid: Grid, measures: Measures, looks: Looks) -> None:
        self._in_time = InTime(signal)
        self._n, self._fs, self._fs_as_float, self.numbers, self._length = span
        self._grid, self._measures = grid, measures
        self.coding = coding_of(signal)
        missing = NOTHING if self.coding.missing is None else self.coding.missing
        self._coded = Coded(missing, self.coding.baseline, self.coding.gain < 0)
        self._has_spectra = looks.has_spectra and self._length >= FEWEST
        self._kept = Kept()
        self._first = self._end = 0  # the numbers of the first sample that is kept, and of the next that comes
        self._stop = self._n  # where those end that come now
        keeps = measures.keeps_beats
        self._track = None if looks.beats is None else Track(looks.beats, self._fs_as_float, keeps_pieces=keeps)

    @property
    def complete(self) -> int:
        """The number of the first window that is not complete."""
        if self._track is None:
            return self._grid.complete(self._end, self._fs)
        while self._track.end < self._n and self._track.needed(self._n) <= self._end:
            self._detect(self._track)
        return self._grid.complete(self._track.end, self._fs)

    @property
    def detected(self) -> Fraction | None:
        """The second up to which all beats are known; None of a signal that has none."""
        return None if self._track is None else self._track.end / self._fs

    def take_beats(self) -> Iterator[tuple[Fraction, Piece]]:
        """The beats that were found since the last call, with the second in which each piece begins."""
        if self._track is not None:
            found, self._track.pieces = self._track.pieces, []
            for piece in found:
                yield piece.begin / self._fs, piece

    def detect_rest(self) -> None:
        """Detect the beats of all samples that are there, whether or not a window has them."""
        if self._track is not None:
            while self._track.end < self._end:
                self._detect(self._track)

    @property
    def together(self) -> int:
        """How many windows are measured at once."""
        return max(_TOGETHER // max(self._length, 1), 1)

    @property
    def measured_by(self) -> int:
        """A number of windows by whose multiples they are measured, as transforms are made of so many at once."""
        return LANES if self._length * LANES <= _KEPT_FOR_MORE else 1

    def add(self, stored: NDArray[np.integer]) -> None:
        """Take the samples that follow, as they are stored.

        Raises
        ------
        ValueError
            If the sum of differences is beyond 32 bits, which WFDB's samples have.
        """
        samples = self._in_time.of(stored)
        is_wide = samples.dtype == np.int64
        if is_wide and len(samples) and not NOTHING < samples.min() <= samples.max() < -NOTHING:
            raise ValueError("its differences add up to samples beyond 32 bits")
        self._append(samples[: self._stop - self._end])

    def takes(self, block: NDArray[np.integer], column: int) -> bool:
        """Take the samples that follow from a column of a file's block, as it was read, if compiled code can do that.

        It is one pass instead of three: to signed numbers, to the numbers of one signal, to 32 bits.
        """
        if self._in_time.shifts or not self._kept.takes(block[: self._stop - self._end], column):
            return False
        self._end += min(len(block), self._stop - self._end)
        return True

    def end(self) -> None:
        """Say that no more samples are stored: those that it has besides are missing."""
        self.pad(self._stop)

    def pad(self, stop: int) -> None:
        """Take missing samples up to one."""
        while self._end < stop:
            self._append(np.full(min(stop - self._end, _TOGETHER), self._coded.missing, np.int32))

    def begin(self, signal: SignalLine, start: int, stop: int) -> None:
        """Say that a segment's samples come next; those that are missing before it were taken."""
        self._in_time = InTime(signal)
        self._end = max(self._end, start)
        self._stop = max(stop, self._end)

    def close(self) -> None:
        """Let go all samples, as nothing is asked any more."""
        self._kept.clear()

    def jump(self, start: int) -> None:
        """Go on with a sample, and forget those before it: no window that is still to come has a valid one of them."""
        if self._measures.keeps_beats:
            self.detect_rest()
        self._kept.clear()
        self._first = self._end = start
        if self._track is not None:
            self._track.jump(start)

    def _append(self, samples: NDArray[np.integer]) -> None:
        self._kept.append(samples)
        self._end += len(samples)

    def ask(self, numbers: range) -> tuple[Windows, Asked]:
        """The windows of these that have samples, and what of them `measured` needs to be counted and summed up.

        They are complete, or all samples have come; the samples before them are let go.
        """
        windows = self._grid.with_samples(numbers, self._n, self._fs, self._measures.min_valid)
        if self._track is not None:
            while self._track.end < min(windows.stop, self._end):  # all samples have come
                self._detect(self._track)
            self._track.forget(windows.first)
        self._forget(windows.first)
        starts = windows.starts - self._first if self._first else windows.starts
        return windows, Asked(self._kept.samples, starts, windows.lengths, self._coded, windows.fewest)

    def told(self, windows: Windows, asked: Asked, integers: Integers) -> Counted:
        """What is told of windows.

        Parameters
        ----------
        windows, asked
            As `ask` told them last.
        integers
            Those of the windows.
        """
        fs, n = self._fs_as_float, len(windows.numbers)
        is_enough = list(map(ge, integers.table[:, N].tolist(), asked.fewest.tolist()))
        spectra = np.full((n, n_columns(self._measures.bands)), np.nan, np.float32)
        beats = np.full((n, len(self._measures.no_beats)), np.nan)
        if (self._has_spectra or self._track is not None) and True in is_enough:
            if self._has_spectra:
                gaps, missing = integers.table[:, GAP], windows.lengths - integers.table[:, N]
                has_few_gaps = (gaps <= LONGEST_GAP * fs) & (missing <= MOST_MISSING * windows.lengths)
                places = (has_few_gaps & is_enough).nonzero()[0]
                if len(places):
                    spectra[places] = self._spectra(asked.starts[places])
            if self._track is not None:
                places = np.flatnonzero(is_enough)
                starts = windows.starts[places]
                beats[places] = self._track.of_many(starts, starts + windows.lengths[places])
        return Counted(windows.numbers, windows.n_samples, integers, is_enough, self.coding, fs, spectra, beats)

    def _spectra(self, starts: NDArray[np.int64]) -> NDArray[np.float32]:
        """What the spectra of windows tell, by where these begin among the samples that are kept."""
        maker = welch(self._fs_as_float, self._length, self._measures.bands)
        return maker.spectra(self._kept.samples, starts, self._coded.missing, self.coding.gain)

    def _detect(self, track: Track) -> None:
        """Detect the beats of the next piece, or of all samples that are there if they are fewer."""
        begin, end = max(track.end - track.margin - self._first, 0), track.needed(self._end) - self._first
        stored = self._kept.samples[begin:end]
        track.advance(physical(stored, self._coded.missing, self.coding), self._first + begin, self._end)

    def _forget(self, before: int) -> None:
        """Let go the samples before one, but for those that beats are still to be found in."""
        if before <= self._first:
            return
        if self._track is not None:
            before = min(before, self._track.end - self._track.margin)
        behind = min(max(before - self._first, 0), len(self._kept))
        self._kept.drop(behind)
        self._first += behind


def physical(stored: NDArray[np.int32], missing: int, coding: Coding) -> NDArray[np.float64]:
    """Samples in physical units, NaN where they are missing."""
    from scaledproc.extractors.wfdb.beats import compiled

    if (functions := compiled.functions) is not None:
        return functions.physical(stored, missing, coding.baseline, coding.gain)
    samples = (stored.astype(np.float64) - coding.baseline) / coding.gain
    samples[stored == missing] = np.nan
    return samples


_TOGETHER = 2**20
"""Samples of windows that are measured at once."""
_KEPT_FOR_MORE = 2**17
"""Samples that are kept at most to be measured with those of windows that come."""
