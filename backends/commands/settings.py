"""What a user can set of the backend `commands`. Light to import: the command line reads its flags from here."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from scaledproc._util.options import option, option_of
from scaledproc.errors import UsageError

from ..batch.settings import BatchSettings

OF_SUBMIT = ("script", "name", "log", "cores", "command")
OF_JOB, OF_NAME = ("id",), ("name",)
_FIELD = re.compile(r"\{(\w+)\}")
FIRST_NUMBER = r"\d[\w.\[\]-]*"


def fill(template: str, values: Mapping[str, str]) -> list[str]:
    """The words of a template's command; each value stays within its word, whatever characters it has."""
    return [_FIELD.sub(lambda found: values[found[1]], word) for word in shlex.split(template)]


def _words(known: Collection[str], needed: Collection[str]) -> Any:
    def read(value: Any, flag: str) -> str:
        if not isinstance(value, str):
            raise UsageError(f"{flag} {value!r}: give a command")
        try:
            words = shlex.split(value)
        except ValueError as error:
            raise UsageError(f"{flag} {value!r}: no command as a shell reads it: {error}") from None
        names = {name for word in words for name in _FIELD.findall(word)}
        strange = sorted(names.difference(known))
        if strange:
            raise UsageError(f"{flag}: there is no {{{strange[0]}}}; there are {_shown(known)}")
        if not words or (needed and not names.intersection(needed)):
            raise UsageError(f"{flag} {value!r}: give a command with {' or '.join(f'{{{name}}}' for name in needed)}")
        return value

    return read


def _shown(names: Collection[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in names)


def _pattern(value: Any, flag: str) -> str:
    try:
        re.compile(value)
    except (re.error, TypeError) as error:
        raise UsageError(f"{flag} {value!r}: no regular expression: {error}") from None
    return str(value)


@dataclass(frozen=True)
class Settings(BatchSettings):
    """By which commands jobs are submitted, looked for and cancelled; `[commands]` in `scaledproc.toml`.

    Raises
    ------
    UsageError
        If one of the three commands is missing.
    """

    backend: ClassVar[str] = "commands"

    at_once: int = option_of(
        BatchSettings, "at_once", default=100, default_text="", help="Jobs that are submitted at once."
    )
    grace: float = option_of(BatchSettings, "grace", default=20.0)
    submit: str = option(
        "",
        "Command that submits {script}, which may have {name}, {log} and {cores}, and prints the job's id.",
        metavar="COMMAND",
        read=_words(OF_SUBMIT, ("script", "command")),
    )
    poll: str = option(
        "",
        "Command that prints the ids of jobs that have not ended; with {id}, one that fails for a job that has.",
        metavar="COMMAND",
        read=_words(OF_JOB, ()),
        recall=True,
    )
    cancel: str = option(
        "", "Command that cancels the job {id}.", metavar="COMMAND", read=_words(OF_JOB, OF_JOB), recall=True
    )
    find: str = option(
        "",
        "Command that prints the id of the job called {name}, and nothing where there is none, for a submission that "
        "was cut short.",
        metavar="COMMAND",
        read=_words(OF_NAME, OF_NAME),
        recall=True,
    )
    id_pattern: str = option(
        FIRST_NUMBER,
        "Regular expression of the id in what submitting prints; its first group, where it has one.",
        metavar="PATTERN",
        read=_pattern,
        default_text="the first number, with letters and dots that follow",
    )

    def __post_init__(self) -> None:
        missing = [name for name in ("submit", "poll", "cancel") if not getattr(self, name)]
        if missing:
            raise UsageError(
                f"the backend commands needs --commands-{missing[0]}: docs/guides/batch-systems.md has examples"
            )
