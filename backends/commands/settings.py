"""What a user can set of the backend `commands`. Light to import: the command line reads its flags from here."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

from scaledproc._util.options import at_least, declared, option, read_options
from scaledproc._util.units import parse_seconds
from scaledproc.errors import UsageError

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


def _seconds(value: Any, flag: str) -> float:
    return parse_seconds(str(value), flag)


@dataclass(frozen=True)
class Settings:
    """By which commands jobs are submitted, looked for and cancelled.

    Each field is a flag of the command line, a key of `[commands]` in `scaledproc.toml`, and a keyword of
    `CommandsBackend`.
    """

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
    cpus: int | None = option(
        None, "Cores of a job.", metavar="N", read=at_least(1, "1 or more"), default_text="--jobs, else 4"
    )
    at_once: int = option(100, "Jobs that are submitted at once.", metavar="N", read=at_least(1, "1 or more"))
    shards_per_job: int = option(1, "Shards of a job.", metavar="N", read=at_least(1, "1 or more"))
    retries: int = option(2, "How many jobs more that commit nothing.", metavar="N", read=at_least(0, "0 or more"))
    grace: float = option(
        20.0,
        "Time that a job has to finish its chunks when it is told to end.",
        metavar="SECONDS",
        unit="seconds",
        accepts="str | float",
        read=_seconds,
    )
    poll_seconds: float = option(
        15.0,
        "Pause between two looks at the jobs.",
        metavar="SECONDS",
        unit="seconds",
        accepts="str | float",
        read=_seconds,
    )

    @classmethod
    def parse(cls, words: Mapping[str, Any]) -> Self:
        """From what a person wrote.

        Raises
        ------
        UsageError
            If there is no such setting, it cannot have its value, or one of the three commands is missing.
        """
        known = [each.name for each in declared(cls)]
        for name in words:
            if name not in known:
                raise UsageError(f"the backend commands has no setting {name!r}; there are: {', '.join(known)}")
        made = cls(**read_options(cls, {name: value for name, value in words.items() if value is not None}))
        missing = [name for name in ("submit", "poll", "cancel") if not getattr(made, name)]
        if missing:
            raise UsageError(
                f"the backend commands needs --commands-{missing[0]}: docs/guides/batch-systems.md has examples"
            )
        return made
