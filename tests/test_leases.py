"""Two drivers on one output: the second is told who has it; a lease of one that is gone does not hold anybody up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import Bucket, Cli, clean_environment

import scaledproc
import scaledproc.api
from scaledproc import holding as holding_module
from scaledproc.events import ChunkDone, Event, Note
from scaledproc.holding import HeldError, LeaseLostError, elapsed, holding, read_lease, this_process
from scaledproc.leases import TTL, Lease, Process, Seen, may_take, still_holds
from scaledproc.plan_text import status_text
from scaledproc.storage import Store
from scaledproc.testing import PROBE, output_bytes, write_probe_dataset

HERE = Process("here|boot|pid:[1]", 7, "100")
LEASE = Lease("token", HERE, "2026-01-01T00:00:00+00:00", "local")
ELSEWHERE = replace(LEASE, holder=Process("elsewhere|other|pid:[1]", 7, "100"), ttl=1.5)


# Decisions


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (Seen(None), "take"),
        (Seen(LEASE, alive=False), "take"),
        (Seen(LEASE, alive=False, age=0), "take"),  # killed a moment ago
        (Seen(LEASE, alive=True), "refuse"),
        (Seen(LEASE, alive=True, age=10**6, watched=10**6), "refuse"),  # a clock jumped; the process is there
        (Seen(LEASE, age=0), "refuse"),
        (Seen(LEASE, age=-(10**6)), "refuse"),
        (Seen(LEASE, age=TTL - 1), "refuse"),
        (Seen(LEASE, age=TTL + 1), "watch"),
        (Seen(LEASE, age=10**6, watched=TTL / 3), "watch"),
        (Seen(LEASE, age=TTL + 1, watched=TTL / 2), "take"),
        (Seen(LEASE, age=TTL + 1, watched=TTL / 2, changed=True), "refuse"),
        (Seen(LEASE, watched=TTL / 2), "watch"),  # nobody knows its age
        (Seen(LEASE, watched=TTL), "take"),
        (Seen(LEASE, watched=TTL, changed=True), "refuse"),
    ],
)
def test_who_may_take_a_lease(seen: Seen, verdict: str) -> None:
    assert may_take(seen) == verdict


@pytest.mark.parametrize(
    ("outcome", "silent", "state"),
    [
        ("mine", 0, "holds"),
        ("mine", 10**6, "holds"),  # it slept, and nobody took it
        ("other", 0, "lost"),
        ("gone", 0, "lost"),
        ("unreachable", TTL - 1, "holds"),
        ("unreachable", TTL, "doubtful"),
    ],
)
def test_what_a_driver_may_believe(outcome: Any, silent: float, state: str) -> None:
    assert still_holds(outcome, silent, TTL) == state


@given(
    jump=st.floats(-1e9, 1e9),
    period=st.floats(0.1, TTL / 3),
    asked=st.floats(0, 1000),
)
def test_a_holder_that_renews_is_never_robbed(jump: float, period: float, asked: float) -> None:
    """A model: it renews every `period`; the asker sees a wrong age, and watches from `asked` on."""
    watched, seen = 0.0, Seen(LEASE, age=jump)
    while may_take(seen) == "watch":
        watched += 0.5
        renewed = int((asked + watched) / period) > int(asked / period)
        seen = Seen(LEASE, age=jump, watched=watched, changed=renewed)
    assert may_take(seen) == "refuse"


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"token": 1}', LEASE.to_json()[:-20]])
def test_a_damaged_lease_is_none(content: bytes) -> None:
    assert Lease.from_json(content) is None
    assert Lease.from_json(LEASE.to_json()) == LEASE
    assert Lease.from_json(replace(LEASE, ttl=10.0**9).to_json()) is None


# On real stores


@pytest.fixture(params=["local", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return Store.at(tmp_path / "out")
    if request.param == "memory":
        return Store.at(f"{request.getfixturevalue('memory')}/out")
    s3: Bucket = request.getfixturevalue("s3")
    return Store.at(s3.url(f"lease-{tmp_path.name}"), s3.storage_options)


def test_only_one_holds(store: Store) -> None:
    with holding(store, "local") as held:
        held.write("run.json", b"1")
        with pytest.raises(HeldError, match=f"process {os.getpid()} on ") as refused, holding(store, "local"):
            pass
        assert "scaledproc status" in str(refused.value)
        assert refused.value.lease is not None
    assert store.names() == ["run.json"]
    with holding(store, "local"):
        pass
    store.remove("run.json")
    assert store.names() == []


def test_of_many_at_once_one_holds_it_at_a_time(store: Store) -> None:
    together = threading.Barrier(8)

    held = threading.Lock()

    def take(_: int) -> bool:
        together.wait()
        try:
            with holding(store, "local"):
                assert held.acquire(blocking=False), "two hold it at once"
                time.sleep(1)
                held.release()
                return True
        except HeldError:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert any(pool.map(take, range(8)))
    assert store.names() == []


def plant(store: Store, lease: Lease) -> None:
    store.write("lease.json", lease.to_json())


def test_a_lease_of_a_process_of_this_machine_that_is_gone_is_taken_at_once(store: Store) -> None:
    me = this_process()
    for gone in (replace(me, born="1"), replace(me, pid=2**22 + 1)):
        plant(store, replace(LEASE, holder=gone))
        began = elapsed()
        with holding(store, "local"):
            found = read_lease(store)
            assert found is not None
            assert found.holder == me
        assert elapsed() - began < 10
    assert store.names() == []


def test_a_lease_of_another_machine_is_taken_when_it_is_silent(store: Store) -> None:
    plant(store, ELSEWHERE)
    events: list[Event] = []
    if not store.is_private:  # by the store's clock it is alive
        with pytest.raises(HeldError, match=r"process 7 on elsewhere.*goes on 2 s after"), holding(store, "local"):
            pass
        time.sleep(2.6)
    with holding(store, "local", events.append):
        pass
    assert any(isinstance(event, Note) and "was not heard of" in event.text for event in events)
    assert store.names() == []


def test_a_lease_that_looks_old_is_not_taken_while_its_holder_renews_it(store: Store) -> None:
    with holding(store, "local", me=ELSEWHERE.holder, ttl=3) as held:
        assert held.fence is not None
        with pytest.MonkeyPatch.context() as patch:  # on local disks its lock tells, whatever the times are
            patch.setattr(holding_module, "may_take", lambda seen: may_take(replace(seen, age=seen.age and 10**6)))
            with pytest.raises(HeldError), holding(store, "local"):
                pass


def test_a_lock_outweighs_every_clock(tmp_path: Path) -> None:
    store = Store.at(tmp_path)
    with holding(store, "local", me=ELSEWHERE.holder):
        os.utime(tmp_path / "lease.json", (0, 0))
        with pytest.raises(HeldError, match="on elsewhere"), holding(store, "local"):
            pass


def test_a_driver_that_lost_its_lease_commits_nothing(store: Store) -> None:
    with holding(store, "local", ttl=0.6) as held:
        held.write("before", b"1")
        store.remove("lease.json")
        if store.local is not None:
            (store.local / "lease.json").write_bytes(ELSEWHERE.to_json())
        else:
            plant(store, ELSEWHERE)
        time.sleep(1)
        with pytest.raises(LeaseLostError, match="process 7 on elsewhere"):
            held.write("after", b"1")
    assert store.names() == ["before", "lease.json"], "another's lease is left"


def test_a_lease_that_another_wrote_in_place_is_lost_and_left_alone(tmp_path: Path) -> None:
    """As on a disk whose machines do not see each other's locks."""
    store = Store.at(tmp_path)
    with holding(store, "local", ttl=0.6) as held:
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


def test_a_lease_that_could_not_be_given_back_does_not_stop_its_own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.at(f"memory://left-{uuid.uuid4().hex}")
    with monkeypatch.context() as patch:
        patch.setattr(type(store.fs), "rm_file", lambda *_: (_ for _ in ()).throw(OSError("the store is away")))
        with holding(store, "local"):
            pass
    assert read_lease(store) is not None
    with holding(store, "local"), pytest.raises(HeldError), holding(store, "local"):
        pass
    assert read_lease(store) is None


def test_a_driver_that_slept_and_was_not_robbed_goes_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with holding(store, "local") as held:
        now = elapsed()
        monkeypatch.setattr(holding_module, "elapsed", lambda: now + 1000)
        held.write("after", b"1")
        store.remove("lease.json")
        with pytest.raises(LeaseLostError, match="or the folder removed"):
            held.write("later", b"1")


# Whole runs

SLOW = """
import os, time
import scaledproc

@scaledproc.extractor(schema={"path": "string"}, anchor="*.txt")
def slow(task):
    time.sleep(2 if "SLOW" in os.environ else 0)
    return {"path": task.anchor}
"""


@contextmanager
def a_run_at_work(store: Store, data: Path, extractor: str, env: dict[str, str]) -> Iterator[Any]:
    """A driver in a process of its own, after its first chunks."""
    command = [sys.executable, "-m", "scaledproc", "run", str(data), store.uri, "--extractor", extractor, "--quiet"]
    process = subprocess.Popen(
        [*command, "--shards", "1", "--chunk", "1", "--jobs", "2"],
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(env),
    )
    try:
        for _ in range(1200):
            committed = [name for name in store.names("work/00000") if not name.startswith(".")]
            if process.poll() is not None or len(committed) >= 2:
                break
            time.sleep(0.05)
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize("where", ["local", "s3"])
def test_the_second_driver_is_told_and_the_same_command_goes_on_after_a_kill(
    where: str, request: pytest.FixtureRequest, tmp_path: Path, cli: Cli
) -> None:
    data = write_probe_dataset(tmp_path / "data")
    (tmp_path / "slow.py").write_text(SLOW)
    slow = f"{tmp_path}/slow.py:slow"
    options: dict[str, Any] = {}
    env: dict[str, str] = {}
    output = str(tmp_path / "out")
    if where == "s3":
        s3: Bucket = request.getfixturevalue("s3")
        options, env, output = s3.storage_options, s3.server.environment(), s3.url(f"two-{tmp_path.name}")
    store = Store.at(output, options)
    with a_run_at_work(store, data, slow, env={**env, "SLOW": "yes"}) as first:
        second = cli("run", data, output, "--extractor", slow, env=env)
        assert second.returncode == 4, second.stderr
        assert f"process {first.pid} on " in second.stderr
        assert f"scaledproc status {output}" in second.stderr
        with pytest.raises(HeldError):
            scaledproc.run(data, output, extractor=slow, overwrite=True, storage_options=options)
        with pytest.raises(HeldError):
            scaledproc.combine(output, storage_options=options)
        status = scaledproc.api.status(output, storage_options=options)
        assert status.held_by.startswith(f"process {first.pid} on ")
        assert "gone" not in status.held_by
        assert f"driven by {status.held_by}" in status_text(status)
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
        assert "which is gone" in scaledproc.api.status(output, storage_options=options).held_by
        began = time.monotonic()
        events: list[Event] = []
        done = scaledproc.run(data, output, extractor=slow, jobs=2, storage_options=options, on_event=events.append)
        assert not any(isinstance(event, Note) and "watching" in event.text for event in events)
        assert time.monotonic() - began < TTL
    assert sum(event.resumed for event in events if isinstance(event, ChunkDone)) >= 1
    expected = scaledproc.run(data, tmp_path / "whole", extractor=slow, shards=1, jobs=2)
    assert output_bytes(done.store) == output_bytes(expected.store)
    assert "lease.json" not in done.store.names()
    assert not [name for name in done.store.fs.find(done.store.path("work")) if name.endswith(".parquet")]


def test_a_folder_that_a_refused_run_made_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise scaledproc.ScaledprocError("no")

    monkeypatch.setattr("scaledproc.engine.begin", fails)
    data = write_probe_dataset(tmp_path / "data")
    with pytest.raises(scaledproc.ScaledprocError, match="no"):
        scaledproc.run(data, tmp_path / "a/out", extractor=PROBE, jobs=1)
    assert not (tmp_path / "a/out").exists()
