"""The lease on local disks: a lock, and what a lock outweighs."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from scaledproc._util.process.processes import Process
from scaledproc.run_folder.lock.driver_lease import LeaseLostError, hold_lease
from scaledproc.run_folder.lock.lease import Lease
from scaledproc.run_folder.lock.lease_store import HeldError, read_lease
from scaledproc.storage.store import Store

HERE = Process("here|boot|pid:[1]", 7, "100")
LEASE = Lease("token", HERE, "2026-01-01T00:00:00+00:00", "local")
ELSEWHERE = replace(LEASE, holder=Process("elsewhere|other|pid:[1]", 7, "100"), ttl=1.5)


def test_a_lock_outweighs_every_clock(tmp_path: Path) -> None:
    store = Store.at(tmp_path)
    with hold_lease(store, "local", me=ELSEWHERE.holder):
        os.utime(tmp_path / "lease.json", (0, 0))
        with pytest.raises(HeldError, match="on elsewhere"), hold_lease(store, "local"):
            pass


@pytest.mark.slow
def test_a_lease_that_another_wrote_in_place_is_lost_and_left_alone(tmp_path: Path) -> None:
    """As on a disk whose machines do not see each other's locks."""
    store = Store.at(tmp_path)
    with hold_lease(store, "local", ttl=0.6) as held:
        held.write("before", b"1")
        with (tmp_path / "lease.json").open("r+b") as file:
            file.truncate()
            file.write(ELSEWHERE.to_json())
        time.sleep(1.2)
        with pytest.raises(LeaseLostError):
            held.write("after", b"2")
    found = read_lease(store)
    assert found is not None
    assert found.token == ELSEWHERE.token
    assert sorted(store.names()) == ["before", "lease.json"]
