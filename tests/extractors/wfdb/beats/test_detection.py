"""Beats are found: as annotators have them, at any rate, scale and offset, and never in what has none, or at a gap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ecg_waves import ecg, with_noise
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from wfdb import processing, rdann, rdrecord

from scaledproc.extractors.wfdb.beats.decision import REFRACTORY_S
from scaledproc.extractors.wfdb.beats.detection import Beats, detect_beats

BEAT_SYMBOLS = frozenset("NLRBAaJSVrFejnE/fQ?")
TOLERANCE_S = 0.15


@pytest.fixture(scope="module")
def annotated(shared_data: Path) -> Path:
    folder = shared_data.parent / "annotated/mitdb"
    if not folder.is_dir():
        pytest.fail(f"needs the annotated records: there is no {folder}")
    return folder


def read(folder: Path, record: str, channel: int = 0) -> tuple[NDArray[np.float64], float, NDArray[np.int64]]:
    found = rdrecord(str(folder / record), channels=[channel])
    marks = rdann(str(folder / record), "atr")
    beats = [at for at, symbol in zip(marks.sample, marks.symbol, strict=True) if symbol in BEAT_SYMBOLS]
    return found.p_signal[:, 0], float(found.fs), np.array(beats)


def scores(expected: NDArray[np.int64], found: NDArray[np.int64], fs: float) -> tuple[float, float]:
    compared = processing.compare_annotations(expected, found, int(TOLERANCE_S * fs))
    return compared.sensitivity, compared.positive_predictivity


@pytest.mark.parametrize("record", ["100", "101", "102", "231"])
def test_beats_are_those_of_annotators(annotated: Path, record: str) -> None:
    samples, fs, expected = read(annotated, record)
    assert min(scores(expected, detect_beats(samples, fs, "ecg").positions, fs)) >= 0.995


@pytest.mark.parametrize(("record", "channel"), [("100", 1), ("102", 1), ("231", 1)])
def test_beats_of_other_leads_are_those_of_annotators(annotated: Path, record: str, channel: int) -> None:
    samples, fs, expected = read(annotated, record, channel)
    assert min(scores(expected, detect_beats(samples, fs, "ecg").positions, fs)) >= 0.995


@pytest.mark.parametrize("rate", [(25, 72), (25, 36), (25, 18)], ids=["125 Hz", "250 Hz", "500 Hz"])
@pytest.mark.parametrize("record", ["101", "231"])
def test_the_rate_and_the_polarity_do_not_matter(annotated: Path, record: str, rate: tuple[int, int]) -> None:
    from scipy.signal import resample_poly

    samples, fs, expected = read(annotated, record)
    samples, up, down = samples[:216_000], *rate
    expected = expected[expected < len(samples)] * up // down
    found = detect_beats(-resample_poly(samples, up, down), fs * up / down, "ecg")
    assert min(scores(expected, found.positions, fs * up / down)) >= 0.99


@pytest.mark.parametrize("shape", ["narrow", "wide", "inverted", "tall T", "large P", "small"])
@pytest.mark.parametrize("fs", [125, 250, 360, 1000])
def test_every_shape_is_found(shape: str, fs: int) -> None:
    samples, beats = ecg(fs, np.arange(0.5, 59, 0.8), shape)
    found = detect_beats(samples, fs, "ecg")
    assert len(found) == len(beats)
    assert np.abs(found.positions - beats).max() <= 0.05 * fs
    assert found.quality.min() > 0.5


@pytest.mark.parametrize("rate", [25, 40, 180, 250])
def test_slow_and_fast_hearts_are_followed(rate: int) -> None:
    times = np.arange(0.5, 119, 60 / rate)
    samples, beats = ecg(250, times, "narrow" if rate < 150 else "brief")
    samples += 0.02 * np.random.default_rng(rate).normal(size=len(samples))
    assert min(scores(beats, detect_beats(samples, 250, "ecg").positions, 250)) == 1


def test_intervals_are_finer_than_samples() -> None:
    """At 125 Hz a sample is 8 ms; the Task Force (1996) wants a parabola for such a rate."""
    times = np.cumsum(np.random.default_rng(1).normal(0.8, 0.02, 70))
    samples, _ = ecg(125, times, "narrow")
    found = detect_beats(samples, 125, "ecg")
    assert len(found) == len(times)
    assert np.std(np.diff(found.times) / 125 - np.diff(times)) < 0.0012


def test_beats_of_a_pause_are_not_made_up() -> None:
    """P waves that are not conducted are no beats, and after the pause the next beat is found."""
    times = np.concatenate([np.arange(0.5, 20, 0.8), np.arange(26, 50, 0.8)])
    samples, beats = ecg(250, times, "narrow")
    lonely, _ = ecg(250, np.arange(20.4, 26, 0.8), "P alone")
    samples[: len(lonely)] += lonely[: len(samples)]
    found = detect_beats(samples, 250, "ecg")
    assert len(found) == len(beats)


def test_ectopic_beats_are_found() -> None:
    """Early, wide, and three times as high: neither they nor the small ones between are lost."""
    times = np.arange(0.5, 60, 0.9)
    normal, beats = ecg(250, times, "narrow")
    early, others = ecg(250, times[3::4] + 0.45, "ventricular")
    n = max(len(normal), len(early))
    samples = np.pad(normal, (0, n - len(normal))) + np.pad(early, (0, n - len(early)))
    expected = np.sort(np.concatenate([beats, others]))
    assert min(scores(expected, detect_beats(samples, 250, "ecg").positions, 250)) >= 0.98


def test_pulses_of_a_pacemaker_are_no_beats() -> None:
    samples, beats = ecg(125, np.arange(0.6, 60, 0.8), "narrow")
    samples[beats - 25] += 1.5
    found = detect_beats(samples, 125, "ecg")
    assert len(found) == len(beats)
    assert np.abs(found.positions - beats).max() <= 2


def test_a_lead_that_gets_a_tenth_as_high_is_followed() -> None:
    samples, beats = ecg(250, np.arange(0.5, 120, 0.8), "narrow")
    samples[len(samples) // 2 :] *= 0.15
    assert min(scores(beats, detect_beats(samples, 250, "ecg").positions, 250)) >= 0.99


def test_an_artefact_does_not_silence_what_follows() -> None:
    samples, beats = ecg(250, np.arange(0.5, 60, 0.8), "narrow")
    samples[5_000:5_050] += 40 * np.hanning(50)
    expected = beats[np.abs(beats - 5_025) > 250]
    assert scores(expected, detect_beats(samples, 250, "ecg").positions, 250)[0] == 1


@pytest.mark.parametrize("kind", ["white", "muscle", "motion"])
def test_quality_falls_where_there_is_more_noise(annotated: Path, kind: str) -> None:
    samples, fs, expected = read(annotated, "100")
    samples, expected = samples[:108_000], expected[expected < 108_000]
    means = []
    for decibels in (24, 18, 12, 6, 0, -6):
        noisy = with_noise(samples, expected, fs, kind, decibels)
        means.append(float(detect_beats(noisy, fs, "ecg").quality.mean()))
    assert means == sorted(means, reverse=True)
    assert means[0] > 0.75
    assert means[0] - means[-1] > 0.3


def test_quality_is_that_of_the_place() -> None:
    samples, beats = ecg(250, np.arange(0.5, 120, 0.8), "narrow")
    noisy = with_noise(samples, beats, 250, "muscle", 3)
    half = len(samples) // 2
    found = detect_beats(np.concatenate([samples[:half], noisy[half:]]), 250, "ecg")
    is_clean = found.positions < half - 500
    is_noisy = found.positions > half + 500
    assert found.quality[is_clean].min() > 0.8
    assert np.median(found.quality[is_noisy]) < 0.6


@pytest.mark.parametrize("kind", ["ecg", "pulse"])
def test_noise_alone_has_low_quality(kind: str) -> None:
    noise = np.random.default_rng(2).normal(size=15_000)
    found = detect_beats(noise, 125, kind)  # type: ignore[arg-type]
    assert np.median(found.quality) < 0.5


def test_no_interval_spans_a_gap_and_none_is_next_to_one(annotated: Path) -> None:
    samples, fs, _ = read(annotated, "100")
    samples = samples[:108_000]
    whole = detect_beats(samples, fs, "ecg")
    rng = np.random.default_rng(3)
    gaps = [
        (int(at), int(at + length))
        for at, length in zip(rng.integers(0, 108_000, 40), rng.integers(20, 900, 40), strict=True)
    ]
    broken = samples.copy()
    for start, stop in gaps:
        broken[start:stop] = np.nan
    found = detect_beats(broken, fs, "ecg")
    away = np.isfinite(broken[found.positions])
    assert away.all()
    # What is found was there before; what was there is found, unless it is at a gap.
    assert all(np.abs(whole.positions - at).min() <= 3 for at in found.positions)
    for at in whole.positions:
        around = broken[max(at - 60, 0) : at + 60]
        if np.isfinite(around).all() and len(around) == 120:
            assert np.abs(found.positions - at).min() <= 3
    for a, b in zip(range(len(found) - 1), range(1, len(found)), strict=True):
        is_whole = np.isfinite(broken[found.positions[a] : found.positions[b]]).all()
        assert (found.stretch[a] == found.stretch[b]) == is_whole


def test_a_step_at_a_gap_is_no_beat() -> None:
    samples, beats = ecg(125, np.arange(0.5, 60, 1.0), "narrow")
    between = beats[30] + 60
    samples[between : between + 20] = np.nan
    samples[between + 20 :] += 25.0
    found = detect_beats(samples, 125, "ecg")
    assert len(found) == len(beats)
    assert np.abs(found.positions - beats).max() <= 2


def test_single_missing_samples_are_bridged() -> None:
    samples, beats = ecg(125, np.arange(0.5, 60, 0.8), "narrow")
    samples[np.random.default_rng(4).random(len(samples)) < 0.02] = np.nan
    found = detect_beats(samples, 125, "ecg")
    assert min(scores(beats, found.positions, 125)) == 1
    assert set(found.stretch) == {0}


@pytest.mark.parametrize("kind", ["ecg", "pulse"])
@given(
    st.integers(0, 3_000),
    st.sampled_from([0.0, -3.25, 1e300, 5e-324, np.nan, np.inf]),
    st.sampled_from([62.5, 125.0, 360.0, 1000.0]),
)
def test_nothing_is_found_where_nothing_is(kind: str, n: int, level: float, fs: float) -> None:
    found = detect_beats(np.full(n, level), fs, kind)  # type: ignore[arg-type]
    assert len(found) == 0
    assert found.positions.dtype == np.int64


@st.composite
def signals(draw: st.DrawFn) -> tuple[NDArray[np.float64], float]:
    """Beats with noise, gaps, jumps and silence, of any length."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    fs = draw(st.sampled_from([62.4725, 125.0, 250.0, 360.0, 999.56]))
    times = np.cumsum(rng.uniform(0.3, draw(st.sampled_from([0.6, 1.2, 3.0])), draw(st.integers(1, 30))))
    samples, _ = ecg(fs, times, draw(st.sampled_from(["narrow", "wide", "tall T"])))
    samples = samples + draw(st.sampled_from([0.0, 0.05, 0.5])) * rng.normal(size=len(samples))
    for _ in range(draw(st.integers(0, 4))):
        start = int(rng.integers(len(samples)))
        stop = start + int(rng.integers(1, int(2 * fs)))
        change = draw(st.sampled_from([np.nan, np.inf, 0.0, 3.0]))
        samples[start:stop] = change
    return samples[: draw(st.integers(0, len(samples)))], fs


@pytest.mark.parametrize("kind", ["ecg", "pulse"])
@settings(max_examples=60)
@given(signals())
def test_what_is_found_is_in_order_and_in_the_signal(kind: str, given_: tuple[NDArray[np.float64], float]) -> None:
    samples, fs = given_
    found = detect_beats(samples, fs, kind)  # type: ignore[arg-type]
    assert (np.diff(found.times) >= REFRACTORY_S * fs - max(fs // 250, 1)).all()
    assert (np.diff(found.positions) > 0).all()
    assert ((found.positions >= 0) & (found.positions < len(samples))).all()
    assert ((found.quality >= 0) & (found.quality <= 1)).all()
    assert (np.diff(found.stretch) >= 0).all()
    assert len({len(each) for each in vars(found).values()}) == 1


@pytest.mark.parametrize("kind", ["ecg", "pulse"])
@settings(max_examples=40)
@given(signals(), st.integers(-30, 30), st.integers(-100, 100))
def test_scale_and_offset_do_not_matter(
    kind: str, given_: tuple[NDArray[np.float64], float], exponent: int, offset: int
) -> None:
    samples, fs = given_
    samples = np.rint(samples * 200)  # as converters give them, so that the offset rounds nothing
    found = detect_beats(samples, fs, kind)  # type: ignore[arg-type]
    other = detect_beats(np.ldexp(samples + offset, exponent), fs, kind)  # type: ignore[arg-type]
    assert_same(found, other, exponent)


@settings(max_examples=40)
@given(signals(), st.floats(1e-3, 1e3))
def test_any_scale_and_polarity_find_the_same(given_: tuple[NDArray[np.float64], float], scale: float) -> None:
    samples, fs = given_
    rng = np.random.default_rng(5)
    samples = samples + 1e-3 * rng.normal(size=len(samples))  # no two values are equal
    found, other = detect_beats(samples, fs, "ecg"), detect_beats(samples * -scale, fs, "ecg")
    assert len(found) == len(other)
    assert (np.abs(found.positions - other.positions) <= 1).all()


def assert_same(found: Beats, other: Beats, exponent: int) -> None:
    assert found.positions.tolist() == other.positions.tolist()
    assert found.times.tolist() == other.times.tolist()
    assert found.quality.tolist() == other.quality.tolist()
    assert found.stretch.tolist() == other.stretch.tolist()
    np.testing.assert_array_equal(np.ldexp(found.amplitude, exponent), other.amplitude)


def test_the_amplitude_of_a_complex_is_its_height() -> None:
    samples, beats = ecg(500, np.arange(0.5, 30, 0.8), "narrow")
    expected = [np.ptp(samples[at - 30 : at + 31]) for at in beats]
    np.testing.assert_allclose(detect_beats(samples, 500, "ecg").amplitude, expected, rtol=0.01)


@pytest.mark.parametrize(
    ("samples", "fs", "kind", "told"),
    [
        (np.zeros((2, 9)), 125, "ecg", "one signal at a time"),
        (np.zeros(9), 49, "ecg", "50 Hz or more"),
        (np.zeros(9), float("nan"), "ecg", "50 Hz or more"),
        (np.zeros(9), float("inf"), "pulse", "50 Hz or more"),
        (np.zeros(9), 125, "EEG", "no kind 'EEG'"),
    ],
)
def test_what_cannot_be_is_refused(samples: NDArray[np.float64], fs: float, kind: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        detect_beats(samples, fs, kind)  # type: ignore[arg-type]
