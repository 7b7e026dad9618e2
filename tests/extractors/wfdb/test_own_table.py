"""A table that is given takes the place of the package's only where it is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaledproc.errors import UsageError
from scaledproc.extractors.wfdb.own_table import content_of_table


def _is_short(text: str) -> None:
    if len(text) > 3:
        raise UsageError("too long")


def test_the_content_is_what_is_kept(tmp_path: Path) -> None:
    (tmp_path / "ü.toml").write_text("[ü]", encoding="utf-8")
    assert content_of_table(tmp_path / "ü.toml", _is_short) == "[ü]"
    assert content_of_table(str(tmp_path / "ü.toml"), _is_short) == "[ü]"


def test_what_is_no_such_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "long").write_text("long")
    with pytest.raises(UsageError, match="too long"):
        content_of_table(tmp_path / "long", _is_short)
    with pytest.raises(FileNotFoundError):
        content_of_table(tmp_path / "gone", _is_short)


def test_none_is_asked_for_by_name() -> None:
    assert content_of_table("built-in", _is_short) is None
