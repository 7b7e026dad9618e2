"""A row for each signal of each WFDB record: change the columns and the function to what you need.

Try one task:   scaledproc try my_extractor.py INPUT
Run all:        scaledproc --extractor my_extractor.py INPUT OUTPUT
"""

from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import wfdb

import scaledproc
from scaledproc import Option, Task


@scaledproc.extractor(
    # The columns of the table. A row that does not fit is an error of its task, never a silent cast.
    schema={
        "path": "string",
        "channel": "int32",
        "signal": "string",
        "fs": "float64",
        "samples": "int64",
        "missing": "int64",
        "mean": "float64",
        "std": "float64",
    },
    # Each header starts a task. Its folder is on one machine: the header and the signal files that it names.
    anchor="*.hea",
    unit="folder",
)
def describe_signals(
    task: Task,
    *,
    # Each parameter behind the task is an option: scaledproc --set seconds=60 …
    seconds: Annotated[float, Option("Only so much of each record, from its beginning; 0 is all.", unit="seconds")] = 0,
) -> Iterator[dict[str, Any]]:
    """Describe the samples of a record, signal by signal."""
    # task.path is the file on this machine, also where the dataset is in S3. What this function raises puts the task
    # into quarantine, and the run goes on.
    name = str(task.path.with_suffix(""))
    header = wfdb.rdheader(name)
    if isinstance(header, wfdb.MultiRecord) or not header.sig_len or not header.n_sig:
        return  # a master or a layout: its segments are tasks of their own
    for file in set(header.file_name):
        task.beside(file)  # must be a file of the unit
    length = min(header.sig_len, round(seconds * header.fs)) if seconds else header.sig_len
    record = wfdb.rdrecord(name, sampto=max(length, 1))
    for channel, signal in enumerate(record.sig_name):
        samples = record.p_signal[:, channel]  # in physical units; NaN where a sample is missing
        valid = samples[~np.isnan(samples)]
        # A row is a mapping. What is not known is None, which is null in the table.
        yield {
            "path": task.anchor,
            "channel": channel,
            "signal": signal,
            "fs": float(record.fs),
            "samples": len(samples),
            "missing": len(samples) - len(valid),
            "mean": float(valid.mean()) if len(valid) else None,
            "std": float(valid.std(ddof=1)) if len(valid) > 1 else None,
        }
