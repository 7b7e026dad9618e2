"""Flags of a command, made of the options that a dataclass declares."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import wraps
from typing import Annotated, Any

import typer

from scaledproc._util.entry_points import plugins
from scaledproc._util.options import Declared, Kind, declared
from scaledproc.errors import UsageError

_TYPES: dict[Kind, Any] = {"flag": bool, "integer": int, "number": float, "text": str, "texts": list[str]}


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
        vars(called)["other_names"] = {name[2:]: each.flag[2:] for each in chosen for name in each.flags[1:]}
        vars(called)["rare"] = {each.name: each.flag for each in chosen if each.about.get("rare")}
        return called

    return decorate


def replace_parameter(
    command: Callable[..., None], own: inspect.Signature, name: str, made: Iterable[inspect.Parameter]
) -> None:
    """Give a command the signature that Typer reads: with these parameters in the place of the named one."""
    kept = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own.parameters.values()]
    at = next(at for at, each in enumerate(kept) if each.name == name)
    parameters = [*kept[:at], *made, *kept[at + 1 :]]
    command.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # what inspect reads
    command.__annotations__ = {each.name: each.annotation for each in parameters}


def option_parameter(
    each: Declared, flag: str, panel: str | None = None, name: str = "", *, hidden: bool = False
) -> inspect.Parameter:
    """An option as Typer takes it.

    Parameters
    ----------
    each
        What is declared of it.
    flag
        Its flag.
    panel
        Under which heading `--help` shows it: for a backend's setting, of which None is given where it is not set.
    name
        The command's parameter, where it is not called as the option.
    hidden
        Whether `--help` does not show it.
    """
    kind = _TYPES[each.kind]
    hint = f" [dim]Default: {each.default_text}.[/]" if each.default_text else ""
    # What a file has switched on can be switched off, and what is on, or neither, where nothing is said.
    is_pair = each.kind == "flag" and (panel is not None or each.command_default is not False)
    words = f"{flag}/{flag.replace('--', '--no-', 1)}" if is_pair else flag
    kind_of_plugin = each.about.get("completes")
    shown = typer.Option(
        words,
        help=f"{each.help}{hint}",
        metavar=each.about.get("metavar"),
        show_default=False,
        rich_help_panel=panel,
        hidden=hidden,
        autocompletion=names_of(kind_of_plugin) if kind_of_plugin else None,
    )
    default = None if panel is not None or each.kind == "texts" else each.command_default
    annotation: Any = Annotated[kind if each.kind == "flag" and default is not None else kind | None, shown]
    return inspect.Parameter(name or each.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def names_of(kind: str) -> Callable[[str], list[str]]:
    """What completes a word to the names of installed plug-ins, none of which is imported.

    Parameters
    ----------
    kind
        Of the plug-ins: `extractor` or `backend`.
    """

    def names(incomplete: str) -> list[str]:
        return [point.name for point in plugins(f"scaledproc.{kind}s") if point.name.startswith(incomplete)]

    return names


def flags_of(parameter: inspect.Parameter) -> list[str]:
    """The flags of a command's parameter; none where it is an argument."""
    for each in getattr(parameter.annotation, "__metadata__", ()):
        # Typer takes what stands first for a default, until it knows that it is within `Annotated`.
        words = [getattr(each, "default", None), *(getattr(each, "param_decls", None) or ())]
        flags = [flag for text in words if isinstance(text, str) for flag in text.split("/") if flag.startswith("-")]
        if flags:
            return flags
    return [f"--{parameter.name.replace('_', '-')}"]


def add_command(app: typer.Typer, command: Callable[..., None], name: str | None = None) -> None:
    """Add a command that also takes other names of its flags, such as Python's `--storage-options`.

    The help of one that has the settings of backends, or options that are rarely used, is short.
    """
    names, ambiguous = (vars(command).get(each, {}) for each in ("other_names", "ambiguous"))

    def real_name(word: str) -> str:
        if word in ambiguous:
            raise UsageError(ambiguous[word])
        return str(names.get(word, word))

    from scaledproc._util.command.long_help import ShortHelp, with_long_help

    given: dict[str, Any] = {"cls": ShortHelp}
    owners, rare = (vars(command).get(each, {}) for each in ("owners", "rare"))
    if owners or rare:
        command, given["cls"] = with_long_help(command, rare, owners)
    app.command(name, context_settings={"token_normalize_func": real_name}, **given)(command)


def _as_python_has_it(each: Declared, words: Any) -> Any:
    read = each.about.get("words")
    if read is not None:
        return read(words) if words else None
    return (words or ()) if each.kind == "texts" else words
