"""How fast a run goes, from what is seen of it again and again by whoever does not do it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from scaledproc._util.pace import WARMING, Pace, TimeLeft, left_text
from scaledproc.planning.cost_model import ASSUMED
from scaledproc.reporting.report.findings import Going

if TYPE_CHECKING:
    from scaledproc.engine.past.status import Status


class Observed:
    """Has the pace of a run, or of what an update has to do, whichever was seen last.

    What was done before the first look is no part of it: when that was is not known.

    Parameters
    ----------
    clock
        Seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._of: tuple[str, str] | None = None
        self._before = self._most = (0, 0)
        self._pace, self._left = Pace(clock()), TimeLeft()

    def see(self, status: Status) -> Going | None:
        """Look at how far it is now; None where nobody is at work."""
        if status.state != "running":
            self._of = None
            return None
        now, key = self._clock(), (status.output, status.plan_id)
        counts = [*((each.tasks, each.size) for each in status.done), *((one.tasks, one.size) for one in status.states)]
        done = sum(tasks for tasks, _ in counts), sum(size for _, size in counts)
        if key != self._of:
            self._of, self._before, self._most = key, done, done
        self._most = max(self._most, done)  # a job that is tried again has to do some tasks once more
        tasks, size = self._most[0] - self._before[0], self._most[1] - self._before[1]
        if not tasks:  # machines that are yet to start are no part of the pace
            self._pace, self._left = Pace(now), TimeLeft()
            return Going()
        work = _weight(tasks, size)
        self._pace.add(now, work)
        rate = self._pace.rate(now, work)
        rest = _weight(status.tasks - self._most[0], status.size - self._most[1])
        left = self._left.shown(now, rest / rate) if rate and now - self._pace.start >= WARMING else None
        text = left_text(left) if left is not None and self._most[0] < status.tasks else ""
        return Going(size / max(now - self._pace.start, 1e-9), text)


def _weight(tasks: float, size: float) -> float:
    return ASSUMED.task * tasks + ASSUMED.byte * size
