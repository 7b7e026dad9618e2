"""How often each sample value occurs in a WFDB signal file, without ever making floats.

Formats whose samples stand at fixed places are read here. All others (differences, three samples in four bytes, FLAC),
skewed signals, and files that do not hold what their header says go through wfdb, which is the reference for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scaledproc.extractors.statistics import BLOCK, Counts, count
from scaledproc.extractors.wfdb_claims import check_samples
from scaledproc.extractors.wfdb_header import refuse_chains

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scaledproc.extractors.wfdb_header import Header, Signal

# Values of the samples of a format: signal(5).
_BITS = {"80": 8, "212": 12, "16": 16, "61": 16, "160": 16, "24": 24, "32": 32}
_BITS_OF_OTHERS = {"310": 10, "311": 10, "508": 8, "516": 16, "524": 24}
_DTYPES = {"80": "u1", "16": "<i2", "61": ">i2", "160": "<u2", "32": "<i4"}
_OFFSETS = {"80": 128, "160": 32768}
# The smallest integer type that wfdb gives a format's samples in, where not 16 bits; format 8 holds differences.
_WFDB_BITS = {"80": 8, "508": 8, "8": 32, "24": 32, "32": 32, "524": 32}
MISSING: dict[str, int | None] = {
    **{fmt: -(1 << (bits - 1)) for fmt, bits in {**_BITS, **_BITS_OF_OTHERS}.items()},
    "8": None,
}
"""The digital value that stands for a missing sample, by storage format."""


class Samples(NamedTuple):
    """A signal's samples, counted."""

    counts: Counts
    """Over the samples as `wfdb.rdrecord` gives them, in time with the other signals."""
    total: int
    """The sum of the samples as stored, which the header's checksum is about."""


def count_samples(header_path: Path, header: Header) -> list[Samples]:
    """Histograms of all signals of a record.

    Parameters
    ----------
    header_path
        Where the header is, beside its signal files.
    header
        What it says.

    Raises
    ------
    OSError
        A signal file cannot be read.
    ValueError
        A signal file does not hold what the header says.
    """
    for signal in header.signals:
        if signal.fmt not in MISSING:
            raise ValueError(f"the storage format {signal.fmt} is none of WFDB's")
    counts = _count_files(header_path.parent, header)
    if counts is not None:
        return [Samples(found, found.total) for found in counts]
    check_samples(header_path.parent, header)
    try:
        signals = _read_with_wfdb(header_path, header)
        is_skewed = any(signal.skew for signal in header.signals)
        stored = _read_with_wfdb(header_path, header, ignore_skew=True) if is_skewed else signals
    except (MemoryError, OSError):
        raise
    except Exception as error:  # whatever it comes across: it trusts files to hold what a header says
        raise ValueError(f"wfdb cannot read the samples: {type(error).__name__}: {error}") from error
    return [Samples(count(a), int(b.sum(dtype=np.int64))) for a, b in zip(signals, stored, strict=True)]


def _count_files(folder: Path, header: Header) -> list[Counts] | None:
    """Without wfdb, where that can be; else None."""
    if not header.n_frames or any(signal.skew or signal.fmt not in _BITS for signal in header.signals):
        return None
    files = [(file, list(signals)) for file, signals in groupby(header.signals, lambda signal: signal.file)]
    if len({file for file, _ in files}) < len(files) or any(len({s.fmt for s in signals}) > 1 for _, signals in files):
        return None
    found: list[Counts] = []
    for file, signals in files:
        counts = _count_file(folder / file, header.n_frames, signals)
        if counts is None:
            return None
        found += counts
    return found


def _count_file(path: Path, n_frames: int, signals: Sequence[Signal]) -> list[Counts] | None:
    fmt, offset = signals[0].fmt, signals[0].byte_offset
    frame = [signal.samples_per_frame for signal in signals]
    n = n_frames * sum(frame)
    if not all(frame) or path.stat().st_size < offset + _byte_count(fmt, n):
        return None
    if fmt == "80" and set(frame) == {1}:
        with path.open("rb") as file:
            file.seek(offset)
            return _count_bytes(np.fromfile(file, np.uint8, n).reshape(n_frames, len(frame)))
    samples = _read(path, fmt, offset, n).reshape(n_frames, sum(frame))
    stops = np.cumsum(frame)
    return [count(samples[:, stop - width : stop].reshape(-1)) for width, stop in zip(frame, stops, strict=True)]


def _byte_count(fmt: str, n: int) -> int:
    """Bytes that `n` samples need, as wfdb reads them."""
    if fmt == "212":
        return -(-n * 3 // 2)
    return n * _BITS[fmt] // 8


def _read(path: Path, fmt: str, offset: int, n: int) -> NDArray[np.integer]:
    """The digital samples as they follow each other in the file, shape (n,)."""
    if fmt in _DTYPES:
        samples = np.fromfile(path, _DTYPES[fmt], n, offset=offset)
        if fmt in _OFFSETS:
            # Offset binary to two's complement by flipping the highest bit: no wider type is needed.
            flipped: NDArray[np.integer] = (samples ^ samples.dtype.type(_OFFSETS[fmt])).view(f"i{samples.itemsize}")
            return flipped
        return samples.astype(samples.dtype.newbyteorder("="), copy=False)
    data = np.fromfile(path, "u1", _byte_count(fmt, n), offset=offset)
    return _unpack_24(data, n) if fmt == "24" else _unpack_212(data, n)


def _signed(samples: NDArray[np.int32], bits: int) -> NDArray[np.int32]:
    """Two's complement of so many bits."""
    return ((samples & ((1 << bits) - 1)) ^ (1 << (bits - 1))) - (1 << (bits - 1))


def _unpack_24(data: NDArray[np.uint8], n: int) -> NDArray[np.integer]:
    a = data.reshape(n, 3).astype(np.int32)
    return _signed(a[:, 0] | a[:, 1] << 8 | a[:, 2] << 16, 24)


def _unpack_212(data: NDArray[np.uint8], n: int) -> NDArray[np.integer]:
    a = np.concatenate([data, np.zeros(-len(data) % 3, np.uint8)]).reshape(-1, 3).astype(np.int32)
    pairs = np.stack([a[:, 0] | (a[:, 1] & 0x0F) << 8, a[:, 2] | (a[:, 1] & 0xF0) << 4], axis=1)
    return _signed(pairs.reshape(-1)[:n], 12).astype(np.int16)


def _count_bytes(frames: NDArray[np.uint8]) -> list[Counts]:
    """Histograms of the columns of format 80.

    Two neighbours are counted as one 16-bit number, in half the steps; each signal's histogram is a margin of that.
    """
    n, width = frames.shape
    flat = frames.reshape(-1)
    whole = n - n % 2
    histograms = np.zeros((width, 256), np.int64)
    pairs = flat[: whole * width].view("<u2").reshape(-1, width)  # a row is two frames, a column two neighbours
    rows = max(BLOCK // width, 1)
    for column in range(width):
        joint = np.zeros(65_536, np.int64)
        for start in range(0, len(pairs), rows):
            joint += np.bincount(pairs[start : start + rows, column], minlength=65_536)
        table = joint.reshape(256, 256)
        histograms[(2 * column) % width] += table.sum(axis=0)
        histograms[(2 * column + 1) % width] += table.sum(axis=1)
    if whole < n:
        histograms[np.arange(width), frames[-1]] += 1
    return [Counts.of(histogram, -128) for histogram in histograms]


def _read_with_wfdb(header_path: Path, header: Header, *, ignore_skew: bool = False) -> list[NDArray[np.integer]]:
    """Every channel's digital samples, all samples of all frames."""
    import wfdb

    refuse_chains(header_path)
    formats = [signal.fmt for signal in header.signals]
    # wfdb 4.3 cannot name the integer type of format 61, which is big-endian; its physical values are right.
    physical = "61" in formats
    record = wfdb.rdrecord(
        str(header_path.with_suffix("")),
        physical=physical,
        smooth_frames=False,
        ignore_skew=ignore_skew,
        return_res=64 if physical else max(_WFDB_BITS.get(fmt, 16) for fmt in formats),
    )
    if not physical:
        signals: list[NDArray[np.integer]] = record.e_d_signal
        return signals
    return [_digital(*pair) for pair in zip(record.e_p_signal, header.signals, strict=True)]


def _digital(physical: NDArray[np.float64], signal: Signal) -> NDArray[np.integer]:
    """The samples that physical values were made from; rounding gives them back exactly, up to 32 bits."""
    digital = physical * signal.gain + signal.baseline
    missing = MISSING[signal.fmt]
    if missing is not None:
        digital[np.isnan(digital)] = missing
    rounded: NDArray[np.integer] = np.rint(digital).astype(np.int64)
    return rounded
