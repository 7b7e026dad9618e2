"""The lease in stores elsewhere, those that know no conditions too."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import Bucket

from scaledproc._util.process.processes import Process
from scaledproc.run_folder.lock.driver_lease import LeaseLostError, hold_lease
from scaledproc.run_folder.lock.lease import Lease
from scaledproc.run_folder.lock.lease_store import HeldError, read_lease
from scaledproc.storage.store import Store

HERE = Process("here|boot|pid:[1]", 7, "100")
LEASE = Lease("token", HERE, "2026-01-01T00:00:00+00:00", "local")
ELSEWHERE = replace(LEASE, holder=Process("elsewhere|other|pid:[1]", 7, "100"), ttl=1.5)


def plant(store: Store, lease: Lease) -> None:
    store.write("lease.json", lease.to_json())


# S3 that does not do all that is asked


@pytest.fixture
def heedless(s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A folder in a store that takes no notice of conditions, as some that speak S3's language."""
    store = Store.at(s3.url(f"heedless-{tmp_path.name}"), s3.storage_options)
    own = type(store.fs).call_s3

    def call(fs: Any, method: str, *more: Any, **given: Any) -> Any:
        return own(fs, method, *more, **{k: v for k, v in given.items() if k not in ("IfMatch", "IfNoneMatch")})

    monkeypatch.setattr(type(store.fs), "call_s3", call)
    return store


@pytest.mark.slow
def test_of_many_at_a_heedless_store_one_holds_it(heedless: Store) -> None:
    together, inside, most = threading.Barrier(4), [0], [0]

    def take(_: int) -> None:
        together.wait()
        with suppress(HeldError), hold_lease(heedless, "local"):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(1)
            inside[0] -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(take, range(4)))
    assert most == [1]
    assert heedless.names() == []


@pytest.mark.slow
def test_at_a_heedless_store_a_driver_sees_that_it_was_robbed(heedless: Store) -> None:
    with hold_lease(heedless, "local", ttl=0.9) as held:
        held.write("before", b"1")
        time.sleep(0.5)  # a renewal that finds its own
        plant(heedless, ELSEWHERE)
        time.sleep(1)
        with pytest.raises(LeaseLostError):
            held.write("after", b"1")
    found = read_lease(heedless)
    assert found is not None
    assert found.token == ELSEWHERE.token, "it wrote its own lease over another's"


def test_a_lease_that_is_taken_while_it_is_given_back_is_left(s3: Bucket, tmp_path: Path) -> None:
    store = Store.at(s3.url(f"back-{tmp_path.name}"), s3.storage_options)
    own = type(store.fs).call_s3

    def call(fs: Any, method: str, *more: Any, **given: Any) -> Any:
        if method == "delete_object":
            plant(store, ELSEWHERE)
        return own(fs, method, *more, **given)

    with pytest.MonkeyPatch.context() as patch, hold_lease(store, "local"):
        patch.setattr(type(store.fs), "call_s3", call)
    found = read_lease(store)
    assert found is not None
    assert found.token == ELSEWHERE.token
