"""Plots as SVG that takes its colours from the page, so that they follow its dark mode.

matplotlib, which wfdb brings, does axes, ticks and labels. It knows no CSS: placeholder colours are put in and replaced
in what it writes. Text stays text. Each plot is drawn twice, for wide and for narrow screens, as shrunk text cannot be
read.
"""

from __future__ import annotations

import io
import re
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scaledproc._util.text import clean_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Colours of the page by the placeholders that are drawn.
COLOURS = {
    "#010101": "var(--ink)",
    "#010102": "var(--soft)",
    "#010103": "var(--grid)",
    "#010104": "var(--page)",
    "#010105": "var(--ours)",
    "#010106": "var(--other)",
    "#010107": "var(--third)",
    "#010108": "var(--fourth)",
}
INK, SOFT, GRID, PAGE, OURS, OTHER, THIRD, FOURTH = COLOURS
NAME, LABEL = 36, 44  # characters that there is room for
WIDTHS = {"wide": 9.0, "narrow": 3.7}  # inches, of 96 CSS pixels


@dataclass(frozen=True)
class Bars:
    """Contestants beside each other: the median as a bar, every round as a dot.

    Parameters
    ----------
    label
        Of the axis, with the unit.
    values
        Of each contestant in each round.
    ours
        Which of them are scaledproc's.
    missing
        Contestants that could not take part, and why.
    """

    label: str
    values: Mapping[str, Sequence[float]]
    ours: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)

    def draw(self, axes: Any, *, narrow: bool) -> None:
        """Draw into matplotlib's axes."""
        names = [*self.values, *self.missing]
        longest = max((max(times) for times in self.values.values()), default=1.0)
        for place, name in enumerate(names):
            if narrow:
                axes.annotate(
                    _shown(name, NAME),
                    (0, place - 0.36),
                    xytext=(1, 0),
                    textcoords="offset points",
                    va="bottom",
                    color=INK,
                )
            if name not in self.values:
                axes.annotate(
                    f"  {_shown(self.missing[name], NAME)}",
                    (0, place),
                    va="center",
                    color=SOFT,
                    style="italic",
                    fontsize=9,
                )
                continue
            times = self.values[name]
            median = statistics.median(times)
            axes.barh(place, median, 0.62, color=OURS if name in self.ours else OTHER, alpha=0.9)
            if len(times) > 1:
                axes.plot([min(times), max(times)], [place, place], color=INK, linewidth=1)
                axes.plot(times, [place] * len(times), "o", color=INK, markersize=3.2, markeredgewidth=0)
            axes.annotate(
                f"{median:.3g}",
                (max(times), place),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                color=INK,
                weight="bold" if name in self.ours else "normal",
            )
        axes.set_ylim(len(names) - 0.4, -0.75 if narrow else -0.6)
        axes.set_xlim(0, longest * (1.2 if narrow else 1.1))
        axes.set_yticks(
            [] if narrow else range(len(names)), labels=[] if narrow else [_shown(name, NAME) for name in names]
        )
        axes.set_xlabel(_shown(self.label, LABEL))
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        axes.spines["left"].set_visible(not narrow)

    def height(self, *, narrow: bool) -> float:
        """Inches."""
        return 0.75 + (len(self.values) + len(self.missing)) * (0.52 if narrow else 0.36)


@dataclass(frozen=True)
class Lines:
    """Curves through medians, with bars from the least to the most of all rounds.

    Parameters
    ----------
    x_label, y_label
        Of the axes, with units.
    series
        By name: the values of all rounds for each x.
    marks
        Places on the x axis to point at.
    logarithmic
        The x axis.
    beside
        A second x axis: its label, and by what to multiply.
    ideal
        What could be at best, as points.
    """

    x_label: str
    y_label: str
    series: Mapping[str, Mapping[float, Sequence[float]]]
    marks: Mapping[str, float] = field(default_factory=dict)
    logarithmic: bool = False
    beside: tuple[str, float] | None = None
    ideal: Mapping[float, float] = field(default_factory=dict)

    def draw(self, axes: Any, *, narrow: bool) -> None:
        """Draw into matplotlib's axes."""
        from matplotlib.ticker import MaxNLocator

        if self.logarithmic:
            axes.set_xscale("log")
            _number_decades(axes.xaxis, narrow=narrow)
        else:
            axes.xaxis.set_major_locator(MaxNLocator(nbins=5 if narrow else 9, integer=True))
        if self.ideal:
            axes.plot(list(self.ideal), list(self.ideal.values()), "--", color=SOFT, linewidth=1.2, label="ideal")
        for (name, points), colour in zip(self.series.items(), (OURS, THIRD, FOURTH, SOFT) * 9, strict=False):
            places = sorted(points)
            medians = [statistics.median(points[place]) for place in places]
            below = [median - min(points[place]) for place, median in zip(places, medians, strict=True)]
            above = [max(points[place]) - median for place, median in zip(places, medians, strict=True)]
            axes.errorbar(
                places,
                medians,
                [below, above],
                color=colour,
                label=_shown(name, NAME),
                marker="o",
                markersize=4.5,
                capsize=3,
            )
        axes.set_ylim(0, axes.get_ylim()[1] * 1.12)
        top = axes.get_ylim()[1]
        for number, (name, place) in enumerate(self.marks.items()):
            axes.axvline(place, color=INK, linewidth=1, linestyle=":")
            axes.annotate(
                _shown(name, NAME),
                (place, top),
                xytext=(4, -12 - 13 * number),
                textcoords="offset points",
                color=INK,
                ha="left",
                fontsize=9.5,
            )
        if len(self.series) > 1 or self.ideal:
            axes.legend(frameon=False, labelcolor=INK, loc="lower center", bbox_to_anchor=(0.5, 0.01), ncols=3)
        if self.beside is not None:
            label, factor = self.beside
            second = axes.secondary_xaxis("top", functions=(lambda x: x * factor, lambda x: x / factor))
            second.set_xlabel(_shown(label, LABEL), color=INK)
            second.tick_params(colors=SOFT, which="both", labelcolor=INK)
            second.spines["top"].set_color(SOFT)
            if self.logarithmic:
                _number_decades(second.xaxis, narrow=narrow)
        axes.set_xlabel(_shown(self.x_label, LABEL))
        axes.set_ylabel(_shown(self.y_label, LABEL))
        axes.grid(axis="y", color=GRID, linewidth=0.8)

    def height(self, *, narrow: bool) -> float:
        """Inches."""
        return (3.3 if narrow else 3.6) + (0.4 if self.beside else 0)


Plot = Bars | Lines


def _number_decades(axis: Any, *, narrow: bool) -> None:
    """Write the numbers of a logarithmic axis as a person does; matplotlib's own way needs its mathematics."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(numticks=5 if narrow else 8))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def _shown(text: str, most: int) -> str:
    """A name as a plot has room for it."""
    clean = clean_text(" ".join(text.split()))
    return clean if len(clean) <= most else f"{clean[: most - 1]}…"


def svg(plot: Plot, *, size: str, number: int) -> str:
    """A plot as an `svg` element.

    Parameters
    ----------
    plot
        What to draw.
    size
        `wide` or `narrow`.
    number
        The plot's place in the page: names within it are told apart by it.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    narrow = size == "narrow"
    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": f"{size}{number}",
        "text.parse_math": False,  # a name may hold dollars
        "font.size": 10.5,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": SOFT,
        "xtick.color": SOFT,
        "ytick.color": SOFT,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
    }
    with mpl.rc_context(settings):
        figure = Figure((WIDTHS[size], plot.height(narrow=narrow)), dpi=96, layout="constrained")
        axes = figure.add_subplot()
        figure.patch.set_visible(False)
        axes.patch.set_visible(False)
        plot.draw(axes, narrow=narrow)
        out = io.StringIO()
        FigureCanvasSVG(figure).print_svg(  # type: ignore[no-untyped-call, unused-ignore]
            out, metadata={"Date": None, "Creator": None}
        )
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)  # it is for every element of the page
    name = f"{size}{number}-"
    text = re.sub(r'(<[^<>]*?\bid=")', rf"\g<1>{name}", text)
    text = text.replace("url(#", f"url(#{name}").replace('href="#', f'href="#{name}')
    for placeholder, colour in COLOURS.items():
        text = text.replace(placeholder, colour)
    text = re.sub(r"font-family: [^;\"]*; ", "", text)  # the page's
    return text.replace("<svg ", f'<svg class="{size}" role="img" ', 1)
