"""Which display fits what was asked for, and where standard error goes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from scaledproc.reporting.terminal.base import Progress
from scaledproc.reporting.terminal.json_lines import JsonProgress
from scaledproc.reporting.terminal.live import LiveProgress
from scaledproc.reporting.terminal.log import PlainProgress

DUMB = ("dumb", "unknown")


def choose(*, quiet: bool, as_json: bool, beginning: str = "planning") -> Progress:
    """The display of a command that tells of what it does.

    Parameters
    ----------
    quiet, as_json
        What was asked for.
    beginning
        What is done before anything is told, such as `planning`.
    """
    return JsonProgress() if as_json else waiting(beginning, quiet=quiet)


def waiting(what: str, *, quiet: bool = False) -> Progress:
    """The display of a command that tells nothing but its answer.

    Parameters
    ----------
    what
        It is doing.
    quiet
        Whether nothing is to be shown.
    """
    if quiet:
        return Progress()
    return LiveProgress(beginning=what) if can_move(os.environ) else PlainProgress(beginning=what)


def can_move(environment: Mapping[str, str]) -> bool:
    """Whether standard error is a terminal on which lines can be drawn anew; what CI services have is a log."""
    is_log = environment.get("CI", "").lower() not in ("", "0", "false")
    return sys.stderr.isatty() and not is_log and environment.get("TERM", "").lower() not in DUMB
