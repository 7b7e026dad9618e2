"""The SDK's local mode, as the controller sees jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ..service import JobSummary
from .session import LocalMode


class LocalJobs:
    """Containers on this machine in the place of the service."""

    def __init__(self) -> None:
        self._mode = LocalMode()

    def create(self, request: dict[str, Any]) -> None:
        """Start a job."""
        self._mode.create(request)

    def summaries(self, name_contains: str, since: datetime | None = None) -> list[JobSummary]:  # noqa: ARG002 - a process has few jobs
        """The jobs of this process."""
        return [
            JobSummary(job["ProcessingJobName"], job["ProcessingJobStatus"], job["CreationTime"])
            for job in self._mode.list(name_contains)
        ]

    def describe(self, name: str) -> dict[str, Any]:
        """All about a job."""
        return self._mode.describe(name)

    def stop(self, name: str) -> None:
        """End a job's containers."""
        self._mode.stop(name)

    def last_lines(self, name: str, count: int) -> list[str]:
        """The end of what the containers said."""
        try:
            return self._mode.log(name).read_text(errors="replace").splitlines()[-count:]
        except OSError:
            return []

    def link(self, name: str) -> str:
        """The file with all that they said."""
        return str(self._mode.log(name))
