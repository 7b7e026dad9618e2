"""What a disk refuses is told with where, and with what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NoReturn

import pytest

import scaledproc
from scaledproc.engine.steps import reporting
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.run_folder.run import Run
from scaledproc.storage.local_store import LocalStore
from scaledproc.storage.store import Store


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "Permission denied (/out/run.json); name a folder that you may write"),
        (errno.EROFS, "Read-only file system (/out/run.json); name a folder on a disk that can be written"),
        (errno.ENOSPC, "No space left on device (/out/run.json); make room on that disk"),
        (errno.EDQUOT, "Disk quota exceeded (/out/run.json); remove files of yours there"),
        (errno.ENOTDIR, "Not a directory (/out/run.json); a file is where a folder should be"),
        (errno.EEXIST, "File exists (/out/run.json); a file is where a folder should be"),
        (errno.ENOENT, "No such file or directory (/out/run.json); no folder can be made there"),
    ],
)
def test_no_bare_numbers_of_errors(number: int, words: str) -> None:
    with (
        pytest.raises(ScaledprocError) as caught,
        reporting("/out cannot be read or written: ", "; it is kept", writes=True),
    ):
        raise OSError(number, os.strerror(number), "/out/run.json")
    assert str(caught.value).startswith(f"/out cannot be read or written: {words}")
    assert "Errno" not in str(caught.value)
    assert str(caught.value).endswith("; it is kept")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "Permission denied (/out/run.json); you may not read it: its owner can allow that"),
        (errno.ENOENT, "No such file or directory (/out/run.json)"),
        (errno.ENOTDIR, "Not a directory (/out/run.json)"),
        (errno.ENAMETOOLONG, "File name too long (/out/run.json)"),
    ],
)
def test_where_something_is_read_no_other_folder_helps(number: int, words: str) -> None:
    with pytest.raises(ScaledprocError) as caught, reporting("/out cannot be read: "):
        raise OSError(number, os.strerror(number), "/out/run.json")
    assert str(caught.value) == f"/out cannot be read: {words}"


def test_looking_at_a_run_tells_no_place_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.csv").write_text("x\n1\n")
    scaledproc.run(tmp_path / "data", tmp_path / "out", extractor="table", jobs=1)

    def refuse(*_: object) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied", "/out/x")

    monkeypatch.setattr(LocalStore, "open_for_arrow", refuse)
    with pytest.raises(ScaledprocError, match=r"out cannot be read: Permission denied \(/out/x\); .* can allow that$"):
        scaledproc.show(tmp_path / "out")
    monkeypatch.setattr(LocalStore, "read", refuse)
    for look in (scaledproc.status, scaledproc.show, scaledproc.verify):
        with pytest.raises(ScaledprocError, match="Permission denied") as caught:
            look(tmp_path / "out")
        assert "write" not in str(caught.value)


def test_what_has_no_remedy_is_told_as_it_is() -> None:
    with pytest.raises(ScaledprocError, match=r"^here: OSError: \[Errno 5\] Input/output error$"), reporting("here: "):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize("where", ["s3//bucket/x", "gs//bucket", "https//host/x"])
def test_a_url_without_its_colon_is_told(where: str) -> None:
    scheme, rest = where.split("//")
    with pytest.raises(UsageError, match=f"is {scheme}://{rest} meant"):
        Store.at(where)


def test_a_folder_of_that_name_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3/bucket").mkdir(parents=True)
    assert Store.at("s3//bucket").local == tmp_path / "s3/bucket"


def test_a_folder_that_is_not_there_is_told_with_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "waveforms").mkdir()
    with pytest.raises(ScaledprocError, match=f"waveform does not exist; is {tmp_path}/waveforms meant"):
        Store.at(tmp_path / "waveform").listing()
    with pytest.raises(ScaledprocError, match=rf"holds no run .*; is {tmp_path}/waveforms meant"):
        Run.open(tmp_path / "waveform")
