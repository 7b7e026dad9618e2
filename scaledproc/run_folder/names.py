"""The names in a run's folder, and the columns of its errors.

Its layout::

    OUTPUT/
      features.parquet                   every row, in the plan's order
      beats.parquet                      a further table that the extractor declares, <name>.parquet
      features/, beats/                  with --table dataset, instead of these files:
        part-00000.parquet               the rows of one macro shard
        _common_metadata                 the columns of all of them
      croissant.json                     what these tables and their columns are, as Croissant 1.1
      signal_stats.csv                   the extractor's summaries, <name>.csv
      errors.parquet                     the quarantined tasks, one row each
      errors.log                         their tracebacks; only when a task failed
      warnings.parquet                   what tasks warned of; only when one did
      logs/<shard>.log                   what tasks printed and logged that failed, or all with --keep-logs
      tasks.parquet                      what became of each task, one row each
      shards/<shard>.parquet             one table per macro shard, before `finish`
      plan.parquet                       one row per task, with its shard and chunk
      inventory.parquet                  one row per file, with its unit and version
      lease.json                         which driver is at work here; only while one is
      report.html                        a page that tells of all this; only where it is wanted
      run.json                           plan id, versions, options, counts, bytes, timings, state
      work/<shard>/                      only during a run:
        <chunk>.parquet                  a committed chunk; its metadata holds the plan id and its ChunkDone
        <chunk>.errors.parquet           its quarantined tasks with tracebacks, if there are any
        <chunk>.said.parquet             what its tasks said, if anything
      work/done/<shard>.json             the ShardDone of a committed shard
      work/done/<shard>.errors.parquet   its quarantined tasks with tracebacks
      work/done/<shard>.said.parquet     what its tasks said: warnings, and logs that are kept; only where there is any
      work/done/<shard>.tables.json      what the shard's files of the tables are like; only with --table dataset
      work/done/reused.parquet           which tasks an earlier run made; only where there are such
      work/parts/<job>/<host>/           parts of shards, where the tasks of one are spread over machines
      work/{control,manifests,code,table}/  what a backend keeps there, such as code for its machines
      work/progress/                     heartbeats
      work/combined.json                 the CombineDone of a combine job elsewhere
      work/todo/                         a run's folder, of the tasks whose rows no earlier run has
      update/                            a run's folder, of what takes this one's place once it is whole
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa

RECORD = "run.json"
PLAN = "plan.parquet"
INVENTORY = "inventory.parquet"
FEATURES = "features.parquet"
CROISSANT = "croissant.json"
MAIN_TABLE = "features"
COMMON_METADATA = "_common_metadata"
"""The columns of all files of a table's folder, as Parquet's tools call such a file."""
TABLE_FILE = re.compile(r"part-\d{5,}\.parquet|_common_metadata")
"""What a table's folder has of a run."""
ERRORS = "errors.parquet"
ERROR_LOG = "errors.log"
TASKS = "tasks.parquet"
WARNINGS = "warnings.parquet"
REPORT = "report.html"
LOGS = "logs"
LOG_FILE = re.compile(r"\d{5,}\.log")
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
OWN_FILES = frozenset({RECORD, PLAN, INVENTORY, FEATURES, CROISSANT, ERRORS, ERROR_LOG, TASKS, WARNINGS, REPORT})
OWN_NAMES = OWN_FILES | {LOGS, SHARDS, WORK, LEASE, UPDATE, MAIN_TABLE}
SHARD_FILE = re.compile(r"\d{5,}\.parquet")
PARTS = f"{WORK}/parts"
FOR_BACKENDS = ("control", "manifests", "code", "table")
"""Folders of `work/` that are a backend's; they go with the run's own."""
IN_WORK = re.compile(rf"\d{{5,}}|done|combined\.json|progress|parts|todo|{'|'.join(FOR_BACKENDS)}")

ERROR_SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in ("group", "unit", "anchor", "kind", "error")),
        pa.field("message", pa.string(), nullable=False),
        pa.field("attempts", pa.int32(), nullable=False),
    ]
)
WORK_ERROR_SCHEMA = ERROR_SCHEMA.append(pa.field("traceback", pa.string(), nullable=False))
"""Errors while the run goes on; a traceback names paths of a machine, so it ends in `errors.log`."""

WARNING, LOG = "warning", "log"
SAID_SCHEMA = pa.schema(
    [pa.field(name, pa.string(), nullable=False) for name in ("group", "unit", "anchor", "what", "text")]
)
"""What tasks said while the run goes on: `what` is `warning` or `log`."""
WARNING_SCHEMA = pa.schema(
    [pa.field(name, pa.string(), nullable=False) for name in ("group", "unit", "anchor", "message")]
)


def log_name(shard: int) -> str:
    """The file of what tasks of a macro shard printed and logged."""
    return f"{LOGS}/{shard:05d}.log"


def shard_said_name(shard: int) -> str:
    """What the tasks of a committed macro shard said."""
    return f"{DONE}/{shard:05d}.said.parquet"


def shard_name(shard: int) -> str:
    """The file of a macro shard's features."""
    return f"{SHARDS}/{shard:05d}.parquet"


def table_name(table: str) -> str:
    """The file of a further table."""
    return f"{table}.parquet"


def table_file_name(table: str, shard: int, shards: int) -> str:
    """The file of a macro shard's rows of a table, where a table is a folder; by their names they sort as the shards.

    Parameters
    ----------
    table, shard
        Which one.
    shards
        How many macro shards there are.
    """
    digits = max(5, len(str(shards - 1)))
    return f"{table}/part-{shard:0{digits}d}.parquet"


def common_metadata_name(table: str) -> str:
    """The file of the columns of a table that is a folder."""
    return f"{table}/{COMMON_METADATA}"


def table_report_name(shard: int) -> str:
    """What a macro shard's files of the tables are like, as JSON."""
    return f"{DONE}/{shard:05d}.tables.json"


def work_name(shard: int, what: str) -> str:
    """A file of a macro shard in the making."""
    return f"{WORK}/{shard:05d}/{what}"


def report_name(shard: int) -> str:
    """What became of a committed macro shard, as JSON."""
    return f"{DONE}/{shard:05d}.json"


def shard_errors_name(shard: int) -> str:
    """The quarantined tasks of a committed macro shard, with tracebacks."""
    return f"{DONE}/{shard:05d}.errors.parquet"


def names_beside(shard: int) -> tuple[str, str]:
    """What belongs to a shard's file while the run goes on."""
    return report_name(shard), shard_errors_name(shard)


def names_around(shard: int) -> tuple[str, ...]:
    """What belongs to a shard's file while the run goes on, with what only some shards have."""
    return (*names_beside(shard), shard_said_name(shard), table_report_name(shard))


def numbers_in(names: Sequence[str], ending: str) -> set[int]:
    """The numbers of the files `NNNNN<ending>`."""
    stems = (name.removesuffix(ending) for name in names if name.endswith(ending))
    return {int(stem) for stem in stems if stem.isdecimal()}
