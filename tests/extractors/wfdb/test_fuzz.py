"""Hostile records by the thousand: the rows are right, or there is a reason; nothing is opened outside the unit."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from wfdb_oracles.fuzz import Summary, inputs, try_input

SEED = int(os.environ.get("SCALEDPROC_FUZZ_SEED", "20261124"))


def fuzz(folder: Path, data: Path, seed: int, count: int) -> Summary:
    summary = Summary(seed)
    for number, given in enumerate(inputs(seed, count, data)):
        try_input(folder / str(number) / "unit", given, summary)
        shutil.rmtree(folder / str(number))
    return summary


def check(summary: Summary, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\nfuzz: {summary}\n")
    assert not summary.crashes, "\n\n".join(summary.crashes[:5])
    assert summary.rows > summary.tried / 10
    assert summary.quarantined.total() > summary.tried / 10


@pytest.mark.slow
def test_hostile_records(tmp_path: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(fuzz(tmp_path, shared_data, SEED, 500), capsys)


@pytest.mark.soak
def test_hostile_records_by_the_thousand(tmp_path: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(fuzz(tmp_path, shared_data, SEED + 1, 10_000), capsys)
