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
    with pytest.raises(UsageError, match="--shards"):
        ShardCut.parse(text)


@pytest.mark.parametrize("text", ["", "0", "folder", "-3", "1e9"])
def test_chunks_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--chunk"):
        ChunkCut.parse(text)
