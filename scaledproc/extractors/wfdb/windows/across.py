"""Windows across the segments of a record, in the order of time; what lies between segments is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from scaledproc.extractors.wfdb.signals.samples import signal_files
from scaledproc.extractors.wfdb.windows.reading import measured, opened
from scaledproc.extractors.wfdb.windows.streams import Span, Stream

if TYPE_CHECKING:
    from scaledproc.extractors.wfdb.headers.header import Header, SignalLine
    from scaledproc.extractors.wfdb.windows.beats_table import BeatsInOrder
    from scaledproc.extractors.wfdb.windows.grid import Grid
    from scaledproc.extractors.wfdb.windows.measures.told import CountedBatch
    from scaledproc.extractors.wfdb.windows.streams import Looks, Measures

_AT_ONCE = 2**18
"""Frames of a gap that are taken at once."""


class Part(NamedTuple):
    """A segment.

    Parameters
    ----------
    before, n_frames
        Frames of the record before it, and its own, as the master has them.
    header
        Its own header.
    paths
        Where each signal file is that it names.
    """

    before: int
    n_frames: int
    header: Header
    paths: Mapping[str, str]


Describe = Callable[["SignalLine", int], "Looks | None"]
"""Tells of a signal that comes for the first time, with how many came before, what is looked at in it; None where it is
not wanted."""


class Across:
    """The windows of a record whose segments come one after the other.

    A signal whose name, units, gain, baseline, or rate are others than before is one of its own.

    Parameters
    ----------
    fs
        Frames of the record per second.
    n_frames
        How many it has.
    grid
        Its windows.
    measures
        What is measured of them.
    describe
        Called with signals that are new.
    beats
        Takes the beats that are found, if they are wanted.
    """

    def __init__(
        self,
        fs: Fraction,
        n_frames: int,
        grid: Grid,
        measures: Measures,
        describe: Describe,
        beats: BeatsInOrder,
    ) -> None:
        self._fs, self._n_frames, self._grid, self._measures, self._describe = fs, n_frames, grid, measures, describe
        self._beats = beats
        self._streams: dict[int, Stream] = {}
        self._widths: dict[int, int] = {}
        self._places: dict[tuple[object, ...], int | None] = {}
        self._frames = 0
        self._done: int | None = None

    def rows(self, parts: Iterator[Part]) -> Iterator[CountedBatch]:
        """The windows of which any signal has a valid sample.

        Raises
        ------
        OSError
            If a signal file cannot be read.
        ValueError
            If a signal file does not hold what its header says.
        """
        for batch in self._all(parts):
            known = [(place, those) for place, told in batch if (those := told.with_valid()).numbers]
            if known:
                yield known

    def _all(self, parts: Iterator[Part]) -> Iterator[CountedBatch]:
        for part in parts:
            files, own = signal_files(part.paths, part.header)
            n_frames = min(own, part.n_frames)
            if not n_frames:
                continue
            yield from self._gap(part.before)
            with ExitStack() as stack:
                streams = self._of_files(files, part.before, part.before + n_frames)
                if self._done is None and self._streams:
                    first = (self._grid.at + part.before / self._fs - self._grid.length) // self._grid.step + 1
                    self._done = first if self._grid.first is None else max(first, self._grid.first)
                sources = opened(stack, part.paths, files, streams, n_frames)
                present = {id(stream) for of_file in streams for stream in of_file}
                while left := [source for source in sources if not source.is_done]:
                    min(left, key=lambda source: source.frames).advance()
                    read = part.before + min(source.frames for source in sources)
                    for place, stream in self._streams.items():
                        if id(stream) not in present:
                            stream.pad(read * self._widths[place])
                    yield from self._ready()
            for place, stream in self._streams.items():
                stream.pad((part.before + n_frames) * self._widths[place])
            self._frames = part.before + n_frames
            yield from self._ready()
        if self._streams:
            at, step = self._grid.at, self._grid.step
            lasts = [(self._frames * width - 1) / (self._fs * width) for width in self._widths.values()]
            yield from self._up_to((at + max(lasts)) // step + 1)
            self._beats.take(self._streams, is_last=True)
            for stream in self._streams.values():
                stream.close()

    def _of_files(
        self, files: Sequence[tuple[str | None, Sequence[SignalLine]]], start: int, stop: int
    ) -> list[list[Stream | None]]:
        """The streams of a segment's signals, each told that the segment's samples come."""
        found: list[list[Stream | None]] = []
        seen: dict[str | None, int] = {}
        for file, signals in files:
            of_file: list[Stream | None] = []
            for signal in signals:
                often = seen[signal.name] = seen.get(signal.name, -1) + 1
                stream = None if file is None else self._stream(signal, often, start)
                if stream is not None:
                    stream.begin(signal, start * signal.samples_per_frame, stop * signal.samples_per_frame)
                of_file.append(stream)
            found.append(of_file)
        return found

    def _stream(self, signal: SignalLine, often: int, start: int) -> Stream | None:
        width = signal.samples_per_frame
        key = (signal.name, often, signal.fmt, width, *signal[5:10])  # gain, baseline, units, and the converter
        if key not in self._places:
            place = len(self._streams)
            looks = self._describe(signal, len(self._places))
            self._places[key] = None if looks is None else place
            if looks is not None:
                span = Span.of(self._n_frames * width, self._fs * width, self._grid)
                self._streams[place] = Stream(signal, span, self._grid, self._measures, looks)
                self._streams[place].jump(start * width)
                self._widths[place] = width
        known = self._places[key]
        return None if known is None else self._streams[known]

    def _gap(self, stop: int) -> Iterator[CountedBatch]:
        """What is missing before a segment: of a long gap only what windows need."""
        if not self._streams:
            self._frames = stop
            return
        reach = max(self._grid.length, self._grid.step)
        if (stop - self._frames) / self._fs > 8 * reach:
            yield from self._missing(self._frames + -(-2 * reach * self._fs // 1))
            yield from self._up_to(self._grid.complete(self._frames, self._fs))  # those whose beats were still awaited
            for place, stream in self._streams.items():
                stream.jump((stop - (4 * reach * self._fs // 1)) * self._widths[place])
            done = (self._grid.at + stop / self._fs - 2 * reach) // self._grid.step
            self._done = max(self._done or 0, done)
            self._frames = stop - (4 * reach * self._fs // 1)
        yield from self._missing(stop)

    def _missing(self, stop: int) -> Iterator[CountedBatch]:
        while self._frames < stop:
            self._frames = min(self._frames + _AT_ONCE, stop)
            for place, stream in self._streams.items():
                stream.pad(self._frames * self._widths[place])
            yield from self._ready()

    def _ready(self) -> Iterator[CountedBatch]:
        if self._streams:
            yield from self._up_to(min(stream.complete for stream in self._streams.values()))
            self._beats.take(self._streams)

    def _up_to(self, ready: int) -> Iterator[CountedBatch]:
        if self._done is not None and self._done < ready:
            yield from measured(self._streams, range(self._done, ready), self._measures.kernel)
            self._done = ready
