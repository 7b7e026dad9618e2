"""How large the last job's disk is: as its rows are, or are expected to be."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from scaledproc.backends.sagemaker.jobs import combining
from scaledproc.backends.sagemaker.jobs.combining import expected_on_disk, expected_rows, on_disk
from scaledproc.backends.sagemaker.jobs.requests import Assignment, volume_gb
from scaledproc.backends.sagemaker.settings import Settings
from scaledproc.errors import UsageError
from scaledproc.planning.cost_model import Costs

GB = 10**9
MIMIC = 6_700 * GB
ANY: Any = None
FILE = {"input_mode": "file"}


def plan(size: int) -> Any:
    return SimpleNamespace(size=size)


@pytest.mark.parametrize(
    ("words", "shards", "parts", "has_table", "expected"),
    [
        ({}, 100, 0, True, 100),  # read from S3 as they come; the table until it is uploaded
        ({}, 100, 0, False, 0),
        (FILE, 100, 0, True, 200),  # copied, and the table
        (FILE, 100, 0, False, 100),
        ({**FILE, "detach": True}, 100, 0, True, 100),  # works in S3 itself
        ({**FILE, "detach": True, "network_isolation": True}, 100, 0, True, 200),
        ({"input_mode": "sharded-by-key"}, 0, 100, True, 300),  # parts, the shards made of them, the table
        ({"input_mode": "sharded-by-key"}, 20, 100, True, 340),
    ],
)
def test_what_lies_on_the_disk_by_hand(
    words: dict[str, Any], shards: int, parts: int, has_table: bool, expected: int
) -> None:
    assert on_disk(Settings.parse(words), shards, parts, has_table=has_table) == expected


@pytest.mark.parametrize(
    ("row_byte", "words", "gb"),
    [
        (None, {"detach": True}, 899),  # below what an account may have without asking
        (1e-4, {"detach": True}, 30),
        (0.01, {"detach": True}, 95),
        (0.01, FILE, 184),
        (0.01, {"combine_volume_size": 50}, 50),
        (0.01, {"volume_size": 200}, 200),
        (0.01, {"volume_size": 200, "combine_volume_size": 50}, 50),
    ],
)
def test_the_disk_is_for_what_is_expected(
    monkeypatch: pytest.MonkeyPatch, row_byte: float | None, words: dict[str, Any], gb: int
) -> None:
    measured = None if row_byte is None else Costs(1.0, 1.0, row_byte=row_byte)
    monkeypatch.setattr(combining, "last_costs", lambda _: measured)
    settings = Settings.parse(words)
    size = expected_on_disk(settings, plan(MIMIC), ANY)

    assert volume_gb(settings, Assignment("combine", size=size)) == gb
    assert expected_rows(plan(MIMIC), ANY)[1].startswith(
        "a tenth of" if row_byte is None else f"{row_byte:.2g} bytes a"
    )


def test_more_than_any_disk_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(combining, "last_costs", lambda _: None)
    settings = Settings.parse({})
    last = Assignment("combine", size=expected_on_disk(settings, plan(200_000 * GB), ANY))
    with pytest.raises(UsageError, match=r"^the last job needs a disk of 26,672 GB.*--table dataset"):
        volume_gb(settings, last)
