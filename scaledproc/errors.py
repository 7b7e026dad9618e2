"""Errors that are meant for the person at the keyboard: what is wrong, where, what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


class ScaledprocError(Exception):
    """The run itself cannot go on. Shown as one line, without a traceback; exit code 1."""

    exit_code = 1
    differences: tuple[Mapping[str, Any], ...] = ()
    """What differs from the run that a folder holds, where that is the reason: each with its `kind`, `name`, `text`."""


class RunInterruptedError(ScaledprocError):
    """Ctrl-C or SIGTERM. Exit code 130 or 143, as of any program that a signal ended."""

    exit_code = 130

    def __init__(self, message: str, signal: int = 2) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal


class TooManyFailuresError(ScaledprocError):
    """A run is finished, with more quarantined tasks than were allowed. Exit code 3."""

    exit_code = 3


class DamagedError(ScaledprocError):
    """A file of a run is not what was written."""


class UsageError(ScaledprocError):
    """What was asked for makes no sense or cannot be. Exit code 2."""

    exit_code = 2


class OtherPlanError(UsageError):
    """The output folder holds the run of another plan.

    Parameters
    ----------
    message
        For a person.
    differences
        What differs, as JSON's types, each with its `kind`, `name` and `text`.
    """

    def __init__(self, message: str, differences: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(message)
        self.differences = tuple(differences)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.differences)


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what led to it, each once: a client that raises an error again can make a ring of them."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
