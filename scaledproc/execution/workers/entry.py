"""What a worker process runs first, as `python -m`: what loky runs, without importing all of joblib before it."""

from __future__ import annotations

import os
import runpy
import site
from collections.abc import Mapping
from pathlib import Path

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
    runpy.run_module(_LOKYS, run_name="__main__", alter_sys=True)  # as `python -m` does it


if __name__ == "__main__":
    main()
