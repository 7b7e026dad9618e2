"""Further tables: how they are declared, and that a run keeps of each what it promises of the main one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import Cli, tree_bytes

import scaledproc
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.events import ChunkDone, CombineDone, Event, ReuseFound, ShardDone
from scaledproc.execution.tables.keys import KEYS
from scaledproc.extractors import Task
from scaledproc.extractors.tables import RESERVED
from scaledproc.run_folder.names import OWN_NAMES
from scaledproc.storage.store import Store
from scaledproc.testing import ExtractorConformance, output_bytes

SOURCE = """
import scaledproc

FACTOR = 1

@scaledproc.extractor(
    schema={"path": "string", "words": "int64"},
    tables={"words": {"path": "string", "word": "string", "n": "int32"}, "Letters": {"letter": "string"}},
    anchor="*.txt",
)
def split(task):
    words = task.path.read_text().split()
    yield scaledproc.rows("words", ({"path": task.anchor, "word": word, "n": n} for n, word in enumerate(words)))
    if "bad" in words:
        raise ValueError("bad")
    if words != ["none"]:
        yield {"path": task.anchor, "words": FACTOR * len(words)}
    for word in words:
        yield scaledproc.rows("Letters", [{"letter": letter} for letter in word])

@scaledproc.extractor(schema={"path": "string", "words": "int64"}, anchor="*.txt")
def count(task):
    words = task.path.read_text().split()
    if "bad" in words:
        raise ValueError("bad")
    if words != ["none"]:
        yield {"path": task.anchor, "words": FACTOR * len(words)}
"""


class Place:
    """A dataset, an extractor's file, and what its runs give."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data, self.output = folder, folder / "data", folder / "out"
        self.events: list[Event] = []
        (folder / "own.py").write_text(SOURCE)
        self.texts = {
            f"{group}/{unit}/{name}.txt": " ".join(f"{group}{name}{n}" for n in range((unit * 3 + len(name)) % 7))
            for group in "abc"
            for unit in range(4)
            for name in ("x", "yy")
        }
        self.texts |= {"b/1/x.txt": "one bad word", "b/2/x.txt": "none", "c/0/x.txt": ""}
        for path, text in self.texts.items():
            self.write(path, text)

    def write(self, path: str, text: str) -> None:
        self.texts[path] = text
        (self.data / path).parent.mkdir(parents=True, exist_ok=True)
        (self.data / path).write_text(text)

    def run(self, output: Path | None = None, **options: Any) -> scaledproc.Run:
        self.events.clear()
        options = {"extractor": f"{self.folder}/own.py:split", "jobs": 1, "on_event": self.events.append, **options}
        return scaledproc.run(self.data, output or self.output, **options)

    def expected(self) -> dict[str | None, list[dict[str, Any]]]:
        rows: dict[str | None, list[dict[str, Any]]] = {None: [], "words": [], "Letters": []}
        for path, text in sorted(self.texts.items(), key=lambda item: item[0].encode()):
            words = text.split()
            if "bad" in words:
                continue
            rows[None] += [{"path": path, "words": len(words)}] if words != ["none"] else []
            rows["words"] += [{"path": path, "word": word, "n": n} for n, word in enumerate(words)]
            rows["Letters"] += [{"letter": letter} for word in words for letter in word]
        return rows


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("tables"))
    place.run(shards=3)
    return place


class TestTables(ExtractorConformance):
    @pytest.fixture(autouse=True)
    def _own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        Place(tmp_path)
        monkeypatch.setattr(TestTables, "extractor", f"{tmp_path}/own.py:split", raising=False)

    @pytest.fixture
    def dataset(self, tmp_path: Path) -> Path:
        return tmp_path / "data"


# What a run gives


def test_each_table_has_its_rows_in_order(place: Place) -> None:
    run = place.run(shards=2, chunk=3)
    for table, rows in place.expected().items():
        found = run.to_arrow(table=table)
        assert found.drop_columns(list(KEYS)).to_pylist() == rows
        if table != "Letters":
            assert found["anchor"].to_pylist() == [row["path"] for row in rows]
    own = pa.schema([("path", "string"), ("word", "string"), ("n", "int32")])
    assert run.to_arrow(table="words").drop_columns(list(KEYS)).schema == own
    assert run.record.counts["rows"] == len(place.expected()[None])
    assert run.record.counts["rows_words"] == len(place.expected()["words"])
    (combined,) = (event for event in place.events if isinstance(event, CombineDone))
    assert combined.tables == {"Letters": len(place.expected()["Letters"]), "words": len(place.expected()["words"])}
    assert combined == CombineDone.from_json(combined.to_json())


def test_the_same_bytes_whatever_the_cuts_and_the_main_table_is_what_it_is_alone(place: Place) -> None:
    first = output_bytes(place.run(shards=1, chunk=100).store)
    tables = {"features.parquet", "words.parquet", "Letters.parquet", "errors.parquet", "croissant.json"}
    assert tables < first.keys()
    for number, (shards, chunk, jobs) in enumerate(((4, "1", 1), ("folder", "2", 2), (2, "per-core", 1))):
        again = output_bytes(place.run(place.folder / f"out{number}", shards=shards, chunk=chunk, jobs=jobs).store)
        assert {name: again[name] for name in tables} == {name: first[name] for name in tables}
    alone = place.run(place.folder / "alone", extractor=f"{place.folder}/own.py:count")
    whole = scaledproc.Run.open(place.output)
    assert alone.to_arrow().equals(whole.to_arrow())  # the files say of which plan they are
    assert output_bytes(alone.store)["errors.parquet"] == first["errors.parquet"]


def test_a_task_that_fails_gives_rows_to_no_table(whole: Place) -> None:
    run = scaledproc.Run.open(whole.output)
    assert run.errors()["anchor"].to_pylist() == ["b/1/x.txt"]
    assert "b/1/x.txt" not in run.to_arrow(table="words")["path"].to_pylist()
    assert (run.to_arrow(table="words")["n"].to_pylist()).count(0) == len(
        [text for text in whole.texts.values() if text.split() and "bad" not in text]
    )


def test_tasks_tell_of_the_rows_in_each_table(whole: Place) -> None:
    tasks = pq.read_table(whole.output / "tasks.parquet").to_pylist()
    assert [task["anchor"] for task in tasks] == sorted(whole.texts)
    for task in tasks:
        words = whole.texts[task["anchor"]].split()
        is_bad, is_none = "bad" in words, words == ["none"]
        assert task["rows"] == (0 if is_bad or is_none else 1)
        assert task["rows_words"] == (0 if is_bad else len(words))
        assert task["rows_Letters"] == (0 if is_bad else sum(map(len, words)))


def test_an_extractor_with_one_table_has_the_shards_it_had(place: Place) -> None:
    run = place.run(extractor=f"{place.folder}/own.py:count", shards=1)
    assert pq.read_schema(place.output / "shards/00000.parquet").names == ["path", "words"]
    names = pq.read_schema(place.output / "tasks.parquet").names
    assert [name for name in names if name.startswith("rows")] == ["rows"]
    assert "tables" not in run.record.extractor
    with pytest.raises(UsageError, match="there is no table 'words'; there are: none"):
        run.to_arrow(table="words")


def test_many_rows_of_a_task_and_of_many_tasks(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"data/{number}").mkdir(parents=True)
        (tmp_path / f"data/{number}/a.txt").write_text(str(number))

    @scaledproc.extractor(
        schema={"n": "int64"}, tables={"points": {"x": "int64", "y": pa.list_(pa.float64())}}, anchor="*.txt"
    )
    def many(task: Task) -> Iterator[Any]:
        number = int(task.path.read_text())
        for n in range(700 * (number % 3)):
            yield {"n": n}
        if number % 2:
            yield scaledproc.rows("points", pa.table({"x": pa.array(range(9000)), "y": [[0.5, None]] * 9000}))
        yield scaledproc.rows("points", {"x": number, "y": None})

    run = scaledproc.run(tmp_path / "data", tmp_path / "out", extractor=many, jobs=1, shards=2)
    numbers = sorted(range(30), key=str)
    assert run.to_arrow()["n"].to_pylist() == [n for number in numbers for n in range(700 * (number % 3))]
    expected = [x for number in numbers for x in ([*range(9000)] if number % 2 else []) + [number]]
    assert run.to_arrow(table="points")["x"].to_pylist() == expected
    assert pq.read_metadata(tmp_path / "out/points.parquet").num_row_groups == -(-len(expected) // 65_536)


# Ends and goes on


class StopError(Exception):
    """Ends a run from within."""


def test_a_run_that_is_ended_anywhere_goes_on(place: Place) -> None:
    expected = output_bytes(place.run(place.folder / "fresh", shards=3, chunk=2).store)

    def stopping(after: int) -> Callable[[Event], None]:
        left = [after]

        def hear(event: Event) -> None:
            if isinstance(event, (ChunkDone, ShardDone, CombineDone)):
                left[0] -= 1
                if left[0] < 0:
                    raise StopError

        return hear

    for after in range(0, 16, 3):
        shutil.rmtree(place.output, ignore_errors=True)
        with pytest.raises(StopError):
            place.run(shards=3, chunk=2, on_event=stopping(after))
        resumed = place.run(shards=3, chunk=2)
        assert output_bytes(resumed.store) == expected
        assert after == 0 or any(isinstance(event, ShardDone | ChunkDone) and event.resumed for event in place.events)


def test_an_update_reuses_the_rows_of_all_tables(place: Place) -> None:
    place.run(shards=3)
    place.write("a/1/x.txt", "quite other words")
    place.write("b/1/x.txt", "good now")
    place.write("d/0/x.txt", "new")
    run = place.run(shards=3, update=True)
    (found,) = (event for event in place.events if isinstance(event, ReuseFound))
    assert found.todo == 5  # the changed, the new and the failed one, and what is beside the two of changed units
    fresh = place.run(place.folder / "fresh", shards=3)
    assert output_bytes(run.store) == output_bytes(fresh.store)
    assert tree_bytes(place.output).keys() == tree_bytes(place.folder / "fresh").keys()
    assert scaledproc.verify(place.output).ok
    tasks = pq.read_table(place.output / "tasks.parquet").to_pylist()
    assert {task["status"] for task in tasks} == {"done", "reused"}
    assert sum(task["rows_words"] for task in tasks) == run.record.counts["rows_words"]


def test_other_tables_are_another_plan_and_old_ones_go(place: Place) -> None:
    place.run(shards=3)
    source = place.folder / "own.py"
    source.write_text(
        SOURCE.replace('"Letters": {"letter": "string"}', '"Signs": {"letter": "string"}').replace(
            '"Letters", [', '"Signs", ['
        )
    )
    with pytest.raises(ScaledprocError):
        place.run(shards=3)
    place.run(shards=3, overwrite=True)
    assert (place.output / "Signs.parquet").exists()
    assert not (place.output / "Letters.parquet").exists()
    source.write_text(SOURCE)
    place.run(shards=3, update=True)
    assert (place.output / "Letters.parquet").exists()
    assert not (place.output / "Signs.parquet").exists()
    assert scaledproc.verify(place.output).ok


def test_an_edited_file_is_loaded_anew_in_the_same_process(place: Place) -> None:
    place.run(shards=3)
    source = place.folder / "own.py"
    source.write_text(SOURCE.replace("FACTOR = 1", "FACTOR = 10"))
    run = place.run(shards=3, update=True)
    assert run.to_arrow()["words"].to_pylist() == [10 * row["words"] for row in place.expected()[None]]


def test_combine_makes_all_tables_anew(place: Place) -> None:
    before = output_bytes(place.run(shards=3).store)
    (place.output / "words.parquet").unlink()
    scaledproc.combine(place.output)
    assert output_bytes(Store.at(place.output)) == before
    assert scaledproc.verify(place.output).ok


# Verified


def drop_a_row(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.slice(1), path)


def change_a_word(path: Path) -> None:
    table = pq.read_table(path)
    words = table["word"].to_pylist()
    pq.write_table(table.set_column(table.schema.names.index("word"), "word", pa.array(["other", *words[1:]])), path)


def rename_a_column(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.rename_columns([*KEYS, "path", "term", "n"]), path)


@pytest.mark.parametrize("keeps_digests", [True, False])
@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda path: path.unlink(), "is gone"),
        (drop_a_row, "rows; run.json says"),
        (change_a_word, "differs from the shards in the rows from 0 on"),
        (rename_a_column, "has other columns than the extractor declares"),
        (lambda path: path.write_bytes(b"PAR1"), "its footer cannot be read"),
    ],
)
def test_damage_is_found(
    whole: Place, tmp_path: Path, damage: Callable[[Path], None], text: str, keeps_digests: bool
) -> None:
    output = Path(shutil.copytree(whole.output, tmp_path / "out"))
    assert scaledproc.verify(output).ok
    damage(output / "words.parquet")
    if not keeps_digests:
        record = json.loads((output / "run.json").read_text())
        record["digests"] = {}
        (output / "run.json").write_text(json.dumps(record))
    problems = [problem for problem in scaledproc.verify(output).problems if problem.file == "words.parquet"]
    assert any(text in problem.text for problem in problems), problems
    if keeps_digests:
        assert any("SHA-256" in problem.text or "is gone" in problem.text for problem in problems)


@pytest.mark.parametrize("tables", ["words", ["../x"], ["features"], [1], {"a": 1}])
def test_names_in_a_damaged_run_json_are_refused(whole: Place, tmp_path: Path, tables: Any) -> None:
    output = Path(shutil.copytree(whole.output, tmp_path / "out"))
    record = json.loads((output / "run.json").read_text())
    record["extractor"]["tables"] = tables
    (output / "run.json").write_text(json.dumps(record))
    with pytest.raises(ScaledprocError, match="extractor is not what it should be"):
        scaledproc.Run.open(output)


# Declared, and given


@pytest.mark.parametrize(
    ("tables", "text"),
    [
        ({"features": {"x": "int64"}}, "as a run calls a file of its own"),
        ({"Errors": {"x": "int64"}}, "as a run calls a file of its own"),
        ({"a/b": {"x": "int64"}}, "begin with a letter"),
        ({"": {"x": "int64"}}, "begin with a letter"),
        ({1: {"x": "int64"}}, "begin with a letter"),
        ({"beats": {"x": "int64"}, "Beats": {"x": "int64"}}, "differ in capitals alone"),
        (
            {"beats": {"x": "integer?"}},
            "extractor's table 'beats': the column 'x' has the type 'integer",
        ),
        (["beats"], "give a mapping of names to schemas"),
    ],
)
def test_tables_that_cannot_be(tables: Any, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        scaledproc.extractor(schema={"x": "int64"}, tables=tables)


@pytest.mark.parametrize(
    ("schema", "tables", "text"),
    [
        ({"x": "int64"}, {"beats": {}}, "table 'beats': .*has no column"),
        ({"x": pa.list_(pa.int64(), 3)}, {"beats": {"x": "int64"}}, "Parquet keeps no null"),
        ({"x": "int64"}, {"beats": {"x": pa.list_(pa.int64(), 3)}}, "Parquet keeps no null"),
        ({"x": "int64"}, {"beats": {"x": pa.dictionary(pa.int32(), pa.string())}}, "table 'beats': column 'x'"),
    ],
)
def test_columns_that_cannot_be(tmp_path: Path, schema: Any, tables: Any, text: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.txt").write_text("a")
    own = scaledproc.extractor(schema=schema, tables=tables, anchor="*.txt")(lambda task: [])
    with pytest.raises(UsageError, match=text):
        scaledproc.run(tmp_path / "data", tmp_path / "out", extractor=own, jobs=1)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (scaledproc.rows("words", {"n": 1}), "declares no table 'words'; there are: beats"),
        ([scaledproc.rows("beats", {"n": "one"})], "table 'beats': row 1, column 'n'"),
        (scaledproc.rows("beats", None), "table 'beats': the extractor returned nothing"),
        ([scaledproc.rows("beats", [{"n": 1}, {"m": 2}])], "table 'beats': row 2 lacks the column 'n'"),
        ([scaledproc.rows("beats", [scaledproc.rows("beats", {"n": 1})])], "table 'beats': .*declares no table"),
    ],
)
def test_rows_that_do_not_fit(tmp_path: Path, given: Any, text: str) -> None:
    (tmp_path / "a.txt").write_text("a")

    @scaledproc.extractor(schema={"x": "int64"}, tables={"beats": {"n": "int64"}}, anchor="*.txt")
    def own(task: Task) -> Any:
        return given

    with pytest.raises(Exception, match=text):
        scaledproc.try_task(own, tmp_path / "a.txt")


def test_rows_of_a_table_that_nobody_declared(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")

    @scaledproc.extractor(schema={"x": "int64"}, anchor="*.txt")
    def own(task: Task) -> Any:
        yield scaledproc.rows("beats", {"n": 1})

    with pytest.raises(Exception, match="declares no table 'beats': tables="):
        scaledproc.try_task(own, tmp_path / "a.txt")


def test_a_class_declares_them_as_an_attribute(place: Place) -> None:
    class Words(scaledproc.Extractor):
        name = "words"
        anchors = ("*.txt",)
        schema = pa.schema([("path", pa.string())])
        tables = {"words": {"word": "string"}}  # noqa: RUF012 - as a person writes it

        def extract(self, task: Task) -> Any:
            yield {"path": task.anchor}
            yield scaledproc.rows("words", [{"word": word} for word in task.path.read_text().split()])

    run = place.run(extractor=Words())
    words = [word for _, text in sorted(place.texts.items()) for word in text.split()]
    assert run.to_arrow(table="words")["word"].to_pylist() == words


def test_a_try_shows_all_tables(place: Place, cli: Cli) -> None:
    shown = cli("try", f"{place.folder}/own.py:split", place.data, "a/1/x.txt")
    assert "table words: 4 rows" in shown.stdout, shown
    found = json.loads(cli("try", f"{place.folder}/own.py:split", place.data, "a/1/x.txt", "--json").stdout)
    assert [row["word"] for row in found["tables"]["words"]] == place.texts["a/1/x.txt"].split()


def test_no_table_can_have_the_name_of_a_file_of_the_run() -> None:
    own = {name.partition(".")[0] for name in OWN_NAMES if name.endswith(".parquet") or "." not in name}
    assert own <= RESERVED
