"""All that is looked at, in the order in which it is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from scaledproc._util.types import Where
from scaledproc.engine.doctor.findings import Finding
from scaledproc.engine.doctor.installed import find_installed
from scaledproc.engine.doctor.machine import find_cores, find_memory, find_open_files, find_scratch, find_shared_memory
from scaledproc.engine.doctor.places import find_place
from scaledproc.execution.workers.pool import cores


def examine(
    places: Iterable[Where] = (),
    *,
    jobs: int | None = None,
    scratch: Path | None = None,
    storage_options: Mapping[str, Any] | None = None,
    write: bool = False,
) -> Iterator[Finding]:
    """Look at this machine, at what is installed, and at places: one finding after the other, as each is found.

    Parameters
    ----------
    places
        Paths and URLs to reach; nothing else is reached beyond this machine.
    jobs, scratch
        As for a run.
    storage_options
        For the places' filesystems.
    write
        Whether to write into the places too.
    """
    counted = cores(jobs)
    yield find_cores(jobs)
    yield find_memory(counted)
    yield find_scratch(scratch)
    yield find_shared_memory(counted)
    yield find_open_files(counted)
    yield from find_installed()
    for where in places:
        yield find_place(where, storage_options, write=write)
