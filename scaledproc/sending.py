"""Whether an extractor that only this process knows can be sent to its worker processes, and what stands in the way."""

from __future__ import annotations

import copyreg
import functools
import inspect
import sys
from collections.abc import Iterator
from typing import Any

from scaledproc.errors import UsageError
from scaledproc.extractors import Extractor, FunctionExtractor


def check_sendable(extractor: Extractor) -> None:
    """See whether an extractor can be pickled as the pool does it.

    Raises
    ------
    UsageError
        If it cannot be.
    """
    copyreg.pickle(functools._lru_cache_wrapper, _reduce_cached)  # noqa: SLF001 - it has no other name
    error = _problem(extractor)
    if error is None:
        return
    name, value, error = _culprit(extractor, error)
    what = f"{name} ({type(value).__module__.removeprefix('builtins')}.{type(value).__qualname__})".replace("(.", "(")
    raise UsageError(
        f"{extractor.label} cannot be sent to worker processes, because of {what}: {type(error).__name__}: "
        f"{str(error).splitlines()[0] if str(error) else ''}; make it within the function, or give --jobs 1"
    )


def _reduce_cached(function: Any) -> Any:
    """How a function with `functools.cache` is sent: by its name where another process can import that, else anew."""
    module = sys.modules.get(function.__module__)
    found: Any = None if function.__module__ == "__main__" else module
    for name in function.__qualname__.split("."):
        found = getattr(found, name, None)
    if found is function:
        return function.__qualname__
    parameters = function.cache_parameters()
    return _cached, (function.__wrapped__, parameters["maxsize"], parameters["typed"])


def _cached(function: Any, maxsize: int | None, typed: bool) -> Any:
    return functools.lru_cache(maxsize, typed)(function)


def _problem(value: Any) -> Exception | None:
    from joblib.externals.loky.backend.reduction import dumps

    try:
        dumps(value)
    except Exception as error:  # whatever a __reduce__ raises
        return error
    return None


def _culprit(thing: Any, error: Exception, name: str = "what it holds") -> tuple[str, Any, Exception]:
    """The innermost part of a thing that cannot be pickled: its name, itself, and why."""
    seen: set[int] = set()
    value = thing
    while id(value) not in seen:
        seen.add(id(value))
        for inner_name, inner in _parts(value):
            problem = None if id(inner) in seen else _problem(inner)
            if problem is not None:
                name, value, error = inner_name, inner, problem
                break
    return name, value, error


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, FunctionExtractor):
        yield from ((f"its {name}", each) for name, each in vars(value).items())
        return
    function = inspect.unwrap(value) if callable(value) else value
    if isinstance(value, functools.partial):
        yield from (("the function", value.func), *value.keywords.items(), *(("an argument", e) for e in value.args))
    elif inspect.ismethod(value):
        yield from (("the object", value.__self__), ("the method", value.__func__))
    elif inspect.isfunction(function):
        found = inspect.getclosurevars(function)
        yield from ((f"the enclosed {name}", each) for name, each in found.nonlocals.items())
        yield from ((f"the global {name}", each) for name, each in found.globals.items())
        yield from ((f"the default {name}", each) for name, each in (function.__kwdefaults__ or {}).items())
        yield from (("a default", each) for each in function.__defaults__ or ())
    elif isinstance(value, dict):
        yield from ((f"[{key!r}]", each) for key, each in value.items())
    elif isinstance(value, list | tuple | set):
        yield from (("an element", each) for each in value)
    else:
        yield from getattr(value, "__dict__", {}).items()
