"""Pictures as SVG: places in percent of the width, so that a picture that is drawn wider keeps its letters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from htpy import Element, Node, div, figcaption, figure, g, line, path, rect, span, svg, text
from htpy import title as svg_title

from scaledproc._util.text import cut_text, seconds_text
from scaledproc.extractors.account import Histogram, Trace

WIDTH, HEIGHT = 128, 26
"""Of a small histogram, in units of its own."""
WORDS, NAME = 2_000, 60
"""Characters of what a picture shows, and of a name in it."""


def number_text(value: float | int) -> str:
    """A number for a person: four digits that say something, thousands apart."""
    if isinstance(value, int) or (value == int(value) and abs(value) < 1e15 if math.isfinite(value) else False):
        return f"{int(value):,}"
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= 1e7 or abs(value) < 1e-3:
        return f"{value:.3g}"
    digits = max(0, 3 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def bars(shown: Histogram, told: Callable[[float], str] = number_text) -> Element:
    """A small histogram, with its edges below it.

    Parameters
    ----------
    shown
        What is drawn.
    told
        What an edge is called, where it is not the number itself.
    """
    counts = shown.counts
    most = max(counts, default=0)
    low, high = (told(each) for each in ends(shown))
    beyond = [
        f"{number_text(round(count))} {where}"
        for count, where in ((shown.below, "below"), (shown.above, "above"))
        if count
    ]
    words = f"Histogram from {low} to {high}{'; ' if beyond else ''}{', '.join(beyond)}"
    step = WIDTH / max(len(counts), 1)
    drawn = "".join(
        f"M{at * step:.1f} {HEIGHT}v-{max(count / most * HEIGHT, 0.8):.1f}h{step - 0.5:.1f}V{HEIGHT}z"
        for at, count in enumerate(counts)
        if count and most
    )
    return div(class_="histogram")[
        svg(viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=words, preserveAspectRatio="none")[
            path(class_="bar", d=drawn or "M0 0"), path(class_="axis", d=f"M0 {HEIGHT}H{WIDTH}")
        ],
        div(class_="edges", aria_hidden="true")[span[low], span[high] if high != low else None],
        div(class_="beyond", aria_hidden="true")[", ".join(beyond)] if beyond else None,
    ]


def ends(shown: Histogram) -> tuple[float, float]:
    """The values at the ends of a histogram: of bins around whole numbers, or around the only value, these."""
    first, last = shown.edges[0], shown.edges[-1]
    if len(shown.counts) == 1:
        return (first + last) / 2, (first + last) / 2
    if all(upper - lower == 1 and lower % 1 == 0.5 for lower, upper in pairwise(shown.edges)):
        return first + 0.5, last - 0.5
    return first, last


def ticks(end: float, most: int = 6) -> list[float]:
    """Round numbers from 0 to an end."""
    if not end > 0 or not math.isfinite(end):
        return [0.0]
    rough = end / most
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    return [index * step for index in range(int(end / step + 1e-9) + 1)]


def time_ticks(end: float, most: int = 6) -> list[tuple[float, str]]:
    """Round times from 0 to an end in seconds, with their texts."""
    for step in (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14_400, 43_200, 86_400, 172_800, 604_800):
        if end / step <= most and end >= step:
            return [(at * step, _time_text(at * step)) for at in range(int(end / step) + 1)]
    if end > 604_800 * most:
        return [(at * 86_400, f"{at:,.0f} d") for at in ticks(end / 86_400, most)]
    return [(at, f"{at:g} s") for at in ticks(end, most)]


def _time_text(seconds: float) -> str:
    if seconds >= 86_400 and seconds % 86_400 == 0:
        return f"{seconds / 86_400:g} d"
    if seconds >= 3600 and seconds % 3600 == 0:
        return f"{seconds / 3600:g} h"
    if seconds >= 60 and seconds % 60 == 0:
        return f"{seconds / 60:g} min"
    return f"{seconds:g} s" if seconds < 60 else seconds_text(seconds)


def _percent(value: float, end: float) -> str:
    return f"{100 * value / end if end else 0:.3f}%"


def axis(end: float, height: float, marks: Sequence[tuple[float, str]]) -> Element:
    """Lines at round places, with their texts under them."""
    drawn: list[Node] = []
    for place, (at, words) in enumerate(marks):
        x = _percent(at, end)
        anchor = "start" if at == 0 else "end" if at > 0.95 * end else "middle"
        css = "tick odd" if place % 2 else "tick"
        drawn += [
            line(class_="rule", x1=x, x2=x, y1="0", y2=f"{height:.0f}"),
            text(class_=css, x=x, y=f"{height + 14:.0f}", text_anchor=anchor)[words],
        ]
    return g(aria_hidden="true")[drawn]


def wide(
    words: str, height: float, content: Node, *, names: Sequence[tuple[float, str]] = (), note: Node = None
) -> Element:
    """A picture as wide as the page, that can be drawn wider.

    Parameters
    ----------
    words
        What it shows, for who cannot see it.
    height
        In pixels.
    content
        Places in percent across, pixels down.
    names
        Of lines: how far down, and a text.
    note
        Stands below it.
    """
    words, left = cut_text(words, WORDS), None
    if names:
        left = svg(class_="names", height=f"{height:.0f}", aria_hidden="true")[
            (text(x="0", y=f"{y:.0f}")[cut_text(name, NAME)] for y, name in names)
        ]
    return figure(class_="wide")[
        div(class_="plot")[
            left,
            div(class_="scroll zoom", tabindex="0", role="group", aria_label=words)[
                svg(class_="canvas", width="100%", height=f"{height:.0f}", role="img", aria_label=words)[content]
            ],
        ],
        figcaption[note] if note else None,
    ]


def area(values: Sequence[float], top: float, height: float, *, css: str = "area") -> Element:
    """Values at equal distances as an area, up to `top`."""
    step = 1000 / max(len(values), 1)
    points = "".join(
        f"V{height - height * min(value / top if top else 0, 1):.1f}H{(at + 1) * step:.1f}"
        for at, value in enumerate(values)
    )
    return svg(
        x="0", y="0", width="100%", height=f"{height:.0f}", viewBox=f"0 0 1000 {height:.0f}", preserveAspectRatio="none"
    )[path(class_=css, d=f"M0 {height:.0f}{points}V{height:.0f}z")]


def span_bar(
    begin: float, end: float, total: float, y: float, height: float, words: str = "", css: str = "bar"
) -> Element:
    """A stretch of time, with a text for who points at it."""
    return rect(
        class_=css,
        x=_percent(begin, total),
        width=f"{max(100 * (end - begin) / total if total else 0, 0.15):.3f}%",
        y=f"{y:.1f}",
        height=f"{height:.1f}",
    )[svg_title[words] if words else None]


def trace(shown: Trace, height: float = 64) -> Element:
    """A piece of a signal; the line is broken where samples are missing."""
    known = [value for value in shown.values if value is not None and math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    room = high - low or 1.0
    pieces: list[str] = []
    is_drawing = False
    step = 1000 / max(len(shown.values) - 1, 1)
    for at, value in enumerate(shown.values):
        if value is None or not math.isfinite(value):
            is_drawing = False
            continue
        point = f"{at * step:.1f} {2 + (height - 4) * (1 - (value - low) / room):.1f}"
        pieces.append(f"L{point}" if is_drawing else f"M{point}h0")  # so that a sample between missing ones is a dot
        is_drawing = True
    dots = "".join(pieces)
    between = f"from {number_text(low)} to {number_text(high)} {cut_text(shown.units, NAME)}"
    words = f"{cut_text(shown.label, NAME)}, {shown.seconds:g} s, {between}"
    return wide(
        words,
        height + 18,
        [
            axis(shown.seconds, height, time_ticks(shown.seconds)),
            svg(
                x="0",
                y="0",
                width="100%",
                height=f"{height:.0f}",
                viewBox=f"0 0 1000 {height:.0f}",
                preserveAspectRatio="none",
            )[path(class_="trace", d=dots or "M0 0")],
        ],
        names=[
            (14, cut_text(shown.label, 14)),
            (30, cut_text(shown.units, 14)),
            (height - 14, f"{number_text(low)} to"),
            (height, number_text(high)),
        ],
    )


def gaps(spans: Sequence[tuple[float, float]]) -> int:
    """How many gaps there are between stretches."""
    return sum(later[0] > earlier[1] + 1e-6 for earlier, later in pairwise(sorted(spans)))
