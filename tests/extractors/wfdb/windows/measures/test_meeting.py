"""Where the beats of two pieces of a signal meet."""

from __future__ import annotations

import numpy as np
import pytest

from scaledproc.extractors.wfdb.windows.measures.meeting import joined, meeting

FS = 100.0


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([1000, 1100], [900, 1000, 1100], (0, 1)),
        ([1040, 1100], [960, 1100], (1, 1)),  # the first of the former is none of the latter
        ([1005, 1100], [1000, 1100.9], (1, 1)),  # nearer peaks go first
        ([1005], [1000], (0, 0)),
        ([1011], [1000], None),
        ([1000], [], None),
        ([], [1000], None),
    ],
)
def test_the_first_beat_of_both(before: list[float], after: list[float], expected: tuple[int, int] | None) -> None:
    assert meeting(np.array(before, float), np.array(after, float), FS) == expected


@pytest.mark.parametrize(
    ("before", "after", "last", "expected", "n"),
    [
        ([1010, 1100], [910, 1010, 1100], 910, [1010, 1100], 0),
        ([1010, 1100], [960, 1060, 1100.5, 1200], 910, [1010, 1100.5, 1200], 1),  # beats of the one up to the meeting
        ([1000.2, 1100], [999.8, 1101], 900, [1000.2, 1101], 1),  # the latter has it before the edge
        ([], [950, 1050], 900, [1050], 0),
        ([], [1005, 1100], 990, [1100], 0),  # the first is the last beat before the edge
        ([], [1005], None, [1005], 0),
        ([1050], [], 900, [], 0),
    ],
)
def test_no_beat_is_lost_or_doubled(
    before: list[float], after: list[float], last: float | None, expected: list[float], n: int
) -> None:
    found, n_before = joined(np.array(before, float)[:, None], np.array(after, float)[:, None], 1000, last, FS)
    assert found[:, 0].tolist() == expected
    assert n_before == n
