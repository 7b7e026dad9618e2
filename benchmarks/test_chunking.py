"""Throughput by chunk size and cores, with `wfdb-summary`, start-up aside (`timed.py`); and the chunk size to take."""

from __future__ import annotations

import itertools
import statistics
from functools import partial
from typing import TYPE_CHECKING

from measure import CORES, Bystanders, table, take_turns
from timed import TimedRun, timed_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from data import Dataset

ROUNDS = 3
CHUNKS = ("auto", "per-core", "1", "16", "1MB", "16MB", "64MB")
NOISE = 0.05  # a difference that is not worth leaving `auto` for


def test_throughput_by_chunk_size(mixed: Dataset, tmp_path: Path, show: Callable[[str], None]) -> None:
    numbers = itertools.count()
    runs: dict[tuple[str, int], list[TimedRun]] = {}

    def run(chunk: str, jobs: int) -> float:
        found = timed_run(mixed.root, tmp_path / str(next(numbers)), "wfdb_summary", jobs=jobs, chunk=chunk)
        runs.setdefault((chunk, jobs), []).append(found)
        return found.phase

    all_jobs = sorted({1, CORES})
    turns = {f"{chunk} {jobs}": partial(run, chunk, jobs) for chunk in CHUNKS for jobs in all_jobs}
    with Bystanders() as others:
        take_turns(turns, ROUNDS)
    phase = {key: statistics.median(run.phase for run in found) for key, found in runs.items()}
    header = ["--chunk", "chunks"]
    for jobs in all_jobs:
        header += [f"MB/s, {jobs} core{'' if jobs == 1 else 's'}", "engine adds"]
    rows = []
    for chunk in CHUNKS:
        cells = [chunk, str(runs[chunk, CORES][0].chunks)]
        for jobs in all_jobs:
            overhead = statistics.median(run.overhead for run in runs[chunk, jobs])
            cells += [f"{mixed.size / 1e6 / phase[chunk, jobs]:.1f}", f"{overhead:+.1%}"]
        rows.append(cells)
    best = min(CHUNKS, key=lambda chunk: phase[chunk, CORES])
    loss = phase["auto", CORES] / phase[best, CORES] - 1
    recommended = "auto" if loss <= NOISE else best
    title = f"Throughput by chunk size, {mixed}, {ROUNDS} rounds in turn"
    notes = [f"recommended: --chunk {recommended} (the fastest was {best}, auto takes {loss:.0%} longer)", others.note]
    show(table(title, header, rows, notes))
