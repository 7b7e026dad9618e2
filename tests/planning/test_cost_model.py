"""What work is taken to cost."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from scaledproc.planning.cost_model import ASSUMED, SLOWEST, Costs


def test_a_task_costs_something_and_each_of_its_bytes_too() -> None:
    costs = Costs(task=0.5, byte=0.25)
    assert costs.seconds(3, 8) == 3.5
    assert costs.seconds([1, 0], [0, 2]).tolist() == [0.5, 0.5]


def test_what_is_not_given() -> None:
    costs = Costs(1.0, 2.0)
    assert (costs.chunk, costs.combine_task, costs.source) == (0.010, 0.0, "")
    with pytest.raises(FrozenInstanceError):
        costs.task = 2.0  # type: ignore[misc]


def test_nanoseconds_are_whole_and_at_least_one() -> None:
    found = Costs(task=1e-9, byte=0.6e-9).of(np.array([0, 1, 4]))
    assert found.dtype == np.int64
    assert found.tolist() == [1, 2, 3]  # 1, 1.6 and 3.4
    assert Costs(task=0.0, byte=1e-12).of(np.array([0, 5])).tolist() == [1, 1]
    assert Costs(task=2.0, byte=1.0).of(np.array([1])).tolist() == [3_000_000_000]


def test_what_is_assumed_and_what_is_measured_slowest() -> None:
    """A plan's cuts and its price depend on these: another figure is another plan for the same data."""
    assert Costs(task=0.0004, byte=1.2e-9, chunk=0.010) == ASSUMED
    assert (SLOWEST.task, SLOWEST.byte, SLOWEST.combine_task) == (2.3e-3, 5.8e-9, 5e-5)
    assert SLOWEST.chunk == ASSUMED.chunk
    assert SLOWEST.source == "the project's benchmark of wfdb-summary, on another machine"
