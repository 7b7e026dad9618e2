"""The disk of a machine, for its job and for the job's price alike."""

from __future__ import annotations

from typing import Literal

from scaledproc.errors import UsageError

from .limits import MAX_VOLUME_GB

GB = 10**9
MOST_DATA = 0.75  # of a disk: the rest is for results and for the system
SMALLEST = 10  # GB
STAGED = 30  # GB; the service's own default. Staging takes what is free, and a unit must fit into half of it


def volume_gb(mode: Literal["stage", "file"], size: int) -> int:
    """The size of the disk that a machine needs, in GB.

    Parameters
    ----------
    mode
        `file`: it holds all its input before it works. `stage`: it holds units ahead of its cores.
    size
        Bytes of all its input, or of its largest unit.

    Raises
    ------
    UsageError
        If no volume that SageMaker offers is that large.
    """
    if mode == "stage":
        needed = max(STAGED, _gb(2 * size / MOST_DATA))  # half of what is free is for staged units
    else:
        needed = max(SMALLEST, SMALLEST // 2 + _gb(size / MOST_DATA))
    if needed > MAX_VOLUME_GB:
        what, advice = ("unit", "--unit cuts") if mode == "stage" else ("job's input", "give more --shards, or stage")
        raise UsageError(
            f"the largest {what} needs a disk of {needed:,} GB, and SageMaker's largest has {MAX_VOLUME_GB:,}: {advice}"
        )
    return needed


def combining_gb(size: int) -> int:
    """The size of the last job's disk, in GB, of what lies on it at once in bytes."""
    needed = max(STAGED, SMALLEST // 2 + _gb(size / MOST_DATA))
    if needed > MAX_VOLUME_GB:
        raise UsageError(
            f"the last job needs a disk of {needed:,} GB, and SageMaker's largest has {MAX_VOLUME_GB:,}: give "
            "--table dataset, whose rows it does not read, or --combine-volume-size GB if the table is smaller"
        )
    return needed


def _gb(size: float) -> int:
    return int(-(-size // GB))
