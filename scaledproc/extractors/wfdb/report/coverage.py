"""Which signals of WFDB records occur together, how much there is of each subject, and when records have gaps."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from scaledproc.extractors.account import Facts, Matrix, Spans, histogram

SIGNALS = 12
"""Signals of the matrix, those of the most records."""
RECORDS = 8
"""Records of the timeline."""
SUBJECTS = 200_000
"""Subjects whose hours are counted."""
SPANS = 300
"""Stretches of a record that are drawn."""
MOST_RECORDS = 300_000
"""Records that are looked at: one line of the table after the other, so this takes the most time."""
COLUMNS = ("unit", "record", "record_name", "subject_id", "kind", "signal_name", "offset_s", "duration_s")


@dataclass
class Coverage:
    """What is covered, as far as the rows of `wfdb-summary` have come: those of a record follow each other."""

    records: int = 0
    together: Counter[tuple[str, str]] = field(default_factory=Counter)
    hours: dict[Any, float] = field(default_factory=dict)
    timelines: dict[tuple[str, str], list[tuple[float, float]]] = field(default_factory=dict)
    _seen: int = 0
    _record: tuple[Any, ...] | None = None
    _names: set[str] = field(default_factory=set)
    _chance: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311 - a choice that can be made again

    def add(self, table: pa.Table) -> None:
        """Take rows."""
        if self.records > MOST_RECORDS:
            return
        columns = [table[name].to_pylist() for name in COLUMNS]
        for unit, record, record_name, subject, kind, name, offset, duration in zip(*columns, strict=True):
            if (unit, record) != self._record:
                self._close()
                self._record = (unit, record)
                self.records += 1
                if subject is not None and duration and (subject in self.hours or len(self.hours) < SUBJECTS):
                    self.hours[subject] = self.hours.get(subject, 0.0) + (
                        duration / 3600 if kind == "waveform" else 0.0
                    )
                if kind == "waveform" and record_name and offset is not None and duration:
                    self._place(unit, record_name, float(offset), float(duration))
            self._names.add((name or "") if kind == "waveform" else f"{name} (numerics)")

    def _place(self, unit: str, record: str, offset: float, duration: float) -> None:
        """Draw a stretch of a record, if the record is one of those that are chosen."""
        key = (unit, record)
        if key not in self.timelines:
            self._seen += 1
            if len(self.timelines) < RECORDS:
                self.timelines[key] = []
            else:  # each record has the same chance: reservoir sampling, Vitter 1985, algorithm R
                place = self._chance.randrange(self._seen)
                if place >= RECORDS:
                    return
                del self.timelines[list(self.timelines)[place]]
                self.timelines[key] = []
        spans = self.timelines[key]
        if len(spans) < SPANS:
            spans.append((offset, offset + duration))

    def _close(self) -> None:
        names = sorted(self._names)[:40]
        for at, one in enumerate(names):
            for other in names[at:]:
                self.together[(one, other)] += 1
        self._names = set()

    def parts(self) -> tuple[Facts | Spans | Matrix, ...]:
        """What a report shows of it."""
        self._close()
        self._record = None
        found: list[Facts | Spans | Matrix] = []
        alone = sorted(((count, one) for (one, other), count in self.together.items() if one == other), reverse=True)
        names = [name for _, name in alone[:SIGNALS]]
        if len(names) > 1:
            counts = tuple(tuple(self._count(one, other) for other in names) for one in names)
            text = f"In how many of {self.records:,} records or segments both are; "
            text += "on the diagonal, how many have the signal."
            found.append(Matrix("Signals that occur together", tuple(names), counts, text))
        if self.hours:
            hours = list(self.hours.values())
            rows = ((f"{len(hours):,} subjects", sum(hours), min(hours), max(hours), histogram(hours, 0, max(hours))),)
            heads = ("", "Hours", "Least", "Most", "Subjects by their hours")
            found.append(Facts("Hours of waveforms of each subject", heads, rows))
        lines = [(record, tuple(sorted(spans))) for (_, record), spans in sorted(self.timelines.items()) if spans]
        if lines:
            text = f"{len(lines)} records of {self._seen:,}, chosen by chance; a stretch is a segment, "
            text += "what is empty a gap."
            found.append(Spans("Some records over time", "s", tuple(lines), text))
        return tuple(found)

    def _count(self, one: str, other: str) -> int:
        return self.together[(one, other) if one <= other else (other, one)]
