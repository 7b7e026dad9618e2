"""What became of a run that is in a folder: how far it is, whether it is whole, what to stop."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from scaledproc._util.options import at_least, yes_or_no
from scaledproc._util.types import Where
from scaledproc.api.arguments import check_kinds, refuse_idle_options
from scaledproc.backend.base import Backend
from scaledproc.backend.registry import MissingBackendError, load_backend, opening_options
from scaledproc.engine.driver import settled
from scaledproc.engine.options import SHOWN_TASKS, split_options
from scaledproc.engine.steps import reporting
from scaledproc.errors import UsageError
from scaledproc.run_folder.folder import Run, RunFolder
from scaledproc.storage.store import Store

if TYPE_CHECKING:
    from scaledproc.engine.overview import Overview
    from scaledproc.engine.status import Status
    from scaledproc.engine.verify import Verified
    from scaledproc.planning.inventory import Inventory


def status(
    output: Where, *, storage_options: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None
) -> Status:
    """How far a run is, from any machine that can read its folder.

    Parameters
    ----------
    output
        The run's folder.
    storage_options
        Arguments for its fsspec filesystem.
    settings
        The backend's own that its jobs cannot be asked without, such as `{"profile": …}`.

    Raises
    ------
    ScaledprocError
        If the folder holds no run, or the backend cannot be asked about the run's jobs.
    """
    check_kinds(locals())
    from scaledproc.engine.status import find_status

    try:
        run, backend = _recalled(output, storage_options, settings)
    except MissingBackendError as error:
        _, outputs = split_options(storage_options)
        with reporting(f"{output} cannot be read: "):
            return find_status(
                RunFolder.open(Store.at(output, outputs)), None, f"what its machines do is not known: {error}"
            )
    with reporting(f"{run.store} cannot be read: "):
        return find_status(settled(run, backend), backend)


def stop(
    output: Where, *, storage_options: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None
) -> int:
    """Stop the jobs of a run on a backend's machines; the parameters are those of `status`.

    Returns
    -------
    int
        How many there were. What they committed stays: `run` continues.

    Raises
    ------
    UsageError
        If the run is finished, or is run by the processes that began it, which end with Ctrl-C there.
    """
    check_kinds(locals())
    from scaledproc.engine.status import at_work_in

    run, _ = _recalled(output, storage_options, settings)
    inner = at_work_in(run)
    run, backend = _recalled(inner.store.uri, storage_options, settings)
    if run.record.state == "done":
        raise UsageError(f"{run.store} is finished; there is nothing to stop")
    if backend.capabilities.is_here:
        raise UsageError(f"{run.store} is run by the processes that began it: end it there, with Ctrl-C")
    with reporting(f"{run.store} cannot be written: "):
        return backend.halt(run)


def verify(
    output: Where,
    *,
    dataset: Where | None = None,
    inventory: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Verified:
    """Check a finished run against its plan: every task accounted for exactly once, every file as it was written.

    Parameters
    ----------
    output
        The run's folder. All of it is read.
    dataset
        Where the dataset lies, if not where the run found it.
    inventory
        Whether to list the dataset, and compare it with what the run listed.
    storage_options
        As for `run`.

    Returns
    -------
    Verified
        `ok`, and what is wrong: `problems`.

    Raises
    ------
    ScaledprocError
        If the folder holds no run, the run is not finished, or the dataset cannot be listed.
    """
    check_kinds({"output": output, "dataset": "." if dataset is None else dataset})
    yes_or_no(inventory, "inventory")
    from scaledproc.engine.verify import verify_run
    from scaledproc.planning.inventory import take_inventory

    inputs, outputs = split_options(storage_options)
    with reporting():
        found = Run.open(Store.at(output, outputs))
        source = Store.at(dataset or found.dataset.uri, inputs)
        lists = inventory or dataset is not None
        refuse_idle_options(storage_options, {"output": found.store, **({"input": source} if lists else {})})
        options = found.record.options

        def list_now() -> Inventory:
            chosen = {name: tuple(options.get(name) or ()) for name in ("include", "exclude")}
            # Runs of before there was such an option took what is hidden.
            takes_hidden = bool(options.get("hidden", True))
            return take_inventory(source, **chosen, skip=source.contains(found.store), hidden=takes_hidden)

        return verify_run(found, list_now if lists else None)


def show(output: Where, *, most: int = SHOWN_TASKS, storage_options: Mapping[str, Any] | None = None) -> Overview:
    """What became of a finished run's tasks: the slowest, those without rows, failures grouped by message.

    Parameters
    ----------
    output
        The run's folder.
    most
        How many tasks and groups of each kind are told of.
    storage_options
        As for `run`.

    Returns
    -------
    Overview
        Its size does not grow with the run's; all tasks are in `Run.tasks()`.

    Raises
    ------
    UsageError
        If `most` is no number of 1 or more.
    ScaledprocError
        If the folder holds no run, or the run is not finished or its files are damaged.
    """
    check_kinds(locals())
    from scaledproc.engine.overview import find_overview

    most = at_least(1, "a number of tasks, 1 or more")(most, "--most")
    _, outputs = split_options(storage_options)
    store = Store.at(output, outputs)
    refuse_idle_options(storage_options, {"output": store})
    with reporting(f"{store} cannot be read: "):
        return find_overview(Run.open(store), most)


def _recalled(
    output: Where, storage_options: Mapping[str, Any] | None, settings: Mapping[str, Any] | None
) -> tuple[RunFolder, Backend]:
    """A run, and the backend that has it."""
    _, outputs = split_options(storage_options)
    outputs = {**opening_options(os.fspath(output), settings or {}), **outputs}
    refuse_idle_options(storage_options, {"output": Store.at(output, outputs)})
    with reporting(f"{output} cannot be read: "):
        run = RunFolder.open(Store.at(output, outputs))
    name = str(run.record.backend.get("name") or "local")
    backend = load_backend(name).recall(run.record.backend, settings or {})
    store = Store.at(output, {**backend.store_options("output"), **outputs})
    return replace(run, store=store), backend
