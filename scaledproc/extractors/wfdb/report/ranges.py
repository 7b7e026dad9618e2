"""Physiological ranges of signals: data with sources, which another file of the same form can take the place of."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from scaledproc.errors import UsageError


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
        return {
            (kind, name): Range(float(each["low"]), float(each["high"]), tuple(each["units"]), str(each["source"]))
            for kind, names in tomllib.loads(text).items()
            for name, each in names.items()
        }
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"the table of ranges cannot be read: {type(error).__name__}: {error}") from None
