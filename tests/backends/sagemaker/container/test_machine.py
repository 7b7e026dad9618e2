"""What a container finds of its machine."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from scaledproc.backends.sagemaker.container import machine


@pytest.mark.parametrize(("on_volume", "in_tmp"), [(100, 10), (10, 100), (50, 50)])
def test_scratch_is_where_most_room_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_volume: int, in_tmp: int
) -> None:
    (tmp_path / "ml/config").mkdir(parents=True)
    content = {"current_host": "algo-1", "hosts": ["algo-1"]}
    (tmp_path / "ml/config/resourceconfig.json").write_text(json.dumps(content))
    monkeypatch.setenv(machine.ML_ROOT, str(tmp_path / "ml"))
    temporary, volume = tmp_path / "tmp", tmp_path / "ml/processing/scratch"
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(temporary))
    room = {temporary: in_tmp, volume: on_volume}
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=room[folder]))
    assert machine.scratch_root() == (temporary if in_tmp > on_volume else volume)
    assert volume.is_dir()


def test_outside_of_a_container_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(machine.ML_ROOT, str(tmp_path))
    assert machine.scratch_root() is None


def test_all_temporary_files_go_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written for a commit or a table too, in this process and in those that it starts."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config/resourceconfig.json").write_text('{"current_host": "algo-1", "hosts": ["algo-1"]}')
    monkeypatch.setenv(machine.ML_ROOT, str(tmp_path))
    monkeypatch.setenv("TMPDIR", "/before")
    monkeypatch.setattr(tempfile, "tempdir", "/before")
    with machine.everything_in(tmp_path):
        assert tempfile.gettempdir() == os.environ["TMPDIR"] == str(tmp_path)
    assert tempfile.gettempdir() == os.environ["TMPDIR"] == "/before"
