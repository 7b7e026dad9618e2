"""`scaledproc fetch`: from a server laid out as PhysioNet is, and from any filesystem, to a folder and to S3."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from fetching_support import NAME, fetch, of
from physionet_server import Fault, PhysioNet
from support import COMMAND, Bucket, Cli, TreeWriter, clean_environment, tree_bytes

import scaledproc
from scaledproc.cli.main import main
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.events import Event, FetchStarted
from scaledproc.fetching import transfer
from scaledproc.fetching.physionet import Database
from scaledproc.fetching.selection.subset import Choice
from scaledproc.storage.store import Store

ONE = f"{NAME}/30/3000003/3000003_0001.dat"


# What is chosen


@pytest.mark.parametrize("where", ["local", "memory"])
def test_hidden_files_of_a_folder_are_told_and_taken_only_if_asked_for(tmp_path: Path, where: str) -> None:
    """As a run takes them: a repository's own files are no part of its dataset."""
    files = {"30/a.txt": b"a", ".git/config": b"c", ".git/annex/x": b"x", "30/.DS_Store": b"d", "30/.old/b.txt": b"b"}
    source = str(tmp_path / "source") if where == "local" else "memory://hidden/source"
    with Store.at(source).committing_together() as part:
        for name, content in files.items():
            part(name, 0).write_bytes(content)
    done = scaledproc.fetch(source, tmp_path / "dest")
    assert tree_bytes(tmp_path / "dest") == {"30/a.txt": b"a"}
    (note,) = done.notes
    assert note.startswith("3 hidden files and folders were left out (the first is ")
    assert note.endswith("; --hidden takes them too")
    done = scaledproc.fetch(source, tmp_path / "dest", hidden=True)
    assert (done.files, done.already, done.notes) == (4, 1, ())
    assert tree_bytes(tmp_path / "dest") == files


def test_links_into_an_annex_are_fetched_as_files(cli: Cli, tmp_path: Path) -> None:
    key = tmp_path / "ds/.git/annex/objects/k/k"
    key.parent.mkdir(parents=True)
    key.write_bytes(b"content")
    (tmp_path / "ds/a.csv").symlink_to(".git/annex/objects/k/k")
    done = cli("fetch", "ds", "dest", cwd=tmp_path)
    assert done.returncode == 0
    assert "1 hidden file or folder was left out (.git); --hidden takes it too" in done.stderr
    assert tree_bytes(tmp_path / "dest") == {"a.csv": b"content"}
    assert cli("fetch", "ds", "dest", "--hidden", cwd=tmp_path).returncode == 0


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


def test_password_needs_https(dest: Path) -> None:
    with pytest.raises(UsageError, match="a password is not sent over http://"):
        scaledproc.fetch(NAME, dest, base_url="http://example.org/files", username="ada", password="s3cret")


def test_leftovers_are_removed(net: PhysioNet, dest: Path, demo: Path) -> None:
    (dest / "30/3000003").mkdir(parents=True)
    (dest / "30/3000003/.3000003.hea.0123.part").write_bytes(b"half")
    fetch(net, dest, groups="30", records=1)
    assert tree_bytes(dest) == of(demo, "30/3000003/")


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
    refused("nowhere/data does not exist", source="nowhere/data")
    refused("no PhysioNet database", source="what is this")
    refused("SOURCE is empty", source=" ")
    refused("--base-url 'ftp://x'", source=NAME, base_url="ftp://x")
    (tmp_path / "file").write_text("")
    refused("is a file", to=tmp_path / "file")


def test_a_source_without_files_is_told_by_what_was_asked_for(tmp_path: Path, dest: Path) -> None:
    def refused(**options: Any) -> str:
        with pytest.raises(ScaledprocError) as caught:
            scaledproc.fetch(tmp_path / "source", dest, **options)
        return str(caught.value).removeprefix(f"{tmp_path}/source ")

    (tmp_path / "source/a").mkdir(parents=True)
    hint = "; --hidden takes also what has a name that begins with a dot"
    assert refused() == "has no files"
    assert refused(include=["*.csv"]) == "has no file that was asked for"
    (tmp_path / "source/a/.cache").write_text("")
    assert refused() == f"has no files{hint}"
    assert refused(include=[".cache"]) == f"has no file that was asked for{hint}"
    assert refused(exclude=["*"], hidden=True) == "has no file that was asked for"


def test_a_mistyped_folder_is_told_before_a_server_is_asked(
    demo: Path, dest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def find(client: Any, source: str, *_: Any) -> None:
        del client
        asked.append(source)
        raise ScaledprocError("nobody answers")

    monkeypatch.setattr(Database, "find", find)
    (tmp_path / "waveforms/p00").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for source, told in (("waveform", 1), ("waveforms/1", 0), ("elsewhere/1.0", 0)):
        notes = list[str]()
        with pytest.raises(ScaledprocError, match="nobody answers"):
            scaledproc.fetch(source, dest, on_event=lambda event: notes.append(event.text))  # type: ignore[attr-defined]  # noqa: B023
        said = (
            f"waveform is no folder here; is {tmp_path}/waveforms meant? PhysioNet is asked for a database of that name"
        )
        assert notes == [said] * told
    assert asked == ["waveform", "waveforms/1", "elsewhere/1.0"]
    with pytest.raises(ScaledprocError, match=r"waveform/p00 does not exist; is .*/waveforms/p00 meant"):
        scaledproc.fetch("waveform/p00", dest)
    assert len(asked) == 3


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


def test_quiet_tells_what_was_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "source").mkdir()
    for name in ("x.csv", ".hidden"):
        (tmp_path / "source" / name).write_text("1")
    monkeypatch.chdir(tmp_path)
    for words, told in ((("--quiet",), True), (("--quiet", "--json"), False), (("--quiet", "--hidden"), False)):
        monkeypatch.setattr(sys, "argv", ["scaledproc", "fetch", "source", f"to{len(words)}", *words])
        with contextlib.suppress(SystemExit):
            main()
        said = "note: 1 hidden file or folder was left out (.hidden); --hidden takes it too\n"
        assert capsys.readouterr().err == said * told


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
