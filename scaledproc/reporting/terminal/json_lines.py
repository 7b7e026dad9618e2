"""Events as JSON for programs."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import IO, TYPE_CHECKING

from scaledproc._util.process.streams import tolerant
from scaledproc.events import Event, to_json
from scaledproc.reporting.terminal.base import Progress

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class JsonProgress(Progress):
    """One JSON object a line, on standard output."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stdout
        self._redirections = contextlib.ExitStack()

    def __enter__(self) -> Self:
        # What an extractor, or a program that it starts, prints must not come between the lines.
        self._redirections.enter_context(contextlib.redirect_stdout(sys.stderr))
        with contextlib.suppress(OSError):  # a stream of a notebook or a test has no file
            descriptor = self._stream.fileno()
            self._stream.flush()
            kept = os.dup(descriptor)
            os.dup2(sys.stderr.fileno(), descriptor)
            self._redirections.callback(os.close, kept)
            self._redirections.callback(os.dup2, kept, descriptor)
            self._stream = tolerant(kept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._redirections.close()

    def listen(self, event: Event) -> None:
        """Show an event."""
        print(to_json(event), file=self._stream, flush=True)
