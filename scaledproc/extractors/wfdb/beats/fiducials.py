"""Where exactly a beat is: the largest deflection of a QRS complex, the systolic peak of a pulse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scaledproc.extractors.wfdb.beats.filtering import Filter, band_passed

if TYPE_CHECKING:
    from numpy.typing import NDArray

AT_ONCE = 4_096
"""Beats that are looked at together, which bounds the memory."""
QRS_S = 0.08
"""How far the largest deflection is looked for to both sides of the steepest part."""
UPSTROKE_S = 0.3
"""How long after the steepest part of the upstroke the systolic peak is looked for."""
APART_S = 0.1
"""How long before the steepest part of the next upstroke it is."""
VOTERS = 4
"""Neighbours before and behind a beat that have a say in its polarity."""


def qrs_times(values: NDArray[np.int32], fs: float, lengths: Filter, places: NDArray[np.int64]) -> NDArray[np.float64]:
    """The largest deflection of each QRS complex in the band of the filter, as fractions of values.

    Of a complex with an up and a down stroke of like size always the same one is taken, or intervals would be wrong by
    the width of the complex: the polarity which the complexes around have, unless the other stroke is twice as large.
    """
    reach = max(int(QRS_S * fs), 1)
    bands = [_band(values, lengths, part, reach, reach) for part in _parts(places)]
    if not bands:
        return np.empty(0)
    up = np.concatenate([band.max(axis=1) for band in bands])
    down = -np.concatenate([band.min(axis=1) for band in bands])
    votes = np.cumsum(np.pad(up - down, (VOTERS + 1, VOTERS)))
    is_up = votes[2 * VOTERS + 1 :] >= votes[: -2 * VOTERS - 1]
    is_up = np.where(is_up, 2 * up >= down, up > 2 * down)
    found = []
    for band, part, upwards in zip(bands, _parts(places), _parts(is_up), strict=True):
        found.append(part - reach + _vertices(band, upwards))
    return np.concatenate(found)


def pulse_times(
    values: NDArray[np.int32], fs: float, lengths: Filter, places: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The systolic peak of each pulse, after the low-pass, as fractions of values: before the next pulse rises."""
    reach = max(int(UPSTROKE_S * fs), 1)
    room = np.full(len(places), reach)
    room[:-1] = np.minimum(np.diff(places) - int(APART_S * fs), reach)
    found = [np.empty(0)]
    for part, until in zip(_parts(places), _parts(room), strict=True):
        band = _band(values, lengths, part, 0, reach)
        band[np.arange(reach + 1) > until[:, None]] = np.iinfo(np.int64).min // 8
        found.append(part + _vertices(band, np.ones(len(band), bool)))
    return np.concatenate(found)


def _parts(of: NDArray[Any]) -> list[NDArray[Any]]:
    return [of[start : start + AT_ONCE] for start in range(0, len(of), AT_ONCE)]


def windows(values: NDArray[np.int32], places: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """The values at some offsets from each place, shape (places, offsets); beyond the ends they are as there."""
    index = places[:, None] + offsets
    np.clip(index, 0, len(values) - 1, out=index)
    inside: NDArray[np.int64] = values[index].astype(np.int64)
    return inside


def _band(
    values: NDArray[np.int32], lengths: Filter, places: NDArray[np.int64], before: int, after: int
) -> NDArray[np.int64]:
    offsets = np.arange(-before - lengths.half, after + lengths.half + 1)
    return band_passed(windows(values, places, offsets), lengths)


def _vertices(rows: NDArray[np.int64], is_up: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Where each row is highest, or lowest, by a parabola through that value and its neighbours."""
    rows = np.where(is_up[:, None], rows, -rows)
    at = rows.argmax(axis=1)
    if rows.shape[1] < 3:
        return np.asarray(at, np.float64)
    row = np.arange(len(rows))
    inner = np.clip(at, 1, rows.shape[1] - 2)
    left, middle, right = rows[row, inner - 1], rows[row, inner], rows[row, inner + 1]
    bend = 2 * middle - left - right
    is_peak = (at == inner) & (bend > 0)
    shift = (right - left) / (2 * np.where(is_peak, bend, 1))
    return np.asarray(at + np.where(is_peak, np.clip(shift, -0.5, 0.5), 0.0), np.float64)
