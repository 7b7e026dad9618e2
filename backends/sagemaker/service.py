"""The calls to AWS, each with its errors told apart."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from typing import Any, Literal, Protocol, TypeVar

from scaledproc.errors import ScaledprocError, UsageError

T = TypeVar("T")

LOG_GROUP = "/aws/sagemaker/ProcessingJobs"
Trouble = Literal["throttled", "expired", "denied", "limit", "capacity", "exists", "gone", "invalid", "unreachable"]

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/CommonErrors.html and the errors of CreateProcessingJob
_TROUBLES: dict[str, Trouble] = {
    "Throttling": "throttled",
    "ThrottlingException": "throttled",
    "TooManyRequestsException": "throttled",
    "RequestLimitExceeded": "throttled",
    "SlowDown": "throttled",
    "ServiceUnavailable": "unreachable",
    "InternalFailure": "unreachable",
    "InternalServerError": "unreachable",
    "ExpiredToken": "expired",
    "ExpiredTokenException": "expired",
    "RequestExpired": "expired",
    "AccessDenied": "denied",
    "AccessDeniedException": "denied",
    "UnauthorizedOperation": "denied",
    "UnrecognizedClientException": "denied",
    "InvalidClientTokenId": "denied",
    "ResourceLimitExceeded": "limit",
    "CapacityError": "capacity",
    "InsufficientCapacity": "capacity",
    "InsufficientInstanceCapacity": "capacity",
    "ResourceInUse": "exists",
    "ResourceNotFound": "gone",
}


class ServiceError(ScaledprocError):
    """AWS refused a call, or could not be reached."""

    def __init__(self, trouble: Trouble, text: str) -> None:
        super().__init__(text)
        self.trouble = trouble


@dataclass(frozen=True)
class JobSummary:
    """One line of the list of jobs."""

    name: str
    status: str
    """`InProgress`, `Completed`, `Failed`, `Stopping` or `Stopped`."""
    created: datetime


class Jobs(Protocol):
    """What runs requests: the service, or the SDK's local mode."""

    def create(self, request: dict[str, Any]) -> None:
        """Start a job."""

    def summaries(self, name_contains: str, since: datetime | None = None) -> list[JobSummary]:
        """The jobs with this in their names; only those that changed since then."""

    def describe(self, name: str) -> dict[str, Any]:
        """All about a job, as DescribeProcessingJob has it."""

    def stop(self, name: str) -> None:
        """Begin to end a job."""

    def last_lines(self, name: str, count: int) -> list[str]:
        """The end of what a job printed."""

    def link(self, name: str) -> str:
        """Where a person finds a job's logs."""


class Service:
    """Amazon SageMaker and what is beside it, in one region, by boto3.

    Parameters
    ----------
    region, profile
        As set; None for the environment's own.

    Raises
    ------
    UsageError
        If there is no such profile, or no region is known.
    """

    def __init__(self, region: str | None = None, profile: str | None = None) -> None:
        self._region = region
        self._profile = profile
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._session = self._new_session()
        self.region: str = region or self._session.region_name or ""
        if not self.region:
            raise UsageError("no AWS region: give --region, or set AWS_DEFAULT_REGION or one in the profile")

    def _new_session(self) -> Any:
        import boto3
        from botocore.exceptions import BotoCoreError

        try:
            return boto3.Session(profile_name=self._profile, region_name=self._region)
        except BotoCoreError as error:
            raise UsageError(f"AWS: {error}") from None

    def renew(self) -> None:
        """Read credentials anew: they may have been refreshed since."""
        with self._lock:
            self._session = self._new_session()
            self._clients.clear()

    def client(self, name: str) -> Any:
        """A boto3 client; throttled and failed calls are repeated by botocore, at a pace that adapts."""
        from botocore.config import Config

        with self._lock:
            if name not in self._clients:
                config = Config(
                    retries={"mode": "adaptive", "total_max_attempts": 8},
                    max_pool_connections=32,
                    connect_timeout=10,
                    read_timeout=60,
                    user_agent_extra=f"scaledproc/{version('scaledproc')}",
                )
                region = _pricing_region(self.region) if name == "pricing" else self.region
                self._clients[name] = self._session.client(name, region_name=region, config=config)
            return self._clients[name]

    def create(self, request: dict[str, Any]) -> None:
        """CreateProcessingJob."""
        self.call("sagemaker", "create_processing_job", **request)

    def summaries(self, name_contains: str, since: datetime | None = None) -> list[JobSummary]:
        """ListProcessingJobs, all pages: a hundred jobs a call."""
        given: dict[str, Any] = {"NameContains": name_contains, "SortBy": "CreationTime", "SortOrder": "Ascending"}
        if since is not None:
            given["LastModifiedTimeAfter"] = since
        return [
            JobSummary(job["ProcessingJobName"], job["ProcessingJobStatus"], job["CreationTime"])
            for page in self._pages("sagemaker", "list_processing_jobs", **given, MaxResults=100)
            for job in page["ProcessingJobSummaries"]
        ]

    def describe(self, name: str) -> dict[str, Any]:
        """DescribeProcessingJob."""
        found: dict[str, Any] = self.call("sagemaker", "describe_processing_job", ProcessingJobName=name)
        return found

    def stop(self, name: str) -> None:
        """StopProcessingJob."""
        self.call("sagemaker", "stop_processing_job", ProcessingJobName=name)

    def last_lines(self, name: str, count: int) -> list[str]:
        """The end of a job's log in CloudWatch; nothing where it cannot be read."""
        try:
            streams = self.call("logs", "describe_log_streams", logGroupName=LOG_GROUP, logStreamNamePrefix=f"{name}/")[
                "logStreams"
            ]
            lines: list[str] = []
            for stream in streams[:3]:
                events = self.call(
                    "logs",
                    "get_log_events",
                    logGroupName=LOG_GROUP,
                    logStreamName=stream["logStreamName"],
                    limit=count,
                    startFromHead=False,
                )["events"]
                lines += [str(event["message"]).rstrip() for event in events]
            return lines[-count:]
        except ServiceError:
            return []

    def link(self, name: str) -> str:
        """The console's page of a job's log."""
        group = LOG_GROUP.replace("/", "$252F")
        domains = {"cn": "amazonaws.cn", "us-gov": "amazonaws-us-gov.com"}
        domain = next(
            (name for start, name in domains.items() if self.region.startswith(f"{start}-")), "aws.amazon.com"
        )
        return (
            f"https://{self.region}.console.{domain}/cloudwatch/home?region={self.region}#logsV2:log-groups/"
            f"log-group/{group}$3FlogStreamNameFilter$3D{name}"
        )

    def account(self) -> str:
        """The number of the account that the credentials are of.

        Raises
        ------
        UsageError
            If there are no credentials, or AWS refuses them.
        """
        try:
            return str(self.call("sts", "get_caller_identity")["Account"])
        except ServiceError as error:
            if error.trouble in ("unreachable", "expired"):
                raise
            raise UsageError(f"AWS refuses the credentials: {error}") from None

    def role_arn(self, role: str) -> str:
        """The ARN of a role that was given by name."""
        if role.startswith("arn:"):
            return role
        try:
            return str(self.call("iam", "get_role", RoleName=role)["Role"]["Arn"])
        except ServiceError as error:
            raise UsageError(f"--role {role}: {error}; give its ARN") from None

    def call(self, client: str, operation: str, **arguments: Any) -> Any:
        """Call an operation of a boto3 client; its answer.

        Raises
        ------
        ServiceError
            If AWS refuses the call or its arguments, cannot be reached, or the login has expired.
        UsageError
            If there are no credentials, or only a part of them.
        """
        return _told(lambda: getattr(self.client(client), operation)(**arguments))

    def _pages(self, client: str, operation: str, **arguments: Any) -> Iterator[Mapping[str, Any]]:
        pages = iter(self.client(client).get_paginator(operation).paginate(**_page_size(arguments)))
        while (page := _told(lambda: next(pages, None))) is not None:
            yield page


def knows_preferences() -> bool:
    """Whether this boto3 can ask for several types of machines in order."""
    import botocore.session

    model = botocore.session.get_session().get_service_model("sagemaker")
    return "InstancePreferences" in model.shape_for("ProcessingClusterConfig").members


def _pricing_region(region: str) -> str:
    """Where the Price List API answers for a region: it is in a few regions only."""
    return "cn-northwest-1" if region.startswith("cn-") else "us-east-1"


def _page_size(arguments: dict[str, Any]) -> dict[str, Any]:
    size = arguments.pop("MaxResults", None)
    return {**arguments, "PaginationConfig": {"PageSize": size}} if size else arguments


def _told(call: Callable[[], T]) -> T:
    from botocore import exceptions

    try:
        return call()
    except exceptions.ClientError as error:
        details = error.response.get("Error", {})
        code, text = str(details.get("Code", "")), str(details.get("Message", error))
        raise ServiceError(_trouble(code, text), f"{code}: {text}") from None
    except (exceptions.TokenRetrievalError, exceptions.SSOError) as error:
        raise ServiceError("expired", f"the login has expired ({error}): aws sso login") from None
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
        raise UsageError(
            f"no AWS credentials ({error}): log in (aws sso login), set AWS_PROFILE, or give --profile"
        ) from None
    except exceptions.ParamValidationError as error:
        raise ServiceError("invalid", str(error)) from None
    except exceptions.BotoCoreError as error:
        raise ServiceError("unreachable", f"AWS cannot be reached: {error}") from None


def _trouble(code: str, text: str) -> Trouble:
    if code == "ValidationException" and "Could not find" in text:
        return "gone"
    if code in ("ResourceLimitExceeded", "ThrottlingException") and "apacity" in text:
        return "capacity"
    return _TROUBLES.get(code, "invalid")
