"""What an extractor may do with processes, signals, streams and the terminal; and what is left of it afterwards."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from support import COMMAND, clean_environment

import scaledproc
from scaledproc.storage.store import Store

TASKS = """
import logging, multiprocessing, os, signal, subprocess, sys, time
from concurrent.futures import ProcessPoolExecutor
import scaledproc

def fork_break(task):  # leaves the pool while a child is at work: terminate()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for value in pool.imap_unordered(sleepy, range(3)):
            return value

def sleepy(number):
    time.sleep(1000 if number else 0)
    return number

def terminate(task):
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(1000,))
    child.start()
    child.terminate()
    child.join()
    return child.exitcode

def spawn(task):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.map(abs, [-1, 2])

def forkserver(task):
    with multiprocessing.get_context("forkserver").Pool(1) as pool:
        return pool.map(abs, [-1, 2])

def executor(task):
    with ProcessPoolExecutor(1) as pool:
        return list(pool.map(abs, [-1, 2]))

def exits(task):
    child = os.fork()
    if child == 0:
        sys.exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def raises(task):
    child = os.fork()
    if child == 0:
        raise ValueError
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def returns(task):
    child = os.fork()
    if child == 0:
        return "the child's"
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def interrupted(task):
    program = subprocess.Popen(["sleep", "1000"])
    program.send_signal(signal.SIGINT)
    return program.wait()

def group(task):
    os.setpgrp()
    return "ok"

def stdin(task):
    return subprocess.run(["cat"], capture_output=True, timeout=20).stdout

def streams(task):
    sys.stdout.reconfigure(line_buffering=True)
    sys.stdout.close()
    sys.stdout.detach().write(b"bytes")
    sys.stdout.buffer.close()
    print("still there")
    return [sys.stdout.name, sys.stdout.mode, sys.stdout.errors, sys.stdout.line_buffering, sys.stdout.writable()]

@scaledproc.extractor(schema={"name": "string", "value": "string"}, anchor="*.txt", unit="file")
def inside(task):
    return {"name": task.path.stem, "value": str(globals()[task.path.stem](task))}

@scaledproc.extractor(schema={"name": "string"}, anchor="*.txt", unit="file")
def orphans(task):
    if task.path.stem == "forked":
        if os.fork() == 0:
            time.sleep(40)
        os.abort()
    if task.path.stem == "started":
        os.system("sleep 40 &")
        os.abort()
    return {"name": task.path.stem}

@scaledproc.extractor(schema={"name": "string", "value": "int64"}, anchor="*.txt", unit="file")
def leaves(task):
    context = multiprocessing.get_context("fork")
    child = context.Process(target=deaf_child if task.path.stem == "deaf" else time.sleep, args=(1000,))
    child.start()
    return {"name": task.path.stem, "value": child.pid}

def deaf_child(seconds):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(seconds)

@scaledproc.extractor(schema={"name": "string", "value": "int64"}, anchor="*.txt", unit="file")
def prints(task):
    for number in range(5):
        print("printed", number)
        print("on stderr", file=sys.stderr)
    logging.warning("logged of %s", task.path.stem)
    return {"name": task.path.stem, "value": 1}

@scaledproc.extractor(schema={"name": "string", "value": "int64"}, anchor="*.txt", unit="file")
def stops(task):
    secret = 41
    breakpoint()
    return {"name": task.path.stem, "value": secret + 1}

@scaledproc.extractor(schema={"name": "string", "value": "int64"}, anchor="*.txt", unit="file")
def asks(task):
    return {"name": task.path.stem, "value": int(input("which number? "))}

@scaledproc.extractor(schema={"name": "string", "value": "int64"}, anchor="*.txt", unit="file")
def sleeps(task):
    print("at work")
    time.sleep(1000)

@scaledproc.extractor(schema={"name": "string", "value": "int64"}, anchor="*.txt", unit="file")
def deaf(task):
    while True:
        try:
            print("at work")
            time.sleep(0.1)
        except BaseException:
            pass
"""

VALUES = {
    "fork_break": "0",
    "terminate": "-15",
    "spawn": "[1, 2]",
    "forkserver": "[1, 2]",
    "executor": "[1, 2]",
    "exits": "7",
    "raises": "1",
    "returns": "0",
    "interrupted": "-2",
    "group": "ok",
    "stdin": "b''",
    "streams": "['<stdout>', 'w', 'backslashreplace', True, True]",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "e.py").write_text(TASKS)
    return tmp_path


def write(folder: Path, names: Sequence[str]) -> Path:
    (folder / "data").mkdir()
    for name in names:
        (folder / "data" / f"{name}.txt").write_text(name)
    return folder / "data"


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_processes_signals_and_streams(folder: Path, jobs: str) -> None:
    data = write(folder, list(VALUES))
    done = subprocess.run(
        [*COMMAND, str(data), "out", "--extractor", "e.py:inside", "--jobs", jobs, "--quiet"],
        cwd=folder,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    run = scaledproc.Run.open(Store.at(folder / "out"))
    assert {row["name"]: row["value"] for row in run.to_arrow().to_pylist()} == VALUES


@pytest.mark.slow
@pytest.mark.parametrize("safe", ["", "yes"])
def test_files_named_like_modules_of_the_library(folder: Path, safe: str) -> None:
    """In the current folder: they mislead no process, whose tasks find their neighbours and the user's environment."""
    for name in ("signal", "random", "types", "socket", "queue"):
        (folder / f"{name}.py").write_text("raise SystemExit('this is not the library')\n")
    (folder / "neighbour.py").write_text("value = 3\n")
    (folder / "here.py").write_text(
        "import os, subprocess, scaledproc\n"
        '@scaledproc.extractor(schema={"value": "int64", "safe": "string"}, anchor="*.txt", unit="file")\n'
        "def here(task):\n"
        "    import neighbour\n"
        "    program = subprocess.run(['sh', '-c', 'echo $PYTHONSAFEPATH'], capture_output=True, text=True)\n"
        '    return {"value": neighbour.value, "safe": program.stdout.strip()}\n'
    )
    write(folder, ["a", "b", "c"])
    done = subprocess.run(
        [*COMMAND, "data", "out", "--extractor", "here.py:here", "--jobs", "2"],
        cwd=folder,
        env=clean_environment({"PYTHONSAFEPATH": safe}),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not any(words in done.stderr for words in ("not the library", "died")), done.stderr
    table = scaledproc.Run.open(Store.at(folder / "out")).to_arrow()
    assert (table["value"].to_pylist(), table["safe"].to_pylist()) == ([3] * 3, [safe] * 3)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_processes_that_a_task_leaves_behind_end_with_the_command(folder: Path, jobs: str) -> None:
    data = write(folder, ["deaf", "sleeps"])
    subprocess.run(
        [*COMMAND, str(data), "out", "--extractor", "e.py:leaves", "--jobs", jobs, "--quiet", "--no-report"],
        cwd=folder,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=60,
    )
    for number in scaledproc.Run.open(Store.at(folder / "out")).to_arrow()["value"].to_pylist():
        assert not psutil.pid_exists(number) or psutil.Process(number).status() == psutil.STATUS_ZOMBIE


@pytest.mark.slow
def test_the_end_of_a_process_is_seen_though_its_children_live(folder: Path) -> None:
    run = scaledproc.run(
        write(folder, ["forked", "good", "started"]), folder / "out", extractor=f"{folder / 'e.py'}:orphans", jobs=2
    )
    assert run.to_arrow()["name"].to_pylist() == ["good"]
    assert run.errors()["error"].to_pylist() == ["SIGABRT", "SIGABRT"]


# In a terminal


def in_terminal(folder: Path, words: Sequence[str], script: Sequence[tuple[str, bytes | int]]) -> tuple[str, int]:
    """The command in a terminal of its own, and its exit code; texts that appear are answered by keys or signals."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.execve(COMMAND[0], [*COMMAND, *words], clean_environment({"TERM": "xterm"}))
    shown, seen, left = b"", 0, list(script)
    until = time.monotonic() + 120  # a guard against hanging, not a measure
    while time.monotonic() < until:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                more = os.read(terminal, 2**16)
            except OSError:  # closed by its end
                break
            if not more:
                break
            shown += more
        if left and (place := shown.find(left[0][0].encode(), seen)) >= 0:
            seen = place + len(left[0][0])
            answer = left.pop(0)[1]
            if isinstance(answer, int):
                os.kill(process, answer)
            else:
                os.write(terminal, answer)
    else:
        os.kill(process, signal.SIGKILL)
    os.close(terminal)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert not left, shown.decode()
    return shown.decode(), code


def values(folder: Path) -> list[int]:
    found: list[int] = scaledproc.Run.open(Store.at(folder / "out")).to_arrow()["value"].to_pylist()
    return found


def words(name: str, jobs: str = "1") -> list[str]:
    return ["data", "out", "--extractor", f"e.py:{name}", "--jobs", jobs]


@pytest.mark.slow
def test_what_a_task_prints_stands_above_the_bar(folder: Path) -> None:
    write(folder, ["a", "b"])
    shown, code = in_terminal(folder, words("prints"), [])
    assert code == 0
    assert shown.count("printed 4") == shown.count("logged of ") == 2
    assert values(folder) == [1, 1]


@pytest.mark.slow
def test_a_debugger_has_the_terminal(folder: Path) -> None:
    write(folder, ["a", "b"])
    shown, code = in_terminal(
        folder, words("stops"), [("(Pdb) ", b"p secret * 100\n"), ("4100", b"c\n"), ("(Pdb) ", b"c\n")]
    )
    assert code == 0
    assert values(folder) == [42, 42]
    asked = shown[shown.index("(Pdb) ") : shown.index("4100")]
    assert "extracting" not in asked  # the bar does not come between
    assert "2 rows from 2 tasks" in shown


@pytest.mark.slow
def test_quitting_the_debugger_leaves_the_run_to_be_continued(folder: Path) -> None:
    write(folder, ["a", "b"])
    shown, code = in_terminal(folder, words("stops"), [("(Pdb) ", b"q\n")])
    assert code == 130
    assert "this continues: scaledproc" in shown


@pytest.mark.slow
def test_a_task_may_ask(folder: Path) -> None:
    write(folder, ["a", "b"])
    _, code = in_terminal(folder, words("asks"), [("which number? ", b"5\n"), ("which number? ", b"6\n")])
    assert code == 0
    assert values(folder) == [5, 6]


@pytest.mark.slow
def test_a_debugger_in_a_worker_process_says_what_to_do(folder: Path) -> None:
    write(folder, ["a"])
    shown, code = in_terminal(folder, words("stops", "2"), [])
    assert code == 3
    assert "DebuggerError: a debugger needs the terminal" in shown
    assert "--jobs 1" in shown


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "presses", "code"),
    [
        ("sleeps", [b"\x03", b"\x03"], 130),
        ("sleeps", [signal.SIGTERM, signal.SIGTERM], 143),
        ("deaf", [b"\x03", b"\x03", b"\x03"], 130),
    ],
)
def test_signals_end_what_is_at_work_here(folder: Path, name: str, presses: Sequence[bytes | int], code: int) -> None:
    write(folder, ["a"])
    texts = ["at work", "finishing what is at work", "at work"]
    shown, found = in_terminal(folder, words(name), list(zip(texts, presses, strict=False)))
    assert found == code
    assert "Traceback" not in shown


def test_ctrl_c_while_modules_load(folder: Path) -> None:
    stub = folder / "stub" / "typer"
    stub.mkdir(parents=True)
    (stub / "__init__.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nraise ImportError")
    done = subprocess.run(
        [sys.executable, "-m", "scaledproc", "--help"],
        env=clean_environment({"PYTHONPATH": str(stub.parent)}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "")


# Streams that are closed, full, or that nobody reads


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize(
    "streams", [">&-", "2>&-", "2>/dev/full", ">/dev/full", "| true", "<&- >&- 2>&-", "--json | true"]
)
def test_no_stream_ends_a_run(folder: Path, streams: str, jobs: int) -> None:
    write(folder, ["a", "b"])
    command = " ".join([*COMMAND, *words("prints", str(jobs)), streams])
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert values(folder) == [1, 1]


def test_closed_streams_are_there_for_programs_that_are_started() -> None:
    """Else the first files that those open, such as the pipes of a tracker of resources, take the streams' numbers."""
    program = "import os; [os.fstat(number) for number in (0, 1, 2)]"
    code = (
        "import subprocess, sys\nfrom scaledproc._util.process.streams import keep_streams\nkeep_streams()\n"
        f"sys.exit(subprocess.run([sys.executable, '-I', '-S', '-c', {program!r}], check=False).returncode)"
    )
    for streams in (">&-", "<&-", "<&- >&- 2>&-"):
        command = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} {streams}"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (streams, done.stderr)


def test_what_a_command_is_there_to_tell_is_not_lost_in_silence(folder: Path) -> None:
    write(folder, ["a"])
    command = [*COMMAND, "plan", "data", "--extractor", "e.py:prints"]
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(Path("/dev/full").open("w"))
        done = subprocess.run(
            command, cwd=folder, env=clean_environment(), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert "standard output cannot be written: No space left on device" in done.stderr


def test_a_listener_that_fails_does_not_blame_the_output(folder: Path) -> None:
    def listen(_: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(scaledproc.ScaledprocError, match="on_event cannot tell of RunStarted: BrokenPipeError") as told:
        scaledproc.run(
            write(folder, ["a"]), folder / "out", extractor=f"{folder / 'e.py'}:prints", jobs=1, on_event=listen
        )
    assert "cannot be read or written" not in str(told.value)
