"""Options that name a file whose table takes the place of a built-in one; its content travels with the run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from scaledproc.extractors.options import Option

BUILT_IN = "built-in"
"""Instead of a file: the table of the package."""


def content_of_file(file: str | os.PathLike[str], parse: Callable[[str], object]) -> str | None:
    """The content of a table, which can be parsed; None for the built-in one.

    Raises
    ------
    OSError
        If the file cannot be read.
    UsageError
        If the file's content is no such table.
    """
    if str(file) == BUILT_IN:
        return None
    text = Path(file).read_text(encoding="utf-8")
    parse(text)
    return text


def _names(file: str | os.PathLike[str]) -> str | None:
    from scaledproc.extractors.wfdb.signal_names import SignalNames

    return content_of_file(file, SignalNames.parse)


def _ranges(file: str | os.PathLike[str]) -> str | None:
    from scaledproc.extractors.wfdb.report.ranges import parse

    return content_of_file(file, parse)


NamesOption = Annotated[
    str | None,
    Option("Table of canonical signal names (TOML), or built-in.", metavar="FILE", default_text=BUILT_IN, read=_names),
]
"""The option `signal_names`: the content of a table instead of the built-in one."""
RangesOption = Annotated[
    str | None,
    Option(
        "Table of physiological ranges (TOML) for the report, or built-in.",
        metavar="FILE",
        default_text=BUILT_IN,
        read=_ranges,
        in_report=True,
    ),
]
"""The option `ranges`: the content of a table instead of the built-in one."""
