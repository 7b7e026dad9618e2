"""What the last step says: of a table without rows, and of what an option asked for in vain."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support import TreeWriter

import scaledproc
from scaledproc import Extractor, Task
from scaledproc.api import status
from scaledproc.errors import ScaledprocError
from scaledproc.events import Event, Note, RunFinished
from scaledproc.reporting.next_steps import after_run
from scaledproc.reporting.report.gather import gather
from scaledproc.reporting.report.sentence import worries
from scaledproc.reporting.text import status_text

FILES = {f"{folder}/{name}.txt": name.encode() for folder in "ab" for name in ("x", "y")}


@scaledproc.extractor(schema={"n": "int64"}, anchor="*.txt", tables={"words": {"word": "string"}})
def sparse(task: Task, *, main: int = 0, words: int = 0, bad: str = "") -> Any:
    if task.anchor.startswith(bad or "none"):
        raise ValueError("bad")
    yield from ({"n": n} for n in range(main))
    yield from (scaledproc.rows("words", {"word": "w"}) for _ in range(words))


def run(dataset: Path, out: Path, **options: Any) -> tuple[list[str], list[Event], scaledproc.Run]:
    """The notes of a run, all its events, and the run."""
    events: list[Event] = []
    made = scaledproc.run(dataset, out, on_event=events.append, **{"extractor": sparse, "jobs": 1, **options})
    return [event.text for event in events if isinstance(event, Note)], events, made


@pytest.mark.parametrize("form", ["file", "dataset"])
def test_a_table_without_rows_is_told(tree: TreeWriter, tmp_path: Path, form: str) -> None:
    out, dataset = tmp_path / "out", tree(FILES)
    (note,), events, made = run(dataset, out, table=form)
    assert note.startswith("the table has no rows: 4 tasks gave none without failing; ")
    assert "scaledproc try OUTPUT" in note
    (finished,) = (event for event in events if isinstance(event, RunFinished))
    assert f"scaledproc try {out}" in [step.command for step in after_run(finished)]
    assert note in status_text(status(out))
    first = worries(gather(made))[0]
    assert (first.text, first.weight) == (note, 3)
    assert run(dataset, out, table=form)[0] == [note]  # of a finished run too


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"words": 2}, "the table has no rows; 'words' has 8: 4 tasks gave none"),
        ({"bad": "a"}, "the table has no rows: 2 tasks gave none without failing, 2 failed; "),
        ({"main": 1, "bad": "a"}, None),
        ({"main": 1}, None),
    ],
)
def test_why_there_are_none(tree: TreeWriter, tmp_path: Path, options: dict[str, Any], text: str | None) -> None:
    notes, *_ = run(tree(FILES), tmp_path / "out", options=options, max_failures=4)
    assert [note[: len(text or "")] for note in notes] == ([] if text is None else [text])


def test_where_all_tasks_failed_the_errors_are_named(tree: TreeWriter, tmp_path: Path) -> None:
    files = {name: text for name, text in FILES.items() if name.startswith("a")}
    notes, *_ = run(tree(files), tmp_path / "out", options={"bad": "a"}, max_failures=4)
    assert notes == ["the table has no rows: all tasks failed, errors.parquet tells why"]


class Notices(Extractor):
    """Tells which of the letters that it was asked for no row has."""

    name = "notices"
    anchors = ("*.txt",)

    def __init__(self, wanted: str = "") -> None:
        self.wanted = wanted

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([("letter", pa.string())])

    def extract(self, task: Task) -> Any:
        return {"letter": task.path.read_text()}

    def noticed(self, table: pa.Table) -> Iterable[str]:
        return set(table["letter"].to_pylist())

    def end_notes(self, noticed: frozenset[str]) -> Iterable[str]:
        if self.wanted == "fail":
            raise KeyError("no")
        return [f"no {letter}" for letter in self.wanted if letter not in noticed]


@pytest.mark.parametrize("form", ["file", "dataset"])
def test_an_extractor_tells_what_it_did_not_find(tree: TreeWriter, tmp_path: Path, form: str) -> None:
    dataset = tree(FILES)
    for shards in ("folder", 1, 4):
        out = tmp_path / f"out{shards}"
        options: dict[str, Any] = {"extractor": Notices("axz"), "table": form, "shards": shards}
        assert run(dataset, out, **options)[0] == ["no a", "no z"]
        assert run(dataset, out, **options)[0] == ["no a", "no z"]
    assert status(out).notes == ("no a", "no z")


def test_a_failing_note_is_an_error_with_its_method(tree: TreeWriter, tmp_path: Path) -> None:
    with pytest.raises(ScaledprocError, match=r"the extractor's end_notes\(\) failed: KeyError"):
        run(tree(FILES), tmp_path / "out", extractor=Notices("fail"))
