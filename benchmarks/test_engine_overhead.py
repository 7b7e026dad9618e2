"""What the engine adds to the time that the extractor alone takes, divided by the cores: at most 5 %.

The extractor is the pattern's function. Start-up (imports, processes) is left out in two ways:

- by difference: the seconds of a whole run on 1,000 tasks less those of one on 100. What is constant falls out; all that
  grows with the tasks is in it: listing, planning, scheduling, checking, committing, merging, combining. It is compared
  with the plain loop of `alone.py`, in one process (divided by the cores) and in as many at once as there are cores:
  cores that share a memory bus, a cache or a power budget are slower together than one alone, whatever runs on them.
- by accounting (`timed.py`): of the time from each core's first task to the end of the last shard, the part that is not
  inside the extractor. Both parts are of the same seconds, so what else the machine does falls out.
"""

from __future__ import annotations

import itertools
import statistics
from typing import TYPE_CHECKING

from measure import CORES, HERE, spread, table, take_turns, time_alone
from timed import TimedRun, timed_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from data import Dataset

ROUNDS = 4
ALLOWED = 0.05
PATTERN = f"{HERE / 'pattern_extractor.py'}:pattern_extractor"


def test_engine_adds_at_most_five_percent(
    small: Dataset, few: Dataset, tmp_path: Path, show: Callable[[str], None]
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
    seconds = take_turns(contestants, ROUNDS)
    share = (small.segments - few.segments) / small.segments
    marginal = [whole - start for whole, start in zip(seconds["small"], seconds["few"], strict=True)]
    alone = [second / CORES * share for second in seconds["one"]]
    together = [second * share for second in seconds["together"]]
    inside = [run.tasks / CORES for run in runs[small.name]]
    phases = [run.phase for run in runs[small.name]]
    overheads = {
        "alone": statistics.median(marginal) / statistics.median(alone) - 1,
        "together": statistics.median(marginal) / statistics.median(together) - 1,
        "accounted": statistics.median(run.overhead for run in runs[small.name]),
    }

    def row(name: str, times: list[float], overhead: float | None = None) -> list[str]:
        shown = "" if overhead is None else f"{overhead:+.1%}"
        return [name, f"{statistics.median(times):.3f}", spread(times), shown]

    rows = [
        row(f"run, {small.segments} tasks less {few.segments}", marginal),
        row(f"  loop in one process / {CORES}", alone, overheads["alone"]),
        row(f"  loop in {CORES} processes at once", together, overheads["together"]),
        row(f"run, {small.segments} tasks, extraction", phases),
        row(f"  inside the extractor / {CORES}", inside, overheads["accounted"]),
        row(f"whole run, {small.segments} tasks", seconds["small"]),
        row(f"whole run, {few.segments} tasks", seconds["few"]),
    ]
    chunks = runs[small.name][0].chunks
    title = f"The engine beside the extractor alone, {small}, {chunks} chunks, {CORES} cores, {ROUNDS} rounds in turn"
    show(table(title, ["", "median s", "range s", "engine adds"], rows))
    assert overheads["accounted"] <= ALLOWED
    assert overheads["together"] <= ALLOWED
