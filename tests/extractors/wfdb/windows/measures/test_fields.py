"""The integers of windows: both kernels and Python's own integers say the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaledproc.extractors.wfdb.machine_code import load
from scaledproc.extractors.wfdb.windows.measures.fields import (
    COUNTED,
    GAP,
    HIGHEST,
    LOWEST,
    WIDEST,
    Asked,
    Coded,
    N,
    exact_row,
    table_of,
    tables_of,
)
from scaledproc.extractors.wfdb.windows.measures.numba_kernel import LIBRARY, compiled_of
from scaledproc.extractors.wfdb.windows.measures.numpy_kernel import numpy_kernel

KERNELS = (numpy_kernel, compiled_of(load(LIBRARY)).kernel)


@st.composite
def signals(draw: st.DrawFn) -> tuple[Any, Any, Any, Coded]:
    """Samples, windows that may reach beyond them, and a coding."""
    largest = draw(st.sampled_from([0, 1, 3, 100, 511, 512, 2**15 - 1, 2**15, 2**17, 2**31 - 1]))
    missing = max(-largest - 1, -(2**31))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(0, 60))
    samples = rng.integers(-largest, largest, n, endpoint=True).astype(np.int32)
    if draw(st.booleans()):  # few values
        samples = np.where(rng.random(n) < 0.8, np.int32(largest), samples).astype(np.int32)
    samples[rng.random(n) < draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))] = missing
    n_windows = draw(st.integers(1, 6))
    starts = rng.integers(-8, n + 5, n_windows)
    lengths = rng.integers(1, 40, n_windows)
    baseline = draw(st.sampled_from([0, 1, largest, -largest, 2**31 - 1, -(2**31)]))
    return samples, starts, lengths, Coded(missing, baseline, draw(st.booleans()))


@given(signals())
@settings(max_examples=200, deadline=None)
def test_both_kernels_say_what_pythons_integers_say(given_signals: tuple[Any, Any, Any, Coded]) -> None:
    samples, starts, lengths, coded = given_signals
    by_numpy = table_of(samples, starts, lengths, coded, numpy_kernel)
    assert table_of(samples, starts, lengths, coded, KERNELS[1]) == by_numpy
    for row, start, length in zip(by_numpy, starts.tolist(), lengths.tolist(), strict=True):
        places = range(start, start + length)
        window = [int(samples[place]) if 0 <= place < len(samples) else coded.missing for place in places]
        longest = run = 0
        for sample in window:
            run = run + 1 if sample == coded.missing else 0
            longest = max(longest, run)
        assert (row[N], row[GAP]) == (sum(sample != coded.missing for sample in window), longest)
        if row[N]:
            inside = [window[place - start] for place in places if 0 <= place < len(samples)]
            assert row == exact_row(inside, coded, longest)


@given(st.lists(signals(), min_size=1, max_size=5), st.integers(0, 30))
@settings(max_examples=100, deadline=None)
def test_several_signals_at_once_are_as_each_alone(several: list[tuple[Any, Any, Any, Coded]], fewest: int) -> None:
    """And of windows with fewer valid samples than wanted the counts are the same, and nothing else is told."""
    for kernel in KERNELS:
        asked = [Asked(*each, np.full(len(each[1]), fewest)) for each in several]
        for each, found in zip(several, tables_of(asked, kernel), strict=True):
            for row, whole in zip(found.rows(), table_of(*each, kernel), strict=True):
                only = [value if field in COUNTED else 0 for field, value in enumerate(whole)]
                is_exact = whole[HIGHEST] - whole[LOWEST] >= WIDEST  # which Python's integers do
                assert row == (whole if row[N] >= fewest or is_exact else only)


@pytest.mark.parametrize("largest", [1, 511, 2**15 - 1])
def test_sums_of_long_windows_are_exact(largest: int) -> None:
    """The sums that a window of extremes makes are as large as they can be."""
    n = 300_000
    samples = np.where(np.arange(n) % 7 < 3, largest, -largest).astype(np.int32)
    samples[::1001] = -(2**31)
    coded, starts = Coded(-(2**31), 0, is_reversed=False), np.zeros(1, np.int64)
    expected = [exact_row(samples.tolist(), coded, 1)]
    for kernel in KERNELS:
        assert table_of(samples, starts, starts + n, coded, kernel) == expected
