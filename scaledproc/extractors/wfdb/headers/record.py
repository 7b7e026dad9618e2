"""Where in its record, and when, a segment begins: what the master headers of its unit say.

A segment's own header has no date, and says nothing of the record. The master header lists the segments in the order of
time, with the length of each. All that is found is kept for the tasks of the same unit that follow.
"""

from __future__ import annotations

import datetime as dt
import errno
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from scaledproc.extractors.wfdb.headers.header import LARGEST_HEADER, parse_header
from scaledproc.extractors.wfdb.headers.identity import is_of_patient
from scaledproc.extractors.wfdb.headers.rates import exact, rate_of
from scaledproc.extractors.wfdb.signals.blocks import open_regular

if TYPE_CHECKING:
    from scaledproc.extractors.base import Task
    from scaledproc.extractors.wfdb.headers.header import Header, SegmentLine

HEADER = ".hea"
MOST_MASTERS = 2**26
"""Bytes of a unit's master headers that are read: one of 14,000 segments has 300 kB."""
MOST_KEPT = 2**22
"""Bytes of a unit's headers that are kept until their tasks come."""
MOST_MISSED = 3
"""Of several headers that may be a segment's master and cannot be read, so many are named."""
_BEGINNING = 4_096  # bytes that are looked at to tell what a header is; most have a tenth of them
_DAY = 24 * 60 * 60 * 10**6
_TOLERANCE = 10**6  # microseconds: some headers give whole seconds only


class Place(NamedTuple):
    """Where a header's samples belong.

    Parameters
    ----------
    record_name
        Of the record that they are a part of; None where no master header tells.
    start
        Date and time of the first sample.
    offset_s
        Seconds from the record's first sample to theirs.
    comments
        Those of the master header.
    notes
        What was not understood, or does not agree.
    """

    record_name: str | None
    start: dt.datetime | None
    offset_s: float | None
    comments: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    offset: tuple[int, int] | None = None
    """What `offset_s` is, exactly: as a fraction."""


@dataclass(frozen=True)
class Master:
    """A record of several segments, as its master header describes it.

    Parameters
    ----------
    path
        Of the header, without its ending.
    header
        What it says.
    notes
        What was not understood in it, or contradicts itself.
    """

    path: str
    header: Header
    notes: tuple[str, ...]

    @cached_property
    def ratio(self) -> tuple[int, int]:
        """Frames per second, as a fraction."""
        return rate_of(self.header.fs).as_integer_ratio()

    @cached_property
    def name(self) -> str:
        """Of the record."""
        return self.path.rpartition("/")[2]

    @property
    def folder(self) -> str:
        """Where it is, with a slash at the end."""
        return self.path[: len(self.path) - len(self.name)]

    @cached_property
    def start(self) -> dt.datetime | None:
        """Date and time of its first sample."""
        return started(self.header)

    def at(self, n_frames: int) -> Place:
        """Where the frame after so many others is."""
        over, under = self.ratio
        return self.after(n_frames * under, over)

    def after(self, over: int, under: int) -> Place:
        """Where it is so many seconds after the first sample, as a fraction."""
        start = self.start
        try:
            if start is not None:
                start += dt.timedelta(microseconds=rounded(over * 10**6, under))
            return Place(self.name, start, over / under, self.header.comments, self.notes, (over, under))
        except OverflowError:
            note = f"{self.path}{HEADER} has it so late that there is no date for it"
            return Place(self.name, None, None, self.header.comments, (*self.notes, note))


class Segment(NamedTuple):
    """A segment of a record.

    Parameters
    ----------
    path
        Of its header, without the ending.
    before, n_frames
        Frames of the record before it, and its own, as the master header has them.
    """

    path: str
    before: int
    n_frames: int


class _Listed(NamedTuple):
    """A segment, as a master header has it."""

    master: Master
    before: int
    """Frames of the record before it."""
    n_frames: int
    times: int
    """How often the master lists it."""
    disputed: str | None
    """What is wrong with the length of a segment before it."""
    rival: Master | None = None
    """Another master that has it begin at another time."""


class UnitRecords:
    """The records of several segments in a unit.

    Where several master headers list a segment, one that has a date goes before one that has none (MIMIC's matched
    records have one), then one that is named after a patient, then the first by path.

    Parameters
    ----------
    task
        One of the unit's.
    """

    def __init__(self, task: Task) -> None:
        self._kept: dict[str, bytes] = {}
        self._unread: dict[str, tuple[str, frozenset[str]]] = {}
        """Of headers that cannot be read, and are or may be masters: why, and what they list."""
        self._listed: dict[str, _Listed] = {}
        self._lengths: dict[str, int] = {}
        """Frames of segments as their own headers have them."""
        masters = list(self._read_masters(task))
        self._masters = {master.path: master for master in masters}
        masters.sort(key=lambda each: (each.start is None, not is_of_patient(each.name), each.path))
        self._of_segments: dict[tuple[str, tuple[SegmentLine, ...]], list[Master]] = {}
        """The masters of the same segments, the one that counts first."""
        for master in masters:
            self._of_segments.setdefault((master.folder, master.header.segments), []).append(master)
            for path, listed in _segments(master, task.files, self._lengths).items():
                first = self._listed.setdefault(path, listed)
                if first is not listed and first.rival is None and _are_rivals(first, listed):
                    self._listed[path] = first._replace(rival=master)

    def take(self, anchor: str) -> bytes | None:
        """A header's content, if it is kept: once, as it is needed once."""
        return self._kept.pop(anchor, None)

    def place(self, path: str, header: Header) -> Place:
        """Where the samples of a header belong.

        Parameters
        ----------
        path
            Of the header, without its ending.
        header
            What it says.
        """
        listed = self._listed.get(path)
        if listed is not None:
            return _place_of_segment(listed, header)
        if path[-1:] == "n" and (master := self._masters.get(path[:-1])):
            best, *others = self._of_segments[master.folder, master.header.segments]
            place = _place_of_numerics(best, header)
            rival = next((each for each in others if _differ(best.start, each.start)), None)
            return place if rival is None or started(header) is not None else _undecided(place, best, rival)
        return Place(
            None, started(header), None, (), tuple(islice(self._missed(path), MOST_MISSED)) if self._unread else ()
        )

    def is_listed(self, path: str) -> bool:
        """Whether a header, by its path without the ending, is that of a segment of a record."""
        return path in self._listed

    def whole(self, path: str) -> tuple[Place, list[Segment]]:
        """The beginning of a record by the path of its master header, and its segments in the order of time.

        Segments that another master has first are not among them, nor those without a header.
        """
        master = self._masters[path]
        found = [(name, each) for name, each in self._listed.items() if each.master is master]
        place = master.at(0)
        rival = next((each.rival for _, each in found if each.rival is not None), None)
        return (
            place if rival is None else _undecided(place, master, rival),
            [Segment(name, each.before, each.n_frames) for name, each in found],
        )

    def clock(self, path: str, task: Task) -> tuple[Master | None, tuple[str, ...]]:
        """The header of numerics in CSV by its path without the ending, a master or not; else what is to be noted."""
        found = self._masters.get(path)
        if found is None and path not in self._unread and f"{path}{HEADER}" in task.files:
            try:
                header = parse_header(_content(task, f"{path}{HEADER}"))
            except (OSError, ValueError) as error:
                return None, (f"{path}{HEADER} cannot be read: {_reason(error)}",)
            return Master(path, header, () if header.note is None else (f"{path}{HEADER}: {header.note}",)), ()
        return found, () if found else tuple(islice(self._missed(path), MOST_MISSED))

    def _missed(self, path: str) -> Iterator[str]:
        """Which masters may have had it, and could not be read."""
        for master, (why, names) in self._unread.items():
            if path in names or path in (master, f"{master}n") or path.startswith(f"{master}_"):
                yield f"{master}{HEADER}, which may be its master header, cannot be read: {why}"

    def _read_masters(self, task: Task) -> Iterator[Master]:
        kept = read = 0
        checked = None
        for anchor in sorted([name for name in task.files if name.endswith(HEADER)]):
            path = anchor[: -len(HEADER)]
            folder = anchor[: anchor.rfind("/") + 1]
            try:
                content, size = _beginning(task, anchor, is_checked=folder == checked)
                checked = folder
                fields = _first_fields(content)
                if not fields and size > len(content):  # comments, to begin with
                    content = _content(task, anchor)
                    fields = _first_fields(content)
                if not fields:
                    self._unread[path] = ("the header is empty", frozenset())
                elif b"/" in fields[0][1:]:
                    read += size
                    if read > MOST_MASTERS:
                        raise ValueError(f"it and those before it have more than {MOST_MASTERS:,} bytes")
                    master = self._read_master(task, path, content if size == len(content) else _content(task, anchor))
                    if master is not None:
                        yield master
                else:
                    if len(fields) > 3 and fields[3].isdigit() and len(fields[3]) < 19:
                        self._lengths[path] = int(fields[3])
                    if size == len(content) and kept + size <= MOST_KEPT:
                        kept += size
                        self._kept[anchor] = content
            except (OSError, ValueError) as error:
                self._unread[path] = (_reason(error), frozenset())

    def _read_master(self, task: Task, path: str, content: bytes) -> Master | None:
        try:
            header = parse_header(content)
        except ValueError as error:
            self._unread[path] = (str(error), _names(content, path, task.files))
            return None
        return Master(path, header, tuple(_doubts(path, header)))


_last: tuple[object, object, UnitRecords] | None = None


def records_of(task: Task) -> UnitRecords:
    """What the headers of the task's unit say of records; read once for the unit's tasks that follow each other."""
    global _last
    last = _last  # another thread may replace it
    if last is None or last[0] is not task.files or (last[1] is not task.root and last[1] != task.root):
        last = _last = (task.files, task.root, UnitRecords(task))
    return last[2]


def when_counted(master: Master | None, first: Fraction | None, last: Fraction | None) -> tuple[Place, float | None]:
    """Where a record's counter has the first of some values, and how many seconds later the last one is."""
    if master is None:
        return Place(None, None, None), None
    frequency, base = ticks_per_second(master.header), master.header.base_counter
    if first is None or last is None or frequency is None or base is None:
        return Place(master.name, None, None, master.header.comments, master.notes), None
    place = master.after(*((first - exact(base)) / frequency).as_integer_ratio())
    over, under = ((last - first) / frequency).as_integer_ratio()
    return place, None if place.offset_s is None else over / under


def ticks_per_second(header: Header) -> Fraction | None:
    """Of the counter: as written, or the frames' rate where the header gives none; None where it is not understood."""
    counted = header.counter_frequency
    if counted is None:
        return None
    return rate_of(header.fs) if counted == header.fs else exact(counted)


def started(header: Header) -> dt.datetime | None:
    """Date and time of a header's first sample, where it has both."""
    return dt.datetime.combine(header.date, header.time) if header.date and header.time is not None else None


def rounded(over: int, under: int) -> int:
    """The whole number nearest to a fraction, the even one of two."""
    whole, rest = divmod(over, under)
    return whole + (2 * rest > under or (2 * rest == under and whole % 2))


def _place_of_segment(listed: _Listed, header: Header) -> Place:
    master, before, n_frames, times, disputed, rival = listed
    place = master.at(before)
    notes = list(place.notes)
    file = f"{master.path}{HEADER}"
    if times > 1:
        notes.append(f"{file} lists it {times:,} times; its place is that of the first")
    if disputed is not None:
        notes.append(f"{file} {disputed}")
    if header.n_frames is not None and header.n_frames != n_frames:
        notes.append(f"{file} gives it {n_frames:,} frames, its own header {header.n_frames:,}")
    if rate_of(header.fs) != rate_of(master.header.fs):
        notes.append(f"{file} counts frames at {master.header.fs:g} Hz, its own header at {header.fs:g} Hz")
    if place.offset_s is not None and (differs := _clock_differs(master, before, header)):
        notes.append(f"{file} has it begin at another time than its own header, {differs} s apart")
    start = started(header) if master.start is None else place.start
    found = place._replace(start=start, notes=tuple(notes)) if notes or start is not place.start else place
    return found if rival is None else _undecided(found, master, rival)


def _clock_differs(master: Master, before: int, header: Header) -> str | None:
    """How far a segment's own time of day is from that of its place, where it is more than rounding explains."""
    if header.time is None or master.header.time is None:
        return None
    over, under = master.ratio
    place = _microseconds(master.header.time) + rounded(before * under * 10**6, over)
    apart = (place - _microseconds(header.time)) % _DAY
    if header.date and master.header.date:
        days = (header.date - master.header.date).days
        apart = abs(place - days * _DAY - _microseconds(header.time))
    else:
        apart = min(apart, _DAY - apart)
    return f"{apart / 10**6:.0f}" if apart > _TOLERANCE else None


def _place_of_numerics(master: Master, header: Header) -> Place:
    """MIMIC's numerics are a record of their own, named after that of the waveforms, which begins at the same time."""
    record = master.start
    own = started(header)
    if own is not None:
        if record is None:
            return Place(master.name, own, None, master.header.comments, master.notes)
        apart = (own - record) // dt.timedelta(microseconds=1), 10**6
        offset = (own - record) / dt.timedelta(seconds=1)
        return Place(master.name, own, offset, master.header.comments, master.notes, apart)
    if header.time is None or master.header.time is None:
        return Place(master.name, None, None, master.header.comments, master.notes)
    if differs := _clock_differs(master, 0, header):
        note = f"its own time is {differs} s from that of {master.path}{HEADER}, and it has no date"
        return Place(master.name, None, None, master.header.comments, (*master.notes, note))
    return Place(master.name, record, 0.0, master.header.comments, master.notes, (0, 1))


def _microseconds(time: dt.time) -> int:
    return ((time.hour * 60 + time.minute) * 60 + time.second) * 10**6 + time.microsecond


def _segments(master: Master, files: frozenset[str], lengths: Mapping[str, int]) -> dict[str, _Listed]:
    """The segments that have headers in the unit, by path.

    Parameters
    ----------
    master
        That lists them.
    files
        Of the unit.
    lengths
        Frames of segments as their own headers have them.
    """
    folder = master.folder
    found: dict[str, _Listed] = {}
    before = 0
    disputed = None
    for name, n_frames in master.header.segments:
        path = folder + name
        known = found.get(path)
        if known is not None:
            found[path] = known._replace(times=known.times + 1)
        elif path + HEADER in files:
            found[path] = _Listed(master, before, n_frames, 1, disputed)
        if disputed is None and n_frames and (own := lengths.get(path, n_frames) or n_frames) != n_frames:
            disputed = f"gives {name} before it {n_frames:,} frames, that one's own header {own:,}"
        before += n_frames
    return found


def _are_rivals(one: _Listed, other: _Listed) -> bool:
    """Whether two masters have a segment begin at different times."""
    if one.master.start is None or other.master.start is None:
        return False
    return _differ(one.master.at(one.before).start, other.master.at(other.before).start)


def _differ(one: dt.datetime | None, other: dt.datetime | None) -> bool:
    """Whether two times are known, and further apart than rounding explains."""
    return one is not None and other is not None and abs(one - other) > dt.timedelta(microseconds=_TOLERANCE)


def _undecided(place: Place, one: Master, other: Master) -> Place:
    note = f"{one.path}{HEADER} and {other.path}{HEADER} have it begin at different times, so no start"
    return place._replace(start=None, notes=(*place.notes, note))


def _doubts(path: str, header: Header) -> Iterator[str]:
    """What a master header's segments should know of it."""
    file = f"{path}{HEADER}"
    if header.note is not None:
        yield f"{file}: {header.note}"
    total = sum(segment.n_frames for segment in header.segments)
    if header.n_frames is not None and total != header.n_frames:
        yield f"{file}: its segments have {total:,} frames, the record {header.n_frames:,}"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _names(content: bytes, path: str, files: frozenset[str]) -> frozenset[str]:
    """What a master header that cannot be read seems to list, of what is there."""
    folder = path[: path.rfind("/") + 1]
    firsts = {line.split(None, 1)[0].decode("utf-8", "replace") for line in content.splitlines() if line.strip()}
    return frozenset(folder + first for first in firsts if f"{folder}{first}{HEADER}" in files)


def _first_fields(content: bytes) -> list[bytes]:
    """The first fields of the first line that is no comment; none where there is no such line."""
    if content[:1] > b"#":  # neither blank nor comment, as nearly always
        return content[: content.find(b"\n") if b"\n" in content else None].split(None, 4)
    for line in content.splitlines():
        fields = line.split(None, 4)
        if fields and not fields[0].startswith(b"#"):
            return fields
    return []


def _beginning(task: Task, anchor: str, *, is_checked: bool) -> tuple[bytes, int]:
    """The first bytes of a header, and how many it has.

    Where its folder was checked just now only the file itself can be a link: then the task looks where it leads.
    """
    try:
        if not is_checked:
            raise OSError(errno.ELOOP, "not yet checked")
        handle = open_regular(f"{task.root}/{anchor}", os.O_NOFOLLOW)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        handle = open_regular(task.locate_in_unit(anchor))
    try:
        content = os.read(handle, _BEGINNING)
        return content, len(content) if len(content) < _BEGINNING else os.fstat(handle).st_size
    finally:
        os.close(handle)


def _content(task: Task, anchor: str) -> bytes:
    handle = open_regular(task.locate_in_unit(anchor))
    try:
        size = os.fstat(handle).st_size
        if size > LARGEST_HEADER:
            raise ValueError(f"the header has {size:,} bytes; at most {LARGEST_HEADER:,} are read")
        return os.read(handle, size)
    finally:
        os.close(handle)
