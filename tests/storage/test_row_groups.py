"""Where rows are cut into row groups: by rows and bytes, from the rows alone; what a file says of itself besides."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scaledproc
from scaledproc.run_folder.names import ERRORS
from scaledproc.run_folder.run import Run
from scaledproc.storage.parquet import Writer, open_reader, read_note
from scaledproc.storage.row_groups import RowGroups, rebatch, row_bits
from scaledproc.storage.store import Store

ITEM = pa.struct([("t", pa.string()), ("n", pa.int16())])
SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("view", pa.string_view()),
        ("flag", pa.bool_()),
        ("list", pa.list_(ITEM)),
        ("map", pa.map_(pa.string(), pa.list_(pa.int32()))),
        ("fixed", pa.list_(pa.float32(), 2)),
        ("nothing", pa.null()),
    ]
)
text = st.text(max_size=40)
number = st.integers(-99, 99)
item = st.fixed_dictionaries({"t": st.none() | text, "n": number})
rows = st.fixed_dictionaries(
    {
        "text": st.none() | text,
        "view": st.none() | text,
        "flag": st.none() | st.booleans(),
        "list": st.none() | st.lists(st.none() | item, max_size=4),
        "map": st.none() | st.lists(st.tuples(text, st.none() | st.lists(number, max_size=3)), max_size=3),
        "fixed": st.none() | st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=2),
        "nothing": st.none(),
    }
)


def cut_up(table: pa.Table, cuts: list[int]) -> Iterator[pa.Table]:
    """The same rows, each table with memory of its own or as a part of another's."""
    places = [0, *sorted(min(cut, table.num_rows) for cut in cuts), table.num_rows]
    for number, (start, stop) in enumerate(pairwise(places)):
        piece = table.slice(start, stop - start)
        yield pa.Table.from_pylist(piece.to_pylist(), schema=table.schema) if number % 2 else piece


@settings(deadline=None)
@given(
    st.lists(rows, max_size=25),
    st.lists(st.integers(0, 25), max_size=6),
    st.integers(1, 20),
    st.integers(1, 12),
    st.integers(-1, 1),
)
def test_row_groups_depend_on_the_rows_alone(
    found: list[dict[str, Any]], cuts: list[int], most: int, fitting: int, more: int
) -> None:
    for schema in (SCHEMA, SCHEMA.remove(1)):  # with views, and without
        table = pa.Table.from_pylist(found, schema=SCHEMA).select(schema.names)
        bits = row_bits(table).tolist()
        size = sum(bits[:fitting]) + more  # where it matters
        expected, at = [], 0
        while at < len(bits):  # row by row
            stop = at + 1
            while stop < len(bits) and stop - at < most and sum(bits[at : stop + 1]) <= size:
                stop += 1
            expected.append(stop - at)
            at = stop
        groups = _groups(schema, most, size, cut_up(table, cuts))
        assert [group.num_rows for group in groups] == expected
        assert pa.concat_tables([schema.empty_table(), *groups]).to_pylist() == table.to_pylist()


def _groups(schema: pa.Schema, most: int, size: int, tables: Iterator[pa.Table]) -> list[pa.Table]:
    groups = RowGroups(schema, most, size)
    groups._most_bits = size  # less than its columns would get
    return [*(group for table in tables for group in groups.add(table)), *groups.rest()]


@settings(deadline=None)
@given(st.lists(rows, max_size=20), st.integers(0, 20), st.integers(0, 20))
def test_rows_take_no_more_than_their_table(found: list[dict[str, Any]], start: int, count: int) -> None:
    table = pa.Table.from_pylist(found, schema=SCHEMA).drop_columns("view").slice(start, count)
    assert row_bits(table).sum() <= 8 * table.nbytes
    assert row_bits(table).tolist() == row_bits(pa.Table.from_pylist(table.to_pylist(), schema=table.schema)).tolist()


@pytest.mark.parametrize("kind", [pa.string(), pa.list_(pa.string()), pa.struct([("s", pa.string())])])
def test_more_text_than_an_array_can_have(kind: pa.DataType) -> None:
    long = "x" * 3_000_000
    value: Any = {"s": long} if pa.types.is_struct(kind) else [long] if pa.types.is_list(kind) else long
    table = pa.table({"v": pa.array([value], kind)})
    count = 0
    for group in rebatch(table for _ in range(750)):
        assert group.nbytes < 2**26
        assert group["v"].num_chunks == 1
        count += group.num_rows
    assert count == 750


@pytest.mark.slow
def test_large_rows_are_the_same_bytes_whatever_the_cuts(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number in range(40):
        (tmp_path / f"data/{number:02d}.txt").write_text(str(number))

    @scaledproc.extractor(schema={"v": pa.list_(pa.string())}, anchor="*.txt", unit="file")
    def large(task: scaledproc.Task) -> Any:
        count = int(task.path.read_text())
        table = pa.table({"v": pa.array([[chr(97 + count % 26) * 2_000_000]] * (count % 3), pa.list_(pa.string()))})
        return table if count % 2 else table.to_pylist()

    made = [
        Path(scaledproc.run(tmp_path / "data", tmp_path / f"out-{shards}-{chunk}", extractor=large, jobs=1,
                            shards=shards, chunk=chunk).features)
        for shards, chunk in ((1, 40), (3, 7), (40, 1))
    ]  # fmt: skip
    assert len({path.read_bytes() for path in made}) == 1
    metadata = pq.read_metadata(made[0])
    assert metadata.num_rows == 39
    assert metadata.num_row_groups == 3, "of 32 MiB at most, each"
    assert Run.open(tmp_path / "out-1-40").to_arrow().num_rows == 39


def test_what_a_file_says_of_itself_is_not_all_in_its_footer(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    ends = list(range(0, 600_000, 3))
    with Writer(path, pa.schema([("x", pa.int64())])) as writer:
        writer.write_table(pa.table({"x": [1, 2, 3]}))
        writer.note({"plan_id": "p"}, {"ends": ends, "few": [4, 5], "runs": [[n, 1] for n in range(150_000)]})
    with path.open("rb") as source, open_reader(source) as file:
        assert file.metadata.serialized_size < 2_000
        said = read_note(file, source)
    assert (said["plan_id"], said["few"], said["ends"].tolist()) == ("p", [4, 5], ends)
    assert said["runs"].shape == (150_000, 2)
    assert pq.read_table(path)["x"].to_pylist() == [1, 2, 3]


@pytest.mark.slow
def test_messages_are_bounded_and_a_run_of_huge_ones_ends(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number in range(4):
        (tmp_path / f"data/{number}.txt").write_text("x")

    @scaledproc.extractor(schema={"x": "int64"}, anchor="*.txt", unit="file")
    def wordy(task: scaledproc.Task) -> dict[str, Any]:
        size = 30_000_000 if task.anchor != "3.txt" else 900_000
        raise type("E" * 10_000, (Exception,), {})("é" * (size // 2) + "end")

    run = scaledproc.run(tmp_path / "data", tmp_path / "out", extractor=wordy, jobs=1, chunk=4)
    assert run.quarantined == 4
    for row in run.errors().to_pylist():
        assert 7_900 < len(row["message"].encode()) <= 8_000
        assert len(row["error"]) <= 4_096
    log = (tmp_path / "out/errors.log").read_text()
    assert "é" * 450_000 + "end" in log, "all of it up to 1 MB"
    assert len(log) < 4 * 1_400_000
    assert (tmp_path / "out" / ERRORS).stat().st_size < 100_000


def test_a_local_file_is_opened_by_arrow_itself(tmp_path: Path) -> None:
    """A thread of Arrow's that holds a file of Python's when the interpreter ends, aborts it now and then."""
    pq.write_table(pa.table({"x": [1]}), tmp_path / "x.parquet")
    with Store.at(tmp_path).open_for_arrow("x.parquet") as file:
        assert isinstance(file, pa.NativeFile)
        assert not isinstance(file, pa.PythonFile)
