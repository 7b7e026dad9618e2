"""The steps of the detectors that gain by compiling, where numba is installed; both ways give the same values.

Loading takes some 0.04 s in each process, and compiling some seconds on the first run of an installation: so it is used
only where it is asked for, by `use_compiled`.
"""

# numba gives the variables their types, which mypy cannot follow.
# mypy: disable-error-code="index, operator"

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scaledproc.extractors.wfdb.beats import decision
from scaledproc.extractors.wfdb.machine_code import Entry, Library, load_where_it_pays

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scaledproc.extractors.wfdb.beats.filtering import Filter
    from scaledproc.extractors.wfdb.machine_code import Functions


_AT_ONCE = 2**11
"""Values that are filtered at once."""


class CompiledFunctions:
    """Compiled functions, with room for what they tell.

    Parameters
    ----------
    functions
        Those of `LIBRARY`.
    """

    def __init__(self, functions: Functions) -> None:
        self._functions = functions

    def peaks(
        self,
        values: NDArray[np.int32],
        around: tuple[int, int, int, int],
        lengths: Filter,
        reach: int,
        bin_size: int,
    ) -> tuple[NDArray[np.int64], ...]:
        """What `filtering.find_peaks` tells of the sums from `start` to `stop`, of those from `first` to `last`.

        Returns
        -------
        places, heights, slopes, bins
        """
        first, last, start, stop = around
        margin = max(lengths[:4])
        n = last - first + lengths.before + lengths.after + margin
        most = (last - first) // 2 + 1
        found, bins = np.empty((3, most), np.int64), np.empty((stop - start) // bin_size, np.int64)
        n_found, room = np.empty(1, np.int64), np.empty((4, margin + _AT_ONCE), np.int64)
        told, kept = np.empty((2, n), np.int64), np.empty(most, np.bool_)
        self._functions["peaks"](
            values, *around, lengths.before, *lengths, reach, bin_size, *found, bins, n_found, room, told, kept
        )
        return (*(each[: n_found[0]].copy() for each in found), bins)

    def bands(
        self, values: NDArray[np.int32], places: NDArray[np.int64], before: int, after: int, low: int, high: int
    ) -> NDArray[np.int64]:
        """`fiducials._band`."""
        found = np.empty((len(places), before + after + 1), np.int64)
        room = np.empty(before + after + 1 + 2 * (low - 1 + high // 2), np.int64)
        self._functions["bands"](values, places, before, low, high, found, room)
        return found

    def vertices(self, rows: NDArray[np.int64], is_up: NDArray[np.bool_]) -> NDArray[np.float64]:
        """`fiducials._vertices`."""
        found = np.empty(len(rows))
        self._functions["vertices"](np.ascontiguousarray(rows), np.ascontiguousarray(is_up), found)
        return found

    def spans(self, samples: NDArray[Any], positions: NDArray[np.int64], reach: int) -> NDArray[np.float64]:
        """`detection._heights`."""
        found = np.empty(len(positions))
        self._functions["spans"](np.ascontiguousarray(samples), np.ascontiguousarray(positions, np.int64), reach, found)
        return found

    def feet(self, samples: NDArray[Any], positions: NDArray[np.int64], room: NDArray[np.int64]) -> NDArray[np.int64]:
        """`pulses._feet`."""
        found = np.empty(len(positions), np.int64)
        if len(positions) and not 0 <= positions.min() <= positions.max() < len(samples):
            raise IndexError(f"a pulse is not among the {len(samples):,} samples")
        samples = np.ascontiguousarray(samples)
        positions, room = (np.ascontiguousarray(each, np.int64) for each in (positions, room))
        self._functions["feet"](samples, positions, room, found)
        return found

    def shapes(
        self, values: NDArray[np.int32], places: NDArray[np.int64], wanted: NDArray[np.int64], low: int
    ) -> NDArray[np.int64]:
        """`quality._shapes`."""
        found = np.empty((len(places), len(wanted)), np.int64)
        self._functions["shapes"](values, places, wanted, low, found)
        return found

    def not_overshadowed(self, places: NDArray[Any], heights: NDArray[np.int64], reach: float) -> NDArray[np.bool_]:
        """`filtering.not_overshadowed`."""
        kept = np.empty(len(places), np.bool_)
        name = "not_overshadowed" if places.dtype == np.int64 else "not_overshadowed_in_time"
        self._functions[name](places, heights, reach, kept)
        return kept

    def decide(self, *values: Any) -> None:
        """`decision.decide`."""
        self._functions["decide"](*values)


functions: CompiledFunctions | None = None


def use_compiled(size: int, *, little: int, much: int) -> None:
    """Detect the compiled way from now on, if that pays and can be had: see `load_where_it_pays`."""
    global functions
    if functions is None:
        found = load_where_it_pays(LIBRARY, size, little=little, much=much)
        functions = None if found is None else CompiledFunctions(found)


def _sums(values: Any, length: int, out: Any) -> None:
    """`filtering.moving_sum`, as a running one; `out` may begin where the values do."""
    total = np.int64(0)
    for i in range(length - 1):
        total += values[i]
    for i in range(len(out)):
        first = values[i]
        total += values[i + length - 1]
        out[i] = total
        total -= first


def _band(values: Any, low: int, high: int, out: Any) -> None:
    """`filtering.band_passed` of one signal; the values are written over."""
    once = values[: len(values) - low + 1]
    _sums(values, low, once)
    twice = once[: len(once) - low + 1]
    _sums(once, low, twice)
    if high == 0:
        for i in range(len(out)):
            out[i] = twice[i]
        return
    margin = high // 2
    _sums(twice, high, out)
    for i in range(len(out)):
        out[i] = twice[i + margin] * high - out[i]


def _peaks(
    values: Any,
    first: int,
    last: int,
    start: int,
    stop: int,
    before: int,
    low: int,
    high: int,
    step: int,
    window: int,
    rising: bool,
    reach: int,
    bin_size: int,
    places: Any,
    heights: Any,
    steepest: Any,
    bins: Any,
    n_found: Any,
    room: Any,
    told: Any,
    kept: Any,
) -> None:
    """What `CompiledFunctions.peaks` tells."""
    n_sums, n_slopes = last - first, last - first + window - 1
    n = n_slopes + step + 2 * (low - 1) + max(high - 1, 0)
    margin = told.shape[1] - n
    _filter(values, first - before, n, low, high, step, window, rising, margin, room, told)
    slopes, sums = told[0, margin + n - n_slopes :], told[1, margin + n - n_sums :]
    n = 0
    before, here, behind = sums[: n_sums - 2], sums[1 : n_sums - 1], sums[2:]
    for i in range(n_sums - 2):
        places[n], heights[n] = i + 1, here[i]  # to be written over where it is no peak: this takes no branch
        n += (here[i] > before[i]) & (here[i] >= behind[i])
    _not_overshadowed(places[:n], heights[:n], float(reach), kept[:n])
    found = 0
    for peak in range(n):
        place = places[peak]
        if kept[peak] and start - first <= place < stop - first:
            most = slopes[place]
            for i in range(place + 1, place + window):
                most = max(most, slopes[i])
            places[found], heights[found], steepest[found] = place + first, heights[peak], most
            found += 1
    n_found[0] = found
    at = start - first
    for number in range(len(bins)):
        total = np.int64(0)
        for i in range(at, at + bin_size):
            total += sums[i]
        bins[number] = total
        at += bin_size


def _reach(values: Any, start: int, out: Any) -> None:
    """`filtering._reaching`."""
    n = len(values)
    stop = start + len(out)
    for i in range(max(start, 0), min(stop, n)):
        out[i - start] = values[i]
    for i in range(start, min(stop, 0)):
        out[i - start] = values[0]
    for i in range(max(start, n), stop):
        out[i - start] = values[n - 1]


def _filter(
    values: Any,
    start: int,
    n: int,
    low: int,
    high: int,
    step: int,
    window: int,
    rising: bool,
    margin: int,
    room: Any,
    told: Any,
) -> None:
    """`filtering.filtered` of so many values from one on: all steps for each value, as none waits for another one.

    The values are those of `filtering._reaching`. Slopes and sums stand in `told` where the last value is that they are
    of, behind a margin of zeros that is as long as the longest sum; what comes of the margin is at the beginning. What
    is between is kept only as far back as it is needed, which the processor's cache holds.
    """
    room[:, :margin] = 0
    told[:, :margin] = 0
    line, once, twice, band = room[0], room[1], room[2], room[3]
    at_once = room.shape[1] - margin
    centre, factor, lag = (high // 2, high, high) if high != 0 else (0, 1, margin)
    lines, lines_before = line[margin:], line[margin - low :]
    onces, onces_before = once[margin:], once[margin - low :]
    twices, twices_before, centres = twice[margin:], twice[margin - lag :], twice[margin - centre :]
    bands, bands_before = band[margin:], band[margin - step :]
    first, second, third, fourth = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    for done in range(0, n, at_once):
        size = min(at_once, n - done)
        if done > 0:
            for i in range(margin):
                at = at_once + i
                line[i], once[i], twice[i], band[i] = line[at], once[at], twice[at], band[at]
        slopes, slopes_before = told[0, margin + done :], told[0, margin + done - window :]
        sums = told[1, margin + done :]
        _reach(values, start + done, lines[:size])
        for i in range(size):
            first += lines[i] - lines_before[i]
            onces[i] = first
            second += first - onces_before[i]
            twices[i] = second
            passed = second
            if high != 0:
                third += second - twices_before[i]
                passed = centres[i] * factor - third
            bands[i] = passed
            slope = passed - bands_before[i]
            slope = max(slope, 0) if rising else abs(slope)
            slopes[i] = slope
            fourth += slope - slopes_before[i]
            sums[i] = fourth


def _bands(values: Any, places: Any, before: int, low: int, high: int, found: Any, room: Any) -> None:
    """What `CompiledFunctions.bands` tells."""
    half = low - 1 + high // 2
    for row in range(len(places)):
        _reach(values, places[row] - before - half, room)
        _band(room, low, high, found[row])


def _vertices(rows: Any, is_up: Any, found: Any) -> None:
    """What `CompiledFunctions.vertices` tells."""
    width = rows.shape[1]
    for row in range(len(rows)):
        values, upwards = rows[row], is_up[row]
        at = 0
        for i in range(1, width):
            if values[i] > values[at] if upwards else values[i] < values[at]:
                at = i
        shift = 0.0
        if 0 < at < width - 1:
            left, middle, right = values[at - 1], values[at], values[at + 1]
            bend = 2 * middle - left - right if upwards else left + right - 2 * middle
            if bend > 0:
                shift = (right - left if upwards else left - right) / (2 * bend)
                shift = min(max(shift, -0.5), 0.5)
        found[row] = at + shift


def _spans(samples: Any, positions: Any, reach: int, found: Any) -> None:
    """What `CompiledFunctions.spans` tells."""
    for beat in range(len(positions)):
        lowest, highest = np.inf, -np.inf
        for i in range(max(positions[beat] - reach, 0), min(positions[beat] + reach + 1, len(samples))):
            if np.isfinite(samples[i]):
                lowest = min(lowest, samples[i])
                highest = max(highest, samples[i])
        found[beat] = highest - lowest


def _feet(samples: Any, positions: Any, room: Any, found: Any) -> None:
    """What `CompiledFunctions.feet` tells."""
    found[:] = -1
    for beat in range(len(positions)):
        position = positions[beat]
        back = 0
        lowest = samples[position] if np.isfinite(samples[position]) else np.inf
        for by in range(1, min(room[beat], position) + 1):
            value = samples[position - by]
            if np.isfinite(value) and value < lowest:
                back, lowest = by, value
        before = position - back - 1
        if np.isfinite(lowest) and back > 0 and before >= 0 and np.isfinite(samples[before]):
            found[beat] = back


def _shapes(values: Any, places: Any, wanted: Any, low: int, found: Any) -> None:
    """What `CompiledFunctions.shapes` tells."""
    n, points = len(values), len(wanted)
    for beat in range(len(places)):
        whole = np.int64(0)
        for point in range(points):
            start = places[beat] + wanted[point] - low // 2
            total = np.int64(0)
            for i in range(start, start + low):
                total += values[min(max(i, 0), n - 1)]
            found[beat, point] = total
            whole += total
        mean = whole // points
        largest = np.int64(1)
        for point in range(points):
            found[beat, point] -= mean
            largest = max(largest, abs(found[beat, point]))
        for point in range(points):
            found[beat, point] = found[beat, point] * 4_096 // largest


def _not_overshadowed(places: Any, heights: Any, reach: float, kept: Any) -> None:
    """What `CompiledFunctions.not_overshadowed` tells, each place with those behind it."""
    kept[:] = True
    for i in range(len(places)):
        j = i + 1
        while j < len(places) and places[j] - places[i] < reach:
            if heights[j] <= heights[i]:
                kept[j] = False
            else:
                kept[i] = False
            j += 1


def _middle(values: Any) -> Any:
    """`decision.middle`, without a list."""
    total = 0.0
    for i in range(8):
        below = _below(values, i)
        if below in (3, 4):
            total += values[i]
    return total / 2


def _third_highest(values: Any) -> Any:
    """`decision.third_highest`, without a list."""
    found = values[0]
    for i in range(8):
        if _below(values, i) == 5:
            found = values[i]
    return found


def _below(values: Any, i: int) -> Any:
    """How many of eight numbers come before one where they are sorted."""
    below = 0
    for j in range(8):
        below += (values[j] < values[i]) | ((values[j] == values[i]) & (j < i))
    return below


_VALUES = np.array([0, 3, 9, 4, -2, -6, 1, 7, 12, 3, 3, -5, -9, 0, 2, 8, 4, -1, 6, 6, -3, 0], np.int32)
_PLACES = np.array([1, 6, 20])


def _try_peaks() -> list[Any]:
    around, lengths = (1, 20, 3, 18), (2, 3, 1, 3, False)
    found, bins = np.zeros((3, 10), np.int64), np.zeros(5, np.int64)
    room, told, kept = np.zeros((4, 3 + 5), np.int64), np.zeros((2, 3 + 26), np.int64), np.zeros(10, np.bool_)
    return [_VALUES, *around, 3, *lengths, 2, 3, *found, bins, np.zeros(1, np.int64), room, told, kept]


def _try_places(dtype: Any) -> list[Any]:
    heights = np.array([5, 4, 4, 9, 1])
    return [np.array([0, 2, 5, 6, 20]).astype(dtype), heights, 3.0, np.zeros(5, np.bool_)]


def _try_decision() -> list[Any]:
    """Peaks of which every second one is low, two far from others, in two stretches, one too short to learn from."""
    places = np.cumsum(np.arange(60.0) % 3 * 20 + 30)
    places[30:] += 190
    places[40:] += 2_000
    heights, slopes = 90.0 - np.arange(60.0) % 2 * 80, 9.0 + np.arange(60.0) % 5
    begins, ends = np.array([0.0, places[49] + 5]), np.array([places[49] + 1, places[59] + 1])
    return [
        places, heights, slopes, np.array([0, 50, 60]), begins, ends, 100.0, np.zeros(60, np.bool_), *np.zeros((3, 8))
    ]  # fmt: skip


_W, _I, _R, _B = "int64[::1]", "int32[::1]", "float64[::1]", "boolean[::1]"
_N, _T = "int64", "int64[:,::1]"
LIBRARY = Library(
    __name__,
    {
        "peaks": Entry(
            _peaks,
            f"{_I}, {', '.join([_N] * 9)}, boolean, {_N}, {_N}, {', '.join([_W] * 5)}, {_T}, {_T}, {_B}",
            [_try_peaks],
        ),
        "bands": Entry(
            _bands,
            f"{_I}, {_W}, {_N}, {_N}, {_N}, {_T}, {_W}",
            [
                lambda: [_VALUES, _PLACES, 2, 2, 3, np.zeros((3, 6), np.int64), np.zeros(10, np.int64)],
                lambda: [_VALUES, _PLACES, 2, 3, 0, np.zeros((3, 6), np.int64), np.zeros(10, np.int64)],
            ],
        ),
        "vertices": Entry(
            _vertices,
            f"{_T}, {_B}, {_R}",
            [lambda: [_VALUES[:21].astype(np.int64).reshape(3, 7), np.array([True, False, True]), np.zeros(3)]],
        ),
        "spans": Entry(
            _spans,
            f"{_R}, {_W}, {_N}, {_R}",
            [lambda: [np.where(_VALUES == 3, np.nan, _VALUES), _PLACES, 3, np.zeros(3)]],
        ),
        "feet": Entry(
            _feet,
            f"{_R}, {_W}, {_W}, {_W}",
            [
                lambda: [
                    np.where(_VALUES == 9, np.nan, _VALUES),
                    _PLACES + 1,
                    np.array([2, 4, 5]),
                    np.zeros(3, np.int64),
                ]
            ],
        ),
        "shapes": Entry(
            _shapes,
            f"{_I}, {_W}, {_W}, {_N}, {_T}",
            [lambda: [_VALUES, _PLACES, np.array([-3, 0, 2, 5]), 3, np.zeros((3, 4), np.int64)]],
        ),
        "not_overshadowed": Entry(_not_overshadowed, f"{_W}, {_W}, float64, {_B}", [lambda: _try_places(np.int64)]),
        "not_overshadowed_in_time": Entry(
            _not_overshadowed, f"{_R}, {_W}, float64, {_B}", [lambda: _try_places(np.float64)]
        ),
        "decide": Entry(
            decision.decide,
            f"{_R}, {_R}, {_R}, {_W}, {_R}, {_R}, float64, {_B}, {_R}, {_R}, {_R}",
            [_try_decision],
            {"middle": _middle, "third_highest": _third_highest},
        ),
    },
)
