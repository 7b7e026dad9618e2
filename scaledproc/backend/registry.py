"""Backends by their names, as installed packages register them, and what their settings say before one is made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaledproc._util.entry_points import SETTINGS, plugins
from scaledproc._util.options import declared
from scaledproc.backend.base import Backend
from scaledproc.errors import UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINTS = "scaledproc.backends"


class MissingBackendError(UsageError):
    """A backend is not installed here."""


def load_backend(name: str) -> type[Backend]:
    """A backend by name; it is imported only now.

    Raises
    ------
    MissingBackendError
        If no backend has that name, or what it needs is not installed.
    UsageError
        If what is registered under that name is no backend.
    """
    for point in plugins(ENTRY_POINTS, name):
        try:
            backend = point.load()
        except ImportError as error:
            raise MissingBackendError(f"backend {name!r} cannot be used: {error}; {_install_hint(point)}") from error
        if not (isinstance(backend, type) and issubclass(backend, Backend)):
            raise UsageError(f"{point.value}, registered as backend {name!r}, is no scaledproc.Backend")
        return backend
    from scaledproc._util.nearest import known_text

    known = [point.name for point in plugins(ENTRY_POINTS)]
    raise MissingBackendError(f"no backend is called {name!r}{known_text(name, known)}")


def make_backend(
    name: str, jobs: int | None, scratch: str | os.PathLike[str] | None, settings: Mapping[str, Any]
) -> Backend:
    """The backend of a name, made with these settings; raises what `load_backend` does, and what it refuses."""
    return load_backend(name)(jobs=jobs, scratch=Path(scratch) if scratch else None, **settings)


def opening_options(where: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments for the filesystem of a run's folder, of settings that are given before the run says whose they are.

    Parameters
    ----------
    where
        The folder's path or URL.
    settings
        By name. One whose metadata has as `opens` the protocol of that URL is such an argument, of the same name.
    """
    protocol, colon, _ = where.partition("://")
    if not colon or not settings:
        return {}
    known = [each for point in plugins(SETTINGS) for each in declared(point.load())]
    names = {each.name for each in known if each.about.get("opens") == protocol}
    return {name: value for name, value in settings.items() if name in names and value}


def _install_hint(point: EntryPoint) -> str:
    package = point.dist.name if point.dist else "scaledproc"
    extras = f"[{','.join(point.extras)}]" if point.extras else ""
    return f"pip install '{package}{extras}'"
