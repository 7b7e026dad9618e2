"""`scaledproc extractors`, `inventory`, `verify`, `show`, `report`, `status`, `stop`: what is there, as it is."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from typing import Annotated, Any

import typer

from scaledproc._util.command.flags import names_of, with_options
from scaledproc._util.process import startup
from scaledproc.backend.settings import settings_of_one, with_settings
from scaledproc.cli.interaction import show, suggest
from scaledproc.cli.options.flags import AsJson, Finished, Output
from scaledproc.engine.options import SHOWN_EXAMPLES, SHOWN_TASKS, PlanOptions
from scaledproc.errors import UsageError


@with_options(PlanOptions, ("include", "exclude", "hidden", "inventory", "storage_options"))
def save_inventory(
    dataset: Annotated[str, typer.Argument(metavar="INPUT", help="The dataset: a folder or a URL.")],
    file: Annotated[str, typer.Argument(metavar="FILE", help="The Parquet file to write: a path or a URL.")],
    *,
    given: dict[str, Any],
) -> None:
    """List INPUT into FILE, which plan and run take with --inventory instead of listing INPUT again."""
    from scaledproc import api
    from scaledproc._util.text import bytes_text, clean_text, count_text

    startup.loaded()
    found = api.save_inventory(dataset, file, **given)
    for note in found.notes:
        typer.echo(f"note: {clean_text(note)}", err=True)
    typer.echo(f"{count_text(found.files.num_rows, 'file')} ({bytes_text(found.size)}) in {clean_text(file)}")


@with_options(PlanOptions, ("options",))
def extractors(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            show_default=False,
            autocompletion=names_of("extractor"),
            help="A built-in's name, [bold]package.module:name[/] or [bold]path/to/file.py:name[/]. Without it, all.",
        ),
    ] = None,
    *,
    given: dict[str, Any],
    as_json: AsJson = False,
) -> None:
    """Show the installed extractors with their options; or of one its unit, anchors, options and columns."""
    from scaledproc._util.process.lazy_pandas import defer_pandas

    defer_pandas()
    from scaledproc.reporting.extractors import WIDTH, all_json, all_text, extractor_json, extractor_text

    startup.loaded()
    width = shutil.get_terminal_size((WIDTH, 24)).columns
    if name is None:
        show(json.dumps(all_json(), indent=1) if as_json else all_text(width))
        return
    with contextlib.redirect_stdout(sys.stderr):  # what an extractor's module prints is no answer
        found = extractor_json(name, given["options"])
    show(json.dumps(found, indent=1) if as_json else extractor_text(found, width))


@with_options(PlanOptions, ("storage_options",))
def verify(
    output: Finished,
    inventory: Annotated[
        bool, typer.Option("--inventory", help="List the dataset too: are its files what the run listed?")
    ] = False,
    dataset: Annotated[
        str | None, typer.Option(show_default=False, help="Where the dataset is now; implies --inventory.")
    ] = None,
    *,
    given: dict[str, Any],
    as_json: AsJson = False,
) -> None:
    """Check a finished run against its plan: each task accounted for once, each file as it was written.

    All of OUTPUT is read. Exit codes: 0 all is well, 1 something is wrong.
    """
    from dataclasses import asdict

    from scaledproc import api
    from scaledproc.reporting import terminal
    from scaledproc.reporting.text import verified_text

    startup.loaded()
    with terminal.waiting("verifying", quiet=as_json):
        found = api.verify(output, dataset=dataset, inventory=inventory, **given)
    show(json.dumps({**asdict(found), "ok": found.ok}, indent=1) if as_json else verified_text(found))
    if not found.ok:
        raise typer.Exit(1)


@with_options(PlanOptions, ("storage_options",))
def show_tasks(
    output: Finished,
    most: Annotated[int, typer.Option(metavar="N", help="How many tasks and messages of each kind.")] = SHOWN_TASKS,
    ddl: Annotated[
        bool, typer.Option("--ddl", help="Show instead the statements that make its tables known to Amazon Athena.")
    ] = False,
    location: Annotated[
        str | None,
        typer.Option(
            metavar="URL", show_default=False, help="Where Athena finds OUTPUT in S3, if not there; for --ddl."
        ),
    ] = None,
    *,
    given: dict[str, Any],
    as_json: AsJson = False,
) -> None:
    """Show what became of a run's tasks: the slowest, those without rows, failures grouped by their messages."""
    from dataclasses import asdict

    from scaledproc import api
    from scaledproc.reporting import terminal
    from scaledproc.reporting.next_steps import after_show
    from scaledproc.reporting.overview import overview_text

    startup.loaded()
    if ddl:
        text = api.ddl(output, location=location, **given)
        show(json.dumps({"ddl": text}) if as_json else text.rstrip("\n"))
        return
    if location is not None:
        raise UsageError("--location is for --ddl")
    with terminal.waiting("looking", quiet=as_json):
        found = api.show(output, most=most, **given)
    show(json.dumps(asdict(found), indent=1) if as_json else overview_text(found))
    if not as_json:
        suggest(after_show(found))


@with_settings(recall=True)
@with_options(PlanOptions, ("options", "storage_options"))
def report(
    output: Output,
    is_open: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    file: Annotated[
        str | None,
        typer.Option("--output", metavar="FILE", show_default=False, help="Write it there, not to OUTPUT/report.html."),
    ] = None,
    examples: Annotated[
        int, typer.Option(metavar="N", help="Of how many tasks pieces of the data are drawn.")
    ] = SHOWN_EXAMPLES,
    no_examples: Annotated[
        bool, typer.Option("--no-examples", help="None at all: the page has nothing of the data's samples.")
    ] = False,
    *,
    given: dict[str, Any],
    settings: dict[str, Any],
) -> None:
    """Write a page that tells whether to trust the table: what is in it, what failed, where the time went.

    At any time, of a run that goes on elsewhere too. The page is one file that needs nothing else.
    """
    from scaledproc._util.process.lazy_pandas import defer_pandas

    defer_pandas()
    from scaledproc import api
    from scaledproc._util.text import clean_text
    from scaledproc.reporting import terminal

    startup.loaded()
    wanted = 0 if no_examples else examples
    with terminal.waiting("writing the report"):
        made = api.report(output, file, **given, examples=wanted, settings=settings_of_one(settings))
    typer.echo(f"the report: {clean_text(made)}")
    if is_open:
        from scaledproc.api.past_runs import written_report

        is_local = file is not None or "://" not in made
        _open(made, None if is_local else written_report(output, given["storage_options"], settings_of_one(settings)))


def _open(where: str, content: bytes | None) -> None:
    """Show a page in a browser; of one that lies elsewhere the content is put into a temporary file first."""
    import tempfile
    import webbrowser
    from pathlib import Path

    path = Path(where)
    if content is not None:
        with tempfile.NamedTemporaryFile(prefix="scaledproc-", suffix=".html", delete=False) as copy:
            copy.write(content)
        path = Path(copy.name)
    if not webbrowser.open(path.absolute().as_uri()):
        typer.echo(f"no browser was found to open {path}", err=True)


@with_settings(recall=True)
@with_options(PlanOptions, ("storage_options",))
def status(output: Output, *, given: dict[str, Any], as_json: AsJson = False, settings: dict[str, Any]) -> None:
    """Show how far a run is: which shards are done, at work, waiting, failed. From any machine that reads OUTPUT."""
    from scaledproc import api
    from scaledproc.reporting import terminal
    from scaledproc.reporting.next_steps import after_status
    from scaledproc.reporting.text import status_json, status_text

    startup.loaded()
    with terminal.waiting("looking", quiet=as_json):
        found = api.status(output, **given, settings=settings_of_one(settings))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    show(json.dumps(status_json(found), indent=1) if as_json else status_text(found, width))
    if not as_json:
        suggest(after_status(found))


@with_settings(recall=True)
@with_options(PlanOptions, ("storage_options",))
def stop(output: Output, *, given: dict[str, Any], settings: dict[str, Any]) -> None:
    """Stop the jobs of a run on a backend's machines. What they committed stays; the run's command continues."""
    from scaledproc import api
    from scaledproc._util.text import count_text

    startup.loaded()
    count = api.stop(output, **given, settings=settings_of_one(settings))
    typer.echo(f"{count_text(count, 'job')} told to stop" if count else "no job was at work")
