"""What a task and a byte cost `wfdb-summary`: by calibration on a few tasks, and by a whole run's own measurements."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import scaledproc
from scaledproc.extractors import load_extractor
from scaledproc.planning.calibration import calibrate, costs_of
from scaledproc.planning.cost_model import Costs
from scaledproc.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from data import Dataset

FACTOR = 2  # between what a fifth of the tasks promise and what all of them take


def test_calibration_foretells_a_run(mixed: Dataset, tmp_path: Path, show: Callable[[str], None]) -> None:
    plan = scaledproc.plan(mixed.root, shards=6)
    calibrated = calibrate(plan, Store.at(mixed.root), load_extractor("wfdb-summary", {}), plan.n_tasks // 5).costs
    record = scaledproc.run(mixed.root, tmp_path / "out", shards=6, jobs=1).record
    measured = costs_of(record)
    expected, taken = float(calibrated.seconds(plan.n_tasks, plan.size)), record.timings["work_seconds"]
    combining = record.timings["combine_seconds"] / plan.n_tasks

    show(
        f"wfdb-summary on one core: {mixed}\n"
        f"  calibrated: {_text(calibrated)}; all of it would take {expected:.2f} s\n"
        f"  a whole run: {_text(measured)}; all of it took {taken:.2f} s; combining {combining * 1e3:.2f} ms a task"
    )
    assert taken / FACTOR <= expected <= taken * FACTOR


def _text(found: Costs) -> str:
    return f"{found.task * 1e3:.2f} ms a task and {found.byte * 1e9:.2f} ns a byte"
