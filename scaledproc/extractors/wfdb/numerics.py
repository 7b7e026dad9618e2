"""MIMIC-IV's numerics, a compressed CSV file beside a master header: `time` in ticks of its counter, then the signals.

Numbers are taken as they are written, in decimals, and counted; so sums are exact. A file is read in pieces.
"""

from __future__ import annotations

import csv
import gzip
import math
import os
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import compress, islice
from typing import NamedTuple

from scaledproc.extractors.wfdb.headers.header import shown
from scaledproc.extractors.wfdb.signals.blocks import open_regular
from scaledproc.extractors.wfdb.signals.statistics import Statistics, statistics_of_numbers

PIECE = 2**20
"""Bytes of text that are read at once."""
LONGEST_LINE = 2**16
MOST_COLUMNS = 1_000
MOST_VALUES = 2**19
"""Different values of all columns together: monitors give each signal in some hundreds of steps."""
_LIKE_TIME = re.compile(r"\W*time\b", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})(?:e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
_LARGEST = Fraction(10**100)
"""Of numbers, and their inverses; their squares are floats too."""
_ABSENT = frozenset(["", "nan", "na", "null", "none"])


class NumericsColumn(NamedTuple):
    """One signal's values.

    Parameters
    ----------
    name, units
        As the column's heading has them.
    statistics
        Of the values that are written; what a line lacks is missing.
    first, last
        The counter at the first and the last of them.
    note
        What could not be understood.
    """

    name: str | None
    units: str | None
    statistics: Statistics
    first: Fraction | None
    last: Fraction | None
    note: str | None


@dataclass
class _Column:
    heading: str
    texts: Counter[str] = field(default_factory=Counter)
    numbers: dict[str, Fraction] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    first: Fraction | int | None = None
    last: Fraction | int | None = None

    def add(self, cells: Sequence[str], times: Sequence[Fraction | int]) -> None:
        known = len(self.texts)
        self.texts.update(cells)
        for text in islice(self.texts, known, None):
            number = number_of(text)
            if number is not None:
                self.numbers[text] = number
            else:
                self.absent.add(text)
        are_there = cells if self.absent <= {""} else [cell not in self.absent for cell in cells]
        there = list(compress(times, are_there))
        if there:
            self.first = min(there) if self.first is None else min(self.first, *there)
            self.last = max(there) if self.last is None else max(self.last, *there)

    def described(self) -> NumericsColumn:
        name, units = name_and_units(self.heading)
        counts = {number: self.texts[text] for text, number in self.numbers.items()}
        if len(counts) < len(self.numbers):  # 1.0 is 1.00
            counts = dict.fromkeys(counts, 0)
            for text, number in self.numbers.items():
                counts[number] += self.texts[text]
        note = note_of_absent({text: self.texts[text] for text in self.absent})
        return NumericsColumn(
            name,
            units,
            _statistics(counts, self.texts.total()),
            None if self.first is None else Fraction(self.first),
            None if self.last is None else Fraction(self.last),
            note,
        )


def read_numerics(path: str) -> list[NumericsColumn] | None:
    """The signals of a file of numerics; None where it is something else: a CSV file whose first column is not `time`.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If the file is damaged, or no CSV file of numbers.
    """
    columns: list[_Column] | None = None
    for piece in numerics_pieces(path):
        if columns is None:
            columns = [_Column(heading) for heading in piece.headings]
        for column, cells in zip(columns, piece.columns, strict=bool(piece.times)):
            column.add(cells, piece.times)
        if sum(len(column.texts) for column in columns) > MOST_VALUES:
            raise ValueError(f"it has more than {MOST_VALUES:,} different values; numerics have few")
    return None if columns is None else [column.described() for column in columns]


class NumericsLines(NamedTuple):
    """Lines of a file of numerics that follow each other.

    Parameters
    ----------
    headings
        Of the signals' columns, as the first line has them.
    times
        The counter at each line.
    columns
        For each signal the cells of the lines; none where there are no lines.
    """

    headings: Sequence[str]
    times: Sequence[Fraction | int]
    columns: Sequence[Sequence[str]]


def numerics_pieces(path: str) -> Iterator[NumericsLines]:
    """A file of numerics in pieces; none of a file that is something else, which is read to its end all the same.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If the file is damaged, or no CSV file with times.
    """
    pieces = _pieces(path)
    known: list[str] | None = None
    line = 1
    for lines in pieces:
        rows = _rows(lines, line)
        if known is None:
            if not rows:
                line += len(lines)
                continue
            headings, *rows = rows
            first = _text(headings[0]).strip()
            if first.lower() != "time":
                if _LIKE_TIME.match(first):
                    raise ValueError(f"the first column is not called time, but {shown(first)}")
                for _ in pieces:  # is it damaged?
                    pass
                return
            if len(headings) > MOST_COLUMNS:
                raise ValueError(f"it has {len(headings):,} columns; at most {MOST_COLUMNS:,} are read")
            known = [_text(heading) for heading in headings[1:]]
            yield NumericsLines(known, (), ())
        if rows:
            yield _piece(known, rows, line)
        line += len(lines)
    if known is None:
        raise ValueError("it is empty")


def _piece(headings: Sequence[str], rows: Sequence[Sequence[str]], line: int) -> NumericsLines:
    width = len(headings) + 1
    if any(len(row) != width for row in rows):
        wrong = next(len(row) for row in rows if len(row) != width)
        raise ValueError(f"after line {line:,} a line has {wrong:,} cells; the first line has {width:,}")
    times, *columns = zip(*rows, strict=True)
    return NumericsLines(headings, _times(times), columns)


def _times(cells: Sequence[str]) -> Sequence[Fraction | int]:
    joined = "".join(cells)
    if joined.isascii() and joined.isdecimal() and all(cells):
        return list(map(int, cells))
    found = []
    for cell in cells:
        number = number_of(cell)
        if number is None:
            raise ValueError(f"{shown(cell)} is no time: it must be a number of the counter's ticks")
        found.append(number)
    return found


def number_of(text: str) -> Fraction | None:
    """The number that is written; None where it is none, or one that nothing can be computed with."""
    bare = text.strip()
    if not _NUMBER.fullmatch(bare):
        return None
    number = Fraction(bare)
    return number if not number or 1 / _LARGEST <= abs(number) <= _LARGEST else None


def note_of_absent(counts: Mapping[str, int]) -> str | None:
    """What is to be noted of cells without a number, and how often each occurs: those that do not say so."""
    odd = [text for text in counts if text.strip().lower() not in _ABSENT]
    if not odd:
        return None
    n = sum(counts[text] for text in odd)
    return f"{n:,} of its values {'is' if n == 1 else 'are'} no number, such as {shown(min(odd))}"


def name_and_units(heading: str) -> tuple[str | None, str | None]:
    """Of a signal, from its column's heading."""
    heading = heading.strip()
    name, bracket, units = heading.removesuffix("]").rpartition("[")
    if not bracket or not heading.endswith("]") or "]" in units:
        return heading or None, None
    return name.strip() or None, units.strip() or None


def _rows(lines: Sequence[str], line: int) -> list[list[str]]:
    """The cells of each line that is not blank."""
    try:
        rows = list(csv.reader(lines, strict=True))
    except csv.Error as error:
        raise ValueError(f"after line {line:,} it is no CSV file: {error}") from None
    if len(rows) != len(lines):
        raise ValueError(f"after line {line:,} it is no CSV file: a quoted cell goes on in the next line")
    return [row for row in rows if row]


def _pieces(path: str) -> Iterator[list[str]]:
    """The lines of a gzip-compressed file, some at a time."""
    with os.fdopen(open_regular(path), "rb") as raw, gzip.GzipFile(fileobj=raw) as file:
        rest, is_first = b"", True
        while True:
            try:
                data = file.read(PIECE)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise ValueError(f"the compressed file is damaged: {error}") from None
            if is_first and data:
                data = data.removeprefix(b"\xef\xbb\xbf")  # a byte order mark
                is_first = False
            whole, newline, after = (rest + data).rpartition(b"\n")
            if newline and data:
                rest = after
                yield _checked(whole)
            elif data:
                rest = after
            else:
                if rest.strip():
                    yield _checked(rest)
                return
            if len(rest) > LONGEST_LINE:
                raise ValueError(f"a line has more than {LONGEST_LINE:,} characters")


def _checked(data: bytes) -> list[str]:
    # Latin-1 makes a character of every byte; only the first line may have others than ASCII's.
    lines = data.decode("latin-1").split("\n")
    if max(map(len, lines)) > LONGEST_LINE:
        raise ValueError(f"a line has more than {LONGEST_LINE:,} characters")
    return lines


def _text(heading: str) -> str:
    """A heading as it was meant: UTF-8, or else Latin-1."""
    try:
        return heading.encode("latin-1").decode()
    except UnicodeDecodeError:
        return heading


def _statistics(counts: Mapping[Fraction, int], n: int) -> Statistics:
    """Statistics of decimal numbers, exact until the last step; of `n` lines those without one are missing."""
    scale = math.lcm(*(number.denominator for number in counts))
    values = sorted((number.numerator * (scale // number.denominator), often) for number, often in counts.items())
    return statistics_of_numbers(values, scale, n)
