"""Two drivers on one output: the second is told who has it; a lease of one that is gone does not hold anybody up."""

from __future__ import annotations

import base64
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import Bucket, Cli, clean_environment

import scaledproc
import scaledproc.api
from scaledproc._util.process import processes
from scaledproc._util.process.processes import Process, elapsed, this_process
from scaledproc.events import ChunkDone, Event, Note
from scaledproc.reporting.text import status_text
from scaledproc.run_folder.lock import lease_store
from scaledproc.run_folder.lock.driver_lease import LeaseLostError, hold_lease
from scaledproc.run_folder.lock.lease import TTL, Lease, may_take
from scaledproc.run_folder.lock.lease_store import HeldError, read_lease
from scaledproc.storage.store import Store
from scaledproc.testing import PROBE, output_bytes, write_probe_dataset

HERE = Process("here|boot|pid:[1]", 7, "100")
LEASE = Lease("token", HERE, "2026-01-01T00:00:00+00:00", "local")
ELSEWHERE = replace(LEASE, holder=Process("elsewhere|other|pid:[1]", 7, "100"), ttl=1.5)


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
    with hold_lease(store, "local") as held:
        held.write("run.json", b"1")
        with pytest.raises(HeldError, match=f"process {os.getpid()} on ") as refused, hold_lease(store, "local"):
            pass
        assert "scaledproc status" in str(refused.value)
        assert refused.value.lease is not None
    assert store.names() == ["run.json"]
    with hold_lease(store, "local"):
        pass
    store.remove("run.json")
    assert store.names() == []


@pytest.mark.slow
def test_of_many_at_once_one_holds_it_at_a_time(store: Store) -> None:
    together = threading.Barrier(8)

    held = threading.Lock()

    def take(_: int) -> bool:
        together.wait()
        try:
            with hold_lease(store, "local"):
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
        with hold_lease(store, "local"):
            found = read_lease(store)
            assert found is not None
            assert found.holder == me
        assert elapsed() - began < 10
    assert store.names() == []


def test_a_lease_of_another_machine_is_taken_when_it_is_silent(store: Store) -> None:
    plant(store, ELSEWHERE)
    events: list[Event] = []
    if not store.is_private:  # by the store's clock it is alive
        with pytest.raises(HeldError, match=r"process 7 on elsewhere.*goes on 2 s after"), hold_lease(store, "local"):
            pass
        time.sleep(2.6)
    with hold_lease(store, "local", events.append):
        pass
    assert any(isinstance(event, Note) and "was not heard of" in event.text for event in events)
    assert store.names() == []


@pytest.mark.slow
def test_a_lease_that_looks_old_is_not_taken_while_its_holder_renews_it(store: Store) -> None:
    with hold_lease(store, "local", me=ELSEWHERE.holder, ttl=3) as held:
        assert held.fence is not None
        with pytest.MonkeyPatch.context() as patch:  # on local disks its lock tells, whatever the times are
            patch.setattr(lease_store, "may_take", lambda seen: may_take(replace(seen, age=seen.age and 10**6)))
            with pytest.raises(HeldError), hold_lease(store, "local"):
                pass


def test_a_driver_that_lost_its_lease_commits_nothing(store: Store) -> None:
    with hold_lease(store, "local", ttl=0.6) as held:
        held.write("before", b"1")
        store.remove("lease.json")
        if store.local is not None:
            (store.local / "lease.json").write_bytes(ELSEWHERE.to_json())
        else:
            plant(store, ELSEWHERE)
        time.sleep(1)
        with pytest.raises(LeaseLostError, match="process 7 on elsewhere"):
            held.write("after", b"1")
        changes: list[Callable[[], None]] = [
            lambda: held.remove("before"),
            lambda: held.remove("none"),
            lambda: held.remove_files(["before"]),
            lambda: held.child("work").write("after", b"1"),
            lambda: held.child("work").remove("before"),
        ]
        for change in changes:
            with pytest.raises(LeaseLostError):
                change()
    assert store.names() == ["before", "lease.json"], "another's files and lease are left"


HOLDER = """
import base64, pickle, sys
from scaledproc.run_folder.lock.driver_lease import hold_lease
from scaledproc.storage.store import Store

with hold_lease(Store.at(sys.argv[1]), "local") as held:
    print(base64.b64encode(pickle.dumps(held)).decode(), flush=True)
    input()
"""


def test_who_outlives_the_driver_commits_nothing(tmp_path: Path) -> None:
    """The next driver may be at work at once, and need not find what the first one kept elsewhere on this machine."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "out")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=clean_environment({"TMPDIR": str(tmp_path)}), **pipes) as driver:  # type: ignore[call-overload]
        held = pickle.loads(base64.b64decode(driver.stdout.readline()))
        held.write("before", b"1")
        driver.kill()
    with pytest.raises(LeaseLostError, match=f"process {driver.pid} is gone"):
        held.write("after", b"1")
    with pytest.raises(LeaseLostError):
        held.remove("before")
    assert held.names() == ["before", "lease.json"]


def test_what_another_is_about_to_commit_is_not_removed(tmp_path: Path) -> None:
    store = Store.at(tmp_path)
    with hold_lease(store, "local", ttl=0.6) as held:
        held.remove_temporaries()
        (tmp_path / "lease.json").unlink()
        plant(store, ELSEWHERE)
        with store.committing("theirs") as part:
            part.write_bytes(b"1")
            time.sleep(1)
            with pytest.raises(LeaseLostError):
                held.remove_temporaries()
    assert store.read("theirs") == b"1"


def test_a_lease_that_could_not_be_given_back_does_not_stop_its_own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.at(f"memory://left-{uuid.uuid4().hex}")
    with monkeypatch.context() as patch:
        patch.setattr(type(store.fs), "rm_file", lambda *_: (_ for _ in ()).throw(OSError("the store is away")))
        with hold_lease(store, "local"):
            pass
    assert read_lease(store) is not None
    with hold_lease(store, "local"), pytest.raises(HeldError), hold_lease(store, "local"):
        pass
    assert read_lease(store) is None


def test_a_driver_that_slept_and_was_not_robbed_goes_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with hold_lease(store, "local") as held:
        now = elapsed()
        monkeypatch.setattr(processes, "elapsed", lambda: now + 1000)
        held.write("after", b"1")
        store.remove("lease.json")
        with pytest.raises(LeaseLostError, match="or the folder removed"):
            held.write("later", b"1")


def test_a_process_that_hides_is_not_taken_for_one_that_is_gone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """As another user's does where /proc is mounted with hidepid: then only its signs of life count."""
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    told_of = processes.told_of

    def hidden(pid: int) -> bytes:
        if pid == other.pid:
            raise FileNotFoundError(2, "No such file or directory")
        return told_of(pid)

    monkeypatch.setattr(processes, "told_of", hidden)
    holder = replace(this_process(), pid=other.pid)
    assert processes.is_alive(holder) is None
    plant(store, replace(LEASE, holder=holder))
    if not store.is_private:
        with pytest.raises(HeldError), hold_lease(store, "local"):
            pass
    other.communicate(b"")
    assert processes.is_alive(holder) is False
    with hold_lease(store, "local"):
        pass


@pytest.mark.slow
def test_a_full_disk_does_not_blind_the_fence(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the time up to which it surely holds cannot be noted any more, each change asks the store."""
    with hold_lease(store, "local", ttl=3) as held, monkeypatch.context() as patch:
        store.fs.pipe_file(store.path("lease.json"), ELSEWHERE.to_json())
        patch.setattr(Path, "write_bytes", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        time.sleep(1.5)  # one renewal, and the time that was noted before it is not over
        with pytest.raises(LeaseLostError):
            held.remove("before")
    found = read_lease(store)
    assert found is not None
    assert found.token == ELSEWHERE.token


@pytest.mark.slow
@pytest.mark.parametrize("at", ["renewal", "return"])
def test_who_leaves_at_once_does_not_wait_for_the_store(memory: str, at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.at(f"{memory}/out")
    hangs, goes_on = threading.Event(), threading.Event()
    own = type(store.fs).cat_file

    def slow(fs: Any, path: str, **options: Any) -> bytes:
        if threading.current_thread().name == "lease":
            hangs.set()
            goes_on.wait(30)
        content: bytes = own(fs, path, **options)
        return content

    began = elapsed()
    with suppress(KeyboardInterrupt), hold_lease(store, "local", ttl=0.3 if at == "renewal" else TTL):
        monkeypatch.setattr(type(store.fs), "cat_file", slow)
        if at == "renewal":
            assert hangs.wait(10)
        raise KeyboardInterrupt
    assert elapsed() - began < 10
    goes_on.set()
    for thread in [thread for thread in threading.enumerate() if thread.name == "lease"]:
        thread.join(10)
    assert store.names() == [], "a renewal that hung brought the lease back"
    with hold_lease(store, "local"):
        pass


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


@pytest.mark.slow
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

    monkeypatch.setattr("scaledproc.engine.driver.begin", fails)
    data = write_probe_dataset(tmp_path / "data")
    with pytest.raises(scaledproc.ScaledprocError, match="no"):
        scaledproc.run(data, tmp_path / "a/out", extractor=PROBE, jobs=1)
    assert not (tmp_path / "a/out").exists()
