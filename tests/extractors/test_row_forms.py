"""Rows of any schema are taken alike in every form, by value, and one bad value costs one task."""

from __future__ import annotations

import copy
import datetime as dt
import decimal
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import scaledproc
from scaledproc.errors import UsageError
from scaledproc.extractors import Task
from scaledproc.extractors.rows import collector, takers
from scaledproc.extractors.rows.collector import HELD, RowCollector, SchemaError

BERLIN, TOKYO = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Tokyo")
NOON = dt.datetime.fromisoformat("2020-07-01 12:00")
THEN = (dt.datetime.fromisoformat("1700-01-01"), dt.datetime.fromisoformat("2200-01-01"))
I64, F32, F64, TEXT = pa.int64(), pa.float32(), pa.float64(), pa.string()
PAIR = pa.list_(F64, 2)
TENSOR = pa.fixed_shape_tensor(F32, (2, 3))


@dataclass
class Stream:
    """Another library's table, such as polars' DataFrame: all that is known of it is the protocol."""

    table: pa.Table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


def outcome(schema: pa.Schema, *returned: Any) -> tuple[str, Any]:
    """The table that some tasks' rows become, or why not."""
    collector = RowCollector(schema)
    try:
        for each in returned:
            collector.add(each)
    except SchemaError as error:
        assert collector.rows == 0 or len(returned) > 1
        return "refused", str(error)
    table = collector.take()
    table.validate(full=True)
    assert table.schema == schema
    return "taken", repr(table.to_pylist())  # NaN is not equal to itself


def stored(value: Any, kind: pa.DataType) -> Any:
    collector = RowCollector(pa.schema([("x", kind)]))
    collector.add({"x": value})
    return collector.take()["x"].to_pylist()[0]


# One value

NS = np.datetime64("2020-01-01T00:00:00.000000001")


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ({"a": 1}, pa.map_(TEXT, I64), [("a", 1)]),
        ([["a", None]], pa.map_(TEXT, I64), [("a", None)]),
        (np.array([[1, 2], [3, 4]]), pa.list_(pa.list_(F64)), [[1.0, 2.0], [3.0, 4.0]]),
        ([np.array([1.0, 2.0]), [3]], pa.list_(pa.list_(F64)), [[1.0, 2.0], [3.0]]),
        ({"hist": np.array([1.0, 2.0])}, pa.struct([("hist", pa.list_(F64))]), {"hist": [1.0, 2.0]}),
        (np.ma.masked_array([1, 2], [False, True]), pa.list_(I64), [1, None]),
        (np.ma.masked, F64, None),
        (np.array([1, 2], ">i2"), pa.list_(I64), [1, 2]),
        (np.array([1.0, 2.0]), pa.list_(pa.int8()), [1, 2]),
        (np.array([]), pa.list_(TEXT), []),
        (np.arange(6.0).reshape(2, 3), TENSOR, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
        ([[0, 1, 2], [3, 4, 5]], TENSOR, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
        (np.array([NS]), pa.list_(pa.timestamp("ns")), [pd.Timestamp(NS)]),
        (np.array(["2020-01-01"], "M8[D]"), pa.list_(pa.date32()), [dt.date(2020, 1, 1)]),
        (np.timedelta64(3, "m"), pa.duration("us"), dt.timedelta(minutes=3)),
        (pd.Timedelta("1s"), pa.duration("ns"), pd.Timedelta("1s")),
        (np.timedelta64("NaT"), pa.duration("us"), None),
        (pd.NaT, pa.timestamp("us"), None),
        (pd.NA, TEXT, None),
        ([pd.NA, None, 1], pa.list_(I64), [None, None, 1]),
        (pd.Series([1, None], dtype="Int64"), pa.list_(I64), [1, None]),
        (pd.Series([1.5, float("nan")])[:1], pa.list_(F64), [1.5]),
        (pa.array([1, None]), pa.list_(F64), [1.0, None]),
        (pa.scalar(3), I64, 3),
        (pa.scalar(NOON, pa.timestamp("s")), pa.timestamp("us"), NOON),
        (range(2), pa.list_(I64), [0, 1]),
        (np.array(5), I64, 5),
        (np.float32(0.1), F32, float(np.float32(0.1))),
        (0.1, F32, float(np.float32(0.1))),
        (0.1, pa.float16(), float(np.float16(0.1))),
        (np.float32(0.5), pa.float16(), 0.5),
        (memoryview(b"ab"), pa.binary(), b"ab"),
        (uuid.UUID(int=5).bytes, pa.uuid(), uuid.UUID(int=5)),
        (True, pa.bool8(), True),
        (decimal.Decimal("1.1"), pa.decimal128(10, 2), decimal.Decimal("1.10")),
        (decimal.Decimal("1E+2"), pa.decimal256(40, 2), decimal.Decimal("100.00")),
        (NOON.replace(tzinfo=BERLIN), pa.timestamp("us", "UTC"), NOON.replace(hour=10, tzinfo=dt.UTC)),
        (dt.time(1, 2, 3, 4000), pa.time32("ms"), dt.time(1, 2, 3, 4000)),
    ],
)  # fmt: skip
def test_what_a_value_becomes(value: Any, kind: pa.DataType, expected: Any) -> None:
    assert stored(value, kind) == expected


class _Quantity(np.ndarray[Any, Any]):
    """An array with a unit, as astropy's and pint's: without it the numbers mean something else."""


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (NOON, pa.timestamp("us", "UTC"), "has no time zone, .*tz_localize"),
        (NOON.replace(tzinfo=BERLIN), pa.timestamp("us"), r"12:00:00\+02:00 has a time zone, .*tz_localize\(None\)"),
        (NS, pa.timestamp("us"), "is finer than .* unit ns"),
        (NS.astype("M8[s]"), pa.timestamp("us", "UTC"), "has no time zone"),
        (NOON.replace(year=3000), pa.timestamp("ns"), "out of range .* coarser"),
        (np.datetime64(2**62, "Y"), pa.timestamp("us"), "counted in Y|out of range"),
        (np.timedelta64(1, "M"), pa.duration("us"), "counted in M"),
        (np.timedelta64(1500, "ms"), F64, "is a timedelta, not double"),
        (np.timedelta64(1500, "ms"), I64, "is a timedelta, not int64"),
        (np.timedelta64(1500, "ms"), pa.decimal128(10, 2), "is a timedelta"),
        (Fraction(1, 3), F64, "is a Fraction, not double"),
        ([None], pa.map_(TEXT, I64), "pairs of keys and values"),
        ({None: 1}, pa.map_(TEXT, I64), ".None.: it may not be null"),
        ({"a": 1.5}, pa.map_(TEXT, I64), ".'a'.: 1.5 is no whole number"),
        ([[1.0], [2.0, "x"]], pa.list_(pa.list_(F64)), r"\[1\]\[1\]: 'x' is a text, not double"),
        ({"a": 1}, pa.struct([("a", I64), ("b", I64)]), "lacks 'b'"),
        ({"a": 1, "b": 2}, pa.struct([("a", I64)]), "does not: b"),
        ([None], pa.list_(pa.field("item", I64, nullable=False)), r"\[0\]: it may not be null"),
        (None, PAIR, "Parquet cannot keep a null"),
        ({"a": None}, pa.struct([("a", PAIR)]), "Parquet cannot keep a null"),
        (None, pa.struct([("a", PAIR)]), "Parquet cannot keep a null"),
        ([1.0], PAIR, "has 1 items, not 2"),
        (np.zeros((3, 2)), TENSOR, "shape"),
        ({1, 2}, pa.list_(I64), "sorted"),
        ((n for n in (1, 2)), pa.list_(I64), "make a list of it"),
        ("ab", pa.list_(TEXT), "is a text, not list"),
        (np.zeros(2).view(_Quantity), pa.list_(F64), "numpy.asarray"),
        (decimal.Decimal("NaN"), pa.decimal128(10, 2), "is no number"),
        (decimal.Decimal("1E+1000000"), pa.decimal128(10, 2), "too many digits"),
        pytest.param(10**5000, pa.decimal128(10, 2), "too many digits", id="long decimal"),
        pytest.param(10**5000, F64, "not exact|out of range", id="long"),
        (2.0**63, I64, "out of range"),
        (2**1024, F64, "out of range"),
        (3.4028235677973366e38, F32, "out of range"),
        (65520.0, pa.float16(), "out of range"),
        (["\udc80"], pa.list_(TEXT), "not valid Unicode"),
        (1j, F64, "is a complex"),
        (uuid.UUID(int=5), pa.binary(16), "is a UUID, not fixed_size_binary"),
        ([1, 2], I64, "is a list, not int64"),
    ],
)  # fmt: skip
def test_what_is_refused_and_how(value: Any, kind: pa.DataType, message: str) -> None:
    with pytest.raises(SchemaError, match=f"(?s)row 1, column 'x'.*{message}") as caught:
        stored(value, kind)
    assert ";" in str(caught.value) or "(" in str(caught.value)  # a remedy


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.dictionary(pa.int32(), TEXT)),
        pa.struct([("a", I64), ("a", F64)]),
        pa.month_day_nano_interval(),
        pa.run_end_encoded(pa.int32(), I64),
        pa.list_(pa.uuid()),
    ],
    ids=str,
)
def test_types_that_no_row_can_have(kind: pa.DataType) -> None:
    with pytest.raises(UsageError, match="'x'"):
        RowCollector(pa.schema([("x", kind)]))


# Any rows, in every form

WHEN = st.datetimes(*THEN)
# Older ones are shown differently by databases of time zones, though the instants are the same.
ZONED = st.datetimes(THEN[0].replace(year=1950), THEN[1], timezones=st.sampled_from([dt.UTC, BERLIN, TOKYO]))
SMALL = st.integers(-3, 300)
POOLS: dict[str, st.SearchStrategy[Any]] = {
    "ints": st.one_of(SMALL, st.integers(-(2**63), 2**63 - 1)),
    "floats": st.one_of(st.floats(allow_nan=False), SMALL.map(float), st.just(2.0**63)),
    "bools": st.booleans(),
    "texts": st.text(max_size=3),
    "bytes": st.binary(max_size=3),
    "dates": st.dates(),
    "times": st.times(),
    "naive": WHEN,
    "zoned": ZONED,
    "durations": st.timedeltas(dt.timedelta(-1000), dt.timedelta(1000)),
    "decimals": st.decimals(-1000, 1000, places=2),
    "int lists": st.lists(st.one_of(SMALL, st.none()), max_size=3),
    "float lists": st.lists(st.one_of(st.floats(width=32, allow_nan=False), st.none()), max_size=3),
    "nested lists": st.lists(st.lists(SMALL, max_size=2), max_size=2),
    "text lists": st.lists(st.text(max_size=2), max_size=2),
    "time lists": st.lists(WHEN, max_size=2),
    "structs": st.fixed_dictionaries({"a": SMALL, "b": st.one_of(st.text(max_size=2), st.none())}),
    "nothing": st.none(),
}
KINDS = [
    *(pa.bool_(), pa.int8(), I64, pa.uint8(), pa.uint64(), pa.float16(), F32, F64, TEXT, pa.large_string()),
    *(pa.binary(), pa.binary(2), pa.date32(), pa.time64("us"), pa.time32("ms"), pa.duration("us"), pa.duration("ns")),
    *(pa.timestamp("us"), pa.timestamp("ns"), pa.timestamp("ms"), pa.timestamp("us", "UTC")),
    *(pa.timestamp("ns", "Europe/Berlin"), pa.decimal128(6, 2), pa.decimal128(4, 1)),
    *(pa.list_(I64), pa.list_(pa.int8()), pa.list_(F64), pa.list_(F32), pa.large_list(F64), pa.list_(TEXT), PAIR),
    *(pa.list_(pa.list_(I64)), pa.list_(pa.list_(F64)), pa.list_(pa.timestamp("ms"))),
    *(pa.struct([("a", I64), ("b", TEXT)]), pa.struct([("b", TEXT), ("a", F64)]), pa.map_(TEXT, I64)),
]


@st.composite
def columns(draw: st.DrawFn) -> tuple[pa.Field, list[Any]]:
    """A column and values, most of them of one sort, which may fit or not."""
    sort = st.sampled_from(sorted(POOLS))
    values = POOLS[draw(sort)] | st.none() if draw(st.booleans()) else POOLS[draw(sort)]
    mixed = values if draw(st.integers(0, 3)) else values | POOLS[draw(sort)]
    kind = draw(st.sampled_from(KINDS))
    return pa.field("x", kind, nullable=draw(st.booleans())), draw(st.lists(mixed, min_size=1, max_size=4))


def as_arrow(values: list[Any]) -> pa.Table | None:
    """The table that Arrow makes of values by itself, where it does."""
    try:
        return pa.table({"x": pa.array(values)})
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return None


def forms(values: list[Any]) -> Iterator[tuple[str, Any, list[Any]]]:
    """The same rows in every form, and the values that the form has: Arrow and pandas may change them at once."""
    for times in (1, 60):  # small DataFrames and large ones go different ways
        many = values * times
        yield "generator", ({"x": value} for value in many), many
        frame = pd.DataFrame({"x": pd.Series(many, dtype=object)})
        yield "DataFrame of objects", frame, many
        yield "DataFrames, yielded", (frame[place : place + 1] for place in range(len(frame))), many
        frame = pd.DataFrame({"x": many})
        found = [None if isinstance(each, float) and each != each else each for each in frame["x"].tolist()]
        yield "DataFrame", frame, found
        with np.errstate(invalid="ignore"):  # pandas 2 sees by a cast whether floats are whole
            frame = frame.convert_dtypes()
        yield "converted DataFrame", frame, frame["x"].tolist()
        table = as_arrow(many)
        if table is not None:
            found = table["x"].to_pylist()
            for name, each in (("table", table), ("batch", table.combine_chunks().to_batches()[0])):
                yield name, each, found
            yield "reader", table.to_reader(max_chunksize=1), found
            yield "another library's", Stream(table), found
            if table["x"].type != pa.list_(pa.null()):  # of these pandas 2 makes what Arrow 19 calls damaged
                yield "DataFrame of Arrow's types", table.to_pandas(types_mapper=pd.ArrowDtype), found


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


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(columns())
def test_a_value_is_refused_or_not_whatever_stands_beside_it(column: tuple[pa.Field, list[Any]]) -> None:
    field, values = column
    schema = pa.schema([field])
    alone = [outcome(schema, {"x": value}) for value in values]
    together = outcome(schema, [{"x": value} for value in values])
    bad = [place for place, (kind, _) in enumerate(alone) if kind == "refused"]
    if bad:
        assert together == ("refused", alone[bad[0]][1].replace("row 1,", f"row {bad[0] + 1},", 1))
    else:
        assert together == ("taken", "[" + ", ".join(text[1:-1] for _, text in alone) + "]")


@settings(max_examples=60, deadline=None)
@given(columns())
def test_what_is_taken_comes_back_from_parquet(column: tuple[pa.Field, list[Any]]) -> None:
    field, values = column
    collector = RowCollector(pa.schema([field]))
    try:
        collector.add([{"x": value} for value in values])
    except SchemaError:
        return
    table = collector.take()
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    assert repr(pq.read_table(pa.BufferReader(sink.getvalue())).to_pylist()) == repr(table.to_pylist())


NOTHING = {
    "list": [],
    "DataFrame()": pd.DataFrame(),
    "DataFrame([])": pd.DataFrame([]),
    "no rows": pd.DataFrame(columns=["y"]),
    "no table": pa.table({}),
    "no rows of Arrow": pa.table({"y": pa.array([], I64)}),
}


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("nothing", NOTHING.values(), ids=NOTHING)
def test_nothing_fits_every_schema(nothing: Any, kind: pa.DataType) -> None:
    assert outcome(pa.schema([pa.field("x", kind, nullable=False)]), nothing) == ("taken", "[]")


Frame = type("Frame", (pd.DataFrame,), {})  # a subclass, as geopandas has one


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


def test_a_table_that_is_damaged_is_refused() -> None:
    array = pa.Array.from_buffers(TEXT, 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])
    table = pa.table({"x": pa.chunked_array([["a"], array])})
    assert outcome(pa.schema([("x", TEXT)]), table)[1].startswith("row 2, column 'x': the Arrow table is damaged")


def test_polars() -> None:
    pl = pytest.importorskip("polars")
    kind = pa.schema([("n", F64), ("s", TEXT), ("l", pa.list_(I64)), ("t", pa.timestamp("us")), ("c", TEXT)])
    frame = pl.DataFrame({"n": [1, 2], "s": ["a", None], "l": [[1], []], "t": [NOON, None], "c": ["x", "y"]})
    frame = frame.with_columns(pl.col("c").cast(pl.Categorical))
    assert outcome(kind, frame) == outcome(kind, frame.to_dicts())
    assert outcome(pa.schema([("x", pa.list_(I64))]), {"x": pl.Series([1, 2])}) == ("taken", "[{'x': [1, 2]}]")


# By value


def scribble(thing: Any) -> None:
    """Change all that can be changed in something that was handed over."""
    if isinstance(thing, dict):
        for value in list(thing.values()):
            scribble(value)
        thing.clear()
    elif isinstance(thing, list):
        for value in thing:
            scribble(value)
        thing[:] = ["scribble"]
    elif isinstance(thing, np.ndarray):
        thing[...] = 7
    elif isinstance(thing, pd.DataFrame):
        for name in thing:
            thing[name].array[:] = thing[name].iloc[-1]
    elif isinstance(thing, bytearray):
        thing[:] = b"\x01" * len(thing)


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


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(columns(), st.integers(1, 3))
def test_arrow_tables_are_copied_whatever_their_type(column: tuple[pa.Field, list[Any]], size: int) -> None:
    """Of a table over memory that is written over later: here it is a message of Arrow's that was received."""
    field, values = column
    expected = RowCollector(pa.schema([field]))
    try:
        expected.add([{"x": value} for value in values])
    except SchemaError:
        return
    table = expected.take()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=size)
    memory = bytearray(sink.getvalue().to_pybytes())
    for drop in (False, True):  # with the declared nullability, and without
        lent = pa.ipc.open_stream(pa.py_buffer(memory)).read_all()
        collector = RowCollector(table.schema)
        collector.add(pa.table({"x": lent["x"]}) if drop else lent)
        content = bytes(memory)
        scribble(memory)
        assert repr(collector.take().to_pylist()) == repr(table.to_pylist())
        memory[:] = content


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

    monkeypatch.setattr(collector, "to_arrow", lambda values, taker: to_arrow(refuse(values), taker))
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
