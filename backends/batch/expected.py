"""What a plan will take in a batch system, before anything is submitted."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from scaledproc._util.text import count_text, seconds_text
from scaledproc.backend.base import Expected
from scaledproc.planning.calibration import last_costs
from scaledproc.planning.cost_model import SLOWEST

from .elements import Elements

if TYPE_CHECKING:
    from scaledproc.extractors import Extractor
    from scaledproc.planning.plan import Plan


def expected(
    system: str, plan: Plan, elements: Elements, cores: int, at_once: int | None, extractor: Extractor, start: str
) -> Expected:
    """Jobs, cores and time.

    Parameters
    ----------
    system
        What it is called.
    plan, elements
        The plan, and how its shards are dealt to jobs.
    cores
        Of a job.
    at_once
        How many jobs may work at once; None for all.
    extractor
        Whose last run tells how long tasks take.
    start
        When the first job would start, where that is known.
    """
    costs = last_costs(extractor) or SLOWEST
    work = costs.seconds(np.diff(plan.shard_cuts), plan.shard_sizes).tolist()
    jobs = [sum(work[shard] for shard in elements.shards_of(element)) / cores for element in range(elements.count)]
    together = min(at_once or elements.count, elements.count)
    combine = plan.n_tasks * costs.combine_task
    content = {
        "jobs": elements.count,
        "shards_per_job": elements.each,
        "cores_per_job": cores,
        "jobs_at_once": together,
        "core_hours": sum(work) / 3600,
        "longest_job_seconds": max(jobs, default=0.0),
        "seconds": makespan(jobs, together) + combine,
        "combine_seconds": combine,
        "source": costs.source,
    }
    at_work = f"{count_text(together, 'job')} of {count_text(cores, 'core')}"
    longest = f"the longest {seconds_text(content['longest_job_seconds'])}"
    lines = (
        "",
        f"expected on {system}:",
        f"{seconds_text(content['seconds'])} of work with {at_work} at once; what jobs wait in the queue comes on top",
        f"  jobs: {count_text(elements.count, 'job')}, {longest}; then combine, {seconds_text(combine)}",
        f"  work: {content['core_hours']:,.1f} core-hours",
        *([f"  queue: {start}"] if start else []),
        f"  note: speed: {costs.source}",
    )
    return Expected(lines, content)


def makespan(seconds: Sequence[float], machines: int) -> float:
    """When the last job ends, if each is started in order as soon as there is room."""
    free = [0.0] * max(min(machines, len(seconds)), 1)
    for took in seconds:
        heapq.heapreplace(free, free[0] + took)
    return max(free)
