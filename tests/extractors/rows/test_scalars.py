"""What one value becomes in a column of each type that holds one, and what is refused and how."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import re
import uuid
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from row_forms import BERLIN, F32, F64, I32, I64, NOON, TEXT

from scaledproc.extractors.rows import scalars
from scaledproc.extractors.rows.takers import taker_for, to_arrow
from scaledproc.extractors.rows.values import RefusedValue

F16 = pa.float16()
M8: Any = np.datetime64
SPAN: Any = np.timedelta64
SPAN_AS_NUMBER = (
    'divide it by a unit, as datetime.timedelta(seconds=1) is, or declare the column as pyarrow.duration("us")'
)
NS = M8("2020-01-01T00:00:00.000000001")
NAN, INF = float("nan"), float("inf")
LONG = np.longdouble
DAY = dt.date(2020, 1, 2)
WEST = dt.timezone(dt.timedelta(hours=-5.5))
US, UTC = pa.timestamp("us"), pa.timestamp("us", "UTC")


def stored(value: Any, kind: pa.DataType) -> Any:
    """What a column holds of a value, which is the same whether it comes alone or among others."""
    taker = taker_for(kind)
    made = to_arrow([taker.take(value)], taker)
    made.validate(full=True)
    assert made.type == kind
    assert repr(to_arrow(taker.take_all([value, value]), taker).to_pylist()) == repr(2 * made.to_pylist())
    return made.to_pylist()[0]


class _Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


class _Level(enum.IntEnum):
    HIGH = 3


class _Day(dt.date):
    pass


BOUNDS = {
    pa.int8(): (-128, 127),
    pa.int16(): (-(2**15), 2**15 - 1),
    I32: (-(2**31), 2**31 - 1),
    I64: (-(2**63), 2**63 - 1),
    pa.uint8(): (0, 255),
    pa.uint16(): (0, 2**16 - 1),
    pa.uint32(): (0, 2**32 - 1),
    pa.uint64(): (0, 2**64 - 1),
}


@pytest.mark.parametrize("kind", BOUNDS, ids=str)
def test_whole_numbers_up_to_the_bounds_of_their_type(kind: pa.DataType) -> None:
    low, high = BOUNDS[kind]
    for number in (low, high, 0, 1):
        assert stored(number, kind) == number
    for number in (low - 1, high + 1, 10**5000):
        for values in ([number], [number, 1], [1, number]):
            with pytest.raises(RefusedValue, match=r"out of range .* a wider type, or as float64"):
                taker_for(kind).take_all(values)
        with pytest.raises(RefusedValue, match="out of range"):
            taker_for(kind).take(number)
    for far in (float(low - 1) - 1 - 2**11 * (low < -(2**31)), float(high + 1)):
        with pytest.raises(RefusedValue, match="out of range"):
            taker_for(kind).take(far)


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (np.int16(3), I32, 3),
        (1.0, I32, 1),
        (np.float32(-2.0), I32, -2),
        (np.float64(2**62), I64, 2**62),
        (_Level.HIGH, I64, 3),
        (pa.scalar(3), I64, 3),
        (np.array(5), I64, 5),
        (None, I64, None),
        # Floats
        (1.5, F64, 1.5),
        (np.float32(1.5), F64, 1.5),
        (-INF, F64, -INF),
        (INF, F32, INF),
        (INF, F16, INF),
        (LONG(INF), F32, INF),
        (LONG(0.5), F32, 0.5),
        (1.7976931348623157e308, F64, 1.7976931348623157e308),
        (3.4028235677973362e38, F32, float(np.finfo(np.float32).max)),
        (-3.4028235677973362e38, F32, float(np.finfo(np.float32).min)),
        (65519.996, F16, 65504.0),
        (-65519.996, F16, -65504.0),
        (0.1, F32, float(np.float32(0.1))),
        (0.1, F16, float(np.float16(0.1))),
        (0, F64, 0.0),
        (2**53, F64, 2.0**53),
        (-(2**53), F64, -(2.0**53)),
        (2**53 + 2, F64, 2.0**53 + 2),
        (2**60, F64, 2.0**60),
        (3 * 2**80, F64, 3 * 2.0**80),
        (2**24 + 2, F32, 2.0**24 + 2),
        (2**24 - 1, F32, 2.0**24 - 1),
        (2**11 - 1, F16, 2047.0),
        (65504, F16, 65504.0),
        (2**53 - 1, F64, 2.0**53 - 1),
        (_Level.HIGH, F64, 3.0),
        (np.uint8(3), F32, 3.0),
        # Text and bytes
        ("ü\n", TEXT, "ü\n"),
        ("", TEXT, ""),
        (_Text("held"), TEXT, "held"),
        (_Text("hëld"), TEXT, "hëld"),
        (np.str_("a"), pa.large_string(), "a"),
        ("a", pa.string_view(), "a"),
        (b"\0", pa.binary(), b"\0"),
        (bytearray(b"ab"), pa.large_binary(), b"ab"),
        (memoryview(b"abcd")[::2], pa.binary(), b"ac"),
        (memoryview(b"ab"), pa.binary_view(), b"ab"),
        (b"ab", pa.binary(2), b"ab"),
        (bytearray(b"ab"), pa.binary(2), b"ab"),
        (True, pa.bool_(), True),
        (np.False_, pa.bool_(), False),
        # Days
        (DAY, pa.date32(), DAY),
        (_Day(2020, 1, 2), pa.date32(), DAY),
        (DAY, pa.date64(), DAY),
        (M8("2020-01-02"), pa.date32(), DAY),
        (M8("2020-01-02"), pa.date64(), DAY),
        (M8(2, "3D"), pa.date32(), dt.date(1970, 1, 7)),
        (pa.scalar(DAY), pa.date32(), DAY),
        (pa.scalar(DAY, pa.date64()), pa.date32(), DAY),
        # Times of a day
        (dt.time(1, 2, 3, 4), pa.time64("us"), dt.time(1, 2, 3, 4)),
        (dt.time(23, 59, 59, 999999), pa.time64("ns"), dt.time(23, 59, 59, 999999)),
        (dt.time(1, 2, 3, 4000), pa.time32("ms"), dt.time(1, 2, 3, 4000)),
        (dt.time(1, 2, 3), pa.time32("s"), dt.time(1, 2, 3)),
        (pa.scalar(5, pa.time32("s")), pa.time64("us"), dt.time(0, 0, 5)),
        (pa.scalar(7_000, pa.time64("ns")), pa.time64("us"), dt.time(0, 0, 0, 7)),
        # Instants
        (NOON, US, NOON),
        (NOON, pa.timestamp("s"), NOON),
        (NOON.replace(microsecond=123456), pa.timestamp("ns"), pd.Timestamp(NOON.replace(microsecond=123456))),
        (NOON.replace(year=1, second=59), US, NOON.replace(year=1, second=59)),
        (dt.datetime(1969, 12, 31, 23, 59, 59, 999999), US, dt.datetime(1969, 12, 31, 23, 59, 59, 999999)),  # noqa: DTZ001
        (NOON.replace(tzinfo=BERLIN), UTC, NOON.replace(hour=10, tzinfo=dt.UTC)),
        (NOON.replace(tzinfo=WEST), UTC, NOON.replace(hour=17, minute=30, tzinfo=dt.UTC)),
        (pd.Timestamp(NS), pa.timestamp("ns"), pd.Timestamp(NS)),
        (pd.Timestamp(NOON), US, NOON),
        (M8("2020"), US, dt.datetime.fromisoformat("2020-01-01")),
        (M8("2020-03"), US, dt.datetime.fromisoformat("2020-03-01")),
        (M8("2020-03-04"), pa.timestamp("ms"), dt.datetime.fromisoformat("2020-03-04")),
        (M8(1, "W"), US, dt.datetime.fromisoformat("1970-01-08")),
        (M8(2, "h"), US, dt.datetime.fromisoformat("1970-01-01 02:00")),
        (M8(2, "3m"), US, dt.datetime.fromisoformat("1970-01-01 00:06")),
        (M8(5, "2us"), US, dt.datetime.fromisoformat("1970-01-01 00:00:00.000010")),
        (M8(3_000_000, "ps"), US, dt.datetime.fromisoformat("1970-01-01 00:00:00.000003")),
        (M8(3 * 10**9, "fs"), US, dt.datetime.fromisoformat("1970-01-01 00:00:00.000003")),
        (M8(3 * 10**12, "as"), US, dt.datetime.fromisoformat("1970-01-01 00:00:00.000003")),
        (pa.scalar(NOON, pa.timestamp("s")), US, NOON),
        (pa.scalar(NOON, pa.timestamp("ms", "Asia/Tokyo")), UTC, NOON.replace(tzinfo=dt.UTC)),
        (pd.NaT, US, None),
        # Spans
        (dt.timedelta(-1, 2, 3), pa.duration("us"), dt.timedelta(-1, 2, 3)),
        (dt.timedelta(2, 3), pa.duration("s"), dt.timedelta(2, 3)),
        (dt.timedelta(2, 3, 4), pa.duration("ns"), pd.Timedelta(dt.timedelta(2, 3, 4))),
        (pd.Timedelta(1_000_005, "ns"), pa.duration("ns"), pd.Timedelta(1_000_005, "ns")),
        (pd.Timedelta("1s"), pa.duration("us"), dt.timedelta(0, 1)),
        (SPAN(3, "m"), pa.duration("us"), dt.timedelta(minutes=3)),
        (SPAN(3, "D"), pa.duration("s"), dt.timedelta(3)),
        (SPAN(3, "5s"), pa.duration("ms"), dt.timedelta(seconds=15)),
        (pa.scalar(dt.timedelta(1)), pa.duration("s"), dt.timedelta(1)),
        (SPAN("NaT"), pa.duration("us"), None),
        # Decimals
        (decimal.Decimal("1.1"), pa.decimal128(10, 2), decimal.Decimal("1.10")),
        (decimal.Decimal("-1.10"), pa.decimal128(3, 1), decimal.Decimal("-1.1")),
        (decimal.Decimal("1E+2"), pa.decimal256(40, 2), decimal.Decimal("100.00")),
        (decimal.Decimal("-0.00"), pa.decimal128(3, 1), decimal.Decimal("0.0")),
        (decimal.Decimal("0E+99"), pa.decimal128(3, 1), decimal.Decimal("0.0")),
        (decimal.Decimal("0.0100"), pa.decimal128(2, 2), decimal.Decimal("0.01")),
        (decimal.Decimal("99.9"), pa.decimal128(3, 1), decimal.Decimal("99.9")),
        (decimal.Decimal("1200"), pa.decimal128(2, -2), decimal.Decimal("1.2E+3")),
        (5, pa.decimal128(2, 1), decimal.Decimal("5.0")),
        (-5, pa.decimal128(2, 1), decimal.Decimal("-5.0")),
        (np.int8(-5), pa.decimal128(2, 1), decimal.Decimal("-5.0")),
        (0, pa.decimal128(2, 1), decimal.Decimal("0.0")),
        (10**37, pa.decimal128(38, 0), decimal.Decimal(10**37)),
        (10**75, pa.decimal256(76, 0), decimal.Decimal(10**75)),
        (None, pa.null(), None),
        (pd.NA, pa.null(), None),
    ],
)  # fmt: skip
def test_what_a_value_becomes(value: Any, kind: pa.DataType, expected: Any) -> None:
    found = stored(value, kind)
    assert found == expected
    if isinstance(expected, decimal.Decimal):
        assert found.as_tuple() == expected.as_tuple()


@pytest.mark.parametrize("kind", [F64, F32, F16], ids=str)
def test_nan_stays_nan(kind: pa.DataType) -> None:
    assert np.isnan(stored(NAN, kind))
    assert np.isnan(stored(LONG(NAN), kind))


def test_the_largest_day() -> None:
    taker = taker_for(pa.date32())
    for days in (2**31 - 1, -(2**31)):
        assert to_arrow([taker.take(M8(days, "D"))], taker).cast(pa.int32()).to_pylist() == [days]
    for days in (2**31, -(2**31) - 1):
        with pytest.raises(RefusedValue, match="out of range for date32"):
            taker.take(M8(days, "D"))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_the_farthest_instants(unit: str) -> None:
    taker = taker_for(pa.timestamp(unit))
    for count in (2**63 - 1, -(2**63) + 1):
        assert taker.take(M8(count, unit)) == count
        assert taker.take(pa.scalar(count, pa.timestamp(unit))) == count
    assert taker.take(pa.scalar(-(2**63), pa.timestamp(unit))) == -(2**63)
    per_day = 86400 * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    most = (2**63 - 1) // per_day
    assert taker.take(M8(most, "D")) == most * per_day
    assert taker.take(M8(-most, "D")) == -most * per_day
    for days in (most + 1, -most - 1):
        with pytest.raises(RefusedValue, match=r"out of range .* coarser unit"):
            taker.take(M8(days, "D"))
    for size in (2, 3):  # a count of several units each
        with pytest.raises(RefusedValue, match=r"out of range .* coarser unit"):
            taker.take(M8(2**62, f"{size}{unit}"))


def test_exactly_so_many_units_as_fit() -> None:
    taker = taker_for(pa.duration("us"))
    assert taker.take(SPAN(-(2**62), "2us")) == -(2**63)
    with pytest.raises(RefusedValue, match="out of range"):
        taker.take(SPAN(2**62, "2us"))


@pytest.mark.parametrize("span", [dt.timedelta.max, dt.timedelta.min])
def test_the_longest_spans_of_python(span: dt.timedelta) -> None:
    for unit in ("us", "ns"):
        with pytest.raises(RefusedValue, match=r"out of range for duration.* coarser unit"):
            taker_for(pa.duration(unit)).take(span)


def test_years_and_months_of_numpy() -> None:
    taker = taker_for(pa.timestamp("s"))
    assert taker.take(M8(-1, "Y")) == -365 * 86400
    assert taker.take(M8(999_999, "Y")) == int(M8(999_999, "Y").astype("M8[s]").astype(int))
    for far in (10**6, -(10**6), 2**62):
        with pytest.raises(RefusedValue, match="counted in Y, not in a unit of time; convert it"):
            taker.take(M8(far, "Y"))


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (1.5, I64, "1.5 is no whole number, as int64 needs; round it, or declare the column as float64"),
        (
            NAN,
            I64,
            ("nan is no whole number, as int64 needs; give None for a missing value, or declare the column as float64"),
        ),
        (INF, I64, "inf is no whole number, as int64 needs; round it, or declare the column as float64"),
        ("1", I64, "'1' is a text, not int64; convert it by int(), or declare the column as string"),
        (True, I64, "True is a bool, not int64; convert it by int(), or declare the column as bool"),
        (decimal.Decimal(1), I64, "Decimal('1') is a Decimal, not int64; convert it by int()"),
        (Fraction(2), I64, "Fraction(2, 1) is a Fraction, not int64; convert it by int()"),
        (
            SPAN(1500, "ms"),
            I64,
            f"0:00:01.500000 is a timedelta, not int64; {SPAN_AS_NUMBER}",
        ),
        ([1, 2], I64, "[1, 2] is a list, not int64; convert it, or declare the column as pyarrow.list_(...)"),
        ((1, 2), I64, "(1, 2) is a list, not int64; convert it, or declare the column as pyarrow.list_(...)"),
        ({"a": 1}, I64, "{'a': 1} is a mapping, not int64; convert it, or declare the column as pyarrow.struct(...)"),
        (np.zeros(2), F64, "[0.0, 0.0] is a list, not double; convert it, or declare the column as pyarrow.list_(...)"),
        (pa.scalar([1]), F64, "[1] is a list, not double; convert it, or declare the column as pyarrow.list_(...)"),
        (1e300, F32, "1e+300 is out of range for float; declare the column as float64"),
        (3.4028235677973366e38, F32, "3.4028235677973366e+38 is out of range for float; declare the column as float64"),
        (
            -3.4028235677973366e38,
            F32,
            ("-3.4028235677973366e+38 is out of range for float; declare the column as float64"),
        ),
        (65520.0, F16, "65520.0 is out of range for halffloat; declare the column as float64"),
        (65520, F16, "65520 is out of range for halffloat; declare the column as float64"),
        (-65520, F16, "-65520 is out of range for halffloat; declare the column as float64"),
        (2**128, F32, f"{2**128} is out of range for float; declare the column as float64"),
        (
            2**53 + 1,
            F64,
            ("9007199254740993 is not exact as double; declare int64 or decimal128, or round it by float()"),
        ),
        (
            -(2**53) - 1,
            F64,
            ("-9007199254740993 is not exact as double; declare int64 or decimal128, or round it by float()"),
        ),
        (2**24 + 1, F32, "16777217 is not exact as float; declare int64 or decimal128, or round it by float()"),
        (2**11 + 1, F16, "2049 is not exact as halffloat; declare int64 or decimal128, or round it by float()"),
        (True, F64, "True is a bool, not double; convert it by float(), or declare the column as bool"),
        ("1.5", F64, "'1.5' is a text, not double; convert it by float(), or declare the column as string"),
        (1j, F64, "1j is a complex, not double; give its .real and .imag, in a column each"),
        (
            pa.scalar(dt.timedelta(1)),
            F32,
            f"1 day, 0:00:00 is a timedelta, not float; {SPAN_AS_NUMBER}",
        ),
        (Fraction(1, 3), F64, "Fraction(1, 3) is a Fraction, not double; convert it by float()"),
        (
            SPAN(1500, "ms"),
            F64,
            f"0:00:01.500000 is a timedelta, not double; {SPAN_AS_NUMBER}",
        ),
        (1, pa.bool_(), "1 is a whole number, not bool; convert it by bool(), or declare the column as int64"),
        (1, TEXT, "1 is a whole number, not string; convert it by str(), or declare the column as int64"),
        (NAN, TEXT, "nan is a float, not string; give None for a missing value"),
        (1.5, TEXT, "1.5 is a float, not string; convert it by str(), or declare the column as float64"),
        (b"x", TEXT, "b'x' is bytes, not string; convert it by .decode(), or declare the column as binary"),
        (
            bytearray(b"x"),
            TEXT,
            ("bytearray(b'x') is bytes, not string; convert it by .decode(), or declare the column as binary"),
        ),
        ("\ud800", TEXT, r"'\ud800' is not valid Unicode text; replace what cannot be encoded, or declare binary"),
        ("x", pa.binary(), "'x' is a text, not binary; convert it, or declare the column as string"),
        (
            np.zeros(1, "u1"),
            pa.binary(),
            ("[0] is a list, not binary; convert it, or declare the column as pyarrow.list_(...)"),
        ),
        (b"abc", pa.binary(2), "b'abc' has 3 bytes, not 2; declare the column as binary"),
        (b"a", pa.binary(2), "b'a' has 1 bytes, not 2; declare the column as binary"),
        (uuid.UUID(int=5), pa.binary(16), f"{uuid.UUID(int=5)!r} is a UUID, not fixed_size_binary[16]; convert it"),
        (NOON, pa.date32(), "2020-07-01 12:00:00 is a datetime, not date32[day]; give its date"),
        (M8("2020-01-01T00"), pa.date32(), "2020-01-01 00 is a datetime, not date32[day]; give its date"),
        (M8("2020-01"), pa.date32(), "2020-01 is a datetime, not date32[day]; give its date"),
        (
            "2020-01-02",
            pa.date32(),
            ("'2020-01-02' is a text, not date32[day]; convert it, or declare the column as string"),
        ),
        (
            pa.array([1], I64).cast(pa.date64())[0],
            pa.date32(),
            ("1970-01-01 is a date, not date32[day]; convert it, or declare the column as date32"),
        ),
        (
            dt.time(1, tzinfo=dt.UTC),
            pa.time64("us"),
            ("01:00:00+00:00 has a time zone, time64[us] has none; give .replace(tzinfo=None)"),
        ),
        (
            NOON,
            pa.time64("us"),
            (
                "2020-07-01 12:00:00 is a datetime, not time64[us]; convert it, or declare the column "
                'as pyarrow.timestamp("us")'
            ),
        ),
        (
            dt.time(1, 2, 3, 4),
            pa.time32("ms"),
            ("01:02:03.000004 is finer than time32[ms]; round it, or declare the column with the unit us"),
        ),
        (
            NOON,
            UTC,
            (
                "2020-07-01 12:00:00 has no time zone, timestamp[us, tz=UTC] has one; declare "
                'pyarrow.timestamp("us"), or give it the zone that is meant (.replace(tzinfo=...), '
                ".dt.tz_localize(...))"
            ),
        ),
        (
            NOON.replace(tzinfo=BERLIN),
            US,
            (
                "2020-07-01 12:00:00+02:00 has a time zone, timestamp[us] has none; declare "
                'pyarrow.timestamp("us", "UTC"), or remove it (.replace(tzinfo=None), .dt.tz_localize(None))'
            ),
        ),
        (
            pa.scalar(NOON),
            UTC,
            (
                "2020-07-01 12:00:00 has no time zone, timestamp[us, tz=UTC] has one; declare "
                'pyarrow.timestamp("us"), or give it the zone that is meant (.replace(tzinfo=...), '
                ".dt.tz_localize(...))"
            ),
        ),
        (
            pa.scalar(NOON, UTC),
            US,
            (
                "2020-07-01 12:00:00+00:00 has a time zone, timestamp[us] has none; declare "
                'pyarrow.timestamp("us", "UTC"), or remove it (.replace(tzinfo=None), .dt.tz_localize(None))'
            ),
        ),
        (
            NS,
            UTC,
            (
                "2020-01-01 00:00:00.000000001 has no time zone, timestamp[us, tz=UTC] has one; declare "
                'pyarrow.timestamp("us"), or give it the zone that is meant (.replace(tzinfo=...), '
                ".dt.tz_localize(...))"
            ),
        ),
        (
            NS,
            US,
            (
                "2020-01-01 00:00:00.000000001 is finer than timestamp[us]; round it, or declare the column with the "
                "unit ns"
            ),
        ),
        (
            pd.Timestamp(NS),
            US,
            (
                "2020-01-01 00:00:00.000000001 is finer than timestamp[us]; round it, or declare the "
                "column with the unit ns"
            ),
        ),
        (
            M8(1500, "ns"),
            pa.timestamp("ms"),
            (
                "1970-01-01 00:00:00.000001500 is finer than timestamp[ms]; "
                "round it, or declare the column with the unit ns"
            ),
        ),
        (
            M8(1, "us"),
            pa.timestamp("ms"),
            (
                "1970-01-01 00:00:00.000001 is finer than timestamp[ms]; round "
                "it, or declare the column with the unit us"
            ),
        ),
        (
            M8(2000, "ns"),
            pa.timestamp("ms"),
            (
                "1970-01-01 00:00:00.000002000 is finer than timestamp[ms]; "
                "round it, or declare the column with the unit us"
            ),
        ),
        (
            M8(1, "ms"),
            pa.timestamp("s"),
            ("1970-01-01 00:00:00.001 is finer than timestamp[s]; round it, or declare the column with the unit us"),
        ),
        (
            M8(1, "ps"),
            pa.timestamp("us"),
            (
                "1970-01-01 00:00:00.000000000001 is finer than timestamp[us]; "
                "round it, or declare the column with the unit ns"
            ),
        ),
        (
            NOON.replace(year=3000),
            pa.timestamp("ns"),
            ("3000-07-01 12:00:00 is out of range for timestamp[ns]; declare the column with a coarser unit"),
        ),
        (DAY, US, "2020-01-02 is a date, not timestamp[us]; convert it, or declare the column as date32"),
        (SPAN(1, "M"), pa.duration("us"), "1 is counted in M, not in a unit of time; convert it"),
        (5, pa.duration("us"), "5 is a whole number, not duration[us]; convert it, or declare the column as int64"),
        (
            pd.Timedelta(5, "ns"),
            pa.duration("us"),
            ("0 days 00:00:00.000000005 is finer than duration[us]; round it, or declare the column with the unit ns"),
        ),
        (
            decimal.Decimal("1.255"),
            pa.decimal128(5, 2),
            ("Decimal('1.255') has more than 2 decimal places; round it by .quantize(), or declare a larger scale"),
        ),
        (
            decimal.Decimal("NaN"),
            pa.decimal128(5, 2),
            ("Decimal('NaN') is no number, as decimal128(5, 2) needs; give None for a missing value"),
        ),
        (
            decimal.Decimal("1000"),
            pa.decimal128(5, 2),
            ("Decimal('1000') has too many digits for decimal128(5, 2); declare a larger precision"),
        ),
        (
            decimal.Decimal("100.0"),
            pa.decimal128(3, 1),
            ("Decimal('100.0') has too many digits for decimal128(3, 1); declare a larger precision"),
        ),
        (
            decimal.Decimal("1000.00"),
            pa.decimal128(3, 1),
            ("Decimal('1000.00') has too many digits for decimal128(3, 1); declare a larger precision"),
        ),
        (
            1.5,
            pa.decimal128(5, 2),
            (
                "1.5 is a float, not decimal128(5, 2); convert it by decimal.Decimal(str(...)), or "
                "declare the column as float64"
            ),
        ),
        (
            True,
            pa.decimal128(5, 2),
            ("True is a bool, not decimal128(5, 2); convert it by decimal.Decimal(), or declare the column as bool"),
        ),
        (
            SPAN(1, "s"),
            pa.decimal128(5, 2),
            (
                "0:00:01 is a timedelta, not decimal128(5, 2); "
                "divide it by a unit, as datetime.timedelta(seconds=1) is, "
                'or declare the column as pyarrow.duration("us")'
            ),
        ),
        (
            10**76,
            pa.decimal256(76, 0),
            (f"{str(10**76)[:59]}… has too many digits for decimal256(76, 0); declare a larger precision"),
        ),
        (1, pa.null(), "1 is a whole number, not null; convert it, or declare the column as int64"),
    ],
)
def test_what_is_refused_and_what_to_do(value: Any, kind: pa.DataType, message: str) -> None:
    with pytest.raises(RefusedValue, match="^" + re.escape(message) + "$") as alone:
        taker_for(kind).take(value)
    assert alone.value.path == ()
    with pytest.raises(RefusedValue, match="^" + re.escape(message) + "$") as among:
        taker_for(kind).take_all([None, value, value])
    assert among.value.path == (1,)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (2.0**63, I64),
        (2**1024, F64),
        (LONG(2) ** 1024, F64),
        (2**1024 - 2**970, F64),
        (2**128 - 2**103, F32),
        (10**5000, pa.decimal128(10, 2)),
        (10**300, pa.decimal256(76, 0)),
        (decimal.Decimal("1E+1000000"), pa.decimal128(10, 2)),
        (10**5000, F64),
    ],
    ids=lambda value: str(value)[:12] if isinstance(value, pa.DataType) else "large",
)
def test_what_is_too_large(value: Any, kind: pa.DataType) -> None:
    with pytest.raises(RefusedValue, match=r"out of range for|too many digits for"):
        taker_for(kind).take(value)


def test_the_largest_whole_numbers_of_floats() -> None:
    for kind, limit, most in (
        (F16, 65520, 65504),
        (F32, 2**128 - 2**103, 2**128 - 2**104),
        (F64, 2**1024 - 2**970, 2**1024 - 2**971),
    ):
        for sign in (1, -1):
            assert stored(sign * most, kind) == sign * float(most)
            with pytest.raises(RefusedValue, match="not exact"):
                taker_for(kind).take(sign * (limit - 1))
            with pytest.raises(RefusedValue, match="out of range"):
                taker_for(kind).take(sign * limit)


@pytest.mark.parametrize("kind", [I64, F64, TEXT, pa.bool_(), pa.binary(), US, pa.date32()], ids=str)
def test_null_where_it_may_be(kind: pa.DataType) -> None:
    assert taker_for(kind).take(None) is None
    assert taker_for(kind, nullable=True).take(pd.NA) is None
    for nothing in (None, pd.NaT, np.ma.masked):
        with pytest.raises(
            RefusedValue, match=r"^it may not be null; give a value, or declare the column as nullable$"
        ):
            taker_for(kind, nullable=False).take(nothing)
    assert taker_for(kind).nullable
    assert not taker_for(kind, nullable=False).nullable


def test_how_long_texts_and_bytes_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    assert scalars.LARGEST_BINARY == 2_147_483_647
    monkeypatch.setattr(scalars, "LARGEST_BINARY", 4)
    inside: list[tuple[Any, pa.DataType]] = [("abcd", TEXT), ("üü", TEXT), (b"abcd", pa.binary())]
    for value, kind in inside:
        assert taker_for(kind).take(value) == value
    beyond = [("abcde", TEXT), ("üüa", TEXT), (b"abcde", pa.binary()), (bytearray(5), pa.binary(5))]
    for value, kind in beyond:
        with pytest.raises(RefusedValue, match=r"^it has 5 bytes, and Parquet keeps at most 4; cut it in pieces$"):
            taker_for(kind).take(value)


def test_bytes_that_change_later_are_kept_as_they_were() -> None:
    lent = bytearray(b"ab")
    taken = taker_for(pa.binary()).take(lent)
    view = taker_for(pa.binary()).take(memoryview(lent))
    lent[:] = b"xx"
    assert (taken, view) == (b"ab", b"ab")


@given(st.lists(st.one_of(st.integers(-(2**70), 2**70), st.floats(), st.booleans(), st.none(), st.text(max_size=2))))
def test_many_values_are_taken_as_each_of_them(values: list[Any]) -> None:
    for kind in (pa.int8(), I64, F32, F64, TEXT, pa.bool_()):
        taker = taker_for(kind)
        try:
            expected = [taker.take(value) for value in values]
        except RefusedValue as error:
            with pytest.raises(RefusedValue, match="^" + re.escape(str(error)) + "$"):
                taker.take_all(iter(values))
        else:
            taken = taker.take_all(values)
            assert repr(taken) == repr(expected)
            assert taken is not values
