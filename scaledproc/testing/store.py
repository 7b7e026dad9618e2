"""Tests that every kind of store must pass: reading, fetching, and changes that are made whole or not at all."""

from __future__ import annotations

import pickle
import random
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest

from scaledproc.errors import ScaledprocError
from scaledproc.storage.fencing import OvertakenError
from scaledproc.storage.listing import FileInfo
from scaledproc.storage.s3.download import ChangedError
from scaledproc.storage.store import Store

ODD = ["plain", "g/a[1].dat", "g/b*.dat", "g/c?.dat", "g/d e'\"#%41é.dat", "~", "deep/er/still/x"]


@dataclass
class _Fence:
    """Lets changes pass, or refuses them."""

    refuses: bool = True
    is_exclusive: bool = True

    def __call__(self) -> float:
        if self.refuses:
            raise OvertakenError("refused")
        return 60.0

    def sure(self) -> float:
        """Nothing without being asked."""
        return 0.0


class StoreConformance:
    """Inherit it, override the fixture `store`, and run it with pytest."""

    changes_are_noticed: ClassVar[bool] = False
    """Whether `fetch` refuses a file that is not what was listed."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        """Hook: an empty store; best with a name that has what filesystems take for a pattern."""
        raise NotImplementedError("override the fixture `store`")

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
        for name in ("work[1]/a", "work1/a", "w*/a", "wa/a"):
            store.write(name, b"1")
        store.remove("work[1]")
        store.remove("w*")
        assert store.names() == ["wa", "work1"]

    def test_version_tells_a_change(self, store: Store) -> None:
        store.write("a", b"one")
        (before,) = store.listing().files
        time.sleep(0.02)  # for the clocks of local disks
        store.write("a", b"two")
        (after,) = store.listing().files
        assert before.size == after.size
        assert before.version != after.version

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

    def test_fetch_of_many(self, store: Store, tmp_path: Path) -> None:
        made = random.Random(1)  # noqa: S311 - contents that differ, not secrets
        contents = {f"d{number % 7}/{number}": made.randbytes(number * 37) for number in range(100)}
        for name, content in contents.items():
            store.write(name, content)
        store.fetch(store.listing().files, tmp_path / "here")
        assert _content_of(tmp_path / "here") == contents

    def test_fetch_of_what_changed_is_noticed_where_the_store_can_tell(self, store: Store, tmp_path: Path) -> None:
        store.write("a", b"one")
        listed = store.listing().files
        store.write("a", b"two")
        if self.changes_are_noticed:
            with pytest.raises(ChangedError, match="a changed since it was listed"):
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
        again = pickle.loads(pickle.dumps(store))  # noqa: S301 - made here
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

    def test_together_files_appear_at_the_end_step_after_step(self, store: Store) -> None:
        seen: list[list[str]] = []

        class Watching(_Fence):
            def __call__(self) -> float:
                seen.append(sorted(names.intersection(store.names())))
                return 60.0

        names = {"a", "b", "c"}
        with replace(store, fence=Watching()).committing_together() as path:
            for name, step in (("c", 1), ("a", 0), ("b", 0)):
                path(name, step).write_bytes(name.encode())
            assert not names.intersection(store.names())
        assert {name: store.read(name) for name in names} == {name: name.encode() for name in names}
        assert seen[0] == []
        assert ["a", "b"] in seen

    def test_together_nothing_appears_when_the_block_raises(self, store: Store) -> None:
        store.write("b", b"old")
        with suppress(ZeroDivisionError), store.committing_together() as path:
            path("a", 0).write_bytes(b"half")
            path("b", 1).write_bytes(b"half")
            raise ZeroDivisionError
        assert store.names() == ["b"]
        assert store.read("b") == b"old"

    def test_nothing_changes_when_the_fence_refuses(self, store: Store) -> None:
        store.write("shards/a", b"old")
        for replacing in (False, True):
            fenced = replace(store, fence=_Fence())
            for change in (
                partial(fenced.write, "shards/a", b"new", replacing=replacing),
                partial(fenced.write, "new/b", b"new", replacing=replacing),
                partial(fenced.child("shards").write, "c", b"new", replacing=replacing),
                partial(fenced.remove, "shards"),
                partial(fenced.remove, "shards/a"),
                partial(fenced.remove_files, ["shards/a"]),
            ):
                with pytest.raises(OvertakenError, match="refused"):
                    change()
        assert {file.path: store.read(file.path) for file in store.listing().files} == {"shards/a": b"old"}

    def test_the_fence_is_asked_again_at_the_end(self, store: Store) -> None:
        store.write("a", b"old")
        fence = _Fence(refuses=False)

        def commit() -> None:
            with replace(store, fence=fence).committing("a") as part:
                part.write_bytes(b"new")
                fence.refuses = True

        with pytest.raises(OvertakenError, match="refused"):
            commit()
        assert store.read("a") == b"old"
        assert store.names() == ["a"]

    @pytest.mark.parametrize("before", [b"old", None])
    def test_what_may_only_replace_is_there_afterwards(self, store: Store, before: bytes | None) -> None:
        if before is not None:
            store.write("a", before)
        replace(store, fence=_Fence(refuses=False)).write("a", b"new", replacing=True)
        assert store.read("a") == b"new"

    def test_sizes(self, store: Store) -> None:
        for name in ODD:
            store.write(name, name.encode())
        wanted = {name: len(name.encode()) for name in ODD}
        for listed in (True, False):
            assert store.sizes([*ODD, "gone", "gone/too"], listed=listed) == wanted
        assert store.there([*ODD, "gone"]) == set(ODD)
        assert store.size_of("g") == sum(size for name, size in wanted.items() if name.startswith("g/"))
        assert store.size_of("gone") == 0


def _content_of(folder: Path) -> dict[str, bytes]:
    """The content of all files below a folder, by their relative paths."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
