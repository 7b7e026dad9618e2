"""`scaledproc fetch`: a dataset to where a run can read it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scaledproc._util.command.flags import with_options
from scaledproc._util.process import startup
from scaledproc.cli.interaction import continuable, suggest
from scaledproc.cli.options.flags import AsJson, Quiet
from scaledproc.engine.options import FetchOptions

if TYPE_CHECKING:
    from scaledproc.events import Event


@with_options(FetchOptions)
def fetch(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A folder, a URL, or a PhysioNet database such as [bold]mimic3wdb/1.0[/]."
        ),
    ],
    dest: Annotated[str, typer.Argument(metavar="DEST", help="The folder to copy to: a path or a URL.")],
    *,
    given: dict[str, Any],
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Copy a dataset, or a part of it, to a folder or to S3: from PhysioNet or from any folder or URL.

    The same command again fetches only what is not there. Exit codes: 0 all is there, 1 something could not be
    fetched, 2 wrong usage.
    """
    from dataclasses import asdict

    from scaledproc import api
    from scaledproc.reporting import terminal
    from scaledproc.reporting.next_steps import after_fetch
    from scaledproc.reporting.text import fetched_text

    startup.loaded()
    # What is told goes to standard error, whatever of JSON: the answer is one object.
    with terminal.waiting("looking", quiet=quiet or as_json) as display, continuable():
        done = api.fetch(source, dest, **given, on_event=_tell_note if quiet and not as_json else display.listen)
    typer.echo(json.dumps(asdict(done)) if as_json else fetched_text(done))
    if not (quiet or as_json or done.failed):
        suggest(after_fetch(done.dest))
    if done.failed:
        raise typer.Exit(1)


def _tell_note(event: Event) -> None:
    """Tell what was left out, say, also where no progress is shown: nothing else keeps it."""
    from scaledproc._util.text import clean_text
    from scaledproc.events import Note

    if isinstance(event, Note):
        typer.echo(f"note: {clean_text(event.text)}", err=True)
