"""The summary `signal_stats`: one row per (kind, signal_name, units) over the whole table of features."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

KEYS = ("kind", "signal_name", "units")
SCHEMA = pa.schema(
    [
        *((key, pa.string()) for key in KEYS),
        *((name, pa.int64()) for name in ("records", "signals", "samples")),
        *((name, pa.float64()) for name in ("missing_share", "mean", "std", "min", "max")),
    ]
)


@dataclass
class _Moments:
    """Count, mean and sum of squared deviations of all valid samples so far, and what goes with them."""

    records: int = 0
    signals: int = 0
    samples: int = 0
    valid: int = 0
    mean: float = 0.0
    squares: float = 0.0
    min: float = math.inf
    max: float = -math.inf
    last_record: Any = None

    def merge(self, valid: int, mean: float, squares: float) -> None:
        """Add a set of samples by its moments (Chan, Golub and LeVeque 1983, eq. 1.1 and 2.1)."""
        if not valid:
            return
        total = self.valid + valid
        step = mean - self.mean
        self.mean += step * (valid / total)
        self.squares += squares + step * step * (self.valid * (valid / total))
        self.valid = total


def signal_stats(tables: Iterable[pa.Table]) -> pa.Table:
    """Statistics over all samples of each signal, exact up to rounding: moments are merged, not averaged.

    Parameters
    ----------
    tables
        Finished rows of `wfdb-summary`, in the plan's order (so that a record's rows follow each other). The rounding
        depends on where one table ends and the next begins.

    Returns
    -------
    pyarrow.Table
        Columns of `SCHEMA`, sorted by kind, signal_name, units. `records` counts records or segments that have the
        signal, `signals` their channels, `samples` all samples; `mean`, `std` (ddof=1), `min`, `max` are over valid
        samples, in physical units, null where there is none.
    """
    groups: dict[tuple[str | None, ...], _Moments] = {}
    for table in tables:
        _add(groups, table)
    rows = [_row(key, groups[key]) for key in sorted(groups, key=lambda key: [part or "" for part in key])]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _add(groups: dict[tuple[str | None, ...], _Moments], table: pa.Table) -> None:
    if not table.num_rows:
        return
    # The place of each row's key among the distinct keys of this table.
    keys = [table[key].combine_chunks().dictionary_encode(null_encoding="encode") for key in KEYS]
    place = np.zeros(table.num_rows, np.int64)
    for key in keys:
        place = place * len(key.dictionary) + key.indices.to_numpy(zero_copy_only=False)
    _, first, code = np.unique(place, return_index=True, return_inverse=True)
    size = len(first)

    samples = table["n_samples"].to_numpy()
    valid = samples - table["n_missing"].to_numpy()
    mean = _floats(table, "mean", 0.0)
    deviation = _floats(table, "std", 0.0)
    n = _sums(code, valid, size)
    with np.errstate(invalid="ignore"):
        means = _sums(code, valid * mean, size) / n
    inner = np.maximum(valid - 1, 0) * deviation**2 + valid * (mean - np.where(valid > 0, means[code], 0.0)) ** 2
    squares = _sums(code, inner, size)
    low = np.full(size, math.inf)
    high = np.full(size, -math.inf)
    np.minimum.at(low, code, _floats(table, "min", math.inf))
    np.maximum.at(high, code, _floats(table, "max", -math.inf))

    # A record's rows follow each other, so a record is counted where it differs from the group's row before.
    records = np.stack([_codes(table, "unit"), _codes(table, "record")], axis=1)
    for group, row in enumerate(first.tolist()):
        key = tuple(column.dictionary[index.as_py()].as_py() for column, index in ((k, k.indices[row]) for k in keys))
        members = np.flatnonzero(code == group)
        moments = groups.setdefault(key, _Moments())
        moments.records += 1 + int((records[members[1:]] != records[members[:-1]]).any(axis=1).sum())
        moments.records -= moments.last_record == _record(table, int(members[0]))
        moments.last_record = _record(table, int(members[-1]))
        moments.signals += len(members)
        moments.samples += int(samples[members].sum())
        moments.merge(int(n[group]), float(means[group]), float(squares[group]))
        moments.min = min(moments.min, float(low[group]))
        moments.max = max(moments.max, float(high[group]))


def _row(key: tuple[str | None, ...], moments: _Moments) -> dict[str, Any]:
    valid = moments.valid
    return {
        **dict(zip(KEYS, key, strict=True)),
        "records": moments.records,
        "signals": moments.signals,
        "samples": moments.samples,
        "missing_share": (moments.samples - valid) / moments.samples if moments.samples else None,
        "mean": moments.mean if valid else None,
        "std": math.sqrt(moments.squares / (valid - 1)) if valid > 1 else None,
        "min": moments.min if valid else None,
        "max": moments.max if valid else None,
    }


def _sums(code: Any, values: Any, size: int) -> Any:
    """Sums per group, added in the order of the rows."""
    return np.bincount(code, weights=values, minlength=size)


def _floats(table: pa.Table, name: str, null: float) -> Any:
    return pc.fill_null(table[name], null).to_numpy()


def _codes(table: pa.Table, name: str) -> Any:
    return table[name].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)


def _record(table: pa.Table, row: int) -> tuple[str, str]:
    return table["unit"][row].as_py(), table["record"][row].as_py()
