"""SageMaker Pipelines of Processing steps: definitions, and executions that create jobs, retry and end.

Where AWS's documentation is silent: once a step has failed no further one starts, those at work go on to their end, and
then the execution is Failed. A step is listed once it was begun. Steps begin in the order of the definition.
"""

from __future__ import annotations

import json
import random
import string
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .behaviour import Behaviour
from .faults import Faults
from .jobs import POLL, Job, Jobs, Settings
from .wire import AwsError, Json, as_time, invalid, now, page, without_none

# Retried without a policy of the pipeline's own, as documented; the numbers are a policy's defaults.
AUTOMATIC = {"ExceptionType": ["Step.SERVICE_FAULT", "Step.THROTTLING"]}
EXCEPTIONS = (
    *AUTOMATIC["ExceptionType"],
    *("SageMaker.JOB_INTERNAL_ERROR", "SageMaker.CAPACITY_ERROR", "SageMaker.RESOURCE_LIMIT"),
)
MAX_ATTEMPTS, INTERVAL_SECONDS, BACKOFF_RATE = 5, 1, 2.0


@dataclass
class Pipeline:
    """A pipeline as it was last defined."""

    name: str
    arn: str
    request: Json
    created: datetime
    modified: datetime
    version: int = 1
    last_run: datetime | None = None
    executions: list[Execution] = field(default_factory=list)

    @property
    def definition(self) -> Json:
        content: Json = json.loads(self.request["PipelineDefinition"])
        return content


@dataclass
class Step:
    """A step of an execution, and its jobs: one for each attempt that led to one."""

    name: str
    definition: Json
    status: str | None = None  # None until it begins
    attempts: int = 0
    jobs: list[Job] = field(default_factory=list)
    started: datetime | None = None
    ended: datetime | None = None
    failure_reason: str | None = None
    next_attempt: float = 0.0  # monotonic
    first_attempt: float = 0.0
    retries: dict[int, int] = field(default_factory=dict)  # by the number of the policy


@dataclass
class Execution:
    """A run of a pipeline."""

    arn: str
    pipeline: Pipeline
    steps: list[Step]
    variables: Mapping[str, Any]
    parallel: int | None
    token: str
    request: Json
    created: datetime
    modified: datetime
    status: str = "Executing"
    failure_reason: str | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def id(self) -> str:
        return self.arn.rpartition("/")[2]


class Pipelines:
    """All pipelines of the account."""

    def __init__(self, jobs: Jobs, settings: Settings, faults: Faults, retry_pace: float, seed: int) -> None:
        self.pipelines: list[Pipeline] = []
        self._jobs, self._settings, self._faults, self._pace = jobs, settings, faults, retry_pace
        self._random = random.Random(seed)
        self._lock = threading.RLock()
        self._threads: list[threading.Thread] = []

    # What the API does.

    def create(self, request: Json) -> Json:
        with self._lock:
            name = request["PipelineName"]
            if any(pipeline.name == name for pipeline in self.pipelines):
                raise invalid(
                    "Pipeline names must be unique within an AWS account and region. Pipeline with name"
                    f" ({name}) already exists."
                )
            check_definition(request, self._settings.behaviour)
            at = now()
            pipeline = Pipeline(name, self._settings.arn(f"pipeline/{name}"), dict(request), at, at)
            self.pipelines.append(pipeline)
            self._jobs.tags[pipeline.arn] = {tag["Key"]: tag["Value"] for tag in request.get("Tags", ())}
            return {"PipelineArn": pipeline.arn}

    def update(self, request: Json) -> Json:
        with self._lock:
            pipeline = self._pipeline(request["PipelineName"])
            if "PipelineDefinition" in request or "PipelineDefinitionS3Location" in request:
                check_definition(request, self._settings.behaviour)
            pipeline.request |= request
            pipeline.modified = now()
            pipeline.version += 1
            return {"PipelineArn": pipeline.arn, "PipelineVersionId": pipeline.version}

    def describe(self, request: Json) -> Json:
        with self._lock:
            pipeline = self._pipeline(request["PipelineName"])
            kept = ("DisplayName", "Definition", "Description")
            shown = {f"Pipeline{name}": pipeline.request.get(f"Pipeline{name}") for name in kept}
            return without_none(
                {
                    "PipelineArn": pipeline.arn,
                    "PipelineName": pipeline.name,
                    **shown,
                    "RoleArn": pipeline.request["RoleArn"],
                    "ParallelismConfiguration": pipeline.request.get("ParallelismConfiguration"),
                    "PipelineStatus": "Active",
                    "CreationTime": pipeline.created,
                    "LastModifiedTime": pipeline.modified,
                    "LastRunTime": pipeline.last_run,
                }
            )

    def delete(self, request: Json) -> Json:
        with self._lock:
            pipeline = self._pipeline(request["PipelineName"])
            if any(not execution.done.is_set() for execution in pipeline.executions):
                raise AwsError("ConflictException", f"Pipeline '{pipeline.arn}' has executions that have not ended.")
            self.pipelines.remove(pipeline)
            return {"PipelineArn": pipeline.arn}

    def start(self, request: Json) -> Json:
        with self._lock:
            pipeline = self._pipeline(request["PipelineName"])
            for execution in pipeline.executions:
                if execution.token == request["ClientRequestToken"]:
                    return {"PipelineExecutionArn": execution.arn}
            arn = f"{pipeline.arn}/execution/{self._letters(12)}"
            parallelism = request.get("ParallelismConfiguration") or pipeline.request.get("ParallelismConfiguration")
            steps = [Step(step["Name"], step) for step in pipeline.definition["Steps"]]
            given = {one["Name"]: one["Value"] for one in request.get("PipelineParameters", ())}
            variables = {
                **_parameters(pipeline.definition, given),
                "Execution.PipelineName": pipeline.name,
                "Execution.PipelineArn": pipeline.arn,
                "Execution.PipelineExecutionId": arn.rpartition("/")[2],
                "Execution.PipelineExecutionArn": arn,
                "Execution.StartDateTime": now().isoformat(),
            }
            parallel = parallelism["MaxParallelExecutionSteps"] if parallelism else None
            at, token = now(), request["ClientRequestToken"]
            execution = Execution(arn, pipeline, steps, variables, parallel, token, request, at, at)
            pipeline.executions.append(execution)
            pipeline.last_run = at
            thread = threading.Thread(target=self._run, args=(execution,), name=f"execution {execution.id}")
            self._threads.append(thread)
            thread.start()
            return {"PipelineExecutionArn": arn}

    def describe_execution(self, request: Json) -> Json:
        with self._lock:
            execution = self.find(request["PipelineExecutionArn"])
            return without_none(
                {
                    "PipelineArn": execution.pipeline.arn,
                    "PipelineExecutionArn": execution.arn,
                    "PipelineExecutionDisplayName": execution.request.get("PipelineExecutionDisplayName"),
                    "PipelineExecutionDescription": execution.request.get("PipelineExecutionDescription"),
                    "PipelineExecutionStatus": execution.status,
                    "FailureReason": execution.failure_reason,
                    "CreationTime": execution.created,
                    "LastModifiedTime": execution.modified,
                    "ParallelismConfiguration": execution.parallel
                    and {"MaxParallelExecutionSteps": execution.parallel},
                }
            )

    def list_executions(self, request: Json) -> Json:
        since, until = as_time(request.get("CreatedAfter")), as_time(request.get("CreatedBefore"))
        with self._lock:
            found = [
                execution
                for execution in self._pipeline(request["PipelineName"]).executions
                if (since is None or execution.created > since) and (until is None or execution.created < until)
            ]
            if request.get("SortBy") == "PipelineExecutionArn":
                found.sort(key=lambda execution: execution.arn)
            if request.get("SortOrder", "Descending") == "Descending":
                found.reverse()
            some, token = page(found, request.get("MaxResults", 10), request.get("NextToken"))
            summaries = [
                without_none(
                    {
                        "PipelineExecutionArn": execution.arn,
                        "StartTime": execution.created,
                        "PipelineExecutionStatus": execution.status,
                        "PipelineExecutionDisplayName": execution.request.get("PipelineExecutionDisplayName"),
                        "PipelineExecutionFailureReason": execution.failure_reason,
                    }
                )
                for execution in some
            ]
            return without_none({"PipelineExecutionSummaries": summaries, "NextToken": token})

    def list_steps(self, request: Json) -> Json:
        with self._lock:
            steps = [step for step in self.find(request.get("PipelineExecutionArn", "")).steps if step.status]
            steps.sort(key=lambda step: step.started or now())
            if request.get("SortOrder", "Descending") == "Descending":
                steps.reverse()
            some, token = page(steps, request.get("MaxResults", 10), request.get("NextToken"))
            shown = [
                without_none(
                    {
                        "StepName": step.name,
                        "StepDisplayName": step.definition.get("DisplayName"),
                        "StepStatus": step.status,
                        "StartTime": step.started,
                        "EndTime": step.ended,
                        "FailureReason": step.failure_reason,
                        "AttemptCount": step.attempts,
                        "Metadata": {"ProcessingJob": {"Arn": step.jobs[-1].arn}} if step.jobs else {},
                    }
                )
                for step in some
            ]
            return without_none({"PipelineExecutionSteps": shown, "NextToken": token})

    def stop(self, request: Json) -> Json:
        with self._lock:
            execution = self.find(request["PipelineExecutionArn"])
            if execution.done.is_set():
                raise AwsError("ConflictException", f"Pipeline execution is in status {execution.status}.")
            self._change(execution, status="Stopping")
            execution.stop.set()
            return {"PipelineExecutionArn": execution.arn}

    def find(self, arn: str) -> Execution:
        """The execution with an ARN."""
        for pipeline in self.pipelines:
            for execution in pipeline.executions:
                if execution.arn == arn:
                    return execution
        raise AwsError("ResourceNotFound", f"Pipeline execution '{arn}' does not exist.")

    def close(self) -> None:
        """Wait for the executions' threads; the jobs' `closing` is to be set."""
        for thread in self._threads:
            thread.join()

    def _pipeline(self, name_or_arn: str) -> Pipeline:
        for pipeline in self.pipelines:
            if name_or_arn in (pipeline.name, pipeline.arn):
                return pipeline
        raise AwsError("ResourceNotFound", f"Pipeline '{name_or_arn}' does not exist.")

    def _letters(self, count: int) -> str:
        return "".join(self._random.choice(string.ascii_lowercase + string.digits) for _ in range(count))

    # An execution, in a thread of its own.

    def _change(self, changed: Execution | Step, **values: object) -> None:
        with self._lock:
            for name, value in values.items():
                setattr(changed, name, value)
            if isinstance(changed, Execution):
                changed.modified = now()

    def _run(self, execution: Execution) -> None:
        try:
            while not self._jobs.closing.is_set() and self._advance(execution):
                self._jobs.closing.wait(POLL)
            statuses = {step.status for step in execution.steps}
            if execution.stop.is_set() or self._jobs.closing.is_set():
                self._change(execution, status="Stopped")
            elif "Failed" in statuses:
                reason = "Step failure: One or multiple steps failed."
                self._change(execution, status="Failed", failure_reason=reason)
            else:
                self._change(execution, status="Succeeded")
        except Exception:
            self._jobs.failures.append(traceback.format_exc())
            self._change(execution, status="Failed", failure_reason="the emulator failed")
        finally:
            execution.done.set()

    def _advance(self, execution: Execution) -> bool:
        """Look at every step once; whether there is more to do."""
        is_stopping = execution.stop.is_set()
        at_work = [step for step in execution.steps if step.status in ("Starting", "Executing", "Stopping")]
        for step in at_work:
            self._look(execution, step)
        by_name = {step.name: step for step in execution.steps}
        at_work = [step for step in at_work if step.ended is None]
        if not is_stopping and not any(step.status == "Failed" for step in execution.steps):
            for step in execution.steps:
                needed = [by_name[name].status for name in step.definition.get("DependsOn", ())]
                is_due = step.status is None and all(status == "Succeeded" for status in needed)
                if is_due and (execution.parallel is None or len(at_work) < execution.parallel):
                    self._change(step, status="Starting", started=now(), first_attempt=time.monotonic())
                    at_work.append(step)
                    self._attempt(execution, step)
        return any(step.ended is None for step in at_work)

    def _look(self, execution: Execution, step: Step) -> None:
        """Take up what became of a step's job."""
        if step.status == "Starting":
            if execution.stop.is_set():
                self._change(step, status="Stopped", ended=now())
            elif time.monotonic() >= step.next_attempt:
                self._attempt(execution, step)
            return
        job = step.jobs[-1]
        if job.done.is_set():
            if job.status == "Completed":
                self._change(step, status="Succeeded", ended=now())
            elif job.status == "Stopped":
                # A job that was stopped by itself fails its step.
                is_ours = execution.stop.is_set()
                reason = None if is_ours else "ClientError: The processing job was stopped."
                self._change(step, status="Stopped" if is_ours else "Failed", ended=now(), failure_reason=reason)
            else:
                reason = job.failure_reason or ""
                kinds = {"InternalServerError": "JOB_INTERNAL_ERROR", "CapacityError": "CAPACITY_ERROR"}
                self._fail(step, f"SageMaker.{kinds.get(reason.partition(':')[0], '')}", reason)
        elif execution.stop.is_set() and step.status != "Stopping":
            self._change(step, status="Stopping")
            try:
                self._jobs.stop_job({"ProcessingJobName": job.name})
            except AwsError:  # it has just ended
                self._change(step, status="Executing")

    def _attempt(self, execution: Execution, step: Step) -> None:
        """Create a job for a step."""
        step.attempts += 1
        tail = f"-{self._letters(10)}"
        name = f"pipelines-{execution.id}-{step.name}"[: 63 - len(tail)].rstrip("-") + tail
        try:
            self._faults.check_call("CreateProcessingJob", is_own=True)
            arguments = _resolve(step.definition["Arguments"], execution.variables)
            self._jobs.create_job({**arguments, "ProcessingJobName": name})
            self._change(step, status="Executing", jobs=[*step.jobs, self._jobs.find(name)])
        except AwsError as error:
            if error.code == "ThrottlingException":
                kind = "Step.THROTTLING"
            elif error.status >= 500:
                kind = "Step.SERVICE_FAULT"
            else:
                kind = "SageMaker.RESOURCE_LIMIT" if error.code == "ResourceLimitExceeded" else ""
            reason = f"ClientError: Failed to invoke sagemaker:CreateProcessingJob. Error Details: {error}"
            self._fail(step, kind, reason)

    def _fail(self, step: Step, kind: str, reason: str) -> None:
        """Let a step wait for its next attempt, or fail."""
        policies = [*step.definition.get("RetryPolicies", ()), AUTOMATIC]
        for number, policy in enumerate(policies):
            if kind not in policy["ExceptionType"]:
                continue
            done = step.retries.get(number, 0)
            expires = policy.get("ExpireAfterMin")
            is_over = expires is not None and time.monotonic() - step.first_attempt > expires * 60 * self._pace
            if done >= policy.get("MaxAttempts", MAX_ATTEMPTS) or is_over:
                break
            step.retries[number] = done + 1
            pause = policy.get("IntervalSeconds", INTERVAL_SECONDS) * policy.get("BackoffRate", BACKOFF_RATE) ** done
            self._change(step, status="Starting", next_attempt=time.monotonic() + pause * self._pace)
            return
        self._change(step, status="Failed", ended=now(), failure_reason=reason[:1024])


def check_definition(request: Json, behaviour: Behaviour) -> None:
    """Refuse a pipeline that could not be executed."""
    if "PipelineDefinition" not in request:
        raise invalid("A PipelineDefinition is needed; PipelineDefinitionS3Location is not emulated")
    try:
        definition = json.loads(request["PipelineDefinition"])
    except ValueError as error:
        raise invalid(f"Unable to parse pipeline definition. It is not JSON: {error}") from error
    if not isinstance(definition, dict) or definition.get("Version") != "2020-12-01":
        raise invalid("Unable to parse pipeline definition. Its Version must be 2020-12-01")
    steps = definition.get("Steps")
    if not isinstance(steps, list) or not steps:
        raise invalid("Unable to parse pipeline definition. It has no Steps")
    names = [step.get("Name") for step in steps]
    if len(set(names)) < len(names) or not all(names):
        raise invalid(f"Unable to parse pipeline definition. Step names must be there and unique: {names}")
    done: set[str] = set()
    for step in steps:
        _check_step(step, names)
        behaviour.check(step["Arguments"])
    while ready := [
        name
        for name, step in zip(names, steps, strict=True)
        if name not in done and done.issuperset(step.get("DependsOn", ()))
    ]:
        done.update(ready)
    if len(done) < len(names):
        raise invalid("Unable to parse pipeline definition. Its steps depend on each other in a circle")


def _check_step(step: Json, names: Sequence[str]) -> None:
    wrong = f"Unable to parse pipeline definition. Step {step['Name']}"
    if step.get("Type") != "Processing":
        raise invalid(f"{wrong}: the type {step.get('Type')} is not emulated")
    if not isinstance(step.get("Arguments"), dict) or "ProcessingJobName" in step["Arguments"]:
        raise invalid(f"{wrong}: Arguments are those of CreateProcessingJob without a ProcessingJobName")
    if missing := set(step.get("DependsOn", ())) - set(names):
        raise invalid(f"{wrong} depends on what is not there: {', '.join(sorted(missing))}")
    for policy in step.get("RetryPolicies", ()):
        if not 1 <= policy.get("MaxAttempts", 1) <= 20 or not 1 <= policy.get("ExpireAfterMin", 1) <= 14_400:
            raise invalid(f"{wrong}: MaxAttempts is 1 to 20, ExpireAfterMin 1 to 14400")
        if unknown := set(policy["ExceptionType"]) - set(EXCEPTIONS):
            raise invalid(f"{wrong}: unknown ExceptionType in RetryPolicies: {', '.join(sorted(unknown))}")


def _parameters(definition: Json, given: Mapping[str, str]) -> dict[str, Any]:
    declared = {one["Name"]: one for one in definition.get("Parameters", ())}
    if unknown := set(given) - set(declared):
        raise invalid(f"Unknown parameters: {', '.join(sorted(unknown))}")
    values = {}
    for name, one in declared.items():
        value = given.get(name, one.get("DefaultValue"))
        if value is None:
            raise invalid(f"Parameter {name} has no value")
        values[f"Parameters.{name}"] = int(value) if one["Type"] == "Integer" else value
    return values


def _resolve(content: Any, variables: Mapping[str, Any]) -> Any:
    """Put values in the place of a definition's `Get` and `Std:Join`."""
    if isinstance(content, list):
        return [_resolve(one, variables) for one in content]
    if not isinstance(content, dict):
        return content
    if set(content) == {"Get"}:
        if content["Get"] not in variables:
            raise invalid(f"Unknown or not emulated: {content}")
        return variables[content["Get"]]
    if set(content) == {"Std:Join"}:
        join = content["Std:Join"]
        return join["On"].join(str(_resolve(one, variables)) for one in join["Values"])
    return {name: _resolve(one, variables) for name, one in content.items()}
