"""Statistics of the samples in WFDB signal files, from how often each value occurs, without ever making floats of them.

All formats of signal(5) are read here, block by block, so that a header may claim what it wants.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scaledproc.extractors.wfdb.headers.header import DIFFERENCES
from scaledproc.extractors.wfdb.signals.blocks import (
    BITS,
    byte_count,
    frames,
    frames_in,
    open_regular,
    open_sized,
    whole_frames,
)
from scaledproc.extractors.wfdb.signals.byte_counting import ByteCounts
from scaledproc.extractors.wfdb.signals.flac import FLAC, FlacFile
from scaledproc.extractors.wfdb.signals.statistics import (
    Coding,
    Counts,
    Limits,
    Statistics,
    count,
    merged,
    statistics,
    statistics_of_bytes,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scaledproc.extractors.wfdb.headers.header import Header, SignalLine

WIDEST = 1_024
"""Samples of a frame, up to which each gets 256 counters at once: 2 MB."""


class Described(NamedTuple):
    """A signal's samples, summed up."""

    statistics: Statistics
    """Over the samples in time with other signals: those before sample 0 are left out, those after the end missing."""
    stored_total: int
    """The sum of the samples as stored, which the header's checksum is about."""


def describe_samples(paths: Mapping[str, str], header: Header) -> list[Described]:
    """Statistics of all signals of a record; none of one that has no samples.

    Parameters
    ----------
    paths
        Where each signal file is that the header names.
    header
        What it says.

    Raises
    ------
    OSError
        If a signal file cannot be read.
    ValueError
        If a signal file does not hold what the header says.
    """
    files, n_frames = signal_files(paths, header)
    if not files:
        return []
    found: list[Described] = []
    for file, signals in files:
        if file is None:
            found += [_nothing(n_frames * signal.samples_per_frame) for signal in signals]
        else:
            found += _describe_file(paths[file], n_frames, signals)
    return found


def signal_files(paths: Mapping[str, str], header: Header) -> tuple[list[tuple[str | None, list[SignalLine]]], int]:
    """The signals of each signal file, of None where they have none, and how many frames a record has.

    Of a record that has no samples, as nothing tells how many it has, there are no signals.
    """
    files = [(file, list(signals)) for file, signals in groupby(header.signals, _file_of)]
    n_frames = header.n_frames
    if n_frames is None:  # header(5): not specified; the C library reads up to the end of the shortest file
        n_frames = min((_frames_in(paths[file], signals) for file, signals in files if file is not None), default=0)
        if n_frames == 0 and all(file is None for file, _ in files):
            return [], 0
    return files, n_frames


def _file_of(signal: SignalLine) -> str | None:
    return None if signal.is_null else signal.file


def _nothing(n: int) -> Described:
    return Described(Statistics(n, n, 0), 0)


def _frames_in(path: str, signals: Sequence[SignalLine]) -> int:
    """How many whole frames a signal file has."""
    first, widths = signals[0], [signal.samples_per_frame for signal in signals]
    handle = open_regular(path)
    try:
        if first.fmt not in FLAC:
            size = os.fstat(handle).st_size
            if size < first.byte_offset:
                raise ValueError(
                    f"{_name(path)} has {size:,} bytes; the header says that it has {first.byte_offset:,} or more"
                )
            return frames_in(size - first.byte_offset, first.fmt, sum(widths))
        with _flac(handle, path, first, widths) as stream:
            return stream.n_frames
    finally:
        os.close(handle)


def _describe_file(path: str, n_frames: int, signals: Sequence[SignalLine]) -> list[Described]:
    first, widths = signals[0], [signal.samples_per_frame for signal in signals]
    if first.fmt == "80" and sum(widths) <= WIDEST and not any(signal.skew for signal in signals):
        handle, size = open_sized(path)
        try:
            histograms = _count_bytes(_stored_frames(handle, size, path, n_frames, signals), widths)
        finally:
            os.close(handle)
        described = statistics_of_bytes(histograms, [coding_of(signal) for signal in signals])
        return [Described(each, each.total) for each in described]
    with open_frames(path, n_frames, signals) as blocks:
        return _count_values(map(signed, blocks) if first.fmt == "80" else blocks, signals)


@contextmanager
def open_frames(
    path: str, n_frames: int, signals: Sequence[SignalLine], most: int | None = None
) -> Iterator[Iterator[NDArray[np.integer]]]:
    """The samples of a signal file, in blocks as `blocks.frames` has them.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If the file does not hold what the header says.
    """
    first = signals[0]
    handle, size = open_sized(path)
    try:
        if first.fmt in FLAC:
            with _flac(handle, path, first, [signal.samples_per_frame for signal in signals]) as stream:
                yield stream.frames(n_frames)
        else:
            yield _stored_frames(handle, size, path, n_frames, signals, most)
    finally:
        os.close(handle)


def read_frames(path: str, n_frames: int, signals: Sequence[SignalLine]) -> NDArray[np.integer]:
    """All samples of a short signal file in one block, as `open_frames` gives them; but no FLAC.

    The block is gone once another file is read. Raises what `open_frames` does.
    """
    handle, size = open_sized(path)
    try:
        first, width = signals[0], _width(size, path, n_frames, signals)
        return whole_frames(handle, first.fmt, first.byte_offset, n_frames, width)
    finally:
        os.close(handle)


def _stored_frames(
    handle: int, size: int, path: str, n_frames: int, signals: Sequence[SignalLine], most: int | None = None
) -> Iterator[NDArray[np.integer]]:
    """The samples of an open signal file of so many bytes, in a format whose samples stand at fixed places."""
    first, width = signals[0], _width(size, path, n_frames, signals)
    return frames(handle, first.fmt, first.byte_offset, n_frames, width, most)


def _width(size: int, path: str, n_frames: int, signals: Sequence[SignalLine]) -> int:
    """How many samples a frame has, of a file whose size shows that all are there."""
    first = signals[0]
    width = sum([signal.samples_per_frame for signal in signals])
    needed = first.byte_offset + byte_count(first.fmt, n_frames * width)
    if size < needed:
        raise ValueError(f"{_name(path)} has {size:,} bytes; the header says that it has {needed:,} or more")
    return width


def signed(block: NDArray[np.integer]) -> NDArray[np.integer]:
    """A block of format 80 as its samples."""
    return (block.view(np.uint8) ^ np.uint8(128)).view(np.int8)


@contextmanager
def _flac(handle: int, path: str, first: SignalLine, widths: list[int]) -> Iterator[FlacFile]:
    stream = FlacFile(handle, _name(path), first.fmt, first.byte_offset, widths)
    try:
        yield stream
    finally:
        stream.close()


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def coding_of(signal: SignalLine) -> Coding:
    """How the samples of a signal stand for physical values."""
    return _coding(signal.fmt, signal.gain, signal.baseline, signal.adc_resolution, signal.adc_zero)


@lru_cache(1024)
def _coding(fmt: str, gain: float, baseline: int, resolution: int, zero: int) -> Coding:
    return Coding(_missing(fmt), gain, baseline, _limits(fmt, resolution, zero))


def _missing(fmt: str) -> int | None:
    """The digital value that stands for a missing sample; differences have none."""
    return None if fmt == DIFFERENCES else -(1 << ((BITS.get(fmt) or FLAC[fmt]) - 1))


def _limits(fmt: str, resolution: int, zero: int) -> tuple[Limits, ...]:
    """The lowest and the highest sample that the format has; then those that the ADC has, where it is described."""
    missing = _missing(fmt)
    found = [] if missing is None else [Limits(missing + 1, -missing - 1)]
    if 0 < resolution <= 32:
        half = 1 << (resolution - 1)
        found.append(Limits(zero - half, zero + half - 1))
    return tuple(found)


def _count_values(blocks: Iterable[NDArray[np.integer]], signals: Sequence[SignalLine]) -> list[Described]:
    """What the signals have, which have neighbouring columns of the blocks."""
    counters = [_Counter(signal) for signal in signals]
    stops = np.cumsum([signal.samples_per_frame for signal in signals]).tolist()
    for block in blocks:
        for counter, stop in zip(counters, stops, strict=True):
            counter.add(block[:, stop - counter.signal.samples_per_frame : stop].reshape(-1))
    return [counter.described() for counter in counters]


class InTime:
    """A signal's samples in time with other signals, as it comes block by block.

    Parameters
    ----------
    signal
        As its header describes it.

    Attributes
    ----------
    early
        Samples before sample 0 that are still to come.
    early_total
        The sum of those that came.
    """

    def __init__(self, signal: SignalLine) -> None:
        self.signal = signal
        self.early = signal.skew
        self.early_total = 0
        self._last = signal.init_value

    def of(self, samples: NDArray[np.integer]) -> NDArray[np.integer]:
        """The samples of a block from sample 0 on; differences are added up."""
        if self.signal.fmt == DIFFERENCES and len(samples):
            samples = samples.cumsum(dtype=np.int64) + self._last
            self._last = int(samples[-1])
        if self.early:
            early, samples = samples[: self.early], samples[self.early :]
            self.early -= len(early)
            self.early_total += int(early.sum(dtype=np.int64))
        return samples

    @property
    def shifts(self) -> bool:
        """Whether what comes is not yet the samples themselves, from sample 0 on."""
        return self.early > 0 or self.signal.fmt == DIFFERENCES

    @property
    def late(self) -> int:
        """How many are missing at the end, once all came: where more are early than there are, all are missing."""
        return self.signal.skew - self.early


class _Counter:
    """How often each value occurs in a signal that comes block by block."""

    def __init__(self, signal: SignalLine) -> None:
        self.signal = signal
        self._in_time = InTime(signal)
        self._counts: Counts | None = None

    def add(self, samples: NDArray[np.integer]) -> None:
        counts = count(self._in_time.of(samples))
        self._counts = counts if self._counts is None else merged([self._counts, counts])

    def described(self) -> Described:
        counts = self._counts or count(np.empty(0, np.int8))
        found = statistics(counts, coding_of(self.signal))
        late = self._in_time.late
        total = found.total + self._in_time.early_total
        return Described(found._replace(n=found.n + late, missing=found.missing + late) if late else found, total)


def _count_bytes(blocks: Iterable[NDArray[np.integer]], widths: Sequence[int]) -> NDArray[np.int64]:
    """Histograms of the signals, shape (signals, 256), from blocks of unsigned bytes."""
    counts = ByteCounts(sum(widths))
    for block in blocks:
        counts.add(block.view(np.uint8))
    found = counts.total()
    return found if len(found) == len(widths) else np.add.reduceat(found, np.cumsum([0, *widths[:-1]]))
