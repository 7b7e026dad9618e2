"""Datasets that want to harm: through the whole engine, where each bad task costs itself alone and says why."""

from __future__ import annotations

import csv
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import boto3
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from moto_account import moto_account
from s3server import S3Server
from support import Bucket, Cli, TreeWriter, forget_s3
from wfdb_oracles.fuzz import CANARY, inputs, watched, write_unit
from wfdb_oracles.oracle import check_by_specification, read_files, task_of

import scaledproc
from scaledproc.events import Note
from scaledproc.extractors import Task
from scaledproc.extractors.wfdb.summary import WfdbSummary
from scaledproc.planning.inventory import take_inventory
from scaledproc.storage.store import Store

GOOD = b"r 1 125 4\nr.dat 80 2/mV 8 0 0 0 0 II\n"
DATA = b"\x81\x82\x83\x84"


def header(name: str, fields: str = "80 2/mV 8 0 0 0 0 II", first: str = "r 1 125 4") -> bytes:
    return f"{first}\n{name} {fields}\n".encode("utf-8", "surrogateescape")


def flac(samples: int) -> bytes:
    """A FLAC file's head that promises so many samples."""
    info = struct.pack(">HH", 4096, 4096) + bytes(6) + (125 << 44 | 15 << 36 | samples).to_bytes(8, "big") + bytes(16)
    return b"fLaC\x80\x00\x00\x22" + info + bytes(100)


# What a header or its signal file claims, and what a person reads about it: None where the rows are right.
CLAIMS: dict[str, tuple[bytes, str | None]] = {
    "good": (GOOD, None),
    "up": (header("../../etc/passwd"), "the unit 'up' has no file 'up/../../etc/passwd'"),
    "absolute": (header("/etc/passwd"), "the unit 'absolute' has no file 'absolute//etc/passwd'"),
    "url": (header("http://127.0.0.1:9/r.dat"), "has no file 'url/http:/127.0.0.1:9/r.dat'"),
    "s3": (header("s3://bucket/r.dat"), "the unit 's3' has no file 's3/s3:/bucket/r.dat'"),
    "pipe-command": (header("|cat"), "has no file 'pipe-command/|cat'"),
    "stdin": (header("-"), "has no file 'stdin/-'"),
    "neighbour": (header("../good/r.dat"), "the unit 'neighbour' has no file 'neighbour/../good/r.dat'"),
    "fifo": (header("fifo"), "has no file 'fifo/fifo'"),
    "link-out": (header("out"), "has no file 'link-out/out'"),
    "device": (header("zero"), "has no file 'device/zero'"),
    "10^15": (
        header("r.dat", first="r 1 125 1000000000000000"),
        "r.dat has 4 bytes; the header says that it has 1,000,",
    ),
    "10^15-differences": (header("r.dat", "8", "r 1 125 1000000000000000"), "r.dat has 4 bytes; the header says"),
    "10^15-skew": (header("r.dat", "80:1000000000000000"), None),  # all samples are missing, as a note says
    "skew": (header("r.dat", "80:5"), None),
    "skew-of-all": (header("r.dat", "80:4"), None),
    "2^31-flac": (
        header("r.flac", "516", f"r 1 125 {2**31 + 1}"),
        "r.flac cannot be read as FLAC",
    ),
    "10^15-flac": (
        header("r.flac", "516", "r 1 125 1000000000000000"),
        "r.flac cannot be read as FLAC",
    ),
    "10^15-offset": (header("r.dat", "80+1000000000000000"), "r.dat has 4 bytes; the header says"),
    "10^15-frames": (header("r.dat", "80x1000000000000000"), "r.dat has 4 bytes; the header says"),
    "10^4000": (header("r.dat", first=f"r 1 125 1{'0' * 4000}"), "line 1, number of samples: '10000000"),
    "no-frames": (header("r.dat", "80x0"), "line 2, samples per frame: 'x0' must give it once, as a whole"),
    "10^6-signals": (header("r.dat", first="r 1000000 125 4"), "it has 1,000,000, and describes 1"),
    "10^30-signals": (header("r.dat", first=f"r 1{'0' * 30} 125 4"), "line 1, number of signals: '1000"),
    "negative-gain": (header("r.dat", "80 -2/mV 8 0 0 0 0 II"), None),
    "nan-gain": (header("r.dat", "80 nan/mV"), "line 2, ADC gain: 'nan' is no number"),
    "huge-gain": (header("r.dat", "80 1e400/mV 8 0 0 0 0 II"), "line 2, ADC gain: '1e400' is no number"),
    "zero-fs": (header("r.dat", first="r 1 0 4"), "line 1, sampling frequency: '0' is no number above 0"),
    "segments": (b"r/20000 1 125 20000\n" + b"s 1\n" * 20_000, None),
    "recursive": (b"r/2 1 125 8\nr 4\nr 4\n", None),
    "nobody": (b"r/1 1 125 4\n../../x 4\n", None),
    "truncated": (GOOD[:-20], None),  # what is left of the line is a line
    "cut-short": (GOOD[:12], "line 2, format: it is missing"),
    "empty": (b"", "the header is empty"),
    "gzipped": (b"\x1f\x8b\x08\0\0\0\0\0\0\x03+R0T0\x02", "line 1, number of signals: it is missing"),
    "garbage": (bytes(range(256)) * 8, "line 2, number of signals: it is missing"),
    "long-line": (
        b"r 1 125 4\n" + b"a" * 500_000,
        "line 2, file name: the line has 500,000 characters; WFDB allows 255",
    ),
    "two-formats": (
        header("r.dat", "16\nr.dat 80", "r 2 125 1"),
        "line 3, format: 'r.dat' has the formats 16 and 80; a file has one",
    ),
}


@pytest.fixture(scope="module")
def claims(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with a folder for each claim."""
    folder = tmp_path_factory.mktemp("claims")
    root = folder / "data"
    for name, (content, _) in CLAIMS.items():
        (root / name).mkdir(parents=True)
        (root / name / "r.hea").write_bytes(content)
        (root / name / "r.dat").write_bytes(DATA)
    (root / "10^15-flac/r.flac").write_bytes(flac(10**10))
    (root / "2^31-flac/r.flac").write_bytes(flac(10**10))
    (folder / "outside").write_bytes(b"\x99" * 4)
    os.mkfifo(root / "fifo/fifo")
    (root / "link-out/out").symlink_to(folder / "outside")
    (root / "device/zero").symlink_to("/dev/zero")
    return root


def test_what_headers_claim(claims: Path, tmp_path: Path) -> None:
    run = scaledproc.run(claims, tmp_path / "out", jobs=1, memory_per_worker="2GB", task_timeout=60)
    errors = {row["unit"]: row for row in run.errors().to_pylist()}
    assert errors.keys() == {name for name, (_, why) in CLAIMS.items() if why}
    for name, row in errors.items():
        assert CLAIMS[name][1] in row["message"], name
        assert len(row["message"]) < 300, name
        assert (row["kind"], row["attempts"]) == ("exception", 1)
    by_unit: dict[str, list[dict[str, Any]]] = {name: [] for name, (_, why) in CLAIMS.items() if not why}
    for row in run.to_arrow().to_pylist():
        by_unit[row["unit"]].append(row)
    for name, rows in by_unit.items():
        check_by_specification(*read_files(claims / name / "r.hea"), rows)
    assert by_unit["negative-gain"][0]["min"] == -2.0
    assert by_unit["good"][0]["mean"] == 1.25


OUTSIDE = 12.5  # what the bytes of `outside` are by the headers' gain


@pytest.mark.parametrize("name", CLAIMS)
def test_nothing_is_opened_or_started_elsewhere(claims: Path, name: str) -> None:
    task = task_of(claims / name / "r.hea")  # names of pipes and links are among its files here: worse than any listing
    with watched(claims / name) as opened:
        try:
            rows = WfdbSummary().extract(task)
        except (ValueError, FileNotFoundError):
            rows = []
    assert not opened
    assert not [row for row in rows if row["max"] == OUTSIDE], "what lies outside was read"


@pytest.mark.slow
def test_claims_allocate_nothing(claims: Path) -> None:
    """All of them in a process that may take 400 MB beyond what its libraries do."""
    program = f"""
import re, resource, sys
from pathlib import Path
import numpy, pandas, psutil, pyarrow, soundfile, wfdb
sys.path.insert(0, {str(Path(__file__).parents[1] / "support")!r})
from wfdb_oracles.oracle import task_of
from scaledproc.extractors.wfdb.summary import WfdbSummary
used = int(re.findall(r"VmSize:\\s*(\\d+)", Path("/proc/self/status").read_text())[0]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + 400 * 10**6,) * 2)
for header in sorted(Path({str(claims)!r}).glob("*/r.hea")):
    try:
        WfdbSummary().extract(task_of(header))
    except (ValueError, FileNotFoundError):
        pass
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("peak ")


def test_files_that_change_after_the_listing(tmp_path: Path) -> None:
    """A signal file that becomes a pipe is not waited for, one that becomes a link out is not followed."""
    unit = tmp_path / "data/u"
    unit.mkdir(parents=True)
    (unit / "r.hea").write_bytes(GOOD)
    (tmp_path / "outside").write_bytes(b"\x99" * 4)
    task = Task("u", "u", "u/r.hea", tmp_path / "data", frozenset({"u/r.hea", "u/r.dat"}))
    os.mkfifo(unit / "r.dat")
    with pytest.raises(FileNotFoundError, match=r"'u/r\.dat' is no file of the dataset any more"):
        WfdbSummary().extract(task)
    (unit / "r.dat").unlink()
    (unit / "r.dat").symlink_to(tmp_path / "outside")
    with pytest.raises(FileNotFoundError, match="any more"):
        WfdbSummary().extract(task)
    (unit / "r.dat").unlink()
    (tmp_path / "data/shared.dat").write_bytes(DATA)
    (unit / "r.dat").symlink_to("../shared.dat")  # within the dataset, as the listing follows it too
    assert WfdbSummary().extract(task)[0]["mean"] == 1.25
    (unit / "r.hea").rename(tmp_path / "r.hea")
    (unit / "r.hea").symlink_to(tmp_path / "r.hea")
    with pytest.raises(FileNotFoundError, match=r"'u/r\.hea' is no file of the dataset any more"):
        WfdbSummary().extract(task)
    unit.rename(tmp_path / "elsewhere")
    unit.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match="'u' is no folder of the dataset any more"):
        WfdbSummary().extract(task)


@pytest.mark.slow
def test_a_batch_of_hostile_records_through_the_engine(shared_data: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    given = list(inputs(5, 120, shared_data))
    for number, one in enumerate(given):
        write_unit(root / f"{number:03}", one)
    (root / f"{CANARY}.dat").unlink()
    expected: dict[str, int | str] = {}
    for number in range(len(given)):
        try:
            expected[f"{number:03}"] = len(WfdbSummary().extract(task_of(root / f"{number:03}/r.hea", root)))
        except (ValueError, FileNotFoundError) as error:
            expected[f"{number:03}"] = type(error).__name__
    run = scaledproc.run(root, tmp_path / "out", jobs=2, chunk=20, task_timeout=60, memory_per_worker="2GB")
    errors = {row["unit"]: row["error"] for row in run.errors().to_pylist()}
    rows: dict[str, int] = {}
    for unit in run.to_arrow()["unit"].to_pylist():
        rows[unit] = rows.get(unit, 0) + 1
    assert {unit: errors.get(unit, rows.get(unit, 0)) for unit in expected} == expected


ODD = {
    "newline": "two\nlines",
    "quotes": 'it\'s "quoted"',
    "html": "<script>alert(1)<",
    "formula": "=HYPERLINK(1)",
    "right to left": "\u202egnp.exe\u2066\u200f",
    "escape": "\x1b[2J\x1b]0;title\x07",
    "bell": "\x07\x08\r",
    "separator": "line\u2028separator\x85",
    "option": "--help",
    "backslash": "..\\..\\x",
    "glob": "*[!a]?",
    "percent": "%2e%2e%2f",
    "tag": "[bold]rich[/bold]",
    "variable": "$HOME `id`",
}
STEERING = [
    *map(chr, range(32)),
    "\x7f",
    *map(chr, range(0x80, 0xA0)),
    *"\u200e\u200f\u202a\u202b\u202d\u202e\u2066\u2067\u2068",
]
STEERING.remove("\n")


def check_shown(text: str) -> None:
    """Nothing in it steers a terminal, or turns the order of letters around."""
    assert not set(text) & set(STEERING)
    assert "\u2028" not in text


@pytest.fixture
def odd_dataset(tree: TreeWriter) -> Path:
    root = tree({f"{name}/r.{ending}": content for name in ODD.values() for ending, content in
                 (("hea", GOOD), ("dat", DATA))})  # fmt: skip
    for name in ODD.values():  # and a record that fails, so that its name is shown
        (root / name / "bad.hea").write_bytes(header(f"{name.encode('ascii', 'ignore').decode()}.x"))
    return root


@pytest.mark.slow
def test_odd_names(odd_dataset: Path, cli: Cli, tmp_path: Path) -> None:
    for arguments in ([], ["--json"], ["--quiet"]):
        out = tmp_path / f"out{len(arguments)}{''.join(arguments)}"
        done = cli("--backend", "local", "--hidden", odd_dataset, out, *arguments)  # one begins with a dot
        assert done.returncode == 3, done.stderr
        check_shown(done.stdout)
        check_shown(done.stderr)
        if arguments == ["--json"]:
            assert [json.loads(line)["event"] for line in done.stdout.splitlines()]
        assert set(pq.read_table(out / "features.parquet")["unit"].to_pylist()) == set(ODD.values())
        assert set(pq.read_table(out / "errors.parquet")["unit"].to_pylist()) == set(ODD.values())
    check_shown(cli("plan", odd_dataset, "--shards", "folder").stdout)
    check_shown(cli("status", tmp_path / "out0").stdout)
    assert json.loads((tmp_path / "out0/run.json").read_text())["state"] == "done"


@pytest.mark.slow
def test_a_name_cannot_forge_a_line_of_the_result(tree: TreeWriter, cli: Cli, tmp_path: Path) -> None:
    done = cli("--backend", "local", tree({"a\nscaledproc: all is well/r.hea": b""}), tmp_path / "out")
    assert not [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("scaledproc: all is well")]


def test_names_that_are_not_utf8(tree: TreeWriter, tmp_path: Path) -> None:
    root = tree({"good/r.hea": GOOD, "good/r.dat": DATA})
    bad = os.fsencode(root) + b"/\xff\xfe"
    try:
        os.mkdir(bad)  # noqa: PTH102 - a name in bytes
    except OSError:
        pytest.skip("this file system refuses names that are not UTF-8")
    shutil.copy(root / "good/r.hea", os.fsdecode(bad) + "/r.hea")
    run = scaledproc.run(root, tmp_path / "out", jobs=1)
    assert run.to_arrow()["unit"].to_pylist() == ["good"]
    assert "1 file whose name is not UTF-8 was left out" in take_inventory(Store.at(root)).notes


def test_text_that_a_spreadsheet_would_run(tree: TreeWriter, tmp_path: Path) -> None:
    """The table for people has an apostrophe before it; the features, and `Run.summary`, have it as it is."""
    names = ["=1+1", "+1", "-II", "@SUM(1)", "'=1", "'quoted", "II", '=cmd|" /C calc"!A0', "a=b"]
    header_lines = "".join(f"r.dat 80 2/mV 8 0 0 0 0 {name}\n" for name in names)
    root = tree({"u/r.hea": f"r {len(names)} 125 1\n{header_lines}".encode(), "u/r.dat": b"\x81" * len(names)})
    run = scaledproc.run(root, tmp_path / "out", jobs=1)
    assert run.to_arrow()["signal"].to_pylist() == names
    with (tmp_path / "out/signal_stats.csv").open(newline="") as file:
        shown = [row["signal_name"] for row in csv.DictReader(file)]
    assert not [name for name in shown if name[0] in "=+-@\t\r"]
    assert sorted(run.summary("signal_stats")["signal_name"].to_pylist()) == sorted(names)


# S3's keys


KEYS = [
    "k/good/r.hea",
    "k/up/../../../../escape/r.hea",
    "k/slashes//r.hea",
    "k/dot/./r.hea",
    "k/back\\..\\..\\slash/r.hea",
    f"k/long/{'n' * 200}/{'m' * 200}/{'o' * 200}/{'p' * 200}/{'q' * 200}/r.hea",
    f"k/name-of-300/{'n' * 300}.hea",
    "k/case/R.hea",
    "k/case/r.hea",
    "k/Case/r.hea",
    "k/two\nlines/r.hea",
    "k/\u202eltr/r.hea",
    "k/=1+1/r.hea",
    "k/*/r.hea",
    "k/%2e%2e/r.hea",
    "k/both",
    "k/both/r.hea",
]


@contextmanager
def server_of(name: str, s3: Bucket) -> Iterator[S3Server]:
    """SeaweedFS, which keeps keys as files and so refuses some; or moto, which takes any."""
    if name == "seaweedfs":
        yield s3.server
    else:
        with moto_account() as server:
            yield server


@pytest.mark.slow
@pytest.mark.parametrize("name", ["seaweedfs", "moto"])
def test_keys_of_a_bucket(s3: Bucket, tmp_path: Path, name: str) -> None:
    """What the server takes is processed, or left out and counted, or quarantined; scratch space is never left."""
    forget_s3()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with server_of(name, s3) as server:
        client = boto3.client(
            "s3",
            endpoint_url=server.endpoint,
            aws_access_key_id=server.key,
            aws_secret_access_key=server.secret,
            region_name="us-east-1",
        )
        client.create_bucket(Bucket="keys")
        for key in KEYS:
            put(client, key)
        there = {item["Key"] for item in client.list_objects_v2(Bucket="keys")["Contents"]}
        notes: list[str] = []
        run = scaledproc.run(
            "s3://keys/k",
            tmp_path / "out",
            jobs=1,
            storage_options=server.storage_options,
            scratch=scratch,
            on_event=lambda event: notes.append(event.text) if isinstance(event, Note) else None,
        )
        errors = {row["anchor"]: row["message"] for row in run.errors().to_pylist()}
        done = [f"{row['unit']}/{row['record']}.hea" for row in run.to_arrow().to_pylist()]
    headers = {key.removeprefix("k/") for key in there if key.endswith(".hea")}
    strange = {name for name in headers if {"", ".", ".."} & set(name.split("/"))}
    long = {name for name in headers if len(name.split("/")[-1]) > 255}
    assert set(done) == headers - strange - long
    assert errors == dict.fromkeys(long, "its files cannot have their names on a disk: File name too long")
    assert [
        note for note in notes if f"{2 * len(strange)} objects whose name cannot be a file's" in note
    ] or not strange
    assert max(len(key.encode()) for key in there) > 1000
    assert len(headers) >= 12
    if name == "moto":
        assert (len(strange), len(long)) == (3, 1)
    assert list(scratch.iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"scratch", "out"}
    forget_s3()


def put(client: Any, key: str) -> None:
    """As far as the server takes the key."""
    with suppress(BotoCoreError, ClientError):
        client.put_object(Bucket="keys", Key=key, Body=GOOD if key.endswith(".hea") else b"x")
        if key.endswith(".hea"):
            client.put_object(Bucket="keys", Key=f"{key.rpartition('/')[0]}/r.dat", Body=DATA)
