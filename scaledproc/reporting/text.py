"""Plans and results as text for a person, or as JSON for a program."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from scaledproc._util.pace import left_text
from scaledproc._util.text import bytes_text, clean_text, count_text, ranges_text, seconds_text
from scaledproc.engine.progress import AT_WORK
from scaledproc.events import State
from scaledproc.planning.inventory import NoteOfRuns

if TYPE_CHECKING:
    from scaledproc.engine.past.status import Status
    from scaledproc.engine.past.verify import Verified
    from scaledproc.events import RunFinished, ShardDone, ShardState
    from scaledproc.fetching.transfer import Fetched
    from scaledproc.planning.plan import Plan

SHOWN_SHARDS = 20
NARROW = 72  # columns, below which a table is left no more than it needs
SHOWN_TROUBLES = 10
SHOWN_FAILED = 20
ENDED = (State.STOPPED, State.FAILED)


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


def plan_text(plan: Plan, cores: int, width: int | None = None) -> str:
    """A plan for a person.

    Parameters
    ----------
    plan, cores
        The plan, and for how many cores of a machine.
    width
        Columns of the terminal. Where they are few the table tells no more of a shard than its size and tasks.
    """
    if not plan.n_tasks:
        return "\n".join(plan.warnings)
    groups = len(plan.tasks["group"].unique())
    is_narrow = width is not None and width < NARROW
    more = "" if is_narrow else f" {'units':>7} {'chunks':>7} {'per core':>9}"
    lines = [f"plan {plan.plan_id}"]
    for line in (
        (
            f"{count_text(plan.n_tasks, 'task')} in {count_text(plan.n_units, 'unit')} of "
            f"{count_text(groups, 'group')}, {count_text(plan.files.num_rows, 'file')}, {bytes_text(plan.size)}"
        ),
        (
            f"{count_text(plan.n_shards, 'shard')}, balance {plan.balance:.2f} (largest over mean; 1 is perfect), "
            f"{count_text(plan.n_chunks, 'chunk')} for {count_text(cores, 'core')}"
        ),
    ):
        lines += [line] if width is None else textwrap.wrap(line, max(width, 20))
    lines += ["", f"{'shard':>6} {'size':>9} {'tasks':>9}{more}  from … to"]
    for shard in range(min(plan.n_shards, SHOWN_SHARDS)):
        row = _shard(plan, shard, cores)
        start = f"{shard:>6} {bytes_text(row['bytes']):>9} {row['tasks']:>9,}"
        if not is_narrow:
            start += f" {row['units']:>7,} {row['chunks']:>7,} {row['chunks_per_core']:>9.1f}"
        line = f"{start}  {shown(row['first_unit'])} … {shown(row['last_unit'])}"
        lines.append(line if width is None else shown(line, width))
    if plan.n_shards > SHOWN_SHARDS:
        sizes = np.sort(plan.shard_sizes)
        lines.append(
            f"   … and {plan.n_shards - SHOWN_SHARDS:,} more; smallest {bytes_text(sizes[0])}, "
            f"median {bytes_text(float(np.median(sizes)))}, largest {bytes_text(sizes[-1])}"
        )
    kinds = ("note" if isinstance(warning, NoteOfRuns) else "warning" for warning in plan.warnings)
    lines += [f"{kind}: {warning}" for kind, warning in zip(kinds, plan.warnings, strict=True)]
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
        done = f"; the table is made anew, in {seconds_text(event.seconds)}" if event.seconds else "; nothing to do"
        lines = [f"{event.output} is finished already ({count_text(event.rows, 'row')}{failed}){done}"]
    else:
        lines = [
            (
                f"{count_text(event.rows, 'row')} from {count_text(event.tasks, 'task')} "
                f"({bytes_text(event.size)}) in {seconds_text(event.seconds)}{failed}"
            )
        ]
    alike = event.alike or (1,) * len(event.failures)
    for failure, count in zip(event.failures, alike, strict=True):
        more = f" and {count - 1:,} more" if count > 1 else ""
        where = f" (at {shown(failure.place)})" if failure.place else ""
        lines.append(f"  {shown(failure.anchor)}{more}: {failure.error}: {shown(failure.message)}{where}")
    if event.quarantined > len(event.failures):
        which = "it is" if event.quarantined == 1 else f"all {event.quarantined:,} are"
        lines.append(f"  {which} in {event.output}/errors.parquet, tracebacks in errors.log")
    elif event.quarantined:
        lines.append(f"  also in {event.output}/errors.parquet, tracebacks in errors.log")
    if not event.already or event.seconds:
        lines.append(f"the table: {event.output}/{event.table}")
        for name, rows in event.further.items():
            lines.append(f"a further table: {event.output}/{name} ({count_text(rows, 'row')})")
    return "\n".join(lines)


def reused_text(text: str, reused: int) -> str:
    """What of a table is done anew, and of how many tasks there are rows."""
    more = f"; the rows of {count_text(reused, 'task')} are reused" if reused else ""
    return f"to do: {text}{more}"


def shown(text: str, most: int = 200) -> str:
    """Text from a dataset or a job in one line, without what would steer a terminal."""
    clean = clean_text(" ".join(text.splitlines()))
    return clean if len(clean) <= most else clean[: most - 1] + "…"


def status_json(status: Status) -> dict[str, Any]:
    """A run's status as JSON's types."""
    found = asdict(status)
    return {**found, "counts": status.counts}


def status_text(status: Status, width: int | None = None) -> str:
    """A run's status for a person: what is committed, what the machines do, what failed and why.

    Parameters
    ----------
    status
        The status.
    width
        Columns of the terminal that it is shown on.
    """
    elsewhere = [state for state in status.states if state.state in AT_WORK and state.tasks]
    committed: list[ShardDone | ShardState] = [
        *status.done,
        *(state for state in status.states if state.state not in AT_WORK),
    ]
    quarantined = sum(shard.quarantined for shard in committed)
    lines = [
        f"{status.output}: {status.state}, plan {status.plan_id[:12]}, backend {shown(status.backend)}",
        f"shards: {counts_text(status.counts)}",
        (
            f"committed: {sum(shard.tasks for shard in committed):,}/{status.tasks:,} tasks, "
            f"{bytes_text(sum(shard.size for shard in committed))} of {bytes_text(status.size)}"
            f"{f', {quarantined:,} quarantined' if quarantined else ''}"
        ),
    ]
    lines += [clean_text(note) for note in (status.note, *status.notes) if note]
    if status.held_by:
        lines.append(f"driven by {shown(status.held_by)}")
    if status.state == "stopped":
        lines.append("nobody is at work on it: the command that began it continues")
    if elsewhere:
        size = bytes_text(sum(state.size for state in elsewhere))
        pace = sum(state.size / state.seconds for state in elsewhere if state.size and state.seconds)
        parts = [f"at work: {sum(state.tasks for state in elsewhere):,} tasks more", size]
        if pace:
            left = status.size - sum(shard.size for shard in committed) - sum(state.size for state in elsewhere)
            parts += [f"{bytes_text(pace)}/s", left_text(max(left, 0) / pace)]
        lines.append(", ".join(parts))
    active = sorted(
        (state for state in status.states if state.state in (*AT_WORK, State.BEGUN)),
        key=lambda state: ((*AT_WORK, State.BEGUN).index(state.state), state.shard),
    )
    # Whoever has the folder is told of above, and whether that one is alive.
    is_open = status.state != "stopped" and not status.held_by
    if is_open and any(state.state == State.BEGUN for state in status.states):
        lines.append(
            "whether a process is at work on begun shards cannot be seen from here; the same command continues"
        )
    lines += shard_lines(active[:SHOWN_SHARDS], width)
    if len(active) > SHOWN_SHARDS:
        lines.append(f"   … and {len(active) - SHOWN_SHARDS:,} more")
    return "\n".join([*lines, *trouble_lines([state for state in status.states if state.state in ENDED])])


def counts_text(counts: Mapping[str, int]) -> str:
    """How many shards are in which state: those at work, those to come, those that are over."""
    order = (*AT_WORK, State.QUEUED, State.BEGUN, State.UNCOMMITTED, State.WAITING, State.DONE, *ENDED)
    known = [name for name in order if counts.get(name)]
    others = sorted(name for name in counts if name not in order and counts[name])
    return ", ".join(f"{counts[name]:,} {shown(name)}" for name in (*known, *others))


def shard_lines(states: Sequence[ShardState], width: int | None = None) -> list[str]:
    """What some shards do now, under a header, a line each.

    Parameters
    ----------
    states
        Theirs.
    width
        Columns of the terminal. Where they are few a job's name loses its beginning, which all jobs of a run share,
        and a reason its end.
    """
    if not states:
        return []
    has_speed = any(state.size and state.seconds for state in states)  # which a process on this machine does not tell
    lines = [f"{'shard':>6}  {'state':<9} {'tasks':>9} {'size':>9}{'       speed' if has_speed else ''}  job"]
    for state in states:
        speed = f"{bytes_text(state.size / state.seconds)}/s" if state.size and state.seconds else ""
        done = (f"{state.tasks:,}", bytes_text(state.size)) if state.tasks else ("", "")
        start = f"{state.shard:>6}  {shown(state.state):<9} {done[0]:>9} {done[1]:>9}"
        start += f" {speed:>11}  " if has_speed else "  "
        lines.append((start + _job_text(state, None if width is None else width - len(start))).rstrip())
    if not any(state.job or state.detail for state in states):
        lines[0] = lines[0].removesuffix("  job")
    return lines if width is None else [line[:width] for line in lines]


def _job_text(state: ShardState, room: int | None) -> str:
    job, detail = shown(state.job), shown(state.detail)
    if room is None:
        return f"{job}: {detail}" if job and detail else job or detail
    if detail:
        return shown(detail, max(room, 1))
    return job if len(job) <= room else f"…{job[len(job) - max(room - 1, 0) :]}"


def trouble_lines(states: Sequence[ShardState], most: int = SHOWN_TROUBLES) -> list[str]:
    """Why shards failed or are tried again: a line for each reason, at most so many, then how many more there were."""
    groups: dict[tuple[str, str], list[ShardState]] = {}
    for state in states:
        groups.setdefault((state.state, state.detail), []).append(state)
    lines = []
    for (name, detail), group in list(groups.items())[:most]:
        shards = ranges_text({state.shard for state in group})
        jobs = {state.job for state in group if state.job}
        what = f"{'shard' if len(group) == 1 else 'shards'} {shown(shards, 60)} {shown(name)}"
        where = f" ({shown(jobs.pop())})" if len(jobs) == 1 else ""
        lines.append(f"{what}: {shown(detail)}{where}" if detail else f"{what}{where}")
    left: Counter[str] = Counter(state.state for group in list(groups.values())[most:] for state in group)
    if left:
        lines.append(f"… and {left.total():,} more shards: {counts_text(left)}")
    return lines


def verified_text(found: Verified) -> str:
    """What a check of a finished run found, for a person."""
    lines = [f"wrong: {shown(problem.file)}: {shown(problem.text)}" for problem in found.problems]
    lines += [f"note: {shown(note)}" for note in found.notes]
    what = (
        f"{count_text(found.tasks, 'task')}, {count_text(found.rows, 'row')}, {found.quarantined:,} quarantined, "
        f"{count_text(found.shards, 'shard')}, {count_text(found.files, 'file')} compared"
    )
    end = "is whole" if found.ok else f"has {count_text(len(found.problems), 'problem')}"
    return "\n".join([*lines, f"{found.output} {end}: {what}"])


def fetched_text(fetched: Fetched) -> str:
    """What a fetch did, and what it could not."""
    already = f", {files_text(fetched.already, fetched.already_size)} there already" if fetched.already else ""
    failed = f", {len(fetched.failed):,} failed" if fetched.failed else ""
    lines = [f"{files_text(fetched.files, fetched.size)} fetched in {seconds_text(fetched.seconds)}{already}{failed}"]
    lines += [f"  {failure.path}: {failure.reason}" for failure in fetched.failed[:SHOWN_FAILED]]
    if len(fetched.failed) > SHOWN_FAILED:
        lines.append(f"  and {len(fetched.failed) - SHOWN_FAILED:,} more (--json names all)")
    if fetched.failed:
        lines.append("the same command tries these again")
    lines.append(f"the dataset: {fetched.dest}")
    return "\n".join(lines)


def files_text(count: int, size: int) -> str:
    """How many files with how many bytes."""
    return f"{count_text(count, 'file')} ({bytes_text(size)})"
