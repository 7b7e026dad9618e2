"""`scaledproc init`: a file to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scaledproc.errors import UsageError


def init(
    what: Annotated[
        str,
        typer.Argument(metavar="extractor", show_default=False, help="What to write: an extractor; may be left out."),
    ] = "",
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE.py", show_default=False, help="The file, which must not be there yet."),
    ] = None,
    kind: Annotated[
        str, typer.Option(metavar="files|tables|waveforms", show_default=False, help="What it reads. Default: files.")
    ] = "files",
) -> None:
    """Write a commented example of an extractor, which runs as it is."""
    from shlex import quote

    from scaledproc.extractors.starters import KINDS, write_starter

    if file is None and what.endswith(".py"):
        what, file = "extractor", Path(what)
    if not what:
        raise UsageError("name what to write, and the file: scaledproc init extractor FILE.py")
    if what != "extractor":
        raise UsageError(f"init writes no {what!r}: scaledproc init extractor FILE.py")
    if file is None:
        raise UsageError("name the file to write: scaledproc init extractor FILE.py")
    write_starter(kind, file)
    word = quote(str(file))
    typer.echo(
        f"{file}: {KINDS[kind]}\n  one task:  scaledproc try {word} INPUT\n"
        f"  the run:   scaledproc --extractor {word} INPUT OUTPUT"
    )
