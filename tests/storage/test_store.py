"""Reading, fetching and committing, on every kind of filesystem alike."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import Bucket

from scaledproc._util.redaction import redacted
from scaledproc.errors import UsageError
from scaledproc.storage.fsspec_store import FsspecStore
from scaledproc.storage.listing import is_safe_name
from scaledproc.storage.local_store import LocalStore
from scaledproc.storage.s3 import download
from scaledproc.storage.s3.s3_store import S3Store
from scaledproc.storage.store import Store
from scaledproc.testing import StoreConformance
from scaledproc.testing.store import ODD

NAME = "odd [1] folder"  # which some filesystems take for a pattern


class TestS3(StoreConformance):
    changes_are_noticed = True

    @pytest.fixture
    def store(self, s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
        monkeypatch.setattr(download, "PART", 1000)  # so that some objects come in several
        return Store.at(s3.url(f"storage/{tmp_path.name}/{NAME}"), s3.storage_options)


def test_each_place_has_its_kind(tmp_path: Path) -> None:
    assert [
        type(Store.at(where)) for where in (tmp_path, f"file://{tmp_path}", "memory://x", "s3://b/x", "s3a://b")
    ] == [
        *(LocalStore, LocalStore, FsspecStore, S3Store, S3Store),
    ]


def test_contains_sees_through_links_and_spellings(tmp_path: Path) -> None:
    (tmp_path / "real/sub").mkdir(parents=True)
    (tmp_path / "alias").symlink_to("real")
    real = Store.at(tmp_path / "real")
    assert real.contains(Store.at(tmp_path / "alias/sub")) == "sub"
    assert real.contains(Store.at(tmp_path / "alias/../real")) == ""
    assert real.contains(Store.at(f"file://{tmp_path}/real/new")) == "new"
    assert real.contains(Store.at(f"memory://{tmp_path}/real/new")) is None
    assert Store.at("/").contains(real) == str(tmp_path / "real").removeprefix("/")


def test_options_are_never_shown() -> None:
    store = Store.at("s3://bucket/x", {"key": "AKIA", "secret": "hush"})
    assert store.options["secret"] == "hush"
    for text in (repr(store), str(store), f"{store}", repr(store.child("y")), repr([store])):
        assert "hush" not in text
        assert "AKIA" not in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://bucket/a@b/c", "s3://bucket/a@b/c"),
        ("/plain/path?x=1", "/plain/path?x=1"),
        ("ftp://me:hush@host/x", "ftp://***@host/x"),
        ("ftp://me@host/x", "ftp://***@host/x"),
        ("ftp://me:hu@sh@host/x", "ftp://***@host/x"),
        ("https://host/x?X-Amz-Signature=hush&a=b", "https://host/x?***"),
        ("https://me:hush@host/x?sig=hush", "https://***@host/x?***"),
        ("cannot read 'https://host/x?sig=hush' (403)", "cannot read 'https://host/x?***' (403)"),
        ("zip://a::ftp://me:hush@host/x.zip", "zip://a::ftp://***@host/x.zip"),
        ("from ftp://a:hush@h/x to ftp://b:hush@h/y", "from ftp://***@h/x to ftp://***@h/y"),
        ("", ""),
    ],
)
def test_redacted(text: str, shown: str) -> None:
    assert redacted(text) == shown
    assert "hush" not in str(FsspecStore(text))


@pytest.mark.parametrize("where", ["", "  ", "nonsense://bucket/x", "s4://bucket/x"])
def test_place_that_cannot_be(where: str) -> None:
    with pytest.raises(UsageError):
        Store.at(where)


def test_safe_names() -> None:
    assert all(map(is_safe_name, ODD))
    assert not is_safe_name(os.fsdecode(b"\xff"))
