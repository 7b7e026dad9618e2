"""What is told of each pulse in a wave of blood pressure or of the pleth.

There are no pulse arrival times, nor transit times: in the MIMIC databases the signals of one record are not aligned
well enough in time (Y. Liang, D. Abbott, N. Howard, K. Lim, R. Ward and M. Elgendi, "How effective is pulse arrival
time for evaluating blood pressure? Challenges and recommendations from a study using the MIMIC database", J Clin Med
2019, 8:337).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

UPSTROKE_S = 0.5
"""The foot of a pulse is looked for so long before its systolic peak: upstrokes take 0.1 to 0.3 s."""
AT_ONCE = 4_096


@dataclass(frozen=True, eq=False)
class Pulses:
    """Each pulse's shape, all of shape (beats,); NaN where the foot is not in the signal.

    Parameters
    ----------
    systolic
        The sample at the systolic peak, in the signal's unit.
    diastolic
        The lowest sample of the upstroke's foot: within 0.5 s before the peak, and after the peak before.
    amplitude
        Their difference, the pulse pressure of a pressure wave.
    rise_time
        From foot to peak, in seconds.
    """

    systolic: NDArray[np.float64]
    diastolic: NDArray[np.float64]
    amplitude: NDArray[np.float64]
    rise_time: NDArray[np.float64]


def pulse_features(samples: NDArray[np.floating], fs: float, positions: NDArray[np.int64]) -> Pulses:
    """The shape of each pulse.

    Parameters
    ----------
    samples
        The wave, shape (n,); what is not finite is missing.
    fs
        Samples a second.
    positions
        Of the systolic peaks, ascending, as `detect_beats` gives them.
    """
    reach = max(int(UPSTROKE_S * fs), 1)
    room = np.full(len(positions), reach)
    room[1:] = np.minimum(np.diff(positions) - 1, reach)
    back = _feet(samples, positions, room, reach)
    is_found = back >= 0
    systolic = _at(samples, positions)
    diastolic = np.where(is_found, _at(samples, positions - np.maximum(back, 0)), np.nan)
    return Pulses(systolic, diastolic, systolic - diastolic, np.where(is_found, back, np.nan) / fs)


def _feet(
    samples: NDArray[np.floating], positions: NDArray[np.int64], room: NDArray[np.int64], reach: int
) -> NDArray[np.int64]:
    """How many samples before its peak each pulse's foot is, in the room that it has; -1 where it is not there."""
    offsets = np.arange(-reach, 1)
    found = np.full(len(positions), -1, np.int64)
    for start in range(0, len(positions), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        index = positions[part, None] + offsets
        is_out = (index < 0) | (-offsets > room[part, None])
        rows = np.asarray(samples[np.maximum(index, 0)], np.float64)
        rows[is_out] = np.inf
        # A foot on the other side of a gap is none; a few missing samples hide at most a part of it.
        rows[~np.isfinite(rows)] = np.inf
        back = rows[:, ::-1].argmin(axis=1)  # the last of several as low
        lowest = rows[np.arange(len(rows)), reach - back]
        # Where the lowest sample is the first one there, the wave may have been lower before.
        before = positions[part] - back - 1
        is_start = (before < 0) | ~np.isfinite(_at(samples, np.maximum(before, 0)))
        found[part] = np.where(np.isfinite(lowest) & (back > 0) & ~is_start, back, -1)
    return found


def _at(samples: NDArray[np.floating], places: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(samples[places], np.float64)
