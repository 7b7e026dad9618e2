"""Turn a tree of interdependent files, on a laptop or in S3, into one Parquet table of features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaledproc._util.lazy_names import lazily

if TYPE_CHECKING:
    from scaledproc.api.copying import fetch
    from scaledproc.api.machine import doctor
    from scaledproc.api.past_runs import report, show, status, stop, verify
    from scaledproc.api.plans import plan, save_inventory
    from scaledproc.api.runs import combine, run
    from scaledproc.api.single_task import try_task
    from scaledproc.backend.base import Backend, Capabilities, Job
    from scaledproc.engine.doctor.findings import Diagnosis
    from scaledproc.engine.past.overview import Overview
    from scaledproc.engine.past.status import Status
    from scaledproc.engine.past.verify import Verified
    from scaledproc.errors import ScaledprocError, TooManyFailuresError, UsageError
    from scaledproc.extractors import Extractor, Option, Task, extractor
    from scaledproc.extractors.tables import rows
    from scaledproc.fetching.transfer import Fetched
    from scaledproc.planning.inventory import Inventory
    from scaledproc.planning.plan import Plan
    from scaledproc.run_folder.run import Run

__all__ = [
    "Backend",
    "Capabilities",
    "Diagnosis",
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
    "doctor",
    "extractor",
    "fetch",
    "plan",
    "report",
    "rows",
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
        "api.copying": ("fetch",),
        "api.machine": ("doctor",),
        "api.past_runs": ("report", "show", "status", "stop", "verify"),
        "api.plans": ("plan", "save_inventory"),
        "api.runs": ("combine", "run"),
        "api.single_task": ("try_task",),
        "backend.base": ("Backend", "Capabilities", "Job"),
        "engine.doctor.findings": ("Diagnosis",),
        "engine.past.overview": ("Overview",),
        "engine.past.status": ("Status",),
        "engine.past.verify": ("Verified",),
        "errors": ("ScaledprocError", "TooManyFailuresError", "UsageError"),
        "extractors": ("Extractor", "Option", "Task", "extractor"),
        "extractors.tables": ("rows",),
        "fetching.transfer": ("Fetched",),
        "planning.inventory": ("Inventory",),
        "planning.plan": ("Plan",),
        "run_folder.run": ("Run",),
    },
)
