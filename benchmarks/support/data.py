"""Generated data in the shape of the MIMIC-III Waveform Database: segments of 2 to 5 signals in 8 bits (format 80).

Headers and signal files are written by hand, because writing them with wfdb takes longer than what is measured. The
values are waves, a slow drift, noise, and stretches of missing samples; the checksums are right. There are no master
headers: every header is one segment, so that all programs that read the data have the same work.

What was made once is kept in the user's cache folder for the next session (`cached_dataset`).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

FORMAT = 2  # raise it when the same parameters give other bytes
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
POOL = 2**23  # samples of each signal that segments are cut from: more than the longest of them has

LEFT = 86_400.0  # seconds, after which nobody is at work with copies any more

CACHE_SIZE = 8 * 10**9
"""Bytes that the cache holds at most, unless SCALEDPROC_BENCHMARK_CACHE_SIZE says otherwise."""


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


@dataclass(frozen=True)
class Part:
    """So many segments with a mean size, to be made.

    Parameters
    ----------
    segments
        How many.
    segment_size
        Mean bytes of a signal file; real ones vary from half to one and a half of it.
    """

    segments: int
    segment_size: int


def write_dataset(root: Path, name: str, *parts: Part, seed: int = 80) -> Dataset:
    """Write segments in `3x/3xxxxxx/3xxxxxx_nnnn.{hea,dat}`.

    Parameters
    ----------
    root
        The folder to make.
    name
        What tables call the dataset.
    parts
        Its segments; each part has records of its own.
    seed
        The same seed writes the same bytes.
    """
    rng = np.random.default_rng(seed)
    size = segments = first = 0
    for part in parts:
        for number in range(part.segments):
            record, segment = divmod(number, SEGMENTS_PER_RECORD)
            record += first
            group = 30 + record % GROUPS
            folder = root / str(group) / f"{group}{record:05d}"
            if segment == 0:
                folder.mkdir(parents=True)
            n_signals = 2 + int(rng.integers(len(SIGNALS) - 1))
            length = max(int(part.segment_size * rng.uniform(0.5, 1.5)) // n_signals, FS)
            size += _write_segment(folder, f"{folder.name}_{segment + 1:04d}", _samples(rng, length, n_signals))
        first += -(-part.segments // SEGMENTS_PER_RECORD)
        segments += part.segments
    os.sync()  # else the first commit of a measured run waits for all of this
    return Dataset(name, root, segments, size)


@contextlib.contextmanager
def cached_dataset(name: str, *parts: Part, seed: int = 80) -> Iterator[Dataset]:
    """A dataset from the cache, made where it is not there; it is not removed while the block lasts.

    The oldest ones are removed where the cache would become larger than it may.

    Parameters
    ----------
    name, parts, seed
        As for `write_dataset`. The name is not part of what is kept.
    """
    key = hashlib.sha256(repr((FORMAT, parts, seed)).encode()).hexdigest()[:16]
    base = cache_folder()
    base.mkdir(parents=True, exist_ok=True)
    with (base / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever comes second waits while the first one writes
        folder = base / key
        if not folder.exists():
            _make_room(base, sum(part.segments * (part.segment_size + 400) for part in parts), keep=key)
            scratch = Path(tempfile.mkdtemp(prefix="making-", dir=base))
            try:
                made = write_dataset(scratch / "data", name, *parts, seed=seed)
                about = {"segments": made.segments, "size": made.size}
                (scratch / "about.json").write_text(json.dumps(about), encoding="utf-8")
                scratch.rename(folder)
            except BaseException:
                shutil.rmtree(scratch, ignore_errors=True)
                raise
        fcntl.flock(lock, fcntl.LOCK_SH)
        os.utime(folder)  # in use: the last one to be removed
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        yield Dataset(name, folder / "data", about["segments"], about["size"])


@contextlib.contextmanager
def linked_copies(root: Path, times: int) -> Iterator[Path]:
    """A dataset with each of its units so many times: further names of the same files, which take no room.

    Parameters
    ----------
    root
        Its folder; it has nothing but files in `group/unit/`.
    times
        How often each unit is there.

    Returns
    -------
    Iterator of Path
        The folder, on the same disk; it goes when the block ends.
    """
    for left in root.parent.glob("links-*"):  # of a session that was killed
        if time.time() - left.stat().st_mtime > LEFT:
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="links-", dir=root.parent) as name:
        for unit in sorted(root.glob("*/*")):
            files = list(unit.iterdir())
            for number in range(times):
                copy = Path(name) / unit.parent.name / f"{unit.name}.{number:04d}"
                copy.mkdir(parents=True)
                for file in files:
                    (copy / file.name).hardlink_to(file)
        os.sync()  # as `write_dataset` does
        yield Path(name)


def cache_folder() -> Path:
    """Where datasets are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scaledproc" / "benchmarks"


def _make_room(base: Path, wanted: int, keep: str) -> None:
    """Remove datasets that nobody uses, those that were used last at the end, until there is room for one more."""
    limit = int(os.environ.get("SCALEDPROC_BENCHMARK_CACHE_SIZE") or CACHE_SIZE)
    found = []
    for folder in base.iterdir():
        if folder.name != keep and (folder / "about.json").is_file():
            size = json.loads((folder / "about.json").read_text(encoding="utf-8"))["size"]
            found.append((folder.stat().st_mtime, size, folder))
    held = sum(size for _, size, _ in found)
    for _, size, folder in sorted(found):
        if held + wanted <= limit and shutil.disk_usage(base).free > 2 * wanted:
            return
        with (base / f"{folder.name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            shutil.rmtree(folder, ignore_errors=True)
            held -= size


@cache
def _pool() -> NDArray[np.int8]:
    """Long stretches of each signal, shape (signals, samples): segments are cut from them at random places."""
    rng = np.random.default_rng(FS)
    pool = np.empty((len(SIGNALS), POOL), np.int8)
    time = np.arange(POOL, dtype=np.float32)
    for channel, period in enumerate(np.linspace(70, 120, len(SIGNALS), dtype=np.float32)):
        wave = 60 * np.sin(time * (np.float32(2 * np.pi) / period)) + 40 * np.sin(time * (2 / (250 * period)))
        pool[channel] = wave
        pool[channel] += rng.integers(-6, 7, POOL, np.int8)
    return pool


def _samples(rng: np.random.Generator, length: int, n_signals: int) -> NDArray[np.int8]:
    """Digital samples, shape (length, signals)."""
    pool = _pool()
    samples = np.empty((length, n_signals), np.int8)
    for channel in range(n_signals):
        start = int(rng.integers(POOL - length))
        samples[:, channel] = pool[channel, start : start + length]
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
