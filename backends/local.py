"""The backend `local`: this machine's cores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from scaledproc._util.process.machine import allowed_processes
from scaledproc.backend.base import Backend, Capabilities, Job
from scaledproc.events import Event
from scaledproc.execution.workers.pool import cores

if TYPE_CHECKING:
    from scaledproc.execution.limits import Limits
    from scaledproc.execution.workers.pool import Pool
    from scaledproc.extractors import Extractor
    from scaledproc.run_folder.folder import RunFolder

_CHUNKS = "scaledproc.execution.chunks.chunk"


class LocalBackend(Backend):
    """Runs every job in this process's own cores; the chunks of all shards share them."""

    capabilities = Capabilities(is_here=True)
    name = "local"
    _pool: Pool | None = None

    @property
    def cores(self) -> int:
        """Those that this process may use, or as many as were asked for; as far as the system lets them be started."""
        return self._pool.jobs if self._pool is not None else allowed_processes(cores(self.jobs))

    @contextmanager
    def starting(self, limits: Limits) -> Iterator[None]:
        """Have the pool's processes start, and import what all chunks need, meanwhile."""
        from scaledproc.execution.workers.pool import Pool

        with Pool(self.cores, limits, self.scratch) as pool:
            if not pool.is_here:
                pool.warm_up(partial(import_module, _CHUNKS))
                self._pool = pool
            try:
                yield
            finally:
                self._pool = None

    @contextmanager
    def prepared(self, limits: Limits, source: str | Extractor, options: Mapping[str, Any]) -> Iterator[None]:
        """Have the pool's processes import the extractor meanwhile."""
        from scaledproc._util.redaction import known_secrets
        from scaledproc.execution.chunks.loading import warm_up
        from scaledproc.extractors.registry import place

        with nullcontext() if self._pool is not None else self.starting(limits):
            if self._pool is not None:
                self._pool.warm_up(partial(warm_up, place(source), options, known_secrets()))
            yield

    @property
    def processes(self) -> Pool | None:
        """The pool's, where it has some."""
        return self._pool

    def run(self, run: RunFolder, jobs: Sequence[Job]) -> Iterator[Event]:
        """Do the jobs in this process and its pool."""
        from scaledproc.execution.tables.combine import combine
        from scaledproc.execution.worker import run_shards

        shards = [job.shard for job in jobs if job.shard is not None]
        if shards:
            yield from run_shards(run, shards, jobs=cores(self.jobs), scratch=self.scratch, pool=self._pool)
        if any(job.shard is None for job in jobs):
            if self._pool is not None:
                self._pool.rest()  # this process does it alone, and may need their memory
            yield combine(run)
