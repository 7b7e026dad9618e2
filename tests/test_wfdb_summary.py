"""`wfdb-summary` against wfdb and numpy: on every real record; test_wfdb_formats has random ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from wfdb_oracle import check_against_wfdb, task_of

import scaledproc
from scaledproc.extractors import Task
from scaledproc.extractors.wfdb_summary import SCHEMA, WfdbSummary

ANY = WfdbSummary()


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
