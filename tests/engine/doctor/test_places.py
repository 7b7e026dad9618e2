"""Places: folders, and buckets with and without leave."""

from __future__ import annotations

import threading
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest
from support import Bucket, forget_s3

from scaledproc.engine.doctor import places
from scaledproc.engine.doctor.findings import Verdict
from scaledproc.engine.doctor.places import find_place
from scaledproc.errors import UsageError


def test_a_folder_with_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"123")
    found = find_place(tmp_path)
    assert (found.verdict, found.stops) == (Verdict.FINE, False)
    assert found.text.startswith("can be listed and read, ")
    assert found.details["first_size"] == 3
    assert found.details["free"] > 0


def test_a_folder_that_is_not_there_is_no_dataset(tmp_path: Path, s3: Bucket, memory: str) -> None:
    """A run would make it for an output, so it stops none."""
    for found in (
        find_place(tmp_path / "a/b"),
        find_place(s3.url(f"none-{uuid4().hex}"), s3.storage_options),
        find_place(f"{memory}/none"),
    ):
        assert (found.verdict, found.stops, found.details["there"]) == (Verdict.WORRY, False, False)
        assert found.text.startswith("is not there")
        assert "spelled right" in found.advice
    assert not (tmp_path / "a").exists()


def test_folders_alone_are_not_called_empty(tmp_path: Path) -> None:
    found = find_place(tmp_path)
    assert (found.verdict, found.text.partition(",")[0]) == (Verdict.FINE, "is empty")
    (tmp_path / "30/1").mkdir(parents=True)
    assert find_place(tmp_path).text.startswith("can be listed, ")


def test_a_file_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"123")
    found = find_place(tmp_path / "a")
    assert (found.verdict, found.stops) == (Verdict.MISSING, True)
    assert "NotADirectoryError" in found.text


def test_writing_leaves_nothing_behind(tmp_path: Path, memory: str) -> None:
    found = find_place(tmp_path, write=True)
    assert "can be written" in found.text
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "kept").mkdir()
    found = find_place(tmp_path / "kept/a/b", write=True)
    assert "can be made and written" in found.text
    assert list(tmp_path.rglob("*")) == [tmp_path / "kept"]
    fs, path = fsspec.core.url_to_fs(memory)
    fs.makedirs(path, exist_ok=True)
    assert "can be written" in find_place(memory, write=True).text
    assert "can be made and written" in find_place(f"{memory}/a/b", write=True).text
    assert fs.ls(path) == []
    assert fs.exists(path)


def test_a_bucket_is_told_with_its_time_and_credentials(s3: Bucket) -> None:
    prefix = f"doctor-{uuid4().hex}"
    s3.fs.pipe_file(f"{s3.name}/{prefix}/deep/a.txt", b"12345")
    found = find_place(s3.url(prefix), s3.storage_options, write=True)
    assert (found.verdict, found.stops) == (Verdict.FINE, False)
    assert found.details["credentials"] == "credentials of the storage options"
    assert str(s3.storage_options["secret"]) not in str(found)
    assert found.details["seconds"] > 0
    assert found.details["first_size"] == 5
    assert s3.names(prefix) == ["deep/a.txt"]
    assert "is not there" in find_place(s3.url(f"{prefix}-none"), s3.storage_options).text


def test_credentials_of_the_environment(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    options = dict(s3.storage_options)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", str(options.pop("key")))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", str(options.pop("secret")))
    forget_s3()
    assert "environment variables" in find_place(s3.url(""), options).text
    forget_s3()


def test_keys_that_are_refused_stop_a_run(s3: Bucket) -> None:
    found = find_place(s3.url("x"), {**s3.storage_options, "secret": "wrong"})
    assert (found.verdict, found.stops) == (Verdict.MISSING, True)
    assert found.advice


def test_a_bucket_that_is_not_there_stops_a_run(s3: Bucket) -> None:
    found = find_place(f"s3://none-{uuid4().hex}/x", s3.storage_options)
    assert (found.verdict, found.stops) == (Verdict.MISSING, True)


def test_a_place_that_does_not_answer_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forever = threading.Event()
    monkeypatch.setattr(places, "_look", lambda *_, **__: forever.wait(60))
    try:
        found = find_place(tmp_path, patience=0.05)
    finally:
        forever.set()
    assert (found.verdict, found.stops, found.text) == (Verdict.MISSING, True, "no answer within 0 s")


def test_what_is_no_place_is_refused() -> None:
    with pytest.raises(UsageError, match="nosuch"):
        find_place("nosuch://x")
