"""How the commands of a batch system are called, and what it means when they do not answer."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from scaledproc.errors import ScaledprocError, UsageError


class BusyError(ScaledprocError):
    """The batch system cannot be asked now, or takes no more jobs."""


class UnansweredError(BusyError):
    """The batch system did not answer: whether it did what it was asked for is not known."""


class FullError(BusyError):
    """The batch system takes no more jobs now, or not so many at once."""


def run_command(
    words: Sequence[str], timeout: float, *, script: str = "", missing: str, late: str
) -> subprocess.CompletedProcess[str]:
    """Run a command without a shell; however it ended.

    Parameters
    ----------
    words
        The command.
    timeout
        Seconds that it may take.
    script
        What it reads.
    missing, late
        What a person is told where there is no such program, and what took too long.

    Raises
    ------
    UsageError
        If there is no such program here.
    UnansweredError
        If the command takes longer than it may.
    """
    try:
        return subprocess.run(words, input=script, capture_output=True, text=True, check=False, timeout=timeout)  # noqa: S603 - no shell
    except (FileNotFoundError, PermissionError):
        raise UsageError(missing) from None
    except subprocess.TimeoutExpired:
        raise UnansweredError(f"{late} took more than {timeout:g} s") from None
