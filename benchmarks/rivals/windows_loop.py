"""joblib over headers, each record by wfdb, each window by plain numpy and scipy: the columns of `wfdb-windows`.

    python benchmarks/rivals/windows_loop.py FOLDER OUT CORES [beats]

With `beats` ECG leads are cleaned and their beats found by neurokit2, as its guide has it.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import scipy.signal
import scipy.stats
import wfdb

WINDOW = 60
BANDS = {"slow": (0.05, 0.5), "pulse": (0.5, 5.0), "qrs": (5.0, 15.0), "fast": (15.0, 40.0)}
ECG = frozenset({"I", "II", "III", "V", "AVR", "MCL1", "ECG"})


def describe_record(header: str, has_beats: bool) -> pd.DataFrame:
    """A row for each window and signal of a record."""
    record = wfdb.rdrecord(header.removesuffix(".hea"))
    length = int(WINDOW * record.fs)
    rows = []
    for channel, name in enumerate(record.sig_name):
        samples = record.p_signal[:, channel]
        peaks = beats_of(samples, record.fs) if has_beats and name in ECG else None
        for number, start in enumerate(range(0, len(samples), length)):
            row = describe_window(samples[start : start + length], record.fs, length)
            if peaks is not None and row["n_samples"] - row["n_missing"] >= length / 2:
                row |= describe_beats(peaks[(peaks >= start) & (peaks < start + length)] / record.fs)
            rows.append({"record": record.record_name, "signal": name, "window": number, **row})
    return pd.DataFrame(rows)


def describe_window(samples: np.ndarray, fs: float, length: int) -> dict[str, Any]:
    """Statistics and spectrum of a window."""
    valid = samples[~np.isnan(samples)]
    low, high = (valid.min(), valid.max()) if len(valid) else (np.nan, np.nan)
    row: dict[str, Any] = {
        "n_samples": len(samples),
        "n_missing": len(samples) - len(valid),
        "n_distinct": len(np.unique(valid)),
        "n_zero": int((valid == 0).sum()),
        "n_at_min": int((valid == low).sum()),
        "n_at_max": int((valid == high).sum()),
    }
    if len(valid) < length / 2:
        return row
    steps = np.diff(samples)
    steps = steps[~np.isnan(steps)]
    bends = np.diff(samples, 2)
    bends = bends[~np.isnan(bends)]
    above = samples >= valid.mean()
    both = ~np.isnan(samples[1:]) & ~np.isnan(samples[:-1])
    mobility = np.sqrt(steps.var() / valid.var()) if valid.var() else np.nan
    row |= {
        "flat_share": (steps == 0).mean(),
        "mean": valid.mean(),
        "std": valid.std(ddof=1),
        "skewness": scipy.stats.skew(valid),
        "kurtosis": scipy.stats.kurtosis(valid),
        "rms": np.sqrt((valid**2).mean()),
        "min": low,
        **dict(zip(("p05", "p25", "p50", "p75", "p95"), np.percentile(valid, [5, 25, 50, 75, 95]), strict=True)),
        "max": high,
        "line_length": np.abs(steps).sum() / (len(steps) / fs),
        "crossings": ((above[1:] != above[:-1]) & both).sum() / (len(steps) / fs),
        "hjorth_mobility": mobility * fs,
        "hjorth_complexity": np.sqrt(bends.var() / steps.var()) / mobility if steps.var() else np.nan,
    }
    if len(samples) == length and np.isnan(samples).sum() <= 0.1 * length:
        row |= describe_spectrum(samples, fs)
    return row


def describe_spectrum(samples: np.ndarray, fs: float) -> dict[str, Any]:
    """Powers of a window, whose gaps are interpolated."""
    at = np.arange(len(samples))
    there = ~np.isnan(samples)
    samples = np.interp(at, at[there], samples[there])
    frequencies, density = scipy.signal.welch(samples, fs, nperseg=min(int(20 * fs), len(samples)))
    frequencies, power = frequencies[1:], density[1:] * frequencies[1]
    total = power.sum()
    if not total:
        return {"power_total": 0.0}
    shares = power / total
    known = shares[shares > 0]
    bands = {f"power_{name}": power[(frequencies >= low) & (frequencies < high)].sum()
             for name, (low, high) in BANDS.items()}  # fmt: skip
    return {
        "power_total": total,
        **bands,
        "peak_hz": frequencies[power.argmax()],
        "spectral_entropy": -(known * np.log(known)).sum() / np.log(len(power)),
        "edge95_hz": frequencies[np.searchsorted(np.cumsum(power), 0.95 * total)],
    }


def beats_of(samples: np.ndarray, fs: float) -> np.ndarray:
    """The samples of R peaks."""
    import neurokit2

    if np.isnan(samples).all():
        return np.empty(0)
    at = np.arange(len(samples))
    there = ~np.isnan(samples)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clean = neurokit2.ecg_clean(np.interp(at, at[there], samples[there]), sampling_rate=int(fs))
        return np.asarray(neurokit2.ecg_peaks(clean, sampling_rate=int(fs))[1]["ECG_R_Peaks"])


def describe_beats(times: np.ndarray) -> dict[str, Any]:
    """Heart rate and its variability."""
    intervals = np.diff(times) * 1000
    steps = np.diff(intervals)
    if len(steps) < 2:
        return {"n_beats": len(times)}
    return {
        "n_beats": len(times),
        "hr": 60_000 / np.median(intervals),
        "rr_mean": intervals.mean(),
        "sdnn": intervals.std(ddof=1),
        "rmssd": np.sqrt((steps**2).mean()),
        "pnn50": (np.abs(steps) > 50).mean(),
    }


def main(folder: Path, out: Path, cores: int, has_beats: bool) -> None:
    """Describe every record below a folder, on so many cores."""
    headers = sorted(str(path) for path in folder.rglob("*.hea"))
    frames = joblib.Parallel(n_jobs=cores)(joblib.delayed(describe_record)(header, has_beats) for header in headers)
    pd.concat(frames, ignore_index=True).to_parquet(out, index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), "beats" in sys.argv[4:])
