"""Signals of a table of `wfdb-summary` or `wfdb-windows`, summed up by kind, canonical name and units.

What a row has are sums over its samples, so shares and counts of samples are exact. Histograms are put together from
each row's smallest and largest value and its percentiles, between which values are taken to be spread evenly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from scaledproc._util.text import part_text
from scaledproc.extractors.account import DOUBTFUL, SMALL, Cell, Facts, Flags, Histogram, Share, Worry, edges_between
from scaledproc.extractors.wfdb.report.ranges import Range

Floats = NDArray[np.float64]
KEYS = ("kind", "signal_name", "units")
COUNTS = ("n_samples", "n_missing", "n_zero", "n_distinct", "n_at_min", "n_at_max")
KEPT = 4_000
"""Rows of a signal that its histogram is of: at equal distances where there are more."""
SIGNALS = 60
"""Signals that are shown, those with the most samples."""
HOURS = 4
"""Place of the hours in a signal's line."""
SATURATED = 0.01
"""Share of a row's valid samples at a limit of its format or converter, from which on it counts as saturated."""
ZEROS = 0.05
"""Share of a signal's valid samples that are zeros and may stand for no value, from which on they are told."""
FEW = 0.005
"""Share of a signal's rows below which a flag is no worry of its own."""


@dataclass
class Signal:
    """One signal as far as its rows have come.

    Parameters
    ----------
    rows, records
        Rows, and different records or segments among them (those of one follow each other).
    samples, missing, zero
        Of all rows together. Zeros are those that may stand for no value, see `may_be_no_values`.
    seconds, timed
        Their length, and of how many rows it is: those without one are left out.
    flat, saturated, empty, outside, wrong
        Rows with a single value; with many samples at a limit; without any valid sample; with a median outside of the
        physiological range, of a waveform with a quarter of its samples or more; whose samples do not match the
        header's checksum.
    checked
        Rows that have a checksum.
    ranged
        Rows that were compared with a range.
    """

    rows: int = 0
    records: int = 0
    last: Any = None
    samples: int = 0
    missing: int = 0
    zero: int = 0
    seconds: float = 0.0
    timed: int = 0
    flat: int = 0
    saturated: int = 0
    empty: int = 0
    outside: int = 0
    wrong: int = 0
    checked: int = 0
    ranged: int = 0
    low: float = math.inf
    high: float = -math.inf
    quantiles: list[Floats] = field(default_factory=list)
    """Of some rows: the number of valid samples, then the values that quarters of them lie between."""
    stride: int = 1


@dataclass
class Signals:
    """All signals of a table.

    Parameters
    ----------
    ranges
        Physiological ranges by kind and canonical name.
    columns
        Of the smallest value, the percentiles and the largest one.
    record
        The columns that tell records apart.
    """

    ranges: Mapping[tuple[str, str], Range]
    columns: tuple[str, ...] = ("min", "p25", "p50", "p75", "max")
    record: tuple[str, ...] = ("unit", "record")
    found: dict[tuple[str, str, str], Signal] = field(default_factory=dict)

    def add(self, table: pa.Table) -> None:
        """Take rows."""
        if not table.num_rows:
            return
        keys = [pc.fill_null(table[key], "").combine_chunks().dictionary_encode() for key in KEYS]
        place = np.zeros(table.num_rows, np.int64)
        for key in keys:
            place = place * max(len(key.dictionary), 1) + key.indices.to_numpy(zero_copy_only=False)
        order = np.argsort(place, kind="stable")
        bounds = np.flatnonzero(np.diff(place[order], prepend=place[order[0]] - 1, append=place[order[-1]] + 1))
        values = {name: _floats(table, name) for name in (*COUNTS, *self.columns)}
        values["duration_s"] = _seconds(table)
        wrong = _floats(table, "checksum_ok")
        names = np.zeros(table.num_rows, np.int64)
        for column in self.record:
            codes = pc.fill_null(table[column], "").combine_chunks().dictionary_encode()
            names = names * max(len(codes.dictionary), 1) + codes.indices.to_numpy(zero_copy_only=False)
        for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            chosen = order[start:stop]
            first = int(chosen[0])
            name = tuple(str(key.dictionary[key.indices[first].as_py()]) for key in keys)
            signal = self.found.setdefault((name[0], name[1], name[2]), Signal())
            own = {key: value[chosen] for key, value in values.items()}
            self._add(signal, name, own, wrong[chosen])
            here = names[chosen]
            begins = tuple(table[column][first].as_py() for column in self.record)
            signal.records += 1 + int(np.count_nonzero(here[1:] != here[:-1])) - (signal.last == begins)
            signal.last = tuple(table[column][int(chosen[-1])].as_py() for column in self.record)

    def _add(self, signal: Signal, name: tuple[str, ...], own: Mapping[str, Floats], wrong: Floats) -> None:
        samples, missing = own["n_samples"], own["n_missing"]
        valid = samples - missing
        signal.samples += int(samples.sum())
        signal.missing += int(missing.sum())
        is_zero_odd = may_be_no_values(name[0], *(own[column] for column in self._around))
        signal.zero += int(np.nansum(own["n_zero"][is_zero_odd]))
        signal.seconds += float(np.nansum(own["duration_s"]))
        signal.timed += int(np.count_nonzero(~np.isnan(own["duration_s"])))
        signal.empty += int(np.count_nonzero(valid <= 0))
        signal.flat += int(np.count_nonzero((own["n_distinct"] == 1) & (valid > 1)))
        at_limit = np.nan_to_num(own["n_at_min"]) + np.nan_to_num(own["n_at_max"])
        is_flat = own["n_distinct"] == 1
        signal.saturated += int(np.count_nonzero((at_limit > SATURATED * valid) & (valid > 0) & ~is_flat))
        signal.wrong += int(np.count_nonzero(wrong == 0))
        signal.checked += int(np.count_nonzero(~np.isnan(wrong)))
        low, middle, high = (own[self.columns[at]] for at in (0, len(self.columns) // 2, -1))
        signal.low = min(signal.low, float(np.nanmin(low, initial=math.inf)))
        signal.high = max(signal.high, float(np.nanmax(high, initial=-math.inf)))
        known = self.ranges.get((name[0], name[1]))
        if known is not None and name[2] in known.units:
            signal.ranged += int(np.count_nonzero(~np.isnan(middle)))
            # A wave is around its median, often 0, whatever it was calibrated with: so its quarters are looked at.
            least, most = (own["p25"], own["p75"]) if name[0] == "waveform" else (middle, middle)
            signal.outside += int(np.count_nonzero((least < known.low) | (most > known.high)))
        _keep(signal, np.stack([valid, *(own[column] for column in self.columns)]))
        signal.rows += len(valid)

    @property
    def _around(self) -> tuple[str, ...]:
        """The columns of the smallest value, the quarters' edges and the largest one."""
        return (self.columns[0], "p25", "p75", self.columns[-1])

    def ordered(self) -> list[tuple[tuple[str, str, str], Signal]]:
        """The signals: waveforms first, those with the most samples first."""
        return sorted(self.found.items(), key=lambda item: (item[0][0] != "waveform", -item[1].samples, item[0]))


def may_be_no_values(kind: str, low: Floats, p25: Floats, p75: Floats, high: Floats) -> NDArray[np.bool_]:
    """Whether zeros may stand for no value in rows, shape (rows,): where 0 is at the edge of what a signal has.

    A waveform that goes below 0 and above it is 0 again and again, an ECG of 8 bits in up to half of its samples: its
    baseline lies there. Waves of pressure or pleth do not cross it, so a 0 there is a value that the monitor put. Nor
    do numerics in most of their time; but as one odd value may lie beyond, a quarter is allowed to.

    Parameters
    ----------
    kind
        `waveform` or `numerics`.
    low, p25, p75, high
        Smallest value, the edges of the first and the last quarter, largest value.
    """
    least, most = (p25, p75) if kind == "numerics" else (low, high)
    return (least >= 0) | (most <= 0)


def _keep(signal: Signal, rows: Floats) -> None:
    """Keep some rows for the histogram: all of them, then every second one, and so on."""
    signal.quantiles.append(rows[:, (-signal.rows) % signal.stride :: signal.stride])
    if sum(each.shape[1] for each in signal.quantiles) > 2 * KEPT:
        signal.quantiles = [np.concatenate(signal.quantiles, axis=1)[:, ::2]]
        signal.stride *= 2


def _floats(table: pa.Table, name: str) -> Floats:
    """A column as floats, NaN where it is null; all null where there is no such column."""
    if name not in table.column_names:
        return np.full(table.num_rows, math.nan)
    column = table[name].combine_chunks()
    filled = pc.fill_null(column.cast(pa.float64(), safe=False), math.nan)
    found: Floats = filled.to_numpy(zero_copy_only=False)
    return found


def _seconds(table: pa.Table) -> Floats:
    """How long each row's samples last, as the table says, else by their number and rate; NaN where that is unknown."""
    if "duration_s" in table.column_names:
        return _floats(table, "duration_s")
    rate = _floats(table, "fs")
    return _floats(table, "n_samples") / np.where(rate > 0, rate, math.nan)


def merged_histogram(signal: Signal) -> Histogram | None:
    """The histogram of a signal's valid samples, as far as its rows tell; None where they tell nothing.

    Where only some rows were kept, its counts are scaled to the samples of all of them.
    """
    if not signal.quantiles:
        return None
    valid, *values = np.concatenate(signal.quantiles, axis=1)
    points = np.stack(values)
    known = ~np.isnan(points).any(axis=0) & (valid > 0)
    if not known.any():
        return None
    valid, points = valid[known], points[:, known]
    low, high = _quantile(points[0], 0.01), _quantile(points[-1], 0.99)
    edges = edges_between(low, high)
    shares = np.linspace(0, 1, len(points)) if len(points) == 5 else np.array([0, 0.05, 0.25, 0.5, 0.75, 0.95, 1])
    below = _below(points, shares, edges, valid)
    total = float(valid.sum())
    counts = np.maximum(np.diff(below), 0)
    above = max(0.0, total - below[0] - float(counts.sum()))
    every = signal.samples - signal.missing
    scale = every / total if signal.stride > 1 else 1.0
    whole = tuple((counts * scale).tolist())
    return Histogram(tuple(edges.tolist()), whole, round(below[0] * scale), round(above * scale))


def _below(points: Floats, shares: Floats, edges: Floats, valid: Floats) -> Floats:
    """How many of all rows' values lie below each edge, or at the last one, which is the last bin's.

    Parameters
    ----------
    points, shares
        Values of each row, shape (values, rows), and which share of its samples is below each, shape (values,).
    edges
        Shape (edges,).
    valid
        How many samples each row has, shape (rows,).
    """
    below = np.zeros(len(edges))
    for left, right, share in zip(points[:-1], points[1:], np.diff(shares), strict=True):
        samples, width = valid * share, right - left
        is_wide = width > 0
        alone = left[~is_wide]  # values that are the same up to there, and lie below an edge or not
        own = samples[~is_wide][order := np.argsort(alone, kind="stable")].cumsum()
        at = alone[order].searchsorted(edges)
        at[-1] = alone[order].searchsorted(edges[-1], "right")
        below += np.where(at > 0, own[at - 1], 0) if len(own) else 0
        samples, left, width = samples[is_wide], left[is_wide], width[is_wide]
        for place, edge in enumerate(edges.tolist()):
            inside = edge - left
            inside /= width
            below[place] += samples @ inside.clip(0, 1, out=inside)
    return below


def _quantile(values: Floats, share: float) -> float:
    ordered = np.sort(values)
    return float(ordered[round(share * (len(ordered) - 1))])


def signals_table(signals: Signals, rows_are: str, *, overlap: bool = False, share: float = 1.0) -> Facts:
    """A line for each signal.

    Parameters
    ----------
    signals
        The signals.
    rows_are
        What a row is: `signals of records` or `windows`.
    overlap
        Whether a sample may be in several rows, so that their lengths together are not how long the signal is.
    share
        Which part of the table's rows they are of.
    """
    ordered = signals.ordered()
    more = "" if share == 1 else " read"
    heads = ["Signal", "Kind", "Units", f"Records and segments{more}", f"Hours{more}"]
    heads += ["Missing", "Min", "Max", "Values", "Flags"]
    rows: list[tuple[Cell, ...]] = []
    for (kind, name, units), each in ordered[:SIGNALS]:
        low, high = (value if math.isfinite(value) else None for value in (each.low, each.high))
        hours = each.seconds / 3600 if each.timed else None
        missing = Share(each.missing, each.samples)
        flags = Flags(tuple(_flags(each, kind)))
        rows.append((name, kind, units, each.records, hours, missing, low, high, merged_histogram(each), flags))
    if overlap:
        heads = [*heads[:HOURS], *heads[HOURS + 1 :]]
        rows = [(*row[:HOURS], *row[HOURS + 1 :]) for row in rows]
    text = f"By kind, canonical name and units; {rows_are} are summed up. Histograms are put together from each row's "
    text += "percentiles, between which values are taken to be spread evenly."
    if any(each.stride > 1 for _, each in ordered[:SIGNALS]):
        text += f" Of a signal with many rows they are of {KEPT:,} to {2 * KEPT:,} at equal distances, scaled to all."
    if any(0 < each.timed < each.rows for _, each in ordered[:SIGNALS]) and not overlap:
        text += " Hours are of the rows whose length is known."
    if len(ordered) > SIGNALS:
        text += f" The {SIGNALS} with the most samples of {len(ordered):,} are shown."
    return Facts("Signals", tuple(heads), tuple(rows), text)


def _flags(each: Signal, kind: str) -> list[str]:
    found = []
    beyond = "with a quarter or more of its values out of range" if kind == "waveform" else "median out of range"
    for count, words in (
        (each.empty, "without any value"),
        (each.flat, "flat"),
        (each.saturated, "saturated"),
        (each.outside, beyond),
    ):
        if count:
            found.append(f"{count:,} of {each.rows:,} {words}")
    if each.wrong:
        found.append(f"{part_text(each.wrong, each.checked, 'checksum')} wrong")
    valid = each.samples - each.missing
    if valid and each.zero > ZEROS * valid:
        found.append(f"{100 * each.zero / valid:.0f} % of values are 0, and may stand for none")
    return found


def signal_worries(signals: Signals, what: tuple[str, str]) -> list[Worry]:
    """What to worry about of the signals, all of them together where there are many.

    Parameters
    ----------
    signals
        The signals.
    what
        What a row is: a word for one, and for several.
    """
    every = list(signals.found.items())
    total = sum(each.rows for _, each in every)
    found: list[Worry] = []
    wrong, checked = sum(each.wrong for _, each in every), sum(each.checked for _, each in every)
    if wrong:
        text = f"Samples of {part_text(wrong, checked, *what)} do not match the header's checksum."
        found.append(Worry(DOUBTFUL, text))
    for kind, values, verb in (
        ("numerics", "The median of", "is no physiological value"),
        ("waveform", "A quarter or more of the values of", "are none that a monitor measures of a patient"),
    ):
        own = [(name, each) for (its, name, _), each in every if (its == "waveform") == (kind == "waveform")]
        outside, ranged = sum(each.outside for _, each in own), sum(each.ranged for _, each in own)
        if outside:
            names = _named((name, each.outside) for name, each in own if each.outside)
            weight = DOUBTFUL if outside > FEW * ranged else SMALL
            found.append(Worry(weight, f"{values} {part_text(outside, ranged, *what)} {verb}: {names}."))
    for attribute, words, weight in (
        ("flat", "a single value throughout", DOUBTFUL),
        ("saturated", "more than 1 % of the samples at a limit of the format or the converter", DOUBTFUL),
        ("empty", "no valid sample", SMALL),
    ):
        counts = [(name, getattr(each, attribute)) for (_, name, _), each in every if getattr(each, attribute)]
        count = sum(number for _, number in counts)
        if count:
            level = weight if count > FEW * total else SMALL
            verb = "has" if count == 1 else "have"
            found.append(Worry(level, f"{part_text(count, total, *what)} {verb} {words}: {_named(counts)}."))
    zeros = [
        (name, each.zero)
        for (kind, name, _), each in every
        if kind == "numerics" and each.zero > ZEROS * max(each.samples - each.missing, 1)
    ]
    if zeros:
        found.append(
            Worry(DOUBTFUL, f"Many values of numerics are exactly 0, which often stands for none: {_named(zeros)}.")
        )
    return found


def _named(counts: Iterable[tuple[str, int]]) -> str:
    """The names that have most, `II (3), V (2) and 4 others`."""
    sums: dict[str, int] = {}
    for name, count in counts:
        sums[name] = sums.get(name, 0) + count
    ordered = sorted(sums.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{name} ({count:,})" for name, count in ordered[:3])
    more = len(ordered) - 3
    return shown + (f" and {more:,} other{'s' if more > 1 else ''}" if more > 0 else "")
