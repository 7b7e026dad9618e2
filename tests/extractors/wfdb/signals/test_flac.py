"""Signal files in FLAC."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import soundfile
from wfdb_oracles.oracle import task_of

from scaledproc.extractors import Task
from scaledproc.extractors.wfdb.summary import WfdbSummary

ANY = WfdbSummary()


def write(folder: Path, header: str, data: bytes = b"") -> Task:
    (folder / "r.hea").write_text(header)
    (folder / "r.dat").write_bytes(data)
    return task_of(folder / "r.hea")


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("r 1 125 4\nr.dat 516\n", "r.dat is no FLAC file, as format 516 says that it is"),
        ("r 1 125 2000\nf.dat 516\n", "f.dat has 2 signals; the header says that it has 1"),
        ("r 2 125 500\nf.dat 516\nf.dat 516x2\n", "f.dat is a FLAC file, and its signals have different numbers"),
        ("r 2 125 1001\nf.dat 516\nf.dat 516\n", "f.dat ends after 1,000 frames; the header says that it has 1,001"),
        ("r 2 125 10\nf.dat 508\nf.dat 508\n", "f.dat has samples of PCM_16, which is more than format 508 has"),
        ("r 2 125 10\nf.dat 516+7\nf.dat 516+7\n", None),  # samples, as the C library has it
        ("r 2 125 10\ng.dat 516+7\ng.dat 516+7\n", None),  # bytes, as header(5) has it
    ],
)
def test_flac_files_that_are_not_as_the_header_says(tmp_path: Path, header: str, why: str | None) -> None:
    content = (Path(__file__).parents[1] / "wfdb_cases/c02_flac_no_length/r.dat").read_bytes()
    (tmp_path / "f.dat").write_bytes(content)
    (tmp_path / "g.dat").write_bytes(bytes(7) + content)
    task = write(tmp_path, header, b"\x81\x82\x83\x84")
    if why:
        with pytest.raises(ValueError, match=re.escape(why)):
            ANY.extract(task)
        return
    with soundfile.SoundFile(tmp_path / "f.dat") as stream:
        samples = stream.read(17, dtype="int16")[7 if "f.dat" in header else 0 :][:10]
    assert [row["max"] * 200 for row in ANY.extract(task)] == samples.max(axis=0).tolist()


def test_a_flac_stream_that_does_not_know_its_length(tmp_path: Path) -> None:
    content = bytearray((Path(__file__).parents[1] / "wfdb_cases/c02_flac_no_length/r.dat").read_bytes())
    content[21] &= 0xF0  # STREAMINFO: 36 bits for the number of samples, 0 where it is not known
    content[22:26] = bytes(4)
    (tmp_path / "f.dat").write_bytes(content)
    for length in ("", " 1000"):
        with pytest.raises(ValueError, match=r"f\.dat, a FLAC file, does not say how many samples it has"):
            ANY.extract(write(tmp_path, f"r 2 125{length}\nf.dat 516\nf.dat 516\n"))
