"""run.json, read."""

from __future__ import annotations

from pathlib import Path

import pytest

import scaledproc
from scaledproc.run_folder.record import read_record
from scaledproc.storage.store import Store


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"format": 99}', '{"format": 1, "odd": 1}', "\x00"])
def test_a_damaged_run_json_is_an_error_for_a_person(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(scaledproc.ScaledprocError, match="--overwrite"):
        read_record(Store.at(tmp_path))
