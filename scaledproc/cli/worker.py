"""`scaledproc worker`: one job of a run, as backends call it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from scaledproc._util.command.flags import with_options
from scaledproc._util.process import startup
from scaledproc.engine.options import JobOrder
from scaledproc.reporting.job_events import tell


@with_options(JobOrder)
def worker(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The folder of a run that was begun.")],
    *,
    given: dict[str, Any],
) -> None:
    """Do jobs of a run on this machine, as a backend's machines do; tells what happened as JSON."""
    from scaledproc._util.process.lazy_pandas import defer_pandas

    defer_pandas()
    from scaledproc.engine.job import do_job
    from scaledproc.reporting.report import write_at_end

    startup.loaded()
    order = JobOrder.parse(run, given)
    tell(do_job(order, write_at_end), order.grace)
