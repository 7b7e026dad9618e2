"""Updates: what changed is done, the rest is reused, and the result is that of a run from nothing."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import Cli, tree_bytes

import scaledproc
from scaledproc import api
from scaledproc.errors import OtherPlanError
from scaledproc.events import ChunkDone, Event, Note, ReuseFound, RunFinished, RunStarted, ShardDone
from scaledproc.execution import scheduler
from scaledproc.execution.tables import combine as combine_step
from scaledproc.extractors import Task
from scaledproc.run_folder.names import UPDATE
from scaledproc.run_folder.record import digest_of_content
from scaledproc.storage.local_store import LocalStore
from scaledproc.storage.parquet import Writer
from scaledproc.storage.store import Store
from scaledproc.testing import output_bytes

own_open = LocalStore.open


def noting(opened: list[str]) -> Callable[[LocalStore, str], Any]:
    """A store's `open` that notes what it is asked for."""

    def open_it(store: LocalStore, name: str) -> Any:
        opened.append(name)
        return own_open(store, name)

    return open_it


SCHEMA = {"path": "string", "value": "int64", "beside": pa.list_(pa.int64())}


class StopError(Exception):
    """Ends a run from within."""


class Place:
    """A dataset, the output of its run, and what its tasks did."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data, self.output = folder / "data", folder / "out"
        self.factor = 1
        self.computed: list[str] = []
        self.events: list[Event] = []
        self.stops: int | None = None

    def write(self, path: str, text: str) -> None:
        (self.data / path).parent.mkdir(parents=True, exist_ok=True)
        (self.data / path).write_text(text)

    def extractor(self) -> scaledproc.Extractor:
        factor, computed = self.factor, Quiet(self.computed)

        @scaledproc.extractor(schema=SCHEMA, anchor="*.txt")
        def measure(task: Task) -> Any:
            computed.add(task.anchor)
            text = task.path.read_text()
            if text.startswith("bad"):
                raise ValueError(text)
            sizes = [task.beside(name.rpartition("/")[2]).stat().st_size for name in sorted(task.files)]
            return [
                {"path": task.anchor, "value": len(text) * factor + n, "beside": sizes} for n in range(len(text) % 4)
            ]

        return measure

    def run(self, output: Path | None = None, **options: Any) -> scaledproc.Run:
        self.computed.clear()
        self.events.clear()
        options = {"extractor": self.extractor(), "jobs": 1, "on_event": self.hear, **options}
        with pytest.MonkeyPatch.context() as patch:
            if self.stops is not None:  # what is made together would be done before any of it is heard
                patch.setattr(scheduler, "MOST_TOGETHER", 1)
            return scaledproc.run(self.data, output or self.output, **options)

    def hear(self, event: Event) -> None:
        self.events.append(event)
        if self.stops is not None and isinstance(event, (ChunkDone, ShardDone)):
            self.stops -= 1
            if self.stops < 0:
                raise StopError

    def found(self) -> ReuseFound:
        (found,) = (event for event in self.events if isinstance(event, ReuseFound))
        return found

    def notes(self) -> str:
        return "\n".join(event.text for event in self.events if isinstance(event, Note))

    def check(self, **options: Any) -> None:
        """The output is that of a run from nothing, and nothing else is in its folder."""
        computed, events = list(self.computed), list(self.events)
        shutil.rmtree(self.folder / "fresh", ignore_errors=True)
        fresh = self.run(self.folder / "fresh", **options)
        self.computed, self.events = computed, events
        assert output_bytes(scaledproc.Run.open(self.output).store) == output_bytes(fresh.store)
        assert tree_bytes(self.output).keys() == tree_bytes(self.folder / "fresh").keys()
        verified = api.verify(self.output)
        assert verified.ok, verified.problems
        assert scaledproc.Run.open(self.output).record.plan_id == fresh.record.plan_id


class Quiet:
    """What an extractor may write to without being another one by that."""

    def __init__(self, into: list[str]) -> None:
        self.add = into.append

    def __reduce__(self) -> tuple[Any, ...]:
        return Quiet, ([],)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    for group in "abc":
        for unit in range(3):
            for name in "xy":
                place.write(f"{group}/{unit}/{name}.txt", f"{group}{unit}{name}" * (1 + unit))
    place.write("b/1/y.txt", "bad luck")
    return place


# Whatever changes


texts = st.text("abcd", min_size=0, max_size=9) | st.just("bad")
paths = st.builds("{}/{}/{}.txt".format, st.sampled_from("abcd"), st.integers(0, 2), st.sampled_from("xyz"))
changes = st.one_of(
    st.tuples(st.just("write"), paths, texts),
    st.tuples(st.just("remove"), paths, st.just("")),
    st.tuples(st.just("touch"), paths, st.just("")),
    st.tuples(st.just("code"), st.just(""), st.just("")),
)


def apply(place: Place, kind: str, path: str, text: str) -> None:
    file = place.data / path
    if kind == "write":
        place.write(path, text)
    elif kind == "remove" and file.is_file():
        file.unlink()
    elif kind == "touch" and file.is_file():
        os.utime(file)
    elif kind == "code":
        place.factor += 1


def check_updates(
    folder: Path, steps: list[list[tuple[str, str, str]]], shards: str | int, chunk: str | int, stops: int | None
) -> None:
    """Change things, update, and compare with a run from nothing, again and again."""
    place = Place(folder)
    for name in ("a/0/x.txt", "a/0/y.txt", "a/1/x.txt", "b/0/x.txt", "d/2/z.txt"):
        place.write(name, name)
    place.write("keep/0/x.txt", "always there")
    place.run(shards=shards)
    for step in steps:
        for change in step:
            apply(place, *change)
        place.stops = stops
        try:
            place.run(update=True, shards=shards, chunk=chunk)
        except StopError:
            place.stops = None
            place.run(update=True, shards=shards, chunk=chunk)
        place.stops = None
        place.check(shards=shards)


any_updates = given(
    steps=st.lists(st.lists(changes, max_size=5), min_size=1, max_size=3),
    shards=st.sampled_from(["folder", 1, 3]),
    chunk=st.sampled_from([1, 2, "auto"]),
    stops=st.none() | st.integers(0, 4),
)
slow_to_make = [HealthCheck.function_scoped_fixture]


@settings(max_examples=7, deadline=None, suppress_health_check=slow_to_make)
@any_updates
def test_an_update_is_a_run_from_nothing(tmp_path_factory: pytest.TempPathFactory, **drawn: Any) -> None:
    check_updates(tmp_path_factory.mktemp("update"), **drawn)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=slow_to_make)
@any_updates
def test_any_update_is_a_run_from_nothing(tmp_path_factory: pytest.TempPathFactory, **drawn: Any) -> None:
    check_updates(tmp_path_factory.mktemp("update"), **drawn)


def test_only_what_changed_is_done(place: Place) -> None:
    place.run()
    place.write("b/1/y.txt", "better")
    place.write("a/0/z.txt", "new beside others")
    place.write("d/0/x.txt", "new")
    shutil.rmtree(place.data / "c/2")
    run = place.run(update=True)
    assert sorted(place.computed) == ["a/0/x.txt", "a/0/y.txt", "a/0/z.txt", "b/1/x.txt", "b/1/y.txt", "d/0/x.txt"]
    assert place.found().text.startswith("6 of 18 tasks: 1 new, 5 of changed files; about ")
    assert place.found().reasons == {"new": 1, "changed": 5}
    (started,) = (event for event in place.events if isinstance(event, RunStarted))
    assert (started.tasks, started.output) == (6, str(place.output))
    (finished,) = (event for event in place.events if isinstance(event, RunFinished))
    assert (finished.tasks, finished.output, finished.quarantined) == (18, str(place.output), 0)
    assert run.record.counts["reused"] == 12
    status = {row["anchor"]: row["status"] for row in tasks(place.output)}
    assert {anchor for anchor, what in status.items() if what == "done"} == set(place.computed)
    assert [row["rows"] for row in tasks(place.output)] == [row["rows"] for row in fresh_tasks(place)]
    place.check()
    place.run(update=True)
    assert not place.computed
    assert place.events[-1].already  # type: ignore[attr-defined]


def tasks(output: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(output / "tasks.parquet").to_pylist()
    return rows


def fresh_tasks(place: Place) -> list[dict[str, Any]]:
    computed, events = list(place.computed), list(place.events)
    place.run(place.folder / "again")
    place.computed, place.events = computed, events
    return tasks(place.folder / "again")


def test_what_failed_is_tried_again(place: Place) -> None:
    place.run()
    place.run(retry_failed=True)
    assert place.computed == ["b/1/y.txt"]
    assert place.found().text.startswith("1 of 18 tasks: 1 failed earlier")
    place.check()
    assert [row["status"] for row in tasks(place.output)].count("quarantined") == 1
    place.write("b/1/y.txt", "good")
    with pytest.raises(OtherPlanError, match=r"1 unit changed\n.*\n  --update does 2 of 18 tasks: 2 of changed files"):
        place.run(retry_failed=True)
    os.utime(place.data / "a/0/x.txt")
    place.write("b/1/y.txt", "bad luck")
    with pytest.raises(scaledproc.ScaledprocError, match=r"though not in size.*--update does 4 of 18 tasks"):
        place.run(retry_failed=True)
    assert not place.computed


def test_a_task_that_failed_for_a_passing_reason(place: Place) -> None:
    place.run()
    (place.data / "b/1/y.txt").write_text("mended!!")  # as long as before, so that the plan is the same
    place.run(update=True)
    place.check()
    place.run(retry_failed=True)
    assert not place.computed, "none failed"


def test_touch_costs_one_unit(place: Place) -> None:
    place.write("b/1/y.txt", "fine")
    place.run()
    os.utime(place.data / "c/1/x.txt")
    place.run(update=True)
    assert sorted(place.computed) == ["c/1/x.txt", "c/1/y.txt"]
    place.check()


def test_other_code_does_all_and_another_finish_none(place: Place) -> None:
    place.run()
    place.factor = 2
    with pytest.raises(
        OtherPlanError, match=r"enclosed factor: 2, was 1\n.*\n  --update does 18 of 18 tasks: 18 of other code"
    ):
        place.run()
    place.run(update=True)
    assert len(place.computed) == 18
    place.check()

    def finishing(more: int) -> scaledproc.Extractor:
        import pyarrow.compute as pc

        def finish(table: Any) -> Any:
            return table.set_column(1, table.schema.field(1), pc.add(table["value"], more))

        made = place.extractor()
        made.given_finish = finish  # type: ignore[attr-defined]
        return made

    place.run(extractor=finishing(1), update=True)
    assert place.computed == ["b/1/y.txt"]  # which failed
    place.run(extractor=finishing(2), update=True)
    assert (place.computed, place.found().reasons) == (["b/1/y.txt"], {"failed": 1})
    fresh = place.run(place.folder / "another", extractor=finishing(2))
    assert len(place.computed) == 18
    assert output_bytes(fresh.store) == output_bytes(scaledproc.Run.open(place.output).store)
    place.factor = 3  # which the rows depend on too
    place.run(extractor=finishing(2), update=True)
    assert len(place.computed) == 18
    assert place.found().reasons == {"extractor": 18}


def test_results_that_were_damaged_are_done_again(place: Place) -> None:
    place.run()
    content = bytearray((place.output / "shards/00001.parquet").read_bytes())
    content[8] ^= 1
    (place.output / "shards/00001.parquet").write_bytes(content)
    (place.output / "shards/00002.parquet").unlink()
    place.write("a/0/x.txt", "changed")
    place.run(update=True)
    assert place.found().reasons == {"changed": 2, "damaged": 11, "failed": 1}
    assert (
        "shards/00001.parquet is not what was written (its SHA-256 differs): its tasks are done again" in place.notes()
    )
    assert "shards/00002.parquet is gone" in place.notes()
    place.check()


def test_a_run_whose_files_are_gone_is_mended(place: Place) -> None:
    place.run()
    (place.output / "shards/00002.parquet").unlink()
    (place.output / "features.parquet").unlink()
    place.run(update=True)
    assert place.found().reasons == {"damaged": 6, "failed": 1}
    place.check()


def list_of_anchors(place: Place) -> set[str]:
    return {str(path.relative_to(place.data)) for path in place.data.rglob("*.txt")}


@pytest.mark.parametrize("stops", [0, 3, 12])
def test_an_update_that_is_continued_has_the_options_of_its_last_command(place: Place, stops: int) -> None:
    place.write("b/1/y.txt", "nothing that fails")
    place.run()
    place.factor += 1
    place.stops = stops
    with contextlib.suppress(StopError):
        place.run(update=True, chunk=1, task_retries=1)
    place.stops = None
    run = place.run(update=True, chunk=1, table="dataset", keep_logs=True, task_retries=2)
    options = run.record.options
    assert (options["table"], options["keep_logs"], options["task_retries"]) == ("dataset", True, 2)
    place.check(table="dataset", keep_logs=True, task_retries=2)


def test_an_update_of_nothing_says_so(place: Place) -> None:
    place.run(update=True)
    assert "holds no run that could be updated: all tasks are done" in place.notes()
    place.check()
    place.run(update=True)
    assert "no run" not in place.notes()


def test_an_unfinished_run_gives_what_it_has(place: Place) -> None:
    place.stops = 4
    with pytest.raises(StopError):
        place.run(chunk=1, shards=2)
    place.stops = None
    had = list(place.computed)
    place.write("d/1/x.txt", "new")
    with pytest.raises(OtherPlanError, match=r"--update does \d+ of 19 tasks: 1 new, .* not yet done"):
        place.run(shards=2)
    place.run(update=True, shards=2)
    # The largest are done first; the sixth was at work when the end of the fifth was heard, and was committed too.
    assert had == ["a/2/x.txt", "a/2/y.txt", "b/1/y.txt", "a/1/x.txt", "a/1/y.txt", "b/1/x.txt"]
    kept = {*had} - {"b/1/y.txt"}  # which is in quarantine
    assert sorted(place.computed) == sorted(list_of_anchors(place) - kept)
    assert place.found().reasons == {"new": 1, "failed": 1, "undone": 12}
    place.check(shards=2)
    place.stops = 1
    with pytest.raises(StopError):
        place.run(place.folder / "other", chunk=1)
    place.stops = None
    with pytest.raises(scaledproc.UsageError, match="is not finished: the same command without --retry-failed"):
        place.run(place.folder / "other", retry_failed=True)


def test_rows_of_another_run(place: Place) -> None:
    """A sample, then all: what the sample has is not done again."""
    place.run(place.folder / "sample", include=["a/**", "b/0/**"], shards=3)
    place.run(reuse=place.folder / "sample")
    assert not [path for path in place.computed if path.startswith(("a/", "b/0/"))]
    assert place.found().text.startswith("10 of 18 tasks: 10 new")
    place.check()
    shutil.rmtree(place.output)
    place.run(place.folder / "rest", include=["c/**"])
    place.run(reuse=[place.folder / "sample", place.folder / "rest"], chunk=1, shards=2)
    assert sorted(place.computed) == ["b/1/x.txt", "b/1/y.txt", "b/2/x.txt", "b/2/y.txt"]
    place.check(shards=2)


@pytest.mark.slow
def test_a_run_with_reused_rows_is_continued(place: Place) -> None:
    place.run(place.folder / "sample", include=["a/**"])
    place.stops = 3
    with pytest.raises(StopError):
        place.run(reuse=place.folder / "sample", chunk=1)
    place.stops = None
    had = set(place.computed)
    place.run(reuse=place.folder / "sample", chunk=1)
    assert place.computed
    assert len(had & set(place.computed)) <= 1, "what was committed is not done again"
    place.check()


@pytest.mark.parametrize("way", ["renamed", "text", "code", "nowhere", "overwrite", "newer", "plan", "record"])
def test_what_cannot_be_reused_is_told(place: Place, way: str) -> None:
    other = place.folder / "other"
    if way != "nowhere":
        place.run(other)

    def edit(**changed: Any) -> None:
        record = json.loads((other / "run.json").read_text())
        record |= changed.get("top", {})
        record["extractor"] |= changed.get("extractor", {})
        record["digest"] = digest_of_content(record) if way != "record" else record["digest"]
        (other / "run.json").write_text(json.dumps(record))

    words, options = "", dict[str, Any](reuse=other)
    match way:
        case "renamed":
            edit(extractor={"label": "weigh"})
            words = "has rows of the extractor weigh, not of measure; leave --reuse out to do all tasks"
        case "text":
            edit(extractor={"fingerprint": "measure 0123"})
            words = "cannot be reused: it was made by an earlier version of scaledproc.*cannot be told"
        case "code":
            place.factor = 3
            words = "no row of .* can be reused: enclosed factor: 3, was 1; leave --reuse out"
        case "nowhere":
            words = "holds no run"
        case "overwrite":
            options["overwrite"] = True
            words = "--overwrite throws the earlier run away, whose rows"
        case "newer":
            edit(top={"format": 2})
            words = "run.json cannot be read: it was written by a newer version of scaledproc"
        case "plan":
            (other / "inventory.parquet").write_bytes((other / "plan.parquet").read_bytes())
            words = "inventory.parquet is not what was written"
        case "record":
            edit(top={"plan_id": "0" * 32})
            words = "run.json is not what was written"
    before = tree_bytes(other) if other.exists() else {}
    with pytest.raises(scaledproc.ScaledprocError, match=words):
        place.run(**options)
    assert not place.output.exists() or not (place.output / "run.json").exists(), "nothing was begun"
    assert (tree_bytes(other) if other.exists() else {}) == before


def test_an_update_that_cannot_be_leaves_all_as_it_is(place: Place) -> None:
    place.run()
    record = json.loads((place.output / "run.json").read_text())
    record["extractor"]["label"] = "weigh"
    record["digest"] = digest_of_content(record)
    (place.output / "run.json").write_text(json.dumps(record))
    place.factor = 2
    before = tree_bytes(place.output)
    with pytest.raises(
        scaledproc.UsageError, match="has rows of the extractor weigh, not of measure; give --overwrite"
    ):
        place.run(update=True)
    assert tree_bytes(place.output) == before


def test_files_are_compared_by_their_content(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.write("b/1/y.txt", "fine")
    place.run(compare="content")
    for path in place.data.rglob("*.txt"):
        os.utime(path)
    place.write("a/0/x.txt", "A0x")  # another content of the same size
    with pytest.raises(scaledproc.ScaledprocError, match="--update does 2 of 18 tasks: 2 of changed files"):
        place.run(compare="content")
    with pytest.raises(scaledproc.ScaledprocError, match="--update does 18 of 18 tasks"):
        place.run()
    made, found = api.plan_update(place.data, place.output, extractor=place.extractor(), compare="content")
    assert (made.n_tasks, found.todo) == (2, 2)
    place.run(update=True, compare="content")
    assert sorted(place.computed) == ["a/0/x.txt", "a/0/y.txt"]
    place.check(compare="content")

    copy = place.folder / "copy"  # elsewhere, with other times
    shutil.copytree(place.data, copy, copy_function=shutil.copyfile)
    place.data = copy
    place.run(compare="content")
    assert place.events[-1].already  # type: ignore[attr-defined]
    opened: list[str] = []
    monkeypatch.setattr(LocalStore, "open", noting(opened))
    place.run(place.folder / "more", reuse=place.output, compare="content")
    assert not place.computed
    assert len([name for name in opened if name.endswith(".txt")]) == 18, "they lie elsewhere than those that were read"
    with pytest.raises(scaledproc.UsageError, match="--compare 'time': give listed or content"):
        place.run(compare="time")


def test_receipts_of_fetch_spare_reading(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    from scaledproc.fetching.receipts import Receipt, Receipts

    place.write("b/1/y.txt", "fine")
    receipts = Receipts(Store.at(place.data))
    for path in place.data.rglob("*.txt"):
        name, seen = path.relative_to(place.data).as_posix(), path.stat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        receipts.add(name, Receipt(seen.st_size, str(seen.st_mtime_ns), digest))
    receipts.close()
    opened: list[str] = []
    monkeypatch.setattr(LocalStore, "open", noting(opened))
    place.run(compare="content")
    assert not [name for name in opened if name.endswith(".txt")]
    os.utime(place.data / "a/0/x.txt")
    place.run(compare="content")
    assert place.events[-1].already  # type: ignore[attr-defined]
    assert [name for name in opened if name.endswith(".txt")] == ["a/0/x.txt"]


def test_shards_that_stay_are_copied(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their rows are neither decoded nor encoded for that."""
    from scaledproc.execution.reuse import shards

    written: list[str] = []

    class Noting(Writer):
        def __init__(self, path: Path, schema: pa.Schema) -> None:
            written.append(path.name)
            super().__init__(path, schema)

    monkeypatch.setattr(shards, "Writer", Noting)
    place.write("b/1/y.txt", "fine")
    place.run()
    place.write("b/1/y.txt", "better")
    place.run(update=True)
    assert ["00001" in name for name in written] == [True]
    place.check()


# What a person sees


def test_a_half_done_replacement_is_told_and_continued(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from scaledproc.storage.local_store import LocalStore

    place.run()
    place.write("a/0/x.txt", "another")
    own, left = LocalStore.put_in_place, 3

    def stopping(store: LocalStore, name: str, target: str) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise StopError
        own(store, name, target)

    monkeypatch.setattr(LocalStore, "put_in_place", stopping)
    with pytest.raises(StopError):
        place.run(update=True)
    monkeypatch.undo()
    found = api.verify(place.output)
    assert (UPDATE, "is being put in the place of this run: the command that updates it continues that") in [
        (problem.file, problem.text) for problem in found.problems
    ]
    assert any("is being put in its place" in note for note in api.status(place.output).notes)
    assert scaledproc.Run.open(place.output).to_arrow().num_rows
    place.run()  # whatever is asked for goes on with that first
    assert not place.computed
    assert "an update was ended while it was put in place: going on with that" in place.notes()
    place.check()


def test_an_update_that_was_begun_is_told(place: Place) -> None:
    place.run()
    before = output_bytes(scaledproc.Run.open(place.output).store)
    place.factor = 2
    place.stops = 2
    with pytest.raises(StopError):
        place.run(update=True, chunk=1)
    place.stops = None
    assert output_bytes(scaledproc.Run.open(place.output).store) == before, "the earlier result stays"
    assert any("an update of it was begun" in note for note in api.status(place.output).notes)
    verified = api.verify(place.output)
    assert verified.ok
    assert any("an update of it was begun" in note for note in verified.notes)
    place.run(update=True)
    place.check()


@pytest.mark.slow
def test_the_commands(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(
        "import scaledproc\n"
        'def f(task): return {"n": int(task.path.read_text())}\n'
        'f = scaledproc.extractor(schema={"n": "int64"}, anchor="*.txt", unit="file")(f)\n'
    )
    for number in range(5):
        (tmp_path / "data" / str(number)).mkdir(parents=True)
        (tmp_path / f"data/{number}/a.txt").write_text(str(number))
    what = ("data", "out", "--extractor", "x.py:f", "--jobs", "1")
    assert cli("run", *what, cwd=tmp_path).returncode == 0
    (tmp_path / "data/3/a.txt").write_text("33")
    (tmp_path / "data/3/b.txt").write_text("bad")
    refused = cli("run", *what, "--json", cwd=tmp_path)
    assert refused.returncode == 2
    assert "\n  1 unit is new, 1 changed\n" in refused.stderr
    assert "\n  --update does 2 of 6 tasks: 1 new, 1 of changed files" in refused.stderr
    told = json.loads(refused.stdout.splitlines()[-1])["differences"]
    assert told[-1]["kind"] == "update"
    assert told[-1]["now"] == {"tasks": 6, "todo": 2, "new": 1, "changed": 1}
    shown = cli("plan", "data", "--update", "out", "--extractor", "x.py:f", cwd=tmp_path)
    assert "2 tasks in 2 units" in shown.stdout
    assert "to do: 2 of 6 tasks: 1 new, 1 of changed files" in shown.stdout
    as_json = json.loads(cli("plan", "data", "--update", "out", "--extractor", "x.py:f", "--json", cwd=tmp_path).stdout)
    assert as_json["update"] == {"tasks": 6, "todo": 2, "new": 1, "changed": 1}
    updated = cli("run", *what, "--update", cwd=tmp_path)
    assert updated.returncode == 3, "one failed"
    assert "6 tasks" in updated.stdout
    assert "1 quarantined" in updated.stdout
    assert "b.txt: ValueError" in updated.stdout
    assert "to do: 2 of 6 tasks" in updated.stderr
    assert "the rows of 4 tasks are reused" in updated.stderr
    (tmp_path / "data/3/b.txt").write_text("4")
    assert cli("run", *what, "--update", cwd=tmp_path).returncode == 0
    assert cli("verify", "out", cwd=tmp_path).returncode == 0
    assert scaledproc.Run.open(tmp_path / "out").to_arrow()["n"].to_pylist() == [0, 1, 2, 33, 4, 4]
    nothing = cli("plan", "data", "--update", "out", "--extractor", "x.py:f", cwd=tmp_path)
    assert nothing.returncode == 0
    assert "to do: 0 of 6 tasks; the rows of 6 tasks are reused" in nothing.stdout


def test_failed_tasks_of_no_run_are_refused(place: Place) -> None:
    with pytest.raises(scaledproc.UsageError, match="holds no run whose failed tasks could be done again"):
        place.run(retry_failed=True)
    assert not place.output.exists()


# Tables that are folders

FINISHING = """
import os
from pathlib import Path
import scaledproc

DIGITS = 3


def finish(table):
    if table.num_rows:
        (Path({noted!r}) / f"{{os.getpid()}}-{{table.num_rows}}").touch()
    return table


@scaledproc.extractor(
    schema={{"name": "string", "n": "int64"}}, tables={{"words": {{"word": "string"}}}}, anchor="*.txt", finish=finish
)
def words(task):
    text = task.path.read_text()
    yield {{"name": task.anchor, "n": len(text) * DIGITS}}
    yield scaledproc.rows("words", ({{"word": word}} for word in text.split()))
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_files_of_tables_that_are_folders_are_made_where_a_run_makes_them(
    place: Place, jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = place.folder / "noted"
    noted.mkdir()
    own = place.folder / "own.py"
    own.write_text(FINISHING.format(noted=str(noted)))

    def run(output: Path | None = None, **options: Any) -> None:
        place.run(output, extractor=f"{own}:words", jobs=jobs, shards=3, table="dataset", **options)

    run()
    last_step = combine_step._finish
    made_last: list[int] = []

    def finish(made: Any, shard: int, report: Any) -> Any:
        made_last.append(shard)
        return last_step(made, shard, report)

    monkeypatch.setattr(combine_step, "_finish", finish)
    for path in noted.iterdir():
        path.unlink()
    place.write("b/2/x.txt", "changed and longer")
    run(update=True)
    updated = {path.name.split("-", 1)[0] for path in noted.iterdir() if not path.name.endswith("-1")}
    assert place.found().todo == 2
    run(place.folder / "fresh")
    assert output_bytes(Store.at(place.output)) == output_bytes(Store.at(place.folder / "fresh"))
    assert api.verify(place.output).ok
    if jobs > 1:  # with one, there is nothing that could be done side by side
        assert not made_last
        assert str(os.getpid()) not in updated
    assert updated


@pytest.mark.slow
def test_files_of_tables_are_made_by_the_last_step_where_processes_that_make_them_end(place: Place) -> None:
    own = place.folder / "own.py"
    noted = place.folder / "noted"
    noted.mkdir()
    ends = f"table.num_rows and os.getpid() != {os.getpid()} and os._exit(3)"
    code = FINISHING.format(noted=str(noted)).replace("def finish(table):\n", f"def finish(table):\n    {ends}\n")
    own.write_text(code)
    options: dict[str, Any] = {"extractor": f"{own}:words", "shards": 3, "table": "dataset"}
    place.run(jobs=1, **options)
    place.write("b/2/x.txt", "changed and longer")
    place.run(jobs=2, update=True, **options)
    assert place.found().todo == 2
    assert {path.name.partition("-")[0] for path in noted.iterdir()} == {str(os.getpid())}
    place.run(place.folder / "fresh", jobs=1, **options)
    assert output_bytes(Store.at(place.output)) == output_bytes(Store.at(place.folder / "fresh"))
