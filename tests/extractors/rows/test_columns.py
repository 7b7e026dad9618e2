"""Whole columns of Arrow's and pandas' are taken as each of their values, and into memory of their own."""

from __future__ import annotations

import datetime as dt
import decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from row_forms import F32, F64, I32, I64, NOON, PAIR, TEXT, as_arrow, columns, outcome, scribble

from scaledproc.extractors.rows import columns as module
from scaledproc.extractors.rows.collector import RowCollector, SchemaError
from scaledproc.extractors.rows.columns import columns_of, nan_is_null, take_column, take_table
from scaledproc.extractors.rows.scalars import Taker
from scaledproc.extractors.rows.takers import taker_for, to_arrow
from scaledproc.extractors.rows.values import RefusedValue

F16, U64 = pa.float16(), pa.uint64()
NAN, INF = float("nan"), float("inf")
DAY = dt.date(2020, 1, 2)


def content(column: pa.ChunkedArray) -> str:
    """What a column holds, as text: NaN is not equal to itself."""
    if pa.types.is_temporal(column.type):
        column = column.cast(pa.int32() if column.type.bit_width == 32 else pa.int64())  # farther than Python's years
    return repr(column.to_pylist())


def as_values(values: Any, taker: Taker) -> tuple[str, Any]:
    """What a column's values become, each looked at by itself; or why not, and the row."""
    try:
        return "taken", content(to_arrow(taker.take_all(values), taker))
    except RefusedValue as error:
        return str(error), error.path


def as_column(column: Any, taker: Taker) -> tuple[str, Any]:
    """What a column becomes as a whole."""
    try:
        taken = take_column(column, taker)
    except RefusedValue as error:
        return str(error), error.path
    taken.validate(full=True)
    assert taken.type == taker.kind
    return "taken", content(taken)


REQUIRED = pa.field("item", I64, nullable=False)
INTEGERS = [pa.int8(), pa.int16(), I32, I64, pa.uint8(), pa.uint16(), pa.uint32(), U64]
FLOATS = [F16, F32, F64]
SPANS, INSTANTS = ([make(unit) for unit in ("s", "ms", "us", "ns")] for make in (pa.duration, pa.timestamp))
ZONED = [pa.timestamp(unit, zone) for unit in ("s", "us", "ns") for zone in ("UTC", "Asia/Tokyo")]
TEXTS = [TEXT, pa.large_string(), pa.string_view()]
BYTES = [pa.binary(), pa.large_binary(), pa.binary_view()]
KINDS = [
    *(pa.null(), pa.bool_(), *INTEGERS, *FLOATS, *SPANS, *INSTANTS, *ZONED, *TEXTS, *BYTES, pa.binary(1)),
    *(pa.date32(), pa.date64(), pa.time32("s"), pa.time64("us"), pa.decimal128(4, 1), pa.decimal128(6, 2)),
    *(pa.list_(I64), pa.list_(pa.int8()), pa.large_list(F64), pa.list_(F32), pa.list_(TEXT)),
    *(pa.list_(pa.large_string()), pa.list_(REQUIRED), pa.struct([REQUIRED.with_name("a")])),
    *(pa.list_(pa.null()), pa.list_(pa.list_(I64)), PAIR, pa.struct([("a", I64)]), pa.map_(TEXT, I64)),
]  # fmt: skip
WHOLE = [
    sign * 2**bits + more
    for bits in (0, 7, 8, 11, 15, 16, 24, 31, 32, 53, 63)
    for sign in (1, -1)
    for more in (-1, 0, 1)
]
NUMBERS = [
    *map(float, WHOLE),
    0.5,
    -0.0,
    INF,
    -INF,
    NAN,
    65504.0,
    65520.0,
    1e300,
    3.4028235677973362e38,
    3.4028235677973366e38,
]


def examples(kind: pa.DataType) -> list[Any]:
    """Values of a type, those near the bounds of others first of all."""
    kinds = pa.types
    if kinds.is_integer(kind):
        signed = kinds.is_signed_integer(kind)
        return [each for each in WHOLE if -signed * 2 ** (kind.bit_width - 1) <= each < 2 ** (kind.bit_width - signed)]
    if kinds.is_floating(kind):
        with np.errstate(over="ignore"):
            floats: list[Any] = np.array(NUMBERS).astype(kind.to_pandas_dtype()).tolist()
            return floats
    if kinds.is_duration(kind) or kinds.is_timestamp(kind):
        return [pa.scalar(count, pa.int64()).cast(kind) for count in (0, 1, 1000, 10**6, -(10**9), 2**40, 2**62)]
    for found, values in (
        (kinds.is_null, []),
        (kinds.is_boolean, [True, False]),
        (kinds.is_decimal, [decimal.Decimal("1.5"), decimal.Decimal("100.0")]),
        (kinds.is_date, [DAY]),
        (kinds.is_time, [dt.time(0, 0, 1)]),
        (lambda kind: kind in TEXTS, ["a", "ü", ""]),
        (lambda kind: kind in BYTES, [b"a", b"ab", b"\xff"]),
        (kinds.is_fixed_size_binary, [b"a"]),
        (kinds.is_struct, [{"a": 1}, *([{"a": None}] if kinds.is_struct(kind) and kind.field(0).nullable else [])]),
        (kinds.is_map, [[("a", 1)], []]),
        (kinds.is_fixed_size_list, [[1.0, 2.0], [None, 0.5]]),
    ):
        if found(kind):
            return values
    inner = examples(kind.value_type)
    return [[], *([each] for each in inner), *([[None]] if kind.value_field.nullable else [])]


def pieces(values: list[Any], kind: pa.DataType) -> pa.ChunkedArray:
    """A column in two pieces, as far as there are values for them."""
    made = pa.array(values, kind)
    middle = len(values) // 2
    return pa.chunked_array([made[:middle], made[middle:]], kind)


@pytest.mark.parametrize("given_kind", KINDS, ids=str)
def test_a_column_of_any_type_is_taken_as_its_values_for_any_other(given_kind: pa.DataType) -> None:
    values = examples(given_kind)
    many = [*([value] for value in values), values, [*values, None], values[:1] * 2 + [None]]
    found = [pieces(each, given_kind) for each in many]
    for kind in KINDS:
        for nullable in (True, False):
            taker = taker_for(kind, nullable=nullable)
            for column in found:
                if not nullable and len(column) == 1:
                    continue  # the same as before
                expected = as_values(column, taker)
                if column.null_count == len(column) and taker.nullable:
                    expected = ("taken", repr([None] * len(column)))  # of which type nothing is, says nothing
                assert as_column(column, taker) == expected, (kind, column)


@pytest.mark.parametrize(
    "column",
    [
        pa.chunked_array([["a", "b", None, "a"]]).dictionary_encode(),
        pa.chunked_array([[1, 1, 300, None]]).dictionary_encode(),
        pa.chunked_array([pa.compute.run_end_encode(pa.array([1, 1, 300, None]))]),
        pa.chunked_array([pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array([1, None]))]),
        pa.chunked_array([pa.compute.run_end_encode(pa.array(["a", "a"])), pa.compute.run_end_encode(pa.array(["b"]))]),
    ],
    ids=lambda column: str(column.type)[:10],
)
def test_columns_that_are_packed(column: pa.ChunkedArray) -> None:
    for kind in (TEXT, I64, pa.int8(), F64, pa.large_string()):
        for nullable in (True, False):
            taker = taker_for(kind, nullable=nullable)
            assert as_column(column, taker) == as_values(column, taker)


FAST = [
    *((given, declared) for given in INTEGERS for declared in INTEGERS),
    *((given, declared) for given in INTEGERS for declared in FLOATS),
    *((given, declared) for given in (F32, F64) for declared in (*INTEGERS, *FLOATS)),
    *((given, declared) for given in SPANS for declared in SPANS),
    *((given, declared) for kinds in (INSTANTS, ZONED) for given in kinds for declared in kinds),
    *((given, declared) for kinds in (TEXTS, BYTES) for given in kinds for declared in kinds),
    *((pa.list_(pa.int8()), kind) for kind in (pa.list_(I64), pa.large_list(pa.int16()))),
    *((pa.large_list(F32), kind) for kind in (pa.list_(F64), pa.list_(F32))),
    (pa.list_(pa.bool_()), pa.large_list(pa.bool_())),
    *((pa.list_(TEXT), kind) for kind in (pa.list_(TEXT), pa.large_list(pa.large_string()))),
    *((kind, kind) for kind in (pa.bool_(), pa.date32(), pa.decimal128(4, 1), pa.struct([("a", I64)]), PAIR)),
]


@pytest.mark.parametrize("nullable", [True, False])
def test_columns_that_fit_are_not_taken_apart(nullable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def taken_apart(self: Taker, values: Any) -> Any:
        raise AssertionError(f"{self.kind}: {values}")

    monkeypatch.setattr(Taker, "take_all", taken_apart)
    for given_kind, declared in FAST:
        kinds = pa.types
        if kinds.is_integer(given_kind) or kinds.is_floating(given_kind):
            values: list[Any] = [0, 1, 100]
        else:
            values = [each for each in examples(given_kind) if each not in ([None], [])][:2]
            if kinds.is_duration(given_kind) or kinds.is_timestamp(given_kind):
                values = [pa.scalar(0, I64).cast(given_kind)]
            if kinds.is_large_list(given_kind):
                values = [[0.0], [1.0]]
        column = pa.chunked_array([pa.array([*values, None] if nullable and declared != PAIR else values, given_kind)])
        taker = taker_for(declared, nullable=nullable or declared == PAIR)
        if declared == PAIR or taker.has_rules:
            continue
        taken = take_column(column, taker)
        assert taken.to_pylist() == column.cast(declared).to_pylist()


def test_the_exact_bounds_of_columns_that_are_not_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {}
    cases = [
        *((I64, kind, sign * 2**bits) for kind, bits in ((F64, 53), (F32, 24), (F16, 11)) for sign in (1, -1)),
        *((given, I64, sign * 2.0**bits) for given, bits in ((F64, 53), (F32, 24)) for sign in (1, -1)),
        *((F64, F32, sign * float(np.finfo(np.float32).max)) for sign in (1, -1)),
        *((F64, F16, sign * 65504.0) for sign in (1, -1)),
        *((F64, F32, each) for each in (INF, -INF, NAN)),
    ]
    for given_kind, declared, value in cases:
        taker = taker_for(declared)
        expected[given_kind, declared, str(value)] = repr(to_arrow([taker.take(value)], taker).to_pylist())
    monkeypatch.delattr(Taker, "take_all")
    for given_kind, declared, value in cases:
        taken = take_column(pa.chunked_array([pa.array([value, None], given_kind)]), taker_for(declared))
        assert repr(taken.to_pylist()[:1]) == expected[given_kind, declared, str(value)]


def test_a_column_of_nothing_but_nulls_fits_every_type_that_may_be_null() -> None:
    for kind in (I64, TEXT, pa.list_(I64), pa.timestamp("us", "UTC"), pa.uuid()):
        column = pa.chunked_array([pa.nulls(2, pa.bool_())])
        assert take_column(column, taker_for(kind)).equals(pa.chunked_array([pa.nulls(2, kind)]))
        with pytest.raises(RefusedValue, match="may not be null") as caught:
            take_column(column, taker_for(kind, nullable=False))
        assert caught.value.path == (0,)
    assert take_column(pa.chunked_array([], pa.bool_()), taker_for(I64)).to_pylist() == []


def test_values_that_are_no_arrow_column() -> None:
    assert take_column([1, 2.0, None], taker_for(I64)).equals(pa.chunked_array([[1, 2, None]]))
    with pytest.raises(RefusedValue, match=r"1.5 is no whole number") as caught:
        take_column([1, 1.5], taker_for(I64))
    assert caught.value.path == (1,)


DAMAGED = pa.Array.from_buffers(TEXT, 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])


@pytest.mark.parametrize("before", range(6))
@pytest.mark.parametrize("after", [0, 1, 3])
def test_the_first_damaged_row_is_named(before: int, after: int) -> None:
    column = pa.chunked_array([pa.array(["a"] * before, TEXT), DAMAGED, pa.array(["b"] * after, TEXT), DAMAGED])
    for kind in (TEXT, pa.large_string(), I64):
        with pytest.raises(RefusedValue, match=r"^the Arrow table is damaged: .*UTF8") as caught:
            take_column(column, taker_for(kind))
        assert caught.value.path == (before,)
    said = outcome(pa.schema([("x", TEXT)]), pa.table({"x": column}))[1]
    assert said.startswith(f"row {before + 1}, column 'x': the Arrow table is damaged")


def test_how_long_a_value_of_a_column_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_BINARY", 40)
    monkeypatch.setattr("scaledproc.extractors.rows.scalars.LARGEST_BINARY", 40)
    for kind in (*TEXTS, *BYTES):
        for declared in TEXTS if kind in TEXTS else BYTES:
            long, longer = (
                pa.array(["x" * 40, "y" * 20, None], TEXT).cast(kind),
                pa.array(["a", "x" * 41], TEXT).cast(kind),
            )
            assert take_column(pa.chunked_array([long]), taker_for(declared)).to_pylist() == long.to_pylist()
            with pytest.raises(RefusedValue, match="it has 41 bytes") as caught:
                take_column(pa.chunked_array([longer]), taker_for(declared))
            assert caught.value.path == (1,)
        schema = pa.schema([("x", kind)])
        takers = [taker_for(kind)]
        assert take_table(pa.table({"x": longer}, schema), takers, schema) is None
        if kind not in (pa.string_view(), pa.binary_view()):  # of these Arrow does not tell how long they are
            assert take_table(pa.table({"x": long}, schema), takers, schema) is not None
        short = pa.table({"x": pa.array(["a"]).cast(kind)}, schema)
        assert take_table(short, takers, schema) == short


# Tables


def test_tables_of_the_declared_types_are_taken_as_a_whole() -> None:
    declared = pa.schema([("n", I64), pa.field("s", TEXT, nullable=False)])
    takers = [taker_for(field.type, nullable=field.nullable) for field in declared]
    whole = pa.table({"n": [1, None], "s": ["a", "b"]}, declared)
    for table in (whole, pa.table({"n": [1, None], "s": ["a", "b"]})):
        taken = take_table(table, takers, declared)
        assert taken is not None
        assert taken.equals(whole)
        assert taken.schema == declared
    for refused in (
        pa.table({"n": [1], "s": pa.array([None], TEXT)}),
        pa.table({"n": pa.array([1], I32), "s": ["a"]}),
        pa.table({"n": [1, 2], "s": pa.chunked_array([["a"], DAMAGED])}),
    ):
        assert take_table(refused, takers, declared) is None
    within = pa.schema([("x", pa.list_(pa.field("item", I64, nullable=False)))])
    assert take_table(pa.table({"x": [[1]]}, within), [taker_for(within.field(0).type)], within) is None
    both = pa.schema([("n", I64), *within])
    takers = [taker_for(field.type) for field in both]
    assert take_table(pa.table({"n": [1], "x": [[1]]}, both), takers, both) is None


# DataFrames

FRAME: dict[str, tuple[pd.Series[Any], list[Any]]] = {
    "float": (pd.Series([1.5, NAN]), [1.5, None]),
    "float32": (pd.Series([0.5, NAN], dtype="float32"), [0.5, None]),
    "int8": (pd.Series([1, -2], dtype="int8"), [1, -2]),
    "Int64": (pd.Series([1, None], dtype="Int64"), [1, None]),
    "bool": (pd.Series([True, False]), [True, False]),
    "objects": (pd.Series([1.5, "a", NAN], dtype=object), [1.5, "a", None]),
    "str": (pd.Series(["a", None], dtype="str"), ["a", None]),
    "string": (pd.Series(["a", None], dtype="string"), ["a", None]),
    "category": (pd.Series(["a", None], dtype="category"), ["a", None]),
    "sparse": (pd.Series([1.5, NAN], dtype="Sparse[float]"), [1.5, None]),
    "long": (pd.Series(np.array([1.5, NAN], "g")), [np.longdouble(1.5), None]),
    "complex": (pd.Series([1j]), [1j]),
    "swapped": (pd.Series(np.array([1, 2], ">i4")), [1, 2]),
    "NumPy's": (pd.Series([np.float64("nan"), np.float32("nan"), np.longdouble("nan")], dtype=object), [None] * 3),
    "Float64": (pd.Series(pd.arrays.FloatingArray(np.array([1.5, NAN]), np.zeros(2, bool))), [1.5, NAN]),
    "Arrow's": (pd.Series(pd.arrays.ArrowExtensionArray(pa.array([1.5, NAN]))), [1.5, NAN]),
    "times": (pd.Series(pd.to_datetime(["2020-07-01 12:00", None])), [NOON, None]),
    "spans": (pd.Series(pd.to_timedelta(["1s", None])), [dt.timedelta(0, 1), None]),
    "zoned": (
        pd.Series(pd.to_datetime(["2020-07-01 12:00", None])).dt.tz_localize("Europe/Berlin"),
        [NOON.replace(hour=10, tzinfo=dt.UTC), None],
    ),
    "offset": (
        pd.Series(pd.to_datetime(["2020-07-01 12:00"])).dt.tz_localize(dt.timezone(dt.timedelta(hours=2), "odd")),
        [NOON.replace(hour=10, tzinfo=dt.UTC)],
    ),
    "odd seconds": (
        pd.Series(pd.to_datetime(["2020-07-01 12:00:30"])).dt.tz_localize(
            dt.timezone(dt.timedelta(hours=2, seconds=30))  # of which Arrow knows no name
        ),
        [NOON.replace(hour=10, tzinfo=dt.UTC)],
    ),
    "periods": (pd.Series(pd.period_range("2020-01", periods=1, freq="M")), [pd.Period("2020-01", "M")]),
    "intervals": (pd.Series(pd.interval_range(0, 1)), [pd.Interval(0, 1)]),
}


@pytest.mark.parametrize("name", FRAME)
def test_columns_of_a_data_frame(name: str) -> None:
    series, expected = FRAME[name]
    (found,) = columns_of(pd.DataFrame({"x": series}))
    values = found.to_pylist() if isinstance(found, pa.ChunkedArray) else found
    assert (
        repr([str(each) if isinstance(each, np.longdouble) else each for each in values])
        == repr([str(each) if isinstance(each, np.longdouble) else each for each in expected])
        or values == expected
    )
    assert isinstance(found, pa.ChunkedArray) is (
        name not in ("objects", "NumPy's", "sparse", "long", "complex", "swapped", "periods", "intervals")
    )


def test_columns_of_a_data_frame_stand_in_its_order() -> None:
    frame = pd.DataFrame({"b": [1], "a": ["x"]})
    assert [pa.chunked_array(column).to_pylist() for column in columns_of(frame)] == [[1], ["x"]]


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        *((dtype, True) for dtype in ("float64", "object", "int8", "str", "category", "string", "Sparse[float]")),
        *((dtype, False) for dtype in ("Float64", "Int64", "boolean", "double[pyarrow]")),
    ],
)
def test_where_nan_is_null(dtype: str, expected: bool) -> None:
    assert nan_is_null(pd.Series([], dtype=dtype).dtype) is expected


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(columns())
def test_any_column_is_taken_as_its_values(column: tuple[pa.Field, list[Any]]) -> None:
    field, values = column
    taker = taker_for(field.type, nullable=field.nullable)
    table = as_arrow(values)
    for found in (table["x"] if table else None, columns_of(pd.DataFrame({"x": pd.Series(values, dtype=object)}))[0]):
        if found is None or (isinstance(found, pa.ChunkedArray) and found.null_count == len(found) and taker.nullable):
            continue
        assert as_column(found, taker) == as_values(found, taker)


# By value


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
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


def test_one_piece_and_a_part_of_one_are_copied() -> None:
    for numbers in (np.arange(4), np.arange(4.0)):
        lent = pa.chunked_array([pa.array(numbers)[1:3]])
        taken = take_column(lent, taker_for(lent.type))
        numbers[:] = 7
        assert taken.to_pylist() == [1, 2]
