"""One task at a time: which one is meant, that its rows are those of a run, and what is told where it fails."""

from __future__ import annotations

import inspect
import json
import os
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from support import Bucket, TreeWriter

import scaledproc
from scaledproc import api
from scaledproc._util.options import declared
from scaledproc._util.process.memory import PeakMemory
from scaledproc.engine.options import RunOptions
from scaledproc.engine.trial import offending_row, own_traceback
from scaledproc.reporting.trial import trial_json, trial_text

FILES = {
    "north/1.csv": b"1,2",
    "north/2.csv": b"3,x",
    "north/station.json": b'{"name": "North"}',
    "south/1.csv": b"5",
    "south/station.json": b'{"name": "South"}',
    "labels.txt": b"a label",
}
SCHEMA = {"station": "string", "day": "string", "sum": "int64", "label": "string"}


@scaledproc.extractor(schema=SCHEMA, anchor="*.csv", reads="labels.txt", with_keys=False)
def sums(task: scaledproc.Task, *, plus: int = 0) -> dict[str, Any]:
    """Sum a file, with what lies beside it and what all tasks read."""
    total = sum(map(int, task.path.read_text().split(",")))
    station = json.loads(task.beside("station.json").read_text())["name"]
    return {
        "station": station,
        "day": task.path.stem,
        "sum": total + plus,
        "label": task.shared("labels.txt").read_text(),
    }


@scaledproc.extractor(schema={"path": "string", "n": "int64"}, anchor="*.csv")
def plain(task: scaledproc.Task) -> dict[str, Any]:
    return {"path": task.anchor, "n": len(task.files)}


@pytest.fixture
def dataset(tree: TreeWriter) -> Path:
    return tree(FILES)


def north(label: str = "a label", plus: int = 0) -> list[dict[str, Any]]:
    return [{"station": "North", "day": "1", "sum": 3 + plus, "label": label}]


# Which task


def test_the_first_task_an_anchor_and_a_glob(dataset: Path) -> None:
    assert scaledproc.try_task(sums, dataset).to_pylist() == north()
    assert scaledproc.try_task(sums, dataset, "south/1.csv")["station"].to_pylist() == ["South"]
    assert scaledproc.try_task(sums, dataset, "s*/*.csv")["station"].to_pylist() == ["South"]
    assert api.trial(sums, dataset, "north/*").among == 2
    assert api.trial(sums, dataset, "south/1.csv").among == 1
    assert scaledproc.try_task(sums, dataset, options={"plus": 4}).to_pylist() == north(plus=4)
    assert scaledproc.try_task(sums, dataset, include="south/**").to_pylist()[0]["station"] == "South"


def test_an_anchor_that_looks_like_a_glob_is_an_anchor(tree: TreeWriter) -> None:
    dataset = tree({"[a].csv": b"", "a.csv": b""})
    assert scaledproc.try_task(plain, dataset, "[a].csv")["path"].to_pylist() == ["[a].csv"]


def test_the_rows_are_those_of_a_run(dataset: Path, tmp_path: Path) -> None:
    run = scaledproc.run(dataset, tmp_path / "out", extractor=sums, jobs=1)
    alone = [scaledproc.try_task(sums, dataset, anchor) for anchor in ("north/1.csv", "south/1.csv")]
    assert pa.concat_tables(alone).equals(run.to_arrow())


def test_finish_is_applied(dataset: Path) -> None:
    def renamed(table: pa.Table) -> pa.Table:
        return table.rename_columns(["file", "n"])

    extractor = scaledproc.extractor(schema={"path": "string", "n": "int64"}, anchor="*.csv", finish=renamed)
    rows = scaledproc.try_task(extractor(plain.function), dataset, with_keys=False)
    assert rows.to_pylist() == [{"file": "north/1.csv", "n": 3}]


def test_a_file_alone(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder is the dataset: that is what it says, and nothing else of the tree is looked at."""
    keys = {"group": ".", "unit": "."}
    rows = scaledproc.try_task(plain, dataset / "north/1.csv").to_pylist()
    assert rows == [{**keys, "anchor": "1.csv", "path": "1.csv", "n": 3}]
    monkeypatch.chdir(dataset / "north")
    rows = scaledproc.try_task(plain, "2.csv").to_pylist()
    assert rows == [{**keys, "anchor": "2.csv", "path": "2.csv", "n": 3}]
    os.mkfifo("pipe")
    (dataset / "north/folder").mkdir()
    (dataset / "north/.hidden").write_text("")
    assert scaledproc.try_task(plain, "2.csv")["n"].to_pylist() == [3]
    assert scaledproc.try_task(plain, "2.csv", hidden=True)["n"].to_pylist() == [4]


@pytest.mark.parametrize(
    ("where", "given", "words"),
    [
        ("", {"task": "nothing"}, "no task begins at 'nothing'; give an anchor or a glob of some: 'north/1.csv', "),
        ("", {"task": "2.cs"}, "no task begins at '2.cs'; give an anchor or a glob of some: 'north/2.csv', "),
        ("north/1.csv", {"task": "1.csv"}, "1.csv is a file, and so a task of its own: leave '1.csv' out"),
        ("north/station.json", {}, r"station.json starts no task of plain by itself: its anchors are \*.csv"),
        ("north/1.csv", {"unit": "(?P<unit>sub-.)/.*"}, "1.csv starts no task of plain by itself"),
        ("gone", {}, "gone does not exist"),
        ("", {"options": {"plus": 1}}, "extractor 'plain' takes no option plus"),
        ("", {"storage_options": {"anon": True}}, "--storage-option anon: .* which has no storage options"),
    ],
)
def test_what_is_no_task(dataset: Path, where: str, given: dict[str, Any], words: str) -> None:
    with pytest.raises(scaledproc.ScaledprocError, match=words):
        scaledproc.try_task(plain, dataset / where, **given)


def test_a_file_alone_lacks_what_all_tasks_read(dataset: Path) -> None:
    with pytest.raises(scaledproc.UsageError, match=r"labels\.txt.*give the dataset's folder, and the task behind it"):
        scaledproc.try_task(sums, dataset / "north/1.csv")


# Tasks of a run


def test_a_task_of_a_run(dataset: Path, tmp_path: Path) -> None:
    output = tmp_path / "out#1"
    file = tmp_path / "mine.py"
    file.write_text(Path(__file__).read_text().split("@pytest.fixture")[0].replace("import pytest\n", ""))
    run = scaledproc.run(dataset, output, extractor=f"{file}:sums", options={"plus": 10}, jobs=1)
    assert run.errors()["anchor"].to_pylist() == ["north/2.csv"]

    with pytest.raises(ValueError, match="'x'"):
        scaledproc.try_task(None, output, failed=1)
    assert scaledproc.try_task(None, f"{output}#north/1.csv").to_pylist() == north(plus=10)
    assert scaledproc.try_task(None, f"{output}#north/1.csv", options={"plus": 20}).to_pylist() == north(plus=20)
    assert scaledproc.try_task(sums, f"{output}#north/1.csv").to_pylist() == north()
    (dataset / "north/2.csv").write_text("1,2,3,4")  # mended: what is there now counts
    (dataset / "labels.txt").write_text("another")
    assert scaledproc.try_task(None, output, failed=1)["sum"].to_pylist() == [20]
    assert scaledproc.try_task(None, output, failed=1)["label"].to_pylist() == ["another"]


@pytest.mark.parametrize(
    ("where", "given", "words"),
    [
        ("out", {"failed": 2}, "--failed 2: the quarantined tasks of .*out are 1 to 1"),
        ("out", {"failed": 0}, "--failed 0: the quarantined tasks"),
        ("data", {"failed": 1}, "data holds no run"),
        (
            "out#gone.csv",
            {},
            r"the run in .*out has no task 'gone.csv'; its plan\.parquet has the anchors: 'north/",
        ),
        ("out#north/2", {}, "has no task 'north/2'; .* the anchors: 'north/2.csv', "),
        ("out#north/1.csv", {"task": "x"}, "'x' is one word too many"),
        ("data", {}, "name what is to be tried"),
    ],
)
def test_what_is_no_task_of_a_run(dataset: Path, tmp_path: Path, where: str, given: dict[str, Any], words: str) -> None:
    scaledproc.run(dataset, tmp_path / "out", extractor=sums, jobs=1)
    with pytest.raises(scaledproc.ScaledprocError, match=words):
        scaledproc.try_task(None, tmp_path / where, **given)


def test_of_a_run_of_a_notebook_the_extractor_must_be_given(dataset: Path, tmp_path: Path) -> None:
    scaledproc.run(dataset, tmp_path / "out", extractor=sums, jobs=1)
    with pytest.raises(scaledproc.UsageError, match=r"name the extractor: .*EXTRACTOR"):
        scaledproc.try_task(None, f"{tmp_path / 'out'}#north/1.csv")


def test_datasets_and_runs_in_s3(s3: Bucket, dataset: Path, tmp_path: Path) -> None:
    for name, content in FILES.items():
        s3.fs.pipe(f"{s3.name}/try/{name}", content)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    given: dict[str, Any] = {"storage_options": s3.storage_options, "scratch": scratch}
    assert scaledproc.try_task(sums, s3.url("try"), "north/1.csv", **given).to_pylist() == north()
    found = scaledproc.try_task(plain, s3.url("try/north/2.csv"), with_keys=False, **given)
    assert found.to_pylist() == [{"path": "2.csv", "n": 3}]
    scaledproc.run(s3.url("try"), s3.url("tried"), extractor=sums, jobs=1, storage_options=s3.storage_options)
    with pytest.raises(ValueError, match="'x'"):
        scaledproc.try_task(sums, s3.url("tried"), failed=1, **given)
    s3.fs.pipe(f"{s3.name}/try/north/2.csv", b"1,2,3,4")
    assert scaledproc.try_task(sums, f"{s3.url('tried')}#north/2.csv", **given)["sum"].to_pylist() == [10]
    assert not list(scratch.iterdir())  # nothing is left


# What it is like


def test_it_is_done_here_with_prints_and_debuggers(
    dataset: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(sys, "breakpointhook", lambda: seen.append(os.getpid()))

    @scaledproc.extractor(schema={"n": "int64"}, anchor="*.csv")
    def talks(task: scaledproc.Task) -> list[Any]:
        print("hello")  # noqa: T201 - that is what is tested
        breakpoint()
        return []

    assert scaledproc.try_task(talks, dataset, "north/1.csv").num_rows == 0
    assert capsys.readouterr().out == "hello\n"
    assert seen == [os.getpid()]


def test_what_it_raises_is_raised(dataset: Path) -> None:
    for error in (KeyError("key"), SystemExit(3), MemoryError("much"), KeyboardInterrupt()):

        @scaledproc.extractor(schema={"n": "int64"}, anchor="*.csv")
        def fails(task: scaledproc.Task, error: BaseException = error) -> list[Any]:
            raise error

        with pytest.raises(type(error)) as raised:
            scaledproc.try_task(fails, dataset)
        assert raised.value is error


def test_a_task_that_changes_its_files_is_told_as_in_a_run(dataset: Path) -> None:
    @scaledproc.extractor(schema={"n": "int64"}, anchor="*.csv")
    def writes(task: scaledproc.Task) -> dict[str, int]:
        task.path.write_text("longer than before")
        return {"n": 1}

    with pytest.raises(Exception, match=r"'north/1\.csv' changed while its task was at work"):
        scaledproc.try_task(writes, dataset)


def test_time_and_memory(dataset: Path) -> None:
    @scaledproc.extractor(schema={"n": "int64"}, anchor="*.csv")
    def large(task: scaledproc.Task) -> dict[str, int]:
        return {"n": len(bytearray(os.urandom(1)) * 300_000_000)}

    done = api.trial(large, dataset)
    assert done.memory is not None
    assert done.memory_before is not None
    assert done.memory - done.memory_before > 200_000_000
    assert 0 < done.seconds < 60
    small = api.trial(plain, dataset)  # what an earlier one took does not count
    assert small.memory is not None
    assert small.memory < done.memory - 200_000_000


def test_a_system_that_tells_little_of_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("scaledproc._util.process.memory._RESET", tmp_path)
    monkeypatch.setattr("scaledproc._util.process.memory._STATUS", tmp_path)
    most = iter([10, 10, 10, 25])
    monkeypatch.setattr("scaledproc._util.process.memory._most_ever", lambda: next(most))
    with PeakMemory() as first:
        pass
    with PeakMemory() as second:
        pass
    assert (first.before, first.peak, second.peak) == (None, None, 25)


# Rows that do not fit


def _as_generator(row: Any) -> Any:
    yield {"path": "a", "n": 1}
    yield row


ROW = {"path": "b", "n": "oops"}
FRAME = {"path": ["a", "b"], "n": ["1", "oops"]}


@pytest.mark.parametrize(
    "returned",
    [
        lambda: ROW,
        lambda: [{"path": "a", "n": 1}, ROW],
        lambda: _as_generator(ROW),
        lambda: pd.DataFrame(FRAME).iloc[1:],
        lambda: [pd.DataFrame({"path": ["a"] * 100, "n": [1] * 100}), pd.DataFrame({"path": ["b"], "n": ["oops"]})],
        lambda: pd.Series(ROW),
        lambda: pl.DataFrame(FRAME)[1:],
        lambda: pa.table(FRAME).slice(1),
    ],
)
def test_the_offending_row_is_known(dataset: Path, returned: Any) -> None:
    @scaledproc.extractor(schema={"path": "string", "n": "int64"}, anchor="*.csv")
    def wrong(task: scaledproc.Task) -> Any:
        return returned()

    done = api.trial(wrong, dataset)
    assert done.error is not None
    row = offending_row(done.error)
    assert row is not None
    assert dict(row.values) == ROW
    assert set(row.columns) == {"n"}
    assert getattr(done.error, "__notes__", ()) == [f"the row: {dict(row.values)!r}"]


def test_a_row_far_down_a_table_is_known(dataset: Path) -> None:
    @scaledproc.extractor(schema={"path": "string", "n": "int64"}, anchor="*.csv")
    def wrong(task: scaledproc.Task) -> Any:
        yield {"path": "x", "n": 0}
        yield pd.DataFrame({"path": [f"{n}" for n in range(300)], "n": [0.5 if n == 251 else n for n in range(300)]})

    error = api.trial(wrong, dataset).error
    assert error is not None
    row = offending_row(error)
    assert row is not None
    assert row.values["path"] == "251"
    assert str(error).startswith("row 253, column 'n': 0.5")


def test_the_traceback_ends_where_the_row_is_yielded(dataset: Path) -> None:
    @scaledproc.extractor(schema={"path": "string", "n": "int64"}, anchor="*.csv")
    def wrong(task: scaledproc.Task) -> Any:
        here = "a local variable"
        yield from _as_generator({"path": here, "n": "oops"})

    error = api.trial(wrong, dataset).error
    assert error is not None
    frames, trace = [], own_traceback(error)
    while trace is not None:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    assert [frame.f_code.co_name for frame in frames] == ["wrong", "_as_generator"]
    assert frames[0].f_locals["here"] == "a local variable"


def test_a_row_beside_its_schema(dataset: Path) -> None:
    @scaledproc.extractor(schema={"path": "string", "n": "int64", "left": "float64"}, anchor="*.csv")
    def wrong(task: scaledproc.Task) -> Any:
        return {"path": "\x1b[31m", "n": 2.5, "left": 1.0, **({"more": 1} if task.group == "south" else {})}

    text = trial_text(api.trial(wrong, dataset), 100)
    assert "\x1b" not in text
    lines = [line.split() for line in text.splitlines()]
    assert ["column", "declared", "given", "wrong"] in lines
    assert any(line[:3] == ["n", "int64", "2.5"] and line[3:7] == ["2.5", "is", "no", "whole"] for line in lines)
    text = trial_text(api.trial(wrong, dataset, "south/*"), 100)
    assert any(line.split() == ["more", "1", "is", "not", "in", "the", "schema"] for line in text.splitlines())
    assert "the row: " not in text  # it is in the table


# How it is shown


def test_wide_rows_are_turned_on_their_side_and_many_are_cut(dataset: Path) -> None:
    names = [f"a_long_name_{number}" for number in range(20)]

    @scaledproc.extractor(schema=dict.fromkeys(names, "float64"), anchor="*.csv", with_keys=False)
    def wide(task: scaledproc.Task) -> Any:
        yield from (dict.fromkeys(names, row / 3) for row in range(30))

    lines = trial_text(api.trial(wide, dataset), 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[2].split() == ["column", "type", "row", "1", "row", "2", "row", "3", "row", "4"]
    assert lines[3].split() == ["a_long_name_0", "double", "0.0", "0.3333333333333333", "0.6666666666666666", "1.0"]
    assert lines[23] == "… and 26 more"
    narrow = trial_text(api.trial(plain, dataset), 80)
    assert narrow.splitlines()[2:4] == [
        "group  unit   anchor       path         n",
        "north  north  north/1.csv  north/1.csv  3",
    ]


def test_json_has_all_that_json_can_have(dataset: Path) -> None:
    schema = {"x": "float64", "b": "binary", "l": pa.list_(pa.float64()), "t": "timestamp[ns]", "s": "string"}

    @scaledproc.extractor(schema=schema, anchor="*.csv", with_keys=False)
    def odd(task: scaledproc.Task) -> Any:
        return {"x": float("nan"), "b": b"\xff", "l": [1.0, float("inf")], "t": pd.Timestamp("2026-01-02"), "s": None}

    found = json.loads(json.dumps(trial_json(api.trial(odd, dataset)), allow_nan=False))
    (row,) = found["rows"]
    assert row == {"x": "nan", "b": "b'\\xff'", "l": [1.0, "inf"], "t": "2026-01-02 00:00:00", "s": None}
    assert found["error"] is None
    assert {each["name"]: each["type"] for each in found["columns"]}["t"] == "timestamp[ns]"


def test_parameters_are_those_of_the_declarations() -> None:
    """Those that a run has too are the same here."""
    options = {each.name: (each.accepts, each.default) for each in declared(RunOptions)}
    own = {"extractor", "path", "task", "failed"}
    parameters = inspect.signature(scaledproc.try_task).parameters
    shared = {name: (each.annotation, each.default) for name, each in parameters.items() if name not in own}
    assert shared == {name: options[name] for name in shared}
    assert len(shared) == 11


@pytest.fixture
def layouts(tree: TreeWriter) -> Path:
    return tree({f"a/{number:02}.txt": b"x" if number in (3, 14) else b"" for number in range(16)})


@scaledproc.extractor(schema={"size": "int64"}, anchor="*.txt")
def of_some(task: scaledproc.Task) -> list[dict[str, int]]:
    return [{"size": 1} for _ in task.path.read_text()]


def test_tasks_without_rows_are_passed_over_and_told(layouts: Path) -> None:
    done = api.trial(of_some, layouts)
    assert (done.task.anchor, done.passed) == ("a/03.txt", ("a/00.txt", "a/01.txt", "a/02.txt"))
    assert trial_text(done, 80).splitlines()[:2] == [
        "task a/03.txt (the first with rows of 16 tasks)",
        "passed over, as without rows: a/00.txt, a/01.txt, a/02.txt",
    ]
    assert trial_json(done)["passed_over"] == ["a/00.txt", "a/01.txt", "a/02.txt"]
    assert api.trial(of_some, layouts, "a/?4.txt").task.anchor == "a/14.txt"


def test_a_task_that_is_named_is_not_passed_over(layouts: Path) -> None:
    done = api.trial(of_some, layouts, "a/00.txt")
    assert (done.task.anchor, done.passed, done.is_empty) == ("a/00.txt", (), True)


def test_where_the_first_few_give_no_rows_the_first_is_shown(layouts: Path) -> None:
    (layouts / "a/03.txt").write_text("")
    done = api.trial(of_some, layouts)
    assert (done.task.anchor, done.is_empty, len(done.passed)) == ("a/00.txt", True, 9)
    text = trial_text(done, 80)
    assert text.startswith("task a/00.txt (the first of 16 tasks)\n0 rows in ")
    assert text.endswith("; nor do the next 9 give any")


def test_a_task_that_fails_behind_one_without_rows_is_shown(layouts: Path) -> None:
    (layouts / "a/01.txt").write_bytes(b"\xff")
    done = api.trial(of_some, layouts)
    assert (done.task.anchor, done.passed, type(done.error)) == ("a/01.txt", ("a/00.txt",), UnicodeDecodeError)
