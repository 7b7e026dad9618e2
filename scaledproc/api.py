"""What a notebook calls, and the command line too: plan, run, combine, work."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scaledproc.backend import Backend, load_backend
from scaledproc.combining import combine as combine_shards
from scaledproc.engine import execute, extractor_options, finish, make, reporting
from scaledproc.events import Event
from scaledproc.extractors import Extractor, load_extractor
from scaledproc.jobs import JobOrder, do_job
from scaledproc.options import Listener, Options, Where
from scaledproc.planning import Plan
from scaledproc.pool import cores
from scaledproc.provenance import size_of_table
from scaledproc.run_folder import Run
from scaledproc.storage import Store


def plan(
    dataset: Where,
    *,
    extractor: str | Extractor = "wfdb-summary",
    unit: str | None = None,
    anchors: Iterable[str] | str = (),
    include: Iterable[str] | str = (),
    exclude: Iterable[str] | str = (),
    limit: int | None = None,
    shards: str | int = "folder",
    chunk: str | int = "auto",
    jobs: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Plan:
    """Plan a run without doing it.

    Parameters
    ----------
    dataset
        A folder's path, or the URL of one on any fsspec filesystem.
    extractor
        A name, `package.module:name`, `path/to/file.py:name`, or an extractor.
    unit
        How files form units: `folder`, `stem`, `file`, or a regular expression with a group named `unit`; the
        extractor's own way where none is given.
    anchors
        Globs of the files that start a task, instead of the extractor's.
    include, exclude
        Globs of the files to look at.
    limit
        Only so many units.
    shards
        Macro cut: `folder`, a number, or a size such as `50GB`.
    chunk
        Micro cut: `auto`, `per-core`, a number of tasks, or a size such as `64MB`.
    jobs
        Cores of one machine; as many as this one has where none is given.
    storage_options
        Arguments for the dataset's fsspec filesystem.

    Raises
    ------
    UsageError
        An option makes no sense.
    ScaledprocError
        The dataset cannot be listed.
    """
    options = Options(extractor, unit, _strings(anchors), _strings(include), _strings(exclude), limit, shards, chunk)
    inputs, _ = split_options(storage_options)
    return make(Store.at(dataset, inputs), options, load_extractor(extractor), cores=cores(jobs))


def run(
    dataset: Where,
    output: Where,
    *,
    extractor: str | Extractor = "wfdb-summary",
    unit: str | None = None,
    anchors: Iterable[str] | str = (),
    include: Iterable[str] | str = (),
    exclude: Iterable[str] | str = (),
    limit: int | None = None,
    shards: str | int = "folder",
    chunk: str | int = "auto",
    backend: str | Backend = "local",
    jobs: int | None = None,
    signal_names: Where | None = None,
    overwrite: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    scratch: Where | None = None,
    on_event: Listener | None = None,
) -> Run:
    """Turn a dataset into one table of features; or continue where an interrupted run stopped.

    Parameters
    ----------
    dataset, extractor, unit, anchors, include, exclude, limit, shards, chunk
        As for `plan`.
    output
        The folder to write, as a path or URL. A finished run of the same plan in it is left as it is, an unfinished
        one is continued (with the cuts that it was begun with).
    backend
        Where the jobs run: a name or a backend.
    jobs
        Processes of each machine; as many as it has cores where none is given; 1 for all in this process.
    signal_names
        A file with canonical signal names for `wfdb-summary` instead of the built-in ones.
    overwrite
        Throw away a run that is in the output folder.
    storage_options
        Arguments for the fsspec filesystems; a name that begins with `input.` or `output.` is for that one only.
    scratch
        Local folder to stage remote data in.
    on_event
        Called with each event as it happens.

    Returns
    -------
    Run
        `to_arrow()`, `to_pandas()`, `errors()`, `summary(name)` open it; `quarantined` is the number of failed tasks.

    Raises
    ------
    UsageError
        What was asked for makes no sense, or the output folder holds something else.
    ScaledprocError
        The run cannot go on. What is committed is kept: the same call continues.
    """
    options = Options(
        extractor, unit, _strings(anchors), _strings(include), _strings(exclude), limit, shards, chunk, signal_names
    )
    inputs, outputs = split_options(storage_options)
    machine = (
        backend
        if isinstance(backend, Backend)
        else load_backend(backend)(jobs=jobs, scratch=Path(scratch) if scratch else None)
    )
    store = Store.at(output, outputs)
    with reporting(f"{store} cannot be read or written: "):
        return execute(Store.at(dataset, inputs), store, options, machine, overwrite, on_event)


def combine(
    output: Where,
    *,
    signal_names: Where | None = None,
    storage_options: Mapping[str, Any] | None = None,
    on_event: Listener | None = None,
) -> Run:
    """Write the table and the summaries of a run's shards anew, without extracting again.

    Parameters
    ----------
    output
        The run's folder.
    signal_names
        A file with canonical signal names, or `built-in`; where none is given, those that the run used.
    storage_options, on_event
        As for `run`.

    Raises
    ------
    ScaledprocError
        There is no run, or a shard of it is missing.
    """
    _, outputs = split_options(storage_options)
    with reporting():
        found = Run.open(Store.at(output, outputs))
        if signal_names is not None:
            options = extractor_options(signal_names)
            load_extractor(found.source, options)
            record = replace(found.record, extractor={**found.record.extractor, "options": options})
            found = Run(found.store, found.dataset, found.source, record)
        done = combine_shards(found)
        if on_event is not None:
            on_event(done)
        if found.record.state == "done":
            sizes = {**found.record.bytes, "features": size_of_table(found)}
            return found.with_record(summaries=done.summaries, bytes=sizes)
        return finish(found, done, time.perf_counter() - done.seconds, on_event)


def work(
    run: Where,
    shards: Sequence[int],
    *,
    combine: bool = False,
    jobs: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    scratch: Path | None = None,
) -> Iterator[Event]:
    """Do jobs of a run on this machine: what `scaledproc worker` does.

    Parameters
    ----------
    run
        The run's folder.
    shards
        Macro shards to make.
    combine
        Whether to combine the shards afterwards. run.json is left to whoever began the run.
    jobs, storage_options, scratch
        As for `run`.

    Raises
    ------
    UsageError
        There is no such shard, or nothing was asked for.
    ScaledprocError
        There is no run, or a job cannot be done.
    """
    inputs, outputs = split_options(storage_options)
    yield from do_job(
        JobOrder(
            run=os.fspath(run),
            shards=tuple(shards),
            combine=combine,
            jobs=jobs,
            scratch=scratch,
            inputs=inputs,
            outputs=outputs,
        )
    )


def split_options(options: Mapping[str, Any] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Storage options for the input and for the output; a prefix `input.` or `output.` means only that one."""
    inputs: dict[str, Any] = {}
    outputs: dict[str, Any] = {}
    for key, value in (options or {}).items():
        side, dot, name = key.partition(".")
        if dot and side in ("input", "output"):
            (inputs if side == "input" else outputs)[name] = value
        else:
            inputs.setdefault(key, value)
            outputs.setdefault(key, value)
    return inputs, outputs


def _strings(value: Iterable[str] | str) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
