"""The fast header parser says what wfdb says, or leaves the header to wfdb."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaledproc.extractors.wfdb_header import Header, from_wfdb, parse, read_header

PLAIN = [
    b"3234460_0001 2 125 28637 10:47:44.449\nx.dat 80 86/mV 8 0 -24 -14677 0 II\nx.dat 80 67/mV 8 0 -9 -7894 0 V\n",
    (
        b"8228498 2 62.4725/999.56(599040) 320 1:02:03 21/11/2150\ne.dat 516x4 200(8192)/mV 13 4096 0 19712 0 II\n"
        b"p.dat 516x2:3+24 4096(0)/NU 12 2048 0 35369 0 Pleth wave\n# a comment\n"
    ),
    b"r 1\r\n\r\nr.dat 212\r\n",
    b"r/3 2 125 1000\nr_layout 0\n~ 500\nr_0001 500\n",
    b"r 1 360 10\nr.mat 16+24 1.052e+04/mV 16 0 9127 -301 0 V\n",
    b"r 1 0.0166666666667/125 72\nrn.dat 16 -10/% 16 5\n",
]


def check(path: Path, content: bytes) -> None:
    """Where `parse` answers, wfdb gives the same answer (and does not refuse)."""
    path.write_bytes(content)
    found = parse(content)
    if found is not None:
        assert found == from_wfdb(path)


def test_every_real_header_is_plain(shared_data: Path) -> None:
    for path in shared_data.rglob("*.hea"):
        found = parse(path.read_bytes())
        assert found is not None, path
        assert found == from_wfdb(path), path


@pytest.mark.parametrize("content", PLAIN)
def test_plain_headers_are_parsed(tmp_path: Path, content: bytes) -> None:
    assert isinstance(parse(content), Header)
    check(tmp_path / "r.hea", content)


MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(["delete", "insert", "replace", "double", "swap"]),
        st.integers(0, 400),
        st.sampled_from(
            [bytes([byte]) for byte in b" \t\n0159.-+/:x()~#_eE%aZ\r\x0b\x1c\xb5"] + [b"  ", b"1e5", b"//"]
        ),
    ),
    min_size=1,
    max_size=4,
)


@given(st.sampled_from(PLAIN), MUTATIONS)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_headers_are_read_as_wfdb_reads_them(
    tmp_path: Path, content: bytes, mutations: list[tuple[str, int, bytes]]
) -> None:
    check(tmp_path / "r.hea", mutated(content, mutations))


@given(st.data(), MUTATIONS)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_real_headers_are_read_as_wfdb_reads_them(
    tmp_path: Path, shared_data: Path, data: st.DataObject, mutations: list[tuple[str, int, bytes]]
) -> None:
    path = data.draw(st.sampled_from(sorted(shared_data.rglob("*.hea"))))
    check(tmp_path / "r.hea", mutated(path.read_bytes(), mutations))


def mutated(content: bytes, mutations: list[tuple[str, int, bytes]]) -> bytes:
    for kind, place, piece in mutations:
        at = place % (len(content) + 1)
        match kind:
            case "delete":
                content = content[:at] + content[at + 1 :]
            case "insert":
                content = content[:at] + piece + content[at:]
            case "replace":
                content = content[:at] + piece + content[at + len(piece) :]
            case "double":
                content = content[: at + 3] + content[at:]
            case _:
                content = content[at:] + content[:at]
    return content


@pytest.mark.parametrize("content", [b"", b"\n", b"# only a comment\n", b"\x00\xff\xfe", b"r x\n", b"r 1\n???\n"])
def test_garbage_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.hea").write_bytes(content)
    with pytest.raises((ValueError, IndexError)):
        read_header(tmp_path / "r.hea")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"r 3 125 10\nr.dat 80\n", "says that it has 3 signals, and describes 1"),
        (b"r 1 125 10\nr.dat 80\nr.dat 80\n", "says that it has 1 signals, and describes 2"),
        (b"r 1000000 125 10\nr.dat 80\n", "says that it has 1,000,000 signals, and describes 1"),
        (b"r 5 125 10\n", "says that it has 5 signals, and describes 0"),
        (b"r 1 " + b"9" * 400 + b" 10\nr.dat 80\n", "cannot convert float infinity"),
        (b"r 1 125 10\nr.dat 80 2 " + b"9" * 5000 + b"\n", "a line of the header has 5,011 characters"),
        (b"r 1 125 10\n" + b"a" * 1_000_000 + b"\n", "a line of the header has 1,000,000 characters"),
        (b"r 20000 125 10\n" + b"r.dat 80 2/mV*x\n" * 20_000, "the header has 20,001 lines, not all of them plain"),
        (b"\x1f\x8b\x08" + bytes(range(256)), "wfdb cannot read the header: HeaderSyntaxError"),
        (b"# " + b"x" * 2**24, "the header has 16,777,218 bytes; at most 16,777,216 are read"),
    ],
)
def test_what_a_person_is_told(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "r.hea").write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(why)):
        read_header(tmp_path / "r.hea")


def test_comments_may_be_long(tmp_path: Path) -> None:
    (tmp_path / "r.hea").write_bytes(b"r 1 125 10\nr.dat 80 2 x\n#" + b"x" * 100_000 + b"\n")
    assert len(read_header(tmp_path / "r.hea").signals) == 1


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "r.hea")
    with pytest.raises(ValueError, match=r"r\.hea is no regular file"):
        read_header(tmp_path / "r.hea")


def test_a_master_of_20_000_segments_is_one(tmp_path: Path) -> None:
    (tmp_path / "r.hea").write_bytes(b"r/20000 1 125 20000\n" + b"r 1\n" * 20_000)  # and it names itself
    assert read_header(tmp_path / "r.hea").is_master
