"""The backends' own settings as flags of the command line, made from what they declare.

A backend's settings are a dataclass, named by an entry point in the group `scaledproc.settings`: each field is a flag,
with its help in the field's metadata. Their modules are light to import, since `--help` shows them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import Field, fields
from functools import cache, wraps
from typing import Annotated, Any

import typer

from scaledproc._util.entry_points import plugins
from scaledproc.cli.config_file import table
from scaledproc.errors import UsageError

GROUP = "scaledproc.settings"


@cache
def declared() -> dict[str, tuple[Field[Any], ...]]:
    """The fields of each backend's settings."""
    return {point.name: fields(point.load()) for point in plugins(GROUP)}


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
            field.name: _parameter(field, backend)
            for backend, found in declared().items()
            for field in found
            if (not only or field.name in only) and field.name not in own.parameters
        }

        @wraps(command)
        def called(**words: Any) -> None:
            given = {name: words.pop(name) for name in made}
            command(**words, settings={name: value for name, value in given.items() if value not in (None, [])})

        kept = [each for each in own.parameters.values() if each.name != "settings"]
        called.__signature__ = own.replace(parameters=[*kept, *made.values()])  # type: ignore[attr-defined]
        called.__annotations__ = {each.name: each.annotation for each in (*kept, *made.values())}
        return called

    return decorate


def settings_for(backend: str, given: dict[str, Any]) -> dict[str, Any]:
    """What a backend is set to: flags first, then its table in `scaledproc.toml`.

    Raises
    ------
    UsageError
        A flag is another backend's.
    """
    known = [field.name for field in declared().get(backend, ())]
    for name in given:
        if name not in known:
            others = " and ".join(each for each, found in declared().items() if name in {f.name for f in found})
            raise UsageError(f"--{name.replace('_', '-')} is for --backend {others}, this is --backend {backend}")
    return {**(table(backend, known) if known else {}), **given}


def _parameter(field: Field[Any], backend: str) -> inspect.Parameter:
    default = field.default
    flag = f"--{field.name.replace('_', '-')}"
    hint = "" if default in (None, (), False) else f" [dim]Default: {_shown(default)}.[/]"
    if _type(field) is bool:
        flag = f"{flag}/{flag.replace('--', '--no-', 1)}"
    option = typer.Option(
        flag,
        help=f"{field.metadata['help']}{hint}",
        metavar=field.metadata.get("metavar"),
        show_default=False,
        rich_help_panel=f"Backend {backend}",
    )
    annotation = Annotated[_type(field) | None, option]  # type: ignore[valid-type]
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _type(field: Field[Any]) -> type:
    """What the command line takes for a field: decided by its annotation's text, which is not imported."""
    text = str(field.type)
    for word, made in (("tuple", list[str]), ("bool", bool), ("int", int), ("float", float)):
        if text.startswith(word):
            return made
    return str


def _shown(default: Any) -> str:
    return ", ".join(map(str, default)) if isinstance(default, tuple) else str(default)
