"""How fast work goes, and how long it still takes, told so that a person can believe it: without jumps."""

from __future__ import annotations

WINDOW = 300.0
"""Seconds that a pace is taken over at least: pieces of work may take a minute each, and differ."""
SHARE = 0.5
"""Of the time so far, which the pace is taken over where that is more: a run that got faster is soon believed."""
_POINTS = 100  # of the time so far, so that a window begins within one hundredth of it
_APART = 0.5  # seconds between two of them at least
WARMING = 3.0
"""Seconds without an estimate: the first pieces of work end together, and tell little."""
SLEW = 0.02
"""Share of itself by which the time left moves in a second at most, apart from the second that has passed."""
LEAST = 100.0
"""Seconds: less left than that moves as that would, by two seconds a second, so that it does not stick near the end."""


class Pace:
    """Work a second, over the later half of the time so far, and over five minutes at least.

    Parameters
    ----------
    start
        When work began, in seconds of the clock that `add` is given.
    """

    def __init__(self, start: float) -> None:
        self.start = start
        self._points = [(start, 0.0)]  # what the window begins with first, then what is in it

    def add(self, now: float, work: float) -> None:
        """Tell of all the work that is done by now; it never falls."""
        if now - self._points[-1][0] >= max((now - self.start) / _POINTS, _APART):
            self._points.append((now, work))

    def rate(self, now: float, work: float) -> float:
        """Work a second.

        Parameters
        ----------
        now
            Seconds of the clock, which never goes back.
        work
            All that is done by then.
        """
        begin = now - max(WINDOW, SHARE * (now - self.start))
        while len(self._points) > 1 and self._points[1][0] <= begin:
            del self._points[0]
        at, before = self._points[0]
        return (work - before) / max(now - at, 1e-9)


class TimeLeft:
    """Seconds left, as they are shown: they count down with the clock, and follow estimates no faster than `SLEW`.

    An estimate is what is left at the pace so far. It jumps with each piece of work that ends; what is shown moves
    towards it by at most 2 % of itself a second, so that an estimate that was wrong by half is mended in half a minute.
    """

    def __init__(self) -> None:
        self._shown: float | None = None
        self._at = 0.0

    def shown(self, now: float, estimate: float | None) -> float | None:
        """What to show.

        Parameters
        ----------
        now
            Seconds of a clock.
        estimate
            Seconds left by what is known now; None while nothing is.
        """
        if estimate is None:
            return self._shown
        if self._shown is None:
            self._shown, self._at = estimate, now
            return estimate
        passed = max(now - self._at, 0.0)
        expected = self._shown - passed
        most = SLEW * max(self._shown, LEAST) * passed
        self._shown = max(expected + min(max(estimate - expected, -most), most), 0.0)
        self._at = now
        return self._shown


def left_text(seconds: float) -> str:
    """Time left for a person, as exact as it can be believed: `about 40 s left`, `about 12 min left`."""
    if seconds < 7.5:
        return "a few seconds left"
    if seconds < 57.5:
        return f"about {5 * round(seconds / 5)} s left"
    minutes = seconds / 60
    if minutes < 9.75:
        whole, rest = divmod(30 * round(seconds / 30), 60)
        return f"about {whole} min{f' {rest} s' if rest else ''} left"
    if minutes < 59.5:
        return f"about {round(minutes)} min left"
    hours, rest = divmod(5 * round(minutes / 5), 60)
    if hours < 10:
        return f"about {hours} h{f' {rest} min' if rest else ''} left"
    hours = round(minutes / 60)
    return f"about {hours} h left" if hours < 48 else f"about {round(hours / 24)} days left"
