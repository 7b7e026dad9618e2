"""What becomes of values that hold several, and which types a column can have."""

from __future__ import annotations

import copy
import datetime as dt
import re
import uuid
from collections import UserDict, deque
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from row_forms import F32, F64, I64, NOON, PAIR, TENSOR, TEXT, columns, outcome

from scaledproc.errors import UsageError
from scaledproc.extractors.rows.collector import RowCollector, SchemaError
from scaledproc.extractors.rows.takers import taker_for, to_arrow
from scaledproc.extractors.rows.values import RefusedValue

NS = np.datetime64("2020-01-01T00:00:00.000000001")
NAN = float("nan")
INTS, FLOATS, TEXTS = pa.list_(I64), pa.list_(F64), pa.list_(TEXT)
MAP = pa.map_(TEXT, I64)
STRUCT = pa.struct([("a", I64), ("b", TEXT)])
REQUIRED = pa.field("item", I64, nullable=False)
EMPTY_MASK = np.ma.masked_array([1, 2], [False, True])
SPANS = np.array([1, "NaT"], "m8[s]")


def stored(value: Any, kind: pa.DataType) -> Any:
    """What a column holds of a value."""
    taker = taker_for(kind)
    made = to_arrow([taker.take(value)], taker)
    made.validate(full=True)
    assert made.type == kind
    return made.to_pylist()[0]


class _Column:
    """Another library's series, such as polars': all that is known of it is the protocol."""

    def __init__(self, values: list[Any]) -> None:
        self.values = pa.chunked_array([values])

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.values.__arrow_c_stream__(requested_schema)


class _Table(_Column):
    columns = ("x",)


class _Quantity(np.ndarray[Any, Any]):
    """An array with a unit, as astropy's and pint's: without it the numbers mean something else."""


def tensor(shape: tuple[int, ...], **words: Any) -> pa.DataType:
    return pa.fixed_shape_tensor(F32, shape, **words)


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ([1, 2, None], INTS, [1, 2, None]),
        ((1, 2.0), INTS, [1, 2]),
        ([], TEXTS, []),
        (None, INTS, None),
        (range(2), INTS, [0, 1]),
        (deque([1]), INTS, [1]),
        ([True, np.True_], pa.list_(pa.bool_()), [True, True]),
        (np.array([1, 2], ">i2"), INTS, [1, 2]),
        (np.array([1.0, 2.0]), pa.list_(pa.int8()), [1, 2]),
        (np.array([1, 2]), pa.large_list(F64), [1.0, 2.0]),
        (np.array([]), TEXTS, []),
        (np.array(["a", "ü"]), TEXTS, ["a", "ü"]),
        (np.array([1, None], object), INTS, [1, None]),
        (np.array([1, NAN], object), FLOATS, [1.0, NAN]),
        (np.array([[1, 2], [3, 4]]), pa.list_(FLOATS), [[1.0, 2.0], [3.0, 4.0]]),
        ([np.array([1.0, 2.0]), [3]], pa.list_(FLOATS), [[1.0, 2.0], [3.0]]),
        (np.array([0.5], "g"), FLOATS, [0.5]),
        (np.array([NS, "NaT"], "M8[ns]"), pa.list_(pa.timestamp("ns")), [pd.Timestamp(NS), None]),
        (np.array(["2020-01-01"], "M8[D]"), pa.list_(pa.date32()), [dt.date(2020, 1, 1)]),
        (SPANS, pa.list_(pa.duration("us")), [dt.timedelta(seconds=1), None]),
        (EMPTY_MASK, INTS, [1, None]),
        (np.ma.masked_array(SPANS, [True, False]), pa.list_(pa.duration("s")), [None, None]),
        (np.ma.masked_array([NS], [False]), pa.list_(pa.timestamp("ns")), [pd.Timestamp(NS)]),
        (pd.Series([1, None], dtype="Int64"), INTS, [1, None]),
        (pd.Series([1.5, 2.0]), FLOATS, [1.5, 2.0]),
        (pd.array([1, None], dtype="Int64"), INTS, [1, None]),
        (pd.Series([1.5, NAN]).array, FLOATS, [1.5, NAN]),
        (pd.Categorical(["a"]), TEXTS, ["a"]),
        (pd.Series([NS, "NaT"], dtype="M8[ns]").array, pa.list_(pa.timestamp("ns")), [pd.Timestamp(NS), None]),
        (pd.Index([1, 2]), INTS, [1, 2]),
        (pd.Series(["a"], dtype="category"), TEXTS, ["a"]),
        (pa.array([1, None]), FLOATS, [1.0, None]),
        (pa.chunked_array([[1], [2]]), INTS, [1, 2]),
        (pa.scalar([1, None]), INTS, [1, None]),
        (pa.scalar([1], pa.large_list(I64)), INTS, [1]),
        (_Column([1, 2]), INTS, [1, 2]),
        ([1.5, 2], PAIR, [1.5, 2.0]),
        (np.array([1, 2]), PAIR, [1.0, 2.0]),
        ([None, None], PAIR, [None, None]),
        ({"a": 1, "b": None}, STRUCT, {"a": 1, "b": None}),
        ({"b": "x", "a": 1.0}, STRUCT, {"a": 1, "b": "x"}),
        (UserDict(a=1, b="x"), STRUCT, {"a": 1, "b": "x"}),
        (pa.scalar({"a": 1, "b": "x"}), STRUCT, {"a": 1, "b": "x"}),
        (None, STRUCT, None),
        ({"h": np.array([1.0, 2.0])}, pa.struct([("h", FLOATS)]), {"h": [1.0, 2.0]}),
        ({"a": 1}, MAP, [("a", 1)]),
        ({}, MAP, []),
        ([], MAP, []),
        ([["a", None], ("b", 2)], MAP, [("a", None), ("b", 2)]),
        ((("a", 1),), MAP, [("a", 1)]),
        ([np.array([1, 2])], pa.map_(I64, I64), [(1, 2)]),
        (np.array([[1, 2], [3, 4]]), pa.map_(I64, I64), [(1, 2), (3, 4)]),
        (np.array([]), MAP, []),
        (pa.scalar([("a", 1), ("b", None)], MAP), MAP, [("a", 1), ("b", None)]),
        (pa.scalar([], pa.list_(pa.null())), MAP, []),
        (UserDict(a=1), MAP, [("a", 1)]),
        (None, MAP, None),
        (uuid.UUID(int=5), pa.uuid(), uuid.UUID(int=5)),
        (uuid.UUID(int=5).bytes, pa.uuid(), uuid.UUID(int=5)),
        (None, pa.uuid(), None),
        (True, pa.bool8(), True),
        (np.False_, pa.bool8(), False),
        (np.arange(6.0).reshape(2, 3), TENSOR, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
        (np.arange(6.0).reshape(3, 2).T, TENSOR, [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]),
        (np.arange(6.0), TENSOR, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
        (list(range(6)), TENSOR, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
        ([[0, 1, 2], [3, 4, 5]], TENSOR, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
        (((0, 1, 2), (3, 4, 5)), TENSOR, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
        ([np.array([0, 1, 2]), [3, 4, 5]], TENSOR, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
        ([1, 2], tensor((2,)), [1.0, 2.0]),
        ([[1, 2], [3, 4]], tensor((2, 2), permutation=[0, 1]), [1.0, 2.0, 3.0, 4.0]),
        ([1, 2, 3, 4], tensor((2, 2), permutation=[1, 0]), [1.0, 2.0, 3.0, 4.0]),
        ([[[1], [2]], [[3], [4]]], tensor((2, 2, 1)), [1.0, 2.0, 3.0, 4.0]),
    ],
)  # fmt: skip
def test_what_a_value_becomes(value: Any, kind: pa.DataType, expected: Any) -> None:
    assert repr(stored(value, kind)) == repr(expected)  # NaN is not equal to itself


@pytest.mark.parametrize(
    ("value", "kind", "path", "message"),
    [
        ([1.5], INTS, (0,), "1.5 is no whole number"),
        ([True], INTS, (0,), "True is a bool"),
        ([1, "x"], INTS, (1,), "'x' is a text"),
        ([[1.0], [2.0, "x"]], pa.list_(FLOATS), (1, 1), "'x' is a text, not double"),
        (np.array([[1.0, 0.5]]), pa.list_(INTS), (0, 1), "0.5 is no whole number"),
        (np.array([1, 0.5]), INTS, (1,), "0.5 is no whole number"),
        (np.array([2**53 + 1]), FLOATS, (0,), "9007199254740993 is not exact"),
        ([None], pa.list_(REQUIRED), (0,), "it may not be null"),
        (["\udc80"], TEXTS, (0,), "is not valid Unicode"),
        ({1, 2}, INTS, (), "make a list of it by sorted()"),
        (frozenset([1]), INTS, (), "make a list of it by sorted()"),
        ((n for n in (1, 2)), INTS, (), "make a list of it$"),
        ({"a": 1}, INTS, (), "is a mapping, not list.*make a list of it$"),
        ("ab", TEXTS, (), "is a text, not list"),
        (b"ab", INTS, (), "is bytes, not list"),
        (bytearray(2), INTS, (), "is bytes, not list"),
        (memoryview(b"ab"), INTS, (), "is bytes, not list"),
        (3, INTS, (), "3 is a whole number, not list"),
        (_Table([1]), INTS, (), "is a _Table, not list"),
        (pa.scalar([("a", 1)], MAP), pa.list_(STRUCT), (), "is a list, not list<item: struct<"),
        (np.zeros(2).view(_Quantity), FLOATS, (), "numpy.asarray"),
        (np.zeros(2, [("a", "i8")]), INTS, (), "numpy.asarray"),
        ([1.0], PAIR, (), "[1.0] has 1 items, not 2; declare the column as a list"),
        ([1.0] * 3, PAIR, (), "has 3 items, not 2"),
        (None, PAIR, (), "Parquet cannot keep a null of .*; give 2 nulls, or declare it as a list"),
        ([None], pa.list_(PAIR), (0,), "Parquet cannot keep a null of "),
        (None, TENSOR, (), "Parquet cannot keep a null of .*; give 6 nulls, or declare it as a list"),
        ({"a": None}, pa.struct([("a", PAIR)]), ("a",), "Parquet cannot keep a null"),
        (None, pa.struct([("a", PAIR)]), (), "Parquet cannot keep a null of .*declare its lists without a fixed size"),
        (None, pa.struct([("a", I64), ("s", pa.struct([("a", PAIR)]))]), (), "declare its lists without a fixed size"),
        ({"a": 1}, STRUCT, (), "it lacks 'b' (give None for a null)"),
        ({}, STRUCT, (), "it lacks 'a', 'b' (give None for a null)"),
        ({"a": 1, "b": "", "c": 2, 3: 4}, STRUCT, (), "does not: c, 3; remove or declare them"),
        ({"a": 1, "b": 3}, STRUCT, ("b",), "3 is a whole number, not string"),
        ({"a": None}, pa.struct([pa.field("a", I64, nullable=False)]), ("a",), "it may not be null"),
        ([("a", 1)], STRUCT, (), "is a list, not struct"),
        ([None], MAP, (), "give a dict, or pairs of keys and values"),
        ([("a",)], MAP, (), "give a dict, or pairs of keys and values"),
        ([("a", 1, 2)], MAP, (), "give a dict, or pairs of keys and values"),
        (["ab"], MAP, (), "'ab' is a text, not map.*give a dict, or pairs of keys and values"),
        ("ab", MAP, (), "give a dict, or pairs of keys and values"),
        ({("a", 1)}, MAP, (), "give a dict, or pairs of keys and values"),
        ({None: 1}, MAP, (None,), "it may not be null"),
        ({"a": 1.5}, MAP, ("a",), "1.5 is no whole number"),
        ([("a", 1), ("b", "x")], MAP, (1,), "'x' is a text"),
        ({"a": None}, pa.map_(TEXT, REQUIRED.with_name("value")), ("a",), "it may not be null"),
        (1, pa.bool8(), (), "1 is a whole number, not extension<arrow.bool8>"),
        ("5", pa.uuid(), (), "'5' is a text, not fixed_size_binary"),
        (b"abc", pa.uuid(), (), "has 3 bytes, not 16"),
        (np.zeros((3, 2)), TENSOR, (), "an array of the shape (3, 2) is no tensor of the shape (2, 3); reshape it"),
        ([[0, 1, 2]], TENSOR, (), "does not fit the shape (2, 3) of its tensor; reshape it"),
        ([[0, 1], [2, 3], [4, 5]], TENSOR, (), "does not fit the shape (2, 3) of its tensor; reshape it"),
        ([[0, 1, 2], [3, 4]], TENSOR, (), "[3, 4] does not fit the shape (3,) of its tensor; reshape it"),
        ([[0, 1, 2], 3], TENSOR, (), "3 does not fit the shape (3,) of its tensor; reshape it"),
        (list(range(5)), TENSOR, (), "has 5 items, not 6"),
        (np.zeros((2, 2)), tensor((2, 2), permutation=[1, 0]), (0,), "[0.0, 0.0] is a list, not float"),
        ([], TENSOR, (), "has 0 items, not 6"),
    ],
)  # fmt: skip
def test_what_is_refused_where_and_how(value: Any, kind: pa.DataType, path: tuple[Any, ...], message: str) -> None:
    pattern = ".*".join(map(re.escape, message.removesuffix("$").split(".*"))) + "$" * message.endswith("$")
    with pytest.raises(RefusedValue, match=pattern) as caught:
        taker_for(kind).take(value)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (pa.dictionary(pa.int32(), TEXT), "declare its value type string "),
        (pa.list_(pa.dictionary(pa.int32(), TEXT)), "declare its value type string "),
        (pa.struct([("a", I64), ("a", F64)]), "names a field twice"),
        (pa.month_day_nano_interval(), "Parquet does not keep"),
        (pa.run_end_encoded(pa.int32(), I64), "Parquet does not keep"),
        (pa.list_(pa.uuid()), "declare fixed_size_binary"),
        (pa.list_view(I64), "Parquet does not keep"),
    ],
    ids=str,
)
def test_types_that_no_row_can_have(kind: pa.DataType, message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
        taker_for(kind)
    with pytest.raises(UsageError, match="'x'"):
        RowCollector(pa.schema([("x", kind)]))


FREE = [I64, TEXT, INTS, pa.large_list(F64), pa.list_(INTS), STRUCT, MAP, pa.uuid(), pa.bool8(), pa.struct([])]
BOUND = [
    *(pa.list_(REQUIRED), pa.list_(pa.list_(REQUIRED)), pa.list_(PAIR), pa.list_(REQUIRED, 2)),
    *(pa.struct([REQUIRED]), pa.struct([("a", pa.list_(REQUIRED))]), pa.struct([("a", PAIR)])),
    *(pa.map_(TEXT, REQUIRED.with_name("value")), pa.map_(TEXT, pa.list_(REQUIRED)), pa.map_(pa.list_(REQUIRED), TEXT)),
]  # fmt: skip


def test_which_types_hold_values_that_may_be_refused_even_so() -> None:
    """Of a table of the same types these are looked at one by one, as Arrow does not look within."""
    for kind in FREE:
        assert not taker_for(kind).has_rules, kind
    for kind in BOUND:
        assert taker_for(kind).has_rules, kind


def test_which_types_may_be_null() -> None:
    outer = pa.struct([("s", pa.struct([("n", I64), ("a", PAIR)]))])
    for kind in (PAIR, TENSOR, pa.struct([("a", PAIR)]), outer):
        assert not taker_for(kind).nullable
    for kind in (*FREE, pa.struct([("a", pa.list_(PAIR))]), pa.map_(TEXT, I64)):
        assert taker_for(kind).nullable
        assert not taker_for(kind, nullable=False).nullable


def test_what_holds_others_is_taken_by_value() -> None:
    array, inner, fields = np.array([1.0, 2.0]), [1, 2], {"a": 1, "b": "x"}
    taken = [taker_for(FLOATS).take(array), taker_for(INTS).take(inner), taker_for(STRUCT).take(fields)]
    kept = copy.deepcopy(taken)
    array[:], inner[:] = 7, [7]
    fields.clear()
    assert repr(taken) == repr(kept)


class _Degrees(pa.ExtensionType):  # type: ignore[misc]
    def __init__(self, storage: pa.DataType = F64) -> None:
        super().__init__(storage, "tests.degrees")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""


def test_types_of_ones_own_take_what_they_lie_over() -> None:
    kind = _Degrees()
    taker = taker_for(kind)
    made = to_arrow([taker.take(1), taker.take(None)], taker)
    assert made.type == kind
    assert made.chunk(0).storage.to_pylist() == [1.0, None]
    with pytest.raises(RefusedValue, match="'x' is a text, not double"):
        taker.take("x")
    with pytest.raises(RefusedValue, match=r"^it may not be null; give a value"):
        taker_for(kind, nullable=False).take(None)
    assert taker_for(_Degrees(pa.list_(REQUIRED))).has_rules


def test_arrow_makes_one_column_of_pieces_too() -> None:
    assert to_arrow([1, 2], taker_for(I64)).equals(pa.chunked_array([[1, 2]]))
    assert to_arrow([], taker_for(pa.uuid())).type == pa.uuid()
    assert to_arrow([NOON], taker_for(pa.timestamp("us"))).to_pylist() == [NOON]


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
