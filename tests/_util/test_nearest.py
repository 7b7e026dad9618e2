"""What a misspelt name or path was meant to be."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scaledproc._util.nearest import known_text, meant_path, nearest_paths
from scaledproc.errors import ScaledprocError
from scaledproc.extractors import load_extractor
from scaledproc.run_folder.run import Run
from scaledproc.storage.store import Store


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


@pytest.mark.parametrize(
    ("word", "nearest"),
    [
        ("p10/100/100.he", "p10/100/100.hea"),
        ("P10/100/100.HEA", "p10/100/100.hea"),
        ("101", "p10/101/101_a.hea"),  # a name without its ending, or the folder's
        ("102_b.hea", "p11/102/102_b.hea"),
        ("p11/102", "p11/102/102_b.hea"),
        ("p10/101/101_b", "p10/101/101_a.hea"),
        ("elsewhere", "p10/100/100.hea"),  # the first one
    ],
)
def test_paths_like_a_word(word: str, nearest: str) -> None:
    paths = ["p10/100/100.hea", "p10/101/101_a.hea", "p11/102/102_b.hea"]
    found = nearest_paths(word, paths, 2)
    assert found[0] == nearest
    assert len(set(found)) == len(found) <= 2


def test_paths(tmp_path: Path) -> None:
    (tmp_path / "waveforms/p00").mkdir(parents=True)
    (tmp_path / "waveform-list").mkdir()
    assert meant_path(tmp_path / "waveform") == f"; is {tmp_path}/waveforms meant?"
    assert meant_path(tmp_path / "Waveforms/p00") == f"; is {tmp_path}/waveforms/p00 meant?"
    assert meant_path(tmp_path / "waveforms/p0") == f"; is {tmp_path}/waveforms/p00 meant?"
    assert meant_path(tmp_path / "elsewhere") == ""
    assert meant_path(tmp_path / "elsewhere/p00") == f"; there is no 'elsewhere' in {tmp_path}"
    assert meant_path(tmp_path / "waveforms-x/p1") == f"; there is no 'waveforms-x' in {tmp_path}"  # it has no p1


def test_names_are_compared_before_anything_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(300):
        (tmp_path / f"patient-{number:03d}").mkdir()
    (tmp_path / "waveforms").mkdir()
    looked_at, stat = [], os.stat

    def counted(path: Any, **given: Any) -> os.stat_result:
        looked_at.append(os.fspath(path))
        return stat(path, **given)

    monkeypatch.setattr(os, "stat", counted)
    assert meant_path(tmp_path / "waveform") == f"; is {tmp_path}/waveforms meant?"
    assert f"{tmp_path}/waveforms" in looked_at
    assert not [path for path in looked_at if "patient" in path]


def test_a_path_that_is_too_long_is_like_none(tmp_path: Path) -> None:
    assert meant_path(tmp_path / ("x" * 300)) == ""
    assert meant_path(tmp_path / ("x" * 300) / "p00") == f"; there is no {'x' * 300!r} in {tmp_path}"
    (tmp_path / "waveforms").mkdir()
    assert meant_path(tmp_path / "waveform" / ("x" * 300)) == f"; there is no 'waveform' in {tmp_path}"
    for path in (tmp_path / ("x" * 300), tmp_path / ("x" * 300) / "p00"):
        with pytest.raises(ScaledprocError, match="holds no run: File name too long"):
            Run.open(path)


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder of somebody else, whom this process is not: it has folders that are closed to it."""
    import scaledproc.extractors.files  # noqa: F401 - now: the other user may not see this checkout

    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for each in ("data", "data-of-others"):
            (folder / each / "p00").mkdir(parents=True)
        folder.chmod(0o755)
        (folder / "data-of-others").chmod(0)
        try:
            if root:
                os.seteuid(65_534)
            yield folder
        finally:
            if root:
                os.seteuid(0)
            (folder / "data-of-others").chmod(0o700)


def test_what_may_not_be_looked_at_is_not_meant(closed: Path) -> None:
    assert meant_path(closed / "dataa/p00") == f"; is {closed}/data/p00 meant?"
    assert meant_path(closed / "data-of-other/p00") == f"; there is no 'data-of-other' in {closed}"
    assert meant_path(closed / "data-of-others/p0/x") == ""


def test_a_typo_beside_a_closed_folder_is_told_without_a_traceback(closed: Path) -> None:
    with pytest.raises(ScaledprocError, match=f"does not exist; there is no 'data-of-other' in {closed}"):
        Store.at(closed / "data-of-other/p00").listing()
    with pytest.raises(ScaledprocError, match=f"holds no run.*; is {closed}/data/p00 meant"):
        Run.open(closed / "dat/p00")
    with pytest.raises(ScaledprocError, match=r"data-of-others/p0/mine\.py cannot be loaded: Permission denied"):
        load_extractor(f"{closed}/data-of-others/p0/mine.py:mine")
