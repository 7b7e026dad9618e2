"""The names in a run's folder, and the columns of its errors.

Its layout::

    OUTPUT/
      features.parquet                   every row, in the plan's order
      beats.parquet                      a further table that the extractor declares, <name>.parquet
      signal_stats.csv                   the extractor's summaries, <name>.csv
      errors.parquet                     the quarantined tasks, one row each
      errors.log                         their tracebacks; only when a task failed
      tasks.parquet                      what became of each task, one row each
      shards/<shard>.parquet             one table per macro shard, before `finish`
      plan.parquet                       one row per task, with its shard and chunk
      inventory.parquet                  one row per file, with its unit and version
      lease.json                         which driver is at work here; only while one is
      run.json                           plan id, versions, options, counts, bytes, timings, state
      work/<shard>/                      only during a run:
        <chunk>.parquet                  a committed chunk; its metadata holds the plan id and its ChunkDone
        <chunk>.errors.parquet           its quarantined tasks with tracebacks, if there are any
      work/done/<shard>.json             the ShardDone of a committed shard
      work/done/<shard>.errors.parquet   its quarantined tasks with tracebacks
      work/done/reused.parquet           which tasks an earlier run made; only where there are such
      work/control/                      copies of run.json, plan and inventory, for machines that mount them;
                                         `stop`, once somebody asked for it
      work/manifests/                    lists of a job's files, where they are no whole folders
      work/code/<hash>/                  code for the machines, with `complete` as its commit
      work/parts/<job>/<host>/           parts of shards, where the service dealt out the files
      work/progress/                     heartbeats
      work/combined.json                 the CombineDone of a combine job elsewhere
      work/todo/                         a run's folder, of the tasks whose rows no earlier run has
      update/                            a run's folder, of what takes this one's place once it is whole
"""

from __future__ import annotations

import re

import pyarrow as pa

RECORD = "run.json"
PLAN = "plan.parquet"
INVENTORY = "inventory.parquet"
FEATURES = "features.parquet"
ERRORS = "errors.parquet"
ERROR_LOG = "errors.log"
TASKS = "tasks.parquet"
SHARDS = "shards"
LEASE = "lease.json"
"""Whose the folder is while a driver is at work."""
WORK = "work"
"""What only an unfinished run needs: committed chunks, what became of the shards, what a backend keeps there."""
DONE = f"{WORK}/done"
REUSED_TASKS = f"{DONE}/reused.parquet"
COMBINED = f"{WORK}/combined.json"
TODO = f"{WORK}/todo"
"""A run's folder of its own: of the tasks that no earlier run has the rows of."""
UPDATE = "update"
"""A run's folder of its own: of what is to take this one's place, until that is whole."""
OWN_NAMES = frozenset(
    {RECORD, PLAN, INVENTORY, FEATURES, ERRORS, ERROR_LOG, TASKS, SHARDS, WORK, LEASE, UPDATE, "report.html"}
)
OWN_FILES = OWN_NAMES - {SHARDS, WORK, LEASE, UPDATE}
SHARD_FILE = re.compile(r"\d{5,}\.parquet")
IN_WORK = re.compile(r"\d{5,}|done|combined\.json|progress|control|manifests|code|parts|todo")

ERROR_SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in ("group", "unit", "anchor", "kind", "error")),
        pa.field("message", pa.string(), nullable=False),
        pa.field("attempts", pa.int32(), nullable=False),
    ]
)
WORK_ERROR_SCHEMA = ERROR_SCHEMA.append(pa.field("traceback", pa.string(), nullable=False))
"""Errors while the run goes on; a traceback names paths of a machine, so it ends in `errors.log`."""


def shard_name(shard: int) -> str:
    """The file of a macro shard's features."""
    return f"{SHARDS}/{shard:05d}.parquet"


def table_name(table: str) -> str:
    """The file of a further table."""
    return f"{table}.parquet"


def work_name(shard: int, what: str) -> str:
    """A file of a macro shard in the making."""
    return f"{WORK}/{shard:05d}/{what}"


def report_name(shard: int) -> str:
    """What became of a committed macro shard, as JSON."""
    return f"{DONE}/{shard:05d}.json"


def shard_errors_name(shard: int) -> str:
    """The quarantined tasks of a committed macro shard, with tracebacks."""
    return f"{DONE}/{shard:05d}.errors.parquet"
