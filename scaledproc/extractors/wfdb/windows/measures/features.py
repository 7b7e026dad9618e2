"""The numbers of a window in physical units, from its integers by a few correctly rounded operations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from scaledproc.extractors.wfdb.signals.statistics import Coding
from scaledproc.extractors.wfdb.windows.measures import fields

COUNTS = ("n_samples", "n_missing", "n_distinct", "n_zero", "n_at_min", "n_at_max")
"""Columns that a window has in any case; the others are null where too little of it is valid."""
PERCENTILES = ("p05", "p25", "p50", "p75", "p95")
VALUES = (
    "flat_share",
    "mean",
    "std",
    "skewness",
    "kurtosis",
    "rms",
    "min",
    *PERCENTILES,
    "max",
    "line_length",
    "crossings",
    "hjorth_mobility",
    "hjorth_complexity",
)
_LARGEST = 1e100
"""Of physical values, as in `wfdb-summary`: squares of more are no floats."""


class Timing(NamedTuple):
    """When samples were taken.

    Parameters
    ----------
    fs
        Samples per second; None where they come at irregular times.
    seconds
        From the first to the last one, where they do.
    """

    fs: float | None
    seconds: float | None = None


def counts_of(row: Sequence[int], n_samples: int, coding: Coding) -> tuple[int | None, ...]:
    """The values of `COUNTS`."""
    n = row[fields.N]
    at_min = at_max = None
    if n:
        lowest, highest = row[fields.LOWEST], row[fields.HIGHEST]
        for least, most in coding.limits:
            if least <= lowest and highest <= most:
                at_min = row[fields.N_LOWEST] if least == lowest else at_min or 0
                at_max = row[fields.N_HIGHEST] if most == highest else at_max or 0
        if coding.gain < 0:
            at_min, at_max = at_max, at_min
    return n_samples, n_samples - n, row[fields.DISTINCT], row[fields.ZERO], at_min, at_max


def values_of(row: Sequence[int], coding: Coding, timing: Timing) -> tuple[float | None, ...]:
    """The values of `VALUES` of a window that has a valid sample.

    Raises
    ------
    OverflowError
        If physical values are larger than 1e100.
    """
    gain, baseline = coding.gain, coding.baseline
    n, centre, s1, s2 = row[fields.N], row[fields.CENTRE], row[fields.S1], row[fields.S2]
    # Of the differences from the mean: sums of powers, times powers of n.
    second = n * s2 - s1 * s1
    std = math.sqrt(second / (n * (n - 1))) / abs(gain) if n > 1 else None
    powers = row[fields.S3_HIGH : fields.S4_LOW + 1]
    skewness, kurtosis = shape_of(n, s1, s2, powers, gain)
    above = centre - baseline  # x - baseline = y + above
    rms = math.sqrt((s2 + above * (2 * s1 + n * above)) / n) / abs(gain)
    low, high = (row[fields.LOWEST], row[fields.HIGHEST]) if gain > 0 else (row[fields.HIGHEST], row[fields.LOWEST])
    least, most, *around = [(value - baseline) / gain for value in (low, high, *row[fields.RANKS :])]
    if not -_LARGEST <= least <= most <= _LARGEST:
        raise OverflowError(f"the ADC gain makes samples larger than {_LARGEST:g}")
    percentiles = [
        _between(around[2 * place], around[2 * place + 1], share * (n - 1)) for place, share in enumerate(fields.SHARES)
    ]
    pairs = row[fields.PAIRS]
    seconds = timing.seconds if timing.fs is None else pairs / timing.fs
    length = crossings = None
    if pairs and seconds:
        length, crossings = row[fields.LENGTH] / seconds / abs(gain), row[fields.CROSSINGS] / seconds
    mobility, complexity = (None, None) if timing.fs is None else _hjorth(row, second, timing.fs)
    return (
        row[fields.FLAT] / pairs if pairs else None,
        (s1 + n * above) / n / gain,
        std,
        skewness,
        kurtosis,
        rms,
        least,
        *percentiles,
        most,
        length,
        crossings,
        mobility,
        complexity,
    )


def shape_of(n: int, s1: int, s2: int, powers: Sequence[int], gain: float) -> tuple[float | None, float | None]:
    """Skewness and kurtosis, from the sums of powers, of which `powers` are those from `fields.S3_HIGH` on."""
    s3_high, s3_low, s4_high, s4_low = powers
    second = n * s2 - s1 * s1
    if not second:
        return None, None
    s3 = (s3_high << fields.CUBE_BITS) + s3_low
    s4 = (s4_high << fields.FOURTH_BITS) + s4_low
    third = n * (n * s3 - 3 * s1 * s2) + 2 * s1**3
    square = second * second
    fourth = n * (n * (n * s4 - 4 * s1 * s3) + 6 * s1 * s1 * s2) - 3 * s1**4
    skewness = third / second / math.sqrt(second)
    return -skewness if gain < 0 else skewness, (fourth - 3 * square) / square


def _between(low: float, high: float, position: float) -> float:
    """As numpy's `percentile(…, method="linear")`, rounding included."""
    fraction = position - int(position)
    step = high - low
    return low + step * fraction if fraction < 0.5 else high - step * (1 - fraction)


def _hjorth(row: Sequence[int], second: int, fs: float) -> tuple[float | None, float | None]:
    """Mobility, per second, and complexity; each from variances over all of their kind that are known."""
    n, pairs, triples = row[fields.N], row[fields.PAIRS], row[fields.TRIPLES]
    if not second or pairs < 2:
        return None, None
    steps = pairs * row[fields.D2] - row[fields.D1] ** 2
    mobility = math.sqrt(steps / (pairs * pairs) / (second / (n * n)))
    if not steps or triples < 2:
        return mobility * fs, None
    bends = triples * row[fields.E2] - row[fields.E1] ** 2
    return mobility * fs, math.sqrt(bends / (triples * triples) / (steps / (pairs * pairs))) / mobility
