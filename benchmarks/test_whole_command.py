"""Whole commands, start-up included, on the same files and cores: scaledproc, the pattern's script, and its rivals.

The rivals (`rivals/`) run the pattern's function, and so does scaledproc in one row: there the engines are compared. In
the other it runs its own `wfdb-summary`, which computes the same statistics: that is what a user has who leaves the
pattern. All find their files in memory (in the page cache). With `--full` the data has the sizes that the targets are
for.

On a user's own data (`--dataset`) all run the user's extractor.
"""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from measure import CORES, HERE, Bystanders, spread, table, take_turns, time_command, warmed
from plots import Bars
from results import keep_times
from rivals import RIVALS
from rivals.work import environment

from scaledproc._util.text import clean_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from data import Dataset
    from results import Results
    from rivals import Rival
    from sample import Subject

PATTERN = "the pattern's script"
BUILT_IN = "scaledproc, wfdb-summary"
SAME = "scaledproc, the pattern's function"
OWN = "scaledproc"
# Times the speed of the pattern's script that a run with wfdb-summary is to have on each dataset.
TARGETS = {"large": 1.0, "small": 1.0, "larger": 12.0, "largest": 25.0, "many": 20.0}
TARGET_4000 = 7.0  # `small`, in full


@pytest.mark.parametrize("name", ["large", "small"])
def test_beside_all_rivals(name: str, request: pytest.FixtureRequest, is_full: bool, rounds: int) -> None:
    """At a size that takes minutes with all rivals; in full 1 GB and 4,000 segments."""
    chosen = "larger" if is_full and name == "large" else name
    seconds, others = _compare(chosen, request, rounds if is_full else min(rounds, 2), rivals=True)
    if not others.are_quiet:
        return
    median = {contestant: statistics.median(times) for contestant, times in seconds.items()}
    wanted = TARGET_4000 if is_full and name == "small" else TARGETS[chosen]
    assert median[PATTERN] / median[BUILT_IN] >= wanted
    if is_full:
        slower = {rival.name: median[rival.name] for rival in RIVALS if rival.name in median}
        assert all(median[SAME] <= times for times in slower.values()), f"{median[SAME]} s, and {slower}"


@pytest.mark.full
@pytest.mark.parametrize("name", ["largest", "many"])
def test_beside_the_pattern(name: str, request: pytest.FixtureRequest, rounds: int) -> None:
    """4 GB, and 40,000 segments: without the rivals, which would take an hour."""
    seconds, others = _compare(name, request, rounds, rivals=False)
    if others.are_quiet:
        speed = statistics.median(seconds[PATTERN]) / statistics.median(seconds[BUILT_IN])
        assert speed >= TARGETS[name]


@pytest.mark.own_data
def test_own_data_beside_all_rivals(
    subject: Subject,
    tmp_path: Path,
    show: Callable[..., None],
    benchmark: Any,
    rounds: int,
    request: pytest.FixtureRequest,
) -> None:
    """The user's extractor on the sample."""
    if not subject.is_own:
        pytest.skip("on generated data the rivals run the pattern's function")
    others = Bystanders()
    options = [f"--anchor={anchor}" for anchor in subject.anchors] + (
        [f"--unit={subject.unit}"] if subject.unit else []
    )
    ours = partial(_scaledproc, subject.root, tmp_path, "--extractor", subject.extractor, *options, failures=True)
    able = (
        [] if options else [rival for rival in RIVALS if not rival.missing]
    )  # the scripts take the extractor's layout
    contestants = {OWN: others.watching(ours)}
    contestants |= {rival.name: partial(_rival, rival, subject.root, tmp_path, subject.extractor) for rival in able}
    seconds = take_turns({name: warmed(subject.root, run) for name, run in contestants.items()}, min(rounds, 2))
    keep_times(benchmark, seconds, plan_id=subject.plan.plan_id, dataset=subject.about)
    missing = {rival.name: rival.missing for rival in RIVALS if rival.missing}
    if options:
        missing |= {rival.name: "not with --unit or --anchor" for rival in RIVALS if not rival.missing}
    title = f"Whole commands, {clean_text(subject.extractor)}, {subject.about}, {CORES} cores"
    _show(show, title, seconds, OWN, missing, others)


def _compare(
    name: str, request: pytest.FixtureRequest, rounds: int, *, rivals: bool
) -> tuple[dict[str, list[float]], Bystanders]:
    dataset: Dataset = request.getfixturevalue(name)
    tmp_path: Path = request.getfixturevalue("tmp_path")
    results: Results = request.getfixturevalue("results")
    others = Bystanders()
    function = f"{HERE / 'pattern_extractor.py'}:pattern_extractor"
    contestants = {
        PATTERN: others.watching(partial(_pattern, dataset.root, tmp_path)),
        SAME: others.watching(partial(_scaledproc, dataset.root, tmp_path, "--extractor", function)),
        BUILT_IN: others.watching(partial(_scaledproc, dataset.root, tmp_path)),
    }
    contestants[BUILT_IN]()  # not counted: an installation's first run compiles what later ones load
    able = [rival for rival in RIVALS if rivals and not rival.missing]
    contestants |= {rival.name: partial(_rival, rival, dataset.root, tmp_path) for rival in able}
    warm = {contestant: warmed(dataset.root, run) for contestant, run in contestants.items()}
    seconds = take_turns(warm, rounds)
    _check_alike(tmp_path, [rival.name for rival in able])
    record = json.loads((tmp_path / "output" / "run.json").read_text(encoding="utf-8"))
    keep_times(request.getfixturevalue("benchmark"), seconds, plan_id=record["plan_id"], dataset=str(dataset))
    results.plan_ids[f"{name}, {record['extractor']['label']}"] = record["plan_id"]
    missing = {rival.name: rival.missing for rival in RIVALS if rivals and rival.missing}
    title = f"Whole commands, {dataset}, {CORES} cores, {rounds} rounds in turn"
    _show(request.getfixturevalue("show"), title, seconds, PATTERN, missing, others)
    return seconds, others


def _show(
    show: Callable[..., None],
    title: str,
    seconds: dict[str, list[float]],
    base: str,
    missing: dict[str, str],
    others: Bystanders,
) -> None:
    median = {contestant: statistics.median(times) for contestant, times in seconds.items()}
    rows = [
        [name, f"{median[name]:.2f}", spread(times), f"{median[base] / median[name]:.2f} x"]
        for name, times in sorted(seconds.items(), key=lambda item: median[item[0]])
    ]
    rows += [[name, "-", why, "-"] for name, why in missing.items()]
    ours = tuple(name for name in seconds if name.startswith("scaledproc"))
    plot = Bars("seconds, start-up included", {name: seconds[name] for name in median}, ours, missing)
    notes = [f"speed: of {base}, 1 x", others.note]
    show(table(title, ["", "median s", "range s", "speed"], rows, notes), plot)


def _pattern(root: Path, folder: Path) -> float:
    return time_command(["-W", "ignore", str(HERE / "pattern.py"), str(root), str(folder / "pattern.json"), str(CORES)])


def _scaledproc(root: Path, folder: Path, *words: str, failures: bool = False) -> float:
    # -P: what is installed, not the checkout that this may be started in.
    command = ["-P", "-m", "scaledproc", "--backend", "local", str(root), str(folder / "output"), "--chunk", "auto"]
    more = ["--max-failures", "100%"] if failures else []
    return time_command([*command, "--overwrite", "--quiet", "--jobs", str(CORES), *words, *more])


def _rival(rival: Rival, root: Path, folder: Path, *extractor: str) -> float:
    scratch = Path(tempfile.mkdtemp(prefix="b-"))  # a short name: Ray's sockets lie in it
    try:
        out = folder / f"{rival.script}.parquet"
        return time_command([str(rival.path), str(root), str(out), str(CORES), *extractor], environment(scratch))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _check_alike(folder: Path, rivals: list[str]) -> None:
    """See that all of them did all of the work."""
    wanted = pd.read_json(folder / "pattern.json")
    for rival in RIVALS:
        if rival.name in rivals:
            found = pd.read_parquet(folder / f"{rival.script}.parquet")
            assert len(found) == len(wanted), rival.name
            assert found["count"].sum() == wanted["count"].sum(), rival.name
            assert found["missing"].sum() == wanted["missing"].sum(), rival.name
