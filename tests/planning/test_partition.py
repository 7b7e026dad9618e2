"""The arithmetic of the two cuts."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scaledproc.errors import UsageError
from scaledproc.planning.cost_model import ASSUMED, Costs
from scaledproc.planning.partition import (
    CHUNKS_PER_CORE,
    LARGEST_CHUNK,
    LAST,
    LONGEST_CHUNK,
    ChunkCut,
    ShardCut,
    assumed_work,
    chunk_work,
    cut_chunks,
    cut_shards,
    recommend_chunk,
    share_out,
    split_evenly,
)

SIZES = st.lists(st.one_of(st.integers(0, 5), st.integers(0, 10**13)), min_size=1, max_size=60)
SMALL = st.lists(st.sampled_from([0, 0, 1, 2, 3, 10, 50]), min_size=1, max_size=8)


def largest(sizes: np.ndarray, offsets: np.ndarray) -> int:
    return max(int(sizes[a:b].sum()) for a, b in pairwise(offsets))


@given(SIZES, st.integers(1, 70))
def test_parts_cover_everything_and_are_balanced(sizes: list[int], count: int) -> None:
    array = np.array(sizes, np.int64)
    offsets = split_evenly(array, count)
    assert offsets[0] == 0
    assert offsets[-1] == len(sizes)
    assert len(offsets) == min(count, len(sizes)) + 1
    assert (np.diff(offsets) > 0).all()
    assert largest(array, offsets) <= array.sum() / (len(offsets) - 1) + array.max()


@given(SMALL, st.integers(1, 9))
def test_largest_part_is_optimal(sizes: list[int], count: int) -> None:
    array, n = np.array(sizes, np.int64), len(sizes)
    inner = combinations(range(1, n), min(count, n) - 1)
    best = min(largest(array, np.array([0, *cut, n])) for cut in inner)
    assert largest(array, split_evenly(array, count)) == best


@given(SIZES, st.integers(1, 10**13))
def test_shards_of_a_size_exceed_it_only_by_single_units(sizes: list[int], limit: int) -> None:
    array = np.array(sizes, np.int64)
    offsets = cut_shards(array, np.zeros(len(array)), ShardCut("bytes", limit))
    assert largest(array, offsets) <= max(limit, int(array.max()))


def test_equal_units_are_spread_evenly() -> None:
    assert set(np.diff(split_evenly(np.ones(100, np.int64), 7)).tolist()) == {14, 15}


def test_folder_makes_one_shard_for_each_group() -> None:
    groups = np.array([0, 0, 1, 2, 2, 2])
    assert cut_shards(np.ones(6, np.int64), groups, ShardCut("folder")).tolist() == [0, 2, 3, 6]


@given(SIZES, st.sampled_from(["auto", "per-core", "1", "3", "7", "1kB", "64MB"]), st.integers(1, 9))
def test_chunks_cover_everything_in_order(sizes: list[int], rule: str, cores: int) -> None:
    offsets = cut_chunks(np.array(sizes, np.int64), ChunkCut.parse(rule), cores)
    assert offsets[0] == 0
    assert offsets[-1] == len(sizes)
    assert (np.diff(offsets) > 0).all()


def test_per_core_is_the_even_split_by_count() -> None:
    sizes = np.array([1000, 1, 1, 1, 1, 1, 1], np.int64)
    assert np.diff(cut_chunks(sizes, ChunkCut.parse("per-core"), 3)).tolist() == [2, 3, 2]


def test_chunks_of_a_size_stay_below_it_but_for_single_tasks() -> None:
    sizes = np.array([4, 4, 4, 20, 1, 1], np.int64)
    assert cut_chunks(sizes, ChunkCut("bytes", 8), 2).tolist() == [0, 2, 3, 4, 6]


def test_auto_keeps_every_core_busy_and_chunks_worth_their_cost() -> None:
    large = cut_chunks(np.full(10_000, 10**6, np.int64), ChunkCut("auto"), 4)
    assert len(large) - 1 >= 4 * 8
    tiny = cut_chunks(np.full(10, 100, np.int64), ChunkCut("auto"), 4)
    assert len(tiny) - 1 == 5  # one for each core, of two tasks at most: they may take long


COSTS = st.builds(Costs, st.floats(0, 10), st.floats(0, 1e-6), st.floats(1e-4, 1))


@given(st.integers(1, 10**7), st.integers(0, 10**15), COSTS, st.integers(1, 1000))
def test_a_chunks_work_is_where_cost_and_waiting_are_least_within_its_bounds(
    tasks: int, size: int, costs: Costs, cores: int
) -> None:
    work = max(tasks * costs.task + size * costs.byte, 1e-9)
    held = chunk_work(work, size, costs, cores)
    assert 0 < held <= work
    assert held <= LONGEST_CHUNK
    assert held * size / work <= LARGEST_CHUNK * (1 + 1e-9)
    share = work / cores
    assert held <= share * (1 + 1e-9)
    if held < min(LONGEST_CHUNK, work * LARGEST_CHUNK / max(size, 1)) * (1 - 1e-9):
        assert held >= min(costs.chunk, share) * (1 - 1e-9)  # worth its own cost

        def lost(seconds: float) -> float:
            return share / seconds * costs.chunk + seconds / 2

        fewer = max(costs.chunk, share / CHUNKS_PER_CORE)
        for other in (held / 2, held * 2):
            if costs.chunk < other < fewer:
                assert lost(held) <= lost(other) * (1 + 1e-9)


@given(SIZES, COSTS, st.integers(1, 64))
def test_a_recommendation_is_what_chunk_takes_and_cuts_as_it_says(sizes: list[int], costs: Costs, cores: int) -> None:
    array = np.array(sizes, np.int64)
    found = recommend_chunk(array, costs, cores)
    cut = ChunkCut.parse(found.chunk)
    assert cut.by in ("count", "bytes")
    assert str(cut) == found.chunk
    assert len(cut_chunks(array, cut, cores)) - 1 == found.chunks
    assert found.seconds * found.chunks == pytest.approx(float(costs.of(array).sum()) / 1e9)
    assert found.reason


def test_a_recommendation_follows_what_costs_most() -> None:
    sizes = np.random.default_rng(0).integers(1_000, 10**6, 5_000)
    by_task = recommend_chunk(sizes, Costs(task=0.1, byte=1e-12, chunk=0.01), 2)
    assert ChunkCut.parse(by_task.chunk).by == "count"
    by_byte = recommend_chunk(sizes, Costs(task=1e-6, byte=1e-7, chunk=0.01), 2)
    assert ChunkCut.parse(by_byte.chunk).by == "bytes"
    dearer = recommend_chunk(sizes, Costs(task=0.1, byte=1e-12, chunk=1.0), 2)
    assert dearer.chunks < by_task.chunks
    with pytest.raises(UsageError, match="no task"):
        recommend_chunk(np.zeros(0, np.int64), by_task.costs, 2)


def test_auto_is_the_rule_of_the_recommendation_for_what_is_assumed() -> None:
    sizes = np.full(5_000, 7_000, np.int64)
    found = recommend_chunk(sizes, ASSUMED, 4)
    cut = cut_chunks(sizes, ChunkCut("auto"), 4, is_last=False)
    assert len(cut) - 1 == pytest.approx(found.chunks, rel=0.05)


@example(sizes=[50_000_000] * 300, cores=2)
@given(sizes=st.lists(st.integers(0, 10**8), min_size=1, max_size=300), cores=st.integers(1, 8))
def test_auto_ends_with_smaller_chunks(sizes: list[int], cores: int) -> None:
    """What one core waits for the others at the end is a part of a chunk; the rest is cut as ever."""
    tasks = np.array(sizes)
    usual = cut_chunks(tasks, ChunkCut("auto"), cores, is_last=False)
    cut = cut_chunks(tasks, ChunkCut("auto"), cores)
    assert cut[0] == 0
    assert cut[-1] == len(tasks)
    assert (np.diff(cut) > 0).all()
    works = ASSUMED.of(tasks)
    capacity = int(1e9 * assumed_work(tasks, cores))
    left = works[::-1].cumsum()[::-1]
    at_end = left <= cores * capacity  # tasks after which no more than that is left
    for start, stop in pairwise(cut.tolist()):
        if at_end[start]:
            room = min(max(left[start] / (2 * cores), capacity / LAST, 1e9 * ASSUMED.chunk), capacity)
            assert stop - start == 1 or works[start:stop].sum() <= room + 1
            assert stop == len(tasks) or works[start : stop + 1].sum() > room - 1  # as much as there is room for
    same = [place for place in usual.tolist() if not at_end[min(place, len(tasks) - 1)]]
    assert cut.tolist()[: len(same)] == same


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("folder", ShardCut("folder")),
        ("8", ShardCut("count", 8)),
        ("50GB", ShardCut("bytes", 50 * 10**9)),
        ("1.5 TiB", ShardCut("bytes", 3 * 2**39)),
        ("100b", ShardCut("bytes", 100)),
        (3, ShardCut("count", 3)),
    ],
)
def test_shards_are_read(text: str | int, expected: ShardCut) -> None:
    assert ShardCut.parse(text) == expected


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "many", "0MB", "per-core", "5XB", "nan"])
def test_shards_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(
        UsageError, match=r"^--shards .*: give folder, a number such as 8, or a size such as 50GB(, 1 or more)?$"
    ):
        ShardCut.parse(text)


@pytest.mark.parametrize("text", ["", "0", "folder", "-3", "1e9"])
def test_chunks_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(
        UsageError,
        match=r"^--chunk .*: give auto, per-core, a number of tasks such as 16, or a size like 64MB(, 1 or more)?$",
    ):
        ChunkCut.parse(text)


@pytest.mark.parametrize(
    ("cut", "text"),
    [
        (ChunkCut("auto"), "auto"),
        (ChunkCut("per-core"), "per-core"),
        (ChunkCut("count", 7), "7"),
        (ChunkCut("bytes", 999), "999B"),
        (ChunkCut("bytes", 1000), "1kB"),
        (ChunkCut("bytes", 1500), "1.5kB"),
        (ChunkCut("bytes", 1550), "1550B"),
        (ChunkCut("bytes", 10**6), "1MB"),
        (ChunkCut("bytes", 2_500_000), "2.5MB"),
        (ChunkCut("bytes", 10**9), "1GB"),
        (ChunkCut("bytes", 1_100_000_000), "1.1GB"),
        (ChunkCut("bytes", 1_234_567 * 10**9), "1234567GB"),
        (ChunkCut("bytes", 123_456_500_000_000), "123456.5GB"),
    ],
)
def test_a_cut_is_written_as_it_is_read(cut: ChunkCut, text: str) -> None:
    assert str(cut) == text
    assert ChunkCut.parse(text) == cut


@pytest.mark.parametrize(
    ("sizes", "count", "expected"),
    [
        ([5, 3, 3, 2, 2, 1], 2, [[0, 3, 5], [1, 2, 4]]),
        ([0, 0, 0], 2, [[0, 2], [1]]),  # what has no bytes is dealt out evenly, too
        ([1, 9], 3, [[1], [0], []]),
        ([2, 0, 0], 2, [[0], [1, 2]]),  # as one byte
        ([], 3, [[], [], []]),
    ],
)
def test_the_largest_goes_to_who_has_least(sizes: list[int], count: int, expected: list[list[int]]) -> None:
    assert share_out(sizes, count) == expected


@pytest.mark.parametrize(
    ("sizes", "count", "expected"),
    [
        ([1, 1, 1, 1, 1, 1], 4, [0, 2, 3, 5, 6]),
        ([0, 0, 0], 2, [0, 2, 3]),
        ([5, 1, 1, 1, 5], 3, [0, 1, 4, 5]),
        ([9, 1, 1, 1, 1, 1], 3, [0, 1, 2, 6]),
    ],
)
def test_even_parts(sizes: list[int], count: int, expected: list[int]) -> None:
    assert split_evenly(np.array(sizes), count).tolist() == expected


def test_costs_are_whole_nanoseconds() -> None:
    assert Costs(1e-3, 1e-9, 1).of(np.array([0, 1000])).tolist() == [1_000_000, 1_001_000]
    assert Costs(0, 0, 1).of(np.array([5])).tolist() == [1]
    assert Costs(1.6e-9, 0, 1).of(np.array([5])).tolist() == [2]


@pytest.mark.parametrize(
    ("work", "size", "cores", "expected"),
    [
        (100.0, 10, 1, 2**0.5),  # where cost and waiting are least
        (1.0, 10, 1, 0.125),  # 8 for each core
        (0.5, 10, 2, 0.03125),
        (0.01, 10, 4, 0.0025),  # one for each core
        (1e6, 10, 1, 60.0),
        (1e3, 10**12, 1, 0.268435456),  # 256 MiB
        (1.0, 0, 1, 0.125),
    ],
)
def test_the_bounds_of_a_chunk_s_work(work: float, size: int, cores: int, expected: float) -> None:
    assert chunk_work(work, size, Costs(1e-3, 1e-9, 0.01), cores) == pytest.approx(expected, rel=1e-12)


def test_what_auto_takes_for_granted_cuts_so() -> None:
    assert Costs(task=0.0004, byte=1.2e-9, chunk=0.010) == ASSUMED
    tasks = np.full(40, 10**7)  # 12.4 ms each
    auto = ChunkCut("auto")
    usual = [0, 8, 16, 24, 32, 40]
    assert cut_chunks(tasks, auto, 2, work=0.1, is_last=False).tolist() == usual
    ending = [0, 8, 16, 23, 27, 30, 32, 34, *range(35, 41)]
    assert cut_chunks(tasks, auto, 2, work=0.1).tolist() == ending
    assert cut_chunks(np.full(40, 10**6), auto, 2).tolist() == [0, 6, 12, 18, 24, 30, 36, 40]
    for rule in ("auto", "count", "bytes", "per-core"):
        assert cut_chunks(tasks[:0], ChunkCut(rule, 3), 2).tolist() == [0]


def test_a_recommendation_in_figures_and_words() -> None:
    costs = Costs(1e-3, 1e-9, 0.01)
    found = recommend_chunk(np.full(1000, 10**6), costs, 4)
    assert (found.chunk, found.chunks, found.tasks, found.size, found.work, found.cores) == (
        "31",
        33,
        1000,
        10**9,
        2.0,
        4,
    )
    assert found.seconds == pytest.approx(2 / 33)
    assert (
        found.reason
        == "2.0 s of work for 4 cores, in about 33 chunks of 0.061 s; a chunk costs 10 ms besides its tasks"
    )
    assert found.to_json()["reason"] == found.reason
    assert found.to_json()["costs"] == {
        "task": 1e-3,
        "byte": 1e-9,
        "chunk": 0.01,
        "combine_task": 0.0,
        "source": "",
        "row_byte": None,
    }
    with pytest.raises(UsageError):
        recommend_chunk(np.zeros(0, np.int64), costs, 4)


def test_shards_in_figures() -> None:
    groups = np.zeros(6)
    sizes = np.array([4, 4, 4, 4, 1, 1], np.int64)
    assert cut_shards(sizes, groups, ShardCut("bytes", 8)).tolist() == [0, 2, 3, 6]
    assert cut_shards(sizes, groups, ShardCut("bytes", 17)).tolist() == [0, 2, 6]
    assert cut_shards(sizes, groups, ShardCut("bytes", 18)).tolist() == [0, 6]
    assert cut_shards(sizes, groups, ShardCut("count", 2)).tolist() == [0, 2, 6]
    for cut in (ShardCut("folder"), ShardCut("count", 2), ShardCut("bytes", 8)):
        assert cut_shards(sizes[:0], groups[:0], cut).tolist() == [0]
        assert cut_shards(sizes[:1], groups[:1], cut).tolist() == [0, 1]


def test_how_small_the_last_chunks_are() -> None:
    tasks = np.full(1000, 500_000)  # 1 ms each
    auto = ChunkCut("auto")
    assert LAST == 8
    long = np.diff(cut_chunks(tasks, auto, 2, work=0.16)).tolist()
    assert (long[0], long[-2]) == (160, 20)  # an eighth of the others
    short = np.diff(cut_chunks(tasks, auto, 2, work=0.04)).tolist()
    assert (short[0], short[-2]) == (40, 10)  # what a chunk costs by itself
    assert cut_chunks(tasks[:40], auto, 2, work=10.0).tolist() == [0, 40]


def test_a_recommendation_has_two_digits() -> None:
    """An eighth of 12,345 tasks is 1,543, and of 100,000 it is 12,500."""
    assert recommend_chunk(np.ones(12_345, np.int64), Costs(task=1e-3, byte=0, chunk=1), 1).chunk == "1500"
    assert recommend_chunk(np.ones(100_000, np.int64), Costs(task=1e-3, byte=0, chunk=1), 1).chunk == "12000"


def test_a_recommendation_is_at_least_a_byte() -> None:
    sizes = np.array([1, 1, *[0] * 100])
    assert recommend_chunk(sizes, Costs(task=1e-6, byte=1, chunk=1000), 4).chunk == "1B"
