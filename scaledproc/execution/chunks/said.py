"""What tasks said, as rows in the plan's order: their warnings, and what they printed and logged where that is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaledproc._util.text import clean_text
from scaledproc.execution.chunks.quarantine import RowFile, bounded, cleaned, placeless
from scaledproc.run_folder.names import LOG, SAID_SCHEMA, WARNING

if TYPE_CHECKING:
    from scaledproc.extractors import Task

WARNING_BYTES = 1_000
"""Of one warning's text."""
LOG_BYTES = 64 * 2**10
"""Of what is kept of what one task printed and logged."""


class SaidRows(RowFile):
    """Takes what tasks said, and writes it to a file, if there is anything."""

    def __init__(self, committing: Callable[[], AbstractContextManager[Path]]) -> None:
        super().__init__(SAID_SCHEMA, committing)

    def take(self, row: Mapping[str, Any]) -> None:
        """Add a row."""
        self.add(row, len(row["text"]))

    def of_task(self, task: Task, log: str | None) -> None:
        """Add a task's warnings, and its log where that is to be kept."""
        said = [(WARNING, bounded(placeless(text, task), WARNING_BYTES)) for text in task.warnings.shown()]
        if log:
            said.append((LOG, bounded(clean_text(cleaned(log)), LOG_BYTES)))
        for what, text in said:
            self.take({"group": task.group, "unit": task.unit, "anchor": task.anchor, "what": what, "text": text})
