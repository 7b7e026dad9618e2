"""Which signals of WFDB records occur together, how much there is of each subject, and when records have gaps."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from scaledproc._util.text import count_text, part_text
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
    """What is covered, as far as the rows of `wfdb-summary` have come: those of a record follow each other.

    Parameters
    ----------
    hours_are, stretch
        What the hours of subjects are called, and what a stretch of time is, for a person.
    """

    records: int = 0
    together: Counter[tuple[str, str]] = field(default_factory=Counter)
    hours: dict[Any, float] = field(default_factory=dict)
    hours_of_nobody: float = 0.0
    timelines: dict[tuple[str, str], list[tuple[float, float]]] = field(default_factory=dict)
    is_cut: bool = False
    """Whether there are more records than are looked at."""
    hours_are: str = "Hours of waveforms of each subject"
    stretch: str = "a stretch is a segment"
    _places: dict[tuple[str, str], int] = field(default_factory=dict)
    """By what the records of the timeline were chosen: the smallest ones of all."""
    _seen: set[int] = field(default_factory=set)
    _sets: Counter[frozenset[str]] = field(default_factory=Counter)
    """How many records have which signals: few sets are different."""
    _record: tuple[Any, ...] | None = None
    _names: set[str] = field(default_factory=set)

    def add(self, table: pa.Table) -> None:
        """Take rows."""
        if self.is_cut:
            return
        columns = [table[name].to_pylist() for name in COLUMNS]
        for unit, record, record_name, subject, kind, name, offset, duration in zip(*columns, strict=True):
            if (unit, record) != self._record:
                if self.records >= MOST_RECORDS:
                    self._cut(unit, record_name)
                    return
                self._close()
                self._record = (unit, record)
                self.records += 1
                if duration:
                    self.add_hours(subject, duration / 3600 if kind == "waveform" else 0.0)
                if kind == "waveform" and record_name and offset is not None and duration:
                    self._place(unit, record_name, float(offset), float(duration))
            self._names.add((name or "") if kind == "waveform" else f"{name} (numerics)")

    def add_hours(self, subject: Any, hours: float) -> None:
        """Take hours of a subject; of None, hours that are of no known one."""
        if subject is None:
            self.hours_of_nobody += hours
        elif subject in self.hours or len(self.hours) < SUBJECTS:
            self.hours[subject] = self.hours.get(subject, 0.0) + hours

    def place_window(self, unit: str, record: str, offset: float, length: float) -> None:
        """Draw a window of a record, as one stretch with those before it that it follows or overlaps."""
        spans = self._spans_of(unit, record)
        if spans and spans[-1][0] <= offset <= spans[-1][1] + 1e-6:
            spans[-1] = (spans[-1][0], max(spans[-1][1], offset + length))
        elif spans is not None and len(spans) < SPANS:
            spans.append((offset, offset + length))

    def _place(self, unit: str, record: str, offset: float, duration: float) -> None:
        """Draw a stretch of a record, if the record is one of those that are chosen."""
        spans = self._spans_of(unit, record)
        if spans is not None and len(spans) < SPANS:
            spans.append((offset, offset + duration))

    def _spans_of(self, unit: str, record: str) -> list[tuple[float, float]] | None:
        """The stretches of a record, if it is one of those that are chosen, else None.

        Chosen are those whose names have the smallest hashes, so that a record is drawn with all of its segments or
        not at all: one that is too large for the smallest ones so far is too large for those that are left at the end.
        """
        key = (unit, record)
        place = _hash(key)
        self._seen.add(place)
        if key not in self.timelines:
            if len(self.timelines) >= RECORDS:
                largest = max(self._places, key=self._places.__getitem__)
                if place >= self._places[largest]:
                    return None
                del self.timelines[largest], self._places[largest]
            self.timelines[key], self._places[key] = [], place
        return self.timelines[key]

    def _cut(self, unit: str, record: str | None) -> None:
        """Look at no more records; one that goes on is not drawn, as its end would look like a gap."""
        self.is_cut = True
        if record is not None:
            self.timelines.pop((unit, record), None)

    def _close(self) -> None:
        if self._names:
            self._sets[frozenset(self._names)] += 1
            self._names.clear()

    def parts(self, share: float = 1.0) -> tuple[Facts | Spans | Matrix, ...]:
        """What a report shows of it.

        Parameters
        ----------
        share
            Which part of the table's rows was read. Of a part there are no hours of subjects and no gaps: what was not
            read would be missing in them.
        """
        self._close()
        self._record = None
        for every, records in self._sets.items():
            names = sorted(every)[:40]
            for at, one in enumerate(names):
                for other in names[at:]:
                    self.together[(one, other)] += records
        self._sets.clear()
        found: list[Facts | Spans | Matrix] = []
        alone = sorted(((count, one) for (one, other), count in self.together.items() if one == other), reverse=True)
        names = [name for _, name in alone[:SIGNALS]]
        if len(names) > 1:
            counts = tuple(tuple(self._count(one, other) for other in names) for one in names)
            several = "record or segment" if self.records == 1 else "records or segments"
            text = f"In how many of {self.records:,} {several} both are; "
            text += f"on the diagonal, how many have the signal.{self._of_which}"
            found.append(Matrix("Signals that occur together", tuple(names), counts, text))
        if self.hours and share == 1:
            hours = list(self.hours.values())
            rows = (
                (
                    count_text(len(hours), "subject"),
                    sum(hours),
                    min(hours),
                    max(hours),
                    histogram(hours, 0, max(hours)),
                ),
            )
            heads = ("", "Hours", "Least", "Most", "Subjects by their hours")
            text = f"{self.hours_of_nobody:,.4g} hours more are of no known subject." if self.hours_of_nobody else ""
            found.append(Facts(self.hours_are, heads, rows, f"{text}{self._of_which}".strip()))
        lines = [(record, tuple(sorted(spans))) for (_, record), spans in sorted(self.timelines.items()) if spans]
        if lines and share == 1:
            text = f"{part_text(len(lines), len(self._seen), 'record')}, chosen by their names' hashes; "
            text += f"{self.stretch}, what is empty a gap.{self._of_which}"
            if any(len(spans) >= SPANS for _, spans in lines):
                text += f" Of each the first {SPANS} stretches are drawn."
            found.append(Spans("Some records over time", "s", tuple(lines), text))
        return tuple(found)

    @property
    def _of_which(self) -> str:
        return (
            f" Only the first {self.records:,} records or segments of the table were looked at." if self.is_cut else ""
        )

    def _count(self, one: str, other: str) -> int:
        return self.together[(one, other) if one <= other else (other, one)]


def _hash(key: tuple[str, str]) -> int:
    digest = hashlib.blake2b("\0".join(key).encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")
