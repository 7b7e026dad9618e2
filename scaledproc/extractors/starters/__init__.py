"""Extractors to begin with: `scaledproc init extractor` writes one of these files for a person to change."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from scaledproc.errors import ScaledprocError, UsageError

KINDS = {
    "files": "one row for each file",
    "tables": "rows for each CSV file, by pandas",
    "waveforms": "one row for each signal of each WFDB record",
}
_NAME = "my_extractor.py"
"""What the files call themselves."""


def write_starter(kind: str, path: Path) -> None:
    """Write an example of an extractor.

    Parameters
    ----------
    kind
        One of `KINDS`.
    path
        The file, which must not be there yet.

    Raises
    ------
    UsageError
        If there is no such kind, or the file is there already or is not called `.py`.
    ScaledprocError
        If the file cannot be written.
    """
    if kind not in KINDS:
        raise UsageError(f"--kind {kind!r}: give {', '.join(KINDS)}")
    if path.suffix != ".py":
        raise UsageError(f"{path}: an extractor's file is called NAME.py")
    text = files(__name__).joinpath(f"{kind}.py").read_text(encoding="utf-8")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text.replace(_NAME, str(path)))
    except FileExistsError:
        raise UsageError(f"{path} is there already, and is left as it is: name another file") from None
    except OSError as error:
        raise ScaledprocError(f"{path} cannot be written: {error.strerror}") from None
