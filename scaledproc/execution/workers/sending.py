"""Extractors that only this process knows, on their way to its worker processes; and what may stand in the way."""

from __future__ import annotations

import copyreg
import functools
import inspect
import pickle
import sys
from collections.abc import Iterator
from typing import Any

from scaledproc.errors import UsageError
from scaledproc.extractors import Extractor
from scaledproc.extractors.registry import place


class Sent:
    """An extractor on its way: pickled once here, and made once in each process, whatever it keeps there.

    Parameters
    ----------
    extractor
        It; what it is like when it is sent for the first time counts.
    """

    def __init__(self, extractor: Extractor) -> None:
        self.extractor = extractor
        self._content: bytes | None = None

    def __reduce__(self) -> Any:
        from joblib.externals.loky.backend.reduction import dumps

        if self._content is None:
            self._content = bytes(dumps(self.extractor))
        return _received, (self._content,)


@functools.lru_cache(maxsize=4)
def _received(content: bytes) -> Sent:
    return Sent(pickle.loads(content))  # noqa: S301 - made by the process that started this one


def sendable(source: str | Extractor) -> str | Sent:
    """What finds an extractor in another process, or brings it there."""
    found = place(source)
    return found if isinstance(found, str) else Sent(found)


def check_sendable(extractor: Extractor) -> None:
    """See whether an extractor can be pickled as the pool does it.

    Raises
    ------
    UsageError
        If the extractor cannot be pickled; the message names what of it cannot.
    """
    copyreg.pickle(functools._lru_cache_wrapper, _reduce_cached)  # noqa: SLF001 - it has no other name
    error = _problem(extractor)
    if error is None:
        return
    name, value = _culprit(extractor)
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    raise UsageError(
        f"{extractor.label} cannot be sent to worker processes: {name} ({kind}) cannot be pickled; make it within the "
        "function, or give --jobs 1"
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


def _culprit(thing: Any) -> tuple[str, Any]:
    """The innermost part of a thing that cannot be pickled, with its name."""
    names, value, seen = [""], thing, {id(thing)}
    while True:
        for name, inner in _parts(value):
            if id(inner) not in seen and _problem(inner) is not None:
                seen.add(id(inner))
                names = [*names, name] if name[:1] in ".[" else [name]  # from the last name that a person knows
                value = inner
                break
        else:
            return "".join(names) or "it", value


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """What a thing is pickled with; names that go on from its own begin with a dot or a bracket."""
    if isinstance(value, functools.partial):
        yield from (
            ("the function", value.func),
            *((f"the argument {key}", each) for key, each in value.keywords.items()),
        )
        yield from (("an argument", each) for each in value.args)
    elif inspect.ismethod(value):
        yield from (("the object", value.__self__), ("the method", value.__func__))
    elif inspect.isfunction(value) or inspect.isfunction(getattr(value, "__wrapped__", None)):
        function = value if inspect.isfunction(value) else value.__wrapped__
        found = inspect.getclosurevars(function)
        yield from ((f"the enclosed {name}", each) for name, each in found.nonlocals.items())
        yield from ((f"the global {name}", each) for name, each in found.globals.items())
        yield from (
            ("a default", each) for each in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
        )
    elif isinstance(value, dict):
        yield from ((f"[{key!r}]", each) for key, each in value.items())
    elif isinstance(value, list | tuple):
        yield from ((f"[{place}]", each) for place, each in enumerate(value))
    else:
        yield from ((f".{name}", each) for name, each in getattr(value, "__dict__", {}).items())
