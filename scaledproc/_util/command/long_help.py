"""The help of a command with very many options: what is used most, and where the rest is shown."""

from __future__ import annotations

import copy
import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Annotated, Any, ClassVar

import typer

from scaledproc._util.command.light_params import LightCommand

HELP_ALL = "--help-all"
_WORDS = "scaledproc.words"


def without_types(parameters: Iterable[Any]) -> None:
    """Have help show what a person writes for a value, and not of which type the value is in Python."""
    for each in parameters:
        is_value = each.param_type_name == "option" and not getattr(each, "is_flag", False)
        number = getattr(getattr(each, "type_descriptor", None), "annotation", str) in (int, float)
        word = (each.metavar or ("N" if number else "TEXT")) if is_value else ""
        vars(each)["display_type_rich"] = lambda ctx, word=word: word  # noqa: ARG005 - as Typer calls it


def unbroken(text: str | None) -> str:
    """Paragraphs without the line ends of the code, as a terminal has its own."""
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(text or ""))
    return "\n\n".join(" ".join(each.split()) for each in paragraphs)


class ShortHelp(LightCommand):
    """A command whose help says no more than a person types."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.help = unbroken(self.help)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ARG002 - as Typer calls it
        """The words behind the command's name."""
        words = [each for each in self.params if each.param_type_name == "argument"]
        named = [(each.required, each.metavar or str(each.name).upper()) for each in words]
        return ["[OPTIONS]", *(name if is_required else f"[{name}]" for is_required, name in named)]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Show the help, without types."""
        without_types([*self.params, *self.get_params(ctx)])
        super().format_help(ctx, formatter)


class LongHelp(ShortHelp):
    """A command whose `--help` shows what is used most; `--help-all` shows all, and `--backend NAME --help` a backend.

    All options are known to the parser and to the shell's completion, whatever is shown.
    """

    rare: ClassVar[Mapping[str, str]] = {}
    """The flags of options that `--help` only names, by the names of the command's parameters."""
    owners: ClassVar[Mapping[str, str]] = {}
    """The backends of settings, which are shown where their backend is chosen, by the names of parameters."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._is_short = False
        self._chosen = ""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words, which are kept: `--help` is done before `--backend` has its value."""
        ctx.meta[_WORDS] = list(args)
        return super().parse_args(ctx, args)

    def get_params(self, ctx: Any) -> list[Any]:
        """All parameters; while help is made, those that it shows."""
        found = super().get_params(ctx)
        return [_positive(each) for each in found if self._is_shown(str(each.name))] if self._is_short else found

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Show what is used most."""
        self._chosen = _chosen_backend(ctx)
        self._is_short, epilog = True, self.epilog
        self.epilog = self._rest_text()
        try:
            super().format_help(ctx, formatter)
        finally:
            self._is_short, self.epilog = False, epilog

    def _is_shown(self, name: str) -> bool:
        return name not in self.rare and self.owners.get(name, self._chosen) == self._chosen

    def _rest_text(self) -> str:
        """Where the options are that are not shown."""
        texts = []
        if self.rare:
            texts.append(f"With [bold]--help-all[/]: {', '.join(self.rare.values())}.")
        counts = Counter(owner for owner in self.owners.values() if owner != self._chosen)
        if counts and not any(each.name == "backend" for each in self.params):
            texts.append("With [bold]--help-all[/]: what the backend of a run may have to be asked with.")
        elif counts:
            backends = ", ".join(f"{owner} ({count} settings)" for owner, count in counts.items())
            texts.append(f"With [bold]--backend NAME --help[/], or [bold]--help-all[/]: those of {backends}.")
        return "\n\n".join(texts)

    def show_all(self, ctx: Any) -> None:
        """Show all options."""
        super().format_help(ctx, ctx.make_formatter())


def _positive(parameter: Any) -> Any:
    """A flag without the one that switches it off, which would take a column of its own; that of what is on instead."""
    if not parameter.secondary_opts:
        return parameter
    shown = copy.copy(parameter)
    shown.secondary_opts = []
    if parameter.default:
        shown.opts = parameter.secondary_opts
        shown.help = f"Switch off: {parameter.help[:1].lower()}{parameter.help[1:]}"
    return shown


def _show_all(ctx: typer.Context, is_asked: bool) -> None:
    if is_asked and not ctx.resilient_parsing and isinstance(ctx.command, LongHelp):
        ctx.command.show_all(ctx)
        raise typer.Exit


_HelpAll = Annotated[
    bool,
    typer.Option(HELP_ALL, is_eager=True, callback=_show_all, help="Show all options and exit."),
]


def with_long_help(
    command: Callable[..., None], rare: Mapping[str, str], owners: Mapping[str, str]
) -> tuple[Callable[..., None], type[LongHelp]]:
    """A command with the flag that shows all its options, and the class that Typer is to make of it.

    Parameters
    ----------
    command
        A function with the signature that Typer reads.
    rare, owners
        As `LongHelp` has them.
    """
    own = inspect.signature(command, eval_str=True)
    last = inspect.Parameter("help_all", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=_HelpAll)

    @wraps(command)
    def called(*, help_all: bool, **words: Any) -> None:  # noqa: ARG001 - which has been seen to
        command(**words)

    vars(called)["__signature__"] = own.replace(parameters=[*own.parameters.values(), last])
    called.__annotations__ = {each.name: each.annotation for each in (*own.parameters.values(), last)}
    return called, type("Command", (LongHelp,), {"rare": rare, "owners": owners})


def _chosen_backend(ctx: Any) -> str:
    """The backend that the words name, or scaledproc.toml."""
    words = ctx.meta.get(_WORDS, [])
    for word, after in zip(reversed(words), ["", *reversed(words)], strict=False):
        if found := re.fullmatch(r"--backend(?:=(.*))?", word):
            return str(after if found[1] is None else found[1])
    return str((ctx.default_map or {}).get("backend") or "")
