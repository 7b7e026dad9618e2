"""Detects the beats of an ECG lead, or the pulses of a pressure or pleth wave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scaledproc.extractors.wfdb.beats import compiled, fiducials, pulses, quality
from scaledproc.extractors.wfdb.beats.decision import REFRACTORY_S, decide
from scaledproc.extractors.wfdb.beats.fiducials import pulse_times, qrs_times
from scaledproc.extractors.wfdb.beats.filtering import (
    BINS_S,
    Peaks,
    find_peaks,
    not_overshadowed,
    pulse_filter,
    qrs_filter,
    without_spikes,
)
from scaledproc.extractors.wfdb.beats.pulses import Pulses, pulse_features
from scaledproc.extractors.wfdb.beats.quality import compared, pulse_quality, qrs_quality
from scaledproc.extractors.wfdb.beats.stretches import Prepared, prepare

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kind = Literal["ecg", "pulse"]
LOWEST_HZ = 50.0
"""Below this rate the slopes of a QRS complex are not in the samples."""
EDGE_S = 0.02
"""Nearer to a gap a peak may be what was left of a larger one: two values at 125 Hz."""
QRS_S = 0.06
"""The amplitude of a QRS complex is that of so long to both sides of its peak."""


@dataclass(frozen=True, eq=False)
class Beats:
    """Beats of one signal, in order of time; all of shape (beats,).

    Parameters
    ----------
    positions
        The sample of the R peak (the largest deflection of the QRS complex, of one polarity as far as neighbours
        agree), or of the systolic peak.
    times
        The same as fractions of samples: the vertex of a parabola, as the Task Force (1996) asks for at low rates.
    amplitude
        Of an ECG: from the lowest to the highest sample within 60 ms; of pulses: from the foot to the systolic peak,
        NaN where the foot is not in the signal; in the signal's unit.
    quality
        From 0, where a beat cannot be told from noise, to 1.
    stretch
        Beats with the same number have no gap between them.
    """

    positions: NDArray[np.int64]
    times: NDArray[np.float64]
    amplitude: NDArray[np.float64]
    quality: NDArray[np.float64]
    stretch: NDArray[np.int64]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.positions)


def detect_beats(samples: NDArray[np.floating], fs: float, kind: Kind) -> Beats:
    """Detect beats; `filtering`, `decision` and `quality` name the methods.

    Neither offset nor scale matters, nor the polarity of an ECG; a pulse rises to its peak. Gaps split the signal: what
    is typical is known across a gap, but no beat is made of samples from both sides of one, and none is within 20 ms of
    one. Gaps of up to 40 ms are interpolated.

    Parameters
    ----------
    samples
        Shape (n,); what is not finite is missing.
    fs
        Samples a second.
    kind
        `"ecg"` for leads of an ECG, `"pulse"` for waves of blood pressure and of the pleth.

    Raises
    ------
    ValueError
        If `samples` is not of one dimension, `fs` is below 50 Hz or not finite, or `kind` is another word.
    """
    return detect_with_shapes(samples, fs, kind)[0]


def detect_with_shapes(samples: NDArray[np.floating], fs: float, kind: Kind) -> tuple[Beats, Pulses | None]:
    """Detect beats, and tell the shape of each that is a pulse, as `pulse_features` does; see `detect_beats`.

    Raises
    ------
    ValueError
        If `detect_beats` refuses the arguments.
    """
    if samples.ndim != 1:
        raise ValueError(f"beats are detected in one signal at a time, of shape (n,), not of shape {samples.shape}")
    if not LOWEST_HZ <= fs < float("inf"):
        raise ValueError(f"beats cannot be detected at {fs:g} Hz; {LOWEST_HZ:g} Hz or more are needed")
    if kind not in ("ecg", "pulse"):
        raise ValueError(f'there is no kind {kind!r} of beats; "ecg" and "pulse" are known')
    signal = prepare(samples, fs)
    if kind == "ecg":
        signal = signal._replace(values=without_spikes(signal.values, signal.fs))
    lengths = qrs_filter(signal.fs) if kind == "ecg" else pulse_filter(signal.fs)
    reach = max(int(REFRACTORY_S * signal.fs + 0.5), 1)
    bin_size = max(int(BINS_S * signal.fs), 1) if kind == "ecg" else 0
    peaks = find_peaks(signal.values, lengths, reach, bin_size)
    if (functions := compiled.functions) is not None:
        return _found(functions.beats(samples, fs, signal, lengths, peaks, _known(kind, fs, signal.fs, reach)), kind)
    peaks = _chosen(peaks, _stretch_of(peaks.places, signal) >= 0)
    beats = _chosen(peaks, _decided(peaks, signal))
    times = (qrs_times if kind == "ecg" else pulse_times)(signal.values, signal.fs, lengths, beats.places)
    kept = not_overshadowed(times, beats.heights, reach) & (_stretch_of(times, signal, EDGE_S * signal.fs) >= 0)
    beats, times = _chosen(beats, kept), times[kept]
    if kind == "ecg":
        quality = qrs_quality(peaks, np.rint(times).astype(np.int64), beats.heights, signal.fs, len(signal.values))
    else:
        quality = pulse_quality(signal.values, times, signal.fs, lengths.low)
    stretch = _stretch_of(times, signal)
    times = times * signal.factor + (signal.factor - 1) / 2
    positions = np.rint(times).astype(np.int64)
    if kind == "ecg":
        return Beats(positions, times, _heights(samples, positions, int(QRS_S * fs)), quality, stretch), None
    pulses = pulse_features(samples, fs, positions)
    return Beats(positions, times, pulses.amplitude, quality, stretch), pulses


def _known(kind: Kind, fs: float, of_values: float, reach: int) -> compiled.OfQrs | compiled.OfPulses:
    """What the compiled way must know, of so many samples and values a second."""
    edge = EDGE_S * of_values
    if kind == "ecg":
        look = max(int(fiducials.QRS_S * of_values), 1)
        return compiled.OfQrs(reach, look, int(QRS_S * fs), edge, quality.QRS_S * of_values)
    look, foot = max(int(fiducials.UPSTROKE_S * of_values), 1), max(int(pulses.UPSTROKE_S * fs), 1)
    return compiled.OfPulses(reach, look, int(fiducials.APART_S * of_values), foot, edge, compared(of_values))


def _found(found: compiled.FoundBeats, kind: Kind) -> tuple[Beats, Pulses | None]:
    beats = Beats(found.positions, found.times, found.amplitude, found.quality, found.stretch)
    if kind == "ecg":
        return beats, None
    return beats, Pulses(found.systolic, found.diastolic, found.amplitude, found.rise_time)


def _stretch_of(
    places: NDArray[np.int64] | NDArray[np.float64], signal: Prepared, margin: float = 0
) -> NDArray[np.int64]:
    """In which stretch each place is, so far from its ends or farther; -1 where it is in none."""
    if not len(signal.starts):
        return np.full(len(places), -1, np.int64)
    of = np.searchsorted(signal.starts, places, "right") - 1
    is_in = (of >= 0) & (places - signal.starts[of] >= margin) & (signal.stops[of] - 1 - places >= margin)
    return np.where(is_in, of, -1)


def _chosen(peaks: Peaks, which: NDArray[np.bool_]) -> Peaks:
    return peaks._replace(places=peaks.places[which], heights=peaks.heights[which], slopes=peaks.slopes[which])


def _decided(peaks: Peaks, signal: Prepared) -> NDArray[np.bool_]:
    places, begins, ends = (each.astype(np.float64) for each in (peaks.places, signal.starts, signal.stops))
    firsts = np.concatenate([np.searchsorted(peaks.places, signal.starts), [len(places)]]).astype(np.int64)
    heights, slopes = peaks.heights.astype(np.float64), peaks.slopes.astype(np.float64)
    accepted, room = np.zeros(len(places), bool), np.zeros((3, 8))
    marked: list[bool] = accepted.tolist()  # lists are faster, element by element
    told: list[Any] = [each.tolist() for each in (places, heights, slopes, firsts, begins, ends)]
    told += [signal.fs, marked, *room.tolist()]
    decide(*told)
    return np.array(marked, bool)


def _heights(samples: NDArray[np.floating], positions: NDArray[np.int64], reach: int) -> NDArray[np.float64]:
    """From the lowest to the highest sample around each position."""
    index = positions[:, None] + np.arange(-reach, reach + 1)
    np.clip(index, 0, max(len(samples) - 1, 0), out=index)
    rows = np.asarray(samples[index], np.float64)
    is_there = np.isfinite(rows)
    highest = np.where(is_there, rows, -np.inf).max(axis=1, initial=-np.inf)
    lowest = np.where(is_there, rows, np.inf).min(axis=1, initial=np.inf)
    return np.asarray(highest - lowest, np.float64)
