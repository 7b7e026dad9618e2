"""The pattern's function (`pattern.py`) as an extractor, which returns its DataFrame as it is.

`pattern_extractor.py:pattern_extractor`
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pattern import describe_record

import scaledproc

if TYPE_CHECKING:
    import pandas as pd

    from scaledproc import Task

SCHEMA = {
    "signal": "string",
    "record": "string",
    "count": "float64",
    "missing": "int64",
    **dict.fromkeys(("mean", "std", "min", "25%", "50%", "75%", "max"), "float64"),
}


@scaledproc.extractor(schema=SCHEMA, anchor="*.hea")
def pattern_extractor(task: Task) -> pd.DataFrame:
    """One row per signal of a record."""
    return describe_record(task.path)
