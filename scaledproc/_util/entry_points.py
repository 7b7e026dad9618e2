"""What installed packages offer under scaledproc's entry points; looked up once, as it means opening every package."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_OURS = "scaledproc."
SETTINGS = "scaledproc.settings"
"""The group of dataclasses that declare what can be set of a backend."""


def plugins(group: str, name: str | None = None) -> tuple[EntryPoint, ...]:
    """The entry points of a group, sorted by name; or those of one name.

    Parameters
    ----------
    group
        Such as `scaledproc.extractors`.
    name
        All where None is.
    """
    found = [point for point in _installed(tuple(sys.path)) if point.group == group and name in (None, point.name)]
    return tuple(sorted(found, key=lambda point: point.name))


@lru_cache(maxsize=1)
def _installed(_path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Those of scaledproc, of all packages on Python's path."""
    from importlib.metadata import entry_points

    found = entry_points()
    return tuple(point for group in found.groups if group.startswith(_OURS) for point in found.select(group=group))
