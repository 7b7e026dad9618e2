"""Detecting beats: scores against annotators, rates of pulses against the ECG, and samples a second of one core."""

from __future__ import annotations

import os
import statistics
import time
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from elgendi import elgendi_2013
from measure import Bystanders, table

from scaledproc.extractors.wfdb.beats import compiled
from scaledproc.extractors.wfdb.beats.detection import detect_beats
from scaledproc.extractors.wfdb.machine_code import load

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 5
RECORDS = ("100", "101", "102", "231")
BEAT_SYMBOLS = frozenset("NLRBAaJSVrFejnE/fQ?")
TOLERANCE_S = 0.15
GOAL = 20e6  # samples a second
PULSES = (  # records with an ECG lead and a wave of pressure or pleth
    ("mimic3wdb/1.0/35/3544749/3544749_0007", "II", "ABP"),
    ("mimic3wdb/1.0/32/3269321/3269321_0002", "II", "PLETH"),
    ("mimic3wdb/1.0/32/3234460/3234460_0018", "II", "ABP"),
    ("mimic4wdb/waves/p169/p16955095/82284982/82284982_0001", "II", "Pleth"),
    ("wfdb-formats/03700181", "MCL1", "ABP"),
    ("wfdb-formats/mixedsignals", "II", "ABP"),
    ("wfdb-formats/mixedsignals", "II", "Pleth"),
    ("wfdb-formats/a103l", "II", "PLETH"),
)
ECG_QUALITY, PULSE_QUALITY = 0.5, 0.6
NEAR = 2.0  # beats a minute
FEW = 0.9  # share of valid samples of the wave, below which a window is left out
SLOW = {"xqrs"}  # half a million samples a second: one round


def _data() -> Path:
    data = os.environ.get("SCALEDPROC_TEST_DATA")
    return Path(data) if data else Path(__file__).resolve().parents[2] / "shared/data"


def test_beats(show: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _data().parent / "annotated/mitdb"
    if not folder.is_dir():
        pytest.skip(f"needs annotated records: there is no {folder}; set SCALEDPROC_TEST_DATA")
    from wfdb import processing, rdann, rdrecord

    functions = compiled.CompiledFunctions(load(compiled.LIBRARY)) if find_spec("numba") else None
    detectors = _detectors(monkeypatch, functions)
    rows = []
    speeds: dict[str, list[float]] = {name: [] for name in detectors}
    with Bystanders() as others:
        for record in RECORDS:
            found = rdrecord(str(folder / record), channels=[0])
            marks = rdann(str(folder / record), "atr")
            beats = np.array([at for at, is_ in zip(marks.sample, marks.symbol, strict=True) if is_ in BEAT_SYMBOLS])
            samples, fs = found.p_signal[:, 0], float(found.fs)
            row = [record]
            for name, detect in detectors.items():
                positions = np.asarray(detect(samples, fs))
                scores = processing.compare_annotations(beats, positions, int(TOLERANCE_S * fs))
                row.append(f"{scores.sensitivity:.4f} / {scores.positive_predictivity:.4f}")
                for _ in range(1 if name in SLOW else ROUNDS):
                    started = time.process_time()
                    detect(samples, fs)
                    speeds[name].append(len(samples) / (time.process_time() - started))
                if name.startswith("scaledproc"):
                    assert min(scores.sensitivity, scores.positive_predictivity) >= 0.995
            rows.append(row)
    rows.append(["M samples/s", *(f"{statistics.median(of) / 1e6:,.1f}" for of in speeds.values())])
    notes = [others.note, *(f"not installed: {name}" for name in ("neurokit2", "sleepecg") if not find_spec(name))]
    title = f"Beats of MIT-BIH records, first lead: sensitivity / positive predictivity, CPU time of {ROUNDS} rounds"
    show(table(title, ["", *detectors], rows, notes))
    if functions is not None and others.are_quiet:
        assert statistics.median(speeds["scaledproc, numba"]) >= GOAL


def test_pulses(show: Callable[..., None]) -> None:
    """Heart rates of pulses against those of the ECG in the same window; quality tells which windows to trust."""
    if not _data().is_dir():
        pytest.skip(f"needs records: there is no {_data()}; set SCALEDPROC_TEST_DATA")
    from wfdb import rdrecord

    off: dict[tuple[int, bool], list[list[float]]] = {}
    spent, n_samples = [0.0, 0.0], 0
    for path, lead, wave in PULSES:
        found = rdrecord(str(_data() / path), smooth_frames=False)
        ecg, pulse = (
            (found.e_p_signal[at], found.fs * found.samps_per_frame[at])
            for at in map(found.sig_name.index, (lead, wave))
        )
        samples, fs = pulse
        beats = detect_beats(*ecg, "ecg")
        for warm in (False, True):
            started = time.process_time()
            own = detect_beats(samples, fs, "pulse")
            between = time.process_time()
            other = elgendi_2013(samples, fs)
            if warm:
                spent[0] += between - started
                spent[1] += time.process_time() - between
        n_samples += len(samples)
        for window in (60, 10):
            for begin in range(0, int(len(samples) / fs) - window + 1, window):
                part = samples[int(begin * fs) : int((begin + window) * fs)]
                of_ecg = _within(beats.times, ecg[1], begin, window)
                of_own = _within(own.times, fs, begin, window)
                if np.isfinite(part).mean() < FEW or of_ecg.sum() < 3 or beats.quality[of_ecg].mean() <= ECG_QUALITY:
                    continue
                rate = _rate(beats.times[of_ecg] / ecg[1])
                rates = _rate(own.times[of_own] / fs), _rate(other[_within(other, fs, begin, window)] / fs)
                apart = [abs(each - rate) for each in rates]
                is_trusted = bool(of_own.any()) and bool(own.quality[of_own].mean() > PULSE_QUALITY)
                off.setdefault((window, False), []).append(apart)
                if is_trusted:
                    off.setdefault((window, True), []).append(apart)
    rows = []
    for (window, is_trusted), differences in sorted(off.items(), reverse=True):
        shares = (np.array(differences) <= NEAR).mean(axis=0)
        rows.append(
            [f"{window} s, {'trusted' if is_trusted else 'all'}", str(len(differences)), *map("{:.3f}".format, shares)]
        )
        if is_trusted:
            assert shares[0] >= max(0.95, shares[1])
    rows.append(["M samples/s", "", *(f"{n_samples / each / 1e6:,.1f}" for each in spent)])
    title = f"Share of windows whose rate of pulses is within {NEAR:g} bpm of that of the ECG"
    show(table(title, ["", "windows", "scaledproc (Zong 2003)", "Elgendi 2013"], rows, []))


def _within(times: np.ndarray, fs: float, begin: int, window: int) -> np.ndarray:
    return np.asarray((times >= begin * fs) & (times < (begin + window) * fs))


def _rate(seconds: np.ndarray) -> float:
    return float(60 / np.median(np.diff(seconds))) if len(seconds) > 2 else float("inf")


def _detectors(
    monkeypatch: pytest.MonkeyPatch, functions: compiled.CompiledFunctions | None
) -> dict[str, Callable[[np.ndarray, float], np.ndarray]]:
    def ours(way: compiled.CompiledFunctions | None) -> Callable[[np.ndarray, float], np.ndarray]:
        def detect(samples: np.ndarray, fs: float) -> np.ndarray:
            monkeypatch.setattr(compiled, "functions", way)
            return detect_beats(samples, fs, "ecg").positions

        return detect

    found = {"scaledproc, numpy": ours(None)}
    if functions is not None:
        found["scaledproc, numba"] = ours(functions)
    if find_spec("sleepecg"):
        import sleepecg

        found["sleepecg"] = sleepecg.detect_heartbeats
    if find_spec("neurokit2"):
        import neurokit2

        def neurokit(samples: np.ndarray, fs: float) -> np.ndarray:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                clean = neurokit2.ecg_clean(samples, sampling_rate=int(fs))
                return np.asarray(neurokit2.ecg_peaks(clean, sampling_rate=int(fs))[1]["ECG_R_Peaks"])

        found["neurokit2"] = neurokit
    from wfdb import processing

    found["xqrs"] = lambda samples, fs: processing.xqrs_detect(samples, fs, verbose=False)
    return found
