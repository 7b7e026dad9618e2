"""Rows of any schema in every form, for the tests of what takes them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import strategies as st

from scaledproc.extractors.rows.collector import RowCollector, SchemaError

BERLIN, TOKYO = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Tokyo")
NOON = dt.datetime.fromisoformat("2020-07-01 12:00")
THEN = (dt.datetime.fromisoformat("1700-01-01"), dt.datetime.fromisoformat("2200-01-01"))
I32, I64, F32, F64, TEXT = pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.string()
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


WHEN = st.datetimes(*THEN)
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


def rows_of(frame: pd.DataFrame) -> Iterator[pd.Series[Any]]:
    """A DataFrame's rows, each of the type of its only column."""
    return (frame.iloc[place] for place in range(len(frame)))


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
        yield "Series", rows_of(frame), found
        with np.errstate(invalid="ignore"):  # pandas 2 sees by a cast whether floats are whole
            frame = frame.convert_dtypes()
        yield "converted DataFrame", frame, frame["x"].tolist()
        yield "converted Series", rows_of(frame), frame["x"].tolist()
        table = as_arrow(many)
        if table is not None:
            found = table["x"].to_pylist()
            for name, each in (("table", table), ("batch", table.combine_chunks().to_batches()[0])):
                yield name, each, found
            yield "reader", table.to_reader(max_chunksize=1), found
            yield "another library's", Stream(table), found
            if table["x"].type != pa.list_(pa.null()):  # of these pandas 2 makes what Arrow 19 calls damaged
                frame = table.to_pandas(types_mapper=pd.ArrowDtype)
                yield "DataFrame of Arrow's types", frame, found
                yield "Series of Arrow's types", rows_of(frame), found


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
