"""The backends' own settings as flags of the command line, made from what they declare.

A backend's settings are a dataclass, named by an entry point in the group `scaledproc.settings`: each field is a flag,
with its help in the field's metadata. Their modules are light to import, since `--help` shows them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

from scaledproc._util.entry_points import plugins
from scaledproc._util.options import Declared, declared
from scaledproc.cli.config_file import table
from scaledproc.cli.flags import option_parameter, replace_parameter
from scaledproc.errors import UsageError

GROUP = "scaledproc.settings"


@cache
def declared_settings() -> dict[str, tuple[Declared, ...]]:
    """What each backend's settings declare."""
    return {point.name: declared(point.load()) for point in plugins(GROUP)}


def with_settings(*only: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the backends' flags; it takes them as a mapping, `settings`, of those that were given.

    Parameters
    ----------
    only
        Names of settings; all where none is given.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True)
        made = {
            field.name: option_parameter(field, field.flag, f"Backend {backend}")
            for backend, found in declared_settings().items()
            for field in found
            if (not only or field.name in only) and field.name not in own.parameters
        }

        @wraps(command)
        def called(**words: Any) -> None:
            given = {name: words.pop(name) for name in made}
            command(**words, settings={name: value for name, value in given.items() if value not in (None, [])})

        replace_parameter(called, own, "settings", made.values())
        return called

    return decorate


def settings_for(backend: str, given: dict[str, Any]) -> dict[str, Any]:
    """What a backend is set to: flags first, then its table in `scaledproc.toml`.

    Raises
    ------
    UsageError
        A flag is another backend's.
    """
    known = [field.name for field in declared_settings().get(backend, ())]
    for name in given:
        if name not in known:
            having = [each for each, found in declared_settings().items() if name in {f.name for f in found}]
            others = " and ".join(having)
            raise UsageError(f"--{name.replace('_', '-')} is for --backend {others}, this is --backend {backend}")
    return {**(table(backend, known) if known else {}), **given}
