"""Rows of `wfdb-windows` for a report: those of the wide layout as long ones, and what windows cover together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scaledproc.extractors.account import Facts, Matrix, Spans
from scaledproc.extractors.wfdb.report.coverage import Coverage

OF_RECORDS = ("unit", "record", "record_name", "subject_id", "kind")
COLUMNS = (*OF_RECORDS, "signal_name", "window", "offset_s", "n_samples", "fs")
_PLACE = "place"


def wide_columns(wanted: Sequence[str], signals: Sequence[str]) -> list[str]:
    """The columns of the wide layout that have what some columns of the long one have.

    Parameters
    ----------
    wanted
        Columns of the long layout.
    signals
        The signals that the wide one has columns of.
    """
    common = [name for name in wanted if name in (*OF_RECORDS, "window", "offset_s")]
    own = [name for name in wanted if name not in common and name != "signal_name"]
    return [*common, *(f"{signal}_{name}" for signal in signals for name in own)]


def as_long(table: pa.Table, wanted: Sequence[str], signals: Sequence[str]) -> pa.Table:
    """The rows of the long layout that wide ones are made of, in its order: a window's signals follow each other.

    Parameters
    ----------
    table
        Has the columns that `wide_columns` names.
    wanted, signals
        As for `wide_columns`.
    """
    place = pa.array(np.arange(table.num_rows))
    common = [name for name in wanted if name in table.column_names]
    own = [name for name in wanted if name not in common and name != "signal_name"]
    pieces = []
    for signal in signals:
        columns = {name: table[name] for name in common}
        columns |= {name: table[f"{signal}_{name}"] for name in own}
        columns["signal_name"] = pa.array([signal] * table.num_rows, pa.string())
        rows = pa.table({**columns, _PLACE: place})
        pieces.append(rows.filter(pc.is_valid(table[f"{signal}_n_samples"])))
    every = pa.concat_tables(pieces)
    order = np.argsort(every[_PLACE].to_numpy(), kind="stable")
    return every.take(pa.array(order)).select(list(wanted))


@dataclass
class WindowCoverage:
    """What windows cover, as far as the rows have come: those of a record or segment follow each other.

    Parameters
    ----------
    length
        Seconds of a window.
    has_hours
        Whether hours can be told: not where windows overlap.
    """

    length: float
    has_hours: bool
    _covered: Coverage = field(
        default_factory=lambda: Coverage(
            hours_are="Hours of windows of waveforms of each subject",
            stretch="a stretch is of windows that follow each other, drawn whole where only a part has samples",
        )
    )
    _last: tuple[Any, ...] | None = None
    _last_seconds: float = 0.0

    def add(self, table: pa.Table) -> None:
        """Take rows, with `COLUMNS`."""
        covered = self._covered
        signals = _groups(table, [*OF_RECORDS, "signal_name"])
        none = pa.nulls(signals.num_rows, pa.float64())
        covered.add(signals.append_column("offset_s", none).append_column("duration_s", none))
        if covered.is_cut:  # windows of this piece's first records would be missing
            covered.timelines.clear()
            return
        waves = table.filter(pc.equal(table["kind"], "waveform"))
        seconds = pc.divide(
            waves["n_samples"].cast(pa.float64()), pc.if_else(pc.greater(waves["fs"], 0), waves["fs"], None)
        )
        waves = waves.append_column("seconds", seconds)
        windows = _groups(waves, [*OF_RECORDS, "window", "offset_s"], "seconds")
        columns = [windows[name].to_pylist() for name in ("unit", "record", "record_name", "subject_id")]
        times = [windows[name].to_pylist() for name in ("window", "offset_s", "seconds_max")]
        for unit, record, name, subject, window, offset, took in zip(*columns, *times, strict=True):
            key = (unit, record, window)
            before = self._last_seconds if key == self._last else 0.0
            self._last, self._last_seconds = key, max(before, took or 0.0)
            if self.has_hours:
                covered.add_hours(subject, (self._last_seconds - before) / 3600)
            if name and offset is not None:
                covered.place_window(unit, name, float(offset), self.length)

    def parts(self, share: float = 1.0) -> tuple[Facts | Spans | Matrix, ...]:
        """What a report shows of it, as `Coverage.parts` has it."""
        return self._covered.parts(share)


def _groups(table: pa.Table, keys: Sequence[str], largest: str = "") -> pa.Table:
    """A row for each combination of values, in the order that they come in; of a column the largest value of each."""
    placed = table.append_column(_PLACE, pa.array(np.arange(table.num_rows)))
    wanted = [(_PLACE, "min"), *([(largest, "max")] if largest else [])]
    return placed.group_by(list(keys)).aggregate(wanted).sort_by(f"{_PLACE}_min").drop_columns([f"{_PLACE}_min"])
