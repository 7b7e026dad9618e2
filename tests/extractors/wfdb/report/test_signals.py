"""Signals of a table summed up: compared with the rows that they are of."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import scaledproc
from scaledproc.extractors.account import DOUBTFUL, Flags
from scaledproc.extractors.wfdb.report import signals as module
from scaledproc.extractors.wfdb.report.ranges import Range, built_in
from scaledproc.extractors.wfdb.report.signals import Signals, merged_histogram, signal_worries, signals_table

RANGES = {("numerics", "HR"): Range(0, 350, ("bpm",), "test")}


def row(record: str, **changes: Any) -> dict[str, Any]:
    return {
        "unit": "u",
        "record": record,
        "kind": "waveform",
        "signal_name": "II",
        "units": "mV",
        "n_samples": 100,
        "n_missing": 0,
        "n_zero": 1,
        "n_distinct": 50,
        "n_at_min": 0,
        "n_at_max": 0,
        "min": 0.0,
        "p25": 1.0,
        "p50": 2.0,
        "p75": 3.0,
        "max": 4.0,
        "duration_s": 3600.0,
        "checksum_ok": True,
        **changes,
    }


def signals_of(rows: list[dict[str, Any]], pieces: int = 1) -> Signals:
    found = Signals(RANGES)
    table = pa.Table.from_pylist(rows)
    step = -(-len(rows) // pieces)
    for start in range(0, len(rows), step):
        found.add(table.slice(start, step))
    return found


@pytest.mark.parametrize("pieces", [1, 2, 7])
def test_sums_and_flags_do_not_depend_on_the_pieces(pieces: int) -> None:
    flat = {"n_distinct": 1, "min": 5.0, "p25": 5.0, "p50": 5.0, "p75": 5.0, "max": 5.0}
    rows = [
        row("a"),
        row("a", n_missing=50),
        row("b", **flat),
        row("b", n_at_max=2),
        row("c", checksum_ok=False),
        row("c", n_missing=100, n_zero=0, n_distinct=0, **dict.fromkeys(("min", "p25", "p50", "p75", "max"))),
        row("c", kind="numerics", signal_name="HR", units="bpm", p50=400.0, max=500.0, checksum_ok=None),
    ]
    found = signals_of(rows, pieces).found
    lead = found[("waveform", "II", "mV")]
    assert (lead.rows, lead.records, lead.samples, lead.missing, lead.zero) == (6, 3, 600, 150, 5)
    assert (lead.seconds, lead.low, lead.high) == (6 * 3600.0, 0.0, 5.0)
    assert (lead.flat, lead.saturated, lead.empty, lead.wrong, lead.checked) == (1, 1, 1, 1, 6)
    rate = found[("numerics", "HR", "bpm")]
    assert (rate.outside, rate.ranged, rate.checked) == (1, 1, 0)
    texts = [each.text for each in signal_worries(signals_of(rows, pieces), ("row", "rows")) if each.weight == DOUBTFUL]
    assert any("do not match the header's checksum" in text for text in texts)
    assert any("is no physiological value: HR (1)" in text for text in texts)
    assert any("1 of 7 rows has a single value throughout: II (1)" in text for text in texts)


ZERO_CASES: dict[str, tuple[dict[str, Any], bool]] = {
    "an ECG of 8 bits, whose baseline is 0": ({"n_zero": 45, "min": -0.55, "p25": 0.0, "p75": 0.1, "max": 0.1}, False),
    "a few zeros at the edge": (
        {"n_zero": 4, "min": 0.0, "p25": 0.0, "p75": 0.1, "max": 0.9},
        False,
    ),
    "a pressure wave whose line was flushed": ({"n_zero": 6, "min": 0.0, "p25": 60.0, "p75": 90.0, "max": 180.0}, True),
    "a wave below 0": ({"n_zero": 30, "min": -4.0, "p25": -2.0, "p75": 0.0, "max": 0.0}, True),
    "a rate": ({"kind": "numerics", "n_zero": 39, "min": 0.0, "p25": 0.0, "p75": 65.0, "max": 103.0}, True),
    "a pressure with an odd value": (
        {"kind": "numerics", "n_zero": 28, "min": -7.7, "p25": 0.0, "p75": 8.5, "max": 338.0},
        True,
    ),
    "ST segments around 0": (
        {"kind": "numerics", "n_zero": 12, "min": -0.9, "p25": -0.2, "p75": 0.3, "max": 1.1},
        False,
    ),
}


@pytest.mark.parametrize("case", ZERO_CASES)
def test_zeros_are_told_where_a_signal_does_not_cross_0(case: str) -> None:
    changes, is_told = ZERO_CASES[case]
    signals = signals_of([row("a", **changes)])
    flags = signals_table(signals, "rows").rows[0][-1]
    assert isinstance(flags, Flags)
    assert flags.texts == ((f"{changes['n_zero']} % of values are 0, and may stand for none",) if is_told else ())
    worried = any("exactly 0" in each.text for each in signal_worries(signals, ("row", "rows")))
    assert worried == (is_told and changes.get("kind") == "numerics")


def test_zeros_of_real_records_are_told_of_numerics_alone(shared_data: Path, tmp_path: Path) -> None:
    run = scaledproc.run(shared_data / "mimic3wdb", tmp_path / "out", jobs=1, report=False)
    found = Signals(built_in())
    found.add(run.to_arrow())
    told = {
        name: flags.texts
        for name, kind, *_, flags in signals_table(found, "rows").rows
        if isinstance(flags, Flags) and any("are 0" in text for text in flags.texts) and kind == "waveform"
    }
    assert told == {}
    zeros = {name for (kind, name, _), each in found.found.items() if kind == "numerics" and each.zero}
    assert {"HR", "SpO2", "ABP_sys", "CVP"} <= zeros
    table = run.to_arrow().to_pandas().query("kind == 'waveform' and signal_name == 'V'")
    assert table["n_zero"].sum() > 0.05 * (table["n_samples"] - table["n_missing"]).sum(), "there are ECGs of 8 bits"


@pytest.mark.parametrize(
    ("changes", "is_flagged"),
    [
        ({"min": -0.5, "p25": -0.1, "p50": 0.0, "p75": 0.1, "max": 1.2}, False),
        ({"min": -6.0, "p25": -0.1, "p50": 0.0, "p75": 0.1, "max": 7.0}, False),  # a few artefacts
        ({"min": 9.9, "p25": 10.1, "p50": 10.2, "p75": 10.3, "max": 11.2}, True),  # counts of 12 bits by 200 a mV
        ({"min": -500.0, "p25": -90.0, "p50": 0.0, "p75": 80.0, "max": 1200.0}, True),  # microvolts
        ({"signal_name": "ABP", "units": "mmHg", "min": 40, "p25": 70, "p50": 85, "p75": 110, "max": 150}, False),
        ({"signal_name": "ABP", "units": "mmHg", "min": 0.1, "p25": 2.0, "p50": 3, "p75": 4.0, "max": 5.1}, True),
        ({"signal_name": "ABP", "units": "mmHg", "min": 100, "p25": 300, "p50": 310, "p75": 900, "max": 950}, True),
    ],
)
def test_waveforms_far_outside_of_what_is_physiological_are_flagged(changes: dict[str, Any], is_flagged: bool) -> None:
    """As where nobody calibrated them."""
    found = Signals(built_in())
    found.add(pa.Table.from_pylist([row("a", **changes), row("b", **changes)]))
    (line,) = signals_table(found, "rows").rows
    texts = [each.text for each in signal_worries(found, ("row", "rows")) if "A quarter or more" in each.text]
    assert isinstance(line[-1], Flags)
    assert any("out of range" in text for text in line[-1].texts) == is_flagged
    name = changes.get("signal_name", "II")
    expected = (
        f"A quarter or more of the values of 2 of 2 rows are none that a monitor measures of a patient: {name} (2)."
    )
    assert texts == ([expected] if is_flagged else [])


def test_waveforms_of_real_records_are_flagged_where_they_are_not_calibrated(shared_data: Path, tmp_path: Path) -> None:
    """Such as 3544749, of which an ECG has steps of 8 mV, and a pressure those of the ECG."""
    run = scaledproc.run(shared_data / "mimic3wdb", tmp_path / "out", jobs=1, report=False)
    found = Signals(built_in())
    found.add(run.to_arrow())
    waves = {name: each for (kind, name, _), each in found.found.items() if kind == "waveform"}
    assert {name: each.outside for name, each in waves.items() if each.outside} == {"II": 1, "ABP": 3, "aVF": 4}
    assert waves["II"].ranged > 25


def test_a_signal_in_other_units_is_not_compared_with_the_range() -> None:
    rows = [row("a", kind="numerics", signal_name="HR", units="pm", p50=400.0)]
    assert signals_of(rows).found[("numerics", "HR", "pm")].outside == 0


def test_the_merged_histogram_has_all_values_and_their_middle() -> None:
    chance = np.random.default_rng(1)
    rows = []
    every = []
    for record in range(200):
        values = chance.uniform(0, 5, 1000) + chance.normal(10, 2)
        every.append(values)
        low, p25, p50, p75, high = np.quantile(values, [0, 0.25, 0.5, 0.75, 1]).tolist()
        own = {"n_samples": 1000, "min": low, "p25": p25, "p50": p50, "p75": p75, "max": high}
        rows.append(row(str(record), **own))
    merged = merged_histogram(signals_of(rows).found[("waveform", "II", "mV")])
    assert merged is not None
    assert sum(merged.counts) + merged.below + merged.above == pytest.approx(200_000, abs=2)
    edges, counts = np.array(merged.edges), np.array(merged.counts)
    below = np.concatenate([[merged.below], merged.below + counts.cumsum()]) / 200_000
    truth = np.array([(np.concatenate(every) < edge).mean() for edge in edges])
    assert np.abs(below - truth).max() < 0.01  # exact but for chance, as the values of a row are spread evenly


def test_a_histogram_of_equal_values_is_one_bin() -> None:
    same = dict.fromkeys(("min", "p25", "p50", "p75", "max"), 7.0)
    merged = merged_histogram(signals_of([row("a", **same)]).found[("waveform", "II", "mV")])
    assert merged is not None
    assert list(merged.counts) == [100]


def test_flat_rows_at_the_last_edge_are_in_the_last_bin() -> None:
    """Beside others that reach beyond it."""
    flat = dict.fromkeys(("min", "p25", "p50", "p75", "max"), 4.0)
    rows = [row(str(at)) for at in range(50)] + [row(f"flat{at}", **flat) for at in range(150)]
    rows.append(row("far", max=1000.0))
    merged = merged_histogram(signals_of(rows).found[("waveform", "II", "mV")])
    assert merged is not None
    assert merged.edges[-1] == 4.0
    assert merged.counts[-1] >= 15_000
    assert merged.above < 100


def test_many_rows_are_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 10)
    found = signals_of([row(str(at)) for at in range(500)], 20).found[("waveform", "II", "mV")]
    assert sum(each.shape[1] for each in found.quantiles) <= 20
    assert found.samples == 50_000


def test_a_histogram_of_thinned_rows_counts_all_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 10)
    rows = [row(str(at), max=1000.0 if at % 16 == 0 else 4.0) for at in range(512)]
    found = signals_of(rows, 16)
    merged = merged_histogram(found.found[("waveform", "II", "mV")])
    assert merged is not None
    assert sum(merged.counts) + merged.below + merged.above == pytest.approx(51_200, abs=2)
    assert "at equal distances, scaled to all" in signals_table(found, "rows").text


def test_hours_are_of_samples_and_their_rate_where_no_length_is_told() -> None:
    rows = [{**row(each), "n_samples": 3600, "fs": fs} for each, fs in (("a", 0.5), ("b", 1.0), ("c", None))]
    table = pa.Table.from_pylist(rows).drop_columns(["duration_s"])
    found = Signals(RANGES)
    found.add(table)
    told = signals_table(found, "windows")
    assert [dict(zip(told.heads, each, strict=True))["Hours"] for each in told.rows] == [3.0]
    assert "whose length is known" in told.text
    assert not any(head.startswith("Hours") for head in signals_table(found, "windows", overlap=True).heads)
    unknown = Signals(RANGES)
    unknown.add(table.slice(2))
    (line,) = signals_table(unknown, "windows").rows
    assert line[4] is None


def test_counts_are_called_what_they_are() -> None:
    assert signals_table(signals_of([row("a")]), "rows").heads[3:5] == ("Records and segments", "Hours")
    assert signals_table(signals_of([row("a")]), "rows", share=0.5).heads[3:5] == (
        *("Records and segments read", "Hours read"),
    )


def test_nothing_known_is_no_number() -> None:
    empty = {"n_missing": 100, **dict.fromkeys(("min", "p25", "p50", "p75", "max"))}
    table = pa.Table.from_pylist([row("a", **empty)], schema=pa.Table.from_pylist([row("a")]).schema)
    found = Signals(RANGES)
    found.add(table)
    (shown,) = signals_table(found, "rows").rows
    assert shown[6:9] == (None, None, None)


def test_the_built_in_ranges_say_who_says_so() -> None:
    assert len(built_in()) > 10
    assert all(each.low < each.high and each.source and each.units for each in built_in().values())
    assert all(math.isfinite(each.high) for each in built_in().values())
