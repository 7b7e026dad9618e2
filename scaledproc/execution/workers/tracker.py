"""loky's tracker of resources in a process that imports nothing else of joblib: NumPy alone takes six times as long.

loky starts this process by `from MODULE import main; main(…)`, MODULE being that of its own `main`. `named_here` gives
it this one's name instead. Where loky does otherwise one day, its own is started, only more slowly.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any, cast

_PATH = "PYTHONPATH"
_MODULE = "joblib.externals.loky.backend.resource_tracker"


@contextlib.contextmanager
def named_here(tracker: Any) -> Iterator[None]:
    """Have a tracker that is started meanwhile be found in this module.

    Parameters
    ----------
    tracker
        loky's module of it.
    """
    theirs = getattr(tracker, "main", None)
    if getattr(theirs, "__module__", None) != _MODULE or sys.flags.ignore_environment:
        yield
        return
    before = os.environ.get(_PATH)
    # This package may have been found by what a notebook added to sys.path, of which the new process knows nothing.
    os.environ[_PATH] = os.pathsep.join([str(Path(__file__).parents[3]), *([before] if before else [])])
    theirs.__module__ = __name__
    try:
        yield
    finally:
        theirs.__module__ = _MODULE
        if before is None:
            del os.environ[_PATH]
        else:
            os.environ[_PATH] = before


def main(*given: Any) -> None:
    """Be the tracker; takes what loky's `main` does."""
    _track()(*given)


def _track() -> Callable[..., None]:
    packages = _MODULE.split(".")[:-2]
    try:
        _stand_in(packages)
        return cast("Callable[..., None]", import_module(_MODULE).main)
    except Exception:  # then with all that it comes with
        for name in [name for name in sys.modules if name.partition(".")[0] == packages[0]]:
            del sys.modules[name]
        return cast("Callable[..., None]", import_module(_MODULE).main)


def _stand_in(packages: Sequence[str]) -> None:
    """Have empty modules in the place of packages, so that what is below them is imported without them."""
    spec = find_spec(packages[0])
    assert spec is not None
    folder = PurePath(str(spec.origin)).parent
    for at in range(1, len(packages) + 1):
        package = ModuleType(".".join(packages[:at]))
        package.__path__ = [str(folder.joinpath(*packages[1:at]))]
        sys.modules[package.__name__] = package
