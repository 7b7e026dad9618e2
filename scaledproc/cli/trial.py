"""`scaledproc try`: one task, in this process, where its prints and a debugger are seen."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from scaledproc._util.command.flags import names_of, with_options
from scaledproc._util.process import startup
from scaledproc.cli.interaction import show
from scaledproc.cli.options.completion import run_folders
from scaledproc.cli.options.config_file import idle_tables, with_table
from scaledproc.cli.options.flags import AsJson
from scaledproc.engine.options import RunOptions
from scaledproc.errors import RunInterruptedError, TooManyFailuresError, UsageError

OPTIONS = (
    *("options", "unit", "anchor", "include", "exclude", "only", "hidden", "with_keys", "inventory"),
    *("storage_options", "scratch"),
)
_RECORD = "run.json"  # `run_folder.names` has it too, with Arrow's schemas
WIDTH = 120  # columns, where there is no terminal


def _extractor_or_run(incomplete: str) -> list[str]:
    return [*names_of("extractor")(incomplete), *run_folders(incomplete)]


@with_options(RunOptions, OPTIONS, first=OPTIONS)
def try_task(
    extractor: Annotated[
        str | None,
        typer.Argument(
            metavar="EXTRACTOR",
            show_default=False,
            autocompletion=_extractor_or_run,
            help="A built-in's name, [bold]package.module:name[/] or [bold]path/to/file.py:name[/]. Left out for a "
            "task of a run, it is the run's.",
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Argument(
            metavar="INPUT|OUTPUT#ANCHOR",
            show_default=False,
            help="The dataset, or one of its files: a path or a URL. Or the folder of a run, and the task.",
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Argument(
            metavar="TASK",
            show_default=False,
            help="An anchor, or a glob of some: the first one with rows is tried.",
        ),
    ] = None,
    failed: Annotated[
        int | None,
        typer.Option(metavar="N", show_default=False, help="The Nth of the quarantined tasks of the run in OUTPUT."),
    ] = None,
    pdb: Annotated[bool, typer.Option("--pdb", help="Stop in a debugger where the task fails.")] = False,
    *,
    given: dict[str, Any],
    as_json: AsJson = False,
) -> None:
    """Do one task of INPUT in this process, and show its rows; or a task of the run in OUTPUT.

    Nothing is written. What the extractor prints is shown, and breakpoint() works. Exit codes: 0 the task is done, 3 it
    failed, 1 it cannot be tried, 2 wrong usage, 130 after Ctrl-C.
    """
    from scaledproc._util.process.lazy_pandas import defer_pandas

    defer_pandas()
    from scaledproc import api
    from scaledproc.reporting.trial import trial_json, trial_text

    startup.loaded()
    startup.end()
    if pdb and as_json:
        raise UsageError("--pdb asks on standard output, where --json has its answer: leave one of them out")
    name, place = (None, extractor or "") if where is None else (extractor, where)
    if where is not None and task is None and (Path(extractor or "") / _RECORD).is_file():
        name, place = None, f"{extractor}#{where}"  # OUTPUT and the task as two words
    if name is not None:
        given["options"] = with_table(name, given["options"])
        if note := idle_tables(name):
            typer.echo(note, err=True)
    try:
        with _ends_told(), contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
            done = api.trial(name, place, task, failed=failed, on_error=_debug if pdb else _leave, **given)
    except KeyboardInterrupt:
        raise RunInterruptedError("interrupted: nothing was written", signal.SIGINT) from None
    if as_json:
        show(json.dumps(trial_json(done), indent=1))
    else:
        width = shutil.get_terminal_size((WIDTH, 24)).columns
        show(trial_text(done, width, trace=not pdb))
    if done.error is not None:
        raise typer.Exit(TooManyFailuresError.exit_code)


@contextlib.contextmanager
def _ends_told() -> Iterator[None]:
    """Say it where a task ends this process, which is otherwise gone without a word."""
    leave = os._exit
    own = os.getpid()

    def told(status: int) -> NoReturn:
        if os.getpid() == own:  # a child that a task forked may well end so
            text = f"scaledproc: the task ended its process by os._exit({status}); in a run it is quarantined for that"
            typer.echo(text, err=True)
            sys.stdout.flush()
            sys.stderr.flush()
        leave(status)

    was_enabled = faulthandler.is_enabled()
    if not was_enabled:  # tells of a crash, and where
        with contextlib.suppress(AttributeError, OSError, ValueError):  # standard error may be no file
            faulthandler.enable()
    os._exit = told
    try:
        yield
    finally:
        os._exit = leave
        if not was_enabled:
            faulthandler.disable()


def _leave(_: BaseException) -> None:
    """Leave it to what is shown at the end."""


def _debug(error: BaseException) -> None:
    """Show what a task failed with, and have a person look around there."""
    import pdb

    from scaledproc._util.redaction import redacted
    from scaledproc._util.text import clean_text
    from scaledproc.engine.trial import own_traceback
    from scaledproc.reporting.trial import trace_of

    typer.echo(clean_text(redacted(trace_of(error))), err=True)
    trace = own_traceback(error)
    if trace is None:
        typer.echo("no line of the extractor is at work any more: yield rows, to stop where one is made", err=True)
        return
    pdb.post_mortem(trace)
