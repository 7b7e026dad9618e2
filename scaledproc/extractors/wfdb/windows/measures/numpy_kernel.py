"""The integers of windows by numpy: several windows at once, each a row of a matrix that stays in the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scaledproc.extractors.wfdb.windows.measures import fields

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TOGETHER = 2**16
"""Samples of the windows that are done at once."""
_CUBE_LOW, _FOURTH_LOW = (1 << fields.CUBE_BITS) - 1, (1 << fields.FOURTH_BITS) - 1


def numpy_kernel(
    samples: NDArray[np.int32],
    windows: NDArray[np.int64],
    missing: int,
    is_reversed: bool,
    table: NDArray[np.int64],
) -> None:
    """Fill the table, as `fields.Kernel` says."""
    longest = int((windows[:, fields.END] - windows[:, fields.BEGIN]).max(initial=0))
    together = max(_TOGETHER // max(longest, 1), 1)
    for first in range(0, len(windows), together):
        some = slice(first, first + together)
        _fill(samples, windows[some], missing, is_reversed, table[some])
        _fill_gaps(samples, windows[some], missing, table[some])


def _fill_gaps(samples: NDArray[np.int32], windows: NDArray[np.int64], missing: int, table: NDArray[np.int64]) -> None:
    begins, ends, before, after = windows.T[: fields.BASELINE]
    n, lengths = table[:, fields.N], ends - begins
    gaps = np.maximum(before, after)
    for row in (n < lengths).nonzero()[0].tolist():
        begin, end = int(begins[row]), int(ends[row])
        there = (samples[begin:end] != missing).nonzero()[0]
        if len(there):
            edges = max(int(there[0]) + int(before[row]), end - begin - 1 - int(there[-1]) + int(after[row]))
            gaps[row] = max(edges, int(np.diff(there).max(initial=1)) - 1)
    np.copyto(gaps, before + lengths + after, where=n == 0)
    table[:, fields.GAP] = gaps


def _fill(
    samples: NDArray[np.int32],
    windows: NDArray[np.int64],
    missing: int,
    is_reversed: bool,
    table: NDArray[np.int64],
) -> None:
    x = _matrix(samples, windows[:, fields.BEGIN], windows[:, fields.END], missing)
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
    table[:, fields.N] = n
    fits = (n > 0) & (highest - lowest < fields.WIDEST)
    if not fits.any():
        return
    found = np.zeros_like(table)
    found[:, fields.N] = n
    found[:, fields.LOWEST], found[:, fields.HIGHEST] = lowest, highest
    baselines = windows[:, fields.BASELINE].tolist()
    for row in fits.nonzero()[0].tolist():
        at_zero, before = baselines[row], gone[row]
        values = ordered[row]
        places = values.searchsorted  # of a number of the same type, or else it copies all
        found[row, fields.N_LOWEST] = places(values[before], "right") - before
        found[row, fields.N_HIGHEST] = length - places(values[-1])
        if values[before] <= at_zero <= values[-1]:
            zero = np.int32(at_zero)
            found[row, fields.ZERO] = places(zero, "right") - places(zero)
    found[:, fields.DISTINCT] = 1 + _counts(ordered[:, 1:] != ordered[:, :-1]) - (gone > 0)
    is_told = fits & (n >= windows[:, fields.FEWEST])
    if is_told.any():
        _fill_sums(x, valid if has_gaps else None, ordered, is_told, is_reversed, missing, found)
        if not is_told.all():
            found[np.ix_(~is_told, _NOT_COUNTED)] = 0
    table[fits] = found[fits]


_NOT_COUNTED = [column for column in range(fields.FIELDS) if column not in fields.COUNTED]


def _fill_sums(
    x: NDArray[np.int32],
    valid: NDArray[np.bool_] | None,
    ordered: NDArray[np.int32],
    is_told: NDArray[np.bool_],
    is_reversed: bool,
    missing: int,
    found: NDArray[np.int64],
) -> None:
    """What is not a count of each window, where it is wanted of some."""
    n_rows, length = x.shape
    rows = np.arange(n_rows)
    n = found[:, fields.N]
    gone = length - n
    some = np.maximum(n, 1)
    total = x.sum(axis=1, dtype=np.int64) - missing * gone
    centre = total // some
    found[:, fields.CENTRE], found[:, fields.S1] = centre, total - n * centre
    for place, share in enumerate(fields.SHARES):
        below = (share * (some - 1)).astype(np.int64)
        above = np.minimum(below + 1, some - 1)
        for number, rank in enumerate((below, above)):
            found[:, fields.RANKS + 2 * place + number] = ordered[
                rows, length - 1 - rank if is_reversed else np.minimum(gone + rank, length - 1)
            ]
    y = x - centre.astype(np.int32)[:, None]
    if valid is not None:
        y *= valid
    farthest = np.maximum(centre - found[:, fields.LOWEST], found[:, fields.HIGHEST] - centre)
    _sum_powers(y, int(farthest[is_told].max()), found)
    threshold = (total // some + 1 if is_reversed else -(-total // some)) - centre
    _sum_steps(y, valid, threshold, found)


def _sum_powers(y: NDArray[np.int32], farthest: int, found: NDArray[np.int64]) -> None:
    a = y.astype(np.int64)
    square = a * a
    found[:, fields.S2] = square.sum(axis=1)
    if fields.fits_whole(farthest, y.shape[1]):
        cubes, fourths = _dots(square, a), _dots(square, square)
        found[:, fields.S3_HIGH], found[:, fields.S3_LOW] = cubes >> fields.CUBE_BITS, cubes & _CUBE_LOW
        found[:, fields.S4_HIGH], found[:, fields.S4_LOW] = fourths >> fields.FOURTH_BITS, fourths & _FOURTH_LOW
        return
    a *= square
    low = (a & _CUBE_LOW).sum(axis=1)
    a >>= fields.CUBE_BITS
    found[:, fields.S3_HIGH], found[:, fields.S3_LOW] = a.sum(axis=1) + (low >> fields.CUBE_BITS), low & _CUBE_LOW
    fourth = square.view(np.uint64)
    fourth *= fourth  # of 32 bits each
    low = (fourth & np.uint64(_FOURTH_LOW)).sum(axis=1).astype(np.int64)
    fourth >>= np.uint64(fields.FOURTH_BITS)
    high = fourth.sum(axis=1).astype(np.int64)
    found[:, fields.S4_HIGH], found[:, fields.S4_LOW] = high + (low >> fields.FOURTH_BITS), low & _FOURTH_LOW


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
        found[:, fields.PAIRS], found[:, fields.TRIPLES] = length - 1, max(length - 2, 0)
    else:
        both = valid[:, 1:] & valid[:, :-1]
        three = both[:, 1:] & both[:, :-1]
        found[:, fields.PAIRS], found[:, fields.TRIPLES] = _counts(both), _counts(three)
        first *= both
        second *= three
        flat &= both
        crossed &= both
    found[:, fields.FLAT], found[:, fields.CROSSINGS] = _counts(flat), _counts(crossed)
    found[:, fields.D1], found[:, fields.E1] = first.sum(axis=1, dtype=np.int64), second.sum(axis=1, dtype=np.int64)
    wide = first.astype(np.int64)
    found[:, fields.D2] = _dots(wide, wide)
    wide = second.astype(np.int64)
    found[:, fields.E2] = _dots(wide, wide)
    found[:, fields.LENGTH] = np.abs(first, out=first).sum(axis=1, dtype=np.int64)


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
