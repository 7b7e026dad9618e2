"""How long the jobs of a plan take, as they are dealt."""

from __future__ import annotations

from pathlib import Path

import pytest

import scaledproc
from scaledproc.backends.batch import expected as module
from scaledproc.backends.batch.elements import Elements
from scaledproc.backends.batch.expected import expected, makespan
from scaledproc.planning.cost_model import Costs
from scaledproc.testing import PROBE
from scaledproc.testing.probes import probe


@pytest.mark.parametrize(
    ("seconds", "machines", "end"), [([3, 3, 3], 2, 6), ([5, 1, 1, 1], 2, 5), ([2], 9, 2), ([], 3, 0)]
)
def test_jobs_start_in_order_as_there_is_room(seconds: list[float], machines: int, end: float) -> None:
    assert makespan(seconds, machines) == end


def test_jobs_cores_and_time_of_a_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        (tmp_path / f"g{number}").mkdir()
        (tmp_path / f"g{number}/a.txt").write_text("x")
    plan = scaledproc.plan(tmp_path, extractor=PROBE, shards="4")
    monkeypatch.setattr(
        module, "last_costs", lambda extractor: Costs(60.0, 0.0, combine_task=1.0, source="a measurement")
    )

    found = expected("Slurm", plan, Elements(4, 2), 2, 1, probe, "start at noon")

    assert found.content["jobs"] == 2
    assert found.content["longest_job_seconds"] == 60.0
    assert found.content["seconds"] == 124.0
    assert found.content["core_hours"] == 4 / 60
    assert "  queue: start at noon" in found.lines
    assert any("2 jobs, the longest 1 min" in line for line in found.lines), found.lines
