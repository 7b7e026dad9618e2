"""Tables as folders: the rows and summaries of the single file, whatever was done to make them, and who reads them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from support import tree_bytes

import scaledproc
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.run_folder.names import table_file_name
from scaledproc.testing import output_bytes

SOURCE = """
import scaledproc
import pyarrow as pa
import pyarrow.compute as pc

FACTOR = 1

def doubled(table):
    return table.append_column("twice", pc.multiply(table["words"], 2))

def totals(tables):
    return merged([partial(tables)])

def partial(tables):
    total = sum(pc.sum(table["twice"]).as_py() or 0 for table in tables)
    return {"totals": pa.table({"twice": [total]})}

def merged(partials):
    return {"totals": pa.table({"twice": [sum(each["totals"]["twice"][0].as_py() for each in partials)]})}

@scaledproc.extractor(
    schema={"path": "string", "words": "int64"},
    tables={"letters": {"letter": "string"}},
    anchor="*.txt",
    finish=doubled,
    summarise=totals,
    partial_summaries=partial,
    merge_summaries=merged,
)
def split(task):
    words = task.path.read_text().split()
    if "bad" in words:
        raise ValueError("bad")
    yield from ({"path": task.anchor, "words": FACTOR * len(word)} for word in words)
    yield scaledproc.rows("letters", ({"letter": letter} for word in words for letter in word))

@scaledproc.extractor(schema={"path": "string", "words": "int64"}, anchor="*.txt", finish=doubled, summarise=totals)
def whole(task):
    yield from ({"path": task.anchor, "words": FACTOR * len(word)} for word in task.path.read_text().split())
"""


class Place:
    """A dataset, an extractor's file, and what its runs give."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "data"
        (folder / "own.py").write_text(SOURCE)
        for group in "abc":
            for unit in range(3):
                self.write(f"{group}/{unit}/x.txt", " ".join(f"{group}{n}" * (n + 1) for n in range(unit + 2)))
        self.write("b/1/x.txt", "a bad one")

    def write(self, path: str, text: str) -> None:
        (self.data / path).parent.mkdir(parents=True, exist_ok=True)
        (self.data / path).write_text(text)

    def run(self, output: str = "out", extractor: str = "split", **options: Any) -> scaledproc.Run:
        given = {"extractor": f"{self.folder}/own.py:{extractor}", "jobs": 1, "table": "dataset", **options}
        return scaledproc.run(self.data, self.folder / output, **given)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def in_folders(folder: Path) -> dict[str, bytes]:
    """The files of the tables, with the summaries."""
    return {
        name: content
        for name, content in tree_bytes(folder).items()
        if name.startswith(("features/", "letters/")) or name.endswith(".csv")
    }


def test_the_folder_has_the_rows_of_the_file(place: Place) -> None:
    file, folder = place.run("file", table="file"), place.run()
    assert folder.to_arrow().equals(file.to_arrow())
    assert folder.to_arrow(table="letters").equals(file.to_arrow(table="letters"))
    assert folder.summary("totals").equals(file.summary("totals"))
    assert (
        folder.tasks()
        .drop(["seconds", "bytes_read", "peak_memory"])
        .equals(file.tasks().drop(["seconds", "bytes_read", "peak_memory"]))
    )
    parts = [f"part-0000{n}.parquet" for n in range(3)]
    for table, reference in (("features", file.to_arrow()), ("letters", file.to_arrow(table="letters"))):
        where = place.folder / "out" / table
        assert sorted(path.name for path in where.iterdir()) == ["_common_metadata", *parts]
        assert pa.concat_tables(pq.read_table(where / name) for name in parts).equals(reference)
        assert pq.read_schema(where / "_common_metadata").equals(reference.schema)
    assert not (place.folder / "out/features.parquet").exists()
    assert folder.features == str(place.folder / "out/features")
    assert scaledproc.verify(place.folder / "out").ok
    assert folder.record.bytes["features"] == sum(
        path.stat().st_size for path in (place.folder / "out/features").glob("part-*")
    )


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"jobs": 2}, {"chunk": 1}, {"chunk": 1, "jobs": 2}, {"chunk": "per-core"}])
def test_the_files_are_the_same_whatever_the_cuts_are(place: Place, options: Mapping[str, Any]) -> None:
    place.run()
    place.run("other", **options)
    assert in_folders(place.folder / "out") == in_folders(place.folder / "other")


def test_others_read_the_folder_as_one_table(place: Place) -> None:
    rows = place.run().to_arrow()
    where = place.folder / "out/features"
    assert ds.dataset(where, format="parquet").to_table().equals(rows)
    assert pq.read_table(where).equals(rows)
    assert pd.read_parquet(where).equals(rows.to_pandas())
    assert pl.scan_parquet(where / "*.parquet").collect().to_arrow().cast(rows.schema).equals(rows)
    duckdb = pytest.importorskip("duckdb")
    found = duckdb.sql(f"SELECT * FROM read_parquet('{where}/*.parquet') ORDER BY filename, file_row_number")
    assert found.fetchall() == [tuple(row.values()) for row in rows.to_pylist()]


def test_a_run_reads_its_folder(place: Place) -> None:
    run = place.run()
    rows = run.to_arrow()
    (place.folder / "out/features/part-00009.parquet").write_bytes(b"")  # not the run's
    assert run.to_dataset().to_table().equals(rows)
    assert run.scan().collect().to_arrow().cast(rows.schema).equals(rows)
    assert run.to_pandas(["twice"], [("words", ">", 2)]).equals(
        rows.filter(pc.field("words") > 2).select(["twice"]).to_pandas()
    )


def test_a_summary_without_a_partial_form_reads_all_rows(place: Place) -> None:
    place.write("b/1/x.txt", "good")
    file, folder = place.run("file", "whole", table="file"), place.run("out", "whole")
    assert folder.summary("totals").equals(file.summary("totals"))
    assert folder.summary("totals")["twice"][0].as_py() > 0


def test_finishing_that_depends_on_other_rows_is_refused(tmp_path: Path) -> None:
    place = Place(tmp_path)
    seen: list[int] = []

    def numbered(table: pa.Table) -> pa.Table:
        seen.append(table.num_rows)
        return table.append_column("n", pa.array(range(sum(seen[:-1]), sum(seen)), pa.int64()))

    def centred(table: pa.Table) -> pa.Table:
        mean = pc.mean(table["size"]).as_py() or 0.0
        return table.append_column("c", pc.subtract(table["size"].cast(pa.float64()), mean))

    for number, finish in enumerate((numbered, centred)):

        @scaledproc.extractor(schema={"size": "int64"}, anchor="*.txt", finish=finish)
        def size(task: Any) -> Iterator[dict[str, int]]:
            yield from ({"size": n} for n in range(task.path.stat().st_size))

        with pytest.raises(ScaledprocError, match="gives other values for rows alone"):
            scaledproc.run(place.data, tmp_path / f"out{number}", extractor=size, jobs=1, table="dataset")


def test_a_finish_that_is_not_row_wise_is_noticed_of_shards_with_one_row(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"data/{number}").mkdir(parents=True)
        (tmp_path / f"data/{number}/a.txt").write_text("x" * number)

    def centred(table: pa.Table) -> pa.Table:
        mean = pc.mean(table["size"]).as_py() or 0.0
        return table.append_column("c", pc.subtract(table["size"].cast(pa.float64()), mean))

    @scaledproc.extractor(schema={"size": "int64"}, anchor="*.txt", finish=centred)
    def size(task: Any) -> dict[str, int]:
        return {"size": task.path.stat().st_size}

    with pytest.raises(ScaledprocError, match="gives other values for rows alone"):
        scaledproc.run(tmp_path / "data", tmp_path / "out", extractor=size, jobs=1, shards=4, table="dataset")


def test_another_form_is_made_of_the_shards(place: Place) -> None:
    reference = place.run("file", table="file")
    run = place.run("out", table="file")
    assert tree_bytes(place.folder / "out").keys() == tree_bytes(place.folder / "file").keys()
    folder = place.run("out", table="dataset")
    place.run("folder")
    assert in_folders(place.folder / "out") == in_folders(place.folder / "folder")
    assert not {"features.parquet", "letters.parquet"} & tree_bytes(place.folder / "out").keys()
    assert folder.to_arrow().equals(reference.to_arrow())
    assert scaledproc.verify(place.folder / "out").ok
    again = place.run("out", table=None)
    assert again.record.has_table_folders  # as it is
    scaledproc.combine(place.folder / "out", table="file")
    assert output_bytes(run.store) == output_bytes(reference.store)
    assert not (place.folder / "out/features").exists()
    assert scaledproc.verify(place.folder / "out").ok


def test_another_form_without_the_shards_is_refused(place: Place) -> None:
    place.run("out", table="file")
    shutil.rmtree(place.folder / "out/shards")
    before = tree_bytes(place.folder / "out")
    with pytest.raises(ScaledprocError, match="gone"):
        scaledproc.combine(place.folder / "out", table="dataset")
    with pytest.raises(ScaledprocError, match="gone"):
        place.run("out", table="dataset")
    assert tree_bytes(place.folder / "out") == before


def test_damage_and_strays_are_found(place: Place) -> None:
    place.run()
    out = place.folder / "out"
    part = out / "features/part-00001.parquet"
    good = part.read_bytes()
    part.write_bytes(good[:-20] + bytes(20))
    (out / "letters/part-00007.parquet").write_bytes(good)
    (out / "letters/_SUCCESS").write_bytes(b"")
    found = scaledproc.verify(out)
    assert {problem.file for problem in found.problems} == {
        "features/part-00001.parquet",
        "features",
        "letters/part-00007.parquet",
    }
    assert "letters/_SUCCESS is not the run's" in found.notes
    part.unlink()
    with pytest.raises(ScaledprocError, match=r"part-00001.parquet is gone; scaledproc combine .* makes it"):
        place.run()
    scaledproc.combine(out)
    assert part.read_bytes() == good
    assert not (out / "letters/part-00007.parquet").exists()


def test_rows_that_are_not_those_of_the_shard_are_found(place: Place) -> None:
    place.run()
    out = place.folder / "out"
    rows = pq.read_table(out / "features/part-00002.parquet")
    at = rows.schema.get_field_index("words")
    changed = rows.set_column(at, rows.schema.field(at), pc.add(rows["words"], 1))
    pq.write_table(changed, out / "features/part-00002.parquet")
    texts = [problem.text for problem in scaledproc.verify(out).problems]
    assert any("differs from the shards in the rows from 0 on" in text for text in texts)


@pytest.mark.parametrize("form", ["file", "dataset"])
def test_an_update_has_the_bytes_of_a_run_from_nothing(place: Place, form: str) -> None:
    place.run(table=form)
    place.write("d/0/x.txt", "a new group")
    place.write("a/1/x.txt", "a changed one")
    shutil.rmtree(place.data / "c")
    run = place.run(update=True, table=None)
    fresh = place.run("fresh", table=form)
    assert output_bytes(run.store) == output_bytes(fresh.store)
    assert scaledproc.verify(place.folder / "out").ok
    rows = run.to_arrow()
    other = place.run(update=True, table="file" if form == "dataset" else "dataset", unit="stem")
    assert other.record.has_table_folders != run.record.has_table_folders
    assert scaledproc.verify(place.folder / "out").notes == ()
    assert other.to_arrow().drop(["unit"]).equals(rows.drop(["unit"]))


def test_failed_tasks_are_retried_and_rows_reused(place: Place) -> None:
    place.run()
    own = place.folder / "own.py"
    place.write("b/1/x.txt", "good")
    run = place.run(update=True)
    reused = place.run("reused", reuse=[place.folder / "out"])
    place.run("fresh")
    assert not run.quarantined
    for name in ("out", "reused"):
        assert in_folders(place.folder / name) == in_folders(place.folder / "fresh")
    assert reused.record.counts["reused"] == reused.record.counts["tasks"]
    own.write_text(SOURCE.replace("FACTOR = 1", "FACTOR = 3"))
    place.run(update=True)
    place.run("fresh", overwrite=True)
    assert in_folders(place.folder / "out") == in_folders(place.folder / "fresh")


def test_a_dataset_in_the_place_of_a_table_is_refused(place: Place) -> None:
    for name in ("features", "letters"):
        inner = place.folder / "o" / name
        shutil.copytree(place.data, inner)
        with pytest.raises(UsageError, match="would write over it"):
            scaledproc.run(inner, place.folder / "o", extractor=f"{place.folder}/own.py:split", jobs=1)
        assert tree_bytes(inner) == tree_bytes(place.data)


def test_overwriting_leaves_nothing_behind(place: Place) -> None:
    place.run(shards=5)
    shutil.rmtree(place.data / "c")
    run = place.run(overwrite=True)
    assert in_folders(place.folder / "out").keys() == {*run.record.digests} & in_folders(place.folder / "out").keys()
    assert len(list((place.folder / "out/features").glob("part-*"))) == 2
    run = place.run(overwrite=True, table="file")
    assert not (place.folder / "out/features").exists()
    assert not (place.folder / "out/letters").exists()


def test_the_names_sort_in_the_order_of_the_shards() -> None:
    for shards in (1, 3, 100_000, 100_001, 1_234_567):
        numbers = sorted({0, 1, 9, 10, 99_999, 100_000, shards - 1} & {*range(shards)})
        names = [table_file_name("features", number, shards) for number in numbers]
        assert names == sorted(names)


@pytest.mark.parametrize("value", ["parquet", "", 3])
def test_a_form_that_is_not_known_is_refused(place: Place, value: Any) -> None:
    with pytest.raises(UsageError, match="table"):
        place.run(table=value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the libraries that read it
def test_the_files_say_what_the_single_file_says(place: Place) -> None:
    import mlcroissant

    file, folder = place.run("file", table="file"), place.run()
    for table in (None, "letters"):
        expected = pq.read_schema(place.folder / f"file/{table or 'features'}.parquet")
        for path in sorted((place.folder / "out" / (table or "features")).iterdir()):
            assert pq.read_schema(path).equals(expected, check_metadata=True), path
    dataset = mlcroissant.Dataset(place.folder / "out/croissant.json")
    assert not dataset.metadata.issues.errors
    found = [row["features/twice"] for row in dataset.records("features")]
    assert found == folder.to_arrow()["twice"].to_pylist() == file.to_arrow()["twice"].to_pylist()


def test_rows_lead_back_by_keys_or_not(place: Place) -> None:
    keyed, plain = place.run(), place.run("plain", with_keys=False)
    assert keyed.to_arrow().drop(["group", "unit", "anchor"]).equals(plain.to_arrow())
    assert keyed.to_arrow()["anchor"].equals(plain.to_arrow()["path"])
    assert scaledproc.verify(place.folder / "plain").ok
