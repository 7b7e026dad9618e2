"""`scaledproc.toml` in the current folder: what the command line has where no flag is given."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
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
        raise UsageError(f"{NAME}: {loose[0]!r} stands in no table; options of run belong below [run]")
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


def with_table(extractor: str, given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """An extractor's options: those of the command line before those of its table `[extractor.NAME]`.

    Parameters
    ----------
    extractor
        Its specification; the table may be called so, or as what stands behind the colon.
    given
        Those of the command line.

    Raises
    ------
    UsageError
        If what stands below `[extractor]` is no table.
    """
    tables = read_config().get(EXTRACTOR, {})
    loose = [name for name, found in tables.items() if not isinstance(found, dict)]
    if loose:
        raise UsageError(f"{NAME}: {loose[0]!r} stands in [{EXTRACTOR}]; options belong below [{EXTRACTOR}.NAME]")
    found: dict[str, Any] = {}
    for name in _names_of(extractor) if tables else ():
        found |= {key.replace("-", "_"): value for key, value in tables.get(name, {}).items()}
    return {**found, **(given or {})} or None


def idle_tables(extractor: str) -> str:
    """A note on tables that may be meant for an extractor that has none, and that no installed one has; else empty.

    Where it has its own, the others are taken for those of extractors that other commands name.
    """
    from scaledproc.extractors.registry import names

    tables = read_config().get(EXTRACTOR, {})
    if not tables:
        return ""
    own = _names_of(extractor)
    idle = [f"[{EXTRACTOR}.{name}]" for name in tables if name not in names()]
    if not idle or not tables.keys().isdisjoint(own):
        return ""
    return (
        f"{NAME}: {', '.join(idle)} {'is' if len(idle) == 1 else 'are'} not used: this extractor's table is "
        f"[{EXTRACTOR}.{own[0]}], and no installed extractor has such a name"
    )


def _names_of(extractor: str) -> list[str]:
    """What an extractor's table may be called."""
    from scaledproc.extractors.registry import full_name

    extractor = full_name(extractor)
    return list(dict.fromkeys((extractor.rpartition(":")[2], extractor)))
