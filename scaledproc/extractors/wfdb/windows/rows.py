"""Windows as rows of the table, in either layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from scaledproc.extractors.tables import TableRows
from scaledproc.extractors.wfdb.windows.beats_table import BEATS, table_of_beats

if TYPE_CHECKING:
    from scaledproc.extractors.wfdb.windows.beats_table import BeatsInOrder
    from scaledproc.extractors.wfdb.windows.place import Timeline
    from scaledproc.extractors.wfdb.windows.reading import Row


class SignalRow(NamedTuple):
    """What is the same in all rows of a signal."""

    kind: str
    channel: int
    name: str | None
    canonical: str | None
    units: str | None
    fs: float | None
    rate: float | None
    """What `fs` stands for, which may be rounded."""
    wanted: int
    """Which of the wanted signals it is."""

    @property
    def columns(self) -> dict[str, Any]:
        """The fields by the names of columns."""
        return {
            "kind": self.kind,
            "channel": self.channel,
            "signal": self.name,
            "signal_name": self.canonical,
            "units": self.units,
            "fs": self.fs,
        }


def long_rows(
    common: Mapping[str, Any],
    signals: Sequence[SignalRow],
    times: Timeline,
    rows: Iterable[Row],
    measured: Sequence[str],
) -> Iterator[dict[str, Any]]:
    """A row for each window and signal.

    Parameters
    ----------
    common
        What all of them have.
    signals
        By the places that `rows` have; across segments more of them come with time.
    times
        When windows are.
    rows
        What was measured of each window.
    measured
        What that is called.
    """
    described: list[dict[str, Any]] = []
    for number, found in rows:
        start, offset = times.when(number)
        described += [{**common, **signal.columns} for signal in signals[len(described) :]]
        for place, values in found:
            row = {**described[place], "window": number, "start": start, "offset_s": offset}
            row.update(zip(measured, values, strict=True))
            yield row


def wide_rows(
    common: Mapping[str, Any],
    signals: Sequence[SignalRow],
    times: Timeline,
    rows: Iterable[Row],
    measured: Sequence[str],
    wanted: Sequence[str],
) -> Iterator[dict[str, Any]]:
    """A row for each window and kind; of several signals of a name the first one of the header counts.

    Parameters
    ----------
    common, signals, times, rows, measured
        As for `long_rows`.
    wanted
        The signals that have columns.
    """
    names = {name: [f"{name}_{each}" for each in measured] for name in wanted}
    empty = {f"{name}_{each}": None for name in wanted for each in ("units", "fs", *measured)}
    for number, found in rows:
        start, offset = times.when(number)
        by_kind: dict[str, dict[str, Any]] = {}
        for place, values in found:
            signal = signals[place]
            name = wanted[signal.wanted]
            row = by_kind.get(signal.kind)
            if row is not None and row[f"{name}_n_samples"] is not None:
                continue
            if row is None:
                row = by_kind[signal.kind] = {**empty, **common, "kind": signal.kind}
                row["window"], row["start"], row["offset_s"] = number, start, offset
            row[f"{name}_units"], row[f"{name}_fs"] = signal.units, signal.fs
            row.update(zip(names[name], values, strict=True))
        yield from by_kind.values()


def with_beats(
    rows: Iterable[dict[str, Any]],
    shared: Mapping[str, Any],
    signals: Sequence[SignalRow],
    times: Timeline,
    beats: BeatsInOrder,
) -> Iterator[dict[str, Any] | TableRows]:
    """Rows of windows, and those of the further table in between as beats are found.

    Parameters
    ----------
    rows
        Of windows, as they come.
    shared
        What all rows of the task have.
    signals, times
        As for `long_rows`.
    beats
        That have been found so far.
    """

    def found() -> Iterator[TableRows]:
        for place, piece in beats.ready():
            signal = signals[place]
            rate = signal.rate
            assert rate is not None  # of what has beats
            yield TableRows(BEATS, table_of_beats(shared, signal.channel, signal.canonical, rate, times, piece))

    for row in rows:
        yield row
        yield from found()
    yield from found()
