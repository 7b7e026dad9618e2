"""Where a plan is cut: arrays of sizes in, arrays of offsets out.

Offsets are those of a partition: `[0, …, n]`, part `i` being `offsets[i]:offsets[i + 1]`.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scaledproc.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Offsets = NDArray[np.int64]

# `--chunk auto`: enough chunks for the cores to end together, each long enough that starting and committing it does
# not count, none so long that much is lost when it is interrupted (`benchmarks/test_chunking.py`).
CHUNKS_PER_CORE = 8
SMALLEST_CHUNK = 4 * 2**20
LARGEST_CHUNK = 256 * 2**20
# What a task costs before its first byte is read, as bytes: opening its files and reading its header.
TASK_OVERHEAD = 256 * 2**10

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


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

    @classmethod
    def parse(cls, text: str | int) -> ChunkCut:
        """From `auto`, `per-core`, `16` (tasks) or `64MB`."""
        if str(text) in ("auto", "per-core"):
            return cls("auto" if str(text) == "auto" else "per-core")
        number = parse_number(str(text), "--chunk", "auto, per-core, a number of tasks such as 16, or a size like 64MB")
        return cls(*number)


def parse_number(text: str, option: str, choices: str) -> tuple[Literal["count", "bytes"], int]:
    """A number of things, or of bytes.

    Raises
    ------
    UsageError
        It is neither; the message names the option and the choices.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:([kmgt]?i?)(b?)|tasks?)\s*", text, re.IGNORECASE)
    if not match or (match[2] or "").lower() not in _UNITS:
        raise UsageError(f"{option} {text!r}: give {choices}")
    unit, is_bytes = (match[2] or "").lower(), bool(match[2] or match[3])
    value = float(match[1]) * _UNITS[unit]
    if value < 1 or (not is_bytes and value != int(value)):
        raise UsageError(f"{option} {text!r}: give {choices}, 1 or more")
    return ("bytes" if is_bytes else "count"), int(value)


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


def cut_chunks(task_sizes: NDArray[np.int64], cut: ChunkCut, cores: int) -> Offsets:
    """Offsets of micro shards over the tasks of one macro shard.

    Parameters
    ----------
    task_sizes
        Bytes of each task, shape (tasks,).
    cut
        The rule.
    cores
        Cores of the machine that will run the shard.
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
    costs = task_sizes + TASK_OVERHEAD
    return _fill(costs, min(max(int(costs.sum()) // (cores * CHUNKS_PER_CORE), SMALLEST_CHUNK), LARGEST_CHUNK))


def _fill(sizes: NDArray[np.int64], capacity: int) -> Offsets:
    """Parts filled up to the capacity; an item above it has a part of its own."""
    sums, n = _sums(sizes), len(sizes)
    offsets = [0]
    while offsets[-1] < n:
        reach = int(np.searchsorted(sums, sums[offsets[-1]] + capacity, "right")) - 1
        offsets.append(max(reach, offsets[-1] + 1))
    return np.array(offsets, np.int64)


def _sums(sizes: NDArray[np.int64]) -> Offsets:
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
