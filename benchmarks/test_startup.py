"""What is waited for before anything is computed: `--help`, and a run of one record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from measure import Bystanders, spread, table, time_command
from plots import Bars

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from data import Dataset

ROUNDS = 9
ALLOWED = {"--help": 0.35, "a run of one record": 1.5}  # seconds


@pytest.mark.parametrize("what", list(ALLOWED))
def test_startup(what: str, one: Dataset, tmp_path: Path, show: Callable[..., None], benchmark: Any) -> None:
    words = ["--help"]
    if what != "--help":
        words = ["--backend", "local", "--overwrite", "--quiet", str(one.root), str(tmp_path / "output")]
    with Bystanders() as others:
        benchmark.pedantic(time_command, (["-P", "-m", "scaledproc", *words],), rounds=ROUNDS, warmup_rounds=1)
    if benchmark.stats is None:  # --benchmark-disable
        return
    times = benchmark.stats.stats.data
    median = benchmark.stats.stats.median
    rows = [
        [f"scaledproc {what}" if what == "--help" else what, f"{median:.3f}", spread(times), f"{ALLOWED[what]:.2f}"]
    ]
    title = f"Start-up: {what}, {ROUNDS} rounds"
    notes = [others.note]
    show(table(title, ["", "median s", "range s", "allowed s"], rows, notes), Bars("seconds", {what: times}, (what,)))
    if others.are_quiet:
        assert median <= ALLOWED[what]
