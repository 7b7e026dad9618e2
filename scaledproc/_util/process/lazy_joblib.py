"""Import loky, which comes with joblib, without the rest of joblib: that takes half of a worker process's start.

joblib's own modules import NumPy, asyncio and more, of which loky needs nothing. So the package is there without its
content, with loky below it, until somebody asks for anything else of it; then it is filled, as any import does it.
loky measures its processes' memory by psutil unless that is not there, which no process of ours has it do.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_JOBLIB = "joblib"
LOCKS = "joblib._multiprocessing_helpers"
"""joblib's module that sees whether there can be locks."""
LOKY = "joblib.externals.loky.process_executor"
"""loky's module that has all that processes need."""
_ENDING = "joblib.externals.loky.backend.utils"  # loky's module that ends processes
_PSUTIL = "psutil"
_APART = (LOCKS, "joblib.externals")  # which are imported without the rest
_OF_OPENMP = "KMP_INIT_AT_FORK"  # that joblib sets, so that what forks is not held up
_PATIENCE = 10.0
"""Seconds that one thread waits for another one that fills the package."""


def import_loky() -> None:
    """Import loky alone in this process; nothing where joblib has been imported, or loky cannot be had so.

    For processes that are this project's own, not for those that import it.
    """
    if _JOBLIB in sys.modules:
        return
    spec = importlib.util.find_spec(_JOBLIB)
    if spec is None or spec.loader is None or spec.submodule_search_locations is None:  # it is told where it is needed
        return
    package = importlib.util.module_from_spec(spec)
    sys.modules[_JOBLIB] = package
    sys.meta_path.insert(0, content := _Content(package, spec.loader))
    try:
        with _without_psutil():
            for name in (LOCKS, LOKY):
                import_module(name)
    except Exception:  # then with all that it comes with
        with contextlib.suppress(ValueError):  # it was filled meanwhile
            sys.meta_path.remove(content)
        for name in [name for name in sys.modules if name.partition(".")[0] == _JOBLIB]:
            del sys.modules[name]
        return
    os.environ.setdefault(_OF_OPENMP, "FALSE")


@contextlib.contextmanager
def _without_psutil() -> Iterator[None]:
    """Have loky imported without psutil, which it needs only to end processes with their children: it comes then."""
    if _PSUTIL in sys.modules or importlib.util.find_spec(_PSUTIL) is None:
        yield
        return
    sys.modules[_PSUTIL] = None  # type: ignore[assignment]  # which is how Python marks what cannot be imported
    try:
        yield
    finally:
        del sys.modules[_PSUTIL]
    sys.modules[_ENDING].psutil = _Psutil(_PSUTIL)  # type: ignore[attr-defined]


class _Psutil(ModuleType):
    """psutil, imported when anything of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(_PSUTIL), name)


class _Content(MetaPathFinder):
    """What is still missing of the package: filled in once, when a name or a module of it is asked for.

    Parameters
    ----------
    package
        The module, which is empty.
    loader
        Its own.
    """

    def __init__(self, package: ModuleType, loader: Loader) -> None:
        self._package, self._loader = package, loader
        self._lock = threading.RLock()
        self._is_begun = False
        vars(package)["__getattr__"] = self._missing

    def find_spec(
        self,
        name: str,
        path: Any = None,  # noqa: ARG002 - as finders are called
        target: ModuleType | None = None,  # noqa: ARG002 - as finders are called
    ) -> ModuleSpec | None:
        """Fill the package before another of its modules is imported, as Python does with any package."""
        is_of_it = name.startswith(f"{_JOBLIB}.") and not name.startswith(_APART)
        if not is_of_it or self._is_begun or not self._fill() or name not in sys.modules:
            return None
        there = sys.modules[name]
        spec = there.__spec__ = ModuleSpec(name, _There(there))  # which Python takes instead of what is returned
        return spec

    def _missing(self, name: str) -> Any:
        if (name.startswith("__") and name not in ("__all__", "__version__")) or not self._fill():
            raise AttributeError(f"module {_JOBLIB!r} has no attribute {name!r}")
        return getattr(self._package, name)

    def _fill(self) -> bool:
        """Do what importing the package does; False where that is under way."""
        if not self._lock.acquire(timeout=_PATIENCE):  # each thread waits for the other one
            return False
        try:
            if self._is_begun:
                return "__getattr__" not in vars(self._package)
            self._is_begun = True
            try:
                self._loader.exec_module(self._package)
            except BaseException:
                self._is_begun = False
                raise
            vars(self._package).pop("__getattr__", None)
            sys.meta_path.remove(self)
        finally:
            self._lock.release()
        return True


class _There(Loader):
    """Gives a module that has been imported meanwhile."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:  # noqa: ARG002 - as loaders are called
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec
