"""`scaledproc run`: what comes before the run."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import COUNT, Cli, TreeWriter, clean_environment

import scaledproc
import scaledproc.cli.run as run_command
from scaledproc.events import Event, RunStarted
from scaledproc.run_folder.names import RECORD


@pytest.fixture
def project(tree: TreeWriter, tmp_path: Path) -> Path:
    """A folder with a small dataset in `data` and an extractor in `count.py`."""
    tree({"a/1.txt": b"one", "b/3.txt": b""})
    (tmp_path / "count.py").write_text(COUNT)
    return tmp_path


@pytest.mark.parametrize("words", [("--chunk", "x"), ("--jobs", "0"), ("--max-failures", "-1"), ("--shards", "some")])
def test_what_cannot_be_asked_for_makes_no_demo(cli: Cli, project: Path, words: tuple[str, str]) -> None:
    done = cli("--backend", "local", *words)
    assert done.returncode == 2
    assert done.stderr.startswith(f"scaledproc: {words[0]} ")
    assert not (project / "scaledproc-demo").exists()


def test_processes_that_were_started_for_nothing_are_gone(cli: Cli, project: Path) -> None:
    """They are started before it is known whether there is such an extractor."""
    assert run_command._RECORD == RECORD
    (project / "scratch").mkdir()
    words = ("data", "out", "--extractor", "nothing", "--jobs", "2", "--scratch", "scratch")
    done = cli(*words)
    assert done.returncode == 2
    assert done.stderr.startswith("scaledproc: no extractor is called 'nothing'")
    assert list((project / "scratch").iterdir()) == []
    assert not (project / "out").exists()


def test_what_is_wrong_with_scratch_space_is_told_to_programs_too(cli: Cli, project: Path) -> None:
    done = cli("data", "out", "--extractor", "count.py:count", "--jobs", "2", "--scratch", "gone/x", "--json")
    assert done.returncode == 1
    event = json.loads(done.stdout)
    assert (event["event"], "gone/x" in event["message"]) == ("RunFailed", True)


def test_an_output_whose_name_is_too_long(cli: Cli, project: Path) -> None:
    done = cli("data", "x" * 300, "--extractor", "count.py:count", "--jobs", "2")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "File name too long" in done.stderr


def test_ctrl_c_while_modules_are_loaded_leaves_nothing(project: Path) -> None:
    (project / "scratch").mkdir()
    words = ["run", "data", "out", "--extractor", "count.py:count", "--jobs", "2", "--scratch", "scratch"]
    # What comes while Python itself starts is not ours to answer.
    begin = "from scaledproc.__main__ import main; print('begun', flush=True); main()"
    for wait in (0.03, 0.1, 0.2, 0.35):
        with subprocess.Popen(
            [sys.executable, "-c", begin, *words],
            cwd=project,
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            time.sleep(wait)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        assert process.returncode in (0, 130, -signal.SIGINT)  # it may have been done before
        assert not said or said.splitlines()[-1].startswith(("scaledproc: interrupted", "shard", "combined", "4/4"))
        assert list((project / "scratch").iterdir()) == []


def test_shards_of_a_run_at_work_here_are_not_said_to_wait(cli: Cli, project: Path) -> None:
    """Which of them the driver's processes are at work on nobody else is told."""
    seen: list[str] = []

    def look(event: Event) -> None:
        if isinstance(event, RunStarted):
            seen.append(cli("status", "out").stdout)

    scaledproc.run(project / "data", project / "out", extractor=f"{project}/count.py:count", jobs=1, on_event=look)
    first, second = seen[0].splitlines()[:2]
    assert "/out: running, plan" in first
    assert second == "shards: 2 not committed"
