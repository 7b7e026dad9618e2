"""What `.ci/audit.py` makes of pip-audit's report: never clean where nothing was looked up."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

_FILE = Path(__file__).parents[2] / ".ci/audit.py"
CLEAN = {"name": "a", "version": "1", "vulns": []}
SKIPPED = {"name": "b", "skip_reason": "Dependency not found on PyPI"}
BAD = {"name": "c", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"], "aliases": ["CVE-1"]}]}


@pytest.fixture(scope="module")
def audit() -> Any:
    specification = importlib.util.spec_from_file_location("audit", _FILE)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("packages", "codes", "said"),
    [
        ([CLEAN, CLEAN], (0, 0), "clean: 2 packages looked up"),
        ([CLEAN, BAD], (1, 1), "c 2: PYSEC-1, mended in 3"),
        ([SKIPPED, BAD], (1, 1), "vulnerable"),
        ([CLEAN, SKIPPED], (0, 1), "NOT AUDITED: 1 of 2 packages were not looked up"),
        ([SKIPPED], (0, 1), "0 packages are clean"),
        ([], (0, 1), "NOT AUDITED: no package was looked up"),
        (None, (0, 1), "NOT AUDITED: no package was looked up"),
    ],
)
def test_judgement(audit: Any, packages: list[Any] | None, codes: tuple[int, int], said: str) -> None:
    report = None if packages is None else {"dependencies": packages}
    for required in (False, True):
        code, text = audit.judge(report, required=required)
        assert code == codes[required]
        assert said in text


def test_exceptions_are_told(audit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(audit.EXCEPTIONS, "CVE-1", "we do not call it")
    assert audit.judge({"dependencies": [BAD]}, required=True) == (
        0,
        "clean: 1 packages looked up, none with a known vulnerability\nexcepted: CVE-1: we do not call it",
    )
