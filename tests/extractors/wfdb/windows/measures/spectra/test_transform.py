"""Transforms in machine code, put together by plans, beside numpy's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scaledproc.extractors.wfdb.machine_code import load
from scaledproc.extractors.wfdb.windows.measures.numba_kernel import LIBRARY, compiled_of
from scaledproc.extractors.wfdb.windows.measures.spectra.transform import factors_of, plan_of


@pytest.fixture(scope="module")
def powers() -> Any:
    return compiled_of(load(LIBRARY)).steps.powers


@given(
    st.lists(st.sampled_from([2, 2, 3, 4, 5, 7, 11, 13]), min_size=2, max_size=6).map(math.prod),
    st.integers(1, 17),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=60)
@example(2500, 8, 0)
@example(4992, 3, 0)
@example(2 * 3 * 5 * 7 * 11 * 13, 1, 0)
def test_transforms_by_plan_are_those_of_numpy(powers: Any, n: int, n_windows: int, seed: int) -> None:
    """To the bit, for lengths of all factors that a segment may have, and any number of windows."""
    plan = plan_of(n)
    if plan is None:
        assert len(factors_of(n)) == 1
        return
    assert math.prod(factors_of(n)) == n
    assert sorted(plan.order.tolist()) == list(range(n))
    samples = np.random.default_rng(seed).integers(-(2**20), 2**20, n * n_windows).astype(np.int32)
    starts, weights, scale = np.arange(n_windows) * n, np.linspace(0.1, 1, n), np.linspace(1, 2, n // 2 + 1)
    found = np.empty((n_windows, n // 2))
    powers(samples, starts, n, -(2**31), n, weights, plan, scale, found)
    windows = samples.reshape(n_windows, n)
    transformed = np.fft.rfft((windows - windows.mean(axis=1)[:, None]) * weights)[:, 1:]
    expected = (np.square(transformed.real) + np.square(transformed.imag)) * scale[1:]
    assert found.tobytes() == expected.tobytes()


def test_lengths_with_other_factors_have_no_plan() -> None:
    for n in (17 * 4, 19 * 3, 13, 5, 2, 1):
        assert plan_of(n) is None
