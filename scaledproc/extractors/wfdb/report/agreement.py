"""Whether a monitor's heart rate agrees with the beats that were found in the same window of the same record."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from scaledproc._util.text import part_text
from scaledproc.extractors.account import DOUBTFUL, Facts, Share, Worry, histogram

APART = 10.0
"""Beats a minute from which on both disagree: twice the 5 that AAMI EC13:2002 allows a meter at rates up to 50."""
WINDOWS = 200_000
"""Windows that are held, to meet those of the record's numerics."""
COLUMNS = ("unit", "record_name", "kind", "signal_name", "units", "window", "offset_s", "n_zero", "mean", "hr",
           "beat_quality")  # fmt: skip
GOOD = 0.5
"""Quality of beats from which on their rate is compared."""


@dataclass
class Agreement:
    """Pairs of rates of one window, as far as the rows of `wfdb-windows` have come."""

    differences: list[float] = field(default_factory=list)
    _unit: Any = None
    _monitor: dict[tuple[Any, float], float] = field(default_factory=dict)
    _beats: dict[tuple[Any, float], list[float]] = field(default_factory=dict)
    _silent: set[tuple[Any, float]] = field(default_factory=set)
    """Windows in which the monitor had no value."""

    def add(self, table: pa.Table) -> None:
        """Take rows."""
        if len(self.differences) > WINDOWS or not {"hr", "beat_quality"} <= set(table.column_names):
            return
        columns = [table[name].to_pylist() for name in COLUMNS]
        for unit, record, kind, name, units, _, offset, zeros, mean, hr, quality in zip(*columns, strict=True):
            if unit != self._unit:
                self._close()
                self._unit = unit
            if offset is None or record is None or len(self._beats) > WINDOWS:
                continue
            key = (record, float(offset))
            if kind == "numerics" and name == "HR" and units == "bpm":
                if zeros:  # which stand for no value, and falsify a mean
                    self._silent.add(key)
                elif mean is not None and mean > 0:
                    self._monitor[key] = float(mean)
            elif kind == "waveform" and hr is not None and quality is not None and quality >= GOOD:
                self._beats.setdefault(key, []).append(float(hr))

    def _close(self) -> None:
        for key, rates in self._beats.items():
            if key in self._monitor and key not in self._silent:
                ordered = sorted(rates)
                self.differences.append(ordered[len(ordered) // 2] - self._monitor[key])
        self._monitor, self._beats, self._silent = {}, {}, set()

    def parts(self) -> tuple[Facts, ...]:
        """What a report shows of it: nothing where no window has both."""
        self._close()
        found = self.differences
        if not found:
            return ()
        bias = math.fsum(found) / len(found)
        apart = sum(abs(each) > APART for each in found)
        edges = max(APART * 2, sorted(map(abs, found))[round(0.98 * (len(found) - 1))])
        heads = ("Windows with both", "Mean difference, bpm", f"More than {APART:g} bpm apart", "Differences")
        row = (len(found), bias, Share(apart, len(found)), histogram(found, -edges, edges))
        text = "The rate of the beats that were found, less the mean of the monitor's HR in the same window; of "
        text += f"several waves the middle rate, of beats with a quality of {GOOD:g} or more. Windows in which the "
        text += "monitor's HR is zero are left out, as that stands for no value."
        return (Facts("Heart rate: beats against the monitor", heads, (row,), text),)

    def worries(self) -> list[Worry]:
        """What to worry about; `parts` has been called before."""
        count = len(self.differences)
        apart = sum(abs(each) > APART for each in self.differences)
        if count < 20 or apart <= 0.1 * count:
            return []
        text = f"In {part_text(apart, count, 'window')} the rate of the beats and the monitor's HR are "
        text += f"more than {APART:g} bpm apart."
        return [Worry(DOUBTFUL, text)]
