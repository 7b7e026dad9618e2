"""Reading, fetching and committing, on every kind of filesystem alike."""

from __future__ import annotations

import os
import pickle
import random
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support import Bucket, tree_bytes

from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.storage import s3_download
from scaledproc.storage.listing import FileInfo, is_safe_name
from scaledproc.storage.store import Store, redacted

ODD = ["plain", "g/a[1].dat", "g/b*.dat", "g/c?.dat", "g/d e'\"#%41é.dat", "~", "deep/er/still/x"]


@pytest.fixture(params=["local", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty folder of each kind; its name has what some filesystems take for a pattern."""
    name = "odd [1] folder"
    if request.param == "local":
        yield Store.at(tmp_path / name)
    elif request.param == "memory":
        yield Store.at(f"{request.getfixturevalue('memory')}/{name}")
    else:
        bucket: Bucket = request.getfixturevalue("s3")
        yield Store.at(bucket.url(f"storage/{tmp_path.name}/{name}"), bucket.storage_options)


class TestEveryFilesystem:
    def test_write_and_read(self, store: Store) -> None:
        for name in ODD:
            store.write(name, name.encode())
        assert {file.path: file.size for file in store.listing().files} == {name: len(name.encode()) for name in ODD}
        for name in ODD:
            assert store.read(name) == name.encode()
            assert store.exists(name)
        assert store.names() == ["deep", "g", "plain", "~"]
        assert store.names("deep/er") == ["still"]

    def test_absent(self, store: Store) -> None:
        assert store.names() == store.names("folder") == []
        assert not store.exists("a")
        store.remove("a")
        store.remove_temporaries()
        with pytest.raises(FileNotFoundError):
            store.read("a")
        with pytest.raises(ScaledprocError, match="does not exist"):
            store.listing()

    def test_commit_appears_at_its_end(self, store: Store) -> None:
        store.write("shards/a", b"old")
        with store.committing("shards/a") as part:
            part.write_bytes(b"new")
            assert store.read("shards/a") == b"old"
        assert store.read("shards/a") == b"new"
        assert store.names("shards") == ["a"]

    def test_commit_that_raises_leaves_what_was(self, store: Store) -> None:
        store.write("shards/a", b"old")
        for name in ("shards/a", "shards/b"):
            with suppress(ZeroDivisionError), store.committing(name) as part:
                part.write_bytes(b"half")
                raise ZeroDivisionError
        assert store.read("shards/a") == b"old"
        assert store.names("shards") == ["a"]

    def test_commit_of_nothing_is_an_error(self, store: Store) -> None:
        with pytest.raises(FileNotFoundError), store.committing("a"):
            pass
        assert not store.exists("a")

    def test_remove(self, store: Store) -> None:
        for name in ("work/a", "work/deep/b", "work2/c", "d"):
            store.write(name, b"1")
        store.remove("work")
        assert store.names() == ["d", "work2"]
        store.remove("d")
        assert store.names() == ["work2"]

    def test_remove_takes_no_name_for_a_pattern(self, store: Store) -> None:
        neighbour = Store(store.uri.replace("[1]", "1"), store.options)
        for one in (store, neighbour):
            one.write("work/a", b"1")
        store.remove("work")
        assert store.names() == []
        assert neighbour.read("work/a") == b"1"

    def test_version_tells_a_change(self, store: Store) -> None:
        store.write("a", b"one")
        (before,) = store.listing().files
        time.sleep(0.02)  # for the clocks of local disks
        store.write("a", b"two")
        (after,) = store.listing().files
        assert before.size == after.size
        assert before.version != after.version

    @pytest.mark.slow
    def test_read_of_what_was_written_anew_since_it_was_listed(self, store: Store) -> None:
        store.write("a", b"one")
        other = Store.at(store.uri, {**store.options, "use_listings_cache": True} if store.options else {})
        assert other.versions()
        store.write("a", b"two")
        assert store.read("a") == b"two"
        store.versions()
        other.write("a", b"four")
        assert store.read("a") == b"four"
        assert store.read("a", 2) == b"fo"

    def test_fetch(self, store: Store, tmp_path: Path) -> None:
        for name in ODD:
            store.write(name, name.encode())
        store.fetch(store.listing().files, tmp_path / "here")
        fetched = [path.relative_to(tmp_path / "here").as_posix() for path in (tmp_path / "here").rglob("*.dat")]
        assert sorted(fetched) == sorted(name for name in ODD if name.endswith(".dat"))
        for name in ODD:
            assert (tmp_path / "here" / name).read_bytes() == name.encode()

    def test_fetch_of_what_is_gone(self, store: Store, tmp_path: Path) -> None:
        store.write("a", b"1")
        with pytest.raises(FileNotFoundError):
            store.fetch([FileInfo("a", 1, ""), FileInfo("gone", 1, "")], tmp_path / "here")

    @pytest.mark.slow
    def test_fetch_of_many_and_of_what_comes_in_parts(
        self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(s3_download, "PART", 1000)
        contents = {f"d{number % 7}/{number}": random.Random(number).randbytes(number * 37) for number in range(100)}
        for name, content in contents.items():
            store.write(name, content)
        store.fetch(store.listing().files, tmp_path / "here")
        assert tree_bytes(tmp_path / "here") == contents

    def test_fetch_of_what_changed_is_noticed_where_the_store_can_tell(self, store: Store, tmp_path: Path) -> None:
        store.write("a", b"one")
        listed = store.listing().files
        store.write("a", b"two")
        if store.uri.startswith("s3:"):
            with pytest.raises(s3_download.ChangedError, match="a changed since it was listed"):
                store.fetch(listed, tmp_path / "here")

    @pytest.mark.parametrize(
        "name", ["../x", "a/../../x", "/etc/hostname", "a//b", "", ".", "a/./b", "a/", "a\0b", ".."]
    )
    def test_fetch_refuses_names_that_lead_out(self, store: Store, tmp_path: Path, name: str) -> None:
        with pytest.raises(ScaledprocError, match="leads out of its folder"):
            store.fetch([FileInfo(name, 1, "")], tmp_path / "deep/here")
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]

    def test_pickles_without_its_filesystem(self, store: Store) -> None:
        store.write("a", b"1")
        again = pickle.loads(pickle.dumps(store))
        assert "_filesystem" in vars(store)
        assert set(vars(again)) == {"uri", "options", "fence"}
        assert again == store
        assert again.read("a") == b"1"

    def test_child(self, store: Store) -> None:
        store.child("shards").write("a", b"1")
        assert store.read("shards/a") == b"1"
        assert store.child("shards").options == store.options

    def test_contains(self, store: Store) -> None:
        assert store.contains(store) == ""
        assert store.contains(store.child("a").child("b")) == "a/b"
        assert store.child("a").contains(store) is None
        assert store.child("a").contains(store.child("ab")) is None


def test_contains_sees_through_links_and_spellings(tmp_path: Path) -> None:
    (tmp_path / "real/sub").mkdir(parents=True)
    (tmp_path / "alias").symlink_to("real")
    real = Store.at(tmp_path / "real")
    assert real.contains(Store.at(tmp_path / "alias/sub")) == "sub"
    assert real.contains(Store.at(tmp_path / "alias/../real")) == ""
    assert real.contains(Store.at(f"file://{tmp_path}/real/new")) == "new"
    assert real.contains(Store.at(f"memory://{tmp_path}/real/new")) is None
    assert Store.at("/").contains(real) == str(tmp_path / "real").removeprefix("/")


def test_unsafe_objects_are_not_listed(memory: str) -> None:
    store = Store.at(memory)
    store.write("a", b"1")
    for name in ("b//c", "d/../e"):
        store.fs.store[f"/test/{name}"] = store.fs.store["/test/a"]
    listing = store.listing()
    assert [file.path for file in listing.files] == ["a"]
    assert listing.notes == ("2 objects whose name cannot be a file's (`..`, `//`) were left out",)


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_umask_is_respected(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        Store.at(tmp_path / "out").write("shards/a", b"1")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out/shards/a").stat().st_mode) == 0o666 & ~mask
    assert stat.S_IMODE((tmp_path / "out/shards").stat().st_mode) == 0o777 & ~mask


def test_commit_is_a_rename(tmp_path: Path) -> None:
    store = Store.at(tmp_path)
    store.write("a", b"old")
    with (tmp_path / "a").open("rb") as reader:
        store.write("a", b"new, and longer")
        assert reader.read() == b"old"


def test_killed_commits_are_removed_and_nothing_else(tmp_path: Path) -> None:
    store = Store.at(tmp_path)
    commit = store.committing("a")
    left = commit.__enter__()
    left.write_bytes(b"half")
    for name in (".hidden", "mine.part"):
        (tmp_path / name).touch()
    assert left.parent == tmp_path
    store.remove_temporaries()
    assert store.names() == [".hidden", "mine.part"]


def test_remove_of_a_link_keeps_its_target(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").touch()
    (tmp_path / "work").symlink_to("precious")
    Store.at(tmp_path).remove("work")
    assert Store.at(tmp_path).names() == ["precious"]
    assert (tmp_path / "precious/file").exists()


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
    assert "hush" not in str(Store(text))


@pytest.mark.parametrize("where", ["", "  ", "nonsense://bucket/x", "s4://bucket/x"])
def test_place_that_cannot_be(where: str) -> None:
    with pytest.raises(UsageError):
        Store.at(where)


def test_local_urls_and_paths_are_the_same_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Store.at("x") == Store.at(tmp_path / "x") == Store.at(f"file://{tmp_path}/x") == Store.at(f"{tmp_path}/x/")
    assert Store.at("~").local == Path.home()


def test_safe_names() -> None:
    assert all(map(is_safe_name, ODD))
    assert not is_safe_name(os.fsdecode(b"\xff"))
