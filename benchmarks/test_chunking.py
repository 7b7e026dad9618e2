"""Throughput by chunk size and cores, with `wfdb-summary`, start-up aside (`timed.py`); and the chunk size to take."""

from __future__ import annotations

import itertools
import statistics
from functools import partial
from typing import TYPE_CHECKING

from measure import CORES, table, take_turns
from timed import TimedRun, timed_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from data import Dataset

ROUNDS = 3
CHUNKS = ("auto", "per-core", "1", "16", "1MB", "16MB", "64MB")
NOISE = 0.03  # a difference that is not worth leaving `auto` for


def test_throughput_by_chunk_size(mixed: Dataset, tmp_path: Path, show: Callable[[str], None]) -> None:
    numbers = itertools.count()
    runs: dict[str, list[TimedRun]] = {}

    def run(chunk: str, jobs: int) -> float:
        found = timed_run(mixed.root, tmp_path / str(next(numbers)), "wfdb_summary", jobs=jobs, chunk=chunk)
        runs.setdefault(f"{chunk} {jobs}", []).append(found)
        return found.phase

    all_jobs = sorted({1, CORES})
    contestants = {f"{chunk} {jobs}": partial(run, chunk, jobs) for chunk in CHUNKS for jobs in all_jobs}
    phase = {name: statistics.median(times) for name, times in take_turns(contestants, ROUNDS).items()}
    header = ["--chunk", "chunks"]
    for jobs in all_jobs:
        header += [f"MB/s, {jobs} cores" if jobs > 1 else "MB/s, 1 core", "engine adds"]
    rows = []
    for chunk in CHUNKS:
        cells = [chunk, str(runs[f"{chunk} {CORES}"][0].chunks)]
        for jobs in all_jobs:
            name = f"{chunk} {jobs}"
            overhead = statistics.median(run.overhead for run in runs[name])
            cells += [f"{mixed.size / 1e6 / phase[name]:.1f}", f"{overhead:+.1%}"]
        rows.append(cells)
    best = min(CHUNKS, key=lambda chunk: phase[f"{chunk} {CORES}"])
    is_close = phase[f"auto {CORES}"] <= phase[f"{best} {CORES}"] * (1 + NOISE)
    recommended = "auto" if is_close else best
    title = f"Throughput by chunk size, {mixed}, {ROUNDS} rounds in turn"
    show(table(title, header, rows, [f"recommended: --chunk {recommended} (fastest: {best})"]))
    assert phase[f"auto {CORES}"] <= phase[f"per-core {CORES}"] * 1.1  # the pattern's even split
