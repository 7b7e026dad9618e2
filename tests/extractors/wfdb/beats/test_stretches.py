"""Signals with gaps become one series without jumps, of whole numbers."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scaledproc.extractors.wfdb.beats.compiled_signal import LARGEST
from scaledproc.extractors.wfdb.beats.stretches import LEVELS_BITS, has_gap, prepare

NAN = float("nan")


def test_short_gaps_are_bridged_and_long_ones_level() -> None:
    samples = np.array([0.0, 1.0, NAN, NAN, 4.0, *[NAN] * 6, 104.0, 105.0, NAN, 107.0, NAN])
    found = prepare(samples, 125.0)
    # Behind the long gap all is 100 lower; the short ones are lines.
    expected = np.array([0, 1, 2, 3, 4, *[4] * 6, 4, 5, 6, 7, 7])
    steps = np.diff(found.values.astype(np.int64))
    np.testing.assert_allclose(steps / steps[0], np.diff(expected), atol=1e-5)
    assert found.starts.tolist() == [0, 11]
    assert found.stops.tolist() == [5, 15]


def test_gaps_are_what_is_not_bridged() -> None:
    samples = np.arange(100.0)
    samples[10:15] = NAN  # 40 ms
    assert not has_gap(samples, 125.0)
    assert has_gap(samples, 100.0)
    samples[15] = 2 * LARGEST
    assert has_gap(samples, 125.0)
    assert has_gap(samples[:16], 125.0)
    assert not has_gap(samples[:15], 125.0)
    assert not has_gap(samples[16:], 125.0)
    assert not has_gap(samples[:0], 125.0)


def test_high_rates_are_averaged_down() -> None:
    samples = np.arange(4_000.0)
    samples[1_001:1_999] = NAN
    found = prepare(samples, 1000.0)
    assert (found.factor, found.fs, len(found.values)) == (4, 250.0, 1_000)
    # A value is in a stretch only where all of its samples are.
    assert found.starts.tolist() == [0, 500]
    assert found.stops.tolist() == [250, 1_000]


@given(
    st.lists(
        st.one_of(
            st.floats(-LARGEST, LARGEST), st.sampled_from([NAN, np.inf, -LARGEST, LARGEST, 1e308, 5e-324]), st.just(NAN)
        ),
        max_size=50,
    )
)
def test_no_float_is_too_large_or_small(samples: list[float]) -> None:
    found = prepare(np.array(samples, np.float64), 125.0)
    is_there = np.abs(np.array(samples)) <= LARGEST
    assert len(found.values) == (len(samples) if is_there.any() or not samples else 0)
    assert np.abs(found.values.astype(np.int64)).max(initial=0) <= 1 << (LEVELS_BITS - 1)
    covered = np.zeros(len(samples), bool)
    for start, stop in zip(found.starts, found.stops, strict=True):
        covered[start:stop] = True
    assert covered[is_there].all()
