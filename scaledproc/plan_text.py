"""Plans and results as text for a person, or as JSON for a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scaledproc.describe import bytes_text, count_text, seconds_text

if TYPE_CHECKING:
    from scaledproc.events import RunFinished
    from scaledproc.planning import Plan

SHOWN_SHARDS = 20


def plan_json(plan: Plan, cores: int) -> dict[str, Any]:
    """A plan as JSON's types."""
    return {
        "plan_id": plan.plan_id,
        "tasks": plan.n_tasks,
        "units": plan.n_units,
        "files": plan.files.num_rows,
        "bytes": plan.size,
        "cores": cores,
        "chunks": plan.n_chunks,
        "balance": plan.balance,
        "shards": [_shard(plan, shard, cores) for shard in range(plan.n_shards)],
        "warnings": list(plan.warnings),
    }


def plan_text(plan: Plan, cores: int) -> str:
    """A plan for a person."""
    if not plan.n_tasks:
        return "\n".join(plan.warnings)
    groups = len(plan.tasks["group"].unique())
    lines = [
        f"plan {plan.plan_id}",
        (
            f"{count_text(plan.n_tasks, 'task')} in {count_text(plan.n_units, 'unit')} of "
            f"{count_text(groups, 'group')}, {count_text(plan.files.num_rows, 'file')}, {bytes_text(plan.size)}"
        ),
        (
            f"{count_text(plan.n_shards, 'shard')}, balance {plan.balance:.2f} (largest over mean; 1 is perfect), "
            f"{count_text(plan.n_chunks, 'chunk')} for {count_text(cores, 'core')} (one thread each)"
        ),
        "",
        f"{'shard':>6} {'size':>9} {'tasks':>9} {'units':>7} {'chunks':>7} {'per core':>9}  from … to",
    ]
    for shard in range(min(plan.n_shards, SHOWN_SHARDS)):
        row = _shard(plan, shard, cores)
        lines.append(
            f"{shard:>6} {bytes_text(row['bytes']):>9} {row['tasks']:>9,} {row['units']:>7,} {row['chunks']:>7,} "
            f"{row['chunks_per_core']:>9.1f}  {_shown(row['first_unit'])} … {_shown(row['last_unit'])}"
        )
    if plan.n_shards > SHOWN_SHARDS:
        sizes = np.sort(plan.shard_sizes)
        lines.append(
            f"   … and {plan.n_shards - SHOWN_SHARDS:,} more; smallest {bytes_text(sizes[0])}, "
            f"median {bytes_text(float(np.median(sizes)))}, largest {bytes_text(sizes[-1])}"
        )
    lines += [f"warning: {warning}" for warning in plan.warnings]
    return "\n".join(lines)


def _shard(plan: Plan, shard: int, cores: int) -> dict[str, Any]:
    start, stop = int(plan.shard_cuts[shard]), int(plan.shard_cuts[shard + 1])
    units = plan.units_of(start, stop)
    chunks = plan.n_chunks_of(shard)
    return {
        "shard": shard,
        "bytes": int(plan.shard_sizes[shard]),
        "tasks": stop - start,
        "units": len(units),
        "chunks": chunks,
        "chunks_per_core": chunks / cores,
        "first_unit": plan.unit_name(units[0]),
        "last_unit": plan.unit_name(units[-1]),
    }


def finished_text(event: RunFinished) -> str:
    """How a run ended."""
    failed = f", {event.quarantined:,} quarantined" if event.quarantined else ""
    if event.already:
        lines = [f"{event.output} is finished already ({count_text(event.rows, 'row')}{failed}); nothing to do"]
    else:
        lines = [
            (
                f"{count_text(event.rows, 'row')} from {count_text(event.tasks, 'task')} "
                f"({bytes_text(event.size)}) in {seconds_text(event.seconds)}{failed}"
            )
        ]
    for failure in event.failures:
        lines.append(f"  {_shown(failure.anchor)}: {failure.error}: {_shown(failure.message)}")
    if event.quarantined > len(event.failures):
        lines.append(f"  all {event.quarantined:,} are in {event.output}/errors.parquet, tracebacks in errors.log")
    elif event.quarantined:
        lines.append(f"  also in {event.output}/errors.parquet, tracebacks in errors.log")
    if not event.already:
        lines.append(f"the table: {event.output}/features.parquet")
    return "\n".join(lines)


def _shown(text: str) -> str:
    """Text from a dataset in one line, without what would steer a terminal."""
    clean = "".join(char if char.isprintable() else "�" for char in text)
    return clean if len(clean) <= 200 else clean[:199] + "…"
