"""How far `wfdb-windows` reaches beyond a joblib loop of plain numpy and scipy that gives the same columns.

Whole commands, start-up included, on the same files and cores, in turn; the loop (`rivals/windows_loop.py`) finds beats
by neurokit2. With `--full` the data has the sizes that the goals are for, 1 GB and 200 MB of FLAC.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from measure import CORES, HERE, Bystanders, spread, table, take_turns, time_command, warmed
from mimic_like import mimic_like_inventory

from scaledproc.backends.sagemaker.cost.estimate import Fleet, estimate_text, recommend
from scaledproc.backends.sagemaker.cost.prices import priced_instances
from scaledproc.backends.sagemaker.instances import INSTANCES
from scaledproc.planning.cost_model import Costs

if TYPE_CHECKING:
    from collections.abc import Callable

    from data import Dataset

OURS, LOOP, WITHOUT_NUMBA = "scaledproc, wfdb-windows", "the plain loop", "scaledproc, without numba"
GOALS = {"large": 15.0, "large, with beats": 20.0, "small": 8.0, "flac": 8.0}
GOAL_WITHOUT_NUMBA = 5.0
GOAL_OF_KERNEL = 80e6  # samples a second of one core, without beats


@pytest.mark.parametrize("case", list(GOALS))
def test_beside_the_plain_loop(
    case: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    show: Callable[..., None],
    is_full: bool,
    rounds: int,
) -> None:
    has_beats = case.endswith("beats")
    if has_beats and not find_spec("neurokit2"):
        pytest.skip("needs neurokit2: install the extra rivals")
    others = Bystanders()
    root, about = _data(case.partition(",")[0], request, tmp_path, is_full)
    ours = partial(_scaledproc, root, tmp_path, has_beats)
    ours()  # not counted: an installation's first run compiles what later ones load
    contestants = {OURS: others.watching(ours), LOOP: others.watching(partial(_loop, root, tmp_path, has_beats))}
    if case == "large" and find_spec("numba"):
        without = {**os.environ, "PYTHONPATH": str(_nowhere(tmp_path))}
        contestants[WITHOUT_NUMBA] = others.watching(partial(_scaledproc, root, tmp_path, has_beats, without))
    warm = {name: warmed(root, run) for name, run in contestants.items()}
    seconds = take_turns(warm, rounds if is_full else 1)
    _check_alike(tmp_path)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    rows = [
        [name, f"{median[name]:.2f}", spread(times), f"{median[LOOP] / median[name]:.1f} x"]
        for name, times in seconds.items()
    ]
    title = f"Windows of 60 s{', with beats' if has_beats else ''}: {about}, {CORES} cores"
    show(table(title, ["", "median s", "range s", "speed"], rows, [f"goal: {GOALS[case]:g} x", others.note]))
    if others.are_quiet and is_full:
        assert median[LOOP] / median[OURS] >= GOALS[case]
        if WITHOUT_NUMBA in median:
            assert median[LOOP] / median[WITHOUT_NUMBA] >= GOAL_WITHOUT_NUMBA


def test_the_kernel_alone(show: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples in memory to the values of windows, by one core: windows of 7,500 samples, 2 % of them missing."""
    pytest.importorskip("numba")
    from fractions import Fraction

    from scaledproc.extractors.wfdb.headers.header import parse_header
    from scaledproc.extractors.wfdb.machine_code import load
    from scaledproc.extractors.wfdb.windows.grid import Grid
    from scaledproc.extractors.wfdb.windows.measures.numba_kernel import LIBRARY, compiled_of
    from scaledproc.extractors.wfdb.windows.measures.spectra import welch
    from scaledproc.extractors.wfdb.windows.measures.told import columns_of
    from scaledproc.extractors.wfdb.windows.reading import measured
    from scaledproc.extractors.wfdb.windows.settings import BANDS, parse_bands
    from scaledproc.extractors.wfdb.windows.streams import Looks, Measures, Span, Stream

    kernel, steps, _ = compiled_of(load(LIBRARY))
    monkeypatch.setattr(welch, "compiled", steps)
    n_windows = 64
    n = 7500 * n_windows
    rng = np.random.default_rng(0)
    samples = (2000 * np.sin(np.arange(n) * 0.06) + rng.normal(0, 50, n)).astype(np.int16)
    for start in rng.integers(0, n - 10, n // 500):
        samples[start : start + 10] = -(2**15)
    header = parse_header(f"r 1 125 {n}\nr.dat 16 200/mV 16 0 0 0 0 II\n".encode())
    grid = Grid(Fraction(60), Fraction(60), Fraction(0), Fraction(0))
    measures = Measures(0.5, parse_bands(BANDS), kernel)

    def run() -> float:
        started = time.perf_counter()
        span = Span.of(n, Fraction(125), grid)
        stream = Stream(header.signals[0], span, grid, measures, Looks(has_spectra=True))
        stream.add(samples)
        told = [each for batch in measured({0: stream}, range(n_windows), measures.kernel) for _, each in batch]
        columns = columns_of(told, len(measures.no_spectrum))
        assert columns.values.shape[1] == columns.spectra.shape[1] == n_windows
        return n / (time.perf_counter() - started)

    run()
    with Bystanders() as others:
        speeds = [run() for _ in range(15)]
    speed = statistics.median(speeds)
    row = [f"{speed / 1e6:,.0f}", f"{min(speeds) / 1e6:,.0f} - {max(speeds) / 1e6:,.0f}"]
    show(table("Windows of samples in memory", ["M samples/s", "range"], [row], ["goal: 80", others.note]))
    if others.are_quiet:
        assert speed >= GOAL_OF_KERNEL


def test_the_whole_database_by_the_planner(
    tmp_path: Path, large: Dataset, small: Dataset, show: Callable[..., None]
) -> None:
    """Cost and time of MIMIC-III's 6.7 TB, from the throughput of both kinds of segments here."""
    with Bystanders() as others:
        costs = _measured_costs(tmp_path, large, small)
    sizes = mimic_like_inventory()
    steady = [INSTANCES[name] for name in sorted(priced_instances()) if not INSTANCES[name].is_burstable]
    best = recommend(sizes, costs, steady, max_parallel=100, fleet=Fleet(steady[0], 1, region="us-east-1"))
    lines = [f"{costs.task * 1e3:.2f} ms a task, {costs.byte * 1e9:.2f} ns a byte of one core", *best.reasons]
    show("\n".join(["MIMIC-III with wfdb-windows, by the planner", *lines, *estimate_text(best.estimate), others.note]))


def _measured_costs(folder: Path, large: Dataset, small: Dataset) -> Costs:
    """What a task and a byte take, by the times that both runs note of their tasks."""
    seconds = []
    for dataset in (large, small):
        _scaledproc(dataset.root, folder, False)
        tasks = pd.read_parquet(folder / "output" / "tasks.parquet")
        seconds.append(float(tasks["seconds"].sum()))
    a = np.array([[large.segments, large.size], [small.segments, small.size]], float)
    task, byte = np.linalg.solve(a, seconds)
    return Costs(max(float(task), 1e-5), float(byte), source="this benchmark")


def _data(name: str, request: pytest.FixtureRequest, tmp_path: Path, is_full: bool) -> tuple[Path, str]:
    if name == "flac":
        root = tmp_path / "flac"
        size = _write_flac(root, 200_000_000 if is_full else 10_000_000)
        return root, f"{size / 1e6:,.0f} MB of FLAC (format 516)"
    dataset: Dataset = request.getfixturevalue("larger" if name == "large" and is_full else name)
    return dataset.root, str(dataset)


def _write_flac(root: Path, least: int) -> int:
    """Records of three signals of two hours, in FLAC, until there are so many bytes; how many there are."""
    import soundfile

    rng = np.random.default_rng(516)
    n, size = 2 * 3600 * 125, 0
    at = np.arange(n) / 125
    number = 0
    while size < least:
        number += 1
        folder = root / "30" / f"30{number:05d}"
        folder.mkdir(parents=True)
        waves = [9000 * np.sin(2 * np.pi * at * rate) + rng.normal(0, 60, n) for rate in (1.2, 1.3, 0.25)]
        soundfile.write(folder / "s.dat", np.stack(waves, 1).astype(np.int16), 125, format="FLAC", subtype="PCM_16")
        lines = "".join(f"s.dat 516 2000/mV 16 0 0 0 0 {name}\n" for name in ("II", "V", "RESP"))
        (folder / f"s{number}.hea").write_text(f"s{number} 3 125 {n}\n{lines}")
        size += (folder / "s.dat").stat().st_size
    return size


def _nowhere(folder: Path) -> Path:
    """A folder whose `numba` and `llvmlite` cannot be imported."""
    blocked = folder / "blocked"
    blocked.mkdir(exist_ok=True)
    for name in ("numba", "llvmlite"):
        (blocked / f"{name}.py").write_text("raise ImportError('left out')\n")
    return blocked


def _scaledproc(root: Path, folder: Path, has_beats: bool, env: dict[str, str] | None = None) -> float:
    command = ["-m", "scaledproc", "--backend", "local", str(root), str(folder / "output"), "--overwrite", "--quiet"]
    words = ["--extractor", "wfdb-windows", "--set", f"beats={str(has_beats).lower()}", "--jobs", str(CORES)]
    return time_command([*command, *words], env)


def _loop(root: Path, folder: Path, has_beats: bool) -> float:
    script = HERE.parent / "rivals" / "windows_loop.py"
    words = [str(root), str(folder / "loop.parquet"), str(CORES), *(["beats"] if has_beats else [])]
    return time_command(["-W", "ignore", str(script), *words])


def _check_alike(folder: Path) -> None:
    """See that both did all of the work: the same windows, with the same counts and means."""
    ours, loop = pd.read_parquet(folder / "output" / "features.parquet"), pd.read_parquet(folder / "loop.parquet")
    assert len(ours) == len(loop)
    assert json.loads((folder / "output" / "run.json").read_text())["state"] == "done"
    for name in ("n_samples", "n_missing"):
        assert ours[name].sum() == loop[name].sum()
    for name in ("mean", "std", "line_length", "power_total"):
        told = loop[name].sum() if name in loop else 0.0  # no window may have enough samples
        assert np.isclose(ours[name].sum(), told, rtol=1e-3), name
