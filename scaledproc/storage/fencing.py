"""What a change of a store is subject to: a driver's fence, and that it replaces what was seen and nothing newer.

A request can arrive long after it was sent: a proxy holds it, or a process is suspended between the fence and the
request. No look beforehand helps then. So the store is told what the change replaces, and refuses it where that is
something else by now.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from scaledproc.errors import ScaledprocError


class OvertakenError(ScaledprocError):
    """Another driver has what this one was about to change, so that it must not change anything any more."""


class Fence(Protocol):
    """Tells whether this process may still change something."""

    @property
    def is_exclusive(self) -> bool:
        """Whether one process alone passes: then what another one has put there meanwhile is not to be replaced."""

    def __call__(self) -> float:
        """Seconds that a change may take from now on.

        Raises
        ------
        OvertakenError
            If nothing may be changed any more, as another driver has or may have the folder.
        """

    def sure(self) -> float:
        """Seconds that a change may take, without asking the store; 0 where only the store could tell."""


@dataclass(frozen=True)
class Change:
    """What requests that change something are subject to.

    Parameters
    ----------
    fence
        Asked before each attempt.
    version
        Of the object that is replaced: its etag, empty for none; None for whatever is there.
    mark
        Told to the store with the new object: known again where the answer was lost.
    """

    fence: Fence | None = None
    version: str | None = None
    mark: str = ""


_current: ContextVar[Change] = ContextVar("change", default=Change())  # noqa: B039 - it is frozen


@contextlib.contextmanager
def subject_to(change: Change) -> Iterator[None]:
    """What this thread asks of a filesystem meanwhile is subject to a change; fsspec's event loop inherits it."""
    token = _current.set(change)
    try:
        yield
    finally:
        _current.reset(token)


def current_change() -> Change:
    """What a filesystem's request is subject to."""
    return _current.get()
