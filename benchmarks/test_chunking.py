"""How to cut: throughput by chunk size and cores, start-up aside (`timed.py`); and the chunk size to take.

On generated data with `wfdb-summary`, or on a sample of the user's own (`--dataset`, `--extractor`). What tasks, bytes
and chunks cost is measured here, and is what `scaledproc.planning.cost_model.ASSUMED` holds for `wfdb-summary`. The
recommendation is for the whole dataset, by the rule of `--chunk auto` (`scaledproc.planning.partition.chunk_work`) with
these costs; the runs show what it is worth. `per-core` is the pattern's even split, `auto` the planner's cuts.
"""

from __future__ import annotations

import itertools
import statistics
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from measure import CORES, Bystanders, table, take_turns
from plots import Lines
from results import keep_times
from timed import OWN, TimedRun, timed_run
from toml_file import write_chunk

from scaledproc._util.command.config_file import NAME
from scaledproc._util.text import bytes_text, clean_text, count_text
from scaledproc.planning.calibration import fit
from scaledproc.planning.cost_model import ASSUMED, Costs
from scaledproc.planning.partition import ChunkCut, ShardCut, recommend_chunk, share_out

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from results import Results
    from sample import Subject

    from scaledproc import Plan

EVEN, PLANNED = "per-core", "auto"
NAMES = {EVEN: "per-core (even split)", PLANNED: "auto (planner's cuts)"}
FEWEST = 24  # tasks, below which the cost of a chunk cannot be told from the rest
MOST_SIMULATED = 200_000  # chunks of the whole dataset


@pytest.mark.own_data
def test_throughput_by_chunk_size(
    subject: Subject,
    results: Results,
    tmp_path: Path,
    show: Callable[..., None],
    benchmark: Any,
    monkeypatch: pytest.MonkeyPatch,
    pytestconfig: pytest.Config,
    rounds: int,
) -> None:
    monkeypatch.setenv(OWN, subject.extractor)
    numbers = itertools.count()
    runs: dict[tuple[str, int], list[TimedRun]] = {}
    options: dict[str, Any] = {"unit": subject.unit, "anchor": subject.anchors, "failures": subject.is_own}

    def run(chunk: str, jobs: int) -> float:
        output = tmp_path / str(next(numbers))
        found = timed_run(subject.root, output, "own", jobs=jobs, chunk=chunk, **options)
        runs.setdefault((chunk, jobs), []).append(found)
        return found.phase

    # What is cheap to know first: the costs, so that sizes around the recommended one can be tried.
    for _ in range(rounds):
        for chunk in ("1", "16"):
            run(chunk, CORES)
    costs = _costs(subject.plan, runs["1", CORES], runs["16", CORES])
    found = recommend_chunk(subject.whole.task_sizes, costs, CORES)
    here = recommend_chunk(subject.plan.task_sizes, costs, CORES)
    sizes = _sizes(subject.plan, found.chunk, here.chunk)
    runs.clear()

    all_jobs = sorted({1, CORES})
    turns = {f"{chunk} {jobs}": partial(run, chunk, jobs) for chunk in sizes for jobs in all_jobs}
    with Bystanders() as others:
        seconds = take_turns(turns, rounds)
    phase = {key: statistics.median(run.phase for run in times) for key, times in runs.items()}

    keep_times(benchmark, seconds, plan_id=subject.plan.plan_id, dataset=subject.about)
    results.plan_ids["chunk sizes"] = subject.plan.plan_id
    if subject.is_own:
        results.plan_ids["the whole dataset"] = subject.whole.plan_id
    results.recommendation = found
    results.noise = "" if others.are_quiet else others.note
    _show_chunks(subject, runs, phase, sizes, costs, found.chunk, others, show)
    _show_cuts(subject, runs, costs, found.chunk, others, show)
    if subject.is_own:
        failed = max(run.quarantined for times in runs.values() for run in times)
        remark = (
            f"pytest benchmarks, {datetime.now(UTC):%Y-%m-%d}: {subject.extractor}, {CORES} cores"
            f"{f', {failed} tasks of the sample failed' if failed else ''}"
        )
        results.written = write_chunk(pytestconfig.invocation_params.dir, found.chunk, remark)
        assert NAME in str(results.written)


def _costs(plan: Plan, finest: Sequence[TimedRun], coarser: Sequence[TimedRun]) -> Costs:
    """What tasks, bytes and chunks take a core: least squares over tasks; over chunks the difference of two cuts."""
    size_of = dict(zip(plan.tasks["anchor"].to_pylist(), plan.task_sizes.tolist(), strict=True))
    took: dict[str, list[float]] = {}
    for run in (*finest, *coarser):
        for anchor, seconds in run.seconds.items():
            took.setdefault(anchor, []).append(seconds)
    median = {anchor: statistics.median(times) for anchor, times in took.items()}
    sizes = np.array([size_of[anchor] for anchor in median])
    times = np.array(list(median.values()))
    per_task, per_byte = fit(np.ones(len(sizes)), sizes, times)
    scale = float(times.sum()) / max(
        per_task * len(sizes) + per_byte * sizes.sum(), 1e-12
    )  # what must be right is the sum
    more = finest[0].chunks - coarser[0].chunks
    beside = [statistics.median(run.cores - run.tasks for run in each) for each in (finest, coarser)]
    chunk = (beside[0] - beside[1]) / more if more >= FEWEST else ASSUMED.chunk
    return Costs(per_task * scale, per_byte * scale, max(chunk, 1e-4))


def _sizes(plan: Plan, recommended: str, for_this: str) -> list[str]:
    """Chunk sizes to try: from one task to an even split, and around what is recommended."""
    fewest = -(-plan.n_tasks // CORES)
    counts = [str(count) for count in (1, 4, 16, 64, 256) if count < fewest]
    chosen = [EVEN, PLANNED, *(counts or ["1"]), recommended]
    if for_this != recommended:
        chosen.append(for_this)
    return list(dict.fromkeys(chosen))


def _rounds(runs: dict[tuple[str, int], list[TimedRun]]) -> str:
    return count_text(min(map(len, runs.values())), "round")


def _cut(plan: Plan, chunk: str) -> Plan:
    return plan.cut(ShardCut("folder"), ChunkCut.parse(chunk), cores=CORES, together=True)


def expected_seconds(plan: Plan, chunk: str, costs: Costs, cores: int) -> float | None:
    """How long a plan's tasks take so many cores by these costs, cut like this; None where it has too many chunks.

    Chunks go to cores largest first.
    """
    cut = _cut(plan, chunk)
    if cut.n_chunks > MOST_SIMULATED:
        return None
    work = np.concatenate([[0], np.cumsum(costs.of(plan.task_sizes))])[cut.chunk_cuts]
    loads = (np.diff(work) + int(costs.chunk * 1e9)).tolist()
    return float(max(sum(loads[chunk] for chunk in share) for share in share_out(loads, cores))) / 1e9


def _show_chunks(
    subject: Subject,
    runs: dict[tuple[str, int], list[TimedRun]],
    phase: dict[tuple[str, int], float],
    sizes: Sequence[str],
    costs: Costs,
    recommended: str,
    others: Bystanders,
    show: Callable[..., None],
) -> None:
    plan, all_jobs = subject.plan, sorted({jobs for _, jobs in runs})
    header = ["--chunk", "chunks", "tasks", "bytes"]
    for jobs in all_jobs:
        header += [f"tasks/s, {jobs} core{'' if jobs == 1 else 's'}", "MB/s", "engine adds"]
    if subject.is_own:
        header.append("whole dataset, s")
    rows = []
    curves: dict[str, dict[float, list[float]]] = {}
    for chunk in sorted(sizes, key=lambda chunk: -_cut(plan, chunk).n_chunks):
        cut = _cut(plan, chunk)
        mean_tasks = plan.n_tasks / cut.n_chunks
        cells = [NAMES.get(chunk, chunk) + (" *" if chunk == recommended else ""), f"{cut.n_chunks:,}"]
        cells += [f"{mean_tasks:,.1f}", bytes_text(plan.size / cut.n_chunks)]
        for jobs in all_jobs:
            times = runs[chunk, jobs]
            rate = 1 / phase[chunk, jobs]
            overhead = statistics.median(run.overhead for run in times)
            cells += [f"{plan.n_tasks * rate:,.0f}", f"{plan.size / 1e6 * rate:,.1f}", f"{overhead:+.1%}"]
            if chunk not in NAMES:
                name = f"{jobs} core{'' if jobs == 1 else 's'}"
                curves.setdefault(name, {})[mean_tasks] = [plan.n_tasks / run.phase for run in times]
        if subject.is_own:
            expected = expected_seconds(subject.whole, chunk, costs, CORES)
            cells.append("too many chunks" if expected is None else f"{expected:,.1f}")
        rows.append(cells)
    best = min(sizes, key=lambda chunk: phase[chunk, CORES])
    loss = {chunk: phase[chunk, CORES] / phase[best, CORES] - 1 for chunk in (recommended, PLANNED, EVEN)}
    notes = [
        f"* recommended; the fastest here was {best}; longer than it took: "
        + ", ".join(f"{NAMES.get(chunk, chunk)} {loss[chunk]:.0%}" for chunk in loss),
        f"a task costs {costs.task * 1e3:.3g} ms, a byte {costs.byte * 1e9:.3g} ns, a chunk {costs.chunk * 1e3:.3g} ms",
        *(["whole dataset: expected by these costs, on local disks"] if subject.is_own else []),
        others.note,
    ]
    named = clean_text(subject.extractor)
    title = f"Throughput by chunk size, {named}, {subject.about}, {_rounds(runs)} in turn"
    marks = {f"recommended: {recommended}": plan.n_tasks / _cut(plan, recommended).n_chunks}
    plot = Lines(
        "tasks in a chunk",
        "tasks a second",
        curves,
        marks=marks,
        logarithmic=True,
        beside=("MB in a chunk", plan.size / 1e6 / plan.n_tasks),
    )
    show(table(title, header, rows, notes), plot)


def _show_cuts(
    subject: Subject,
    runs: dict[tuple[str, int], list[TimedRun]],
    costs: Costs,
    recommended: str,
    others: Bystanders,
    show: Callable[..., None],
) -> None:
    """The pattern's even split beside the planner's cuts: what was measured here, and what more cores would make."""
    from plots import Bars

    plan = subject.whole
    many = sorted({CORES, 4, 16, 64} - {1})
    header = ["", "median s", "range s", *(f"of ideal, {cores} cores" for cores in many)]
    rows, values = [], {}
    work = float(costs.of(plan.task_sizes).sum()) / 1e9
    for chunk in dict.fromkeys((EVEN, PLANNED, recommended)):
        times = [run.phase for run in runs[chunk, CORES]]
        name = {EVEN: "even split by count, as the pattern", PLANNED: "planner's cuts (auto)"}.get(chunk, chunk)
        values[name] = times
        cells = [name, f"{statistics.median(times):.3f}", f"{min(times):.3f}-{max(times):.3f}"]
        for cores in many:
            cut = plan.cut(ShardCut("folder"), ChunkCut.parse(chunk), cores=cores, together=True)
            if cut.n_chunks > MOST_SIMULATED:
                cells.append("-")
                continue
            sums = np.concatenate([[0], np.cumsum(costs.of(plan.task_sizes))])[cut.chunk_cuts]
            loads = (np.diff(sums) + int(costs.chunk * 1e9)).tolist()
            longest = max(sum(loads[each] for each in share) for share in share_out(loads, cores)) / 1e9
            cells.append(f"{max(longest * cores / work, 1):.2f} x")
        rows.append(cells)
    title = f"The even split beside the planner's cuts, {subject.about}, {CORES} cores, {_rounds(runs)} in turn"
    notes = [
        "seconds of the extraction, start-up aside; of ideal: time on so many cores over work / cores, by the costs",
        others.note,
    ]
    ours = tuple(name for name in values if not name.startswith("even"))
    show(table(title, header, rows, notes), Bars(f"seconds on {CORES} cores", values, ours))
