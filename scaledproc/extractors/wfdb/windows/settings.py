"""The options of `wfdb-windows` as they are checked: bands, signals, lengths."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from fractions import Fraction

from scaledproc.errors import UsageError
from scaledproc.extractors.wfdb.headers.rates import exact
from scaledproc.extractors.wfdb.signal_names import fold
from scaledproc.extractors.wfdb.windows.measures.spectra.welch import Band

BANDS = ("slow:0.05-0.5", "pulse:0.5-5", "qrs:5-15", "fast:15-40")
MOST_STEPS = 1_000
"""Windows that one sample may be in."""
_BAND = re.compile(r"([a-z][a-z0-9_]*):(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)", re.ASCII)
_WILD = re.compile(r"[*?\[\]]")


def seconds(name: str, value: float) -> Fraction:
    """A length of time as it was written.

    Raises
    ------
    UsageError
        If the length is none from a millisecond to ten years.
    """
    if not 1e-3 <= value <= 10 * 366 * 86_400:
        raise UsageError(f"--set {name}={value:g}: give seconds, 0.001 or more")
    return exact(value)


def lengths(window: float, step: float | None) -> tuple[Fraction, Fraction]:
    """Length and step of windows.

    Raises
    ------
    UsageError
        If one of them is no length of time, or a sample would be in more than 1,000 windows.
    """
    length = seconds("window", window)
    every = length if step is None else seconds("step", step)
    if length > MOST_STEPS * every:
        raise UsageError(f"--set step={step:g}: each sample would be in more than {MOST_STEPS:,} windows")
    return length, every


def parse_bands(texts: Sequence[str]) -> tuple[Band, ...]:
    """Bands of frequencies from texts such as `slow:0.05-0.5`.

    Raises
    ------
    UsageError
        If a text is none, or a name stands for two.
    """
    found: list[Band] = []
    for text in [part.strip() for each in texts for part in each.split(",")]:
        match = _BAND.fullmatch(text)
        if match is None or not 0 < float(match[2]) < float(match[3]):
            raise UsageError(f"--set bands={text}: a band is a name and two frequencies in Hz, such as slow:0.05-0.5")
        if match[1] == "total" or match[1] in {band.name for band in found}:
            raise UsageError(f"--set bands={text}: there is a column power_{match[1]} already")
        found.append(Band(match[1], float(match[2]), float(match[3])))
    return tuple(found)


class Selection:
    """Which signals are wanted.

    Parameters
    ----------
    texts
        Names or globs, several in a text with commas between them; none of them means all.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.names = tuple([part.strip() for each in texts for part in each.split(",") if part.strip()])
        self._folded = [fold(name) for name in self.names]

    def place(self, *names: str | None) -> int | None:
        """Which of the wanted signals it is, by any of its names; None where it is none of them."""
        if not self.names:
            return 0
        folded = [fold(name) for name in names if name is not None]
        for place, pattern in enumerate(self._folded):
            if any(fnmatchcase(name, pattern) for name in folded):
                return place
        return None

    def matched(self, *names: str | None) -> list[str]:
        """All of the wanted names and globs that any of a signal's names is."""
        folded = [fold(name) for name in names if name is not None]
        pairs = zip(self.names, self._folded, strict=True)
        return [wanted for wanted, pattern in pairs if any(fnmatchcase(name, pattern) for name in folded)]

    def columns(self) -> tuple[str, ...]:
        """The names as the beginnings of columns.

        Raises
        ------
        UsageError
            If there are none, or they are no names.
        """
        if not self.names:
            raise UsageError("--set layout=wide: name the signals that have columns, as in --set signals=II,ABP")
        for name, folded in zip(self.names, self._folded, strict=True):
            if _WILD.search(name) or self._folded.count(folded) > 1:
                raise UsageError(f"--set signals={name}: with layout=wide each signal is named once, without * and ?")
        return self.names
