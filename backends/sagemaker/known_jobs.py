"""What is known of a run's jobs, from its folder and from the service: on any machine, whoever started them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from scaledproc.backend.base import Backend, Capabilities
from scaledproc.engine.options import parse_shards
from scaledproc.errors import UsageError
from scaledproc.events import ShardState, State
from scaledproc.execution.heartbeat import Heartbeat, read_heartbeats, shard_states
from scaledproc.execution.workers.pool import cores
from scaledproc.run_folder.folder import RunFolder

from .account import Account, sdk_defaults
from .cost.billing import Bill, bill
from .instances import find_instance
from .jobs import pipeline
from .jobs.control import SUBMITTERS, Controller, key_and_attempt, run_token
from .jobs.job_list import STOP
from .jobs.settling import Settled, settle_jobs
from .service import Jobs, Service, ServiceError
from .settings import Settings

if TYPE_CHECKING:
    from .cost.prices import PriceList

AT_WORK = ("InProgress", "Stopping")
"""The statuses of a job that has not ended."""


class KnownServiceJobs(Backend):
    """Finds the jobs of a run again, tells how far they are and what they took, and stops them.

    Parameters
    ----------
    jobs
        Processes of each machine; as many as it has vCPUs where none is given.
    scratch
        Not used: machines elsewhere stage on their own volume.
    settings
        As `Settings` has them.

    Raises
    ------
    UsageError
        If there is no such setting, or one cannot have its value.
    """

    capabilities = Capabilities(shares=True)
    name = "sagemaker"

    def __init__(self, *, jobs: int | None = None, scratch: Path | None = None, **settings: Any) -> None:
        super().__init__(jobs=jobs, scratch=scratch)
        self._given = Settings.parse(settings)
        self._given_names = frozenset(name for name, value in settings.items() if value is not None)
        self._bills: dict[str, Bill] = {}
        self._settled: Settled | None = None
        self._unsettled: tuple[str, ...] = ()
        self._heartbeats: Mapping[str, tuple[str, Heartbeat]] = {}
        self._controller: Controller | None = None
        self._scratch: dict[str, Any] | None = None
        self._prices: PriceList | None = None
        self._execution: str | None = None
        self._groups: dict[str, str] = {}
        self._keys_job: str | None = None
        self._is_over = False
        self._checked: Account | None = None
        self._guess: dict[str, Any] = {}

    @classmethod
    def recall(cls, record: Mapping[str, Any], settings: Mapping[str, Any]) -> Self:
        """One that finds a run's jobs again."""
        made = cls(**{**record.get("settings", {}), **settings})
        made._execution = record.get("execution")
        made._groups = dict(record.get("groups", {}))
        return made

    def take_over(self, record: Mapping[str, Any]) -> None:
        """Know of a pipeline that has the run."""
        if record.get("name") == self.name:
            self._execution = record.get("execution")
            self._groups = dict(record.get("groups", {}))

    @cached_property
    def settings(self) -> Settings:
        """What was set, and where nothing was, what the SDK's configuration has."""
        if self._given.is_local:
            return self._given
        defaults = sdk_defaults()
        try:
            return self._given.with_defaults(defaults, self._given_names)
        except UsageError as error:
            raise UsageError(f"{error} (the SageMaker SDK's configuration sets: {', '.join(defaults)})") from None

    @cached_property
    def service(self) -> Service:
        """AWS."""
        return Service(self.settings.region, self.settings.profile)

    @cached_property
    def _jobs(self) -> Jobs:
        if self.settings.is_local:
            from .local_mode.jobs import LocalJobs

            return LocalJobs()
        return self.service

    @property
    def cores(self) -> int:
        """Cores of one machine."""
        if self.jobs is not None or self._given.is_local:
            return cores(self.jobs)
        return min(find_instance(each).vcpus for each in self._given.instance_type)

    def _known_prices(self) -> PriceList | None:
        """Prices of the machines that are set, asked of AWS once."""
        from .cost.forecast import known_prices

        if self._prices is None and not self.settings.is_local:
            self._prices = known_prices(self.settings, self.service)
        return self._prices

    def states(self, run: RunFolder) -> Sequence[ShardState]:
        """What the run's jobs do now."""
        states: dict[int, ShardState] = {}
        committed = run.committed_shards()
        left = [shard for shard in range(run.record.counts["shards"]) if shard not in committed]
        for key, state, job, why in self._doing(run):
            for shard in self._shards_of(key, left):
                if shard in left:
                    states[shard] = ShardState(shard, state, job, why)
        self._heartbeats = read_heartbeats(run.store, self._heartbeats)
        beats = shard_states(beat for _, beat in self._heartbeats.values())
        for (job, shard), beat in beats.items():
            known = states.get(shard)
            if known is None or (self._execution is None and job != known.job):  # of an earlier try
                continue
            if known.state in (State.STARTING, State.RUNNING) and beat.state != State.DONE:
                states[shard] = replace(beat, job=known.job)
        return [states[shard] for shard in sorted(states)]

    def _shards_of(self, key: str, left: Sequence[int]) -> Sequence[int]:
        """The shards of a job, by its assignment's key."""
        if key in self._groups:
            return parse_shards([self._groups[key]])
        return [int(key[1:])] if key[:1] == "s" else left

    def _doing(self, run: RunFolder) -> Iterator[tuple[str, State, str, str]]:
        """Each assignment's key, state, job and reason, by the service's own account."""
        words = {
            "InProgress": State.STARTING,
            "Failed": State.FAILED,
            "Stopped": State.STOPPED,
            "Stopping": State.STOPPING,
        }
        if self._execution is not None:
            words |= {"Executing": State.STARTING, "Starting": State.STARTING}
            for step in pipeline.steps(self.service, self._execution):
                state = words.get(step["StepStatus"])
                if state:
                    yield step["StepName"], state, pipeline.job_of(step), step.get("FailureReason", "")
            return
        latest: dict[str, tuple[int, str, str]] = {}
        for job in self._jobs.summaries(run_token(run)):
            key, attempt = key_and_attempt(job.name)
            latest[key] = max(latest.get(key, (0, "", "")), (attempt, job.name, job.status))
        for key, (_, name, status) in latest.items():
            if status in words:
                why = self._jobs.describe(name).get("FailureReason", "") if status == "Failed" else ""
                yield key, words[status], name, why

    def halt(self, run: RunFolder) -> int:
        """Stop the run's jobs, and its pipeline."""
        count = 0
        run.store.write(STOP, b"")  # for a driver that is about to start more
        if self._execution is not None and pipeline.status(self.service, self._execution) == "Executing":
            pipeline.stop(self.service, self._execution)
            count += 1
        at_work = [job.name for job in self._jobs.summaries(run_token(run)) if job.status == "InProgress"]
        return count + self._stop_jobs(at_work)

    def at_work(self, run: RunFolder) -> int:
        """How many jobs of a run have not ended; a pipeline counts as one."""
        count = sum(job.status in AT_WORK for job in self._jobs.summaries(run_token(run)))
        if self._execution is not None:
            count += pipeline.status(self.service, self._execution) in pipeline.AT_WORK
        return count

    def record(self) -> Mapping[str, Any]:
        """What finds the jobs again; and what they took, as billed time says."""
        kept = (
            *("instance_type", "region", "job_name_prefix", "input_mode", "image_uri", "max_parallel_jobs"),
            *("keep_pipeline", "price"),
            "output_kms_key",  # for what `stop` and `status` write
        )
        settings = {
            name: value for name, value in asdict(self.settings).items() if name in kept and value not in (None, ())
        }
        if not self.settings.is_local:
            settings["region"] = self.service.region
        found: dict[str, Any] = {"name": self.name, "settings": settings}
        if self._guess:
            found["expected"] = self._guess
        if self._execution:
            found["execution"] = self._execution
        if self._groups:
            found["groups"] = self._groups
        scratch = self._scratch or (self._controller.scratch if self._controller else None)
        if scratch:
            found["scratch"] = scratch
        if self._bills:
            found["billed"] = self._billed()
        return found

    def _stop_jobs(self, names: Sequence[str]) -> int:
        """Stop jobs; how many of them had not ended. One that cannot be stopped does not keep the others from it."""
        with ThreadPoolExecutor(SUBMITTERS, thread_name_prefix="calls") as pool:
            stopped = [pool.submit(self._stop_job, name) for name in names]
        return sum(each.result() for each in stopped)

    def _stop_job(self, name: str) -> bool:
        try:
            self._jobs.stop(name)
        except ServiceError as error:
            if error.trouble not in ("invalid", "gone"):  # it ended meanwhile
                raise
            return False
        return True

    # When it has ended

    def settle(self, run: RunFolder) -> Mapping[str, Any] | None:
        """What all jobs took of a run that ended by itself, or that a pipeline had; then its pipeline is deleted."""
        found, billed = run.record.backend, run.record.backend.get("billed")
        if self.settings.is_local:
            return None
        if billed is not None and self._execution in (None, *billed.get("executions", ())):
            return None
        name = self._pipeline_name(run)
        if self._execution is None:  # a machine that had a copy of run.json wrote its end, and did not know of it
            self._execution = pipeline.find(self.service, name, has_ended=True)
        if self._execution is None or not self._bill_all(run) or not self._bills:
            return None
        return {**found, "billed": self._billed()}

    def _bill_all(self, run: RunFolder) -> bool:
        """Bill the jobs of the run and of all executions of its pipeline, and delete that; whether these have ended."""
        name = self._pipeline_name(run)
        settled = settle_jobs(self.service, run_token(run), name, self._execution, self._bills)
        if settled is None:
            return False
        self._bills, self._settled = dict(settled.bills), settled
        if not self.settings.keep_pipeline:
            with contextlib.suppress(ServiceError):  # the bills are known, and a pipeline costs nothing
                pipeline.delete(self.service, name)
        return True

    def _billed(self) -> dict[str, Any]:
        region = None if self.settings.is_local else self.service.region
        unknown = [*(self._settled.unknown if self._settled else ()), *self._unsettled]
        made = bill(self._bills.values(), region, self._known_prices(), unknown)
        return {**made, "executions": list(self._settled.executions)} if self._settled else made

    def _pipeline_name(self, run: RunFolder) -> str:
        return f"{self.settings.job_name_prefix}-{run_token(run)}"
