"""What the functions that a user calls make of their arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from scaledproc._util.options import function, mapping, place, text, whole_number, yes_or_no
from scaledproc.engine.options import PlanOptions
from scaledproc.errors import UsageError
from scaledproc.extractors import Extractor
from scaledproc.extractors.registry import settle_options
from scaledproc.storage.store import Store

AnExtractor = str | Extractor | Callable[..., Any]
SomeOptions = TypeVar("SomeOptions", bound=PlanOptions)

_KINDS: Mapping[str, Callable[[Any, str], Any]] = {
    **dict.fromkeys(("dataset", "output", "run", "file", "path", "source", "dest"), place),
    "settings": mapping,
    **dict.fromkeys(("on_event", "ask"), function),
    **dict.fromkeys(("task", "location"), text),
    "failed": whole_number,
    **dict.fromkeys(("combine", "write"), yes_or_no),
}
"""How arguments are checked that no class of options declares."""


def check_kinds(given: Mapping[str, Any]) -> None:
    """See that arguments are of the kind that their names stand for; but for places, None is what was not given.

    Parameters
    ----------
    given
        A function's arguments, by name.

    Raises
    ------
    UsageError
        If an argument is of another kind than its name stands for.
    """
    for name, check in _KINDS.items():
        if name in given and (check is place or given[name] is not None):
            check(given[name], name)


def refuse_idle_options(storage_options: Mapping[str, Any] | None, sides: Mapping[str, Store | str]) -> None:
    """See that each storage option, but for those of a side that is not there, is for something.

    Parameters
    ----------
    storage_options
        As they were given.
    sides
        The stores of `input` and `output`; a text says what is no store and takes no options.
    """
    for key in storage_options or {}:
        side, dot, _ = key.partition(".")
        is_of_side = dot and side in ("input", "output")
        meant = [place for name, place in sides.items() if name == side or not is_of_side]
        if meant and all(isinstance(place, str) or place.local is not None for place in meant):
            folders = [str(place) for place in meant if not isinstance(place, str)]
            are = "is a folder" if len(folders) == 1 else "are folders"
            texts = [place for place in meant if isinstance(place, str)]
            texts += [f"{' and '.join(folders)} {are} on this machine"] if folders else []
            has = "has" if len(meant) == 1 else "have"
            raise UsageError(
                f"--storage-option {key}: {' and '.join(texts)}, which {has} no storage options; leave it out"
            )


def settle(asked: SomeOptions) -> SomeOptions:
    """With the extractor's options read and checked, and the extractor made where it has no name."""
    source, options = settle_options(asked.extractor, asked.options)
    return replace(asked, extractor=source, options=options)
