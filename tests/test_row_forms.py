"""Rows of any schema are taken alike in every form, by value, and one bad value costs one task."""

from __future__ import annotations

import copy
import datetime as dt
import decimal
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
from scaledproc.extractors import Task, rows
from scaledproc.extractors.rows import RowCollector, SchemaError

BERLIN, TOKYO = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Tokyo")
NOON = dt.datetime(2020, 7, 1, 12)
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
        (uuid.UUID(int=5), pa.list_(pa.uuid()), None),
        ([uuid.UUID(int=5)], pa.list_(pa.uuid()), [uuid.UUID(int=5)]),
        (True, pa.bool8(), True),
        (decimal.Decimal("1.1"), pa.decimal128(10, 2), decimal.Decimal("1.10")),
        (decimal.Decimal("1E+2"), pa.decimal256(40, 2), decimal.Decimal("100.00")),
        (dt.datetime(2020, 7, 1, 12, tzinfo=BERLIN), pa.timestamp("us", "UTC"), dt.datetime(2020, 7, 1, 10, tzinfo=dt.UTC)),
        (dt.time(1, 2, 3, 4000), pa.time32("ms"), dt.time(1, 2, 3, 4000)),
    ],
)  # fmt: skip
def test_what_a_value_becomes(value: Any, kind: pa.DataType, expected: Any) -> None:
    if isinstance(value, uuid.UUID) and pa.types.is_list(kind):
        with pytest.raises(SchemaError, match="is a UUID, not list"):
            stored(value, kind)
        return
    assert stored(value, kind) == expected


class _Quantity(np.ndarray[Any, Any]):
    """An array with a unit, as astropy's and pint's: without it the numbers mean something else."""


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (NOON, pa.timestamp("us", "UTC"), "has no time zone, .* tz_localize"),
        (NOON.replace(tzinfo=BERLIN), pa.timestamp("us"), r"12:00:00\+02:00 has a time zone, .* tz_localize\(None\)"),
        (NS, pa.timestamp("us"), "is finer than .* unit ns"),
        (NS.astype("M8[s]"), pa.timestamp("us", "UTC"), "has no time zone"),
        (dt.datetime(3000, 1, 1), pa.timestamp("ns"), "out of range .* coarser"),
        (np.datetime64(2**62, "Y"), pa.timestamp("us"), "counted in Y|out of range"),
        (np.timedelta64(1, "M"), pa.duration("us"), "counted in M"),
        (np.timedelta64(1500, "ms"), F64, "is a timedelta, not double"),
        (np.timedelta64(1500, "ms"), I64, "is a timedelta, not int64"),
        (np.timedelta64(1500, "ms"), pa.decimal128(10, 2), "is a timedelta"),
        (__import__("fractions").Fraction(1, 3), F64, "is a Fraction, not double"),
        ([None], pa.map_(TEXT, I64), "pairs of keys and values"),
        ({None: 1}, pa.map_(TEXT, I64), "'x'.None.: it may not be null"),
        ({"a": 1.5}, pa.map_(TEXT, I64), "'x'.'a'.: 1.5 is no whole number"),
        ([[1.0], [2.0, "x"]], pa.list_(pa.list_(F64)), r"'x'\[1\]\[1\]: 'x' is a text, not double"),
        ({"a": 1}, pa.struct([("a", I64), ("b", I64)]), "lacks 'b'"),
        ({"a": 1, "b": 2}, pa.struct([("a", I64)]), "does not: b"),
        ([None], pa.list_(pa.field("item", I64, nullable=False)), r"'x'\[0\]: it may not be null"),
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
        (10**5000, pa.decimal128(10, 2), "too many digits"),
        (10**5000, F64, "not exact|out of range"),
        (2.0**63, I64, "out of range"),
        (2**1024, F64, "out of range"),
        (3.4028235677973366e38, F32, "out of range"),
        (65520.0, pa.float16(), "out of range"),
        (["\udc80"], pa.list_(TEXT), "not valid Unicode"),
        (1j, F64, "is a complex"),
        ([1, 2], I64, "is a list, not int64"),
    ],
)  # fmt: skip
def test_what_is_refused_and_how(value: Any, kind: pa.DataType, message: str) -> None:
    with pytest.raises(SchemaError, match=f"row 1, column 'x'.*{message}") as caught:
        stored(value, kind)
    assert ";" in str(caught.value) or "(" in str(caught.value)  # a remedy


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.dictionary(pa.int32(), TEXT)),
        pa.struct([("a", I64), ("a", F64)]),
        pa.month_day_nano_interval(),
        pa.run_end_encoded(pa.int32(), I64),
    ],
    ids=str,
)
def test_types_that_no_row_can_have(kind: pa.DataType) -> None:
    with pytest.raises(UsageError, match="'x'"):
        RowCollector(pa.schema([("x", kind)]))


# Any rows, in every form

WHEN = st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1))
ZONED = st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1), timezones=st.sampled_from([dt.UTC, BERLIN, TOKYO]))
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
        yield "converted DataFrame", frame.convert_dtypes(), frame.convert_dtypes()["x"].tolist()
        table = as_arrow(many)
        if table is not None:
            found = table["x"].to_pylist()
            for name, each in (("table", table), ("batch", table.combine_chunks().to_batches()[0])):
                yield name, each, found
            yield "reader", table.to_reader(max_chunksize=1), found
            yield "another library's", Stream(table), found
            yield "DataFrame of Arrow's types", table.to_pandas(types_mapper=pd.ArrowDtype), found


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(columns())
def test_any_rows_are_the_same_in_every_form(column: tuple[pa.Field, list[Any]]) -> None:
    field, values = column
    schema = pa.schema([field])
    for name, form, found in forms(values):
        expected = outcome(schema, [{"x": value} for value in found])
        assert outcome(schema, form) == expected, (name, found)
        if expected[0] == "taken":
            assert outcome(schema, *({"x": value} for value in found)) == expected  # also one by one


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
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


@settings(max_examples=100, deadline=None)
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


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize(
    "nothing",
    [[], pd.DataFrame(), pd.DataFrame([]), pd.DataFrame(columns=["y"]), pa.table({}), pa.table({"y": pa.array([], I64)})],
    ids=["list", "DataFrame()", "DataFrame([])", "no rows", "no table", "no rows of Arrow"],
)  # fmt: skip
def test_nothing_fits_every_schema(nothing: Any, kind: pa.DataType) -> None:
    assert outcome(pa.schema([pa.field("x", kind, nullable=False)]), nothing) == ("taken", "[]")


class Frame(pd.DataFrame):
    """A subclass, as geopandas has one."""

    @property
    def _constructor(self) -> type[Frame]:
        return Frame


@pytest.mark.parametrize("dtype", ["object", "str", "category", "Int64", "float64", "datetime64[ns]", "timedelta64[ns]"])
def test_a_column_of_nothing_fits_every_type(dtype: str) -> None:
    for times in (1, 60):
        frame = pd.DataFrame({"x": pd.Series([None] * times, dtype=dtype)})
        for kind in (I64, F64, TEXT, pa.timestamp("us", "UTC"), pa.list_(I64)):
            assert outcome(pa.schema([("x", kind)]), frame) == ("taken", repr([{"x": None}] * times))


def test_forms_within_forms() -> None:
    schema = pa.schema([("n", I64), ("x", F64)])
    frame = pd.DataFrame({"n": [1, 2], "x": [0.5, None]})
    expected = ("taken", repr([{"n": 1, "x": 0.5}, {"n": 2, "x": None}]))
    for form in (
        *(frame, Frame(frame), frame[["x", "n"]], [frame], (frame[:1], frame[1:]), [frame.to_dict("records")[0], frame[1:]]),
        *((row for _, row in frame.iterrows()), [pa.Table.from_pandas(frame), pa.table({})], frame.set_index("n").reset_index()),
    ):  # fmt: skip
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
        thing[:] = [None, "scribble"]
    elif isinstance(thing, np.ndarray):
        thing[...] = 0
    elif isinstance(thing, pd.DataFrame):
        thing.iloc[:, :] = 0
    elif isinstance(thing, bytearray):
        thing[:] = b"scribble"


def lent(form: str, buffer: np.ndarray[Any, Any]) -> tuple[Any, list[Any]]:
    """Rows over a buffer in some form; and what an extractor could scribble over."""
    if form == "frame":
        frame = pd.DataFrame(buffer.reshape(-1, 1), columns=["x"], copy=False)
        return frame, [buffer]
    if form in ("table", "batch", "stream"):
        table = pa.table({"x": buffer})
        return {"table": table, "batch": table.to_batches()[0], "stream": Stream(table)}[form], [buffer]
    made = [{"x": value} for value in buffer.tolist()]
    return made, [made]


@given(st.lists(st.sampled_from(["frame", "table", "batch", "stream", "rows"]), max_size=5), st.integers(1, 100))
def test_rows_are_taken_by_value(names: list[str], size: int) -> None:
    collector = RowCollector(pa.schema([("x", F64)]))
    for number, form in enumerate(names):
        returned, owned = lent(form, np.full(size, float(number)))
        collector.add(returned)
        for each in owned:
            scribble(each)
    assert collector.take()["x"].to_pylist() == [float(n) for n in range(len(names)) for _ in range(size)]


NESTED = st.recursive(
    st.floats(allow_nan=False).map(lambda x: np.array([x])) | st.lists(st.floats(allow_nan=False), max_size=2),
    lambda inner: st.fixed_dictionaries({"a": inner, "b": st.lists(st.integers(0, 9), max_size=2)}),
    max_leaves=3,
)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_tables_of_every_type_are_taken_by_value(kind: pa.DataType) -> None:
    """Written over where it lies: whatever Arrow's memory belongs to."""
    schema = pa.schema([pa.field("x", kind)])
    source = pa.chunked_array([pa.array([None] * 3 if not pa.types.is_fixed_size_list(kind) else [[0, 1]] * 3, kind)])
    buffers: list[bytearray] = []

    def own(buffer: pa.Buffer | None) -> pa.Buffer | None:
        if buffer is None:
            return None
        buffers.append(bytearray(buffer.to_pybytes()))
        return pa.py_buffer(buffers[-1])

    def rebuilt(array: pa.Array) -> pa.Array:
        kind, count = array.type, len(array)
        if pa.types.is_nested(kind):
            return array
        return pa.Array.from_buffers(kind, count, [own(buffer) for buffer in array.buffers()])

    table = pa.table({"x": rebuilt(source.chunk(0))})
    collector = RowCollector(schema)
    collector.add(table)
    expected = copy.deepcopy(collector._parts[0].to_pylist())
    for buffer in buffers:
        buffer[:] = b"\x01" * len(buffer)
    assert collector.take().to_pylist() == expected
