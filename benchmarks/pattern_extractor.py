"""The pattern's function (`pattern.py`) as an extractor: `pattern_extractor.py:pattern_extractor`.

`pattern_frames` returns its DataFrames as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pattern import describe_record

import scaledproc

if TYPE_CHECKING:
    import pandas as pd

    from scaledproc import Task

STATISTICS = {"mean": "mean", "std": "std", "min": "min", "25%": "p25", "50%": "p50", "75%": "p75", "max": "max"}
SCHEMA = {
    "record": "string",
    "signal": "string",
    "count": "int64",
    "missing": "int64",
    **dict.fromkeys(STATISTICS.values(), "float64"),
}


@scaledproc.extractor(schema=SCHEMA, anchor="*.hea")
def pattern_extractor(task: Task) -> list[dict[str, Any]]:
    """One row per signal of a record."""
    rows = _described(task).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


@scaledproc.extractor(schema=SCHEMA, anchor="*.hea")
def pattern_frames(task: Task) -> pd.DataFrame:
    """The same."""
    return _described(task)


def _described(task: Task) -> pd.DataFrame:
    return describe_record(task.path).rename(columns=STATISTICS).astype({"count": "int64"})
