"""A row for each column of numbers of each CSV file: change the columns and the function to what you need.

Try one task:   scaledproc try my_extractor.py INPUT
Run all:        scaledproc --extractor my_extractor.py INPUT OUTPUT
"""

from collections.abc import Iterator
from typing import Annotated, Any

import pandas as pd

import scaledproc
from scaledproc import Option, Task


@scaledproc.extractor(
    # The columns of the table. A row that does not fit is an error of its task, never a silent cast.
    schema={
        "path": "string",
        "column": "string",
        "count": "int64",
        "missing": "int64",
        "mean": "float64",
        "min": "float64",
        "max": "float64",
    },
    # Each file that matches starts a task.
    anchor=["*.csv", "*.csv.gz"],
    # A task reads nothing but its own file. "folder" where it needs the files beside it: task.beside("other.json").
    unit="file",
)
def describe_columns(
    task: Task,
    *,
    # Each parameter behind the task is an option: scaledproc --set separator=';' …
    separator: Annotated[str, Option("What stands between two values.")] = ",",
) -> Iterator[dict[str, Any]]:
    """Describe the columns of a table that are numbers."""
    # task.path is the file on this machine, also where the dataset is in S3. What this function raises puts the task
    # into quarantine, and the run goes on.
    frame = pd.read_csv(task.path, sep=separator)
    for name in frame.columns:
        values = frame[name]
        if not pd.api.types.is_numeric_dtype(values):
            continue
        count = int(values.count())
        # A row is a mapping. NaN would stay NaN: what is not known is None, which is null in the table.
        yield {
            "path": task.anchor,
            "column": str(name),
            "count": count,
            "missing": len(values) - count,
            "mean": float(values.mean()) if count else None,
            "min": float(values.min()) if count else None,
            "max": float(values.max()) if count else None,
        }
