"""The way of the AWS pattern "Use SageMaker Processing for distributed feature engineering", as a plain script.

Headers are split evenly over the cores, whatever their sizes; each core reads its records with wfdb, describes their
signals with pandas, and sends a DataFrame back; these are put together and written as JSON.

    python benchmarks/support/pattern.py FOLDER OUT JOBS
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import joblib
import numpy as np
import pandas as pd
import wfdb

if TYPE_CHECKING:
    from collections.abc import Sequence


def describe_record(header: Path) -> pd.DataFrame:
    """One row per signal of a record: count, missing, mean, std, min, quartiles, max in physical units."""
    record = wfdb.rdrecord(str(header.with_suffix("")))
    signals = pd.DataFrame(record.p_signal, columns=record.sig_name)
    frame = signals.describe().T
    frame.insert(1, "missing", signals.isna().sum())
    frame.insert(0, "record", record.record_name)
    return frame.rename_axis("signal").reset_index()


def describe_records(headers: Sequence[str]) -> pd.DataFrame:
    """The rows of all records of one core."""
    return pd.concat([describe_record(Path(header)) for header in headers], ignore_index=True)


def main(folder: Path, out: Path, jobs: int) -> None:
    """Describe every record below a folder, on so many cores."""
    headers = sorted(str(path) for path in folder.rglob("*.hea"))
    parts = [part for part in np.array_split(np.array(headers), jobs) if len(part)]
    frames = joblib.Parallel(n_jobs=jobs)(joblib.delayed(describe_records)(part.tolist()) for part in parts)
    pd.concat(frames, ignore_index=True).to_json(out, orient="records")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
