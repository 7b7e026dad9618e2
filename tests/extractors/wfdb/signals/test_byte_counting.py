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
from scaledproc.extractors.wfdb import machine_code
from scaledproc.extractors.wfdb.machine_code import NotCompiledError, load
from scaledproc.extractors.wfdb.signals import byte_counting
from scaledproc.extractors.wfdb.signals.byte_counting import PAIRS_FROM, ByteCounts


@pytest.fixture(scope="module")
def compiled() -> byte_counting.Add:
    return byte_counting.compiled_of(load(byte_counting.LIBRARY))


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


def expected_of(blocks: list[np.ndarray], width: int) -> list[list[int]]:
    whole = np.concatenate([np.zeros((0, width), np.uint8), *blocks])
    return [np.bincount(whole[:, column], minlength=256).tolist() for column in range(width)]


@pytest.fixture
def _few_are_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_counting, "PAIRS_FROM", 4)
    monkeypatch.setattr(byte_counting, "MOST_PAIRS", 3)
    monkeypatch.setattr(byte_counting, "_compiled", None)


@pytest.mark.usefixtures("_few_are_much")
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("lengths", [[], [0], [3], [4], [5], [3, 2], [4, 7], [5, 3, 6, 0, 9]])
def test_blocks_are_counted_by_bytes_and_by_pairs(width: int, lengths: list[int]) -> None:
    """Each column by itself, though pairs of a frame of odd width hold bytes of two columns."""
    rng = np.random.default_rng(width)
    blocks = [rng.integers(0, 256, (length, width), np.uint8) for length in lengths]
    counts = ByteCounts(width)
    for block in blocks:
        counts.add(block)
    assert counts.total().tolist() == expected_of(blocks, width)
    assert counts.total().tolist() == expected_of(blocks, width)  # asked twice
    counts.add(blocks[0] if blocks else np.zeros((1, width), np.uint8))
    more = blocks[0] if blocks else np.zeros((1, width), np.uint8)
    assert counts.total().tolist() == expected_of([*blocks, more], width)


@pytest.mark.usefixtures("_few_are_much")
def test_where_pairs_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What costs more than it saves is counted byte by byte: numpy is asked for 65,536 counters, or for 256."""
    asked: list[int] = []

    def bincount(numbers: np.ndarray, minlength: int) -> np.ndarray:
        asked.append(minlength)
        return counted(numbers, minlength=minlength)

    counted = np.bincount
    monkeypatch.setattr(np, "bincount", bincount)
    for length, width, expected in ((3, 1, [256]), (4, 1, [65_536]), (5, 1, [65_536, 256]), (4, 3, [65_536] * 3)):
        asked.clear()
        ByteCounts(width).add(np.zeros((length, width), np.uint8))
        assert asked == expected
    asked.clear()
    ByteCounts(4).add(np.zeros((4, 4), np.uint8))
    assert asked == [256] * 4


@pytest.mark.usefixtures("_few_are_much")
def test_the_compiled_way_is_used_from_when_it_is_asked_for() -> None:
    load(byte_counting.LIBRARY)
    used = []
    for less in (1, 0, 0):
        byte_counting.use_compiled(byte_counting.LITTLE - less)
        used.append(byte_counting._compiled)
    assert used[0] is None
    assert used[1] is not None
    assert used[2] is used[1]


@pytest.mark.usefixtures("_few_are_much")
@pytest.mark.parametrize("reason", ["numba", "byte order"])
def test_where_nothing_can_be_compiled_numpy_counts(reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def finds(library: object, **_: object) -> None:
        tried.append(library)
        raise NotCompiledError("no numba")

    monkeypatch.setattr(machine_code, "_found", finds)
    monkeypatch.setattr(machine_code, "_hopeless", set())
    if reason == "byte order":
        monkeypatch.setattr(sys, "byteorder", "big")
    byte_counting.use_compiled(byte_counting.MUCH)
    byte_counting.use_compiled(byte_counting.MUCH)
    assert len(tried) == (reason == "numba")
    counts = ByteCounts(1)
    counts.add(np.array([[7], [7], [9]], np.uint8))
    assert counts.total()[0, [7, 8, 9]].tolist() == [2, 0, 1]


@pytest.mark.usefixtures("_few_are_much")
@pytest.mark.parametrize("width", [1, 2, 3, 5, 8, 9])
@pytest.mark.parametrize("lengths", [[], [0], [1], [7], [8], [9], [16, 1], [40, 0, 23]])
def test_what_is_compiled_counts_so(width: int, lengths: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own lines, without a compiler."""
    monkeypatch.setattr(byte_counting, "_compiled", byte_counting.compiled_of({"count": byte_counting._count}))
    rng = np.random.default_rng(width)
    blocks = [rng.integers(0, 256, (length, width), np.uint8) for length in lengths]
    counts = ByteCounts(width)
    for block in blocks:
        counts.add(block)
    assert counts.total().tolist() == expected_of(blocks, width)


def outputs(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("features.parquet", "signal_stats.csv", "errors.parquet")}


PROGRAM = """
import sys
from scaledproc.extractors.wfdb import machine_code
from scaledproc.extractors.wfdb.machine_code import NotCompiledError, load
from scaledproc.extractors.wfdb.signals import byte_counting
byte_counting.LITTLE = byte_counting.MUCH = {much}
if {hidden}:
    sys.modules["llvmlite"] = None
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
