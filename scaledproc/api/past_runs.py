"""What became of a run that is in a folder: how far it is, whether it is whole, what to stop."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaledproc._util.options import at_least, mapping, yes_or_no
from scaledproc._util.types import Where
from scaledproc.api.arguments import check_kinds, refuse_idle_options
from scaledproc.backend.base import Backend
from scaledproc.backend.registry import MissingBackendError, load_backend, opening_options
from scaledproc.engine.driver import settled
from scaledproc.engine.options import SHOWN_EXAMPLES, SHOWN_TASKS, split_options
from scaledproc.engine.steps import reporting
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.names import MAIN_TABLE, REPORT
from scaledproc.run_folder.run import Run
from scaledproc.storage.store import Store

if TYPE_CHECKING:
    from scaledproc.engine.past.overview import Overview
    from scaledproc.engine.past.status import Status
    from scaledproc.engine.past.verify import Verified
    from scaledproc.extractors import Extractor
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
    from scaledproc.engine.past.status import find_status

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
    ScaledprocError
        If the backend's machines cannot be asked, or may have a job that cannot be looked for, which is named; the
        others are stopped then.
    """
    check_kinds(locals())
    from scaledproc.engine.past.status import at_work_in

    run, _ = _recalled(output, storage_options, settings)
    inner = at_work_in(run)
    run, backend = _recalled(inner.store.uri, storage_options, settings)
    if run.record.state == "done":
        raise UsageError(f"{run.store} is finished; there is nothing to stop")
    if backend.capabilities.is_here:
        raise UsageError(f"{run.store} is run by the processes that began it: end it there, with Ctrl-C")
    with reporting(f"{run.store} cannot be written: ", writes=True):
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
    from scaledproc.engine.past.verify import verify_run
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
    from scaledproc.engine.past.overview import find_overview

    most = at_least(1, "a number of tasks, 1 or more")(most, "--most")
    _, outputs = split_options(storage_options)
    store = Store.at(output, outputs)
    refuse_idle_options(storage_options, {"output": store})
    with reporting(f"{store} cannot be read: "):
        return find_overview(Run.open(store), most)


def ddl(output: Where, *, location: str | None = None, storage_options: Mapping[str, Any] | None = None) -> str:
    """Statements that make a run's tables known to Amazon Athena and the AWS Glue Data Catalog.

    Parameters
    ----------
    output
        The folder of a finished run, whose tables are folders (`table="dataset"`).
    location
        The URL in S3 where Athena finds that folder; the folder's own where None is given.
    storage_options
        As for `run`.

    Raises
    ------
    UsageError
        If the tables are single files, or Athena cannot read them.
    ScaledprocError
        If the folder holds no run, or the run is not finished or its files are damaged.
    """
    check_kinds(locals())
    from scaledproc.reporting.ddl import create_tables

    _, outputs = split_options(storage_options)
    store = Store.at(output, outputs)
    refuse_idle_options(storage_options, {"output": store})
    with reporting(f"{store} cannot be read: "):
        run = Run.open(store)
        if not run.record.has_table_folders:
            raise UsageError(
                f"Athena reads folders, and the tables of {store} are single files: scaledproc combine {store} "
                "--table dataset makes folders of them"
            )
        tables = {name: run.schema_of(name) for name in (MAIN_TABLE, *run.record.tables)}
        return create_tables(tables, store.uri if location is None else location)


def report(
    output: Where,
    file: Where | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    examples: int = SHOWN_EXAMPLES,
    storage_options: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> str:
    """Write the page that tells whether to trust a run's table, of a run in any state, from any machine that reads it.

    Of the extractor only one that is installed under its name is asked what it makes of the table: no code that the
    run's folder names is run.

    Parameters
    ----------
    output
        The run's folder.
    file
        Where to write the page, as a path; `report.html` in the run's folder where None is given.
    options
        Options of the extractor for this report, on which nothing else depends: `{"ranges": "mine.toml"}` for other
        physiological ranges of WFDB's signals.
    examples
        Of how many tasks pieces of the data are drawn, for which the dataset is read; 0 for none, as where the data
        must not leave its place.
    storage_options, settings
        As for `status`.

    Returns
    -------
    str
        The page's path or URL.

    Raises
    ------
    UsageError
        If `examples` is no number of 0 or more, or the extractor cannot have such an option for a report alone.
    ScaledprocError
        If the folder holds no run, or the page cannot be written.
    """
    check_kinds({name: value for name, value in locals().items() if name != "file" or value is not None})
    if options is not None:
        mapping(options, "options")
    from scaledproc.reporting.report import report_html

    examples = at_least(0, "a number of tasks, 0 or more")(examples, "--examples")
    run, status = seen(output, storage_options, settings)
    extractor = installed_extractor(run, options)
    with reporting(f"{run.store} cannot be read: "):
        page = report_html(run, status=status, extractor=extractor, examples=examples)
    if file is None:
        with reporting(f"{run.store}/{REPORT} cannot be written (--output FILE writes it elsewhere): ", writes=True):
            run.store.write(REPORT, page.encode())
        return run.store.child(REPORT).uri
    path = Path(file).expanduser().absolute()
    with reporting(f"{path} cannot be written: ", writes=True):
        path.write_text(page, encoding="utf-8")
    return str(path)


def written_report(
    output: Where, storage_options: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None
) -> bytes:
    """The page that `report` wrote into a run's folder, read with what the folder was opened with.

    Raises
    ------
    ScaledprocError
        If the folder holds no run, or the page cannot be read.
    """
    try:
        run, _ = _recalled(output, storage_options, settings)
    except MissingBackendError:
        _, outputs = split_options(storage_options)
        run = RunFolder.open(Store.at(output, outputs))
    with reporting(f"{run.store}/{REPORT} cannot be read: "):
        return run.store.read(REPORT)


def seen(
    output: Where,
    storage_options: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    backends: dict[str, Backend] | None = None,
) -> tuple[Run, Status]:
    """A run in any state, and how far it is; nothing is changed by it.

    Parameters
    ----------
    output, storage_options, settings
        As for `status`.
    backends
        Those that earlier looks at this run made, by what its record says of them; this one's is added. One that is
        kept need not ask again what it has just been told.

    Raises
    ------
    ScaledprocError
        If the folder holds no run, or cannot be read.
    """
    from scaledproc.engine.past.status import find_status

    note, backend = "", None
    try:
        run, backend = _recalled(output, storage_options, settings, backends)
    except MissingBackendError as error:
        _, outputs = split_options(storage_options)
        run = RunFolder.open(Store.at(output, outputs))
        note = f"what its machines do is not known: {error}"
    with reporting(f"{run.store} cannot be read: "):
        try:
            return run, find_status(run, backend, note)
        except ScaledprocError as error:  # machines that cannot be asked are no reason to tell nothing
            return run, find_status(run, None, str(error))


def installed_extractor(run: Run, options: Mapping[str, Any] | None = None) -> Extractor | None:
    """The run's extractor where it is one that is installed under its name, else None.

    What a folder names may be anybody's file; to look at a run must not run that.

    Parameters
    ----------
    run
        The run.
    options
        Others than the run's, on which only a report depends.

    Raises
    ------
    UsageError
        If the extractor cannot have such options.
    """
    from scaledproc.extractors import load_extractor, registry

    spec = str(run.record.extractor.get("spec", ""))
    had = run.record.extractor.get("options") or {}
    if spec not in registry.names():
        if options:
            raise UsageError(
                f"--set {next(iter(options))}: a report asks only an extractor that is installed under its name, and "
                f"that of {run.store} is {run.record.extractor.get('label')}"
            )
        return None
    if options:
        had = registry.report_options(spec, had, options)
    try:
        return load_extractor(spec, had)
    except ScaledprocError:  # of another version, whose options it does not know
        return None


def _recalled(
    output: Where,
    storage_options: Mapping[str, Any] | None,
    settings: Mapping[str, Any] | None,
    backends: dict[str, Backend] | None = None,
) -> tuple[RunFolder, Backend]:
    """A run, and the backend that has it: one of those that are kept, where its record is still the same."""
    _, outputs = split_options(storage_options)
    outputs = {**opening_options(os.fspath(output), settings or {}), **outputs}
    refuse_idle_options(storage_options, {"output": Store.at(output, outputs)})
    with reporting(f"{output} cannot be read: "):
        run = RunFolder.open(Store.at(output, outputs))
    name = str(run.record.backend.get("name") or "local")
    kept, key = {} if backends is None else backends, json.dumps(run.record.backend, sort_keys=True, default=str)
    if key not in kept:
        kept[key] = load_backend(name).recall(run.record.backend, settings or {})
    backend = kept[key]
    store = Store.at(output, {**backend.store_options("output"), **outputs})
    return replace(run, store=store), backend
