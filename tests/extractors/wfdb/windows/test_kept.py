"""What is kept of samples is what was appended, less what was dropped, however the memory is used again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaledproc.extractors.wfdb.machine_code import load
from scaledproc.extractors.wfdb.windows import kept as kept_module
from scaledproc.extractors.wfdb.windows.kept import Kept
from scaledproc.extractors.wfdb.windows.measures.numba_kernel import LIBRARY, compiled_of


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


def test_memory_of_a_signal_that_is_done_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing of that signal is seen in the next one."""
    monkeypatch.setattr(kept_module, "_spare", type(kept_module._spare)())
    before, other = Kept(), Kept()
    before.append(np.full(100_000, 7, np.int32))
    memory = before.samples
    before.clear()
    other.append(np.arange(90_000, dtype=np.int16))
    assert np.shares_memory(other.samples, memory)
    assert other.samples.tolist() == np.arange(90_000, dtype=np.int16).tolist()
    before.append(np.full(100_000, 8, np.int32))
    assert not np.shares_memory(before.samples, other.samples)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_compiled_code_takes_a_column_as_it_is_stored(dtype: type[np.integer], monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept()
    block = np.random.default_rng(3).integers(-(2**15), 2**15, 3_000, np.int16).view(dtype).reshape(-1, 3)
    assert not kept.takes(block, 1)
    monkeypatch.setattr(kept_module, "compiled", compiled_of(load(LIBRARY)).taking)
    assert not kept.takes(block[::2], 1)
    assert not kept.takes(block.astype(np.int64), 1)
    assert len(kept) == 0
    kept.append(np.arange(7))
    for some in (block[:0], block[:400], block[400:]):
        assert kept.takes(some, 1)
    column = block[:, 1].astype(np.int32)
    expected = [*range(7), *(column - 128 if dtype == np.uint8 else column)]
    assert kept.samples.tolist() == expected
