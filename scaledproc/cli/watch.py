"""`scaledproc watch`: the page of a run while it goes on."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scaledproc._util.command.flags import with_options
from scaledproc._util.process import startup
from scaledproc.backend.settings import settings_of_one, with_settings
from scaledproc.cli.options.flags import Output
from scaledproc.engine.options import PlanOptions

if TYPE_CHECKING:
    from scaledproc.backend.base import Backend
    from scaledproc.engine.past.status import Status
    from scaledproc.reporting.watching.poller import Look
    from scaledproc.run_folder.run import Run


@dataclass(frozen=True)
class _Seen:
    """A run as it was seen; the same as another where it is as far."""

    run: Run = field(compare=False)
    status: Status
    rate: float | None = field(compare=False)
    """Bytes a second, which is another one at each look."""
    left: str
    update_of: str
    """The folder of the run that this is what an update of has to do; empty where it is none."""


@with_settings(recall=True)
@with_options(PlanOptions, ("storage_options",))
def watch(
    output: Output,
    port: Annotated[
        int, typer.Option(metavar="N", show_default=False, help="Port to serve on. Default: any that is free.")
    ] = 0,
    is_open: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    *,
    given: dict[str, Any],
    settings: dict[str, Any],
) -> None:
    """Serve the report of a run, which follows it while it goes on; from any machine that reads OUTPUT, until Ctrl-C.

    Only this machine can ask for it, and only with the address that is printed; nothing can be changed by it.
    """
    from scaledproc._util.process.lazy_pandas import defer_pandas

    defer_pandas()
    import webbrowser

    from scaledproc._util.text import clean_text
    from scaledproc.api.past_runs import installed_extractor, seen
    from scaledproc.engine.past.status import at_work_in, is_being_updated
    from scaledproc.reporting import terminal
    from scaledproc.reporting.report import report_html
    from scaledproc.reporting.report.findings import Going
    from scaledproc.reporting.report.page import with_trouble
    from scaledproc.reporting.watching.observed import Observed
    from scaledproc.reporting.watching.opening import opened
    from scaledproc.reporting.watching.poller import Look, Poller
    from scaledproc.reporting.watching.server import PageServer, secret_path
    from scaledproc.run_folder.folder import RunFolder

    startup.loaded()
    asked = settings_of_one(settings)
    path = secret_path()
    backends: dict[str, Backend] = {}

    observed = Observed()

    def look() -> Look[_Seen]:
        run, status = seen(output, given["storage_options"], asked, backends)
        of, is_over = "", status.state == "done"
        if is_over and isinstance(run, RunFolder) and is_being_updated(run):
            inner = at_work_in(run)
            todo = None if inner is run else seen(inner.store.uri, given["storage_options"], asked, backends)
            if todo is not None and todo[1].state == "running":
                of, (run, status) = str(run.store), todo
            is_over = not of  # what was begun and left, or is not yet in place, is a note of the run that is there
        going = observed.see(status) or Going()
        return Look(_Seen(run, status, going.rate, going.left, of), is_over)

    def draw(found: _Seen) -> str:
        extractor, going = installed_extractor(found.run), Going(found.rate, found.left)
        return report_html(
            found.run, status=found.status, extractor=extractor, live=path, going=going, update_of=found.update_of
        )

    def say(text: str) -> None:
        typer.echo(clean_text(text), err=True)

    with terminal.waiting("looking"):
        poller = Poller(look, draw, say, with_trouble)
    with PageServer(poller.page, path, port) as server, poller, ExitStack() as stack:
        typer.echo(server.url)
        say("Ctrl-C ends this" if poller.is_over else "Ctrl-C ends this; the run goes on")
        if is_open and not stack.enter_context(opened(server.url, webbrowser.open)):
            say("no browser was found to open the page")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            say("")
