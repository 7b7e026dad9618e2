"""Finding an extractor by what a person types."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from scaledproc._util.entry_points import plugins
from scaledproc._util.redaction import is_secret_option
from scaledproc.errors import UsageError
from scaledproc.extractors.base import Extractor, FunctionExtractor
from scaledproc.extractors.options import label_of, make_extractor, options_of, parse_options, without_defaults

ENTRY_POINTS = "scaledproc.extractors"


def load_extractor(spec: Any, options: Mapping[str, Any] | None = None) -> Extractor:
    """The extractor of a specification.

    Parameters
    ----------
    spec
        A built-in's or plug-in's name, `package.module:name`, `path/to/file.py:name` (without the name, where the file
        defines one extractor), or an extractor itself: an instance, a class that is made without arguments, or a
        `partial` of a decorated function.
    options
        Those that it declares, as `parse_options` has them. An extractor that is given itself has its own already.

    Raises
    ------
    UsageError
        If there is no such extractor, it cannot be imported, or it takes no such options.
    """
    return spec if isinstance(spec, Extractor) else make_extractor(find_extractor(spec), options or {})


def find_extractor(spec: Any) -> type[Extractor] | Extractor:
    """What a specification names, not yet made where it is a class.

    Raises
    ------
    UsageError
        If there is no such extractor, or it cannot be imported.
    """
    found = _taken(_find(full_name(spec)) if isinstance(spec, str) else spec)
    if not isinstance(found, Extractor) and not (isinstance(found, type) and issubclass(found, Extractor)):
        what = (
            f"{spec!r} is {type(found).__name__}, no extractor"
            if isinstance(spec, str)
            else f"{spec!r} is no extractor"
        )
        raise UsageError(f"{what}; decorate it with @scaledproc.extractor(…)")
    return found


def full_name(spec: Any) -> Any:
    """A specification as `path/to/file.py:name`, where it is a file that defines one extractor; else as it is.

    Raises
    ------
    UsageError
        If the file cannot be loaded, or defines no extractor or several.
    """
    if not isinstance(spec, str) or not spec.endswith(".py"):
        return spec
    module = _load_file(Path(spec))
    found: dict[int, str] = {}
    for name, value in vars(module).items():
        if _is_defined_in(module, value):
            found.setdefault(id(value), name)
    if len(found) == 1:
        return f"{spec}:{next(iter(found.values()))}"
    if not found:
        raise UsageError(f"{spec} defines no extractor; decorate a function with @scaledproc.extractor(…)")
    raise UsageError(
        f"{spec} defines several extractors: name one, as {' or '.join(f'{spec}:{n}' for n in found.values())}"
    )


def _is_defined_in(module: ModuleType, value: Any) -> bool:
    if isinstance(value, FunctionExtractor):
        function: Any = value.function
        while isinstance(function, functools.partial):
            function = function.func
        return getattr(function, "__module__", None) == module.__name__
    is_class = isinstance(value, type) and issubclass(value, Extractor) and not inspect.isabstract(value)
    return is_class and value.__module__ == module.__name__


def settle_options(spec: Any, given: Mapping[str, Any] | None) -> tuple[str | Extractor, dict[str, Any] | None]:
    """What a user gave as extractor, and the options for it that are not its own defaults; None where none were given.

    Parameters
    ----------
    spec
        As for `load_extractor`: a specification stays as it is, all else becomes the extractor that it is.
    given
        Options by their names, as a person writes them.

    Raises
    ------
    UsageError
        If there is no such extractor, it cannot have such an option, or the option is a secret.
    """
    spec = full_name(spec)
    if not given:
        return (spec if isinstance(spec, str) else make_extractor(find_extractor(spec), {})), None
    found = find_extractor(spec)
    values = without_defaults(found, parse_options(found, given))
    refuse_secrets(values)
    return (spec if isinstance(spec, str) else make_extractor(found, values)), values


def refuse_secrets(values: Mapping[str, Any]) -> None:
    """See that no option is a secret: workers elsewhere find the options in run.json, so all of them stand there.

    Parameters
    ----------
    values
        Options by their names, as `parse_options` has them.

    Raises
    ------
    UsageError
        If an option is called as secrets are, and has a text.
    """
    for name, value in values.items():
        texts = [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str) and each]
        if texts and is_secret_option(name):
            raise UsageError(
                f"--set {name}: it looks like a secret, and run.json has an extractor's options for everybody who can "
                f'read it; let the extractor declare env=("{name.upper()}",) and take it from os.environ, and set that '
                "environment variable where the tasks run"
            )


def change_options(spec: str, had: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a run whose table is made anew of the rows that are there, with some options changed.

    Parameters
    ----------
    spec
        The extractor's specification.
    had
        The run's options.
    given
        Those that change, as a person writes them.

    Raises
    ------
    UsageError
        If the extractor cannot have such an option, or the rows of the shards depend on it.
    """
    from scaledproc.extractors.code.fingerprint import fingerprint_of

    found = find_extractor(spec)
    parsed = parse_options(found, given)
    refuse_secrets(parsed)
    values = without_defaults(found, {**had, **parsed})
    before, now = (fingerprint_of(make_extractor(found, each)).text for each in (had, values))
    if before != now:
        raise UsageError(
            f"what {label_of(found)} extracts depends on {', '.join(given)}: give --set to scaledproc run, with "
            "another folder for its output; combine only changes what is made of extracted rows"
        )
    return values


def for_reports(found: Any) -> list[str]:
    """Options on which no row depends, but what a report tells.

    Parameters
    ----------
    found
        An extractor's specification, its class, or an extractor.
    """
    declared = find_extractor(found) if isinstance(found, str) else found
    return [name for name, each in options_of(declared).items() if each.about.in_report]


def report_options(spec: str, had: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that an extractor tells a report with.

    Parameters
    ----------
    spec, had
        The extractor's specification, and the run's options.
    given
        Others for the report alone, as a person writes them.

    Raises
    ------
    UsageError
        If the extractor cannot have one, or more than a report depends on it.
    """
    found = find_extractor(spec)
    parsed = parse_options(found, given)
    known = for_reports(found)
    strange = [name for name in parsed if name not in known]
    if strange:
        raise UsageError(
            f"--set {strange[0]}: more than a report depends on it; for a report alone {label_of(found)} takes "
            f"{' and '.join(known) or 'no option'}"
        )
    return without_defaults(found, {**had, **parsed})


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
        from scaledproc._util.nearest import known_text

        raise UsageError(
            f"no extractor is called {spec!r}{known_text(spec, names())}; your own is named package.module:name or "
            "path/to/file.py:name"
        )
    module = _load_file(Path(where)) if where.endswith(".py") else _load_module(where)
    try:
        return getattr(module, name)
    except AttributeError:
        from scaledproc._util.nearest import known_text

        known = [each for each, value in vars(module).items() if _is_defined_in(module, value)]
        raise UsageError(f"{where} defines no {name!r}{known_text(name, known)}") from None


def _load_file(path: Path) -> ModuleType:
    from scaledproc.extractors.files import import_file

    path = path.expanduser().absolute()
    try:
        is_file = path.is_file()
    except OSError as error:  # in a closed folder, or of a name that is too long
        raise UsageError(f"{path} cannot be loaded: {error.strerror}") from error
    if not is_file:
        from scaledproc._util.nearest import meant_path

        raise UsageError(f"there is no file {path}{meant_path(path)}")
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
