"""The two files in which a run's folder has its plan."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pyarrow as pa

from scaledproc._util.digests import digest_of
from scaledproc.run_folder.names import INVENTORY, PLAN
from scaledproc.storage.parquet import read_tables, write_table
from scaledproc.storage.store import Store

if TYPE_CHECKING:
    from scaledproc.planning.plan import Plan


def write_plan(store: Store, plan: Plan) -> dict[str, str]:
    """Write a plan's two files, side by side; their digests."""

    def write(name: str, table: pa.Table) -> str:
        with store.committing(name, replacing=True) as part:
            write_table(part, table.schema, [table])
            return digest_of(part)

    names = (INVENTORY, PLAN)
    with ThreadPoolExecutor(2, thread_name_prefix="plan") as pool:
        return dict(zip(names, pool.map(write, names, (plan.file_table(), plan.task_table())), strict=True))


def read_plan(store: Store, plan_id: str) -> Plan:
    """The plan that `write_plan` wrote.

    Raises
    ------
    FileNotFoundError, ScaledprocError
        If one of the plan's two files is not there, or is damaged.
    """
    from scaledproc.planning.plan import Plan

    def read(name: str) -> pa.Table:
        return pa.concat_tables(read_tables(store, name))

    pa.default_memory_pool().release_unused()  # of the plan that was written, where it was here
    with ThreadPoolExecutor(2, thread_name_prefix="plan") as pool:
        tasks, files = pool.map(read, (PLAN, INVENTORY))
    return Plan.from_tables(plan_id, tasks, files)
