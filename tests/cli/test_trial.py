"""`scaledproc try` and `init`, as a person types them: what they print, and how they end."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from support import Cli, TreeWriter
from typer.testing import CliRunner, Result

from scaledproc.cli.main import app
from scaledproc.errors import ScaledprocError

FILE = """
import scaledproc

@scaledproc.extractor(schema={"path": "string", "value": "int64"}, anchor="*.txt")
def value(task, *, plus: int = 0):
    print("working on", task.anchor)
    text = task.path.read_text()
    if text == "stop":
        breakpoint()
    yield {"path": task.anchor, "value": float(text) + plus if "." in text else int(text) + plus}
"""


@pytest.fixture
def folder(tree: TreeWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tree({"a/1.txt": b"1", "a/2.txt": b"two", "b/3.txt": b"3.5", "b/4.txt": b"stop"})
    (tmp_path / "mine.py").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(*words: str, given: str | None = None) -> Result:
    """The command in this process."""
    return CliRunner().invoke(app, list(words), input=given)


def test_rows_and_what_is_printed(folder: Path, cli: Cli) -> None:
    done = cli("try", "mine.py:value", "data", "--set", "plus=4")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[:5] == [
        "working on a/1.txt",
        "task a/1.txt (the first of 4 tasks)",
        "",
        "group  unit  anchor   path     value",
        "a      a     a/1.txt  a/1.txt      5",
    ]
    assert lines[6].startswith("1 row in ")
    assert "peak memory" in lines[6]


def test_a_task_that_fails(folder: Path, cli: Cli) -> None:
    done = cli("try", "mine.py", "data", "a/2.txt")
    assert done.returncode == 3
    assert "ValueError: invalid literal for int() with base 10: 'two'" in done.stdout
    assert f'File "{folder}/mine.py", line 10, in value' in done.stdout
    assert "scaledproc/" not in done.stdout  # the frames are the extractor's own
    done = cli("try", "mine.py", "data/b/3.txt")
    assert done.returncode == 3
    assert any(line.split()[:4] == ["value", "int64", "3.5", "3.5"] for line in done.stdout.splitlines())


def test_a_task_of_a_run_whose_dataset_is_elsewhere_now(folder: Path, cli: Cli) -> None:
    cli("run", "data", "out", "--extractor", "mine.py", "--include", "b/3.txt", "--jobs", "1")
    (folder / "data").rename(folder / "moved")
    done = cli("try", "out")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "no file of 'b/3.txt' is in" in done.stderr
    assert "scaledproc try EXTRACTOR INPUT TASK" in done.stderr


def test_json_is_alone_on_standard_output(folder: Path, cli: Cli) -> None:
    done = cli("try", "mine.py", "data", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert found["rows"] == [{"group": "a", "unit": "a", "anchor": "a/1.txt", "path": "a/1.txt", "value": 1}]
    assert "working on a/1.txt" in done.stderr
    found = json.loads(cli("try", "mine.py", "data", "b/3.txt", "--json").stdout)["error"]
    assert (found["kind"], found["error"], found["row"]["value"]) == ("schema", "SchemaError", 3.5)
    assert found["columns"]["value"].startswith("3.5 is no whole number")


def test_a_quarantined_task(folder: Path) -> None:
    assert invoke("run", "--quiet", "--extractor", "mine.py", "--exclude", "b/", "data", "out").exit_code == 3
    first = invoke("try", "out", "--failed", "1")
    assert (first.exit_code, "task a/2.txt" in first.stdout) == (3, True)
    (folder / "mine.py").write_text(FILE.replace("int(text)", "len(text)"))  # mended: the file is read anew
    assert "a/2.txt      3" in invoke("try", "out", "--failed", "1").stdout
    assert "a/1.txt      1" in invoke("try", "out#a/1.txt").stdout


def test_the_debugger_stops_in_the_exception(folder: Path) -> None:
    done = invoke("try", "mine.py", "data", "a/2.txt", "--pdb", given="p text, task.anchor\nq\n")
    assert done.exit_code == 3
    assert "('two', 'a/2.txt')" in done.stdout
    assert "ValueError" in done.stderr
    assert "ValueError" not in done.stdout.partition("(Pdb)")[0]  # told once
    done = invoke("try", "mine.py", "data", "b/3.txt", "--pdb", given="p text\nq\n")
    assert "'3.5'" in done.stdout  # at the yield of the row that does not fit


def test_there_is_nothing_to_stop_at_where_the_function_has_returned(folder: Path) -> None:
    (folder / "mine.py").write_text(FILE.replace("yield", "return"))
    done = invoke("try", "mine.py", "data", "b/3.txt", "--pdb", given="")
    assert done.exit_code == 3
    assert "no line of the extractor is at work any more" in done.stderr


def test_a_debugger_of_the_task_that_is_quit_ends_it(folder: Path, cli: Cli) -> None:
    done = cli("try", "mine.py", "data", "b/4.txt")  # where nobody answers it is quit
    assert done.returncode == 130
    assert "(Pdb)" in done.stdout
    assert done.stderr == "scaledproc: interrupted: nothing was written\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "name what is to be tried: EXTRACTOR INPUT"),
        (("data",), "name what is to be tried: EXTRACTOR INPUT"),
        (("mine.py", "data", "nothing"), "no task begins at 'nothing'"),
        (("mine.py", "data", "--pdb", "--json"), "--pdb asks on standard output"),
        (("mine.py:other", "data"), "defines no 'other'"),
        (("mine.py", "data", "--set", "x=1"), "takes no option x"),
        (("out", "--failed", "1"), "holds no run"),
    ],
)
def test_what_cannot_be_tried(folder: Path, words: tuple[str, ...], message: str) -> None:
    error = invoke("try", *words).exception
    assert isinstance(error, ScaledprocError)
    assert message in str(error)


@pytest.mark.slow
def test_the_file_sets_options_of_the_extractor(folder: Path, cli: Cli) -> None:
    (folder / "scaledproc.toml").write_text("[extractor.value]\nplus = 6\n")
    for name in ("mine.py", "mine.py:value"):
        assert "a/1.txt      7" in cli("try", name, "data").stdout
    assert "a/1.txt      3" in cli("try", "mine.py", "data", "--set", "plus=2").stdout


def test_the_file_says_what_a_task_is_as_for_a_run(folder: Path, cli: Cli) -> None:
    (folder / "scaledproc.toml").write_text("[run]\nextractor = 'not.this:one'\nexclude = ['a/1.txt']\njobs = 2\n")
    assert "task a/2.txt (the first of 3 tasks)" in cli("try", "mine.py", "data").stdout


ENDING = """
import os, scaledproc

@scaledproc.extractor(schema={"x": "int64"}, anchor="*.txt")
def end(task):
    if os.fork() == 0:
        os._exit(0)  # a child may
    os.wait()
    os._exit(7)
"""


def test_a_run_s_first_task_and_one_by_its_name(folder: Path, cli: Cli) -> None:
    words = ("--quiet", "--extractor", "mine.py", "--include", "a/1.txt", "--include", "b/3.txt", "--jobs", "1")
    assert cli(*words, "data", "out").returncode == 3
    assert "task a/1.txt" in cli("try", "out").stdout
    for named in (("out", "b/3.txt"), ("out#b/3.txt",)):
        assert "task b/3.txt" in cli("try", *named).stdout


def test_the_extractor_is_no_option(folder: Path, cli: Cli) -> None:
    done = cli("try", "--extractor", "mine.py", "data")
    assert done.returncode == 2
    assert "try has it as its first word: scaledproc try EXTRACTOR INPUT" in " ".join(
        done.stderr.replace("│", "").split()
    )


def test_a_task_that_ends_its_process(folder: Path, cli: Cli) -> None:
    (folder / "ends.py").write_text(ENDING)
    done = cli("try", "ends.py", "data")
    assert done.returncode == 7
    assert done.stderr.splitlines()[-1] == (
        "scaledproc: the task ended its process by os._exit(7); in a run it is quarantined for that"
    )
    assert done.stderr.count("ended its process") == 1


def test_a_task_that_crashes(folder: Path, cli: Cli) -> None:
    crash = "import ctypes; ctypes.string_at(0)"
    (folder / "ends.py").write_text(ENDING.replace("os._exit(7)", crash))
    done = cli("try", "ends.py", "data")
    assert done.returncode == -signal.SIGSEGV
    assert "Segmentation fault" in done.stderr
    assert f'File "{folder}/ends.py", line 9 in end' in done.stderr


# init


def test_the_file_alone_is_enough(folder: Path) -> None:
    assert invoke("init", "new.py").exit_code == 0
    assert (folder / "new.py").read_text().count("@scaledproc.extractor") == 1


@pytest.mark.slow
def test_a_file_to_begin_with_runs_as_it_is(folder: Path, cli: Cli) -> None:
    done = cli("init", "extractor", "my own.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert "scaledproc --extractor 'my own.py' INPUT OUTPUT" in done.stdout
    assert "scaledproc try my own.py INPUT" in (folder / "my own.py").read_text()
    done = cli("--quiet", "--extractor", "my own.py", "data", "table")
    assert done.returncode == 0
    assert "4 rows from 4 tasks" in done.stdout


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (("extractor", "mine.py"), "mine.py is there already, and is left as it is", 2),
        (("extractor", "x.py", "--kind", "films"), "--kind 'films': give files, tables, waveforms", 2),
        (("extractor", "x.txt"), "an extractor's file is called NAME.py", 2),
        (("extractor",), "name the file to write: scaledproc init extractor FILE.py", 2),
        ((), "name what to write, and the file: scaledproc init extractor FILE.py", 2),
        (("mine",), "init writes no 'mine'", 2),
        (("backend", "x.py"), "init writes no 'backend'", 2),
        (("extractor", "gone/x.py"), "gone/x.py cannot be written: No such file or directory", 1),
    ],
)
def test_what_is_not_written(folder: Path, words: tuple[str, ...], message: str, code: int) -> None:
    error = invoke("init", *words).exception
    assert isinstance(error, ScaledprocError)
    assert message in str(error)
    assert error.exit_code == code
    assert (folder / "mine.py").read_text() == FILE
    assert not (folder / "x.py").exists()
