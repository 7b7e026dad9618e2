"""pandas' Series as columns of small and large DataFrames, and as rows: the same values in each."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from row_forms import F64, I32, I64, outcome

from scaledproc.extractors.rows.collector import RowCollector, SchemaError

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
    "Arrow's NaN that is no null": pd.Series(pd.arrays.ArrowExtensionArray(pa.array([1.5, float("nan")]))),
    "Arrow's NaN": pd.Series([1.5, float("nan")], dtype="double[pyarrow]"),
    "float32 with NaN": pd.Series([1.5, float("nan")], dtype="float32"),
    "category of integers": pd.Series(pd.Categorical.from_codes([0, -1], categories=[2**53 + 1])),
    "NumPy's NaN as objects": pd.Series([np.float64("nan"), np.float32("nan"), np.longdouble("nan")], dtype=object),
    "long double": pd.Series(np.array([0.5, "nan"], "g")),
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
def test_small_and_large_data_frames_are_taken_alike(name: str) -> None:
    for kind in KINDS:
        for nullable in (True, False):
            field = pa.field("x", kind, nullable=nullable)
            small, large = _taken(SERIES[name], field, 1), _taken(SERIES[name], field, 60)
            assert repr(large) == repr(None if small is None else small * 60), field  # NaN is not equal to itself


@pytest.mark.parametrize("name", SERIES)
def test_a_series_is_taken_as_the_row_of_a_data_frame_is(name: str) -> None:
    series = SERIES[name]
    names = [f"x{place}" for place in range(len(series))]
    frame = pd.DataFrame({each: series.iloc[[place]].reset_index(drop=True) for place, each in enumerate(names)})
    for kind in [*KINDS, pa.list_(F64)]:
        schema = pa.schema([(each, kind) for each in names])
        assert outcome(schema, series.set_axis(names)) == outcome(schema, frame), kind


def test_nulls_within_lists_of_a_series_stay_null() -> None:
    lists = pd.Series(pd.arrays.ArrowExtensionArray(pa.array([[None, 0.5], None])), index=["x", "y"])
    schema = pa.schema([("x", pa.list_(F64)), ("y", pa.list_(F64))])
    assert outcome(schema, lists) == ("taken", "[{'x': [None, 0.5], 'y': None}]")
