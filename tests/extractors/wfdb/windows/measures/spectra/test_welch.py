"""What the spectra of windows tell where single precision or the signal has nothing to tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.signal

from scaledproc.extractors.wfdb.machine_code import load
from scaledproc.extractors.wfdb.windows.measures.numba_kernel import LIBRARY, compiled_of
from scaledproc.extractors.wfdb.windows.measures.spectra import welch
from scaledproc.extractors.wfdb.windows.measures.spectra.transform import plan_of
from scaledproc.extractors.wfdb.windows.measures.spectra.welch import Band, Welch, interpolated, segment_length

BANDS = (Band("low", 0.5, 5.0), Band("beyond", 20.0, 90.0), Band("high", 5.0, 15.0))
STARTS = np.zeros(1, np.int64)


def test_powers_that_single_precision_has_not() -> None:
    samples = (100 * np.sin(np.arange(1000) / 9)).round().astype(np.int32)
    maker = Welch(100.0, 1000, BANDS)
    (usual,) = maker.spectra(samples, STARTS, -(2**31), 1.0)
    assert np.isnan(usual).tolist() == [False, False, True, False, False, False, False]
    for gain in (1e30, 1e-30):
        (found,) = maker.spectra(samples, STARTS, -(2**31), gain)
        assert np.isnan(found[:4]).all()
        assert found[4:].tolist() == usual[4:].tolist()


def test_a_flat_line_has_no_power_and_no_peak() -> None:
    for value in (0, 7, 2**30 + 1):
        samples = np.full(1000, value, np.int32)
        samples[40:43] = -(2**31)
        (found,) = Welch(100.0, 1000, BANDS).spectra(samples, STARTS, -(2**31), 3.0)
        np.testing.assert_array_equal(found, [0, 0, np.nan, 0, np.nan, np.nan, np.nan])


@pytest.mark.parametrize(("fs", "length"), [(125.0, 7500), (62.4725, 3748), (100.0, 1000), (7.0, 9)])
def test_windows_do_not_depend_on_those_beside_them(fs: float, length: int) -> None:
    rng = np.random.default_rng(4)
    samples = rng.integers(-500, 500, 40 * length).cumsum().astype(np.int32)
    starts = np.arange(40) * length
    together = Welch(fs, length, BANDS).spectra(samples, starts, -(2**31), 2.0)
    alone = [Welch(fs, length, BANDS).spectra(samples, starts[k : k + 1], -(2**31), 2.0)[0] for k in range(40)]
    np.testing.assert_array_equal(together, alone)
    n = segment_length(fs, length)
    assert max(1, 0.98 * min(20 * fs, length)) <= n <= min(20 * fs, length)
    density = scipy.signal.welch(samples[:length] / 2.0, fs, nperseg=n, noverlap=n // 2)[1]
    assert together[0, 0] == pytest.approx(density[1:].sum() * fs / n, rel=1e-6)


def test_interpolation() -> None:
    gone = -(2**31)
    samples = np.array([gone, 4, gone, gone, 10, 3, gone, gone, 8, gone], np.int32)
    found = interpolated(samples, np.array([0, 5, -2]), 5, gone)
    assert found.tolist() == [[4, 4, 6, 8, 10], [3, 3 + 5 / 3, 3 + 5 / 3 * 2, 8, 8], [4, 4, 4, 4, 4]]


@pytest.mark.parametrize(("fs", "length"), [(125.0, 7500), (62.4725, 3748), (100.0, 1000), (7.0, 9), (250.0, 1001)])
def test_the_compiled_steps_give_the_same(fs: float, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, with gaps inside of windows and at their edges, and windows that begin before the samples."""
    rng = np.random.default_rng(length)
    gone = -(2**31)
    samples = rng.integers(-3000, 3000, 8 * length).cumsum().astype(np.int32)
    for start in rng.integers(0, len(samples), 60):
        samples[start : start + rng.integers(1, 4)] = gone
    starts = np.arange(-2, 7 * length + 3, length // 2)
    starts = starts[[bool((samples[max(s, 0) : s + length] != gone).any()) for s in starts.tolist()]]
    found = []
    for steps in (None, compiled_of(load(LIBRARY)).steps):
        monkeypatch.setattr(welch, "compiled", steps)
        maker = Welch(fs, length, BANDS)
        found.append(maker.spectra(samples, starts, gone, 2.0).tobytes())
    powers = np.empty((2, len(starts), maker._n_bins - 1))
    plan = plan_of(maker._n)
    if length > 9:
        assert plan is not None
        assert maker._plan is plan
        maker._powers_by_plan(plan, samples, starts, gone, powers[0])
        maker._powers_by_numpy(samples, starts, gone, powers[1])
        assert powers[0].tobytes() == powers[1].tobytes()
    assert found[0] == found[1]


@pytest.mark.parametrize("seconds", [20.0, 50.0, 90.0, 91.0, 170.0, 600.0])
@pytest.mark.parametrize("n_windows", [1, 2, 3, 9])
@pytest.mark.parametrize("has_gaps", [False, True])
def test_compiled_code_gives_each_segment_a_lane_where_windows_are_few(
    seconds: float, n_windows: int, has_gaps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs, length, gone = 62.5, int(62.5 * seconds), -(2**31)
    rng = np.random.default_rng(length)
    samples = rng.integers(-3000, 3000, n_windows * length).cumsum().astype(np.int32)
    starts = np.arange(n_windows) * length
    if has_gaps:
        samples[[length // 3, length - 1]] = gone
        starts[-1] -= 5
    maker = Welch(fs, length, BANDS)
    expected = maker.spectra(samples, starts, gone, 2.0)
    monkeypatch.setattr(welch, "compiled", compiled_of(load(LIBRARY)).steps)
    assert maker._plan is not None
    assert "_room" not in vars(maker), "what numpy needs for long windows is not held"
    assert maker.spectra(samples, starts, gone, 2.0).tobytes() == expected.tobytes()
    powers = np.empty((2, n_windows, maker._n_bins - 1))
    maker._powers_by_plan(maker._plan, samples, starts, gone, powers[0])
    maker._powers_by_numpy(samples, starts, gone, powers[1])
    assert powers[0].tobytes() == powers[1].tobytes()


def test_where_numpy_transforms_otherwise_it_does_all(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.arange(4000, dtype=np.int32) ** 2 % 701
    expected = Welch(125.0, 1000, BANDS).spectra(samples, STARTS, -(2**31), 2.0)
    monkeypatch.setattr(welch, "compiled", compiled_of(load(LIBRARY)).steps)
    maker = Welch(125.0, 1000, BANDS)
    of_few = Welch._powers_of_few

    def otherwise(self: Welch, *words: Any) -> None:
        of_few(self, *words)
        words[-1][0, 5] = np.nextafter(words[-1][0, 5], 0)

    with monkeypatch.context() as patch:
        patch.setattr(Welch, "_powers_of_few", otherwise)
        assert maker._plan is None
    np.testing.assert_array_equal(maker.spectra(samples, STARTS, -(2**31), 2.0), expected)
