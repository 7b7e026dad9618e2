"""What the samples of windows are counted and summed up to: whole numbers, exact, the same on every processor.

Two kernels fill the same table: that of `numpy_kernel` and, where numba is installed, the compiled one of
`numba_kernel`. Windows whose samples are too far apart for their sums are done by `exact_row`, in Python's integers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHARES = (0.05, 0.25, 0.50, 0.75, 0.95)
"""Of the percentiles."""
WIDEST = 2**16
"""Values that the valid samples of a window may spread over; a kernel leaves a window of more to `exact_row`."""
NARROW = 2**10
"""Values up to which no sum of fourth powers, of 40 bits each, needs more than 63 bits."""
LONGEST = 2**21
"""Samples of a window, up to which the kernels' sums are exact."""
CUBE_BITS, FOURTH_BITS = 24, 32
"""The low bits of third and fourth powers, which are summed apart from the others."""

# Columns of the kernels' table. Over the valid samples x of a window, with y = x - CENTRE:
N = 0
"""How many there are."""
GAP = 1
"""The longest run of missing samples; what the window has before and after the signal's samples counts."""
CENTRE = 2
"""Their mean, rounded down."""
S1, S2, S3_HIGH, S3_LOW, S4_HIGH, S4_LOW = range(3, 9)
"""Sums of the powers of y; the third is `S3_HIGH * 2**24 + S3_LOW`, the fourth `S4_HIGH * 2**32 + S4_LOW`."""
LOWEST, HIGHEST, N_LOWEST, N_HIGHEST = range(9, 13)
"""The extremes, and how many samples have them; none where the window was left to `exact_row`."""
DISTINCT, ZERO = 13, 14
"""How many different values there are; how many samples are at the baseline, which is physically 0."""
PAIRS, FLAT, LENGTH, D1, D2 = range(15, 20)
"""Neighbours of which both are valid, and how many are equal; sums of their differences: absolute, signed, squared."""
TRIPLES, E1, E2 = range(20, 23)
"""Three neighbours that are all valid; sums of their second differences: signed, squared."""
CROSSINGS = 23
"""Pairs of which one sample is physically at the mean or above it, the other one below."""
RANKS = 24
"""From here on the two samples around each percentile, in the order of physical values."""
FIELDS = RANKS + 2 * len(SHARES)


class Coded(NamedTuple):
    """What the kernels must know of a signal.

    Parameters
    ----------
    missing
        The digital value of a missing sample: lower than that of any other.
    baseline
        The digital value of the physical 0.
    is_reversed
        Whether the gain is negative, so that the largest digital value is the smallest physical one.
    """

    missing: int
    baseline: int
    is_reversed: bool


Kernel = Callable[
    ["NDArray[np.int32]", "NDArray[np.int64]", "NDArray[np.int64]", int, int, bool, "NDArray[np.int64]"], None
]
"""What fills a table of zeros: from samples, where each window begins (before the first sample, too), how many samples
it has (beyond the last one, too), and the parts of `Coded`."""


def table_of(
    samples: NDArray[np.int32],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    coded: Coded,
    kernel: Kernel,
) -> list[list[int]]:
    """The integers of windows, a list for each.

    Parameters
    ----------
    samples
        Digital ones, shape (n,).
    starts, lengths
        Places among the samples, shape (windows,); what is beyond them is missing.
    coded
        What they mean.
    kernel
        Which does it.
    """
    table = np.zeros((len(starts), FIELDS), np.int64)
    kernel(samples, starts, lengths, *coded, table)
    rows: list[list[int]] = table.tolist()
    for row, start, length in zip(rows, starts.tolist(), lengths.tolist(), strict=True):
        if row[N] and not row[N_LOWEST]:
            row[:] = exact_row(samples[max(start, 0) : max(start + length, 0)].tolist(), coded, row[GAP])
    return rows


def exact_row(samples: Sequence[int], coded: Coded, gap: int) -> list[int]:
    """The integers of one window of any samples, of which at least one is valid.

    Parameters
    ----------
    samples
        Digital ones.
    coded
        What they mean.
    gap
        The longest run of missing ones.
    """
    missing, baseline, is_reversed = coded
    valid = [x for x in samples if x != missing]
    n, total = len(valid), sum(valid)
    centre = total // n
    y = [x - centre for x in valid]
    s2, s3, s4 = (sum(each**power for each in y) for power in (2, 3, 4))
    ordered = sorted(valid)
    pairs = [(a, b) for a, b in pairwise(samples) if missing not in (a, b)]
    steps = [b - a for a, b in pairs]
    bends = [
        c - 2 * b + a for a, b, c in zip(samples, samples[1:], samples[2:], strict=False) if missing not in (a, b, c)
    ]
    threshold = crossed_at(total, n, is_reversed=is_reversed)
    row = [0] * FIELDS
    row[N], row[GAP], row[CENTRE], row[S1], row[S2] = n, gap, centre, sum(y), s2
    row[S3_HIGH], row[S3_LOW] = s3 >> CUBE_BITS, s3 & ((1 << CUBE_BITS) - 1)
    row[S4_HIGH], row[S4_LOW] = s4 >> FOURTH_BITS, s4 & ((1 << FOURTH_BITS) - 1)
    row[LOWEST], row[HIGHEST] = ordered[0], ordered[-1]
    row[N_LOWEST], row[N_HIGHEST] = valid.count(ordered[0]), valid.count(ordered[-1])
    row[DISTINCT], row[ZERO] = len(set(valid)), valid.count(baseline)
    row[PAIRS], row[FLAT] = len(pairs), steps.count(0)
    row[LENGTH], row[D1], row[D2] = sum(map(abs, steps)), sum(steps), sum(d * d for d in steps)
    row[TRIPLES], row[E1], row[E2] = len(bends), sum(bends), sum(e * e for e in bends)
    row[CROSSINGS] = sum((a >= threshold) != (b >= threshold) for a, b in pairs)
    if is_reversed:
        ordered.reverse()
    for place, share in enumerate(SHARES):
        below = int(share * (n - 1))
        row[RANKS + 2 * place] = ordered[below]
        row[RANKS + 2 * place + 1] = ordered[min(below + 1, n - 1)]
    return row


def crossed_at(total: int, n: int, *, is_reversed: bool) -> int:
    """The digital value from which on samples are on the other side of their mean than those below it.

    The physical mean belongs to the physically upper side.
    """
    return total // n + 1 if is_reversed else -(-total // n)
