"""Statistics of samples against numpy, and their summary over many records."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from scaledproc.extractors.wfdb.signal_stats import merge_stats, partial_stats, signal_stats
from scaledproc.extractors.wfdb.signals.statistics import (
    QUANTILES,
    Coding,
    Counts,
    Limits,
    count,
    merged,
    statistics,
    statistics_of_bytes,
    statistics_of_numbers,
)

DTYPES = st.sampled_from([np.int8, np.int16, np.int32])
SAMPLES = DTYPES.flatmap(lambda dtype: npst.arrays(dtype, st.one_of(st.integers(0, 40), st.just(9000))))
GAINS = st.sampled_from([200.0, -200.0, 1.0, 0.001, 4096.0, 12.84])


@given(SAMPLES, GAINS, st.integers(-(2**15), 2**15), st.booleans())
def test_statistics_equal_numpy(samples: np.ndarray, gain: float, baseline: int, has_missing: bool) -> None:
    missing = int(np.iinfo(samples.dtype).min) if has_missing else None
    found = statistics(count(samples), Coding(missing, gain, baseline))
    valid = samples[samples != missing] if has_missing else samples
    physical = (valid.astype(np.float64) - baseline) / gain
    assert (found.n, found.missing) == (len(samples), len(samples) - len(valid))
    if not len(valid):
        assert (found.mean, found.std, found.min, found.max, set(found.quantiles)) == (None, None, None, None, {None})
        return
    assert (found.min, found.max) == (physical.min(), physical.max())
    assert found.quantiles == tuple(np.percentile(physical, [100 * q for q in QUANTILES.values()]))
    scale = max(abs(physical.min()), abs(physical.max()))
    assert found.mean == pytest.approx(physical.mean(), rel=1e-9, abs=1e-14 * scale)
    if len(valid) == 1:
        assert found.std is None
    else:
        assert found.std == pytest.approx(physical.std(ddof=1), rel=1e-9, abs=1e-14 * scale)


@pytest.mark.parametrize("samples", [[5] * 101, [5] * 50 + [6] * 51, [5] * 51 + [4] * 50, [5, 5, 6], [4, 5, 5]])
@pytest.mark.parametrize("gain", [200.0, -200.0])
def test_zeros_have_the_sign_that_numpy_gives_them(samples: list[int], gain: float) -> None:
    """Where the gain is negative the value 0 is -0.0, and its sign is in the bytes of the table."""
    found = statistics(count(np.array(samples, np.int16)), Coding(None, gain, 5))
    physical = (np.array(samples, np.float64) - 5) / gain
    expected = np.percentile(physical, [100 * q for q in QUANTILES.values()]).tolist()
    assert [repr(each) for each in found.quantiles] == [repr(each) for each in expected]


def test_large_sums_do_not_overflow() -> None:
    samples = np.full(9000, 2**31 - 1, np.int32)
    samples[0] -= 1
    found = statistics(count(samples), Coding(None, 1.0, 0))
    assert found.mean == pytest.approx(2**31 - 1 - 1 / 9000, abs=1e-6)
    assert found.std == pytest.approx(np.sqrt((1 - 1 / 9000) / 9000 * 9000 / 8999), rel=1e-9)


def test_sums_beyond_64_bits_are_exact() -> None:
    """Of differences, whose sums are not bounded by their bits."""
    found = statistics(Counts(np.array([2**40]), np.array([2**30])), Coding(None, 1.0, 0))
    assert (found.total, found.mean, found.std) == (2**70, 2.0**40, 0.0)


def test_a_constant_signal_has_no_deviation() -> None:
    assert statistics(count(np.full(1001, 7, np.int16)), Coding(None, 3.0, 1)).std == 0.0


def rows(signals: list[tuple[str, str, np.ndarray, int]]) -> pa.Table:
    """Finished rows for (record, name, valid samples, missing) of each signal."""
    return pa.Table.from_pylist(
        [
            {
                "unit": "u",
                "record": record,
                "kind": "waveform",
                "signal_name": name,
                "units": None if name == "none" else "mV",
                "n_samples": len(valid) + missing,
                "n_missing": missing,
                "mean": float(valid.mean()) if len(valid) else None,
                "std": float(valid.std(ddof=1)) if len(valid) > 1 else None,
                "min": float(valid.min()) if len(valid) else None,
                "max": float(valid.max()) if len(valid) else None,
            }
            for record, name, valid, missing in signals
        ],
        schema=pa.schema(
            [(name, pa.string()) for name in ("unit", "record", "kind", "signal_name", "units")]
            + [(name, pa.int64()) for name in ("n_samples", "n_missing")]
            + [(name, pa.float64()) for name in ("mean", "std", "min", "max")]
        ),
    )


@pytest.mark.slow
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["II", "V", "none"]),
            npst.arrays(np.float64, st.integers(0, 6), elements=st.floats(-1e6, 1e6)),
            st.integers(0, 3),
            st.booleans(),
        ),
        min_size=1,
        max_size=25,
    ),
    st.integers(1, 25),
)
def test_signal_stats_are_those_of_all_samples(drawn: list[tuple[str, np.ndarray, int, bool]], piece: int) -> None:
    record, signals = 0, []
    for name, valid, missing, new_record in drawn:
        record += new_record
        signals.append((f"r{record:03}", name, valid, missing))
    table = rows(signals)
    found = signal_stats(table.slice(start, piece) for start in range(0, len(signals), piece)).to_pylist()
    assert [row["signal_name"] for row in found] == sorted({name for _, name, _, _ in signals})
    for row in found:
        mine = [signal for signal in signals if signal[1] == row["signal_name"]]
        valid = np.concatenate([signal[2] for signal in mine])
        missing = sum(signal[3] for signal in mine)
        assert row["records"] == len({signal[0] for signal in mine})
        assert row["signals"] == len(mine)
        assert row["samples"] == len(valid) + missing
        assert row["missing_share"] == (missing / (len(valid) + missing) if row["samples"] else None)
        if not len(valid):
            assert (row["mean"], row["std"], row["min"], row["max"]) == (None,) * 4
            continue
        scale = float(np.abs(valid).max())
        assert row["mean"] == pytest.approx(valid.mean(), rel=1e-9, abs=1e-12 * scale)
        assert (row["min"], row["max"]) == (valid.min(), valid.max())
        if len(valid) > 1:
            assert row["std"] == pytest.approx(valid.std(ddof=1), rel=1e-7, abs=1e-7 * scale)
        else:
            assert row["std"] is None


def test_signal_stats_do_not_depend_on_the_cuts() -> None:
    rng = np.random.default_rng(3)
    drawn = [
        (f"r{n // 3:03}", "II" if n % 3 else "V", rng.normal(1e8, 1e-3, 5) * 10.0 ** rng.integers(-300, 80, 1), n % 2)
        for n in range(60)
    ]
    for signals in (drawn, [(name, lead, np.round(valid), n) for name, lead, valid, n in drawn]):
        table = rows(signals)
        whole = signal_stats([table])
        for shard in (3, 12, 30):  # whole records
            parts = [table.slice(start, shard) for start in range(0, len(signals), shard)]
            for piece in (1, 7, 60):
                pieces = [[part.slice(at, piece) for at in range(0, part.num_rows, piece)] for part in parts]
                assert merge_stats(map(partial_stats, pieces)).equals(whole)


def test_signal_stats_are_exact() -> None:
    means, stds = [1e16, 1.0, -1e16, 3.0, 5e-324, 0.1], [0.0, 2.0, 0.0, 1.0, 0.0, 0.3]
    table = rows([(f"r{n}", "II", np.zeros(4), 0) for n in range(6)])
    for name, values in (("mean", means), ("std", stds)):
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values))
    (found,) = signal_stats([table]).to_pylist()
    exact = [Fraction(mean) for mean in means]
    mean = sum(4 * each for each in exact) / 24
    squares = sum(4 * (each - mean) ** 2 for each in exact) + sum(Fraction(3 * std**2) for std in stds)
    assert found["mean"] == float(mean)
    assert found["std"] == math.sqrt(float(squares / 23))


def test_signal_stats_refuse_what_is_not_finite() -> None:
    table = rows([("r", "II", np.ones(2), 0)])
    table = table.set_column(table.schema.get_field_index("mean"), "mean", pa.array([math.inf]))
    with pytest.raises(ValueError, match="not finite"):
        signal_stats([table])


def test_the_quantiles_that_are_told() -> None:
    assert QUANTILES == {"p25": 0.25, "p50": 0.5, "p75": 0.75}


@pytest.mark.parametrize("gone", [0, 1, 2, 5])
@pytest.mark.parametrize("valid", [[], [7], [0, 0], [3, 5], [-4, 0, 0, 9], [-128 + 1, 127]])
@pytest.mark.parametrize("gain", [1.0, -2.0, 200.0])
@pytest.mark.parametrize("baseline", [0, 3, -5])
def test_few_samples_in_all_ways_of_counting(gone: int, valid: list[int], gain: float, baseline: int) -> None:
    """Eight bits, so that there are two ways: both equal numpy's, whatever is missing."""
    samples = np.array([-128] * gone + valid, np.int8)
    coding = Coding(-128, gain, baseline, ())
    histogram = np.bincount(samples.astype(np.int64) + 128, minlength=256)
    found = statistics(count(samples), coding)
    (same,) = statistics_of_bytes(histogram[None], [coding])
    assert found == same
    assert (found.n, found.missing, found.total) == (len(samples), gone, int(samples.astype(np.int64).sum()))
    physical = (np.array(valid, float) - baseline) / gain
    if not valid:
        assert (found.mean, found.std, found.min, found.max, found.zero, found.distinct) == (
            None,
            None,
            None,
            None,
            0,
            0,
        )
        assert found.quantiles == (None, None, None)
        return
    assert (found.distinct, found.zero) == (len(set(valid)), valid.count(baseline))
    assert found.mean == pytest.approx(physical.mean(), rel=1e-12, abs=1e-12)
    assert found.std == (pytest.approx(physical.std(ddof=1), rel=1e-12, abs=1e-12) if len(valid) > 1 else None)
    assert (found.min, found.max) == (physical.min(), physical.max())
    assert found.quantiles == tuple(np.percentile(physical, [25, 50, 75]))


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ((), (None, None)),
        (((-10, 10),), (0, 0)),
        (((-4, 9),), (2, 3)),
        (((-4, 10),), (2, 0)),
        (((-5, 9),), (0, 3)),
        (((-3, 9),), (None, None)),  # samples lie beyond them, so these are none
        (((-4, 8),), (None, None)),
        (((-128, 127), (-4, 9)), (2, 3)),
        (((-4, 9), (-128, 127)), (2, 3)),
        (((-4, 100), (-100, 9)), (2, 3)),
        (((0, 0), (-4, 9)), (2, 3)),
    ],
)
@pytest.mark.parametrize("gain", [1.0, -1.0, 0.25, -0.25])
def test_samples_at_the_limits(
    limits: tuple[tuple[int, int], ...], expected: tuple[int | None, int | None], gain: float
) -> None:
    samples = np.array([-4, -4, 0, 9, 9, 9], np.int8)
    coding = Coding(-128, gain, 0, tuple(Limits(*each) for each in limits))
    histogram = np.bincount(samples.astype(np.int64) + 128, minlength=256)
    for found in (statistics(count(samples), coding), *statistics_of_bytes(histogram[None], [coding])):
        assert (found.at_min, found.at_max) == (expected if gain > 0 else expected[::-1])


@pytest.mark.parametrize("size", [0, 1, 100, 10_000])
@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32])
def test_counting_is_that_of_numpy(size: int, dtype: type) -> None:
    limits = np.iinfo(dtype)
    samples = np.random.default_rng(size).integers(limits.min, limits.max, size, dtype, endpoint=True)
    samples[: min(size, 2)] = [limits.min, limits.max][: min(size, 2)]
    values, counts = np.unique(samples, return_counts=True)
    found = count(samples)
    assert (found.values.tolist(), found.counts.tolist()) == (values.tolist(), counts.tolist())
    parts = [count(part) for part in np.array_split(samples, 3)]
    whole = merged(parts)
    assert (whole.values.tolist(), whole.counts.tolist()) == (values.tolist(), counts.tolist())


@pytest.mark.parametrize("scale", [1, 10, 10**200])
@pytest.mark.parametrize("numbers", [[], [0], [5], [3, 3], [-20, 0, 0, 7], [1, 2, 3, 4, 10]])
def test_numbers_in_decimals(numbers: list[int], scale: int) -> None:
    values, counts = np.unique(np.array(numbers, np.int64), return_counts=True)
    pairs = list(zip(values.tolist(), counts.tolist(), strict=True))
    found = statistics_of_numbers(pairs, scale, len(numbers) + 2)
    assert (found.n, found.missing, found.total) == (len(numbers) + 2, 2, sum(numbers))
    assert (found.distinct, found.zero) == (len(set(numbers)), numbers.count(0))
    if numbers:
        exact = np.array(numbers, float) / scale
        assert (found.min, found.max) == (exact.min(), exact.max())
        assert found.mean == pytest.approx(exact.mean(), rel=1e-12)
        assert found.quantiles == pytest.approx(tuple(np.percentile(exact, [25, 50, 75])), rel=1e-12)
        if len(numbers) > 1:
            deviation = np.array(numbers, float).std(ddof=1) / scale
            assert found.std == pytest.approx(deviation, rel=1e-9)
        else:
            assert found.std is None


SIGNALS = st.lists(
    st.tuples(npst.arrays(np.int8, st.integers(0, 30), elements=st.integers(-128, 127)), GAINS, st.integers(-130, 130)),
    max_size=6,
)
LIMITS = (Limits(-128, 127), Limits(-127, 100))


@given(SIGNALS)
def test_signals_of_bytes_at_once_are_as_each_alone(signals: list[tuple[np.ndarray, float, int]]) -> None:
    codings = [Coding(-128, gain, baseline, LIMITS) for _, gain, baseline in signals]
    histograms = np.zeros((len(signals), 256), np.int64)
    for histogram, (samples, _, _) in zip(histograms, signals, strict=True):
        np.add.at(histogram, samples.astype(np.int64) + 128, 1)
    alone = [statistics(count(samples), coding) for (samples, _, _), coding in zip(signals, codings, strict=True)]
    assert statistics_of_bytes(histograms, codings) == alone


def test_three_signals_of_bytes_in_figures() -> None:
    histograms = np.zeros((4, 256), np.int64)
    histograms[0, [0, 128 + 3]] = [1, 2]  # one missing, and 3 twice
    histograms[1, 0] = 5
    histograms[3, [128 - 4, 128 + 10]] = [1, 1]
    first, second, third, fourth = statistics_of_bytes(
        histograms, [Coding(-128, gain, 0) for gain in (1.0, 1.0, 1.0, 2.0)]
    )
    assert (first.n, first.missing, first.total, first.mean, first.std, first.min, first.max) == (
        3,
        1,
        -122,
        3,
        0,
        3,
        3,
    )
    assert (second.n, second.missing, second.total, second.mean) == (5, 5, -640, None)
    assert (third.n, third.missing, third.total, third.mean) == (0, 0, 0, None)
    assert (fourth.n, fourth.mean, fourth.min, fourth.max, fourth.quantiles) == (2, 1.5, -2, 5, (-0.25, 1.5, 3.25))


@pytest.mark.parametrize(
    "found",
    [
        {2**33: 2**30},  # a sum of 2**63
        {-(2**34): 2**30},
        {-(2**34): 2**30, 1: 1},
        {1: 1, 2**34: 2**30},
        {2**16: 2**31},  # a sum of squares of 2**63
        {-(2**16): 2**31},
        {2**17 - 1: 2**30},
        {-(2**17) + 1: 2**30},
        {2**16 - 1: 2**32 - 1},
        {-(2**20): 2**24, 0: 1},
        {0: 1, 2**20: 2**24},
        {-(2**31): 2**31, 2**31 - 1: 2**31},
    ],
)
def test_sums_are_exact_near_and_beyond_64_bits(found: dict[int, int]) -> None:
    n = sum(found.values())
    total = sum(value * often for value, often in found.items())
    squares = sum(value * value * often for value, often in found.items())
    counts = Counts(np.array(list(found), np.int64), np.array(list(found.values()), np.int64))
    made = statistics(counts, Coding(None, 1.0, 0))
    assert (made.n, made.total) == (n, total)
    assert made.mean == total / n
    assert made.std == ((n * squares - total * total) / (n * (n - 1))) ** 0.5


@pytest.mark.parametrize("missing", [0, -8, 5])
def test_any_value_may_be_the_missing_one(missing: int) -> None:
    """That of some formats is not the lowest of a type of NumPy's."""
    samples = np.array([missing] * 3 + [missing + 1, missing + 5], np.int16)
    found = statistics(count(samples), Coding(missing, 1.0, 0))
    assert (found.n, found.missing, found.distinct) == (5, 3, 2)
    assert found.mean == missing + 3
    assert found.std == pytest.approx(8**0.5, rel=1e-15)


def test_quantiles_are_rounded_as_numpy_does() -> None:
    """Half way from 0.1 to 0.5: from below it is another float than from above."""
    found = statistics_of_numbers([(1, 1), (5, 1)], 10, 2)
    assert found.quantiles == tuple(np.percentile([0.1, 0.5], [25, 50, 75]))


def test_decimals_whose_squares_no_float_holds() -> None:
    scale = 10**200
    found = statistics_of_numbers([(scale, 1), (2 * scale, 1), (3 * scale, 1)], scale, 3)
    assert (found.mean, found.std, found.min, found.max) == (2.0, 1.0, 1.0, 3.0)
