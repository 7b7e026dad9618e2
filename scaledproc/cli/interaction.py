"""How a command talks to a person or a program: its answer, its questions, and the end of one that was interrupted."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import typer

from scaledproc.errors import RunInterruptedError, ScaledprocError

if TYPE_CHECKING:
    from scaledproc.reporting.next_steps import Step


@contextlib.contextmanager
def continuable(grace: float = 0.0) -> Iterator[None]:
    """End in words at SIGINT and SIGTERM, after so many seconds for what is at work."""
    from scaledproc._util.process.signals import listening

    with listening(grace) as asked:
        try:
            yield
        except KeyboardInterrupt:
            words = ["scaledproc", *_without_secrets([word for word in sys.argv[1:] if word != "--overwrite"])]
            raise RunInterruptedError(
                f"interrupted; what is committed is kept, this continues: {shlex.join(words)}",
                asked.signal or signal.SIGINT,
            ) from None


@contextlib.contextmanager
def failure_told(listen: Callable[[Any], None] | None) -> Iterator[None]:
    """Tell a program of an error that ends the command, besides what standard error says."""
    try:
        yield
    except ScaledprocError as error:
        if listen is not None:
            from scaledproc._util.redaction import redacted
            from scaledproc.events import RunFailed

            listen(RunFailed(type(error).__name__, redacted(str(error)), error.exit_code, error.differences))
        raise


def _without_secrets(words: Sequence[str]) -> Iterator[str]:
    """The words of the command line as they may be shown: storage options can be keys and passwords."""
    from scaledproc._util.options import declared
    from scaledproc._util.redaction import is_secret_name, redacted
    from scaledproc.engine.options import RunOptions

    options = {flag: each for each in declared(RunOptions) for flag in each.flags}
    for before, word in zip(["", *words], words, strict=False):
        found = re.match(r"(?:(--[\w-]+)=)?(\w[\w.-]*)=", word)
        if found is None:
            yield redacted(word)
            continue
        option = options.get(found[1] or before)
        is_public = option is not None and (option.about["words"] is None or option.name == "options")
        yield redacted(word) if is_public and not is_secret_name(found[2]) else f"{found[0]}***"


def show(text: str) -> None:
    """Write what a command is there to tell.

    Raises
    ------
    ScaledprocError
        If standard output cannot be written. A reader that is gone (`| head`) is no error: it wanted no more.
    """
    from scaledproc._util.process.streams import lost_output

    typer.echo(text)
    sys.stdout.flush()
    if (error := lost_output()) is not None:
        raise ScaledprocError(f"standard output cannot be written: {error.strerror}")


def suggest(steps: Sequence[Step]) -> None:
    """Tell a person at a terminal what may be typed next; on standard error, as programs read the other."""
    if sys.stderr.isatty():
        from scaledproc.reporting.next_steps import steps_text

        typer.echo(steps_text(steps, shutil.get_terminal_size().columns), err=True)


def words_shown() -> list[str]:
    """The words of the command line as they may be shown: without what can be keys and passwords."""
    return list(_without_secrets(sys.argv[1:]))


def ask(pause: Callable[[], None], question: str) -> bool:
    """Ask a person; no where none is there."""
    from scaledproc._util.process.signals import stopping

    if not sys.stdin.isatty() or stopping().signal == signal.SIGTERM:
        return False
    pause()
    try:
        return typer.confirm(question, err=True)
    except (typer.Abort, KeyboardInterrupt):
        return False
