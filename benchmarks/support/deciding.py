"""What is made of times: which contestant is near the fastest, how much work is enough, what one thing more costs."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WORK = 5.0
"""Seconds of work of each core, below which the ends of a run weigh too much to compare chunk sizes."""
SPARE = 1.5  # beside it, as it is known from few runs, and tasks take a quarter less time in long ones
NEAR = 1.03
"""What is recommended takes at most so many times the seconds of the fastest that was measured."""


def ratios(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """How many times the seconds of the fastest each contestant took: medians over rounds of the ratio in one round.

    What else a machine does in a round meets all contestants of that round alike.

    Parameters
    ----------
    seconds
        Of each contestant in each round; the fastest is that with the smallest median.

    Returns
    -------
    dict
        By contestant, the fastest first; it has 1.
    """
    order = sorted(seconds, key=lambda name: statistics.median(seconds[name]))
    best = seconds[order[0]]
    return {
        name: statistics.median(own / fastest for own, fastest in zip(seconds[name], best, strict=True))
        for name in order
    }


def choose(seconds: Mapping[str, Sequence[float]], wanted: str) -> str:
    """The wanted contestant where it is as good as the fastest (`NEAR`), else the fastest."""
    found = ratios(seconds)
    return wanted if found[wanted] <= NEAR else next(iter(found))


def copies_for(work: float, cores: int) -> int:
    """How many times so many seconds of work have to be there, so that each core has enough.

    Raises
    ------
    ValueError
        If there is no work.
    """
    if not work > 0:
        raise ValueError(f"no number of copies of {work} s of work is enough")
    return max(math.ceil(WORK * SPARE * cores / work), 1)


def cost_of_one(more: Sequence[float], fewer: Sequence[float], count: int) -> list[float]:
    """What one thing costs, in each round, where one contestant has so many of it more than another."""
    return [(many - few) / count for many, few in zip(more, fewer, strict=True)]
