"""Flags of the command line, made of the options that `scaledproc.engine.options` and the backends declare."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import wraps
from typing import Annotated, Any

import typer

from scaledproc._util.options import Declared, Kind, declared

_TYPES: dict[Kind, Any] = {"flag": bool, "integer": int, "number": float, "text": str, "texts": list[str]}

AsJson = Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress, only the result.")]


def with_options(
    options: type, only: Collection[str] | None = None, *, first: Sequence[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the flags of a dataclass of options, in the place of its parameter `given`.

    The command takes as `given` a mapping of the options' names to what Python's functions take for them.

    Parameters
    ----------
    options
        The dataclass.
    only
        Names of options; all that have a flag where None is given.
    first
        Those that come before the others.
    """
    chosen = [each for each in declared(options) if each.flag and (only is None or each.name in only)]
    chosen.sort(key=lambda each: first.index(each.name) if each.name in first else len(first))

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True)
        made = {each.name: option_parameter(each, each.flag) for each in chosen}

        @wraps(command)
        def called(**words: Any) -> None:
            given = {each.name: _as_python_has_it(each, words.pop(each.name)) for each in chosen}
            command(**words, given=given)

        replace_parameter(called, own, "given", made.values())
        return called

    return decorate


def replace_parameter(
    command: Callable[..., None], own: inspect.Signature, name: str, made: Iterable[inspect.Parameter]
) -> None:
    """Give a command the signature that Typer reads: with these parameters in the place of the named one."""
    kept = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own.parameters.values()]
    at = next(at for at, each in enumerate(kept) if each.name == name)
    parameters = [*kept[:at], *made, *kept[at + 1 :]]
    command.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}


def option_parameter(each: Declared, flag: str, panel: str | None = None) -> inspect.Parameter:
    """An option as Typer takes it.

    Parameters
    ----------
    each
        What is declared of it.
    flag
        Its flag.
    panel
        Under which heading `--help` shows it.
    """
    kind = _TYPES[each.kind]
    hint = f" [dim]Default: {each.default_text}.[/]" if each.default_text else ""
    is_pair = each.kind == "flag" and panel is not None  # what a file has switched on can be switched off
    words = f"{flag}/{flag.replace('--', '--no-', 1)}" if is_pair else flag
    shown = typer.Option(
        words, help=f"{each.help}{hint}", metavar=each.about.get("metavar"), show_default=False, rich_help_panel=panel
    )
    default = None if panel is not None or each.kind == "texts" else each.command_default
    annotation: Any = Annotated[kind if each.kind == "flag" and not is_pair else kind | None, shown]
    return inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _as_python_has_it(each: Declared, words: Any) -> Any:
    read = each.about.get("words")
    if read is not None:
        return read(words) if words else None
    return (words or ()) if each.kind == "texts" else words


def is_from_file(ctx: typer.Context, option: str) -> bool:
    """Whether an option has its value from scaledproc.toml."""
    source = ctx.get_parameter_source(option)
    return source is not None and source.name == "DEFAULT_MAP"
