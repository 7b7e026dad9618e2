"""What a person may want to type next, after a command has ended."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from scaledproc._util.text import clean_text
from scaledproc.events import Detached, Failure, RunFinished

if TYPE_CHECKING:
    from scaledproc.engine.past.overview import Overview
    from scaledproc.engine.past.status import Status


class Step(NamedTuple):
    """A command that may come next."""

    purpose: str
    command: str


def after_run(event: RunFinished | Detached) -> list[Step]:
    """After a run that ended, or that goes on elsewhere: to try again what failed, and to look at it."""
    output = shlex.quote(event.output)
    if isinstance(event, Detached):
        return [
            Step("how far it is", f"scaledproc status {output}"),
            Step("watch it", f"scaledproc watch {output}"),
        ]
    steps = []
    if event.failures:
        steps.append(Step("try one here", _trial(event.output, event.failures[0].anchor)))
    if event.quarantined:
        steps.append(Step("try all again", f"the same command with {_again(event.failures)}"))
    if not event.rows and not event.quarantined:
        steps.append(Step("what one gives", f"scaledproc try {output}"))
    steps.append(Step("look at it", f"scaledproc report {output} --open"))
    steps.append(Step("its tasks", f"scaledproc show {output}"))
    steps.append(Step("is it whole", f"scaledproc verify {output}"))
    return steps


def after_status(status: Status) -> list[Step]:
    """To follow a run that goes on, or to look at what there is of one."""
    output = shlex.quote(status.output)
    if status.state == "running":
        return [Step("watch it", f"scaledproc watch {output}")]
    if status.state == "done":
        return [Step("its tasks", f"scaledproc show {output}")]
    return [Step("look at it", f"scaledproc report {output} --open")]


def after_show(found: Overview) -> list[Step]:
    """One of the tasks to try: one that failed, else one that gave no rows."""
    if found.failures:
        steps = [Step("try one here", _trial(found.output, found.failures[0].examples[0]))]
        return [*steps, Step("try all again", "the command of the run with --retry-failed")]
    if found.empty:
        return [Step("what one gives", _trial(found.output, found.empty[0]["anchor"]))]
    return []


def _again(failures: Sequence[Failure]) -> str:
    """What does failed tasks again; where they failed in code that a person has, that may be edited before."""
    is_own = any(each.place for each in failures)
    return "--retry-failed; once the code is mended, with --update" if is_own else "--retry-failed"


def _trial(output: str, anchor: str) -> str:
    return f"scaledproc try {shlex.quote(f'{output}#{anchor}')}"


def after_plan(words: Sequence[str], updated: str | None) -> list[Step]:
    """The command that does what was planned.

    Parameters
    ----------
    words
        Those of the command line that made the plan, as they may be shown; `plan` is the first.
    updated
        The folder of the run that the plan is an update of, where it is.
    """
    rest = [word for word in words[1:] if word != "--json"]
    if updated is None:
        return [Step("the run", f"scaledproc {shlex.join(rest)} OUTPUT")]
    given = shlex.join(_without_update(rest))
    return [Step("the update", f"scaledproc {given} {shlex.quote(updated)} --update")]


def after_fetch(dest: str) -> list[Step]:
    """The command that plans a run on what was fetched."""
    return [Step("what a run would do", f"scaledproc plan {shlex.quote(dest)}")]


def _without_update(words: Sequence[str]) -> list[str]:
    """The words without the plan's `--update OUTPUT`."""
    kept: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        if word != "--update" and before != "--update" and not word.startswith("--update="):
            kept.append(word)
    return kept


def steps_text(steps: Sequence[Step], width: int | None) -> str:
    """Steps below each other; each command can be copied as a whole.

    Parameters
    ----------
    steps
        The steps.
    width
        Columns of the terminal; a command that has no room beside its purpose has a line of its own.
    """
    most = max((len(each.purpose) for each in steps), default=0) + 1
    lines = []
    for purpose, command in steps:
        line = clean_text(f"  {purpose + ':':<{most}}  {command}")
        is_long = width is not None and len(line) > width
        lines += [f"  {purpose}:", clean_text(command)] if is_long else [line]
    return "\n".join(lines)
