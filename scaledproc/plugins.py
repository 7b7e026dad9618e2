"""What a backend and an extractor are written with: these names are promised, all others may change.

`scaledproc.events` has the events that these do not name, `scaledproc.testing` the tests that every extractor and every
backend must pass, and `examples/` one of each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaledproc._util.lazy_names import lazily

if TYPE_CHECKING:
    from scaledproc.backend.base import Backend, Capabilities, Expected, Job
    from scaledproc.errors import ScaledprocError, UsageError
    from scaledproc.events import (
        ChunkDone,
        CombineDone,
        Event,
        JobPlanned,
        Note,
        ShardDone,
        ShardState,
        State,
        from_json,
    )
    from scaledproc.execution.limits import Limits
    from scaledproc.execution.tables.combine import combine
    from scaledproc.execution.worker import run_shards
    from scaledproc.execution.workers.pool import cores
    from scaledproc.extractors import Extractor, Option, Task, extractor
    from scaledproc.extractors.tables import rows
    from scaledproc.planning.plan import Plan
    from scaledproc.run_folder.folder import RunFolder
    from scaledproc.storage.store import Store

__all__ = [
    "Backend",
    "Capabilities",
    "ChunkDone",
    "CombineDone",
    "Event",
    "Expected",
    "Extractor",
    "Job",
    "JobPlanned",
    "Limits",
    "Note",
    "Option",
    "Plan",
    "RunFolder",
    "ScaledprocError",
    "ShardDone",
    "ShardState",
    "State",
    "Store",
    "Task",
    "UsageError",
    "combine",
    "cores",
    "extractor",
    "from_json",
    "rows",
    "run_shards",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "backend.base": ("Backend", "Capabilities", "Expected", "Job"),
        "errors": ("ScaledprocError", "UsageError"),
        "events": (
            *(
                "ChunkDone",
                "CombineDone",
                "Event",
                "JobPlanned",
                "Note",
                "ShardDone",
                "ShardState",
                "State",
                "from_json",
            ),
        ),
        "execution.tables.combine": ("combine",),
        "execution.limits": ("Limits",),
        "execution.worker": ("run_shards",),
        "execution.workers.pool": ("cores",),
        "extractors": ("Extractor", "Option", "Task", "extractor"),
        "extractors.tables": ("rows",),
        "planning.plan": ("Plan",),
        "run_folder.folder": ("RunFolder",),
        "storage.store": ("Store",),
    },
)
