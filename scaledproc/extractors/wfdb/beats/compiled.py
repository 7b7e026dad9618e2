"""The steps of the detectors that gain by compiling, where numba is installed; both ways give the same values.

Loading takes some 0.04 s in each process, and compiling some seconds on the first run of an installation: so it is used
only where it is asked for, by `use_compiled`.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from scaledproc.extractors.wfdb.beats import compiled_beats, compiled_peaks, compiled_signal, compiled_windows
from scaledproc.extractors.wfdb.beats.compiled_signal import LARGEST
from scaledproc.extractors.wfdb.machine_code import Entry, Library, load_where_it_pays

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scaledproc.extractors.wfdb.beats.filtering import Filter, Peaks
    from scaledproc.extractors.wfdb.beats.stretches import Prepared
    from scaledproc.extractors.wfdb.machine_code import Functions


class OfQrs(NamedTuple):
    """What the compiled way must know to find QRS complexes.

    Parameters
    ----------
    reach
        The refractory period, in values.
    look
        How far the largest deflection is looked for.
    span
        How far the amplitude reaches, in samples.
    edge
        The margin of gaps.
    margin
        That of complexes, between which is noise.
    """

    reach: int
    look: int
    span: int
    edge: float
    margin: float


class OfPulses(NamedTuple):
    """What the compiled way must know to find pulses.

    Parameters
    ----------
    reach, edge
        As of QRS complexes.
    look
        How far the systolic peak is looked for.
    apart
        How long before the next pulse it is, at least.
    foot
        How far the foot is looked for, in samples.
    wanted
        Offsets of what is compared of pulses.
    """

    reach: int
    look: int
    apart: int
    foot: int
    edge: float
    wanted: NDArray[np.int64]


class FoundBeats(NamedTuple):
    """What is told of beats, as in `detection.Beats` and `pulses.Pulses`; the latter's are of pulses alone."""

    positions: NDArray[np.int64]
    stretch: NDArray[np.int64]
    times: NDArray[np.float64]
    quality: NDArray[np.float64]
    amplitude: NDArray[np.float64]
    systolic: NDArray[np.float64]
    diastolic: NDArray[np.float64]
    rise_time: NDArray[np.float64]


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
        m = min(at_once, n) + margin + compiled_peaks.GROUP
        narrow, wide, is_peak = np.empty((4, m), np.int32), np.empty((5, m), np.int64), np.empty(m, np.bool_)
        of_filter = np.array(lengths, np.int64)
        rooms = narrow, wide, is_peak
        self._functions["peaks"](
            values, of_filter, reach, max(bin_size, 1), at_once, is_narrow, *found, bins, n_found, *rooms
        )
        return [*(each[: n_found[0]] for each in found), bins]

    def beats(
        self,
        samples: NDArray[np.floating],
        fs: float,
        signal: Prepared,
        lengths: Filter,
        peaks: Peaks,
        of: OfQrs | OfPulses,
    ) -> FoundBeats:
        """The beats among peaks, of either kind."""
        stretches = np.stack([signal.starts, signal.stops])
        own = np.stack([peaks.places, peaks.heights, peaks.slopes])
        n = own.shape[1]
        width = max(n, stretches.shape[1], 8) + 1
        told, places, n_found = (
            np.empty((compiled_beats.TOLD, n)),
            np.empty((2, width), np.int64),
            np.zeros(1, np.int64),
        )
        room, accepted = np.empty((8, width)), np.empty(n, np.bool_)
        m = max(2 * (of.look + lengths.half) + 1 + lengths.low + lengths.high, compiled_beats.POINTS)
        rooms = room, np.empty(m, np.int32), np.empty((3, m), np.int64), accepted
        common = signal.values, np.ascontiguousarray(samples, np.float64)
        if isinstance(of, OfQrs):
            numbers = np.array([lengths.low, lengths.high, of.reach, of.look, of.span, signal.factor, peaks.bin_size])
            seconds = np.array([signal.fs, of.edge, of.margin])
            given = numbers, seconds, stretches, own, peaks.bins.copy()
            self._functions["find_qrs"](*common, *given, told, places, n_found, *rooms)
        else:
            numbers = np.array([lengths.low, of.reach, of.look, of.apart, of.foot, signal.factor])
            seconds = np.array([signal.fs, of.edge, fs])
            shapes = np.empty((n, compiled_beats.POINTS), np.int64)
            given = numbers, seconds, stretches, own, of.wanted
            self._functions["find_pulses"](*common, *given, told, places, n_found, *rooms, shapes)
        return FoundBeats(*places[:, : n_found[0]], *told[:, : n_found[0]])

    def windows(
        self, beats: NDArray[np.float64], lows: NDArray[np.int64], highs: NDArray[np.int64], *, is_pulse: bool
    ) -> NDArray[np.float64]:
        """What `Track.of` tells of windows, by the places of their beats; NaN for None."""
        told = np.empty((len(lows), compiled_windows.TOLD))
        most = int((highs - lows).max(initial=0))
        rooms = np.empty((2, most)), np.empty((2, 64), np.int64), np.empty(64)
        self._functions["windows"](np.ascontiguousarray(beats), lows, highs, is_pulse, told, *rooms)
        told[:, compiled_windows.SQUARES] = np.sqrt(told[:, compiled_windows.SQUARES])
        return told

    @cached_property
    def sums_as_numpy(self) -> bool:
        """Whether numpy makes sums of floats in the order that `windows` makes them in."""
        values = 1 / np.arange(1, 1_000.0)
        rooms = np.empty((2, 64), np.int64), np.empty(64)
        return all(
            float(values[:n].sum()) == float(compiled_windows.sum_of(values[:n], *rooms))
            for n in (1, 7, 8, 100, 129, 999)
        )

    def physical(self, stored: NDArray[np.int32], missing: int, baseline: int, gain: float) -> NDArray[np.float64]:
        """Samples in physical units, of what is stored; NaN where they are missing."""
        samples = np.empty(len(stored))
        self._functions["physical"](stored, missing, float(baseline), gain, samples)
        return samples

    def level(
        self, samples: NDArray[np.float64], bridged: int
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """A signal without gaps, as `stretches.prepare` makes it, and where its stretches begin and end."""
        n = len(samples)
        if self.extremes(samples)[2] <= LARGEST:
            return samples, np.array([0], np.int64), np.array([n], np.int64)
        level, begins, ends = np.empty(n), *np.empty((2, n // 2 + 1), np.int64)
        found = np.empty(1, np.int64)
        self._functions["level"](samples, bridged, level, begins, ends, found)
        return level, begins[: found[0]].copy(), ends[: found[0]].copy()

    def extremes(self, values: NDArray[np.float64]) -> tuple[float, float, float]:
        """The lowest and the highest of floats, and the largest but for its sign; NaN where any is."""
        told = np.empty(3, np.int64)
        self._functions["extremes"](values.view(np.int64), told)
        told[:2] ^= (told[:2] >> 63) & np.iinfo(np.int64).max
        low, high, largest = told.view(np.float64).tolist()
        return low, high, largest

    def digital(self, level: NDArray[np.float64], middle: float, factor: float) -> NDArray[np.int32]:
        """So many steps from the middle, of which a unit has `factor`."""
        found = np.empty(len(level), np.int32)
        self._functions["digital"](level, middle, factor, found)
        return found

    def without_spikes(self, values: NDArray[np.int32], apart: int) -> NDArray[np.int32]:
        """`filtering.without_spikes`."""
        found = np.empty_like(values)
        self._functions["without_spikes"](values, apart, found)
        return found


functions: CompiledFunctions | None = None


def use_compiled(size: int, *, little: int, much: int) -> None:
    """Detect the compiled way from now on, if that pays and can be had: see `load_where_it_pays`."""
    global functions
    if functions is None:
        found = load_where_it_pays(LIBRARY, size, little=little, much=much)
        functions = None if found is None else CompiledFunctions(found)


_VALUES = np.array([0, 3, 9, 4, -2, -6, 1, 7, 12, 3, 3, -5, -9, 0, 2, 8, 4, -1, 6, 6, -3, 0], np.int32)


def _try_peaks(lengths: tuple[int, int, int, int, bool], reach: int, is_narrow: bool) -> list[Any]:
    values = np.concatenate([_VALUES, _VALUES[::-1] * 2, np.zeros(30, np.int32), _VALUES // 2])
    found, n_found = np.zeros((4, 60), np.int64), np.zeros(1, np.int64)
    rooms = np.zeros((4, 150), np.int32), np.zeros((5, 150), np.int64), np.zeros(150, np.bool_)
    return [values, np.array(lengths), reach, 3, 36, is_narrow, *found, n_found, *rooms]


def _try_beats(is_ecg: bool) -> list[Any]:
    """Peaks of which every second one is low, two far from others, in two stretches, one too short to learn from."""
    places = np.cumsum(np.arange(60) % 3 * 20 + 30)
    places[30:] += 190
    places[40:] += 2_000
    peaks = np.array([places, (90 - np.arange(60) % 2 * 80) << 12, 9 + np.arange(60) % 5])
    stretches = np.array([[0, places[49] + 5], [places[49] + 1, places[59] + 1]])
    values = np.resize(_VALUES, places[59] + 9) * np.int32(2**16) + np.arange(places[59] + 9, dtype=np.int32)
    samples = np.where(values % 7 == 3, np.nan, values)
    told, results = np.zeros((compiled_beats.TOLD, 60)), np.zeros((2, 61), np.int64)
    line, lines = np.zeros(200, np.int32), np.zeros((3, 200), np.int64)
    rooms = told, results, np.zeros(1, np.int64), np.zeros((8, 61)), line, lines, np.zeros(60, np.bool_)
    if is_ecg:
        numbers, seconds, bins = np.array([3, 9, 20, 8, 6, 2, 4]), np.array([100.0, 2.0, 12.0]), values[::4] % 5 << 14
        return [values, samples, numbers, seconds, stretches, peaks, bins.astype(np.int64), *rooms]
    numbers, seconds = np.array([3, 20, 30, 10, 50, 1]), np.array([100.0, 2.0, 100.0])
    shapes = np.zeros((60, 28), np.int64)
    return [values, samples, numbers, seconds, stretches, peaks, np.arange(-30, 54, 3), *rooms, shapes]


def _try_level() -> list[Any]:
    nothing = np.full(5, np.nan)
    samples = np.concatenate([nothing, [4.0, np.nan, 7.0, 7.5], nothing, [2.0], nothing[:2], [3.0, -5.0], nothing])
    return [samples, 2, np.zeros(len(samples)), *np.zeros((2, 20), np.int64), np.zeros(1, np.int64)]


def _try_windows(is_pulse: bool) -> list[Any]:
    beats = np.outer(np.arange(1, 301.0) % 7 + 0.1, np.arange(1, 10.0)) ** 2
    beats[5:9, 1], beats[7:30, 3], beats[7:9, 4] = np.nan, np.nan, np.nan
    lows, highs = np.array([0, 5, 5, 7, 20, 2]), np.array([0, 6, 7, 9, 41, 299])
    rooms = np.zeros((2, 300)), np.zeros((2, 64), np.int64), np.zeros(64)
    return [beats, lows, highs, is_pulse, np.zeros((6, compiled_windows.TOLD)), *rooms]


_W, _I, _R, _B = "int64[::1]", "int32[::1]", "float64[::1]", "boolean[::1]"
_N, _F, _T, _RT = "int64", "float64", "int64[:,::1]", "float64[:,::1]"
_BEATS = f"{_RT}, {_T}, {_W}, {_RT}, {_I}, {_T}, {_B}"
_NUMBERS = np.array([0.0, -0.0, 3.5, -7.25, 1e99, -1e-9, np.nan, np.inf, -2.5])
LIBRARY = Library(
    __name__,
    {
        "physical": Entry(
            compiled_signal.physical,
            f"{_I}, {_N}, {_F}, {_F}, {_R}",
            [lambda: [_VALUES, -6, 3.0, -0.3, np.zeros(len(_VALUES))]],
        ),
        "extremes": Entry(
            compiled_signal.extremes,
            f"{_W}, {_W}",
            [lambda: [_NUMBERS.view(np.int64), np.zeros(3, np.int64)]],
        ),
        "level": Entry(compiled_signal.level, f"{_R}, {_N}, {_R}, {_W}, {_W}, {_W}", [_try_level]),
        "digital": Entry(
            compiled_signal.digital,
            f"{_R}, {_F}, {_F}, {_I}",
            [lambda: [_VALUES * 0.37, 1.2, 1024.0, np.zeros(len(_VALUES), np.int32)]],
        ),
        "without_spikes": Entry(
            compiled_signal.without_spikes,
            f"{_I}, {_N}, {_I}",
            [
                lambda: [_VALUES, 2, np.zeros(len(_VALUES), np.int32)],
                lambda: [_VALUES[:3], 2, np.zeros(3, np.int32)],
            ],
        ),
        "peaks": Entry(
            compiled_peaks.peaks,
            f"{_I}, {_W}, {_N}, {_N}, {_N}, boolean, {', '.join([_W] * 5)}, int32[:,::1], {_T}, {_B}",
            [
                lambda: _try_peaks((2, 19, 3, 23, False), 9, True),
                lambda: _try_peaks((4, 0, 1, 16, True), 25, False),
                lambda: _try_peaks((5, 3, 2, 6, False), 1, False),
            ],
        ),
        "find_qrs": Entry(
            compiled_beats.find_qrs,
            f"{_I}, {_R}, {_W}, {_R}, {_T}, {_T}, {_W}, {_BEATS}",
            [lambda: _try_beats(True)],
        ),
        "find_pulses": Entry(
            compiled_beats.find_pulses,
            f"{_I}, {_R}, {_W}, {_R}, {_T}, {_T}, {_W}, {_BEATS}, {_T}",
            [lambda: _try_beats(False)],
        ),
        "windows": Entry(
            compiled_windows.sums_of_windows,
            f"{_RT}, {_W}, {_W}, boolean, {_RT}, {_RT}, {_T}, {_R}",
            [lambda: _try_windows(True), lambda: _try_windows(False)],
        ),
    },
)
