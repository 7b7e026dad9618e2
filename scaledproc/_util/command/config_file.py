"""`scaledproc.toml` in the current folder: what the command line has where no flag is given."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

from scaledproc.errors import UsageError

NAME = "scaledproc.toml"
EXTRACTOR = "extractor"
"""The table that has a table of options for each extractor."""


@cache
def read_config() -> dict[str, dict[str, Any]]:
    """Its tables: `[run]` with options of `scaledproc run`, `[extractor.NAME]`, and one for each backend's settings.

    Raises
    ------
    UsageError
        If the file cannot be read, is not TOML, or has a key outside of all tables.
    """
    path = Path(NAME)
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(f"{NAME} cannot be read: {error}") from None
    loose = [key for key, value in found.items() if not isinstance(value, dict)]
    if loose:
        raise UsageError(f"{NAME}: {loose[0]!r} belongs to no table; options of the command run stand below [run]")
    return found


def check_tables(known: Collection[str]) -> None:
    """See that every table is known.

    Raises
    ------
    UsageError
        If the file has a table of another name.
    """
    strange = sorted(read_config().keys() - set(known))
    if strange:
        raise UsageError(f"{NAME}: [{strange[0]}] is nobody's; there are: {', '.join(f'[{each}]' for each in known)}")


def table(name: str, known: Collection[str]) -> dict[str, Any]:
    """The values of one table of the file, whose keys may be written with - or _.

    Raises
    ------
    UsageError
        If the table has a key that is not known.
    """
    values = {key.replace("-", "_"): value for key, value in read_config().get(name, {}).items()}
    strange = sorted(values.keys() - set(known))
    if strange:
        raise UsageError(f"{NAME}: [{name}] has no {strange[0]!r}; there are: {', '.join(sorted(known))}")
    return values
