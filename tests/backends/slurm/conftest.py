"""Runs on a Slurm that is a function."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_slurm import Fake, Runs

from scaledproc.backends.slurm import backend as module


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    made = Fake(tmp_path / "out")
    monkeypatch.setattr(module, "call", made)
    for number in range(4):
        (tmp_path / f"data/g{number}").mkdir(parents=True)
        (tmp_path / f"data/g{number}/a.txt").write_text("x\ny\n")
    return made


@pytest.fixture
def go(tmp_path: Path, fake: Fake) -> Runs:
    return Runs(tmp_path)
