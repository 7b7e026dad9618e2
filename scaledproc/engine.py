"""The whole story: a dataset, a plan, a backend, one table."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from scaledproc.backend import Backend, Job, load_backend
from scaledproc.combining import combine as combine_shards
from scaledproc.combining import finished_schema
from scaledproc.cuts import ChunkCut, ShardCut
from scaledproc.describe import count_text
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.events import SHOWN_FAILURES, CombineDone, Event, Failure, Note, RunFinished, RunStarted, ShardDone
from scaledproc.extractors import Extractor, load_extractor
from scaledproc.extractors.rows import RowCollector
from scaledproc.inventory import take_inventory
from scaledproc.planning import Plan, make_plan
from scaledproc.pool import cores
from scaledproc.run_folder import FEATURES, OWN_NAMES, Run, RunRecord, begin, changed_files, decide, read_record
from scaledproc.storage import Store, describe, redacted, store_errors

Where = str | os.PathLike[str]
Listener = Callable[[Event], None]

BUILT_IN = "built-in"
"""Instead of a file of signal names: those of the package."""

# What touches the data, and so may change the output.
_LIBRARIES = ("scaledproc", "numpy", "pandas", "pyarrow", "wfdb", "soundfile", "fsspec", "s3fs", "joblib")


@dataclass(frozen=True)
class Options:
    """What a plan is made by; the parameters of `plan`."""

    extractor: str | Extractor = "wfdb-summary"
    unit: str | None = None
    anchors: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    limit: int | None = None
    shards: str | int = "folder"
    chunk: str | int = "auto"
    signal_names: Where | None = None


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
    return _plan(Store.at(dataset, inputs), options, load_extractor(extractor), cores=cores(jobs))


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
    with _reporting(f"{store} cannot be read or written: "):
        return _run(Store.at(dataset, inputs), store, options, machine, overwrite, on_event)


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
    with _reporting():
        found = Run.open(Store.at(output, outputs))
        if signal_names is not None:
            options = _extractor_options(Path(signal_names))
            load_extractor(found.source, options)
            record = replace(found.record, extractor={**found.record.extractor, "options": options})
            found = Run(found.store, found.dataset, found.source, record)
        done = combine_shards(found)
        _tell(on_event, done)
        if found.record.state == "done":
            sizes = {**found.record.bytes, "features": _size(found)}
            return found.with_record(summaries=done.summaries, bytes=sizes)
        return _finish(found, done, time.perf_counter() - done.seconds, on_event)


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
    from scaledproc.worker import run_shards

    inputs, outputs = split_options(storage_options)
    with _reporting():
        found = Run.open(Store.at(run, outputs))
        found = Run(found.store, Store.at(found.dataset.uri, inputs), found.source, found.record)
        if found.record.state == "done":
            raise UsageError(f"{found.store} is finished; there is nothing to do")
        if found.extractor.fingerprint != found.record.extractor["fingerprint"]:
            raise ScaledprocError(f"{found.extractor.label} is not what it was when {found.store} was begun")
        count = found.record.counts["shards"]
        strange = [shard for shard in shards if not 0 <= shard < count]
        if strange or not (shards or combine):
            raise UsageError(f"{found.store} has the shards 0 to {count - 1}: name some with --shard, or --combine")
        if shards:
            yield from run_shards(found, sorted(set(shards)), jobs=cores(jobs), scratch=scratch)
        if combine:
            yield combine_shards(found)


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


@contextlib.contextmanager
def _reporting(where: str = "", consolation: str = "") -> Iterator[None]:
    """What a disk or a store refuses becomes an error for a person."""
    try:
        yield
    except Exception as error:
        if isinstance(error, store_errors()):  # known only once the store's library is in use
            raise ScaledprocError(f"{where}{describe(error)}{consolation}") from error
        raise


def _run(
    dataset: Store, output: Store, options: Options, backend: Backend, overwrite: bool, on_event: Listener | None
) -> Run:
    started = time.perf_counter()
    extractor_options = _extractor_options(options.signal_names)
    extractor = load_extractor(options.extractor, extractor_options)
    RowCollector(extractor.schema)  # complains of a schema that cannot be, as the next does
    finished_schema(extractor)
    _check_places(dataset, output, options.extractor, backend)
    skip = dataset.contains(output)
    planned = _plan(dataset, options, extractor, cores=backend.cores, skip=skip)
    if not planned.n_tasks:
        raise ScaledprocError("; ".join(planned.warnings))
    for warning in planned.warnings:
        _tell(on_event, Note(warning))
    new = Run(
        output, dataset, options.extractor, _record(dataset, options, extractor, extractor_options, planned, backend)
    )
    if not backend.capabilities.executes:
        _tell(on_event, _started(new, planned, backend, resumed=False))
        for event in backend.run(new, [*(Job(shard) for shard in range(planned.n_shards)), Job()]):
            _tell(on_event, event)
        return new
    existing = None if overwrite else read_record(output)
    try:
        decision = decide(existing, planned.plan_id, _foreign_names(output, dataset), overwrite=overwrite)
    except UsageError as error:
        raise UsageError(f"{output}: {error}") from None
    if decision == "finished" and existing is not None:
        return _already_finished(new, existing, planned, options, on_event)
    if decision == "continue" and existing is not None:
        current = _continue(new, existing, planned, on_event)
    else:
        current = begin(new, planned)
    _tell(on_event, _started(current, current.plan, backend, resumed=decision == "continue"))
    with _reporting(f"{output} cannot be read or written: ", "; what is committed is kept, the same command continues"):
        return _finish(current, _execute(current, backend, on_event), started, on_event)


def _execute(current: Run, backend: Backend, on_event: Listener | None) -> CombineDone:
    """All shards, then their table."""
    combined = None
    try:
        for jobs in ([Job(shard) for shard in range(current.record.counts["shards"])], [Job()]):
            for event in backend.run(current, jobs):
                _tell(on_event, event)
                if isinstance(event, CombineDone):
                    combined = event
    except BaseException:
        backend.stop()
        raise
    if combined is None:
        raise ScaledprocError("the backend ended without combining the shards; run the same command again")
    return combined


def _plan(dataset: Store, options: Options, extractor: Extractor, *, cores: int, skip: str | None = None) -> Plan:
    if options.limit is not None and options.limit < 1:
        raise UsageError(f"--limit {options.limit}: give 1 or more")
    shards, chunks = ShardCut.parse(options.shards), ChunkCut.parse(options.chunk)
    inventory = take_inventory(dataset, include=options.include, exclude=options.exclude, skip=skip)
    made = make_plan(
        inventory,
        extractor,
        unit=options.unit,
        anchors=options.anchors or None,
        limit=options.limit,
        shards=shards,
        chunks=chunks,
        cores=cores,
    )
    if made.n_tasks:
        return made
    return replace(made, warnings=(_why_empty(dataset, options, extractor, inventory.files), *made.warnings))


def _why_empty(dataset: Store, options: Options, extractor: Extractor, files: Any) -> str:
    anchors = " or ".join(options.anchors or extractor.anchors)
    if not files.num_rows:
        chosen = " that --include and --exclude leave" if options.include or options.exclude else ""
        return f"{dataset} has no files{chosen}"
    from collections import Counter

    endings = Counter(Path(path).suffix or "no ending" for path in files["path"].to_pylist())
    kinds = ", ".join(f"{count:,} {ending}" for ending, count in endings.most_common(4))
    return (
        f"nothing to do: no file under {dataset} matches {anchors}, by which {extractor.label} begins a task "
        f"(there are {kinds}); name others with --anchor, or another extractor"
    )


def _check_places(dataset: Store, output: Store, source: str | Extractor, backend: Backend) -> None:
    if dataset.contains(output) == "":
        raise UsageError(f"{output} is the dataset itself; name another folder for the output")
    inner = output.contains(dataset)
    if inner and inner.partition("/")[0] in OWN_NAMES:
        raise UsageError(f"the dataset lies in {output}, where the run would write over it; name another folder")
    if backend.capabilities.is_here:
        return
    for store in (dataset, output):
        if store.local is not None or store.is_private:
            raise UsageError(f"{store} is on this machine, where the backend's machines cannot reach it")
    if isinstance(source, Extractor):
        raise UsageError("the backend's machines need an extractor with a name: package.module:name or file.py:name")


def _foreign_names(output: Store, dataset: Store) -> list[str]:
    """What is in the output folder, but for a dataset that lies in it."""
    inner = output.contains(dataset)
    names = output.names()
    return [name for name in names if name != inner.partition("/")[0]] if inner else names


def _record(
    dataset: Store,
    options: Options,
    extractor: Extractor,
    extractor_options: Mapping[str, Any],
    planned: Plan,
    backend: Backend,
) -> RunRecord:
    spec = options.extractor
    if isinstance(spec, str) and ".py:" in spec:  # found again from whichever folder the next command is called in
        path, _, name = spec.rpartition(":")
        spec = f"{Path(path).expanduser().absolute()}:{name}"
    return RunRecord(
        state="running",
        plan_id=planned.plan_id,
        dataset=redacted(dataset.uri),
        extractor={
            "spec": spec if isinstance(spec, str) else f"(in memory) {extractor.label}",
            "label": extractor.label,
            "fingerprint": extractor.fingerprint,
            "options": dict(extractor_options),
        },
        options={
            "unit": options.unit or extractor.unit,
            "anchors": list(options.anchors or extractor.anchors),
            "include": list(options.include),
            "exclude": list(options.exclude),
            "limit": options.limit,
            "shards": str(options.shards),
            "chunk": str(options.chunk),
            "backend": type(backend).__name__,
            "cores": backend.cores,
        },
        versions=_versions(),
        counts={
            "tasks": planned.n_tasks,
            "units": planned.n_units,
            "files": planned.files.num_rows,
            "shards": planned.n_shards,
            "chunks": planned.n_chunks,
        },
        bytes={"input": planned.size},
        timings={"started": _now(), "sessions": 1},
    )


def _continue(new: Run, existing: RunRecord, planned: Plan, on_event: Listener | None) -> Run:
    current = Run(new.store, new.dataset, new.source, existing)
    _refuse_changes(current, planned)
    cuts = {name: existing.options[name] for name in ("shards", "chunk")}
    if cuts != {name: new.record.options[name] for name in cuts}:
        _tell(
            on_event,
            Note(
                f"continuing with the cuts that the run began with: --shards {cuts['shards']} --chunk {cuts['chunk']}"
            ),
        )
    if existing.versions != new.record.versions:
        differ = sorted(
            name
            for name in {*existing.versions, *new.record.versions}
            if existing.versions.get(name) != new.record.versions.get(name)
        )
        _tell(
            on_event, Note(f"the run began with other versions of {', '.join(differ)}: its parts may differ in detail")
        )
    timings = {**existing.timings, "sessions": existing.timings.get("sessions", 1) + 1}
    return current.with_record(extractor=new.record.extractor, versions=new.record.versions, timings=timings)


def _already_finished(new: Run, existing: RunRecord, planned: Plan, options: Options, on_event: Listener | None) -> Run:
    finished = Run(new.store, new.dataset, new.source, existing)
    if options.signal_names is not None and existing.extractor["options"] != new.record.extractor["options"]:
        raise UsageError(
            f"{new.store} is finished, with other signal names; to change them without extracting again: "
            f"scaledproc combine {new.store} --signal-names FILE"
        )
    if FEATURES not in new.store.names():
        raise ScaledprocError(
            f"{new.store} is finished, but {FEATURES} is gone; scaledproc combine {new.store} makes it of the shards"
        )
    _refuse_changes(finished, planned)
    with contextlib.suppress(OSError):  # a finished run may have been made read-only since
        finished.clean_up()
    _tell(on_event, _finished(finished, 0.0, already=True))
    return finished


def _refuse_changes(current: Run, planned: Plan) -> None:
    changed = changed_files(current, planned)
    if changed:
        raise ScaledprocError(
            f"{count_text(changed, 'file')} of the dataset changed, though not in size, since the run in "
            f"{current.store} listed them; its results are not theirs any more: --overwrite starts afresh"
        )


def _finish(current: Run, combined: CombineDone, started: float, on_event: Listener | None) -> Run:
    """Write the end into run.json, then remove what only an unfinished run needs."""
    shards = [current.shard_report(shard) for shard in range(current.record.counts["shards"])]
    quarantined = sum(shard.quarantined for shard in shards)
    seconds = time.perf_counter() - started
    timings = current.record.timings
    done = current.with_record(
        state="done",
        counts={**current.record.counts, "rows": combined.rows, "quarantined": quarantined},
        bytes={**current.record.bytes, "features": _size(current)},
        timings={
            **timings,
            "finished": _now(),
            "last_session_seconds": round(seconds, 3),
            "work_seconds": round(sum(shard.seconds for shard in shards), 3),
            "combine_seconds": round(combined.seconds, 3),
        },
        shards=[_shard_record(shard) for shard in shards],
        summaries=combined.summaries,
    )
    done.clean_up()
    failures = tuple(failure for shard in shards for failure in shard.failures)[:SHOWN_FAILURES]
    _tell(on_event, _finished(done, seconds, failures=failures))
    return done


def _shard_record(shard: ShardDone) -> dict[str, Any]:
    return {
        "shard": shard.shard,
        "tasks": shard.tasks,
        "rows": shard.rows,
        "bytes": shard.size,
        "quarantined": shard.quarantined,
        "work_seconds": round(shard.seconds, 3),
    }


def _started(current: Run, planned: Plan, backend: Backend, *, resumed: bool) -> RunStarted:
    return RunStarted(
        plan_id=planned.plan_id,
        tasks=planned.n_tasks,
        size=planned.size,
        shards=planned.n_shards,
        chunks=planned.n_chunks,
        cores=backend.cores,
        output=str(current.store),
        resumed=resumed,
    )


def _finished(current: Run, seconds: float, *, already: bool = False, failures: Sequence[Failure] = ()) -> RunFinished:
    record = current.record
    return RunFinished(
        output=str(current.store),
        tasks=record.counts["tasks"],
        rows=record.counts["rows"],
        size=record.bytes["input"],
        quarantined=record.counts["quarantined"],
        seconds=seconds,
        already=already,
        failures=tuple(failures),
    )


def _extractor_options(signal_names: Where | None) -> dict[str, Any]:
    if signal_names is None or signal_names == Path(BUILT_IN):
        return {}
    try:
        text = Path(signal_names).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--signal-names {os.fspath(signal_names)}: {describe(error)}") from None
    from scaledproc.extractors.signal_names import SignalNames

    SignalNames.parse(text)
    return {"signal_names": text}


def _size(current: Run) -> int:
    from scaledproc.run_folder import FEATURES

    return int(current.store.fs.size(current.store.path(FEATURES)))


def _versions() -> dict[str, str]:
    import platform

    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _strings(value: Iterable[str] | str) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _tell(on_event: Listener | None, event: Event) -> None:
    if on_event is not None:
        on_event(event)
