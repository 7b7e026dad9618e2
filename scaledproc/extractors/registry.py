"""Finding an extractor by what a person types."""

from __future__ import annotations

import functools
import importlib
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from scaledproc._util.entry_points import plugins
from scaledproc.errors import UsageError
from scaledproc.extractors.base import Extractor, FunctionExtractor

ENTRY_POINTS = "scaledproc.extractors"


def load_extractor(spec: Any, options: Mapping[str, Any] | None = None) -> Extractor:
    """The extractor of a specification.

    Parameters
    ----------
    spec
        A built-in's or plug-in's name, `package.module:name`, `path/to/file.py:name`, or an extractor itself: an
        instance, a class that is made without arguments, or a `partial` of a decorated function.
    options
        Arguments for the extractor's class.

    Raises
    ------
    UsageError
        There is no such extractor, it cannot be imported, or it takes no such options.
    """
    found = _taken(_find(spec) if isinstance(spec, str) else spec)
    if isinstance(found, type) and issubclass(found, Extractor):
        try:
            return found(**(options or {}))
        except TypeError as error:
            raise UsageError(f"extractor {spec!r} cannot be made with these options: {error}") from None
    if not isinstance(found, Extractor):
        what = (
            f"{spec!r} is {type(found).__name__}, no extractor"
            if isinstance(spec, str)
            else f"{spec!r} is no extractor"
        )
        raise UsageError(f"{what}; decorate it with @scaledproc.extractor(…)")
    if options:
        raise UsageError(f"extractor {found.label!r} takes no option {', '.join(options)}")
    return found


def as_source(spec: Any) -> str | Extractor:
    """What a user gave as extractor: a specification as it is, all else as the extractor that it is."""
    return spec if isinstance(spec, str) else load_extractor(spec)


def _taken(found: Any) -> Any:
    """An extractor of which a `partial` was made is one with fewer parameters."""
    if isinstance(found, functools.partial) and isinstance(found.func, FunctionExtractor):
        return found.func.with_arguments(*found.args, **found.keywords)
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
                raise UsageError(f"extractor {spec!r} cannot be imported: {_why(error)}") from error
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
    from scaledproc.extractors.files import import_file

    path = path.expanduser().absolute()
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    try:
        return import_file(path)
    except (Exception, SystemExit) as error:
        raise UsageError(f"{path} cannot be loaded: {_why(error)}") from error


def _load_module(name: str) -> ModuleType:
    package = name.partition(".")[0]
    if package != "scaledproc" and str(Path.cwd()) not in sys.path:  # a console script's path lacks the current folder
        sys.path.append(str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise UsageError(f"module {name!r} cannot be imported: {_why(error)}") from error


def _why(error: BaseException) -> str:
    """What an import failed with, and the line of the code that was imported."""
    from scaledproc.extractors.code.code_finder import kind_of

    text = f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"
    if "relative import with no known parent package" in text:
        text += "; name a module of a package as package.module:name"
    if isinstance(error, SyntaxError):
        place, line, code = error.filename, error.lineno, error.text
    else:
        frames = traceback.extract_tb(error.__traceback__)
        users = [frame for frame in frames if frame.filename[:1] != "<" and kind_of(Path(frame.filename)) == "local"]
        if not users:
            return text
        frame = users[-1]
        place, line, code = frame.filename, frame.lineno, frame.line
    excerpt = f": {code.strip()[:80]}" if code and code.strip() else ""
    return f"{text} (line {line} of {place}{excerpt})"
