"""Hostile WFDB records: mutations of real ones, and ones that a grammar makes; and what must hold for each of them."""

from __future__ import annotations

import gzip
import os
import random
import re
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from scaledproc.extractors.rows.collector import RowCollector
from scaledproc.extractors.wfdb.summary import SCHEMA, WfdbSummary
from wfdb_oracles.oracle import check_by_specification, read_files, task_of

SECONDS = 10
"""CPU time that an input may take."""
MEMORY = 2**29
"""Bytes that an input may add to those of the process."""
CANARY = "canary-outside-the-unit"
"""The name of a file beside the unit's folder, whose samples must never be seen."""
_SIZE = 60_000  # bytes of a signal file that are kept

_NUMBERS = [
    "0",
    "-1",
    "1",
    "2",
    "3",
    "7",
    "16",
    "80",
    "127",
    "128",
    "255",
    "256",
    "1000000",
    "1000000000000000",
    "9" * 30,
]
_NUMBERS += ["1e400", "1e-400", "nan", "inf", "-0", "0x10", "1.5", "-3.25", "1e5", ".5", "4294967296", "9" * 5000]
_FORMATS = ["8", "16", "24", "32", "61", "80", "160", "212", "310", "311", "508", "516", "524", "0", "17", "999", "x"]
_NAMES = ["r.dat", "~", "-", "|cat", "..", ".", "/etc/passwd", "../../etc/passwd", f"../{CANARY}.dat", f"../{CANARY}"]
_NAMES += [
    "s3://bucket/x.dat",
    "http://127.0.0.1:9/x",
    "file:///etc/passwd",
    "r.hea",
    "pipe",
    "link",
    "a b",
    "",
    "*",
    "r",
]
_NAMES += [
    "\u202egnp",
    '"',
    "=1+1",
    "<script>",
    "$(id)",
    "`id`",
    "r.dat\0",
    "\xff",
    "CON",
    "r.dat::gz",
    "sub/r.dat",
    "\\r",
]
_PIECES = [
    " ",
    "\t",
    "\n",
    "\r\n",
    "\x0b",
    "\x1c",
    "\0",
    "#",
    "/",
    "x",
    ":",
    "+",
    "(",
    ")",
    "-",
    "e",
    "\x1b[31m",
    "\u2028",
]


@dataclass(frozen=True)
class Input:
    """A unit's files by name; `r.hea` is the header."""

    files: Mapping[str, bytes]
    what: str


@dataclass
class Summary:
    """What became of all inputs."""

    seed: int
    tried: int = 0
    rows: int = 0
    records: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0
    crashes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.quarantined.most_common())
        return (
            f"seed {self.seed}: {self.tried:,} inputs tried, {self.rows:,} rows of {self.records:,} records checked "
            f"by the specification, {self.quarantined.total():,} quarantined ({reasons}); "
            f"longest {self.longest:.2f} s of CPU time, crashes {len(self.crashes)}"
        )


@lru_cache(maxsize=1)
def real_records(data: Path) -> tuple[dict[str, bytes], ...]:
    """The real records, each as `r.hea` and its signal files; long ones are shortened."""
    found = []
    for path in sorted(data.rglob("*.hea")):
        header = path.read_bytes()
        files: dict[str, bytes] = {}
        for name in dict.fromkeys(re.findall(rb"(?m)^([-\w]+\.?\w*)[ \t]+\d", header.partition(b"\n")[2])):
            place = path.parent / name.decode()
            if place.is_file():
                content = place.read_bytes()
                files[place.name] = content if content.startswith(b"fLaC") else content[:_SIZE]
        if sum(map(len, files.values())) >= _SIZE:
            header = re.sub(rb"(?m)\A([^#\n]\S*[ \t]+\d+[ \t]+\S+[ \t]+)(\d+)", rb"\g<1>200", header, count=1)
        found.append({"r.hea": header, **files})
    return tuple(found)


def inputs(seed: int, count: int, data: Path) -> Iterator[Input]:
    """So many inputs; the same ones for the same seed."""
    chance = random.Random(seed)
    real = real_records(data)
    for _ in range(count):
        if chance.random() < 0.3:
            yield _grown(chance)
            continue
        files = dict(chance.choice(real))
        done = []
        for _ in range(chance.choice([1, 1, 2, 3, 5])):
            mutate = chance.choices([_mutate_header, _mutate_signals, _replace_header], [12, 5, 1])[0]
            done.append(mutate(chance, files))
        yield Input(files, " + ".join(done))


def _mutate_header(chance: random.Random, files: dict[str, bytes]) -> str:
    text = files["r.hea"].decode("latin-1")
    lines = text.split("\n")
    at = chance.randrange(len(lines))
    kind = chance.choice(
        ["number", "number", "number", "name", "format", "piece", "cut", "line", "drop", "field", "bytes"]
    )
    words = re.split(r"(\d+(?:\.\d+)?)", lines[at])
    fields = lines[at].split(" ")
    match kind:
        case "number" if len(words) > 1:
            words[chance.randrange(1, len(words), 2)] = chance.choice(_NUMBERS)
            lines[at] = "".join(words)
        case "name":
            fields[0] = chance.choice([*_NAMES, *files])
            lines[at] = " ".join(fields)
        case "format" if len(fields) > 1:
            fields[1] = chance.choice(_FORMATS) + chance.choice(["", "x2", "x0", ":5", "+3", "x3:1+8", ":99999999999"])
            lines[at] = " ".join(fields)
        case "field":
            fields.insert(chance.randrange(len(fields) + 1), chance.choice(_NUMBERS))
            lines[at] = " ".join(fields)
        case "line":
            lines[at:at] = [lines[at]] * chance.choice([1, 2, 40])
        case "drop":
            del lines[at]
        case "cut":
            return _set(files, "r.hea", text[: chance.randrange(len(text) + 1)].encode("latin-1"), "header cut")
        case "bytes":
            content = bytearray(files["r.hea"] or b"\n")
            for _ in range(chance.choice([1, 2, 8])):
                content[chance.randrange(len(content))] = chance.randrange(256)
            return _set(files, "r.hea", bytes(content), "header bytes")
        case _:
            place = chance.randrange(len(text) + 1)
            piece = chance.choice([*_PIECES, *_NUMBERS, *_NAMES])
            return _set(files, "r.hea", _encoded(text[:place] + piece + text[place:]), f"header +{piece[:20]!r}")
    return _set(files, "r.hea", _encoded("\n".join(lines)), f"header {kind}")


def _mutate_signals(chance: random.Random, files: dict[str, bytes]) -> str:
    names = [name for name in files if name != "r.hea"]
    if not names:
        return "nothing"
    name = chance.choice(names)
    content = bytearray(files[name])
    kind = chance.choice(["cut", "cut", "longer", "empty", "garbage", "flip", "gzip", "gone", "flac", "same", "tail"])
    match kind:
        case "cut":
            content = content[: chance.randrange(len(content) + 1)]
        case "tail":
            content = content[:-1]
        case "longer":
            content += chance.randbytes(chance.choice([1, 2, 1000]))
        case "empty":
            content.clear()
        case "garbage":
            content = bytearray(chance.randbytes(len(content)))
        case "flip":
            for _ in range(chance.choice([1, 10, 200])):
                if content:
                    content[chance.randrange(len(content))] = chance.randrange(256)
        case "gzip":
            content = bytearray(gzip.compress(bytes(content), mtime=0))
        case "gone":
            del files[name]
            return f"{name} gone"
        case "flac":
            content[:4] = b"fLaC"
        case _:
            content = bytearray([chance.choice([0, 0x80, 0xFF])]) * len(content)
    return _set(files, name, bytes(content), f"{name} {kind}")


def _replace_header(chance: random.Random, files: dict[str, bytes]) -> str:
    header = files["r.hea"]
    kind, content = chance.choice(
        [
            ("empty", b""),
            ("gzip", gzip.compress(header, mtime=0)),
            ("garbage", chance.randbytes(500)),
            ("utf-16", header.decode("latin-1").encode("utf-16")),
            ("zeros", bytes(1000)),
            ("million signals", b"r 1000000 125 10\n" + header.partition(b"\n")[2]),
            ("recursive", b"r/2 1 125 20\nr 10\nr 10\n"),
            ("segments", b"r/20000 1 125 20000\n" + b"r 1\n" * 20_000),
            ("odd segments", b"r/2000 1 125 2000\n" + b"../r 1 x\n" * 2000),
            ("long line", b"r 1 125 10\n" + b"a" * 200_000 + b"\n"),
            ("many lines", b"r 20000 125 10\n" + b"r.dat 80 2/mV*x 8 0 0 0 0 II\n" * 20_000),
        ]
    )
    return _set(files, "r.hea", content, f"header {kind}")


def _grown(chance: random.Random) -> Input:
    """A record by the grammar of header(5), with values that nobody expects."""

    def number(likely: float, odds: float = 0.06) -> str:
        return chance.choice(_NUMBERS) if chance.random() < odds else str(likely)

    n_frames = chance.randrange(1, 60)
    lines, files = [], {"r.dat": chance.randbytes(chance.choice([0, 10, 400, 4000]))}
    fmt = chance.choice(_FORMATS[:10])
    for _ in range(chance.choice([1, 1, 2, 3, 30])):
        name = chance.choice(_NAMES) if chance.random() < 0.1 else "r.dat"
        line = f"{name} {chance.choice(_FORMATS) if chance.random() < 0.1 else fmt}"
        line += f"x{number(2)}" if chance.random() < 0.2 else ""
        line += f":{number(3)}" if chance.random() < 0.2 else ""
        line += f"+{number(4)}" if chance.random() < 0.2 else ""
        if chance.random() < 0.8:
            line += f" {number(chance.choice([200, 0.5, -7, 12.84]))}"
            line += (
                f"({chance.choice(_NUMBERS) if chance.random() < 0.1 else chance.randrange(-99, 99)})"
                if chance.random() < 0.5
                else ""
            )
            line += f"/{chance.choice(['mV', '%', 'NU', 'deg C', 'Ω'])}" if chance.random() < 0.7 else ""
            for likely in (12, 0, chance.randrange(-500, 500), chance.randrange(-40_000, 40_000), 0):
                if chance.random() < 0.1:
                    break
                line += f" {number(likely)}"
            line += f" {chance.choice(['II', '=cmd()', '<img src=x>', chr(0x202E) + 'x', 'a b', chr(0x1B) + '[2J'])}"
        lines.append(line)
    first = f"r {number(len(lines))} {number(chance.choice([125, 0.5, 62.4725]))} {number(n_frames)}"
    first += chance.choice(["", "", " 10:11:12.5", " 25:61:61", " 1:2:3 30/02/2100", " 1:2:3 1/2/2100"])
    header = "\n".join([first, *lines, ""])
    return Input({"r.hea": _encoded(header), **files}, "grown")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _set(files: dict[str, bytes], name: str, content: bytes, what: str) -> str:
    files[name] = content
    return what


_UNWANTED = ("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pickle.")


class _Watch:
    """What a process opens and starts: an audit hook, which cannot be taken away again but can be told to look away."""

    def __init__(self) -> None:
        self.unit: Path | None = None
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.unit is None:
            return
        if event == "open":
            name, flags = str(arguments[0]), arguments[2] if isinstance(arguments[2], int) else 0
            if flags & os.O_NOFOLLOW and "/" not in name and name != "..":  # by the handle of a folder of the unit
                return
            if flags & os.O_DIRECTORY and flags & os.O_PATH:  # nothing can be read by it
                return
            inside = name.startswith((f"{self.unit}/", sys.prefix, sys.base_prefix, "/proc/", "/sys/"))
            if not (inside and "/../" not in name) and not name.isdecimal():
                self.seen.append(f"opened {name}")
        elif event.startswith(
            ("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pickle.")
        ):
            self.seen.append(f"{event} {arguments}")


@lru_cache(maxsize=1)
def _watch() -> _Watch:
    return _Watch()


@contextmanager
def watched(unit: Path) -> Iterator[list[str]]:
    """What is opened outside a unit's folder (Python's own files apart), or started, or connected to, in the block."""
    watch = _watch()
    watch.unit, watch.seen = unit, []
    try:
        yield watch.seen
    finally:
        watch.unit = None


class TooLongError(BaseException):
    """An input took more than its time."""


@contextmanager
def limited() -> Iterator[None]:
    """Limits of time and memory on the block."""

    def give_up(*_: object) -> NoReturn:
        raise TooLongError

    before = resource.getrlimit(resource.RLIMIT_DATA)
    used = int(re.findall(r"VmData:\s*(\d+)", Path("/proc/self/status").read_text())[0]) * 1024
    old = signal.signal(signal.SIGPROF, give_up)
    resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY, before[1]))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, old)
        resource.setrlimit(resource.RLIMIT_DATA, before)


REASONS = {
    "header": r"^line \d+, [\w ]+: .|^the header is empty$",
    "no such file": r"^the unit '.*' has no file",
    "short file": r"has [\d,]+ bytes; the header says that it has",
    "skew": r"before sample 0, and",
    "flac": r"FLAC|has [\d,]+ signals; the header says",
    "numbers": r"^the header has numbers that nothing can be computed with",
}
"""Why a record may be refused: all that a person may be told."""


def reason_of(error: Exception) -> str:
    """Which of those it is."""
    found = [name for name, pattern in REASONS.items() if re.search(pattern, str(error), re.DOTALL)]
    assert found, f"no reason for a person: {error!r}"
    return found[0]


def write_unit(folder: Path, given: Input) -> None:
    """Make a unit's folder, with a canary beside it."""
    folder.mkdir(parents=True)
    (folder.parent / f"{CANARY}.dat").write_bytes(b"\x99" * 4000)
    for name, content in given.files.items():
        (folder / name).write_bytes(content)


def try_input(folder: Path, given: Input, summary: Summary) -> None:
    """Hold one input against all that must be true of it; what is not becomes one of the summary's crashes."""
    write_unit(folder, given)
    header = folder / "r.hea"
    task = task_of(header)
    summary.tried += 1
    started = time.process_time()
    error: Exception | None = None
    rows: list[dict[str, Any]] = []
    try:
        with limited(), watched(folder) as opened, np.errstate(all="ignore"):
            try:
                rows = WfdbSummary().extract(task)
                RowCollector(SCHEMA).add(rows)
            except (ValueError, FileNotFoundError) as found:
                error = found
        summary.longest = max(summary.longest, time.process_time() - started)
        assert not opened, opened
        if error is None:
            summary.rows += check_by_specification(*read_files(header), rows)
            summary.records += bool(rows)
            return
        summary.quarantined[reason_of(error)] += 1
    except (Exception, TooLongError):
        shown = {name: content[:1500] for name, content in given.files.items() if name == "r.hea"}
        summary.crashes.append(f"{given.what}: {shown}\n{error!r}\n{traceback.format_exc()}")
