"""`scaledproc run`, `plan` and `combine`: from a dataset to its table."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scaledproc._util.command.config_file import NAME
from scaledproc._util.command.flags import with_options
from scaledproc._util.options import declared, read_options
from scaledproc._util.process import startup
from scaledproc.backend.settings import settings_for, with_settings
from scaledproc.cli.interaction import ask, continuable, failure_told, show, suggest, words_shown
from scaledproc.cli.options.completion import run_folders
from scaledproc.cli.options.config_file import idle_tables, with_table
from scaledproc.cli.options.flags import AsJson, Output, Quiet, is_from_file
from scaledproc.engine.options import RUN_FLAGS, PlanOptions, RunOptions
from scaledproc.errors import RunInterruptedError, ScaledprocError, TooManyFailuresError, UsageError

if TYPE_CHECKING:
    from scaledproc.backend.base import Backend
    from scaledproc.planning.plan import Plan

DEMO = "scaledproc-demo"
_RECORD = "run.json"  # `run_folder.names` has it too, with Arrow's schemas
FIRST = ("backend", "extractor", "options", "unit", "anchor")


@with_settings()
@with_options(RunOptions, first=FIRST)
def run(
    ctx: typer.Context,
    dataset: Annotated[
        str | None,
        typer.Argument(
            metavar="INPUT",
            show_default=False,
            help="The dataset: a folder or a URL such as s3://bucket/prefix. Without it, a demo dataset.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Argument(metavar="OUTPUT", show_default=False, help="The folder to write: a path or a URL."),
    ] = None,
    *,
    given: dict[str, Any],
    quiet: Quiet = False,
    as_json: AsJson = False,
    settings: dict[str, Any],
) -> None:
    """Run the whole job: INPUT in, one table of features in OUTPUT (the command when none is named).

    The same command again continues after a stop. Exit codes: 0 all tasks done or failures within --max-failures,
    3 more tasks quarantined than that, 1 the run failed, 2 wrong usage, 4 another run is at work on OUTPUT, 130 and
    143 after Ctrl-C and SIGTERM.
    """
    light = {name: given[name] for name in ("max_failures", "grace")}
    grace = read_options(RunOptions, light)["grace"]
    from scaledproc.backend.registry import make_backend

    given["options"] = with_table(given["extractor"], given["options"])
    made = {name: given.pop(name) for name in ("backend", "jobs", "scratch", "grace")}
    backend = str(made["backend"])
    machine = make_backend(backend, made["jobs"], made["scratch"], settings_for(backend, settings, RUN_FLAGS))
    if dataset is None:
        RunOptions.parse({**given, **made})  # what cannot be is told before anything is written
        startup.loaded()
        dataset, output = _demo(quiet=quiet or as_json), DEMO
    elif output is None:
        raise UsageError("name the folder to write: scaledproc --backend local INPUT OUTPUT")
    with _starting(machine, dataset, output, {**given, **made}):
        from scaledproc._util.process.lazy_pandas import defer_pandas

        defer_pandas()
        from scaledproc import api
        from scaledproc.reporting import terminal

        try:
            startup.loaded()
        except KeyboardInterrupt:
            raise RunInterruptedError("interrupted: nothing was written", signal.SIGINT) from None
        with (
            terminal.choose(quiet=quiet, as_json=as_json) as display,
            failure_told(display.listen if as_json else None),
            continuable(grace),
        ):
            from scaledproc.events import Note

            if note := idle_tables(given["extractor"]):
                display.listen(Note(note))
            if is_from_file(ctx, "chunk"):
                display.listen(Note(f"cut for cores: --chunk {given['chunk']}, from {NAME}"))
            on_event = _Results(display.listen, silent=as_json, suggests=not quiet).listen
            try:
                api.run(dataset, output, **given, backend=machine, on_event=on_event, ask=partial(ask, display.pause))
            except TooManyFailuresError as error:  # the result says how many there are
                raise typer.Exit(error.exit_code) from None


@with_settings()
@with_options(RunOptions, [*(each.name for each in declared(PlanOptions)), "backend"], first=FIRST)
def plan(
    ctx: typer.Context,
    dataset: Annotated[str, typer.Argument(metavar="INPUT", help="The dataset: a folder or a URL.")],
    *,
    given: dict[str, Any],
    update: Annotated[
        str | None,
        typer.Option(
            metavar="OUTPUT",
            show_default=False,
            help="Show what --update would do to the run in this folder.",
            autocompletion=run_folders,
        ),
    ] = None,
    as_json: AsJson = False,
    settings: dict[str, Any],
) -> None:
    """Show what a run would do: shards, sizes, balance, chunks, warnings; what its backend tells of time and price."""
    from scaledproc._util.process.lazy_pandas import defer_pandas

    defer_pandas()
    from scaledproc import api
    from scaledproc.reporting import terminal
    from scaledproc.reporting.next_steps import after_plan
    from scaledproc.reporting.text import plan_json, plan_text, reused_text

    startup.loaded()
    backend, jobs = given.pop("backend"), given.pop("jobs")
    machine = api.make_backend(backend, jobs, None, settings_for(backend, settings, RUN_FLAGS))
    given["options"] = with_table(given["extractor"], given["options"])
    if note := idle_tables(given["extractor"]):
        typer.echo(note, err=True)
    on, chunk = machine.cores, given["chunk"]
    about = {name: given[name] for name in ("extractor", "options", "storage_options")}
    with (
        terminal.waiting("planning", quiet=as_json),
        contextlib.redirect_stdout(sys.stderr),  # what an extractor's module prints is not the plan
    ):
        found = None
        if update is None:
            made: Plan = api.plan(dataset, **given, jobs=on)
        else:
            made, found = api.plan_update(dataset, update, **given, jobs=on)
        expected = api.expect(made, machine, dataset, **about) if made.n_tasks else None
    lines = [] if expected is None else list(expected.lines)
    source = NAME if is_from_file(ctx, "chunk") else None
    if source and made.n_tasks:
        lines.insert(0, f"cut for cores: --chunk {chunk}, from {source}")
    if found is not None:
        lines.insert(0, reused_text(found.text, found.tasks - found.todo))
    content = (
        plan_json(made, on)
        | ({} if found is None else {"update": {"tasks": found.tasks, "todo": found.todo, **found.reasons}})
        | {"chunk": chunk, "chunk_from": source}
        | ({} if expected is None else {"expected": expected.content})
    )
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    shown = plan_text(made, on, width)
    show(json.dumps(content, indent=1) if as_json else "\n".join([*([shown] if shown else []), *lines]))
    if made.n_tasks and not as_json:
        suggest(after_plan(words_shown(), update))
    if not made.n_tasks and not (found and found.tasks):
        raise typer.Exit(1)


@with_options(RunOptions, ("options", "table", "storage_options"))
def combine(
    output: Output,
    *,
    given: dict[str, Any],
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write the table and the summaries of a run anew from its shards, without extracting again."""
    from scaledproc._util.process.lazy_pandas import defer_pandas

    defer_pandas()
    from scaledproc import api
    from scaledproc.reporting import terminal

    startup.loaded()
    display = (
        terminal.JsonProgress()
        if as_json
        else terminal.Progress()
        if quiet
        else terminal.PlainProgress(beginning="combining")
    )
    with display:
        api.combine(output, **given, on_event=display.listen)


def _starting(
    machine: Backend, dataset: str, output: str, given: Mapping[str, Any]
) -> contextlib.AbstractContextManager[object]:
    """What a backend begins at once for a new run of local folders, so that it is done once all is imported.

    Nothing where there may be nothing to do, or something is wrong, which is told later.
    """
    with contextlib.ExitStack() as held:
        if any("://" in where or "::" in where for where in (dataset, output)):
            return contextlib.nullcontext()
        try:
            is_there = (Path(output) / _RECORD).exists() and not given["overwrite"]
            if not is_there and Path(dataset).is_dir():
                startup.hold()
                held.enter_context(machine.starting(RunOptions.parse(given).limits))
        except (OSError, ScaledprocError):
            return contextlib.nullcontext()
        return held.pop_all()


class _Results:
    """Shows the end of a run on standard output, after the progress display has heard of everything."""

    def __init__(self, listen: Any, *, silent: bool, suggests: bool) -> None:
        self._listen = listen
        self._silent = silent
        self._suggests = suggests

    def listen(self, event: Any) -> None:
        self._listen(event)
        if not self._silent:
            from scaledproc.events import Detached, RunFinished
            from scaledproc.reporting.next_steps import after_run
            from scaledproc.reporting.text import finished_text

            if not isinstance(event, (RunFinished, Detached)):
                return
            typer.echo(finished_text(event) if isinstance(event, RunFinished) else event.text)
            if self._suggests:
                suggest(after_run(event))


def _demo(*, quiet: bool) -> str:
    from scaledproc.demo import write_demo
    from scaledproc.storage.store import describe

    folder = Path(DEMO) / "dataset"
    if not quiet:
        what = "is used" if folder.exists() else "is made"
        typer.echo(f"no INPUT was given: a small demo dataset {what}, {folder}", err=True)
    try:
        return str(write_demo(folder))
    except OSError as error:
        raise ScaledprocError(f"the demo dataset cannot be written to {folder}: {describe(error)}") from None
