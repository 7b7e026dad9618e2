"""`wfdb-summary` against wfdb and numpy: on every real record, and on random ones in every format that wfdb writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import scaledproc
from scaledproc.extractors import Task
from scaledproc.extractors.wfdb_summary import SCHEMA, WfdbSummary

ANY = WfdbSummary()


def task_of(header: Path, root: Path | None = None) -> Task:
    root = root or header.parent
    files = frozenset(path.relative_to(root).as_posix() for path in header.parent.iterdir())
    anchor = header.relative_to(root).as_posix()
    unit = anchor.rpartition("/")[0] or "."
    return Task(unit.partition("/")[0], unit, anchor, root, files)


def check_against_wfdb(header: Path, rows: list[dict[str, Any]]) -> None:
    """Every value of every row equals what wfdb and numpy make of the same record."""
    name = str(header.with_suffix(""))
    described = wfdb.rdheader(name)
    if isinstance(described, wfdb.MultiRecord) or set(described.file_name or ["~"]) == {"~"}:
        assert rows == []
        return
    record = wfdb.rdrecord(name, smooth_frames=False)
    stored = wfdb.rdrecord(name, smooth_frames=False, ignore_skew=True)
    assert [row["channel"] for row in rows] == list(range(record.n_sig))
    for channel, row in enumerate(rows):
        signal = record.e_p_signal[channel]
        valid = signal[~np.isnan(signal)]
        fs = record.fs * record.samps_per_frame[channel]
        assert row["record"] == header.stem
        assert row["kind"] == ("numerics" if header.stem == f"{header.parent.name}n" or record.fs <= 2 else "waveform")
        assert (row["signal"], row["units"], row["fmt"]) == (
            record.sig_name[channel],
            record.units[channel],
            record.fmt[channel],
        )
        assert (row["n_samples"], row["n_missing"]) == (len(signal), len(signal) - len(valid))
        assert (row["fs"], row["duration_s"]) == (fs, len(signal) / fs)
        assert (row["start_date"], row["start_time"]) == (record.base_date, record.base_time)
        if len(valid):
            scale = float(np.abs(valid).max())
            assert [row[key] for key in ("min", "p25", "p50", "p75", "max")] == [
                *(valid.min(), *np.percentile(valid, [25, 50, 75]), valid.max())
            ]
            assert row["mean"] == pytest.approx(valid.mean(), rel=1e-9, abs=1e-13 * scale)
        else:
            assert [row[key] for key in ("mean", "min", "p25", "p50", "p75", "max")] == [None] * 6
        if len(valid) > 1:
            assert row["std"] == pytest.approx(valid.std(ddof=1), rel=1e-9, abs=1e-13 * scale)
        else:
            assert row["std"] is None
        digital = stored.e_p_signal[channel] * record.adc_gain[channel] + record.baseline[channel]
        if not np.isnan(digital).any() and record.checksum[channel] is not None:
            total = int(np.rint(digital).astype(np.int64).sum())
            assert row["checksum_ok"] == ((total - record.checksum[channel]) % 65_536 == 0)


def test_every_real_record(shared_data: Path) -> None:
    headers = sorted(path for path in shared_data.rglob("*.hea") if "broken" not in path.parts)
    assert len(headers) > 60
    rows = 0
    for header in headers:
        found = ANY.extract(task_of(header))
        check_against_wfdb(header, found)
        assert all(row["checksum_ok"] for row in found), header
        rows += len(found)
    assert rows == 178


@pytest.mark.parametrize("name", ["03700001/03700001.hea", "chf01/chf01.hea"])
def test_broken_records_raise(shared_data: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        ANY.extract(task_of(shared_data / "broken" / name))


BITS = {"80": 8, "16": 16, "24": 24, "32": 32, "508": 8, "516": 16, "524": 24}  # all that wfdb writes


@st.composite
def records(draw: st.DrawFn) -> dict[str, Any]:
    fmt = draw(st.sampled_from(sorted(BITS)))
    high = 2 ** (BITS[fmt] - 1) - 1
    n_sig, length = draw(st.integers(1, 4)), draw(st.integers(1, 50))
    seed = draw(st.integers(0, 2**32 - 1))
    samples = np.random.default_rng(seed).integers(-high - 1, high, (length, n_sig), endpoint=True)
    frames = draw(st.lists(st.integers(1, 3), min_size=n_sig, max_size=n_sig)) if fmt in ("16", "80") else None
    signals: dict[str, Any] = {"d_signal": samples.astype(np.int64)}
    if frames:
        rng = np.random.default_rng(seed)
        signals = {
            "e_d_signal": [rng.integers(-high - 1, high, length * spf, endpoint=True) for spf in frames],
            "samps_per_frame": frames,
        }
    return {
        "fs": draw(st.sampled_from([0.5, 1, 125, 62.4725, 360])),
        "units": draw(st.lists(st.sampled_from(["mV", "mmHg", "NU"]), min_size=n_sig, max_size=n_sig)),
        "sig_name": ["II", "ABP", "sig 1", "ABP SYS"][:n_sig],
        "fmt": [fmt] * n_sig,
        "adc_gain": draw(st.lists(st.sampled_from([200.0, 12.84, 0.5]), min_size=n_sig, max_size=n_sig)),
        "baseline": draw(st.lists(st.integers(-2000, 2000), min_size=n_sig, max_size=n_sig)),
        **signals,
    }


@given(records())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_records(tmp_path: Path, record: dict[str, Any]) -> None:
    wfdb.wrsamp("r", write_dir=str(tmp_path), **record)
    rows = ANY.extract(task_of(tmp_path / "r.hea"))
    check_against_wfdb(tmp_path / "r.hea", rows)
    assert all(row["checksum_ok"] for row in rows)


def write(folder: Path, header: str, data: bytes = b"") -> Task:
    (folder / "r.hea").write_text(header)
    (folder / "r.dat").write_bytes(data)
    return task_of(folder / "r.hea")


def test_missing_samples_and_checksums(tmp_path: Path) -> None:
    task = write(tmp_path, "r 1 125 4 10:00:00.5 01/02/2130\nr.dat 80 2(-1)/mV 8 0 0 -126 0 II\n", b"\x00\x81\x82\x83")
    (row,) = ANY.extract(task)
    assert (row["n_samples"], row["n_missing"], row["mean"], row["std"], row["checksum_ok"]) == (4, 1, 1.5, 0.5, False)
    task = write(tmp_path, "r 1 125 4\nr.dat 80 2(-1)/mV 8 0 0 -122 0 II\n", b"\x00\x81\x82\x83")
    assert ANY.extract(task)[0]["checksum_ok"] is True
    task = write(tmp_path, "r 1 125 4\nr.dat 80\n", b"\x00\x81\x82\x83")
    (row,) = ANY.extract(task)
    assert (row["checksum_ok"], row["signal"], row["start_date"], row["start_time"]) == (None, None, None, None)


def test_signals_all_missing_and_single_samples(tmp_path: Path) -> None:
    (row,) = ANY.extract(write(tmp_path, "r 1 1 2\nr.dat 80 1 8 0 0 0 0 X\n", b"\x00\x00"))
    assert (row["n_missing"], row["mean"], row["std"], row["min"], row["p50"]) == (2, None, None, None, None)
    (row,) = ANY.extract(write(tmp_path, "r 1 1 1\nr.dat 80 1 8 0 0 0 0 X\n", b"\x85"))
    assert (row["mean"], row["std"], row["p25"]) == (5.0, None, 5.0)


@pytest.mark.parametrize("name", ["other.dat", "../../etc/passwd", "/etc/passwd", "sub/r.dat", "..", "|cat", "-"])
def test_only_files_of_the_unit_are_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "passwd").write_bytes(b"\x80" * 4)
    with pytest.raises((FileNotFoundError, ValueError)):
        ANY.extract(write(tmp_path / "r", f"r 1 125 4\n{name} 80 2 8 0 0 0 0 II\n"))


def test_headers_without_samples_give_no_rows(tmp_path: Path) -> None:
    for header in ("r 0 125 0\n", "r/2 1 125 10\nr_layout 0\n~ 10\n", "r 1 125 0\n~ 0 200 0 0 0 0 0 II\n"):
        assert ANY.extract(write(tmp_path, header)) == []


def test_the_table_of_real_records(shared_data: Path, tmp_path: Path) -> None:
    run = scaledproc.run(shared_data / "mimic3wdb/1.0", tmp_path / "out", jobs=1)
    table = run.to_arrow()
    names = list(SCHEMA.names)
    names.insert(names.index("signal") + 1, "signal_name")
    assert table.schema.names == names
    assert set(table["signal_name"].to_pylist()) >= {"II", "ABP", "ABP_sys", "SpO2"}
    assert run.quarantined == 0
    stats = run.summary("signal_stats").to_pylist()
    assert sum(row["samples"] for row in stats) == sum(table["n_samples"].to_pylist())
    (lead,) = (row for row in stats if (row["kind"], row["signal_name"]) == ("waveform", "II"))
    frame = run.to_pandas().query("kind == 'waveform' and signal_name == 'II'")
    assert lead["records"] == frame["record"].nunique()
    assert lead["min"] == frame["min"].min()


def test_the_kind_does_not_depend_on_where_the_dataset_lies(tmp_path: Path) -> None:
    for root in ("r", "s"):
        (tmp_path / root).mkdir()
        (tmp_path / root / "rn.hea").write_text("rn 1 125 2\nrn.dat 80 1 8 0 0 0 0 X\n")
        (tmp_path / root / "rn.dat").write_bytes(b"\x81\x82")
        assert ANY.extract(task_of(tmp_path / root / "rn.hea"))[0]["kind"] == "waveform"


def test_a_path_that_wfdb_would_take_for_urls_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a::b").mkdir()
    task = write(tmp_path / "a::b", "r 1 125 2\nr.dat 8 1 8 0 0 0 0 X\n", b"\x01\x02")
    with pytest.raises(ValueError, match="::"):
        ANY.extract(task)


def test_only_the_first_missing_file_is_named(tmp_path: Path) -> None:
    header = "r 2 125 2\nc.dat 80 1 8 0 0 0 0 X\nb.dat 80 1 8 0 0 0 0 X\n"
    with pytest.raises(FileNotFoundError, match=r"'c\.dat'"):
        ANY.extract(write(tmp_path, header))


def test_messages_name_no_place_of_this_machine(tmp_path: Path) -> None:
    from scaledproc.chunks import _message

    (tmp_path / "it's d").mkdir()
    task = Task("g", "g/u", "g/u/x.hea", tmp_path / "it's d", frozenset())
    root = str(task.root)
    for text, shown in {
        f"no {root}/g/u/x.dat": "no g/u/x.dat",
        f"[Errno 2] No such file or directory: {root + '/a'!r}": '[Errno 2] No such file or directory: "a"',
        f"at {root}": "at ",
        f"{root}-other/x": f"{root}-other/x",
        "<object at 0x7f12ab34cd56>": "<object at 0x…>",
    }.items():
        assert _message(ValueError(text), task) == shown
