"""One display of whatever takes long: on a terminal, in a log, or as JSON for programs."""

from __future__ import annotations

from scaledproc.reporting.terminal.base import Progress
from scaledproc.reporting.terminal.choice import choose, waiting
from scaledproc.reporting.terminal.json_lines import JsonProgress
from scaledproc.reporting.terminal.live import LiveProgress
from scaledproc.reporting.terminal.log import PlainProgress
from scaledproc.reporting.terminal.scene import started_text

__all__ = ["JsonProgress", "LiveProgress", "PlainProgress", "Progress", "choose", "started_text", "waiting"]
