"""What the engine costs: a chunk, a shard and a task more, beside what they may cost (`GOALS`).

The extractor does nothing (`idle_extractor.py`). Runs take turns that differ in one thing alone: as many tasks in more
chunks, as many tasks and chunks in more shards, more tasks in as many chunks. What a run costs is what its cores do
from their first task to the end of the last shard, less what is inside the extractor (`timed.py`): start-up, planning
and combining are not in it. CPU time is of the whole run, all processes together; it hardly depends on what else the
machine does, but sees no waiting for disks.
"""

from __future__ import annotations

import itertools
import statistics
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from deciding import cost_of_one
from measure import CORES, Bystanders, table, take_turns
from results import keep_times
from timed import TimedRun, timed_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TASKS, MORE_TASKS = 4_000, 16_000
FOLDERS = 40
GOALS = {"chunk": 1.5e-3, "shard": 2e-3, "task": 0.05e-3}
"""Seconds of one core."""


@dataclass(frozen=True)
class Cut:
    """How many tasks there are, and how they are cut."""

    tasks: int
    shards: int
    chunk: int


FEW = Cut(TASKS, 1, TASKS // 4)
CUTS = {
    "few": FEW,
    "chunk": Cut(TASKS, 1, 20),
    "shard": Cut(TASKS, FOLDERS, 20),
    "task": Cut(MORE_TASKS, 1, MORE_TASKS // 4),
}
PAIRS = {  # with one of these more than in the other run: its name, that run, how many more
    "chunk": ("few", TASKS // 20 - 4),
    "shard": ("chunk", FOLDERS - 1),
    "task": ("few", MORE_TASKS - TASKS),
}


def test_what_the_engine_costs(
    tmp_path: Path, show: Callable[..., None], benchmark: Any, rounds: int, is_full: bool
) -> None:
    roots = {tasks: _empty_files(tmp_path / f"{tasks}", tasks) for tasks in (TASKS, MORE_TASKS)}
    numbers = itertools.count()
    runs: dict[str, list[TimedRun]] = {name: [] for name in CUTS}

    def run(name: str) -> float:
        cut = CUTS[name]
        output = tmp_path / f"run-{next(numbers)}"
        found = timed_run(roots[cut.tasks], output, "idle", jobs=CORES, chunk=str(cut.chunk), shards=str(cut.shards))
        assert found.chunks == cut.tasks // cut.chunk
        runs[name].append(found)
        return found.whole

    with Bystanders() as others:
        seconds = take_turns({name: partial(run, name) for name in CUTS}, rounds)

    rows, medians = [], {}
    for name, (base, count) in PAIRS.items():
        engine = cost_of_one(
            [each.cores - each.tasks for each in runs[name]], [each.cores - each.tasks for each in runs[base]], count
        )
        cpu = cost_of_one([each.cpu for each in runs[name]], [each.cpu for each in runs[base]], count)
        medians[name] = statistics.median(engine)
        rows.append(
            [
                f"a {name}",
                f"{1e3 * GOALS[name]:g}",
                f"{1e3 * medians[name]:.3f}",
                f"{1e3 * min(engine):.3f}-{1e3 * max(engine):.3f}",
                f"{1e3 * statistics.median(cpu):.3f}",
            ]
        )
    title = f"What the engine costs a core beside its tasks, {TASKS:,} tasks that do nothing, {CORES} cores, "
    title += f"{rounds} rounds in turn"
    header = ["", "goal ms", "median ms", "range ms", "CPU ms, whole run"]
    show(table(title, header, rows, [others.note]))
    keep_times(benchmark, seconds, plan_id=runs["few"][0].plan_id, dataset=f"{TASKS:,} empty files")
    if others.are_quiet and is_full:  # how long a disk takes to keep a file is no engine's
        assert {name: medians[name] for name in GOALS if medians[name] > GOALS[name]} == {}


def _empty_files(root: Path, count: int) -> Path:
    for folder in range(FOLDERS):
        place = root / "30" / f"{folder:03d}"
        place.mkdir(parents=True)
        for number in range(count // FOLDERS):
            (place / f"{number:04d}.hea").touch()
    return root
