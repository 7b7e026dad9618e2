"""What a person would say of a run, and what to worry about: decisions over findings, without reading anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from scaledproc._util.text import bytes_text, count_text, part_text, seconds_text
from scaledproc.extractors.account import DOUBTFUL, SERIOUS, SMALL, Worry
from scaledproc.run_folder.record import NO_ROWS

if TYPE_CHECKING:
    from scaledproc.reporting.report.findings import Findings, Table, Tasks

STRAGGLES = 2.0
"""Times the mean of all shards that one takes, from which on it is told of."""
LOCAL = "local"
"""The backend whose work is done by processes of the machine that the run is started on."""
WAITED = 60.0
"""Core-seconds of waiting for files from which on it is told of where it is more than the work."""
MUCH_QUARANTINED = 0.01
"""Share of the tasks from which on what is in quarantine is serious."""


def sentence(found: Findings) -> str:
    """How far a run is and what it took, in one sentence."""
    parts = [_tasks_text(found)]
    if found.quarantined and not has_failed(found):
        parts.append(f"{found.quarantined:,} quarantined")
    parts.append(f"{amount_text(found.rows) if found.rows else 'no'} {'row' if found.rows == 1 else 'rows'}")
    if found.is_done and (took := took_text(found)):
        parts.append(took)
    if found.going is not None and found.going.left:
        parts.append(found.going.left)
    usd = cost_of(found)
    if usd is not None:
        parts.append(usd_text(usd))
    end = _end_text(found)
    begin = "Update: " if found.update_of else ""
    return f"{begin}{', '.join(parts)}{f'; {end}' if end else ''}."


def _tasks_text(found: Findings) -> str:
    total = found.counts.get("tasks", 0)
    reused = found.counts.get("reused", 0)
    if has_failed(found):
        return "The only task failed" if total == 1 else f"All {total:,} tasks failed"
    if not found.is_done:
        return f"{part_text(found.done_tasks - found.quarantined, total, 'task')} done"
    done = f"{count_text(total - found.quarantined, 'task')} done"
    return f"{done} ({reused:,} reused)" if reused else done


def _end_text(found: Findings) -> str:
    if found.state == "running":
        return "still running"
    if found.state == "stopped":
        return "not finished, and nobody is at work on it"
    return "the counts and the lengths of the files agree" if is_whole(found) else "something is missing"


def has_failed(found: Findings) -> bool:
    """Whether the run is finished, and no task was done: its files may agree, but there is nothing in them."""
    return found.is_done and 0 < found.counts.get("tasks", 0) == found.quarantined


def is_whole(found: Findings) -> bool:
    """Whether counts and lengths agree: tasks, rows and failures of the run's files, and each file's bytes.

    What is in the files is not compared with anything: that is what `verify` does.
    """
    tasks = found.tasks
    return (
        tasks is not None
        and not found.problems
        and bool(found.tables)
        and tasks.count == found.counts.get("tasks")
        and _rows_of_all_tables(found, tasks) == sum(shard.rows for shard in found.shards)
        and found.tables[0].rows == found.counts.get("rows")
        and tasks.status.get("quarantined", 0) == found.failures.total == found.quarantined
    )


def _rows_of_all_tables(found: Findings, tasks: Tasks) -> int:
    """As a shard's file has them, which is of all tables."""
    return tasks.rows + sum(count for name, count in found.counts.items() if name.startswith("rows_"))


def amount_text(count: int) -> str:
    """A number as one says it: `4,300`, `3.1 million`."""
    for size, word in ((10**9, "billion"), (10**6, "million")):
        if count >= size:
            return f"{count / size:.1f} {word}".replace(".0 ", " ")
    return f"{count:,}"


def took_text(found: Findings) -> str:
    """How long the run took, on how many machines or cores."""
    seconds = found.timings.get("last_start_seconds")
    if not isinstance(seconds, int | float):
        return ""
    starts = found.timings.get("starts", 1)
    took = spoken_seconds(float(seconds))
    jobs, planned = jobs_of(found), planned_jobs(found)
    cores = found.options.get("cores")
    if jobs:
        took += f" in {count_text(jobs, 'job')}"
    elif planned and isinstance(cores, int):
        took += f" in {count_text(planned, 'job')} of {count_text(cores, 'core')}"
    elif isinstance(cores, int) and is_here(found):
        took += f" on {count_text(cores, 'core')}"
    return f"{took} since the last of {starts:,} starts" if isinstance(starts, int) and starts > 1 else took


def spoken_seconds(seconds: float) -> str:
    """A duration as one says it: `52 min`."""
    return f"{round(seconds / 60):,} min" if 600 <= seconds < 3600 else seconds_text(seconds)


def billed(found: Findings) -> dict[str, Any]:
    """What the backend's machines took, as it tells in run.json under `billed`; nothing where it does not."""
    bill = found.backend.get("billed")
    return dict(bill) if isinstance(bill, dict) else {}


def jobs_of(found: Findings) -> int:
    """How many jobs there were elsewhere; 0 where the backend does not tell."""
    jobs = billed(found).get("jobs")
    return jobs if isinstance(jobs, int) else 0


def planned_jobs(found: Findings) -> int:
    """How many jobs of a batch system the shards were dealt to; 0 where the backend does not tell."""
    expected = found.backend.get("expected")
    jobs = expected.get("jobs") if isinstance(expected, dict) else None
    return jobs if isinstance(jobs, int) else 0


def is_here(found: Findings) -> bool:
    """Whether the run's work was done by the cores of one machine, which run.json has the number of.

    For other backends it has the cores of each job, and not how many jobs were at work at once.
    """
    return bool(found.backend.get("name", LOCAL) == LOCAL)


def cost_of(found: Findings) -> float | None:
    """What they cost, US dollars."""
    usd = billed(found).get("usd")
    return float(usd) if isinstance(usd, int | float) else None


def usd_text(usd: float) -> str:
    """Dollars: `$4.62`."""
    return f"${usd:,.2f}" if usd >= 0.995 else f"${usd:.3f}"


def worries(found: Findings) -> tuple[Worry, ...]:
    """What to worry about, the heaviest first; those of equal weight in the order of the report's parts."""
    own = [*_of_files(found), *_of_tasks(found), *_of_table(found), *_of_time(found)]
    told = () if found.account is None else found.account.worries
    return tuple(sorted((*own, *told), key=lambda each: -each.weight))


def _of_files(found: Findings) -> Iterator[Worry]:
    if found.why_no_account:
        yield Worry(SMALL, f"The extractor could not tell of its table: {found.why_no_account}.", "data")
    for problem in found.problems:
        yield Worry(SERIOUS, problem, "run")
    tasks = found.tasks
    if tasks is not None:
        total, rows = found.counts.get("tasks", 0), sum(shard.rows for shard in found.shards)
        if tasks.count != total:
            yield Worry(SERIOUS, f"tasks.parquet has {count_text(tasks.count, 'task')}, run.json {total:,}.", "run")
        given = _rows_of_all_tables(found, tasks)
        if given != rows:
            yield Worry(SERIOUS, f"The tasks gave {count_text(given, 'row')}, the shards have {rows:,}.", "run")
        if tasks.status.get("quarantined", 0) != found.quarantined or found.failures.total != found.quarantined:
            text = f"run.json has {count_text(found.quarantined, 'task')} in quarantine, tasks.parquet "
            text += f"{tasks.status.get('quarantined', 0):,}, errors.parquet {found.failures.total:,}."
            yield Worry(SERIOUS, text, "failures")
    if found.tables and found.tables[0].rows != found.counts.get("rows"):
        there = count_text(found.tables[0].rows, "row")
        yield Worry(SERIOUS, f"The table has {there}, run.json tells of {found.counts.get('rows', 0):,}.", "run")


def _of_tasks(found: Findings) -> Iterator[Worry]:
    if found.state == "stopped":
        yield Worry(SERIOUS, "The run is not finished, and nobody is at work on it. Its command continues it.", "time")
    total = found.done_tasks
    if found.quarantined:
        share = found.quarantined / max(total, 1)
        weight = SERIOUS if share >= MUCH_QUARANTINED else DOUBTFUL
        lacks = "lacks" if found.is_done else "will lack"
        failed_text = f"{part_text(found.quarantined, total, 'task')} failed ({share:.2%})"
        whose = "its" if found.quarantined == 1 else "their"
        yield Worry(weight, f"{failed_text}, so the table {lacks} {whose} rows.", "failures")
    failed = [shard for shard in found.shards if shard.state in ("failed", "stopped")]
    if failed:
        yield Worry(
            SERIOUS, f"{count_text(len(failed), 'shard')} failed: {failed[0].detail or 'no reason known'}", "time"
        )
    for note in found.notes:
        yield Worry(SERIOUS if _says_no_rows(note) else DOUBTFUL, note, "run")
    if found.options.get("leaves_out"):
        yield Worry(SMALL, "The plan leaves out a part of the dataset, as its options say.", "run")
    if found.tasks is not None and found.tasks.without_rows:
        text = f"{part_text(found.tasks.without_rows, found.tasks.count, 'task')} gave no rows without failing."
        yield Worry(SMALL, text, "failures")
    if found.tasks is not None and found.tasks.retried:
        yield Worry(SMALL, f"{count_text(found.tasks.retried, 'task')} had to be tried more than once.", "failures")
    if found.warnings.total:
        yield Worry(SMALL, f"Tasks gave {count_text(found.warnings.total, 'warning')}.", "failures")


def _says_no_rows(note: str) -> bool:
    return note.startswith(NO_ROWS)


def _of_table(found: Findings) -> Iterator[Worry]:
    if found.is_done and found.counts.get("rows") == 0 and not any(map(_says_no_rows, found.notes)):
        yield Worry(SERIOUS, "The table has no rows.")
    for table in found.tables:
        if not table.rows:
            continue
        for names, what in (
            ([each.name for each in table.columns if each.nulls == table.rows], "no value at all"),
            ([each.name for each in table.columns if each.is_empty and each.nulls != table.rows], _only_nan(table)),
            ([each.name for each in table.columns if each.infinite], "infinite values"),
        ):
            if names:
                named = ", ".join(names[:4]) + (f" and {len(names) - 4:,} more" if len(names) > 4 else "")
                text = f"{count_text(len(names), 'column')} of {table.name} "
                yield Worry(SMALL, f"{text}{'has' if len(names) == 1 else 'have'} {what}: {named}.")


def _only_nan(table: Table) -> str:
    return "no value at all, only NaN" if table.read == table.rows else "no value in the rows that were read"


def _of_time(found: Findings) -> Iterator[Worry]:
    times = [shard.seconds for shard in found.shards if shard.seconds]
    if len(times) >= 2 and sum(times) >= 60:
        mean = sum(times) / len(times)
        if max(times) > STRAGGLES * mean:
            text = f"The slowest shard took {max(times) / mean:.1f} times the mean ({seconds_text(max(times))})."
            yield Worry(SMALL, text, "time")
    staging, work = staging_of(found), sum(times)
    if staging >= WAITED and staging > work:
        text = f"Cores waited {seconds_text(staging)} for files to be staged, and worked {seconds_text(work)}: "
        yield Worry(SMALL, f"{text}fewer of them would do, or a shorter way to the data.", "time")


def staging_of(found: Findings) -> float:
    """Seconds that cores had nothing to do while files were staged, added up over the cores of all machines."""
    staging = sum(shard.staging for shard in found.shards)
    line = found.timings.get("timeline")
    # An update's shards are made of others, which did the waiting.
    return staging or sum(map(float, line.get("staging", []) if isinstance(line, dict) else []))


def work_of(found: Findings) -> float:
    """Seconds at work, added up over the cores; of an update those of what it did, not of putting shards together."""
    line = found.timings.get("timeline")
    if found.counts.get("reused") and isinstance(line, dict):
        return sum(map(float, line.get("busy", [])))
    return sum(shard.seconds or 0.0 for shard in found.shards)


def throughput_text(found: Findings) -> str:
    """Bytes a second of one core at work; empty where that cannot be told, as of an update."""
    if found.counts.get("reused"):
        return ""
    seconds = sum(shard.seconds or 0.0 for shard in found.shards)
    size = sum(shard.size for shard in found.shards if shard.seconds is not None)
    return f"{bytes_text(size / seconds)}/s" if seconds and size else ""
