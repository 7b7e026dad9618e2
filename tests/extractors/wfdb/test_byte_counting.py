"""Both ways of counting bytes give the same numbers, and a run the same bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaledproc.demo import write_demo
from scaledproc.extractors.wfdb import byte_counting
from scaledproc.extractors.wfdb.byte_counting import PAIRS_FROM, ByteCounts


@pytest.fixture(scope="module")
def compiled() -> byte_counting.Add:
    return byte_counting._compile()


@pytest.mark.slow
@given(
    st.integers(1, 20),
    st.lists(st.sampled_from([0, 1, 2, 7, 8, 9, 63, 64, 65, 1000, PAIRS_FROM, PAIRS_FROM + 1]), max_size=3),
    st.integers(0, 2**32 - 1),
)
def test_both_ways_count_alike(compiled: byte_counting.Add, width: int, lengths: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    blocks = [np.minimum(rng.integers(0, 300, (length, width)), 255).astype(np.uint8) for length in lengths]
    ours, theirs = ByteCounts(width), np.zeros((width, 256), np.int64)
    for block in blocks:
        ours.add(block)
        compiled(block, theirs)
    expected = np.zeros((width, 256), np.int64)
    for block in blocks:
        for column in range(width):
            expected[column] += np.bincount(block[:, column], minlength=256)
    assert (ours.total() == expected).all()
    assert (theirs == expected).all()


def outputs(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("features.parquet", "signal_stats.csv", "errors.parquet")}


PROGRAM = """
import sys
from scaledproc.extractors.wfdb import byte_counting
from scaledproc.extractors.wfdb import summary
summary.MUCH = {much}
if {hidden}:
    sys.modules["numba"] = None
import scaledproc
scaledproc.run({dataset!r}, {output!r}, jobs=1)
assert (byte_counting._compiled is not None) is {used}
"""


def run_with(tmp_path: Path, name: str, **words: object) -> dict[str, bytes]:
    program = PROGRAM.format(dataset=str(tmp_path / "in"), output=str(tmp_path / name), **words)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    return outputs(tmp_path / name)


@pytest.mark.slow
def test_a_run_gives_the_same_bytes_either_way(tmp_path: Path) -> None:
    write_demo(tmp_path / "in")
    little = run_with(tmp_path, "little", much=10**12, hidden=False, used=False)
    assert run_with(tmp_path, "much", much=0, hidden=False, used=True) == little
    assert run_with(tmp_path, "without-numba", much=0, hidden=True, used=False) == little
