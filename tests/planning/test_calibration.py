"""What work costs: fitted to tasks that are run here, or read from a finished run."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import COUNT, TreeWriter

import scaledproc
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.extractors import load_extractor
from scaledproc.planning.calibration import calibrate, costs_of, fit, sample_tasks
from scaledproc.storage.store import Store


@scaledproc.extractor(schema={"path": "string"}, anchor="*.txt")
def slow(task: Any) -> dict[str, str]:
    content = task.path.read_bytes()
    if content.startswith(b"poison"):
        raise ValueError("poison")
    time.sleep(0.002 + len(content) * 1e-5)
    return {"path": task.anchor}


@pytest.fixture
def dataset(tree: TreeWriter) -> Path:
    return tree({f"{n % 4}/{n}/{n}.txt": bytes(50 * n) for n in range(40)})


def test_the_times_of_tasks_are_found(dataset: Path) -> None:
    plan = scaledproc.plan(dataset, extractor=slow)

    found = calibrate(plan, Store.at(dataset), slow, 12)

    assert (found.tasks, found.failed) == (12, 0)
    # Sleeping never takes less than it says, and on a busy machine more.
    assert float(found.costs.seconds(12, found.size)) == pytest.approx(found.work_seconds, rel=0.2)
    assert found.work_seconds >= 12 * 0.002 + found.size * 1e-5
    assert found.costs.source == "calibrated on 12 tasks here"


def test_the_sample_is_spread_by_size_and_always_the_same(dataset: Path) -> None:
    plan = scaledproc.plan(dataset, extractor=slow)
    chosen = sample_tasks(plan, 4)

    assert chosen == sample_tasks(plan, 4)
    assert plan.task_sizes[chosen].tolist() == [250, 750, 1250, 1750]
    assert len(sample_tasks(plan, 1000)) == 40
    with pytest.raises(UsageError, match="1 or more"):
        sample_tasks(plan, 0)


def test_a_remote_dataset_is_fetched_unit_by_unit(memory: str) -> None:
    store = Store.at(f"{memory}/data")
    for n in range(6):
        store.write(f"{n}/{n}.txt", bytes(100 * (n + 1)))
    plan = scaledproc.plan(f"{memory}/data", extractor=slow)

    found = calibrate(plan, store, slow, 3)

    assert found.tasks == 3
    assert found.read_bytes == found.size == 200 + 400 + 600


def test_failures_are_counted_and_do_not_count_as_work(tree: TreeWriter) -> None:
    root = tree({f"{n}/{n}.txt": b"poison" if n % 2 else bytes(1000 + n) for n in range(10)})
    plan = scaledproc.plan(root, extractor=slow)

    found = calibrate(plan, Store.at(root), slow, 10)

    assert (found.tasks, found.failed) == (5, 5)
    assert found.costs.source == "calibrated on 5 tasks here, 5 more failed"


def test_when_everything_fails_there_is_nothing_to_say(tree: TreeWriter) -> None:
    root = tree({f"{n}/{n}.txt": b"poison" for n in range(3)})
    plan = scaledproc.plan(root, extractor=slow)

    with pytest.raises(ScaledprocError, match=r"all 3 tasks that were tried failed, the first with .*ValueError"):
        calibrate(plan, Store.at(root), slow)


def test_a_plan_without_tasks_cannot_be_tried(tree: TreeWriter) -> None:
    root = tree({"a/b.csv": b""})

    with pytest.raises(UsageError, match="no task"):
        calibrate(scaledproc.plan(root, extractor=slow), Store.at(root), slow)


def test_the_built_in_extractor(demo: Path) -> None:
    plan = scaledproc.plan(demo)

    found = calibrate(plan, Store.at(demo), load_extractor("wfdb-summary", {}), 10)

    assert found.tasks + found.failed == 10
    assert found.work_seconds > 0


def test_a_finished_runs_measurements_give_its_own_seconds(tree: TreeWriter, tmp_path: Path) -> None:
    root = tree({f"{n % 3}/{n}.txt": bytes(10 * n) for n in range(30)})
    (tmp_path / "count.py").write_text(COUNT)
    run = scaledproc.run(root, tmp_path / "out", extractor=f"{tmp_path / 'count.py'}:count", jobs=1)

    found = costs_of(run.record)
    made = [size for name, size in run.record.sizes.items() if name.startswith("shards/")]
    assert len(made) == len(run.record.shards)
    assert found.row_byte == sum(made) / sum(shard["bytes"] for shard in run.record.shards)
    sizes = {name: size for name, size in run.record.sizes.items() if name != "shards/00000.parquet"}
    assert costs_of(replace(run.record, sizes=sizes)).row_byte is None

    shards = run.record.shards
    total = float(found.seconds(sum(s["tasks"] for s in shards), sum(s["bytes"] for s in shards)))
    assert total == pytest.approx(run.record.timings["work_seconds"], abs=0.002 * len(shards))
    assert found.source == "the last run's measurements (30 tasks)"
    assert found.combine_task == pytest.approx(run.record.timings["combine_seconds"] / 30)


def test_a_run_that_is_not_finished_has_no_measurements() -> None:
    with pytest.raises(UsageError, match="is it finished"):
        costs_of({"shards": [], "timings": {}})


RATES = st.floats(0, 10).map(lambda rate: round(rate, 3))


@given(RATES, RATES, st.lists(st.tuples(st.integers(1, 50), st.integers(1, 10**9)), min_size=1, max_size=20))
def test_an_exact_law_is_found_again(per_task: float, per_byte: float, work: list[tuple[int, int]]) -> None:
    tasks, sizes = (np.array(column, float) for column in zip(*work, strict=True))
    seconds = per_task * tasks + per_byte * 1e-6 * sizes
    a, b = fit(tasks, sizes, seconds)

    assert a >= 0
    assert b >= 0
    both = np.linalg.matrix_rank(np.column_stack([tasks / tasks.max(), sizes / sizes.max()]), tol=1e-6) == 2
    if both:
        np.testing.assert_allclose(a * tasks + b * sizes, seconds, rtol=1e-5, atol=1e-6)


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 10**9), st.floats(0, 100)), min_size=1, max_size=20))
def test_no_fit_is_negative_and_none_of_its_neighbours_is_nearer(work: list[tuple[int, int, float]]) -> None:
    tasks, sizes, seconds = (np.array(column, float) for column in zip(*work, strict=True))
    a, b = fit(tasks, sizes, seconds)

    def misses(per_task: float, per_byte: float) -> float:
        return float(np.square(per_task * tasks + per_byte * sizes - seconds).sum())

    assert a >= 0
    assert b >= 0
    found = misses(a, b)
    for factor_a, factor_b in ((0.9, 1), (1.1, 1), (1, 0.9), (1, 1.1), (0, 1), (1, 0)):
        assert found <= misses(a * factor_a, b * factor_b) * (1 + 1e-6) + 1e-6
