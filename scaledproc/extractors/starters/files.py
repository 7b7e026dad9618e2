"""One row for each file: change the columns, the globs and the function to what you need.

Try one task:   scaledproc try my_extractor.py INPUT
Run all:        scaledproc --extractor my_extractor.py INPUT OUTPUT
"""

from typing import Annotated, Any

import scaledproc
from scaledproc import Option, Task


@scaledproc.extractor(
    # The columns of the table. A row that does not fit is an error of its task, never a silent cast.
    schema={"path": "string", "size": "int64", "lines": "int64", "beside": "int64"},
    # Each file that matches starts a task. Several globs are a list: ["*.txt", "*.csv"].
    anchor="*",
    # What must be on one machine together: a folder. "file" is enough where a task reads nothing but its own file.
    unit="folder",
)
def describe_file(
    task: Task,
    *,
    # Each parameter behind the task is an option: scaledproc --set largest=1000 …
    largest: Annotated[int, Option("Larger files are not read: their lines are null.", unit="bytes")] = 100_000_000,
) -> dict[str, Any]:
    """Tell the size and the lines of a file, and how many files lie beside it."""
    # task.path is the file on this machine, also where the dataset is in S3; task.beside("other.json") is a file of the
    # same unit. What this function raises puts the task into quarantine, and the run goes on.
    size = task.path.stat().st_size
    lines = task.path.read_bytes().count(b"\n") if size <= largest else None
    # One row. Several are yielded, or returned as a list or a table; [] is none.
    return {"path": task.anchor, "size": size, "lines": lines, "beside": len(task.files) - 1}
