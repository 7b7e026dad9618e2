"""What to do with the folder that a run is given, and how one begins there."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from scaledproc.errors import OtherPlanError, ScaledprocError, UsageError
from scaledproc.run_folder.folder import RunFolder, remove_own, remove_unlisted
from scaledproc.run_folder.names import (
    IN_WORK,
    LEASE,
    LOG_FILE,
    LOGS,
    MAIN_TABLE,
    OWN_FILES,
    RECORD,
    SHARD_FILE,
    SHARDS,
    TABLE_FILE,
    WORK,
    names_around,
    table_name,
)
from scaledproc.run_folder.plan_files import write_plan
from scaledproc.run_folder.record import RunRecord, read_record

if TYPE_CHECKING:
    from scaledproc.planning.plan import Plan


Decision = Literal["begin", "continue", "finished"]


def decide(existing: RunRecord | None, plan_id: str, names: Sequence[str], *, overwrite: bool) -> Decision:
    """What to do with an output folder.

    Parameters
    ----------
    existing
        The run that is there already.
    plan_id
        The plan to run now.
    names
        What is in the folder.
    overwrite
        Whether an existing run may be thrown away.

    Raises
    ------
    OtherPlanError
        If the folder holds another plan's run.
    UsageError
        If the folder holds files that are not a run's.
    """
    if RECORD not in names and existing is None:
        foreign = [name for name in names if not name.startswith(".") and name != LEASE]
        if foreign:
            raise UsageError(
                f"it holds other files ({', '.join(map(repr, foreign[:3]))}{', …' if len(foreign) > 3 else ''}); "
                "name a new or empty folder"
            )
        return "begin"
    if overwrite or existing is None or existing.state == "beginning":
        return "begin"
    if existing.plan_id != plan_id:
        raise OtherPlanError(f"holds the run of another plan ({existing.plan_id[:12]}; this is {plan_id[:12]})")
    return "finished" if existing.state == "done" else "continue"


def begin(run: RunFolder, plan: Plan) -> RunFolder:
    """Write a new run's folder, in the place of the run that is there.

    run.json comes first, to say whose folder it is from now on, and again last: only then there is a plan to run.
    Nothing goes but what a run writes.

    In a store elsewhere the earlier run's table and shards stay until this run's take their places. A removal that
    arrives there late, when another driver was at work meanwhile, would take that one's files, which have the same
    names and may have the same bytes. What has no successor is removed when the run is done.
    """
    try:
        previous = read_record(run.store)
        replaces = _replaced_by_next(previous)
    except ScaledprocError:  # a damaged one is what --overwrite is for
        replaces = {"summaries": [], "shards": plan.n_shards, "folders": True}
    begun = run.with_record(state="beginning", beginning=uuid.uuid4().hex, replaces=replaces)
    store = begun.store
    shards = max(plan.n_shards, replaces.get("shards", 0))
    if replaces and store.local is not None:
        gone = [f"{summary}.csv" for summary in replaces["summaries"]]
        gone += map(table_name, replaces.get("tables", ()))
        store.remove_files([*sorted(OWN_FILES - {RECORD}), *gone])
        for table in (MAIN_TABLE, *replaces.get("tables", ())) if replaces.get("folders") else ():
            remove_own(store, table, TABLE_FILE)
        remove_own(store, SHARDS, SHARD_FILE)
        remove_own(store, LOGS, LOG_FILE)
        replaces = {}
    remove_unlisted(store, [name for shard in range(shards) for name in names_around(shard)])
    remove_own(store, WORK, IN_WORK)
    store.remove_temporaries()
    digests = write_plan(store, plan)
    return begun.with_record(state="running", digests=digests, replaces=replaces).knowing(plan)


def _replaced_by_next(record: RunRecord | None) -> dict[str, Any]:
    """What a run leaves to the one that begins in its place."""
    if record is None:
        return {}
    before = record.replaces or {"summaries": [], "shards": 0}
    tables = sorted({*record.tables, *before.get("tables", ())})
    return {
        "summaries": sorted({*record.summaries, *before["summaries"]}),
        "shards": max(record.counts["shards"], before["shards"]),
        **({"tables": tables} if tables else {}),
        **({"folders": True} if record.has_table_folders or before.get("folders") else {}),
    }
