"""What a notebook calls, and the command line too: plan, run, combine, work, fetch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaledproc._util.lazy_names import lazily

if TYPE_CHECKING:
    from scaledproc.api.arguments import AnExtractor
    from scaledproc.api.copying import fetch
    from scaledproc.api.machine import doctor
    from scaledproc.api.past_runs import ddl, report, show, status, stop, verify
    from scaledproc.api.plans import expect, plan, plan_update, save_inventory
    from scaledproc.api.runs import combine, make_backend, run, work
    from scaledproc.api.single_task import trial, try_task

__all__ = [
    "AnExtractor",
    "combine",
    "ddl",
    "doctor",
    "expect",
    "fetch",
    "make_backend",
    "plan",
    "plan_update",
    "report",
    "run",
    "save_inventory",
    "show",
    "status",
    "stop",
    "trial",
    "try_task",
    "verify",
    "work",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "api.arguments": ("AnExtractor",),
        "api.copying": ("fetch",),
        "api.machine": ("doctor",),
        "api.past_runs": ("ddl", "report", "show", "status", "stop", "verify"),
        "api.plans": ("expect", "plan", "plan_update", "save_inventory"),
        "api.runs": ("combine", "make_backend", "run", "work"),
        "api.single_task": ("trial", "try_task"),
    },
)
