"""What is told of windows: as columns the same as one by one, to the bit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scaledproc.extractors.wfdb.signals.statistics import Coding, Limits
from scaledproc.extractors.wfdb.windows.measures.feature_columns import NO_COUNT
from scaledproc.extractors.wfdb.windows.measures.features import COUNTS, VALUES
from scaledproc.extractors.wfdb.windows.measures.fields import Asked, Coded, N, tables_of
from scaledproc.extractors.wfdb.windows.measures.numpy_kernel import numpy_kernel
from scaledproc.extractors.wfdb.windows.measures.told import Counted, Listed, columns_of

SPECTRUM = (1.5, None, 0.25)
BEATS = (3, None, 70.5)
LIMITS = ((), (Limits(-127, 127),), (Limits(-(2**15), 2**15 - 1), Limits(-100, 100)))


@st.composite
def signals(draw: st.DrawFn) -> Counted:
    """Windows of a signal that may be flat, noisy, far from its baseline, or so wide that Python's integers sum it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    largest = draw(st.sampled_from([0, 1, 100, 2**11, 2**15, 2**20, 2**31 - 1]))
    n, n_windows = draw(st.integers(1, 400)), draw(st.integers(1, 12))
    samples = rng.integers(-largest, largest, n, endpoint=True).astype(np.int32)
    if draw(st.booleans()):
        samples = (largest * np.sin(np.arange(n) / rng.uniform(0.5, 40))).astype(np.int32)
    samples[rng.random(n) < draw(st.sampled_from([0.0, 0.1, 0.9]))] = -(2**31)
    gain = draw(st.sampled_from([200.0, -12.5, 1.0, 0.1, 3e8, 1e-9, 1e-40, 7e20]))
    baseline = draw(st.sampled_from([0, -100, 2**20, 2**31 - 1, -(2**31)]))
    coding = Coding(-(2**31), gain, baseline, draw(st.sampled_from(LIMITS)))
    starts = rng.integers(-20, n, n_windows)
    lengths = rng.integers(1, max(n // 2, 2), n_windows)
    fewest = np.full(n_windows, draw(st.sampled_from([1, 5])))
    asked = Asked(samples, starts, lengths, Coded(-(2**31), baseline, gain < 0), fewest)
    (integers,) = tables_of([asked], numpy_kernel)
    is_enough = (integers.table[:, N] >= fewest).tolist()
    spectra, beats = np.array([SPECTRUM] * n_windows, np.float32), np.array([BEATS] * n_windows, np.float64)
    fs = draw(st.sampled_from([125.0, 62.4725, 1 / 60, 1e-10]))
    return Counted(list(range(n_windows)), lengths.tolist(), integers, is_enough, coding, fs, spectra, beats)


def bits(numbers: Any) -> list[str]:
    """Each as it is to the bit; that of None and that of NaN are the same."""
    return ["none" if each is None or math.isnan(each) else float(each).hex() for each in numbers]


@given(st.lists(signals(), min_size=1, max_size=3))
@settings(max_examples=300, deadline=None)
def test_columns_are_what_rows_are(told: list[Counted]) -> None:
    rows = [row for each in told for row in each.rows()]
    for columns in (
        columns_of(told, len(SPECTRUM)),
        columns_of([Listed(each.numbers, each.rows()) for each in told], len(SPECTRUM)),
    ):
        for place, row in enumerate(rows):
            counts, values = row[: len(COUNTS)], row[len(COUNTS) : len(COUNTS) + len(VALUES)]
            assert columns.counts[:, place].tolist() == [NO_COUNT if each is None else each for each in counts]
            assert bits(columns.values[:, place].tolist()) == bits(values)
            assert bits(columns.spectra[:, place].tolist()) == bits(SPECTRUM)
            assert bits(columns.beats[:, place].tolist()) == bits(BEATS)
            assert row[-len(BEATS) :] == BEATS
            assert isinstance(row[-len(BEATS)], int)


@given(signals())
@settings(max_examples=100, deadline=None)
def test_windows_without_a_valid_sample_are_left_out(told: Counted) -> None:
    rows = dict(zip(told.numbers, told.rows(), strict=True))
    known = told.with_valid()
    assert dict(zip(known.numbers, known.rows(), strict=True)) == {
        number: row for number, row in rows.items() if row[0] != row[1]
    }
