"""What a long record takes of memory in a process as the workers are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SIGNALS = ("II", "V", "ABP", "PLETH", "RESP", "CVP", "aVR", "PAP")
MOST = 300_000_000
CHILD = """
import sys
from pathlib import Path
from scaledproc._util.process.lazy_pandas import defer_pandas
from scaledproc._util.process.memory import OwnPeak, keep_freed_memory
from scaledproc.extractors.base import Task
from scaledproc.extractors.rows.several import collector_for, schema_between
from scaledproc.extractors.wfdb.windows.extractor import WfdbWindows
from scaledproc.extractors.wfdb.windows.measures.kernel import kernel_in_use, use_compiled
from scaledproc.storage.parquet import Writer
defer_pandas()
keep_freed_memory()
if sys.argv[3] == "True":
    without = kernel_in_use()
    use_compiled(has_beats=True)
    assert kernel_in_use() is not without
peak = OwnPeak()
root = Path(sys.argv[1])
extractor = WfdbWindows(beats_table=sys.argv[2] == "True")
collector = collector_for(extractor)
collector.add(extractor.extract(Task(".", ".", "r.hea", root, frozenset({"r.hea", "r.dat"}))))
with Writer(root / "rows.parquet", schema_between(extractor), for_queries=False) as writer:
    writer.write_table(collector.take())
print(collector.rows, peak())
"""


def write_long_record(folder: Path, hours: int, fs: float) -> int:
    """Beats at 75 a minute in each signal; how many frames there are."""
    n = int(hours * 3600 * fs)
    piece = int(600 * fs)
    at = np.arange(piece) / fs % 0.8
    beat = 60 * np.exp(-0.5 * ((at - 0.4) / 0.02) ** 2) + 40 * np.exp(-0.5 * ((at - 0.5) / 0.1) ** 2)
    rng = np.random.default_rng(7)
    with (folder / "r.dat").open("wb") as file:
        for _ in range(n // piece):
            noise = rng.integers(-2, 3, (piece, len(SIGNALS)))
            file.write((beat[:, None].astype(np.int64) + noise + 128).astype(np.uint8).tobytes())
    lines = "".join(f"r.dat 80 100/mV 8 0 0 0 0 {name}\n" for name in SIGNALS)
    (folder / "r.hea").write_text(f"r {len(SIGNALS)} {fs} {n}\n{lines}")
    return n


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hours", "fs", "has_table", "compiled"),
    [(48, 125.0, True, True), (48, 62.5, False, True), (12, 62.5, True, True), (12, 62.5, True, False)],
)
def test_a_long_record_of_eight_signals_fits(
    tmp_path: Path, hours: int, fs: float, has_table: bool, compiled: bool
) -> None:
    n = write_long_record(tmp_path, hours, fs)
    words = [sys.executable, "-c", CHILD, str(tmp_path), str(has_table), str(compiled)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    rows, most = map(int, done.stdout.split())
    windows = len(SIGNALS) * hours * 60
    with_beats = sum(name not in {"RESP", "CVP"} for name in SIGNALS)
    beats = with_beats * n / fs / 0.8 if has_table else 0
    assert windows + 0.98 * beats <= rows <= windows + 1.02 * beats
    assert most < MOST
