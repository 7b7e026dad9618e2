"""`wfdb-windows` on real records, each value against numpy and scipy."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from wfdb_oracles.oracle import read_files, rows_in, task_of
from wfdb_oracles.windows import check_windows

from scaledproc.extractors.wfdb.windows.extractor import WfdbWindows

QUICK = ("100_3chan", "3544749_0007", "310derive", "mixedsignals", "test01_00s_skew", "82284982_0001")


def headers(data: Path) -> list[Path]:
    return sorted(path for path in data.rglob("*.hea") if "broken" not in path.parts)


def check_record(path: Path, **options: Any) -> int:
    header, files = read_files(path)
    rows = rows_in(WfdbWindows(grid="segment", **options).extract(task_of(path)))
    lengths: dict[str, Any] = {name: Fraction(str(options[name])) for name in ("window", "step") if name in options}
    return check_windows(header, files, rows, **lengths) if header.signals else 0


@pytest.mark.parametrize("name", QUICK)
def test_a_real_record(shared_data: Path, name: str) -> None:
    (path,) = (path for path in headers(shared_data) if path.stem == name)
    assert check_record(path, window=10.0) > 0


@pytest.mark.slow
@pytest.mark.parametrize(("window", "step"), [(60.0, 60.0), (10.0, 7.5), (2.0, 3.1)])
def test_every_real_record(shared_data: Path, window: float, step: float) -> None:
    checked = sum(check_record(path, window=window, step=step) for path in headers(shared_data))
    assert checked > 500
