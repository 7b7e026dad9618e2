"""When the windows of a task are: the grid by an option's word, and each window's time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scaledproc.extractors.wfdb.headers.record import rounded
from scaledproc.extractors.wfdb.windows.grid import Grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scaledproc.extractors.wfdb.headers.record import Place

_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - as records have it, which have no time zone
_NONE = Fraction(0)
_MICROSECOND = dt.timedelta(microseconds=1)


class Timeline(NamedTuple):
    """The windows of some samples, and what is known of when they are.

    Parameters
    ----------
    grid
        The windows.
    start
        Date and time of the record's beginning; None where they are not known.
    has_offset
        Whether it is known where in the record the samples are.
    """

    grid: Grid
    start: dt.datetime | None
    has_offset: bool

    def when(self, number: int) -> tuple[dt.datetime | None, float | None]:
        """When a window begins, and how many seconds after the record."""
        over, under = self.grid.seconds(number)
        start = self.start
        if start is not None:
            try:
                start += dt.timedelta(microseconds=rounded(over * 10**6, under))
            except OverflowError:
                start = None
        return start, over / under if self.has_offset else None

    def of(self, numbers: Sequence[int]) -> tuple[NDArray[np.datetime64], NDArray[np.float64]]:
        """What `when` tells of windows, with NaT and NaN where it is not known."""
        starts, offsets = zip(*map(self.when, numbers), strict=True)
        return np.array(starts, "datetime64[us]"), np.array(offsets, float)


def timeline(place: Place, word: str, step: Fraction, length: Fraction) -> Timeline:
    """The windows of samples that begin somewhere.

    Parameters
    ----------
    place
        Where the first sample is.
    word
        `record`, `clock` or `segment`: from where windows are counted.
    step, length
        Of the windows, in seconds.

    Raises
    ------
    ValueError
        If windows are to begin at times of the clock, and it is not known when the samples were taken.
    """
    is_alone = place.record_name is None and not place.notes
    has_offset = place.offset is not None or is_alone
    after = _NONE if place.offset is None else Fraction(*place.offset)
    start = place.start
    if start is not None and after:  # which is rounded to microseconds: the record's own is exact
        start -= dt.timedelta(microseconds=rounded(*(after * 10**6).as_integer_ratio()))
    if word == "clock":
        if start is None:
            raise ValueError(
                "no header has date and time of its samples, which windows by the clock need: --set grid=record"
            )
        record = Fraction((start - _EPOCH) // _MICROSECOND, 10**6)
        return Timeline(Grid(step, length, record + after, record, None), start, has_offset)
    if word == "segment":
        return Timeline(Grid(step, length, _NONE, -after), start, has_offset)
    return Timeline(Grid(step, length, after, _NONE, 0 if after.numerator >= 0 else None), start, has_offset)
