"""Where the beats of one piece of a signal go over into those of the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scaledproc.extractors.wfdb.beats.decision import REFRACTORY_S

if TYPE_CHECKING:
    from numpy.typing import NDArray


def meeting(before: NDArray[np.float64], after: NDArray[np.float64], fs: float) -> tuple[int, int] | None:
    """The first beat that two detections both found; None where there is none.

    It is one whose peaks are no more than a sample apart. If no beat is, it is one whose peaks are less than half the
    refractory period apart: as the beats of one detection are a whole one apart, both are then peaks of the same beat.

    Parameters
    ----------
    before, after
        The times of the beats of each, in samples, in order; of shapes (n,) and (m,).
    fs
        Samples per second.

    Returns
    -------
    Its place among the ones and among the others.
    """
    for within in (1.0, REFRACTORY_S * fs / 2):
        places = after.searchsorted(before - within)
        there = np.flatnonzero(places < len(after))
        there = there[after[places[there]] <= before[there] + within]
        if len(there):
            return int(there[0]), int(places[there[0]])
    return None


def joined(
    before: NDArray[np.float64], after: NDArray[np.float64], edge: int, last: float | None, fs: float
) -> tuple[NDArray[np.float64], int]:
    """The beats from an edge on, of which the detection of the piece before it and that of the one after it know some.

    Up to the beat at which both meet they are those of the former, which had seen more of what comes before; from it on
    those of the latter. Where they do not meet they are those of the latter, without one that is too near to the last
    beat before the edge to be another one.

    Parameters
    ----------
    before, after
        Shape (n, columns) and (m, columns), in order of the first column, the times in samples. `before` has beats at
        the edge and after it only.
    edge
        The first sample of the piece after it.
    last
        The time of the last beat before the edge, in samples; None where there is none.
    fs
        Samples per second.

    Returns
    -------
    The beats, and how many of them are of the former.
    """
    met = meeting(before[:, 0], after[:, 0], fs)
    if met is None:
        earliest = float(edge) if last is None else max(edge, last + REFRACTORY_S * fs)
        return after[after[:, 0] >= earliest], 0
    n, m = met
    if after[m, 0] < edge:  # where all beats are known already
        n, m = n + 1, m + 1
    return np.concatenate([before[:n], after[m:]]), n
