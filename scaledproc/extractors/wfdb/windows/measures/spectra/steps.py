"""The steps of spectra that gain by compiling, where numba is installed; both ways give the same values.

Each does the same operations in the same order as numpy does in `welch`: sums by halves, as numpy's of a row.
"""

# numba gives the variables their types, which mypy cannot follow.
# mypy: disable-error-code="index, operator"

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from scaledproc.extractors.wfdb.machine_code import Entry, Native
from scaledproc.extractors.wfdb.windows.measures.spectra import transform_code
from scaledproc.extractors.wfdb.windows.measures.spectra.transform import ROOMS, plan_of
from scaledproc.extractors.wfdb.windows.measures.spectra.transform_code import LANES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scaledproc.extractors.wfdb.machine_code import Functions
    from scaledproc.extractors.wfdb.windows.measures.spectra.transform import TransformPlan

_GROUP = 64
"""Samples that are searched at once for a missing one."""
_TILE = 64
"""Rows of windows side by side that are written at once, one window after the other, while they are in the cache."""
_ROWS = 4
"""Windows whose powers are added up side by side."""
transform = Native("transform", "uintp, uintp, uintp, uintp, int64", transform_code.text)
cut = Native("cut", "uintp, uintp, uintp, uintp, int64", transform_code.text_of_cut)


class Steps(NamedTuple):
    """Compiled functions."""

    powers: Any
    summed: Any


def compiled_steps(functions: Functions) -> Steps:
    """The steps, of what is compiled."""
    powers, summed = functions["powers"], functions["summed"]

    def powers_of(
        samples: NDArray[np.int32],
        starts: NDArray[np.int64],
        length: int,
        missing: int,
        hop: int,
        weights: NDArray[np.float64],
        plan: TransformPlan,
        scale: NDArray[np.float64],
        power: NDArray[np.float64],
    ) -> None:
        room = _room_for_transforms(len(weights), length, len(starts))
        powers(samples, starts, length, missing, hop, weights, *plan, scale, power, *room, *_room_for_halves())

    def summed_of(power: NDArray[np.float64], *values: Any) -> None:
        summed(power, *values, *_room_for_telling(power.shape[1]), *_room_for_halves())

    return Steps(powers_of, summed_of)


def _room_for_transforms(n: int, length: int, n_windows: int) -> tuple[NDArray[Any], ...]:
    """Room for transforms of `n` samples, for windows that have gaps, sums of squares, and numbers of each lane.

    Rows begin where the processor reads them at once.
    """
    size = ROOMS * n * LANES
    room = np.empty(size + LANES)
    begin = -room.ctypes.data % (8 * LANES) // 8
    few = min(n_windows, LANES)
    return (
        room[begin : begin + size].reshape(ROOMS * n, LANES),
        np.empty((few, length)),
        np.empty((few, n)),
        np.empty(LANES),
        np.empty((3, LANES), np.int64),
    )


def _room_for_telling(n: int) -> tuple[NDArray[Any], ...]:
    """Room for what is added up of some windows, and for numbers of one of them, at `n` frequencies."""
    return np.empty((_ROWS, n)), np.empty(n, np.float32), *np.empty((2, n)), np.empty(n, np.int64)


def _room_for_halves() -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Room for what `_sum` notes of halves that wait for their other ones."""
    return np.zeros((3, 48), np.int64), np.zeros(48)


def _sum(values: Any, first: int, n: int, halves: Any, sums: Any) -> Any:
    """The sum of some values, added up in numpy's order for such a row: by halves, down to 128 or fewer."""
    # Of each half that waits for the other one: where that is, whether it is at work, and the sum of this one.
    firsts, lengths, is_second = halves[0], halves[1], halves[2]
    waiting = 0
    while True:
        while n > 128:
            half = n // 2
            half -= half % 8
            firsts[waiting], lengths[waiting], is_second[waiting] = first + half, n - half, 0
            waiting += 1
            n = half
        total = _short_sum(values, first, n)
        while waiting > 0 and is_second[waiting - 1] != 0:
            waiting -= 1
            total = sums[waiting] + total
        if waiting == 0:
            return total
        sums[waiting - 1], is_second[waiting - 1] = total, 1
        first, n = firsts[waiting - 1], lengths[waiting - 1]


def _short_sum(values: Any, first: int, n: int) -> Any:
    """The sum of at most 128 values."""
    if n < 8:
        few = 0.0
        for i in range(n):
            few += values[first + i]
        return few
    some = values[first : first + n]
    a, b, c, d, e, f, g, h = some[0], some[1], some[2], some[3], some[4], some[5], some[6], some[7]
    whole = n - n % 8
    for eight in range(1, whole // 8):
        at = np.uint64(8) * np.uint64(eight)  # of which it is known that it does not count from the end
        a += some[at]
        b += some[at + np.uint64(1)]
        c += some[at + np.uint64(2)]
        d += some[at + np.uint64(3)]
        e += some[at + np.uint64(4)]
        f += some[at + np.uint64(5)]
        g += some[at + np.uint64(6)]
        h += some[at + np.uint64(7)]
    total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for last in range(whole, n):
        total += some[last]
    return total


def _powers(
    samples: Any,
    starts: Any,
    length: int,
    missing: int,
    hop: int,
    weights: Any,
    order: Any,
    constants: Any,
    steps: Any,
    scale: Any,
    power: Any,
    room: Any,
    lines: Any,
    sums: Any,
    means: Any,
    lanes: Any,
    halves: Any,
    sums_of_halves: Any,
) -> None:
    """The power of windows at each frequency but 0, shape (windows, frequencies): what `Welch._powers_by_numpy` does.

    `room`, of shape (4 n, lanes), is what a `TransformPlan` is made for. Of as many windows as there are lanes, each
    has one for all of its segments; of fewer, each segment has one, and the squares are added up behind.
    """
    n = len(weights)
    n_segments = (length - n) // hop + 1
    squares = room[3 * n :]
    of_windows, begins = lanes[0], lanes[1]  # of each lane: which window, and how far in it the segment begins
    for first in range(0, len(starts), LANES):
        some = starts[first : first + LANES]
        whole = 0  # a bit for each window that has all samples
        for w in range(len(some)):
            start = some[w]
            if start >= 0 and start + length <= len(samples) and _has_all(samples[start : start + length], missing):
                whole |= 1 << w
            else:
                _fill_line(samples, start, length, missing, lines[w])
        if len(some) == LANES:
            squares[:] = 0
            for s in range(n_segments):
                for lane in range(LANES):
                    of_windows[lane], begins[lane] = lane, s * hop
                _fill_rows(samples, some, whole, weights, room, lines, means, lanes, halves, sums_of_halves)
                add_squares(room, order, constants, steps)
            _tell_powers(squares, scale, power[first : first + LANES])
            continue
        sums[: len(some)] = 0
        n_all = len(some) * n_segments
        for done in range(0, n_all, LANES):
            used = min(LANES, n_all - done)
            for lane in range(LANES):
                at = done + min(lane, used - 1)  # those without a segment repeat the last one
                of_windows[lane], begins[lane] = at // n_segments, at % n_segments * hop
            _fill_rows(samples, some, whole, weights, room, lines, means, lanes, halves, sums_of_halves)
            squares[:] = 0
            add_squares(room, order, constants, steps)
            for begin in range(0, n, _TILE):
                tile = squares[begin : begin + _TILE]
                for lane in range(used):
                    added = sums[of_windows[lane], begin : begin + _TILE]
                    for i in range(len(tile)):
                        added[i] += tile[i, lane]
        _tell_sums(sums, scale, power[first : first + len(some)])


def _fill_rows(
    samples: Any,
    starts: Any,
    whole: int,
    weights: Any,
    room: Any,
    lines: Any,
    means: Any,
    lanes: Any,
    halves: Any,
    sums_of_halves: Any,
) -> None:
    """Write the segments of all lanes side by side, without their means, and weighted."""
    n = len(weights)
    rows = room[:n]
    of_windows, begins, firsts = lanes[0], lanes[1], lanes[2]
    are_whole = True
    for lane in range(LANES):
        w = of_windows[lane]
        firsts[lane] = starts[w] + begins[lane]
        if whole >> w & 1:
            part = samples[firsts[lane] : firsts[lane] + n]
            total = np.int64(0)  # as floats they would be added up to the same: no sum of them is rounded
            for i in range(n):
                total += part[i]
            means[lane] = total / n
        else:
            means[lane] = _sum(lines[w], begins[lane], n, halves, sums_of_halves) / n
            are_whole = False
    done = 0
    if are_whole:
        done = n // LANES * LANES
        cut_windows(samples, firsts, means, weights[:done], rows[:done])
    for begin in range(done, n, _TILE):
        tile, weight = rows[begin : begin + _TILE], weights[begin : begin + _TILE]
        for lane in range(LANES):
            mean, w = means[lane], of_windows[lane]
            at = begins[lane] + begin
            if whole >> w & 1:
                part = samples[starts[w] + at : starts[w] + at + len(tile)]
                for i in range(len(tile)):
                    tile[i, lane] = (part[i] - mean) * weight[i]
            else:
                values = lines[w, at : at + len(tile)]
                for i in range(len(tile)):
                    tile[i, lane] = (values[i] - mean) * weight[i]


def _has_all(window: Any, missing: Any) -> Any:
    lowest = window[0]
    for i in range(1, len(window)):
        lowest = min(lowest, window[i])
    return lowest != missing  # which is lower than all others


def _tell_powers(squares: Any, scale: Any, power: Any) -> None:
    """The power of each window, of the squares of real and imaginary parts."""
    n, bins = len(squares), power.shape[1]
    for begin in range(0, bins, _TILE):
        for lane in range(len(power)):
            for k in range(begin, min(begin + _TILE, bins)):
                real = squares[2 * k + 1, lane]
                imaginary = squares[2 * k + 2, lane] if 2 * k + 2 < n else 0.0
                power[lane, k] = (real + imaginary) * scale[k + 1]


def _tell_sums(sums: Any, scale: Any, power: Any) -> None:
    """What `_tell_powers` does, of windows whose squares are one behind the other."""
    n = sums.shape[1]
    for w in range(len(power)):
        for k in range(power.shape[1]):
            imaginary = sums[w, 2 * k + 2] if 2 * k + 2 < n else 0.0
            power[w, k] = (sums[w, 2 * k + 1] + imaginary) * scale[k + 1]


def cut_windows(samples: Any, firsts: Any, means: Any, weights: Any, rows: Any) -> None:
    """Segments side by side, of all samples from the first ones on, without their means and weighted."""
    for lane in range(LANES):
        rows[:, lane] = (samples[firsts[lane] : firsts[lane] + len(rows)] - means[lane]) * weights


def _cut_in_code(samples: Any, firsts: Any, means: Any, weights: Any, rows: Any) -> None:
    """The same to the bit; it writes addresses over the places of the first samples."""
    for lane in range(LANES):
        firsts[lane] = samples.ctypes.data + 4 * firsts[lane]
    cut(firsts.ctypes.data, means.ctypes.data, weights.ctypes.data, rows.ctypes.data, len(rows))


def add_squares(room: Any, order: Any, _constants: Any, _steps: Any) -> None:
    """Add the squares of the transforms of the first rows to the last rows, half-complex."""
    n = len(order)
    found = np.fft.rfft(room[:n], axis=0)
    parts = np.stack([found.real, found.imag], axis=1).reshape(-1, LANES)  # the imaginary part of the sum is 0
    room[3 * n :] += np.square(np.concatenate([parts[:1], parts[2:]])[:n])


def _add_squares_in_code(room: Any, order: Any, constants: Any, steps: Any) -> None:
    """The same to the bit, by the steps of a plan."""
    transform(room.ctypes.data, order.ctypes.data, constants.ctypes.data, steps.ctypes.data, len(steps))


def _fill_line(samples: Any, start: int, length: int, missing: int, line: Any) -> None:
    """A window of which samples are missing: these on a straight line between their neighbours."""
    before, behind = max(-start, 0), min(length, len(samples) - start)
    there, values = samples[start + before : start + behind], line[before:behind]
    for i in range(len(there)):
        values[i] = there[i]
    last = -1  # the last valid sample
    i = before
    while i < length:
        if last == i - 1 and i + _GROUP <= behind:  # nearly always all of some are there
            group = there[i - before : i - before + _GROUP]
            gone = np.int32(0)
            for j in range(_GROUP):
                gone += np.int32(group[j] == missing)
            if gone == 0:
                i += _GROUP
                last = i - 1
                continue
        for j in range(i, min(i + _GROUP, length)):
            if j >= behind or there[j - before] == missing:
                continue
            if j - last > 1:  # a run of missing ones ends
                _interpolate(line, last, j, length)
            last = j
        i += _GROUP
    if length - last > 1:
        _interpolate(line, last, length, length)


def _interpolate(line: Any, last: int, i: int, length: int) -> None:
    """Fill in what lies between two valid samples, or before the first or after the last one."""
    low = line[last] if last >= 0 else line[i]
    high = line[i] if i < length else line[last]
    left = last if last >= 0 else i
    right = i if i < length else last
    slope = (high - low) / max(right - left, 1)
    for j in range(last + 1, i):
        line[j] = low + slope * (j - left)


def _summed(
    power: Any,
    bands: Any,
    share: float,
    bits_of_sqrt_half: int,
    log_2: float,
    sums: Any,
    places: Any,
    entropies: Any,
    below: Any,
    singles: Any,
    exponents: Any,
    terms: Any,
    bits_of_m: Any,
    halves: Any,
    sums_of_halves: Any,
) -> None:
    """What `welch.Welch._summed` tells; `bands` are places among the frequencies, `power` is written over.

    What follows the entropies is room for as many numbers as there are frequencies each, and for `_sum`.
    """
    n = power.shape[1]
    m = bits_of_m.view(np.float64)
    bits_of_singles = singles.view(np.int32)
    for w in range(len(power)):
        row = power[w]
        if w % _ROWS == 0:
            _add_up(power[w : w + _ROWS], below)
        total = _sum(row, 0, n, halves, sums_of_halves)
        sums[w, 0] = total
        for band in range(len(bands)):
            first = bands[band, 0]
            sums[w, band + 1] = _sum(row, first, bands[band, 1] - first, halves, sums_of_halves)
        up_to = below[w % _ROWS]
        wanted = share * up_to[n - 1]
        edge = 0
        while edge < n and up_to[edge] < wanted:
            edge += 1
        by = total if total > 0 else 1.0
        for i in range(n):
            row[i] /= by
        for i in range(n):
            singles[i] = row[i]
        most = bits_of_singles[0]  # which are ordered as the numbers are, of which none is negative
        for i in range(n):
            most = max(most, bits_of_singles[i])
        peak = 0
        while bits_of_singles[peak] != most:
            peak += 1
        places[w, 0], places[w, 1] = peak, edge
        # `welch._entropies`, whose logarithms are those of `m * 2**exponent`.
        bits = row.view(np.int64)
        for i in range(n):
            exponent = (bits[i] - bits_of_sqrt_half) >> 52
            exponents[i] = exponent
            bits_of_m[i] = bits[i] - (exponent << 52)
        for i in range(n):
            s = (m[i] - 1) / (m[i] + 1)
            square = s * s
            series = square * (1 / 9)
            series += 1 / 7
            series *= square
            series += 1 / 5
            series *= square
            series += 1 / 3
            series *= square
            series += 1
            series *= s
            series *= 2
            series += exponents[i] * log_2
            terms[i] = row[i] * series
        entropies[w] = -(0.0 + _sum(terms, 0, n, halves, sums_of_halves))


def _add_up(rows: Any, below: Any) -> None:
    """The sums up to each number of some rows; of four at once, as each sum waits for the one before."""
    n = rows.shape[1]
    if len(rows) == _ROWS:
        a, b, c, d = 0.0, 0.0, 0.0, 0.0
        for i in range(n):
            a += rows[0, i]
            b += rows[1, i]
            c += rows[2, i]
            d += rows[3, i]
            below[0, i], below[1, i], below[2, i], below[3, i] = a, b, c, d
        return
    for row in range(len(rows)):
        a = 0.0
        for i in range(n):
            a += rows[row, i]
            below[row, i] = a


def _try_powers(n: int, n_windows: int) -> list[Any]:
    """Windows of which the first one begins before the samples, and some others have missing ones."""
    length, hop = 2 * n - n // 2, n - n // 2
    samples = (np.arange(length + 7 * n_windows) ** 2 * 7 % 1_109 - 500).astype(np.int32)
    samples[[17, 18, 25, len(samples) - 2]] = -(2**15)
    starts = np.arange(n_windows) * 7 - 2
    plan = plan_of(n)
    assert plan is not None, "its factors are those of the code"
    room = [np.zeros_like(each) for each in (*_room_for_transforms(n, length, n_windows), *_room_for_halves())]
    numbers = np.linspace(0, 1, n)
    power = np.zeros((n_windows, n // 2))
    return [samples, starts, length, -(2**15), hop, numbers, *plan, np.linspace(1, 2, n // 2 + 1), power, *room]


def _try_summed() -> list[Any]:
    power = np.arange(1_500.0).reshape(5, 300) * 7.1 % 13
    bands = np.array([[0, 4], [3, 200]])
    bits = int(np.float64(math.sqrt(0.5)).view(np.int64))
    found = [np.zeros((5, 3)), np.zeros((5, 2), np.int64), np.zeros(5)]
    room = [np.zeros_like(each) for each in (*_room_for_telling(300), *_room_for_halves())]
    return [power, bands, 0.95, bits, math.log(2), *found, *room]


_HALVES = "int64[:,::1], float64[::1]"
ENTRIES = {
    "powers": Entry(
        _powers,
        "int32[::1], int64[::1], int64, int64, int64, float64[::1], int64[::1], float64[::1], int64[:,::1], "
        "float64[::1], float64[:,::1], float64[:,::1], float64[:,::1], float64[:,::1], float64[::1], int64[:,::1], "
        f"{_HALVES}",
        [partial(_try_powers, n, n_windows) for n, n_windows in ((24, 9), (45, 1), (350, 5), (572, 8), (640, 3))],
        compiled={"add_squares": _add_squares_in_code, "cut_windows": _cut_in_code},
        scratch=[11, 15],
    ),
    "summed": Entry(
        _summed,
        "float64[:,::1], int64[:,::1], float64, int64, float64, float64[:,::1], int64[:,::1], float64[::1], "
        f"float64[:,::1], float32[::1], float64[::1], float64[::1], int64[::1], {_HALVES}",
        [_try_summed],
    ),
}
"""What is compiled with the kernel."""
