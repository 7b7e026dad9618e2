"""What the samples of windows are counted and summed up to: whole numbers, exact, the same on every processor.

Two kernels fill the same table: that of `numpy_kernel` and, where numba is installed, the compiled one of
`numba_kernel`. Windows whose samples are too far apart for their sums are done by `exact_row`, in Python's integers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHARES = (0.05, 0.25, 0.50, 0.75, 0.95)
"""Of the percentiles."""
WIDEST = 2**16
"""Values that the valid samples of a window may spread over; a kernel leaves a window of more to `exact_row`."""
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


BEGIN, END, BEFORE, AFTER, BASELINE, FEWEST = range(6)
"""Of the kernels' windows: where each begins among the samples, and the first sample behind it; how many missing ones
it has before and after these; the baseline; and how many valid samples it must have for more than the counts, which are
`COUNTED`, to be told."""
COUNTED = (N, GAP, LOWEST, HIGHEST, N_LOWEST, N_HIGHEST, DISTINCT, ZERO)

Kernel = Callable[["NDArray[np.int32]", "NDArray[np.int64]", int, bool, "NDArray[np.int64]"], None]
"""What fills a table of zeros: from samples, windows of shape (windows, 6), the missing value, and whether the largest
digital value is the smallest physical one."""
_JOINED = 2**16
"""Samples of several signals that a kernel is given at once: calling it takes as long as thousands of samples do."""
_FEW = 16
"""Windows up to which Python's numbers take less time than arrays."""


class Asked(NamedTuple):
    """Windows of a signal whose integers are wanted.

    Parameters
    ----------
    samples
        Digital ones, shape (n,).
    starts, lengths
        Places among the samples, shape (windows,); what is beyond them is missing.
    coded
        What they mean.
    fewest
        How many valid samples each window must have for more than `COUNTED` to be told, shape (windows,).
    """

    samples: NDArray[np.int32]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    coded: Coded
    fewest: NDArray[np.int64]


def table_of(
    samples: NDArray[np.int32],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    coded: Coded,
    kernel: Kernel,
) -> list[list[int]]:
    """The integers of all windows of a signal, a list for each; the arguments are those of `Asked`, and the kernel."""
    return tables_of([Asked(samples, starts, lengths, coded, np.zeros(len(starts), np.int64))], kernel)[0].rows()


class Integers(NamedTuple):
    """The integers of windows of a signal.

    Parameters
    ----------
    table
        Shape (windows, `FIELDS`).
    exact
        All of those that may need more than 64 bits, by the places of their windows; the table has `COUNTED` of them.
    """

    table: NDArray[np.int64]
    exact: dict[int, list[int]]

    def rows(self) -> list[list[int]]:
        """The integers of each window."""
        rows: list[list[int]] = self.table.tolist()
        for place, row in self.exact.items():
            rows[place] = row
        return rows


def tables_of(asked: Sequence[Asked], kernel: Kernel) -> list[Integers]:
    """The integers of windows of some signals."""
    found: list[Integers] = []
    for first, stop in _joined(asked):
        some = asked[first:stop]
        missing, _, is_reversed = some[0].coded
        windows = _windows(some)
        samples = some[0].samples if len(some) == 1 else np.concatenate([each.samples for each in some])
        table = np.zeros((len(windows), FIELDS), np.int64)
        kernel(samples, windows, missing, is_reversed, table)
        left: list[int] = []
        if not table[:, N_LOWEST].all():
            left = ((table[:, N_LOWEST] == 0) & (table[:, N] != 0)).nonzero()[0].tolist()
        at = 0
        for each in some:
            stop = at + len(each.starts)
            exact = {}
            for place in left:
                if at <= place < stop:
                    begin, end = windows[place, BEGIN : END + 1].tolist()
                    row = exact_row(samples[begin:end].tolist(), each.coded, int(table[place, GAP]))
                    table[place, COUNTED] = [row[field] for field in COUNTED]
                    exact[place - at] = row
            found.append(Integers(table[at:stop], exact))
            at = stop
    return found


def _joined(asked: Sequence[Asked]) -> list[tuple[int, int]]:
    """Which signals that follow each other a kernel is given at once: few samples, of the same kind."""
    found: list[tuple[int, int]] = []
    size = 0
    for place, each in enumerate(asked):
        size += len(each.samples)
        if found and size <= _JOINED:
            first, last = found[-1][0], asked[place - 1].coded
            if last.missing == each.coded.missing and last.is_reversed == each.coded.is_reversed:
                found[-1] = first, place + 1
                continue
        found.append((place, place + 1))
        size = len(each.samples)
    return found


def _windows(asked: Sequence[Asked]) -> NDArray[np.int64]:
    """Windows as kernels take them, those of all signals among the samples of all."""
    n_windows = [len(each.starts) for each in asked]
    if sum(n_windows) <= _FEW:
        return _few_windows(asked)
    windows = np.empty((sum(n_windows), 6), np.int64)
    begins, ends = windows[:, BEGIN], windows[:, END]
    if len(asked) == 1:
        (samples, starts, lengths, coded, windows[:, FEWEST]) = asked[0]
        n: int | NDArray[np.int64] = len(samples)
        windows[:, BASELINE] = coded.baseline
    else:
        starts = np.concatenate([each.starts for each in asked])
        lengths = np.concatenate([each.lengths for each in asked])
        windows[:, FEWEST] = np.concatenate([each.fewest for each in asked])
        sizes = [len(each.samples) for each in asked]
        of_signals = np.array([sizes, list(accumulate(sizes)), [each.coded.baseline for each in asked]])
        n, behind, windows[:, BASELINE] = of_signals.repeat(n_windows, axis=1)
    stops = starts + lengths
    np.minimum(np.maximum(starts, 0), n, out=begins)
    np.minimum(np.maximum(stops, 0), n, out=ends)
    np.subtract(begins, starts, out=windows[:, BEFORE])
    np.subtract(stops, ends, out=windows[:, AFTER])
    if len(asked) > 1:
        windows[:, : END + 1] += (behind - n)[:, None]
    return windows


def _few_windows(asked: Sequence[Asked]) -> NDArray[np.int64]:
    """What `_windows` gives, where a call of numpy takes longer than a window does."""
    windows: list[tuple[int, ...]] = []
    before = 0
    for samples, starts, lengths, coded, fewest in asked:
        n = len(samples)
        for start, length, least in zip(starts.tolist(), lengths.tolist(), fewest.tolist(), strict=True):
            stop = start + length
            begin, end = min(max(start, 0), n), min(max(stop, 0), n)
            windows.append((before + begin, before + end, begin - start, stop - end, coded.baseline, least))
        before += n
    return np.array(windows, np.int64).reshape(-1, 6)


def fits_whole(farthest: int, n: int) -> bool:
    """Whether the sum of so many fourth powers needs no more than 63 bits, of numbers that are no farther from 0."""
    return farthest**4 * n < 2**63


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
