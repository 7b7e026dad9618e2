"""Coverage of records, of rows that are made up: many records of many segments."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from scaledproc.extractors.account import Facts, Spans
from scaledproc.extractors.wfdb.report import coverage as module
from scaledproc.extractors.wfdb.report.coverage import RECORDS, Coverage


def rows_of(records: int, segments: int) -> list[dict[str, Any]]:
    """Segments of an hour without a gap between them."""
    return [
        {
            "unit": f"u{record}",
            "record": f"u{record}/{segment}",
            "record_name": "r",
            "subject_id": record,
            "kind": "waveform",
            "signal_name": "II",
            "offset_s": segment * 3600.0,
            "duration_s": 3600.0,
        }
        for record in range(records)
        for segment in range(segments)
    ]


def test_hours_of_no_known_subject_are_told() -> None:
    def facts(rows: list[dict[str, Any]]) -> Facts:
        covered = Coverage()
        covered.add(pa.Table.from_pylist(rows))
        return next(each for each in covered.parts() if isinstance(each, Facts))

    rows = rows_of(3, 2)
    assert facts(rows).text == ""
    for row in rows[2:]:
        row["subject_id"] = None
    shown = facts(rows)
    assert shown.rows[0][:2] == ("1 subject", 2.0)
    assert shown.text == "4 hours more are of no known subject."


def spans_of(covered: Coverage) -> Spans | None:
    return next((each for each in covered.parts() if isinstance(each, Spans)), None)


@pytest.mark.parametrize("piece", [1, 7, 10_000])
def test_a_record_is_drawn_with_all_of_its_segments_or_not_at_all(piece: int) -> None:
    covered = Coverage()
    table = pa.Table.from_pylist(rows_of(60, 5))
    for start in range(0, table.num_rows, piece):
        covered.add(table.slice(start, piece))
    shown = spans_of(covered)
    assert shown is not None
    whole = tuple((segment * 3600.0, (segment + 1) * 3600.0) for segment in range(5))
    assert [spans for _, spans in shown.lines] == [whole] * RECORDS
    assert "8 of 60 records" in shown.text


def test_where_the_looking_ends_no_record_looks_as_if_it_had_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_RECORDS", 12)
    covered = Coverage()
    covered.add(pa.Table.from_pylist(rows_of(5, 5)))
    shown = spans_of(covered)
    assert covered.records == 12
    assert shown is not None
    assert [len(spans) for _, spans in shown.lines] == [5, 5]
    assert "Only the first 12 records or segments" in shown.text


def test_of_a_part_of_the_rows_there_is_nothing_that_reading_all_would_change() -> None:
    covered = Coverage()
    covered.add(pa.Table.from_pylist(rows_of(3, 2)))
    assert covered.parts()
    assert covered.parts(0.5) == ()
