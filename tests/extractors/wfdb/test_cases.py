"""Records that leave the ordinary, after public reports: the values that header(5), signal(5) and the C library have.

Those made for this are in `wfdb_cases`, the real ones (`real_*`) beside the real records. An empty field of
`expected.csv` is not judged; a line without a channel says in its note what is right.
"""

from __future__ import annotations

import csv
import fnmatch
import shutil
from pathlib import Path
from typing import Any

import pytest

import scaledproc

CASES = Path(__file__).parent / "wfdb_cases"
with (CASES / "expected.csv").open(encoding="utf-8", newline="") as file:
    LINES = list(csv.DictReader(file))
TEXTS = ("signal", "units", "kind", "start_date", "start_time")
COUNTS = ("n_samples", "n_missing")
NUMBERS = ("fs", "mean", "std", "min", "max")


Rows = dict[str, list[dict[str, Any]]]
"""Of each header."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """Of the cases that were made: from one run over all of them."""
    return rows_of(CASES, tmp_path_factory.mktemp("made"), "*.csv")


@pytest.fixture(scope="module")
def real(shared_cases: Path, tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """Of the real ones."""
    return rows_of(shared_cases, tmp_path_factory.mktemp("real"), "[!r]*")


def rows_of(folder: Path, scratch: Path, left_out: str) -> Rows:
    shutil.copytree(
        folder, scratch / "in", ignore=lambda at, names: fnmatch.filter(names, left_out) if at == str(folder) else []
    )
    run = scaledproc.run(scratch / "in", scratch / "out", jobs=1)
    assert run.errors().to_pylist() == []
    found: Rows = {}
    for row in run.to_arrow().to_pylist():
        found.setdefault(f"{row['unit']}/{row['record']}.hea", []).append(row)
    return found


def test_there_are_83_lines() -> None:
    assert len(LINES) == 83


@pytest.mark.slow
@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line['header']}-{line['channel']}")
def test_values(request: pytest.FixtureRequest, line: dict[str, str]) -> None:
    of_headers: Rows = request.getfixturevalue("real" if line["header"].startswith("real_") else "made")
    found = of_headers[line["header"]]
    if not line["channel"]:  # by hand, the same for both of these lines
        assert [(row["start_date"], row["start_time"]) for row in found] == [(None, None)] * len(found)
        assert all(row["checksum_ok"] and row["header_note"] for row in found)
        return
    row = found[int(line["channel"])]
    for name in TEXTS:
        if line[name] == "null":
            assert row[name] is None, name
            assert "line 1, base" in row["header_note"]
        elif line[name]:
            assert str(row[name]) == line[name], name
    for name in COUNTS:
        assert row[name] == int(line[name]), name
    for name in NUMBERS:
        if line[name]:
            assert row[name] == pytest.approx(float(line[name]), rel=1e-9, abs=1e-9), name


def test_units_that_differ_in_one_letter_are_two_rows(tmp_path: Path) -> None:
    run = scaledproc.run(CASES / "u01_V_and_microV", tmp_path / "out", jobs=1)
    assert [row["units"] for row in run.summary("signal_stats").to_pylist()] == ["V", "µV"]
    with (tmp_path / "out/signal_stats.csv").open(encoding="utf-8", newline="") as file:
        assert [row["units"] for row in csv.DictReader(file)] == ["V", "µV"]
