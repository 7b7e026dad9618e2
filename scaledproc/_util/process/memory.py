"""How much memory this process takes, at most, while something is done."""

from __future__ import annotations

import contextlib
import re
import resource
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


class PeakMemory:
    """Measures the resident memory of this process while the block is at work; processes that it starts do not count.

    Attributes
    ----------
    before
        Bytes when the block was entered; None where the system does not tell.
    peak
        Most bytes within the block. Where the system cannot forget what the process took before (only Linux can), it is
        None unless the block took more than that.
    """

    def __init__(self) -> None:
        self.before: int | None = None
        self.peak: int | None = None
        self._most = 0
        self._is_reset = False

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError):
            _RESET.write_text("5")  # from proc(5): the peak is from now on
            self._is_reset = True
        self.before = _of_status("VmRSS")
        self._most = _most_ever()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        most = _of_status("VmHWM") if self._is_reset else None
        if most is None and (ever := _most_ever()) > self._most:
            most = ever
        self.peak = most


def _of_status(name: str) -> int | None:
    """A line of what Linux tells of this process, in bytes."""
    try:
        found = re.search(rf"^{name}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def _most_ever() -> int:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
