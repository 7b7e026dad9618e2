"""What the beats of windows tell, to be compiled: what `Track.of` does for one window after the other.

Sums are made in numpy's order, as floats are rounded. Where numpy makes them in another one by now, `CompiledFunctions`
does without this.
"""

# numba gives the variables their types, which mypy cannot follow.
# mypy: disable-error-code="index, operator"

from __future__ import annotations

from typing import Any

import numpy as np

TOLD = 11
"""What is told of a window, in the order of the columns."""
SQUARES = slice(3, 5)
"""What of it is told as its square."""
_RR, _QUALITY, _SHAPES = 1, 2, 4
"""Columns of beats: the interval before it, its quality; behind this one so many of a pulse's shape."""
_MEDIANS, _MEAN_QUALITY = 7, 6
"""Where their medians are told, and the mean quality."""
_AT_ONCE = 128
"""Floats that numpy sums up without cutting them in two."""
_FARTHER = 50.0
"""Milliseconds, beyond which a step counts."""


def sums_of_windows(
    beats: Any, lows: Any, highs: Any, is_pulse: bool, out: Any, room: Any, sizes: Any, parts: Any
) -> None:
    """What beats of windows tell.

    Parameters
    ----------
    beats
        As `Track` keeps them, shape (beats, columns).
    lows, highs
        The first beat of each window, and the one behind its last.
    is_pulse
        Whether they have shapes.
    out
        What is told, shape (windows, 11); NaN where that is nothing. Of `sdnn` and `rmssd` it is the square.
    room, sizes, parts
        Shapes (2, m), (2, 64) and (64,).
    """
    for window in range(len(lows)):
        low, n = lows[window], highs[window] - lows[window]
        out[window, :] = np.nan
        out[window, 0] = n
        if n == 0:
            continue
        own, more = room[0], room[1]
        m = 0
        own[0] = 0.0
        for i in range(1, n):
            interval = beats[low + i, _RR]
            own[i] = 0.0 if np.isnan(interval) else interval
            if not np.isnan(interval):
                more[m] = interval
                m += 1
        if m > 0:
            out[window, 2] = sum_of(own[:n], sizes, parts) / m
            if m > 1:
                mean = sum_of(more[:m], sizes, parts) / m
                for i in range(m):
                    own[i] = (more[i] - mean) * (more[i] - mean)
                out[window, 3] = sum_of(own[:m], sizes, parts) / (m - 1)
            out[window, 1] = 60_000 / _median(more[:m])
            n_steps, n_farther = 0, 0
            for i in range(2, n):
                step = beats[low + i, _RR] - beats[low + i - 1, _RR]
                if not np.isnan(step):
                    own[n_steps] = step * step
                    n_steps += 1
                    n_farther += abs(step) > _FARTHER
            if n_steps > 0:
                out[window, 4] = sum_of(own[:n_steps], sizes, parts) / n_steps
                out[window, 5] = n_farther / n_steps
        for i in range(n):
            own[i] = beats[low + i, _QUALITY]
        out[window, _MEAN_QUALITY] = sum_of(own[:n], sizes, parts) / n
        if is_pulse:
            for shape in range(_SHAPES):
                m = 0
                for i in range(n):
                    value = beats[low + i, _QUALITY + 1 + shape]
                    if not np.isnan(value):
                        own[m] = value
                        m += 1
                if m > 0:
                    out[window, _MEDIANS + shape] = _median(own[:m])


def sum_of(values: Any, sizes: Any, parts: Any) -> Any:
    """A sum in numpy's order: halves, down to a number of floats that are summed up eight at a time.

    Parameters
    ----------
    values
        The floats.
    sizes, parts
        Room: how many floats are in what is cut in two, and whether its first half is done; the sum of this.
    """
    depth, begin = 0, 0
    sizes[0, 0], sizes[1, 0] = len(values), 0
    while True:
        n = sizes[0, depth]
        if n > _AT_ONCE:
            sizes[0, depth + 1], sizes[1, depth + 1] = n // 2 - n // 2 % 8, 0
            depth += 1
            continue
        total = _sum_of_few(values[begin : begin + n])
        begin += n
        depth -= 1
        while depth >= 0 and sizes[1, depth] == 1:
            total = parts[depth] + total
            depth -= 1
        if depth < 0:
            return total
        n = sizes[0, depth]
        parts[depth], sizes[1, depth] = total, 1
        sizes[0, depth + 1], sizes[1, depth + 1] = n - (n // 2 - n // 2 % 8), 0
        depth += 1


def _sum_of_few(values: Any) -> Any:
    n = len(values)
    whole = n - n % 8
    total = 0.0
    if whole > 0:
        a, b, c, d = values[0], values[1], values[2], values[3]
        e, f, g, h = values[4], values[5], values[6], values[7]
        for i in range(8, whole, 8):
            a, b, c, d = a + values[i], b + values[i + 1], c + values[i + 2], d + values[i + 3]
            e, f, g, h = e + values[i + 4], f + values[i + 5], g + values[i + 6], h + values[i + 7]
        total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for i in range(whole, n):
        total += values[i]
    return total


def _median(values: Any) -> Any:
    """That of floats, none of which is NaN; they are sorted, in Shell's way."""
    n = len(values)
    apart = 1
    while apart < n // 3:
        apart = 3 * apart + 1
    while apart > 0:
        for i in range(apart, n):
            value, j = values[i], i
            while j >= apart and values[j - apart] > value:
                values[j] = values[j - apart]
                j -= apart
            values[j] = value
        apart //= 3
    return values[n // 2] if n % 2 == 1 else (values[n // 2 - 1] + values[n // 2]) / 2
