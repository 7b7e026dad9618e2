"""What a misspelt name or path was meant to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaledproc._util.nearest import known_text, meant_path


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("slrm", "; is 'slurm' meant? There are: local, slurm, dry-run"),
        ("LOCAL", "; is 'local' meant? There are: local, slurm, dry-run"),
        ("dryrun", "; is 'dry-run' meant? There are: local, slurm, dry-run"),
        ("kubernetes", "; there are: local, slurm, dry-run"),
    ],
)
def test_names(word: str, said: str) -> None:
    assert known_text(word, ["local", "slurm", "dry-run"]) == said


def test_without_names_there_is_nothing_to_say() -> None:
    assert known_text("word", []) == ""
    assert known_text("slrm", ["slurm"]) == "; is 'slurm' meant?"


def test_paths(tmp_path: Path) -> None:
    (tmp_path / "waveforms/p00").mkdir(parents=True)
    (tmp_path / "waveform-list").mkdir()
    assert meant_path(tmp_path / "waveform") == f"; is {tmp_path}/waveforms meant?"
    assert meant_path(tmp_path / "Waveforms/p00") == f"; is {tmp_path}/waveforms/p00 meant?"
    assert meant_path(tmp_path / "waveforms/p0") == f"; is {tmp_path}/waveforms/p00 meant?"
    assert meant_path(tmp_path / "elsewhere") == ""
    assert meant_path(tmp_path / "elsewhere/p00") == f"; there is no 'elsewhere' in {tmp_path}"
    assert meant_path(tmp_path / "waveforms-x/p1") == f"; there is no 'waveforms-x' in {tmp_path}"  # it has no p1
