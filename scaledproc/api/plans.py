"""Plan without running, list a dataset into a file, and what a plan is expected to take."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from scaledproc._util.types import Where
from scaledproc.api.arguments import AnExtractor, check_kinds, refuse_idle_options, settle
from scaledproc.backend.base import Backend, Expected
from scaledproc.engine.driver import find_inventory, make
from scaledproc.engine.options import PlanOptions, split_options
from scaledproc.engine.provenance import as_asked_before
from scaledproc.engine.steps import reporting
from scaledproc.events import ReuseFound
from scaledproc.execution.workers.pool import cores
from scaledproc.extractors import load_extractor
from scaledproc.extractors.registry import settle_options
from scaledproc.run_folder.run import Run
from scaledproc.storage.store import Store

if TYPE_CHECKING:
    from scaledproc.planning.inventory import Inventory
    from scaledproc.planning.plan import Plan


def plan(
    dataset: Where,
    *,
    extractor: AnExtractor = "wfdb-summary",
    options: Mapping[str, Any] | None = None,
    unit: str | None = None,
    anchor: Iterable[str] | str = (),
    include: Iterable[str] | str = (),
    exclude: Iterable[str] | str = (),
    only: Where | None = None,
    hidden: bool = False,
    limit: int | None = None,
    shards: str | int = "folder",
    chunk: str | int = "auto",
    compare: str = "listed",
    with_keys: bool | None = None,
    jobs: int | None = None,
    inventory: Where | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Plan:
    """Plan a run without doing it.

    Parameters
    ----------
    dataset
        A folder's path, or the URL of one on any fsspec filesystem.
    extractor
        A name, `package.module:name`, `path/to/file.py:name`, or an extractor: a decorated function, a `partial` of
        one, an instance of a class or the class.
    options
        Of the extractor, by name, such as `{"window": 60}`; each has a default.
    unit
        How files form units: `folder`, `stem`, `file`, or a regular expression with a group named `unit`; the
        extractor's own way where none is given.
    anchor
        Globs of the files that start a task, instead of the extractor's.
    include, exclude
        Globs of the files to look at.
    only
        A file that lists the records, folders or subjects to work on, one a line, or in a column of a CSV file
        (`FILE:COLUMN`). What is in no dataset is told.
    hidden
        Whether to look at files and folders whose names begin with a dot, too.
    limit
        Only so many units.
    shards
        Macro cut: `folder`, a number, or a size such as `50GB`.
    chunk
        Micro cut: `auto`, `per-core`, a number of tasks, or a size such as `64MB`.
    compare
        How a file is known to be the one of before, where a run is continued or updated: `listed` (its size and its
        time or etag) or `content` (its SHA-256).
    with_keys
        Whether the columns group, unit and anchor come before those of each row, and lead back to its task. Where None
        is given, as the extractor says: with them for a function.
    jobs
        Cores of one machine; as many as this one has where none is given.
    inventory
        What lists the dataset instead of listing it now: a file of `save_inventory`, or the manifest.json of a report
        of Amazon S3 Inventory.
    storage_options
        Arguments for the dataset's fsspec filesystem.

    Raises
    ------
    UsageError
        If there is no such extractor, an option of the plan or of the extractor cannot have its value, or a storage
        option is of no use here.
    ScaledprocError
        If the dataset cannot be listed, or the inventory cannot be read.
    """
    check_kinds(locals())
    asked = settle(PlanOptions.parse(locals()))
    inputs, _ = split_options(storage_options)
    source = Store.at(dataset, inputs)
    refuse_idle_options(storage_options, {"input": source})
    made = load_extractor(asked.extractor, asked.options)
    return make(source, asked, made, cores=cores(jobs), together=True)


def save_inventory(
    dataset: Where,
    file: Where,
    *,
    include: Iterable[str] | str = (),
    exclude: Iterable[str] | str = (),
    hidden: bool = False,
    inventory: Where | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Inventory:
    """List a dataset into one file, which `plan` and `run` take as `inventory` instead of listing it again.

    Parameters
    ----------
    dataset, include, exclude, hidden, inventory
        As for `plan`.
    file
        The Parquet file to write, as a path or URL.
    storage_options
        Arguments for the fsspec filesystem of the dataset, and of the file.

    Raises
    ------
    ScaledprocError
        If the dataset cannot be listed, or the file cannot be written.
    """
    check_kinds(locals())
    asked = PlanOptions.parse(locals())
    from scaledproc.planning import saved_inventory

    inputs, _ = split_options(storage_options)
    with reporting(f"{os.fspath(file)} cannot be written: ", writes=True):
        source = Store.at(dataset, inputs)
        if saved_inventory.store_of(file, inputs).local is not None:
            refuse_idle_options(storage_options, {"input": source})
        found = find_inventory(source, asked)
        saved_inventory.save_inventory(found, source, file)
    return found


def expect(
    made: Plan,
    backend: Backend,
    dataset: Where,
    extractor: AnExtractor = "wfdb-summary",
    *,
    options: Mapping[str, Any] | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Expected | None:
    """What a plan is expected to take and to cost on a backend; None where that cannot be told.

    Parameters
    ----------
    made
        The plan.
    backend
        How it is set.
    dataset, extractor, options, storage_options
        As for `plan`: what the backend may try some tasks with, to know.
    """
    check_kinds(locals())
    inputs, _ = split_options(storage_options)
    source = Store.at(dataset, {**backend.store_options("input"), **inputs})
    return backend.estimate(made, source, load_extractor(*settle_options(extractor, options)))


def plan_update(
    dataset: Where,
    output: Where,
    *,
    extractor: AnExtractor = "wfdb-summary",
    options: Mapping[str, Any] | None = None,
    jobs: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    **given: Any,
) -> tuple[Plan, ReuseFound]:
    """Plan what `run(…, update=True)` would do, without doing it.

    Parameters
    ----------
    dataset, extractor, options, jobs, storage_options, given
        As for `plan`.
    output
        The folder of the run that would be updated.

    Returns
    -------
    tuple
        The plan of the tasks that are to be done, and how many they are for which reason. Whether the earlier run's
        files are what was written is looked at only when the update is done.

    Raises
    ------
    UsageError
        If an option cannot have its value, or rows of the run cannot be reused.
    ScaledprocError
        If the folder holds no run, or the dataset cannot be listed.
    """
    check_kinds(locals())
    from scaledproc.engine.update import compared_by_content, plan_of_update

    asked = settle(PlanOptions.parse({**given, "extractor": extractor, "options": options}))
    inputs, outputs = split_options(storage_options)
    source, store = Store.at(dataset, inputs), Store.at(output, outputs)
    refuse_idle_options(storage_options, {"input": source, "output": store})
    with reporting(f"{store} cannot be read: "):
        there = Run.open(store)
        asked = as_asked_before(asked, there.record)
        made = load_extractor(asked.extractor, asked.options)
        whole = make(source, asked, made, cores=cores(jobs), together=True, skip=source.contains(store))
        if asked.compare == "content":
            whole = compared_by_content(whole, source, [there])
        return plan_of_update(there, whole, asked, made, cores=cores(jobs))
