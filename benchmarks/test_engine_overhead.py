"""What the engine adds to the time that the extractor alone takes, divided by the cores: at most 5 % at 4,000 tasks.

The extractor is the pattern's function, which returns a DataFrame. Start-up (imports, processes) is left out in two
ways:

- by difference: what a whole run takes on 1,000 tasks (with `--full` 4,000) less what one takes on 100. What is
  constant falls out; all that grows with the tasks is in it: listing, planning, scheduling, checking, committing,
  merging, combining. It is compared with the plain loop of `alone.py`, in one process (divided by the cores) and in as
  many at once as there are cores: cores that share a memory bus, a cache or a power budget are slower together than one
  alone, whatever runs on them.
- by accounting (`timed.py`): of the time from each core's first task to the end of the last shard, the part that is not
  inside the extractor. Both parts are of the same seconds, so that they suffer alike from what else the machine does.

CPU time is compared in both ways at once: it hardly depends on what else the machine does, but sees no waiting.
"""

from __future__ import annotations

import itertools
import statistics
from typing import TYPE_CHECKING, Any

from measure import CORES, HERE, Bystanders, spread, table, take_turns, time_alone
from plots import Bars
from results import keep_times
from timed import TimedRun, timed_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from data import Dataset

ALLOWED = 0.05

PATTERN = f"{HERE / 'pattern_extractor.py'}:pattern_extractor"


def test_engine_adds_at_most_five_percent(
    small: Dataset, few: Dataset, tmp_path: Path, show: Callable[..., None], benchmark: Any, rounds: int, is_full: bool
) -> None:
    numbers = itertools.count()
    runs: dict[str, list[TimedRun]] = {small.name: [], few.name: []}

    def run(dataset: Dataset) -> float:
        found = timed_run(dataset.root, tmp_path / str(next(numbers)), "pattern", jobs=CORES)
        runs[dataset.name].append(found)
        return found.whole

    contestants = {
        "one": lambda: time_alone(PATTERN, small.root, 1),
        "small": lambda: run(small),
        "few": lambda: run(few),
        "together": lambda: time_alone(PATTERN, small.root, CORES),
    }
    with Bystanders() as others:
        seconds = take_turns(contestants, rounds)

    pairs = list(zip(runs[small.name], runs[few.name], strict=True))
    share = (small.segments - few.segments) / small.segments
    marginal = [large.whole - less.whole for large, less in pairs]
    cpu = [(large.cpu - less.cpu) / CORES for large, less in pairs]
    tasks_cpu = [(large.tasks_cpu - less.tasks_cpu) / CORES for large, less in pairs]
    alone = [second / CORES * share for second in seconds["one"]]
    together = [second * share for second in seconds["together"]]
    phases = [run.phase for run in runs[small.name]]
    inside = [run.tasks / CORES for run in runs[small.name]]
    by_accounting = statistics.median(run.overhead for run in runs[small.name])
    by_cpu = statistics.median(all_cpu / task_cpu - 1 for all_cpu, task_cpu in zip(cpu, tasks_cpu, strict=True))

    def row(name: str, times: list[float], overhead: float | None = None) -> list[str]:
        shown = "" if overhead is None else f"{overhead:+.1%}"
        return [name, f"{statistics.median(times):.3f}", spread(times), shown]

    def beyond(times: list[float]) -> float:
        return statistics.median(marginal) / statistics.median(times) - 1

    rows = [
        row(f"run, {small.segments} tasks less {few.segments}", marginal),
        row(f"  loop in one process / {CORES}", alone, beyond(alone)),
        row(f"  loop in {CORES} processes at once", together, beyond(together)),
        row("  CPU time of the run / cores", cpu),
        row("  CPU time inside the extractor / cores", tasks_cpu, by_cpu),
        row(f"run, {small.segments} tasks, extraction", phases),
        row(f"  inside the extractor / {CORES}", inside, by_accounting),
        row(f"whole run, {small.segments} tasks", seconds["small"]),
        row(f"whole run, {few.segments} tasks", seconds["few"]),
    ]
    chunks = runs[small.name][0].chunks
    title = f"The engine beside the extractor alone, {small}, {chunks} chunks, "
    title += f"{CORES} cores, {rounds} rounds in turn"
    plot = Bars(
        "seconds",
        {
            "run, by difference": marginal,
            f"loop in one process / {CORES}": alone,
            f"loop in {CORES} processes": together,
        },
        ("run, by difference",),
    )
    show(table(title, ["", "median s", "range s", "engine adds"], rows, [others.note]), plot)
    keep_times(benchmark, {**seconds, "extraction": phases}, plan_id=runs[small.name][0].plan_id, dataset=str(small))
    assert by_cpu <= ALLOWED
    if others.are_quiet and is_full:  # in three seconds the ends of chunks and shards weigh more than they may
        assert by_accounting <= ALLOWED
        assert beyond(together) <= ALLOWED
