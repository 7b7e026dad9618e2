"""What a user can ask for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from scaledproc._util.types import Where
from scaledproc.events import Event
from scaledproc.execution.limits import Limits
from scaledproc.extractors import Extractor

Listener = Callable[[Event], None]

BUILT_IN = "built-in"
"""Instead of a file of signal names: those of the package."""


@dataclass(frozen=True)
class Options:
    """What a plan is made by, the parameters of `plan`; and what its tasks may cost."""

    extractor: str | Extractor = "wfdb-summary"
    unit: str | None = None
    anchors: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    limit: int | None = None
    shards: str | int = "folder"
    chunk: str | int = "auto"
    signal_names: Where | None = None
    limits: Limits = field(default_factory=Limits)
    inventory: Where | None = None
    only: Where | None = None
    hidden: bool = False
