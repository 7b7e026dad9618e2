"""Flags that several commands have and no dataclass of options declares."""

from __future__ import annotations

from typing import Annotated

import typer

from scaledproc.cli.options.completion import run_folders

AsJson = Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress, only the result.")]

Output = Annotated[str, typer.Argument(metavar="OUTPUT", help="The folder of a run.", autocompletion=run_folders)]
Finished = Annotated[
    str, typer.Argument(metavar="OUTPUT", help="The folder of a finished run.", autocompletion=run_folders)
]


def is_from_file(ctx: typer.Context, option: str) -> bool:
    """Whether an option has its value from scaledproc.toml."""
    source = ctx.get_parameter_source(option)
    return source is not None and source.name == "DEFAULT_MAP"
