"""The store of local folders."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import stat
import threading
from pathlib import Path

import pytest

from scaledproc.storage import local_store
from scaledproc.storage.store import Store
from scaledproc.testing import StoreConformance

NAME = "odd [1] folder"  # which some filesystems take for a pattern


class TestLocal(StoreConformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return Store.at(tmp_path / NAME)


def commit_many(store: Store) -> None:
    with store.committing_together() as path:
        for number in range(100):
            path(f"many/{number}", number % 2).write_bytes(b"x")


@pytest.mark.parametrize("lack", ["nothing", "threads", "files"])
def test_many_files_are_flushed_before_any_appears(lack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With as many threads and open files as there can be."""
    synced: list[str] = []
    sync, before = os.fsync, resource.getrlimit(resource.RLIMIT_NOFILE)

    def told(handle: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        sync(handle)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(os, "fsync", told)
    if lack == "threads":
        monkeypatch.setattr(threading.Thread, "start", refuse)
    try:
        if lack == "files":
            most = max(int(each.name) for each in Path("/proc/self/fd").iterdir()) + 10
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
        commit_many(Store.at(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    files = [path for path in synced if path.endswith(".part")]
    assert len(files) == len(set(files)) == 100
    assert synced[:100] == files
    assert len(list((tmp_path / "many").iterdir())) == 100


def test_a_file_that_cannot_be_flushed_keeps_all_from_appearing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, done = os.fsync, []

    def fails(handle: int) -> None:
        done.append(handle)
        if len(done) == 70:
            raise OSError(errno.EIO, "the disk is bad")
        sync(handle)

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="the disk is bad"):
        commit_many(Store.at(tmp_path))
    assert list((tmp_path / "many").iterdir()) == []


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


@pytest.mark.parametrize("times", [1, local_store.REMOVALS])
def test_a_folder_is_removed_though_somebody_writes_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    store, left = Store.at(tmp_path), [times]
    store.write("work/progress/a", b"")
    remove = shutil.rmtree

    def late(path: Path) -> None:
        remove(path)
        if left[0]:
            left[0] -= 1
            store.write("work/progress/b", b"")

    monkeypatch.setattr(shutil, "rmtree", late)
    if times == local_store.REMOVALS:
        with pytest.raises(OSError, match="not empty"):
            store.remove("work")
    else:
        store.remove("work")
        assert store.names() == []


def test_local_urls_and_paths_are_the_same_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Store.at("x") == Store.at(tmp_path / "x") == Store.at(f"file://{tmp_path}/x") == Store.at(f"{tmp_path}/x/")
    assert Store.at("~").local == Path.home()
