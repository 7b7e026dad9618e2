"""The command, as a person or a program meets it.

`cli` runs it in a process of its own; `call` in this one, where the many ways to go wrong cost less.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import COMMAND, COUNT, Cli, TreeWriter, clean_environment, tree_bytes

import scaledproc
from scaledproc.cli.main import main
from scaledproc.events import Event, RunStarted

Result = subprocess.CompletedProcess[str]
RUN = ("data", "out", "--extractor", "count.py:count", "--jobs", "1")
FILES = {"a/1.txt": b"one", "a/2.txt": b"fifteen letters", "b/3.txt": b"", "b/x.bin": b"123", "README": b"-"}
POISON = {**FILES, "b/4.txt": b"poison"}  # one of four tasks


@pytest.fixture
def project(tree: TreeWriter, tmp_path: Path) -> Path:
    """A folder with a small dataset in `data` and an extractor in `count.py`."""
    tree(FILES)
    (tmp_path / "count.py").write_text(COUNT)
    return tmp_path


@pytest.fixture
def call(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """The console script's function; an exception that it lets through fails the test."""

    def run(*args: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Result:
        monkeypatch.chdir(cwd or project)
        monkeypatch.setattr(sys, "argv", ["scaledproc", *map(str, args)])
        monkeypatch.setattr(sys, "path", [*sys.path])
        for key, value in {"COLUMNS": "120", **(env or {})}.items():
            monkeypatch.setenv(key, value)
        capsys.readouterr()
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        shown = capsys.readouterr()
        return subprocess.CompletedProcess(args, code if isinstance(code, int) else 1, shown.out, shown.err)

    return run


def table(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / "features.parquet").to_pylist()
    return rows


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Time of change and content of each file."""
    return {name: ((folder / name).stat().st_mtime_ns, content) for name, content in tree_bytes(folder).items()}


def events_in(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def check_refusal(result: Result, code: int, *words: str) -> None:
    """An error is said in words, not by a traceback, and standard output stays free."""
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    said = " ".join(result.stderr.split())  # typer breaks its lines
    assert all(word in said for word in words), result.stderr


# Exit codes


def test_success(cli: Cli, project: Path) -> None:
    result = cli(*RUN)
    assert result.returncode == 0, result.stderr
    assert "3 rows from 3 tasks" in result.stdout
    assert f"the table: {project}/out/features.parquet" in result.stdout
    assert table(project / "out") == [
        {"group": "a", "unit": "a", "anchor": "a/1.txt", "path": "a/1.txt", "size": 3, "beside": 2},
        {"group": "a", "unit": "a", "anchor": "a/2.txt", "path": "a/2.txt", "size": 15, "beside": 2},
        {"group": "b", "unit": "b", "anchor": "b/3.txt", "path": "b/3.txt", "size": 0, "beside": 2},
    ]
    assert json.loads((project / "out/run.json").read_text())["state"] == "done"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("allowed", "code"), [((), 3), (("0",), 3), (("1",), 0), (("50%",), 0), (("25%",), 0), (("24.9%",), 3)]
)
def test_allowed_failures(call: Cli, tree: TreeWriter, allowed: tuple[str, ...], code: int) -> None:
    tree(POISON)
    assert call(*RUN, *(("--max-failures", *allowed) if allowed else ())).returncode == code
    assert call(*RUN, *(("--max-failures", *allowed) if allowed else ())).returncode == code  # it is finished now


def test_quarantine(cli: Cli, project: Path, tree: TreeWriter) -> None:
    tree(POISON)
    result = cli(*RUN)
    assert result.returncode == 3
    assert "1 quarantined" in result.stdout
    assert "b/4.txt: ValueError: poison in b/4.txt" in result.stdout
    assert "Traceback" not in result.stderr
    assert pq.read_table(project / "out/errors.parquet").to_pylist() == [
        {
            "group": "b",
            "unit": "b",
            "anchor": "b/4.txt",
            "kind": "exception",
            "error": "ValueError",
            "message": "poison in b/4.txt",
            "attempts": 1,
        }
    ]
    assert "Traceback" in (project / "out/errors.log").read_text()
    assert len(table(project / "out")) == 3


@pytest.mark.parametrize(
    ("dataset", "files", "words"),
    [
        ("nowhere", {}, ("nowhere does not exist",)),
        ("data/a/1.txt", {}, ("1.txt is a file",)),
        ("empty", {}, ("empty has no files",)),
        ("other", {"x.csv": b"", "y.csv": b""}, ("no file under", "matches *.txt", "2 .csv", "--anchor")),
    ],
)
def test_dataset_without_tasks(
    call: Cli, project: Path, dataset: str, files: dict[str, bytes], words: tuple[str, ...]
) -> None:
    for name in ("empty", "other"):
        (project / name).mkdir()
    for name, content in files.items():
        (project / dataset / name).write_bytes(content)
    check_refusal(call(dataset, *RUN[1:]), 1, *words)
    assert not (project / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("data",), ("name the folder to write",)),
        (("data", "out", "more"), ("Usage:",)),
        (("--nonsense",), ("No such option", "--nonsense")),
        (("--extractr",), ("No such option: --extractr; is --extractor or --extra meant?",)),
        (("plan", "data", "--extracter"), ("No such option: --extracter; is --extractor meant?",)),
        (("show", "out", "a task"), ("scaledproc try OUTPUT TASK shows what becomes of one task",)),
        ((*RUN, "--backend", "abacus"), ("'abacus'", "local", "dry-run")),
        ((*RUN, "--shards", "0"), ("--shards", "50GB")),
        ((*RUN, "--shards", "few"), ("--shards", "50GB")),
        ((*RUN, "--chunk", "-1"), ("--chunk",)),
        ((*RUN, "--chunk", "1.5"), ("--chunk", "64MB")),
        ((*RUN, "--jobs", "0"), ("--jobs 0",)),
        ((*RUN, "--jobs", "many"), ("--jobs",)),
        ((*RUN, "--limit", "0"), ("--limit 0",)),
        ((*RUN, "--max-failures", "-1"), ("--max-failures",)),
        ((*RUN, "--max-failures", "101%"), ("--max-failures",)),
        ((*RUN, "--max-failures", "nan%"), ("--max-failures",)),
        ((*RUN, "--max-failures", "some"), ("--max-failures", "5%")),
        ((*RUN, "--unit", "patient"), ("--unit", "'patient'", "folder, stem, file")),
        ((*RUN, "--unit", "(?P<unit>"), ("--unit",)),
        ((*RUN, "--include", "[z-a]"), ("[z-a]",)),
        ((*RUN, "--anchor", "[!]"), ("[!]",)),
        ((*RUN, "--storage-option", "anon"), ("--storage-option", "KEY=VALUE")),
        ((*RUN[:2], "--set", "signal_names=nowhere.toml"), ("--set signal_names=nowhere.toml", "No such file")),
        (("nonsense://x", *RUN[1:]), ("nonsense",)),
        (("data", "data", *RUN[2:]), ("is the dataset itself",)),
        (("data", "data/a/..", *RUN[2:]), ("is the dataset itself",)),
        (("plan",), ("INPUT",)),
        (("plan", "data", "--extractor", "count.py:count", "--jobs", "0"), ("--jobs",)),
        (("plan", "data", "--extractor", "count.py:count", "--jobs", "-2"), ("--jobs",)),
        (("plan", "data", "--extractor", "count.py:count", "--shards", "0"), ("--shards",)),
        (("combine",), ("OUTPUT",)),
    ],
    ids=lambda value: " ".join(value).removeprefix(" ".join(RUN)).strip(),
)
def test_wrong_option(call: Cli, project: Path, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    before = state(project)
    check_refusal(call(*arguments), 2, *words)
    assert state(project) == before


@pytest.mark.slow
def test_errors_in_a_process_of_its_own(cli: Cli, project: Path) -> None:
    check_refusal(cli("nowhere", "out"), 1, "scaledproc: ", "nowhere does not exist")
    check_refusal(cli(*RUN, "--limit", "0"), 2, "scaledproc: --limit 0")
    check_refusal(cli("--nonsense"), 2, "No such option: --nonsense")


def test_dataset_where_the_run_would_write(call: Cli, project: Path) -> None:
    (project / "out").mkdir()
    (project / "data").rename(project / "out/work")
    before = state(project)
    check_refusal(call("out/work", *RUN[1:], "--overwrite"), 2, "the run would write over it")
    assert state(project) == before


def test_output_that_cannot_be_a_folder(call: Cli, project: Path) -> None:
    result = call("data", "count.py/out", *RUN[2:])
    check_refusal(result, 1, "count.py")


def test_damaged_output(call: Cli, project: Path) -> None:
    assert call(*RUN).returncode == 0
    shard = project / "out/shards/00001.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-100])
    check_refusal(call("combine", "out", "--quiet"), 1, "00001.parquet")
    shard.unlink()
    check_refusal(call("combine", "out", "--quiet"), 1, "1 of 2 shards of the finished run are gone")
    (project / "out/run.json").write_text("{")
    for command in (("combine", "out", "--quiet"), ("worker", "out", "--shard", "0"), RUN):
        check_refusal(call(*command), 1, "run.json cannot be read", "--overwrite")
    (project / "out/run.json").unlink()
    for command in (("combine", "out", "--quiet"), ("worker", "out", "--shard", "0")):
        check_refusal(call(*command), 1, "holds no run")


# What is shown


def test_plan_for_a_person(cli: Cli, tree: TreeWriter, tmp_path: Path) -> None:
    tree({"30/a/a.hea": b"1", "30/a/a.dat": b"22", "31/b/b.hea": b"1", "31/b/c.dat": b"x" * 1_000, "c/d.dat": b""})
    before = state(tmp_path)
    result = cli("plan", "data", "--jobs", "2")
    assert result.returncode == 0, result.stderr
    assert "2 tasks in 2 units of 2 groups, 4 files, 1.0 kB" in result.stdout
    assert "2 shards, balance 1.99" in result.stdout
    assert "2 chunks for 2 cores" in result.stdout
    assert "30/a … 30/a" in result.stdout
    assert "warning: 1 *.dat in folders without a header, so that no task reads them: 'c/d.dat'" in result.stdout
    assert "of all bytes" not in result.stdout  # of a kilobyte
    assert state(tmp_path) == before


def test_plan_for_a_program(cli: Cli, project: Path) -> None:
    result = cli("plan", "data", "--extractor", "count.py:count", "--jobs", "2", "--chunk", "1", "--json")
    plan = json.loads(result.stdout)
    made = scaledproc.plan(project / "data", extractor=f"{project}/count.py:count")
    assert plan["plan_id"] == made.plan_id
    assert (plan["tasks"], plan["units"], plan["files"], plan["bytes"]) == (3, 2, 4, 21)
    assert (plan["cores"], plan["chunks"], plan["warnings"]) == (2, 3, list(made.warnings))
    assert plan["balance"] == pytest.approx(18 / 10.5)
    assert plan["shards"][0] == {
        "shard": 0,
        "bytes": 18,
        "tasks": 2,
        "units": 1,
        "chunks": 2,
        "chunks_per_core": 1.0,
        "first_unit": "a",
        "last_unit": "a",
    }


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_plan_without_tasks(call: Cli, project: Path, arguments: tuple[str, ...]) -> None:
    result = call("plan", "data", *arguments)  # the default extractor finds no headers
    assert result.returncode == 1
    assert "nothing to do: no file under" in result.stdout
    assert "name others with --anchor, or another extractor" in result.stdout
    check_refusal(call("plan", "nowhere", *arguments), 1, "does not exist")


def test_quiet(cli: Cli, project: Path) -> None:
    result = cli(*RUN, "--quiet")
    assert result.stderr == ""
    assert "3 rows from 3 tasks" in result.stdout


def test_plain_lines_where_there_is_no_terminal(cli: Cli, project: Path) -> None:
    result = cli(*RUN)
    assert "\x1b" not in result.stderr + result.stdout
    assert "\r" not in result.stderr
    assert "3/3 tasks, 21 B of 21 B" in result.stderr
    assert "combined 3 rows" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_json_for_machines(cli: Cli, call: Cli, project: Path, tree: TreeWriter, jobs: str) -> None:
    tree(POISON)
    (project / "count.py").write_text(COUNT.replace("    content", "    print('extracting')\n    content", 1))
    run = call if jobs == "1" else cli
    result = run(*RUN, "--jobs", jobs, "--json")
    assert result.returncode == 3
    events = events_in(result.stdout)
    assert [event["tasks"] for event in events if event["event"] == "RunStarted"] == [4]
    last = events[-1]
    assert (last["event"], last["tasks"], last["rows"], last["quarantined"]) == ("RunFinished", 4, 3, 1)
    assert last["failures"][0]["anchor"] == "b/4.txt"
    assert sum(event["tasks"] for event in events if event["event"] == "ChunkDone") == 4
    again = events_in(call(*RUN, "--jobs", jobs, "--json").stdout)
    assert [event["already"] for event in again if event["event"] != "Note"] == [True]


def test_what_a_module_prints_is_not_mixed_with_json(call: Cli, project: Path) -> None:
    (project / "count.py").write_text(f"print('loading')\n{COUNT}")
    assert events_in(call(*RUN, "--json").stdout)[-1]["event"] == "RunFinished"
    assert json.loads(call("plan", "data", "--extractor", "count.py:count", "--json").stdout)["tasks"] == 3


def test_names_from_a_dataset_do_not_steer_the_terminal(call: Cli, project: Path, tree: TreeWriter) -> None:
    tree({"\x1b[31m/\x07.txt": b"poison"})
    for result in (call(*RUN), call("plan", "data", "--extractor", "count.py:count")):
        assert result.returncode in (0, 3)
        assert not {"\x1b", "\x07"} & set(result.stdout + result.stderr)


def test_help(cli: Cli, tmp_path: Path) -> None:
    result = cli("--help")
    assert result.returncode == 0
    for command in ("run", "plan", "combine", "worker"):
        assert f"│ {command} " in result.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["run", "plan", "combine", "worker"])
def test_help_of_a_command(call: Cli, command: str) -> None:
    result = call(command, "--help")
    assert result.returncode == 0
    assert "--storage-option" in result.stdout


def test_version(cli: Cli) -> None:
    assert cli("--version").stdout.split()[0] == "scaledproc"


@pytest.mark.slow
def test_module_is_the_same_command(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "scaledproc", "nowhere", "out"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    check_refusal(result, 1, "nowhere does not exist")


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--nonsense"]])
def test_help_imports_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    heavy = ["numpy", "pandas", "pyarrow", "wfdb", "joblib", "fsspec", "s3fs", "boto3", "botocore", "sagemaker"]
    code = (
        "import sys, scaledproc, scaledproc.cli.main\n"
        f"sys.argv = ['scaledproc', *{arguments!r}]\n"
        "try: scaledproc.cli.main.main()\n"
        "except SystemExit: pass\n"
        f"print('heavy:', sorted(set({heavy!r}) & set(sys.modules)))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert result.stdout.splitlines()[-1] == "heavy: []"


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_tasks_meet_pythons_own_settings(cli: Cli, tmp_path: Path, jobs: int) -> None:
    """Whatever the command sets to start faster is over when tasks begin; numeric libraries have one thread."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.txt").touch()
    (tmp_path / "mine.py").write_text(
        "import gc, os, scaledproc\n"
        '@scaledproc.extractor(schema={"between": "string", "threads": "string"}, anchor="*.txt")\n'
        "def mine(task):\n"
        '    return {"between": str(gc.get_threshold()), "threads": os.environ["BLIS_NUM_THREADS"]}\n'
    )
    result = cli("in", "out", "--extractor", "mine.py:mine", "--jobs", str(jobs))
    assert result.returncode == 0, result.stderr
    usual = subprocess.run(
        [sys.executable, "-c", "import gc; print(gc.get_threshold())"], capture_output=True, text=True, check=True
    )
    rows = pq.read_table(tmp_path / "out/features.parquet", columns=["between", "threads"]).to_pylist()
    assert rows == [{"between": usual.stdout.strip(), "threads": "1"}]


# Output folders


def test_dry_run_writes_nothing(cli: Cli, project: Path) -> None:
    before = state(project)
    result = cli(*RUN, "--backend", "dry-run")
    assert result.returncode == 0
    assert f"would run: scaledproc worker {project}/out --shard 1" in result.stderr
    assert f"would run: scaledproc worker {project}/out --combine" in result.stderr
    assert state(project) == before
    assert not (project / "out").exists()


def test_finished_is_left_alone(cli: Cli, call: Cli, project: Path) -> None:
    assert call(*RUN).returncode == 0
    before = state(project)
    result = cli(*RUN, "--chunk", "1", "--shards", "1")  # the cuts do not change the table
    assert result.returncode == 0
    assert "is finished already (3 rows); nothing to do" in result.stdout
    assert state(project) == before


def test_another_plan_is_refused_until_overwrite(call: Cli, project: Path, tree: TreeWriter) -> None:
    assert call(*RUN).returncode == 0
    (project / "out/mine").mkdir()
    (project / "out/mine/notes.txt").write_text("mine")
    tree({"b/5.txt": b"new"})
    before = state(project)
    check_refusal(call(*RUN), 2, "another plan", "--overwrite")
    assert state(project) == before
    assert call(*RUN, "--overwrite").returncode == 0
    assert [row["path"] for row in table(project / "out")] == ["a/1.txt", "a/2.txt", "b/3.txt", "b/5.txt"]
    assert state(project)["out/mine/notes.txt"] == before["out/mine/notes.txt"]


def test_overwrite_leaves_nothing_of_the_run_before(call: Cli, project: Path, tree: TreeWriter) -> None:
    tree({"c/x.txt": b"poison"})
    assert call(*RUN).returncode == 3
    assert (project / "out/shards/00002.parquet").exists()
    (project / "data/c/x.txt").unlink()
    assert call(*RUN, "--overwrite").returncode == 0
    assert call("data", "fresh", *RUN[2:]).returncode == 0
    old, new = tree_bytes(project / "out"), tree_bytes(project / "fresh")
    for name in ("run.json", "tasks.parquet"):  # which have times
        assert old.pop(name) != new.pop(name)
    assert old == new


@pytest.mark.parametrize("name", ["thesis.tex", "work/thesis.tex", "shards/thesis.tex", "features.parquet"])
def test_folder_with_other_files_is_refused(call: Cli, project: Path, name: str) -> None:
    mine = project / "out" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("years of work")
    before = state(project)
    result = call(*RUN)
    assert state(project) == before
    check_refusal(result, 2, "it holds other files", name.split("/")[0])


@pytest.mark.parametrize("name", ["thesis.tex", "work/thesis.tex", "shards/thesis.tex"])
def test_overwrite_keeps_other_files(call: Cli, project: Path, name: str) -> None:
    mine = project / "out" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("years of work")
    call(*RUN, "--overwrite")
    assert mine.read_text() == "years of work"


@pytest.mark.parametrize("left", [["inventory.parquet"], ["inventory.parquet", "plan.parquet"]])
def test_run_that_was_killed_while_it_began(call: Cli, project: Path, left: list[str]) -> None:
    begin(project)
    record = json.loads((project / "out/run.json").read_text())
    for path in (project / "out").iterdir():
        if path.name not in left:
            path.unlink()
    check_refusal(call(*RUN), 2, "other files")  # nothing says that they are a run's
    assert len(list((project / "out").iterdir())) == len(left)
    begun = json.dumps({**record, "state": "beginning"})
    (project / "out/run.json").write_text(begun)
    assert call(*RUN).returncode == 0
    assert len(table(project / "out")) == 3


def test_output_inside_the_dataset_is_not_read_again(call: Cli, project: Path) -> None:
    every_file = ("--anchor", "*")
    command = ("data", "data/results/out", *RUN[2:], *every_file)
    assert call(*command).returncode == 0
    before = table(project / "data/results/out")
    assert [row["path"] for row in before] == ["README", "a/1.txt", "a/2.txt", "b/3.txt", "b/x.bin"]
    assert "finished already" in call(*command).stdout
    assert call(*command, "--overwrite").returncode == 0
    assert table(project / "data/results/out") == before


# The demo


@pytest.mark.slow
def test_demo(cli: Cli, tmp_path: Path) -> None:
    first = cli("--backend", "local")
    assert first.returncode == 0, first.stderr
    assert "a small demo dataset is made, scaledproc-demo/dataset" in first.stderr
    assert "149 rows from 58 tasks" in first.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["scaledproc-demo"]
    assert len(table(tmp_path / "scaledproc-demo")) == 149
    assert (tmp_path / "scaledproc-demo/signal_stats.csv").read_text().startswith('"kind","signal_name","units"')
    before = state(tmp_path)
    second = cli("--backend", "local")
    assert second.returncode == 0
    assert "a small demo dataset is used, scaledproc-demo/dataset" in second.stderr
    assert "finished already (149 rows)" in second.stdout
    assert state(tmp_path) == before


# Extractors of one's own


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["lab/features.py:count", "lab.features:count", "count:count"])
def test_extractor_in_the_current_folder(cli: Cli, project: Path, spec: str) -> None:
    (project / "lab").mkdir()
    (project / "lab/__init__.py").touch()
    (project / "lab/features.py").write_text(COUNT)
    result = cli("data", "out", "--extractor", spec, "--jobs", "2" if spec == "lab.features:count" else "1")
    assert result.returncode == 0, result.stderr
    assert len(table(project / "out")) == 3


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("count.py:counter", ("count.py", "'counter'")),
        ("nowhere.py:count", ("there is no file", "nowhere.py")),
        ("no.where:count", ("'no.where'", "cannot be imported")),
        ("wfdb-sumary", ("'wfdb-sumary'", "wfdb-summary")),
        ("broken.py:count", ("broken.py", "SyntaxError")),
        ("broken:count", ("'broken'", "SyntaxError")),
        ("raises.py:count", ("raises.py", "ZeroDivisionError")),
        ("exits.py:count", ("exits.py", "SystemExit")),
        ("plain.py:count", ("'plain.py:count'", "no extractor", "@scaledproc.extractor")),
        ("schema.py:count", ("schema.py", "schema")),
        ("anchors.py:count", ("no anchor pattern",)),
    ],
)
def test_extractor_that_cannot_be_loaded(call: Cli, project: Path, spec: str, words: tuple[str, ...]) -> None:
    (project / "broken.py").write_text("def count(task) return 1")
    (project / "raises.py").write_text("1 / 0")
    (project / "exits.py").write_text(f"{COUNT}\nraise SystemExit(0)")
    (project / "plain.py").write_text("def count(task): return {}")
    (project / "schema.py").write_text(COUNT.replace('"int64"', '"integer"'))
    (project / "anchors.py").write_text(COUNT.replace('anchor="*.txt"', "anchor=[]"))
    check_refusal(call("data", "out", "--extractor", spec, "--jobs", "1"), 2, *words)
    assert not (project / "out").exists()


def test_limit(call: Cli, project: Path) -> None:
    assert call(*RUN, "--limit", "1").returncode == 0
    assert [row["path"] for row in table(project / "out")] == ["a/1.txt", "a/2.txt"]


def test_unit_stem(call: Cli, project: Path, tree: TreeWriter) -> None:
    tree({"a/1.dat.gz": b"1", "a/1.json": b"1"})
    assert call(*RUN, "--unit", "stem").returncode == 0
    assert [row["beside"] for row in table(project / "out")] == [3, 1, 1]


def test_include_and_exclude(call: Cli, project: Path) -> None:
    assert call(*RUN, "--include", "a/", "--include", "b/**", "--exclude", "2.*").returncode == 0
    assert [(row["path"], row["beside"]) for row in table(project / "out")] == [("a/1.txt", 1), ("b/3.txt", 2)]


# Names of signals


MY_NAMES = '[waveform]\nlead_two = ["II"]\n'


def test_signal_names_are_replaced_without_extracting_again(call: Cli, demo: Path, tmp_path: Path) -> None:
    (tmp_path / "names.toml").write_text(MY_NAMES)
    command = (demo, "out", "--include", "30/3000003/", "--jobs", "1")
    assert call(*command, "--quiet").returncode == 0
    before = pq.read_table(tmp_path / "out/features.parquet")
    shards = state(tmp_path / "out/shards")
    result = call("combine", "out", "--set", "signal_names=names.toml")
    assert result.returncode == 0, result.stderr
    after = pq.read_table(tmp_path / "out/features.parquet")
    assert after.drop_columns("signal_name").equals(before.drop_columns("signal_name"))
    assert names_of(before, "II") == {"II"}
    assert names_of(after, "II") == {"lead_two"}
    assert "SpO2" in names_of(before, "SpO2")
    assert '"lead_two"' in (tmp_path / "out/signal_stats.csv").read_text()
    assert state(tmp_path / "out/shards") == shards
    assert not (tmp_path / "out/work").exists()

    finished = state(tmp_path / "out")
    assert "finished already" in call(*command, "--set", "signal_names=names.toml").stdout
    assert "finished already" in call(*command).stdout
    (tmp_path / "others.toml").write_text("[waveform]\n")
    refused = call(*command, "--set", "signal_names=others.toml")
    (tmp_path / "others.toml").unlink()
    check_refusal(refused, 2, "other options of wfdb-summary (signal_names)", "scaledproc combine")
    assert state(tmp_path / "out") == finished
    assert call(demo, "at-once", *command[2:], "--set", "signal_names=names.toml", "--quiet").returncode == 0
    assert (tmp_path / "at-once/features.parquet").read_bytes() == (tmp_path / "out/features.parquet").read_bytes()


def names_of(features: pa.Table, signal: str) -> set[str]:
    return {row["signal_name"] for row in features.to_pylist() if row["signal"] == signal}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[waveform", ("not TOML",)),
        ("[other]\nx = []", ("section 'other'",)),
        ('[waveform]\nx = "y"', ("list of spellings",)),
        ('[waveform]\na = ["x"]\nb = ["X"]', ("'X' is under a and b",)),
    ],
)
def test_bad_signal_names(call: Cli, demo: Path, tmp_path: Path, content: str, words: tuple[str, ...]) -> None:
    (tmp_path / "names.toml").write_text(content)
    check_refusal(call(demo, "out", "--set", "signal_names=names.toml"), 2, *words)
    assert not (tmp_path / "out").exists()


def test_signal_names_for_an_extractor_that_has_none(call: Cli, project: Path) -> None:
    (project / "names.toml").write_text(MY_NAMES)
    check_refusal(call(*RUN, "--set", "signal_names=names.toml"), 2, "takes no option signal_names")
    assert call(*RUN).returncode == 0
    before = state(project)
    check_refusal(call("combine", "out", "--set", "signal_names=names.toml"), 2, "takes no option signal_names")
    assert state(project) == before


# Workers, and runs that were interrupted


class _StopError(Exception):
    pass


def begin(project: Path) -> None:
    """Leave a run in `out` that was begun, and nothing more."""

    def stop(event: Event) -> None:
        if isinstance(event, RunStarted):
            raise _StopError

    with chdir(project), pytest.raises(_StopError):
        scaledproc.run("data", "out", extractor="count.py:count", jobs=1, on_event=stop)
    assert sorted(tree_bytes(project / "out")) == ["inventory.parquet", "plan.parquet", "run.json"]


OWN = ("run.json", "errors.log", "tasks.parquet", "report.html")  # times, paths


def results(folder: Path) -> dict[str, bytes]:
    """All that must be equal however a run went."""
    return {name: content for name, content in tree_bytes(folder).items() if name not in OWN}


@pytest.mark.slow
def test_workers_do_a_run_that_was_begun(cli: Cli, call: Cli, project: Path, tree: TreeWriter) -> None:
    tree(POISON)
    begin(project)
    elsewhere = project / "elsewhere"
    elsewhere.mkdir()
    check_refusal(call("worker", project / "out", "--combine", cwd=elsewhere), 1, "2 of 2 shards are not there")
    for shard, tasks in (("1", 2), ("0", 2)):
        result = cli("worker", project / "out", "--shard", shard, "--jobs", "1", cwd=elsewhere)
        assert result.returncode == 0, result.stderr
        last = events_in(result.stdout)[-1]
        assert (last["event"], last["shard"], last["tasks"], last["resumed"]) == ("ShardDone", int(shard), tasks, False)
    again = events_in(call("worker", project / "out", "--shard", "0", "--jobs", "1").stdout)
    assert [(event["event"], event["resumed"]) for event in again] == [("ShardDone", True)]
    combined = events_in(call("worker", project / "out", "--combine").stdout)
    assert [(event["event"], event["rows"], event["quarantined"]) for event in combined] == [("CombineDone", 3, 1)]
    assert json.loads((project / "out/run.json").read_text())["state"] == "running"

    shards = state(project / "out/shards")
    finished = call(*RUN, "--json")
    assert finished.returncode == 3
    assert not [event for event in events_in(finished.stdout) if event["event"] == "ChunkDone"]
    assert state(project / "out/shards") == shards
    assert call("data", "whole", *RUN[2:]).returncode == 3
    assert results(project / "out") == results(project / "whole")


def test_one_worker_may_do_it_all(call: Cli, project: Path) -> None:
    begin(project)
    result = call("worker", "out", "--shard", "0", "--shard", "1", "--combine", "--jobs", "1")
    kinds = [event["event"] for event in events_in(result.stdout)]
    expected = ["ChunkDone", "ChunkDone", "CombineDone", "ShardDone", "ShardDone", "ShardState", "ShardState"]
    assert sorted(kinds) == expected
    assert len(table(project / "out")) == 3


@pytest.mark.parametrize(
    "arguments", [(), ("--shard", "2"), ("--shard", "-1"), ("--shard", "x"), ("--shard", "0", "--jobs", "0")]
)
def test_worker_wrong_usage(call: Cli, project: Path, arguments: tuple[str, ...]) -> None:
    begin(project)
    before = state(project)
    check_refusal(call("worker", "out", *arguments), 2)
    assert state(project) == before


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_interrupted_by_the_keyboard_then_continued(
    cli: Cli, call: Cli, project: Path, tree: TreeWriter, jobs: str
) -> None:
    tree({f"a/{number}.txt": b"poison" if number == 3 else b"x" for number in range(8)})
    slow = "    if 'SLOW' in __import__('os').environ: __import__('time').sleep(0.3)\n    content"
    (project / "count.py").write_text(COUNT.replace("    content", slow, 1))
    command = [*RUN, "--jobs", jobs, "--chunk", "1"]
    process = subprocess.Popen(
        [*COMMAND, *command],
        cwd=project,
        env=clean_environment({"SLOW": "yes"}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and len(list(project.glob("out/work/00000/00000[0-9].parquet"))) < 2:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    check_refusal(
        subprocess.CompletedProcess(command, process.returncode, stdout, stderr), 130, "interrupted", "continues"
    )
    continued = cli(*command, "--json")
    assert continued.returncode == 3, continued.stderr
    chunks = [event for event in events_in(continued.stdout) if event["event"] == "ChunkDone"]
    assert sum(event["resumed"] for event in chunks) >= 2
    assert not all(event["resumed"] for event in chunks)
    assert call("data", "whole", *RUN[2:], "--chunk", "1").returncode == 3
    assert results(project / "out") == results(project / "whole")
