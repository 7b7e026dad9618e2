"""Statistics of the samples in WFDB signal files, from how often each value occurs, without ever making floats of them.

Formats whose samples stand at fixed places are read here. All others (differences, three samples in four bytes, FLAC),
skewed signals, and files that do not hold what their header says go through wfdb, which is the reference for all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scaledproc.extractors.byte_counting import ByteCounts
from scaledproc.extractors.statistics import Counts, Statistics, count, merged, statistics, statistics_of_bytes
from scaledproc.extractors.wfdb_blocks import BITS, byte_count, frames, open_regular
from scaledproc.extractors.wfdb_claims import check_samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scaledproc.extractors.wfdb_header import Header
    from scaledproc.extractors.wfdb_header import SignalLine as Signal

_BITS_OF_OTHERS = {"310": 10, "311": 10, "508": 8, "516": 16, "524": 24}
# The smallest integer type that wfdb gives a format's samples in, where not 16 bits; format 8 holds differences.
_WFDB_BITS = {"80": 8, "508": 8, "8": 32, "24": 32, "32": 32, "524": 32}
MISSING: dict[str, int | None] = {
    **{fmt: -(1 << (bits - 1)) for fmt, bits in {**BITS, **_BITS_OF_OTHERS}.items()},
    "8": None,
}
"""The digital value that stands for a missing sample, by storage format."""


WIDEST = 1_024
"""Samples of a frame, up to which each gets 256 counters at once: 2 MB."""


class Described(NamedTuple):
    """A signal's samples, summed up."""

    statistics: Statistics
    """Over the samples as `wfdb.rdrecord` gives them, in time with the other signals."""
    stored_total: int
    """The sum of the samples as stored, which the header's checksum is about."""


def describe_samples(header_path: str, header: Header) -> list[Described]:
    """Statistics of all signals of a record.

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
    found = _describe_files(os.path.dirname(header_path), header)  # noqa: PTH120 - of a text
    if found is not None:
        return [Described(each, each.total) for each in found]
    path = Path(header_path)
    check_samples(path.parent, header)
    try:
        signals = _read_with_wfdb(path, header)
        is_skewed = any(signal.skew for signal in header.signals)
        stored = _read_with_wfdb(path, header, ignore_skew=True) if is_skewed else signals
    except (MemoryError, OSError):
        raise
    except Exception as error:  # whatever it comes across: it trusts files to hold what a header says
        raise ValueError(f"wfdb cannot read the samples: {type(error).__name__}: {error}") from error
    counts = [count(samples) for samples in signals]
    totals = [int(samples.sum(dtype=np.int64)) for samples in stored]
    return list(map(Described, _described(counts, header.signals), totals))


def _describe_files(folder: str, header: Header) -> list[Statistics] | None:
    """Without wfdb, where that can be; else None."""
    if not header.n_frames:
        return None
    files: dict[str, list[Signal]] = {}
    last = None
    for signal in header.signals:
        if signal.skew or signal.fmt not in BITS:
            return None
        if signal.file != last:
            last = signal.file
            if last in files:  # its signals are not together
                return None
            files[last] = []
        elif signal.fmt != files[last][0].fmt:
            return None
        files[last].append(signal)
    found: list[Statistics] = []
    for file, those in files.items():
        described = _describe_file(f"{folder}/{file}", header.n_frames, those)
        if described is None:
            return None
        found += described
    return found


def _describe_file(path: str, n_frames: int, signals: Sequence[Signal]) -> list[Statistics] | None:
    fmt, offset = signals[0].fmt, signals[0].byte_offset
    widths = [signal.samples_per_frame for signal in signals]
    width = sum(widths)
    handle = open_regular(path)
    try:
        if not all(widths) or os.fstat(handle).st_size < offset + byte_count(fmt, n_frames * width):
            return None
        blocks = frames(handle, fmt, offset, n_frames, width)
        if fmt == "80" and width > WIDEST:
            signed = ((block.view(np.uint8) ^ np.uint8(128)).view(np.int8) for block in blocks)
            return _described(_count_values(signed, widths), signals)
        if fmt != "80":
            return _described(_count_values(blocks, widths), signals)
        gains, baselines = [signal.gain for signal in signals], [signal.baseline for signal in signals]
        return statistics_of_bytes(_count_bytes(blocks, widths), gains, baselines)
    finally:
        os.close(handle)


def _described(counts: Sequence[Counts], signals: Sequence[Signal]) -> list[Statistics]:
    return [
        statistics(found, missing=MISSING[signal.fmt], gain=signal.gain, baseline=signal.baseline)
        for found, signal in zip(counts, signals, strict=True)
    ]


def _count_values(blocks: Iterable[NDArray[np.integer]], widths: Sequence[int]) -> list[Counts]:
    """Counts of each signal, which has so many neighbouring columns of the blocks."""
    parts: list[list[Counts]] = [[] for _ in widths]
    stops = np.cumsum(widths).tolist()
    for block in blocks:
        for part, stop, width in zip(parts, stops, widths, strict=True):
            part.append(count(block[:, stop - width : stop].reshape(-1)))
            if len(part) > 1:
                part[:] = [merged(part)]
    return [part[0] for part in parts]


def _count_bytes(blocks: Iterable[NDArray[np.integer]], widths: Sequence[int]) -> NDArray[np.int64]:
    """Histograms of the signals, shape (signals, 256), from blocks of unsigned bytes."""
    counts = ByteCounts(sum(widths))
    for block in blocks:
        counts.add(block.view(np.uint8))
    found = counts.total()
    return found if len(found) == len(widths) else np.add.reduceat(found, np.cumsum([0, *widths[:-1]]))


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


def refuse_chains(path: Path) -> None:
    """Raise ValueError for a path that wfdb, through fsspec, would take for a chain of URLs: another file's."""
    if "::" in str(path):
        raise ValueError("wfdb cannot read this header, or its samples, from a path with '::' in it")
