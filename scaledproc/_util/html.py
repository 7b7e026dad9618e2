"""A few facts and a small table as HTML for a notebook; all texts are escaped, and cut where they are long."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from scaledproc._util.text import clean_text

TEXT = 200  # characters of a text
ROWS = 10
NOTES = 5


def escaped(text: Any, most: int = TEXT) -> str:
    """A text as HTML shows it: in one line, without characters that nobody sees."""
    clean = clean_text(" ".join(str(text).splitlines()))
    return html.escape(clean if len(clean) <= most else f"{clean[: most - 1]}…")


def summary_html(
    title: str,
    facts: Mapping[str, Any],
    heads: Sequence[str] = (),
    rows: Iterable[Sequence[Any]] = (),
    *,
    total: int = 0,
    notes: Sequence[str] = (),
) -> str:
    """A title, facts by their names, a table, notes.

    Parameters
    ----------
    title, facts
        Texts, or what is to be one.
    heads, rows
        Of the table, of which the first rows are shown.
    total
        How many rows the table has.
    notes
        For a person; the first ones are shown.
    """
    shown = list(islice(rows, ROWS))
    parts = [f"<p><b>{escaped(title)}</b></p>", _table((), facts.items())]
    if shown:
        parts.append(_table(heads, shown))
        if total > len(shown):
            parts.append(f"<p>… and {total - len(shown):,} more</p>")
    parts += [f"<p>{escaped(note)}</p>" for note in notes[:NOTES]]
    if len(notes) > NOTES:
        parts.append(f"<p>… and {len(notes) - NOTES:,} more notes</p>")
    return f"<div>{''.join(parts)}</div>"


def details_html(summary: str, text: str, most: int) -> str:
    """A line that opens on a longer text, of which the end is kept where it is too long."""
    clean = clean_text(text)
    kept = clean if len(clean) <= most else f"…{clean[1 - most :]}"
    return f"<details><summary>{escaped(summary)}</summary><pre>{html.escape(kept)}</pre></details>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    head = f"<thead><tr>{''.join(f'<th>{escaped(each)}</th>' for each in heads)}</tr></thead>" if heads else ""
    lines = "".join(f"<tr>{''.join(f'<td>{escaped(each)}</td>' for each in row)}</tr>" for row in rows)
    return f"<table>{head}<tbody>{lines}</tbody></table>"
