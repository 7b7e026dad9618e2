"""`scaledproc watch`: the page of a run while it goes on."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scaledproc._util.command.flags import with_options
from scaledproc._util.process import startup
from scaledproc.backend.settings import settings_of_one, with_settings
from scaledproc.cli.inspect import Output
from scaledproc.engine.options import PlanOptions

if TYPE_CHECKING:
    from scaledproc.engine.status import Status
    from scaledproc.reporting.watching.poller import Look


@with_settings(recall=True)
@with_options(PlanOptions, ("storage_options",))
def watch(
    output: Output,
    port: Annotated[
        int, typer.Option(metavar="N", show_default=False, help="Port to serve on. Default: any that is free.")
    ] = 0,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    *,
    given: dict[str, Any],
    settings: dict[str, Any],
) -> None:
    """Serve the page of a run, which follows it while it goes on; from any machine that reads OUTPUT, until Ctrl-C.

    Only this machine can ask for it, and only with the address that is printed; nothing can be changed by it.
    """
    from scaledproc import api
    from scaledproc.reporting.watching.page import status_page
    from scaledproc.reporting.watching.poller import Look, Poller
    from scaledproc.reporting.watching.server import PageServer, secret_path

    startup.loaded()
    asked = settings_of_one(settings)

    def look() -> Look[Status]:
        found = api.status(output, **given, settings=asked)
        return Look(found, found.state == "done")

    def say(text: str) -> None:
        from scaledproc._util.text import clean_text

        typer.echo(clean_text(text), err=True)

    path = secret_path()
    poller = Poller(look, lambda found: status_page(found, path), say)
    with PageServer(poller.page, path, port) as server, poller:
        typer.echo(server.url)
        say("Ctrl-C ends this; the run goes on")
        if open_page:
            import webbrowser

            webbrowser.open(server.url)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            say("")
