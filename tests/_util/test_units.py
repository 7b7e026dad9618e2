"""Sizes and times as a person writes them."""

from __future__ import annotations

import math

import pytest

from scaledproc._util.units import parse_number, parse_seconds
from scaledproc.errors import UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4", ("count", 4)),
        (" 5 ", ("count", 5)),
        ("1 task", ("count", 1)),
        ("3 tasks", ("count", 3)),
        ("1B", ("bytes", 1)),
        ("1k", ("bytes", 1000)),
        ("2KiB", ("bytes", 2048)),
        ("1.5MB", ("bytes", 1_500_000)),
        ("2m", ("bytes", 2_000_000)),
        ("2MiB", ("bytes", 2**21)),
        ("1g", ("bytes", 10**9)),
        ("1gib", ("bytes", 2**30)),
        ("1TB", ("bytes", 10**12)),
        ("1Ti", ("bytes", 2**40)),
    ],
)
def test_numbers_and_their_units(text: str, expected: tuple[str, int]) -> None:
    assert parse_number(text, "--x", "some") == expected


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("", "give some"),
        ("x", "give some"),
        ("-1", "give some"),
        ("1e3", "give some"),
        ("1.", "give some"),
        ("1i", "give some"),
        ("3 taskss", "give some"),
        ("0", "give some, 1 or more"),
        ("0.5", "give some, 1 or more"),
        ("1.5", "give some, 1 or more"),
        ("0.5B", "give some, 1 or more"),
    ],
)
def test_what_is_no_number_of_things_or_bytes(text: str, remedy: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_number(text, "--x", "some")
    assert str(caught.value) == f"--x {text!r}: {remedy}"


def test_a_part_of_a_byte_is_left_out() -> None:
    assert parse_number("1.5B", "--x", "some") == ("bytes", 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30", 30),
        (" 30 ", 30),
        ("90s", 90),
        ("1.5 m", 90),
        ("5min", 300),
        ("1h", 3600),
        ("2d", 172_800),
        ("0.01", 0.01),
        ("10000000", 1e7),
    ],
)
def test_times_in_seconds(text: str, expected: float) -> None:
    assert parse_seconds(text, "--x") == expected


@pytest.mark.parametrize("text", ["", "soon", "1y", "-1", "nan", "0.009", "10000000.1", "5M", "1h 5m"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_seconds(text, "--x")
    assert str(caught.value) == f"--x {text!r}: give seconds such as 30, or a time such as 90s, 5m or 1h"


def test_a_time_within_bounds() -> None:
    assert parse_seconds("0", "--x", least=0) == 0
    assert parse_seconds("1000d", "--x", most=math.inf) == 86_400_000
    with pytest.raises(UsageError, match=r"--x '11': give one of these$"):
        parse_seconds("11", "--x", most=10, choices="one of these")
