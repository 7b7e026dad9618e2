"""Pieces of a WFDB record's samples, for a report to draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scaledproc.extractors.account import Example, Trace
from scaledproc.extractors.wfdb.headers.header import read_header
from scaledproc.extractors.wfdb.headers.task_header import listed_files
from scaledproc.extractors.wfdb.signals.samples import InTime, coding_of, open_frames, signal_files, signed

if TYPE_CHECKING:
    from scaledproc.extractors.base import Task
    from scaledproc.extractors.wfdb.headers.header import Header

SECONDS = 10.0
SAMPLES = 1_500
"""Samples of a signal that are drawn at most."""
SIGNALS = 6
SLOW_SAMPLES = 1_000
"""Of numerics: so many, from where they begin."""
REACH = 4_000_000
"""Frames up to which a piece is looked for: the file is read from its beginning."""


def traces_of(task: Task, choice: int) -> Example | None:
    """Pieces of the same time of a record's first signals; None of a header without samples, or of a CSV file."""
    if not task.anchor.endswith(".hea"):
        return None
    header = read_header(task.locate_in_unit(task.anchor))
    if not header.signals or not header.fs:
        return None
    files = listed_files(task.anchor, task.files, header)
    paths = {file: task.locate_in_unit(relative) for file, relative in files.items()}
    groups, n_frames = signal_files(paths, header)
    length = SLOW_SAMPLES if header.fs <= 2 else max(2, min(round(SECONDS * header.fs), SAMPLES))
    length = min(length, n_frames)
    if length < 2:
        return None
    start = choice % max(min(n_frames, REACH) - length, 1)
    found: list[Trace] = []
    for file, signals in groups:
        if file is None or len(found) >= SIGNALS:
            continue
        with open_frames(paths[file], n_frames, signals) as blocks:
            found += _pieces(header, signals, blocks, start, length)
    if not found:
        return None
    where = f"{task.anchor.removesuffix('.hea')}, from second {start / header.fs:,.0f} on"
    return Example(where, tuple(found[:SIGNALS]))


def _pieces(header: Header, signals: Any, blocks: Any, start: int, length: int) -> list[Trace]:
    """The frames from `start` on of the signals of a file."""
    readers = [InTime(signal) for signal in signals]
    stops = np.cumsum([signal.samples_per_frame for signal in signals]).tolist()
    kept: list[list[Any]] = [[] for _ in signals]
    seen = [0] * len(signals)
    for block in blocks:
        frames = signed(block) if signals[0].fmt == "80" else block
        for at, (signal, stop) in enumerate(zip(signals, stops, strict=True)):
            width = signal.samples_per_frame
            samples = readers[at].of(frames[:, stop - width : stop].reshape(-1))
            first, last = max(start * width - seen[at], 0), (start + length) * width - seen[at]
            if last > 0 and first < len(samples):
                kept[at].append(samples[first:last])
            seen[at] += len(samples)
        if all(
            count >= (start + length) * signal.samples_per_frame for count, signal in zip(seen, signals, strict=True)
        ):
            break
    return [
        _trace(header, signal, np.concatenate(pieces).astype(np.float64))
        for signal, pieces in zip(signals, kept, strict=True)
        if pieces
    ]


def _trace(header: Header, signal: Any, stored: Any) -> Trace:
    coding = coding_of(signal)
    step = -(-len(stored) // SAMPLES)
    stored = stored[::step]
    values = (stored - coding.baseline) / coding.gain
    missing = np.zeros(len(stored), bool) if coding.missing is None else stored == coding.missing
    known = tuple(
        None if gone else float(f"{value:.5g}") for value, gone in zip(values.tolist(), missing.tolist(), strict=True)
    )
    seconds = len(stored) * step / (header.fs * signal.samples_per_frame)
    return Trace(signal.name or "", signal.units, seconds, known)
