"""The windows of a record's signals, in the order of time, while its signal files are read side by side in pieces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scaledproc.extractors.wfdb.headers.header import DIFFERENCES
from scaledproc.extractors.wfdb.headers.rates import rate_of
from scaledproc.extractors.wfdb.signals.flac import FLAC
from scaledproc.extractors.wfdb.signals.samples import coding_of, open_frames, read_frames, signed
from scaledproc.extractors.wfdb.windows.measures.at_once import measured_at_once
from scaledproc.extractors.wfdb.windows.measures.fields import tables_of
from scaledproc.extractors.wfdb.windows.measures.spectra.welch import FEWEST
from scaledproc.extractors.wfdb.windows.streams import Span, Stream

if TYPE_CHECKING:
    from fractions import Fraction

    from numpy.typing import NDArray

    from scaledproc.extractors.wfdb.headers.header import Header, SignalLine
    from scaledproc.extractors.wfdb.windows.beats_table import BeatsInOrder
    from scaledproc.extractors.wfdb.windows.grid import Grid
    from scaledproc.extractors.wfdb.windows.measures.fields import Kernel
    from scaledproc.extractors.wfdb.windows.measures.told import Batch, CountedBatch
    from scaledproc.extractors.wfdb.windows.streams import Looks, Measures

DescribedFiles = tuple[Sequence[tuple["str | None", Sequence["SignalLine"]]], int]
"""The signals of each signal file, and how many frames there are, as `signal_files` tells."""
MOST_FILES = 200
"""Signal files of a record that are open at once."""
_AT_ONCE = 2**20
"""Bytes of a signal file that are read at once: the samples that are made of them are held for a while."""
MOST_EMPTY = 1_000
"""Windows for each sample, beyond which a window is far too short."""
_SHORT = 2**16
"""Samples of all signals of a record, up to which they are measured at once."""
_FEW = 64
"""Rows of a record, up to which they are measured one by one: arrays of more take less time."""


class Chosen(NamedTuple):
    """A signal that is wanted: its place in the header, and what is looked at in it."""

    channel: int
    looks: Looks


class Source:
    """A signal file that is open, and whose samples are handed on to the streams of its signals."""

    def __init__(
        self,
        blocks: Iterator[NDArray[np.integer]],
        signals: Sequence[SignalLine],
        streams: Sequence[Stream | None],
        n_frames: int,
    ) -> None:
        self._blocks, self._streams, self._n_frames = blocks, streams, n_frames
        self._is_bytes = signals[0].fmt == "80"
        stops = list(accumulate([signal.samples_per_frame for signal in signals]))
        self._columns = list(zip([0, *stops], stops, strict=False))
        self.frames = 0

    @property
    def is_done(self) -> bool:
        """Whether all is read."""
        return self.frames >= self._n_frames

    def advance(self) -> None:
        """Read a block, and hand its samples on."""
        block = next(self._blocks)
        self.frames += len(block)
        samples = None if self._is_bytes else block
        for (start, stop), stream in zip(self._columns, self._streams, strict=True):
            if stream is None or (stop - start == 1 and stream.takes(block, start)):
                continue
            if samples is None:
                samples = signed(block)
            stream.add(samples[:, start:stop].reshape(-1))
        if self.is_done:
            self._end()

    def _end(self) -> None:
        for _ in self._blocks:  # lets go what it holds
            pass
        for stream in self._streams:
            if stream is not None:
                stream.end()


def windows_at_once(
    paths: Mapping[str, str],
    described: DescribedFiles,
    header: Header,
    chosen: Sequence[Chosen],
    grid: Grid,
    measures: Measures,
) -> Batch | None:
    """All windows of a short record whose signals are in one file, where no beats are looked for; else None.

    They are what `windows_of` gives; the parameters are its own, and so is what is raised.
    """
    files, n_frames = described
    if len(files) != 1:
        return None
    file, signals = files[0]
    fmt = signals[0].fmt
    if file is None or fmt == DIFFERENCES or fmt in FLAC or not 0 < n_frames * len(signals) <= _SHORT:
        return None
    for signal in signals:
        if signal.samples_per_frame > 1 or signal.skew:
            return None
    for each in chosen:
        if each.looks.beats is not None:
            return None
    codings = [coding_of(signals[each.channel]) for each in chosen]
    if len({coding.gain < 0 for coding in codings}) > 1:
        return None
    span = _span(n_frames, rate_of(header.fs), grid)
    if (span.numbers.stop - span.numbers.start) * len(chosen) >= _FEW:
        return None
    windows = grid.with_samples(span.numbers, n_frames, span.fs, measures.min_valid)
    if not windows.numbers:
        return None
    block = read_frames(paths[file], n_frames, signals)
    if fmt == "80":
        block = signed(block)
    samples = np.empty((len(chosen), n_frames), np.int32)
    samples[:] = block.T if len(chosen) == len(signals) else block.T[[each.channel for each in chosen]]
    has_spectra = [each.looks.has_spectra and span.shortest >= FEWEST for each in chosen]
    told = measured_at_once(
        samples,
        windows,
        codings,
        span.fs_as_float,
        (span.shortest, measures.bands, has_spectra),
        measures.no_spectrum,
        measures.no_beats,
        measures.kernel,
    )
    return None if told is None else list(enumerate(told))


def windows_of(
    paths: Mapping[str, str],
    described: DescribedFiles,
    header: Header,
    chosen: Sequence[Chosen],
    grid: Grid,
    measures: Measures,
    beats: BeatsInOrder,
) -> Iterator[CountedBatch]:
    """The windows of which any chosen signal has samples; signals without a file have none.

    Parameters
    ----------
    paths
        Where each signal file is that the header names.
    described
        What `signal_files` tells of them.
    header
        What it says.
    chosen
        The signals that are wanted, in the header's order.
    grid
        Where windows are.
    measures
        What is measured of them.
    beats
        Takes the beats that are found, if they are wanted.

    Raises
    ------
    OSError
        If a signal file cannot be read.
    ValueError
        If a signal file does not hold what the header says, or windows are far too short or too long.
    """
    files, n_frames = described
    wanted = {each.channel: place for place, each in enumerate(chosen)}
    streams: dict[int, Stream] = {}
    spans: dict[int, Span] = {}
    frames_per_second = rate_of(header.fs)
    with ExitStack() as stack:
        of_files: list[list[Stream | None]] = []
        channel = 0
        for file, signals in files:
            of_file: list[Stream | None] = []
            for signal in signals:
                place = wanted.get(channel)
                channel += 1
                made = None
                if place is not None and file is not None:
                    width = signal.samples_per_frame
                    span = spans.get(width)
                    if span is None:
                        span = spans[width] = _span(n_frames * width, frames_per_second * width, grid)
                    made = streams[place] = Stream(signal, span, grid, measures, chosen[place].looks)
                of_file.append(made)
            of_files.append(of_file)
        sources = opened(stack, paths, files, of_files, n_frames)
        if sources:
            yield from _rows(sources, streams, beats, measures.kernel)
            for stream in streams.values():
                stream.close()


def opened(
    stack: ExitStack,
    paths: Mapping[str, str],
    files: Sequence[tuple[str | None, Sequence[SignalLine]]],
    streams: Sequence[Sequence[Stream | None]],
    n_frames: int,
) -> list[Source]:
    """The signal files that any stream needs, open until the stack is left.

    Raises
    ------
    OSError
        If a signal file cannot be read.
    ValueError
        If a signal file does not hold what the header says, or there are too many.
    """
    sources: list[Source] = []
    for (file, signals), of_file in zip(files, streams, strict=True):
        if file is not None and any(of_file) and n_frames:
            if len(sources) == MOST_FILES:
                raise ValueError(f"its signals are in more than {MOST_FILES} files; choose some of them")
            blocks = stack.enter_context(open_frames(paths[file], n_frames, signals, _AT_ONCE))
            sources.append(Source(blocks, signals, of_file, n_frames))
    return sources


def _span(n: int, fs: Fraction, grid: Grid) -> Span:
    span = Span.of(n, fs, grid)
    if span.numbers.stop - span.numbers.start > MOST_EMPTY * (n + 1):
        raise ValueError(f"there are more than {MOST_EMPTY:,} windows for each of its samples: set longer ones")
    return span


def _rows(
    sources: Sequence[Source], streams: Mapping[int, Stream], beats: BeatsInOrder, kernel: Kernel
) -> Iterator[CountedBatch]:
    done = min([stream.numbers.start for stream in streams.values()])
    end = max([stream.numbers.stop for stream in streams.values()])
    by = min([stream.measured_by for stream in streams.values()])
    while left := [source for source in sources if not source.is_done]:
        min(left, key=lambda source: source.frames).advance()
        is_last = all(source.is_done for source in sources)
        ready = end if is_last else min(end, *(stream.complete for stream in streams.values()))
        if not is_last:
            ready = done + (ready - done) // by * by
        yield from measured(streams, range(done, ready), kernel)
        done = max(done, ready)
        beats.take(streams, is_last=is_last)


def measured(streams: Mapping[int, Stream], numbers: range, kernel: Kernel) -> Iterator[CountedBatch]:
    """Windows that are complete, some at a time; of all streams together, as a kernel's call takes its time."""
    together = min(stream.together for stream in streams.values())
    for start in range(numbers.start, numbers.stop, together):
        some = range(start, min(start + together, numbers.stop))
        asked = [stream.ask(some) for stream in streams.values()]
        tables = tables_of([each for _, each in asked], kernel)
        found = [
            (place, stream.told(*each, integers))
            for (place, stream), each, integers in zip(streams.items(), asked, tables, strict=True)
            if each[0].numbers
        ]
        if found:
            yield found
