"""Detecting beats in ECG leads: scores against annotators, and samples a second of one core, beside what people use."""

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
from measure import Bystanders, table

from scaledproc.extractors.wfdb.beats import compiled
from scaledproc.extractors.wfdb.beats.detection import detect_beats

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 5
RECORDS = ("100", "101", "102", "231")
BEAT_SYMBOLS = frozenset("NLRBAaJSVrFejnE/fQ?")
TOLERANCE_S = 0.15
GOAL = 20e6  # samples a second
SLOW = {"xqrs"}  # half a million samples a second: one round


def test_beats(show: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.environ.get("SCALEDPROC_TEST_DATA")
    folder = (Path(data) if data else Path(__file__).resolve().parents[2] / "shared/data").parent / "annotated/mitdb"
    if not folder.is_dir():
        pytest.skip(f"needs annotated records: there is no {folder}; set SCALEDPROC_TEST_DATA")
    from wfdb import processing, rdann, rdrecord

    ways = compiled.make_ways() if find_spec("numba") else None
    detectors = _detectors(monkeypatch, ways)
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
    if ways is not None and others.are_quiet:
        assert statistics.median(speeds["scaledproc, numba"]) >= GOAL


def _detectors(
    monkeypatch: pytest.MonkeyPatch, ways: compiled.Ways | None
) -> dict[str, Callable[[np.ndarray, float], np.ndarray]]:
    def ours(way: compiled.Ways | None) -> Callable[[np.ndarray, float], np.ndarray]:
        def detect(samples: np.ndarray, fs: float) -> np.ndarray:
            monkeypatch.setattr(compiled, "ways", way)
            return detect_beats(samples, fs, "ecg").positions

        return detect

    found = {"scaledproc, numpy": ours(None)}
    if ways is not None:
        found["scaledproc, numba"] = ours(ways)
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
