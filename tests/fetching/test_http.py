"""Requests: what is tried again, how long is waited, and how a broken download goes on."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from fetching_support import NAME, fetch, of
from physionet_server import Fault, PhysioNet
from support import tree_bytes

import scaledproc
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.fetching import http

ONE = f"{NAME}/30/3000003/3000003_0001.dat"


# What goes wrong on the way


@pytest.mark.parametrize(
    "fault", [Fault(429, retry_after="0"), Fault(503), Fault(500), Fault(cut=100), Fault(garbled=True)]
)
def test_passing_faults(net: PhysioNet, dest: Path, demo: Path, fault: Fault) -> None:
    net.faults = {ONE: [fault], f"{NAME}/SHA256SUMS.txt": [fault._replace(garbled=False)], f"{NAME}/RECORDS": [fault]}
    if fault.garbled:
        del net.faults[f"{NAME}/RECORDS"]
    done = fetch(net, dest, groups="30", records=1)
    assert tree_bytes(dest) == of(demo, "30/3000003/")
    assert done.failed == ()
    assert net.asked()[ONE] == 2


def test_retry_after_is_honoured_by_all(net: PhysioNet, dest: Path) -> None:
    """While a server asks one request to wait, no other is sent."""
    net.faults[ONE] = [Fault(429, retry_after="1")]
    seen: list[tuple[float, str]] = []
    append = net.requests.append

    class Timed(list[Any]):
        def append(self, request: Any) -> None:
            seen.append((time.monotonic(), request.path))
            append(request)

    net.requests = Timed()
    fetch(net, dest, groups="30", records=1, parallel=2)
    busy = next(at for at, path in seen if path.endswith("3000003_0001.dat"))
    after = [at - busy for at, _ in seen if at > busy + 0.5]  # what was on its way has arrived
    assert after
    assert min(after) >= 0.95


def test_too_long_to_wait(net: PhysioNet, dest: Path) -> None:
    net.always[ONE] = Fault(503, retry_after="3600")
    done = fetch(net, dest, groups="30", records=1)
    assert [failure.path for failure in done.failed] == ["30/3000003/3000003_0001.dat"]
    assert "asks to wait for 3,600 s" in done.failed[0].reason


@pytest.mark.parametrize("sums", [True, False])
def test_broken_download_goes_on(net: PhysioNet, dest: Path, sums: bool) -> None:
    content = os.urandom(400_000)
    net.publish("big/1", {"RECORDS": b"a/\n", "a/big.bin": content}, sums=sums)
    net.faults["big/1/a/big.bin"] = [Fault(cut=150_000), Fault(cut=100_000)]
    done = fetch(net, dest, "big/1", include=["*.bin"])
    assert (dest / "a/big.bin").read_bytes() == content
    assert done.size == len(content)
    ranges = [request.headers.get("Range") for request in net.requests if request.path.endswith("big.bin")]
    ranges = [wanted for wanted in ranges if wanted]
    assert ranges == ["bytes=150000-", "bytes=250000-"]
    assert all("If-Range" in request.headers for request in net.requests if "Range" in request.headers)


@pytest.mark.parametrize("lacking", ["ranges", "validators"])
def test_broken_download_begins_again(net: PhysioNet, dest: Path, lacking: str) -> None:
    """Where a server has no ranges, or cannot say that it is still the same file."""
    content = os.urandom(400_000)
    net.publish("big/1", {"a/big.bin": content}, sums=False)
    setattr(net, lacking, False)
    net.faults["big/1/a/big.bin"] = [Fault(cut=150_000), Fault(part=1000)]
    done = fetch(net, dest, "big/1")
    assert (dest / "a/big.bin").read_bytes() == content
    assert (done.size, done.failed) == (len(content), ())


def test_file_changes_under_way(net: PhysioNet, dest: Path) -> None:
    """Half an old and half a new file is never put together."""
    old, new = os.urandom(400_000), os.urandom(400_000)
    net.publish("big/1", {"a/big.bin": old}, sums=False)
    net.faults["big/1/a/big.bin"] = [Fault(cut=150_000)]
    original = http.Client.pause

    def change(self: http.Client, seconds: float, *, everyone: bool) -> None:
        net.files["big/1/a/big.bin"] = new
        original(self, seconds, everyone=everyone)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http.Client, "pause", change)  # after the connection broke
        fetch(net, dest, "big/1")
    assert (dest / "a/big.bin").read_bytes() == new


@pytest.mark.slow
def test_server_that_is_gone(net: PhysioNet, dest: Path) -> None:
    for path in net.files:
        if path.endswith((".dat", ".hea")):
            net.always[path] = Fault(503)
    net.indexes = False
    with pytest.raises(ScaledprocError, match=r"does not answer \(the server answers 503 .*try again later"):
        fetch(net, dest)
    net.indexes = True
    with pytest.raises(ScaledprocError, match=r"does not answer any more .*503.*the same command continues"):
        fetch(net, dest)
    with pytest.raises(ScaledprocError, match=r"cannot be read: no answer: .*refused"):
        scaledproc.fetch(NAME, dest, base_url="http://127.0.0.1:9/files")


# Credentials


@pytest.mark.parametrize("page", [True, False])
def test_credentials(net: PhysioNet, dest: Path, demo: Path, monkeypatch: pytest.MonkeyPatch, page: bool) -> None:
    net.login, net.login_page = ("ada", "s3cret"), page
    needed = r"needs credentials .*data use agreement at https://physionet.org/content/mimic3wdb/1.0/.*PHYSIONET_PASSW"
    with pytest.raises(ScaledprocError, match=needed):
        fetch(net, dest)
    monkeypatch.setenv("PHYSIONET_USERNAME", "ada")
    with pytest.raises(UsageError, match="no password for the username ada: set PHYSIONET_PASSWORD"):
        fetch(net, dest)
    monkeypatch.setenv("PHYSIONET_PASSWORD", "wrong")
    with pytest.raises(ScaledprocError, match="those given do not open it"):
        fetch(net, dest)
    monkeypatch.setenv("PHYSIONET_PASSWORD", "s3cret")
    assert fetch(net, dest, groups="32").failed == ()
    assert tree_bytes(dest) == of(demo, "32/")


def test_forbidden(net: PhysioNet, dest: Path) -> None:
    net.always[ONE] = Fault(403)
    done = fetch(net, dest, groups="30", records=1)
    assert [failure.reason for failure in done.failed] == ["the server forbids it (403)"]
    net.always[f"{NAME}/SHA256SUMS.txt"] = Fault(403)
    with pytest.raises(ScaledprocError, match="needs credentials"):
        fetch(net, dest)


def test_no_cache(net: PhysioNet, dest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    fetch(net, dest)
    assert fetch(net, dest).files == 0


# Manners


def test_manners(net: PhysioNet, dest: Path) -> None:
    net.slow = 0.002
    fetch(net, dest, parallel=3)
    assert 1 < net.most_at_once <= 3
    assert {request.headers["User-Agent"].split("/")[0] for request in net.requests} == {"scaledproc"}
