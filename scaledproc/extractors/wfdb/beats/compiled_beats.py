"""From peaks to beats, to be compiled: what `decision`, `fiducials`, `quality` and `pulses` do, beat by beat."""

# numba gives the variables their types, which mypy cannot follow.
# mypy: disable-error-code="index, operator"

from __future__ import annotations

from types import FunctionType
from typing import Any

import numpy as np

from scaledproc.extractors.wfdb.beats import decision
from scaledproc.extractors.wfdb.beats.compiled_peaks import reaching

_VOTERS = 4
"""`fiducials.VOTERS`."""
POINTS, _NEIGHBOURS, _NOISE_SHARE = 28, 7, 0.5
"""As in `quality`."""
_NONE = np.int64(-(2**60))
"""Where a pulse's peak is not looked for."""
TOLD = 6
"""Floats that are told of each beat: its time, quality and amplitude; of pulses systolic, diastolic and rise time."""


def find_qrs(
    values: Any,
    samples: Any,
    numbers: Any,
    seconds: Any,
    stretches: Any,
    peaks: Any,
    bins: Any,
    told: Any,
    places: Any,
    n_found: Any,
    room: Any,
    line: Any,
    lines: Any,
    accepted: Any,
) -> None:
    """What `detection` tells of an ECG whose peaks are found.

    Parameters
    ----------
    values, samples
        What is filtered, and the samples.
    numbers
        Lengths of the low-pass and of the high-pass, the refractory period, how far the largest deflection is looked
        for, of the amplitude in samples, how many samples a value is made of, and those of a bin.
    seconds
        Values a second, the margin of gaps and that of complexes in values.
    stretches
        Where each begins and ends, shape (2, stretches).
    peaks
        Places, heights and slopes, shape (3, peaks); they are written over.
    bins
        Of the summed slopes; they are written over.
    told, places, n_found
        What is told: floats, shape (6, peaks); positions and stretches, shape (2, peaks); how many beats there are.
    room, line, lines, accepted
        Shapes (8, max(peaks, stretches) + 1), (m,), (3, m) and (peaks,).
    """
    low, high, reach, look, span, factor, bin_size = (
        numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6]
    )  # fmt: skip
    second, edge, margin = seconds[0], seconds[1], seconds[2]
    n = _decided(peaks, stretches, second, room, places, accepted)
    half = low - 1 + high // 2
    line, band = line[: 2 * (look + half) + 1], lines[2, : 2 * look + 1]
    ups, downs, up_times, down_times = room[0], room[1], room[2], room[3]
    for beat in range(n):
        _band(_around(values, peaks[0, beat] - look - half, line), low, high, lines[0], lines[1], band)
        highest, lowest, up, down = 0, 0, band[0], band[0]
        for i in range(1, len(band)):
            highest, up = (i, band[i]) if band[i] > up else (highest, up)
            lowest, down = (i, band[i]) if band[i] < down else (lowest, down)
        ups[beat], downs[beat] = up, -down
        up_times[beat] = peaks[0, beat] - look + _vertex(band, highest, 1)
        down_times[beat] = peaks[0, beat] - look + _vertex(band, lowest, -1)
    times = told[0]
    votes = 0.0  # of whole numbers below 2**53
    for beat in range(min(_VOTERS, n)):
        votes += ups[beat] - downs[beat]
    for beat in range(n):
        if beat + _VOTERS < n:
            votes += ups[beat + _VOTERS] - downs[beat + _VOTERS]
        if beat > _VOTERS:
            votes -= ups[beat - _VOTERS - 1] - downs[beat - _VOTERS - 1]
        is_up = 2 * ups[beat] >= downs[beat] if votes >= 0 else ups[beat] > 2 * downs[beat]
        times[beat] = up_times[beat] if is_up else down_times[beat]
    n = _kept(times, peaks, n, reach, stretches, edge, accepted)
    _qrs_quality(times[:n], peaks[1], second, margin, len(values), bins, bin_size, told[1])
    _place(times[:n], stretches, factor, places)
    for beat in range(n):
        told[2, beat] = _span(samples, places[0, beat], span)
    n_found[0] = n


def find_pulses(
    values: Any,
    samples: Any,
    numbers: Any,
    seconds: Any,
    stretches: Any,
    peaks: Any,
    wanted: Any,
    told: Any,
    places: Any,
    n_found: Any,
    room: Any,
    line: Any,
    lines: Any,
    accepted: Any,
    shapes: Any,
) -> None:
    """What `detection` tells of a pulse wave whose peaks are found.

    Parameters
    ----------
    values, samples, stretches, peaks, told, places, n_found, room, accepted
        As for `find_qrs`.
    numbers
        The length of the low-pass, the refractory period, how far the systolic peak is looked for, how far before the
        next pulse it ends, how far the foot is looked for in samples, and how many of these a value is made of.
    seconds
        Values a second, the margin of gaps in values, and samples a second.
    wanted
        Offsets of what is compared of pulses.
    line, lines, shapes
        Room, shapes (m,), (3, m) and (peaks, 28).
    """
    low, reach, look, apart, foot, factor = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5]
    second, edge, fs = seconds[0], seconds[1], seconds[2]
    n = _decided(peaks, stretches, second, room, places, accepted)
    line, band, times = line[: look + 1 + 2 * (low - 1)], lines[2, : look + 1], told[0]
    for beat in range(n):
        until = look if beat == n - 1 else min(peaks[0, beat + 1] - peaks[0, beat] - apart, look)
        _band(_around(values, peaks[0, beat] - low + 1, line), low, 0, lines[0], lines[1], band)
        band[max(until + 1, 0) :] = _NONE
        highest, up = 0, band[0]
        for i in range(1, len(band)):
            highest, up = (i, band[i]) if band[i] > up else (highest, up)
        times[beat] = peaks[0, beat] + _vertex(band, highest, 1)
    n = _kept(times, peaks, n, reach, stretches, edge, accepted)
    _pulse_quality(values, times[:n], low, wanted, lines, shapes, told[1])
    _place(times[:n], stretches, factor, places)
    for beat in range(n):
        position = places[0, beat]
        back = _foot(samples, position, foot if beat == 0 else min(position - places[0, beat - 1] - 1, foot))
        diastolic = samples[position - back] if back >= 0 else np.nan
        told[2, beat], told[3, beat], told[4, beat] = samples[position] - diastolic, samples[position], diastolic
        told[5, beat] = (back if back >= 0 else np.nan) / fs
    n_found[0] = n


def _decided(peaks: Any, stretches: Any, second: float, room: Any, firsts: Any, accepted: Any) -> int:
    """Move the peaks that are beats to the front; how many they are."""
    n, n_stretches = 0, stretches.shape[1]
    for peak in range(peaks.shape[1]):
        if _stretch_of(peaks[0, peak], stretches, 0.0) >= 0:
            for each in range(3):
                peaks[each, n] = peaks[each, peak]
                room[each, n] = peaks[each, peak]
            n += 1
    peak = 0
    for stretch in range(n_stretches):
        while peak < n and peaks[0, peak] < stretches[0, stretch]:
            peak += 1
        firsts[0, stretch] = peak
        room[3, stretch], room[4, stretch] = stretches[0, stretch], stretches[1, stretch]
    firsts[0, n_stretches] = n
    accepted[:n] = False
    _decide(
        room[0, :n], room[1, :n], room[2, :n], firsts[0, : n_stretches + 1], room[3, :n_stretches],
        room[4, :n_stretches], second, accepted[:n], room[5, :8], room[6, :8], room[7, :8],
    )  # fmt: skip
    beats = 0
    for peak in range(n):
        if accepted[peak]:
            peaks[0, beats], peaks[1, beats] = peaks[0, peak], peaks[1, peak]
            beats += 1
    return beats


def _stretch_of(place: Any, stretches: Any, margin: float) -> int:
    """In which stretch a place is, so far from its ends or farther; -1 where it is in none."""
    first, behind = 0, stretches.shape[1]
    while first < behind:
        middle = (first + behind) // 2
        if stretches[0, middle] <= place:
            first = middle + 1
        else:
            behind = middle
    of = first - 1
    if of >= 0 and place - stretches[0, of] >= margin and stretches[1, of] - 1 - place >= margin:
        return of
    return -1


def _kept(times: Any, peaks: Any, n: int, reach: int, stretches: Any, edge: float, is_kept: Any) -> int:
    """Move those to the front that have no higher one near, and are not next to a gap; how many they are."""
    is_kept[:n] = True
    for i in range(n):
        j = i + 1
        while j < n and times[j] - times[i] < reach:
            if peaks[1, j] <= peaks[1, i]:
                is_kept[j] = False
            else:
                is_kept[i] = False
            j += 1
    kept = 0
    for beat in range(n):
        if is_kept[beat] and _stretch_of(times[beat], stretches, edge) >= 0:
            times[kept], peaks[1, kept] = times[beat], peaks[1, beat]
            kept += 1
    return kept


def _place(times: Any, stretches: Any, factor: int, places: Any) -> None:
    """Tell in which stretch beats are, and their times in samples."""
    for beat in range(len(times)):
        places[1, beat] = _stretch_of(times[beat], stretches, 0.0)
        times[beat] = times[beat] * factor + (factor - 1) / 2
        places[0, beat] = np.int64(np.rint(times[beat]))


def _around(values: Any, start: int, line: Any) -> Any:
    """As many values from a place on as the line has, in which they are written where they reach beyond the ends."""
    if start >= 0 and start + len(line) <= len(values):
        return values[start : start + len(line)]
    reaching(values, start, line)
    return line


def _band(values: Any, low: int, high: int, once: Any, twice: Any, out: Any) -> None:
    """`filtering.band_passed`.

    Of so few values the sums are running ones, all in one loop: what is stored several at a time and loaded one by one,
    or at other places, is long on its way.
    """
    margin, begin = high // 2, 2 * (low - 1) + max(high - 1, 0)
    for i in range(low):
        once[i] = 0
    for i in range(high):
        twice[i] = 0
    first, second, third = np.int64(0), np.int64(0), np.int64(0)
    for i in range(begin):
        first += values[i] - (values[i - low] if i >= low else 0)
        once[i + low] = first
        second += first - once[i]
        twice[i + high] = second
        third += second - twice[i]
    for i in range(begin, begin + len(out)):
        first += values[i] - (values[i - low] if i >= low else 0)
        once[i + low] = first
        second += first - once[i]
        twice[i + high] = second
        third += second - twice[i]
        out[i - begin] = twice[i + high - margin] * high - third if high > 0 else second


def _vertex(values: Any, at: int, sign: int) -> Any:
    """Where a parabola through the highest value and its neighbours is highest; with -1 the lowest one."""
    if not 0 < at < len(values) - 1:
        return float(at)
    left, middle, right = values[at - 1] * sign, values[at] * sign, values[at + 1] * sign
    bend = 2 * middle - left - right
    if bend <= 0:
        return float(at)
    return at + min(max((right - left) / (2 * bend), -0.5), 0.5)


def _qrs_quality(
    times: Any, heights: Any, second: float, margin: float, n: int, bins: Any, bin_size: int, quality: Any
) -> None:
    """`quality.qrs_quality`; the bins are written over by their sums."""
    size = bin_size * 4_096.0
    for i in range(len(bins)):
        bins[i] = np.int64(np.floor(bins[i] / size))  # below 2**53, so that this is the whole part
    total = np.int64(0)
    for i in range(len(bins)):
        total += bins[i]
        bins[i] = total
    for beat in range(len(times)):
        place = np.rint(times[beat])
        start, stop = place - second, place + second
        if beat > 0:
            start = max(np.rint(times[beat - 1]) + margin, start)
        if beat < len(times) - 1:
            stop = min(np.rint(times[beat + 1]) - margin, stop)
        left, n_left = _between(max(start, 0.0), place - margin, bins, bin_size)
        right, n_right = _between(place + margin, min(stop, float(n)), bins, bin_size)
        counted = n_left + n_right
        level = (left + right) / max(counted, 1)
        share = level / max(heights[beat] >> 12, 1)
        quality[beat] = min(max(1 - share / _NOISE_SHARE, 0.0), 1.0) if counted > 0 else 0.0


def _between(start: float, stop: float, sums: Any, size: int) -> tuple[Any, Any]:
    """The sum of the bins between two places, and how many they are."""
    n = len(sums)
    first = min(max(np.int64(np.ceil(start / size)), 0), n)
    whole = np.floor(stop / size)
    if whole * size > stop:
        whole -= 1
    elif (whole + 1) * size <= stop:
        whole += 1
    behind = max(min(max(np.int64(whole), 0), n), first)
    return (sums[behind - 1] if behind > 0 else 0) - (sums[first - 1] if first > 0 else 0), behind - first


def _span(samples: Any, position: int, reach: int) -> float:
    """From the lowest to the highest sample around a position."""
    lowest, highest = np.inf, -np.inf
    for i in range(max(position - reach, 0), min(position + reach + 1, len(samples))):
        if np.isfinite(samples[i]):
            lowest = min(lowest, samples[i])
            highest = max(highest, samples[i])
    return highest - lowest


def _pulse_quality(values: Any, times: Any, low: int, wanted: Any, lines: Any, shapes: Any, quality: Any) -> None:
    """`quality.pulse_quality`."""
    n = len(times)
    if n < 2:
        quality[:n] = 0.0
        return
    for beat in range(n):
        _shape(values, np.int64(np.rint(times[beat])), low, wanted, shapes[beat])
    sums = lines[0, :POINTS]
    sums[:] = 0
    for beat in range(min(_NEIGHBOURS, n)):
        _add(shapes[beat], 1, sums)
    for beat in range(n):
        if beat + _NEIGHBOURS < n:
            _add(shapes[beat + _NEIGHBOURS], 1, sums)
        if beat > _NEIGHBOURS:
            _add(shapes[beat - _NEIGHBOURS - 1], -1, sums)
        shape = shapes[beat]
        product, own, theirs = np.int64(0), np.int64(0), np.int64(0)
        for point in range(POINTS):
            other = sums[point] - shape[point]
            product += shape[point] * other
            own += shape[point] * shape[point]
            theirs += other * other
        scale = np.sqrt(np.float64(own)) * np.sqrt(np.float64(theirs))
        quality[beat] = min(max(product / scale, 0.0), 1.0) if scale > 0 else 0.0


def _add(shape: Any, sign: int, sums: Any) -> None:
    for point in range(POINTS):
        sums[point] += sign * shape[point]


def _shape(values: Any, place: Any, low: int, wanted: Any, shape: Any) -> None:
    """`quality._shapes` of one pulse."""
    n, whole = len(values), np.int64(0)
    begin = place - low // 2
    is_inside = begin + wanted[0] >= 0 and begin + wanted[POINTS - 1] + low <= n
    for point in range(POINTS):
        start = begin + wanted[point]
        total = np.int64(0)
        if is_inside:
            for each in values[start : start + low]:
                total += each
        else:
            for i in range(start, start + low):
                total += values[min(max(i, 0), n - 1)]
        shape[point] = total
        whole += total
    mean, largest = whole // POINTS, np.int64(1)
    for point in range(POINTS):
        shape[point] -= mean
        largest = max(largest, abs(shape[point]))
    for point in range(POINTS):
        shape[point] = np.int64(np.floor(shape[point] * 4_096 / largest))  # below 2**53: the whole part


def _foot(samples: Any, position: int, room: int) -> int:
    """`pulses._feet` of one pulse."""
    back, other_back = 0, 0
    lowest, other_lowest = samples[position] if np.isfinite(samples[position]) else np.inf, np.inf
    n = min(room, position)
    for by in range(1, n + 1, 2):  # two by two, as each comparison waits for the one before
        value = samples[position - by]
        if -np.inf < value < lowest:  # never true of NaN
            back, lowest = by, value
        value = samples[position - min(by + 1, n)]
        if -np.inf < value < other_lowest:
            other_back, other_lowest = min(by + 1, n), value
    if other_lowest < lowest or (other_lowest == lowest and other_back < back):
        back, lowest = other_back, other_lowest
    before = position - back - 1
    return back if np.isfinite(lowest) and back > 0 and before >= 0 and np.isfinite(samples[before]) else -1


def _middle(values: Any) -> Any:
    """`decision.middle`, without a list: four sorted and four sorted, and of these what is in the middle."""
    a, b, c, d = _sorted(values[0], values[1], values[2], values[3])
    e, f, g, h = _sorted(values[4], values[5], values[6], values[7])
    # The four lowest of all, and the four highest; the highest of the ones and the lowest of the others.
    below = max(max(min(a, h), min(b, g)), max(min(c, f), min(d, e)))
    above = min(min(max(a, h), max(b, g)), min(max(c, f), max(d, e)))
    return (below + above) / 2


def _sorted(a: Any, b: Any, c: Any, d: Any) -> tuple[Any, Any, Any, Any]:
    a, b = min(a, b), max(a, b)
    c, d = min(c, d), max(c, d)
    a, c = min(a, c), max(a, c)
    b, d = min(b, d), max(b, d)
    return a, min(b, c), max(b, c), d


def _third_highest(values: Any) -> Any:
    """`decision.third_highest`, without a list."""
    for i in range(8):
        below = 0
        for j in range(8):
            below += (values[j] < values[i]) | ((values[j] == values[i]) & (j < i))
        if below == 5:
            return values[i]
    return values[0]


_decide: Any = FunctionType(
    decision.decide.__code__, {**vars(decision), "middle": _middle, "third_highest": _third_highest}, "decide"
)
"""`decision.decide` with what it calls as it can be compiled."""
