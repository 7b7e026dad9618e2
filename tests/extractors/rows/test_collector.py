"""Rows of every form fit the declared schema or are refused, are taken by value, and one bad value costs one task."""

from __future__ import annotations

import copy
import datetime as dt
import decimal
import gc
import traceback
from collections import defaultdict
from fractions import Fraction
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from row_forms import BERLIN, F32, F64, I32, I64, NOON, PAIR, TEXT, Stream, columns, forms, outcome, scribble
from row_forms import KINDS as ALL_KINDS

import scaledproc
from scaledproc.errors import UsageError
from scaledproc.extractors import Task
from scaledproc.extractors.rows import collector as module
from scaledproc.extractors.rows import scalars, takers
from scaledproc.extractors.rows.collector import HELD, PIECE, RowCollector, SchemaError

WHEN = dt.datetime(2020, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


@pytest.fixture
def collector() -> RowCollector:
    return RowCollector(pa.schema([pa.field("n", I64, nullable=False), ("s", pa.string())]))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "returned nothing"),
        (3, "returned a int"),
        ("text", "returned a str"),
        ([3], "a row is a int"),
        ({"n": 1}, "lacks the column 's'"),
        ({"n": 1, "s": "", "more": 2}, "more"),
        ({"n": None, "s": ""}, "may not be null"),
        (pa.table({"n": [1]}), "row 1 lacks the column 's'"),
        (pa.table({"n": pa.array([1, 1.5], F64), "s": ["a", "b"]}), "row 2, column 'n': 1.5 is no whole number"),
        (pa.table({"n": pa.array([None], I64), "s": ["a"]}), "may not be null"),
        (pd.DataFrame({"n": [1.5], "s": ["a"]}), "row 1, column 'n': 1.5 is no whole number"),
        (pd.DataFrame({"n": ["1"], "s": ["a"]}), "'1' is a text, not int64"),
        (pd.DataFrame({"n": [1]}, index=pd.Index(["a"], name="s")), r"reset_index\(\)"),
        (pd.DataFrame([[1, "a"]]), "lacks the columns 'n', 's'.* columns that the schema does not: 0, 1"),
        (pa.chunked_array([[1]]), "a row is a Int64Scalar"),
        (np.zeros(3, [("n", "i8")]), "a row is a void"),
        # All that is wrong with the first such row, in each form
        ({}, r"row 1 lacks the columns 'n', 's' \(give None for nulls\)$"),
        ({"n": 1, "a": 1, "b": 2}, r"lacks the column 's' \(give None for a null\) and has columns .* not: a, b$"),
        ([{"n": None, "s": 3}, {"n": "x", "s": 4}], "^row 1, column 'n': .*may not be null.*; column 's': 3 is a"),
        (pa.table({"a": [1], "b": [2]}), "lacks the columns 'n', 's' .* and has columns .*: a, b$"),
        (pa.table({"n": [1, None, None], "s": pa.array([None, 3, 4], I64)}), "^row 2, column 'n'.*; column 's': 3 is"),
        (pd.DataFrame({"n": [1.5], "s": [3]}), "^row 1, column 'n': 1.5 is no .*; column 's': 3 is a"),
        (pd.DataFrame({"n": [1, 1.5], "s": ["a", "b"]}), "^row 2, column 'n': 1.5 is no whole number.*as float64$"),
    ],
)
def test_a_task_that_does_not_fit_leaves_nothing(collector: RowCollector, returned: Any, message: str) -> None:
    collector.add({"n": 0, "s": "kept"})
    with pytest.raises(SchemaError, match=message):
        collector.add(returned)
    assert collector.rows == 1
    assert collector.take().to_pylist() == [{"n": 0, "s": "kept"}]


def test_the_line_that_yielded_a_row_which_does_not_fit(collector: RowCollector) -> None:
    ended = []

    def inner() -> Any:
        yield {"n": 1, "s": "a"}
        yield {"n": 1.5, "s": "a"}  # the line

    def outer() -> Any:
        try:
            yield from inner()
        except SchemaError:
            raise AssertionError("the extractor is not to handle this") from None
        finally:
            ended.append(True)

    try:
        collector.add(outer())
    except SchemaError as error:
        lines = [frame.line for frame in traceback.extract_tb(error.__traceback__)]
    assert 'yield {"n": 1.5, "s": "a"}  # the line' in lines
    assert lines.index("yield from inner()") < lines.index('yield {"n": 1.5, "s": "a"}  # the line')
    assert collector.rows == 0
    gc.collect()
    assert ended == [True]


def test_everything_that_rows_can_be(collector: RowCollector) -> None:
    rows = [{"n": 1, "s": "a"}, {"s": None, "n": 2}]
    expected = [{"n": 1, "s": "a"}, {"n": 2, "s": None}]
    table = pa.Table.from_pylist(expected, schema=collector.schema)
    for returned in (rows, iter(rows), table, table.select(["s", "n"]), table.to_batches()[0], table.to_pandas()):
        collector.add(returned)
    collector.add([])
    assert collector.rows == 12
    assert collector.take().to_pylist() == expected * 6


def test_order_is_kept_when_pieces_are_long(collector: RowCollector) -> None:
    collector.add({"n": -1, "s": None})
    collector.add({"n": n, "s": None} for n in range(2 * PIECE + 1))
    assert collector.is_full
    collector.add({"n": -2, "s": None})
    assert collector.take()["n"].to_pylist() == [-1, *range(2 * PIECE + 1), -2]
    assert collector.take().num_rows == 0


@pytest.mark.parametrize(
    "schema",
    [pa.schema([("x", pa.dictionary(pa.int32(), pa.string()))]), pa.schema([("x", I64), ("x", F64)])],
)
def test_schemas_that_cannot_be_are_refused(schema: pa.Schema) -> None:
    with pytest.raises(UsageError, match=r"dictionary|twice"):
        RowCollector(schema)


Frame = type("Frame", (pd.DataFrame,), {})  # a subclass, as geopandas has one


def test_forms_within_forms() -> None:
    schema = pa.schema([("n", I64), ("x", F64)])
    frame = pd.DataFrame({"n": [1, 2], "x": [0.5, None]})
    expected = ("taken", repr([{"n": 1, "x": 0.5}, {"n": 2, "x": None}]))
    parts = [frame.to_dict("records")[0], frame[1:]]
    again = frame.set_index("n").reset_index()
    tables = [pa.Table.from_pandas(frame), pa.table({})]
    rows = (row for _, row in frame.iterrows())
    for form in (frame, Frame(frame), frame[["x", "n"]], [frame], (frame[:1], frame[1:]), parts, again, tables, rows):
        assert outcome(schema, form) == expected
    assert outcome(schema, frame.loc[0]) == ("taken", repr([{"n": 1, "x": 0.5}]))
    assert outcome(schema, [pd.DataFrame({"n": [1], "x": [1]}), {"n": "a", "x": 1}])[1].startswith("row 2, column 'n'")


def test_polars() -> None:
    pl = pytest.importorskip("polars")
    kind = pa.schema([("n", F64), ("s", TEXT), ("l", pa.list_(I64)), ("t", pa.timestamp("us")), ("c", TEXT)])
    frame = pl.DataFrame({"n": [1, 2], "s": ["a", None], "l": [[1], []], "t": [NOON, None], "c": ["x", "y"]})
    frame = frame.with_columns(pl.col("c").cast(pl.Categorical))
    assert outcome(kind, frame) == outcome(kind, frame.to_dicts())
    assert outcome(pa.schema([("x", pa.list_(I64))]), {"x": pl.Series([1, 2])}) == ("taken", "[{'x': [1, 2]}]")


# Any rows, in every form


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(columns())
def test_any_rows_are_the_same_in_every_form(column: tuple[pa.Field, list[Any]]) -> None:
    field, values = column
    schema = pa.schema([field])
    for name, form, found in forms(values):
        expected = outcome(schema, [{"x": value} for value in found])
        assert outcome(schema, form) == expected, (name, found)
        if expected[0] == "taken":
            assert outcome(schema, *({"x": value} for value in found)) == expected  # also one by one


NOTHING = {
    "list": [],
    "DataFrame()": pd.DataFrame(),
    "DataFrame([])": pd.DataFrame([]),
    "no rows": pd.DataFrame(columns=["y"]),
    "no table": pa.table({}),
    "no rows of Arrow": pa.table({"y": pa.array([], I64)}),
}


@pytest.mark.parametrize("nothing", NOTHING.values(), ids=NOTHING)
def test_nothing_fits_every_schema(nothing: Any) -> None:
    for kind in ALL_KINDS:
        assert outcome(pa.schema([pa.field("x", kind, nullable=False)]), nothing) == ("taken", "[]"), kind


@pytest.mark.parametrize(
    "dtype", ["object", "str", "category", "Int64", "float64", "datetime64[ns]", "timedelta64[ns]", "Sparse[float]"]
)
def test_a_column_of_nothing_fits_every_type(dtype: str) -> None:
    for times in (1, 60):
        frame = pd.DataFrame({"x": pd.Series([None] * times, dtype=dtype)})
        for kind in (I64, F64, TEXT, pa.timestamp("us", "UTC"), pa.list_(I64)):
            assert outcome(pa.schema([("x", kind)]), frame) == ("taken", repr([{"x": None}] * times))


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_time_zones_are_neither_added_nor_dropped_in_any_form(unit: str) -> None:
    naive, zoned = pa.schema([("x", pa.timestamp(unit))]), pa.schema([("x", pa.timestamp(unit, "Asia/Tokyo"))])
    there = NOON.replace(tzinfo=BERLIN)
    for name, form, _ in forms([there]):
        assert "has a time zone" in outcome(naive, form)[1], name
    for name, form, _ in forms([NOON]):
        assert "has no time zone" in outcome(zoned, form)[1], name
    for name, form, found in forms([there]):
        collector = RowCollector(zoned)
        collector.add(form)
        assert collector.take()["x"].to_pylist() == [there] * len(found), name


@pytest.mark.parametrize("times", [1, 60])
def test_null_in_a_list_of_arrow_stays_null_in_pandas(times: int) -> None:
    table = pa.table({"x": [[None, 0.5]] * times, "s": [{"a": [1.5, None]}] * times})
    expected = outcome(table.schema, table)
    assert "nan" not in expected[1]
    assert outcome(table.schema, table.to_pandas(types_mapper=pd.ArrowDtype)) == expected


COLUMNS = {
    "int": st.integers(-(2**63), 2**63 - 1),
    "float": st.one_of(st.floats(), st.none()),
    "text": st.one_of(st.text(), st.none()),
    "bool": st.booleans(),
    "time": st.one_of(st.datetimes(*map(dt.datetime.fromisoformat, ("1700-01-01", "2200-01-01"))), st.none()),
    "bytes": st.one_of(st.binary(), st.none()),
    "list": st.lists(st.integers(0, 9)),
}


@given(st.data(), st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, unique=True), st.integers(0, 4))
def test_a_data_frame_is_what_arrow_makes_of_it(data: st.DataObject, names: list[str], n: int) -> None:
    frame = pd.DataFrame({name: data.draw(st.lists(COLUMNS[name], min_size=n, max_size=n)) for name in names})
    if data.draw(st.booleans()):
        frame = frame.convert_dtypes()
    expected = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    collector = RowCollector(expected.schema)
    collector.add(frame)
    assert collector.take().equals(expected)


@pytest.mark.parametrize("times", [1, 100])
def test_missing_values_of_small_and_large_data_frames_are_null(times: int) -> None:
    columns: dict[str, list[Any]] = {
        "float": [1.5, float("nan")],
        "text": ["a", None],
        "int": [1, -2],
        "bool": [True, False],
    }
    frame = pd.DataFrame({name: values * times for name, values in columns.items()})
    collector = RowCollector(pa.schema([("float", F64), ("text", pa.string()), ("int", I32), ("bool", pa.bool_())]))
    collector.add(frame)
    expected = [{"float": 1.5, "text": "a", "int": 1, "bool": True}]
    expected.append({"float": None, "text": None, "int": -2, "bool": False})
    assert collector.take().to_pylist() == expected * times


@pytest.mark.parametrize("make", [pd.DataFrame, pa.table])
def test_small_tables_are_written_together(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE", 100)
    collector = RowCollector(pa.schema([("x", I64)]))
    full = 0
    for number in range(3 * 100):
        collector.add(make({"x": [number]}))
        full += collector.is_full
        if collector.is_full:
            assert collector.take().num_rows == 100
    assert full == 3
    assert collector.take().num_rows == 0


# By value


ARRAYS = st.lists(st.integers(0, 9), min_size=1, max_size=3).map(np.array)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(columns(), st.lists(ARRAYS | ARRAYS.map(lambda array: array / 2)), st.booleans())
def test_what_becomes_of_values_later_changes_nothing(
    column: tuple[pa.Field, list[Any]], arrays: list[Any], is_framed: bool
) -> None:
    field, values = column
    values = [value for value in [*values, *arrays] if outcome(pa.schema([field]), {"x": value})[0] == "taken"]
    expected = RowCollector(pa.schema([field]))
    expected.add([{"x": value} for value in copy.deepcopy(values)])
    collector = RowCollector(pa.schema([field]))
    rows = [{"x": value} for value in values]
    collector.add(pd.DataFrame({"x": pd.Series(values, dtype=object)}) if is_framed else rows)
    scribble(rows)
    assert repr(collector.take().to_pylist()) == repr(expected.take().to_pylist())


@pytest.mark.parametrize("times", [1, 60])
def test_data_frames_are_copied(times: int) -> None:
    schema = pa.schema([("x", F64), ("n", I64), ("t", pa.timestamp("ns")), ("b", pa.bool_()), ("f", F32)])
    frame = pd.DataFrame(
        {
            "x": np.arange(2.0 * times),
            "n": pd.array(range(2 * times), "Int64"),
            "t": np.arange(2 * times).astype("M8[ns]"),
            "b": [False, True] * times,
            "f": np.arange(2.0 * times, dtype="f4"),
        }
    )
    expected = outcome(schema, frame.to_dict("records"))
    collector = RowCollector(schema)
    collector.add(frame)
    scribble(frame)
    assert repr(collector.take().to_pylist()) == expected[1] != outcome(schema, frame)[1]


NUMBERS = {"name": "string", "x": "float64", "l": pa.list_(I64), "s": pa.struct([("a", I64)])}
_ROW: dict[str, Any] = {"name": "", "x": 0.0, "l": np.zeros(2, int), "s": {"a": 0}}
_BUFFER = np.zeros((60, 1))


def _filled(number: int, row: dict[str, Any]) -> dict[str, Any]:
    row["x"], row["s"]["a"] = float(number), number
    row["l"][:] = number
    return row


def _handed_over(form: str, number: int) -> Any:
    """The same objects each time, with other content."""
    row = _ROW | {"name": form}
    if form == "generator":
        return (_filled(number + more, row) for more in range(3))
    if form in ("frame", "table", "stream"):
        _BUFFER[:] = number
        lists, structs = [[number]] * 60, [{"a": number}] * 60
        content = {"name": [form] * 60, "x": _BUFFER[:, 0], "l": lists, "s": structs}
        if form == "frame":
            return pd.DataFrame(_BUFFER, columns=["x"], copy=False).assign(name=form, l=lists, s=structs)
        return pa.table(content) if form == "table" else Stream(pa.table(content))
    return [_filled(number, row)] if form == "list" else _filled(number, row)


@scaledproc.extractor(schema=NUMBERS, anchor="*.txt", unit="file")
def lends(task: Task) -> Any:
    return _handed_over(task.path.stem.split("-")[0], int(task.path.read_text()))


def test_bytes_do_not_depend_on_cuts_where_objects_are_used_again(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for form in ("template", "list", "generator", "frame", "table", "stream"):
        for number in range(3):
            (tmp_path / f"in/{form}-{number}.txt").write_text(str(number))
    made = {}
    for chunk in ("1", "4", "100"):
        run = scaledproc.run(tmp_path / "in", tmp_path / chunk, extractor=lends, chunk=chunk, jobs=1)
        made[chunk] = (tmp_path / chunk / "features.parquet").read_bytes()
        assert run.quarantined == 0
    assert len(set(made.values())) == 1
    for row in run.to_arrow().to_pylist():
        assert set(row["l"]) == {row["s"]["a"]} == {row["x"]}
    xs = run.to_arrow().filter(pa.compute.equal(run.to_arrow()["name"], "generator"))["x"].to_pylist()
    assert xs == [0.0, 1.0, 2.0, 1.0, 2.0, 3.0, 2.0, 3.0, 4.0]


# One bad value


BAD: dict[str, tuple[Any, Any, Any]] = {
    "timedelta": (F64, np.timedelta64(1500, "ms"), 1.0),
    "fraction": (F64, Fraction(1, 3), 1.0),
    "map": (pa.map_(TEXT, I64), [None], {"a": 1}),
    "surrogate": (pa.list_(TEXT), ["\udc80"], ["a"]),
    "null": (PAIR, None, [1.0, 2.0]),
    "digits": (pa.decimal128(5, 2), decimal.Decimal("1e9"), decimal.Decimal("1.5")),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BAD)
def test_one_bad_value_costs_one_task(name: str, tmp_path: Path) -> None:
    kind, bad, good = BAD[name]

    @scaledproc.extractor(schema={"name": "string", "x": kind}, anchor="*.txt", unit="file")
    def one(task: Task) -> Any:
        return {"name": task.path.stem, "x": bad if task.path.stem == "f2" else good}

    (tmp_path / "in").mkdir()
    for number in range(5):
        (tmp_path / f"in/f{number}.txt").touch()
    made = set()
    for chunk in ("1", "5"):
        run = scaledproc.run(tmp_path / "in", tmp_path / chunk, extractor=one, chunk=chunk, jobs=1)
        made.add(tuple((tmp_path / chunk / f"{file}.parquet").read_bytes() for file in ("features", "errors")))
    assert len(made) == 1
    assert run.to_arrow()["name"].to_pylist() == ["f0", "f1", "f3", "f4"]
    error = run.errors().to_pylist()[0]
    assert (error["anchor"], error["kind"]) == ("f2.txt", "schema")
    assert error["message"].startswith("row 1, column 'x'")


@scaledproc.extractor(schema={"n": "int64"}, anchor="*.txt", unit="file")
def counted(task: Task) -> Any:
    number = int(task.path.read_text())
    return [{"n": number}] * (number % 3)


@pytest.mark.parametrize("where", ["Arrow", "Parquet", "both"])
@pytest.mark.parametrize("chunk", ["1", "7", "100"])
def test_what_no_rule_foresaw_costs_its_tasks_alone(
    where: str, chunk: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrow refuses 5 and 13 as it is, Parquet 8: their rows pass all checks, and are found by halving."""
    to_arrow, write_table = takers.to_arrow, pq.ParquetWriter.write_table

    def refuse(values: Any) -> Any:
        if where != "Parquet" and {5, 13} & set(values):
            raise pa.ArrowInvalid("no 5, no 13")
        return values

    def write(self: pq.ParquetWriter, table: pa.Table, *arguments: Any, **options: Any) -> None:
        if where != "Arrow" and "n" in table.schema.names and 8 in table["n"].to_pylist():
            raise pa.ArrowNotImplementedError("no 8")
        write_table(self, table, *arguments, **options)

    monkeypatch.setattr(module, "to_arrow", lambda values, taker: to_arrow(refuse(values), taker))
    monkeypatch.setattr(pq.ParquetWriter, "write_table", write)
    (tmp_path / "in").mkdir()
    for number in range(20):
        (tmp_path / f"in/f{number:02}.txt").write_text(str(number))
    run = scaledproc.run(tmp_path / "in", tmp_path / "out", extractor=counted, chunk=chunk, jobs=1)
    bad = {"Arrow": [5, 13], "Parquet": [8], "both": [5, 8, 13]}[where]
    expected = [number for number in range(20) if number not in bad for _ in range(number % 3)]
    assert run.to_arrow()["n"].to_pylist() == expected
    errors = run.errors().to_pylist()
    assert [error["anchor"] for error in errors] == [f"f{number:02}.txt" for number in bad]
    assert {error["kind"] for error in errors} == {"schema"}
    said = {f"Arrow or Parquet refuses the rows: no {which}" for which in ("5, no 13", "8")}
    assert {error["message"] for error in errors} <= said


def test_memory_is_bounded_by_bytes_too() -> None:
    collector = RowCollector(pa.schema([("x", TEXT), ("l", pa.list_(F64))]))
    while not collector.is_full:
        collector.add({"x": "x" * 2**18, "l": np.zeros(2**10)})
    assert collector.rows == pytest.approx(HELD / (2**18 + 2**13), rel=0.05)
    assert collector.take().num_rows == collector.rows
    assert collector.size == 0
    assert not collector.is_full


# How much is held


def sizes_of(schema: pa.Schema, *returned: Any) -> list[int]:
    """How much more is held after each."""
    collector = RowCollector(schema)
    found = [0]
    for each in returned:
        collector.add(each)
        found.append(collector.size)
    return [after - before for before, after in pairwise(found)]


def test_about_how_many_bytes_rows_take() -> None:
    schema = pa.schema([("s", TEXT), ("t", TEXT), ("n", I64), ("l", pa.list_(I64))])
    row: dict[str, Any] = {"s": "", "t": None, "n": 1, "l": None}
    assert sizes_of(schema, row, [row, row], row | {"n": 1.0}, row | {"n": np.int8(1)}) == [340, 680, 340, 340]
    together, apart = {"s": "x" * 50, "t": "y" * 50}, {"s": "x" * 50, "t": "y" * 51}
    assert sizes_of(schema, row | together, row | apart) == [340, 340]
    assert sizes_of(schema, row | {"s": "x" * 100}, row | {"s": "x" * 99 + "ü"}) == [340, 440]
    assert sizes_of(schema, row | {"s": "x" * 101}, row | {"s": "x" * 101, "t": "y" * 200}) == [441, 641]
    assert sizes_of(schema, row | {"s": "üa"}, row | {"s": "üa", "t": "b"}) == [342, 342]
    assert sizes_of(schema, row | {"l": [1, 2]}, row | {"l": np.arange(2)}) == [340 + 124, 340 + 116]
    assert sizes_of(schema, row | {"l": [1], "s": "x" * 101}) == [340 + 92 + 101]
    assert sizes_of(schema, row | {"l": [1], "s": "x" * 100}) == [340 + 92]
    table = pa.table({"n": [1, 2]}, pa.schema([("n", I64)]))
    assert sizes_of(table.schema, table, {"n": 1}, table) == [16, 160, 16]


def test_when_it_is_time_to_take_the_rows() -> None:
    collector = RowCollector(pa.schema([("x", I64)]))
    assert not collector.is_full
    collector.add([{"x": 1}] * (PIECE - 1))
    assert (collector.is_full, collector.ends) == (False, (PIECE - 1,))
    collector.add({"x": 1})
    collector.add([])
    assert (collector.is_full, collector.ends) == (True, (PIECE - 1, PIECE, PIECE))
    assert collector.take().num_rows == PIECE
    assert (collector.is_full, collector.ends, collector.size, collector.rows) == (False, (), 0, PIECE)


def test_long_tasks_are_packed_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Arrow's, 8 bytes a number, and not as Python's rows."""
    collector = RowCollector(pa.schema([("x", I64)]))
    collector.add({"x": 1} for _ in range(2 * PIECE + 1))
    assert collector.size == 2 * PIECE * 8 + 160
    monkeypatch.setattr(module, "UNPACKED", 1000)
    full = RowCollector(pa.schema([("x", I64)]))
    full.add({"x": 1} for _ in range(14))  # 160 bytes each: seven are more than is to be held
    assert full.size == 14 * 8
    assert full.take()["x"].to_pylist() == [1] * 14


def test_rows_are_taken_once() -> None:
    collector = RowCollector(pa.schema([("x", I64)]))
    for number in range(3):
        collector.add({"x": number})
        assert collector.take()["x"].to_pylist() == [number]
    assert collector.rows == 3


# Rows that many rows look like


WHOLE = [pa.int8(), pa.int16(), I32, I64, pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]


@pytest.mark.parametrize("kind", WHOLE, ids=str)
def test_each_of_several_whole_numbers_is_within_its_bounds(kind: pa.DataType) -> None:
    bits = kind.bit_width
    low, high = (0, 2**bits - 1) if pa.types.is_unsigned_integer(kind) else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    schema = pa.schema([("a", kind), ("b", kind), ("c", I64)])
    good = [{"a": low, "b": high, "c": -5}, {"a": 1, "b": 1, "c": 2**62}, {"a": high, "b": low, "c": 0}]
    assert outcome(schema, good) == ("taken", repr(good))
    for name in ("a", "b"):
        for beyond in (low - 1, high + 1):
            said = outcome(schema, [*good, {**good[0], name: beyond}])[1]
            assert said.startswith(f"row 4, column '{name}': {beyond} is out of range")


def test_rows_of_more_forms_than_are_remembered() -> None:
    kinds: list[Any] = [1, 1.0, None, np.int8(1), np.float64(1), np.uint16(1)]
    schema = pa.schema([(name, F64) for name in "abc"])
    rows = [dict(zip("abc", values, strict=True)) for values in product(kinds, repeat=3)]
    assert len(rows) > 2 * 64
    rows += [{"a": 1.0, "b": np.int64(2), "c": value} for value in (np.int16(1), np.uint8(1), np.float32(1))] * 2
    expected = [{name: None if value is None else float(value) for name, value in row.items()} for row in rows]
    for _ in range(2):
        assert outcome(schema, [*rows, *rows]) == ("taken", repr(expected * 2))


def test_a_value_that_is_shared_is_made_once_and_others_are_made_anew() -> None:
    schema = pa.schema([("x", F64), ("y", F64), ("s", TEXT)])
    one, two = 1 << 40, 1 << 41
    rows = [{"x": one, "y": one, "s": "a"}, {"x": one, "y": two, "s": "a"}]
    collector = RowCollector(schema)
    taken = collector.begin()
    collector.take_all(rows, taken)
    (part,) = taken.parts
    assert repr(part) == repr([(float(one), float(one), "a"), (float(one), float(two), "a")])


def test_a_mapping_that_makes_values_up_lacks_them() -> None:
    schema = pa.schema([("x", F64), ("y", F64)])
    row = defaultdict(float, x=1.0)
    assert outcome(schema, row)[1].startswith("row 1 lacks the column 'y'")
    assert dict(row) == {"x": 1.0}


def test_times_that_rows_share() -> None:
    schema = pa.schema([("t", pa.timestamp("us")), ("d", pa.date32()), ("z", pa.timestamp("us", "UTC"))])
    day, there = dt.date(2020, 1, 2), NOON.replace(tzinfo=BERLIN)
    rows = [{"t": NOON, "d": day, "z": there}] * 3 + [{"t": NOON + dt.timedelta(1), "d": day, "z": None}]
    rows += [{"t": rows[-1]["t"], "d": day + dt.timedelta(1), "z": there}]
    taken = [{**row, "z": row["z"] and NOON.replace(hour=10, tzinfo=dt.UTC)} for row in rows]
    collector = RowCollector(schema)
    collector.add(rows)
    assert collector.take().to_pylist() == taken


class _Moving(dt.tzinfo):
    """A time zone that is set anew while rows are made."""

    hours = 0

    def utcoffset(self, when: dt.datetime | None) -> dt.timedelta:
        return dt.timedelta(hours=self.hours)

    def dst(self, when: dt.datetime | None) -> None:
        return None

    def tzname(self, when: dt.datetime | None) -> str:
        return "moving"


def test_a_zone_that_changes_while_rows_are_made() -> None:
    zone = _Moving()
    when = NOON.replace(tzinfo=zone)

    def rows() -> Any:
        for zone.hours in (0, 2):
            yield {"z": when}

    collector = RowCollector(pa.schema([("z", pa.timestamp("us", "UTC"))]))
    collector.add(rows())
    assert [value.hour for value in collector.take()["z"].to_pylist()] == [12, 10]


def test_texts_that_cannot_be_encoded_beside_long_ones() -> None:
    schema = pa.schema([("s", TEXT), ("t", TEXT)])
    good = {"s": "x" * 300, "t": "ü"}
    assert outcome(schema, good) == ("taken", repr([good]))
    assert outcome(schema, [good, {"s": "x", "t": "\udc80"}])[1].startswith("row 2, column 't': ")
    assert outcome(schema, [good, {"s": "\udc80" * 200, "t": ""}])[1].startswith("row 2, column 's': ")


def test_a_text_that_is_too_long_in_bytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A character has up to four."""
    for each in (module, scalars):
        monkeypatch.setattr(each, "LARGEST_BINARY", 1000)
    schema = pa.schema([("s", TEXT)])
    assert outcome(schema, {"s": "🜁" * 250})[0] == "taken"
    assert outcome(schema, {"s": "🜁" * 251})[1].startswith("row 1, column 's': ")
    assert outcome(schema, {"s": "x" * 1000})[0] == "taken"
    assert outcome(schema, {"s": "x" * 1001})[1].startswith("row 1, column 's': ")


# What is wrong


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (pa.table([[1], [2], ["a"]], ["n", "n", "s"]), "row 1 has a column twice: n, n, s"),
        (pd.DataFrame([[1, 2, "a"]], columns=["n", "n", "s"]), "row 1 has a column twice: n, n, s"),
        (pd.Series([1, 2], index=["n", "n"]), "row 1 names a column twice"),
        ([{"n": 1, "s": ""}, pd.Series([1, 2], index=["n", "n"])], "row 2 names a column twice"),
        ({"n": 1, "s": "", 3: 4}, "row 1 has columns that the schema does not: 3"),
        ([{"n": 1, "s": ""}] * 2 + [{"n": 1}], "row 3 lacks the column 's' (give None for a null)"),
        ({"n": "x", "s": 3, "t": 1}, "row 1 has columns that the schema does not: t"),
        (b"text", "the extractor returned a bytes; rows are mappings (return [] where there are none)"),
        (None, "the extractor returned nothing; rows are mappings (return [] where there are none)"),
        ([[{"n": 1, "s": ""}]], "a row is a list, not a mapping of column names to values"),
        ([None], "a row is a NoneType, not a mapping of column names to values"),
        (["ab"], "a row is a str, not a mapping of column names to values"),
        (pa.array([1]), "a row is a Int64Scalar, not a mapping of column names to values"),
        (Stream(pa.table({"n": [1], "s": [3]})), "row 1, column 's': 3 is a whole number, not string; "),
    ],
)  # fmt: skip
def test_what_is_said_of_a_task(collector: RowCollector, returned: Any, message: str) -> None:
    with pytest.raises(SchemaError) as caught:
        collector.add(returned)
    assert str(caught.value).startswith(message)
    assert message.endswith("; ") or str(caught.value) == message
    assert (collector.rows, collector.size, collector.ends) == (0, 0, ())


def test_where_within_a_value() -> None:
    schema = pa.schema([("l", pa.list_(pa.struct([("a", I64)]))), ("n", I64)])
    said = outcome(schema, {"l": [{"a": 1}, {"a": "x"}], "n": 1.5})[1]
    assert said.startswith("row 1, column 'l'[1]['a']: 'x' is a text, not int64; ")
    assert "; column 'n': 1.5 is no whole number" in said


def test_what_a_check_refuses_leaves_nothing(collector: RowCollector) -> None:
    seen: list[int] = []

    def check() -> None:
        seen.append(collector.rows)
        if len(seen) == 2:
            raise RuntimeError("no")

    collector.add({"n": 1, "s": "a"}, check)
    with pytest.raises(RuntimeError, match="no"):
        collector.add([{"n": 2, "s": "b"}], check)
    assert (collector.rows, collector.ends) == (1, (1,))
    assert collector.take()["n"].to_pylist() == [1]
    assert seen == [0, 1]
