"""The backend `sagemaker`: a plan's shards as Amazon SageMaker Processing jobs."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scaledproc._util.text import ranges_text
from scaledproc.backend.base import Backend, Capabilities, Job
from scaledproc.engine.options import parse_shards
from scaledproc.errors import UsageError
from scaledproc.events import CombineDone, Event, Note, ShardState, State
from scaledproc.execution.heartbeat import Heartbeat, read_heartbeats, shard_states
from scaledproc.execution.tables.table_files import needs_rows
from scaledproc.execution.workers.pool import cores
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.names import COMBINED, INVENTORY, PLAN, RECORD, SHARDS, WORK
from scaledproc.run_folder.record import read_record

from .account import Account, check_buckets, check_places, check_variables, sdk_defaults
from .container.job import do_container_job
from .container.order import ContainerOrder
from .cost.billing import Bill, bill
from .instances import find_instance
from .jobs import pipeline
from .jobs.combining import expected_on_disk, on_disk
from .jobs.control import SUBMITTERS, Controller, job_name, key_and_attempt, run_token
from .jobs.job_list import (
    COMBINE,
    KEYS,
    SHARED_FILES,
    STOP,
    grouped_assignments,
    has_combined,
    manifest,
    manifest_of,
    publish,
    shard_assignments,
)
from .jobs.requests import (
    CONTROL,
    Assignment,
    Choice,
    Place,
    encryption_options,
    instance_types,
    is_mounted,
    possible_types,
    processing_job,
    tables_in_jobs,
)
from .jobs.settling import Settled, settle_jobs
from .packaging.bundle import make_bundle
from .service import Jobs, Service, ServiceError, knows_preferences
from .settings import Settings

if TYPE_CHECKING:
    from scaledproc.backend.base import Expected
    from scaledproc.extractors import Extractor
    from scaledproc.planning.plan import Plan
    from scaledproc.storage.store import Store

    from .cost.prices import PriceList

for _needed in ("sagemaker", "boto3"):
    if importlib.util.find_spec(_needed) is None:
        raise ImportError(f"it needs the package {_needed}")

_AT_WORK = ("InProgress", "Stopping")
# Storage options that say where data is, and nothing secret: a job's request can be read by many.
_SENDABLE = frozenset({"anon", "requester_pays", "endpoint_url"})


class SageMakerBackend(Backend):
    """Runs jobs as SageMaker Processing jobs; each machine's cores share its shards' chunks.

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
    def recall(cls, record: Mapping[str, Any], settings: Mapping[str, Any]) -> SageMakerBackend:
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

    @property
    def detaches(self) -> bool:
        """Whether the run is handed over."""
        return self.settings.detach

    def store_options(self, side: Literal["input", "output"]) -> Mapping[str, Any]:
        """The profile for both; encryption of what is written."""
        options: dict[str, Any] = {"profile": self._given.profile} if self._given.profile else {}
        encryption = encryption_options(self.settings)
        if side == "output" and encryption:
            options["s3_additional_kwargs"] = encryption
        return options

    # Before the run

    def check(self, run: RunFolder, plan: Plan) -> Iterator[str]:
        """See whether the account, the buckets and the plan allow it; nothing is written and no job is made."""
        settings = self.settings
        check_places(run, settings)
        check_variables(run.extractor, settings)
        self._storage_options(run)
        self._checked = Account.local(settings) if settings.is_local else Account.ask(self.service, settings)
        yield from self._checked.notes
        if not settings.is_local:
            yield from check_buckets(self.service, run, settings)
        place = self._place(run, with_code=False)
        every = list(range(plan.n_shards))
        assignments = self._pipeline_jobs(run, plan, every) if settings.detach else self._assignments(run, plan, every)
        combine = None if settings.combine_local else Assignment(COMBINE, size=self._expected_on_disk(run, plan))
        # Too long a URL is known now, and too small a disk of any type, not after the first job.
        for assignment in (*assignments, *([combine] if combine else ())):
            processing_job(
                place,
                job_name(settings.job_name_prefix, run_token(run), assignment.key, 1),
                assignment,
                possible_types(settings, assignment),
            )
        yield from self._checked.quota_notes(settings, assignments, combine)
        if not settings.is_local:
            yield self._expected(run, plan)

    def _expected(self, run: RunFolder, plan: Plan) -> str:
        """What the run will take and cost, in a line.

        Raises
        ------
        UsageError
            If the cost is above `--max-cost`, or its price is not known.
        """
        from .cost.estimate import estimate_text, refuse_above
        from .cost.forecast import forecast

        has_table = self._has_table(run, self.settings)
        expected = forecast(self.settings, self.service, plan, run.dataset, run.extractor, has_table=has_table)
        if self.settings.max_cost is not None:
            refuse_above(expected, self.settings.max_cost)
        self._guess = {
            "seconds": round(expected.wall_seconds, 1),
            "work_seconds": round(3600 * expected.core_hours, 1),
            "usd": expected.usd,
            "machines_usd": expected.machines_usd,
        }
        line = f"expected: {estimate_text(expected)[0]}"
        if expected.usd is not None:
            return line
        return f"{line}; give --price TYPE=USD (an hour), so that it and what is billed can be told"

    def _known_prices(self) -> PriceList | None:
        """Prices of the machines that are set, asked of AWS once."""
        from .cost.forecast import known_prices

        if self._prices is None and not self.settings.is_local:
            self._prices = known_prices(self.settings, self.service)
        return self._prices

    def estimate(self, plan: Plan, dataset: Store, extractor: Extractor) -> Expected:
        """Time and price, what they rest on, and what would be better."""
        from .cost.forecast import advise

        return advise(self.settings, self._service_for_prices(), plan, dataset, extractor)

    def _service_for_prices(self) -> Service | None:
        """AWS, which a plan can do without: where no region is set, the package's prices are taken."""
        try:
            return None if self.settings.is_local else self.service
        except UsageError:
            if self.settings.profile or self.settings.region:
                raise
            return None

    # The run

    def run(self, run: RunFolder, jobs: Sequence[Job]) -> Iterator[Event]:
        """Start the jobs, watch them, tell what happens."""
        if self._execution is not None and pipeline.status(self.service, self._execution) in pipeline.AT_WORK:
            yield Note("a pipeline has this run: watching it")
            yield from self._follow(run, self._execution)
            record = read_record(run.store)
            self._is_over = record is not None and record.state == "done"
        if self._is_over:  # what was to be done is done, and the folder is cleaned up
            return
        shards = [job.shard for job in jobs if job.shard is not None]
        if shards:
            yield from self._make(run, shards)
        if any(job.shard is None for job in jobs):
            yield from self._combine(run)
            if self._execution is not None and not self._is_over:
                yield from self._bill_pipelines(run)

    def _bill_pipelines(self, run: RunFolder) -> Iterator[Event]:
        """Bill what a pipeline did of a run that is ended here; if that cannot be asked, the run ends nonetheless."""
        try:
            self._bill_all(run)
        except ServiceError as error:
            self._unsettled = (f"the jobs of a pipeline that had the run cannot be asked ({error})",)
            yield Note(f"{self._unsettled[0]}; what was billed is told without them")

    def _make(self, run: RunFolder, shards: Sequence[int]) -> Iterator[Event]:
        run.store.remove(STOP)
        committed = run.committed_shards()
        yield from run.shard_reports(sorted(committed.intersection(shards)))
        assignments = self._assignments(run, run.plan, [shard for shard in shards if shard not in committed])
        controller = yield from self._control(run, assignments)
        self._keys_job = controller.completed.get(KEYS)
        self._is_over = controller.is_over

    def _combine(self, run: RunFolder) -> Iterator[Event]:
        parts = self._keys_job
        at_work = [job.name for job in self._jobs.summaries(run_token(run)) if job.status in _AT_WORK]
        if self.settings.combine_local and not at_work:
            outputs = {f"output.{name}": value for name, value in run.store.options.items()}
            order = ContainerOrder(run.store.uri, combine=True, jobs=1, storage_options=outputs, parts=parts)
            yield from do_container_job(order)
            return
        publish(run)  # an earlier command may have ended before it could
        if at_work or not has_combined(run):
            assignment = self._combine_assignment(run, parts)
            controller = yield from self._control(run, [assignment])
            self._is_over = controller.is_over
            if self._is_over:
                return
        if parts:
            for report in run.shard_reports(sorted(run.committed_shards())):
                yield replace(report, resumed=False)
        yield CombineDone.from_json(run.store.read(COMBINED))

    def _combine_assignment(self, run: RunFolder, parts: str | None) -> Assignment:
        """The last job, with what is to be on its disk."""
        settings, committed = self.settings, run.committed_shards()
        is_known = not settings.detach and len(committed) == run.plan.n_shards
        reads_rows = not is_known or needs_rows(run)
        if settings.detach:
            size = self._expected_on_disk(run, run.plan)
        else:
            made = run.store.size_of(f"{WORK}/parts/{parts}") if parts else 0
            size = on_disk(settings, run.store.size_of(SHARDS) if reads_rows else 0, made)
        has_shards = bool(committed) or parts is None
        return Assignment(COMBINE, size=size, parts=parts, has_shards=has_shards, reads_rows=reads_rows)

    @staticmethod
    def _has_table(run: RunFolder, settings: Settings) -> bool:
        """Whether the last job is expected to write rows: the shards' jobs do where tables are folders."""
        return not run.record.has_table_folders or (is_mounted(settings) and not tables_in_jobs(run))

    def _expected_on_disk(self, run: RunFolder, plan: Plan) -> int:
        has_table = self._has_table(run, self.settings)
        return expected_on_disk(self.settings, plan, run.extractor, has_table=has_table)

    def _control(self, run: RunFolder, assignments: Sequence[Assignment]) -> Generator[Event, None, Controller]:
        """Do assignments by jobs; what did them."""
        place = self._prepare(run, assignments) if assignments else None

        def request(name: str, assignment: Assignment, choice: Choice) -> dict[str, Any]:
            assert place is not None  # without assignments there are no requests
            choice = replace(choice, prefers=choice.prefers and knows_preferences())
            return processing_job(place, name, assignment, instance_types(self.settings, assignment, choice))

        if self._controller is not None:  # of the shards: the last job's machine is not asked for its disk
            self._scratch = self._scratch or self._controller.scratch
        self._controller = controller = Controller(self._jobs, run, self.settings, request, self._bills)
        yield from controller.do(assignments)
        return controller

    def stop(self) -> None:
        """Leave the jobs to go on: the same command watches them again. Containers on this machine are ended."""
        if self.settings.is_local and self._controller is not None:
            for name in self._controller.active:
                self._jobs.stop(name)

    def interrupt(self, ask: Callable[[str], bool]) -> str:
        """Ask whether the jobs are to be stopped, where somebody can answer."""
        self.stop()
        active = self._controller.at_work() if self._controller else []
        if self._controller is None and self._execution is not None:
            return "the pipeline goes on: the same command watches it, scaledproc stop OUTPUT ends it"
        if self.settings.is_local or not active:
            return ""
        jobs = f"{len(active)} {'job is' if len(active) == 1 else 'jobs are'} at work in SageMaker"
        if not ask(f"{jobs}. Stop them?"):
            return f"{jobs} and left to go on: the same command watches them, scaledproc stop OUTPUT ends them"
        self._stop_jobs(active)
        return f"{jobs} and told to stop"

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

    # Detached

    def detach(self, run: RunFolder) -> str:
        """Make a pipeline of what is left, and start it."""
        settings, token = self.settings, run_token(run)
        name = self._pipeline_name(run)
        self._execution = pipeline.find(self.service, name) or self._execution  # run.json may not have got it
        if self._execution is not None and pipeline.status(self.service, self._execution) == "Executing":
            return f"a pipeline has this run already: {self._execution}"
        if count := self.at_work(run):
            raise UsageError(
                f"{count} jobs are at work for this run already: watch them (the same without --detach), or stop them "
                f"first: scaledproc stop {run.store}"
            )
        start = run.record.timings.get("starts", 1)  # so that no two of its pipelines leave parts in one place
        committed = run.committed_shards()
        left = [shard for shard in range(run.plan.n_shards) if shard not in committed]
        assignments = self._pipeline_jobs(run, run.plan, left)
        self._groups = {
            assignment.key: ranges_text(assignment.shards) for assignment in assignments if len(assignment.shards) > 1
        }
        names = {
            assignment.key: job_name(settings.job_name_prefix, token, assignment.key, start)
            for assignment in assignments
        }
        combine = replace(
            self._combine_assignment(run, names.get(KEYS)), has_shards=KEYS not in names or bool(committed)
        )
        names[COMBINE] = job_name(settings.job_name_prefix, token, COMBINE, start)
        place = self._prepare(run, assignments)

        def made(choice: Choice) -> dict[str, Any]:
            requests = [
                processing_job(place, names[assignment.key], assignment, instance_types(settings, assignment, choice))
                for assignment in (*assignments, combine)
            ]
            return pipeline.definition(settings, assignments, combine, requests)

        prefers, note = knows_preferences() and len(settings.instance_type) > 1, ""
        try:
            self._execution = pipeline.start(self.service, name, place.role, made(Choice(prefers=prefers)), settings)
        except ServiceError as error:
            if not prefers or error.trouble not in ("invalid", "denied"):
                raise
            once = made(Choice(prefers=False))
            self._execution = pipeline.start(self.service, name, place.role, once, settings)
            note = f"; a choice of machines is refused, so all are {settings.instance_type[0]} ({error})"
        return f"pipeline {name} has the run: {len(assignments)} jobs, then the table{note}"

    def _follow(self, run: RunFolder, execution: str) -> Iterator[Event]:
        """Watch a pipeline to its end."""
        told: dict[int, ShardState] = {}
        committed = run.committed_shards()
        while (status := pipeline.status(self.service, execution)) in pipeline.AT_WORK:
            there = run.committed_shards()
            for shard in sorted(there - committed):
                yield replace(run.shard_report(shard), resumed=False)
            committed = there
            for state in self.states(run):
                if told.get(state.shard) != state:
                    told[state.shard] = state
                    yield state
            time.sleep(self.settings.poll_seconds)
        yield Note(f"the pipeline ended: {status}")

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
            pipeline.delete(self.service, name)
        return True

    def _billed(self) -> dict[str, Any]:
        region = None if self.settings.is_local else self.service.region
        unknown = [*(self._settled.unknown if self._settled else ()), *self._unsettled]
        made = bill(self._bills.values(), region, self._known_prices(), unknown)
        return {**made, "executions": list(self._settled.executions)} if self._settled else made

    def _pipeline_name(self, run: RunFolder) -> str:
        return f"{self.settings.job_name_prefix}-{run_token(run)}"

    # From any machine

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
        count = sum(job.status in _AT_WORK for job in self._jobs.summaries(run_token(run)))
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

    # What requests are made of

    def _assignments(self, run: RunFolder, plan: Plan, shards: Sequence[int]) -> list[Assignment]:
        return shard_assignments(self.settings, plan, shards, run.record.options, run.store.uri)

    def _pipeline_jobs(self, run: RunFolder, plan: Plan, shards: Sequence[int]) -> list[Assignment]:
        """As `_assignments`, in as few jobs as a pipeline has steps."""
        options, most = run.record.options, pipeline.MOST_STEPS
        return grouped_assignments(self.settings, plan, shards, options, run.store.uri, most)

    def _prepare(self, run: RunFolder, assignments: Sequence[Assignment]) -> Place:
        """Put what the workers need into the run's folder."""
        if is_mounted(self.settings):  # else they read the run's own folder
            for name in (RECORD, PLAN, INVENTORY):
                run.store.write(f"{WORK}/{CONTROL}/{name}", run.store.read(name))
            if run.plan.reads:
                names = [file.path for file in run.plan.reads]
                run.store.write(SHARED_FILES, manifest_of(names, run.dataset.uri))

        def list_files(assignment: Assignment) -> None:
            if assignment.manifest:
                name = assignment.manifest.removeprefix(f"{run.store.uri}/")
                run.store.write(name, manifest(run.plan, assignment.shards, run.dataset.uri))

        with ThreadPoolExecutor(SUBMITTERS, thread_name_prefix="calls") as pool:
            list(pool.map(list_files, assignments))
        return self._place(run, with_code=True)

    def _place(self, run: RunFolder, *, with_code: bool) -> Place:
        settings = self.settings
        account = self._checked or (
            Account.local(settings) if settings.is_local else Account.ask(self.service, settings)
        )
        self._checked = account
        code = None
        if with_code:
            code = make_bundle(
                run.store, str(run.source), installs=settings.image_uri is None, wheelhouse=settings.wheelhouse
            )
        has_list = bool(run.record.extractor.get("reads")) and is_mounted(settings) and not settings.is_local
        return Place(
            settings=settings,
            dataset=run.dataset.uri,
            run=run.store.uri,
            image_uri=account.image_uri,
            role=account.role,
            region=None if settings.is_local else self.service.region,
            code=code,
            storage_options=self._storage_options(run),
            jobs=self.jobs,
            shared=f"{run.store.uri}/{SHARED_FILES}" if has_list else None,
            tables=tables_in_jobs(run),
        )

    def _storage_options(self, run: RunFolder) -> dict[str, Any]:
        """Storage options for the workers; what may be a secret is refused."""
        found: dict[str, Any] = {}
        sides: tuple[tuple[Literal["input", "output"], Store], ...] = (("input", run.dataset), ("output", run.store))
        for side, store in sides:
            own = self.store_options(side)
            for key, value in store.options.items():
                if key in own:
                    continue
                if key not in _SENDABLE:
                    raise UsageError(
                        f"--storage-option {key}: cannot be sent to the jobs, whose requests can be read; give their "
                        "role the access that they need"
                    )
                found[f"{side}.{key}"] = value
        return found
