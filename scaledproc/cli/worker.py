"""`scaledproc worker`: one job of a run, as backends call it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from scaledproc._util import startup
from scaledproc.cli.flags import with_options
from scaledproc.engine.options import RunOptions


@with_options(RunOptions, ("jobs", "storage_options", "scratch"))
def worker(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The folder of a run that was begun.")],
    shard: Annotated[
        list[str] | None,
        typer.Option(metavar="N|N-M,…", show_default=False, help="Macro shards to make; can be repeated."),
    ] = None,
    combine: Annotated[bool, typer.Option("--combine", help="Combine the shards.")] = False,
    by_host: Annotated[bool, typer.Option("--by-host", help="Only this machine's share of them.")] = False,
    present: Annotated[bool, typer.Option("--present", help="Only tasks whose files are here.")] = False,
    parts: Annotated[str | None, typer.Option(show_default=False, help="Job whose parts to put together.")] = None,
    finish: Annotated[bool, typer.Option("--finish", help="End the run after combining: nobody watches.")] = False,
    dataset: Annotated[str | None, typer.Option(show_default=False, help="Where the dataset is here.")] = None,
    output: Annotated[
        str | None, typer.Option(show_default=False, help="Leave results here; RUN is a folder of what was mounted.")
    ] = None,
    extractor: Annotated[str | None, typer.Option(show_default=False, help="Where the extractor is here.")] = None,
    code: Annotated[str | None, typer.Option(show_default=False, help="Folder of modules for the extractor.")] = None,
    shared: Annotated[
        str | None, typer.Option(show_default=False, help="Folder of the files that the extractor reads for all tasks.")
    ] = None,
    report: Annotated[str | None, typer.Option(show_default=False, help="Tell how it goes on.")] = None,
    *,
    given: dict[str, Any],
    grace: Annotated[
        str | None,
        typer.Option(metavar="SECONDS", show_default="90", help="Time to finish chunks at work, when told to end."),
    ] = None,
) -> None:
    """Do jobs of a run on this machine, as a backend's machines do; tells what happened as JSON."""
    from scaledproc._util.lazy_pandas import defer_pandas

    defer_pandas()
    from scaledproc._util.signals import GRACE_IN_JOBS, listening
    from scaledproc.api import split_options
    from scaledproc.engine.job import JobOrder, do_job, parse_shards
    from scaledproc.execution.limits import parse_seconds
    from scaledproc.reporting.terminal import JsonProgress

    startup.loaded()
    # A service stops jobs by SIGTERM, which the first process of a container ignores unless it says otherwise.
    inputs, outputs = split_options(given["storage_options"])
    order = JobOrder(
        run=run,
        shards=parse_shards(shard or ()),
        combine=combine,
        by_host=by_host,
        present=present,
        parts=parts,
        finish=finish,
        dataset=dataset,
        output=output,
        extractor=extractor,
        code=code,
        shared=shared,
        report=report,
        jobs=given["jobs"],
        scratch=Path(given["scratch"]) if given["scratch"] else None,
        inputs=inputs,
        outputs=outputs,
    )
    with listening(GRACE_IN_JOBS if grace is None else parse_seconds(grace, "--grace", least=0)) as asked:
        try:
            with JsonProgress() as display:
                for event in do_job(order):
                    display.listen(event)
        except KeyboardInterrupt:
            raise typer.Exit(128 + (asked.signal or signal.SIGTERM)) from None
