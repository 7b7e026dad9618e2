"""The numbers of many windows at once: the same as `features` makes of each, to the bit, in a fraction of the time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scaledproc.extractors.wfdb.signals.statistics import Limits
from scaledproc.extractors.wfdb.windows.measures import fields
from scaledproc.extractors.wfdb.windows.measures.features import COUNTS, PERCENTILES, VALUES, shape_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scaledproc.extractors.wfdb.signals.statistics import Coding

NO_COUNT = -1
"""Instead of None among counts."""
_NO_LIMITS = Limits(2**62, -(2**62))
"""That no sample is within."""
_LEAST, _MOST = 1e-9, 1e9
"""Of rates and gains with which no value overflows, whatever samples there are."""
_EXACT = 2.0**51
"""Whole numbers up to four times as large are floats without rounding."""


class Codings(NamedTuple):
    """What the samples of windows mean, and how often they come, all of shape (windows,).

    Parameters
    ----------
    gain, baseline
        As in `Coding`.
    fs
        Samples per second.
    limits
        One array after the other of lowest and of highest values.
    """

    gain: NDArray[np.float64]
    baseline: NDArray[np.int64]
    fs: NDArray[np.float64]
    limits: Sequence[NDArray[np.int64]]

    @classmethod
    def of(cls, codings: Sequence[Coding], fs: Sequence[float], times: Sequence[int]) -> Codings:
        """Those of signals that have so many windows each."""
        most = max([len(each.limits) for each in codings])
        limits = [[*each.limits, *[_NO_LIMITS] * (most - len(each.limits))] for each in codings]
        return cls(
            np.repeat([each.gain for each in codings], times),
            np.repeat(np.array([each.baseline for each in codings], np.int64), times),
            np.repeat(np.array(fs, float), times),
            list(np.repeat(np.array(limits, np.int64).reshape(len(codings), -1), times, axis=0).T),
        )


def counts_of_many(table: NDArray[np.int64], n_samples: Sequence[int], codings: Codings) -> NDArray[np.int64]:
    """What `features.counts_of` tells of each window, shape (counts, windows), with `NO_COUNT` for None."""
    n, lowest, highest, n_lowest, n_highest, distinct, zero = table[:, _COUNTED].T
    found = np.full((len(COUNTS), len(table)), NO_COUNT)
    found[0] = n_samples
    found[1:4] = found[0] - n, distinct, zero
    at_low, at_high = found[4:]
    for least, most in zip(codings.limits[::2], codings.limits[1::2], strict=True):
        within = (n > 0) & (least <= lowest) & (highest <= most)
        np.copyto(at_low, np.where(least == lowest, n_lowest, np.maximum(at_low, 0)), where=within)
        np.copyto(at_high, np.where(most == highest, n_highest, np.maximum(at_high, 0)), where=within)
    is_reversed = codings.gain < 0
    found[4:, is_reversed] = found[:3:-1, is_reversed]
    return found


_COUNTED = [
    fields.N,
    *(fields.LOWEST, fields.HIGHEST, fields.N_LOWEST, fields.N_HIGHEST),
    *(fields.DISTINCT, fields.ZERO),
]


def are_exact(table: NDArray[np.int64], codings: Codings) -> NDArray[np.bool_]:
    """Whether floats and 64 bits have all whole numbers that `values_of_many` makes of windows with a valid sample."""
    gain, above = np.abs(codings.gain), (table[:, fields.CENTRE] - codings.baseline).astype(float)
    n, s2, pairs, d2, triples, e2 = table[
        :, [fields.N, fields.S2, fields.PAIRS, fields.D2, fields.TRIPLES, fields.E2]
    ].T.astype(float)
    # All of them are bounded by these, but for third and fourth moments, which are made of Python's.
    found: NDArray[np.bool_] = np.max((n * s2, pairs * d2, triples * e2, 4 * n * above * above), axis=0) < _EXACT
    for numbers in (gain, codings.fs):
        found &= (numbers >= _LEAST) & (numbers <= _MOST)
    return found


def values_of_many(
    table: NDArray[np.int64], gain: NDArray[np.float64], baseline: NDArray[np.int64], fs: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What `features.values_of` tells of each window, shape (values, windows), with NaN for None.

    Each window has a valid sample, and `are_exact` of it.
    """
    columns = np.ascontiguousarray(table.T)
    n, centre, s1, s2 = columns[[fields.N, fields.CENTRE, fields.S1, fields.S2]]
    pairs, triples, d2, e2 = columns[[fields.PAIRS, fields.TRIPLES, fields.D2, fields.E2]]
    above, second, size = centre - baseline, n * s2 - s1 * s1, np.abs(gain)
    found = np.full((len(VALUES), len(table)), np.nan)
    own = dict(zip(VALUES, found, strict=True))
    with np.errstate(all="ignore"):  # what is divided by 0 is null
        np.divide(columns[fields.FLAT], pairs, out=own["flat_share"], where=pairs > 0)
        np.divide((s1 + n * above) / n, gain, out=own["mean"])
        np.divide(np.sqrt(second / (n * (n - 1))), size, out=own["std"], where=n > 1)
        np.divide(np.sqrt((s2 + above * (2 * s1 + n * above)) / n), size, out=own["rms"])
        physical = (columns[[fields.LOWEST, fields.HIGHEST, *range(fields.RANKS, fields.FIELDS)]] - baseline) / gain
        np.copyto(own["min"], np.where(gain > 0, physical[0], physical[1]))
        np.copyto(own["max"], np.where(gain > 0, physical[1], physical[0]))
        for place, (name, share) in enumerate(zip(PERCENTILES, fields.SHARES, strict=True), 1):
            low, high = physical[2 * place : 2 * place + 2]
            position, step = share * (n - 1), high - low
            fraction = position - np.trunc(position)
            np.copyto(own[name], np.where(fraction < 0.5, low + step * fraction, high - step * (1 - fraction)))
        seconds = pairs / fs
        has_seconds = seconds > 0
        np.divide(columns[fields.LENGTH] / seconds, size, out=own["line_length"], where=has_seconds)
        np.divide(columns[fields.CROSSINGS], seconds, out=own["crossings"], where=has_seconds)
        steps = pairs * d2 - columns[fields.D1] ** 2
        bends = triples * e2 - columns[fields.E1] ** 2
        of_steps = steps / (pairs * pairs)
        mobility = np.sqrt(of_steps / (second / (n * n)))
        has_mobility = (second > 0) & (pairs > 1)
        np.copyto(own["hjorth_mobility"], mobility * fs, where=has_mobility)
        complexity = np.sqrt(bends / (triples * triples) / of_steps) / mobility
        np.copyto(own["hjorth_complexity"], complexity, where=has_mobility & (steps > 0) & (triples > 1))
    powers = table[:, fields.S3_HIGH : fields.S4_LOW + 1].tolist()
    shapes = list(map(shape_of, n.tolist(), s1.tolist(), s2.tolist(), powers, gain.tolist()))
    own["skewness"][:], own["kurtosis"][:] = np.array(shapes, float).reshape(-1, 2).T
    return found
