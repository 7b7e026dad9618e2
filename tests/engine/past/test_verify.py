"""`scaledproc verify`: a finished run against its plan; each kind of damage is found and named."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import Bucket, Cli

import scaledproc
import scaledproc.api
from scaledproc.events import ChunkDone, CombineDone, Event, Note, ShardDone
from scaledproc.run_folder.record import digest_of_content
from scaledproc.storage.parquet import METADATA
from scaledproc.storage.store import Store
from scaledproc.testing import PROBE, output_bytes, write_probe_dataset


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_probe_dataset(tmp_path_factory.mktemp("verify") / "data", poison=True)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("verify") / "out"
    scaledproc.run(data, output, extractor=PROBE, shards=3, jobs=1)
    return output


@pytest.fixture
def output(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "out"))


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x01
    path.write_bytes(content)


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table], said: dict[str, Any] | None = None) -> None:
    """Other rows under the same footer, as a program that means well would leave them."""
    table = pq.read_table(path)
    footer = pq.read_metadata(path).metadata or {}
    changed = change(table).replace_schema_metadata(None)
    with pq.ParquetWriter(path, changed.schema) as writer:
        writer.write_table(changed)
        if METADATA in footer:
            content = {**json.loads(footer[METADATA]), **(said or {})}
            writer.add_key_value_metadata({METADATA: json.dumps(content)})


def forget_digests(output: Path) -> None:
    """So that the other checks have to find it."""
    record = json.loads((output / "run.json").read_text())
    record["digests"] = {}
    record["shards"] = [{**shard, "digest": ""} for shard in record["shards"]]
    (output / "run.json").write_text(json.dumps(record))


def swap(output: Path) -> None:
    first, second = output / "shards/00000.parquet", output / "shards/00001.parquet"
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def claim_rows_of_failed_tasks(output: Path) -> None:
    """A footer that spreads the first shard's rows over all its tasks, and begins with those that failed."""
    path = output / "shards/00000.parquet"
    tasks = pq.read_table(output / "plan.parquet", filters=[("shard", "=", 0)]).num_rows
    rows = pq.read_metadata(path).num_rows
    rewrite(path, lambda table: table, {"counts": [[1, tasks - 1], [rows - tasks + 1, 1]]})


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


SHARD = "shards/00001.parquet"
FEATURES = "features.parquet"
DAMAGES: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "a shard is gone": (lambda out: (out / SHARD).unlink(), SHARD, "is gone"),
    "two shards swapped": (swap, SHARD, "in the place of shard 1"),
    "a shard cut short": (lambda out: cut(out / SHARD), SHARD, "footer cannot be read"),
    "rows of a shard gone": (lambda out: rewrite(out / SHARD, lambda t: t.slice(1)), SHARD, "rows; by its tasks"),
    "rows of a shard doubled": (
        lambda out: rewrite(out / SHARD, lambda t: pa.concat_tables([t, t])),
        SHARD,
        "rows; by its tasks",
    ),
    "another plan's shard": (
        lambda out: rewrite(out / SHARD, lambda t: t, {"plan_id": "other"}),
        SHARD,
        "is of another plan",
    ),
    "a task not accounted for": (
        lambda out: rewrite(out / SHARD, lambda t: t, {"counts": [[1, 3]]}),
        SHARD,
        "accounts for 3 tasks",
    ),
    "rows of a failed task": (claim_rows_of_failed_tasks, "shards/00000.parquet", "tasks that are in the errors"),
    "a shard too many": (
        lambda out: shutil.copy(out / SHARD, out / "shards/00007.parquet"),
        "shards/00007.parquet",
        "not of",
    ),  # type: ignore[dict-item]
    "a row group of the table gone": (
        lambda out: rewrite(out / FEATURES, lambda t: t.slice(0, t.num_rows - 5)),
        FEATURES,
        "rows; run.json says",
    ),
    "a value of the table changed": (
        lambda out: rewrite(
            out / FEATURES, lambda t: t.set_column(4, t.schema.field(4), pa.array([9] * t.num_rows, pa.int64()))
        ),
        FEATURES,
        "differs from the shards in the rows from 0 on",
    ),
    "rows of the table in another order": (
        lambda out: rewrite(out / FEATURES, lambda t: t.take(list(reversed(range(t.num_rows))))),
        FEATURES,
        "differs from the shards",
    ),
    "a column of the table gone": (
        lambda out: rewrite(out / FEATURES, lambda t: t.drop_columns(["digest"])),
        FEATURES,
        "other columns",
    ),
    "the table is gone": (lambda out: (out / FEATURES).unlink(), FEATURES, "is gone"),
    "an error gone": (
        lambda out: rewrite(out / "errors.parquet", lambda t: t.slice(1)),
        "errors.parquet",
        "1 rows; run",
    ),
    "an error twice": (
        lambda out: rewrite(out / "errors.parquet", lambda t: pa.concat_tables([t, t])),
        "errors.parquet",
        "has a task twice",
    ),
    "a task of the plan gone": (
        lambda out: rewrite(out / "plan.parquet", lambda t: t.slice(0, t.num_rows - 1)),
        "plan.parquet",
        "another plan id",
    ),
    "a size in the inventory": (
        lambda out: rewrite(
            out / "inventory.parquet",
            lambda t: t.set_column(1, t.schema.field(1), pa.array([1] * t.num_rows, pa.int64())),
        ),
        "plan.parquet",
        "another plan id",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("has_digests", [True, False])
def test_damage_is_found(output: Path, name: str, has_digests: bool) -> None:
    damage, file, text = DAMAGES[name]
    if not has_digests:
        forget_digests(output)
    damage(output)
    found = scaledproc.api.verify(output)
    assert not found.ok
    assert any(problem.file == file and text in problem.text for problem in found.problems), found.problems


@pytest.mark.parametrize("name", [FEATURES, SHARD, "errors.parquet", "errors.log", "plan.parquet", "inventory.parquet"])
@pytest.mark.parametrize("where", [0.01, 0.5, 0.99])
def test_one_bit_anywhere_is_found(output: Path, name: str, where: float) -> None:
    path = output / name
    flip(path, int(path.stat().st_size * where))
    found = scaledproc.api.verify(output)
    assert any(problem.file == name and "SHA-256" in problem.text for problem in found.problems)


def test_a_whole_run(output: Path, data: Path, cli: Cli) -> None:
    found = scaledproc.api.verify(output, inventory=True)
    assert (found.problems, found.notes) == ((), ())
    assert (found.tasks, found.quarantined, found.shards, found.files) == (39, 2, 3, 10)
    done = cli("verify", output)
    assert done.returncode == 0, done.stderr
    assert "is whole: 39 tasks, " in done.stdout
    (output / SHARD).unlink()
    done = cli("verify", output, "--json")
    assert done.returncode == 1
    content = json.loads(done.stdout)
    assert content["ok"] is False
    assert {"file": SHARD, "text": "is gone"} in content["problems"]


def test_a_dataset_that_changed_is_told(tmp_path: Path) -> None:
    data = write_probe_dataset(tmp_path / "data")
    scaledproc.run(data, tmp_path / "out", extractor=PROBE, jobs=1)
    shutil.copytree(data, tmp_path / "moved")
    (data / "top.txt").write_text("c\nd\n")
    (data / "g1/u1/t1.txt").unlink()
    assert scaledproc.api.verify(tmp_path / "out").ok
    texts = [problem.text for problem in scaledproc.api.verify(tmp_path / "out", inventory=True).problems]
    assert len(texts) == 2
    assert "1 files are gone from the dataset (the first is 'g1/u1/t1.txt')" in texts
    assert "1 files of the dataset changed since (the first is 'top.txt')" in texts
    assert scaledproc.api.verify(tmp_path / "out", dataset=tmp_path / "moved").ok


@pytest.mark.slow
def test_an_unfinished_run_cannot_be_verified(data: Path, tmp_path: Path, cli: Cli) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, ChunkDone):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scaledproc.run(data, tmp_path / "out", extractor=PROBE, jobs=1, on_event=stop)
    done = cli("verify", tmp_path / "out")
    assert done.returncode == 1
    assert "not finished" in done.stderr
    assert cli("verify", tmp_path / "nothing").returncode == 1


def test_waveforms_with_names_summaries_and_nan(demo: Path, tmp_path: Path) -> None:
    scaledproc.run(demo, tmp_path / "out", jobs=1)
    found = scaledproc.api.verify(tmp_path / "out")
    assert (found.problems, found.notes) == ((), ())
    flip(tmp_path / "out/signal_stats.csv", 50)
    assert not scaledproc.api.verify(tmp_path / "out").ok
    scaledproc.combine(tmp_path / "out")
    assert scaledproc.api.verify(tmp_path / "out").ok, "combining anew renews the digests"

    @scaledproc.extractor(schema={"x": "float64", "y": pa.list_(pa.float32())}, anchor="*.hea")
    def nan(task: scaledproc.Task) -> dict[str, Any]:
        return {"x": float("nan"), "y": [float("nan"), 1.0]}

    scaledproc.run(demo, tmp_path / "nan", extractor=nan, jobs=1)
    found = scaledproc.api.verify(tmp_path / "nan")
    assert found.ok, found.problems
    assert "were not looked at" in found.notes[0], "its extractor was only in memory"


def test_an_extractor_of_ones_own_with_nan(demo: Path, tmp_path: Path) -> None:
    (tmp_path / "nan.py").write_text(
        "import scaledproc, pyarrow as pa\n"
        "@scaledproc.extractor(schema={'x': 'float64', 'y': pa.list_(pa.float32())}, anchor='*.hea')\n"
        "def nan(task): return {'x': float('nan'), 'y': [float('nan'), 1.0]}\n"
    )
    scaledproc.run(demo, tmp_path / "out", extractor=f"{tmp_path}/nan.py:nan", jobs=1)
    found = scaledproc.api.verify(tmp_path / "out")
    assert (found.problems, found.notes) == ((), ())


def test_in_s3(s3: Bucket, data: Path, tmp_path: Path) -> None:
    run = scaledproc.run(
        data,
        s3.url("verify"),
        extractor=PROBE,
        jobs=1,
        storage_options={f"output.{name}": value for name, value in s3.storage_options.items()},
    )
    found = scaledproc.api.verify(s3.url("verify"), storage_options=s3.storage_options)
    assert (found.problems, found.notes) == ((), ())
    store = Store.at(run.store.uri, s3.storage_options)
    store.write("mine/thesis.tex", b"")
    found = scaledproc.api.verify(s3.url("verify"), storage_options=s3.storage_options)
    assert found.notes == ("1 name here is not the run's ('mine')",)
    store.remove("shards/00001.parquet")
    assert not scaledproc.api.verify(s3.url("verify"), storage_options=s3.storage_options).ok


@pytest.mark.slow
def test_a_chunk_that_was_damaged_after_its_commit_is_never_in_the_table(
    data: Path, whole: Path, tmp_path: Path
) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, ChunkDone) and event.chunk == 6:
            raise KeyboardInterrupt

    output = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        scaledproc.run(data, output, extractor=PROBE, shards=3, chunk=1, jobs=1, on_event=stop)
    chunk = sorted(output.glob("work/00000/[0-9]*[0-9].parquet"))[0]
    table, footer = pq.read_table(chunk), pq.read_metadata(chunk).metadata
    with pq.ParquetWriter(chunk, table.schema.append(pa.field("y", pa.int8()))) as writer:  # whole, of other columns
        writer.write_table(table.append_column("y", pa.array([1] * table.num_rows, pa.int8())))
        writer.add_key_value_metadata({METADATA: footer[METADATA]})
    run = scaledproc.run(data, output, extractor=PROBE, jobs=1)
    assert run.store.read(FEATURES) == (whole / FEATURES).read_bytes()
    assert output_bytes(run.store)


@pytest.mark.slow
def test_a_chunk_whose_errors_are_gone_is_made_anew(data: Path, whole: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"

    def stop(event: Event) -> None:
        if isinstance(event, ChunkDone) and event.quarantined:
            raise KeyboardInterrupt

    options: dict[str, Any] = {"extractor": PROBE, "shards": 3, "chunk": 1, "jobs": 1}
    with pytest.raises(KeyboardInterrupt):
        scaledproc.run(data, output, on_event=stop, **options)
    (errors,) = output.glob("work/[0-9]*/*.errors.parquet")
    errors.unlink()
    run = scaledproc.run(data, output, **options)
    assert output_bytes(run.store) == output_bytes(scaledproc.Run.open(whole).store)


def drop_a_row(path: Path) -> None:
    rewrite(path, lambda table: table.slice(0, table.num_rows - 1))


AFTER_COMMIT: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a shard lacks a row": ("shards/00000.parquet", drop_a_row),
    "a shard of another plan": (
        "shards/00000.parquet",
        lambda path: rewrite(path, lambda table: table, {"plan_id": "other"}),
    ),
    "a shard that is cut off": ("shards/00001.parquet", cut),
    "a shard's errors are gone": ("work/done/*.errors.parquet", drop_a_row),
    "a shard's errors are cut off": ("work/done/*.errors.parquet", cut),
}


@pytest.mark.parametrize("damage", AFTER_COMMIT)
def test_a_shard_that_was_damaged_after_its_commit_is_made_anew(
    data: Path, whole: Path, tmp_path: Path, damage: str
) -> None:
    class StopError(Exception):
        pass

    shards = 0

    def stop(event: Event) -> None:
        nonlocal shards
        shards += isinstance(event, ShardDone)
        if shards == 3:
            raise StopError

    output = tmp_path / "out"
    options: dict[str, Any] = {"extractor": PROBE, "shards": 3, "jobs": 1}
    with pytest.raises(StopError):
        scaledproc.run(data, output, on_event=stop, **options)
    pattern, change = AFTER_COMMIT[damage]
    path = next(path for path in sorted(output.glob(pattern)) if pq.read_metadata(path).num_rows)
    change(path)
    with pytest.raises(scaledproc.ScaledprocError, match=r"run the same command again|damaged"):
        scaledproc.run(data, output, **options)
    run = scaledproc.run(data, output, **options)
    assert output_bytes(run.store) == output_bytes(scaledproc.Run.open(whole).store)


def places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value in a JSON document."""
    if path:
        yield path
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inner:
        yield from places(value, (*path, key))


def at(content: Any, way: tuple[Any, ...]) -> Any:
    for key in way:
        content = content[key]
    return content


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with errors and summaries of few files."""
    folder = tmp_path_factory.mktemp("small")
    for number in range(4):
        (folder / f"data/{number % 2}").mkdir(parents=True, exist_ok=True)
        (folder / f"data/{number % 2}/{number}.txt").write_text("poison" if number == 3 else "x")
    (folder / "small.py").write_text(
        "import scaledproc\n"
        "@scaledproc.extractor(schema={'path': 'string'}, anchor='*.txt')\n"
        "def small(task):\n"
        "    if task.path.read_text() == 'poison': raise ValueError('poison')\n"
        "    return {'path': task.anchor}\n"
    )
    scaledproc.run(folder / "data", folder / "out", extractor=f"{folder}/small.py:small", jobs=1, shards=2)
    assert scaledproc.api.verify(folder / "out").ok
    return folder / "out"


def verdict(output: Path) -> str:
    """What is found; an error for a person counts too, any other is raised."""
    try:
        found = scaledproc.api.verify(output)
    except scaledproc.ScaledprocError as error:
        return f"error: {error}"
    return "whole" if found.ok else f"damaged: {found.problems}"


@pytest.mark.slow
@pytest.mark.parametrize("is_signed", [False, True], ids=["by hand", "with a digest that is right"])
def test_every_change_of_run_json_is_noticed(small: Path, tmp_path: Path, is_signed: bool) -> None:
    """Each of its values is gone, or another one. Who makes its digest anew may deceive, but nobody crashes it."""
    output = Path(shutil.copytree(small, tmp_path / "out"))
    path = output / "run.json"
    good = json.loads(path.read_text())
    tried, unnoticed = 0, []
    values: tuple[Any, ...] = (None, -1, [], ...) if is_signed else ("x", 7, ...)
    for way in places(good):
        for value in values:
            record = json.loads(json.dumps(good))
            inner = at(record, way[:-1])
            if value is ...:
                del inner[way[-1]]
            elif inner[way[-1]] == value:
                continue
            else:
                inner[way[-1]] = value
            if is_signed:
                record["digest"] = digest_of_content(record)
            path.write_text(json.dumps(record))
            tried += 1
            if verdict(output) == "whole":
                unnoticed.append((way, value))
    assert tried > 200
    if not is_signed:
        assert {way for way, _ in unnoticed} <= {("replaces",), ("summaries",), ("notes",)}, "as if empty"
        return
    # What only the digest tells; all else contradicts the plan or the files.
    free = {
        "beginning",
        "timings",
        "versions",
        "backend",
        "options",
        "replaces",
        "dataset",
        "bytes",
        "extractor",
        "sizes",
        "notes",
    }
    others = [(way, value) for way, value in unnoticed if way[0] not in free]
    assert {(way[0], way[-1]) for way, _ in others} <= {
        *(("shards", name) for name in ("bytes", "work_seconds")),
        ("format", "format"),
        ("digest", "digest"),
    }, others


def test_numbers_in_run_json_that_are_wrong_are_noticed_without_its_digest(small: Path, tmp_path: Path) -> None:
    output = Path(shutil.copytree(small, tmp_path / "out"))
    path = output / "run.json"
    good = json.loads(path.read_text())
    ways = [("shards", 0, "tasks"), ("counts", "units"), ("counts", "chunks"), ("counts", "rows"), ("bytes", "input")]
    for way in [*ways, ("digests", "errors.log"), ("digests", "features.parquet"), ("shards", 1, "digest")]:
        record = json.loads(json.dumps(good))
        inner = at(record, way[:-1])
        inner[way[-1]] = "" if isinstance(inner[way[-1]], str) else inner[way[-1]] + 1
        record["digest"] = digest_of_content(record)
        path.write_text(json.dumps(record))
        assert verdict(output).startswith("damaged"), way


def other_type(kind: pa.DataType) -> Callable[[pa.Table, int], pa.Table]:
    def change(table: pa.Table, column: int) -> pa.Table:
        return table.set_column(column, table.schema.names[column], pa.nulls(table.num_rows, kind))

    return change


TABLE_CHANGES: dict[str, Callable[[pa.Table, int], pa.Table]] = {
    "nulls": lambda table, column: other_type(table.schema.types[column])(table, column),
    "lists": other_type(pa.list_(pa.int64())),
    "structs": other_type(pa.struct({"a": pa.int8()})),
    "text": other_type(pa.string()),
    "no type": other_type(pa.null()),
    "gone": lambda table, column: table.remove_column(column),
    "twice": lambda table, column: table.append_column(table.schema.names[column], table.column(column)),
    "other name": lambda table, column: table.rename_columns(
        [f"{name}_" if at == column else name for at, name in enumerate(table.schema.names)]
    ),
    "no rows": lambda table, _: table.slice(0, 0),
    "one null": lambda table, column: table.set_column(
        column, table.schema.names[column], pa.array([None, *table.column(column).to_pylist()[1:]])
    ),
}
TABLES = ["plan.parquet", "inventory.parquet", "features.parquet", "errors.parquet", "shards/00001.parquet"]


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("has_digests", [True, False])
def test_tables_of_another_kind_are_noticed(small: Path, tmp_path: Path, name: str, has_digests: bool) -> None:
    output = Path(shutil.copytree(small, tmp_path / "out"))
    good = (output / name).read_bytes()
    if not has_digests:
        forget_digests(output)
    for column in range(len(pq.read_schema(output / name).names)):
        for change in TABLE_CHANGES.values():
            (output / name).write_bytes(good)
            with contextlib.suppress(pa.ArrowException):
                rewrite(output / name, lambda table: change(table, column))  # noqa: B023 - called at once
                assert verdict(output) != "whole"


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TABLES, "run.json", "errors.log"])
def test_bytes_of_any_kind_are_noticed(small: Path, tmp_path: Path, name: str) -> None:
    output = Path(shutil.copytree(small, tmp_path / "out"))
    path = output / name
    good = path.read_bytes()
    draw = random.Random(name)
    for _ in range(60):
        start, length = draw.randrange(len(good)), draw.choice([1, 1, 4, 64])
        kind = draw.choice(["flip", "noise", "zeros", "gone", "twice"])
        piece = good[start : start + length]
        new = {
            "flip": bytes([piece[0] ^ 1 << draw.randrange(8)]) + piece[1:],
            "noise": draw.randbytes(len(piece)),
            "zeros": bytes(len(piece)),
            "gone": b"",
            "twice": piece * 2,
        }[kind]
        changed = good[:start] + new + good[start + length :]
        path.write_bytes(changed)
        if name == "run.json":
            with contextlib.suppress(ValueError):
                if json.loads(changed) == json.loads(good):
                    continue  # blanks
        if changed != good:
            assert verdict(output) != "whole", (kind, start, length)


@pytest.mark.parametrize("name", [*TABLES, "run.json", "errors.log"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "link to nothing", "link to itself", "empty", "gone", "device"])
def test_what_stands_in_a_files_place_is_noticed_at_once(small: Path, tmp_path: Path, name: str, kind: str) -> None:
    path = Path(shutil.copytree(small, tmp_path / "out")) / name
    path.unlink()
    make: dict[str, Callable[[], Any]] = {
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "link to nothing": lambda: path.symlink_to("nothing"),
        "link to itself": lambda: path.symlink_to(path.name),
        "empty": path.touch,
        "gone": lambda: None,
        "device": lambda: path.symlink_to("/dev/zero"),
    }
    make[kind]()
    assert verdict(tmp_path / "out") != "whole"


def test_what_is_not_the_runs_is_told(small: Path, tmp_path: Path) -> None:
    output = Path(shutil.copytree(small, tmp_path / "out"))
    (output / "thesis.tex").touch()
    (output / "work").mkdir()
    found = scaledproc.api.verify(output)
    assert found.ok
    assert found.notes == ("2 names here are not the run's (the first is 'thesis.tex')",)


def test_a_footer_that_claims_much_takes_no_memory(output: Path) -> None:
    rewrite(output / SHARD, lambda table: table, {"counts": [[1, 10**12]]})
    assert any("accounts for" in problem.text for problem in scaledproc.api.verify(output).problems)


def test_run_on_a_finished_folder_looks_for_its_files(small: Path, tmp_path: Path) -> None:
    output = Path(shutil.copytree(small, tmp_path / "out"))

    def again() -> scaledproc.Run:
        return scaledproc.run(small.parent / "data", output, extractor=f"{small.parent}/small.py:small", jobs=1)

    assert again().record.state == "done"
    for name in (*TABLES, "errors.log"):
        kept = (output / name).read_bytes()
        (output / name).unlink()
        with pytest.raises(scaledproc.ScaledprocError, match=r"is gone|cannot be read"):
            again()
        (output / name).write_bytes(kept[:-1])
        with pytest.raises(scaledproc.ScaledprocError, match=r"bytes, not|cannot be read"):
            again()
        (output / name).write_bytes(kept)
    (output / FEATURES).unlink()
    with pytest.raises(scaledproc.ScaledprocError, match="scaledproc combine"):
        again()
    scaledproc.combine(output)
    assert again().record.state == "done"


@pytest.mark.slow
def test_combining_that_is_cut_short_is_noticed(demo: Path, tmp_path: Path) -> None:
    """Between the new table and run.json: the next command does it again, and removes what a killed one left."""
    output = tmp_path / "out"
    (tmp_path / "names.toml").write_text('[waveform]\nlead_two = ["II"]\n')
    scaledproc.run(demo, output, jobs=1)

    def stop(event: Event) -> None:
        if isinstance(event, CombineDone):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scaledproc.combine(output, options={"signal_names": tmp_path / "names.toml"}, on_event=stop)
    table = (output / FEATURES).read_bytes()
    left = output / f".{FEATURES}.0123.part"
    left.write_bytes(b"half")
    notes: list[str] = []
    run = scaledproc.run(
        demo, output, jobs=1, on_event=lambda event: notes.append(event.text) if isinstance(event, Note) else None
    )
    assert "lead_two" in run.to_arrow()["signal_name"].to_pylist()
    assert any("combined anew" in note for note in notes)
    assert (output / FEATURES).read_bytes() == table
    assert scaledproc.api.verify(output).ok
    assert not left.exists()
    left.write_bytes(b"half")
    scaledproc.combine(output)
    assert not left.exists()


def test_combining_that_fails_leaves_a_finished_run_as_it_was(demo: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    scaledproc.run(demo, output, jobs=1)
    before = (output / "run.json").read_bytes()
    shard = next((output / "shards").iterdir())
    shard.rename(tmp_path / "away")
    with pytest.raises(scaledproc.ScaledprocError, match="1 of 3 shards of the finished run are gone"):
        scaledproc.combine(output, options={"signal_names": "built-in"})
    assert (output / "run.json").read_bytes() == before
