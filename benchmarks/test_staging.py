"""Fetching from S3: what staging does beside s3fs alone, on a real server, without and with latency."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from s3server import S3Server, s3_server

from scaledproc.listing import FileInfo
from scaledproc.storage import Store

SMALL, SMALL_BYTES = 2_000, 7_000
LARGE, LARGE_BYTES = 8, 64 * 2**20
ROUNDS = 3
LATENCY = 0.03  # seconds


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as made:
        import s3fs

        fs = s3fs.S3FileSystem(**made.storage_options)
        fs.mkdir("bench")
        for kind, count, size in (("small", SMALL, SMALL_BYTES), ("large", LARGE, LARGE_BYTES)):
            content = bytes(range(256)) * (size // 256 + 1)
            fs.pipe({f"bench/{kind}/{number:05d}": content[:size] for number in range(count)})
        yield made


def ours(server: S3Server, kind: str, into: Path, endpoint: str | None = None) -> float:
    """Seconds that staging's way takes."""
    options = {**server.storage_options, "endpoint_url": endpoint or server.endpoint}
    store = Store.at(f"s3://bench/{kind}", options)
    files = store.listing().files
    started = time.perf_counter()
    store.fetch(files, into)
    seconds = time.perf_counter() - started
    _check(files, into)
    return seconds


def s3fs_alone(server: S3Server, kind: str, into: Path) -> float:
    """Seconds that `s3fs.get` takes."""
    store = Store.at(f"s3://bench/{kind}", server.storage_options)
    files = store.listing().files
    into.mkdir()
    started = time.perf_counter()
    store.fs.get([store.path(file.path) for file in files], [str(into / file.path) for file in files])
    seconds = time.perf_counter() - started
    _check(files, into)
    return seconds


def _check(files: list[FileInfo], into: Path) -> None:
    assert files
    assert {path.name: path.stat().st_size for path in into.iterdir()} == {file.path: file.size for file in files}


@pytest.mark.parametrize("kind", ["small", "large"])
def test_against_s3fs(server: S3Server, kind: str, tmp_path: Path, show: Callable[[str], None]) -> None:
    """Both in turn on the same objects, medians."""
    runs: dict[str, list[float]] = {"s3fs.get": [], "staging": []}
    for number in range(ROUNDS):
        runs["s3fs.get"].append(s3fs_alone(server, kind, tmp_path / f"a{number}"))
        runs["staging"].append(ours(server, kind, tmp_path / f"b{number}"))
    took = {name: statistics.median(seconds) for name, seconds in runs.items()}
    count, size = (SMALL, SMALL * SMALL_BYTES) if kind == "small" else (LARGE, LARGE * LARGE_BYTES)
    lines = [
        f"fetching {count:,} objects of {size // count:,} bytes, {took['s3fs.get'] / took['staging']:.1f} times s3fs"
    ]
    lines += [f"  {name:<9}{count / s:>8,.0f} objects/s {size / s / 1e6:>7,.0f} MB/s" for name, s in took.items()]
    show("\n".join(lines))
    assert took["staging"] < took["s3fs.get"]


@pytest.mark.parametrize("kind", ["small", "large"])
def test_latency(server: S3Server, kind: str, tmp_path: Path, show: Callable[[str], None]) -> None:
    """The same at a distance."""
    near = statistics.median(ours(server, kind, tmp_path / f"near{number}") for number in range(ROUNDS))
    with slow_proxy(server.endpoint) as endpoint:
        far = statistics.median(ours(server, kind, tmp_path / f"far{number}", endpoint) for number in range(ROUNDS))
    show(f"fetching {kind} objects: {near:.2f} s, with {LATENCY * 1e3:.0f} ms for each request {far:.2f} s")


@contextmanager
def slow_proxy(endpoint: str) -> Iterator[str]:
    """The server at a distance."""
    host, _, port = endpoint.removeprefix("http://").partition(":")
    command = [sys.executable, str(Path(__file__).with_name("slow_proxy.py")), host, port, str(LATENCY)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.terminate()
