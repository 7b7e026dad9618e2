"""Turn a tree of interdependent files, on a laptop or in S3, into one Parquet table of features."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scaledproc.api import combine, fetch, plan, run
    from scaledproc.backend.base import Backend, Capabilities, Job
    from scaledproc.errors import ScaledprocError, UsageError
    from scaledproc.extractors import Extractor, Option, Task, extractor
    from scaledproc.fetching.transfer import Fetched
    from scaledproc.planning.plan import Plan
    from scaledproc.run_folder.folder import Run

__all__ = [
    "Backend",
    "Capabilities",
    "Extractor",
    "Fetched",
    "Job",
    "Option",
    "Plan",
    "Run",
    "ScaledprocError",
    "Task",
    "UsageError",
    "combine",
    "extractor",
    "fetch",
    "plan",
    "run",
]

# Imported at first use: `scaledproc --help` waits for none of the libraries below.
_HOMES = {
    "Backend": "backend.base",
    "Capabilities": "backend.base",
    "Extractor": "extractors",
    "Fetched": "fetching.transfer",
    "Job": "backend.base",
    "Option": "extractors",
    "Plan": "planning.plan",
    "Run": "run_folder.folder",
    "ScaledprocError": "errors",
    "Task": "extractors",
    "UsageError": "errors",
    "combine": "api",
    "extractor": "extractors",
    "fetch": "api",
    "plan": "api",
    "run": "api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'scaledproc' has no attribute {name!r}")
    value = getattr(import_module(f"scaledproc.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
