"""A table that a person gives instead of one of the package's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

BUILT_IN = "built-in"
"""Instead of a file: the package's table."""


def content_of_table(file: str | os.PathLike[str], check: Callable[[str], object]) -> str | None:
    """The content of a file with a table, so that it travels with the run; None for the built-in one.

    Parameters
    ----------
    file
        As the option was given.
    check
        Raises `UsageError` where a content is no such table.

    Raises
    ------
    UsageError
        If the file's content is no such table.
    """
    if str(file) == BUILT_IN:
        return None
    text = Path(file).read_text(encoding="utf-8")
    check(text)
    return text
