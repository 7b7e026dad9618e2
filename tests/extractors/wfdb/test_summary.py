"""`wfdb-summary` on every real record, and what its rows say; test_wfdb_formats has random records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from wfdb_oracles.oracle import check_against_wfdb, check_by_specification, read_files, task_of

import scaledproc
from scaledproc.extractors import Task
from scaledproc.extractors.wfdb.summary import SCHEMA, WfdbSummary

ANY = WfdbSummary()


@pytest.mark.slow
def test_every_real_record(shared_data: Path) -> None:
    headers = sorted(path for path in shared_data.rglob("*.hea") if "broken" not in path.parts)
    assert len(headers) > 60
    rows = 0
    for header in headers:
        found = ANY.extract(task_of(header))
        meaning, files = read_files(header)
        check_by_specification(meaning, files, found)
        if not any(signal.skew for signal in meaning.signals):
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


def test_samples_without_a_file_are_missing(tmp_path: Path) -> None:
    """A null signal beside real ones, and a null record, which is not a layout: it has a length."""
    lines = ["r 3 125 4", "~ 0 200 0 0 0 7 0 A", "r.dat 80 2/mV 8 0 0 0 0 B", "gone.dat 0 2/mV 8 0 0 7 0 C"]
    rows = ANY.extract(write(tmp_path, "\n".join(lines), b"\x81\x82\x83\x84"))
    assert [(row["signal"], row["n_samples"], row["n_missing"]) for row in rows] == [
        ("A", 4, 4),
        ("B", 4, 0),
        ("C", 4, 4),
    ]
    assert [row["checksum_ok"] for row in rows] == [None, False, None]
    (row,) = ANY.extract(write(tmp_path, "r 1 125 1800\n~ 0\n"))
    assert (row["n_samples"], row["n_missing"], row["mean"], row["n_zero"], row["n_at_max"]) == (
        1800,
        1800,
        None,
        0,
        None,
    )


def test_plausibility(tmp_path: Path) -> None:
    """Zeros, flat lines and saturation show."""
    (row,) = ANY.extract(write(tmp_path, "r 1 125 6\nr.dat 80 2(-1)/mV 8 0\n", bytes([0, 127, 127, 1, 255, 255])))
    found = [row[name] for name in ("n_missing", "n_zero", "n_distinct", "n_at_min", "n_at_max")]
    assert found == [1, 2, 3, 1, 2]
    (row,) = ANY.extract(write(tmp_path, "r 1 125 4\nr.dat 80\n", b"\x80" * 4))
    assert [row[name] for name in ("n_zero", "n_distinct", "n_at_min", "n_at_max", "std")] == [4, 1, 0, 0, 0.0]
    # Eleven bits around 1024, as in the MIT-BIH Arrhythmia Database: 0 and 2047 are the ends.
    data = np.array([0, 0, 5, 2047, 2046], "<i2").tobytes()
    (row,) = ANY.extract(write(tmp_path, "r 1 125 5\nr.dat 16 200 11 1024\n", data))
    assert (row["n_at_min"], row["n_at_max"]) == (2, 1)
    data = np.array([0, 0, 5, 2047, -3], "<i2").tobytes()  # a sample beyond them: they are not the ends
    (row,) = ANY.extract(write(tmp_path, "r 1 125 5\nr.dat 16 200 11 1024\n", data))
    assert (row["n_at_min"], row["n_at_max"]) == (0, 0)
    (row,) = ANY.extract(write(tmp_path, "r 1 125 2\nr.dat 8 200\n", b"\x01\x01"))  # differences have no limits
    assert (row["n_at_min"], row["n_at_max"]) == (None, None)


def test_a_sample_for_each_skew(tmp_path: Path) -> None:
    """header(5) counts samples; wfdb counts frames, and the C library rounds to them."""
    lines = ["r 2 1 3", "r.dat 80x2:3 1 8 0 0 0 0 A", "r.dat 80 1 8 0 0 0 0 B"]
    first, second = ANY.extract(write(tmp_path, "\n".join(lines), bytes([129, 130, 1, 131, 132, 2, 133, 134, 3])))
    assert (first["n_samples"], first["n_missing"], first["min"], first["max"]) == (6, 3, 4.0, 6.0)
    assert (second["n_samples"], second["n_missing"], second["max"]) == (3, 0, -125.0)


@pytest.mark.parametrize(
    ("fmt", "data", "checksum"), [("80", [129, 1, 131, 2, 133, 3], 9), ("8", [1, 1, 1, 1, 1, 1], 6)]
)
def test_a_skew_beyond_the_record_leaves_only_its_signal_missing(
    tmp_path: Path, fmt: str, data: list[int], checksum: int
) -> None:
    lines = ["r 2 1 3", f"r.dat {fmt}:7 1 8 0 0 {checksum} 0 A", f"r.dat {fmt} 1 8 0 0 0 0 B"]
    first, second = ANY.extract(write(tmp_path, "\n".join(lines), bytes(data)))
    assert (first["n_samples"], first["n_missing"], first["mean"], first["checksum_ok"]) == (3, 3, None, True)
    assert first["header_note"] == "all of its 3 samples are missing, as its skew is 7"
    assert (second["n_samples"], second["n_missing"], second["header_note"]) == (3, 0, None)


def test_the_sides_of_saturation_are_those_of_min_and_max(tmp_path: Path) -> None:
    (row,) = ANY.extract(write(tmp_path, "r 1 125 4\nr.dat 80 -2/mV 8 0\n", bytes([1, 255, 255, 128])))
    assert (row["min"], row["n_at_min"], row["max"], row["n_at_max"]) == (-63.5, 2, 63.5, 1)


def test_a_file_whose_name_is_written_in_another_normal_form(tmp_path: Path) -> None:
    header, data = tmp_path / "r.hea", b"\x81\x82"
    header.write_text("r 1 1 2\n\u00e9.dat 80\n")
    (tmp_path / "e\u0301.dat").write_bytes(data)
    (row,) = ANY.extract(task_of(header))
    assert (row["n_samples"], row["signal_file"]) == (2, "e\u0301.dat")
    # Of several that are meant as much as each other none is taken.
    header.write_text("r 1 1 2\n\u1ec7.dat 80\n")
    for name in ("e\u0323\u0302.dat", "\u1eb9\u0302.dat"):
        (tmp_path / name).write_bytes(data)
    with pytest.raises(FileNotFoundError):
        ANY.extract(task_of(header))


def test_numbers_beyond_all_measure(tmp_path: Path) -> None:
    for header in (
        "r 1 1 2\nr.dat 80 1e-320 8 0 0 0 0 I\n",
        "r 1 1 2\nr.dat 80 1e-101 8 0 0 0 0 I\n",
        "r 1 1 2\nr.dat 16 1e-320 8 0 0 0 0 I\n",
        "r 1 1e-320 2\nr.dat 80 1 8 0 0 0 0 I\n",
    ):
        with pytest.raises(ValueError, match="the header has numbers that nothing can be computed with: "):
            ANY.extract(write(tmp_path, header, b"\x81\x82\x83\x84"))
    for header in ("r 1 1e308 1\n~ 0x99999\n", f"r 1 1 1{'0' * 17}\n~ 0x1{'0' * 17}\n"):
        with pytest.raises(ValueError, match="the header has numbers that nothing can be computed with"):
            ANY.extract(write(tmp_path, header))


def test_a_length_that_is_not_given_is_that_of_the_shortest_file(tmp_path: Path) -> None:
    (tmp_path / "s.dat").write_bytes(b"\x81" * 7)
    rows = ANY.extract(write(tmp_path, "r 2 125\nr.dat 16\ns.dat 80x2 1 8 0 0 9 0 S\n", bytes(9)))
    assert [(row["n_samples"], row["checksum_ok"]) for row in rows] == [(3, None), (6, None)]
    rows = ANY.extract(write(tmp_path, "r 1 125\nr.dat 16\n"))
    assert [(row["n_samples"], row["mean"]) for row in rows] == [(0, None)]


def test_only_the_first_missing_file_is_named(tmp_path: Path) -> None:
    header = "r 2 125 2\nc.dat 80 1 8 0 0 0 0 X\nb.dat 80 1 8 0 0 0 0 X\n"
    with pytest.raises(FileNotFoundError, match=r"'c\.dat'"):
        ANY.extract(write(tmp_path, header))
