"""`scaledproc worker`: one job of a run, as backends call it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from scaledproc._util.process import startup
from scaledproc.cli.flags import with_options
from scaledproc.cli.job_events import tell
from scaledproc.engine.options import RunOptions


@with_options(RunOptions, ("jobs", "storage_options", "scratch"))
def worker(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The folder of a run that was begun.")],
    shard: Annotated[
        list[str] | None,
        typer.Option(metavar="N|N-M,…", show_default=False, help="Macro shards to make; can be repeated."),
    ] = None,
    combine: Annotated[bool, typer.Option("--combine", help="Combine the shards.")] = False,
    finish: Annotated[bool, typer.Option("--finish", help="End the run after combining: nobody watches.")] = False,
    extractor: Annotated[str | None, typer.Option(show_default=False, help="Where the extractor is here.")] = None,
    code: Annotated[str | None, typer.Option(show_default=False, help="Folder of modules for the extractor.")] = None,
    report: Annotated[str | None, typer.Option(show_default=False, help="Tell how it goes on.")] = None,
    *,
    given: dict[str, Any],
    grace: Annotated[
        str | None,
        typer.Option(metavar="SECONDS", show_default="90", help="Time to finish chunks at work, when told to end."),
    ] = None,
) -> None:
    """Do jobs of a run on this machine, as a backend's machines do; tells what happened as JSON."""
    from scaledproc._util.process.lazy_pandas import defer_pandas

    defer_pandas()
    from scaledproc.api import split_options
    from scaledproc.engine.job import JobOrder, do_job, parse_shards

    startup.loaded()
    inputs, outputs = split_options(given["storage_options"])
    order = JobOrder(
        run=run,
        shards=parse_shards(shard or ()),
        combine=combine,
        finish=finish,
        extractor=extractor,
        code=code,
        report=report,
        jobs=given["jobs"],
        scratch=Path(given["scratch"]) if given["scratch"] else None,
        inputs=inputs,
        outputs=outputs,
    )
    tell(do_job(order), grace)
