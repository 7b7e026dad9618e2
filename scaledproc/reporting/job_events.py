"""What the commands that do a job on a machine have in common, whichever backend's machine it is."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from scaledproc.events import Event


def tell(events: Iterator[Event], grace: float) -> None:
    """Do a job and print its events, each as a line of JSON.

    Parameters
    ----------
    events
        What does the job while it is read.
    grace
        Seconds to finish the chunks at work, when the job is told to end.

    Raises
    ------
    typer.Exit
        If a signal ended the job. A service stops jobs by SIGTERM, which the first process of a container ignores
        unless it says otherwise.
    """
    from scaledproc._util.process.signals import listening
    from scaledproc.reporting.terminal import JsonProgress

    with listening(grace) as asked:
        try:
            with JsonProgress() as display:
                for event in events:
                    display.listen(event)
        except KeyboardInterrupt:
            raise typer.Exit(128 + (asked.signal or signal.SIGTERM)) from None
