"""The backend that shows what would be done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scaledproc.backend.base import Backend, Capabilities, Job
from scaledproc.events import Event, JobPlanned
from scaledproc.execution.workers.pool import cores
from scaledproc.run_folder.folder import RunFolder


class DryRun(Backend):
    """Shows the plan and the jobs, and does nothing."""

    capabilities = Capabilities(executes=False, is_here=True)
    name = "dry-run"

    @property
    def cores(self) -> int:
        """Those that this process may use, or as many as were asked for."""
        return cores(self.jobs)

    def run(self, run: RunFolder, jobs: Sequence[Job]) -> Iterator[Event]:
        """Tell the command that would do each job."""
        for job in jobs:
            yield JobPlanned(" ".join(("scaledproc worker", str(run.store), *job.arguments)))
