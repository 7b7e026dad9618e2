"""Windows as rows of the table, in either layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from scaledproc.extractors.tables import TableRows
from scaledproc.extractors.wfdb.windows.beats_table import BEATS, table_of_beats
from scaledproc.extractors.wfdb.windows.measures.beats import NO_BEATS
from scaledproc.extractors.wfdb.windows.measures.feature_columns import NO_COUNT
from scaledproc.extractors.wfdb.windows.measures.features import COUNTS, VALUES
from scaledproc.extractors.wfdb.windows.measures.told import columns_of

if TYPE_CHECKING:
    from scaledproc.extractors.wfdb.windows.beats_table import BeatsInOrder
    from scaledproc.extractors.wfdb.windows.measures.told import Batch, Measured
    from scaledproc.extractors.wfdb.windows.place import Timeline

_MANY = 64
"""Rows of a task, from which on a table of them takes less time than mappings do, the engine's included."""
_PIECE = 1_024
"""Rows of a table, from which on it is given, to keep memory flat."""


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
    batches: Iterable[Batch],
    measured: Sequence[str],
    schema: pa.Schema,
) -> Iterator[dict[str, Any] | pa.Table]:
    """A row for each window and signal; of few windows as mappings, of many as tables.

    Parameters
    ----------
    common
        What all of them have.
    signals
        By the places that `batches` have; across segments more of them come with time.
    times
        When windows are.
    batches
        What was measured of windows.
    measured
        What that is called.
    schema
        Of the table.
    """
    waiting: list[Batch] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += sum([len(told.numbers) for _, told in batch])
        if rows >= _PIECE:
            yield _table(common, signals, times, waiting, measured, schema)
            waiting, rows = [], 0
    if rows >= _MANY:
        yield _table(common, signals, times, waiting, measured, schema)
        return
    described = [{**common, **signal.columns} for signal in signals] if rows else []
    for batch in waiting:
        for number, found in _by_window(batch):
            start, offset = times.when(number)
            for place, values in found:
                row = {**described[place], "window": number, "start": start, "offset_s": offset}
                row.update(zip(measured, values, strict=True))
                yield row


def _table(
    common: Mapping[str, Any],
    signals: Sequence[SignalRow],
    times: Timeline,
    batches: Iterable[Batch],
    measured: Sequence[str],
    schema: pa.Schema,
) -> pa.Table:
    """All rows of some batches, which follow each other; the parameters are those of `long_rows`."""
    n_beats = len(NO_BEATS) if "n_beats" in measured else 0
    told = [(place, each) for batch in batches for place, each in batch]
    of_windows = np.array([number for _, each in told for number in each.numbers], np.int64)
    of_signals = np.repeat([place for place, _ in told], [len(each.numbers) for _, each in told])
    order = np.lexsort((of_signals, of_windows))
    of_windows, places, n = of_windows[order], of_signals[order].tolist(), len(order)
    kinds = {field.name: field.type for field in schema}
    found = {name: _constant(value, n, kinds[name]) for name, value in common.items()}
    described = [signals[place].columns for place in range(max(places) + 1)]
    for name in described[0]:
        found[name] = pa.array([described[place][name] for place in places], kinds[name])
    found["window"] = pa.array(of_windows)
    numbers, of_rows = np.unique(of_windows, return_inverse=True)
    starts, offsets = times.of(numbers.tolist())
    found["start"] = pa.array(starts[of_rows], kinds["start"])
    found["offset_s"] = pa.array(offsets[of_rows], from_pandas=True)
    columns = columns_of([each for _, each in told], len(measured) - len(COUNTS) - len(VALUES) - n_beats)
    arrays = [pa.array(column, mask=column == NO_COUNT) for column in columns.counts[:, order]]
    arrays += [pa.array(each, from_pandas=True) for some in columns[1:3] for each in some[:, order]]
    if n_beats:
        beats = zip(measured[-n_beats:], columns.beats[:, order], strict=True)
        arrays += [pa.array(each, kinds[name], from_pandas=True) for name, each in beats]
    found.update(zip(measured, arrays, strict=True))
    return pa.Table.from_arrays([found[name] for name in schema.names], schema=schema)


def _constant(value: Any, n: int, kind: pa.DataType) -> pa.Array:
    return pa.nulls(n, kind) if value is None else pa.repeat(pa.scalar(value, kind), n)


def _by_window(batch: Batch) -> Iterator[tuple[int, list[tuple[int, Measured]]]]:
    """The windows of a batch in order, each with what was measured of it by the places of the signals."""
    numbers = batch[0][1].numbers
    if all(told.numbers is numbers for _, told in batch):  # as of signals of one rate
        places = [place for place, _ in batch]
        for number, *rows in zip(numbers, *[told.rows() for _, told in batch], strict=True):
            yield number, list(zip(places, rows, strict=True))
        return
    found: dict[int, list[tuple[int, Measured]]] = {}
    for place, told in batch:
        for number, row in zip(told.numbers, told.rows(), strict=True):
            if number in found:
                found[number].append((place, row))
            else:
                found[number] = [(place, row)]
    for number in sorted(found):
        yield number, found[number]


def wide_rows(
    common: Mapping[str, Any],
    signals: Sequence[SignalRow],
    times: Timeline,
    batches: Iterable[Batch],
    measured: Sequence[str],
    wanted: Sequence[str],
) -> Iterator[dict[str, Any]]:
    """A row for each window and kind; of several signals of a name the first one of the header counts.

    Parameters
    ----------
    common, signals, times, batches, measured
        As for `long_rows`.
    wanted
        The signals that have columns.
    """
    names = {name: [f"{name}_{each}" for each in measured] for name in wanted}
    empty = {f"{name}_{each}": None for name in wanted for each in ("units", "fs", *measured)}
    for number, found in chain.from_iterable(map(_by_window, batches)):
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
    rows: Iterable[dict[str, Any] | pa.Table],
    shared: Mapping[str, Any],
    signals: Sequence[SignalRow],
    times: Timeline,
    beats: BeatsInOrder,
) -> Iterator[dict[str, Any] | pa.Table | TableRows]:
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
