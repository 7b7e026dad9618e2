"""The command line: words in, exit code out. Each command is a function of the modules beside this one."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from scaledproc._util.command.config_file import EXTRACTOR, NAME, check_tables, table
from scaledproc._util.command.light_params import read_lightly
from scaledproc._util.entry_points import plugins
from scaledproc._util.options import declared
from scaledproc.backend.settings import SETTING, declared_settings
from scaledproc.cli.commands import MARKUP, Commands
from scaledproc.cli.options.completion import INSTALLERS, install_by_name, of_group
from scaledproc.engine.options import RunOptions
from scaledproc.errors import ScaledprocError, UsageError

COMMANDS = "scaledproc.commands"  # the group of entry points: Typer apps
_ALIKE = 0.8  # as difflib measures it
WITH_TABLE = ("run", "plan", "try")
"""Commands whose options scaledproc.toml may set."""


class _RunByDefault(TyperGroup):
    """`scaledproc INPUT OUTPUT` is `scaledproc run INPUT OUTPUT`. A command is imported when it is named."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.commands = Commands()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own = {"-h", "--help", "--version", *INSTALLERS}
        if args and args[0] not in self.commands and args[0].partition("=")[0] not in own:
            points = plugins(COMMANDS, args[0])
            for point in points:
                self.add_command(typer.main.get_command(point.load()), point.name)
            if not points:
                if not ctx.resilient_parsing:
                    self._refuse_misspelt(args[0], is_alone=len(args) == 1)
                args = ["run", *args]
        installs = any(word.partition("=")[0] in INSTALLERS for word in args)
        if not ctx.resilient_parsing:  # a shell that asks what could come next is told of no mistake
            ctx.default_map = _configured(self.commands, args[0] if args else "")
        try:
            if installs and not ctx.resilient_parsing:
                install_by_name(args)
            return super().parse_args(ctx, args)
        except OSError as error:
            if not installs:
                raise
            raise ScaledprocError(
                f"completion cannot be installed ({error.filename}: {error.strerror}); scaledproc --show-completion "
                "prints what would be, for a file of your own"
            ) from None

    def get_params(self, ctx: Any) -> list[Any]:
        found = super().get_params(ctx)
        read_lightly(found)
        return found

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        return of_group(self, ctx, incomplete, super().shell_complete(ctx, incomplete), COMMANDS)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            if type(error).__name__ == "NoSuchOption":
                from difflib import get_close_matches

                found = vars(error)
                close = get_close_matches(found["option_name"], found["possibilities"] or (), cutoff=_ALIKE)
                found["possibilities"] = ()  # click's are often far from what was meant, and in the alphabet's order
                if found["option_name"] == "--extractor" and ctx.invoked_subcommand == "try":
                    found["message"] += "; try has it as its first word: scaledproc try EXTRACTOR INPUT [TASK]"
                elif close:
                    found["message"] += f"; is {' or '.join(close)} meant?"
                elif ctx.invoked_subcommand in ("run", "plan", "combine", "try"):
                    found["message"] += "; an option of the extractor is given as --set NAME=VALUE"
            elif ctx.invoked_subcommand == "show" and "extra argument" in str(vars(error).get("message")):
                vars(error)["message"] += "; scaledproc try OUTPUT TASK shows what becomes of one task"
            raise

    def _refuse_misspelt(self, word: str, *, is_alone: bool) -> None:
        """See that a word that is no command is not meant to be one; what exists is an INPUT, whatever it is called."""
        if not re.fullmatch(r"[A-Za-z-]+", word) or word.startswith("-") or Path(word).exists():
            return
        from difflib import get_close_matches

        names = [*self.commands, *(point.name for point in plugins(COMMANDS))]
        if found := get_close_matches(word.lower(), names, n=1, cutoff=0.7):
            raise UsageError(f"there is neither a command nor a folder {word!r}: is {found[0]!r} meant?")
        if is_alone:
            raise UsageError(f"there is neither a command nor a folder {word!r}; scaledproc --help lists the commands")

    def format_help(self, ctx: Any, formatter: Any) -> None:
        for point in plugins(COMMANDS):
            self.add_command(
                TyperCommand(point.name, help=f"More commands; see scaledproc {point.name} --help."), point.name
            )
        from scaledproc._util.command.long_help import unbroken, without_types

        without_types(self.get_params(ctx))
        self.help = unbroken(self.help)
        super().format_help(ctx, formatter)


def _configured(commands: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    """What `[run]` in scaledproc.toml sets, for a command that has such options."""
    check_tables(["run", EXTRACTOR, *declared_settings()])
    if name not in WITH_TABLE:
        return {}
    # By their flags, so that --json is `json` there too; or as Python calls them.
    flags = {
        each: {_flag_of(param): param for param in commands[each].params if param.param_type_name == "option"}
        for each in {"run", name}
    }
    options = declared(RunOptions)
    left_out = {"help", "help_all", *(_key(each.flag) for each in options if not each.about["in_file"])}
    own = {key for key, param in flags["run"].items() if not param.name.startswith(SETTING)} - left_out
    of_python = {each.name: _key(each.flag) for each in options if _key(each.flag) in own}
    values = {of_python.get(key, key): value for key, value in table("run", own | of_python.keys()).items()}
    return {name: _for_click(values, flags[name])}


def _key(flag: str) -> str:
    return flag.lstrip("-").replace("-", "_")


def _flag_of(param: Any) -> str:
    return _key(max(param.opts, key=len))


def _for_click(values: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    """What a file sets, as click has it: `many` can be repeated."""
    found = {}
    for name, given in values.items():
        is_table = name == "storage_option" and isinstance(given, dict)
        value = [f"{key}={json.dumps(each)}" for key, each in given.items()] if is_table else given
        if isinstance(value, dict) or (isinstance(value, list) and name in flags and not flags[name].multiple):
            raise UsageError(f"{NAME}: [run] {name}: give one value, not {value!r}")
        if name in flags:
            found[flags[name].name] = [value] if flags[name].multiple and not isinstance(value, list) else value
    return found


app = typer.Typer(
    cls=_RunByDefault,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=MARKUP,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="[bold]scaledproc --backend local[/] alone runs on a small demo dataset that it makes.",
)


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Turn a tree of interdependent files into one Parquet table of features.

    [bold]scaledproc --backend local INPUT OUTPUT[/] runs the whole job; the same command again continues after a
    stop. See [bold]scaledproc run --help[/] for its options.
    """
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"scaledproc {installed('scaledproc')}")
        raise typer.Exit


def _check_folder() -> None:
    try:
        Path.cwd()
    except OSError as error:
        raise UsageError(f"the working folder is gone ({error.strerror}): cd into one that is there") from None


def main() -> None:
    """Run the command that this process was started with."""
    from scaledproc._util.process.machine import raise_file_limit, shortage
    from scaledproc._util.process.streams import keep_streams

    keep_streams()
    raise_file_limit()
    try:
        _check_folder()
        app()
    except ScaledprocError as error:
        from scaledproc._util.redaction import redacted
        from scaledproc._util.text import clean_text

        typer.echo(f"scaledproc: {clean_text(redacted(str(error)))}", err=True)
        sys.exit(error.exit_code)
    except Exception as error:
        if (reason := shortage(error)) is not None:
            typer.echo(f"scaledproc: {type(error).__name__}: {reason}", err=True)
            sys.exit(1)
        # Our own fault: as Python shows it, but for what must not be shown.
        import traceback

        from scaledproc._util.redaction import redacted

        typer.echo(redacted(traceback.format_exc()), err=True, nl=False)
        sys.exit(1)
    finally:
        _end_children()


def _end_children() -> None:
    """End processes that tasks left behind in this one: Python would wait for them, for ever maybe."""
    if "multiprocessing" not in sys.modules:
        return
    import multiprocessing

    # Those of loky end with this process, and cannot be ended like these.
    children = [each for each in multiprocessing.active_children() if "loky" not in type(each).__module__]
    for child in children:
        child.terminate()
    for child in children:
        child.join(1)
        child.kill()  # which also ends one that leaves SIGTERM to itself
