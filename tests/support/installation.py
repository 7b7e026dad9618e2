"""Whether the package that tests find is installed, and it and its backends are of one copy."""

from __future__ import annotations

from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path


def why_not_usable(package: str, backends: str | None, *, has_entry_points: bool) -> str:
    """What is wrong with an installation, and what to do; empty where nothing is.

    Parameters
    ----------
    package, backends
        The files of `scaledproc` and of `scaledproc.backends`; None where that is not found.
    has_entry_points
        Whether the backends are found by their names.
    """
    remedy = "run pip install -e . --no-deps here, with the Python of these tests"
    folder = Path(package).parent
    if backends is None or not has_entry_points:
        return f"{folder} is not installed, so its backends and extractors are not found: {remedy}"
    if Path(backends).parent not in (folder / "backends", folder.parent / "backends"):
        return f"{folder} is tested, and its backends would be those of another copy, {Path(backends).parent}: {remedy}"
    return ""


def check_installation() -> str:
    """What is wrong with the installation that this Python has."""
    package, backends = find_spec("scaledproc"), find_spec("scaledproc.backends")
    return why_not_usable(
        str(package.origin if package else ""),
        None if backends is None else backends.origin,
        has_entry_points=bool(entry_points(group="scaledproc.backends")),
    )
