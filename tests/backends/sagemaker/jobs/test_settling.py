"""What all jobs of a run took is asked for: those of pipelines, of each try, and what of it is not to be known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scaledproc.backends.sagemaker.cost.billing import Bill, bill
from scaledproc.backends.sagemaker.jobs.settling import settle_jobs
from scaledproc.backends.sagemaker.service import JobSummary, ServiceError

NOW = datetime(2026, 11, 30, tzinfo=UTC)
ARN = "arn:aws:sagemaker:us-east-1:123456789012:pipeline/p/execution/"


class Account:
    """A service with jobs, some of them of a pipeline's executions."""

    def __init__(self, jobs: list[str], executions: dict[str, list[dict[str, Any]]], *, status: str = "Failed") -> None:
        self.jobs, self.executions, self.status = jobs, executions, status
        self.denied: set[str] = set()

    def summaries(self, token: str) -> list[JobSummary]:
        return [JobSummary(name, "Completed", NOW) for name in self.jobs if token in name]

    def describe(self, name: str) -> dict[str, Any]:
        if name in self.denied:
            raise ServiceError("denied", "AccessDeniedException: no")
        return {
            "ProcessingStartTime": NOW,
            "ProcessingEndTime": NOW + timedelta(seconds=10),
            "ProcessingResources": {"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1}},
        }

    def call(self, client: str, operation: str, **given: Any) -> dict[str, Any]:
        if operation == "list_pipeline_executions":
            at = int(given.get("NextToken", 0))
            ids = list(self.executions)[at : at + 1]
            more = {"NextToken": str(at + 1)} if at + 1 < len(self.executions) else {}
            found = [{"PipelineExecutionArn": ARN + each, "PipelineExecutionStatus": self.status} for each in ids]
            return {"PipelineExecutionSummaries": found, **more}
        assert operation == "list_pipeline_execution_steps"
        return {"PipelineExecutionSteps": self.executions[given["PipelineExecutionArn"].rpartition("/")[2]]}


def step(name: str, job: str, tries: int = 1) -> dict[str, Any]:
    return {"StepName": name, "AttemptCount": tries, "Metadata": {"ProcessingJob": {"Arn": f"arn:x/{job}"}}}


def settled(account: Account, known: dict[str, Bill] | None = None, last: str | None = None) -> Any:
    return settle_jobs(account, "0123", "p", last, known or {})


def test_all_executions_and_all_tries_are_found() -> None:
    jobs = ["pipelines-a-s0-x", "pipelines-a-s0-y", "pipelines-b-combine-z", "p-0123-s0-1", "pipelines-other-s0-x"]
    account = Account(
        jobs, {"b": [step("combine", "pipelines-b-combine-z")], "a": [step("s0", "pipelines-a-s0-y", tries=2)]}
    )
    found = settled(account)

    assert sorted(found.bills) == sorted(jobs[:-1])
    assert set(found.executions) == {f"{ARN}a", f"{ARN}b"}
    assert found.unknown == ()


def test_one_at_work_is_not_settled() -> None:
    assert settled(Account([], {"a": []}, status="Stopping")) is None


def test_a_try_that_cannot_be_found_makes_the_bill_null() -> None:
    """AWS does not document how a pipeline calls its jobs."""
    found = settled(Account(["named-otherwise"], {"a": [step("s0", "named-otherwise", tries=3)]}))

    assert found.unknown == ("the step s0 was tried 3 times, and only its last job is known",)
    made = bill(found.bills.values(), "us-east-1", unknown=found.unknown)
    assert (made["jobs"], made["usd"]) == (1, None)
    assert made["usd_is_null_for"] == found.unknown[0]


def test_a_job_that_cannot_be_asked_makes_the_bill_null() -> None:
    account = Account(["pipelines-a-s0-x"], {"a": [step("s0", "pipelines-a-s0-x")]})
    account.denied = {"pipelines-a-s0-x"}
    (why,) = settled(account).unknown
    assert why.startswith("what the job pipelines-a-s0-x took cannot be asked")


def test_what_is_known_is_not_asked_again_and_a_deleted_pipeline_s_jobs_are_found() -> None:
    class Gone(Account):
        def call(self, client: str, operation: str, **given: Any) -> dict[str, Any]:
            raise ServiceError("gone", "ResourceNotFound: gone")

    account = Gone(["pipelines-a-s0-x", "p-0123-s0-1"], {})
    account.denied = {"p-0123-s0-1"}
    known = {"p-0123-s0-1": Bill("p-0123-s0-1", "ml.m5.large", 1, 5.0)}
    found = settled(account, known, f"{ARN}a")
    assert sorted(found.bills) == ["p-0123-s0-1", "pipelines-a-s0-x"]
    assert found.unknown == ()


def test_a_service_that_fails_is_an_error() -> None:
    class Away(Account):
        def describe(self, name: str) -> dict[str, Any]:
            raise ServiceError("unreachable", "AWS cannot be reached")

    with pytest.raises(ServiceError):
        settled(Away(["p-0123-s0-1"], {"a": []}))
