"""Sampling frequencies exactly: as they are written, or what was rounded to that.

MIMIC-III's numerics are of once a minute, and their headers say `0.0166666666667` Hz. By that number the value of each
minute would lie a little before the minute begins, and in the window before it.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

UNITS = tuple(Fraction(each) for each in ("10", "1", "0.1", "0.01", "0.001"))
"""Seconds that the time from sample to sample may be a multiple of."""
SURE = 10
"""The digits must tell that time to such a part of the unit, so that one number in ten is a multiple by chance."""

LEAST = 1e-6
"""Hz, below which numbers are as written."""


@lru_cache(maxsize=64)
def exact(number: float) -> Fraction:
    """The number that was written, not the nearest one in binary: 62.4725 is 24989/400."""
    return Fraction(repr(number))


@lru_cache(maxsize=64)
def rate_of(number: float) -> Fraction:
    """The rate that a sampling frequency stands for.

    It is the number as written, but for one that is no whole number and has been rounded: where the time from sample to
    sample can be a multiple of 10, 1, 0.1, 0.01 or 0.001 s, the largest of these that the digits tell to a tenth, it is
    that. So `0.0166666666667`, `0.016667` and `0.0166` are 1/60 Hz, `0.333` is 1/3 and `333.33` is 1000/3; `0.33`,
    `62.4725` and `999.52` are as written. Zeros at the end of a number tell nothing.

    Parameters
    ----------
    number
        Hz, above 0.
    """
    written = exact(number)
    if written.denominator == 1 or number < LEAST:
        return written
    digit = Fraction(10) ** int(Decimal(repr(number)).as_tuple().exponent)
    low, high = written - digit / 2, written + digit  # it was rounded, or cut off
    for unit in UNITS:
        if (1 / low - 1 / high) * SURE > unit:
            break
        times = round(1 / (written * unit))
        if not times:
            continue
        found = 1 / (times * unit)
        binary = float(found)  # to which it may have been rounded before the decimals were
        if low <= found < high or low <= Fraction(binary) < high or binary == number:
            return found
    return written
