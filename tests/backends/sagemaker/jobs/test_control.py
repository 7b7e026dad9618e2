"""The controller of many jobs and the decisions behind it, with jobs in memory: what becomes of each is made up."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import SAGEMAKER

import scaledproc
from scaledproc._util.text import ranges_text
from scaledproc.backend.dry_run import DryRun
from scaledproc.backends.sagemaker.cost.billing import Bill
from scaledproc.backends.sagemaker.jobs import decisions, job_list, pipeline
from scaledproc.backends.sagemaker.jobs.control import Controller, job_name, key_and_attempt, run_token
from scaledproc.backends.sagemaker.jobs.decisions import Fate, fate, pause
from scaledproc.backends.sagemaker.jobs.pipeline import definition
from scaledproc.backends.sagemaker.jobs.requests import Assignment, Choice, Place, instance_types, processing_job
from scaledproc.backends.sagemaker.service import JobSummary, ServiceError, Trouble
from scaledproc.backends.sagemaker.settings import Settings
from scaledproc.engine.options import RunOptions, parse_shards
from scaledproc.engine.provenance import new_record
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.events import Event, Note, ShardDone, ShardState, State
from scaledproc.execution.heartbeat import PROGRESS, Beating, Heartbeat, read_heartbeats
from scaledproc.planning.partition import share_out
from scaledproc.run_folder.beginning import begin
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.names import DONE, SHARDS
from scaledproc.storage.store import Store
from scaledproc.testing import probe

Outcome: TypeAlias = str | ServiceError
"""What becomes of a job: `commit`, `nothing`, `stopped`, `running`, a FailureReason; or why there is none."""


@dataclass
class MadeUp:
    """A job in memory."""

    name: str
    request: Assignment
    outcome: str
    status: str = "InProgress"
    changed: datetime = field(default_factory=lambda: datetime.now(UTC))


class MadeUpJobs:
    """Jobs that have ended by the next look; `behave(key, attempt)` says how."""

    def __init__(self, run: RunFolder, behave: Callable[[str, int], Outcome] = lambda *_: "commit") -> None:
        self.run = run
        self.behave = behave
        self.jobs: dict[str, MadeUp] = {}
        self.calls: Counter[str] = Counter()
        self.refuse: dict[str, list[ServiceError]] = {}
        self.most_at_once = self.creating = 0
        self.threads: set[int] = set()
        self._lock = threading.Lock()

    def create(self, request: dict[str, Any]) -> None:
        name, assignment = request["name"], request["assignment"]
        with self._lock:
            self._call("create")
            self.threads.add(threading.get_ident())
            if name in self.jobs:
                raise ServiceError("exists", "ResourceInUse")
            outcome = self.behave(*key_and_attempt(name))
            if isinstance(outcome, ServiceError):
                raise outcome
            self.jobs[name] = MadeUp(name, assignment, outcome)
            self.most_at_once = max(self.most_at_once, len(self.at_work))

    @property
    def at_work(self) -> list[str]:
        return [job.name for job in self.jobs.values() if job.status == "InProgress"]

    def summaries(self, name_contains: str, since: datetime | None = None) -> list[JobSummary]:
        self._call("list")
        for job in list(self.jobs.values()):
            self.end(job)
        return [
            JobSummary(job.name, job.status, job.changed)
            for job in self.jobs.values()
            if name_contains in job.name and (since is None or job.changed > since)
        ]

    def end(self, job: MadeUp) -> None:
        if job.status != "InProgress" or job.outcome == "running":
            return
        if job.outcome == "commit":
            for shard in job.request.shards:
                commit(self.run, shard)
        job.status = {"commit": "Completed", "nothing": "Completed", "stopped": "Stopped"}.get(job.outcome, "Failed")
        job.changed = datetime.now(UTC)

    def describe(self, name: str) -> dict[str, Any]:
        self._call("describe")
        job = self.jobs[name]
        start = datetime(2025, 1, 1, tzinfo=UTC)
        return {
            "ProcessingJobStatus": job.status,
            "FailureReason": job.outcome if job.status == "Failed" else None,
            "ProcessingStartTime": start,
            "ProcessingEndTime": start + timedelta(seconds=60),
            "ProcessingResources": {"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1}},
        }

    def stop(self, name: str) -> None:
        self._call("stop")

    def last_lines(self, name: str, count: int) -> list[str]:
        self._call("logs")
        return [f"the log of {name}"][:count]

    def link(self, name: str) -> str:
        return f"https://console/{name}"

    def _call(self, action: str) -> None:
        self.calls[action] += 1
        if self.refuse.get(action):
            raise self.refuse[action].pop(0)


def commit(run: RunFolder, shard: int) -> None:
    """A macro shard as a worker commits it, as far as the controller looks."""
    done = ShardDone(shard=shard, tasks=1, rows=1, size=1, seconds=0.1, quarantined=0)
    assert run.store.local
    for name in (DONE, SHARDS):
        (run.store.local / name).mkdir(parents=True, exist_ok=True)
    (run.store.local / DONE / f"{shard:05d}.errors.parquet").touch()
    (run.store.local / DONE / f"{shard:05d}.json").write_text(json.dumps(done.to_dict()))
    (run.store.local / SHARDS / f"{shard:05d}.parquet").touch()


def begun(folder: Path, shards: int) -> RunFolder:
    """A run of so many macro shards of one task each, of which nothing is done."""
    (folder / "data").mkdir(parents=True)
    for number in range(shards):
        (folder / f"data/t{number:05d}.txt").touch()
    dataset, output = Store.at(folder / "data"), Store.at(folder / "out")
    planned = scaledproc.plan(dataset.uri, extractor=probe, unit="file", shards=str(shards), jobs=1)
    assert planned.n_shards == shards
    options = RunOptions(extractor=probe, unit="file", shards=str(shards))
    return begin(RunFolder(output, dataset, probe, new_record(dataset, options, probe, {}, planned, DryRun())), planned)


def controller(run: RunFolder, jobs: MadeUpJobs, **given: Any) -> Controller:
    def request(name: str, assignment: Assignment, choice: Choice) -> dict[str, Any]:
        return {"name": name, "assignment": assignment, "types": instance_types(made, assignment, choice)}

    made = Settings.parse({**SAGEMAKER, "poll_seconds": 0.01, "retry_wait": 0.01, **given})
    return Controller(jobs, run, made, request, {})


def shard_assignments(run: RunFolder) -> list[Assignment]:
    return [Assignment(job_list.shard_key(shard), (shard,)) for shard in range(run.record.counts["shards"])]


def states(events: Sequence[Event], shard: int) -> list[str]:
    return [event.state for event in events if isinstance(event, ShardState) and event.shard == shard]


def listen(control: Controller, assignments: Sequence[Assignment]) -> tuple[list[Event], str]:
    """What the controller tells, and its error, if there is one."""
    events: list[Event] = []
    try:
        for event in control.do(assignments):
            events.append(event)  # noqa: PERF402 - those before an error are wanted
    except ScaledprocError as error:
        return events, str(error)
    return events, ""


@pytest.mark.slow
def test_a_thousand_jobs_in_few_calls(tmp_path: Path) -> None:
    run = begun(tmp_path, 1000)
    jobs = MadeUpJobs(run)
    looks = 0
    listed = run.store.names

    def names(folder: str = "") -> list[str]:
        nonlocal looks
        looks += 1
        return listed(folder)

    object.__setattr__(run.store, "names", names)
    control = controller(run, jobs, max_parallel_jobs=100)
    events, error = listen(control, shard_assignments(run))
    assert not error
    assert sum(isinstance(event, ShardDone) for event in events) == 1000
    assert jobs.most_at_once == 100
    assert jobs.calls == {"create": 1000, "describe": 1000, "list": 11}
    assert len(jobs.threads) > 1  # requests go out side by side
    assert looks <= 2 * 11  # the folder is listed for each look, not for each job


def test_room_is_found_by_what_the_account_allows(tmp_path: Path) -> None:
    run = begun(tmp_path, 6)
    jobs = MadeUpJobs(run)

    def behave(key: str, attempt: int) -> Outcome:
        del key, attempt
        if len(jobs.at_work) >= 2:
            return ServiceError("limit", "ResourceLimitExceeded: 2 instances")
        return "commit"

    jobs.behave = behave
    events, error = listen(controller(run, jobs, max_parallel_jobs=5, retries=0), shard_assignments(run))
    assert not error
    assert jobs.most_at_once == 2
    assert sum(isinstance(event, ShardDone) for event in events) == 6
    assert any("allows no more jobs at once than 2" in str(event) for event in events)


def test_first_refusal_of_a_batch_is_not_the_last_word(tmp_path: Path) -> None:
    """Requests go out together: the one that is refused first may be the one too many of those that are not."""
    run = begun(tmp_path, 2)
    jobs = MadeUpJobs(run, lambda key, _: "commit")
    refused: list[str] = []

    def behave(key: str, attempt: int) -> Outcome:
        if key == "s00000" and attempt == 1 and len(refused) < 1:
            refused.append(key)
            return ServiceError("limit", "ResourceLimitExceeded")
        return "commit"

    jobs.behave = behave
    events, error = listen(controller(run, jobs, retries=0), shard_assignments(run))
    assert not error, error
    assert {event.shard for event in events if isinstance(event, ShardDone)} == {0, 1}


def above(quota: str, limit: int, used: int, delta: int) -> ServiceError:
    """A refusal in the service's words."""
    text = (
        f"ResourceLimitExceeded: The account-level service limit '{quota}' is {limit} Instances, with current "
        f"utilization of {used} Instances and a request delta of {delta} Instances. Please use AWS Service Quotas to "
        "request an increase for this quota."
    )
    return ServiceError("limit", text)


USAGE = "ml.m5.large for processing job usage"


@pytest.mark.parametrize("refusal", [above(USAGE, 2, 2, 1), ServiceError("capacity", "InsufficientCapacity: none")])
def test_a_full_account_is_waited_for_as_long_as_one_says(tmp_path: Path, refusal: ServiceError) -> None:
    run = begun(tmp_path, 2)
    jobs = MadeUpJobs(run, lambda *_: refusal)
    events, error = listen(controller(run, jobs, retries=0, max_wait="0.5s"), shard_assignments(run))
    assert str(refusal) in error
    assert "for 0.5s (--max-wait)" in error
    assert "https://console" not in error  # there is no such job
    assert jobs.calls["create"] >= 6
    assert any("for 0.5s at most (--max-wait)" in str(event) for event in events)


def test_capacity_that_comes_back_is_not_a_matter_of_retries(tmp_path: Path) -> None:
    """Be it refused at once, or when the machines are to be had."""
    run = begun(tmp_path, 2)
    late = "CapacityError: Unable to provision requested ML compute capacity"
    behave: dict[str, list[Outcome]] = {
        "s00000": [late] * 5 + ["commit"],
        "s00001": [*[above(USAGE, 1, 1, 1)] * 5, "commit"],
    }
    jobs = MadeUpJobs(run, lambda key, _: behave[key].pop(0))
    _, error = listen(controller(run, jobs, retries=0), shard_assignments(run))
    assert not error


def test_more_room_is_found_again(tmp_path: Path) -> None:
    """A quota that is full for a moment, as others use it, does not slow the run for good."""
    run = begun(tmp_path, 30)
    jobs = MadeUpJobs(run)
    refusals = [above(USAGE, 4, 4, 1) for _ in range(3)]

    def behave(key: str, attempt: int) -> Outcome:
        if refusals and jobs.at_work:
            return refusals.pop()
        return "commit"

    jobs.behave = behave
    _, error = listen(controller(run, jobs, max_parallel_jobs=8, retries=0, retry_wait=0.001), shard_assignments(run))
    assert not error
    assert jobs.most_at_once >= 7


def test_what_no_account_has_room_for_fails_alone_and_at_once(tmp_path: Path) -> None:
    run = begun(tmp_path, 4)
    text = (
        "ResourceLimitExceeded: The request delta of 8939 GBs for 'Size of EBS volume for a processing job instance' "
        "is greater than the account-level service-limit of 1024 GBs."
    )
    never = ServiceError("limit", text)
    jobs = MadeUpJobs(run, lambda key, _: never if key == "s00002" else "commit")
    _, error = listen(controller(run, jobs, max_parallel_jobs=1), shard_assignments(run))
    assert run.committed_shards() == {0, 1, 3}
    assert "8939" in error
    assert "console.aws.amazon.com/servicequotas" in error
    assert jobs.calls["create"] == 4


def test_the_next_type_is_asked_where_there_is_no_quota_for_the_first(tmp_path: Path) -> None:
    run = begun(tmp_path, 1)
    asked: list[tuple[str, ...]] = []
    jobs = MadeUpJobs(run)
    create = jobs.create

    def created(request: dict[str, Any]) -> None:
        asked.append(request["types"])
        if "ml.m5.large" in request["types"]:
            raise above(USAGE, 0, 0, 1)
        create(request)

    jobs.create = created  # type: ignore[method-assign]
    _, error = listen(controller(run, jobs, instance_type="ml.m5.large,ml.m5.xlarge"), shard_assignments(run))
    assert not error
    assert asked == [("ml.m5.large", "ml.m5.xlarge"), ("ml.m5.xlarge",)]


@pytest.mark.parametrize("trouble", ["invalid", "denied"])
def test_types_are_asked_one_after_the_other_where_a_choice_is_refused(tmp_path: Path, trouble: Trouble) -> None:
    run = begun(tmp_path, 3)
    asked: list[tuple[str, ...]] = []
    jobs = MadeUpJobs(run, lambda _, attempt: "CapacityError: none" if attempt == 1 else "commit")
    create = jobs.create

    def created(request: dict[str, Any]) -> None:
        asked.append(request["types"])
        if len(request["types"]) > 1:
            raise ServiceError(trouble, "ValidationException: InstancePreferences is not supported")
        create(request)

    jobs.create = created  # type: ignore[method-assign]
    events, error = listen(controller(run, jobs, instance_type="ml.m5.large,ml.m5.xlarge"), shard_assignments(run))
    assert not error
    assert sorted(each for each in asked if len(each) == 1) == [("ml.m5.large",)] * 3 + [("ml.m5.xlarge",)] * 3
    assert sum(isinstance(event, Note) for event in events) == 1


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("ClientError: Please use an instance type with more memory, or reduce the size of job data", "more memory"),
        ("ClientError: Artifact upload failed: Insufficient disk space", "--volume-size"),
    ],
)
def test_too_small_a_machine_is_not_tried_twice(tmp_path: Path, reason: str, advice: str) -> None:
    run = begun(tmp_path, 1)
    jobs = MadeUpJobs(run, lambda *_: reason)
    _, error = listen(controller(run, jobs), shard_assignments(run))
    assert advice in error.partition("|")[0]
    assert jobs.calls["create"] == 1
    types: list[tuple[str, ...]] = []
    other = begun(tmp_path / "other", 1)
    jobs = MadeUpJobs(other, lambda _, attempt: reason if attempt == 1 else "commit")
    create = jobs.create

    def created(request: dict[str, Any]) -> None:
        types.append(request["types"])
        create(request)

    jobs.create = created  # type: ignore[method-assign]
    _, error = listen(
        controller(other, jobs, retries=0, instance_type="ml.m5.large,ml.m5.4xlarge"), shard_assignments(other)
    )
    assert not error
    assert types == [("ml.m5.large", "ml.m5.4xlarge"), ("ml.m5.4xlarge",)]


@pytest.mark.parametrize("mode", ["file", "stage"])
def test_a_time_limit_is_not_tried_again_from_nothing(tmp_path: Path, mode: str) -> None:
    run = begun(tmp_path, 1)
    jobs = MadeUpJobs(run, lambda *_: "stopped")
    _, error = listen(controller(run, jobs, input_mode=mode, max_runtime="60s"), shard_assignments(run))
    assert ("a longer --max-runtime" in error) == (mode == "file")
    assert jobs.calls["create"] == (1 if mode == "file" else 3)


@pytest.mark.parametrize("trouble", ["denied", "invalid"])
def test_what_is_refused_for_one_is_refused_for_all(tmp_path: Path, trouble: Trouble) -> None:
    run = begun(tmp_path, 5)
    jobs = MadeUpJobs(run, lambda *_: ServiceError(trouble, "AccessDeniedException: not authorized"))
    events, error = listen(controller(run, jobs), shard_assignments(run))
    assert "5 shards are not made" in error
    assert "not authorized" in error
    assert jobs.calls["create"] <= 2
    assert all(states(events, shard)[-1] == "failed" for shard in range(5))


def test_one_that_always_fails_leaves_the_others_alone(tmp_path: Path) -> None:
    run = begun(tmp_path, 4)
    reason = "AlgorithmError: See job logs for more information"
    jobs = MadeUpJobs(run, lambda key, _: reason if key == "s00001" else "commit")
    control = controller(run, jobs)
    events, error = listen(control, shard_assignments(run))
    assert run.committed_shards() == {0, 2, 3}
    assert states(events, 1).count("retrying") == 2
    name = job_name("scaledproc", run_token(run), "s00001", 3)
    assert error.splitlines() == [
        "1 shard is not made; what is committed stays, and the same command runs the rest",
        f"shard 1: {reason}",
        f"  | the log of {name}",
        f"  job {name}: https://console/{name}",
    ]
    jobs.behave = lambda *_: "commit"
    again, error = listen(controller(run, jobs), [shard_assignments(run)[1]])
    assert not error
    assert [event.shard for event in again if isinstance(event, ShardDone)] == [1]
    assert set(jobs.jobs) >= {job_name("scaledproc", run_token(run), "s00001", number) for number in (1, 2, 3, 4)}


def test_completed_without_a_commit_is_tried_again(tmp_path: Path) -> None:
    run = begun(tmp_path, 2)
    jobs = MadeUpJobs(run, lambda _, attempt: "nothing" if attempt == 1 else "commit")
    control = controller(run, jobs)
    _, error = listen(control, shard_assignments(run))
    assert not error
    assert {name.rpartition("-")[2] for name in control.completed.values()} == {"2"}


def test_stopped_by_somebody_is_not_tried_again(tmp_path: Path) -> None:
    run = begun(tmp_path, 2)
    jobs = MadeUpJobs(run, lambda key, _: "stopped" if key == "s00000" else "commit")
    _, error = listen(controller(run, jobs), shard_assignments(run))
    assert "shard 0: it was stopped" in error
    assert len(jobs.jobs) == 2
    assert run.committed_shards() == {1}


@pytest.mark.slow
def test_troubles_of_looking_pass(tmp_path: Path) -> None:
    """A describe or a list that is refused for a while costs time and nothing else."""
    run = begun(tmp_path, 3)
    jobs = MadeUpJobs(run)
    busy = ServiceError("throttled", "ThrottlingException: Rate exceeded")
    expired = ServiceError("expired", "ExpiredTokenException: expired")
    jobs.refuse = {"describe": [busy, expired, busy], "create": [busy, expired]}
    events, error = listen(controller(run, jobs, max_parallel_jobs=3), shard_assignments(run))
    assert not error, error
    assert sum(isinstance(event, ShardDone) for event in events) == 3

    jobs = MadeUpJobs(run := begun(tmp_path / "other", 2))
    control = controller(run, jobs)
    doing = control.do(shard_assignments(run))
    next(doing)
    jobs.refuse = {"list": [busy, expired]}
    assert sum(isinstance(event, ShardDone) for event in doing) == 2


def test_jobs_that_cannot_be_watched_go_on(tmp_path: Path) -> None:
    run = begun(tmp_path, 1)
    jobs = MadeUpJobs(run)
    doing = controller(run, jobs).do(shard_assignments(run))
    next(doing)
    jobs.refuse = {"list": [ServiceError("denied", "AccessDeniedException: no")]}
    with pytest.raises(ScaledprocError, match="they go on, and the same command watches them again"):
        list(doing)
    assert not jobs.calls["stop"]


def test_a_store_that_fails_for_a_while_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begun(tmp_path, 2)
    troubles: dict[str, list[Exception]] = {"names": [OSError("reset")], "versions": [TimeoutError(), OSError("reset")]}
    doing = controller(run, MadeUpJobs(run)).do(shard_assignments(run))
    next(doing)
    for name, errors in troubles.items():
        real = getattr(type(run.store), name)

        def flaky(store: Store, folder: str = "", *, real: Any = real, errors: list[Exception] = errors) -> Any:
            if errors:
                raise errors.pop()
            return real(store, folder)

        monkeypatch.setattr(type(run.store), name, flaky)

    assert sum(isinstance(event, ShardDone) for event in doing) == 2
    assert not troubles["names"]


def test_jobs_that_are_never_described_are_not_watched_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decisions, "MOST_TROUBLE", 3)
    run = begun(tmp_path, 1)
    jobs = MadeUpJobs(run)
    jobs.refuse = {"describe": [ServiceError("invalid", "ValidationException: what is that?") for _ in range(50)]}
    doing = controller(run, jobs).do(shard_assignments(run))
    with pytest.raises(ScaledprocError, match="cannot be watched: ValidationException"):
        list(doing)
    assert jobs.calls["describe"] == 4


def test_twin_that_ended_long_ago_is_seen(tmp_path: Path) -> None:
    """Another driver may have started and ended just this job, and only the first look lists old ones."""
    run = begun(tmp_path, 2)
    jobs = MadeUpJobs(run)
    control = controller(run, jobs, max_parallel_jobs=1)
    doing = control.do(shard_assignments(run))
    for event in doing:
        if isinstance(event, ShardDone):
            break
    name = job_name("scaledproc", run_token(run), "s00001", 1)
    commit(run, 1)
    jobs.jobs[name] = MadeUp(
        name, Assignment("s00001", (1,)), "commit", "Completed", datetime.now(UTC) - timedelta(hours=1)
    )
    found = []
    for event in doing:
        found += [event] if isinstance(event, ShardDone) else []
        assert jobs.calls["list"] < 50
    assert [event.shard for event in found] == [1]


def test_jobs_of_an_earlier_command_are_watched_and_billed(tmp_path: Path) -> None:
    run = begun(tmp_path, 3)
    jobs = MadeUpJobs(run, lambda key, _: "commit" if key == "s00000" else "running")
    doing = controller(run, jobs, max_parallel_jobs=3).do(shard_assignments(run))
    for event in doing:
        if isinstance(event, ShardDone):
            break
    doing.close()
    assert len(jobs.at_work) == 2
    for name in jobs.at_work:
        jobs.jobs[name].outcome = "commit"
    control = controller(run, jobs)
    left = [assignment for assignment in shard_assignments(run) if assignment.shards[0] not in run.committed_shards()]
    _, error = listen(control, left)
    assert not error
    assert jobs.calls["create"] == 3
    assert jobs.calls["describe"] == 4  # the first one's again: its bill is known to nobody else
    assert len(control._bills) == 3


def test_jobs_at_work_in_another_way_are_not_doubled(tmp_path: Path) -> None:
    run = begun(tmp_path, 2)
    jobs = MadeUpJobs(run, lambda *_: "running")
    doing = controller(run, jobs).do([Assignment(job_list.HOSTS, (0, 1), instances=2)])
    for _ in range(3):
        next(doing)
    assert len(jobs.at_work) == 1
    doing.close()
    with pytest.raises(UsageError, match="scaledproc stop"):
        list(controller(run, jobs).do(shard_assignments(run)))
    assert jobs.calls["create"] == 1


def test_run_that_another_driver_finished(tmp_path: Path) -> None:
    """Its folder is cleaned up already: what seems uncommitted is not made again."""
    run = begun(tmp_path, 1)
    jobs = MadeUpJobs(run, lambda *_: "nothing")
    control = controller(run, jobs)
    doing = control.do(shard_assignments(run))
    next(doing)
    run.with_record(state="done", counts={**run.record.counts, "rows": 0, "quarantined": 0}).clean_up()
    list(doing)
    assert control.is_over
    assert jobs.calls["create"] == 1


@pytest.mark.slow
class SlowJobs(MadeUpJobs):
    """Jobs that have ended by the third look."""

    def end(self, job: MadeUp) -> None:
        if self.calls["list"] > 3:
            super().end(job)


@pytest.mark.parametrize(("total", "is_told"), [(20e9, True), (190e9, False)])
def test_a_disk_that_is_not_the_volume_that_was_asked_for(tmp_path: Path, total: float, is_told: bool) -> None:
    run = begun(tmp_path, 1)
    jobs = SlowJobs(run)

    def request(name: str, assignment: Assignment, _: Choice) -> dict[str, Any]:
        beat = Heartbeat(name, "algo-1", 2, {}, "/tmp", int(total), int(total) // 2)
        run.store.write(f"{PROGRESS}/{beat.name}", beat.to_json())
        resources = {"ClusterConfig": {"VolumeSizeInGB": 200}}
        return {"name": name, "assignment": assignment, "ProcessingResources": resources}

    settings = Settings.parse({**SAGEMAKER, "poll_seconds": 0.01, "retry_wait": 0.01})
    control = Controller(jobs, run, settings, request, {})
    events, error = listen(control, shard_assignments(run))
    assert not error
    notes = [event.text for event in events if isinstance(event, Note)]
    assert bool([text for text in notes if "/tmp" in text and "200 GB" in text]) == is_told
    assert control.scratch == {"folder": "/tmp", "total_bytes": int(total), "free_bytes": int(total) // 2}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        b"\xff\xfe",
        b"null",
        b"[" * 200_000,
        b'{"shards": {}, "failures": [], "job": [1], "host": {}}',
        b'{"shards": {"0": {"tasks": "many", "phase": 3}}, "failures": [], "job": "JOB", "host": "algo-1"}',
        b'{"shards": {"0": {"tasks": NaN}}, "failures": [], "job": "JOB", "host": "algo-1"}',
        b'{"shards": {"0": {"size": -1}}, "failures": [], "job": "JOB", "host": "algo-1"}',
        b'{"shards": [], "failures": {}, "job": "JOB", "host": "algo-1", "versions": 7}',
        b'{"shards": {}, "failures": [], "job": "JOB", "host": "algo-1", "versions": "scaledproc"}',
        b'{"shards": {"0": {"tasks": 1e400}}, "failures": [[1]], "job": "JOB", "host": "algo-1"}',
        b'{"shards": {"x": {}}, "failures": [], "job": "JOB", "host": "algo-1", "versions": {"scaledproc": {}}}',
        b" " * 20_000_000 + b"{}",
    ],
)
def test_strange_progress_is_passed_over(tmp_path: Path, content: bytes) -> None:
    run = begun(tmp_path, 1)
    jobs = MadeUpJobs(run)
    name = job_name("scaledproc", run_token(run), "s00000", 1)
    run.store.write(f"{PROGRESS}/{name}.algo-1.json", content.replace(b"JOB", name.encode()))
    assert not read_heartbeats(run.store, {})
    _, error = listen(controller(run, jobs), shard_assignments(run))
    assert not error


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)


@pytest.mark.slow
@given(st.recursive(PLAIN, lambda of: st.lists(of, max_size=3) | st.dictionaries(st.text(max_size=3), of, max_size=3)))
def test_any_json_as_progress_is_refused_in_one_way(content: Any) -> None:
    for each in (
        content,
        {"shards": content, "failures": [], "job": "j", "host": "h"},
        {"shards": {"0": {"tasks": content}}, "failures": [], "job": content, "host": "h"},
    ):
        try:
            found = Heartbeat.from_json(json.dumps(each).encode())
        except ValueError:
            continue
        assert Heartbeat.from_json(found.to_json()) == found


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"nonsense", b"[" * 200_000, b"{}", b'{"shard": "x"}', b"\xff"])
def test_strange_report_is_an_error_for_people(tmp_path: Path, content: bytes) -> None:
    run = begun(tmp_path, 1)
    commit(run, 0)
    run.store.write(f"{DONE}/00000.json", content)
    with pytest.raises(ScaledprocError, match=r"work/done/00000.json"):
        run.shard_report(0)


# Pure functions


@pytest.mark.slow
@given(st.sets(st.integers(0, 500)))
def test_numbers_of_shards_as_text_and_back(shards: set[int]) -> None:
    assert parse_shards([ranges_text(sorted(shards))] if shards else []) == tuple(sorted(shards))


@pytest.mark.parametrize("text", ["", "x", "1-", "-1", "3-1", "0-999999999", "1,,2", "1 2"])
def test_strange_numbers_of_shards(text: str) -> None:
    with pytest.raises(UsageError, match="--shard"):
        parse_shards([text])


@given(st.lists(st.integers(0, 10**12), max_size=60), st.integers(1, 20))
def test_shares_are_all_and_even(sizes: list[int], count: int) -> None:
    shares = share_out(sizes, count)
    assert len(shares) == count
    assert sorted(at for share in shares for at in share) == list(range(len(sizes)))
    loads = [sum(sizes[at] for at in share) for share in shares]
    assert max(loads) <= sum(sizes) / count + max(sizes, default=0)


FATES: tuple[Fate, ...] = ("done", "capacity", "service", "worker", "hopeless", "uncommitted", "timeout", "stopped")


@given(st.sampled_from(FATES), st.integers(1, 40), st.integers(0, 10), st.floats(0, 1000), st.floats(0, 1))
def test_pauses(what: Fate, tries: int, retries: int, wait: float, share: float) -> None:
    seconds = pause(what, tries, retries, wait, share)
    if what in ("hopeless", "stopped") or tries > retries:
        assert seconds is None
    else:
        assert seconds is not None
        assert 0 <= seconds <= 1350
        assert seconds <= wait * 2 ** (tries - 1) * 1.5


@pytest.mark.parametrize(
    ("status", "reason", "message", "committed", "expected"),
    [
        ("Completed", None, None, True, "done"),
        ("Completed", None, None, False, "uncommitted"),
        ("Failed", "AlgorithmError: See job logs", None, True, "done"),
        ("Stopped", None, None, True, "done"),
        ("Failed", "AlgorithmError: See job logs", "ValueError: x", False, "worker"),
        ("Failed", "AlgorithmError: See job logs", "UsageError: the extractor differs", False, "hopeless"),
        ("Failed", "CapacityError: Unable to provision requested ML compute capacity", None, False, "capacity"),
        ("Failed", "InternalServerError: We encountered an internal error", None, False, "service"),
        ("Failed", "ClientError: Data download failed: NoSuchKey", None, False, "hopeless"),
        ("Failed", "ClientError: Data download failed: SlowDown", None, False, "service"),
        ("Failed", None, None, False, "worker"),
    ],
)
def test_fates(status: str, reason: str | None, message: str | None, committed: bool, expected: Fate) -> None:
    description = {"ProcessingJobStatus": status, "FailureReason": reason, "ExitMessage": message}
    assert fate(description, committed=committed, max_runtime=86_400) == expected


@given(st.integers(1, 432_000), st.integers(0, 432_000))
def test_a_job_is_stopped_or_its_time_is_over(max_runtime: int, ran: int) -> None:
    start = datetime(2025, 1, 1, tzinfo=UTC)
    description = {
        "ProcessingJobStatus": "Stopped",
        "ProcessingStartTime": start,
        "ProcessingEndTime": start + timedelta(seconds=ran),
    }
    found = fate(description, committed=False, max_runtime=max_runtime)
    assert found == "timeout" if ran >= max_runtime else found in ("timeout", "stopped")
    if ran < max_runtime * 0.9 - 60 or ran < max_runtime * 0.5:
        assert found == "stopped"


@given(st.text("aZ09-", max_size=34), st.integers(0, 99_999), st.integers(0, 999))
def test_names_fit_and_can_be_read(prefix: str, shard: int, attempt: int) -> None:
    try:
        Settings.parse({"job_name_prefix": prefix})
    except UsageError:
        assert not prefix or len(prefix) > 30 or prefix[0] == "-" or prefix[-1] == "-"
        return
    for key in (job_list.shard_key(shard), "hosts", "keys", "combine", f"g{shard:05d}"):
        name = job_name(prefix, "0123456789", key, attempt)
        assert len(name) <= 63
        assert key_and_attempt(name) == (key, attempt)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.integers(1, 12), st.data())
def test_manifests_and_pipelines(tmp_path_factory: pytest.TempPathFactory, count: int, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("plan")
    names = data.draw(st.sets(st.from_regex(r"[a-c ü'%]{1,4}/[a-c ü'%]{1,4}\.txt", fullmatch=True), min_size=count))
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    planned = scaledproc.plan(str(folder), extractor=probe, unit="file", shards=str(count), jobs=1)
    shards = range(planned.n_shards)
    entries = [json.loads(job_list.manifest(planned, [shard], "s3://b/d")) for shard in shards]
    assert all(each[0] == {"prefix": "s3://b/d/"} for each in entries)
    assert sorted(name for each in entries for name in each[1:]) == sorted(names)

    made = Settings.parse({**SAGEMAKER, "detach": True, "max_parallel_jobs": 3})
    options: Mapping[str, Any] = {"include": [], "exclude": [], "limit": None, "shards": str(count), "unit": "file"}
    most = data.draw(st.integers(1, 15))
    assignments = job_list.grouped_assignments(made, planned, list(shards), options, "s3://b/r", most)
    assert len(assignments) <= most
    assert sorted(shard for assignment in assignments for shard in assignment.shards) == list(shards)
    place = Place(made, "s3://b/d", "s3://b/r", str(made.image_uri), str(made.role))
    requests = [processing_job(place, "name", each, ("ml.m5.large",)) for each in (*assignments, Assignment("combine"))]
    pipeline = definition(made, assignments, Assignment("combine"), requests)
    assert json.loads(json.dumps(pipeline)) == pipeline
    assert [step["Name"] for step in pipeline["Steps"]] == [*(assignment.key for assignment in assignments), "combine"]
    assert pipeline["Steps"][-1]["DependsOn"] == [assignment.key for assignment in assignments]
    assert not any("ProcessingJobName" in step["Arguments"] for step in pipeline["Steps"])


def test_bills_of_a_job_once(tmp_path: Path) -> None:
    run = begun(tmp_path, 1)
    jobs = MadeUpJobs(run)
    control = controller(run, jobs)
    listen(control, shard_assignments(run))
    assert list(control._bills.values()) == [
        Bill(job_name("scaledproc", run_token(run), "s00000", 1), "ml.m5.large", 1, 60.0)
    ]
    assert replace(run.record, state="running") == run.record


def test_no_token_makes_a_new_pipeline_of_an_old_one() -> None:
    """AWS takes a call with the token of an earlier one for that call again, whatever else it says."""
    calls: list[dict[str, Any]] = []

    class Service:
        def call(self, client: str, operation: str, **given: Any) -> dict[str, Any]:
            calls.append({"operation": operation, **given})
            return {"PipelineExecutionArn": "arn"}

    for _ in range(2):
        pipeline.start(cast(Any, Service()), "name", "role", {}, Settings())
        pipeline.stop(cast(Any, Service()), "arn")

    assert [call["operation"] for call in calls[:3]] == [
        "create_pipeline",
        "start_pipeline_execution",
        "stop_pipeline_execution",
    ]
    assert not [call for call in calls if "ClientRequestToken" in call]  # boto3 makes one for each


def test_a_store_that_refuses_progress_does_not_end_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ScaledprocError("the bucket is gone")

    monkeypatch.setattr(Store, "write", refuse)
    with Beating(Store.at(tmp_path), Heartbeat("job", "here"), interval=0.01) as beating:
        beating.listen(ShardState(0, State.RUNNING))
