"""The summary `signal_stats`: one row per (kind, signal_name, units) over the whole table of features."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

KEYS = ("kind", "signal_name", "units")
SCHEMA = pa.schema(
    [
        *((key, pa.string()) for key in KEYS),
        *((name, pa.int64()) for name in ("records", "signals", "samples")),
        *((name, pa.float64()) for name in ("missing_share", "mean", "std", "min", "max")),
    ]
)


PARTIAL = pa.schema(
    [
        *((key, pa.string()) for key in KEYS),
        *((name, pa.int64()) for name in ("records", "signals", "samples", "valid")),
        *((name, pa.float64()) for name in ("min", "max")),
        *((name, pa.string()) for name in ("sum", "sum_of_squares", "within")),
    ]
)
"""What is known of some of the rows: exact sums, as hexadecimal whole numbers of `2**-SCALE`."""
SCALE = 1074
"""Every float64 is a whole number of `2**-1074`."""


@dataclass
class _Sums:
    """What is known of a group so far; the last three are whole numbers of `2**-SCALE`."""

    records: int = 0
    signals: int = 0
    samples: int = 0
    valid: int = 0
    min: float = math.inf
    max: float = -math.inf
    sum: int = 0
    """Of all valid samples: of the rows' means, each as often as it has valid samples."""
    sum_of_squares: int = 0
    """Of the rows' means, squared, each as often as it has valid samples."""
    within: int = 0
    """Squared deviations of the samples from the mean of their row."""
    last_record: Any = None


Groups = dict[tuple[str | None, ...], _Sums]


def signal_stats(tables: Iterable[pa.Table]) -> pa.Table:
    """Statistics over all samples of each signal, whatever the rows are cut into: sums are exact, and rounded once.

    Parameters
    ----------
    tables
        Finished rows of `wfdb-summary`, in the plan's order (so that a record's rows follow each other).

    Returns
    -------
    pyarrow.Table
        Columns of `SCHEMA`, sorted by kind, signal_name, units. `records` counts records or segments that have the
        signal, `signals` their channels, `samples` all samples; `mean`, `std` (ddof=1), `min`, `max` are over valid
        samples, in physical units, null where there is none.
    """
    return merge_stats([partial_stats(tables)])


def partial_stats(tables: Iterable[pa.Table]) -> pa.Table:
    """What `merge_stats` needs to know of some of the rows, with the columns of `PARTIAL`.

    Parameters
    ----------
    tables
        As for `signal_stats`; all rows of a record, or none of them.
    """
    groups: Groups = {}
    for table in tables:
        _add(groups, table)
    return pa.Table.from_pylist([_partial_row(key, groups[key]) for key in _ordered(groups)], schema=PARTIAL)


def merge_stats(partials: Iterable[pa.Table]) -> pa.Table:
    """What `signal_stats` gives for all rows, of what `partial_stats` gave for parts of them."""
    groups: Groups = {}
    for row in (row for table in partials for row in table.to_pylist()):
        sums = groups.setdefault(tuple(row[key] for key in KEYS), _Sums())
        for name in ("records", "signals", "samples", "valid"):
            setattr(sums, name, getattr(sums, name) + row[name])
        for name in ("sum", "sum_of_squares", "within"):
            setattr(sums, name, getattr(sums, name) + int(row[name], 16))
        sums.min, sums.max = min(sums.min, row["min"]), max(sums.max, row["max"])
    return pa.Table.from_pylist([_row(key, groups[key]) for key in _ordered(groups)], schema=SCHEMA)


def _ordered(groups: Groups) -> list[tuple[str | None, ...]]:
    return sorted(groups, key=lambda key: [part or "" for part in key])


def _add(groups: Groups, table: pa.Table) -> None:
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
    counts = valid.astype(np.float64)
    mean = _floats(table, "mean", 0.0)
    squared, rest = _product(mean, mean)
    total = _exact_sums(code, _product(counts, mean), size)
    squares = _exact_sums(code, [*_product(counts, squared), *_product(counts, rest)], size)
    within = _exact_sums(code, [np.maximum(counts - 1, 0) * _floats(table, "std", 0.0) ** 2], size)
    low = np.full(size, math.inf)
    high = np.full(size, -math.inf)
    np.minimum.at(low, code, _floats(table, "min", math.inf))
    np.maximum.at(high, code, _floats(table, "max", -math.inf))

    # A record's rows follow each other, so a record is counted where it differs from the group's row before.
    records = np.stack([_codes(table, "unit"), _codes(table, "record")], axis=1)
    for group, row in enumerate(first.tolist()):
        key = tuple(column.dictionary[index.as_py()].as_py() for column, index in ((k, k.indices[row]) for k in keys))
        members = np.flatnonzero(code == group)
        sums = groups.setdefault(key, _Sums())
        sums.records += 1 + int((records[members[1:]] != records[members[:-1]]).any(axis=1).sum())
        sums.records -= sums.last_record == _record(table, int(members[0]))
        sums.last_record = _record(table, int(members[-1]))
        sums.signals += len(members)
        sums.samples += int(samples[members].sum())
        sums.valid += int(valid[members].sum())
        sums.sum += total[group]
        sums.sum_of_squares += squares[group]
        sums.within += within[group]
        sums.min = min(sums.min, float(low[group]))
        sums.max = max(sums.max, float(high[group]))


def _partial_row(key: tuple[str | None, ...], sums: _Sums) -> dict[str, Any]:
    numbers = {name: getattr(sums, name) for name in ("records", "signals", "samples", "valid", "min", "max")}
    exact = {name: format(getattr(sums, name), "x") for name in ("sum", "sum_of_squares", "within")}
    return {**dict(zip(KEYS, key, strict=True)), **numbers, **exact}


def _row(key: tuple[str | None, ...], sums: _Sums) -> dict[str, Any]:
    valid = sums.valid
    return {
        **dict(zip(KEYS, key, strict=True)),
        "records": sums.records,
        "signals": sums.signals,
        "samples": sums.samples,
        "missing_share": (sums.samples - valid) / sums.samples if sums.samples else None,
        "mean": sums.sum / (valid << SCALE) if valid else None,
        "std": _deviation(sums) if valid > 1 else None,
        "min": sums.min if valid else None,
        "max": sums.max if valid else None,
    }


def _deviation(sums: _Sums) -> float:
    """The standard deviation: squared deviations within rows, and of the rows' means from the mean of all samples.

    The latter are `sum of squares - sum**2 / n`, in which nothing is lost as both are exact.
    """
    squares = ((sums.within + sums.sum_of_squares) << SCALE) * sums.valid - sums.sum**2
    return math.sqrt(max(squares, 0) / ((sums.valid * (sums.valid - 1)) << (2 * SCALE)))


def _exact_sums(code: Any, values: Iterable[Any], size: int) -> list[int]:
    """The exact sum of floats for each group, as a whole number of `2**-SCALE`.

    Parameters
    ----------
    code
        The group of each row, shape (rows,).
    values
        Arrays of what is added, each of shape (rows,).
    size
        How many groups there are.

    Raises
    ------
    ValueError
        If a value is not finite.
    """
    sums = [0] * size
    for each in values:
        if not np.isfinite(each).all():
            raise ValueError("signal_stats cannot add what is not finite")
        fraction, exponent = np.frexp(each)
        whole = np.ldexp(fraction, 53).astype(np.int64)  # the value is whole * 2**(exponent - 53)
        shift = exponent.astype(np.int64) + (SCALE - 53)
        whole >>= np.maximum(-shift, 0)  # of a subnormal number these bits are 0
        place, where = np.unique(code * 4096 + np.maximum(shift, 0), return_inverse=True)
        low, high = np.zeros(len(place), np.int64), np.zeros(len(place), np.int64)
        np.add.at(low, where, whole & 0xFFFFFFFF)
        np.add.at(high, where, whole >> 32)
        for at, one, two in zip(place.tolist(), low.tolist(), high.tolist(), strict=True):
            sums[at >> 12] += ((two << 32) + one) << (at & 4095)
    return sums


@np.errstate(invalid="ignore", over="ignore")  # what is not finite is refused where it is summed up
def _product(a: Any, b: Any) -> tuple[Any, Any]:
    """The product of floats, and what was lost when it was rounded (Dekker 1971)."""
    product = a * b
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def _halves(a: Any) -> tuple[Any, Any]:
    """Floats as sums of two that have 26 bits each (Veltkamp 1968)."""
    large = 134_217_729.0 * a
    high = large - (large - a)
    return high, a - high


def _floats(table: pa.Table, name: str, null: float) -> Any:
    import pyarrow.compute as pc

    return pc.fill_null(table[name], null).to_numpy()


def _codes(table: pa.Table, name: str) -> Any:
    return table[name].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)


def _record(table: pa.Table, row: int) -> tuple[str, str]:
    return table["unit"][row].as_py(), table["record"][row].as_py()
