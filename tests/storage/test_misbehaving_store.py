"""A store that misbehaves: every kind of request by every fault, then whole runs."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from misbehaving_store import FAULTS, Decision, MisbehavingStore, Request, can_have, misbehaving, once, seeded
from support import Bucket, Cli, clean_environment

import scaledproc
import scaledproc.engine.driver
from scaledproc.errors import ScaledprocError
from scaledproc.events import ChunkDone, Event, ReuseFound, ShardDone
from scaledproc.run_folder.beginning import decide
from scaledproc.run_folder.lock.driver_lease import hold_lease
from scaledproc.run_folder.run import Run
from scaledproc.storage.s3 import download, filesystem, s3_store
from scaledproc.storage.s3.download import ChangedError, CredentialsError
from scaledproc.storage.store import Store

READ_TIMEOUT = 0.4  # seconds without a byte; by default 15


@pytest.fixture(scope="module")
def bad(s3: Bucket) -> Iterator[MisbehavingStore]:
    """The proxy in front of the server."""
    with misbehaving(s3.server, pause=2.5 * READ_TIMEOUT) as store:
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_body_that_is_short_again_and_again(bad: MisbehavingStore, store: Store) -> None:
    store.write("a", b"0123456789" * 1000)
    bad.decide = once("short_length", "GET", "/a", times=4)
    assert store.read("a") == b"0123456789" * 1000


class Rangeless(BaseHTTPRequestHandler):
    """A store that sends whole objects, whatever part of them is asked for; half of one once in a while."""

    content = b"0123456789" * 1000
    cuts = 0

    def do_GET(self) -> None:
        kept = self.content
        if Rangeless.cuts:
            Rangeless.cuts -= 1
            kept = kept[:5000]
        self.send_response(200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(kept)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def test_a_store_that_knows_no_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Rangeless) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        options = {
            "key": "someone",
            "secret": "knows-no-ranges",
            "endpoint_url": f"http://127.0.0.1:{server.server_port}",
        }
        store = Store.at("s3://bucket/folder", options)
        Rangeless.cuts = 2
        assert store.read("a") == Rangeless.content
        assert not Rangeless.cuts
        monkeypatch.setattr(filesystem, "FIRST", 1000)
        with pytest.raises(OSError, match=r"10,000 bytes where it is asked for bytes=0-999: it does not know ranges"):
            store.read("a")
        server.shutdown()
        thread.join()


class TestFetching:
    """Of staged objects, by obstore."""

    @pytest.mark.slow
    @pytest.mark.parametrize("fault", [fault for fault in FAULTS if can_have(Request("GET", "", (), "", 0), fault)])
    def test_one_fault(self, bad: MisbehavingStore, store: Store, tmp_path: Path, fault: str) -> None:
        store.write("a", b"0123456789" * 1000)
        store.write("empty", b"")
        listed = store.listing().files
        bad.decide = once(fault, "GET", "/a")
        store.fetch(listed, tmp_path / "here")
        assert (tmp_path / "here/a").read_bytes() == b"0123456789" * 1000
        assert (tmp_path / "here/empty").read_bytes() == b""

    @pytest.mark.parametrize("way", ["obstore", "s3fs"])
    @pytest.mark.parametrize("number", [1, 2, 3])
    def test_two_versions_are_never_mixed(
        self,
        bad: MisbehavingStore,
        store: Store,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        way: str,
        number: int,
    ) -> None:
        """The object changes, but not in size, before one of the requests for its ranges."""
        monkeypatch.setattr(download, "PART", 1000)
        monkeypatch.setattr(filesystem, "FIRST", 1000)
        monkeypatch.setattr(filesystem, "BLOCK", 1000)
        monkeypatch.setattr(s3_store, "PIECE", 1000)
        name = "a" if way == "obstore" else "a\x01"  # which obstore is not given
        store.write(name, b"old" * 2000)
        listed = store.listing().files
        seen = itertools.count(1)  # in several threads
        other = behind(store, bad)
        other.write("other", b"")  # its connection stands: a request that waits for that is given up

        def change(request: Request) -> None:
            if request.method == "GET" and request.range and next(seen) == number:
                other.write(name, b"new" * 2000)

        bad.hook = change
        try:
            with pytest.raises(ChangedError, match="changed"):
                store.fetch(listed, tmp_path / "here")
        finally:
            bad.hook = lambda request: None
        assert next(seen) > number

    def test_what_is_read_is_one_version(
        self, bad: MisbehavingStore, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(filesystem, "FIRST", 1000)
        monkeypatch.setattr(filesystem, "BLOCK", 1000)
        store.write("a", b"old" * 2000)
        left = [2]

        def change(request: Request) -> None:
            left[0] -= request.method == "GET"
            if left[0] == 0 and request.method == "GET":
                behind(store, bad).write("a", b"new" * 2000)

        bad.hook = change
        try:
            assert store.read("a") == b"new" * 2000  # it is read again
        finally:
            bad.hook = lambda request: None
        assert left[0] < -1

    def test_who_is_not_known_any_more_is_no_matter_of_one_object(
        self, bad: MisbehavingStore, store: Store, tmp_path: Path
    ) -> None:
        store.write("a", b"1")
        listed = store.listing().files
        bad.decide = once("expired", "GET", "/a")
        with pytest.raises(CredentialsError, match="ExpiredToken"):
            store.fetch(listed, tmp_path / "here")
        bad.decide = once("forbidden", "GET", "/a")
        with pytest.raises(PermissionError) as caught:
            store.fetch(listed, tmp_path / "here")
        assert not isinstance(caught.value, CredentialsError)


class TestUploadsInParts:
    @pytest.fixture
    def part(self, monkeypatch: pytest.MonkeyPatch) -> bytes:
        """What is sent in three parts."""
        import s3fs.core

        monkeypatch.setattr(s3fs.core, "calculate_chunksize", lambda size, chunksize=None: 5 * 2**20)
        return b"0123456789abcdef" * (11 * 2**16)

    @pytest.mark.slow
    @pytest.mark.parametrize("fault", ["reset_after", "reset_before", "pause", "internal_error", "truncated"])
    @pytest.mark.parametrize("which", ["uploads", "partNumber", "uploadId"])
    def test_one_fault(self, bad: MisbehavingStore, store: Store, part: bytes, fault: str, which: str) -> None:
        method = "PUT" if which == "partNumber" else "POST"
        if not can_have(Request(method, "", (), "", 0), fault):
            pytest.skip("there is no such answer")
        happened: list[Request] = []

        def decide(request: Request) -> str | None:
            if request.method == method and which in dict(request.query) and not happened:
                happened.append(request)
                return fault
            return None

        bad.decide = decide
        store.write("a", part)
        assert happened
        assert store.read("a") == part
        assert uploads(store) == []

    def test_one_that_cannot_be_finished_is_aborted(self, bad: MisbehavingStore, store: Store, part: bytes) -> None:
        bad.decide = lambda request: "forbidden" if ("partNumber", "2") in request.query else None
        with pytest.raises(PermissionError):
            store.write("a", part)
        assert uploads(store) == []
        assert store.there(["a"]) == set()

    def test_what_a_killed_process_left_goes_with_the_next_upload(
        self, bad: MisbehavingStore, store: Store, part: bytes
    ) -> None:
        bucket, key, _ = store.fs.split_path(store.path("a"))
        store.fs.call_s3("create_multipart_upload", Bucket=bucket, Key=key)
        store.fs.call_s3("create_multipart_upload", Bucket=bucket, Key=f"{key}b")
        assert len(uploads(store)) == 2
        store.write("a", part)
        assert uploads(store) == [f"{key}b"]  # another object's


def behind(store: Store, bad: MisbehavingStore) -> Store:
    """The same folder without the proxy."""
    return Store.at(store.uri, bad.server.storage_options)


def uploads(store: Store) -> list[str]:
    bucket, key, _ = store.fs.split_path(store.path(""))
    found = store.fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=key)
    return [upload["Key"] for upload in found.get("Uploads") or ()]


# Whole runs: input and output behind the proxy

EXTRACTOR = """
import scaledproc

@scaledproc.extractor(schema={"path": "string", "row": "int64"}, anchor="*.txt")
def rows(task):
    content = task.path.read_bytes()
    if content == b"poison":
        raise ValueError("poison")
    return [{"path": task.anchor, "row": row} for row in range(len(content) % 7)]
"""
TASKS, CHUNK = 36, 3
ENDLESS = frozenset({"drip"})  # takes its time, which the test of one fault and the soak have
SOAK_SEEDS = int(os.environ.get("SCALEDPROC_SOAK_SEEDS", "5"))
SWIFT = frozenset(FAULTS) - ENDLESS
OWN = {"run.json", "errors.log", "tasks.parquet", "report.html"}  # times, and paths of a machine


@dataclass
class Ground:
    """A dataset, and what a run without faults makes of it."""

    bucket: Bucket
    bad: MisbehavingStore
    folder: Path
    expected: dict[str, bytes]

    @property
    def dataset(self) -> str:
        return self.bucket.url("ground/data")

    def arguments(self, output: str) -> list[str]:
        words = ["--extractor", f"{self.folder}/rows.py:rows", "--jobs", "2", "--chunk", str(CHUNK)]
        hurry = f'--storage-option=config_kwargs={{"read_timeout": {READ_TIMEOUT}}}'
        return [self.dataset, self.bucket.url(output), *words, "--max-failures", "1", hurry]

    def environment(self, attempts: int = 10) -> dict[str, str]:
        return {**self.bad.front.environment(), "AWS_MAX_ATTEMPTS": str(attempts)}

    def made(self, output: str) -> dict[str, bytes]:
        return {name: data for name, data in self.bucket.objects(output).items() if name not in OWN}

    def check(self, output: str) -> None:
        """Not a row is lost or doubled, and nothing is left over: all is what it is without faults, to the byte."""
        made = self.made(output)
        assert set(made) == set(self.expected)
        assert made == self.expected
        assert json.loads(self.bucket.objects(output)["run.json"])["state"] == "done"


@pytest.fixture(scope="module")
def ground(s3: Bucket, bad: MisbehavingStore, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    folder = tmp_path_factory.mktemp("ground")
    (folder / "rows.py").write_text(EXTRACTOR)
    for number in range(TASKS):
        content = b"poison" if number == 7 else b"x" * (number * 37)
        s3.fs.pipe_file(f"{s3.name}/ground/data/{number % 3}/u{number // 2}/{number}.txt", content)
    bad.decide, bad.hook = (lambda request: None), (lambda request: None)
    ground = Ground(s3, bad, folder, {})
    run(ground, "ground/reference")
    ground.expected = ground.made("ground/reference")
    assert set(ground.expected) > {"features.parquet", "errors.parquet", "shards/00002.parquet"}
    return ground


def run(
    ground: Ground, output: str, *, stop: Callable[[list[Event]], bool] = lambda events: False, **options: Any
) -> list[Event]:
    """The run in this process, through the proxy; as if Ctrl-C were pressed where `stop` says so."""
    from scaledproc.extractors import load_extractor

    events: list[Event] = []

    def listen(event: Event) -> None:
        events.append(event)
        if stop(events):
            raise KeyboardInterrupt

    scaledproc.run(
        ground.dataset,
        ground.bucket.url(output),
        extractor=load_extractor(f"{ground.folder}/rows.py:rows", {}),
        jobs=1,
        chunk=CHUNK,
        storage_options=through(ground.bad),
        on_event=listen,
        **options,
    )
    return events


class TestRuns:
    @pytest.fixture(autouse=True)
    def behaves_at_last(self, ground: Ground) -> Iterator[None]:
        yield
        ground.bad.decide, ground.bad.hook = (lambda request: None), (lambda request: None)

    @pytest.mark.slow
    @pytest.mark.parametrize(("seed", "rate"), [(1, 0.05), (2, 0.2)])
    def test_the_same_bytes(self, ground: Ground, seed: int, rate: float) -> None:
        before = ground.bad.faults.total()
        ground.bad.decide = seeded(seed, rate, SWIFT)
        run(ground, f"ground/same{seed}")
        assert ground.bad.faults.total() - before > 100 * rate
        ground.check(f"ground/same{seed}")

    @pytest.mark.slow
    @pytest.mark.parametrize(("seed", "faults", "rate"), [(1, SWIFT, 0.1), (2, {"stale"}, 0.8)])
    def test_an_update(self, ground: Ground, seed: int, faults: Collection[str], rate: float) -> None:
        """A part of the dataset first, then all of it, as an update that is ended on its way and continued."""
        output = f"ground/update{seed}"
        ground.bad.decide = seeded(seed, rate, faults)
        run(ground, output, include=["0/**", "2/u1/*"])
        with pytest.raises(KeyboardInterrupt):
            run(ground, output, update=True, stop=lambda events: isinstance(events[-1], ChunkDone))
        events = run(ground, output, update=True)
        (found,) = (event for event in events if isinstance(event, ReuseFound))
        assert 0 < found.todo < found.tasks == TASKS
        assert ground.made(output) == ground.expected
        ground.bad.decide = lambda request: None
        assert scaledproc.verify(ground.bucket.url(output), storage_options=ground.bucket.storage_options).ok

    @pytest.mark.slow
    @pytest.mark.parametrize("seed", [1, 2])
    def test_a_lease_behind_it(self, ground: Ground, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is renewed all the time, and lost to nobody."""
        monkeypatch.setattr(scaledproc.engine.driver, "hold_lease", partial(hold_lease, ttl=0.9))
        ground.bad.decide = seeded(seed, 0.2, SWIFT)
        begun = len(ground.bad.log)
        run(ground, f"ground/lease{seed}")
        asked = [(request.method, fault) for request, fault in ground.bad.log[begun:] if "/lease.json" in request.key]
        assert sum(method == "PUT" for method, _ in asked) > 5
        assert sum(fault is not None for _, fault in asked) > 2
        time.sleep(2.5 * READ_TIMEOUT)  # what comes late comes by now
        ground.check(f"ground/lease{seed}")

    @pytest.mark.slow
    @pytest.mark.parametrize("seed", [1, 2, 3])
    def test_listings_that_lag_behind(self, ground: Ground, seed: int) -> None:
        ground.bad.decide = seeded(seed, 0.8, {"stale"})
        run(ground, f"ground/stale{seed}")
        ground.check(f"ground/stale{seed}")

    @pytest.mark.slow
    def test_an_overwritten_run_does_not_shine_through(self, ground: Ground) -> None:
        """Shards of a run that is thrown away are there no more, though listings show them, and hide them before."""
        with pytest.raises(KeyboardInterrupt):
            run(ground, "ground/over", stop=lambda events: isinstance(events[-1], ShardDone))
        ground.bad.decide = lags("/over")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scaledproc.engine.driver, "read_record", lambda store: None)
            events = run(ground, "ground/over")
        assert not any(event.resumed for event in events if isinstance(event, (ChunkDone, ShardDone)))
        ground.check("ground/over")

    @pytest.mark.slow
    def test_committed_chunks_that_no_listing_shows(self, ground: Ground) -> None:
        with pytest.raises(KeyboardInterrupt):
            run(ground, "ground/hidden", stop=lambda events: sum(isinstance(each, ChunkDone) for each in events) == 3)
        there = sum(map(is_chunk, ground.bucket.objects("ground/hidden")))
        ground.bad.decide = lags("/hidden")
        events = run(ground, "ground/hidden")
        assert sum(event.resumed for event in events if isinstance(event, ChunkDone)) == there >= 3
        ground.check("ground/hidden")

    @pytest.mark.slow
    @pytest.mark.parametrize(("seed", "faults", "place"), [(1, SWIFT, 70), (2, {"stale"}, 90)])
    def test_killed_and_continued(
        self, ground: Ground, cli: Cli, seed: int, faults: Collection[str], place: int
    ) -> None:
        output = f"ground/killed{seed}.{place}"
        kill_after(ground, output, place, seeded(seed, 0.05 if faults is SWIFT else 0.8, faults))
        there = {name for name in ground.bucket.objects(output) if name.startswith(("work/", "shards/"))}
        begun = len(ground.bad.log)
        result = cli(*ground.arguments(output), env=ground.environment())
        assert result.returncode == 0, result.stderr
        ground.check(output)
        made = [request.key for request, _ in ground.bad.log[begun:] if request.method == "PUT"]
        again = {name for name in there if any(key.endswith(f"{output}/{name}") for key in made)}
        assert not [name for name in again if is_chunk(name)], "a committed chunk was computed again"

    @pytest.mark.slow
    def test_never_recovers(self, ground: Ground, cli: Cli) -> None:
        output = "ground/never"
        answered = [80]

        def decide(request: Request) -> str | None:
            answered[0] -= 1
            return None if answered[0] > 0 else "slow_down"

        ground.bad.decide = decide
        begun = time.monotonic()
        result = cli(*ground.arguments(output), env=ground.environment(attempts=4))
        assert time.monotonic() - begun < 60
        assert result.returncode == 1
        assert "Traceback" not in result.stderr
        last = result.stderr.splitlines()[-1]
        assert last.startswith("scaledproc: ")
        assert "the same command continues" in last
        assert answered[0] < -2
        ground.bad.decide = lambda request: None
        result = cli(*ground.arguments(output), env=ground.environment())
        assert result.returncode == 0, result.stderr
        ground.check(output)

    @pytest.mark.slow
    def test_silence(self, ground: Ground, cli: Cli) -> None:
        """A store that takes connections and says nothing."""
        ground.bad.decide = lambda request: "pause"
        begun = time.monotonic()
        result = cli(*ground.arguments("ground/silence"), env=ground.environment(attempts=3))
        assert time.monotonic() - begun < 60
        assert result.returncode == 1
        assert "Traceback" not in result.stderr
        assert result.stderr.splitlines()[-1].startswith("scaledproc: s3://")

    @pytest.mark.slow
    def test_what_is_forbidden_costs_its_unit(self, ground: Ground) -> None:
        ground.bad.decide = lambda request: "forbidden" if request.key.endswith("/u1/3.txt") else None
        run(ground, "ground/forbidden")
        errors = {
            row["anchor"]: row
            for row in Run.open(ground.bucket.url("ground/forbidden"), ground.bucket.storage_options)
            .errors()
            .to_pylist()
        }
        assert "0/u1/3.txt" in errors
        assert "AccessDenied" in errors["0/u1/3.txt"]["message"]
        assert all(row["unit"] == "0/u1" for anchor, row in errors.items() if "7.txt" not in anchor)

    def test_who_is_not_known_any_more_ends_the_run(self, ground: Ground) -> None:
        ground.bad.decide = lambda request: "expired" if request.key.endswith("/u9/18.txt") else None
        with pytest.raises(ScaledprocError, match="ExpiredToken"):
            run(ground, "ground/expired")
        ground.bad.decide = lambda request: None
        run(ground, "ground/expired")
        ground.check("ground/expired")

    @pytest.mark.slow
    def test_fetch_to_it_and_from_it(self, ground: Ground, tmp_path: Path) -> None:
        options = through(ground.bad)
        ground.bad.decide = seeded(5, 0.2, SWIFT)
        copied = scaledproc.fetch(ground.dataset, tmp_path / "there", storage_options=options)
        assert (copied.files, copied.failed) == (TASKS, ())
        copied = scaledproc.fetch(tmp_path / "there", ground.bucket.url("ground/back"), storage_options=options)
        assert (copied.files, copied.failed) == (TASKS, ())
        assert ground.bucket.objects("ground/back") == ground.bucket.objects("ground/data")


def lags(prefix: str) -> Decision:
    """Every listing below a prefix is an old one."""
    return lambda request: "stale" if request.is_listing and prefix in str(request.query) else None


def is_chunk(name: str) -> bool:
    return re.fullmatch(r"work/\d{5}/\d{6}\.parquet", name) is not None


def kill_after(ground: Ground, output: str, place: int, decide: Decision) -> None:
    """Begin a run, and kill it with all its processes when so many requests were made."""
    process: list[subprocess.Popen[bytes]] = []
    left = [place]

    def hook(request: Request) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.killpg(process[0].pid, signal.SIGKILL)

    ground.bad.decide, ground.bad.hook = decide, hook
    command = [sys.executable, "-m", "scaledproc", *ground.arguments(output)]
    environment = clean_environment(ground.environment())
    process.append(
        subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
        )
    )
    _, told = process[0].communicate(timeout=120)
    ground.bad.hook = lambda request: None
    assert process[0].returncode == -signal.SIGKILL, told.decode()


@pytest.mark.soak
def test_soak(ground: Ground, capsys: pytest.CaptureFixture[str]) -> None:
    """Many seeds, each rate, all faults at once and each alone."""
    bad = ground.bad
    bad.requests.clear()
    bad.faults.clear()
    bad.longest = 0.0
    lost = doubled = runs = 0
    wanted = Counter(rows_of(ground.expected))
    plans: list[tuple[int, float, Collection[str]]]
    plans = [(seed, rate, FAULTS) for seed in range(SOAK_SEEDS) for rate in (0.05, 0.2)]
    plans += [(100, 0.2, (fault,)) for fault in FAULTS]
    for seed, rate, faults in plans:
        bad.decide = seeded(seed, rate, faults)
        output = f"ground/soak{runs}"
        run(ground, output)
        found = Counter(rows_of(ground.made(output)))
        lost += (wanted - found).total()
        doubled += (found - wanted).total()
        runs += 1
        ground.check(output)
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(bad.faults.items()))
    with capsys.disabled():
        print(  # noqa: T201 - what a soak is for
            f"\n{runs} runs, {bad.requests.total():,} requests, {bad.faults.total():,} faults injected ({kinds}), "
            f"rows lost {lost}, rows doubled {doubled}, longest hang {bad.longest:.1f} s"
        )
    assert set(bad.faults) == set(FAULTS)
    assert lost == doubled == 0


def rows_of(files: dict[str, bytes]) -> list[tuple[object, ...]]:
    table = pq.read_table(pa.BufferReader(files["features.parquet"]))
    return [tuple(row.values()) for row in table.to_pylist()]


def test_a_run_that_no_listing_shows_is_continued(ground: Ground) -> None:
    record = Run.open(ground.bucket.url("ground/reference"), ground.bucket.storage_options).record
    running = replace(record, state="running")
    for names in ([], ["work"], ["plan.parquet", "run.json"]):
        assert decide(running, record.plan_id, names, overwrite=False) == "continue"
        assert decide(record, record.plan_id, names, overwrite=False) == "finished"
