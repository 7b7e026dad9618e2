"""The recommendation in `scaledproc.toml`: one value changes, everything else stays as it is, comments included."""

from __future__ import annotations

import os
import re
import tempfile
import tomllib
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from scaledproc._util.command.config_file import NAME
from scaledproc._util.text import clean_text
from scaledproc.errors import UsageError

LONE_NEWLINE = re.compile(r"(?<!\r)\n")


def write_chunk(folder: Path, chunk: str, remark: str) -> Path:
    """Set `chunk` below `[run]`, in one step: whoever reads the file meanwhile finds the old or the new one.

    Parameters
    ----------
    folder
        Where the file is, or is to be.
    chunk
        As `--chunk` takes it.
    remark
        A comment behind it: where it comes from.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    UsageError
        There is a file, and it cannot be read, is no TOML, or has a `run` that is no table. It is left as it is.
    """
    path = folder / NAME
    try:
        with path.open(encoding="utf-8", newline="") as file:  # its ends of lines too
            text = file.read()
    except FileNotFoundError:
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read, so the chunk size was not written: {error}") from None
    try:
        document = tomlkit.parse(text)
    except TOMLKitError as error:
        raise UsageError(f"{path} is no TOML, so the chunk size was not written: {error}") from None
    if "run" not in document:
        document["run"] = tomlkit.table()
    run = document["run"]
    if not hasattr(run, "keys"):
        raise UsageError(f"{path}: run is no table, so the chunk size was not written")
    value = tomlkit.string(chunk)
    if isinstance(run, tomlkit.items.Table):  # an inline table has no room for a comment
        value.comment(" ".join(clean_text(remark).split()))
    run["chunk"] = value
    changed = tomlkit.dumps(document)
    if "\r\n" in text and not LONE_NEWLINE.search(text):
        changed = LONE_NEWLINE.sub("\r\n", changed)
    wanted = tomllib.loads(text)
    wanted["run"] = {**wanted.get("run", {}), "chunk": chunk}
    if tomllib.loads(changed) != wanted:
        raise UsageError(f'{path} is written in a way that cannot be changed safely; put chunk = "{chunk}" below [run]')
    _replace(path, changed)
    return path


def _replace(path: Path, text: str) -> None:
    target = path.resolve()  # a link stays a link
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with open(handle, "w", encoding="utf-8", newline="") as file:  # noqa: PTH123 - a handle, no path
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        mode = target.stat().st_mode if target.exists() else 0o666 & ~_umask()
        Path(name).chmod(mode & 0o7777)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
