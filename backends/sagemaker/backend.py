"""The backend `sagemaker`: a plan's shards as Amazon SageMaker Processing jobs."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from scaledproc._util.text import ranges_text
from scaledproc.backend.base import Job
from scaledproc.errors import UsageError
from scaledproc.events import CombineDone, Event, Note, ShardState
from scaledproc.execution.tables.table_files import needs_rows
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.names import COMBINED, INVENTORY, PLAN, RECORD, SHARDS, WORK
from scaledproc.run_folder.record import read_record

from .account import Account, check_buckets, check_places, check_variables
from .container.job import do_container_job
from .container.order import ContainerOrder
from .jobs import pipeline
from .jobs.combining import expected_on_disk, on_disk
from .jobs.control import SUBMITTERS, Controller, job_name, run_token
from .jobs.job_list import (
    COMBINE,
    KEYS,
    SHARED_FILES,
    STOP,
    grouped_assignments,
    has_combined,
    has_left_table,
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
from .known_jobs import AT_WORK, KnownServiceJobs
from .packaging.bundle import make_bundle
from .service import Service, ServiceError, knows_preferences
from .settings import Settings

if TYPE_CHECKING:
    from scaledproc.backend.base import Expected
    from scaledproc.extractors import Extractor
    from scaledproc.planning.plan import Plan
    from scaledproc.storage.store import Store


for _needed in ("sagemaker", "boto3"):
    if importlib.util.find_spec(_needed) is None:
        raise ImportError(f"it needs the package {_needed}")

# Storage options that say where data is, and nothing secret: a job's request can be read by many.
_SENDABLE = frozenset({"anon", "requester_pays", "endpoint_url"})


class SageMakerBackend(KnownServiceJobs):
    """Runs jobs as SageMaker Processing jobs; each machine's cores share its shards' chunks.

    The parameters are those of `KnownServiceJobs`.
    """

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
            yield from self._expected(run, plan)

    def _expected(self, run: RunFolder, plan: Plan) -> Iterator[str]:
        """What the run will take and cost, in a line; and what `--max-cost` was compared with that may be otherwise.

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
        lacks = "; give --price TYPE=USD (an hour), so that it and what is billed can be told"
        yield line if expected.usd is not None else line + lacks
        if self.settings.max_cost is not None:
            yield from (f"--max-cost was compared with what rests on this: {doubt}" for doubt in expected.doubts)

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
        if self._execution is not None and not self.settings.is_local:
            publish(run)  # a pipeline whose jobs have no network leaves shards of parts there too
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
        at_work = [job.name for job in self._jobs.summaries(run_token(run)) if job.status in AT_WORK]
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
        puts_in_place = "the same command without --detach puts the table in place and ends the run"
        if has_left_table(run):
            return f"the table is made, by a job without a network: {puts_in_place}"
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
        if is_mounted(settings, combines=True):
            note += f"; once it has ended, {puts_in_place}, as none of its jobs has a network"
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
