"""Each option is declared once; what Python, the command line, files and run.json have follows from it."""

from __future__ import annotations

import inspect
import json
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from support import TreeWriter

import scaledproc
from scaledproc import api
from scaledproc._util.options import declared, option, texts
from scaledproc._util.process.signals import GRACE
from scaledproc._util.types import Where
from scaledproc._util.units import parse_seconds
from scaledproc.cli.main import app
from scaledproc.engine.options import FetchOptions, FileOptions, PlanOptions, RunOptions, storage_words
from scaledproc.engine.provenance import _recorded
from scaledproc.errors import TooManyFailuresError, UsageError
from scaledproc.execution.limits import Limits
from scaledproc.extractors import Task

NOT_OPTIONS = {"dataset", "output", "source", "dest", "settings", "on_event", "ask"}
"""Parameters of functions that are places, or that only a program can give."""
FUNCTIONS: list[tuple[Callable[..., Any], type]] = [
    (api.plan, PlanOptions),
    (api.run, RunOptions),
    (api.fetch, FetchOptions),
]


@pytest.mark.parametrize(("function", "options"), FUNCTIONS)
def test_signatures_are_those_of_the_declarations(function: Callable[..., Any], options: type) -> None:
    parameters = {
        name: (each.annotation, each.default)
        for name, each in inspect.signature(function).parameters.items()
        if name not in NOT_OPTIONS
    }

    expected = {each.name: (each.accepts, each.default) for each in declared(options)}
    assert parameters == expected, "each field is a parameter of the functions in scaledproc/api/"


@pytest.mark.parametrize(("function", "options"), FUNCTIONS)
def test_each_parameter_is_documented(function: Callable[..., Any], options: type) -> None:
    about = inspect.getdoc(function) or ""
    lines = about.split("Parameters\n----------")[1].split("\n\n")[0].splitlines()
    names = {name for line in lines if not line.startswith(" ") for name in line.split(", ")}

    assert {each.name for each in declared(options)} - names == set(), "say below Parameters what each is"


@pytest.mark.parametrize(("command", "options"), [("run", RunOptions), ("plan", PlanOptions), ("fetch", FetchOptions)])
def test_each_option_is_a_flag_with_its_help_and_default(command: str, options: type) -> None:
    flags = {flag: each for each in typer.main.get_command(app).commands[command].params for flag in each.opts}  # type: ignore[attr-defined]
    for each in declared(options):
        if each.flag:
            assert each.help in flags[each.flag].help
            assert each.default_text in flags[each.flag].help


def test_every_option_says_what_it_does() -> None:
    for options in (RunOptions, FetchOptions):
        for each in declared(options):
            assert each.help.endswith("."), each.name


def test_the_file_knows_every_option_but_those_of_one_start() -> None:
    left_out = {each.name for each in declared(RunOptions) if not each.about["in_file"]}
    assert left_out == {"overwrite", "update", "retry_failed", "reuse", "options"}  # what one start is for


def test_time_to_finish_is_what_the_signals_module_has() -> None:
    (grace,) = (each for each in declared(RunOptions) if each.name == "grace")
    assert parse_seconds(grace.command_default, "--grace") == GRACE


def test_limits_are_options_of_a_run() -> None:
    options = RunOptions.parse({"task_timeout": "5m", "memory_per_worker": "2GB", "task_retries": 1, "dataset": "x"})
    assert options.limits == Limits(300.0, 2_000_000_000, 1)
    assert Limits.of(options.limits.to_options()) == options.limits


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"limit": 0}, "--limit 0: give 1 or more"),
        ({"limit": True}, "--limit True"),
        ({"task_retries": -1}, "--task-retries -1: give 0 or more"),
        ({"worker_lifespan": 0}, "--worker-lifespan 0: give a number of chunks"),
        ({"retry_on": "crash"}, "--retry-on 'crash': give one or several of timeout, memory, exception"),
        ({"memory_step": 0.5}, "--memory-step 0.5: give a number from 1 to 100"),
        ({"task_timeout": "soon"}, "--task-timeout 'soon': give seconds"),
        ({"memory_per_worker": "1MB"}, "--memory-per-worker '1MB': give a size such as 2GB, 256 MB or more"),
        ({"max_failures": 0.5}, "--max-failures '0.5': give a number of tasks"),
        ({"max_failures": "101%"}, "--max-failures"),
        ({"grace": "long"}, "--grace 'long': give seconds"),
        ({"shards": "few"}, "--shards 'few'"),
        ({"chunk": 0}, "--chunk '0'"),
        ({"jobs": 0}, "--jobs 0: give 1 or more"),
        ({"jobs": "4"}, "--jobs '4': give 1 or more"),
        ({"include": 5}, "--include 5: give a text, or several"),
        ({"exclude": ["a", 5]}, r"--exclude \['a', 5\]: give a text, or several"),
        ({"anchor": b"ab"}, "--anchor b'ab': give a text, or several"),
        ({"hidden": "no"}, "--hidden 'no': give True or False"),
        ({"overwrite": 0}, "--overwrite 0: give True or False"),
        ({"unit": 5}, "--unit 5: give a text"),
    ],
)
def test_values_that_cannot_be(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        RunOptions.parse(given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"records": "4"}, "--records '4': give 1 or more"),
        ({"records": 0}, "--records 0: give 1 or more"),
        ({"limit": 0}, "--limit 0: give 1 or more"),
        ({"groups": "30,,31"}, "--groups '30,,31': give top folders such as 30-39 or 30,32,35-37"),
        ({"groups": ""}, "--groups '': give top folders"),
        ({"groups": " / "}, "--groups ' / ': give top folders"),
        ({"groups": 30}, "--groups 30: give a text"),
        ({"password": b"5"}, r"password \*\*\*: give a text"),
    ],
)
def test_values_that_a_fetch_cannot_have(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        FetchOptions.parse(given)


@dataclass(frozen=True)
class MoreOptions(RunOptions):
    """As they are after someone added some of each kind: a field each, and nothing else."""

    is_on: bool = option(True, "Whether it is on.", record=True)
    count: int | None = option(3, "A number of things.", record=True)
    share: float = option(0.5, "A share.", record="part")
    size: str | int = option(50, "A size.", record=True)
    names: tuple[str, ...] = option(("a", "b"), "Some names.", read=texts, record=True)
    file: Where | None = option(Path("a/b"), "A file.", record=True)
    place: Where | None = option("https://me:secret@host/x", "A URL.", record=True)
    pairs: Mapping[str, Any] | None = option(None, "Some pairs.", record=True)
    nothing: Where | None = option(None, "A file that is not given.", record=True)


def test_an_option_of_any_kind_is_recorded_by_its_field(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a\n")
    given = {
        "include": "*.txt",
        "inventory": Path("list"),
        "shards": 4,
        "limit": 2,
        "task_timeout": "5m",
        "pairs": {"a": 1},
    }
    record = _recorded(MoreOptions.parse({**given, "only": tmp_path / "list.txt"}), path_of)
    only = record.pop("only")
    assert (
        json.loads(json.dumps(record))
        == record
        == {
            "task_timeout": 300.0,
            "memory_per_worker": None,
            "task_retries": 0,
            "worker_lifespan": None,
            "retry_on": [],
            "memory_step": 1.0,
            "keep_logs": False,
            "report": True,
            "include": ["*.txt"],
            "exclude": [],
            "unit": path_of.unit,
            "anchors": ["*.txt"],
            "hidden": False,
            "compare": "listed",
            "with_keys": None,
            "limit": 2,
            "inventory": "list",
            "shards": "4",
            "chunk": "auto",
            "is_on": True,
            "count": 3,
            "part": 0.5,
            "size": "50",
            "names": ["a", "b"],
            "file": "a/b",
            "table": "file",
            "place": "https://***@host/x",
            "pairs": {"a": 1},
            "nothing": None,
        }
    )
    assert only.startswith(f"{tmp_path}/list.txt (sha256:")


def test_texts_are_one_or_several() -> None:
    assert FileOptions.parse({"include": "*.hea"}).include == ("*.hea",)
    assert FileOptions.parse({"include": ["a", "b"]}).include == ("a", "b")


def test_storage_options_of_words() -> None:
    assert storage_words(["anon=true", "input.key=a=b"]) == {"anon": True, "input.key": "a=b"}
    with pytest.raises(UsageError, match="KEY=VALUE"):
        storage_words(["anon"])


@scaledproc.extractor(schema={"path": "string"}, anchor="*.txt")
def path_of(task: Task) -> dict[str, str]:
    if task.path.read_bytes() == b"poison":
        raise ValueError(task.anchor)
    return {"path": task.anchor}


@pytest.mark.parametrize(("most", "fails"), [(None, False), (1, False), ("50%", False), (0, True), ("24.9%", True)])
def test_a_run_with_too_many_failures_is_finished_and_told(
    tree: TreeWriter, tmp_path: Path, most: str | int | None, fails: bool
) -> None:
    dataset = tree({"a/1.txt": b"", "a/2.txt": b"poison", "a/3.txt": b"", "a/4.txt": b""})

    def go() -> int:
        done = scaledproc.run(dataset, tmp_path / "out", extractor=path_of, jobs=1, max_failures=most)
        return done.quarantined

    for _ in range(2):  # the second finds it finished
        if fails:
            with pytest.raises(TooManyFailuresError, match="1 of 4 tasks are quarantined, more than --max-failures"):
                go()
        else:
            assert go() == 1
    assert json.loads((tmp_path / "out/run.json").read_text())["state"] == "done"


@scaledproc.extractor(schema={"path": "string"}, anchor="*.txt")
def interrupting(task: Task) -> dict[str, str]:
    os.kill(os.getpid(), signal.SIGINT)
    return {"path": task.anchor}


@pytest.mark.parametrize(("grace", "chunks"), [("10s", 1), (None, 0)])
def test_time_to_finish_what_is_at_work(tree: TreeWriter, tmp_path: Path, grace: str | None, chunks: int) -> None:
    dataset = tree({"a/1.txt": b"", "a/2.txt": b""})
    before = signal.getsignal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        scaledproc.run(dataset, tmp_path / "out", extractor=interrupting, jobs=1, chunk=1, grace=grace)

    assert signal.getsignal(signal.SIGINT) is before
    assert len(list((tmp_path / "out/work").glob("00000/*.parquet"))) == chunks


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda at: scaledproc.plan(at, options=5), "--set: give a mapping .* int"),  # type: ignore[arg-type]
        (lambda at: scaledproc.plan(at, options={5: 1}), "--set: the names are texts, which 5 is not"),  # type: ignore[dict-item]
        (lambda at: scaledproc.plan(at, storage_options=5), "--storage-option: give a mapping"),  # type: ignore[arg-type]
        (lambda at: scaledproc.plan(at, storage_options=[("a", 1)]), "--storage-option: give a mapping .* list"),  # type: ignore[arg-type]
        (lambda at: scaledproc.plan(at, only=5), "--only: give a path or URL"),  # type: ignore[arg-type]
        (lambda at: scaledproc.plan(at, inventory=5), "--inventory: give a path or URL"),  # type: ignore[arg-type]
        (lambda _: scaledproc.plan(5), "dataset: give a path or URL, not a value of type int"),  # type: ignore[arg-type]
        (lambda at: scaledproc.run(at, 5), "output: give a path or URL"),  # type: ignore[arg-type]
        (lambda at: scaledproc.run(at, at / "o", scratch=5), "--scratch: give a path or URL"),  # type: ignore[arg-type]
        (lambda at: scaledproc.run(at, at / "o", settings=5), "settings: give a mapping"),  # type: ignore[arg-type]
        (lambda at: scaledproc.run(at, at / "o", backend=5), "backend: give a backend or its name"),  # type: ignore[arg-type]
        (lambda at: scaledproc.status(at, storage_options=5), "storage_options: give a mapping"),  # type: ignore[arg-type]
        (lambda at: scaledproc.status(5), "output: give a path or URL"),  # type: ignore[arg-type]
        (lambda at: scaledproc.stop(at, settings=5), "settings: give a mapping"),  # type: ignore[arg-type]
        (lambda at: scaledproc.fetch(at, 5), "dest: give a path or URL"),  # type: ignore[arg-type]
        (lambda at: scaledproc.fetch(5, at / "o"), "source: give a path or URL"),  # type: ignore[arg-type]
    ],
)
def test_what_is_of_another_kind_is_refused_by_its_name(
    tmp_path: Path, call: Callable[[Path], object], words: str
) -> None:
    with pytest.raises(scaledproc.UsageError, match=words):
        call(tmp_path)
    assert list(tmp_path.iterdir()) == []
