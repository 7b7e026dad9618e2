"""The compiled way and numpy's find the same beats, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from ecg_waves import ecg
from hypothesis import given, settings
from hypothesis import strategies as st

from scaledproc.extractors.wfdb.beats import compiled, filtering
from scaledproc.extractors.wfdb.beats.detection import detect_beats
from scaledproc.extractors.wfdb.beats.filtering import Filter, filtered, find_peaks, pulse_filter, qrs_filter
from scaledproc.extractors.wfdb.machine_code import load


@pytest.fixture(scope="module")
def functions() -> compiled.CompiledFunctions:
    return compiled.CompiledFunctions(load(compiled.LIBRARY))


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = compiled.functions
    yield
    compiled.functions = before


@pytest.mark.slow
@settings(max_examples=60)
@given(
    st.sampled_from(["ecg", "pulse"]),
    st.sampled_from([62.5, 125.0, 360.0, 1000.0]),
    st.integers(0, 40_000),
    st.sampled_from([0.0, 0.1, 1.0]),
    st.integers(0, 2**32 - 1),
)
def test_both_ways_find_the_same(
    functions: compiled.CompiledFunctions, kind: str, fs: float, n: int, noise: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.3, 1.5, max(int(n / fs), 1)))
    samples = ecg(fs, times, "narrow")[0][:n]
    samples = samples + noise * rng.normal(size=len(samples))
    for start in rng.integers(0, max(n, 1), 3):
        samples[start : start + int(rng.integers(1, int(2 * fs)))] = rng.choice([np.nan, 2.0])
    compiled.functions = None
    plain = detect_beats(samples, fs, kind)  # type: ignore[arg-type]
    compiled.functions = functions
    other = detect_beats(samples, fs, kind)  # type: ignore[arg-type]
    for name, values in vars(plain).items():
        np.testing.assert_array_equal(values, getattr(other, name), err_msg=name)


@pytest.mark.parametrize("lengths", [qrs_filter(125), qrs_filter(360), pulse_filter(125), Filter(1, 0, 1, 1, True)])
def test_filters_are_what_plain_sums_give(lengths: Filter) -> None:
    """Against the definition: averages, their difference, slopes and their sum, each written out."""
    compiled.functions = None
    values = np.random.default_rng(1).integers(-(2**23), 2**23, 400)
    slopes, sums = filtered(values, lengths)
    once = np.convolve(values, np.ones(lengths.low, np.int64), "valid")
    band = np.convolve(once, np.ones(lengths.low, np.int64), "valid")
    if lengths.high:
        margin = lengths.high // 2
        longer = np.convolve(band, np.ones(lengths.high, np.int64), "valid")
        band = band[margin : len(band) - margin] * lengths.high - longer
    steps = band[lengths.step :] - band[: -lengths.step]
    expected = np.maximum(steps, 0) if lengths.rising else np.abs(steps)
    np.testing.assert_array_equal(slopes, expected)
    np.testing.assert_array_equal(sums, np.convolve(expected, np.ones(lengths.window, np.int64), "valid"))
    assert len(sums) == len(values) - lengths.before - lengths.after


@settings(max_examples=30)
@given(st.integers(0, 2_000), st.integers(1, 60), st.integers(1, 11), st.integers(0, 2**32 - 1))
def test_blocks_do_not_show(n: int, reach: int, bin_size: int, seed: int) -> None:
    """The peaks of a signal that is filtered block by block are those of the whole."""
    compiled.functions = None
    values = np.random.default_rng(seed).integers(-20, 20, n).cumsum().astype(np.int32)
    whole = find_peaks(values, qrs_filter(125), reach, bin_size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filtering, "BLOCK", 64)
        parts = find_peaks(values, qrs_filter(125), reach, bin_size)
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(a, b)
    # No peak has a higher one nearer than the refractory period.
    assert (np.diff(whole.places) >= reach).all()


FILTERS = st.builds(
    Filter,
    st.integers(1, 15),
    st.just(0) | st.integers(0, 40).map(lambda half: 2 * half + 1),
    st.integers(1, 6),
    st.integers(1, 70),
    st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(
    FILTERS,
    st.sampled_from([0, 1, 2, 3, 7, 60, 1_000, 9_000]),
    st.integers(1, 120),
    st.integers(0, 20),
    st.sampled_from([1, 3, 2**15, 2**23, 2**30]),
    st.integers(0, 2**32 - 1),
)
def test_both_ways_find_the_same_peaks(
    functions: compiled.CompiledFunctions, lengths: Filter, n: int, reach: int, bin_size: int, largest: int, seed: int
) -> None:
    """Whatever the lengths, and as large as values may be; with equal heights near each other too."""
    values = np.random.default_rng(seed).integers(-largest, largest, n, endpoint=True).astype(np.int32)
    compiled.functions = None
    plain = find_peaks(values, lengths, reach, bin_size)
    compiled.functions = functions
    other = find_peaks(values, lengths, reach, bin_size)
    for one, two in zip(plain, other, strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_compiled_way_is_used_from_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "functions", None)
    load(compiled.LIBRARY)
    used = []
    for size in (9, 10, 10):
        compiled.use_compiled(size, little=10, much=20)
        used.append(compiled.functions)
    assert used[0] is None
    assert used[1] is not None
    assert used[2] is used[1]


def test_without_it_the_same_is_done_by_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "functions", None)
    assert len(detect_beats(ecg(125, np.arange(0.5, 20, 0.8), "narrow")[0], 125, "ecg")) == 25
