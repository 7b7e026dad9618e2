"""An emulator of Amazon SageMaker Processing, for tests: real boto3 in front, real S3 and real processes behind.

>>> with ProcessingEmulator(tmp_path, s3.server) as emulator:
...     client = boto3.client("sagemaker")  # with emulator.environment() in os.environ

It answers processing jobs and pipelines of SageMaker, the jobs' streams of CloudWatch Logs, the caller's identity
(STS), quotas of Service Quotas and products of Pricing. Anything else is an error, and is kept in `unknown`.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs

from s3server import S3Server

from . import logs
from .behaviour import Behaviour
from .faults import Fault, Faults
from .hosts import ML_ROOT, Host
from .jobs import Job, Jobs, Settings
from .pipelines import Execution, Pipelines, Step
from .server import HOST, Answer, Server, xml_error, xml_result
from .wire import AwsError, Json, as_json, check_answer, check_request, model, page, without_none

__all__ = ["ML_ROOT", "AwsError", "Call", "Execution", "Fault", "Faults", "Host", "Job", "ProcessingEmulator", "Step"]

TARGETS = {
    "SageMaker": "sagemaker",
    "Logs_20140328": "logs",
    "ServiceQuotasV20190624": "service-quotas",
    "AWSPriceListService": "pricing",
}
QUOTAS = {
    "ml.m5.xlarge for processing job usage": 10.0,
    "ml.m5.4xlarge for processing job usage": 10.0,
    "ml.c5.4xlarge for processing job usage": 0.0,
    "Maximum number of instances per processing job": 20.0,
    "Total number of instances across processing jobs": 40.0,
    "Longest run time for a processing job": 432_000.0,
    "Size of EBS volume for a processing job instance": 1_024.0,
}
STS = "https://sts.amazonaws.com/doc/2011-06-15/"
JSON = "application/x-amz-json-1.1"


@dataclass(frozen=True)
class Call:
    """A request that came in; `error` is the code that it was answered with, if any."""

    action: str
    at: float  # time.monotonic()
    error: str | None
    request: Json


class ProcessingEmulator:
    """The emulator; a context manager. It works between `__enter__` and `__exit__`, and leaves only its folder.

    Parameters
    ----------
    folder
        Where hosts get their `/opt/ml`: `<job>/<host>/ml`, beside their logs.
    server
        The S3 server with the data.
    commands
        What stands for commands of an image, by their names; by default `scaledproc` and `python3` of this Python.
    image_entrypoint
        What is run without a ContainerEntrypoint.
    max_instances
        Host processes at once. Jobs wait for their turn; a job with more hosts than this runs alone.
    start_delay, stop_grace, upload_interval
        Seconds: from a job's creation to its start, from SIGTERM to SIGKILL, between two Continuous uploads.
    retry_pace
        By what the pauses and expiries of a pipeline's retry policies are multiplied.
    quotas
        By name. `<type> for processing job usage` is enforced: ResourceLimitExceeded. None: a few that are only
        listed.
    products
        What Pricing's GetProducts answers. None: AccessDeniedException.
    host_environment
        Further variables for every host.
    """

    def __init__(
        self,
        folder: Path,
        server: S3Server,
        *,
        commands: Mapping[str, Sequence[str]] | None = None,
        image_entrypoint: Sequence[str] = ("scaledproc",),
        max_instances: int = 2,
        start_delay: float = 0.02,
        stop_grace: float = 5.0,
        upload_interval: float = 0.2,
        retry_pace: float = 0.05,
        quotas: Mapping[str, float] | None = None,
        products: Sequence[Json] | None = None,
        host_environment: Mapping[str, str] | None = None,
        region: str = "us-east-1",
        account: str = "123456789012",
        seed: int = 0,
    ) -> None:
        python = [sys.executable]
        own = {"scaledproc": [*python, "-m", "scaledproc"], "python3": python, "python": python}
        self.faults = Faults(seed)
        self.calls: list[Call] = []
        self.unknown: list[str] = []  # what was called and is not emulated
        self.products = products
        self.behaviour = Behaviour()
        self.quotas = dict(QUOTAS if quotas is None else quotas)
        self._settings = Settings(
            folder=folder.resolve(),
            server=server,
            region=region,
            account=account,
            commands={**own, **(commands or {})},
            image_entrypoint=image_entrypoint,
            host_environment=host_environment or {},
            max_instances=max_instances,
            start_delay=start_delay,
            stop_grace=stop_grace,
            upload_interval=upload_interval,
            quotas={} if quotas is None else self.quotas,
            behaviour=self.behaviour,
        )
        self._server = Server(self._answer)
        self._refusing = socket.socket()  # bound and not listening: connections to it are refused
        self._refusing.bind((HOST, 0))
        refusing = f"http://{HOST}:{self._refusing.getsockname()[1]}"
        self._jobs = Jobs(self._settings, self.faults, refusing, self.endpoint)
        self._pipelines = Pipelines(self._jobs, self._settings, self.faults, retry_pace, seed)
        self._actions = self._all_actions()

    def __enter__(self) -> Self:
        self._settings.folder.mkdir(parents=True, exist_ok=True)
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._jobs.closing.set()
        self._pipelines.close()
        self._jobs.close()
        self._server.close()
        self._refusing.close()
        if (failures := [*self._server.failures, *self._jobs.failures]) and error is None:
            raise AssertionError("the emulator itself failed:\n" + "\n".join(failures))

    @property
    def endpoint(self) -> str:
        return self._server.endpoint

    @property
    def region(self) -> str:
        return self._settings.region

    @property
    def account(self) -> str:
        return self._settings.account

    @property
    def role(self) -> str:
        """A role that a request may name."""
        return f"arn:aws:iam::{self.account}:role/Processing"

    @property
    def jobs(self) -> list[Job]:
        """The jobs, in the order in which they were created."""
        return list(self._jobs.jobs)

    @property
    def executions(self) -> list[Execution]:
        """The pipelines' executions."""
        return [execution for pipeline in self._pipelines.pipelines for execution in pipeline.executions]

    def environment(self) -> dict[str, str]:
        """The variables that lead boto3 and s3fs here and to the S3 server without any option."""
        return {
            **self._settings.server.environment(),
            "AWS_ENDPOINT_URL": self.endpoint,  # every service but S3: what is not emulated is seen
            **{f"AWS_ENDPOINT_URL_{name}": self.endpoint for name in _endpoint_names()},
            "AWS_DEFAULT_REGION": self.region,
        }

    def job(self, name: str) -> Job:
        """The job of this name, or the only one whose name has this in it."""
        found = [job for job in self.jobs if job.name == name] or [job for job in self.jobs if name in job.name]
        assert len(found) == 1, f"{len(found)} jobs are called {name}"
        return found[0]

    def wait(self, job: str, seconds: float = 60.0) -> Job:
        """Wait for a job's end, without a call."""
        found = self.job(job)
        assert found.done.wait(seconds), f"{found.name} is {found.status} after {seconds} s:\n{found.log}"
        return found

    def wait_for_execution(self, arn: str, seconds: float = 60.0) -> Execution:
        """Wait for the end of a pipeline's execution, without a call."""
        execution = self._pipelines.find(arn)
        assert execution.done.wait(seconds), f"{execution.id} is {execution.status} after {seconds} s"
        return execution

    def count(self, action: str) -> int:
        """How often an action was called."""
        return sum(call.action == action for call in self.calls)

    def _all_actions(self) -> dict[tuple[str, str], Callable[[Json], Json]]:
        jobs, pipelines = self._jobs, self._pipelines
        return {
            ("sagemaker", "CreateProcessingJob"): jobs.create_job,
            ("sagemaker", "DescribeProcessingJob"): jobs.describe_job,
            ("sagemaker", "ListProcessingJobs"): jobs.list_jobs,
            ("sagemaker", "StopProcessingJob"): jobs.stop_job,
            ("sagemaker", "AddTags"): jobs.add_tags,
            ("sagemaker", "ListTags"): jobs.list_tags,
            ("sagemaker", "CreatePipeline"): pipelines.create,
            ("sagemaker", "UpdatePipeline"): pipelines.update,
            ("sagemaker", "DescribePipeline"): pipelines.describe,
            ("sagemaker", "DeletePipeline"): pipelines.delete,
            ("sagemaker", "StartPipelineExecution"): pipelines.start,
            ("sagemaker", "DescribePipelineExecution"): pipelines.describe_execution,
            ("sagemaker", "ListPipelineExecutions"): pipelines.list_executions,
            ("sagemaker", "ListPipelineExecutionSteps"): pipelines.list_steps,
            ("sagemaker", "StopPipelineExecution"): pipelines.stop,
            ("logs", "DescribeLogStreams"): lambda request: logs.describe_streams(self.jobs, request),
            ("logs", "GetLogEvents"): lambda request: logs.get_events(self.jobs, request),
            ("logs", "FilterLogEvents"): lambda request: logs.filter_events(self.jobs, request),
            ("service-quotas", "ListServiceQuotas"): self._list_quotas,
            ("pricing", "GetProducts"): self._get_products,
        }

    def _answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """Answer a request of either protocol."""
        prefix, _, action = headers.get("x-amz-target", "").partition(".")
        if action:
            service = TARGETS.get(prefix, prefix)
            status, content = self._call(service, action, body, headers)
            return status, JSON, content
        query = parse_qs(body.decode(errors="replace"))
        action = query.get("Action", [f"{method} {path}"])[0]
        error: AwsError | None = None
        try:
            self._check_caller(headers)
            if action != "GetCallerIdentity":
                self.unknown.append(action)
                raise AwsError("InvalidAction", f"Could not find operation {action}")
            self.faults.check_call(action)
            members = {"UserId": "AIDAEMULATOR", "Account": self.account}
            members["Arn"] = f"arn:aws:iam::{self.account}:user/emulator"
            content = xml_result(action, STS, members)
        except AwsError as caught:
            error, content = caught, xml_error(caught.code, caught.message)
        self.calls.append(Call(action, time.monotonic(), error.code if error else None, {}))
        return error.status if error else 200, "text/xml", content

    def _call(self, service: str, action: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        at, content = time.monotonic(), b"{}"
        request: Json = {}
        error: AwsError | None = None
        try:
            self._check_caller(headers)
            if (service, action) not in self._actions:
                self.unknown.append(f"{service}.{action}")
                raise AwsError("UnknownOperationException", f"{service}.{action} is not emulated")
            request = json.loads(body or b"{}")
            self.faults.check_call(action)
            check_request(service, action, request)
            answer = self._actions[service, action](request)
            check_answer(service, action, answer)
            content = as_json(answer)
        except AwsError as caught:
            error = caught
        except Exception as caught:
            self._server.failures.append(traceback.format_exc())
            error = AwsError("InternalFailure", f"the emulator failed: {caught!r}", 500)
        self.calls.append(Call(action, at, error.code if error else None, request))
        if error is None:
            return 200, content
        return error.status, as_json({"__type": error.code, "message": error.message})

    def _check_caller(self, headers: dict[str, str]) -> None:
        """Refuse who is not signed in with the S3 server's credentials."""
        signed = re.match(r"AWS4-HMAC-SHA256 Credential=([^/]+)/", headers.get("authorization", ""))
        if signed is None:
            raise AwsError("MissingAuthenticationTokenException", "Missing Authentication Token")
        if signed[1] != self._settings.server.key:
            raise AwsError("UnrecognizedClientException", "The security token included in the request is invalid.")

    def _list_quotas(self, request: Json) -> Json:
        """ListServiceQuotas. The codes are made up: a hash of the name."""
        if request["ServiceCode"] != "sagemaker":
            raise AwsError("NoSuchResourceException", "The request failed because the specified service is not known.")
        quotas = [
            {
                "ServiceCode": "sagemaker",
                "ServiceName": "Amazon SageMaker",
                "QuotaCode": f"L-{hashlib.sha256(name.encode()).hexdigest()[:8].upper()}",
                "QuotaName": name,
                "Value": float(value),
                "Unit": "None",
                "Adjustable": True,
                "GlobalQuota": False,
            }
            for name, value in self.quotas.items()
        ]
        some, token = page(quotas, request.get("MaxResults", 100), request.get("NextToken"))
        return without_none({"Quotas": some, "NextToken": token})

    def _get_products(self, request: Json) -> Json:
        """GetProducts: those of the products given whose attributes fit all filters."""
        if self.products is None:
            raise AwsError("AccessDeniedException", "User is not authorized to perform: pricing:GetProducts")
        filters = {one["Field"]: one["Value"] for one in request.get("Filters", ())}
        found = [
            json.dumps(product)
            for product in self.products
            if product.get("serviceCode", request["ServiceCode"]) == request["ServiceCode"]
            and filters.items() <= product["product"]["attributes"].items()
        ]
        some, token = page(found, request.get("MaxResults", 100), request.get("NextToken"))
        return without_none({"FormatVersion": "aws_v1", "PriceList": some, "NextToken": token})


def _endpoint_names() -> list[str]:
    """The services as AWS_ENDPOINT_URL_ names them, by botocore's own ids."""
    services = ("sagemaker", "logs", "sts", "service-quotas", "pricing", "iam", "ecr")
    return [model(service).service_id.replace(" ", "_").upper() for service in services]
