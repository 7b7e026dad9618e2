"""What became of a run's tasks, as text for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scaledproc._util.text import bytes_text, count_text, seconds_text
from scaledproc.reporting.text import counts_text, shown

if TYPE_CHECKING:
    from scaledproc.engine.past.overview import Alike, Overview


def overview_text(found: Overview) -> str:
    """An overview for a person, its texts from the dataset without what would steer a terminal."""
    spent = [f"{seconds_text(found.seconds)} of work"]
    if found.bytes_read is not None:
        spent.append(f"{bytes_text(found.bytes_read)} read")
    if found.peak_memory is not None:
        spent.append(f"a process took {bytes_text(found.peak_memory)} at most")
    if found.retried:
        spent.append(f"{count_text(found.retried, 'task')} tried more than once")
    lines = [
        f"{found.output}: {count_text(found.tasks, 'task')}, {count_text(found.rows, 'row')}",
        *(f"{name}: {count_text(rows, 'row')}" for name, rows in found.further.items()),
        f"tasks: {counts_text(found.status) or 'none'}",
        ", ".join(spent),
    ]
    if found.slowest:
        lines += ["", "slowest tasks:", f"{'seconds':>10} {'read':>9} {'memory':>9} {'rows':>9}  task"]
        lines += [_task(row) for row in found.slowest]
    if found.without_rows:
        lines += ["", f"{count_text(found.without_rows, 'task')} gave no rows without failing:"]
        lines += [f"  {shown(row['anchor'])}" for row in found.empty]
        if found.without_rows > len(found.empty):
            lines.append(f"  … and {found.without_rows - len(found.empty):,} more")
    lines += _alike("failures by message:", found.failures, found.other_failures)
    return "\n".join(lines)


def _task(row: Mapping[str, Any]) -> str:
    read, memory = ("" if row[name] is None else bytes_text(row[name]) for name in ("bytes_read", "peak_memory"))
    failed = f" ({shown(row['error_kind'])})" if row["error_kind"] else ""
    return f"{row['seconds']:>10.3f} {read:>9} {memory:>9} {row['rows']:>9,}  {shown(row['anchor'])}{failed}"


def _alike(title: str, groups: Sequence[Alike], others: int) -> list[str]:
    if not groups and not others:
        return []
    lines = ["", title]
    for group in groups:
        error = f"{shown(group.error, 60)}: " if group.error else ""
        often = "once" if group.count == 1 else f"{group.count:,} times"
        lines.append(f"{often:>13} {error}{shown(group.message)}")
        more = ", …" if group.count > len(group.examples) else ""
        lines.append(f"          {', '.join(shown(each, 80) for each in group.examples)}{more}")
    if others:
        lines.append(f"{others:>7,} others")
    return lines
