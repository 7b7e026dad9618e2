"""WFDB headers by their specification, header(5): every field of every line, and notes of what is not understood.

Where the specification leaves a question open the WFDB C library answers it. A field without which no sample has a
value must be right, or the header is refused; any other, a date for one, costs itself and is noted.
"""

from __future__ import annotations

import datetime as dt
import math
import os
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, NoReturn

from scaledproc.extractors.wfdb.signals.blocks import open_regular

LARGEST_HEADER = 2**24
"""Bytes of a header file; one of 20,000 segments has half a million."""
LONGEST_LINE = 4096
"""Characters of a line that is no comment; WFDB allows 255."""
MOST_NOTES = 4
"""Notes that a row has."""
FORMATS = frozenset(["0", "8", "16", "24", "32", "61", "80", "160", "212", "310", "311", "508", "516", "524"])
"""Storage formats: signal(5), and 0 for a signal without samples."""
DIFFERENCES = "8"
"""The format whose first sample is in the header."""
_DEFAULT_FS = 250.0  # header(5): where a field is missing
_DEFAULT_GAIN = 200.0
_DEFAULT_UNITS = "mV"


class SignalLine(NamedTuple):
    """A signal, as its line in the header describes it."""

    file: str
    fmt: str
    samples_per_frame: int
    skew: int
    """Samples of this signal that are stored before sample 0."""
    byte_offset: int
    gain: float
    baseline: int
    units: str
    adc_resolution: int
    """Bits; 0 where the header does not say."""
    adc_zero: int
    init_value: int
    checksum: int | None
    block_size: int
    name: str | None

    @property
    def is_null(self) -> bool:
        """Whether it has no file, so that all its samples are missing."""
        return self.fmt == "0" or self.file == "~"


class SegmentLine(NamedTuple):
    """A segment of a record, as its line in the master header describes it."""

    name: str
    """`~` is a gap."""
    n_frames: int
    """Zero in the layout segment, which is the first one of a record of variable layout."""


class Header(NamedTuple):
    """A WFDB header.

    Parameters
    ----------
    name
        Of the record.
    fs
        Frames per second, Hz.
    counter_frequency
        Ticks of the counter per second; the frames' where the header gives none, None where it is not understood.
    base_counter
        The counter's value at sample 0; None where it is not understood.
    n_frames
        Samples of a signal that has one sample a frame; None where the header does not say.
    date, time
        Of the first sample; None where not given, or not understood.
    signals
        In the header's order; none in a master.
    segments
        Of a master header, in the order of time; none in an ordinary one.
    comments
        Lines of comments without their `#`, stripped, wherever they stand.
    notes
        What could not be understood, each with its line and field.
    """

    name: str
    fs: float
    counter_frequency: float | None
    base_counter: float | None
    n_frames: int | None
    date: dt.date | None
    time: dt.time | None
    signals: tuple[SignalLine, ...]
    segments: tuple[SegmentLine, ...]
    comments: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def note(self) -> str | None:
        """The first notes as one text: a header of 20,000 signals may have as many, and as many rows with each."""
        if not self.notes:  # as nearly always
            return None
        shown, more = self.notes[:MOST_NOTES], len(self.notes) - MOST_NOTES
        return "; ".join([*shown, f"and {more:,} more"] if more > 0 else shown)

    @property
    def files(self) -> list[str]:
        """The signal files, each once, as the header names them."""
        return list(dict.fromkeys([each.file for each in self.signals if each.fmt != "0" and each.file != "~"]))


class _Line(NamedTuple):
    """A line that says something, and its number in the file."""

    number: int
    text: str

    def refuse(self, field: str, why: str) -> NoReturn:
        raise ValueError(self.says(field, why))

    def says(self, field: str, why: str) -> str:
        return f"line {self.number}, {field}: {why}"


# Fields as they stand, whatever they hold: what they must hold is up to each of them. Every text that has the fields
# in this order matches, and in one way only.
_B, _F = r"[ \t]+", r"[^ \t]+"
_RECORD = re.compile(
    rf"(?P<name>[^ \t/]+)(?:/(?P<segments>[^ \t]*))?(?:{_B}(?P<n>{_F})"
    r"(?:[ \t]+(?P<fs>[^ \t/(]*)(?:/(?P<counter>[^ \t(]*))?(?:\((?P<base>[^ \t)]*)\)?)?(?P<rest>[^ \t]*)"
    rf"(?:{_B}(?P<length>{_F})(?:{_B}(?P<time>{_F})(?:{_B}(?P<date>{_F})(?:{_B}(?P<more>.*))?)?)?)?)?)?",
    re.DOTALL,
)
_SIGNAL = re.compile(
    rf"({_F})(?:{_B}([^ \tx:+]+)([^ \t]*)(?:{_B}([^ \t(/]*)(?:\(([^ \t)]*)\)?)?([^ \t/]*)(?:/([^ \t]*))?"
    rf"(?:{_B}({_F})(?:{_B}({_F})(?:{_B}({_F})(?:{_B}({_F})(?:{_B}({_F})(?:{_B}(.*))?)?)?)?)?)?)?)?",
    re.DOTALL,
)
# What nearly every signal's line is. It says the same as the long way does, in half the time: most of that of a header.
_PLAIN = re.compile(
    r"([^ \t]+) (\d{1,3})(?:x([1-9]\d{0,8}))?(?::(\d{1,9}))?(?:\+(\d{1,9}))?"
    r" (\d{1,15}(?:\.\d{1,15})?)(?:\((-?\d{1,9})\))?(?:/([^ \t]+))?"
    r" (\d{1,9}) (-?\d{1,9}) (-?\d{1,9}) (-?\d{1,9}) (\d{1,9}) ([^ \t].*)",
    re.ASCII | re.DOTALL,
)
_SEGMENT = re.compile(rf"({_F})(?:{_B}({_F})(?:{_B}(.*))?)?", re.DOTALL)
_MODIFIERS = re.compile(r"([x:+])([^x:+]*)")
_REAL = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_HEXADECIMAL = re.compile(r"[+-]?0x(?:[0-9a-f]+(?:\.[0-9a-f]*)?|\.[0-9a-f]+)(?:p[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_TIME = re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.(\d*))?", re.ASCII)
_HALF_DAY = re.compile(r"(?<![^ \t])[ap]\.?m\.?(?![^ \t])", re.IGNORECASE)
_DATE = re.compile(r"(\d{1,2})/(\d{1,2})/([1-9]\d{3})", re.ASCII)
_BLANKS = " \t"


def read_header(path: str) -> Header:
    """The header that a file holds.

    Raises
    ------
    ValueError
        If the file is not a WFDB header, or is too large for one.
    OSError
        If the file cannot be read.
    """
    handle = open_regular(path)
    try:
        size = os.fstat(handle).st_size
        if size > LARGEST_HEADER:
            raise ValueError(f"the header has {size:,} bytes; at most {LARGEST_HEADER:,} are read")
        return parse_header(os.read(handle, size))
    finally:
        os.close(handle)


def parse_header(data: bytes) -> Header:
    """The header that these bytes are.

    Raises
    ------
    ValueError
        If the text is not a WFDB header; the reason names the line and the field.
    """
    lines: list[_Line] = []
    comments: list[str] = []
    notes: list[str] = []
    for number, text in enumerate(_lines(data), 1):
        if "\0" in text:  # which ends a text in C
            text = text.partition("\0")[0]
            notes.append(f"line {number}, text: what follows a NUL character was not read")
        text = text.strip(_BLANKS)
        if text[:1] == "#":
            comments.append(text[1:].strip(_BLANKS))
        elif text:
            if len(text) > LONGEST_LINE:
                raise ValueError(f"line {number}, file name: the line has {len(text):,} characters; WFDB allows 255")
            lines.append(_Line(number, text))
    if not lines:
        raise ValueError("the header is empty")
    line = lines[0]
    record = _RECORD.fullmatch(line.text)
    if record is None:
        line.refuse("record name", f"{shown(line.text)} is not the beginning of a header")
    name, segments, n, fs, counter, base, rest, length, time, date, more = record.groups()
    if n is None:
        line.refuse("number of signals", "it is missing")
    n_signals = _count(line, "number of signals", n)
    rate = _fs(line, fs)
    if rest:
        line.refuse("sampling frequency", f"{shown(rest)} is left over")
    n_frames = _count(line, "number of samples", length) if length else 0
    frequency, begin = _counter(line, rate, counter, base, notes)
    day, moment = _when(line, time, date, more, notes) if time else (None, None)
    return Header(
        name,
        rate,
        frequency,
        begin,
        n_frames or None,
        day,
        moment,
        () if segments is not None else _signals(line, lines[1:], n_signals, notes),
        () if segments is None else _segments(line, lines[1:], segments, notes),
        tuple(comments),
        tuple(notes),
    )


def _lines(data: bytes) -> list[str]:
    """Each line's text: UTF-8, or else Latin-1, in which every byte is a character."""
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    data = data.removeprefix(b"\xef\xbb\xbf")  # a byte order mark
    try:
        return data.decode().split("\n")
    except UnicodeDecodeError:
        return [_decoded(line) for line in data.split(b"\n")]


def _decoded(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def shown(text: str) -> str:
    """A text out of a header as a message shows it."""
    return repr(text if len(text) <= 60 else f"{text[:59]}…")


@lru_cache(4096)
def _whole(text: str) -> int | None:
    """A whole number, however it is written; None where it is none, or more than any file can hold."""
    if _WHOLE.fullmatch(text):
        return int(text)
    number = _real(text)
    return int(number) if number is not None and number.is_integer() and abs(number) < 10**18 else None


@lru_cache(4096)
def _real(text: str) -> float | None:
    """A number as C's `strtod` reads it, but for infinity and what is none; None where the text is no such number."""
    if _REAL.fullmatch(text):
        number = float(text)
    elif _HEXADECIMAL.fullmatch(text):
        try:
            number = float.fromhex(text)
        except OverflowError:
            return None
    else:
        return None
    return number if math.isfinite(number) else None


def _count(line: _Line, field: str, text: str) -> int:
    number = _whole(text)
    if number is None or number < 0:
        line.refuse(field, f"{shown(text)} is no whole number from 0 to 10^18")
    return number


def _fs(line: _Line, text: str | None) -> float:
    if text is None:
        return _DEFAULT_FS
    number = _real(text)
    if number is None or number <= 0:
        line.refuse("sampling frequency", f"{shown(text)} is no number above 0")
    return number


def _counter(
    line: _Line, fs: float, counter: str | None, base: str | None, notes: list[str]
) -> tuple[float | None, float | None]:
    """The counter's frequency and its value at sample 0; None for what is not understood, as times would be wrong."""
    frequency: float | None = fs
    begin: float | None = 0.0
    if counter:
        frequency = _real(counter)
        if frequency is None:
            notes.append(line.says("counter frequency", f"{shown(counter)} is no number"))
        elif frequency <= 0:
            frequency = fs
    if base is not None:
        begin = None if counter is None else _real(base)
        if begin is None:
            notes.append(line.says("base counter value", f"{shown(base)} is no number after a counter frequency"))
    return frequency, begin


def _when(
    line: _Line, time: str, date: str | None, more: str | None, notes: list[str]
) -> tuple[dt.date | None, dt.time | None]:
    """The date and the time of sample 0."""
    moment, day = _time(time), _date(date) if date else None
    half = _HALF_DAY.search(f"{date} {more}") if moment is not None and date else None
    if half:
        moment = None
        notes.append(
            line.says("base time", f"{shown(half[0])} follows {shown(time)}, which is then no time of 24 hours")
        )
    elif moment is None:
        notes.append(line.says("base time", f"{shown(time)} is no time as HH:MM:SS"))
    if date and not date.strip("0/"):  # the first example of header(5) has 0:0:0 0/0/0
        notes.append(line.says("base date", f"{shown(date)} says that none was recorded"))
        moment = None if moment == dt.time() else moment
    elif date and day is None:
        notes.append(line.says("base date", f"{shown(date)} is no date as DD/MM/YYYY"))
    if more:
        notes.append(line.says("base date", f"{shown(more)} is left over after it"))
    return day, moment


@lru_cache(256)
def _time(text: str) -> dt.time | None:
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    hour, minute, second, fraction = found.groups()
    try:  # what is shorter than a microsecond is cut off
        return dt.time(int(hour), int(minute), int(second), int((fraction or "")[:6].ljust(6, "0")))
    except ValueError:
        return None


@lru_cache(256)
def _date(text: str) -> dt.date | None:
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    day, month, year = map(int, found.groups())
    try:
        return dt.date(year, month, day)
    except ValueError:
        return None


def _segments(line: _Line, lines: Sequence[_Line], text: str, notes: list[str]) -> tuple[SegmentLine, ...]:
    n = _count(line, "number of segments", text)
    if n == 0:
        line.refuse("number of segments", "it must be greater than 0")
    _check_number(line, lines, n, "segment", notes)
    return tuple([_segment(each, notes) for each in lines[:n]])


def _segment(line: _Line, notes: list[str]) -> SegmentLine:
    found = _SEGMENT.fullmatch(line.text)
    if found is None or found[2] is None:
        line.refuse("number of samples", "it is missing")
    name, length, more = found.groups()
    if more:
        notes.append(line.says("number of samples", f"{shown(more)} is left over after it"))
    return SegmentLine(name, _count(line, "number of samples", length))


def _check_number(line: _Line, lines: Sequence[_Line], n: int, what: str, notes: list[str]) -> None:
    """Refuse too few lines; note those that are more than enough, which header(5) says are not read."""
    if n > len(lines):
        line.refuse(f"number of {what}s", f"the header says that it has {n:,}, and describes {len(lines):,}")
    if n < len(lines):
        notes.append(lines[n].says(what, f"it was not read: line {line.number} says that there are {n:,}"))


def _signals(line: _Line, lines: Sequence[_Line], n: int, notes: list[str]) -> tuple[SignalLine, ...]:
    _check_number(line, lines, n, "signal", notes)
    signals = tuple([_signal(each, notes) for each in lines[:n]])
    _check_files(lines, signals, notes)
    return signals


def _check_files(lines: Sequence[_Line], signals: Sequence[SignalLine], notes: list[str]) -> None:
    """Refuse what no signal file can be: header(5) has a file's signals together, in one format, from one byte on."""
    firsts: dict[str, SignalLine] = {}
    first = None
    for line, signal in zip(lines, signals, strict=False):
        file = signal.file
        if first is None or file != first.file:
            if file in firsts:
                line.refuse("file name", f"the signals of {shown(file)} are not together")
            first = signal
            if file != "~":
                firsts[file] = signal
        elif file != "~" and (signal.fmt != first.fmt or signal.byte_offset != first.byte_offset):
            if signal.fmt != first.fmt:
                line.refuse("format", f"{shown(file)} has the formats {first.fmt} and {signal.fmt}; a file has one")
            notes.append(line.says("byte offset", f"it is not that of the file's first signal, {first.byte_offset}"))


def _signal(line: _Line, notes: list[str]) -> SignalLine:
    plain = _PLAIN.fullmatch(line.text)
    if plain is not None and plain[2] in FORMATS:
        return _plain_signal(plain)
    return _any_signal(line, notes)


def _plain_signal(line: re.Match[str]) -> SignalLine:
    file, fmt, frame, skew, offset, gain, baseline, units, resolution, zero, init, checksum, block, name = line.groups()
    return SignalLine(
        file,
        fmt,
        int(frame) if frame else 1,
        int(skew) if skew else 0,
        int(offset) if offset else 0,
        float(gain) or _DEFAULT_GAIN,
        int(baseline or zero),
        units or _DEFAULT_UNITS,
        int(resolution),
        int(zero),
        int(init),
        int(checksum),
        int(block),
        name,
    )


def _any_signal(line: _Line, notes: list[str]) -> SignalLine:
    found = _SIGNAL.fullmatch(line.text)
    if found is None:
        line.refuse("format", "it is missing")
    file, fmt, modifiers, gain, baseline, rest, units, *later = found.groups()
    if fmt is None:
        line.refuse("format", "it is missing")
    if fmt not in FORMATS:
        fmt = str(_whole(fmt))
        if fmt not in FORMATS:
            line.refuse("format", f"{shown(found[2])} is none of WFDB's storage formats")
    frame, skew, offset = _modifiers(line, modifiers) if modifiers else (1, 0, 0)
    factor = _real(gain) if gain else 0.0
    if factor is None or rest:
        line.refuse("ADC gain", f"{shown(gain + rest)} is no number")
    zero_point = _whole(baseline) if baseline is not None else None
    if baseline is not None and zero_point is None:
        line.refuse("baseline", f"{shown(baseline)} is no whole number")
    resolution, zero, init, checksum, block = _numbers(line, later[:5], fmt, baseline is not None, notes)
    for field, number in (("baseline", zero_point), ("ADC zero", zero), ("initial value", init)):
        if number is not None and not -(2**31) <= number < 2**31:
            line.refuse(field, f"{number} is beyond 32 bits, which WFDB's samples have")
    return SignalLine(
        file,
        fmt,
        frame,
        skew,
        offset,
        factor or _DEFAULT_GAIN,
        (zero or 0) if zero_point is None else zero_point,
        units or _DEFAULT_UNITS,
        resolution or 0,
        zero or 0,
        (zero or 0) if init is None else init,
        checksum,
        block or 0,
        (later[5] or None) if block is not None else None,
    )


_NUMBERS = ("ADC resolution", "ADC zero", "initial value", "checksum", "block size")


def _numbers(
    line: _Line, texts: Sequence[str | None], fmt: str, has_baseline: bool, notes: list[str]
) -> list[int | None]:
    """The whole numbers after the gain; None where a field is missing.

    From a field on that is none, it is not known what is what.
    """
    numbers = [None if text is None else _whole(text) for text in texts]
    for place, (text, number) in enumerate(zip(texts, numbers, strict=True)):
        if text is None:
            break
        if number is None:
            why = f"{shown(text)} is no whole number"
            if (place < 2 and not has_baseline) or (place < 3 and fmt == DIFFERENCES):
                line.refuse(_NUMBERS[place], why)  # it is the baseline, or the first sample
            notes.append(line.says(_NUMBERS[place], f"{why}; it and what follows on the line was not read"))
            return [*numbers[:place], *[None] * (len(texts) - place)]
    return numbers


def _modifiers(line: _Line, text: str) -> tuple[int, int, int]:
    """Samples per frame, skew, and byte offset, in any order."""
    found: dict[str, int] = {}
    for sign, number in _MODIFIERS.findall(text):
        field, least = {"x": ("samples per frame", 1), ":": ("skew", 0), "+": ("byte offset", 0)}[sign]
        value = _whole(number)
        if value is None or value < least or sign in found:
            line.refuse(field, f"{shown(text)} must give it once, as a whole number from {least} on")
        found[sign] = value
    return found.get("x", 1), found.get(":", 0), found.get("+", 0)
