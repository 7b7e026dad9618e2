"""The whole page: one file that needs nothing else, and lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from htpy import (
    Element,
    Node,
    a,
    body,
    dd,
    div,
    dl,
    dt,
    footer,
    h1,
    head,
    header,
    html,
    li,
    main,
    meta,
    nav,
    ol,
    p,
    script,
    span,
    style,
    title,
)
from markupsafe import Markup

from scaledproc._util.text import bytes_text, cut_text
from scaledproc.extractors.account import DOUBTFUL, SERIOUS, SMALL
from scaledproc.reporting.report.about import about_part
from scaledproc.reporting.report.failures import failures_part
from scaledproc.reporting.report.parts import said
from scaledproc.reporting.report.plausible import plausible_part
from scaledproc.reporting.report.sentence import amount_text, has_failed, sentence, took_text, worries
from scaledproc.reporting.report.times import times_part

if TYPE_CHECKING:
    from scaledproc.reporting.report.findings import Findings

_WEIGHTS = {SERIOUS: ("serious", "Serious"), DOUBTFUL: ("doubtful", "Look at this"), SMALL: ("small", "Good to know")}
_PARTS = (
    ("data", "Is the data plausible?"),
    ("failures", "What failed"),
    ("time", "Where the time went"),
    ("run", "What it is"),
)
MOST_WORRIES = 30


def page(found: Findings, *, live: str | None = None) -> str:
    """The HTML of a report.

    Parameters
    ----------
    found
        What it shows.
    live
        Where the page itself asks for its next state, a path on the server that it came from: a request to there, and
        to nowhere else, is then allowed. None for a file, which asks nobody.
    """
    css, code = _asset("page.css"), _asset("page.js")
    asks = "'self'" if live else "'none'"
    rules = (
        f"default-src 'none'; style-src {_hash(css)}; script-src {_hash(code)}; connect-src {asks}; "
        "base-uri 'none'; form-action 'none'"
    )
    document = html(lang="en")[
        head[
            meta(charset="utf-8"),
            meta(http_equiv="Content-Security-Policy", content=rules),
            meta(name="viewport", content="width=device-width, initial-scale=1"),
            meta(name="color-scheme", content="light dark"),
            meta(name="referrer", content="no-referrer"),
            title[f"{cut_text(_short(found.update_of or found.output), 80)}: {_state(found)}"],
            style[Markup(css)],  # noqa: S704 - the page's own
        ],
        body(data_live=live)[
            a(class_="skip", href="#report")["To the report"],
            main(id="report")[_first(found), *_parts(found)],
            script[Markup(code)],  # noqa: S704 - the page's own
        ],
    ]
    return f"{document}\n"


def with_trouble(html: str, trouble: str) -> str:
    """A page that was made by `page`, with a line on what keeps it from being up to date."""
    begin = '<main id="report">'
    return html.replace(begin, f"{begin}{p(class_='trouble', role='alert')[said(trouble)]}", 1)


@cache
def _asset(name: str) -> str:
    return files("scaledproc.reporting.report").joinpath(name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _short(output: str) -> str:
    return output.rstrip("/").rpartition("/")[2] or output


def _state(found: Findings) -> str:
    if has_failed(found):
        return "failed"
    return {"done": "finished", "running": "running", "stopped": "stopped"}.get(found.state, found.state)


def _first(found: Findings) -> Node:
    """The first screen."""
    return header(class_="first")[
        p(class_="where")[
            span(class_=f"state {'failed' if has_failed(found) else found.state}")[_state(found)],
            " ",
            said(f"update of {found.update_of}" if found.update_of else found.output),
        ],
        h1[sentence(found)],
        _worries(found),
        dl(class_="figures")[(div[dt[name], dd[value]] for name, value in _figures(found))],
        nav(aria_label="Parts of this report")[((a(href=f"#{name}")[words], " ") for name, words in _PARTS)],
    ]


def _worries(found: Findings) -> Element:
    told = worries(found)
    if not told:
        calm = "Nothing to worry about." if found.is_done else "Nothing to worry about so far."
        return p(class_="calm")[calm]
    items = [
        li(class_=_WEIGHTS[each.weight][0])[
            span(class_="weight")[_WEIGHTS[each.weight][1]],
            span(class_="words")[
                said(each.text), " ", a(href=f"#{each.section}", aria_label=f"More: {cut_text(each.text, 60)}")["More"]
            ],
        ]
        for each in told[:MOST_WORRIES]
    ]
    more = len(told) - MOST_WORRIES
    return div[
        ol(class_="worries")[items],
        p(class_="note")[f"{more:,} more {'is' if more == 1 else 'are'} in the parts below."] if more > 0 else None,
    ]


def _figures(found: Findings) -> list[tuple[str, Node]]:
    total, done = found.counts.get("tasks", 0), found.done_tasks - found.quarantined
    facts: list[tuple[str, Node]] = [
        ("Tasks done", f"{total:,}" if done == total else f"{done:,} / {total:,}"),
        ("Rows", amount_text(found.rows)),
        ("Quarantined", f"{found.quarantined:,}"),
        ("Input", bytes_text(found.bytes.get("input", 0))),
    ]
    if found.is_done:
        facts.append(("Table", bytes_text(found.bytes.get("features", 0))))
    if found.going is not None and found.going.rate is not None:
        facts.append(("Rate", f"{bytes_text(found.going.rate)}/s"))
    if found.going is not None and found.going.left:
        facts.append(("Time left", found.going.left.removesuffix(" left")))
    if took := took_text(found):
        facts.append(("Time", re.split(" (?:on|in|since) ", took)[0]))
    return facts


def _parts(found: Findings) -> list[Node]:
    return [
        plausible_part(found),
        failures_part(found),
        times_part(found),
        about_part(found),
        footer[
            p[f"Made by scaledproc {found.version} on {found.made}, from the run's own files. This page asks nobody."]
        ],
    ]
