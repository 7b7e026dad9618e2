"""The integers of windows by numpy: several windows at once, each a row of a matrix that stays in the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scaledproc.extractors.wfdb.windows.integers import (
    CENTRE,
    CROSSINGS,
    CUBE_BITS,
    D1,
    D2,
    DISTINCT,
    E1,
    E2,
    FLAT,
    FOURTH_BITS,
    GAP,
    HIGHEST,
    LENGTH,
    LOWEST,
    N_HIGHEST,
    N_LOWEST,
    NARROW,
    PAIRS,
    RANKS,
    S1,
    S2,
    S3_HIGH,
    S3_LOW,
    S4_HIGH,
    S4_LOW,
    SHARES,
    TRIPLES,
    WIDEST,
    ZERO,
    N,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TOGETHER = 2**16
"""Samples of the windows that are done at once."""


def numpy_kernel(
    samples: NDArray[np.int32],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    missing: int,
    baseline: int,
    is_reversed: bool,
    table: NDArray[np.int64],
) -> None:
    """Fill the table, as `integers.Kernel` says."""
    begins = np.clip(starts, 0, len(samples))
    ends = np.clip(starts + lengths, 0, len(samples))
    longest = int((ends - begins).max(initial=0))
    together = max(_TOGETHER // max(longest, 1), 1)
    for first in range(0, len(starts), together):
        some = slice(first, first + together)
        _fill(samples, begins[some], ends[some], missing, baseline, is_reversed, table[some])
        # What the windows have beyond the samples.
        before, after = begins[some] - starts[some], starts[some] + lengths[some] - ends[some]
        _fill_gaps(samples, begins[some], ends[some], missing, before, after, table[some])


def _fill_gaps(
    samples: NDArray[np.int32],
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
    missing: int,
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    table: NDArray[np.int64],
) -> None:
    table[:, GAP] = np.maximum(before, after)
    for row in np.flatnonzero(table[:, N] < ends - begins).tolist():
        begin, end = int(begins[row]), int(ends[row])
        there = np.flatnonzero(samples[begin:end] != missing)
        if len(there):
            edges = max(int(there[0]) + int(before[row]), end - begin - 1 - int(there[-1]) + int(after[row]))
            table[row, GAP] = max(edges, int(np.diff(there).max(initial=1)) - 1)
    nothing = table[:, N] == 0
    table[nothing, GAP] = (before + ends - begins + after)[nothing]


def _fill(
    samples: NDArray[np.int32],
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
    missing: int,
    baseline: int,
    is_reversed: bool,
    table: NDArray[np.int64],
) -> None:
    x = _matrix(samples, begins, ends, missing)
    n_rows, length = x.shape
    if not length:
        return
    valid = x != missing
    n = _counts(valid)
    gone = length - n
    has_gaps = bool(gone.any())
    ordered = np.sort(x, axis=1)  # the missing value is lower than all others
    rows = np.arange(n_rows)
    lowest = ordered[rows, np.minimum(gone, length - 1)].astype(np.int64)
    highest = ordered[:, -1].astype(np.int64)
    table[:, N] = n
    fits = (n > 0) & (highest - lowest < WIDEST)
    if not fits.any():
        return
    some = np.maximum(n, 1)
    total = x.sum(axis=1, dtype=np.int64) - missing * gone
    centre = total // some
    found = np.zeros_like(table)
    found[:, N] = n
    found[:, CENTRE], found[:, S1] = centre, total - n * centre
    found[:, LOWEST], found[:, HIGHEST] = lowest, highest
    for row in np.flatnonzero(fits).tolist():
        places = ordered[row].searchsorted
        low, high, at_zero = int(lowest[row]), int(highest[row]), baseline
        found[row, N_LOWEST] = places(low, "right") - gone[row]
        found[row, N_HIGHEST] = length - places(high)
        if low <= at_zero <= high:
            found[row, ZERO] = places(np.int32(at_zero), "right") - places(np.int32(at_zero))
    steps = ordered[:, 1:] != ordered[:, :-1]
    found[:, DISTINCT] = 1 + _counts(steps) - (gone > 0)
    for place, share in enumerate(SHARES):
        below = (share * (some - 1)).astype(np.int64)
        above = np.minimum(below + 1, some - 1)
        for number, rank in enumerate((below, above)):
            found[:, RANKS + 2 * place + number] = ordered[
                rows, length - 1 - rank if is_reversed else np.minimum(gone + rank, length - 1)
            ]
    y = x - centre.astype(np.int32)[:, None]
    if has_gaps:
        y *= valid
    _sum_powers(y, int((highest - lowest)[fits].max()), found)
    threshold = (total // some + 1 if is_reversed else -(-total // some)) - centre
    _sum_steps(y, valid if has_gaps else None, threshold, found)
    table[fits] = found[fits]


def _sum_powers(y: NDArray[np.int32], widest: int, found: NDArray[np.int64]) -> None:
    a = y.astype(np.int64)
    square = a * a
    found[:, S2] = square.sum(axis=1)
    if widest < NARROW:
        cubes, fourths = _dots(square, a), _dots(square, square)
        found[:, S3_HIGH], found[:, S3_LOW] = cubes >> CUBE_BITS, cubes & ((1 << CUBE_BITS) - 1)
        found[:, S4_HIGH], found[:, S4_LOW] = fourths >> FOURTH_BITS, fourths & ((1 << FOURTH_BITS) - 1)
        return
    a *= square
    low = (a & ((1 << CUBE_BITS) - 1)).sum(axis=1)
    a >>= CUBE_BITS
    found[:, S3_HIGH], found[:, S3_LOW] = a.sum(axis=1) + (low >> CUBE_BITS), low & ((1 << CUBE_BITS) - 1)
    fourth = square.view(np.uint64)
    fourth *= fourth  # of 32 bits each
    low = (fourth & np.uint64((1 << FOURTH_BITS) - 1)).sum(axis=1).astype(np.int64)
    fourth >>= np.uint64(FOURTH_BITS)
    high = fourth.sum(axis=1).astype(np.int64)
    found[:, S4_HIGH], found[:, S4_LOW] = high + (low >> FOURTH_BITS), low & ((1 << FOURTH_BITS) - 1)


def _sum_steps(
    y: NDArray[np.int32], valid: NDArray[np.bool_] | None, threshold: NDArray[np.int64], found: NDArray[np.int64]
) -> None:
    """What neighbours have: those of which one is missing count for nothing."""
    length = y.shape[1]
    first = y[:, 1:] - y[:, :-1]
    second = first[:, 1:] - first[:, :-1]
    flat, is_above = first == 0, y >= threshold.astype(np.int32)[:, None]
    crossed = is_above[:, 1:] != is_above[:, :-1]
    if valid is None:
        found[:, PAIRS], found[:, TRIPLES] = length - 1, max(length - 2, 0)
    else:
        both = valid[:, 1:] & valid[:, :-1]
        three = both[:, 1:] & both[:, :-1]
        found[:, PAIRS], found[:, TRIPLES] = _counts(both), _counts(three)
        first *= both
        second *= three
        flat &= both
        crossed &= both
    found[:, FLAT], found[:, CROSSINGS] = _counts(flat), _counts(crossed)
    found[:, D1], found[:, E1] = first.sum(axis=1, dtype=np.int64), second.sum(axis=1, dtype=np.int64)
    wide = first.astype(np.int64)
    found[:, D2] = _dots(wide, wide)
    wide = second.astype(np.int64)
    found[:, E2] = _dots(wide, wide)
    found[:, LENGTH] = np.abs(first, out=first).sum(axis=1, dtype=np.int64)


def _matrix(
    samples: NDArray[np.int32], begins: NDArray[np.int64], ends: NDArray[np.int64], missing: int
) -> NDArray[np.int32]:
    """The windows' samples as rows, of which short ones end with missing samples."""
    lengths = ends - begins
    made = np.empty((len(begins), int(lengths.max(initial=0))), np.int32)
    for row, begin, length in zip(made, begins.tolist(), lengths.tolist(), strict=True):
        row[:length] = samples[begin : begin + length]
        row[length:] = missing
    return made


def _counts(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many of each row are true: the sum of a row takes five times as long."""
    return np.array([np.count_nonzero(row) for row in mask], np.int64)


def _dots(a: NDArray[np.int64], b: NDArray[np.int64]) -> Any:
    return np.einsum("ij,ij->i", a, b)
