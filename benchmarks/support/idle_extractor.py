"""An extractor that does nothing: what its tasks take is what the engine takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import scaledproc

if TYPE_CHECKING:
    from scaledproc import Task


@scaledproc.extractor(schema={"record": "string", "value": "int64"}, anchor="*.hea")
def idle(task: Task) -> dict[str, Any]:
    """One row, of which nothing was read."""
    return {"record": task.anchor, "value": 1}
