"""A driver that is cut off, and whose request arrives when another one has finished: it changes nothing any more."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from misbehaving_store import HELD, MisbehavingStore, Request, misbehaving
from support import Bucket, clean_environment

import scaledproc
import scaledproc.api
import scaledproc.engine.driver
from scaledproc._util.process.processes import Process
from scaledproc.extractors import Task
from scaledproc.run_folder.lock.driver_lease import hold_lease
from scaledproc.run_folder.lock.lease_store import HeldError
from scaledproc.storage.fencing import OvertakenError

TTL = 1.5
READ_TIMEOUT = 0.4
ELSEWHERE = Process("elsewhere|other|pid:[1]", 7, "100")  # this machine cannot tell whether it is alive


@scaledproc.extractor(schema={"path": "string", "size": "int64"}, anchor="*.txt")
def sizes(task: Task) -> dict[str, Any]:
    content = task.path.read_bytes()
    if content == b"poison":
        raise ValueError("poison")
    return {"path": task.anchor, "size": len(content)}


@pytest.fixture(scope="module")
def proxy(s3: Bucket) -> Iterator[MisbehavingStore]:
    for number in range(4):
        content = b"poison" if number == 3 else b"x" * number
        s3.fs.pipe_file(f"{s3.name}/late/data/{number % 2}/{number}.txt", content)
    with misbehaving(s3.server) as store:
        yield store


@dataclass
class Driver:
    """A run in a thread, through the proxy or not."""

    bucket: Bucket
    output: str
    options: dict[str, Any]
    me: Process | None = None
    error: BaseException | None = None
    events: list[Any] = field(default_factory=list)

    def run(self, **more: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scaledproc.engine.driver, "hold_lease", partial(hold_lease, ttl=TTL, me=self.me))
            return self.started(**more)

    def started(self, **more: Any) -> Any:
        return scaledproc.run(
            self.bucket.url("late/data"),
            self.bucket.url(self.output),
            extractor=sizes,
            jobs=1,
            chunk=1,
            shards=2,
            storage_options=self.options,
            on_event=self.events.append,
            **more,
        )

    def in_a_thread(self, **more: Any) -> threading.Thread:
        def run() -> None:
            try:
                self.run(**more)
            except BaseException as error:
                self.error = error

        thread = threading.Thread(target=run)
        thread.start()
        return thread


def nth(number: int, is_it: Callable[[Request], bool], *, then_all: bool) -> Callable[[Request], str | None]:
    """Hold the n-th request of a kind; and all that follow, of a driver that is cut off."""
    seen = [0]

    def decide(request: Request) -> str | None:
        seen[0] += request.is_change and is_it(request)
        is_now = seen[0] == number and request.is_change and is_it(request)
        return HELD if is_now or (then_all and seen[0] >= number) else None

    return decide


OWN = ("run.json", "errors.log", "tasks.parquet", "report.html")  # times, paths


def files(bucket: Bucket, output: str) -> dict[str, bytes]:
    """All that a run leaves, but for run.json's times and errors.log's paths."""
    return {name: content for name, content in bucket.objects(output).items() if name not in OWN}


def overtaken(
    bucket: Bucket, proxy: MisbehavingStore, output: str, decide: Any, *, before: bool, anew: bool = False
) -> Driver:
    """One driver is held up, a second one finishes, then what was held arrives; the first one."""
    proxy.decide, proxy.held[:], proxy.let_go = (lambda request: None), [], threading.Event()
    cut_off = Driver(
        bucket,
        output,
        {**proxy.front.storage_options, "config_kwargs": {"read_timeout": READ_TIMEOUT}},
        me=ELSEWHERE,
    )
    other = Driver(bucket, output, bucket.storage_options)
    if before:
        other.run()
    proxy.decide = decide
    thread = cut_off.in_a_thread(overwrite=before)
    try:
        until = time.monotonic() + 30
        while not proxy.held and thread.is_alive():
            assert time.monotonic() < until
            time.sleep(0.02)
        assert proxy.held, "there was no such request"
        assert wait_for_lease(partial(other.run, overwrite=anew)).record.state == "done"
        proxy.decide = lambda request: None
    finally:
        proxy.let_go.set()
        thread.join(60)
    assert not thread.is_alive()
    time.sleep(0.2)
    return cut_off


def wait_for_lease(run: Callable[[], Any]) -> Any:
    """What a run gives as soon as it may begin."""
    until = time.monotonic() + 60
    while True:
        try:
            return run()
        except HeldError:
            assert time.monotonic() < until
            time.sleep(0.1)


KINDS: dict[str, Callable[[Request], bool]] = {
    "delete": lambda request: ("delete", "") in request.query,
    "run.json": lambda request: request.key.endswith("run.json"),
    "shard": lambda request: "/shards/" in request.key,
    "table": lambda request: request.key.endswith("features.parquet"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "number", "before"),
    [
        ("delete", 1, True),
        ("run.json", 1, True),
        ("run.json", 2, False),
        ("run.json", 3, False),
        ("shard", 1, True),
        ("shard", 2, True),
        ("shard", 1, False),
        ("table", 1, True),
    ],
)
def test_of_a_driver_that_is_cut_off(s3: Bucket, proxy: MisbehavingStore, kind: str, number: int, before: bool) -> None:
    output = f"late/{kind}-{number}-{before}"
    anew = before and kind == "run.json"  # else the second one finds nothing to do
    driver = overtaken(s3, proxy, output, nth(number, KINDS[kind], then_all=True), before=before, anew=anew)
    assert isinstance(driver.error, OvertakenError), driver.error
    check_whole(s3, output)


def check_whole(bucket: Bucket, output: str) -> None:
    assert json.loads(bucket.objects(output)["run.json"])["state"] == "done"
    whole = Driver(bucket, "late/whole", bucket.storage_options)
    whole.run()
    assert files(bucket, output) == files(bucket, "late/whole")
    assert scaledproc.api.verify(bucket.url(output), storage_options=bucket.storage_options).problems == ()


STOPS = """
import os, signal, sys
from functools import partial
sys.path[:0] = sys.argv[1].split(os.pathsep)
import scaledproc.engine.driver
from scaledproc.run_folder.lock.driver_lease import LeaseFence, hold_lease
from support import Bucket
from s3server import S3Server
from test_late_requests import ELSEWHERE, Driver

asked, own = [0], LeaseFence.__call__

def stopping(fence):
    allowed = own(fence)
    asked[0] += 1
    if asked[0] == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGSTOP)
    return allowed

LeaseFence.__call__ = stopping
bucket = Bucket(S3Server(*sys.argv[4:7]), sys.argv[7])
Driver(bucket, sys.argv[3], bucket.storage_options, me=ELSEWHERE).run(overwrite=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [2, 12])  # before run.json; a chunk
def test_of_a_driver_that_is_suspended_between_the_fence_and_the_request(
    s3: Bucket, proxy: MisbehavingStore, number: int
) -> None:
    output = f"late/stopped-{number}"
    other = Driver(s3, output, s3.storage_options)
    other.run()
    place = (s3.server.endpoint, s3.server.key, s3.server.secret, s3.name)
    support = Path(__file__).parents[1] / "support"
    modules = os.pathsep.join(map(str, (support, support / "servers", Path(__file__).parent)))
    command = [sys.executable, "-c", STOPS, modules, str(number), output, *place]
    with subprocess.Popen(command, env=clean_environment({}), stderr=subprocess.PIPE, text=True) as stopped:
        try:
            os.waitid(os.P_PID, stopped.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            assert stopped.poll() is None
            time.sleep(TTL)
            wait_for_lease(partial(other.run, overwrite=True))
        finally:
            stopped.send_signal(signal.SIGCONT)
        _, told = stopped.communicate(timeout=60)
    assert stopped.returncode == 1
    assert "LeaseLostError" in told or "OvertakenError" in told
    check_whole(s3, output)
