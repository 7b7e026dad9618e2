"""Windows are where a count of every sample's time says that they are."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from scaledproc.extractors.wfdb.windows.grid import Grid

SECONDS = st.sampled_from([Fraction(1, 2), Fraction(3, 4), Fraction(1), Fraction(7, 3), Fraction(5)])
RATES = st.sampled_from([Fraction(1), Fraction(4), Fraction("62.4725"), Fraction(7, 3), Fraction(1, 2)])


@given(
    SECONDS, SECONDS, st.fractions(-4, 20, max_denominator=50), RATES, st.integers(0, 15), st.sampled_from([0, None])
)
@settings(max_examples=60, deadline=None)
def test_windows_have_the_samples_of_their_time(
    step: Fraction, length: Fraction, at: Fraction, fs: Fraction, n: int, first: int | None
) -> None:
    grid = Grid(step, length, at, Fraction(0), first)
    times = [at + sample / fs for sample in range(n)]
    wanted = {
        number: samples
        for number in range(-20, 110)
        if (samples := [k for k, time in enumerate(times) if number * step <= time < number * step + length])
        and (first is None or number >= first)
    }
    numbers = grid.numbers(n, fs)
    starts, stops = grid.bounds(numbers, fs)
    found = {
        number: list(range(max(start, 0), min(stop, n)))
        for number, start, stop in zip(numbers, starts.tolist(), stops.tolist(), strict=True)
    }
    assert {number: samples for number, samples in found.items() if samples} == wanted
    # A window is complete once its last sample is there.
    for there in (0, n // 2, n):
        complete = grid.complete(there, fs)
        assert all((stop <= there) == (number < complete) for number, stop in zip(numbers, stops.tolist(), strict=True))
    for number in numbers:
        whole = grid.bounds([number], fs)
        assert grid.shortest(fs) <= int(whole[1][0] - whole[0][0]) <= grid.shortest(fs) + 1


@given(st.integers(0, 10_000), st.sampled_from([625, 1250, 3748, 7500]), st.sampled_from([Fraction(1), Fraction(4, 5)]))
def test_the_fewest_samples_that_make_a_share(share: int, length: int, fs: Fraction) -> None:
    """By trying: one fewer is below the share, or none."""
    grid = Grid(Fraction(length), Fraction(length), Fraction(0), Fraction(0))
    windows = grid.with_samples(range(3), 3 * length, fs, share / 10_000)
    for n, fewest in zip(windows.lengths.tolist(), windows.fewest.tolist(), strict=True):
        assert share * n <= 10_000 * fewest
        assert fewest == 1 or 10_000 * (fewest - 1) < share * n
