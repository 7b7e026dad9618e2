"""Fetching from S3 on a real server: beside its rivals, at a distance, and while the cores compute.

The server has the same cores as what is measured, and its part of them is the same for all. Files are written into
memory where there is room, because how a disk makes new files is not the subject (ext4 without a journal takes 0.6 ms
for each, if many were removed just before).
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from data import Part, write_dataset
from measure import CORES, HERE, Bystanders, cpu_of_all, cpu_seconds, spread, table, take_turns
from s3server import S3Server, s3_server

import scaledproc
from scaledproc.storage.s3 import download
from scaledproc.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scaledproc.storage.listing import FileInfo

pytestmark = pytest.mark.full

LATENCY = 0.03  # seconds
LONG = 0.3  # seconds: with these, fetching waits most of the time, and takes nothing from the cores
ROUNDS = 5
MOST_TIMES_LONGER, LEAST_PACE = 1.25, 0.8
ROOM = 4e9  # bytes of memory
MEMORY = Path("/dev/shm")
THREADS = 32  # of boto3


@dataclass(frozen=True)
class Objects:
    """Objects of one size.

    Parameters
    ----------
    name
        Their prefix.
    count, size
        How many of how many bytes.
    target
        How many times the pace of `s3fs.get` is promised.
    """

    name: str
    count: int
    size: int
    target: float


KINDS = [Objects("small", 2_000, 7_000, 5.0), Objects("large", 8, 64 * 2**20, 2.0)]
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as made:
        import s3fs

        fs = s3fs.S3FileSystem(**made.storage_options)
        fs.mkdir("bench")
        for kind in KINDS:
            content = (bytes(range(256)) * (kind.size // 256 + 1))[: kind.size]
            fs.pipe({f"bench/{kind.name}/{number:05d}": content for number in range(kind.count)})
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where files are fetched to."""
    has_room = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM
    with tempfile.TemporaryDirectory(dir=MEMORY if has_room else tmp_path) as made:
        yield Path(made)


class Fetcher:
    """The contestants: each fetches the same objects into a new folder, and gives the seconds that it took."""

    def __init__(self, server: S3Server, kind: Objects, folder: Path, endpoint: str | None = None) -> None:
        self._options = {**server.storage_options, "endpoint_url": endpoint or server.endpoint}
        self._folder = folder
        self._store = Store.at(f"s3://bench/{kind.name}", self._options)
        self._files = self._store.listing().files
        assert len(self._files) == kind.count
        self.cpu: list[float] = []

    def staging(self) -> float:
        return self._timed(lambda into: self._store.fetch(self._files, into))

    def s3fs(self) -> float:
        import s3fs

        fs = s3fs.S3FileSystem(**self._options)
        sources = [self._store.path(file.path) for file in self._files]
        return self._timed(lambda into: fs.get(sources, [str(into / file.path) for file in self._files]))

    def boto3(self) -> float:
        import boto3
        from botocore.config import Config

        client = boto3.client(
            "s3",
            "us-east-1",
            endpoint_url=self._options["endpoint_url"],
            aws_access_key_id=self._options["key"],
            aws_secret_access_key=self._options["secret"],
            config=Config(max_pool_connections=THREADS),
        )

        def get(file: FileInfo, into: Path) -> None:
            bucket, _, key = self._store.path(file.path).partition("/")
            with (into / file.path).open("wb") as target:
                shutil.copyfileobj(client.get_object(Bucket=bucket, Key=key)["Body"], target, 1 << 20)

        def get_all(into: Path) -> None:
            with ThreadPoolExecutor(THREADS) as pool:
                list(pool.map(lambda file: get(file, into), self._files))

        return self._timed(get_all)

    def _timed(self, fetch: Callable[[Path], object]) -> float:
        with tempfile.TemporaryDirectory(dir=self._folder) as into:
            cpu, started = cpu_seconds(), time.perf_counter()
            fetch(Path(into))
            seconds = time.perf_counter() - started
            self.cpu.append(cpu_seconds() - cpu)
            found = {path.name: path.stat().st_size for path in Path(into).iterdir()}
            assert found == {file.path: file.size for file in self._files}
        return seconds


@kinds
def test_rivals(server: S3Server, kind: Objects, folder: Path, show: Callable[..., None]) -> None:
    """`s3fs.get`, boto3 in threads and staging's way on the same objects."""
    fetchers = {name: Fetcher(server, kind, folder) for name in ("s3fs", "boto3", "staging")}
    with Bystanders() as others:
        runs = take_turns({name: getattr(fetcher, name) for name, fetcher in fetchers.items()}, ROUNDS)
    took = {name: statistics.median(seconds) for name, seconds in runs.items()}
    cpu = {name: statistics.median(fetcher.cpu) for name, fetcher in fetchers.items()}
    ratio = took["s3fs"] / took["staging"]
    rows = [
        [
            {"s3fs": "s3fs.get", "boto3": f"boto3, {THREADS} threads"}.get(name, name),
            spread(runs[name]),
            *_paces(kind, took[name]),
            f"{cpu[name] / kind.count * 1e3:.2f}",
            f"{took['s3fs'] / took[name]:.1f}",
        ]
        for name in runs
    ]
    title = f"Fetching {kind.count:,} objects of {kind.size:,} bytes"
    header = ["", "s", "objects", "bytes", "own CPU, ms/object", "times s3fs"]
    show(table(title, header, rows, [f"promised: {kind.target:g} times s3fs", others.note]))
    assert cpu["staging"] < cpu["s3fs"]
    if others.are_quiet:
        assert ratio >= kind.target


@kinds
def test_latency(server: S3Server, kind: Objects, folder: Path, show: Callable[..., None]) -> None:
    """With and without 30 ms for each request: both through the same proxy, so that its own cost is in both."""
    with ExitStack() as stack:
        near, far = (
            Fetcher(server, kind, folder, stack.enter_context(slow_proxy(server.endpoint, seconds)))
            for seconds in (0.0, LATENCY)
        )
        with Bystanders() as others:
            runs = take_turns({"near": near.staging, "far": far.staging}, ROUNDS)
    took = {name: statistics.median(seconds) for name, seconds in runs.items()}
    pace = took["near"] / took["far"]
    rows = [[f"{ms} ms", spread(runs[name]), *_paces(kind, took[name])] for name, ms in (("near", 0), ("far", 30))]
    note = f"the pace at a distance is {pace:.2f} of the near one (promised: {LEAST_PACE})"
    title = f"Fetching {kind.count:,} objects of {kind.size:,} bytes with a wait for each request"
    show(table(title, ["wait", "s", "objects", "bytes"], rows, [note, others.note]))
    if others.are_quiet:
        assert pace >= LEAST_PACE


COUNTS = (16, 32, 64, 128, 256)
LEAST_OF_BEST = 0.85  # of the best number of requests, for the one that is built in


def test_requests(server: S3Server, folder: Path, monkeypatch: pytest.MonkeyPatch, show: Callable[..., None]) -> None:
    """How many requests at once: near and at a distance, on small objects. What `download.REQUESTS` rests on."""
    small, *_ = KINDS
    with ExitStack() as stack:
        fetchers = {
            name: Fetcher(server, small, folder, stack.enter_context(slow_proxy(server.endpoint, seconds)))
            for name, seconds in (("0 ms", 0.0), ("30 ms", LATENCY))
        }

        def fetch(name: str, count: int) -> float:
            with monkeypatch.context() as patch:
                patch.setattr(download, "REQUESTS", count)
                patch.setattr(download, "_pool", None)
                return fetchers[name].staging()

        with Bystanders() as others:
            contestants = {f"{name} {count}": partial(fetch, name, count) for name in fetchers for count in COUNTS}
            found = take_turns(contestants, ROUNDS)
    runs = {(name, count): found[f"{name} {count}"] for name in fetchers for count in COUNTS}
    paces = {each: small.count / statistics.median(seconds) for each, seconds in runs.items()}
    rows = [[str(count), *(f"{paces[name, count]:,.0f}/s" for name in fetchers)] for count in COUNTS]
    built_in = download.REQUESTS
    title = f"Fetching {small.count:,} objects of {small.size:,} bytes with so many requests at once"
    notes = [f"built in: {built_in} (promised: {LEAST_OF_BEST} of the best)", others.note]
    show(table(title, ["requests", *fetchers], rows, notes))
    if others.are_quiet:
        for name in fetchers:
            assert paces[name, built_in] >= LEAST_OF_BEST * max(paces[name, count] for count in COUNTS)


EXTRACTORS = {
    "wfdb-summary": ("wfdb-summary", [Part(150, 1_400_000), Part(1_000, 7_000)]),
    "the pattern's function": (f"{HERE / 'pattern_extractor.py'}:pattern_extractor", [Part(1_000, 7_000)]),
}


@pytest.mark.parametrize("latency", [0.0, LATENCY, LONG], ids=["near", "far", "very far"])
@pytest.mark.parametrize("name", EXTRACTORS)
def test_overlap(
    server: S3Server, name: str, latency: float, folder: Path, tmp_path: Path, show: Callable[..., None]
) -> None:
    """A whole run from S3, beside a whole run of the same files in memory and beside listing and fetching alone.

    Server, proxy and run share the cores. So nothing can be faster than the CPU time of both parts, each measured by
    itself, divided by the cores; where fetching waits, as it does at a great distance, that is no limit.
    """
    extractor, parts = EXTRACTORS[name]
    local = folder / "data"
    dataset = write_dataset(local, name, *parts)
    prefix = "overlap-" + name.partition(" ")[0]
    import s3fs

    fs = s3fs.S3FileSystem(**server.storage_options)
    if not fs.exists(f"bench/{prefix}"):
        fs.put(str(local), f"bench/{prefix}", recursive=True)
    numbers = iter(range(1_000))
    cpu: dict[str, list[float]] = {"fetching alone": [], "computing alone": [], "both": []}

    with slow_proxy(server.endpoint, latency) as endpoint, Bystanders() as others:
        options = {**server.storage_options, "endpoint_url": endpoint}
        store = Store.at(f"s3://bench/{prefix}", options)

        def fetch() -> None:
            into = folder / str(next(numbers))
            files = store.listing().files
            store.fetch(files, into)
            assert sum(file.size for file in files) == dataset.size
            shutil.rmtree(into)

        def run(source: str | Path) -> None:
            done = scaledproc.run(
                source,
                tmp_path / str(next(numbers)),
                extractor=extractor,
                jobs=CORES,
                scratch=folder,
                storage_options={f"input.{key}": value for key, value in options.items()},
            )
            assert done.quarantined == 0

        def timed(name: str, action: Callable[[], None]) -> Callable[[], float]:
            def contestant() -> float:
                started, before = time.perf_counter(), cpu_of_all()
                action()
                seconds = time.perf_counter() - started
                cpu[name].append(cpu_of_all() - before)
                return seconds

            return contestant

        contestants = {
            "fetching alone": fetch,
            "computing alone": lambda: run(local),
            "both": lambda: run(f"s3://bench/{prefix}"),
        }
        runs = take_turns({each: timed(each, action) for each, action in contestants.items()}, 3)
    took = {each: statistics.median(seconds) for each, seconds in runs.items()}
    spent = {each: statistics.median(seconds) for each, seconds in cpu.items()}
    longer = max(took["fetching alone"], took["computing alone"])
    least = (spent["fetching alone"] + spent["computing alone"]) / (os.cpu_count() or 1)
    notes = [
        f"both at once take {took['both'] / longer:.2f} of the longer one (promised: {MOST_TIMES_LONGER})",
        f"and {took['both'] / max(longer, least):.2f} of what this machine can do at best (judged)",
        f"at best: the longer one, or the CPU time of the two alone on all cores, the server's too ({least:.2f} s)",
        others.note,
    ]
    rows = [[each, f"{took[each]:.2f}", spread(runs[each]), f"{spent[each]:.2f}"] for each in runs]
    title = f"{name} on {dataset} from S3, {latency * 1e3:.0f} ms for each request, {CORES} cores"
    show(table(title, ["", "s", "range", "CPU of all, s"], rows, notes))
    if others.are_quiet:
        assert took["both"] <= MOST_TIMES_LONGER * max(longer, least)
        assert latency != LONG or least < longer, "it is no case in which fetching waits"


def _paces(kind: Objects, seconds: float) -> list[str]:
    return [f"{kind.count / seconds:,.0f}/s", f"{kind.count * kind.size / seconds / 1e6:,.0f} MB/s"]


@contextmanager
def slow_proxy(endpoint: str, seconds: float) -> Iterator[str]:
    """The server at a distance."""
    host, _, port = endpoint.removeprefix("http://").partition(":")
    command = [sys.executable, str(HERE / "slow_proxy.py"), host, port, str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()
