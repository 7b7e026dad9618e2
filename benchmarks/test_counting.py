"""Counting bytes by numpy and by the compiled kernel: bytes a second of each, and from how many on loading it pays."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from measure import Bystanders, table

from scaledproc.extractors.wfdb.machine_code import load
from scaledproc.extractors.wfdb.signals import byte_counting
from scaledproc.extractors.wfdb.signals.byte_counting import LITTLE, ByteCounts

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 5
SIZES = {"a segment of 7 kB": 7_000, "a segment of 1.4 MB": 1_400_000}
WIDTHS = (2, 3, 4, 5)
REPEATED = 10_000_000  # bytes that are counted in one go of the stopwatch
LOAD = """
import time
import scaledproc.extractors.wfdb.summary
from scaledproc.extractors.wfdb.signals import byte_counting
started = time.process_time()
byte_counting.use_compiled(byte_counting.LITTLE)
assert byte_counting._compiled is not None
print(time.process_time() - started)
"""


def test_counting(show: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba", reason="the compiled way needs numba: pip install '.[fast]'")
    compiled = byte_counting.compiled_of(load(byte_counting.LIBRARY))
    ways = {"numpy": None, "compiled": compiled}
    rng = np.random.default_rng(80)
    seconds: dict[tuple[str, str], list[float]] = {}
    with Bystanders() as others:
        for name, size in SIZES.items():
            blocks = [_waves(rng, size // width, width) for width in WIDTHS]
            for _ in range(ROUNDS):
                for way, kernel in ways.items():
                    monkeypatch.setattr(byte_counting, "_compiled", kernel)
                    seconds.setdefault((name, way), []).append(_count(blocks))
        loads = [_load() for _ in range(3)]
    per_byte = {key: statistics.median(times) for key, times in seconds.items()}
    rows = []
    for name in SIZES:
        slow, fast = (per_byte[name, way] for way in ways)
        rows.append([name, f"{1e-6 / slow:,.0f}", f"{1e-6 / fast:,.0f}", f"{slow / fast:.1f} x"])
    name = "a segment of 1.4 MB"
    loading = statistics.median(loads)
    pays = loading / (per_byte[name, "numpy"] - per_byte[name, "compiled"])
    notes = [
        f"loading the compiled way takes {loading:.2f} s of CPU: it pays from {pays / 1e6:,.0f} MB on",
        f"it is loaded where a process has {LITTLE / 1e6:,.0f} MB or more before it",
        others.note,
    ]
    title = f"Counting bytes on one core, CPU time, {ROUNDS} rounds in turn"
    show(table(title, ["", "numpy MB/s", "compiled MB/s", "faster"], rows, notes))
    assert per_byte[name, "compiled"] < per_byte[name, "numpy"]


def _load() -> float:
    """CPU seconds that loading the compiled way takes a process."""
    return float(subprocess.run([sys.executable, "-c", LOAD], capture_output=True, check=True).stdout)


def _waves(rng: np.random.Generator, length: int, width: int) -> np.ndarray:
    time_ = np.arange(length)[:, None]
    periods = rng.uniform(70, 120, width)
    return (128 + 60 * np.sin(2 * np.pi * time_ / periods) + rng.integers(-6, 7, (length, width))).astype(np.uint8)


def _count(blocks: list[np.ndarray]) -> float:
    """CPU seconds a byte."""
    size = sum(block.size for block in blocks)
    times = max(REPEATED // size, 1)
    started = time.process_time()
    for _ in range(times):
        for block in blocks:
            counts = ByteCounts(block.shape[1])
            counts.add(block)
            counts.total()
    return (time.process_time() - started) / times / size
