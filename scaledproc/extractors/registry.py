"""Finding an extractor by what a person types."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from scaledproc.errors import UsageError
from scaledproc.extractors.base import Extractor
from scaledproc.plugins import plugins

ENTRY_POINTS = "scaledproc.extractors"


def load_extractor(spec: str | Extractor, options: Mapping[str, Any] | None = None) -> Extractor:
    """The extractor of a specification.

    Parameters
    ----------
    spec
        A built-in's or plug-in's name, `package.module:name`, `path/to/file.py:name`, or an extractor itself.
    options
        Arguments for the extractor's class.

    Raises
    ------
    UsageError
        There is no such extractor, it cannot be imported, or it takes no such options.
    """
    if not isinstance(spec, (str, Extractor)):
        raise UsageError(f"{spec!r} is no extractor; decorate a function with @scaledproc.extractor(…)")
    found = spec if isinstance(spec, Extractor) else _find(spec)
    if isinstance(found, type) and issubclass(found, Extractor):
        try:
            return found(**(options or {}))
        except TypeError as error:
            raise UsageError(f"extractor {spec!r} cannot be made with these options: {error}") from None
    if not isinstance(found, Extractor):
        raise UsageError(f"{spec!r} is {type(found).__name__}, no extractor; decorate it with @scaledproc.extractor(…)")
    if options:
        raise UsageError(f"extractor {found.label!r} takes no option {', '.join(options)}")
    return found


def names() -> list[str]:
    """The names of the installed extractors."""
    return [point.name for point in plugins(ENTRY_POINTS)]


def place(spec: str | Extractor) -> str | Extractor:
    """What finds the same extractor sooner in another process: the module and the name behind an entry point."""
    if isinstance(spec, str) and ":" not in spec:
        for point in plugins(ENTRY_POINTS, spec):
            if point.attr.isidentifier():
                return f"{point.module}:{point.attr}"
    return spec


def _find(spec: str) -> Any:
    where, colon, name = spec.rpartition(":")
    if not colon:
        for point in plugins(ENTRY_POINTS, spec):
            try:
                return point.load()
            except Exception as error:
                raise UsageError(f"extractor {spec!r} cannot be imported: {type(error).__name__}: {error}") from error
        raise UsageError(
            f"no extractor is called {spec!r}; there are: {', '.join(names())}; your own is named "
            "package.module:name or path/to/file.py:name"
        )
    module = _load_file(Path(where)) if where.endswith(".py") else _load_module(where)
    try:
        return getattr(module, name)
    except AttributeError:
        raise UsageError(f"{where} defines no {name!r}") from None


def _load_file(path: Path) -> ModuleType:
    path = path.expanduser().absolute()
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    version = hashlib.sha256(bytes(path) + b"\0" + path.read_bytes()).hexdigest()[:16]  # an edited file is a new module
    module_name = f"_scaledproc_{path.stem}_{version}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    specification = importlib.util.spec_from_file_location(module_name, path)
    if specification is None or specification.loader is None:
        raise UsageError(f"{path} cannot be loaded as Python")
    module = importlib.util.module_from_spec(specification)
    sys.modules[module_name] = module
    if str(path.parent) not in sys.path:  # so that the file finds its neighbours, as when it is run itself
        sys.path.append(str(path.parent))
    try:
        specification.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        raise UsageError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    return module


def _load_module(name: str) -> ModuleType:
    package = name.partition(".")[0]
    if package != "scaledproc" and str(Path.cwd()) not in sys.path:  # a console script's path lacks the current folder
        sys.path.append(str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise UsageError(f"module {name!r} cannot be imported: {type(error).__name__}: {error}") from error
