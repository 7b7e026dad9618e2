"""One bad task costs one task: whatever an extractor does, its neighbours are in the table and the run goes on."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest
from support import Cli

import scaledproc
from scaledproc._util.process.scratch import PrivateFolder
from scaledproc.events import ChunkDone, Event
from scaledproc.testing import output_bytes

TIMEOUT = 1.5
MEMORY = "330MB"

# What a task does is its file's content. Each kind stands between good neighbours.
EXTRACTOR = """
import ctypes, json, os, resource, signal, sys, threading, time
import numpy as np
import pyarrow as pa
import scaledproc

X = pa.field("x", pa.float64(), nullable=False)
SCHEMA = pa.schema([pa.field("path", pa.string()), pa.field("n", pa.int64()), X])
kept = []

def recurse(n):
    return recurse(n + 1) + 1

def endless():
    while True:
        yield {"path": "x" * 100, "n": 1, "x": 1.0}

def eat():
    held = []
    while True:
        held.append(bytearray(20_000_000))

def eat_arrays():
    held = []
    while True:
        held.append(np.ones(2_000_000))

def deep_c():  # the stack of native code
    sys.setrecursionlimit(10**9)
    json.loads("[" * 10**6)

def flood():
    for _ in range(1_000):
        print("x" * 1_000_000)
    sys.stdout.buffer.write(b"y" * 1_000_000)

def leak():
    kept.extend(open(os.devnull) for _ in range(60))

def stray():
    threading.Thread(target=time.sleep, args=(1000,)).start()

@scaledproc.extractor(schema=SCHEMA, anchor="*.txt")
def bad(task):
    word = task.path.read_text().strip()
    good = {"path": task.anchor, "n": 1, "x": 0.5}
    match word:
        case "raise": raise ValueError(f"bad {task.path}")
        case "segfault": ctypes.string_at(0)
        case "abort": os.abort()
        case "exit": os._exit(3)
        case "exit0": os._exit(0)
        case "sys-exit": sys.exit(4)
        case "kill": os.kill(os.getpid(), signal.SIGKILL)
        case "recurse": recurse(0)
        case "deep-c": deep_c()
        case "sleep": time.sleep(1000)
        case "loop":
            while True: pass
        case "hold-gil": pow(3, 10**9)  # one call into C, which never gives up the interpreter's lock
        case "eat": eat()
        case "eat-arrays": eat_arrays()
        case "claim": np.zeros(10**15)
        case "endless-rows": return endless()
        case "nothing": return None
        case "text": return "row"
        case "number": return 7
        case "rows-of-text": return ["row"]
        case "lacks": return {"path": "a", "n": 1}
        case "extra": return good | {"y": 1}
        case "float-for-int": return good | {"n": 1.5}
        case "nan-for-int": return good | {"n": float("nan")}
        case "nan-for-text": return good | {"path": float("nan")}
        case "null": return good | {"x": None}
        case "wrong-table": return pa.table({"path": ["a"], "n": [1.5], "x": [0.5]})
        case "ten-million":
            count = 10_000_000
            return pa.table({"path": ["a"] * count, "n": np.arange(count), "x": np.zeros(count)}, schema=SCHEMA)
        case "flood": flood()
        case "leak": leak()
        case "lower": resource.setrlimit(resource.RLIMIT_NOFILE, (16, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        case "open-some": [open(os.devnull) for _ in range(20)]
        case "stray": stray()
        case "once":  # the first process that comes here dies
            mark = task.path.parent.parent / "once"
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        case "twice-raise":
            count = task.path.with_suffix(".count")
            tried = len(count.read_text()) if count.exists() else 0
            count.write_text("x" * (tried + 1))
            if tried < 2:
                raise OSError("not yet")
    return good
"""

KINDS = {
    "raise": ("exception", "ValueError", 1),
    "sys-exit": ("exception", "SystemExit", 1),
    "recurse": ("exception", "RecursionError", 1),
    "segfault": ("crash", "SIGSEGV", 2),
    "deep-c": ("crash", "SIGSEGV", 2),
    "abort": ("crash", "SIGABRT", 2),
    "exit": ("crash", "exit code 3", 2),
    "exit0": ("crash", "exit code 0", 2),
    "kill": ("memory", "SIGKILL", 2),
    "nothing": ("schema", "SchemaError", 1),
    "text": ("schema", "SchemaError", 1),
    "number": ("schema", "SchemaError", 1),
    "rows-of-text": ("schema", "SchemaError", 1),
    "lacks": ("schema", "SchemaError", 1),
    "extra": ("schema", "SchemaError", 1),
    "float-for-int": ("schema", "SchemaError", 1),
    "nan-for-int": ("schema", "SchemaError", 1),
    "nan-for-text": ("schema", "SchemaError", 1),
    "null": ("schema", "SchemaError", 1),
    "wrong-table": ("schema", "SchemaError", 1),
}
SLOW = {
    "sleep": ("timeout", "TimeoutError", 1),
    "loop": ("timeout", "TimeoutError", 1),
    "hold-gil": ("timeout", "TimeoutError", 1),
}
LARGE = {
    "eat": ("memory", "MemoryError", 2),
    "eat-arrays": ("memory", "MemoryError", 2),
    "claim": ("memory", "MemoryError", 2),
    "endless-rows": ("memory", "MemoryError", 2),
}


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("extractor") / "bad.py"
    path.write_text(EXTRACTOR)
    return f"{path}:bad"


def write(folder: Path, words: Sequence[str]) -> Path:
    folder.mkdir(parents=True)
    for number, word in enumerate(words):
        (folder / f"t{number:03d}-{word}.txt").write_text(word)
    return folder


def among_good(words: Sequence[str]) -> list[str]:
    """Good tasks before, between and after bad ones."""
    return ["good", *(each for word in words for each in (word, "good"))]


def rows(run: scaledproc.Run) -> list[str]:
    return [str(path) for path in run.to_arrow()["path"].to_pylist()]


def check(run: scaledproc.Run, words: Sequence[str], expected: dict[str, tuple[str, str, int]]) -> None:
    """All good tasks are in the table, in order; each bad one is in the errors, as it should be."""
    names = [f"t{number:03d}-{word}.txt" for number, word in enumerate(words)]
    assert rows(run) == [name for name, word in zip(names, words, strict=True) if word not in expected]
    columns = ("anchor", "kind", "error", "attempts")
    found = list(zip(*(run.errors()[name].to_pylist() for name in columns), strict=True))
    assert found == [(name, *expected[word]) for name, word in zip(names, words, strict=True) if word in expected]
    assert "work" not in run.store.names()


@pytest.mark.slow
@pytest.mark.parametrize(("jobs", "chunk"), [(1, 1000), (2, 4)])
def test_each_kind_of_bad_task_costs_one_task(extractor: str, tmp_path: Path, jobs: int, chunk: int) -> None:
    words = among_good([*KINDS, *SLOW])
    data = write(tmp_path / "data", words)
    run = scaledproc.run(data, tmp_path / "out", extractor=extractor, jobs=jobs, chunk=chunk, task_timeout=TIMEOUT)
    check(run, words, KINDS | SLOW)
    log = (tmp_path / "out/errors.log").read_text()
    assert "Segmentation fault" in log
    assert "in deep_c" in log
    assert "Timeout (0:00:01.500000)!" in log


@pytest.mark.slow
def test_the_same_bytes_whatever_the_cores_and_the_cuts_are(extractor: str, tmp_path: Path) -> None:
    words = among_good(["segfault", "raise", "exit", "kill", "null"])
    data = write(tmp_path / "data", words)
    found = []
    for number, (jobs, chunk) in enumerate([(1, 1000), (2, 3)]):
        output = tmp_path / f"out{number}"
        run = scaledproc.run(data, output, extractor=extractor, jobs=jobs, chunk=chunk, worker_lifespan=3)
        check(run, words, KINDS)
        content = output_bytes(run.store)
        found.append({name: content[name] for name in ("features.parquet", "errors.parquet")})
    assert all(each == found[0] for each in found)
    assert str(data) not in str(run.errors().to_pylist())


@pytest.mark.slow
def test_memory_without_end(extractor: str, tmp_path: Path) -> None:
    words = among_good([*LARGE])
    data = write(tmp_path / "data", words)
    run = scaledproc.run(data, tmp_path / "out", extractor=extractor, jobs=2, memory_per_worker=MEMORY)
    check(run, words, LARGE)
    assert "eat_arrays" in (tmp_path / "out/errors.log").read_text()


@pytest.mark.slow
def test_ten_million_rows_are_rows(extractor: str, tmp_path: Path) -> None:
    data = write(tmp_path / "data", among_good(["ten-million"]))
    run = scaledproc.run(data, tmp_path / "out", extractor=extractor, jobs=2, memory_per_worker="2GB")
    assert run.quarantined == 0
    assert run.record.counts["rows"] == 10_000_002


@pytest.mark.slow
def test_what_a_task_prints_is_cut_short(extractor: str, tmp_path: Path, cli: Cli) -> None:
    data = write(tmp_path / "data", among_good(["flood"]))
    for jobs in ("1", "2"):
        done = cli("--extractor", extractor, "--jobs", jobs, data, tmp_path / f"out{jobs}")
        assert done.returncode == 0, done.stderr
        assert 60_000 < len(done.stderr) < 80_000
        # 1,000 lines of 1,000,001 characters and 1,000,000 bytes, of which 65,536 are shown
        assert "t001-flood.txt printed 1,000,935,464 more characters, which are left out" in done.stderr
        assert "xxx" not in done.stdout


@pytest.mark.slow
def test_open_files_of_some_tasks_do_not_harm_others(extractor: str, tmp_path: Path) -> None:
    words = ["leak"] * 30
    data = write(tmp_path / "data", words)
    with open_files(400):  # 30 tasks that leave 60 files open each
        run = scaledproc.run(data, tmp_path / "out", extractor=extractor, jobs=2, chunk=1000)
        many = scaledproc.run(data, tmp_path / "many", extractor=extractor, jobs=2, chunk=2)
    check(run, words, {})
    check(many, words, {})


@pytest.mark.slow
def test_fewer_files_that_one_task_allows_do_not_harm_others(extractor: str, tmp_path: Path) -> None:
    words = [*among_good(["open-some"]), "lower", "open-some", "open-some"]
    data = write(tmp_path / "data", words)
    run = scaledproc.run(data, tmp_path / "out", extractor=extractor, jobs=2, chunk=1000)
    check(run, words, {})


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_files_that_stay_open_add_up_over_no_more_than_one_chunk(extractor: str, tmp_path: Path, jobs: int) -> None:
    """Of chunks of one task, between which there is nothing to be seen but at their ends."""
    words = ["leak"] * 12
    data = write(tmp_path / "data", words)
    with open_files(400):
        run = scaledproc.run(data, tmp_path / "out", extractor=extractor, jobs=jobs, chunk=1, worker_lifespan=100)
    check(run, words, {})


@contextlib.contextmanager
def open_files(limit: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.slow
def test_threads_that_a_task_leaves_do_not_hold_up_the_end(extractor: str, tmp_path: Path) -> None:
    data = write(tmp_path / "data", ["stray"])
    began = time.monotonic()
    run = scaledproc.run(data, tmp_path / "out", extractor=extractor, jobs=2, worker_lifespan=1)
    assert run.quarantined == 0
    assert time.monotonic() - began < 60


@pytest.mark.slow
def test_nobody_outlives_the_driver_not_even_in_native_code(extractor: str, tmp_path: Path) -> None:
    data = write(tmp_path / "data", ["hold-gil"] * 2)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [
        "--scratch",
        str(scratch),
        "--extractor",
        extractor,
        "--jobs",
        "2",
        "--chunk",
        "1",
        str(data),
        str(tmp_path / "out"),
    ]
    driver = subprocess.Popen([sys.executable, "-m", "scaledproc", *command], stderr=subprocess.DEVNULL)
    workers: list[psutil.Process] = []
    for _ in range(600):  # until both are at work for a while
        time.sleep(0.1)
        found = psutil.Process(driver.pid).children(recursive=True)
        workers = [process for process in found if sum(process.cpu_times()[:2]) > 3]
        if len(workers) == 2:
            break
    assert len(workers) == 2
    driver.kill()
    driver.wait()
    _, alive = psutil.wait_procs(workers, timeout=10)
    for process in alive:
        process.kill()
    assert not alive
    # What it left is removed by the next start, and nothing else is.
    (left,) = scratch.glob("scaledproc-*")
    (scratch / "scaledproc-mine").mkdir()
    os.utime(left / ".lock", (0, 0))
    with PrivateFolder(scratch) as used:
        os.utime(f"{used}/.lock", (0, 0))
        good = write(tmp_path / "good", ["good"])
        scaledproc.run(good, tmp_path / "out2", extractor=extractor, jobs=2, scratch=scratch)
        assert sorted(path.name for path in scratch.iterdir()) == sorted(["scaledproc-mine", Path(used).name])


@pytest.mark.slow
def test_a_process_that_is_killed_once_costs_nothing(extractor: str, tmp_path: Path) -> None:
    words = among_good(["once"])
    data = write(tmp_path / "in/data", words)
    run = scaledproc.run(data, tmp_path / "out", extractor=extractor, jobs=2)
    assert (tmp_path / "in/once").exists()
    check(run, words, {})


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_retries(extractor: str, tmp_path: Path, jobs: int) -> None:
    words = ["good", "twice-raise", "raise"]
    for retries, attempts in ((1, 2), (2, 3)):
        data = write(tmp_path / f"data{retries}", words)
        output = tmp_path / f"out{retries}"
        run = scaledproc.run(data, output, extractor=extractor, jobs=jobs, include="*.txt", task_retries=retries)
        expected = {"raise": ("exception", "ValueError", attempts)}
        check(run, words, expected if retries == 2 else expected | {"twice-raise": ("exception", "OSError", 2)})


@pytest.mark.slow
def test_a_crash_is_tried_as_often_as_was_asked_for(extractor: str, tmp_path: Path) -> None:
    data = write(tmp_path / "data", ["good", "exit", "good"])
    run = scaledproc.run(data, tmp_path / "out", extractor=extractor, jobs=2, task_retries=2)
    assert run.errors()["attempts"].to_pylist() == [3]


@pytest.mark.slow
def test_no_more_processes_are_lost_where_each_task_is_a_shard(tmp_path: Path) -> None:
    """Small shards are made together: the one that ends the process is known, and the others stay together."""
    source, calls = tmp_path / "calls.py", tmp_path / "calls"
    source.write_text(
        "import os, time, scaledproc\n"
        '@scaledproc.extractor(schema={"path": "string"}, anchor="*.txt", unit="file")\n'
        "def calls(task):\n"
        f"    descriptor = os.open({str(calls)!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)\n"
        '    os.write(descriptor, f"{task.path.stem}\\n".encode())\n'
        "    os.close(descriptor)\n"
        '    if "exit" in task.path.stem: os._exit(3)\n'
        '    if "hang" in task.path.stem: time.sleep(1000)\n'
        '    return {"path": task.anchor}\n'
    )
    words = ["hang" if number == 5 else "exit" if number % 9 == 4 else "good" for number in range(40)]
    data = write(tmp_path / "data", words)
    run = scaledproc.run(
        data, tmp_path / "out", extractor=f"{source}:calls", jobs=2, shards=len(words), task_timeout=TIMEOUT
    )
    check(run, words, {"exit": ("crash", "exit code 3", 2), "hang": ("timeout", "TimeoutError", 1)})
    called = calls.read_text().split()
    assert [called.count(path.stem) for path in sorted(data.glob("*exit*"))] == [2] * words.count("exit")
    assert called.count("t005-hang") == 1


@pytest.mark.slow
def test_workers_are_replaced(tmp_path: Path) -> None:
    source = tmp_path / "pids.py"
    source.write_text(
        "import os, scaledproc\n"
        "@scaledproc.extractor(schema={'pid': 'int64'}, anchor='*.txt')\n"
        "def pid(task): return {'pid': os.getpid()}\n"
    )
    data = write(tmp_path / "data", ["good"] * 6)
    pids = scaledproc.run(
        data, tmp_path / "out", extractor=f"{source}:pid", jobs=1, chunk=1, worker_lifespan=2
    ).to_arrow()["pid"]
    assert [pids.to_pylist().count(pid) for pid in dict.fromkeys(pids.to_pylist())] == [2, 2, 2]


@pytest.mark.slow
def test_an_extractor_that_ends_every_process_as_it_is_loaded_ends_the_run(tmp_path: Path) -> None:
    source = tmp_path / "loads.py"
    source.write_text(
        "import os, sys, scaledproc\n"
        "if 'loky' in ' '.join(sys.orig_argv): os._exit(5)\n"
        "@scaledproc.extractor(schema={'n': 'int64'}, anchor='*.txt')\n"
        "def one(task): return {'n': 1}\n"
    )
    data = write(tmp_path / "data", ["good"] * 2)
    with pytest.raises(scaledproc.ScaledprocError, match=r"3 worker processes died in a row \(exit code 5\)"):
        scaledproc.run(data, tmp_path / "out", extractor=f"{source}:one", jobs=2)


@pytest.mark.slow
def test_limits_are_in_run_json_and_may_change_when_a_run_is_continued(extractor: str, tmp_path: Path) -> None:
    data = write(tmp_path / "data", ["good"] * 3)

    def stop(event: Event) -> None:
        if isinstance(event, ChunkDone):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scaledproc.run(data, tmp_path / "out", extractor=extractor, jobs=2, chunk=1, on_event=stop)
    scaledproc.run(data, tmp_path / "out", extractor=extractor, jobs=2, task_timeout="1m", memory_per_worker="1GB")
    options = json.loads((tmp_path / "out/run.json").read_text())["options"]
    assert options["task_timeout"] == 60.0
    assert options["memory_per_worker"] == 10**9
    assert options["task_retries"] == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "answer"),
    [
        (("--task-timeout", "0"), "--task-timeout '0'"),
        (("--task-timeout", "soon"), "--task-timeout 'soon'"),
        (("--memory-per-worker", "2"), "--memory-per-worker '2'"),
        (("--memory-per-worker", "10MB"), "256 MB or more"),
        (("--task-retries", "-1"), "--task-retries -1"),
        (("--worker-lifespan", "0"), "--worker-lifespan 0"),
    ],
)
def test_limits_that_make_no_sense(flags: tuple[str, str], answer: str, tmp_path: Path, cli: Cli) -> None:
    done = cli(*flags, write(tmp_path / "data", []), tmp_path / "out")
    assert done.returncode == 2
    assert answer in done.stderr


def test_limits_need_a_store_that_other_processes_see(memory: str, extractor: str, tmp_path: Path) -> None:
    data = write(tmp_path / "data", ["good"])
    with pytest.raises(scaledproc.UsageError, match="--task-timeout"):
        scaledproc.run(data, f"{memory}/out", extractor=extractor, task_timeout=1)
