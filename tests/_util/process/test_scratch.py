"""Scratch folders: private, removed, and named where they cannot be."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

import scaledproc
from scaledproc._util.process import scratch
from scaledproc._util.process.scratch import PrivateFolder, remove_left
from scaledproc.errors import ScaledprocError

# Scratch space


def test_a_bad_scratch_folder_is_named(data: Path, extractor: str, tmp_path: Path) -> None:
    with pytest.raises(ScaledprocError, match=r"the scratch folder .*missing cannot be used: No such file.*--scratch"):
        scaledproc.run(data, tmp_path / "out", extractor=extractor, jobs=2, scratch=tmp_path / "missing")


@pytest.mark.parametrize(
    ("name", "files", "mode", "age", "goes"),
    [
        ("scaledproc-abcd_123.tmp", ["unit/r.dat"], 0o700, 2.0, True),
        ("scaledproc-abcd_123.tmp", ["unit/r.dat"], 0o700, 0.1, False),
        ("scaledproc-abcd_123.tmp", ["unit/r.dat"], 0o755, 2.0, False),
        ("scaledproc-abcd_123", [], 0o700, 2.0, True),
        ("scaledproc-abcd_123", [], 0o700, 0.1, False),
        ("scaledproc-mimic_iv", ["features.parquet"], 0o700, 2.0, False),  # a person's
        ("scaledproc-demo", [], 0o700, 2.0, False),
    ],
)
def test_private_folders_without_a_lock(
    name: str, files: list[str], mode: int, age: float, goes: bool, tmp_path: Path
) -> None:
    folder = tmp_path / name
    for file in files:
        (folder / file).parent.mkdir(parents=True)
        (folder / file).write_text("x")
    folder.mkdir(exist_ok=True)
    folder.chmod(mode)
    os.utime(folder, (0, time.time() - age * 3600))
    remove_left(tmp_path)
    assert folder.exists() != goes


def test_names_of_private_folders_are_recognised(tmp_path: Path) -> None:
    with PrivateFolder(tmp_path) as folder:
        assert scratch._OURS.fullmatch(Path(folder).name)
