"""A store that misbehaves: every kind of request by every fault, then whole runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from misbehaving_store import FAULTS, MisbehavingStore, Request, can_have, misbehaving
from support import Bucket

from scaledproc.storage import Store

READ_TIMEOUT = 1.0  # seconds without a byte; by default 15


@pytest.fixture(scope="module")
def bad(s3: Bucket) -> Iterator[MisbehavingStore]:
    """The proxy in front of the server."""
    with misbehaving(s3.server, pause=3 * READ_TIMEOUT) as store:
        yield store


@pytest.fixture
def store(bad: MisbehavingStore, s3: Bucket, tmp_path: Path) -> Iterator[Store]:
    """A folder behind the proxy, which behaves until it is told not to."""
    bad.decide = lambda request: None
    yield Store.at(s3.url(f"misbehaving/{tmp_path.name}"), through(bad))
    bad.decide = lambda request: None


def through(bad: MisbehavingStore) -> dict[str, object]:
    return {**bad.front.storage_options, "config_kwargs": {"read_timeout": READ_TIMEOUT}}


def read(store: Store) -> None:
    assert store.read("a") == b"0123456789" * 1000


def write(store: Store) -> None:
    store.write("a", b"new")
    assert store.read("a") == b"new"


def ask(store: Store) -> None:
    assert store.there(["a", "b"]) == {"a"}


def remove(store: Store) -> None:
    store.remove_files(["a", "b"])
    assert store.there(["a", "b"]) == set()


def listed(store: Store) -> None:
    assert store.names() == ["a"]


ACTIONS = [(read, "GET"), (write, "PUT"), (ask, "HEAD"), (remove, "POST"), (listed, "GET")]


@pytest.mark.parametrize(
    ("action", "method", "fault"),
    [
        (action, method, fault)
        for action, method in ACTIONS
        for fault in FAULTS
        if fault != "stale" and can_have(Request(method, "", (), "", 0), fault)
    ],
)
def test_one_fault(
    bad: MisbehavingStore, store: Store, action: Callable[[Store], None], method: str, fault: str
) -> None:
    store.write("a", b"0123456789" * 1000)
    happened: list[Request] = []

    def decide(request: Request) -> str | None:
        if request.method != method or happened:
            return None
        happened.append(request)
        return fault

    bad.decide = decide
    begun = time.monotonic()
    action(store)
    assert time.monotonic() - begun < 20
    assert happened
