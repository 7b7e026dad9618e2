"""What `scaledproc.toml` says of extractors: tables of options, `[extractor.NAME]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scaledproc._util.command.config_file import EXTRACTOR, NAME, read_config
from scaledproc.errors import UsageError


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
        If an option stands below `[extractor]` itself, not below `[extractor.NAME]`.
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
