"""Headers mean what header(5) says; what cannot be understood is refused or noted, by line and field."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import wfdb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wfdb_oracles.grammar import headers, masters

from scaledproc.extractors.wfdb.headers.header import Header, SegmentLine, SignalLine, parse_header, read_header

SIGNAL = "r.dat 80 2/mV 8 0 5 0 0 II"


def parsed(*lines: str) -> Header:
    return parse_header("\n".join(lines).encode())


def signal(line: str) -> SignalLine:
    header = parsed("r 1 125 4", line)
    assert header.notes == ()
    return header.signals[0]


@pytest.mark.slow
@given(headers())
@settings(max_examples=200)
def test_a_header_means_what_was_written(header: tuple[bytes, Header]) -> None:
    assert parse_header(header[0]) == header[1]


@given(masters())
@settings(max_examples=60)
def test_a_master_means_what_was_written(header: tuple[bytes, Header]) -> None:
    found = parse_header(header[0])
    assert found == header[1]
    assert found.segments


def check_as_wfdb(path: Path, found: Header) -> None:
    """For what wfdb's patterns take; it has no time without a date apart from it, and rounds frequencies."""
    theirs = wfdb.rdheader(str(path.with_suffix("")))
    assert (found.n_frames or 0, found.date, found.time) == (theirs.sig_len or 0, theirs.base_date, theirs.base_time)
    assert found.fs == pytest.approx(theirs.fs, abs=1e-8)
    if isinstance(theirs, wfdb.MultiRecord):
        assert found.segments == tuple(map(SegmentLine, theirs.seg_name, theirs.seg_len))
        return
    assert len(found.signals) == theirs.n_sig
    for number, ours in enumerate(found.signals):
        assert (ours.file, ours.fmt) == (theirs.file_name[number], theirs.fmt[number])
        assert ours.samples_per_frame == theirs.samps_per_frame[number]
        assert (ours.skew, ours.byte_offset) == (theirs.skew[number] or 0, theirs.byte_offset[number] or 0)
        assert (ours.gain, ours.baseline) == (theirs.adc_gain[number], theirs.baseline[number])
        assert (ours.units, ours.name) == (theirs.units[number], theirs.sig_name[number])
        assert ours.checksum == theirs.checksum[number]
        # By header(5) and in the C library it is the ADC zero where it is missing; in wfdb it is 0.
        assert theirs.init_value[number] in (ours.init_value, None, 0)


def test_real_headers_are_read_as_wfdb_reads_them(shared_data: Path) -> None:
    for path in shared_data.rglob("*.hea"):
        found = read_header(str(path))
        assert found.notes == (), path
        check_as_wfdb(path, found)


@pytest.mark.slow
@given(headers(is_plain=True))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_plain_headers_are_read_as_wfdb_reads_them(tmp_path: Path, header: tuple[bytes, Header]) -> None:
    (tmp_path / "r.hea").write_bytes(header[0].removeprefix(b"\xef\xbb\xbf"))
    check_as_wfdb(tmp_path / "r.hea", parse_header(header[0]))


PIECES = [bytes([byte]) for byte in b" \t\n0159.-+/:x()~#_eE%aZ\r\x0b\x1c\xb5\xff\0"]
MUTATIONS = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 3), st.sampled_from([b"", b"", b"  ", b"1e5", b"//", *PIECES])),
    min_size=1,
    max_size=4,
)


@pytest.mark.slow
@given(headers() | masters(), MUTATIONS)
@settings(max_examples=200)
def test_whatever_the_bytes_are_there_is_a_header_or_a_reason(
    header: tuple[bytes, Header], mutations: list[tuple[int, int, bytes]]
) -> None:
    content = header[0]
    for place, length, piece in mutations:
        at = place % (len(content) + 1)
        content = content[:at] + piece + content[at + length :]
    try:
        found = parse_header(content)
    except ValueError as error:
        assert re.match(r"line \d+, [\w ]+: .|the header is empty$", str(error)), error  # noqa: PT017 - or a header
        return
    assert all(re.match(r"line \d+, [\w ]+: .", note) for note in found.notes)
    assert found.fs > 0
    assert all(each.samples_per_frame > 0 and each.gain for each in found.signals)


@given(st.binary(max_size=300))
@settings(max_examples=50)
def test_any_bytes(content: bytes) -> None:
    try:
        parse_header(content)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - or a header


@pytest.mark.parametrize(
    ("when", "date", "time", "note"),
    [
        ("10:15:00 01/02/1999", "1999-02-01", "10:15:00", None),
        ("24:00:00 01/02/1999", "1999-02-01", "None", "line 1, base time: '24:00:00' is no time as HH:MM:SS"),
        ("10:15 01/02/1999", "1999-02-01", "None", "line 1, base time: '10:15' is no time as HH:MM:SS"),
        ("10:15:00 30/02/1999", "None", "10:15:00", "line 1, base date: '30/02/1999' is no date as DD/MM/YYYY"),
        ("10:15:00 01/02/99", "None", "10:15:00", "line 1, base date: '01/02/99' is no date as DD/MM/YYYY"),
        ("10:15:00 01/02/0099", "None", "10:15:00", "line 1, base date: '01/02/0099' is no date as DD/MM/YYYY"),
        ("10:15:00 1999-02-01", "None", "10:15:00", "line 1, base date: '1999-02-01' is no date as DD/MM/YYYY"),
        ("0:0:0 0/0/0", "None", "None", "line 1, base date: '0/0/0' says that none was recorded"),
        ("0:0:0", "None", "00:00:00", None),
        ("10:15:00 0/0/0", "None", "10:15:00", "line 1, base date: '0/0/0' says that none was recorded"),
        ("10:15:00 01/02/1999 UTC", "1999-02-01", "10:15:00", "line 1, base date: 'UTC' is left over after it"),
        (
            "[10:15:00 01/02/1999]",
            "None",
            "None",
            "line 1, base time: '[10:15:00' is no time as HH:MM:SS; line 1, base",
        ),
        ("10:15:00.", "None", "10:15:00", None),
        ("-1:15:00", "None", "None", "line 1, base time: '-1:15:00' is no time as HH:MM:SS"),
        ("03:15:00 PM 01/02/1999", "None", "None", "line 1, base time: 'PM' follows '03:15:00', which is then no time"),
        ("03:15:00 01/02/1999 p.m.", "1999-02-01", "None", "line 1, base time: 'p.m.' follows '03:15:00', which"),
        (
            "03:15:00 am",
            "None",
            "None",
            "line 1, base time: 'am' follows '03:15:00', which is then no time of 24 hours",
        ),
    ],
)
def test_dates_and_times(when: str, date: str, time: str, note: str | None) -> None:
    found = parsed(f"r 1 125 4 {when}", SIGNAL)
    assert (str(found.date), str(found.time)) == (date, time)
    assert "; ".join(found.notes).startswith(note or "")
    assert bool(found.notes) == bool(note)
    assert found.signals == (signal(SIGNAL),)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["r"], "line 1, number of signals: it is missing"),
        (["r x"], "line 1, number of signals: 'x' is no whole number from 0 to 10^18"),
        (["r -1"], "line 1, number of signals: '-1' is no whole number"),
        (["r 3 125 10", "r.dat 80"], "line 1, number of signals: the header says that it has 3, and describes 1"),
        (["r 1000000 125", "r.dat 80"], "line 1, number of signals: the header says that it has 1,000,000, and"),
        (["r 1 0", "r.dat 80"], "line 1, sampling frequency: '0' is no number above 0"),
        (["r 1 360Hz", "r.dat 80"], "line 1, sampling frequency: '360Hz' is no number above 0"),
        (["r 1 nan", "r.dat 80"], "line 1, sampling frequency: 'nan' is no number above 0"),
        (["r 1 " + "9" * 400, "r.dat 80"], "line 1, sampling frequency: '99999"),
        (["r 1 360 1.5", "r.dat 80"], "line 1, number of samples: '1.5' is no whole number from 0 to 10^18"),
        (["r 1 360 1" + "0" * 30, "r.dat 80"], "line 1, number of samples: '1000000000000000000000000000000' is no"),
        (["r 1 360 -5", "r.dat 80"], "line 1, number of samples: '-5' is no whole number"),
        (["# x", "", "r 1", "r.dat"], "line 4, format: it is missing"),
        (["r 1", "r.dat 17"], "line 2, format: '17' is none of WFDB's storage formats"),
        (["r 1", "r.dat 16x0"], "line 2, samples per frame: 'x0' must give it once, as a whole number from 1 on"),
        (["r 1", "r.dat 16x2x3"], "line 2, samples per frame: 'x2x3' must give it once"),
        (["r 1", "r.dat 16:-1"], "line 2, skew: ':-1' must give it once, as a whole number from 0 on"),
        (["r 1", "r.dat 16+a"], "line 2, byte offset: '+a' must give it once"),
        (["r 1", "r.dat 16 200,5"], "line 2, ADC gain: '200,5' is no number"),
        (["r 1", "r.dat 16 200mV"], "line 2, ADC gain: '200mV' is no number"),
        (["r 1", "r.dat 16 nan/mV"], "line 2, ADC gain: 'nan' is no number"),
        (["r 1", "r.dat 16 1e400/mV"], "line 2, ADC gain: '1e400' is no number"),
        (["r 1", "r.dat 16 200(5)mV"], "line 2, ADC gain: '200mV' is no number"),
        (["r 1", "r.dat 16 200(0.5)/mV"], "line 2, baseline: '0.5' is no whole number"),
        (["r 1", "r.dat 16 200()/mV"], "line 2, baseline: '' is no whole number"),
        (["r 1", "r.dat 16 200/deg C 16 0"], "line 2, ADC resolution: 'C' is no whole number"),
        (["r 1", "r.dat 8 200(0)/deg C 16 0"], "line 2, ADC resolution: 'C' is no whole number"),
        (
            ["r 1", "r.dat 8 1(0)/mV 8 0 100000000000000000"],
            "line 2, initial value: 100000000000000000 is beyond 32 bits",
        ),
        (["r 1", "r.dat 16 1(2147483648)/mV"], "line 2, baseline: 2147483648 is beyond 32 bits"),
        (["r 1", "r.dat 16 1 8 -2147483649"], "line 2, ADC zero: -2147483649 is beyond 32 bits"),
        (["r 2", "r.dat 16", "r.dat 80"], "line 3, format: 'r.dat' has the formats 16 and 80; a file has one"),
        (["r 2", "r.dat 16", "r.dat 0"], "line 3, format: 'r.dat' has the formats 16 and 0; a file has one"),
        (["r 3", "a 16", "b 16", "a 16"], "line 4, file name: the signals of 'a' are not together"),
        (["r 3", "a 16", "~ 0", "a 16"], "line 4, file name: the signals of 'a' are not together"),
        (["r/0 1 125 1", "a 1"], "line 1, number of segments: it must be greater than 0"),
        (["r/x 1 125 1", "a 1"], "line 1, number of segments: 'x' is no whole number"),
        (["r/2 1 125 1", "a 1"], "line 1, number of segments: the header says that it has 2, and describes 1"),
        (["r/1 1 125 1", "a"], "line 2, number of samples: it is missing"),
        (["r/1 1 125 1", "a x"], "line 2, number of samples: 'x' is no whole number"),
        (["r 1 125", "a" * 1_000_000], "line 2, file name: the line has 1,000,000 characters; WFDB allows 255"),
        ([""], "the header is empty"),
        (["# only a comment"], "the header is empty"),
        (["\x1f\ufffd\x08"], "line 1, number of signals: it is missing"),
    ],
)
def test_what_a_person_is_told(lines: list[str], why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)) as found:
        parsed(*lines)
    assert len(str(found.value)) < 200


@pytest.mark.parametrize(
    ("lines", "note"),
    [
        (["r 1 125/x 4", SIGNAL], "line 1, counter frequency: 'x' is no number"),
        (["r 1 125/5(y) 4", SIGNAL], "line 1, base counter value: 'y' is no number after a counter frequency"),
        (["r 1 125(5) 4", SIGNAL], "line 1, base counter value: '5' is no number after a counter frequency"),
        (["r 1 125 4", SIGNAL, "s.dat 16"], "line 3, signal: it was not read: line 1 says that there are 1"),
        (["r 2 125 4", SIGNAL, "r.dat 80+3"], "line 3, byte offset: it is not that of the file's first signal, 0"),
        (["r 1 125 4", "r.dat 80 2(0)/mV 8 0 5 0 II"], "line 2, block size: 'II' is no whole number; it and what"),
        (["r 1 125 4", "r.dat 80 2 8 0 5 x"], "line 2, checksum: 'x' is no whole number; it and what"),
        (["r 1 125 4", "r.dat 80 2(0)/deg C 8 0"], "line 2, ADC resolution: 'C' is no whole number; it and what"),
        (["r/1 1 125 4", "s 4 x"], "line 2, number of samples: 'x' is left over after it"),
    ],
)
def test_what_is_not_understood_but_not_needed_is_noted(lines: list[str], note: str) -> None:
    found = parsed(*lines)
    assert len(found.notes) == 1
    assert note in found.notes[0]
    assert found.fs == 125
    assert found.counter_frequency == {"125/x": None, "125/5(y)": 5}.get(lines[0].split()[2], 125)
    assert (found.base_counter is None) == ("base counter" in note)
    if found.signals:
        assert found.signals[0][:8] == ("r.dat", "80", 1, 0, 0, 2.0, 0, "deg" if "deg" in lines[1] else "mV")


def test_a_nul_ends_its_line() -> None:
    found = parsed("r 1 125 4", f"{SIGNAL}\0\0", "# a\0b")
    assert (found.signals[0].name, found.comments) == ("II", ("a",))
    assert found.notes == tuple(f"line {line}, text: what follows a NUL character was not read" for line in (2, 3))


def test_rows_have_few_of_many_notes() -> None:
    """A row for each of many signals, each with the notes of all, would be more than any memory holds."""
    found = parsed("r 6 125 4 x", *["r.dat 80 2 8 0 5 x"] * 6)
    assert len(found.notes) == 7
    assert found.note == "; ".join([*found.notes[:4], "and 3 more"])
    assert parsed("r 1 125 4 x", SIGNAL).note == "line 1, base time: 'x' is no time as HH:MM:SS"
    assert parsed("r 1 125 4", SIGNAL).note is None


@pytest.mark.slow
@given(headers(is_plain=True))
@settings(max_examples=100)
def test_more_blanks_change_nothing(header: tuple[bytes, Header]) -> None:
    """Lines with single blanks have a shorter way through the parser."""
    wide = re.sub(rb"(?m)^([^#\r\n]*)", lambda line: re.sub(rb"[ \t]+", b" \t", line[1]), header[0])
    thin = re.sub(rb"(?m)^([^#\r\n]*)", lambda line: re.sub(rb"[ \t]+", b" ", line[1]), header[0])
    assert parse_header(wide).signals == parse_header(thin).signals == header[1].signals


def test_lines_are_lines_whatever_ends_them() -> None:
    lines = b"r 1 125 4", SIGNAL.encode(), b"#x"
    for ending in (b"\n", b"\r\n", b"\r"):
        found = parse_header(ending.join(lines))
        assert (found.signals, found.comments) == ((signal(SIGNAL),), ("x",))


def test_comments_may_be_long() -> None:
    assert parsed("r 1 125 10", "r.dat 80 2", "#" + "x" * 100_000).comments == ("x" * 100_000,)


def test_a_header_file_may_be_too_large(tmp_path: Path) -> None:
    (tmp_path / "r.hea").write_bytes(b"# " + b"x" * 2**24)
    with pytest.raises(ValueError, match="the header has 16,777,218 bytes; at most 16,777,216 are read"):
        read_header(str(tmp_path / "r.hea"))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "r.hea")
    with pytest.raises(ValueError, match=r"r\.hea is no regular file"):
        read_header(str(tmp_path / "r.hea"))


@pytest.mark.slow
def test_a_master_of_20_000_segments_is_one() -> None:
    found = parse_header(b"r/20000 1 125 20000\n" + b"r 1\n" * 20_000)  # and it names itself
    assert found.segments == (SegmentLine("r", 1),) * 20_000
