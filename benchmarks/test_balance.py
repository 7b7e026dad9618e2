"""Balance: how long the slowest core of a simulated fleet works, for any number of machines. Pure, seeded.

What a task and a chunk cost is `ASSUMED` of the planner, on any core the same; nothing else costs anything. So this
shows what the cuts leave to be wished for, not what a machine does. A machine's cores take the chunks of its shards,
the largest first, each as soon as one is free: what the local backend does. The pattern gives each machine whole
folders, the largest to whoever has least, and each core as many tasks, in one piece, at no cost for pieces.

The limit for adversarial sizes is the mean shard and the largest unit, over the cores, and one chunk. Shards are cut by
bytes, and only their bytes are sure to keep to it: where tasks are small, what each costs besides its bytes counts too.

The lower bound is what no plan can be below: the mean of all cores; the largest task, which one core does; the largest
unit over the cores of the one machine that has to do it.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from measure import table
from mimic_like import mimic_like_inventory

from scaledproc.planning.cost_model import ASSUMED
from scaledproc.planning.partition import ChunkCut, ShardCut, cut_chunks, cut_shards, share_out

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

pytestmark = pytest.mark.full

CORES = 16
MACHINES = (1, 3, 10, 50, 100, 1_000)
FINER = 4  # shards of each machine, to see whether one is enough
NEAR = 1.05


@dataclass(frozen=True)
class Sizes:
    """A dataset: bytes of each task, offsets of units in the tasks, the group of each unit."""

    tasks: NDArray[np.int64]
    units: NDArray[np.int64]
    groups: NDArray[np.int64]

    @property
    def costs(self) -> NDArray[np.int64]:
        """Nanoseconds of each task."""
        return ASSUMED.of(self.tasks)

    def of_units(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        sums = np.concatenate([[0], np.cumsum(values)])
        between: NDArray[np.int64] = sums[self.units[1:]] - sums[self.units[:-1]]
        return between


def mimic_like() -> Sizes:
    """Records and segments like those of the MIMIC-III Waveform Database (`mimic_like`), 6.7 TB."""
    found = mimic_like_inventory()
    rng = np.random.default_rng(4)
    tasks = []
    for size, count, largest in zip(
        *(a.tolist() for a in (found.unit_bytes, found.unit_tasks, found.unit_largest)), strict=True
    ):
        if count == 1:
            tasks.append(np.array([size]))
            continue
        rest = rng.dirichlet(np.ones(count - 1)) * (size - largest)
        tasks.append(np.insert(np.minimum(rest, largest), rng.integers(count), largest))
    groups = np.repeat(np.arange(len(found.cuts) - 1), np.diff(found.cuts))
    return _sizes([unit.astype(np.int64) for unit in tasks], groups)


def heavy_tailed() -> Sizes:
    """100,000 units of Pareto sizes (exponent 1.5: no variance), of 1 to 30 tasks, in 50 groups of Zipf sizes."""
    rng = np.random.default_rng(5)
    counts = rng.integers(1, 31, 100_000)
    units = [(rng.pareto(1.5, count) * 1e7 + 1e5).astype(np.int64) for count in counts.tolist()]
    share = 1 / np.arange(1, 51)
    return _sizes(units, np.sort(rng.choice(50, size=len(units), p=share / share.sum())))


def adversarial(kind: str) -> Sizes:
    """Sizes that are as bad as can be for some cut; one shard may then be the mean and the largest unit, not more.

    `growing`: each unit larger than the one before. `last`: a unit as large as all others, at the end. `alternating`:
    a large unit after each hundred small ones. `one task`: units of one task, few of them as large as a machine's
    share.
    """
    rng = np.random.default_rng(6)
    n = 20_000
    sizes = {
        "growing": np.arange(1, n + 1) * 10**5,
        "last": np.append(np.full(n - 1, 10**6), (n - 1) * 10**6),
        "alternating": np.where(np.arange(n) % 101 == 100, 10**9, 10**5),
        "one task": np.where(rng.random(n) < 0.001, 10**11, rng.integers(1, 10**7, n)),
    }[kind]
    per_unit = 1 if kind == "one task" else 10
    return _sizes([np.full(per_unit, max(size // per_unit, 1)) for size in sizes.tolist()], np.arange(n) * 7 // n)


def _sizes(units: Sequence[NDArray[np.int64]], groups: NDArray[np.int64]) -> Sizes:
    return Sizes(np.concatenate(units), np.concatenate([[0], np.cumsum([len(unit) for unit in units])]), groups)


def lower_bound(sizes: Sizes, machines: int) -> float:
    costs = sizes.costs
    return float(max(costs.sum() / (machines * CORES), costs.max(), sizes.of_units(costs).max() / CORES))


def busiest_core(chunks: NDArray[np.int64], cores: int = CORES) -> int:
    """When the last core ends that takes such chunks, the largest first, as it becomes free."""
    free = [0] * cores
    for cost in -np.sort(-chunks):
        heapq.heapreplace(free, free[0] + int(cost))
    return max(free)


@dataclass(frozen=True)
class Fleet:
    """What came of a simulation, in nanoseconds: its end, the work of the shards, of the largest chunk; chunks."""

    end: int
    shards: NDArray[np.int64]
    largest_chunk: int
    most_chunks: int


def planned(sizes: Sizes, machines: int, shards_each: int) -> Fleet:
    """The planner's cuts, shared out as a job on several machines does it."""
    costs = sizes.costs
    cuts = cut_shards(sizes.of_units(sizes.tasks), sizes.groups, ShardCut("count", machines * shards_each))
    bounds = sizes.units[cuts]
    pieces, shards = [], []
    for start, stop in pairwise(bounds.tolist()):
        offsets = cut_chunks(sizes.tasks[start:stop], ChunkCut("auto"), CORES)
        sums = np.add.reduceat(costs[start:stop], offsets[:-1])
        pieces.append(sums + int(1e9 * ASSUMED.chunk))
        shards.append(int(sums.sum()))
    shares = [np.concatenate([pieces[at] for at in share]) for share in share_out(shards, machines) if share]
    largest = max(int(piece.max()) for piece in pieces)
    return Fleet(max(map(busiest_core, shares)), np.array(shards), largest, max(map(len, shares)))


def pattern(sizes: Sizes, machines: int) -> float:
    """Whole folders to machines; to each core of one as many of its tasks."""
    costs = sizes.costs
    bounds = sizes.units[cut_shards(sizes.of_units(sizes.tasks), sizes.groups, ShardCut("folder"))]
    folders = [costs[start:stop] for start, stop in pairwise(bounds.tolist())]
    ends = []
    for share in share_out([int(folder.sum()) for folder in folders], machines):
        if share:
            tasks = np.concatenate([folders[at] for at in share])
            ends.append(max(int(part.sum()) for part in np.array_split(tasks, CORES)))
    return max(ends)


REAL: dict[str, Callable[[], Sizes]] = {"MIMIC-like": mimic_like, "heavy-tailed": heavy_tailed}
KINDS = ("growing", "last", "alternating", "one task")


@pytest.mark.parametrize("name", REAL)
def test_balance_of_sizes_as_they_are(name: str, show: Callable[[str], None]) -> None:
    sizes = REAL[name]()
    lines, worst = [], 0.0
    for machines in MACHINES:
        bound = lower_bound(sizes, machines)
        one, several = (planned(sizes, machines, each).end / bound for each in (1, FINER))
        lines.append(
            [
                f"{machines:,}",
                f"{bound / 1e9:.1f}",
                f"{pattern(sizes, machines) / bound:.2f}",
                f"{one:.3f}",
                f"{several:.3f}",
            ]
        )
        worst = max(worst, one)
    show(_table(f"balance, {name}: {len(sizes.groups):,} units, {len(sizes.tasks):,} tasks", lines))
    assert worst <= NEAR


@pytest.mark.parametrize("kind", KINDS)
def test_balance_of_adversarial_sizes(kind: str, show: Callable[[str], None]) -> None:
    sizes = adversarial(kind)
    lines = []
    for machines in MACHINES:
        bound = lower_bound(sizes, machines)
        found = [planned(sizes, machines, each) for each in (1, FINER)]
        one, largest_unit = found[0], int(sizes.of_units(sizes.costs).max())
        # The cores of a machine end within one chunk of each other.
        limit = (one.shards.mean() + largest_unit) / CORES + one.largest_chunk
        limit += one.most_chunks * 1e9 * ASSUMED.chunk / CORES
        lines.append(
            [
                *(f"{machines:,}", f"{bound / 1e9:.1f}", f"{pattern(sizes, machines) / bound:.2f}"),
                *(f"{fleet.end / bound:.3f}" for fleet in found),
                f"{one.end / limit:.2f}",
            ]
        )
        in_bytes = sizes.of_units(sizes.tasks)
        cuts = cut_shards(in_bytes, sizes.groups, ShardCut("count", machines))
        shards = np.add.reduceat(in_bytes, cuts[:-1])
        assert shards.max() <= shards.mean() + in_bytes.max(), "a shard is larger than the mean and the largest unit"
        assert one.end <= limit
    show(_table(f"balance, adversarial sizes, {kind}: {len(sizes.groups):,} units", lines, "of the limit"))


def _table(title: str, lines: Sequence[Sequence[str]], *more: str) -> str:
    return table(
        f"{title}; makespan over the lower bound, {CORES} cores a machine",
        ["machines", "bound, s", "pattern", "1 shard each", f"{FINER} shards each", *more],
        lines,
    )
