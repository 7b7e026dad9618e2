"""A folder of modules and a notebook, whose code changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from changing_code import Lab, Notebook


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path / "lab")
    yield made
    made.forget()


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    return Notebook(monkeypatch)
