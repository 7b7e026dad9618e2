"""What became of a task that was tried, for a person or as JSON for a program."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from scaledproc._util.redaction import redacted
from scaledproc._util.text import bytes_text, clean_text, count_text, seconds_text
from scaledproc.engine.trial import SHOWN, Trial, offending_row, trace_text
from scaledproc.execution.chunks.task_call import kind_of
from scaledproc.reporting.tables import row_text, table_text
from scaledproc.reporting.text import shown


def trial_text(trial: Trial, width: int, *, trace: bool = True) -> str:
    """A trial for a person.

    Parameters
    ----------
    trial
        What became of the task.
    width
        Columns of the terminal.
    trace
        Whether to show the traceback of a task that failed.
    """
    lines = [f"task {shown(trial.task.anchor)}{_which(trial)}"]
    if trial.passed and not trial.is_empty:
        more = ", …" if len(trial.passed) > SHOWN else ""
        lines.append(f"passed over, as without rows: {', '.join(map(shown, trial.passed[:SHOWN]))}{more}")
    measured = f"in {_time_text(trial.seconds)}{_memory_text(trial)}"
    if trial.rows is not None:
        lines += ["", table_text(trial.rows, width), ""] if trial.rows.num_rows else []
        for name, table in trial.tables.items():
            lines += [f"table {name}: {count_text(table.num_rows, 'row')}", ""]
            lines += [table_text(table, width), ""] if table.num_rows else []
        nor = f"; nor do the next {len(trial.passed)} give any" if trial.passed and trial.is_empty else ""
        return "\n".join([*lines, f"{count_text(trial.rows.num_rows, 'row')} {measured}{nor}"])
    error = trial.error
    assert error is not None
    if trace:
        lines += ["", clean_text(redacted(trace_of(error))).rstrip()]
    row = offending_row(error)
    if row is not None:
        schema = getattr(error, "schema", None) or trial.schema
        lines += ["", row_text(row.values, schema, row.columns, width)]
    return "\n".join([*lines, "", f"failed {measured}"])


def trial_json(trial: Trial) -> dict[str, Any]:
    """A trial as JSON's types: numbers that JSON has not and all other values are texts."""
    error = None
    if trial.error is not None:
        row = offending_row(trial.error)
        error = {
            "kind": kind_of(trial.error),
            "error": type(trial.error).__name__,
            "message": redacted(str(trial.error)),
            "traceback": redacted(trace_text(trial.error)),
            "row": None if row is None else _as_json(row.values),
            "columns": {} if row is None else dict(row.columns),
        }
    rows = trial.rows
    return {
        "group": trial.task.group,
        "unit": trial.task.unit,
        "anchor": trial.task.anchor,
        "among": trial.among,
        "passed_over": list(trial.passed),
        "columns": None if rows is None else [{"name": each.name, "type": str(each.type)} for each in rows.schema],
        "rows": None if rows is None else _as_json(rows.to_pylist()),
        **(
            {"tables": {name: _as_json(each.to_pylist()) for name, each in trial.tables.items()}}
            if trial.tables
            else {}
        ),
        "seconds": trial.seconds,
        "memory": trial.memory,
        "memory_before": trial.memory_before,
        "error": error,
    }


def trace_of(error: BaseException) -> str:
    """An error with its traceback; the row of one that does not fit is shown as a table instead of in a line."""
    notes = list(getattr(error, "__notes__", ()))
    if notes and offending_row(error) is not None:
        error.__notes__ = [note for note in notes if not note.startswith("the row: ")]
    try:
        return trace_text(error)
    finally:
        if notes:
            error.__notes__ = notes


def _which(trial: Trial) -> str:
    if trial.among <= 1:
        return ""
    is_first = trial.is_empty or not trial.passed
    of_all = f"of {count_text(trial.among, 'task')}"
    return f" (the first {of_all})" if is_first else f" (the first with rows {of_all})"


def _time_text(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms" if seconds < 0.9995 else seconds_text(seconds)


def _memory_text(trial: Trial) -> str:
    if trial.memory is None:
        return ""
    more = ""
    if trial.memory_before is not None:
        more = f" ({bytes_text(max(trial.memory - trial.memory_before, 0))} more than before)"
    return f", peak memory {bytes_text(trial.memory)}{more}"


def _as_json(value: Any) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case Mapping():
            return {str(name): _as_json(each) for name, each in value.items()}
        case list() | tuple():
            return [_as_json(each) for each in value]
    try:
        return str(value)
    except Exception as error:
        return f"(its text cannot be had: {type(error).__name__})"
