"""What a worker process runs first, as `python -m`: what loky runs, without importing all of joblib before it."""

from __future__ import annotations

import importlib.util
import os
import site
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from scaledproc._util.process.lazy_joblib import import_loky

_LOKYS = "joblib.externals.loky.backend.popen_loky_posix"
_PATH = "PYTHONPATH"
_BEFORE = "SCALEDPROC_PYTHONPATH"
"""What the environment said of the path before, for `main`: programs that tasks start are to have that."""


def way_here() -> Mapping[str, str]:
    """What a new process must have in its environment so that it finds this package where this one found it.

    It may have been by what a notebook added to sys.path, of which the new process knows nothing.
    """
    root = str(Path(__file__).parents[3])
    if root in {*site.getsitepackages(), site.getusersitepackages()}:
        return {}
    before = os.environ.get(_PATH)
    return {_PATH: os.pathsep.join([root, *([before] if before else [])]), _BEFORE: before or ""}


def main() -> None:
    """Be a process of loky's: it tells by a pipe what to do."""
    if (before := os.environ.pop(_BEFORE, None)) is not None:
        os.environ[_PATH] = before
        if not before:
            del os.environ[_PATH]
    import_loky()
    spec = importlib.util.find_spec(_LOKYS)
    assert spec is not None
    loader: Any = spec.loader
    own = ModuleType("__main__")  # as `python -m` makes it: by its spec other processes of Python's find it
    own.__spec__, own.__file__, own.__package__ = spec, spec.origin, spec.parent
    sys.modules["__main__"] = own
    exec(loader.get_code(_LOKYS), vars(own))  # noqa: S102 - loky's own code


if __name__ == "__main__":
    main()
