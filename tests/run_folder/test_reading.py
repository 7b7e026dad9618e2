"""A run's table, or some of it, as Arrow, pandas, polars and a dataset: of local folders, of S3 and of memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest
from support import COUNT, Bucket, TreeWriter

import scaledproc
from scaledproc.errors import ScaledprocError
from scaledproc.run_folder.tracebacks import traceback_in

FILES = {f"{n}/a.txt": b"x" * n for n in range(1, 6)}


@pytest.fixture(params=["local", "s3", "memory"])
def run(request: pytest.FixtureRequest, tree: TreeWriter, tmp_path: Path) -> scaledproc.Run:
    """A finished run, opened again."""
    (tmp_path / "count.py").write_text(COUNT)
    output, options = str(tmp_path / "out [1]"), None
    if request.param == "s3":
        bucket: Bucket = request.getfixturevalue("s3")
        output, options = bucket.url(f"reading-{request.node.name}"), bucket.storage_options
    elif request.param == "memory":
        output = request.getfixturevalue("memory")
    given = {f"output.{name}": value for name, value in (options or {}).items()}
    scaledproc.run(
        tree(FILES), output, extractor=f"{tmp_path / 'count.py'}:count", jobs=1, storage_options=given or None
    )
    return scaledproc.Run.open(output, options)


def test_some_of_the_table(run: scaledproc.Run) -> None:
    whole = run.to_arrow()
    assert whole.num_rows == 5
    assert run.to_arrow(columns=["size", "path"]).equals(whole.select(["size", "path"]))
    assert run.to_arrow(filters=[("size", ">", 3)]).equals(whole.slice(3))
    assert run.to_arrow(columns=["path"], filters=pc.field("size") == 2).to_pylist() == [{"path": "2/a.txt"}]
    assert run.to_arrow(columns=[], filters=None).num_rows == 5
    assert run.to_pandas(["size"], [("path", "in", ["1/a.txt", "5/a.txt"])])["size"].tolist() == [1, 5]
    dataset = run.to_dataset()
    assert isinstance(dataset, ds.Dataset)
    assert dataset.to_table().equals(whole)
    assert run.scan().select("size").collect().to_series().to_list() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"columns": ["nothing"]},
            "the table has no column 'nothing'; there are: group, unit, anchor, path, size, beside",
        ),
        ({"columns": "size"}, r"columns='size': give a list of names, such as \['size'\]"),
        ({"filters": [("nothing", "==", 1)]}, "filters: .*nothing"),
        ({"filters": [("size", "about", 1)]}, "filters: .* is not a valid operator"),
        ({"filters": "size > 1"}, "filters: "),
    ],
)
@pytest.mark.parametrize("run", ["local"], indirect=True)
def test_what_cannot_be_read(run: scaledproc.Run, given: dict[str, Any], words: str) -> None:
    with pytest.raises(scaledproc.UsageError, match=words):
        run.to_arrow(**given)


@pytest.mark.parametrize("run", ["local"], indirect=True)
def test_a_damaged_table_is_told(run: scaledproc.Run) -> None:
    Path(run.features).write_bytes(b"PAR1 no longer")
    reads: list[Callable[[], Any]] = [run.to_arrow, lambda: run.to_arrow(columns=["size"]), run.to_dataset]
    for read in reads:
        with pytest.raises(scaledproc.ScaledprocError, match=r"features\.parquet is damaged"):
            read()


@pytest.mark.parametrize("run", ["local"], indirect=True)
def test_without_polars_the_error_says_so(run: scaledproc.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(scaledproc.UsageError, match="polars, which is not installed: pip install polars"):
        run.scan()


def test_an_unfinished_run_has_no_table(tree: TreeWriter, tmp_path: Path) -> None:
    def stop(event: Any) -> None:
        raise KeyboardInterrupt

    (tmp_path / "count.py").write_text(COUNT)
    extractor = f"{tmp_path / 'count.py'}:count"
    with pytest.raises(KeyboardInterrupt):
        scaledproc.run(tree(FILES), tmp_path / "out", extractor=extractor, jobs=1, on_event=stop)
    run = scaledproc.Run.open(tmp_path / "out")
    for read in (run.to_arrow, lambda: run.to_pandas(["size"]), run.to_dataset, run.scan, lambda: run.traceback("x")):
        with pytest.raises(scaledproc.ScaledprocError, match="is not finished"):
            read()


@pytest.mark.slow
def test_a_dataset_in_s3_can_be_left_half_read(s3: Bucket, tree: TreeWriter, tmp_path: Path) -> None:
    """A program that ends meanwhile ends well: no thread of Arrow's holds a file of Python's."""
    (tmp_path / "count.py").write_text(COUNT)
    output = s3.url("half-read")
    given = {f"output.{name}": value for name, value in s3.storage_options.items()}
    scaledproc.run(tree(FILES), output, extractor=f"{tmp_path / 'count.py'}:count", jobs=1, storage_options=given)
    code = (
        f"import scaledproc\nrun = scaledproc.Run.open({output!r}, {s3.storage_options!r})\n"
        "dataset = run.to_dataset()\nprint(type(dataset.filesystem).__name__, next(dataset.to_batches()).num_rows)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "S3FileSystem 5\n"


def test_a_plan_as_a_data_frame(tree: TreeWriter, tmp_path: Path) -> None:
    (tmp_path / "count.py").write_text(COUNT)
    frame = scaledproc.plan(tree(FILES), extractor=f"{tmp_path / 'count.py'}:count", shards=2, chunk=1).to_pandas()
    assert frame.columns.tolist() == ["group", "unit", "anchor", "size", "shard", "chunk"]
    assert frame["anchor"].tolist() == list(FILES)
    assert frame["size"].tolist() == [1, 2, 3, 4, 5]
    assert set(frame["shard"]) == {0, 1}


# Tracebacks

LOG = "a.txt\nTraceback one\n  c.txt\nValueError: b\n\nb.txt\nTraceback two\n\nc.txt\nsegmentation fault\n"
ANCHORS = ["a.txt", "b.txt", "c.txt"]


def test_a_traceback_is_told_from_its_neighbours() -> None:
    assert traceback_in(LOG, ANCHORS, "a.txt") == "Traceback one\n  c.txt\nValueError: b"
    assert traceback_in(LOG, ANCHORS, "b.txt") == "Traceback two"
    assert traceback_in(LOG, ANCHORS, "c.txt") == "segmentation fault"


@pytest.mark.parametrize("message", ["b.txt", "a.txt\nb.txt"])
def test_a_message_that_looks_like_another_task_is_not_cut_there(message: str) -> None:
    log = LOG.replace("ValueError: b", f"ValueError\n{message}")
    assert traceback_in(log, ANCHORS, "a.txt") is None


def test_a_log_that_is_no_longer_whole_gives_nothing() -> None:
    assert traceback_in("", ANCHORS, "a.txt") is None


def test_a_task_that_is_not_in_quarantine_has_no_traceback(tree: TreeWriter, tmp_path: Path) -> None:
    (tmp_path / "count.py").write_text(COUNT)
    files = {"a.txt": b"poison", "b.txt": b"x"}
    run = scaledproc.run(tree(files), tmp_path / "out", extractor=f"{tmp_path / 'count.py'}:count", jobs=1)
    assert run.traceback("a.txt").startswith("Traceback (most recent call last):")
    with pytest.raises(scaledproc.UsageError, match=r"'b\.txt' is no quarantined task"):
        run.traceback("b.txt")


TOTAL = """
import pyarrow as pa
import scaledproc


def total(tables):
    return {"total": pa.table({"rows": [sum(table.num_rows for table in tables)]})}


@scaledproc.extractor(schema={"n": "int64"}, anchor="*.txt", summarise=total)
def one(task):
    return {"n": 1}
"""


def test_a_summary_that_is_damaged_or_is_none(tree: TreeWriter, tmp_path: Path) -> None:
    (tmp_path / "total.py").write_text(TOTAL)
    run = scaledproc.run(tree(FILES), tmp_path / "out", extractor=f"{tmp_path}/total.py:one", jobs=1)
    assert run.summary("total").to_pydict() == {"rows": [5]}
    with pytest.raises(ScaledprocError, match="has no summary 'sum'; there are: total"):
        run.summary("sum")
    (tmp_path / "out/total.csv").write_text("rows\n1,2\n")
    with pytest.raises(ScaledprocError, match=r"total\.csv is damaged: .*; run the same command again"):
        run.summary("total")
