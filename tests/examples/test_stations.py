"""The example `examples/stations.py`."""

from __future__ import annotations

from pathlib import Path

from support import TreeWriter

import scaledproc

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/stations.py"
FILES = {
    "north/station.json": b'{"name": "North Pier", "scale": 0.1}',
    "north/2026-03-01.csv": b"time,raw\n00:00,81\n12:00,143\n",
    "north/2026-03-02.csv": b"time,raw\n00:00,78\n12:00,oops\n",
    "south/station.json": b'{"name": "South Field", "scale": 0.01}',
    "south/2026-03-01.csv": b"time,raw\n00:00,912\n12:00,1760\n",
}


def test_a_row_for_each_day_and_an_error_for_what_is_no_number(tree: TreeWriter, tmp_path: Path) -> None:
    run = scaledproc.run(tree(FILES), tmp_path / "out", extractor=f"{EXAMPLE}:daily_mean", jobs=1)
    rows = run.to_arrow().to_pylist()
    assert [(row["station"], row["day"], row["readings"]) for row in rows] == [
        ("North Pier", "2026-03-01", 2),
        ("South Field", "2026-03-01", 2),
    ]
    assert [round(row["mean_c"], 9) for row in rows] == [11.2, 13.36]
    errors = run.errors().to_pylist()
    assert [(error["anchor"], error["error"]) for error in errors] == [("north/2026-03-02.csv", "ValueError")]
