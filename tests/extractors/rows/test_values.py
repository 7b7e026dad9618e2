"""What values hold, how large they are, and how a message shows them."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections import UserDict
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from scaledproc.extractors.rows.values import (
    bare,
    described,
    is_datetime,
    is_nan,
    is_pandas,
    is_within,
    shown,
    size_of,
)

NOON = dt.datetime.fromisoformat("2020-07-01 12:00")
NS = np.datetime64("2020-01-01T00:00:00.000000001")
LONG = np.longdouble(1) + np.finfo(np.longdouble).eps


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", 0),
        ("abc", 3),
        (b"ab", 2),
        (1, 32),
        (None, 32),
        (np.zeros(5), 140),
        (np.zeros((2, 3), np.int8), 106),
        ([], 60),
        ([1, 2, 3], 156),
        ([1.5], 92),
        ((1, 2), 124),
        (["ab", "c"], 79),
        ([None, 1], 140),
        ([[1], []], 228),
        ({}, 100),
        ({"a": "xyz", "b": 1}, 135),
        ([{"a": "x"}], 169),
        ([("k", 1)], 177),
    ],
)
def test_about_how_much_memory_a_value_takes(value: Any, expected: int) -> None:
    assert size_of(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.array(5), 5),
        (np.array("a"), "a"),
        (np.array(None, object), None),
        (np.array("NaT", "M8[s]"), None),
        (np.ma.masked, None),
        (np.int8(3), 3),
        (np.float32(0.5), 0.5),
        (np.True_, True),
        (np.str_("a"), "a"),
        (np.timedelta64("NaT"), None),
        (np.datetime64("NaT"), None),
        (pd.NA, None),
        (pd.NaT, None),
        (None, None),
        ("a", "a"),
        (pa.scalar(3), 3),
        (pa.scalar(None, pa.int64()), None),
        (pa.scalar(None, pa.timestamp("s")), None),
        (pa.scalar("a"), "a"),
        (pa.scalar(decimal.Decimal("1.5")), decimal.Decimal("1.5")),
        (pa.array([uuid.UUID(int=5).bytes], pa.uuid())[0], uuid.UUID(int=5)),
        (pa.array([1], pa.int8()).cast(pa.bool8())[0], True),
    ],
)
def test_what_a_value_holds(value: Any, expected: Any) -> None:
    found = bare(value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(1),
        np.zeros((0, 2)),
        NS,
        np.timedelta64(3, "m"),
        LONG,
        np.clongdouble(1),
        np.zeros(1, [("a", "i8")])[0],
        *(pa.scalar(NOON), pa.scalar(dt.timedelta(1)), pa.scalar(dt.time(1)), pa.scalar(dt.date(2020, 1, 1))),
        *(pa.scalar(1, pa.time32("s")), pa.scalar(dt.date(2020, 1, 1), pa.date64())),
        *(pa.scalar([1]), pa.scalar({"a": 1}), pa.scalar([("a", 1)], pa.map_(pa.string(), pa.int64()))),
        pd.Timestamp(NOON),
    ],
    ids=repr,
)
def test_what_python_has_no_type_for_stays_as_it_is(value: Any) -> None:
    assert bare(value) is value


def test_what_lies_over_another_type_of_arrow_holds_what_that_holds() -> None:
    tensor = pa.fixed_shape_tensor(pa.int64(), (2,))
    within = pa.ExtensionArray.from_storage(tensor, pa.array([[1, 2]], pa.list_(pa.int64(), 2)))[0]
    assert bare(within).as_py() == [1, 2]
    assert isinstance(bare(within), pa.ListScalar)


def test_classes_of_pandas_are_known_by_name_and_module() -> None:
    derived = type("Derived", (pd.DataFrame,), {"__module__": "elsewhere"})
    assert is_pandas(pd.DataFrame(), "DataFrame")
    assert is_pandas(derived(), "Series", "DataFrame")
    assert not is_pandas(pd.Series(dtype=float), "DataFrame")
    for module in ("polars.dataframe", "pandas_like", "my.pandas"):
        assert not is_pandas(type("DataFrame", (), {"__module__": module})(), "DataFrame")
    assert is_pandas(type("DataFrame", (), {"__module__": "pandas.core.frame.more"})(), "DataFrame")


@pytest.mark.parametrize(
    ("numbers", "low", "high", "expected"),
    [
        ([], 5, 6, True),
        ([1, 3], 1, 3, True),
        ([1, 3], 2, 3, False),
        ([1, 3], 1, 2, False),
        ([2**53 + 1], 0, 2**53, False),
        ([2**53 + 1], 0, float(2**53), False),
        ([-(2**53) - 1], -(2**53), 0, False),
        ([0.5, np.nan], 0, 1, False),
        ([1.0, np.inf], 0, np.inf, True),
    ],
)
def test_ranges_are_compared_exactly(numbers: list[float], low: float, high: float, expected: bool) -> None:
    assert is_within(np.array(numbers), low, high) is expected


class _Unshown:
    def __repr__(self) -> str:
        raise RuntimeError("not now")


FAR = 2**62  # seconds; no year of Python's


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.5, "1.5"),
        ("Ta", "'Ta'"),
        (np.float64(1.5), "1.5"),
        (np.str_("T"), "'T'"),
        (NOON, "2020-07-01 12:00:00"),
        (NS, "2020-01-01 00:00:00.000000001"),
        (dt.date(2020, 1, 2), "2020-01-02"),
        (dt.time(1, 2), "01:02:00"),
        (dt.timedelta(days=1, seconds=2, microseconds=3), "1 day, 0:00:02.000003"),
        (pd.Timedelta(days=1, seconds=2), "1 day, 0:00:02"),
        (pd.Timedelta(5, "ns"), "0 days 00:00:00.000000005"),
        (np.timedelta64(3, "s"), "0:00:03"),
        (pa.scalar(NOON), "2020-07-01 12:00:00"),
        (pa.scalar(3), "3"),
        (pa.scalar([1, None]), "[1, None]"),
        (np.array([1, 2], np.int8), "[1, 2]"),
        (np.array(3), "3"),
        ([np.int64(1), (np.float64(2.5),)], "[1, (2.5,)]"),
        ({"a": np.int64(1), "b": [np.True_]}, "{'a': 1, 'b': [True]}"),
        (UserDict(a=1), "{'a': 1}"),
        ("x" * 58, "'" + "x" * 58 + "'"),
        ("x" * 59, "'" + "x" * 58 + "…"),
        ([1] * 100, "[" + "1, " * 19 + "1…"),
        (pd.DataFrame({"a": [1.0]}), "a 0 1.0"),
        ("two\nlines", r"'two\nlines'"),
        (_Unshown(), "a _Unshown that cannot be shown (RuntimeError)"),
        ([_Unshown()], "a list that cannot be shown (RuntimeError)"),
        (pa.scalar(FAR, pa.timestamp("s")), f"{FAR} as timestamp[s]"),
        (pa.scalar(FAR, pa.duration("s")), f"{FAR} as duration[s]"),
        (pa.scalar(FAR, pa.int64()).cast(pa.date64()), f"{FAR} as date64[ms]"),
        (pa.scalar([FAR], pa.list_(pa.timestamp("s"))), "a ListScalar that cannot be shown (OverflowError)"),
    ],
)
def test_a_value_in_a_message(value: Any, expected: str) -> None:
    assert shown(value) == expected
    assert len(shown(value)) <= 60


@pytest.mark.parametrize("form", [list, tuple, np.array, lambda values: dict.fromkeys(map(str, values), 1)])
def test_of_long_values_no_more_is_looked_at_than_is_shown(form: Any) -> None:
    """What is written of 60 items is longer than what is shown; what of more is the same."""
    few, many = shown(form(range(60))), shown(form(range(100)))
    assert few == many
    assert len(many) == 60
    assert many.endswith("…")


class _Counted:
    seen: list[int]

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        self.seen.append(self.number)
        return ""


@pytest.mark.parametrize("form", [list, tuple, lambda values: dict(enumerate(values))])
def test_a_million_of_items_are_not_all_written(form: Any) -> None:
    _Counted.seen = []
    shown(form([_Counted(number) for number in range(1000)]))
    assert _Counted.seen == list(range(60))


def test_a_named_tuple_is_shown_as_one() -> None:
    point = np.finfo(np.float32)
    assert shown((1, point)).startswith("(1, finfo(")


US, TIME = 'pyarrow.timestamp("us")', 'pyarrow.time64("us")'


@pytest.mark.parametrize(
    ("value", "what", "declare"),
    [
        (True, "a bool", "bool"),
        (np.timedelta64(1, "s"), "a timedelta", 'pyarrow.duration("us")'),
        (dt.timedelta(1), "a timedelta", 'pyarrow.duration("us")'),
        (1, "a whole number", "int64"),
        (1.5, "a float", "float64"),
        (LONG, "a float", "float64"),
        ("a", "a text", "string"),
        (b"a", "bytes", "binary"),
        (bytearray(1), "bytes", "binary"),
        (memoryview(b"a"), "bytes", "binary"),
        (dt.time(1), "a time", TIME),
        ([1], "a list", "pyarrow.list_(...)"),
        ((1,), "a list", "pyarrow.list_(...)"),
        (np.zeros(1), "a list", "pyarrow.list_(...)"),
        (pa.scalar([1]), "a list", "pyarrow.list_(...)"),
        ({}, "a mapping", "pyarrow.struct(...)"),
        (NOON, "a datetime", US),
        (NS, "a datetime", US),
        (dt.date(2020, 1, 1), "a date", "date32"),
        (pa.scalar(NOON), "a datetime", US),
        (pa.scalar(dt.timedelta(1)), "a timedelta", 'pyarrow.duration("us")'),
        (pa.scalar(dt.time(1)), "a time", TIME),
        (pa.scalar(1, pa.time32("s")), "a time", TIME),
        (pa.scalar(dt.date(2020, 1, 1)), "a date", "date32"),
        (pa.scalar(dt.date(2020, 1, 1), pa.date64()), "a date", "date32"),
        (pa.scalar(1, pa.int8()), "a int8", "int8"),
        (pa.scalar({"a": 1}), "a mapping", "pyarrow.struct(...)"),
        (1j, "a complex", ""),
        (uuid.UUID(int=5), "a UUID", ""),
    ],
)
def test_what_a_value_is_and_as_what_it_would_be_declared(value: Any, what: str, declare: str) -> None:
    assert described(value) == (what, declare)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (NOON, True),
        (NS, True),
        (pa.scalar(NOON), True),
        (pd.Timestamp(NOON), True),
        (dt.date(2020, 1, 1), False),
        (dt.time(1), False),
        (np.timedelta64(1, "s"), False),
        ("2020-07-01", False),
    ],
)
def test_dates_with_a_time(value: Any, expected: bool) -> None:
    assert is_datetime(value) is expected


@pytest.mark.parametrize("kind", [float, np.float16, np.float32, np.float64, np.longdouble])
def test_nan_of_every_kind(kind: type) -> None:
    assert is_nan(kind("nan"))
    assert not is_nan(kind(1))
    assert not is_nan(kind("inf"))


@pytest.mark.parametrize("value", [None, "nan", 1, pd.NA, pd.NaT, np.array([np.nan]), decimal.Decimal("nan"), 1j])
def test_what_is_no_nan(value: Any) -> None:
    assert is_nan(value) is False
