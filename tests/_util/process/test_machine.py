"""Machines that lack something: open files, /dev/shm, locks, a home, processes; and mistakes of their users."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pwd
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import COMMAND, Cli, clean_environment, tree_bytes

import scaledproc
from scaledproc import api
from scaledproc._util.process import machine
from scaledproc._util.process.processes import Process, process_of, text_of
from scaledproc._util.process.scratch import PrivateFolder, remove_left
from scaledproc.errors import ScaledprocError
from scaledproc.events import Event
from scaledproc.extractors import load_extractor
from scaledproc.planning import calibration
from scaledproc.reporting.text import status_text

# Open files


@pytest.mark.slow
@pytest.mark.parametrize(("files", "fits"), [(28, 1), (32, 1), (75, 5), (400, 16)])
def test_as_many_processes_as_open_files_allow(
    files: int, fits: int, data: Path, extractor: str, tmp_path: Path
) -> None:
    command = " ".join([*COMMAND, str(data), "out", "--extractor", extractor, "--jobs", "16", "--chunk", "1"])
    done = subprocess.run(
        ["bash", "-c", f"ulimit -n {files}; {command}"],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (f"note: {fits} of 16 processes: this machine allows {files} open files" in done.stderr) == (fits < 16)


@given(st.integers(2, 10**6))
def test_the_soft_limit_is_raised_as_far_as_it_is_needed(jobs: int) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        fits = machine.allowed_processes(jobs)
        allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        needed = machine.FILES_BESIDE + machine.FILES_EACH * jobs
        assert allowed == max(256, min(needed, before[1]))
        assert fits == jobs or (allowed == before[1] and needed > allowed)
        assert machine.FILES_BESIDE + machine.FILES_EACH * fits <= allowed
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


# What processes need


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "No space left on device.*/dev/shm"),
        (errno.EROFS, "Read-only file system.*/dev/shm"),
        (errno.ENOENT, "No such file or directory.*/dev/shm"),
        (errno.EACCES, "/dev/shm"),
        (errno.EMFILE, "ulimit -n"),
        (errno.ENOMEM, "memory is short"),
        (errno.EAGAIN, "ulimit -u"),
    ],
)
def test_why_no_process_starts(
    number: int, words: str, data: Path, extractor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("joblib.externals.loky.process_executor.ProcessPoolExecutor.__init__", refuse)
    with pytest.raises(ScaledprocError, match=words) as told:
        scaledproc.run(data, tmp_path / "out", extractor=extractor, jobs=2)
    assert "cannot be read or written" not in str(told.value)


DAEMON = """
import multiprocessing, sys
import scaledproc

def work(jobs):
    try:
        return scaledproc.run("data", f"out{jobs}", extractor="e.py:sizes", jobs=jobs).to_arrow().num_rows
    except scaledproc.UsageError as error:
        return str(error)

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(*pool.map(work, [2, None, 1]), sep="\\n")
"""


@pytest.mark.slow
@pytest.mark.usefixtures("data", "extractor")
def test_in_a_daemonic_process(tmp_path: Path) -> None:
    (tmp_path / "daemon.py").write_text(DAEMON)
    done = subprocess.run(
        [sys.executable, "daemon.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    refused, *rows = done.stdout.splitlines()
    assert "this is a daemonic process" in refused
    assert rows == ["4", "4"]


def test_a_working_folder_that_is_gone(data: Path, extractor: str, tmp_path: Path) -> None:
    command = " ".join([*COMMAND, str(data), str(tmp_path / "out"), "--extractor", extractor])
    done = subprocess.run(
        ["bash", "-c", f"mkdir gone; cd gone; rmdir ../gone; {command}"],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "scaledproc: the working folder is gone" in done.stderr


def test_disks_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> NoReturn:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with PrivateFolder(tmp_path) as own, PrivateFolder(tmp_path) as left, PrivateFolder(tmp_path) as elsewhere:
        this = process_of(Path(left, ".lock").read_text())
        Path(left, ".lock").write_text(text_of(Process(this.machine, this.pid, "123")))
        Path(elsewhere, ".lock").write_text(text_of(Process("another", 1, "1")))
        for folder in (own, left, elsewhere):
            os.utime(Path(folder, ".lock"), (0, 0))
        remove_left(tmp_path)
        assert [Path(folder).exists() for folder in (own, left, elsewhere)] == [True, False, True]


# Users


def test_a_user_without_a_home(data: Path, extractor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_: int) -> NoReturn:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr("scaledproc.engine.steps.MEASURED", 0.0)
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    with pytest.raises(RuntimeError):
        Path.home()
    run = scaledproc.run(data, tmp_path / "out", extractor=extractor, jobs=1)
    assert run.record.state == "done"
    assert calibration.last_costs(load_extractor(extractor)) == calibration.costs_of(run.record)
    assert list((tmp_path / "temporary/scaledproc").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["s3://b/x", "out", "--storage-option", "foo=1"], "unexpected keyword argument 'foo'"),
        (["DATA", "s3://b/x", "--storage-option", "foo=1"], "unexpected keyword argument 'foo'"),
        (["s3://b/x", "out", "--storage-option", "endpoint_url=nonsense"], "Invalid endpoint: nonsense"),
        (["s3://b/x", "out", "--storage-option", "endpoint_url=5"], "s3://b/x cannot be listed"),
        (["s3://b/x", "out", "--storage-option", "client_kwargs=5"], "s3://b/x cannot be listed"),
        (["DATA", "out", "--storage-option", "foo=1"], "--storage-option foo: "),
        (["plan", "DATA", "--storage-option", "foo=1"], "is a folder on this machine, which has no storage options"),
        (["DATA", "s3://b/x", "--storage-option", "input.foo=1"], "--storage-option input.foo: "),
        (["http://127.0.0.1:1/x", "out", "--storage-option", "foo=1"], "with the storage options foo"),
    ],
)
def test_storage_options_that_cannot_be(words: list[str], answer: str, data: Path, extractor: str, cli: Cli) -> None:
    given_words = [str(data) if word == "DATA" else word for word in words]
    keys = {"AWS_ACCESS_KEY_ID": "aaaaaaaa", "AWS_SECRET_ACCESS_KEY": "bbbbbbbb"}
    done = cli(*given_words, "--extractor", extractor, "--jobs", "1", env=keys)
    assert done.returncode in (1, 2)
    assert done.stderr.startswith("scaledproc: ")
    assert answer in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("side", ["", "input.", "output."])
@pytest.mark.parametrize(
    "words",
    [
        ["DATA", "OUT"],
        ["plan", "DATA"],
        ["fetch", "DATA", "copy"],
        ["inventory", "DATA", "inventory.parquet"],
        ["verify", "OUT"],
        ["verify", "OUT", "--inventory"],
        ["status", "OUT"],
        ["stop", "OUT"],
        ["combine", "OUT"],
    ],
    ids=" ".join,
)
def test_storage_options_that_nothing_uses_are_refused_alike(
    words: list[str], side: str, data: Path, extractor: str, cli: Cli, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    scaledproc.run(data, output, extractor=extractor, jobs=1)
    before = tree_bytes(output)
    given_words = [{"DATA": str(data), "OUT": str(output)}.get(word, word) for word in words]
    given_words += ["--extractor", extractor] if words[0] in ("DATA", "plan") else []
    done = cli(*given_words, "--storage-option", f"{side}foo=1")
    reads = words[0] in ("DATA", "plan", "fetch", "inventory") or "--inventory" in words
    if {"input.": reads, "output.": words[0] not in ("plan", "inventory")}.get(side, True):
        assert done.returncode == 2
        assert done.stderr.startswith(f"scaledproc: --storage-option {side}foo: ")
        assert "on this machine" in done.stderr
        assert tree_bytes(output) == before
        assert not {path.name for path in tmp_path.iterdir()} & {"copy", "inventory.parquet"}
    else:
        assert "foo" not in done.stderr, "an option of a side that the command has not may be given"


def test_a_misspelt_command(data: Path, extractor: str, cli: Cli, tmp_path: Path) -> None:
    done = cli("staus", "out")
    assert (done.returncode, done.stderr) == (
        2,
        "scaledproc: there is neither a command nor a folder 'staus': is 'status' meant?\n",
    )
    done = cli("help")
    assert (done.returncode, done.stderr) == (
        2,
        "scaledproc: there is neither a command nor a folder 'help'; scaledproc --help lists the commands\n",
    )
    data.rename(tmp_path / "staus")
    done = cli("staus", "out", "--extractor", extractor, "--jobs", "1")
    assert done.returncode == 0, done.stderr


def test_status_says_whether_anybody_is_at_work(data: Path, extractor: str, tmp_path: Path, cli: Cli) -> None:
    states: list[str] = []

    def listen(event: Event) -> None:
        if type(event).__name__ == "ChunkDone":
            states.append(api.status(tmp_path / "out").state)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scaledproc.run(data, tmp_path / "out", extractor=extractor, jobs=1, chunk=1, on_event=listen)
    assert states == ["running"]
    found = api.status(tmp_path / "out")
    assert found.state == "stopped"
    assert "nobody is at work on it: the command that began it continues" in status_text(found)
    lease = tmp_path / "out" / "lease.json"  # of another machine, which renews it or does not
    holder = {"machine": "another|boot|pids", "pid": 1, "born": "1"}
    lease.write_text(json.dumps({"token": "t", "holder": holder, "since": "today", "backend": "local"}))
    assert json.loads(cli("status", "out", "--json").stdout)["state"] == "running"
    os.utime(lease, (0, 0))
    assert api.status(tmp_path / "out").state == "stopped"
    lease.unlink()
    scaledproc.run(data, tmp_path / "out", extractor=extractor, jobs=1)
    assert api.status(tmp_path / "out").state == "done"


def test_errors_that_lead_to_each_other(tmp_path: Path) -> None:
    """As a client's that raises an error again: who looks for a reason among them comes to an end."""
    first, second = OSError(errno.ECONNREFUSED, "refused"), ValueError("again")
    first.__context__, second.__context__ = second, first
    assert machine.shortage(first) is None
    second.__context__ = MemoryError()
    assert "memory is short" in str(machine.shortage(first))


def test_a_peak_is_not_that_of_the_process_that_started_this_one() -> None:
    """The system's own figure is kept over exec: a small worker of a large driver would be told as that large."""
    ballast = bytearray(os.urandom(1)) * 400_000_000
    child = """
from scaledproc._util.process.memory import OwnPeak
peak = OwnPeak()
before = peak(0.0)
more = bytearray(b"x") * 200_000_000
late, between = peak(0.01), peak(0.03)
assert late == before, (late, before)
more = more * 3
print(before, between, peak())
"""
    done = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True)
    del ballast
    before, between, after = map(int, done.stdout.split())
    assert before < 200_000_000
    assert 200_000_000 < between < before + 300_000_000
    assert 800_000_000 < after < before + 900_000_000


FAULTS = """
import resource
import numpy as np
from scaledproc._util.process.memory import keep_freed_memory
keep_freed_memory()
def fill():
    for size in (300_000, 3_000_000, 1_000_000) * 20:
        np.empty(size, np.uint8).fill(1)
fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's settings")
def test_freed_memory_is_used_again_where_nobody_tuned_that() -> None:
    def faults(**environment: str) -> int:
        own = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
        words = [sys.executable, "-c", FAULTS]
        return int(subprocess.run(words, env={**own, **environment}, capture_output=True, check=True).stdout)

    assert faults() < 1_000
    assert faults(MALLOC_MMAP_THRESHOLD_="200000") > 10_000
