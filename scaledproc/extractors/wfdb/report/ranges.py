"""Physiological ranges of signals: data with sources, which another file of the same form can take the place of."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from scaledproc.errors import UsageError

_KEYS = {"low", "high", "units", "source"}


@dataclass(frozen=True)
class Range:
    """What values of a signal lie between.

    Parameters
    ----------
    low, high
        The least and the largest.
    units
        In which of these; a signal in others is not compared.
    source
        Who says so.
    """

    low: float
    high: float
    units: tuple[str, ...]
    source: str


@cache
def built_in() -> Mapping[tuple[str, str], Range]:
    """Those of the package, by kind and canonical name."""
    return parse(files("scaledproc.extractors.wfdb.report").joinpath("ranges.toml").read_text(encoding="utf-8"))


def parse(text: str) -> Mapping[tuple[str, str], Range]:
    """Ranges by kind and canonical name, from TOML.

    Raises
    ------
    UsageError
        If the text is no such table.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"the table of ranges is no TOML: {error}") from None
    try:
        return {
            (kind, name): _range(f"{kind}.{name}", each)
            for kind, names in tables.items()
            for name, each in _table_of(kind, names).items()
        }
    except ValueError as error:
        raise UsageError(f"the table of ranges cannot be used: {error}") from None


def _table_of(where: str, found: object) -> Mapping[str, object]:
    if not isinstance(found, Mapping):
        raise ValueError(f"{where} is {found!r}, and should be a table")  # noqa: TRY004 - told as the others are
    return found


def _range(where: str, found: object) -> Range:
    each = _table_of(where, found)
    if each.keys() != _KEYS:
        raise ValueError(f"[{where}] has {', '.join(each) or 'nothing'}; give {', '.join(sorted(_KEYS))}")
    low, high, units, source = (each[name] for name in ("low", "high", "units", "source"))
    numbers = [value for value in (low, high) if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < 2 or not -math.inf < numbers[0] < numbers[1] < math.inf:
        raise ValueError(f"[{where}] low and high are two numbers, the smaller one first")
    if not isinstance(units, list) or not units or not all(isinstance(unit, str) for unit in units):
        raise ValueError(f"[{where}] units is a list of texts")
    if not isinstance(source, str) or not source.strip():
        raise ValueError(f"[{where}] source says who says so")
    return Range(float(numbers[0]), float(numbers[1]), tuple(units), source)


def ranges_of(content: str | None) -> Mapping[tuple[str, str], Range]:
    """The ranges of a table's content; the built-in ones where there is none."""
    return built_in() if content is None else parse(content)
