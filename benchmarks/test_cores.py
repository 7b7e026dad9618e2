"""What a core is worth: a CPU-bound extractor on one core, on two, and on as many as there are, start-up aside.

Beside it the same loop in plain processes (`alone.py`): cores that share a power budget, or are two threads of one, are
worth less than one each, whatever runs on them.
"""

from __future__ import annotations

import itertools
import statistics
from functools import partial
from typing import TYPE_CHECKING, Any

import joblib
import pytest
from measure import HERE, Bystanders, spread, table, take_turns, time_alone
from plots import Lines
from results import keep_times
from timed import TimedRun, timed_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from data import Dataset

WANTED = 1.9  # of two cores
BUSY = f"{HERE / 'busy_extractor.py'}:busy"


def test_two_cores_are_worth_nearly_two(
    small: Dataset,
    tmp_path: Path,
    show: Callable[..., None],
    benchmark: Any,
    rounds: int,
) -> None:
    machine = joblib.cpu_count()
    if machine < 2:
        pytest.skip("there is one core")
    many = sorted(
        {1, *itertools.takewhile(lambda count: count < machine, (2**power for power in range(1, 12))), machine}
    )
    numbers = itertools.count()
    runs: dict[int, list[TimedRun]] = {count: [] for count in many}

    def run(jobs: int) -> float:
        runs[jobs].append(timed_run(small.root, tmp_path / str(next(numbers)), "busy", jobs=jobs))
        return runs[jobs][-1].phase

    contestants = {f"scaledproc, {count}": partial(run, count) for count in many}
    contestants |= {f"plain loop, {count}": partial(time_alone, BUSY, small.root, count) for count in many}
    with Bystanders() as others:
        seconds = take_turns(contestants, rounds)
    keep_times(benchmark, seconds, plan_id=runs[1][0].plan_id, dataset=str(small))

    worth: dict[str, dict[float, list[float]]] = {}
    rows = []
    for count in many:
        cells = [f"{count} core{'' if count == 1 else 's'}"]
        for kind in ("scaledproc", "plain loop"):
            times, first = seconds[f"{kind}, {count}"], seconds[f"{kind}, 1"]
            each = [one / time for one, time in zip(first, times, strict=True)]  # of the same round
            worth.setdefault(kind, {})[float(count)] = each
            cells += [f"{statistics.median(times):.2f}", spread(times), f"{statistics.median(each):.2f} x"]
        rows.append(cells)
    header = ["", "scaledproc, s", "range s", "worth", "plain loop, s", "range s", "worth"]
    title = f"What a core is worth, a CPU-bound extractor, {small.segments:,} tasks, {rounds} rounds in turn"
    plot = Lines("cores", "times the speed of one core", worth, ideal={float(count): float(count) for count in many})
    show(table(title, header, rows, [others.note]), plot)
    if others.are_quiet:
        assert statistics.median(worth["scaledproc"][2.0]) >= WANTED
