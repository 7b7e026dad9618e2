"""Keep Arrow from importing pandas until somebody else does: it takes as long as all the rest of a process's start.

pyarrow imports pandas with the first list or array that it is given, only to know a Series when it sees one. Where
that fails it does without, and tries again when a DataFrame is asked of it. So the first try is made to fail; and as
soon as pandas is really imported, by whomever, pyarrow is told, so that it takes a Series for what it is again.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def defer_pandas() -> None:
    """Do without pandas in this process until it is imported; nothing where it has been.

    For processes that are this project's own, not for those that import it: it changes what pyarrow does first.
    """
    if "pandas" in sys.modules:
        return
    import pyarrow as pa

    watcher = _Watcher()
    sys.meta_path.insert(0, watcher)
    pa.array(())
    watcher.lets_through = True


class _Watcher(MetaPathFinder):
    """Lets nobody import pandas at first; then sees it being imported, once."""

    lets_through = False

    def find_spec(
        self,
        name: str,
        path: Any = None,  # noqa: ARG002 - as finders are called
        target: ModuleType | None = None,  # noqa: ARG002 - as finders are called
    ) -> ModuleSpec | None:
        if name != "pandas":
            return None
        if not self.lets_through:
            raise ModuleNotFoundError("not yet", name=name)
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                _tell_arrow()

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]  # of this one spec alone
        return spec


def _tell_arrow() -> None:
    import pyarrow as pa

    pa.array(()).to_pandas()
