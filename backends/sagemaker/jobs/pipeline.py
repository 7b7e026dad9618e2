"""A run as a SageMaker pipeline: the service starts the jobs, so that nobody need watch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from ..service import Service, ServiceError
from ..settings import Settings
from .job_list import COMBINE
from .requests import Assignment

VERSION = "2020-12-01"
MOST_MINUTES = 14_400
"""For which a step is tried again at most: the SDK's MAX_EXPIRE_AFTER_MIN."""
AT_WORK = ("Executing", "Stopping")
"""The statuses of an execution that has not ended."""
MOST_STEPS = 49
"""Shards' steps; with the last one 50, what the service allows by default."""


def definition(
    settings: Settings, assignments: Sequence[Assignment], combine: Assignment, requests: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """A pipeline's definition: a step for each assignment, side by side, and one after them all.

    Parameters
    ----------
    settings
        How often a step is repeated.
    assignments, combine
        What the steps do.
    requests
        The CreateProcessingJob request of each assignment, the last one's at the end.
    """
    steps = [
        _step(assignment.key, request, settings)
        for assignment, request in zip((*assignments, combine), requests, strict=True)
    ]
    if assignments:
        steps[-1]["DependsOn"] = [_name(assignment.key) for assignment in assignments]
    return {"Version": VERSION, "Metadata": {}, "Parameters": [], "Steps": steps}


def _step(key: str, request: dict[str, Any], settings: Settings) -> dict[str, Any]:
    arguments = {name: value for name, value in request.items() if name != "ProcessingJobName"}
    step: dict[str, Any] = {"Name": _name(key), "Type": "Processing", "Arguments": arguments}
    if settings.retries:
        seconds = max(int(settings.retry_wait), 1)
        step["RetryPolicies"] = [
            _policy(["Step.SERVICE_FAULT", "Step.THROTTLING"], seconds, 10),
            _waiting(["SageMaker.CAPACITY_ERROR", "SageMaker.RESOURCE_LIMIT"], seconds * 4, settings.max_wait_seconds),
            _policy(["SageMaker.JOB_INTERNAL_ERROR"], seconds, settings.retries),
        ]
    return step


def _policy(kinds: list[str], seconds: int, tries: int) -> dict[str, Any]:
    return {"ExceptionType": kinds, "IntervalSeconds": seconds, "BackoffRate": 2.0, "MaxAttempts": tries}


def _waiting(kinds: list[str], seconds: int, longest: float) -> dict[str, Any]:
    """Tries without a number, for as long as the user waits."""
    minutes = min(max(round(longest / 60), 1), MOST_MINUTES)
    return {"ExceptionType": kinds, "IntervalSeconds": seconds, "BackoffRate": 2.0, "ExpireAfterMin": minutes}


def _name(key: str) -> str:
    return "combine" if key == COMBINE else key


def start(service: Service, name: str, role: str, made: dict[str, Any], settings: Settings) -> str:
    """Make or update a pipeline and start it.

    Returns
    -------
    str
        The execution's ARN.
    """
    given: dict[str, Any] = {
        "PipelineName": name,
        "PipelineDefinition": json.dumps(made),
        "RoleArn": role,
        "ParallelismConfiguration": {"MaxParallelExecutionSteps": settings.max_parallel_jobs},
    }
    tags = [{"Key": key, "Value": value} for key, value in settings.tag_map.items()]
    try:
        service.call("sagemaker", "create_pipeline", **given, Tags=tags)
    except ServiceError as error:
        if error.trouble not in ("exists", "invalid") or "already exists" not in str(error):
            raise
        service.call("sagemaker", "update_pipeline", **given)
    started = service.call("sagemaker", "start_pipeline_execution", PipelineName=name)
    return str(started["PipelineExecutionArn"])


def find(service: Service, name: str, *, has_ended: bool = False) -> str | None:
    """The last execution of a pipeline that has not ended, or that has; None where there is none."""
    found = executions(service, name)
    return next((arn for arn, status in found.items() if has_ended != (status in AT_WORK)), None)


def executions(service: Service, name: str) -> dict[str, str]:
    """The statuses of all executions of a pipeline by their ARNs, the last one first; none where it is gone."""
    found: dict[str, str] = {}
    token: dict[str, str] = {}
    while True:
        try:
            page = service.call("sagemaker", "list_pipeline_executions", PipelineName=name, MaxResults=100, **token)
        except ServiceError as error:
            if error.trouble in ("gone", "invalid"):
                return found
            raise
        for each in page["PipelineExecutionSummaries"]:
            found[str(each["PipelineExecutionArn"])] = str(each["PipelineExecutionStatus"])
        if not page.get("NextToken"):
            return found
        token = {"NextToken": page["NextToken"]}


def job_of(step: Mapping[str, Any]) -> str:
    """The name of a step's last job; empty before it has one."""
    return str(step.get("Metadata", {}).get("ProcessingJob", {}).get("Arn", "")).rpartition("/")[2]


def steps(service: Service, execution: str) -> list[dict[str, Any]]:
    """What became of an execution's steps so far: StepName, StepStatus, FailureReason, Metadata."""
    found: list[dict[str, Any]] = []
    token: dict[str, str] = {}
    while True:
        try:
            page = service.call(
                "sagemaker", "list_pipeline_execution_steps", PipelineExecutionArn=execution, MaxResults=100, **token
            )
        except ServiceError as error:
            if error.trouble == "gone":  # with its pipeline, when the run had ended
                return found
            raise
        found += page["PipelineExecutionSteps"]
        if not page.get("NextToken"):
            return found
        token = {"NextToken": page["NextToken"]}


def status(service: Service, execution: str) -> str:
    """`Executing`, `Stopping`, `Stopped`, `Failed`, `Succeeded`, or `Deleted` where nothing is left of it."""
    try:
        found = service.call("sagemaker", "describe_pipeline_execution", PipelineExecutionArn=execution)
    except ServiceError as error:
        if error.trouble == "gone":
            return "Deleted"
        raise
    return str(found["PipelineExecutionStatus"])


def delete(service: Service, name: str) -> None:
    """Remove a pipeline with what is known of its executions; one that cannot be removed stays."""
    try:
        service.call("sagemaker", "delete_pipeline", PipelineName=name, ClientRequestToken=uuid4().hex)
    except ServiceError as error:
        if error.trouble not in ("gone", "invalid", "denied"):
            raise


def stop(service: Service, execution: str) -> None:
    """Begin to end an execution and its jobs."""
    service.call("sagemaker", "stop_pipeline_execution", PipelineExecutionArn=execution)
