"""Listings of stores of objects: side by side, and the same as one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import Bucket

from scaledproc.storage.listing import BLOCK, Columns, is_safe_name, list_objects
from scaledproc.storage.store import Store

KEYS = st.dictionaries(
    st.lists(
        st.sampled_from(["", ".", "..", "a", "b", "ab", "é", "a b", "%2F", *"cdefgh"]), min_size=1, max_size=5
    ).map("/".join),
    st.integers(0, 9),
    max_size=40,
)
ROOT = "bucket/data"


class Objects:
    """What S3 answers, as s3fs has it: listings of one level, and of all below a prefix."""

    protocol = ("s3", "s3a")

    def __init__(self, keys: Mapping[str, int]) -> None:
        self.keys = {f"{ROOT}/{key}": size for key, size in keys.items()}
        self.asked: list[str] = []

    def invalidate_cache(self) -> None:
        pass

    def exists(self, path: str) -> bool:
        return any(key == path or key.startswith(path + "/") for key in self.keys)

    def isfile(self, path: str) -> bool:
        return path in self.keys

    def ls(self, path: str, detail: bool) -> list[dict[str, Any]]:
        assert detail
        inside = path.rstrip("/") + "/"
        below = {key.removeprefix(inside): size for key, size in self.keys.items() if key.startswith(inside)}
        files = [
            {"name": inside + name, "size": size, "type": "file"} for name, size in below.items() if "/" not in name
        ]
        folders = {(inside + name.partition("/")[0]).rstrip("/") for name in below if "/" in name}
        return [*files, *({"name": name, "size": 0, "type": "directory"} for name in sorted(folders))]

    def find(self, path: str, withdirs: bool, detail: bool) -> dict[str, dict[str, Any]]:
        assert detail
        assert not withdirs
        self.asked.append(path)
        found = {key: size for key, size in self.keys.items() if key.startswith(path.rstrip("/") + "/")}
        return {key: {"name": key, "size": size, "type": "file", "ETag": f'"{size}"'} for key, size in found.items()}


@given(KEYS)
def test_any_keys_are_found_once(keys: dict[str, int]) -> None:
    safe = {key: size for key, size in keys.items() if is_safe_name(key)}
    if not keys:
        with pytest.raises(FileNotFoundError):
            list_objects(Objects(keys), ROOT)
        return
    listing = list_objects(Objects(keys), ROOT)
    files = listing.files
    assert {file.path: file.size for file in files} == safe
    assert len(files) == len(safe)
    strange = sum(not is_safe_name(key) and not key.endswith("/") for key in keys)
    assert bool(listing.notes) == bool(strange)
    assert not strange or listing.notes[0].startswith(f"{strange:,} object")


def test_folders_are_listed_side_by_side() -> None:
    fs = Objects({f"mimic/1.0/{group}/{unit}/x.hea": 1 for group in range(30, 40) for unit in range(3)})
    assert len(list_objects(fs, ROOT).files) == 30
    assert sorted(fs.asked) == [f"{ROOT}/mimic/1.0/{group}" for group in range(30, 40)]


def test_too_many_folders_are_listed_in_one_go() -> None:
    fs = Objects({f"{unit}/x.hea": 1 for unit in range(1_001)})
    assert len(list_objects(fs, ROOT).files) == 1_001
    assert fs.asked == [ROOT]


def test_an_object_of_a_folders_name() -> None:
    keys = {"a": 1, "a/b": 2, **{f"{name}/x": 3 for name in "bcdefghi"}}
    assert {file.path: file.size for file in list_objects(Objects(keys), ROOT).files} == keys


def test_an_object_instead_of_a_folder() -> None:
    fs = Objects({})
    fs.keys[ROOT] = 1
    with pytest.raises(NotADirectoryError):
        list_objects(fs, ROOT)


def test_a_real_server_gives_what_was_written(s3: Bucket) -> None:
    names = [f"g{group}/u {unit}/é+%2F{number}.hea" for group in range(9) for unit in range(2) for number in range(2)]
    names += ["README", "g1/list", "g1.x/a"]
    for prefix in ("listing/wide", "listing/deep/1.0/within"):
        store = Store.at(s3.url(prefix), s3.storage_options)
        for name in names:
            store.write(name, name.encode())
        assert sorted(file.path for file in store.listing().files) == sorted(names)
    above = Store.at(s3.url("listing"), s3.storage_options).listing()
    assert len(above.files) == 2 * len(names)
    assert all(file.size and file.version for file in above.files)


def test_columns_of_many_blocks() -> None:
    columns = Columns()
    for number in range(BLOCK + 3):
        columns.add(str(number), number, "")
    table = columns.table()
    assert table["size"].to_pylist() == list(range(BLOCK + 3))
    assert table["path"][BLOCK].as_py() == str(BLOCK)
