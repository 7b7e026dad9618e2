"""How to cut: throughput by chunk size, start-up aside (`timed.py`); and the chunk size to take.

On generated data with `wfdb-summary`, or on a sample of the user's own (`--dataset`, `--extractor`). What tasks, bytes
and chunks cost is measured here, and is what `scaledproc.planning.cost_model.ASSUMED` holds for `wfdb-summary`. The
recommendation is for the whole dataset, by the rule of `--chunk auto` (`scaledproc.planning.partition.chunk_work`) with
these costs. It is held against what else was measured, in runs with at least `deciding.WORK` seconds of work for each
core: where it takes more than `deciding.NEAR` times as long as the fastest, that is recommended instead. On generated
data the rule itself must be that near. `per-core` is the pattern's even split, `auto` the planner's cuts.
"""

from __future__ import annotations

import itertools
import math
import statistics
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from deciding import NEAR, WORK, choose, copies_for, ratios
from measure import CORES, Bystanders, table, take_turns
from plots import Lines
from results import keep_times
from sample import Subject, enlarged
from timed import OWN, TimedRun, timed_run
from toml_file import write_chunk

from scaledproc._util.command.config_file import NAME
from scaledproc._util.text import bytes_text, clean_text, count_text
from scaledproc.planning.calibration import fit
from scaledproc.planning.cost_model import ASSUMED, Costs
from scaledproc.planning.partition import ChunkCut, ShardCut, recommend_chunk, share_out

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from results import Results

    from scaledproc import Plan
    from scaledproc.planning.partition import Recommendation

EVEN, PLANNED = "per-core", "auto"
NAMES = {EVEN: "per-core (even split)", PLANNED: "auto (planner's cuts)"}
SPREAD = 4  # times more and less than what is recommended are tried too
FAR = 1.25  # what is expected to take so many times as long as the best is not tried
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
    runs: dict[str, list[TimedRun]] = {}
    options: dict[str, Any] = {"unit": subject.unit, "anchor": subject.anchors, "failures": subject.is_own}

    def run(chunk: str, subject: Subject) -> float:
        output = tmp_path / str(next(numbers))
        found = timed_run(subject.root, output, "own", jobs=CORES, chunk=chunk, **options)
        runs.setdefault(chunk, []).append(found)
        return found.phase

    # What is cheap to know first: the costs, so that sizes around the recommended one can be tried.
    for _ in range(rounds):
        for chunk in ("1", "16"):
            run(chunk, subject)
    costs = _costs(subject.plan, runs["1"], runs["16"])
    work = min(found.tasks_cpu for times in runs.values() for found in times)
    runs.clear()
    with ExitStack() as stack:
        if not subject.is_own:  # of one's own data the sample has enough
            subject = stack.enter_context(enlarged(subject, copies_for(work, CORES)))
        found = recommend_chunk(subject.whole.task_sizes, costs, CORES)
        here = recommend_chunk(subject.plan.task_sizes, costs, CORES)
        sizes = _sizes(subject.plan, here.chunk, costs)
        with Bystanders() as others:
            seconds = take_turns({chunk: partial(run, chunk, subject) for chunk in sizes}, rounds)
    phases = {chunk: [each.phase for each in times] for chunk, times in runs.items()}
    ratio = ratios(phases)
    # How evenly a sample can be split says nothing of all tasks.
    rivals = {chunk: each for chunk, each in phases.items() if subject.is_all or chunk != EVEN}
    among = ratios(rivals)
    fastest = next(iter(among))
    least = min(each.tasks for times in runs.values() for each in times) / CORES
    chosen = choose(rivals, here.chunk) if least >= WORK else here.chunk  # less does not tell sizes apart
    if chosen != here.chunk:
        found = _instead(found, chosen, subject.whole)

    keep_times(benchmark, seconds, plan_id=subject.plan.plan_id, dataset=subject.about)
    results.plan_ids["chunk sizes"] = subject.plan.plan_id
    if subject.is_own:
        results.plan_ids["the whole dataset"] = subject.whole.plan_id
    results.recommendation = found
    results.compared = (
        f"of what was measured, with {least:.1f} s of work a core, --chunk {fastest} was the fastest; "
        f"{here.chunk}, which follows from the costs, took {among[here.chunk]:.3f} times as long"
    )
    if least < WORK:
        results.compared += f"; with less than {WORK:g} s that says little"
    results.noise = "" if others.are_quiet else others.note
    _show_chunks(subject, runs, ratio, costs, chosen, found.chunk, others, show)
    _show_cuts(subject, runs, costs, here.chunk, others, show)
    if subject.is_own:
        failed = max(run.quarantined for times in runs.values() for run in times)
        remark = (
            f"pytest benchmarks, {datetime.now(UTC):%Y-%m-%d}: {subject.extractor}, {CORES} cores"
            f"{f', {failed} tasks of the sample failed' if failed else ''}"
        )
        results.written = write_chunk(pytestconfig.invocation_params.dir, found.chunk, remark)
        assert NAME in str(results.written)
        return
    assert least >= WORK
    if others.are_quiet:
        assert among[here.chunk] <= NEAR, results.compared


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


def _sizes(plan: Plan, recommended: str, costs: Costs) -> list[str]:
    """Chunk sizes to try: those that go by no number, what is recommended, and four times less and more of it."""
    cut = ChunkCut.parse(recommended)
    near = [str(ChunkCut(cut.by, max(size, 1))) for size in (cut.value // SPREAD, cut.value * SPREAD)]
    chosen = list(dict.fromkeys((EVEN, PLANNED, recommended, *near)))
    expected = {chunk: expected_seconds(plan, chunk, costs, CORES) for chunk in chosen}
    best = min(seconds for seconds in expected.values() if seconds is not None)
    always = (EVEN, PLANNED, recommended)
    return [each for each in chosen if each in always or (expected[each] or math.inf) <= FAR * best]


def _instead(found: Recommendation, chunk: str, plan: Plan) -> Recommendation:
    """Another chunk size, for the same reasons."""
    chunks = _cut(plan, chunk).n_chunks
    return replace(found, chunk=chunk, chunks=chunks, seconds=found.work / chunks)


def _rounds(runs: dict[str, list[TimedRun]]) -> str:
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
    runs: dict[str, list[TimedRun]],
    ratio: Mapping[str, float],
    costs: Costs,
    chosen: str,
    recommended: str,
    others: Bystanders,
    show: Callable[..., None],
) -> None:
    plan = subject.plan
    cores = count_text(CORES, "core")
    header = ["--chunk", "chunks", "tasks", "bytes", f"tasks/s, {cores}", "MB/s", "engine adds", "of the fastest"]
    if subject.is_own:
        header.append("whole dataset, s")
    rows = []
    curve: dict[float, list[float]] = {}
    for chunk in sorted(runs, key=lambda chunk: -_cut(plan, chunk).n_chunks):
        cut = _cut(plan, chunk)
        times = runs[chunk]
        rate = 1 / statistics.median(run.phase for run in times)
        mean_tasks = plan.n_tasks / cut.n_chunks
        cells = [NAMES.get(chunk, chunk) + (" *" if chunk == chosen else ""), f"{cut.n_chunks:,}"]
        cells += [f"{mean_tasks:,.1f}", bytes_text(plan.size / cut.n_chunks)]
        overhead = statistics.median(run.overhead for run in times)
        cells += [f"{plan.n_tasks * rate:,.0f}", f"{plan.size / 1e6 * rate:,.1f}", f"{overhead:+.1%}"]
        cells.append(f"{ratio[chunk]:.3f}")
        if chunk not in NAMES:
            curve[mean_tasks] = [plan.n_tasks / run.phase for run in times]
        if subject.is_own:
            expected = expected_seconds(subject.whole, chunk, costs, CORES)
            cells.append("too many chunks" if expected is None else f"{expected:,.1f}")
        rows.append(cells)
    notes = [
        "* recommended" + ("" if chosen == recommended else f" for what was measured; for the whole: {recommended}"),
        "of the fastest: the median over rounds of the ratio in one round",
        f"a task costs {costs.task * 1e3:.3g} ms, a byte {costs.byte * 1e9:.3g} ns, a chunk {costs.chunk * 1e3:.3g} ms",
        *(["whole dataset: expected by these costs, on local disks"] if subject.is_own else []),
        others.note,
    ]
    named = clean_text(subject.extractor)
    title = f"Throughput by chunk size, {named}, {subject.about}, {_rounds(runs)} in turn"
    plot = Lines(
        "tasks in a chunk",
        "tasks a second",
        {cores: curve},
        marks={f"recommended: {chosen}": plan.n_tasks / _cut(plan, chosen).n_chunks},
        logarithmic=True,
        beside=("MB in a chunk", plan.size / 1e6 / plan.n_tasks),
    )
    show(table(title, header, rows, notes), plot)


def _show_cuts(
    subject: Subject,
    runs: dict[str, list[TimedRun]],
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
        times = [run.phase for run in runs[chunk]]
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
