"""Warnings are errors in tests, but for those of other packages' sources that Python compiles on the way."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ODD = r'''
"""A table: a \| b."""
'''


def imported(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("odd_module", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_sources_that_nothing_has_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    theirs, ours = tmp_path / "site-packages/theirs.py", tmp_path / "ours.py"
    theirs.parent.mkdir()
    for file in (theirs, ours):
        file.write_text(ODD)
    assert imported(theirs).__doc__ == "A table: a \\| b."
    with pytest.raises(SyntaxError, match="invalid escape sequence"):
        imported(ours)
