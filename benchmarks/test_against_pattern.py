"""Whole commands, start-up included, on the same files and cores: never slower than the pattern's own script."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import pytest
from measure import CORES, HERE, Bystanders, spread, table, take_turns, time_command

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from data import Dataset

ROUNDS = 4
PATTERN = "the pattern's script"
BUILT_IN = "scaledproc, wfdb-summary"
SAME = "scaledproc, the pattern's function"


@pytest.mark.parametrize("name", ["large", "small"])
def test_whole_command_is_not_slower_than_the_patterns_script(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, show: Callable[[str], None]
) -> None:
    dataset: Dataset = request.getfixturevalue(name)

    def pattern() -> float:
        script = [str(HERE / "pattern.py"), str(dataset.root), str(tmp_path / "pattern.json"), str(CORES)]
        return time_command(["-W", "ignore", *script])

    def scaledproc(*extractor: str) -> float:
        command = ["-m", "scaledproc", "--backend", "local", str(dataset.root), str(tmp_path / "output")]
        return time_command([*command, "--overwrite", "--quiet", "--jobs", str(CORES), *extractor])

    same_function = ("--extractor", f"{HERE / 'pattern_extractor.py'}:pattern_extractor")
    contestants = {PATTERN: pattern, BUILT_IN: scaledproc, SAME: lambda: scaledproc(*same_function)}
    with Bystanders() as others:
        seconds = take_turns(contestants, ROUNDS)
    median = {contestant: statistics.median(times) for contestant, times in seconds.items()}
    rows = [
        [contestant, f"{median[contestant]:.2f}", spread(times), f"{median[PATTERN] / median[contestant]:.2f} x"]
        for contestant, times in seconds.items()
    ]
    title = f"Whole commands, {dataset}, {CORES} cores, {ROUNDS} rounds in turn"
    show(table(title, ["", "median s", "range s", "speed"], rows, [others.note]))
    assert median[BUILT_IN] <= median[PATTERN]
