"""The declared schema is enforced: a row that does not fit is an error, never a silent cast."""

from __future__ import annotations

import datetime as dt
import decimal
import gc
import traceback
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaledproc.errors import UsageError
from scaledproc.extractors.rows.collector import PIECE, RowCollector, SchemaError

I32, I64, F32, F64 = pa.int32(), pa.int64(), pa.float32(), pa.float64()
WHEN = dt.datetime(2020, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


def stored(value: Any, kind: pa.DataType) -> Any:
    collector = RowCollector(pa.schema([("x", kind)]))
    collector.add({"x": value})
    return collector.take()["x"].to_pylist()[0]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (3, I32),
        (np.int16(3), I32),
        (-(2**63), I64),
        (2**64 - 1, pa.uint64()),
        (1.5, F64),
        (np.float64(1.5), F64),
        (np.float32(1.5), F64),
        (2**53, F64),
        (float("inf"), F32),
        (True, pa.bool_()),
        (np.True_, pa.bool_()),
        ("ü\n", pa.string()),
        (b"\0", pa.binary()),
        (dt.date(2020, 1, 2), pa.date32()),
        (dt.time(1, 2, 3, 4), pa.time64("us")),
        (WHEN, pa.timestamp("us", "UTC")),
        ([1, 2, None], pa.list_(I64)),
        ({"a": 1, "b": "x"}, pa.struct([("a", I64), ("b", pa.string())])),
        (decimal.Decimal("1.25"), pa.decimal128(5, 2)),
        (None, I64),
        (1.0, I32),
        (np.float64(2**62), I64),
        (2**60, F64),
        ([True, np.True_], pa.list_(pa.bool_())),
        ({"a": 1}, pa.struct([("a", F64)])),
    ],
)
def test_values_that_fit_are_stored_as_they_are(value: Any, kind: pa.DataType) -> None:
    assert stored(value, kind) == value


def test_nan_stays_nan() -> None:
    assert np.isnan(stored(float("nan"), F64))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1.5, I64),
        (float("nan"), I64),
        (2.0**63, I64),
        (float("nan"), pa.string()),
        ("1", I64),
        (True, I64),
        (2**31, I32),
        (-1, pa.uint8()),
        (True, F64),
        ("1.5", F64),
        (2**53 + 1, F64),
        (1e300, F32),
        (1, pa.bool_()),
        (1, pa.string()),
        (b"x", pa.string()),
        ("\ud800", pa.string()),
        (WHEN, pa.date32()),
        (dt.time(1, tzinfo=dt.UTC), pa.time64("us")),
        ("2020-01-02", pa.date32()),
        ([1.5], pa.list_(I64)),
        ([True], pa.list_(I64)),
        (decimal.Decimal("1.255"), pa.decimal128(5, 2)),
        ({"a": "1"}, pa.struct([("a", I64)])),
    ],
)
def test_values_that_do_not_fit_are_refused(value: Any, kind: pa.DataType) -> None:
    with pytest.raises(SchemaError, match="'x'"):
        stored(value, kind)


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


SERIES = {
    "float64": pd.Series([1.5, -2.0]),
    "float64 with NaN": pd.Series([1.5, float("nan")]),
    "float32": pd.Series([1.5, 0.1], dtype="float32"),
    "int64": pd.Series([1, -2]),
    "int8": pd.Series([1, -2], dtype="int8"),
    "uint16": pd.Series([1, 2], dtype="uint16"),
    "Int64 with NA": pd.Series([1, None], dtype="Int64"),
    "large int": pd.Series([2**40, 1]),
    "bool": pd.Series([True, False]),
    "boolean with NA": pd.Series([True, None], dtype="boolean"),
    "text": pd.Series(["a", "ü"]),
    "text with NaN": pd.Series(["a", None]),
    "category": pd.Series(["a", "b"], dtype="category"),
    "objects": pd.Series([1.5, "a"], dtype=object),
    "floats as objects": pd.Series([1.5, None], dtype=object),
    "times": pd.Series(pd.to_datetime(["2001-02-03 00:00", "2001-02-03 04:05"])),
    "dates": pd.Series([dt.date(2001, 2, 3), None], dtype=object),
    "bytes": pd.Series([b"a", b""]),
    "integers and NaN as objects": pd.Series([1, float("nan")], dtype=object),
    "bools and NaN as objects": pd.Series([True, float("nan")], dtype=object),
    "dates and NaN": pd.Series([dt.date(2001, 2, 3), float("nan")], dtype=object),
    "NaN": pd.Series([float("nan")] * 2),
    "NaN as objects": pd.Series([float("nan")] * 2, dtype=object),
    "nothing": pd.Series([None, None], dtype=object),
    "no text": pd.Series([None, None], dtype="str"),
    "NaN that is no null": pd.Series(pd.arrays.FloatingArray(np.array([1.5, np.nan]), np.zeros(2, bool))),
    "Arrow's NaN": pd.Series([1.5, float("nan")], dtype="double[pyarrow]"),
    "float32 with NaN": pd.Series([1.5, float("nan")], dtype="float32"),
    "category of integers": pd.Series(pd.Categorical.from_codes([0, -1], categories=[2**53 + 1])),
    "too large": pd.Series([2**70, 1], dtype=object),
    "no Unicode": pd.Series(["\udc80", "a"], dtype=object),
}
KINDS = [F64, pa.float32(), I64, I32, pa.uint16(), pa.bool_(), pa.string(), pa.date32(), pa.timestamp("us")]


def _taken(series: pd.Series[Any], field: pa.Field, times: int) -> list[Any] | None:
    collector = RowCollector(pa.schema([field]))
    try:
        collector.add(pd.DataFrame({"x": pd.concat([series] * times, ignore_index=True)}))
    except SchemaError:
        assert collector.rows == 0
        return None
    values: list[Any] = collector.take()["x"].to_pylist()
    return values


@pytest.mark.parametrize("name", SERIES)
@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("nullable", [True, False])
def test_small_and_large_data_frames_are_taken_alike(name: str, kind: pa.DataType, nullable: bool) -> None:
    field = pa.field("x", kind, nullable=nullable)
    small, large = _taken(SERIES[name], field, 1), _taken(SERIES[name], field, 100)
    assert repr(large) == repr(None if small is None else small * 100)  # NaN is not equal to itself


@pytest.mark.parametrize("make", [pd.DataFrame, pa.table])
def test_small_tables_are_written_together(make: Any) -> None:
    collector = RowCollector(pa.schema([("x", I64)]))
    full = 0
    for number in range(3 * PIECE):
        collector.add(make({"x": [number]}))
        full += collector.is_full
        if collector.is_full:
            assert collector.take().num_rows == PIECE
    assert full == 3
    assert collector.take().num_rows == 0
