"""Stores of any fsspec filesystem, by that of memory."""

from __future__ import annotations

import pytest

from scaledproc.storage.store import Store
from scaledproc.testing import StoreConformance

NAME = "odd [1] folder"  # which some filesystems take for a pattern


class TestMemory(StoreConformance):
    @pytest.fixture
    def store(self, memory: str) -> Store:
        return Store.at(f"{memory}/{NAME}")


def test_unsafe_objects_are_not_listed(memory: str) -> None:
    store = Store.at(memory)
    store.write("a", b"1")
    for name in ("b//c", "d/../e"):
        store.fs.store[f"/test/{name}"] = store.fs.store["/test/a"]
    listing = store.listing()
    assert [file.path for file in listing.files] == ["a"]
    assert listing.notes == ("2 objects whose name cannot be a file's (`..`, `//`) were left out",)
