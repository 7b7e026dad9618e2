"""The part of a report on whether the data is plausible: what the extractor tells, then column by column."""

from __future__ import annotations

from typing import TYPE_CHECKING

from htpy import Element, Node, details, div, p, summary, table, tbody, td, th, thead, tr
from markupsafe import Markup

from scaledproc._util.text import count_text, cut_text
from scaledproc.extractors.account import Facts, Matrix, Spans
from scaledproc.reporting.report.parts import (
    NOTE,
    NOTHING,
    Whole,
    any_cell,
    block,
    grid,
    is_numeric,
    number,
    part,
    said,
    share_text,
)
from scaledproc.reporting.report.pictures import axis, bars, gaps, span_bar, ticks, time_ticks, trace, wide

if TYPE_CHECKING:
    from scaledproc.extractors.account import Example
    from scaledproc.reporting.report.findings import Column, Findings, Table

LINE = 18
"""Pixels of a line of stretches."""
SHADES = 8


def plausible_part(found: Findings) -> Node:
    """The part."""
    content: list[Node] = []
    account = found.account
    if account is not None:
        content += [
            p(class_="note")[cut_text(account.about, NOTE)] if account.about else None,
            *(_drawn_if_possible(each) for each in account.parts),
        ]
    if found.why_no_account:
        content.append(p(class_="note")["The extractor could not tell of its table: ", said(found.why_no_account)])
    content += [_example(each) for each in found.examples]
    if found.why_no_examples:
        content.append(p(class_="note")["No example of the data could be drawn: ", said(found.why_no_examples)])
    for each in found.tables:
        content += _columns(each, is_open=account is None and each is found.tables[0])
    if not content:
        content.append(p["There is no table yet: the shards are combined when all of them are done."])
    return part("data", "Is the data plausible?", *content)


def _drawn_if_possible(each: Facts | Spans | Matrix) -> Node:
    """A part of an account; what cannot be drawn, as an extractor is anybody's, is a note."""
    try:
        return Markup(str(_drawn(each)))  # noqa: S704 - made by htpy
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        return p(class_="note")["A part of what the extractor tells of its table cannot be drawn: ", said(text)]


def _drawn(each: Facts | Spans | Matrix) -> Element:
    match each:
        case Facts():
            columns = range(len(each.heads))
            right = [at for at in columns if is_numeric(row[at] for row in each.rows)]
            rows = [[any_cell(cell) for cell in row] for row in each.rows]
            return block(each.title, grid(each.title, each.heads, rows, numbers=right), text=each.text)
        case Spans():
            return block(each.title, _spans(each), text=each.text)
        case Matrix():
            return block(each.title, _matrix(each), text=each.text)


def _spans(shown: Spans) -> Node:
    end = max((stop for _, spans in shown.lines for _, stop in spans), default=0.0)
    height = LINE * len(shown.lines)
    unit = cut_text(shown.unit, 20)
    marks = time_ticks(end) if unit == "s" else [(at, f"{at:g} {unit}") for at in ticks(end)]
    drawn: list[Node] = [axis(end, height, marks)]
    for at, (_, spans) in enumerate(shown.lines):
        drawn += [span_bar(begin, stop, end, at * LINE + 4, LINE - 8) for begin, stop in spans]
    names = [(at * LINE + 13, cut_text(label, 22)) for at, (label, _) in enumerate(shown.lines)]
    words = "; ".join(f"{cut_text(label, 40)}: {count_text(gaps(spans), 'gap')}" for label, spans in shown.lines)
    return wide(f"{shown.title}. {words}", height + 18, drawn, names=names)


def _matrix(shown: Matrix) -> Node:
    """Counts as a table whose cells are darker where there are more."""
    most = max((max(row, default=0) for row in shown.counts), default=0) or 1
    rows = [
        tr[
            th(scope="row")[said(name, 24)],
            (td(class_=f"number shade{-(-each * SHADES // most)}")[f"{each:,}"] for each in row),
        ]
        for name, row in zip(shown.names, shown.counts, strict=True)
    ]
    return div(class_="scroll", role="region", aria_label=cut_text(shown.title), tabindex="0")[
        table(class_="matrix")[thead[tr[td, (th(scope="col")[said(name, 24)] for name in shown.names)]], tbody[rows]]
    ]


def _example(example: Example) -> Node:
    return block(example.title, *(trace(each) for each in example.traces))


def _columns(shown: Table, *, is_open: bool) -> list[Node]:
    if not shown.columns:
        return []
    has_odd = any(each.nans or each.infinite for each in shown.columns)
    rows = [_column(each, shown, has_odd=has_odd) for each in shown.columns]
    heads = ["Column", "Type", "Missing", "Distinct", "Smallest", "Largest", "Values"]
    text = f"{count_text(shown.rows, 'row')}. Missing, smallest and largest are of all of them"
    text += (
        "." if shown.read == shown.rows else f"; distinct values and histograms of {shown.read:,} at equal distances."
    )
    if has_odd:
        heads.insert(3, "NaN, infinite")
        text += " Missing is null. How many are NaN or infinite stands beside it, of the rows that distinct values are "
        text += "of; NaN is none of these, and neither is in a histogram."
    numbers = (2, 3, 4) if has_odd else (2, 3)
    content = [p(class_="note")[text], grid(f"Values of {shown.name}", heads, rows, numbers=numbers)]
    if shown.first:
        first = [
            [said(cell, 60) if cell is not None else Whole(td(class_="none")[NOTHING]) for cell in row]
            for row in shown.first
        ]
        head = [said(each.name, 60) for each in shown.columns]
        content.append(
            details[summary["The first rows"], grid(f"First rows of {shown.name}", head, first, is_live=False)]
        )
    title = f"Every column of {shown.name}"
    return [details(class_="block", open=is_open)[summary[title], *content]]


def _column(each: Column, shown: Table, *, has_odd: bool) -> tuple[Node | Whole, ...]:
    missing = None if each.nulls is None else each.nulls / shown.rows if shown.rows else 0.0
    drawn: Node | Whole = ""
    if each.histogram is not None:
        drawn = Whole(td(class_="picture")[bars(each.histogram)])
    elif each.most:
        drawn = Whole(td(class_="most")[div[[div[said(value, 40), f" {count:,}"] for value, count in each.most]]])
    return (
        said(each.name),
        said(each.type, 60),
        number(missing, "" if missing is None else share_text(missing)),
        *((_odd(each, shown),) if has_odd else ()),
        number(each.distinct) if each.distinct is not None else "many" if each.is_counted else "not counted",
        Whole(td(class_="end")[said(each.low, 40)]),
        Whole(td(class_="end")[said(each.high, 40)]),
        drawn,
    )


def _odd(each: Column, shown: Table) -> Node | Whole:
    """How many values of a column are no numbers that one can count with."""
    count = each.nans + each.infinite
    if not count:
        return number(0)
    texts = [f"{share_text(each.nans / shown.read)} NaN"] if each.nans else []
    texts += [f"{each.infinite:,} infinite"] if each.infinite else []
    return number(count / shown.read, ", ".join(texts))
