"""Columns of a Parquet table: from its footer, and from the rows that are read."""

from __future__ import annotations

import math
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from htpy import fragment

from scaledproc.extractors.account import share_read
from scaledproc.reporting.report import tables
from scaledproc.reporting.report.plausible import _columns
from scaledproc.reporting.report.tables import profile, reading, value_text
from scaledproc.storage.store import Store


def write(folder: Path, table: pa.Table, rows: int = 1000) -> Store:
    pq.write_table(table, folder / "t.parquet", row_group_size=rows)
    return Store.at(folder)


def test_each_type_is_told_of(tmp_path: Path) -> None:
    table = pa.table(
        {
            "x": pa.array([1.0, None, float("nan"), 4.0]),
            "n": pa.array([1, 1, 2, None], pa.int64()),
            "word": ["b", "a", "b", None],
            "when": pa.array([0, 10**15, None, None], pa.timestamp("us")),
            "is": [True, False, None, True],
            "many": [[1], [2, 3], None, []],
            "raw": [b"\x00\xff", None, None, None],
        }
    )
    told = {"unit": "mV"}, {"description": "A number."}
    fields = [each.with_metadata(told[at]) if at < len(told) else each for at, each in enumerate(table.schema)]
    table = table.cast(pa.schema(fields))
    found = profile(write(tmp_path, table), ["t.parquet"], "t", {"x": "A voltage.", "n": "Own."})
    by_name = {each.name: each for each in found.columns}
    assert [each.nulls for each in found.columns] == [1, 1, 1, 2, 1, None, 3]
    assert (by_name["x"].units, by_name["x"].description) == ("mV", "A voltage.")
    assert (by_name["n"].units, by_name["n"].description) == ("", "A number.")
    assert (by_name["x"].low, by_name["x"].high, by_name["x"].distinct) == ("1", "4", 2)
    assert by_name["x"].nans == 1
    assert by_name["word"].most == (("b", 2), ("a", 1))
    assert by_name["is"].most == (("True", 2), ("False", 1))
    assert by_name["when"].high.startswith("2001-09-09")
    assert by_name["n"].histogram is not None
    assert list(by_name["n"].histogram.counts) == [2, 1]
    assert by_name["many"].distinct is None
    assert found.first[0] == ("1", "1", "b", "1970-01-01 00:00:00", "True", "[1]", "00 ff")


def test_large_values_are_neither_held_nor_made_into_text(tmp_path: Path) -> None:
    size, rows = 2_000_000, 60
    raw = np.random.default_rng(0).integers(0, 256, (rows, size), np.uint8)
    halves = raw.view(np.float16)[:, : size // 8]
    table = pa.table(
        {
            "raw": pa.array([each.tobytes() for each in raw]),
            "few": pa.array([each.tobytes() for each in raw[:3]] * (rows // 3)),
            "many": pa.array([each.astype(np.float32) for each in halves]),
            "deep": pa.array([{"a": [each.tolist()]} for each in np.ones((rows, size // 40))]),
            "n": range(rows),
        }
    )
    del raw, halves
    store = write(tmp_path, table, rows=3)
    del table
    tracemalloc.start()
    held = pa.total_allocated_bytes()
    found = profile(store, ["t.parquet"], "t", {})
    assert tracemalloc.get_traced_memory()[1] < 4 * size
    assert pa.total_allocated_bytes() < held + size
    tracemalloc.stop()
    by_name = {each.name: each for each in found.columns}
    assert [by_name[name].distinct for name in ("raw", "few", "n")] == [None, None, rows]
    assert by_name["raw"].most == ()
    assert found.read == rows
    assert len(found.first) == 8
    assert {len(text or "") for row in found.first for text in row[:4]} == {tables.SHOWN}
    assert found.first[0][3] == "{'a': [[" + "1.0, " * 14 + "1…"
    assert [row[4] for row in found.first] == [str(at) for at in range(8)]


def test_texts_that_take_too_long_to_read_are_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "LARGE", 100_000)
    table = pa.table({"long": ["x" * 50_000 + str(at % 2) for at in range(10)], "short": ["a", "b"] * 5})
    found = profile(write(tmp_path, table, rows=1), ["t.parquet"], "t", {})
    assert [each.distinct for each in found.columns] == [None, 2]
    assert [each.is_counted for each in found.columns] == [False, True]
    assert found.columns[1].most == (("a", 5), ("b", 5))
    assert [row[1] for row in found.first] == ["a", "b"] * 4
    assert found.read == 10


def test_numbers_are_counted_however_many_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "LARGE", 100)
    table = pa.table({"x": [*range(998), math.nan, math.inf], "is_odd": [True, False] * 500})
    found = profile(write(tmp_path, table), ["t.parquet"], "t", {})
    assert [(each.is_counted, each.nans, each.infinite) for each in found.columns] == [(True, 1, 1), (True, 0, 0)]
    assert found.columns[0].histogram is not None


def test_of_texts_those_are_weighed_that_would_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = write(tmp_path, pa.table({"text": [f"{at:0100}" for at in range(1_000)]}), rows=10)
    monkeypatch.setattr(tables, "LARGE", 10_000)
    (column,) = profile(store, ["t.parquet"], "t", {}).columns
    assert not column.is_counted
    monkeypatch.setattr(tables, "VALUES", 30)
    (column,) = profile(store, ["t.parquet"], "t", {}).columns
    assert (column.is_counted, column.distinct) == (True, 30)


def test_values_are_shown_as_python_writes_them(tmp_path: Path) -> None:
    values: list[tuple[pa.DataType, object, str]] = [
        (pa.map_(pa.string(), pa.int64()), {"a": 1, "b": None}, "[('a', 1), ('b', None)]"),
        (pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))]), {"a": 1, "b": ["x"]}, "{'a': 1, 'b': ['x']}"),
        (pa.list_(pa.list_(pa.float64())), [[1.0], None, []], "[[1.0], None, []]"),
        (pa.list_(pa.float32(), 2), [1.0, None], "[1.0, None]"),
        (pa.list_(pa.binary()), [b"ab"], "[b'ab']"),
        (pa.list_(pa.int64()), list(range(100)), str(list(range(100)))[: tables.SHOWN - 1] + "…"),
    ]
    columns = {str(at): pa.array([value], kind) for at, (kind, value, _) in enumerate(values)}
    storage = pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2))
    tensor = pa.fixed_shape_tensor(pa.float32(), [2])
    columns["tensor"] = pa.ExtensionArray.from_storage(tensor, storage)
    found = profile(write(tmp_path, pa.table(columns)), ["t.parquet"], "t", {})
    assert list(found.first[0]) == [*(text for _, _, text in values), "[1.0, 2.0]"]


def test_a_value_far_away_does_not_hide_the_others(tmp_path: Path) -> None:
    values = np.concatenate([np.linspace(0, 1, 1000), [1e9]])
    (column,) = profile(write(tmp_path, pa.table({"x": values})), ["t.parquet"], "t", {}).columns
    assert column.histogram is not None
    assert column.high == "1e+09"
    assert column.histogram.edges[-1] <= 2
    assert 1 <= column.histogram.above <= 6
    assert sum(column.histogram.counts) + column.histogram.above == 1001


def test_of_a_large_table_whole_row_groups_at_equal_distances_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "VALUES", 2000)
    store = write(tmp_path, pa.table({"x": np.arange(10_000)}))
    found = profile(store, ["t.parquet"], "t", {})
    assert (found.rows, found.read) == (10_000, 2000)
    assert (found.columns[0].low, found.columns[0].high) == ("0", "9999")
    read = reading(store, ["t.parquet"], most=3000)
    assert share_read(read) == 0.3
    assert share_read(reading(store, ["t.parquet"])) == 1
    part = pa.concat_tables(read(["x"]))["x"].to_numpy()
    assert [int(part[0]), int(part[1000]), int(part[2000])] == [0, 3000, 6000]


def test_a_table_of_several_files_is_one_table(tmp_path: Path) -> None:
    names = ["a.parquet", "empty.parquet", "b.parquet"]
    for name, values in zip(names, ([1.0, 2.0], [], [None, 9.0]), strict=True):
        pq.write_table(pa.table({"x": pa.array(values, pa.float64())}), tmp_path / name)
    found = profile(Store.at(tmp_path), names, "features", {})
    (column,) = found.columns
    assert (found.rows, found.read, column.nulls, column.low, column.high) == (4, 4, 1, "1", "9")
    assert [row[0] for row in found.first] == ["1", "2", None, "9"]


def test_an_empty_table_has_columns_and_nothing_else(tmp_path: Path) -> None:
    table = pa.table({"x": pa.array([], pa.float64())})
    found = profile(write(tmp_path, table), ["t.parquet"], "t", {})
    assert (found.rows, found.columns[0].nulls, found.columns[0].histogram) == (0, 0, None)


def test_a_value_is_cut_where_it_is_long() -> None:
    assert len(value_text("x" * 1000)) == tables.SHOWN
    assert value_text(0.1 + 0.2) == "0.3"


def test_nan_and_infinities_are_counted_apart_from_what_is_missing(tmp_path: Path) -> None:
    nan, far = float("nan"), float("inf")
    table = pa.table(
        {
            "some": pa.array([1.0, nan, nan, far, -far, None, 2.0, 3.0]),
            "all": pa.array([nan, nan, None, nan, nan, nan, nan, nan], pa.float32()),
            "half": pa.array([np.float16(1), np.float16(nan), None, *(np.float16(2),) * 5], pa.float16()),
            "none": pa.array([1.5] * 8),
            "null": pa.array([None] * 8, pa.float64()),
        }
    )
    found = profile(write(tmp_path, table), ["t.parquet"], "t", {})
    some, every, half, none, null = found.columns
    assert (some.nulls, some.nans, some.infinite, some.is_empty, some.distinct) == (1, 2, 2, False, 5)
    assert some.histogram is not None
    assert sum(some.histogram.counts) + some.histogram.below + some.histogram.above == 3
    assert (every.nulls, every.nans, every.is_empty, every.distinct) == (1, 7, True, 0)
    assert (half.nulls, half.nans, half.is_empty) == (1, 1, False)
    assert (none.nans, none.infinite, none.is_empty) == (0, 0, False)
    assert (null.nulls, null.is_empty) == (8, True)
    html = str(fragment[_columns(found, is_open=True)])
    assert "NaN, infinite" in html
    assert "25.0 % NaN, 2 infinite" in html
    assert "87.5 % NaN" in html
    plain = str(
        fragment[_columns(profile(write(tmp_path, table.select(["none"])), ["t.parquet"], "t", {}), is_open=True)]
    )
    assert "NaN" not in plain


def test_numbers_that_the_first_row_groups_do_not_have_are_in_the_histogram(tmp_path: Path) -> None:
    """Three row groups tell where a histogram begins and ends: there may be NaN alone in them."""
    values = np.full(700, np.nan)
    values[150:170] = np.linspace(1, 2, 20)
    (column,) = profile(write(tmp_path, pa.table({"x": values}), 100), ["t.parquet"], "t", {}).columns
    assert column.nans == 680
    assert column.histogram is not None
    assert sum(column.histogram.counts) == 20


@pytest.mark.parametrize("rows", [2, 100])
def test_both_zeros_are_one_value(tmp_path: Path, rows: int) -> None:
    (column,) = profile(write(tmp_path, pa.table({"x": [0.0, -0.0, 0.0, 1.0]}), rows), ["t.parquet"], "t", {}).columns
    assert (column.distinct, column.low) == (2, "0")
