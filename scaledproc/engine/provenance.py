"""Where an output comes from: what run.json says."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from scaledproc._util.options import Declared, declared
from scaledproc._util.redaction import redacted
from scaledproc.events import CombineDone, ShardDone
from scaledproc.execution.limits import Limits
from scaledproc.extractors.tables import tables_of
from scaledproc.planning.shared_files import to_record
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.forms import FILE
from scaledproc.run_folder.names import shard_name
from scaledproc.run_folder.record import RunRecord
from scaledproc.storage.store import Store

if TYPE_CHECKING:
    from scaledproc.backend.base import Backend
    from scaledproc.engine.options import PlanOptions, RunOptions
    from scaledproc.extractors import Extractor
    from scaledproc.planning.plan import Plan

SomeOptions = TypeVar("SomeOptions", bound="PlanOptions")

IN_MEMORY = "(in memory) "
"""What the specification in run.json begins with, of an extractor that was given as an object."""
# What touches the data, and so may change the output.
_LIBRARIES = ("scaledproc", "numpy", "pandas", "pyarrow", "wfdb", "soundfile", "fsspec", "s3fs", "joblib")


def new_record(
    dataset: Store,
    options: RunOptions,
    extractor: Extractor,
    extractor_options: Mapping[str, Any],
    planned: Plan,
    backend: Backend,
) -> RunRecord:
    """What run.json says while a run goes on."""
    spec = options.extractor
    if isinstance(spec, str) and ".py:" in spec:  # found again from whichever folder the next command is called in
        path, _, name = spec.rpartition(":")
        spec = f"{Path(path).expanduser().absolute()}:{name}"
    return RunRecord(
        state="running",
        plan_id=planned.plan_id,
        dataset=redacted(dataset.uri),
        extractor={
            "spec": spec if isinstance(spec, str) else f"{IN_MEMORY}{extractor.label}",
            "label": extractor.label,
            "fingerprint": dict(planned.fingerprint),
            "options": dict(extractor_options),
            **({"reads": to_record(planned.reads)} if planned.reads else {}),
            **({"tables": list(tables)} if (tables := tables_of(extractor)) else {}),
        },
        options={
            **_recorded(options, extractor),
            "leaves_out": not planned.is_whole,
            "backend": type(backend).__name__,
            "cores": backend.cores,
        },
        versions=versions(),
        counts={
            "tasks": planned.n_tasks,
            "units": planned.n_units,
            "files": planned.files.num_rows,
            "shards": planned.n_shards,
            "chunks": planned.n_chunks,
        },
        bytes={"input": planned.size},
        timings={"started": now(), "starts": 1},
        backend=backend.record(),
    )


def as_asked_before(options: SomeOptions, had: RunRecord | None) -> SomeOptions:
    """The options, with what an earlier command on this output said once for all later ones: whether rows have keys.

    Parameters
    ----------
    options
        As they are asked for now.
    had
        The record of the run that is there, if any. What its extractor said by itself may be otherwise by now.
    """
    asked = None if had is None else had.options.get("with_keys")
    return replace(options, with_keys=asked) if options.with_keys is None and isinstance(asked, bool) else options


def _recorded(options: RunOptions, extractor: Extractor) -> dict[str, Any]:
    """The options that run.json has, as JSON's types: what the extractor has where none was given."""
    own: dict[str, Any] = {
        "unit": options.unit or extractor.unit,
        "anchor": options.anchor or tuple(extractor.anchors),
        "table": options.table or FILE,
    }
    given = {**vars(options), **own}
    found = {each.recorded: _as_json(each, given[each.name]) for each in declared(type(options)) if each.recorded}
    return found if options.only is None else {**found, "only": _list_text(options.only)}


def continued_options(had: RunRecord, new: RunRecord, form: str) -> dict[str, Any]:
    """The options of a run that is continued: how it was cut stays, what it may take and leaves is as asked now.

    Parameters
    ----------
    had, new
        Its record, and that of the command that continues it. Other limits may be why it does.
    form
        The form of its tables.
    """
    return {
        **had.options,
        **Limits.of(new.options).to_options(),
        "table": form,
        "report": new.options.get("report", True),
    }


def _as_json(option: Declared, value: Any) -> Any:
    """An option's value as run.json has it, by what its field is: what may be a text or a number is a text there."""
    if value is None or option.annotation.startswith(("bool", "int", "float")):
        return value
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple):
        return list(value)
    return redacted(os.fspath(value)) if "Where" in option.annotation else str(value)


def _list_text(source: str | os.PathLike[str]) -> str:
    """A list's file, and which names it has: the file may change."""
    from scaledproc.fetching.selection.only import Selection

    names = Selection.read(source).names
    digest = hashlib.sha256("\n".join(sorted(names)).encode(errors="surrogateescape")).hexdigest()
    return f"{os.fspath(source)} (sha256:{digest[:16]})"


def finished_record(
    run: RunFolder, combined: CombineDone, shards: Sequence[ShardDone], seconds: float | None
) -> dict[str, Any]:
    """What changes in run.json when everything is written.

    Parameters
    ----------
    run, combined, shards
        The run, and what became of its jobs.
    seconds
        Since the command was started; None where nobody knows that.
    """
    timings = {name: value for name, value in run.record.timings.items() if name != "last_start_seconds"}
    staging = sum(shard.staging for shard in shards)
    digests = {**run.record.digests, **combined.digests}
    names = [*digests, *(shard_name(shard.shard) for shard in shards)]
    asked = [name for name in names if name not in combined.sizes]
    # A listing that lags would show what was there.
    sizes = {**run.store.sizes(asked, listed=not run.record.replaces), **combined.sizes}
    return {
        "state": "done",
        "counts": {
            **run.record.counts,
            "rows": combined.rows,
            **{f"rows_{name}": rows for name, rows in combined.tables.items()},
            "quarantined": sum(shard.quarantined for shard in shards),
        },
        "bytes": {**run.record.bytes, "features": sum(sizes.get(name, 0) for name in run.record.files_of_table())},
        "timings": {
            **timings,
            "finished": now(),
            **({} if seconds is None else {"last_start_seconds": round(seconds, 3)}),
            "work_seconds": round(sum(shard.seconds for shard in shards), 3),
            "combine_seconds": round(combined.seconds, 3),
            **({"staging_seconds": round(staging, 3)} if staging else {}),
        },
        "shards": [
            {
                "shard": shard.shard,
                "tasks": shard.tasks,
                "rows": shard.rows,
                "bytes": shard.size,
                "quarantined": shard.quarantined,
                "work_seconds": round(shard.seconds, 3),
                **({"staging_seconds": round(shard.staging, 3)} if shard.staging else {}),
                "digest": shard.digest,
            }
            for shard in shards
        ],
        "summaries": combined.summaries,
        "notes": combined.notes,
        "digests": digests,
        "sizes": sizes,
    }


def versions() -> dict[str, str]:
    """Of Python and of the libraries that touch the data."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def seconds_since_start(record: RunRecord) -> float | None:
    """How long a run that was started once has been under way; None where it was continued: nobody notes when."""
    started = record.timings.get("started")
    if not isinstance(started, str) or record.timings.get("starts", 1) != 1:
        return None
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(started)).total_seconds())


def now() -> str:
    """Coordinated universal time, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
