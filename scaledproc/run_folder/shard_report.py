"""The report of a committed macro shard: what became of it, and what each of its tasks cost."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from scaledproc.events import ShardDone

if TYPE_CHECKING:
    from numpy.typing import NDArray

COST_COLUMNS = 4
"""Microseconds, bytes read, bytes of peak memory, attempts."""
_COSTS = "costs"


def unknown_costs(tasks: int) -> NDArray[np.int64]:
    """The costs of tasks of which none are known, shape (tasks, 4)."""
    return np.full((tasks, COST_COLUMNS), -1, np.int64)


def costs_of(given: Iterable[Any], tasks: int) -> NDArray[np.int64]:
    """Costs as an array, shape (tasks, 4), with -1 for what is not known.

    Parameters
    ----------
    given
        For each task what `chunks/costs.py` found; nothing at all where an earlier version was at work.
    tasks
        Their number.

    Raises
    ------
    ValueError
        If the costs are of another number of tasks.
    """
    array = np.asarray(given if isinstance(given, np.ndarray) else list(given), np.int64)
    return array.reshape(tasks, COST_COLUMNS) if array.size else unknown_costs(tasks)


def write_report(done: ShardDone, costs: NDArray[np.int64]) -> bytes:
    """The report's content."""
    packed = zlib.compress(np.ascontiguousarray(costs, "<i8").tobytes(), 1)
    return json.dumps({**done.to_dict(), _COSTS: base64.b64encode(packed).decode()}).encode()


def read_report(content: bytes) -> tuple[ShardDone, NDArray[np.int64]]:
    """What became of the shard, and the costs of its tasks, shape (tasks, 4).

    Raises
    ------
    ValueError, TypeError, KeyError, AttributeError, RecursionError
        If the content is not what `write_report` made.
    """
    found = json.loads(content)
    packed = found.pop(_COSTS, "")
    done = ShardDone.from_dict(found, resumed=True)
    try:
        flat = zlib.decompress(base64.b64decode(packed)) if packed else b""
    except zlib.error as error:
        raise ValueError(str(error)) from None
    return done, costs_of(np.frombuffer(flat, "<i8"), done.tasks)
