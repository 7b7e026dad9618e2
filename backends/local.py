"""The backend `local`: this machine's cores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scaledproc.backend import Backend, Capabilities, Job
from scaledproc.events import Event
from scaledproc.pool import cores
from scaledproc.run_folder import Run


class LocalBackend(Backend):
    """Runs every job in this process's own cores; the chunks of all shards share them."""

    capabilities = Capabilities(is_here=True)
    name = "local"

    @property
    def cores(self) -> int:
        """Those that this process may use, or as many as were asked for."""
        return cores(self.jobs)

    def run(self, run: Run, jobs: Sequence[Job]) -> Iterator[Event]:
        """Do the jobs in this process and its pool."""
        from scaledproc.combining import combine
        from scaledproc.worker import run_shards

        shards = [job.shard for job in jobs if job.shard is not None]
        if shards:
            yield from run_shards(run, shards, jobs=self.cores, scratch=self.scratch)
        if any(job.shard is None for job in jobs):
            yield combine(run)
