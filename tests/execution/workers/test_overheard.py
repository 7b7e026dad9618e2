"""What processes write is shown in whole lines, whoever wrote it and however."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaledproc.execution.workers.overheard import LINGER, Overheard


def overheard(folder: Path, write: Callable[[Path], None]) -> list[str]:
    """The lines of what is written into a pipe."""
    lines: list[str] = []
    listener = Overheard(folder, lines.extend)
    try:
        write(listener.path)
    finally:
        listener.close()
        listener.path.unlink()
    return lines


def written(*pieces: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        pipe = os.open(path, os.O_WRONLY)
        for piece in pieces:
            os.write(pipe, piece)
        os.close(pipe)

    return write


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([], []),
        ([b"one\ntwo\n"], ["one", "two"]),
        ([b"on", b"e\ntw", b"o"], ["one", "two"]),  # the last one is not ended
        ([b"\n\n"], ["", ""]),
        ([b"  5 %\r 50 %\r100 %\n"], ["100 %"]),
        ([b"done\r\n"], ["done"]),
        ([b"\x1b[31mred\x1b[0m \x1b[2J\x1b]0;title\x07\n"], ["red �[2J�]0;title�"]),
        ([b"\xff\n"], ["�"]),
        ([b"x" * 50_000, b"x" * 50_000, b"\n"], ["x" * 100_000]),
    ],
)
def test_lines(tmp_path: Path, pieces: Sequence[bytes], lines: Sequence[str]) -> None:
    assert "".join(overheard(tmp_path, written(*pieces))) == "".join(lines)
    if len(b"".join(pieces)) < 50_000:
        assert overheard(tmp_path, written(*pieces)) == lines


@given(lines=st.lists(st.text("abc é", max_size=2_000), max_size=40), cuts=st.lists(st.integers(1, 5_000), max_size=20))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_is_lost_wherever_it_is_cut(tmp_path: Path, lines: list[str], cuts: list[int]) -> None:
    content = "".join(f"{line}\n" for line in lines).encode()
    pieces = []
    for cut in cuts:
        pieces.append(content[:cut])
        content = content[cut:]
    assert overheard(tmp_path, written(*pieces, content)) == lines


def test_a_process_and_the_programs_that_it_starts(tmp_path: Path) -> None:
    code = (
        "import os, subprocess, sys; from pathlib import Path\n"
        "from scaledproc.execution.workers.overheard import speak_into\n"
        "speak_into(Path(sys.argv[1]))\n"
        "print('printed', flush=True); print('warned', file=sys.stderr)\n"
        "os.write(2, b'by a library\\n'); subprocess.run(['echo', 'by a program'], check=True)\n"
    )

    def run(path: Path) -> None:
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, check=True)
        assert (done.stdout, done.stderr) == (b"", b"")

    assert overheard(tmp_path, run) == ["printed", "warned", "by a library", "by a program"]


def test_where_nobody_listens_all_is_written_to_standard_error(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path\n"
        "from scaledproc.execution.workers.overheard import speak_into\n"
        "speak_into(Path(sys.argv[1]) if sys.argv[1:] else None)\n"
        "os.write(1, b'out\\n'); os.write(2, b'err\\n')\n"
    )
    for words in ([], [str(tmp_path / "none")]):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=True)
        assert (done.stdout, done.stderr) == (b"", b"out\nerr\n")


def test_a_program_that_is_left_and_writes_for_ever_holds_nobody_up(tmp_path: Path) -> None:
    lines: list[str] = []
    listener = Overheard(tmp_path, lines.extend)
    with listener.path.open("wb") as pipe, subprocess.Popen(["yes"], stdout=pipe) as program:
        while not lines:
            time.sleep(0.01)
        began = time.monotonic()
        listener.close()
        assert time.monotonic() - began < 20 * LINGER
        assert program.wait(20) != 0  # nobody reads any more
    assert set(lines) == {"y"}


def test_a_process_that_was_forked_meanwhile_holds_nobody_up(tmp_path: Path) -> None:
    listener = Overheard(tmp_path, lambda _: None)
    child = os.fork()
    if not child:
        time.sleep(60)
        os._exit(0)
    began = time.monotonic()
    listener.close()
    assert time.monotonic() - began < 20 * LINGER
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_files_are_closed_where_it_cannot_listen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    before = len([*Path("/proc/self/fd").iterdir()])
    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(RuntimeError):
        Overheard(tmp_path, lambda _: None)
    assert len([*Path("/proc/self/fd").iterdir()]) == before


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_letters_in_any_locale(tmp_path: Path, locale: str) -> None:
    code = "print('Größe 5 µV')"

    def run(path: Path) -> None:
        with path.open("wb") as pipe:
            subprocess.run([sys.executable, "-c", code], stdout=pipe, env={"LC_ALL": locale}, check=True)

    assert overheard(tmp_path, run) == ["Größe 5 µV"]


def test_what_shows_them_may_fail(tmp_path: Path) -> None:
    def fail(_: Sequence[str]) -> None:
        raise OSError("the terminal is gone")

    listener = Overheard(tmp_path, fail)
    for _ in range(10):
        written(b"x\n" * 30_000)(listener.path)  # more than the pipe holds: a writer would wait
    listener.close()
