"""Signals with gaps: which stretches they have, and one series without jumps, of whole numbers, to filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scaledproc.extractors.wfdb.beats import compiled
from scaledproc.extractors.wfdb.beats.compiled_signal import LARGEST

if TYPE_CHECKING:
    from numpy.typing import NDArray

BRIDGED_S = 0.04
"""Missing samples up to so many seconds are interpolated: less than half of a narrow QRS complex."""
RATE = 250.0
"""Hz; a signal of twice this rate or more is averaged down to between this and twice as much."""
LEVELS_BITS = 24
"""A signal's range is divided into so many steps (bits); converters have 8 to 16."""


class Prepared(NamedTuple):
    """A signal that is ready to be filtered."""

    values: NDArray[np.int32]
    """Shape (n // factor,): the signal in steps of its range, continuous: what is missing is level, jumps are gone."""
    factor: int
    """How many samples were averaged to one value."""
    fs: float
    """Values a second."""
    starts: NDArray[np.int64]
    """The first value of each stretch without a gap, shape (stretches,)."""
    stops: NDArray[np.int64]
    """Behind the last one of each."""


def prepare(samples: NDArray[np.floating], fs: float) -> Prepared:
    """A signal as whole numbers, so that sums over it are exact, and the same on every processor in any order.

    Parameters
    ----------
    samples
        Shape (n,); what is not finite, or beyond `LARGEST`, is missing.
    fs
        Samples a second.
    """
    factor = max(int(fs // RATE), 1) if fs >= 2 * RATE else 1
    level, starts, stops = _level(samples, fs)
    if not len(starts):
        return Prepared(np.empty(0, np.int32), factor, fs / factor, starts, stops)
    if factor > 1:
        whole = len(level) // factor * factor
        level = level[:whole].reshape(-1, factor).mean(axis=1)
        starts, stops = -(-starts // factor), np.minimum(stops // factor, len(level))
        kept = stops > starts
        starts, stops = starts[kept], stops[kept]
    return Prepared(_digital(level), factor, fs / factor, starts, stops)


def _level(
    samples: NDArray[np.floating], fs: float
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """A signal without gaps, and the stretches that it had."""
    if (functions := compiled.functions) is not None:
        return functions.level(np.ascontiguousarray(samples, np.float64), _bridged(fs))
    there = np.abs(samples) <= LARGEST  # NaN is not
    if there.all():
        return np.asarray(samples, np.float64), np.array([0], np.int64), np.array([len(samples)], np.int64)
    starts, stops = _runs(there)
    if not len(starts):
        return np.empty(0), starts, stops
    return _without_gaps(samples, starts, stops, _bridged(fs))


def has_gap(samples: NDArray[np.floating], fs: float) -> bool:
    """Whether so many samples are missing one after the other that they are not interpolated.

    Parameters
    ----------
    samples
        Shape (n,); what is not finite, or beyond `LARGEST`, is missing.
    fs
        Samples a second.
    """
    there = np.abs(samples) <= LARGEST
    if there.all():
        return False
    starts, stops = _runs(~there)
    return bool((stops - starts > _bridged(fs)).any())


def _bridged(fs: float) -> int:
    return max(int(BRIDGED_S * fs), 1)


def _runs(there: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], there, [False]])))
    return edges[::2].astype(np.int64), edges[1::2].astype(np.int64)


def _without_gaps(
    samples: NDArray[np.floating], starts: NDArray[np.int64], stops: NDArray[np.int64], bridged: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Short gaps are bridged by a line; over others the level is held, and all behind one is shifted to that level.

    Filters that take no notice of a constant then see no step at a gap, and nothing from beyond it but its level.
    """
    level = np.array(samples, np.float64)
    is_gap = starts[1:] - stops[:-1] > bridged
    _bridge(level, stops[:-1][~is_gap], starts[1:][~is_gap])
    shift, before, shifts = 0.0, 0, []
    for stop, start in zip(stops[:-1][is_gap].tolist(), starts[1:][is_gap].tolist(), strict=True):
        shifts.append((before, start, shift))
        shift += float(level[stop - 1]) - float(level[start])
        level[stop:start] = level[stop - 1]
        before = start
    shifts.append((before, len(level), shift))
    for first, last, by in shifts:
        level[first:last] += by
    level[: starts[0]] = level[starts[0]]
    level[stops[-1] :] = level[stops[-1] - 1]
    return level, np.concatenate([starts[:1], starts[1:][is_gap]]), np.concatenate([stops[:-1][is_gap], stops[-1:]])


def _bridge(level: NDArray[np.float64], stops: NDArray[np.int64], starts: NDArray[np.int64]) -> None:
    """Draw a line over each gap from `stops` to `starts`."""
    lengths = starts - stops
    within = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    left, right = (np.repeat(level[at], lengths) for at in (stops - 1, starts))
    level[np.repeat(stops, lengths) + within] = left + (right - left) * ((within + 1) / np.repeat(lengths + 1, lengths))


def _digital(level: NDArray[np.float64]) -> NDArray[np.int32]:
    if not len(level):
        return np.empty(0, np.int32)
    functions = compiled.functions
    low, high = (float(level.min()), float(level.max())) if functions is None else functions.extremes(level)[:2]
    middle = low / 2 + high / 2  # a sum of both could overflow
    half = high / 2 - low / 2
    if not half > 0:
        return np.zeros(len(level), np.int32)
    _, exponent = np.frexp(half)
    bits = LEVELS_BITS - 1 - int(exponent)
    if functions is not None and abs(bits) < 1_000:
        return functions.digital(level, middle, 2.0**bits)
    scaled = level - middle
    if abs(bits) < 1_000:
        scaled *= 2.0**bits  # a power of two, so that this rounds nothing
    else:
        np.ldexp(scaled, bits, out=scaled)  # which is slower, and needs no factor that overflows
    return np.rint(scaled, out=scaled).astype(np.int32)
