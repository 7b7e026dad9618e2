"""What the Tab key offers: commands, options, names of what is installed, folders of runs. Fast, and never an error.

Where nothing is offered, the shell completes the names of files and folders, as it does for any other command.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from scaledproc._util.entry_points import plugins
from scaledproc.errors import UsageError

INSTALL, SHOW = "--install-completion", "--show-completion"
INSTALLERS = frozenset({INSTALL, SHOW})
RECORD = "run.json"
"""As `run_folder/names.py` has it, which takes a tenth of a second to import."""
LOOKED_AT = 2000
"""Entries of a folder, of which no more are looked at: a key is waited for."""
SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")
_PLAIN = re.compile(r"[\w./~+@%,-]+")  # what no shell takes for anything but a name


def install_by_name(words: Sequence[str]) -> None:
    """Install, or show, the completion of the shell that is named, and end; do nothing where none is.

    Raises
    ------
    UsageError
        If there is no such shell.
    """
    from difflib import get_close_matches

    import typer

    try:
        from typer._completion_shared import get_completion_script, install  # Typer has no public names for them
    except ImportError:  # then its own options do it, for the shell that it finds
        return
    option, equals, shell = words[0].partition("=")
    shell = shell if equals else words[1] if len(words) > 1 else ""
    if option not in INSTALLERS or (not shell and not equals) or shell.startswith("-"):
        return
    if shell not in SHELLS:
        close = get_close_matches(shell, SHELLS, n=1)
        hint = f" is {close[0]!r} meant?" if close else ""
        raise UsageError(f"{option}: no shell is called {shell!r};{hint} there are {', '.join(SHELLS)}")
    if option == SHOW:
        typer.echo(get_completion_script(prog_name="scaledproc", complete_var="_SCALEDPROC_COMPLETE", shell=shell))
    else:
        _, path = install(shell=shell, prog_name="scaledproc", complete_var="_SCALEDPROC_COMPLETE")
        typer.echo(f"{shell} completion installed in {path}")
        typer.echo("Completion will take effect once you restart the terminal")
    raise typer.Exit


def run_folders(incomplete: str) -> list[str]:
    """The local folders of runs that begin with what is typed.

    A name that would have to be quoted is left to the shell, which knows how.
    """
    return [found for found in _folders(incomplete) if (Path(found).expanduser() / RECORD).is_file()]


def folders(incomplete: str) -> list[str]:
    """The local folders that begin with what is typed."""
    return list(_folders(incomplete))


def _folders(incomplete: str) -> Iterator[str]:
    before, slash, start = incomplete.rpartition("/")
    typed = f"{before}{slash}"
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # RuntimeError: nobody has such a home
        with os.scandir(Path(typed or ".").expanduser()) as entries:
            found = sorted(
                each.name
                for each in islice(entries, LOOKED_AT)
                if each.name.startswith(start) and (start or not each.name.startswith(".")) and each.is_dir()
            )
        yield from (f"{typed}{name}" for name in found if _PLAIN.fullmatch(f"{typed}{name}"))


def of_group(group: Any, ctx: Any, incomplete: str, found: list[Any], commands: str) -> list[Any]:
    """What can stand where a command's name can: that, or what stands where `run` is left out.

    Parameters
    ----------
    group, ctx, incomplete
        As Typer's groups have them; `run` is one of its commands.
    found
        What Typer's group offers.
    commands
        The group of entry points of further commands.
    """
    from typer._click.shell_completion import CompletionItem  # Typer has no public name for it

    items = {item.value: item for item in found}
    if incomplete.startswith("-"):
        run = group.commands["run"]
        with run.make_context("run", [], parent=ctx, resilient_parsing=True) as inner:
            items = {item.value: item for item in run.shell_complete(inner, incomplete)} | items
        return list(items.values())
    for point in plugins(commands):
        if point.name.startswith(incomplete):
            items.setdefault(point.name, CompletionItem(point.name, help="More commands."))
    if items and incomplete:  # INPUT; where no command begins so, the shell completes it better
        for name in folders(incomplete):
            items.setdefault(name, CompletionItem(name, help="A folder."))
    return list(items.values())
