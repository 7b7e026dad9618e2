"""What is told of whole tables, of real runs of the demo dataset: coverage, rates, pieces of the data."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import wfdb
from support import Cli

import scaledproc
from scaledproc.errors import UsageError
from scaledproc.extractors import load_extractor
from scaledproc.extractors.account import Account, Example, Facts, Matrix, Spans
from scaledproc.extractors.wfdb.report.agreement import Agreement
from scaledproc.extractors.wfdb.report.ranges import parse
from scaledproc.extractors.wfdb.report.tables import account_of_summary, account_of_windows
from scaledproc.extractors.wfdb.report.window_rows import WindowCoverage
from scaledproc.reporting.report.gather import gather
from scaledproc.run_folder.run import Run
from scaledproc.storage.store import Store
from scaledproc.testing import output_bytes


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    from scaledproc.demo import write_demo

    folder = tmp_path_factory.mktemp("report")
    return scaledproc.run(write_demo(folder / "data"), folder / "out", jobs=1)


def test_the_account_of_a_summary_equals_its_table(made: Run) -> None:
    table = made.to_arrow()
    account = account_of_summary(lambda columns: iter([table.select(list(columns))]))
    signals, matrix, *others = account.parts
    assert isinstance(signals, Facts)
    assert isinstance(matrix, Matrix)
    frame = table.to_pandas()
    grouped = frame.groupby(["signal_name", "kind", "units"])
    assert len(signals.rows) == len(grouped)
    rows_of: list[Any] = list(signals.rows)
    for name, kind, units, records, hours, missing, low, high, *_ in rows_of:
        rows = grouped.get_group((name, kind, units))
        assert records == len(rows.groupby(["unit", "record"]))
        assert hours == pytest.approx(rows["duration_s"].sum() / 3600)
        assert (missing.part, missing.whole) == (rows["n_missing"].sum(), rows["n_samples"].sum())
        assert (low, high) == (rows["min"].min(), rows["max"].max())
    for name, counts in zip(matrix.names, matrix.counts, strict=True):
        kind = "numerics" if name.endswith(" (numerics)") else "waveform"
        chosen = (frame["signal_name"] == name.removesuffix(" (numerics)")) & (frame["kind"] == kind)
        with_it = frame[chosen][["unit", "record"]].drop_duplicates()
        assert counts[matrix.names.index(name)] == len(with_it)
    (spans,) = [each for each in others if isinstance(each, Spans)]
    for record, stretches in spans.lines:
        own = frame[(frame["record_name"] == record) & (frame["kind"] == "waveform")]
        assert sum(stop - begin for begin, stop in stretches) == pytest.approx(
            own.drop_duplicates("record")["duration_s"].sum()
        )


def test_examples_are_the_samples_and_the_same_each_time(made: Run) -> None:
    first, second = (gather(made, extractor=made.extractor, examples=2).examples for _ in range(2))
    assert first == second
    assert len(first) == 2
    for example in first:
        _same_as_wfdb(example, Path(made.dataset.root))


def _same_as_wfdb(example: Example, root: Path) -> None:
    name = example.title.partition(", from")[0]
    record = wfdb.rdrecord(str(root / name))
    for channel, trace in enumerate(example.traces):
        assert (trace.label, trace.units) == (record.sig_name[channel], record.units[channel])
        drawn = np.array([np.nan if value is None else value for value in trace.values])
        windows = np.lib.stride_tricks.sliding_window_view(record.p_signal[:, channel], len(drawn))
        same = np.isclose(windows, drawn, rtol=1e-4, atol=1e-4, equal_nan=True).all(axis=1)
        assert same.any()


def test_no_example_is_read_where_none_is_wanted(made: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scaledproc.reporting.report.examples.find_examples", None)
    assert gather(made, extractor=made.extractor).examples == ()


def test_rates_are_compared_within_a_window_of_a_record() -> None:
    rows = []
    for at in range(40):
        common = {"unit": "u", "record_name": "r", "window": at, "offset_s": at * 60.0, "n_zero": 0}
        blank = {"hr": None, "beat_quality": None}
        rows.append(common | blank | {"kind": "numerics", "signal_name": "HR", "units": "bpm", "mean": 80.0})
        beats = {"hr": 80.0 if at % 4 else 110.0, "beat_quality": 0.9, "mean": 0.0}
        rows.append(common | beats | {"kind": "waveform", "signal_name": "II", "units": "mV"})
    rows.append({**rows[1], "record_name": "other"})  # no numerics of that record
    rates = Agreement()
    rates.add(pa.Table.from_pylist(rows))
    rows_shown: list[Any] = [each.rows for each in rates.parts()]
    ((row,),) = rows_shown
    assert row[0] == 40
    assert row[1] == pytest.approx(7.5)
    (worry,) = rates.worries()
    assert "In 10 of 40 windows" in worry.text


def test_a_window_with_a_zero_of_the_monitor_has_no_rate() -> None:
    """Of 60 values 30 are literal zeros for no value: their mean is half the rate, and no rate at all."""
    common = {"unit": "u", "record_name": "r", "offset_s": 0.0}
    heart = common | {"kind": "numerics", "signal_name": "HR", "units": "bpm", "hr": None, "beat_quality": None}
    beats = {"kind": "waveform", "signal_name": "II", "units": "mV", "hr": 80.0, "beat_quality": 0.9, "mean": 0.0}
    rows = []
    for at, zeros in enumerate(([0], [30], [0, 60], [60, 0])):
        when = {"window": at, "offset_s": at * 60.0}
        rows += [heart | when | {"n_zero": n, "mean": 80.0 * (60 - n) / 60} for n in zeros]
        rows.append(common | beats | when | {"n_zero": 7})
    rates = Agreement()
    rates.add(pa.Table.from_pylist(rows))
    rates.parts()
    assert rates.differences == [0.0]


def test_windows_have_an_account_too(made: Run, tmp_path: Path) -> None:
    run = scaledproc.run(made.dataset.uri, tmp_path / "w", extractor="wfdb-windows", limit=2, jobs=1)
    found = gather(run, extractor=run.extractor)
    assert found.problems == ()
    assert found.account is not None
    signals = found.account.parts[0]
    assert isinstance(signals, Facts)
    frame = run.to_arrow().to_pandas()
    known = frame[frame["fs"].notna()]
    seconds = (
        (known["n_samples"] / known["fs"]).groupby([known[each] for each in ("signal_name", "kind", "units")]).sum()
    )
    hours = {(name, kind, units): hours for name, kind, units, _, hours, *_ in signals.rows if hours is not None}
    assert hours
    assert hours == {key: pytest.approx(value / 3600) for key, value in seconds.items()}


def with_subjects(run: Run, wide: tuple[str, ...] = ()) -> tuple[pa.Table, Account]:
    """A table of windows of the demo with the record's number as that of a subject, and what is told of it."""
    table = run.to_arrow()
    subjects = table["record_name"].cast(pa.int64())
    table = table.set_column(table.column_names.index("subject_id"), "subject_id", subjects)
    account = account_of_windows(
        lambda columns: iter([table.select(list(columns))]), table.column_names, 60.0, 60.0, wide=wide
    )
    assert account is not None
    return table, account


@pytest.mark.parametrize("layout", ["long", "wide"])
def test_windows_tell_what_is_covered(made: Run, tmp_path: Path, layout: str) -> None:
    names = ("II", "ABP", "PLETH", "HR")
    options = {"layout": layout, "signals": names}
    run = scaledproc.run(made.dataset.uri, tmp_path / "w", extractor="wfdb-windows", options=options, jobs=1)
    assert gather(run, extractor=run.extractor).account is not None
    table, account = with_subjects(run, names if layout == "wide" else ())
    signals, matrix, hours, spans, *rates = account.parts
    if layout == "wide":
        long = scaledproc.run(
            made.dataset.uri, tmp_path / "l", extractor="wfdb-windows", options={"signals": names}, jobs=1
        )
        table, told = with_subjects(long)
        assert account == told
    frame = table.to_pandas()
    assert isinstance(signals, Facts)
    assert {row[0] for row in signals.rows} == set(frame["signal_name"])
    assert isinstance(matrix, Matrix)
    sets = frame.groupby(["unit", "record"]).apply(
        lambda rows: set(rows["signal_name"].where(rows["kind"] == "waveform", rows["signal_name"] + " (numerics)")),
        include_groups=False,
    )
    for one, counts in zip(matrix.names, matrix.counts, strict=True):
        for other, count in zip(matrix.names, counts, strict=True):
            assert count == sum({one, other} <= each for each in sets)
    waves = frame[frame["kind"] == "waveform"]
    known = waves.assign(seconds=waves["n_samples"] / waves["fs"])
    seconds = known.groupby(["subject_id", "unit", "record", "window"])["seconds"].max()
    assert isinstance(hours, Facts)
    row: list[Any] = list(hours.rows[0])
    by_subject = seconds.groupby("subject_id").sum() / 3600
    assert row[1:4] == pytest.approx([by_subject.sum(), by_subject.min(), by_subject.max()])
    assert isinstance(spans, Spans)
    for record, stretches in spans.lines:
        drawn = waves[waves["record_name"] == record].dropna(subset=["offset_s"])
        begins = {begin + 60.0 * at for begin, stop in stretches for at in range(round((stop - begin) / 60))}
        assert begins == set(drawn["offset_s"])
    assert [each.title for each in rates] == ["Heart rate: beats against the monitor"]


def test_where_windows_overlap_there_are_no_hours(made: Run, tmp_path: Path) -> None:
    options = {"step": 30.0, "window": 60.0}
    run = scaledproc.run(made.dataset.uri, tmp_path / "w", extractor="wfdb-windows", options=options, limit=2, jobs=1)
    account = gather(run, extractor=run.extractor).account
    assert account is not None
    assert not any("Hours" in each.title for each in account.parts)
    assert any(isinstance(each, Spans) for each in account.parts)


def test_a_window_whose_rows_come_in_two_pieces_is_counted_once() -> None:
    rows = [
        {"unit": "u", "record": "r", "record_name": "r", "subject_id": 1, "kind": "waveform", "signal_name": name}
        | {"window": window, "offset_s": 60.0 * window, "n_samples": count, "fs": 1.0}
        for window in range(3)
        for name, count in (("a", 30), ("b", 60))
    ]
    table = pa.Table.from_pylist(rows)
    for piece in (1, 3, 100):
        covered = WindowCoverage(60.0, has_hours=True)
        for start in range(0, len(rows), piece):
            covered.add(table.slice(start, piece))
        _, hours, spans = covered.parts()
        assert isinstance(hours, Facts)
        assert isinstance(spans, Spans)
        row: list[Any] = list(hours.rows[0])
        assert row[0] == "1 subject"
        assert row[1] == pytest.approx(180 / 3600)
        assert spans.lines == (("r", ((0.0, 180.0),)),)
        covered.add(pa.Table.from_pylist([{**row, "unit": "v", "subject_id": None} for row in rows]))
        text = next(each.text for each in covered.parts() if each.title == hours.title)
        assert text == f"{180 / 3600} hours more are of no known subject."


MINE = """
[numerics.HR]
low = 0
high = 1
units = ["bpm"]
source = "a test"
"""


def test_other_ranges_take_the_place_of_the_built_in_ones(made: Run, cli: Cli, tmp_path: Path) -> None:
    """For one report, or for those of the run; no row depends on them."""
    (tmp_path / "mine.toml").write_text(MINE)
    out = shutil.copytree(str(made.store.root), tmp_path / "out")
    words = "is no physiological value: HR"
    assert words not in Path(scaledproc.report(out, tmp_path / "plain.html")).read_text()
    told = cli("report", out, "--set", f"ranges={tmp_path / 'mine.toml'}", "--output", tmp_path / "page.html")
    assert told.returncode == 0, told.stderr
    assert words in (tmp_path / "page.html").read_text()
    before = output_bytes(Store.at(out))
    dataset = made.record.dataset
    with pytest.raises(UsageError, match=r"no row depends on ranges; to have the report with it: scaledproc report"):
        scaledproc.run(dataset, out, extractor="wfdb-summary", options={"ranges": tmp_path / "mine.toml"})
    scaledproc.combine(out, options={"ranges": tmp_path / "mine.toml"})
    assert output_bytes(Store.at(out)) == before
    assert words in Path(scaledproc.report(out, tmp_path / "again.html")).read_text()
    assert words not in Path(scaledproc.report(out, tmp_path / "own.html", options={"ranges": "built-in"})).read_text()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("waveform = 3", r"^the table of ranges cannot be used: waveform is 3, and should be a table$"),
        ("[waveform]\nABP = 3", r"^the table of ranges cannot be used: waveform.ABP is 3, and should be a table$"),
        ("[waveform", r"^the table of ranges is no TOML: "),
    ],
)
def test_a_table_of_ranges_of_another_shape(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        parse(text)


@pytest.mark.parametrize("name", ["wfdb-summary", "wfdb-windows"])
def test_ranges_are_no_part_of_the_plan(name: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINE)
    plain, other = (load_extractor(name, given) for given in ({}, {"ranges": MINE}))
    assert plain.fingerprint == other.fingerprint


def test_only_what_a_report_depends_on_can_be_set_for_it(made: Run) -> None:
    with pytest.raises(UsageError, match=r"signal_names: more than a report depends on it; .* takes ranges"):
        scaledproc.report(made.store.uri, options={"signal_names": "built-in"})


@pytest.mark.parametrize(
    "text",
    [
        '[a.b]\nlow = 2\nhigh = 1\nunits = ["x"]\nsource = "s"',
        '[a.b]\nlow = 0\nhigh = inf\nunits = ["x"]\nsource = "s"',
        '[a.b]\nlow = 0\nhigh = 1\nunits = "x"\nsource = "s"',
        '[a.b]\nlow = 0\nhigh = 1\nunits = ["x"]\nsource = ""',
        '[a.b]\nlow = 0\nhigh = 1\nunits = ["x"]',
        '[a.b]\nlow = 0\nhi = 1\nunits = ["x"]\nsource = "s"',
    ],
)
def test_a_range_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"\[a.b\]"):
        parse(text)


def test_a_table_of_ranges_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(UsageError, match=r"is no TOML|cannot be used"):
        parse("[numerics.HR]\nlow = 0\n")
