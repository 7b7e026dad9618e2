"""Values of the Task Force (1996), against their definitions written out."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaledproc.extractors.wfdb.beats.detection import Beats
from scaledproc.extractors.wfdb.beats.intervals import heart_rate, pnn50, rmssd, rr_intervals_ms, sdnn


def beats_at(times: list[float], stretch: list[int]) -> Beats:
    at = np.array(times, np.float64)
    return Beats(np.rint(at).astype(np.int64), at, at * 0, at * 0, np.array(stretch, np.int64))


def test_intervals_are_those_within_stretches() -> None:
    found = rr_intervals_ms(beats_at([10.0, 110.5, 210.5, 900.0, 1000.0], [0, 0, 0, 1, 1]), 125)
    np.testing.assert_array_equal(found, [math.nan, 804.0, 800.0, math.nan, 800.0])


def test_values_are_those_of_their_definitions() -> None:
    intervals = np.array([math.nan, 800.0, 860.0, 850.0, math.nan, 700.0, 750.0])
    assert heart_rate(intervals) == 60_000 / 800
    assert sdnn(intervals) == pytest.approx(np.std([800, 860, 850, 700, 750], ddof=1))
    assert rmssd(intervals) == pytest.approx(math.sqrt((60**2 + 10**2 + 50**2) / 3))
    assert pnn50(intervals) == pytest.approx(1 / 3)  # 60 is more than 50 ms, 50 is not


@pytest.mark.parametrize("times", [[], [5.0]])
def test_nothing_is_told_of_no_interval(times: list[float]) -> None:
    intervals = rr_intervals_ms(beats_at(times, [0] * len(times)), 125)
    assert len(intervals) == len(times)
    assert all(math.isnan(value(intervals)) for value in (heart_rate, sdnn, rmssd, pnn50))


def test_one_interval_has_a_rate_and_no_variability() -> None:
    intervals = rr_intervals_ms(beats_at([0.0, 125.0], [0, 0]), 125)
    assert heart_rate(intervals) == 60
    assert all(math.isnan(value(intervals)) for value in (sdnn, rmssd, pnn50))


@given(st.lists(st.one_of(st.just(math.nan), st.floats(200, 3_000)), max_size=30))
def test_values_are_what_plain_loops_give(intervals: list[float]) -> None:
    there = [value for value in intervals if not math.isnan(value)]
    steps = [b - a for a, b in pairwise(intervals) if not math.isnan(b - a)]
    found = np.array(intervals, np.float64)
    if len(there) > 1:
        mean = sum(there) / len(there)
        expected = math.sqrt(sum((value - mean) ** 2 for value in there) / (len(there) - 1))
        assert sdnn(found) == pytest.approx(expected, abs=1e-9)
    if steps:
        assert rmssd(found) == pytest.approx(math.sqrt(sum(step**2 for step in steps) / len(steps)), abs=1e-9)
        assert pnn50(found) == sum(abs(step) > 50 for step in steps) / len(steps)
    else:
        assert math.isnan(rmssd(found))
        assert math.isnan(pnn50(found))
