"""WFDB headers, read fast where they are plain; the reference for every answer is `wfdb.rdheader`.

The grammar here is that of header(5), but strict: fields in order, single values well-formed. Whatever it does not
match is left to wfdb, which is lenient in ways of its own, so the two never disagree.
"""

from __future__ import annotations

import datetime as dt
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from scaledproc.extractors.wfdb_blocks import open_regular
from scaledproc.extractors.wfdb_claims import LARGEST_HEADER, LONGEST_LINE, check_lines


class Signal(NamedTuple):
    """A signal's line: what is needed to read the samples and to describe them."""

    file: str
    fmt: str
    samples_per_frame: int
    skew: int
    byte_offset: int
    gain: float
    baseline: int
    units: str | None
    init_value: int
    checksum: int | None
    name: str | None


@dataclass(frozen=True)
class Header:
    """A WFDB header.

    Parameters
    ----------
    fs
        Frames per second, Hz.
    n_frames
        Samples of a signal that has one sample a frame; None where the header does not say.
    date, time
        Of the first sample, where given.
    signals
        In the header's order.
    is_master
        Whether it is the header of a record of several segments, of which nothing else is kept here.
    """

    fs: float
    n_frames: int | None
    date: dt.date | None
    time: dt.time | None
    signals: tuple[Signal, ...]
    is_master: bool = False


MASTER = Header(0.0, None, None, None, (), is_master=True)

_NUMBER = r"\d+(?:\.\d+)?"
_RECORD = re.compile(
    rf"[-\w]+(?P<segments>/\d+)?[ \t]+(?P<n>\d+)"
    rf"(?:[ \t]+(?P<fs>{_NUMBER})(?:/-?{_NUMBER}(?:\(-?{_NUMBER}\))?)?"
    r"(?:[ \t]+(?P<length>\d+)"
    r"(?:[ \t]+(?P<hour>\d{1,2}):(?P<minute>\d{1,2}):(?P<second>\d{1,2})(?:\.(?P<fraction>\d{1,6}))?"
    r"(?:[ \t]+(?P<day>\d{1,2})/(?P<month>\d{1,2})/(?P<year>\d{4}))?)?)?)?"
)
_SIGNAL = re.compile(
    r"(?P<file>~|[-\w]+(?:\.\w+)?)[ \t]+(?P<fmt>\d+)(?:x(?P<frame>\d+))?(?::(?P<skew>\d+))?(?:\+(?P<offset>\d+))?"
    rf"(?:[ \t]+(?P<gain>-?{_NUMBER}(?:e[+-]?\d+)?)(?:\((?P<baseline>-?\d+)\))?(?:/(?P<units>[\w^\-?%/]+))?"
    r"(?:[ \t]+\d+(?:[ \t]+(?P<zero>-?\d+)(?:[ \t]+(?P<init>-?\d+)(?:[ \t]+(?P<checksum>-?\d+)"
    r"(?:[ \t]+\d+(?:[ \t]+(?P<name>[^\s][^\t\n\r\f\v]*))?)?)?)?)?)?)?"
)
_SEGMENT = re.compile(r"(?:~|[-\w]+)[ \t]+\d+")
_DEFAULT_FS = 250.0  # header(5): where a field is missing
_DEFAULT_GAIN = 200.0
_DEFAULT_UNITS = "mV"


def read_header(path: str | Path) -> Header:
    """The header in a file.

    Raises
    ------
    ValueError
        It is not a WFDB header.
    OSError
        It cannot be read.
    """
    content = _content(path)
    if not content.strip():
        raise ValueError("the header is empty")
    found = parse(content)
    if found is None:
        check_lines(content)
        found = from_wfdb(Path(path))
    return found


def _content(path: str | Path) -> bytes:
    """A header file's content; never waits for the other end of a pipe."""
    handle = open_regular(os.fspath(path))
    try:
        size = os.fstat(handle).st_size
        if size > LARGEST_HEADER:
            raise ValueError(f"the header has {size:,} bytes; at most {LARGEST_HEADER:,} are read")
        return os.read(handle, size)
    finally:
        os.close(handle)


def parse(content: bytes) -> Header | None:
    """A plain header's content; None where it is not plain."""
    lines = [line.strip() for line in content.decode("ascii", "ignore").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    record = _RECORD.fullmatch(lines[0]) if lines else None
    if record is None or max(map(len, lines)) > LONGEST_LINE:
        return None
    if record["segments"]:
        # What wfdb would say of the segments matters to nobody: a master gives no rows.
        return MASTER if all(map(_SEGMENT.fullmatch, lines[1:])) and len(lines) > 1 else None
    matches = [match for match in map(_SIGNAL.fullmatch, lines[1:]) if match]
    if not int(record["n"]) == len(matches) == len(lines) - 1:
        return None
    try:
        time, date = _time(record), _date(record)
    except ValueError:
        return None
    fs = float(record["fs"] or _DEFAULT_FS)
    if math.isinf(fs):
        return None
    return Header(
        fs=float(int(fs)) if round(fs, 8) == int(fs) else fs,
        n_frames=int(record["length"]) if record["length"] else None,
        date=date,
        time=time,
        signals=tuple(map(_signal, matches)),
    )


def _time(record: re.Match[str]) -> dt.time | None:
    if not record["hour"]:
        return None
    fraction = int((record["fraction"] or "").ljust(6, "0"))
    return dt.time(int(record["hour"]), int(record["minute"]), int(record["second"]), fraction)


def _date(record: re.Match[str]) -> dt.date | None:
    return dt.date(int(record["year"]), int(record["month"]), int(record["day"])) if record["year"] else None


def _signal(line: re.Match[str]) -> Signal:
    file, fmt, frame, skew, offset, gain, baseline, units, zero, init, checksum, name = line.groups()
    return Signal(
        file=file,
        fmt=fmt,
        samples_per_frame=int(frame or 1),
        skew=int(skew or 0),
        byte_offset=int(offset or 0),
        gain=float(gain or 0) or _DEFAULT_GAIN,
        baseline=int(baseline or zero or 0),
        units=units or _DEFAULT_UNITS,
        init_value=int(init or 0),
        checksum=int(checksum) if checksum else None,
        name=name,
    )


def from_wfdb(path: Path) -> Header:
    """The header as wfdb reads it.

    Raises
    ------
    ValueError
        wfdb cannot read it.
    """
    import wfdb

    refuse_chains(path)
    if path.suffix != ".hea":
        raise ValueError(f"wfdb reads only headers that are named *.hea, not {path.name}")
    try:
        found = wfdb.rdheader(str(path.with_suffix("")))
    except (MemoryError, OSError):
        raise
    except Exception as error:  # whatever it comes across: it trusts a header to be one
        raise ValueError(f"wfdb cannot read the header: {type(error).__name__}: {error}") from error
    if isinstance(found, wfdb.MultiRecord):
        return MASTER
    described = len(found.file_name or ())
    if described != found.n_sig:  # wfdb goes by either, and so by the wrong width of a frame
        raise ValueError(f"the header says that it has {found.n_sig:,} signals, and describes {described:,}")
    return Header(
        fs=float(found.fs),
        n_frames=found.sig_len,
        date=found.base_date,
        time=found.base_time,
        signals=tuple(
            Signal(
                file=found.file_name[channel],
                fmt=found.fmt[channel],
                samples_per_frame=found.samps_per_frame[channel],
                skew=found.skew[channel] or 0,
                byte_offset=found.byte_offset[channel] or 0,
                gain=found.adc_gain[channel],
                baseline=found.baseline[channel],
                units=found.units[channel],
                init_value=found.init_value[channel] or 0,
                checksum=found.checksum[channel],
                name=found.sig_name[channel],
            )
            for channel in range(found.n_sig)
        ),
    )


def refuse_chains(path: Path) -> None:
    """Raise ValueError for a path that wfdb, through fsspec, would take for a chain of URLs: another file's."""
    if "::" in str(path):
        raise ValueError("wfdb cannot read this header, or its samples, from a path with '::' in it")
