"""What work takes: one model for the cuts of a plan, for estimates, and for what is measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Costs:
    """What work takes one core, in seconds.

    Parameters
    ----------
    task, byte
        A task takes the first, and the second for each of its bytes.
    chunk
        What a chunk takes besides its tasks: it is handed out, committed, and merged.
    combine_task
        What combining takes for each task of the run.
    source
        Where that is known from, for a person.
    row_byte
        Bytes of rows, as shards have them, for a byte of input; None where that was not measured.
    """

    task: float
    byte: float
    chunk: float = 0.010
    combine_task: float = 0.0
    source: str = ""
    row_byte: float | None = None

    def seconds(self, tasks: ArrayLike, size: ArrayLike) -> NDArray[np.float64]:
        """Seconds of so many tasks with so many bytes; elementwise for arrays."""
        work: NDArray[np.float64] = np.asarray(tasks) * self.task + np.asarray(size) * self.byte
        return work

    def of(self, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Nanoseconds of each task of so many bytes, at least 1: integers, so that sums are exact."""
        nanoseconds: NDArray[np.int64] = np.rint(1e9 * self.task + 1e9 * self.byte * sizes).astype(np.int64)
        return np.maximum(nanoseconds, 1)


# What `--chunk auto` takes for granted of `wfdb-summary`. `pytest benchmarks/test_chunking.py` on two cores gave
# 0.25 to 0.38 ms a task, 1.8 to 2.2 ns a byte and 4.4 to 5.8 ms a chunk. What counts is how many tasks or bytes cost as
# much as a chunk: these make chunks of as many small tasks as the last figures, and of 1.6 times as many bytes.
ASSUMED = Costs(task=0.0004, byte=1.2e-9, chunk=0.010)

# What a price is estimated from where nothing was measured. A price counts every second, so these are the slowest of
# 0.7 to 2.3 ms a task and 1.5 to 5.8 ns a byte, over whole runs of generated 8-bit segments on one core of a shared
# two-core virtual machine (benchmarks/test_throughput.py). Combining took from 0.05 ms a task, and more in runs of few
# tasks, where starting it is most of it.
SLOWEST = replace(
    ASSUMED,
    task=2.3e-3,
    byte=5.8e-9,
    combine_task=5e-5,
    source="the project's benchmark of wfdb-summary, on another machine",
)
