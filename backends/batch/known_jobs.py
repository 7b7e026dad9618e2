"""What is known of a run's jobs, from its folder and from a queue; on any machine."""

from __future__ import annotations

import json
import re
import time
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self

from scaledproc._util.user_cache import cache_folder
from scaledproc.backend.base import Backend, Capabilities
from scaledproc.events import ShardDone, ShardState, State
from scaledproc.execution.heartbeat import Heartbeat, read_heartbeats, shard_states
from scaledproc.execution.workers.pool import cores
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.names import COMBINED, WORK, work_name
from scaledproc.run_folder.record import read_record, reports_of

from .calls import BusyError
from .elements import COMBINE, Elements, QueuedJob
from .job_command import job_command, jobs_name
from .settings import BatchSettings

CORES = 4  # of a job, where nobody says
CONTROL = f"{WORK}/control"
STOP = f"{CONTROL}/stop"
LOG_END = 1500  # characters of a job's log that are shown
_TELLING = (State.STARTING, State.RUNNING)
_CHUNK = re.compile(r"\d+\.parquet")
_WHOLE_SHARD = 10**6  # more than a shard has chunks


class KnownJobs(Backend):
    """Finds the jobs of a run again, tells how far they are, and stops them; whoever submitted them.

    Parameters
    ----------
    jobs
        Processes of each job; as many as it has cores where none is given.
    scratch
        Where jobs stage remote data; on their machines.
    settings
        As the class that `declares` names has them.

    Raises
    ------
    UsageError
        If there is no such setting, or one cannot have its value.
    """

    capabilities = Capabilities(shares_disk=True)
    declares: ClassVar[type[BatchSettings]]
    """What can be set."""
    unrecorded: ClassVar[Collection[str]] = ()
    """Settings that run.json does not have."""
    settings: BatchSettings

    def __init__(self, *, jobs: int | None = None, scratch: Path | None = None, **settings: Any) -> None:
        super().__init__(jobs=jobs, scratch=scratch)
        self.settings = self.declares.parse(settings)
        self._heartbeats: Mapping[str, tuple[str, Heartbeat]] = {}
        self._run: RunFolder | None = None
        self._dealt: tuple[str, str, Elements] | None = None
        self._seen: tuple[str, float, Sequence[QueuedJob] | BusyError] | None = None

    @classmethod
    def recall(cls, record: Mapping[str, Any], settings: Mapping[str, Any]) -> Self:  # noqa: ARG003 - as the base has it
        """One that finds a run's jobs again, by their names."""
        return cls(**settings)

    @property
    def cores(self) -> int:
        """Cores of one job."""
        return cores(self.jobs or self.settings.cpus or CORES)

    @property
    def grace(self) -> float:
        """Seconds that a job has to finish its chunks when it is told to end."""
        return self.settings.grace or 0.0

    def shards_per_job(self, shards: int) -> int:  # noqa: ARG002 - some look at the site
        """How many shards a job has."""
        return self.settings.shards_per_job

    def record(self) -> Mapping[str, Any]:
        """What run.json says of it."""
        given = {name: value for name, value in asdict(self.settings).items() if value and name not in self.unrecorded}
        return {"name": self.name, "settings": {**given, "cores": self.cores}}

    @abstractmethod
    def look(self, run: RunFolder) -> Sequence[QueuedJob]:
        """What is known of the run's jobs now, at most one of each element.

        Raises
        ------
        BusyError
            If the batch system cannot be asked now.
        """

    @abstractmethod
    def cancel(self, run: RunFolder) -> None:
        """Cancel all of the run's jobs."""

    def _report(self, run: RunFolder, shard: int) -> ShardDone:
        """What became of a committed shard, also where a job has ended the run meanwhile, and its report is gone."""
        try:
            return run.shard_report(shard)
        except FileNotFoundError:
            record = read_record(run.store)
            if record is None or record.state != "done":
                raise
            return next(done for done in reports_of(record) if done.shard == shard)

    def _committed(self, run: RunFolder) -> set[int]:
        return set(range(run.record.counts["shards"])) if self._is_finished(run) else run.committed_shards()

    def _is_done(self, run: RunFolder, element: int, committed: set[int]) -> bool:
        if element == COMBINE:
            return self._is_finished(run) or (run.store.exists(COMBINED) and run.store.exists(run.record.last_of_table))
        return committed.issuperset(self.elements(run).shards_of(element))

    def _is_finished(self, run: RunFolder) -> bool:
        record = read_record(run.store)
        return record is not None and record.state == "done"

    def _progress(self, run: RunFolder, elements: Sequence[int], committed: set[int]) -> dict[int, int]:
        """How much of each element is committed, as a number that only grows."""
        begun = set(run.store.names(WORK)) if elements else set()

        def of(shard: int) -> int:
            folder = work_name(shard, "")
            if shard in committed or folder.removeprefix(f"{WORK}/").rstrip("/") not in begun:
                return _WHOLE_SHARD if shard in committed else 0
            return sum(_CHUNK.fullmatch(name) is not None for name in run.store.names(folder))

        layout = self.elements(run)
        return {element: sum(map(of, layout.shards_of(element))) for element in elements}

    def _what(self, run: RunFolder, element: int) -> str:
        shards = self.elements(run).shards_of(element)
        if element == COMBINE:
            return "combine"
        return f"shard {shards[0]}" if len(shards) == 1 else f"shards {shards[0]}-{shards[-1]}"

    # What jobs are

    def elements(self, run: RunFolder) -> Elements:
        """How the run's shards are dealt to jobs: as when the first of them were submitted, which never changes."""
        of, work, shards = run.store.uri, run.record.work_id, run.record.counts["shards"]
        if self._dealt is None or self._dealt[:2] != (of, work):
            kept = self.control(run).get("each")
            found = Elements(shards, kept or self.shards_per_job(shards))
            if not kept and run is not self._run:
                return found  # whoever submits the jobs may yet decide otherwise
            self._dealt = of, work, found
        return self._dealt[2]

    def control(self, run: RunFolder) -> dict[str, Any]:
        """What this backend keeps in the run's folder."""
        try:
            found = json.loads(run.store.read(f"{CONTROL}/{self.name}.json"))
        except (FileNotFoundError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def keep(self, run: RunFolder, known: Mapping[str, Any] | None = None, **changes: Any) -> None:
        """Keep some values in the run's folder, beside those that `control` gives.

        Parameters
        ----------
        run
            Whose folder.
        known
            What `control` gave; it is asked where None is given.
        changes
            The values, by their names.
        """
        known = self.control(run) if known is None else known
        content = {"each": self.elements(run).each, **known, **changes}
        run.store.write(f"{CONTROL}/{self.name}.json", json.dumps(content).encode())

    def worker(self, run: RunFolder, what: str, report: str, *, finish: bool = False) -> str:
        """The command that does a job, for a shell; the parameters are those of `job_command`."""
        return job_command(run, what, report, jobs=self.cores, grace=self.grace, scratch=self.scratch, finish=finish)

    def logs(self, run: RunFolder) -> Path:
        """The folder of the jobs' logs, which is made."""
        local = run.store.local
        folder = cache_folder() / self.name / jobs_name(run) if local is None else local / CONTROL / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _said(self, run: RunFolder, job: QueuedJob) -> str:
        """The end of a job's log."""
        try:
            text = (self.logs(run) / f"{job.name}.log").read_text(errors="replace").strip()[-LOG_END:]
        except OSError:
            return ""
        return f"\n{text}" if text else ""

    # From any machine

    def states(self, run: RunFolder) -> Sequence[ShardState]:
        """What the run's jobs do now, as far as the batch system told not long ago and the run's folder tells now."""
        return self._states(run, self._seen_jobs(run), run.committed_shards())

    def _seen_jobs(self, run: RunFolder) -> Sequence[QueuedJob]:
        """What was seen in the queue: not asked for more often than a driver does, however often somebody looks."""
        now = time.monotonic()
        if self._seen is None or self._seen[0] != run.store.uri or now - self._seen[1] >= self.settings.poll_seconds:
            found: Sequence[QueuedJob] | BusyError
            try:
                found = self.look(run)
            except BusyError as error:
                found = error
            self._seen = run.store.uri, now, found
        if isinstance(self._seen[2], BusyError):
            raise self._seen[2]
        return self._seen[2]

    def _states(self, run: RunFolder, found: Sequence[QueuedJob], committed: set[int]) -> list[ShardState]:
        elements = self.elements(run)
        self._heartbeats = read_heartbeats(run.store, self._heartbeats)
        beats = shard_states(beat for _, beat in self._heartbeats.values())
        states = []
        for job in found:
            for shard in elements.shards_of(job.element):
                beat = beats.get((job.name, shard))
                if shard in committed or job.state is State.DONE:
                    continue
                is_telling = beat is not None and job.state in _TELLING and beat.state is not State.DONE
                states.append(beat if is_telling and beat else ShardState(shard, job.state, job.name, job.detail))
        return sorted(states, key=lambda state: state.shard)

    def at_work(self, run: RunFolder) -> int:
        """How many jobs of a run are queued or at work."""
        return sum(not job.is_over for job in self._seen_jobs(run))

    def halt(self, run: RunFolder) -> int:
        """Cancel the run's jobs, whoever submitted them."""
        self._seen = None
        run.store.write(STOP, b"")  # first: a driver is to submit no more also where the batch system cannot be asked
        count = self.at_work(run)
        self.cancel(run)
        return count
