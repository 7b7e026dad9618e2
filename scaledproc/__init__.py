"""Turn a tree of interdependent files, on a laptop or in S3, into one Parquet table of features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaledproc._util.lazy_names import lazily

if TYPE_CHECKING:
    from scaledproc.api import combine, fetch, plan, run, save_inventory, show, status, stop, try_task, verify
    from scaledproc.backend.base import Backend, Capabilities, Job
    from scaledproc.engine.overview import Overview
    from scaledproc.engine.status import Status
    from scaledproc.engine.verify import Verified
    from scaledproc.errors import ScaledprocError, TooManyFailuresError, UsageError
    from scaledproc.extractors import Extractor, Option, Task, extractor
    from scaledproc.fetching.transfer import Fetched
    from scaledproc.planning.inventory import Inventory
    from scaledproc.planning.plan import Plan
    from scaledproc.run_folder.folder import Run

__all__ = [
    "Backend",
    "Capabilities",
    "Extractor",
    "Fetched",
    "Inventory",
    "Job",
    "Option",
    "Overview",
    "Plan",
    "Run",
    "ScaledprocError",
    "Status",
    "Task",
    "TooManyFailuresError",
    "UsageError",
    "Verified",
    "combine",
    "extractor",
    "fetch",
    "plan",
    "run",
    "save_inventory",
    "show",
    "status",
    "stop",
    "try_task",
    "verify",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "api": ("combine", "fetch", "plan", "run", "save_inventory", "show", "status", "stop", "try_task", "verify"),
        "backend.base": ("Backend", "Capabilities", "Job"),
        "engine.overview": ("Overview",),
        "engine.status": ("Status",),
        "engine.verify": ("Verified",),
        "errors": ("ScaledprocError", "TooManyFailuresError", "UsageError"),
        "extractors": ("Extractor", "Option", "Task", "extractor"),
        "fetching.transfer": ("Fetched",),
        "planning.inventory": ("Inventory",),
        "planning.plan": ("Plan",),
        "run_folder.folder": ("Run",),
    },
)
