"""A run whose tasks all fail alike says so while it is under way, and goes on."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from told import Clock, started

import scaledproc
from scaledproc.engine.failing import ENOUGH
from scaledproc.engine.progress import RunProgress
from scaledproc.events import ChunkDone, Event, Failure, Note
from scaledproc.execution.chunks.quarantine import own_place
from scaledproc.plugins import Extractor, Task

CODE = """
import json
import scaledproc

SCHEMA = {"x": "int64"}

@scaledproc.extractor(schema=SCHEMA, anchor="*.txt")
def at_one_line(task):
    return {"x": int("a")}

@scaledproc.extractor(schema=SCHEMA, anchor="*.txt")
def in_a_library(task):
    return {"x": json.loads("{")}

@scaledproc.extractor(schema=SCHEMA, anchor="*.txt")
def chained(task):
    try:
        at_another(task)
    except ValueError as error:
        raise RuntimeError("no number") from error

def at_another(task):
    raise ValueError(task.anchor)

@scaledproc.extractor(schema=SCHEMA, anchor="*.txt")
def of_another_type(task):
    return {"x": "text"}

@scaledproc.extractor(schema=SCHEMA, anchor="*.txt")
def at_two_lines(task):
    if int(task.path.stem) % 2:
        raise ValueError("odd")
    raise ValueError("even")

@scaledproc.extractor(schema=SCHEMA, anchor="*.txt")
def once_right(task):
    if task.path.stem == "0":
        return {"x": 1}
    raise ValueError("not the first one")

@scaledproc.extractor(schema=SCHEMA, anchor="*.txt")
def that_exits(task):
    import os
    os._exit(3)
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(CODE)
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(60):
        (folder / f"{number}.txt").write_text("x")
    return folder


def notes_of(data: Path, name: str, **options: object) -> list[str]:
    events: list[Event] = []
    source = f"{data.parent / 'mine.py'}:{name}"
    given = {"max_failures": None, "chunk": 12, "jobs": 1, **options}
    scaledproc.run(data, data.parent / "out", extractor=source, on_event=events.append, **given)  # type: ignore[arg-type]
    return [event.text for event in events if isinstance(event, Note) and "SO FAR FAILED" in event.text]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("at_one_line", "at mine.py:9; the extractor itself may be wrong:\n  ValueError: invalid literal"),
        ("in_a_library", "at mine.py:13; the extractor itself may be wrong:\n  JSONDecodeError: "),
        ("chained", "at mine.py:20; the extractor itself may be wrong:\n  RuntimeError: no number"),
        ("of_another_type", "FAILED, those looked at alike; the extractor itself may be wrong:\n  SchemaError: "),
    ],
)
def test_tasks_that_fail_alike_are_told_once_with_the_line_and_how_to_try_one(data: Path, name: str, said: str) -> None:
    (note,) = notes_of(data, name)
    assert note.startswith("ALL 24 TASKS")  # at the end of the second chunk: one of them says too little
    assert said in note
    assert note.endswith(f"scaledproc try '{data.parent / 'out'}#0.txt'")


@pytest.mark.parametrize("name", ["at_two_lines", "once_right"])
def test_tasks_that_fail_in_several_ways_are_what_quarantine_is_for(data: Path, name: str) -> None:
    assert notes_of(data, name) == []


def test_a_crash_says_nothing_of_a_line(data: Path) -> None:
    for number in range(24, 60):
        (data / f"{number}.txt").unlink()
    assert notes_of(data, "that_exits", chunk=8, jobs=2) == []


def test_where_few_tasks_fail_or_all_are_done_the_end_tells(data: Path) -> None:
    assert notes_of(data, "at_one_line", chunk=60) == []
    for number in range(ENOUGH - 1, 60):
        (data / f"{number}.txt").unlink()
    assert notes_of(data, "at_one_line", chunk=2, overwrite=True) == []


def test_a_built_in_fails_for_its_data(tmp_path: Path) -> None:
    for number in range(60):
        (tmp_path / "data" / str(number)).mkdir(parents=True)
        (tmp_path / "data" / str(number) / "x.hea").write_text("no header")
    events: list[Event] = []
    run = scaledproc.run(
        tmp_path / "data", tmp_path / "out", chunk=12, jobs=1, max_failures=None, on_event=events.append
    )
    assert run.quarantined == 60
    failures = [failure for event in events if isinstance(event, ChunkDone) for failure in event.failures]
    assert {failure.place for failure in failures} == {""}
    assert not [event for event in events if isinstance(event, Note) and "SO FAR FAILED" in event.text]


class Broken(Extractor):
    name = "broken"
    schema = pa.schema([("x", "int64")])
    anchors = ("*.txt",)

    def extract(self, task: Task) -> None:
        raise KeyError(task.anchor)


def test_a_class_has_a_place_too(data: Path) -> None:
    events: list[Event] = []
    scaledproc.run(
        data, data.parent / "out", extractor=Broken(), chunk=12, jobs=1, max_failures=None, on_event=events.append
    )
    places = {each.place for event in events if isinstance(event, ChunkDone) for each in event.failures}
    assert [place.partition(":")[0] for place in places] == ["test_all_alike.py"]


@pytest.mark.parametrize(
    "trace",
    [
        "",
        "no traceback at all",
        'Traceback (most recent call last):\n  File "/x/y.py", line 3, in f\n    x\nValueError: y',
        'Fatal Python error: Segmentation fault\n\n  File "/x/y.py", line 3 in f\n',
    ],
)
def test_what_is_no_traceback_of_a_task_has_no_place(trace: str) -> None:
    assert own_place(trace) == ""


def test_a_library_below_a_built_in_extractor_is_no_place_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/ragged.csv").write_text("id,value\n1,2,3\n")
    events: list[Event] = []
    scaledproc.run(
        tmp_path / "data", tmp_path / "out", extractor="table", jobs=1, max_failures=None, on_event=events.append
    )
    failures = [failure for event in events if isinstance(event, ChunkDone) for failure in event.failures]
    assert [(failure.kind, failure.place) for failure in failures] == [("exception", "")]


def test_progress_tells_the_first_failure_and_how_many_more() -> None:
    progress = RunProgress(started(100, 100, 1), Clock())
    assert progress.failing_text() == ""
    first = Failure("g", "u", "a/1.txt", "exception", "ValueError", "bad\nnumber 1", "mine.py:3")
    progress.add(ChunkDone(0, 5, 4, 5, 1.0, 1, (first,), chunk=0))
    assert progress.failing_text() == "a/1.txt: ValueError: bad number 1 (mine.py:3)"
    second = Failure("g", "u", "a/2.txt", "exception", "ValueError", "bad\nnumber 2", "mine.py:3")
    progress.add(ChunkDone(0, 5, 3, 5, 1.0, 2, (second,), chunk=1))
    assert progress.failing_text() == "a/1.txt and 2 more: ValueError: bad number 1 (mine.py:3)"
    other = Failure("g", "u", "a/3.txt", "exception", "KeyError", "x", "mine.py:4")
    progress.add(ChunkDone(0, 5, 4, 5, 1.0, 1, (other,), chunk=2))
    assert progress.failing_text() == "a/1.txt and 3 more, not all alike: ValueError: bad number 1 (mine.py:3)"
