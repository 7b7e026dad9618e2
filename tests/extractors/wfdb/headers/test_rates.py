"""Rates that a header rounds are what was rounded; all others are as written."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wfdb_oracles.oracle import frames_per_second

from scaledproc.extractors.wfdb.headers.rates import rate_of

ROUNDED = {
    "0.0166666666667": (1, 60), "0.016666666666666666": (1, 60), "0.0166667": (1, 60), "0.016667": (1, 60),
    "0.01667": (1, 60), "0.0167": (1, 60), "0.016666": (1, 60), "0.0166": (1, 60), "0.033333": (1, 30),
    "0.33333": (1, 3), "0.333": (1, 3), "0.142857": (1, 7), "0.000277778": (1, 3600), "0.66667": (2, 3),
    "0.6666666666666666": (2, 3),
    "1.33333": (4, 3), "16.6667": (50, 3), "33.3333": (100, 3), "66.667": (200, 3), "142.857": (1000, 7),
    "333.333": (1000, 3), "166.66666666666666": (500, 3), "0.976562": (125, 128), "0.97656": (125, 128),
    "1.563": (25, 16), "1.562": (25, 16), "0.01538461538461539": (1, 65),
}  # fmt: skip
AS_WRITTEN = ("62.4725", "999.52", "999.56", "499.78", "249.89", "124.945", "125", "125.0", "333", "67", "17", "1", "2",
              "0.5", "0.25", "0.2", "0.1", "0.02", "0.04", "0.3", "0.7", "0.9", "0.99", "1.01", "1.024", "15.5", "15.6",
              "31.2", "31.25", "33.4", "62.4", "62.5", "124.9", "249.9", "257", "128", "360", "512", "0.334", "0.3331",
              "0.01665", "0.017", "0.33", "0.016",
              "0.0010000000000000002", "0.09999999999999999", "1e-300", "5e-324", "1.7976931348623157e308",
              "333.4")  # fmt: skip


@pytest.mark.parametrize(("text", "fraction"), ROUNDED.items())
def test_what_was_rounded(text: str, fraction: tuple[int, int]) -> None:
    assert rate_of(float(text)) == Fraction(*fraction)


@pytest.mark.parametrize("text", AS_WRITTEN)
def test_as_written(text: str) -> None:
    assert rate_of(float(text)) == Fraction(text)


@given(st.integers(1, 100_000), st.integers(8, 17))
def test_whole_seconds_and_milliseconds_between_samples(n: int, digits: int) -> None:
    for over in (1, 1000):
        if n < 1000 or over == 1:
            assert rate_of(float(f"{over / n:.{digits + 5}g}")) == Fraction(over, n)
            assert rate_of(over / n) == Fraction(over, n)


@given(st.decimals("0.001", "5000", places=3) | st.floats(0.001, 5000).map(repr))
def test_rounding_and_cutting_off_it_gives_the_number(number: object) -> None:
    value = float(str(number))
    assert rate_of(value) == frames_per_second(value)


@given(st.decimals("0.001", "5000", places=4))
def test_never_another_number_than_the_digits_allow(number: object) -> None:
    text = str(number)
    found = rate_of(float(text))
    digits = len(repr(float(text)).partition(".")[2])
    assert abs(found - Fraction(text)) < Fraction(1, 10**digits)
    assert found == Fraction(text) or (1 / found * 1000).denominator == 1


def test_rates_of_real_headers(shared_data: Path) -> None:
    """Those of the databases' own headers: only numerics once a minute are rounded."""
    found: set[str] = set()
    for path in shared_data.rglob("*.hea"):
        first = next(line for line in path.read_text("latin-1").splitlines() if not line.startswith("#"))
        fields = first.split()
        found.update(re.split(r"[/(]", text)[0] for text in fields[2:3])
    rates = {text: rate_of(float(text)) for text in found}
    assert rates.pop("0.0166666666667") == Fraction(1, 60)
    assert len(rates) > 5
    assert all(rate == Fraction(text) for text, rate in rates.items())
