"""Processing jobs: the API's actions on them, and their life from InProgress to its end.

Kept to AWS's documentation: the exit codes decide between Completed and Failed; the hosts' `/opt/ml/output/message` are
joined, and the first 1 KB is the ExitMessage (not UTF-8: the job fails); a job that reaches MaxRuntimeInSeconds is
stopped, so it ends as Stopped; output folders exist when a command starts; all hosts upload to the same S3Uri.

Where it is silent, the choice is the one on which a caller can rely least: EndOfJob outputs are uploaded of jobs only
that complete, Continuous ones until the end of any job, but not from a host that was killed; a host that fails has the
others killed at once. On a stop, SIGTERM goes to a host's first process alone, as containers are stopped (but where
that process has no handler it ends, while one in a container would wait for its SIGKILL). A request for a job that is
not there, or a stop of one that has ended, is a ValidationException, as callers of the service report, and not the
ResourceNotFound of its model.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from s3server import S3Server

from .behaviour import Behaviour
from .data import Data, DataError, share
from .faults import INTERNAL, Faults
from .hosts import ML_ROOT, Host
from .rules import check_rules
from .wire import AwsError, Json, as_time, check_request, invalid, now, page, without_none

ALGORITHM = "AlgorithmError: See job logs for more information"
TERMINAL = ("Completed", "Failed", "Stopped")
POLL = 0.02  # seconds between two looks at a job's hosts


@dataclass(frozen=True)
class Settings:
    """How the emulator goes about jobs."""

    folder: Path
    server: S3Server
    region: str
    account: str
    commands: Mapping[str, Sequence[str]]  # what stands for the commands that an image brings
    image_entrypoint: Sequence[str]  # what an image runs without a ContainerEntrypoint
    host_environment: Mapping[str, str]  # further variables of every host
    max_instances: int  # host processes at once
    start_delay: float  # seconds before a job's hosts can start
    stop_grace: float  # seconds from SIGTERM to SIGKILL
    upload_interval: float  # seconds between two looks for Continuous outputs
    quotas: Mapping[str, float]  # by name, as Service Quotas gives them
    behaviour: Behaviour

    def arn(self, resource: str, service: str = "sagemaker") -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"


@dataclass
class Job:
    """A processing job: its request, its state as DescribeProcessingJob shows it, and its hosts."""

    name: str
    arn: str
    request: Json
    created: datetime
    modified: datetime
    status: str = "InProgress"
    started: datetime | None = None
    ended: datetime | None = None
    exit_message: str | None = None
    failure_reason: str | None = None
    selected: tuple[str, int] | None = None  # instance type and count, once chosen
    hosts: list[Host] = field(default_factory=list)
    uploads: list[str] = field(default_factory=list)  # keys, in their order
    stop: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def pids(self) -> list[int]:
        return [host.pid for host in self.hosts if host.pid is not None]

    @property
    def log(self) -> str:
        """What all hosts printed."""
        return "".join(f"{host.name}: {line}\n" for host in self.hosts for _, line in host.lines)


class _EndError(Exception):
    """How a job ends before its hosts have ended by themselves."""

    def __init__(self, status: str, reason: str | None = None) -> None:
        super().__init__(status, reason)
        self.status, self.reason = status, reason


class _Slots:
    """Hosts that may run at once. Jobs get them in the order of their creation; one with more hosts takes all."""

    def __init__(self, count: int) -> None:
        self._count = self._free = count
        self._changed = threading.Condition()
        self._waiting: list[Job] = []

    def queue(self, job: Job) -> None:
        with self._changed:
            self._waiting.append(job)

    def take(self, job: Job, count: int, gives_up: Callable[[], bool]) -> int:
        """Wait for a job's turn and slots; how many it got, 0 when they are no longer wanted."""
        count = min(count, self._count)
        with self._changed:
            while not gives_up():
                if self._waiting[0] is job and self._free >= count:
                    self._free -= count
                    self._leave(job)
                    return count
                self._changed.wait(POLL)
        return 0

    def give(self, job: Job, count: int) -> None:
        """Give back what a job got, and its place in the queue if it has not had its turn."""
        with self._changed:
            self._free += count
            self._leave(job)

    def _leave(self, job: Job) -> None:
        self._waiting[:] = [other for other in self._waiting if other is not job]
        self._changed.notify_all()


class Jobs:
    """All jobs of the account."""

    def __init__(self, settings: Settings, faults: Faults, refusing: str, endpoint: str) -> None:
        self.jobs: list[Job] = []
        self.tags: dict[str, dict[str, str]] = {}
        self.failures: list[str] = []  # of the emulator itself
        self.closing = threading.Event()
        self._settings, self._faults = settings, faults
        self._refusing, self._endpoint = refusing, endpoint
        self._data = Data(settings.server, settings.region, settings.behaviour)
        self._slots = _Slots(settings.max_instances)
        self._lock = threading.RLock()
        self._threads: list[threading.Thread] = []

    # What the API does.

    def create_job(self, request: Json) -> Json:
        check_request("sagemaker", "CreateProcessingJob", request)
        check_rules(request)
        self._settings.behaviour.check(request)
        name = request["ProcessingJobName"]
        with self._lock:
            if self.closing.is_set():
                raise AwsError("ServiceUnavailable", "The emulator ends", 503)
            arn = self._settings.arn(f"processing-job/{name}")
            if any(job.name == name for job in self.jobs):
                raise AwsError(
                    "ResourceInUse",
                    "Job name must be unique within an AWS account and region, and a job with this name already"
                    f" exists ({arn})",
                )
            self._check_quotas(request)
            at = now()
            job = Job(name, arn, request, at, at)
            self.jobs.append(job)
            self._slots.queue(job)
            self.tags[arn] = {tag["Key"]: tag["Value"] for tag in request.get("Tags", ())}
            thread = threading.Thread(target=self._live, args=(job,), name=f"job {name}")
            self._threads.append(thread)
            thread.start()
        return {"ProcessingJobArn": arn}

    def describe_job(self, request: Json) -> Json:
        job = self.find(request["ProcessingJobName"])
        with self._lock:
            shown = {name: value for name, value in job.request.items() if name != "Tags"}
            cluster = dict(shown["ProcessingResources"]["ClusterConfig"])
            if job.selected and "InstancePreferences" in cluster:
                cluster["SelectedInstanceType"], cluster["SelectedInstanceCount"] = job.selected
            shown["ProcessingResources"] = {"ClusterConfig": cluster}
            return without_none(
                {
                    **shown,
                    "ProcessingJobArn": job.arn,
                    "ProcessingJobStatus": job.status,
                    "ExitMessage": job.exit_message,
                    "FailureReason": job.failure_reason,
                    "CreationTime": job.created,
                    "ProcessingStartTime": job.started,
                    "ProcessingEndTime": job.ended,
                    "LastModifiedTime": job.modified,
                }
            )

    def list_jobs(self, request: Json) -> Json:
        since, until = as_time(request.get("CreationTimeAfter")), as_time(request.get("CreationTimeBefore"))
        after, before = as_time(request.get("LastModifiedTimeAfter")), as_time(request.get("LastModifiedTimeBefore"))
        with self._lock:
            found = [
                job
                for job in self.jobs
                if request.get("NameContains", "") in job.name
                and request.get("StatusEquals", job.status) == job.status
                and (since is None or job.created > since)
                and (until is None or job.created < until)
                and (after is None or job.modified > after)
                and (before is None or job.modified < before)
            ]
            keys: dict[str, Callable[[Job], str]] = {"Name": lambda job: job.name, "Status": lambda job: job.status}
            found.sort(key=lambda job: job.created)
            if by := keys.get(request.get("SortBy", "CreationTime")):
                found.sort(key=by)
            if request.get("SortOrder") == "Descending":
                found.reverse()
            some, token = page(found, request.get("MaxResults", 10), request.get("NextToken"))
            summaries = [
                without_none(
                    {
                        "ProcessingJobName": job.name,
                        "ProcessingJobArn": job.arn,
                        "ProcessingJobStatus": job.status,
                        "CreationTime": job.created,
                        "LastModifiedTime": job.modified,
                        "ProcessingEndTime": job.ended,
                        "FailureReason": job.failure_reason,
                        "ExitMessage": job.exit_message,
                    }
                )
                for job in some
            ]
        return without_none({"ProcessingJobSummaries": summaries, "NextToken": token})

    def stop_job(self, request: Json) -> Json:
        job = self.find(request["ProcessingJobName"])
        with self._lock:
            if job.status in TERMINAL:
                raise invalid(f"The request was rejected because the processing job is in status {job.status}.")
            self._change(job, status="Stopping")
            job.stop.set()
        return {}

    def find(self, name: str) -> Job:
        with self._lock:
            for job in self.jobs:
                if job.name == name:
                    return job
        raise invalid(f"Could not find requested job with name: {name}")

    def add_tags(self, request: Json) -> Json:
        with self._lock:
            tags = self._tags(request)
            merged = {**tags, **{tag["Key"]: tag["Value"] for tag in request["Tags"]}}
            if len(merged) > 50:
                raise invalid("The number of tags exceeds the limit of 50")
            tags.update(merged)
            return {"Tags": _tag_list(tags)}

    def list_tags(self, request: Json) -> Json:
        with self._lock:
            return {"Tags": _tag_list(self._tags(request))}

    def close(self) -> None:
        """End all hosts and wait for the jobs' threads."""
        with self._lock:
            self.closing.set()
        for thread in self._threads:
            thread.join()
        self._data.close()

    def _tags(self, request: Json) -> dict[str, str]:
        arn = request["ResourceArn"]
        if arn not in self.tags:
            raise invalid(f"The resource does not exist: {arn}")
        return self.tags[arn]

    def _check_quotas(self, request: Json) -> None:
        """Refuse a job whose instances are more than the quota of their type leaves."""
        cluster = request["ProcessingResources"]["ClusterConfig"]
        runtime = request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", 86_400)
        for name, wanted, unit in (
            ("Size of EBS volume for a processing job instance", cluster["VolumeSizeInGB"], "GBs"),
            ("Maximum number of instances per processing job", cluster.get("InstanceCount", 1), "Instances"),
            ("Longest run time for a processing job", runtime, "Seconds"),
        ):
            if (limit := self._settings.quotas.get(name, math.inf)) < wanted:
                raise AwsError(
                    "ResourceLimitExceeded",
                    f"The request delta of {wanted} {unit} for '{name}' is greater than the account-level service-limit"
                    f" of {limit:g} {unit}. Please use AWS Service Quotas to request an increase for this quota.",
                )
        if "InstanceType" not in cluster:
            return
        quota = f"{cluster['InstanceType']} for processing job usage"
        wanted = cluster.get("InstanceCount", 1)
        used = sum(
            job.request["ProcessingResources"]["ClusterConfig"].get("InstanceCount", 1)
            for job in self.jobs
            if job.status not in TERMINAL
            and job.request["ProcessingResources"]["ClusterConfig"].get("InstanceType") == cluster["InstanceType"]
        )
        if quota in self._settings.quotas and used + wanted > self._settings.quotas[quota]:
            raise AwsError(
                "ResourceLimitExceeded",
                f"The account-level service limit '{quota}' is {self._settings.quotas[quota]:g} Instances, with current"
                f" utilization of {used} Instances and a request delta of {wanted} Instances. Please use AWS Service"
                " Quotas to request an increase for this quota.",
            )

    # A job's life, in a thread of its own.

    def _change(self, job: Job, **values: object) -> None:
        with self._lock:
            for name, value in values.items():
                setattr(job, name, value)
            job.modified = now()

    def _live(self, job: Job) -> None:
        try:
            end: _EndError | None = None
            held = 0
            try:
                self._wait(job, self._settings.start_delay)
                instance_type, count = self._choose(job)
                held = self._slots.take(job, count, lambda: job.stop.is_set() or self.closing.is_set())
                if not held:
                    raise _EndError("Stopped")
                self._change(job, selected=(instance_type, count), started=now())
                self._start(job, instance_type, count)
                self._watch(job)
                end = _EndError("Completed")
            except _EndError as ended:
                end = ended
            except DataError as error:
                end = _EndError("Failed", str(error))
            finally:
                self._end_hosts(job, is_gentle=end is not None and end.status == "Stopped")
                self._slots.give(job, held)
            assert end is not None
            self._finish(job, end)
        except Exception:
            self.failures.append(traceback.format_exc())
            self._change(job, status="Failed", ended=now(), failure_reason="InternalServerError: the emulator failed")
        finally:
            job.done.set()

    def _wait(self, job: Job, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            if job.stop.is_set() or self.closing.is_set():
                raise _EndError("Stopped")
            if (left := deadline - time.monotonic()) <= 0:
                return
            self.closing.wait(min(left, POLL))

    def _choose(self, job: Job) -> tuple[str, int]:
        """The first type that a job names of which there are machines."""
        cluster = job.request["ProcessingResources"]["ClusterConfig"]
        count = cluster.get("InstanceCount", 1)
        wanted = cluster.get("InstancePreferences") or [{"InstanceType": cluster["InstanceType"]}]
        for preference in wanted:
            if not self._faults.lacks_capacity(preference["InstanceType"]):
                return preference["InstanceType"], preference.get("InstanceCount", count)
        types = ", ".join(preference["InstanceType"] for preference in wanted)
        raise _EndError("Failed", f"CapacityError: Unable to provision requested ML compute capacity: {types}")

    def _start(self, job: Job, instance_type: str, count: int) -> None:
        request, folder = job.request, self._settings.folder / job.name
        inputs = [one["S3Input"] for one in request.get("ProcessingInputs", ()) if not one.get("AppManaged")]
        folders = [one["LocalPath"] for one in [*inputs, *_outputs(request)]]
        names = [f"algo-{number}" for number in range(1, count + 1)]
        hosts = [Host(name, folder / name / "ml", folder / f"{name}.log") for name in names]
        config = {**request, "ProcessingJobArn": job.arn}
        sources = [self._data.sources(one, request["RoleArn"], self._settings.region) for one in inputs]
        for number, host in enumerate(hosts):
            host.prepare(config, host.as_resources(names, instance_type), folders)
            for one, objects in zip(inputs, sources, strict=True):
                mine = share(objects, one.get("S3DataDistributionType", "FullyReplicated"), number, count)
                self._data.fetch(mine, host.local(one["LocalPath"]))
                self._wait(job, 0)
        self._change(job, hosts=hosts)
        for number, host in enumerate(hosts, 1):
            command = self._command(request["AppSpecification"], host)
            if self._faults.idles(job.name, number):
                host.is_idle = True
                continue
            try:
                host.start(command, self._environment(request, host))
            except OSError as error:
                raise _EndError("Failed", f"ClientError: CannotStartContainerError: {error}") from error

    def _command(self, specification: Json, host: Host) -> list[str]:
        entry: Sequence[str] = specification.get("ContainerEntrypoint") or self._settings.image_entrypoint
        # What an input brought is on this machine elsewhere; arguments are for the program, which knows of that.
        entry = [str(host.local(word)) if word.startswith("/opt/ml/") else word for word in entry]
        arguments: Sequence[str] = specification.get("ContainerArguments", ())
        first, *rest = (*entry, *arguments)
        return [*self._settings.commands.get(first, [first]), *rest]

    def _environment(self, request: Json, host: Host) -> dict[str, str]:
        """A host's environment: nothing of this process, and no way to S3 where the network is isolated.

        Of SageMaker's own variables there is AWS_REGION, without an AWS_DEFAULT_REGION beside it. A job's name is in
        no variable, but in processingjobconfig.json.
        """
        home = host.root.parent / "home"
        home.mkdir(exist_ok=True)
        host.temporary.mkdir(exist_ok=True)
        environment = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.defpath]),
            "HOME": str(home),
            "TMPDIR": str(host.temporary),
            "LANG": "C.UTF-8",
            "AWS_REGION": self._settings.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            ML_ROOT: str(host.root),
            "AWS_ENDPOINT_URL": self._refusing,
            "AWS_ENDPOINT_URL_S3": self._refusing,
        }
        if not request.get("NetworkConfig", {}).get("EnableNetworkIsolation"):
            server = self._settings.server
            environment |= {
                "AWS_ENDPOINT_URL": self._endpoint,
                "AWS_ENDPOINT_URL_S3": server.endpoint,
                "AWS_ACCESS_KEY_ID": server.key,
                "AWS_SECRET_ACCESS_KEY": server.secret,
            }
        volume = request["ProcessingResources"]["ClusterConfig"]["VolumeSizeInGB"]
        disk = self._settings.behaviour.environment(host.temporary, host.root / "processing", volume)
        return {**environment, **disk, **self._settings.host_environment, **request.get("Environment", {})}

    def _watch(self, job: Job) -> None:
        """Return when all hosts have ended well; raise how the job ends otherwise."""
        began = time.monotonic()
        limit = job.request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", 86_400)
        next_upload = began + self._settings.upload_interval
        while True:
            seconds = time.monotonic() - began
            codes = [host.poll() for host in job.hosts]
            for host in job.hosts:
                host.read_log()
            if any(codes):
                raise _EndError("Failed", ALGORITHM)
            if None not in codes:
                return
            self._wait(job, 0)
            if seconds > limit:
                self._change(job, status="Stopping")
                raise _EndError("Stopped")
            if any(self._settings.behaviour.is_full(host.temporary, host.root / "processing") for host in job.hosts):
                raise _EndError("Failed", "AlgorithmError: OSError: [Errno 28] No space left on device")
            if reason := self._faults.ends_job(job.name, seconds):
                raise _EndError("Failed", reason)
            for number, host in enumerate(job.hosts, 1):
                if host.exit_code is None and (fault := self._faults.kills(job.name, number, host, seconds)):
                    host.kill()
                    raise _EndError("Failed", INTERNAL if fault.details["lost"] else ALGORITHM)
            if time.monotonic() >= next_upload:
                if self._settings.behaviour.uploads("Continuous", "InProgress"):
                    self._upload(job, "Continuous")
                next_upload = time.monotonic() + self._settings.upload_interval
            self.closing.wait(POLL)

    def _end_hosts(self, job: Job, *, is_gentle: bool) -> None:
        """End what still runs: at once, or after its time to end by itself."""
        deadline = time.monotonic() + self._settings.stop_grace
        if is_gentle:
            for host in job.hosts:
                host.terminate()
            while time.monotonic() < deadline and not self.closing.is_set():
                if all(host.poll() is not None or host.process is None for host in job.hosts):
                    break
                self.closing.wait(POLL)
        for host in job.hosts:
            host.kill()
        for host in job.hosts:
            while host.process is not None and host.poll() is None:
                time.sleep(POLL / 10)
            host.read_log(last=True)

    def _finish(self, job: Job, end: _EndError) -> None:
        """Upload, take up the message, and tell how it ended."""
        status, reason = end.status, end.reason
        if not self.closing.is_set():
            try:
                for mode in ("Continuous", "EndOfJob"):
                    if self._settings.behaviour.uploads(mode, status):
                        self._upload(job, mode)
            except DataError as error:
                status, reason = "Failed", reason or str(error)
        try:
            text = b"".join(host.message() for host in job.hosts).decode()
        except UnicodeDecodeError:
            text, status, reason = "", "Failed", reason or "ClientError: /opt/ml/output/message is not UTF-8 encoded"
        text = text.encode()[:1024].decode(errors="ignore")  # the cut may go through a character
        self._change(job, status=status, failure_reason=reason, exit_message=text or None, ended=now())

    def _upload(self, job: Job, mode: str) -> None:
        for output in _outputs(job.request):
            if output["S3UploadMode"] == mode:
                for host in job.hosts:
                    if host.exit_code != 128 + signal.SIGKILL:
                        key = job.request["ProcessingOutputConfig"].get("KmsKeyId")
                        job.uploads += host.upload(self._data, output, key)


def _outputs(request: Json) -> list[Json]:
    """The outputs that SageMaker uploads."""
    outputs = request.get("ProcessingOutputConfig", {}).get("Outputs", ())
    return [one["S3Output"] for one in outputs if not one.get("AppManaged")]


def _tag_list(tags: Mapping[str, str]) -> list[Json]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
