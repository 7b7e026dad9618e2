"""The steps of the detectors that gain by compiling, where numba is installed; both ways give the same values.

Loading takes some 0.04 s in each process, and compiling some seconds on the first run of an installation: so it is used
only where it is asked for, by `use_compiled`.
"""

# numba gives the variables their types, which mypy cannot follow.
# mypy: disable-error-code="index, operator"

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scaledproc.extractors.wfdb.beats import compiled_peaks, decision
from scaledproc.extractors.wfdb.beats.compiled_peaks import reaching
from scaledproc.extractors.wfdb.machine_code import Entry, Library, load_where_it_pays

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scaledproc.extractors.wfdb.beats.filtering import Filter
    from scaledproc.extractors.wfdb.machine_code import Functions


class CompiledFunctions:
    """Compiled functions, with room for what they tell.

    Parameters
    ----------
    functions
        Those of `LIBRARY`.
    """

    def __init__(self, functions: Functions) -> None:
        self._functions = functions

    def peaks(self, values: NDArray[np.int32], lengths: Filter, reach: int, bin_size: int) -> list[NDArray[np.int64]]:
        """What `filtering.find_peaks` tells; no bins where they have no size.

        Returns
        -------
        places, heights, slopes, bins
        """
        n, margin = len(values), 4 * reach + 2 + lengths.before + lengths.after
        at_once = -(-max(compiled_peaks.AT_ONCE, 8 * margin) // max(bin_size, 1)) * max(bin_size, 1)
        largest = max(-int(values.min(initial=0)), int(values.max(initial=0)))
        is_narrow = largest * lengths.low**2 * lengths.step < 2**31
        found = [np.empty(n // reach + 2, np.int64) for _ in range(3)]
        bins, n_found = np.empty(n // bin_size if bin_size else 0, np.int64), np.empty(1, np.int64)
        m = min(at_once, n) + margin
        narrow, wide, is_peak = np.empty((4, m), np.int32), np.empty((5, m), np.int64), np.empty(m, np.bool_)
        of_filter = np.array(lengths, np.int64)
        rooms = narrow, wide, is_peak
        self._functions["peaks"](
            values, of_filter, reach, max(bin_size, 1), at_once, is_narrow, *found, bins, n_found, *rooms
        )
        return [*(each[: n_found[0]] for each in found), bins]

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


def _bands(values: Any, places: Any, before: int, low: int, high: int, found: Any, room: Any) -> None:
    """What `CompiledFunctions.bands` tells."""
    half = low - 1 + high // 2
    for row in range(len(places)):
        reaching(values, places[row] - before - half, room)
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


def _try_peaks(lengths: tuple[int, int, int, int, bool], reach: int, is_narrow: bool) -> list[Any]:
    values = np.concatenate([_VALUES, _VALUES[::-1] * 2, np.zeros(30, np.int32), _VALUES // 2])
    found, n_found = np.zeros((4, 60), np.int64), np.zeros(1, np.int64)
    rooms = np.zeros((4, 150), np.int32), np.zeros((5, 150), np.int64), np.zeros(150, np.bool_)
    return [values, np.array(lengths), reach, 3, 36, is_narrow, *found, n_found, *rooms]


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
            compiled_peaks.peaks,
            f"{_I}, {_W}, {_N}, {_N}, {_N}, boolean, {', '.join([_W] * 5)}, int32[:,::1], {_T}, {_B}",
            [
                lambda: _try_peaks((2, 19, 3, 23, False), 9, True),
                lambda: _try_peaks((4, 0, 1, 16, True), 25, False),
                lambda: _try_peaks((5, 3, 2, 6, False), 1, False),
            ],
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
