"""Small pieces that a report is made of: texts of the data, numbers, tables, notes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count

from htpy import (
    Element,
    Node,
    caption,
    code,
    div,
    fragment,
    h2,
    h3,
    li,
    p,
    pre,
    section,
    span,
    table,
    tbody,
    td,
    th,
    thead,
    tr,
    ul,
)
from markupsafe import Markup, escape

from scaledproc._util.text import clean_text, cut_text
from scaledproc.extractors.account import Cell, Flags, Histogram, Share
from scaledproc.reporting.report.pictures import bars, number_text

NOTHING = "\u2013"
"""Stands where there is no value."""
TEXT = 400
"""Characters of a text of the data."""
NOTE = 2_000
"""Characters of what is said of a table or a picture, which an extractor may have put together."""


_NO_NUMBER = Markup('<td class="number none">{}</td>').format(NOTHING)


@dataclass(frozen=True)
class Whole:
    """A cell of a table as it is, where others are put into one."""

    cell: Element | Markup


def said(text: str, most: int = TEXT) -> Markup:
    """A text of the data: whatever it has, it is shown as text, and turns no other text around."""
    return _made(f"<bdi>{escape(cut_text(text, most))}</bdi>")


def command(text: str) -> Element:
    """A command to be copied."""
    return pre(class_="command", tabindex="0")[code[clean_text(text)]]


def part(name: str, title: str, *content: Node) -> Element:
    """A part of the page, with its heading."""
    return section(id=name, aria_labelledby=f"{name}-title")[h2(id=f"{name}-title")[title], *content]


def block(title: str, *content: Node, text: str = "") -> Element:
    """A piece of a part, with its heading and what the reader should know of it."""
    return div(class_="block")[h3[cut_text(title)], p(class_="note")[cut_text(text, NOTE)] if text else None, *content]


def listed(texts: Iterable[Node]) -> Element:
    """A plain list."""
    return ul[(li[each] for each in texts)]


def grid(
    title: str,
    heads: Sequence[Node],
    rows: Iterable[Sequence[Node | Whole]],
    *,
    numbers: Iterable[int] = (),
    is_live: bool = True,
) -> Element:
    """A table.

    Parameters
    ----------
    title
        What it shows: a caption for who cannot see it.
    heads, rows
        Its first column names the rows. A cell is what htpy takes, or `Whole`.
    numbers
        Which columns are numbers, aligned at their ends.
    is_live
        Whether it can be sorted and searched.
    """
    right = frozenset(numbers)

    def cell(at: int, content: Node | Whole) -> str:
        if isinstance(content, Whole):
            return str(content.cell)
        inside = escape(content if isinstance(content, str) else fragment[content])
        if at == 0:
            return f'<th scope="row">{inside}</th>'
        return f'<td class="number">{inside}</td>' if at in right else f"<td>{inside}</td>"

    shown, names = cut_text(title), [cut_text(each) if type(each) is str else each for each in heads]
    return div(class_="scroll", role="region", aria_label=shown, tabindex="0")[
        table(class_="live" if is_live else None)[
            caption(class_="unseen")[shown],
            thead[
                tr[(th(scope="col", class_="number" if at in right else None)[head] for at, head in enumerate(names))]
            ],
            tbody[_made("".join(f"<tr>{''.join(map(cell, count(), row))}</tr>" for row in rows))],
        ]
    ]


def number(value: float | int | None, text: str = "") -> Whole:
    """A cell with a number, by which its column is sorted; the text stands for it where one is given."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return Whole(_NO_NUMBER)
    shown = escape(text or number_text(value))
    return Whole(_made(f'<td class="number" data-value="{value:.10g}">{shown}</td>'))


def _made(text: str) -> Markup:
    """What a page has thousands of, whose texts are escaped: an element of htpy takes many times as long."""
    return Markup(text)  # noqa: S704 - its callers escape


def any_cell(value: Cell) -> Node | Whole:
    """A cell of what an extractor tells."""
    if isinstance(value, Share):
        share = value.part / value.whole if value.whole else math.nan
        return number(share, share_text(share))
    if isinstance(value, Histogram):
        return Whole(td(class_="picture")[bars(value)])
    if isinstance(value, Flags):
        texts = [span(class_="flag")[cut_text(each)] for each in value.texts]
        return Whole(td(class_="flags", data_value=str(len(texts)))[texts])
    if isinstance(value, str):
        return said(value)
    return number(value)


def share_text(share: float) -> str:
    """A part of a whole in percent: 0 and 100 only where it is none or all of it."""
    if math.isnan(share):
        return NOTHING
    if 0 < share < 0.0005:
        return "< 0.1 %"
    if 0.9995 <= share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f} %"


def is_numeric(values: Iterable[Cell]) -> bool:
    """Whether a column has numbers."""
    return any(isinstance(each, int | float | Share) for each in values)
