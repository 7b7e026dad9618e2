"""The further table `beats` of `wfdb-windows`: a row for each beat, piece by piece of the signals."""

from __future__ import annotations

import datetime as dt
import heapq
import inspect
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from scaledproc.extractors.described import DESCRIPTION, UNIT, column_texts

if TYPE_CHECKING:
    from scaledproc.extractors.wfdb.windows.measures.beats import Piece
    from scaledproc.extractors.wfdb.windows.place import Timeline
    from scaledproc.extractors.wfdb.windows.streams import Stream

BEATS = "beats"
"""The table's name."""
OF_RECORDS = ("unit", "record", "record_name", "subject_id")
"""What beats are joined with windows and records by, beside the channel."""
_COLUMNS = pa.schema(
    [
        pa.field("unit", pa.string(), nullable=False),
        pa.field("record", pa.string(), nullable=False),
        ("record_name", pa.string()),
        ("subject_id", pa.int64()),
        pa.field("channel", pa.int32(), nullable=False),
        ("signal_name", pa.string()),
        pa.field("sample", pa.int64(), nullable=False),
        ("time_s", pa.float64()),
        ("time", pa.timestamp("us")),
        ("rr_ms", pa.float64()),
        ("amplitude", pa.float64()),
        ("quality", pa.float64()),
    ]
)
_UNITS = {"time_s": "s", "rr_ms": "ms", "amplitude": "as in the column units of the windows", "quality": "1"}
_LATEST = np.datetime64("9999-12-31T23:59:59.999999", "us")
_MOST_SECONDS = 1e12
"""After the beginning of a record; no date is so much later."""


class BeatsInOrder:
    """The beats of a record's signals: by the beginnings of the pieces that they were found in, then by signal.

    So the order does not depend on how many samples are read at once.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[Fraction, int, int, Piece]] = []
        self._known = Fraction(0)
        self._n = 0

    def take(self, streams: Mapping[int, Stream], *, is_last: bool = False) -> None:
        """Take what was found in the signals so far, given by their places; at last all that there is.

        A signal that comes later must begin no earlier than those before are known.
        """
        for place, stream in streams.items():
            if is_last:
                stream.detect_rest()
            for begin, piece in stream.take_beats():
                self._n += 1
                heapq.heappush(self._waiting, (begin, place, self._n, piece))
        ends = [end for stream in streams.values() if (end := stream.detected) is not None]
        if ends:
            # Behind the last one nothing begins.
            self._known = max(ends) + 1 if is_last else min(ends)

    def ready(self) -> Iterator[tuple[int, Piece]]:
        """Beats that no others will come before, with the places of their signals."""
        while self._waiting and self._waiting[0][0] < self._known:
            _, place, _, piece = heapq.heappop(self._waiting)
            yield place, piece


def table_of_beats(
    shared: Mapping[str, Any], channel: int, canonical: str | None, fs: float, times: Timeline, piece: Piece
) -> pa.Table:
    """The rows of some beats.

    Parameters
    ----------
    shared
        What all rows of the task have.
    channel, canonical, fs
        Of the signal.
    times
        When its first sample is.
    piece
        The beats.

    Columns
    -------
    unit
        The folder of the record, as in the rows of windows.
    record
        Name of the header, as in the rows of windows: with `unit`, `channel` and `signal_name` it joins both.
    record_name
        The record that this is a segment of, as in the rows of windows.
    subject_id
        The patient as in MIMIC's tables, as in the rows of windows.
    channel
        Place in the header, as in the rows of windows.
    signal_name
        Canonical name of the signal, as in the rows of windows.
    sample
        Of the signal, from 0: that of the R peak, or of the systolic peak. Across segments it is counted from the
        record's beginning.
    time_s
        Seconds from the record's beginning to the peak, between samples by a parabola; null as `offset_s` of windows
        is. Clocks of ECG and pleth in MIMIC are not aligned well enough for times from a beat in one to that in the
        other (Liang et al. 2019, doi:10.3390/jcm8030337).
    time
        Date and time of the peak; null as `start` of windows is.
    rr_ms
        Milliseconds from the signal's beat before, which is in the table too; null after a gap.
    amplitude
        Units: of an ECG from the lowest to the highest sample within 60 ms around the peak, of a pulse from the foot to
        the systolic peak; null where the foot is missing.
    quality
        From 0, where a beat cannot be told from noise, to 1.
    """
    n = len(piece.times)
    after = times.grid.at - times.grid.record
    seconds = piece.times / fs + float(after)
    constant = [*(shared[name] for name in OF_RECORDS), channel, canonical]
    columns = [pa.repeat(pa.scalar(value, each.type), n) for value, each in zip(constant, SCHEMA, strict=False)]
    columns.append(pa.array(piece.positions))
    columns.append(pa.array(seconds) if times.has_offset else pa.nulls(n, pa.float64()))
    columns.append(_clock(times.start, seconds))
    columns += [pa.array(each, from_pandas=True) for each in (piece.rr_ms, piece.amplitude, piece.quality)]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def _clock(start: dt.datetime | None, seconds: np.ndarray[Any, np.dtype[np.float64]]) -> pa.Array:
    """Date and time, so many seconds after the record's beginning; null where no calendar has it."""
    if start is None:
        return pa.nulls(len(seconds), pa.timestamp("us"))
    near = np.abs(seconds) < _MOST_SECONDS
    moments = np.datetime64(start, "us") + np.rint(np.where(near, seconds, 0) * 1e6).astype("timedelta64[us]")
    return pa.array(moments, pa.timestamp("us"), mask=~(near & (moments <= _LATEST)))


def _told(name: str) -> dict[bytes | str, bytes | str]:
    """What a column means: its unit, where it is the same in all rows, and what the documentation above says."""
    texts = {UNIT: _UNITS.get(name), DESCRIPTION: _TEXTS.get(name)}
    return {key: text.encode() for key, text in texts.items() if text is not None}


_TEXTS = column_texts(inspect.getdoc(table_of_beats) or "")  # none where Python leaves out docstrings
SCHEMA = pa.schema([field.with_metadata(_told(field.name) or None) for field in _COLUMNS])
"""The table's columns."""
