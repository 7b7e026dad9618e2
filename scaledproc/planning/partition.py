"""Where a plan is cut: arrays of sizes in, arrays of offsets out.

Offsets are those of a partition: `[0, …, n]`, part `i` being `offsets[i]:offsets[i + 1]`.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scaledproc._util.text import count_text, seconds_text
from scaledproc._util.units import parse_number
from scaledproc.errors import UsageError
from scaledproc.planning.cost_model import ASSUMED, Costs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Offsets = NDArray[np.int64]

# The rule of `--chunk auto` and of the recommendation of `pytest benchmarks` (`chunk_work`): no core has fewer chunks
# than this, since what a task takes is known only roughly, and differs from task to task.
CHUNKS_PER_CORE = 8
LAST = 8
"""So many times smaller are the last chunks: so long, cores wait for each other at the end."""
LONGEST_CHUNK = 60.0  # seconds; more would be lost with a machine that goes away
LARGEST_CHUNK = 256 * 2**20  # bytes; a staged chunk's files are on the machine together, one more waiting for each core


@dataclass(frozen=True)
class Recommendation:
    """A chunk size for some data, an extractor and a machine.

    Parameters
    ----------
    chunk
        As `--chunk` takes it.
    seconds
        Mean work of such chunks on one core, without their own cost.
    chunks
        How many there will be, about.
    costs
        What it rests on.
    tasks, size, work, cores
        What it is for: so many tasks and bytes, which take one core so many seconds, on so many cores.
    """

    chunk: str
    seconds: float
    chunks: int
    costs: Costs
    tasks: int
    size: int
    work: float
    cores: int

    @property
    def reason(self) -> str:
        """Why this size is recommended, in words for a person."""
        return (
            f"{seconds_text(self.work)} of work for {count_text(self.cores, 'core')}, in about "
            f"{count_text(self.chunks, 'chunk')} of {self.seconds:.2g} s; a chunk costs "
            f"{self.costs.chunk * 1e3:.2g} ms besides its tasks"
        )

    def to_json(self) -> dict[str, Any]:
        """The recommendation in JSON's types."""
        return {**asdict(self), "reason": self.reason}


@dataclass(frozen=True)
class ShardCut:
    """How a plan is cut for machines: one shard a group, so many shards, or shards of a size in bytes."""

    by: Literal["folder", "count", "bytes"]
    value: int = 0

    @classmethod
    def parse(cls, text: str | int) -> ShardCut:
        """From `folder`, `8` or `50GB`."""
        if str(text) == "folder":
            return cls("folder")
        number = parse_number(str(text), "--shards", "folder, a number such as 8, or a size such as 50GB")
        return cls(*number)


@dataclass(frozen=True)
class ChunkCut:
    """How a shard is cut for cores: by the planner's rule, evenly per core, so many tasks, or so many bytes."""

    by: Literal["auto", "per-core", "count", "bytes"]
    value: int = 0

    def __str__(self) -> str:
        return {"count": str(self.value), "bytes": _size_text(self.value)}.get(self.by, self.by)

    @classmethod
    def parse(cls, text: str | int) -> ChunkCut:
        """From `auto`, `per-core`, `16` (tasks) or `64MB`."""
        if str(text) in ("auto", "per-core"):
            return cls("auto" if str(text) == "auto" else "per-core")
        number = parse_number(str(text), "--chunk", "auto, per-core, a number of tasks such as 16, or a size like 64MB")
        return cls(*number)


def cut_shards(unit_sizes: NDArray[np.int64], unit_groups: NDArray[Any], cut: ShardCut) -> Offsets:
    """Offsets of macro shards over units, never cutting one.

    Parameters
    ----------
    unit_sizes
        Bytes of each unit, shape (units,).
    unit_groups
        A number that changes where the group does, shape (units,).
    """
    n = len(unit_sizes)
    if n == 0:
        return np.zeros(1, np.int64)
    if cut.by == "folder":
        return np.concatenate([[0], np.flatnonzero(unit_groups[1:] != unit_groups[:-1]) + 1, [n]]).astype(np.int64)
    count = cut.value
    if cut.by == "bytes":  # as many as that size allows; then the largest of these as small as can be
        count = len(_greedy(_sums(unit_sizes), max(cut.value, int(unit_sizes.max())))) - 1
    return split_evenly(unit_sizes, count)


def split_evenly(sizes: NDArray[np.int64], count: int) -> Offsets:
    """Cut consecutive items into `count` parts so that the largest part is as small as any such cut makes it.

    No part is empty; there are fewer than `count` only where there are fewer items. Among the cuts with the smallest
    largest part, one near the even spread is taken. Time is O(count · log(items) · log(bytes)).
    """
    n = len(sizes)
    count = min(count, n)
    weights = sizes if sizes.any() else np.ones_like(sizes)
    sums = _sums(weights)
    capacity = _smallest_capacity(sums, count, int(weights.max()))
    # From `earliest[i]` on, the remaining parts suffice for the rest; found by filling parts from the end.
    mirrored = _greedy(sums[-1] - sums[::-1], capacity)
    earliest = np.zeros(count + 1, np.int64)
    used = len(mirrored) - 1
    earliest[count - used :] = n - mirrored[::-1]
    offsets = np.zeros(count + 1, np.int64)
    for i in range(1, count):
        wanted = int(np.searchsorted(sums, sums[-1] * i / count))
        reach = int(np.searchsorted(sums, sums[offsets[i - 1]] + capacity, "right")) - 1
        lowest = max(int(earliest[i]), int(offsets[i - 1]) + 1)
        offsets[i] = min(max(wanted, lowest), reach, n - (count - i))
    offsets[count] = n
    return offsets


def share_out(sizes: Sequence[int], count: int) -> list[list[int]]:
    """Deal items to `count` machines, the largest first, each to the one that has least so far.

    The same for the same sizes wherever it is computed. The largest share is at most 4/3 of the smallest possible
    (Graham 1969, longest processing time first).

    Returns
    -------
    list of list of int
        For each machine its items in ascending order.
    """
    shares: list[list[int]] = [[] for _ in range(count)]
    loads = [(0, machine) for machine in range(count)]
    for item in sorted(range(len(sizes)), key=lambda item: (-sizes[item], item)):
        load, machine = heapq.heappop(loads)
        shares[machine].append(item)
        heapq.heappush(loads, (load + max(int(sizes[item]), 1), machine))
    return [sorted(share) for share in shares]


def _smallest_capacity(sums: Offsets, count: int, largest: int) -> int:
    low, high = max(largest, -(-int(sums[-1]) // count)), int(sums[-1])
    while low < high:
        middle = (low + high) // 2
        if _greedy(sums, middle, at_most=count)[-1] == len(sums) - 1:
            high = middle
        else:
            low = middle + 1
    return low


def _greedy(sums: Offsets, capacity: int, at_most: int | None = None) -> Offsets:
    """Offsets of parts filled from the start as far as the capacity goes (each item fits into it)."""
    offsets, n = [0], len(sums) - 1
    while offsets[-1] < n and (at_most is None or len(offsets) <= at_most):
        offsets.append(int(np.searchsorted(sums, sums[offsets[-1]] + capacity, "right")) - 1)
    return np.array(offsets, np.int64)


def cut_chunks(
    task_sizes: NDArray[np.int64], cut: ChunkCut, cores: int, work: float | None = None, *, is_last: bool = True
) -> Offsets:
    """Offsets of micro shards over the tasks of one macro shard.

    Parameters
    ----------
    task_sizes
        Bytes of each task, shape (tasks,).
    cut
        The rule.
    cores
        Cores of the machine that will run the shard.
    work
        For `auto`: seconds of work of a chunk, where the cores have more to do than this shard.
    is_last
        For `auto`: whether this shard is the last one that the cores do, whose last chunks are smaller.
    """
    n = len(task_sizes)
    if n == 0:
        return np.zeros(1, np.int64)
    if cut.by == "count":
        return np.append(np.arange(0, n, cut.value), n).astype(np.int64)
    if cut.by == "per-core":
        return np.unique(np.linspace(0, n, cores + 1).round().astype(np.int64))
    if cut.by == "bytes":
        return _fill(task_sizes, cut.value)
    wanted = assumed_work(task_sizes, cores) if work is None else work
    return _fill_towards_end(ASSUMED.of(task_sizes), max(int(1e9 * wanted), 1), cores if is_last else 0)


def assumed_work(task_sizes: NDArray[np.int64], cores: int) -> float:
    """Seconds of work that a chunk of these tasks should hold, by what `--chunk auto` takes for granted."""
    return chunk_work(float(ASSUMED.of(task_sizes).sum()) / 1e9, int(task_sizes.sum()), ASSUMED, cores)


def chunk_work(work: float, size: int, costs: Costs, cores: int) -> float:
    """Seconds of work that a chunk should hold.

    With chunks of `w` seconds a core spends `work / cores / w` times the cost of a chunk on them, and waits at the end
    for others that are in the middle of theirs: `w / 2` on average. The sum is smallest at
    `w = sqrt(2 · chunk · work / cores)`; `benchmarks/test_chunking.py` shows the curve. It is bounded: enough chunks
    for cores whose tasks are not what was expected, no chunk with less work than its own cost as long as every core has
    one, none too long or too large.

    Parameters
    ----------
    work
        Seconds that all tasks take one core.
    size
        Their bytes.
    costs
        What they rest on.
    cores
        How many share them.
    """
    share = work / cores
    wanted = min(math.sqrt(2 * costs.chunk * share), share / CHUNKS_PER_CORE)
    worthwhile = max(wanted, min(costs.chunk, share))
    return min(worthwhile, LONGEST_CHUNK, work * LARGEST_CHUNK / size if size else math.inf)


def recommend_chunk(task_sizes: NDArray[np.int64], costs: Costs, cores: int) -> Recommendation:
    """The chunk size for some tasks, by the rule of `--chunk auto`.

    It is a number of tasks or a size in bytes: that of both whose largest chunk has less work.

    Parameters
    ----------
    task_sizes
        Bytes of each task that is to be done, in the plan's order, shape (tasks,).
    costs
        As measured.
    cores
        How many share the work.

    Raises
    ------
    UsageError
        If there is no task to be done.
    """
    tasks, size = len(task_sizes), int(task_sizes.sum())
    if not tasks:
        raise UsageError("there is no task to recommend a chunk size for")
    loads = costs.of(task_sizes)
    work = float(loads.sum()) / 1e9
    share = min(chunk_work(work, size, costs, cores) / work, 1.0)  # of all
    choices = [ChunkCut("count", max(_rounded(share * tasks), 1))]
    if size:
        choices.append(ChunkCut("bytes", max(_rounded(share * size), 1)))
    sums = _sums(loads)
    cuts = [cut_chunks(task_sizes, choice, cores) for choice in choices]
    largest = [int(np.diff(sums[cut]).max()) for cut in cuts]
    best = largest.index(min(largest))
    chunks = len(cuts[best]) - 1
    return Recommendation(str(choices[best]), work / chunks, chunks, costs, tasks, size, work, cores)


def _rounded(value: float) -> int:
    """With two digits, as a person would write it."""
    factor: int = 10 ** max(len(str(int(value))) - 2, 0)
    return round(value / factor) * factor


def _size_text(size: int) -> str:
    """A size as `--chunk` takes it, exactly."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor and size * 10 % factor == 0:
            whole, tenth = divmod(size * 10 // factor, 10)
            return f"{whole}.{tenth}{unit}" if tenth else f"{whole}{unit}"
    return f"{size}B"


def _fill(sizes: NDArray[np.int64], capacity: int) -> Offsets:
    """Parts filled up to the capacity; an item above it has a part of its own."""
    sums, n = _sums(sizes), len(sizes)
    offsets = [0]
    while offsets[-1] < n:
        reach = int(np.searchsorted(sums, sums[offsets[-1]] + capacity, "right")) - 1
        offsets.append(max(reach, offsets[-1] + 1))
    return np.array(offsets, np.int64)


def _fill_towards_end(loads: NDArray[np.int64], capacity: int, cores: int) -> Offsets:
    """Parts filled up to the capacity, and smaller and smaller ones at the end: half of a core's share of what is left.

    Their capacity is never less than an eighth (`LAST`) of the others', nor than a chunk's own cost. (Guided
    self-scheduling, Polychronopoulos and Kuck 1987, with half shares.)
    """
    least = min(max(capacity // LAST, int(1e9 * ASSUMED.chunk)), capacity)
    if not cores or least == capacity:
        return _fill(loads, capacity)
    sums, n = _sums(loads), len(loads)
    turn = max(int(np.searchsorted(sums, sums[-1] - cores * capacity, "right")) - 1, 0)
    offsets = [turn]
    while offsets[-1] < n:
        done = int(sums[offsets[-1]])
        size = max(int(sums[-1] - done) // (2 * cores), least)
        reach = int(np.searchsorted(sums, done + size, "right")) - 1
        offsets.append(max(reach, offsets[-1] + 1))
    return np.concatenate([_fill(loads[:turn], capacity), np.array(offsets[1:], np.int64)])


def _sums(sizes: NDArray[np.int64]) -> Offsets:
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
