"""`scaledproc doctor`: whether this machine is fit for a run."""

from __future__ import annotations

import json
import shutil
from typing import Annotated, Any

import typer

from scaledproc._util.command.flags import with_options
from scaledproc._util.process import startup
from scaledproc.cli.interaction import show
from scaledproc.cli.options.flags import AsJson
from scaledproc.engine.options import RunOptions

WIDTH = 100  # columns, where there is no terminal


@with_options(RunOptions, ("jobs", "scratch", "storage_options"))
def doctor(
    places: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PLACE",
            show_default=False,
            help="Folders and URLs to reach as well, such as s3://bucket/prefix.",
        ),
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Also write a small file into each PLACE, and remove it again.")
    ] = False,
    *,
    given: dict[str, Any],
    as_json: AsJson = False,
) -> None:
    """Show whether this machine is fit for a run, and what to do about what is not.

    Cores, memory, scratch space and its speed, locks, open files, versions, extras, Docker, Slurm; each is fine, a
    worry or missing. Nothing beyond this machine is reached, but for each PLACE. Exit codes: 0 nothing would stop a
    run, 1 something would.
    """
    from scaledproc import api
    from scaledproc.reporting import terminal
    from scaledproc.reporting.doctor import diagnosis_text

    startup.loaded()
    with terminal.waiting("examining this machine", quiet=as_json):
        found = api.doctor(places or (), **given, write=write)
    width = shutil.get_terminal_size((WIDTH, 24)).columns
    show(json.dumps(found.to_dict(), indent=1) if as_json else diagnosis_text(found, width))
    if not found.ok:
        raise typer.Exit(1)
