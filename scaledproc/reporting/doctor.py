"""What was found of a machine, for a person."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from scaledproc._util.text import clean_text, count_text
from scaledproc.engine.doctor.findings import Diagnosis, Finding, Verdict

NAME = 16  # columns
NARROW = 64  # columns, below which the text stands below the name instead of beside it
LEAST = 16  # columns for the text; narrower terminals break the lines themselves
_INDENT = 8


def diagnosis_text(diagnosis: Diagnosis, width: int) -> str:
    """All findings, the worst last, and what they come to.

    Parameters
    ----------
    diagnosis
        The findings.
    width
        Columns of the terminal.
    """
    end = _wrapped(summary_text(diagnosis.findings), width)
    return "\n".join([*(finding_text(each, width) for each in diagnosis.findings), "", *end])


def finding_text(finding: Finding, width: int) -> str:
    """One finding: how good it is, of what, what was found, and on lines of their own what to do about it."""
    name, text, advice = map(clean_text, (finding.name, " ".join(finding.text.split()), finding.advice))
    is_beside = width >= NARROW
    indent = _INDENT + NAME if is_beside else _INDENT
    lines = _wrapped(text, width - indent)
    head, *rest = _wrapped(name, width - _INDENT)
    shown = [f"{finding.verdict:<{_INDENT}}{head}", *(f"{'':<{_INDENT}}{line}" for line in rest)]
    if is_beside and not rest and len(name) < NAME and lines:
        shown = [f"{finding.verdict:<{_INDENT}}{name:<{NAME}}{lines.pop(0)}"]
    shown += [f"{'':<{indent}}{line}" for line in lines]
    if advice:
        for at, line in enumerate(_wrapped(advice, width - indent - 2)):
            shown.append(f"{'':<{indent}}{'  ' if at else '→ '}{line}")
    return "\n".join(shown)


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, LEAST), break_on_hyphens=False) or [""]


def summary_text(findings: Sequence[Finding]) -> str:
    """What all findings come to, in one line."""
    stopping = [clean_text(each.name) for each in findings if each.stops]
    worries = sum(each.verdict is Verdict.WORRY for each in findings)
    worry = f"{count_text(worries, 'worry').replace('worrys', 'worries')}; " if worries else ""
    if stopping:
        return f"{worry}a run would stop: {', '.join(stopping)}"
    return f"{worry}nothing here would stop a run"
