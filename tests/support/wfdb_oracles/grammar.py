"""Headers by the grammar of header(5), each beside what it means; and samples by signal(5), the plain way.

The reference for `wfdb-summary` is the specification. Nothing of it is read with the code under test.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from scaledproc.extractors.wfdb.headers.header import Header, SegmentLine, SignalLine

FORMATS = ["8", "16", "24", "32", "61", "80", "160", "212", "310", "311"]
"""All formats but FLAC's and that of null signals: any bytes are samples in them."""
LOWEST = {"16": -(2**15), "61": -(2**15), "160": -(2**15), "80": -128, "212": -2048, "310": -512, "311": -512}
LOWEST |= {"24": -(2**23), "32": -(2**31), "508": -128, "516": -(2**15), "524": -(2**23)}
"""The value that stands for a missing sample."""

_UNITS = ["mV", "µV", "°C", "dyn*s/cm5", "[au]", "cm.H2O", "#", "mL/(min*m2)", "/s", "%", "Ω", "(a)", "m\xa0V", "x:+~"]
_NAMES = ["II", "Dérivation I", "心电", "ABP SYS", "# 1", "a\tb", "=1+1", "12", "-", "V\x0b1", "x\x85y", "a\u2028b"]
_FILES = ["r.dat", "r.v1.dat", "sig/r.dat", "écg.dat", "a+b(1).dat", "r", "100", "x:y.d-t", "d.7001", "16x4", "心.dat"]
_LATIN = {"mV", "µV", "°C", "%", "II", "Dérivation I", "ABP SYS", "12", "r.dat", "écg.dat", "r"}


@st.composite
def headers(draw: st.DrawFn, *, is_plain: bool = False) -> tuple[bytes, Header]:
    """A header's bytes and what they mean.

    Parameters
    ----------
    draw
        Of hypothesis.
    is_plain
        Whether all of it is what any reader of such headers takes, with one signal file.
    """
    latin = not is_plain and draw(st.booleans())
    lines: list[str] = []
    signals: list[SignalLine] = []
    files = draw(st.lists(_text(_FILES[:1] if is_plain else _FILES, latin), min_size=1, max_size=3, unique=True))
    for file in files:
        fmt = draw(st.sampled_from(FORMATS))
        offset = draw(st.sampled_from([0, 0, 24]))
        for _ in range(draw(st.integers(1, 3))):
            text, signal = draw(_signal_lines(file, fmt, offset, latin=latin, is_plain=is_plain))
            lines.append(text)
            signals.append(signal)
    n_frames = draw(st.sampled_from([None, *range(1, 40)]))
    record = ["r", draw(_whole(len(signals), is_plain=is_plain))]
    text, fs = draw(st.sampled_from(_FS[:3] if is_plain else _FS))
    counter, base, day, moment = fs, 0.0, None, None
    if not text:
        n_frames = None
    else:
        if not is_plain and draw(st.booleans()):
            frequency, counter = draw(st.sampled_from([("1e3", 1e3), ("0", fs), ("-1", fs), ("999.56", 999.56)]))
            begin, base = draw(st.sampled_from([("", 0.0), ("(0)", 0.0), ("(1e6)", 1e6), ("(-7.5)", -7.5)]))
            text += f"/{frequency}{begin}"
        record.append(text)
        if n_frames or draw(st.booleans()):
            record.append(draw(_whole(n_frames or 0, is_plain=is_plain)))
            text, day, moment = draw(st.sampled_from(_WHENS[:3] if is_plain else _WHENS))
            record += text.split()
    header = Header("r", fs, counter, base, n_frames, day, moment, tuple(signals), (), (), ())
    return draw(_written([record, *[line.split("\0") for line in lines]], header, latin=latin))


_FS = [("", 250.0), ("125", 125.0), ("62.4725", 62.4725), ("3.6e2", 360.0), ("360.", 360.0), ("+0.5", 0.5)]
_FS += [("1E3", 1000.0), (".5", 0.5), ("0x1p-1", 0.5), ("360.000000001", 360.000000001)]
_WHENS: list[tuple[str, dt.date | None, dt.time | None]] = [
    ("", None, None),
    ("10:47:44.449", None, dt.time(10, 47, 44, 449_000)),
    ("1:2:3 1/2/2130", dt.date(2130, 2, 1), dt.time(1, 2, 3)),
    ("13:05:00.123456789 25/4/1989", dt.date(1989, 4, 25), dt.time(13, 5, 0, 123_456)),
]


@st.composite
def masters(draw: st.DrawFn) -> tuple[bytes, Header]:
    """The same for the header of a record of several segments."""
    segments = draw(
        st.lists(
            st.builds(
                SegmentLine, st.sampled_from(["~", "r_0001", "3544749_0007", "r_layout", "100s"]), st.integers(0, 99)
            ),
            min_size=1,
            max_size=6,
        )
    )
    n_frames = sum(segment.n_frames for segment in segments)
    day, moment = dt.date(2183, 4, 28), dt.time(17, 47)
    record = [f"r/{len(segments)}", "2", "125", str(n_frames), "17:47:00", "28/04/2183"]
    header = Header("r", 125.0, 125.0, 0.0, n_frames or None, day, moment, (), tuple(segments), (), ())
    lines = [[segment.name, draw(_whole(segment.n_frames, is_plain=False))] for segment in segments]
    return draw(_written([record, *lines], header, latin=False))


@st.composite
def _written(draw: st.DrawFn, lines: Sequence[Sequence[str]], header: Header, *, latin: bool) -> tuple[bytes, Header]:
    """Lines of fields as bytes: blanks, comments and line ends wherever they may be."""
    ending = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    comments, text = [], []
    for fields in lines:
        if draw(st.integers(0, 3)) == 0:
            comment = draw(st.sampled_from(["", "<age>: 63", "r.dat 16 200", " a #b"]))
            comments.append(comment.strip())
            text += ["", f"{draw(st.sampled_from(['', ' ']))}#{comment}"]
        line = fields[0]
        for field in fields[1:]:
            line += draw(st.sampled_from([" ", " ", "\t", "  \t "])) + field
        text.append(draw(st.sampled_from(["", "", " \t"])) + line + draw(st.sampled_from(["", "", "  "])))
    content = ending.join([*text, *([""] if draw(st.booleans()) else [])])
    data = content.encode("latin-1" if latin else draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig"])))
    return data, header._replace(comments=tuple(comments))


def _text(texts: Sequence[str], latin: bool) -> st.SearchStrategy[str]:
    return st.sampled_from([text for text in texts if text in _LATIN] if latin else list(texts))


def _whole(number: int, *, is_plain: bool) -> st.SearchStrategy[str]:
    """A whole number as it may be written."""
    more = [] if is_plain else [f"{number}.0", f"{number:e}" if float(f"{number:e}") == number else f"{number}."]
    return st.sampled_from([str(number), str(number), *more])


@st.composite
def _signal_lines(
    draw: st.DrawFn, file: str, fmt: str, offset: int, *, latin: bool, is_plain: bool
) -> tuple[str, SignalLine]:
    """A signal's line, its fields with a NUL between them, and what it means."""
    frame, skew = draw(st.integers(1, 3)), 0 if is_plain else draw(st.sampled_from([0, 0, 1, 5]))
    modifiers = [f"x{frame}"] * (frame > 1) + [f":{skew}"] * (skew > 0) + [f"+{offset}"] * (offset > 0)
    fields = [file, fmt + "".join(modifiers if is_plain else draw(st.permutations(modifiers)))]
    expected: dict[str, Any] = {"gain": 200.0, "baseline": 0, "units": "mV", "adc_resolution": 0, "adc_zero": 0}
    expected |= {"init_value": 0, "checksum": None, "block_size": 0, "name": None}
    n_fields = draw(st.integers(0, 7))
    if n_fields:
        text, expected["gain"] = draw(st.sampled_from(_GAINS[:3] if is_plain else _GAINS))
        baseline = draw(st.sampled_from([None, -17, 0, 1024]))
        if baseline is not None:
            expected["baseline"] = baseline
            text += f"({draw(_whole(baseline, is_plain=is_plain))})"
        if draw(st.booleans()):
            expected["units"] = draw(_text(_UNITS[:1] if is_plain else _UNITS, latin))
            text += f"/{expected['units']}"
        fields.append(text or "0")
    later = ["adc_resolution", "adc_zero", "init_value", "checksum", "block_size"]
    for field in later[: max(n_fields - 1, 0)]:
        lows = {"adc_resolution": (0, 16), "block_size": (-512, 512)}
        number = draw(st.integers(*lows.get(field, (-300, 3000))))
        if field == "block_size" and is_plain:
            number = 0
        expected[field] = number
        fields.append(draw(_whole(number, is_plain=is_plain)))
    if n_fields < 3:
        expected["adc_zero"] = 0
    if n_fields >= 1 and "(" not in fields[2].partition("/")[0]:
        expected["baseline"] = expected["adc_zero"]
    if n_fields < 4:
        expected["init_value"] = expected["adc_zero"]
    if n_fields == 7:
        expected["name"] = draw(_text(_NAMES[:1] if is_plain else _NAMES, latin))
        fields.append(expected["name"])
    return "\0".join(fields), SignalLine(file, fmt, frame, skew, offset, **expected)


_GAINS = [("200", 200.0), ("12.84", 12.84), ("0", 200.0), ("1E3", 1e3), ("1.0E7", 1e7), ("-0.25", -0.25), ("", 200.0)]
_GAINS += [("2.5e+01", 25.0), ("+10.", 10.0), (".5", 0.5), ("1.052e+04", 10520.0)]


def decode(fmt: str, data: bytes) -> list[int]:
    """All samples of a signal file, one by one, by signal(5); of format 8 the differences."""
    if fmt in ("212", "310", "311"):
        size, places = {"212": (3, [(0, 2), (1, 3)]), "310": (4, [(0, 2), (1, 4), (2, 4)])}.get(
            fmt, (4, [(0, 2), (1, 3), (2, 4)])
        )
        return [
            _PACKED[fmt](data[at : at + size].ljust(size, b"\0"), number)
            for at in range(0, len(data), size)
            for number, needed in places
            if len(data) - at >= needed
        ]
    kind = {"8": "i1", "80": "u1", "16": "<i2", "61": ">i2", "160": "<u2", "32": "<i4"}.get(fmt)
    if kind is None:
        return [int.from_bytes(data[at : at + 3], "little", signed=True) for at in range(0, len(data) // 3 * 3, 3)]
    size = int(kind[-1])
    shift = {"80": 128, "160": 32_768}.get(fmt, 0)
    samples: list[int] = (np.frombuffer(data[: len(data) // size * size], kind).astype(np.int64) - shift).tolist()
    return samples


def _signed(value: int, bits: int) -> int:
    value %= 1 << bits
    return value - (1 << bits) if value >> (bits - 1) else value


def _of_212(data: bytes, number: int) -> int:
    return _signed(data[0] | data[1] << 8 if number == 0 else (data[1] >> 4) << 8 | data[2], 12)


def _of_310(data: bytes, number: int) -> int:
    pairs = [data[0] | data[1] << 8, data[2] | data[3] << 8]
    return _signed((pairs[0] >> 11 & 31) | (pairs[1] >> 11 & 31) << 5 if number == 2 else pairs[number] >> 1, 10)


def _of_311(data: bytes, number: int) -> int:
    return _signed(int.from_bytes(data, "little") >> (10 * number), 10)


_PACKED: Mapping[str, Callable[[bytes, int], int]] = {"212": _of_212, "310": _of_310, "311": _of_311}
