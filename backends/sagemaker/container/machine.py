"""What a container is told and tells on its disk: `/opt/ml`.

Elsewhere none of it is there, and each function says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scaledproc._util.redaction import redacted
from scaledproc.errors import ScaledprocError

ML_ROOT = "SCALEDPROC_ML_ROOT"
"""Environment variable: what stands for `/opt/ml`, so that several containers' trees can lie on one machine."""
MESSAGE_BYTES = 1_024
"""What DescribeProcessingJob returns of `output/message` as ExitMessage; it must be UTF-8."""


@dataclass(frozen=True)
class Host:
    """The place of a machine among those of its job.

    Parameters
    ----------
    name
        Such as `algo-1`.
    index, count
        Its place, from 0, among so many.
    """

    name: str
    index: int
    count: int


def ml_path(path: str) -> str:
    """A path below `/opt/ml` as this process sees it; other paths as they are."""
    root = os.environ.get(ML_ROOT)
    is_below = path == "/opt/ml" or path.startswith("/opt/ml/")
    return f"{root.rstrip('/')}{path.removeprefix('/opt/ml')}" if root and is_below else path


def this_host() -> Host | None:
    """The place of this machine in its job; None outside a service's container.

    Raises
    ------
    ScaledprocError
        If the service's description of the job's machines cannot be understood.
    """
    path = Path(ml_path("/opt/ml/config/resourceconfig.json"))
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        hosts = sorted(map(str, content["hosts"]), key=lambda name: (len(name), name))  # algo-2 before algo-10
        return Host(str(content["current_host"]), hosts.index(str(content["current_host"])), len(hosts))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ScaledprocError(f"{path} cannot be understood: {type(error).__name__}: {error}") from None


def scratch_root() -> Path | None:
    """Where a service's container has most room; None outside of one.

    AWS does not document on which of a machine's disks the job's volume is: `/tmp`, or `/opt/ml/processing`.
    """
    if this_host() is None:
        return None
    folder = Path(ml_path("/opt/ml/processing/scratch"))
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.gettempdir())
    return temporary if shutil.disk_usage(temporary).free > shutil.disk_usage(folder).free else folder


@contextlib.contextmanager
def everything_in(scratch: Path | None) -> Iterator[None]:
    """Have this process and those that it starts put all temporary files there, so that no other disk fills."""
    if scratch is None or this_host() is None:
        yield
        return
    before, variable = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = str(scratch)
    try:
        yield
    finally:
        tempfile.tempdir = before
        os.environ.pop("TMPDIR")
        os.environ.update({} if variable is None else {"TMPDIR": variable})


def say(text: str) -> None:
    """Leave a message that outlives the container, cut to what the service keeps; nothing outside of one."""
    if this_host() is None:
        return
    path = Path(ml_path("/opt/ml/output/message"))
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = redacted(text).encode(errors="replace")
    path.write_bytes(whole[:MESSAGE_BYTES].decode(errors="ignore").encode())
