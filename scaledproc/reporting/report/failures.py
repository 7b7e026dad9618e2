"""The part of a report on what failed: messages that are alike together, and how to try such a task again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from htpy import Node, details, div, p, summary, td

from scaledproc._util.text import count_text
from scaledproc.reporting.report.again import is_in_memory, shell_word
from scaledproc.reporting.report.parts import Whole, block, command, grid, listed, number, part, said

if TYPE_CHECKING:
    from scaledproc.engine.past.overview import Alike
    from scaledproc.reporting.report.findings import Findings, Messages


def failures_part(found: Findings) -> Node:
    """The part, with or without failures."""
    return part("failures", "What failed", *_failures(found), *_warnings(found), *_without_rows(found))


def _failures(found: Findings) -> list[Node]:
    failures = found.failures
    if not failures.total:
        return [p["No task failed." if found.is_done else unread_text(found) or "No task failed so far."]]
    kinds = sorted(failures.kinds.items(), key=lambda item: -item[1])
    where = " (errors.parquet)" if found.is_done else ""
    text = f"{count_text(failures.total, 'task')} failed{where}. {unread_text(found)} ".replace("  ", " ")
    if is_in_memory(found):
        text += "EXTRACTOR stands for a name that the extractor can be found by: this one was an object in memory. "
    text += "Messages that differ only in numbers and in the task's own name are one line."
    rows = [
        (said(each.kind, 40), said(each.error, 80), number(each.count), _message(each.message), _again(found, each))
        for each in failures.groups
    ]
    return [
        p[text],
        block(
            "By kind",
            grid(
                "Failures by kind",
                ("Kind", "Error", "Tasks"),
                [(said(kind, 40), said(error, 80), number(count)) for (kind, error), count in kinds],
                numbers=[2],
                is_live=False,
            ),
        ),
        block(
            "By message",
            grid("Failures by message", ("Kind", "Error", "Tasks", "Message", "Try one again"), rows, numbers=[2]),
            _others(failures),
        ),
    ]


def _message(text: str) -> Whole:
    return Whole(td(class_="message")[said(text)])


def unread_text(found: Findings) -> str:
    """How many failures of an unfinished run are counted here, while their messages are not at hand; mostly nothing."""
    left = found.quarantined - found.failures.total
    if found.is_done or left <= 0:
        return ""
    more = " more" if found.failures.total else ""
    return f"{left:,}{more} failed in shards that are not done; all messages are told once these are."


def _others(messages: Messages) -> Node:
    if not messages.others:
        return None
    unread = messages.total - messages.read
    text = f"{messages.others:,} more {'is' if messages.others == 1 else 'are'} in no line above"
    if unread:
        text += f"; messages were read of the first {messages.read:,}"
    return p(class_="note")[f"{text}."]


def try_command(found: Findings, anchor: str) -> str:
    """The command that tries a task of a run again, in a process that a person watches.

    An extractor that was an object in memory has no name: `EXTRACTOR` stands for one that a person gives it.
    """
    named = "EXTRACTOR " if is_in_memory(found) else ""
    return f"scaledproc try {named}{shell_word(f'{found.output}#{anchor}')}"


def _again(found: Findings, alike: Alike) -> Node:
    names = alike.examples
    return div[
        command(try_command(found, names[0])) if names else None,
        details[summary["Tasks"], listed(said(each) for each in names)] if names else None,
    ]


def _warnings(found: Findings) -> list[Node]:
    warnings = found.warnings
    if not warnings.total:
        return []
    rows = [
        (said(each.message), number(each.count), listed(said(name) for name in each.examples))
        for each in warnings.groups
    ]
    return [
        block(
            "Warnings",
            grid("Warnings by message", ("Message", "Warnings", "Tasks, such as"), rows, numbers=[1]),
            _others(warnings),
            text=f"Tasks gave {count_text(warnings.total, 'warning')}; their rows are in the table.",
        )
    ]


def _without_rows(found: Findings) -> list[Node]:
    tasks = found.tasks
    if tasks is None or not tasks.without_rows:
        return []
    text = f"{count_text(tasks.without_rows, 'task')} gave no rows without failing"
    text += ", such as these." if tasks.without_rows > len(tasks.empty) else "."
    return [block("Tasks without rows", listed(said(each) for each in tasks.empty), text=text)]
