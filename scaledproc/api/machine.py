"""Look whether a machine is fit for a run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaledproc._util.options import place, read_options
from scaledproc._util.types import Where
from scaledproc.api.arguments import check_kinds, refuse_idle_options
from scaledproc.engine.options import RunOptions, split_options
from scaledproc.errors import UsageError
from scaledproc.storage.store import Store

if TYPE_CHECKING:
    from scaledproc.engine.doctor.findings import Diagnosis


def doctor(
    places: Iterable[Where] | Where = (),
    *,
    jobs: int | None = None,
    scratch: Where | None = None,
    storage_options: Mapping[str, Any] | None = None,
    write: bool = False,
) -> Diagnosis:
    """Whether this machine is fit for a run, and what to do about what is not.

    Parameters
    ----------
    places
        Folders and URLs to reach as well; nothing else is reached beyond this machine.
    jobs
        Worker processes of the run; as many as there are cores where none is given.
    scratch
        Its scratch folder; the system's temporary folder where none is given.
    storage_options
        Arguments for the places' fsspec filesystems.
    write
        Whether to write a small file into each place too, and to remove it again.

    Returns
    -------
    Diagnosis
        A finding each of cores, memory, scratch space with its measured speed, locks between processes, open files,
        versions, plug-ins, extras, Docker, Slurm and the places; `ok` unless one of them would stop a run.

    Raises
    ------
    UsageError
        If fewer than one process is asked for, or a place is no path and no URL of a protocol that is
        installed, or a storage option is of no use for the places.
    """
    check_kinds(locals())
    wanted = [places] if isinstance(places, (str, os.PathLike)) else places
    if not isinstance(wanted, Iterable):
        raise UsageError(f"places {places!r}: give a path or URL, or several")
    checked = [place(each, "places") for each in wanted]
    own = read_options(RunOptions, {"jobs": jobs, "scratch": scratch})
    from scaledproc.engine.doctor.examine import examine
    from scaledproc.engine.doctor.findings import Diagnosis

    options, _ = split_options(storage_options)
    if options and not checked:
        raise UsageError(f"--storage-option {next(iter(options))}: there is no place that it is for; name one")
    refuse_idle_options(options, {os.fspath(each): Store.at(each, options) for each in checked})
    found = examine(
        checked,
        jobs=own["jobs"],
        scratch=None if own["scratch"] is None else Path(own["scratch"]).expanduser(),
        storage_options=options,
        write=write,
    )
    return Diagnosis(tuple(found))
