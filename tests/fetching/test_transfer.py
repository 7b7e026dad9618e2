"""`scaledproc fetch`: from a server laid out as PhysioNet is, and from any filesystem, to a folder and to S3."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from physionet_server import Fault, PhysioNet, physionet_server
from support import COMMAND, Bucket, Cli, TreeWriter, clean_environment, tree_bytes

import scaledproc
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.events import Event, FetchStarted, Note
from scaledproc.fetching import http, transfer
from scaledproc.fetching.selection.subset import Choice, Record, pick, unit_folders

NAME = "mimic3wdb/1.0"
ONE = f"{NAME}/30/3000003/3000003_0001.dat"


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, demo: Path) -> Iterator[PhysioNet]:
    """A server with the demo dataset as `mimic3wdb/1.0`, waited for only briefly."""
    monkeypatch.setattr(http, "BACKOFF", 0.01)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("PHYSIONET_USERNAME", "PHYSIONET_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    with physionet_server() as server:
        server.publish(NAME, tree_bytes(demo))
        yield server


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    return tmp_path / "dest"


def fetch(net: PhysioNet, dest: Path | str, source: str = NAME, **options: Any) -> scaledproc.Fetched:
    return scaledproc.fetch(source, dest, base_url=net.base_url, **options)


def of(demo: Path, *folders: str) -> dict[str, bytes]:
    """The demo's files below some folders."""
    return {path: content for path, content in tree_bytes(demo).items() if path.startswith(folders)}


# What is chosen


def test_whole_database(net: PhysioNet, dest: Path, demo: Path) -> None:
    done = fetch(net, dest)
    expected = {**tree_bytes(demo), "SHA256SUMS.txt": net.files[f"{NAME}/SHA256SUMS.txt"]}
    assert tree_bytes(dest) == expected
    assert (done.files, done.size, done.failed) == (len(expected), sum(map(len, expected.values())), ())


@pytest.mark.slow
@pytest.mark.parametrize("sums", [True, False])
@pytest.mark.parametrize("indexes", [True, False])
@pytest.mark.parametrize(
    ("options", "folders"),
    [
        ({"groups": "30-31", "records": 1}, ("30/3000003/", "31/3100011/")),
        ({"records": 1}, ("30/3000003/", "31/3100011/", "32/3200058/")),
        ({"groups": "31,32", "limit": 3}, ("31/3100011/", "31/3100112/", "32/3200058/")),
        ({"groups": "32", "records": 9}, ("32/3200058/", "32/3200207/")),
    ],
)
def test_records(
    net: PhysioNet, dest: Path, demo: Path, options: dict[str, Any], folders: tuple[str, ...], sums: bool, indexes: bool
) -> None:
    """The same files, whether the server tells of them by checksums, by index pages or by lists and headers alone."""
    net.indexes = indexes
    if not sums:
        del net.files[f"{NAME}/SHA256SUMS.txt"]
        for folder in {path.rpartition("/")[0] for path in of(demo, "30/3", "31/3", "32/3")}:
            net.files[f"{NAME}/{folder}/RECORDS"] = f"{folder[3:]}\n{folder[3:]}n\n".encode()
    done = fetch(net, dest, **options)
    fetched = {path: content for path, content in tree_bytes(dest).items() if sums or not path.endswith("RECORDS")}
    assert fetched == of(demo, *folders)
    assert not done.failed


def test_group_is_all_below_it(net: PhysioNet, dest: Path, demo: Path) -> None:
    fetch(net, dest, groups="30-30")
    assert tree_bytes(dest) == of(demo, "30/")
    assert "30/RECORDS" in tree_bytes(dest)


def test_globs(net: PhysioNet, dest: Path, demo: Path) -> None:
    fetch(net, dest, groups="31", include=["*.hea"], exclude=["*_layout.hea"])
    expected = {path for path in of(demo, "31/") if path.endswith(".hea") and not path.endswith("_layout.hea")}
    assert set(tree_bytes(dest)) == expected


@pytest.mark.parametrize("sums", [True, False])
@pytest.mark.parametrize("indexes", [True, False])
def test_records_without_folders(net: PhysioNet, dest: Path, sums: bool, indexes: bool) -> None:
    """A flat database: the files of a record are those of its name and those that its headers name."""
    files = {
        "RECORDS": b"100\n1000\nm\n",
        "ANNOTATORS": b"atr\treference beats\nqrs\tothers\n",
        "100.hea": b"100 2 360 10\n100.dat 212\nother_b.dat 16\n",
        "100.dat": b"d" * 30,
        "other_b.dat": b"e" * 20,
        "100.atr": b"beats",
        "1000.hea": b"1000 1 360 10\n1000.dat 212\n",
        "1000.dat": b"not of 100",
        "m.hea": b"m/2 1 360 20\nm_1 10\n~ 10\n",
        "m_1.hea": b"m_1 1 360 10\nm_1.dat 16\n",
        "m_1.dat": b"s" * 20,
    }
    net.publish("flat/1.0.0", files, sums=sums)
    net.indexes = indexes
    done = fetch(net, dest, "flat/1.0.0", records=1)
    assert set(tree_bytes(dest)) == {"100.hea", "100.dat", "other_b.dat", "100.atr"}
    assert not done.failed
    fetch(net, dest, "flat/1.0.0", limit=3)
    assert set(tree_bytes(dest)) == set(files) - {"RECORDS", "ANNOTATORS"}


def test_lists_of_lists(net: PhysioNet, dest: Path) -> None:
    """A line of RECORDS can name a folder of folders; `records` counts the innermost."""
    files = {"RECORDS": b"waves/\n", "waves/RECORDS": b"p1/\np2/\np3/\n"}
    for patient in ("p1", "p2", "p3"):
        files |= {f"waves/{patient}/RECORDS": b"r\n", f"waves/{patient}/r/r.hea": b"r 0 1 1\n"}
    net.publish("nested/0.1", files)
    fetch(net, dest, "nested/0.1", records=2)
    assert {path for path in tree_bytes(dest) if path.endswith(".hea")} == {"waves/p1/r/r.hea", "waves/p2/r/r.hea"}
    assert not net.asked()["nested/0.1/waves/p3/RECORDS"]  # no more than what is wanted


@pytest.mark.parametrize("indexes", [True, False])
def test_real_records_by_their_headers(net: PhysioNet, dest: Path, shared_data: Path, indexes: bool) -> None:
    """Masters, layouts, gaps and numerics of real records, from lists as PhysioNet has them."""
    files = tree_bytes(shared_data / "mimic3wdb/1.0")
    units = sorted({path.rpartition("/")[0] for path in files})
    lists = {"RECORDS": "".join(f"{unit}/\n" for unit in units).encode()}
    for unit in units:
        name = unit.rpartition("/")[2]
        records = [record for record in (name, f"{name}n") if f"{unit}/{record}.hea" in files]
        lists[f"{unit}/RECORDS"] = "".join(f"{record}\n" for record in records).encode()
    net.publish("real/1.0", {**files, **lists}, sums=False)
    net.indexes = indexes
    done = fetch(net, dest, "real/1.0", groups="30-39")
    assert tree_bytes(dest) == {**files, **{path: lists[path] for path in lists if "/" in path}}
    assert not done.failed


def test_record_without_checksums(net: PhysioNet, dest: Path, demo: Path) -> None:
    """What RECORDS names and SHA256SUMS.txt does not is fetched all the same, and told of."""
    sums = net.files[f"{NAME}/SHA256SUMS.txt"].splitlines(keepends=True)
    net.files[f"{NAME}/SHA256SUMS.txt"] = b"".join(line for line in sums if b" 30/3000003/" not in line)
    done = fetch(net, dest, groups="30", records=2)
    assert tree_bytes(dest) == of(demo, "30/3000003/", "30/3000105/")
    assert done.notes == ("SHA256SUMS.txt has no file of 1 record in RECORDS (30/3000003/): not checked",)


@pytest.mark.parametrize("options", [{}, {"groups": "30"}, {"groups": "30,39"}])
def test_records_and_folders_that_the_sums_lack(
    net: PhysioNet, dest: Path, demo: Path, options: dict[str, Any]
) -> None:
    """A whole database or group has what RECORDS and the index pages show, also where no checksum is listed."""
    sums = net.files[f"{NAME}/SHA256SUMS.txt"].splitlines(keepends=True)
    lacking = (b" 30/3000003/", b" RECORDS")
    net.files[f"{NAME}/SHA256SUMS.txt"] = b"".join(s for s in sums if not any(name in s for name in lacking))
    net.files[f"{NAME}/RECORDS"] += b"39/3900001/\n"
    added = {"39/3900001/x.hea": b"x 0 1 1\n", "30/new/y.hea": b"y 0 1 1\n", "30/3000105/z.txt": b"beside"}
    net.files |= {f"{NAME}/{path}": content for path, content in added.items()}
    done = fetch(net, dest, **options)
    groups = tuple(f"{group}/" for group in options.get("groups", "30,31,32,39").split(","))
    expected = {path: content for path, content in {**tree_bytes(demo), **added}.items() if path.startswith(groups)}
    fetched = tree_bytes(dest)
    assert {path: fetched[path] for path in expected} == expected
    assert not done.failed
    told = " ".join(done.notes)
    assert "1 record in RECORDS (30/3000003/)" in told or "2 records in RECORDS (30/3000003/)" in told
    assert "1 folder on the index pages (30/new/): not checked" in told
    assert f"has no line for {'1 file' if options else '2 files'} on the index pages" in told  # RECORDS is the other
    again = fetch(net, dest, **options)
    assert (again.files, again.failed) == (0, ())


@pytest.mark.parametrize("page", [b"<html><body>Log in</body></html>", b"\x1f\x8b\x08\0\0\0", b"", b"what\n"])
def test_sums_that_are_none(net: PhysioNet, dest: Path, demo: Path, page: bytes) -> None:
    """A page with status 200, or a packed file, is no list of checksums: the other lists are read."""
    net.files[f"{NAME}/SHA256SUMS.txt"] = page
    done = fetch(net, dest, groups="30")
    assert {path for path in of(demo, "30/") if not path.endswith("RECORDS")} <= set(tree_bytes(dest))
    assert any("is no list of checksums: the files cannot be checked against it" in note for note in done.notes)


def test_pages_for_everything(net: PhysioNet, dest: Path) -> None:
    """A portal that answers each request with a page of its own gives nothing that is taken for data."""
    page = b"<html><body>Please log in to this network</body></html>"
    net.files = dict.fromkeys([f"wifi/1/{name}" for name in ("SHA256SUMS.txt", "RECORDS", "ANNOTATORS")], page)
    net.indexes = False
    with pytest.raises(ScaledprocError, match="there is no database at"):
        fetch(net, dest, "wifi/1")
    assert not dest.exists()


@pytest.mark.slow
@pytest.mark.parametrize("sums", [True, False])
@pytest.mark.parametrize("indexes", [True, False])
def test_records_without_slashes(net: PhysioNet, dest: Path, demo: Path, sums: bool, indexes: bool) -> None:
    """Folders are known for such, however RECORDS is written."""
    lines = net.files[f"{NAME}/RECORDS"].decode().splitlines()
    net.files[f"{NAME}/RECORDS"] = "\ufeff".encode() + "".join(f"./{line.rstrip('/')}\r\n" for line in lines).encode()
    net.indexes = indexes
    for folder in {path.rpartition("/")[0] for path in of(demo, "30/3", "31/3", "32/3")}:
        net.files[f"{NAME}/{folder}/RECORDS"] = f"{folder[3:]}\n{folder[3:]}n\n".encode()
    if not sums:
        del net.files[f"{NAME}/SHA256SUMS.txt"]
    done = fetch(net, dest, records=1)
    fetched = {path: content for path, content in tree_bytes(dest).items() if not path.endswith("RECORDS")}
    assert fetched == of(demo, "30/3000003/", "31/3100011/", "32/3200058/")
    assert not done.failed


@pytest.mark.parametrize("sums", [True, False])
@pytest.mark.parametrize("indexes", [True, False])
def test_only_what_a_list_names(
    net: PhysioNet, dest: Path, demo: Path, tmp_path: Path, sums: bool, indexes: bool
) -> None:
    """Records by name or path, folders; what is not there is named."""
    net.indexes = indexes
    if not sums:
        del net.files[f"{NAME}/SHA256SUMS.txt"]
        for folder in {path.rpartition("/")[0] for path in of(demo, "30/3", "31/3", "32/3")}:
            net.files[f"{NAME}/{folder}/RECORDS"] = f"{folder[3:]}\n{folder[3:]}n\n".encode()
    names = tmp_path / "cohort.txt"
    names.write_text("# mine\n3000003\n31/3100112/\n\nnobody\n39/x\n")
    done = fetch(net, dest, only=names)
    fetched = {path: content for path, content in tree_bytes(dest).items() if sums or not path.endswith("RECORDS")}
    assert fetched == of(demo, "30/3000003/", "31/3100112/")
    assert f"2 of 4 names in {names} are not in {net.base_url}/{NAME}: nobody, 39/x" in done.notes
    assert fetch(net, dest, only=names).files == 0
    names.write_text("nobody\n")
    with pytest.raises(ScaledprocError, match="no file that was asked for"):
        fetch(net, dest, only=names)


@pytest.mark.parametrize("sums", [True, False])
@pytest.mark.parametrize("indexes", [True, False])
def test_only_records_with_segments_of_other_names(
    net: PhysioNet, dest: Path, tmp_path: Path, sums: bool, indexes: bool
) -> None:
    """As in the matched subset of MIMIC-III: the master is called after the patient, its segments are not."""
    folder = "p00/p000020"
    files = {
        "RECORDS": b"p00/p000020/\np00/p000030/\n",
        f"{folder}/RECORDS": b"p000020-2183-04-28-17-47\np000020-2183-04-28-17-47n\np000020-2184-01-01-00-00\n",
        f"{folder}/p000020-2183-04-28-17-47.hea": b"p000020-2183-04-28-17-47/2 1 125 20\n3544749_0001 10\nodd 10\n",
        f"{folder}/p000020-2183-04-28-17-47n.hea": b"p000020-2183-04-28-17-47n 1 1 5\n3544749n.dat 16\n",
        f"{folder}/3544749n.dat": b"n" * 10,
        f"{folder}/3544749_0001.hea": b"3544749_0001 1 125 10\n3544749_0001.dat 80\n",
        f"{folder}/3544749_0001.dat": b"a" * 10,
        f"{folder}/odd.hea": b"odd 1 125 10\nother.dat 80\n",
        f"{folder}/other.dat": b"b" * 10,
        f"{folder}/p000020-2184-01-01-00-00.hea": b"p000020-2184-01-01-00-00/1 1 125 10\n3544750_0001 10\n",
        f"{folder}/3544750_0001.hea": b"3544750_0001 1 125 10\n3544750_0001.dat 80\n",
        f"{folder}/3544750_0001.dat": b"c" * 10,
        "p00/p000030/RECORDS": b"p000030-2100-01-01-00-00\n",
        "p00/p000030/p000030-2100-01-01-00-00.hea": b"p000030-2100-01-01-00-00/1 1 125 10\n~ 10\n",
    }
    net.publish("matched/1.0", files, sums=sums)
    net.indexes = indexes
    cohort = tmp_path / "cohort.csv"
    cohort.write_text("subject_id,record\n20,p000020-2183-04-28-17-47\n30,\n")
    done = fetch(net, dest, "matched/1.0", only=f"{cohort}:record")
    mine = ("p000020-2183-04-28-17-47.hea", "3544749_0001.hea", "3544749_0001.dat", "odd.hea", "other.dat")
    assert set(tree_bytes(dest)) == {f"{folder}/{name}" for name in mine}
    assert not done.failed
    planned = scaledproc.plan(dest, only=f"{cohort}:record")
    assert planned.n_tasks == 3
    subjects = dest.with_name("subjects")
    done = fetch(net, subjects, "matched/1.0", only=f"{cohort}:subject_id")
    assert set(tree_bytes(subjects)) == set(files) - {"RECORDS"}
    copied = scaledproc.fetch(subjects, dest.with_name("copy"), only=f"{cohort}:record")
    assert copied.files == len(mine)


@pytest.mark.parametrize("sums", [True, False])
@pytest.mark.parametrize("indexes", [True, False])
@pytest.mark.parametrize("options", [{}, {"limit": 1}, {"only": True}])
def test_numerics_of_mimic_iv(
    net: PhysioNet, dest: Path, tmp_path: Path, sums: bool, indexes: bool, options: dict[str, Any]
) -> None:
    """They are called after their record, and no header names them."""
    folder = "waves/p100/p10014354/81739927"
    files = {
        "RECORDS": f"{folder}/81739927\n".encode(),
        f"{folder}/81739927.hea": b"81739927/1 1 62.4725/999.56 10\n81739927_0000 10\n",
        f"{folder}/81739927_0000.hea": b"81739927_0000 1 62.4725/999.56 10\n81739927_0000e.dat 516\n",
        f"{folder}/81739927_0000e.dat": b"e",
        f"{folder}/81739927n.csv.gz": b"n",
    }
    net.publish("iv/0.1", files, sums=sums)
    net.indexes = indexes
    if "only" in options:
        (tmp_path / "names.txt").write_text(f"{folder}/81739927\n")
        options = {"only": tmp_path / "names.txt"}
    done = fetch(net, dest, "iv/0.1", **options)
    assert set(files) - {"RECORDS"} <= set(tree_bytes(dest))
    assert not done.failed


@pytest.mark.parametrize("sums", [True, False])
@pytest.mark.parametrize("indexes", [True, False])
def test_records_that_are_nowhere(net: PhysioNet, dest: Path, sums: bool, indexes: bool) -> None:
    files = {"RECORDS": b"a/r1\na/r2\n", "a/r1.hea": b"r1 1 1 1\nr1.dat 16\n", "a/r1.dat": b"12"}
    net.publish("lacks/1", files, sums=sums)
    net.indexes = indexes
    done = fetch(net, dest, "lacks/1")
    assert [failure.path for failure in done.failed] == ["a/r2.hea"]


@pytest.mark.parametrize(("indexes", "options"), [(True, {}), (True, {"limit": 1}), (False, {"limit": 1})])
def test_a_file_that_the_sums_lack(net: PhysioNet, dest: Path, indexes: bool, options: dict[str, Any]) -> None:
    """Also in a folder of few files."""
    files = {"RECORDS": b"a/r1\n", "a/r1.hea": b"r1 1 1 1\nr1.dat 16\n"}
    net.publish("partly/1", files)
    net.files["partly/1/a/r1.dat"] = b"12"
    net.indexes = indexes
    done = fetch(net, dest, "partly/1", **options)
    assert "a/r1.dat" in tree_bytes(dest)
    assert any("has no line for 1 file" in note for note in done.notes)


def test_pasted_url(net: PhysioNet, dest: Path, demo: Path) -> None:
    fetch(net, dest, "https://physionet.org/content/mimic3wdb/1.0/", groups="32", records=1)
    assert tree_bytes(dest) == of(demo, "32/3200058/")


def test_newest_version(net: PhysioNet, dest: Path) -> None:
    for version in ("1.9", "1.10", "0.1"):
        net.publish(f"several/{version}", {"version.txt": version.encode()})
    fetch(net, dest, "several")
    assert (dest / "version.txt").read_bytes() == b"1.10"
    done = scaledproc.fetch("physionet:several", dest, base_url=net.base_url.replace("/files", "//files"))
    assert done.source.endswith("several/1.10")  # from the index page of a mirror that has no API


def test_hostile_lists(net: PhysioNet, dest: Path, tmp_path: Path) -> None:
    """No name from a server leads out of DEST or reaches the terminal."""
    net.publish("bad/1", {"RECORDS": b"../../x/\nok/\n", "ok/a.txt": b"fine", "../../evil.txt": b"!", "\x1b[2J": b"!"})
    net.files["bad/1/SHA256SUMS.txt"] += b"what is this\n" + b"0" * 64 + b"  /etc/passwd\n"
    events: list[Event] = []
    done = fetch(net, dest, "bad/1", on_event=events.append)
    assert set(tree_bytes(tmp_path / "dest")) == {"RECORDS", "ok/a.txt", "SHA256SUMS.txt"}
    assert not (tmp_path / "evil.txt").exists()
    assert any(isinstance(event, Note) and "4 lines of SHA256SUMS.txt" in event.text for event in events)
    assert not done.failed


def test_size_before_the_start(net: PhysioNet, dest: Path, demo: Path) -> None:
    events: list[Event] = []
    expected = sum(map(len, of(demo, "30/3000003/").values()))
    fetch(net, dest, groups="30", records=1, on_event=events.append)
    started = next(event for event in events if isinstance(event, FetchStarted))
    assert (started.size, started.unsized, started.already) == (expected, 0, 0)
    assert started.free is not None
    assert set(net.asked("HEAD")) == {f"{NAME}/SHA256SUMS.txt"}  # one index page told all sizes
    net.requests.clear()
    net.indexes = False
    fetch(net, dest.with_name("other"), groups="30", records=1, on_event=events.append)
    assert [event.size for event in events if isinstance(event, FetchStarted)] == [expected, expected]
    assert len(net.asked("HEAD")) == len(of(demo, "30/3000003/")) + 1


@pytest.mark.parametrize("lacking", ["heads", "lengths"])
def test_unknown_sizes(net: PhysioNet, dest: Path, demo: Path, lacking: str) -> None:
    net.indexes = False
    setattr(net, lacking, False)
    events: list[Event] = []
    done = fetch(net, dest, groups="30", records=1, on_event=events.append)
    assert tree_bytes(dest) == of(demo, "30/3000003/")
    assert [event.unsized for event in events if isinstance(event, FetchStarted)] == [done.files]


def test_no_room(net: PhysioNet, dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_free", lambda _: 1000)
    with pytest.raises(ScaledprocError, match=r"are to be fetched, and .* has 1.0 kB free: make room"):
        fetch(net, dest)
    assert not dest.exists()
    assert not net.asked()[ONE]


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


def test_wrong_checksum(net: PhysioNet, dest: Path, demo: Path) -> None:
    net.always[ONE] = Fault(garbled=True)
    done = fetch(net, dest, groups="30", records=1)
    rest = of(demo, "30/3000003/")
    del rest["30/3000003/3000003_0001.dat"]
    assert tree_bytes(dest) == rest
    assert [(failure.path, failure.reason) for failure in done.failed] == [
        ("30/3000003/3000003_0001.dat", "its checksum is not that of SHA256SUMS.txt, twice")
    ]
    assert net.asked()[ONE] == 2
    del net.always[ONE]
    done = fetch(net, dest, groups="30", records=1)
    assert (done.files, done.already, done.failed) == (1, len(rest), ())
    assert tree_bytes(dest) == of(demo, "30/3000003/")


@pytest.mark.parametrize("indexes", [True, False])
def test_missing_file(net: PhysioNet, dest: Path, demo: Path, indexes: bool) -> None:
    del net.files[ONE]
    net.indexes = indexes
    done = fetch(net, dest, groups="30", records=1)
    assert done.failed == (transfer.Failed("30/3000003/3000003_0001.dat", "it is not there (404)"),)
    assert done.files == len(of(demo, "30/3000003/")) - 1


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


def test_no_such_database(net: PhysioNet, dest: Path) -> None:
    with pytest.raises(ScaledprocError, match=r"there is no database at .*/nothing/1.0 .*and no folder nothing/1.0"):
        fetch(net, dest, "nothing/1.0")
    with pytest.raises(ScaledprocError, match="'nothing' is no folder here, and no version"):
        fetch(net, dest, "nothing")
    assert not dest.exists()


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


def test_password_needs_https(dest: Path) -> None:
    with pytest.raises(UsageError, match="a password is not sent over http://"):
        scaledproc.fetch(NAME, dest, base_url="http://example.org/files", username="ada", password="s3cret")


# Again


def test_again_fetches_nothing(net: PhysioNet, dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fetch(net, dest)
    net.requests.clear()
    hashed: list[Path] = []
    monkeypatch.setattr(transfer, "digest_of", lambda path: hashed.append(path))
    again = fetch(net, dest)
    assert (again.files, again.already, again.already_size) == (0, first.files, first.size)
    assert hashed == []  # nor does it read what it once found right
    lists = {f"{NAME}/{name}" for name in ("RECORDS", "", "30/", "31/", "32/")}
    assert set(net.asked()) == lists  # nor does it read the checksums, which can be many, again
    net.files[f"{NAME}/SHA256SUMS.txt"] += b"\n"
    fetch(net, dest)
    assert net.asked()[f"{NAME}/SHA256SUMS.txt"] == 2  # read, as it changed, and fetched


def test_what_is_there_is_checked_once(net: PhysioNet, dest: Path, demo: Path) -> None:
    """Files that somebody else put there: right ones stay, wrong ones are fetched."""
    expected = of(demo, "30/3000003/")
    for path, content in expected.items():
        (dest / path).parent.mkdir(parents=True, exist_ok=True)
        (dest / path).write_bytes(content)
    right = dest / "30/3000003/3000003.hea"
    stamp = right.stat().st_mtime_ns
    (dest / "30/3000003/3000003_0001.dat").write_bytes(b"x" * len(expected["30/3000003/3000003_0001.dat"]))
    (dest / "30/3000003/3000003_0002.dat").write_bytes(b"short")
    done = fetch(net, dest, groups="30", records=1)
    assert tree_bytes(dest) == expected
    assert (done.files, done.already) == (2, len(expected) - 2)
    assert right.stat().st_mtime_ns == stamp
    (dest / "30/3000003/3000003_0001.dat").write_bytes(b"y" * len(expected["30/3000003/3000003_0001.dat"]))
    assert fetch(net, dest, groups="30", records=1).files == 1  # changed since it was found right
    assert tree_bytes(dest) == expected


def test_wrong_file_does_not_stay(net: PhysioNet, dest: Path) -> None:
    there = dest / "30/3000003/3000003_0001.dat"
    there.parent.mkdir(parents=True)
    there.write_bytes(b"x" * len(net.files[ONE]))
    net.always[ONE] = Fault(garbled=True)
    assert len(fetch(net, dest, groups="30", records=1).failed) == 1
    assert not there.exists()


def test_leftovers_are_removed(net: PhysioNet, dest: Path, demo: Path) -> None:
    (dest / "30/3000003").mkdir(parents=True)
    (dest / "30/3000003/.3000003.hea.0123.part").write_bytes(b"half")
    fetch(net, dest, groups="30", records=1)
    assert tree_bytes(dest) == of(demo, "30/3000003/")


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


# Other sources


@pytest.mark.parametrize(
    ("options", "folders"),
    [
        ({}, ("",)),
        ({"groups": "30,32"}, ("30/", "32/")),
        ({"groups": "30-31", "records": 1}, ("30/3000003/", "31/3100011/")),
        ({"limit": 1}, ("30/3000003/",)),
    ],
)
def test_folder(demo: Path, dest: Path, net: PhysioNet, options: dict[str, Any], folders: tuple[str, ...]) -> None:
    done = scaledproc.fetch(demo, dest, **options)
    assert tree_bytes(dest) == of(demo, *folders)
    assert done.files == len(of(demo, *folders))
    assert not net.requests


def test_folder_that_changed(tree: TreeWriter, dest: Path, net: PhysioNet) -> None:
    root = tree({"a/x.txt": b"old", "a/y.txt": b"same"})
    scaledproc.fetch(root, dest)
    tree({"a/x.txt": b"new"})
    os.utime(root / "a/x.txt", ns=(1, 1))
    done = scaledproc.fetch(root, dest)
    assert (done.files, done.already) == (1, 1)
    assert tree_bytes(dest) == {"a/x.txt": b"new", "a/y.txt": b"same"}


def test_folder_first(net: PhysioNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is there wins over a database of its name, unless that is named as one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / NAME).mkdir(parents=True)
    (tmp_path / NAME / "here.txt").write_bytes(b"here")
    fetch(net, "a")
    assert tree_bytes(tmp_path / "a") == {"here.txt": b"here"}
    fetch(net, "b", f"physionet:{NAME}", groups="32")
    assert (tmp_path / "b/32/RECORDS").exists()


def test_unreadable_file(tree: TreeWriter, dest: Path, net: PhysioNet, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree({"a/x.txt": b"one", "a/y.txt": b"two"})
    items = transfer.Folder.items

    def and_gone(self: transfer.Folder, choice: Choice) -> list[Any]:
        found = items(self, choice)
        (root / "a/x.txt").unlink()
        return found

    monkeypatch.setattr(transfer.Folder, "items", and_gone)
    done = scaledproc.fetch(root, dest)
    assert [failure.path for failure in done.failed] == ["a/x.txt"]
    assert "FileNotFoundError" in done.failed[0].reason
    assert tree_bytes(dest) == {"a/y.txt": b"two"}


def test_usage(demo: Path, dest: Path, tmp_path: Path) -> None:
    def refused(words: str, source: Any = demo, to: Any = dest, **options: Any) -> None:
        with pytest.raises(ScaledprocError, match=words):
            scaledproc.fetch(source, to, **options)
        assert not dest.exists()

    refused("lies in SOURCE", to=demo / "copy")
    refused("no such top folder; there are", groups="40-49")
    refused("give top folders such as", groups="30,,31")
    refused("--records 0", records=0)
    refused("--parallel 0", parallel=0)
    refused("has no file that was asked for", include=["*.nothing"])
    refused("./nowhere does not exist", source="./nowhere")
    refused("no PhysioNet database", source="what is this")
    refused("SOURCE is empty", source=" ")
    refused("--base-url 'ftp://x'", source=NAME, base_url="ftp://x")
    (tmp_path / "file").write_text("")
    refused("is a file", to=tmp_path / "file")


# To and from S3


@pytest.mark.slow
def test_to_s3_and_a_run_there(net: PhysioNet, s3: Bucket, demo: Path, tmp_path: Path) -> None:
    net.faults[ONE] = [Fault(cut=100)]
    net.always[f"{NAME}/30/3000003/3000003_0002.dat"] = Fault(garbled=True)
    options = {f"output.{key}": value for key, value in s3.storage_options.items()}
    done = fetch(net, s3.url("fetched"), groups="30-31", records=1, storage_options=options)
    assert [failure.path for failure in done.failed] == ["30/3000003/3000003_0002.dat"]
    assert "30/3000003/3000003_0002.dat" not in s3.objects("fetched")
    net.always.clear()
    again = fetch(net, s3.url("fetched"), groups="30-31", records=1, storage_options=options)
    assert (again.files, again.already) == (1, done.files)
    expected = of(demo, "30/3000003/", "31/3100011/")
    assert s3.objects("fetched") == expected

    copy = scaledproc.fetch(
        s3.url("fetched"),
        tmp_path / "back",
        groups="31",
        storage_options={f"input.{k}": v for k, v in s3.storage_options.items()},
    )
    assert tree_bytes(tmp_path / "back") == of(demo, "31/3100011/")
    assert not copy.failed

    inputs = {f"input.{key}": value for key, value in s3.storage_options.items()}
    there = scaledproc.run(s3.url("fetched"), tmp_path / "there", storage_options=inputs, jobs=1)
    here = scaledproc.run(demo, tmp_path / "here", include=["30/3000003/", "31/3100011/"], jobs=1)
    assert there.to_arrow().num_rows > 0
    assert (tmp_path / "there/features.parquet").read_bytes() == (tmp_path / "here/features.parquet").read_bytes()
    assert there.to_arrow() == here.to_arrow()


def test_no_bucket(s3: Bucket, demo: Path, net: PhysioNet) -> None:
    options = {f"output.{key}": value for key, value in s3.storage_options.items()}
    with pytest.raises(ScaledprocError, match="s3://no-such-bucket/x cannot be written"):
        scaledproc.fetch(demo, "s3://no-such-bucket/x", limit=1, storage_options=options)


def test_memory(demo: Path, memory: str, net: PhysioNet, dest: Path) -> None:
    assert scaledproc.fetch(demo, memory, groups="32").failed == ()
    assert scaledproc.fetch(memory, dest).files == len(of(demo, "32/"))
    assert tree_bytes(dest) == of(demo, "32/")


# The command


def environment(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CACHE_HOME": str(tmp_path / "cache"), "NETRC": str(tmp_path / "none")}


@pytest.mark.slow
def test_command(net: PhysioNet, cli: Cli, tmp_path: Path, demo: Path) -> None:
    words = ("fetch", NAME, "dest", "--base-url", net.base_url, "--groups", "30-39", "--records", "1")
    result = cli(*words, env=environment(tmp_path))
    assert result.returncode == 0, result.stderr
    expected = of(demo, "30/3000003/", "31/3100011/", "32/3200058/")
    assert tree_bytes(tmp_path / "dest") == expected
    assert f"{len(expected)} files (" in result.stderr
    assert "to fetch" in result.stderr
    assert "free" in result.stderr
    assert f"{len(expected)} files (" in result.stdout
    assert result.stdout.rstrip().endswith(f"the dataset: {tmp_path}/dest")
    run = cli("dest", "table", "--jobs", "1", "--quiet")
    assert run.returncode == 0, run.stderr
    assert pq.read_table(tmp_path / "table/features.parquet").num_rows > 0


@pytest.mark.slow
def test_command_failures_and_json(net: PhysioNet, cli: Cli, tmp_path: Path) -> None:
    del net.files[ONE]
    words = ("fetch", NAME, "dest", "--base-url", net.base_url, "--limit", "1")
    result = cli(*words, "--json", env=environment(tmp_path))
    assert result.returncode == 1
    told = json.loads(result.stdout)
    assert told["failed"] == [{"path": "30/3000003/3000003_0001.dat", "reason": "it is not there (404)"}]
    assert result.stderr == ""
    result = cli(*words, env=environment(tmp_path))
    assert result.returncode == 1
    assert "30/3000003/3000003_0001.dat: it is not there (404)" in result.stdout
    assert "0 files (0 B) fetched" in result.stdout


@pytest.mark.slow
def test_command_refusals(net: PhysioNet, cli: Cli, tmp_path: Path) -> None:
    net.login = ("ada", "s3cret")
    result = cli("fetch", NAME, "dest", "--base-url", net.base_url, env=environment(tmp_path))
    assert result.returncode == 1
    assert "needs credentials" in result.stderr
    result = cli("fetch", NAME, "dest", "--base-url", net.base_url, "--username", "ada", env=environment(tmp_path))
    assert result.returncode == 2
    assert cli("fetch", "./nowhere", "dest").returncode == 1
    assert cli("fetch", "what is this", "dest").returncode == 2
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_ctrl_c(net: PhysioNet, cli: Cli, tmp_path: Path, demo: Path) -> None:
    """What is whole stays, nothing half is left, and the same command continues."""
    net.slow = 0.1
    words = ["fetch", NAME, "dest", "--base-url", net.base_url]
    env = clean_environment(environment(tmp_path))
    process = subprocess.Popen(
        [*COMMAND, *words], cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "dest").rglob("*.hea"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "this continues: scaledproc fetch mimic3wdb/1.0 dest" in stderr
    left = tree_bytes(tmp_path / "dest")
    whole = {**tree_bytes(demo), "SHA256SUMS.txt": net.files[f"{NAME}/SHA256SUMS.txt"]}
    assert 0 < len(left) < len(whole)
    assert left.items() <= whole.items()
    net.slow = 0
    net.requests.clear()
    assert cli(*words, env=environment(tmp_path)).returncode == 0
    assert tree_bytes(tmp_path / "dest") == whole
    assert not set(net.asked()) & {f"{NAME}/{path}" for path in left if path != "SHA256SUMS.txt"}


def test_terminal(net: PhysioNet, tmp_path: Path) -> None:
    """A bar that moves, on a terminal."""
    leader, follower = os.openpty()
    env = {**clean_environment(environment(tmp_path)), "TERM": "xterm"}
    words = ["fetch", NAME, "dest", "--base-url", net.base_url, "--limit", "2"]
    process = subprocess.Popen([*COMMAND, *words], cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=follower)
    os.close(follower)
    shown = b""
    with contextlib.suppress(OSError):  # the end, on Linux
        while piece := os.read(leader, 65536):
            shown += piece
    os.close(leader)
    assert process.wait(60) == 0
    assert b"to fetch" in b" ".join(shown.split())  # rich breaks its lines
    assert b"100 %" in shown


# Plain decisions


@pytest.mark.parametrize(
    ("groups", "names", "there"),
    [
        ("30-32", {"30", "32"}, {"29", "30", "32", "33", "030"}),
        ("30,32,35-37", {"30", "32", "36"}, {"30", "31", "32", "34", "36"}),
        ("p00-p09", {"p00", "p09"}, {"p00", "p09", "p10", "q05", "p5"}),
        ("p8-11", {"p8", "p11"}, {"p7", "p8", "p11", "p12"}),
        ("sub-01", {"sub-01"}, {"sub-01", "sub-02"}),
        ("2020-01/", {"2020-01"}, {"2020-01", "2020-02", "2020"}),
        (".", {"."}, {".", "30"}),
    ],
)
def test_groups(groups: str, names: set[str], there: set[str]) -> None:
    choice = Choice(groups)
    assert {group for group in there if choice.has_group(group)} == names


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), unique=True),
    st.none() | st.integers(1, 4),
    st.none() | st.integers(1, 9),
)
def test_pick_takes_the_first_of_each_group(
    names: list[tuple[str, int]], records: int | None, limit: int | None
) -> None:
    there = [Record(f"{group}/{number}") for group, number in names]
    picked = pick(there, Choice(records=records, limit=limit))
    firsts = [
        record
        for at, record in enumerate(there)
        if records is None or sum(other.group == record.group for other in there[:at]) < records
    ]
    assert picked == firsts[:limit]


def test_unit_folders() -> None:
    assert unit_folders(["RECORDS", "30/RECORDS", "30/a/x", "30/a/y", "31/b/c/z"]) == [Record("30/a"), Record("31/b/c")]
    assert unit_folders(["x", "y"]) == [Record("")]
    assert unit_folders([]) == []
