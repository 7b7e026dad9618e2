"""An extractor that only computes, in Python itself: no disk and no memory disturbs what a core is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import scaledproc

if TYPE_CHECKING:
    from scaledproc import Task

STEPS = 75_000  # about 5 ms


@scaledproc.extractor(schema={"record": "string", "value": "int64"}, anchor="*.hea")
def busy(task: Task) -> dict[str, Any]:
    """One row after many steps of a linear congruential generator."""
    value = len(task.anchor)
    for _ in range(STEPS):
        value = (value * 1_103_515_245 + 12_345) & 0x7FFFFFFF
    return {"record": task.anchor, "value": value}
