"""Beats in windows: detected in pieces of a signal that do not depend on how it is read, and summed up by window."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLUMNS = ("hr", "rr_mean", "sdnn", "rmssd", "pnn50", "beat_quality", "pulse_amplitude", "systolic", "diastolic",
           "rise_time")  # fmt: skip
"""Besides `n_beats`, which comes before them."""
PIECE = 600.0
"""Seconds in which beats are detected at once, counted from the signal's first sample."""
MARGIN = 20.0
"""Seconds before and after them that the detector sees too."""
_ECG = frozenset(
    [
        "I",
        "II",
        "III",
        "V",
        "V+",
        "V1",
        "V2",
        "V3",
        "V4",
        "V5",
        "V6",
        "V7",
        "V8",
        "V9",
        "V3R",
        "V4R",
        "V5R",
        "V6R",
        "aVR",
        "aVL",
        "aVF",
        "MCL",
        "MCL1",
        "MCL6",
        "MLII",
        "ECG",
    ],
)
_PULSE = frozenset(["ABP", "ART", "PAP", "UAP", "PLETH", "PLETH_left", "PLETH_right"])

_COLUMNS = 9
"""Of a beat: its time, the interval before it, quality, amplitude of a pulse, systolic, diastolic, rise time, position,
and amplitude."""

_FEW = 64
"""Samples that tell mostly whether all are missing."""

Kind = Literal["ecg", "pulse"]
NO_BEATS: tuple[int | float | None, ...] = (None,) * (1 + len(COLUMNS))


def kind_of(canonical: str | None, fs: float) -> Kind | None:
    """What beats a wave of a canonical name has; None where none are looked for, or not at such a rate."""
    from scaledproc.extractors.wfdb.beats.detection import LOWEST_HZ

    if fs < LOWEST_HZ:
        return None
    return "ecg" if canonical in _ECG else "pulse" if canonical in _PULSE else None


class Piece(NamedTuple):
    """The beats of a piece of a signal, in order of time; all arrays of shape (beats,), NaN where not known.

    Parameters
    ----------
    begin
        Where in the signal the piece begins, in samples.
    positions
        The sample of each peak.
    times
        The same as fractions of samples.
    rr_ms
        Milliseconds from the beat before, be it of this piece or of the one before; NaN across a gap.
    amplitude
        In the signal's units.
    quality
        From 0 to 1.
    """

    begin: int
    positions: NDArray[np.int64]
    times: NDArray[np.float64]
    rr_ms: NDArray[np.float64]
    amplitude: NDArray[np.float64]
    quality: NDArray[np.float64]


class Track:
    """The beats of a signal that are not yet behind all windows.

    Parameters
    ----------
    kind
        Of the beats.
    fs
        Samples per second.
    keeps_pieces
        Whether the beats of pieces are kept until they are taken.

    Attributes
    ----------
    end
        The sample up to which beats are known.
    margin
        Samples before and after a piece that are needed for it.
    pieces
        Those that were not taken, if they are kept.
    """

    def __init__(self, kind: Kind, fs: float, *, keeps_pieces: bool = False) -> None:
        self._kind, self._fs = kind, fs
        self._size, self.margin = round(PIECE * fs), round(MARGIN * fs)
        self.end = 0
        self._beats = self._ahead = np.empty((0, _COLUMNS))  # those to keep, and those found behind the last piece
        self._last: NDArray[np.float64] | None = None  # of those that were kept
        self._is_cut = False  # whether there is a gap between it and the end
        self._keeps_pieces = keeps_pieces
        self.pieces: list[Piece] = []

    def needed(self, n: int) -> int:
        """The sample that must be there for the next piece, of a signal of so many."""
        return min(self._piece_end() + self.margin, n)

    def _piece_end(self) -> int:
        return (self.end // self._size + 1) * self._size

    def jump(self, start: int) -> None:
        """Go on with a sample: there are none before it."""
        self.end, self._last, self._ahead = start, None, self._ahead[:0]

    def advance(self, samples: NDArray[np.float64], first: int, stop: int) -> None:
        """Detect the beats of the next piece, or up to a sample if that is before its end.

        Parameters
        ----------
        samples
            In physical units, NaN where missing, from `end - margin` to `margin` behind the piece, as far as there are.
        first
            The number of the first of them.
        stop
            The sample.
        """
        from scaledproc.extractors.wfdb.beats.detection import detect_with_shapes
        from scaledproc.extractors.wfdb.beats.intervals import rr_intervals_ms
        from scaledproc.extractors.wfdb.beats.stretches import has_gap
        from scaledproc.extractors.wfdb.windows.measures.meeting import joined

        begin, self.end = self.end, min(self._piece_end(), stop)
        ahead, self._ahead = self._ahead, self._ahead[:0]
        if np.isnan(samples[:_FEW]).all() and np.isnan(samples).all():
            self._is_cut = True
            return
        found, pulses = detect_with_shapes(samples, self._fs, self._kind)
        table = np.full((len(found), _COLUMNS), np.nan)
        table[:, 0] = found.times + first
        table[:, 1] = rr_intervals_ms(found, self._fs)
        table[:, 2] = found.quality
        if pulses is not None:
            for column, values in enumerate((pulses.amplitude, pulses.systolic, pulses.diastolic, pulses.rise_time), 3):
                table[:, column] = values
        table[:, 7] = found.positions + first
        table[:, 8] = found.amplitude
        self._ahead = table[table[:, 0] >= self.end]
        table, n_ahead = joined(ahead, table, begin, None if self._last is None else self._last[0], self._fs)
        table = table[table[:, 0] < self.end]
        # All others have the interval from the beat before that the same detection found.
        for place in [each for each in {0, n_ahead} if each < len(table)]:
            table[place, 1] = self._interval(table[place - 1] if place else self._last, table[place], samples, first)
        if len(table):
            self._last, self._is_cut = table[-1], False
        if self._last is not None and not self._is_cut:
            self._is_cut = has_gap(samples[max(int(self._last[7]) - first, 0) : self.end - first], self._fs)
        self._beats = np.concatenate([self._beats, table])
        if self._keeps_pieces and len(table):
            times, rr_ms, quality = table[:, :3].T
            self.pieces.append(Piece(begin, table[:, 7].astype(np.int64), times, rr_ms, table[:, 8], quality))

    def _interval(
        self, before: NDArray[np.float64] | None, beat: NDArray[np.float64], samples: NDArray[np.float64], first: int
    ) -> float:
        """Milliseconds between two beats that follow each other; NaN across a gap, or where there is none before."""
        from scaledproc.extractors.wfdb.beats.stretches import has_gap

        if before is None or (before is self._last and self._is_cut):
            return float("nan")
        if has_gap(samples[max(int(before[7]) - first, 0) : int(beat[7]) + 1 - first], self._fs):
            return float("nan")
        return float(beat[0] - before[0]) * (1_000 / self._fs)

    def of(self, start: int, stop: int) -> tuple[int | float | None, ...]:
        """What a window's beats tell, in the order of the columns."""
        low, high = self._beats[:, 0].searchsorted([start, stop])
        beats = self._beats[low:high]
        if not len(beats):
            return 0, *NO_BEATS[1:]
        intervals = beats[:, 1].copy()
        intervals[0] = np.nan  # from a beat before the window
        shapes = [_median(beats[:, column]) for column in range(3, 7)] if self._kind == "pulse" else [None] * 4
        return len(beats), *_variability(intervals), float(beats[:, 2].sum()) / len(beats), *shapes

    def of_many(self, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[np.float64]:
        """What the beats of windows tell, shape (windows, columns); NaN where that is nothing."""
        from scaledproc.extractors.wfdb.beats import compiled

        if (functions := compiled.functions) is not None and functions.sums_as_numpy:
            lows, highs = (self._beats[:, 0].searchsorted(each).astype(np.int64) for each in (starts, stops))
            return functions.windows(self._beats, lows, highs, is_pulse=self._kind == "pulse")
        told = [self.of(*window) for window in zip(starts.tolist(), stops.tolist(), strict=True)]
        return np.array(told, np.float64).reshape(-1, len(NO_BEATS))

    def forget(self, before: int) -> None:
        """Let go the beats before a sample."""
        self._beats = self._beats[self._beats[:, 0].searchsorted(before) :]


def _variability(intervals: NDArray[np.float64]) -> tuple[float | None, ...]:
    """What `beats.intervals` defines, from `hr` to `pnn50`, and the mean: to the bit, in a third of numpy's calls."""
    is_there = ~np.isnan(intervals)
    there = intervals[is_there]
    n = len(there)
    if not n:
        return None, None, None, None, None
    middle = _median(there)
    assert middle is not None
    mean = float(np.where(is_there, intervals, 0.0).sum()) / n
    spread = None
    if n > 1:
        apart = there - float(there.sum()) / n
        spread = math.sqrt(float((apart * apart).sum()) / (n - 1))
    steps = np.diff(intervals)
    steps = steps[~np.isnan(steps)]
    if not len(steps):
        return 60_000 / middle, mean, spread, None, None
    root = math.sqrt(float((steps * steps).sum()) / len(steps))
    return 60_000 / middle, mean, spread, root, np.count_nonzero(np.abs(steps) > 50) / len(steps)


def _median(values: NDArray[np.float64]) -> float | None:
    """Of those that are not NaN; None where all are."""
    ordered = np.sort(values)  # NaN comes last
    n = len(ordered) - int(np.count_nonzero(np.isnan(ordered)))
    if not n:
        return None
    half = n // 2
    return float(ordered[half]) if n % 2 else (float(ordered[half - 1]) + float(ordered[half])) / 2
