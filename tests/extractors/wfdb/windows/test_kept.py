"""What is kept of samples is what was appended, less what was dropped, however the memory is used again."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scaledproc.extractors.wfdb.windows.kept import Kept


@given(st.lists(st.one_of(st.integers(0, 400), st.integers(-400, 0))), st.sampled_from([np.int8, np.int32, np.int64]))
def test_it_keeps_what_a_list_does(steps: list[int], dtype: type[np.integer]) -> None:
    """A number above 0 appends so many samples, one below 0 drops so many."""
    kept, expected, value = Kept(), list[int](), 0
    for step in steps:
        if step > 0:
            new = [(value + i) % 256 - 128 for i in range(step)]
            value += step
            kept.append(np.array(new, dtype))
            expected += new
        else:
            kept.drop(-step)
            del expected[:-step]
        assert len(kept) == len(expected)
        assert kept.samples.dtype == np.int32
        assert kept.samples.tolist() == expected
    kept.clear()
    assert len(kept) == 0


def test_it_holds_copies() -> None:
    block = np.arange(4, dtype=np.int8)
    kept = Kept()
    kept.append(block[::2])
    block[:] = 9
    assert kept.samples.tolist() == [0, 2]
