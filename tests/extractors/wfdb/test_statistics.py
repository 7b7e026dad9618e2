"""Statistics of samples against numpy, and their summary over many records."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from scaledproc.extractors.wfdb.signal_stats import signal_stats
from scaledproc.extractors.wfdb.statistics import QUANTILES, Coding, Counts, count, statistics

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
