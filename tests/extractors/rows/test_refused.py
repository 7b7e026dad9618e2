"""Rows that Arrow or Parquet refuses after all are traced to their tasks."""

from __future__ import annotations

import pyarrow as pa
import pytest

from scaledproc.extractors.rows.collector import refused_among


@pytest.mark.parametrize("bad", [[], [0], [4], [1, 2], [0, 3, 4], [0, 1, 2, 3, 4]])
def test_refused_rows_are_found_by_halving(bad: list[int]) -> None:
    ends = [1, 3, 3 + 2, 6, 9]
    numbers = [0, 1, 1, 2, 2, 3, 4, 4, 4]

    def make(start: int, stop: int) -> None:
        if set(numbers[start:stop]) & set(bad):
            raise pa.ArrowInvalid("no")

    found = refused_among(ends, make)
    assert sorted(found) == bad
    assert {str(error) for error in found.values()} <= {"Arrow or Parquet refuses the rows: no"}
    assert refused_among([], make) == {}


def test_want_of_memory_is_no_fault_of_the_rows() -> None:
    def make(start: int, stop: int) -> None:
        raise pa.ArrowMemoryError("full")

    with pytest.raises(MemoryError, match="full"):
        refused_among([1], make)
