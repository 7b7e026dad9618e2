"""Generated data in the shape of the MIMIC-III Waveform Database: segments of 2 to 5 signals in 8 bits (format 80).

Headers and signal files are written by hand, because writing them with wfdb takes longer than what is measured. The
values are waves, a slow drift, noise, and stretches of missing samples; the checksums are right. There are no master
headers: every header is one segment, so that all programs that read the data have the same work.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FS = 125
MISSING = -128  # the format's mark of a missing sample
SIGNALS = (  # name, gain, baseline, units
    ("II", 86.0, 0, "mV"),
    ("V", 95.0, 0, "mV"),
    ("ABP", 1.25, -100, "mmHg"),
    ("PLETH", 255.0, -128, "NU"),
    ("RESP", 72.0, -64, "Ohm"),
)
SEGMENTS_PER_RECORD = 20
GROUPS = 3


@dataclass(frozen=True)
class Dataset:
    """A dataset on disk.

    Parameters
    ----------
    name
        What tables call it.
    root
        Its folder.
    segments
        How many headers it has.
    size
        Bytes of all its files.
    """

    name: str
    root: Path
    segments: int
    size: int

    def __str__(self) -> str:
        return f"{self.size / 1e6:,.0f} MB in {self.segments:,} segments"


def write_dataset(root: Path, name: str, *, segments: int, segment_size: int, seed: int = 80) -> Dataset:
    """Write segments in `3x/3xxxxxx/3xxxxxx_nnnn.{hea,dat}`.

    Parameters
    ----------
    root
        The folder to make.
    name
        What tables call the dataset.
    segments
        How many.
    segment_size
        Mean bytes of a signal file; real ones vary from half to one and a half of it.
    seed
        The same seed writes the same bytes.
    """
    rng = np.random.default_rng(seed)
    noise = rng.integers(-6, 7, 2**20, np.int8)
    size = 0
    for number in range(segments):
        record, segment = divmod(number, SEGMENTS_PER_RECORD)
        group = 30 + record % GROUPS
        folder = root / str(group) / f"{group}{record:05d}"
        folder.mkdir(parents=True, exist_ok=True)
        n_signals = 2 + int(rng.integers(len(SIGNALS) - 1))
        length = max(int(segment_size * rng.uniform(0.5, 1.5)) // n_signals, FS)
        samples = _samples(rng, noise, length, n_signals)
        size += _write_segment(folder, f"{folder.name}_{segment + 1:04d}", samples)
    os.sync()  # else the first commit of a measured run waits for all of this
    return Dataset(name, root, segments, size)


def _samples(rng: np.random.Generator, noise: NDArray[np.int8], length: int, n_signals: int) -> NDArray[np.int8]:
    """Digital samples, shape (length, signals)."""
    time = np.arange(length, dtype=np.float32)
    samples = np.empty((length, n_signals), np.int8)
    for channel in range(n_signals):
        period, drift = rng.uniform(70, 120), rng.uniform(5_000, 50_000)
        wave = 60 * np.sin(time * np.float32(2 * np.pi / period)) + 40 * np.sin(time * np.float32(2 * np.pi / drift))
        samples[:, channel] = wave
        samples[:, channel] += np.resize(np.roll(noise, -int(rng.integers(len(noise)))), length)
        if rng.integers(3) == 0:
            start = int(rng.integers(length))
            samples[start : start + length // 8, channel] = MISSING
    return samples


def _write_segment(folder: Path, name: str, samples: NDArray[np.int8]) -> int:
    """Write one header and its signal file; their bytes together."""
    length, n_signals = samples.shape
    sums = samples.sum(axis=0, dtype=np.int64)
    lines = [f"{name} {n_signals} {FS} {length} 19:46:22.546 14/05/2130"]
    for channel, (signal, gain, baseline, units) in enumerate(SIGNALS[:n_signals]):
        checksum = (int(sums[channel]) + 2**15) % 2**16 - 2**15
        first = int(samples[0, channel])
        lines.append(f"{name}.dat 80 {gain:g}({baseline})/{units} 8 0 {first} {checksum} 0 {signal}")
    header = ("\n".join(lines) + "\n").encode()
    (folder / f"{name}.hea").write_bytes(header)
    (folder / f"{name}.dat").write_bytes((samples.view(np.uint8) ^ np.uint8(128)).tobytes())
    return len(header) + samples.size
