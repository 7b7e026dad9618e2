"""What the values of one column sum up to, piece by piece."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

QUANTILES = {"p05": 5, "p25": 25, "p50": 50, "p75": 75, "p95": 95}
"""Columns of percentiles, and their percents."""
LONGEST = 1_000
"""Characters of a value that is told."""
_FEW = 100_000  # values that are put together at a time


class Column:
    """The statistics of a column.

    Means and deviations are of each piece by pyarrow, put together by Chan, Golub and LeVeque's formula. What needs all
    values comes from how often each is there, which takes memory by the number of different ones.

    Parameters
    ----------
    kind
        The type of all of its values.
    was_text
        Whether they were read from a text, where a whole number among floats may have been rounded.
    """

    def __init__(self, kind: pa.DataType, *, was_text: bool = False) -> None:
        self.kind = kind
        self.may_be_rounded = was_text and pa.types.is_floating(kind)
        types = pa.types
        self.is_number = any(each(kind) for each in (types.is_integer, types.is_floating, types.is_decimal))
        self.is_number |= types.is_boolean(kind)
        self.is_bytes = types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)
        self.is_text = types.is_string(kind) or types.is_large_string(kind)
        self.is_counted = self.is_number or self.is_bytes or self.is_text or types.is_temporal(kind)
        self.notes: list[str] = [] if self.is_counted or types.is_null(kind) else [f"{kind} has no statistics"]
        self.count = self.missing = 0
        self.mean = self.squares = 0.0  # of deviations from the mean
        self.ends: list[Any] = []  # first, last, min and max, as values of Python or of Arrow
        self.lengths: tuple[int, int, int] | None = None  # least, sum, most
        self._plain = _plain_type(kind)
        self._counts: pa.Table | None = None
        self._new: list[pa.Table] = []
        self.keeps_counts = self.is_counted

    @property
    def nbytes(self) -> int:
        """The memory that different values take."""
        return sum(each.nbytes for each in [self._counts, *self._new] if each is not None)

    def forget_counts(self) -> None:
        """Do without what needs all values: there are too many different ones."""
        self.keeps_counts, self._counts, self._new = False, None, []
        self.notes.append("too many different values: distinct, percentiles and top are not known")

    def add(self, array: pa.Array) -> None:
        """Take some more rows."""
        size = len(array)
        array = array.drop_null()
        if pa.types.is_floating(self.kind):
            array = pc.add(array.filter(pc.invert(pc.is_nan(array))), pa.scalar(0, self.kind))  # -0 is 0
        self.missing += size - len(array)
        before, self.count = self.count, self.count + len(array)
        if not self.is_counted or not len(array):
            return
        if self.is_number:
            self._add_moments(array.cast(pa.float64(), safe=False), before)
        if self.is_text or self.is_bytes:
            self._add_lengths(pc.utf8_length(array) if self.is_text else pc.binary_length(array))
        least = pc.min_max(array)
        found = [array[0], array[-1], least["min"], least["max"]]
        if self.ends:
            found[0] = self.ends[0]
            for index, function in ((2, pc.min_element_wise), (3, pc.max_element_wise)):
                found[index] = function(self.ends[index], found[index])
        self.ends = found
        if self.keeps_counts:
            if self._plain is not None:
                self._new.append(_runs(np.sort(array.view(self._plain).to_numpy())))
            else:
                self._new.append(pa.table(dict(zip(("value", "n"), array.value_counts().flatten(), strict=True))))
            if sum(map(len, self._new)) > max(_FEW, len(self._counts or ())):
                self._put_together()

    def _add_moments(self, array: pa.Array, before: int) -> None:
        mean, size = pc.mean(array).as_py(), len(array)
        distance = mean - self.mean
        self.mean += distance * (size / self.count)
        self.squares += pc.variance(array).as_py() * size + distance * distance * (before * (size / self.count))

    def _add_lengths(self, lengths: pa.Array) -> None:
        found = pc.min_max(lengths).as_py()
        least, total, most = self.lengths or (found["min"], 0, 0)
        self.lengths = min(least, found["min"]), total + pc.sum(lengths).as_py(), max(most, found["max"])

    def _put_together(self) -> pa.Table:
        """How often each value is there."""
        tables = [each for each in (self._counts, *self._new) if each is not None]
        if self._plain is not None:
            self._counts, self._new = _merged(tables), []
            return self._counts
        grouped = pa.concat_tables(tables).group_by("value", use_threads=False).aggregate([("n", "sum")])
        self._counts, self._new = grouped.rename_columns({"n_sum": "n"}), []
        return self._counts

    def row(self) -> dict[str, Any]:
        """The statistics by their names."""
        row: dict[str, Any] = {"type": str(self.kind), "count": self.count, "missing": self.missing}
        if self.count and self.is_counted:
            first, last, least, greatest = self.ends
            if self.is_number:
                is_constant = least == greatest
                row["mean"] = _finite(float(least.as_py()) if is_constant else self.mean)
                if self.count > 1 and row["mean"] is not None:
                    row["std"] = 0.0 if is_constant else _finite(math.sqrt(self.squares / (self.count - 1)))
                row["min"], row["max"] = _exact(least.as_py()), _exact(greatest.as_py())
                if self.may_be_rounded and any(2**53 <= abs(each) < math.inf for each in (row["min"], row["max"])):
                    self.notes.append(f"whole numbers beyond 2**53 are rounded to {self.kind}")
            if self.lengths:
                row["length_min"], total, row["length_max"] = self.lengths
                row["length_mean"] = total / self.count
            texts = {"first": first, "last": last, "min_text": least, "max_text": greatest}
            if self.keeps_counts:
                texts["top"] = self._describe_counts(row)
            for name, value in texts.items():
                row[name] = self._text(value, name)
        row["note"] = "; ".join(self.notes) or None
        return row

    def _describe_counts(self, row: dict[str, Any]) -> pa.Scalar:
        table = self._put_together()
        if self._plain is None:
            table = table.sort_by("value").combine_chunks()
        elif self._plain != self.kind:
            table = table.set_column(0, "value", [table["value"].combine_chunks().view(self.kind)])
        row["distinct"] = len(table)
        until = np.cumsum(table["n"].to_numpy())
        if self.is_number:
            for name, percent in QUANTILES.items():
                place, part = divmod((self.count - 1) * percent, 100)
                low, high = (
                    table["value"][int(np.searchsorted(until, each, "right"))].as_py()
                    for each in (place, min(place + 1, self.count - 1))
                )
                row[name] = _exact(low) if low == high or not part else _between(_exact(low), _exact(high), part / 100)
        row["top_count"] = pc.max(table["n"]).as_py()
        return table["value"][pc.index(table["n"], row["top_count"]).as_py()]

    def _text(self, value: pa.Scalar, name: str) -> str | None:
        """A value in full as a text: bytes in hexadecimal digits, a long one not at all."""
        text: str = value.as_py().hex() if self.is_bytes else value.cast(pa.string()).as_py()
        if len(text) <= LONGEST:
            return text
        self.notes.append(f"{name} has {len(text):,} characters")
        return None


def _plain_type(kind: pa.DataType) -> pa.DataType | None:
    """The type of a machine's numbers as which values are sorted, which takes a tenth of the time of hashing them."""
    types = pa.types
    if types.is_integer(kind) or types.is_float64(kind) or types.is_float32(kind):
        return kind
    if types.is_temporal(kind):
        return {32: pa.int32(), 64: pa.int64()}.get(kind.bit_width)
    return None


def _runs(values: Any, often: Any = None) -> pa.Table:
    """Values that are sorted, each once with how often it is there; `often` says how often each place counts."""
    firsts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    counts = np.diff(firsts, append=len(values)) if often is None else np.add.reduceat(often, firsts)
    return pa.table({"value": values[firsts], "n": counts})


def _merged(tables: list[pa.Table]) -> pa.Table:
    if len(tables) == 1:
        return tables[0]
    values, often = (np.concatenate([each[name].to_numpy() for each in tables]) for name in ("value", "n"))
    order = np.argsort(values, kind="stable")  # which merges what is sorted in parts
    return _runs(values[order], often[order])


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _between(low: float | None, high: float | None, part: float) -> float | None:
    """So far from one value to another; None where one is not known, or there is no number between infinities."""
    if low is None or high is None:
        return None
    value = low * (1 - part) + high * part
    return None if math.isnan(value) else value


def _exact(value: Any) -> float | None:
    """A value as a float; None for a whole number that none is equal to."""
    return float(value) if float(value) == value or int(value) != value else None
