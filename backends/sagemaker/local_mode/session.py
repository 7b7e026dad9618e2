"""The SageMaker SDK's local mode: Processing jobs as real containers on this machine.

What differs from the service, as far as a job can see it:

- All hosts share one folder for each input and each output, so one host sees what another one writes.
- When a host fails, the others work to their end. What is in the outputs is uploaded all the same.
- An input without any object is an empty folder, not an error. There is no limit of time, no isolated network.
- The containers get this machine's AWS credentials in their environment, not a role.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from scaledproc.errors import ScaledprocError, UsageError

from ..docker import containers_of, docker, has_image, require_docker
from .one_job import REQUEST

INSTANCE_TYPES = ("local", "local_gpu")
MESSAGE_BYTES = 1024  # what the service takes of /opt/ml/output/message
STOP_SECONDS = 120  # what the service gives a container after SIGTERM


@dataclass
class _Job:
    request: dict[str, Any]
    project: str  # Docker Compose's name for the containers of this job
    log: Path
    created: datetime
    status: str = "InProgress"
    started: datetime | None = None
    ended: datetime | None = None
    failure: str | None = None
    message: str | None = None
    process: subprocess.Popen[bytes] | None = None
    stopping: bool = False
    done: threading.Event = field(default_factory=threading.Event)

    def described(self) -> dict[str, Any]:
        name = self.request["ProcessingJobName"]
        known = {
            "ProcessingJobName": name,
            "ProcessingJobArn": f"arn:aws:sagemaker:local:000000000000:processing-job/{name}",
            "ProcessingJobStatus": "Stopping" if self.stopping and self.status == "InProgress" else self.status,
            "CreationTime": self.created,
            "ProcessingStartTime": self.started,
            "ProcessingEndTime": self.ended,
            "LastModifiedTime": self.ended or self.started or self.created,
            "FailureReason": self.failure,
            "ExitMessage": self.message,
        }
        return {key: value for key, value in known.items() if value is not None}


@dataclass(frozen=True)
class _Host:
    name: str
    exit_code: int
    out_of_memory: bool
    output: str


class LocalMode:
    """Runs CreateProcessingJob requests by the SageMaker SDK's local mode: real containers on this machine.

    Its methods are those of boto3's client as far as a backend needs them, with the same dictionaries. Jobs run one
    after the other, in the order in which they were created: each uses all of the machine.

    Credentials, region and S3's address are those of the environment. No role and no call to AWS but S3's is needed.

    Attributes
    ----------
    log_folder
        Where the jobs' logs are; removed at the end of this process, unless a job failed.
    """

    def __init__(self) -> None:
        self._jobs: dict[str, _Job] = {}
        self.log_folder = Path(tempfile.mkdtemp(prefix="scaledproc-local-mode-")).resolve()
        self.log_folder.chmod(0o700)  # Docker Compose's file holds credentials
        atexit.register(self.close)

    def create(self, request: dict[str, Any]) -> None:
        """Start a job, like CreateProcessingJob, and return at once.

        Raises
        ------
        UsageError
            If the request needs what local mode has not, or its image or the SDK is not on this machine.
        ScaledprocError
            If Docker does not answer, or there is a job of that name already.
        """
        refuse_what_is_not_local(request)
        if find_spec("sagemaker") is None:
            raise UsageError("local mode is the SageMaker SDK's: pip install 'scaledproc[sagemaker]'")
        require_docker()
        image = request["AppSpecification"]["ImageUri"]
        if not has_image(image):
            raise UsageError(
                f"there is no image {image} on this machine: docker pull it, or scaledproc sagemaker image"
            )
        name = request["ProcessingJobName"]
        if name in self._jobs:
            raise ScaledprocError(f"there is a job {name} already")
        number = len(self._jobs)
        job = _Job(
            request=_with_entrypoint(request),
            project=f"scaledproc{os.getpid()}x{self.log_folder.name[-8:].lower()}x{number}",
            log=self.log_folder / f"{name}.log",
            created=datetime.now(UTC),
        )
        job.log.touch()
        before = next(reversed(self._jobs.values()), None)
        self._jobs[name] = job
        threading.Thread(target=self._run, args=(job, before), name=name, daemon=True).start()

    def describe(self, name: str) -> dict[str, Any]:
        """What has become of a job, like DescribeProcessingJob, as far as it is known.

        Raises
        ------
        ScaledprocError
            If there is no job of that name.
        """
        return self._job(name).described()

    def list(self, name_contains: str = "") -> list[dict[str, Any]]:
        """The jobs with this in their names, like ListProcessingJobs, the newest first."""
        return [job.described() for name, job in reversed(self._jobs.items()) if name_contains in name]

    def stop(self, name: str) -> None:
        """Tell a job to stop, like StopProcessingJob, and return at once."""
        job = self._job(name)
        if not job.stopping and not job.done.is_set():
            job.stopping = True
            threading.Thread(target=_end, args=(job,), daemon=True).start()

    def log(self, name: str) -> Path:
        """The file with what a job's containers said: while it runs as it comes, afterwards host by host."""
        return self._job(name).log

    def close(self) -> None:
        """Stop what is at work and remove what is left; also called when Python ends."""
        atexit.unregister(self.close)
        left = [job for job in self._jobs.values() if not job.done.is_set()]
        for job in left:
            job.stopping = True
        for job in left:
            _end(job, seconds=5)
            job.done.wait(30)
        if not any(job.status == "Failed" for job in self._jobs.values()):
            shutil.rmtree(self.log_folder, ignore_errors=True)

    def _job(self, name: str) -> _Job:
        if name not in self._jobs:
            raise ScaledprocError(f"there is no local job {name}")
        return self._jobs[name]

    def _run(self, job: _Job, before: _Job | None) -> None:
        try:
            if before is not None:
                before.done.wait()
            if not job.stopping:
                _run_containers(job, self.log_folder)
        except Exception as error:  # whatever it is, the job has failed and says why
            job.failure = f"InternalServerError: {error}"
        job.ended = datetime.now(UTC)
        if job.stopping:
            job.failure = None
        job.status = "Stopped" if job.stopping else "Failed" if job.failure else "Completed"
        job.done.set()


def refuse_what_is_not_local(request: dict[str, Any]) -> None:
    """Refuse a request that the SDK's local mode cannot do, or would do otherwise than the service.

    Raises
    ------
    UsageError
        If local mode lacks anything that the request has; the message names all of it.
    """
    cluster = request["ProcessingResources"]["ClusterConfig"]
    inputs = request.get("ProcessingInputs") or []
    config = request.get("ProcessingOutputConfig") or {}
    outputs = config.get("Outputs") or []
    faults = [
        *_unlike(cluster, "InstanceType", INSTANCE_TYPES),
        *(fault for item in inputs for fault in _input_faults(item)),
        *(fault for item in outputs for fault in _output_faults(item)),
        *(["ProcessingOutputConfig.KmsKeyId"] if config.get("KmsKeyId") else []),
    ]
    if faults:
        raise UsageError(f"SageMaker's local mode cannot do this job: it has no {', no '.join(dict.fromkeys(faults))}")


def _input_faults(item: dict[str, Any]) -> list[str]:
    if "S3Input" not in item or item.get("AppManaged"):
        return ["inputs that it does not copy itself (AppManaged, DatasetDefinition)"]
    source = item["S3Input"]
    return [
        *_unlike(source, "S3DataType", ("S3Prefix",)),
        *_unlike(source, "S3InputMode", ("File",)),
        *_unlike(source, "S3DataDistributionType", ("FullyReplicated",)),
        *_unlike(source, "S3CompressionType", ("None",)),
    ]


def _output_faults(item: dict[str, Any]) -> list[str]:
    if "S3Output" not in item or item.get("AppManaged"):
        return ["outputs that it does not copy itself (AppManaged, FeatureStoreOutput)"]
    return _unlike(item["S3Output"], "S3UploadMode", ("EndOfJob",))


def _unlike(settings: dict[str, Any], key: str, allowed: tuple[str, ...]) -> list[str]:
    """The setting as a fault, if it is not as local mode has it; what is left out has its default there."""
    value = settings.get(key, allowed[0])
    return [] if value in allowed else [f"{key}={value}"]


def _with_entrypoint(request: dict[str, Any]) -> dict[str, Any]:
    """A copy of a request that names its entry point, if it has arguments: the SDK does not use the image's own one."""
    app = dict(request["AppSpecification"])
    entrypoint = app.get("ContainerEntrypoint")
    if not entrypoint and app.get("ContainerArguments"):
        said = docker("image", "inspect", "--format", "{{json .Config.Entrypoint}}", app["ImageUri"])
        entrypoint = json.loads(said)
        if not entrypoint:
            raise UsageError(f"image {app['ImageUri']} has no entry point of its own: give ContainerEntrypoint")
        app["ContainerEntrypoint"] = entrypoint
    copy: dict[str, Any] = json.loads(json.dumps({**request, "AppSpecification": app}))
    return copy


def _run_containers(job: _Job, folder: Path) -> None:
    """Run a job to its end, and find out what became of it."""
    job.started = datetime.now(UTC)
    work = folder / job.project
    work.mkdir()
    (work / REQUEST).write_text(json.dumps(job.request))
    environment = {
        **os.environ,
        "COMPOSE_PROJECT_NAME": job.project,
        "COMPOSE_ANSI": "never",
        "USE_SHORT_LIVED_CREDENTIALS": "1",  # instead of asking for an instance's role whether it has others
    }
    command = [sys.executable, "-P", "-m", "scaledproc.backends.sagemaker.local_mode.one_job", str(work)]
    try:
        with job.log.open("wb") as log:
            job.process = subprocess.Popen(  # noqa: S603 - no shell
                command,
                stdin=subprocess.PIPE,  # never written to: it ends when this process does
                stdout=log,
                stderr=log,
                cwd=work,
                env=environment,
                start_new_session=True,  # Ctrl-C is for this process, which then decides
            )
            code = job.process.wait()
        _wait_for_group(job.process)
        hosts = _hosts(job)
        job.message = _message(work, hosts)
        job.failure = _failure(job, hosts, code)
        if hosts:
            said = f"==== local mode\n{job.log.read_text(errors='replace')}\n" if code else ""
            job.log.write_text(said + "".join(f"==== {host.name}\n{host.output}\n" for host in hosts))
    finally:
        if job.process and job.process.stdin:
            job.process.stdin.close()
        containers = containers_of(job.project, "--all")
        if containers:
            docker("rm", "--force", "--volumes", *containers)
        _remove(work, job.request["AppSpecification"]["ImageUri"])


def _hosts(job: _Job) -> list[_Host]:
    """What became of the containers, which the SDK leaves behind; it loses the end of what they said."""
    found = []
    for container in containers_of(job.project, "--all"):
        state = json.loads(docker("inspect", container))[0]
        found.append(
            _Host(
                name=state["Config"]["Labels"]["com.docker.compose.service"],
                exit_code=state["State"]["ExitCode"],
                out_of_memory=state["State"]["OOMKilled"],
                output=docker("logs", container).replace("\r\n", "\n"),
            )
        )
    return sorted(found, key=lambda host: host.name)


def _message(work: Path, hosts: Sequence[_Host]) -> str | None:
    """What a host wrote for ExitMessage, of which there is one for all hosts: one that failed goes first."""
    for host in sorted(hosts, key=lambda host: not host.exit_code):
        for path in work.glob(f"*/{host.name}/output/message"):
            return path.read_bytes()[:MESSAGE_BYTES].decode(errors="replace")
    return None


def _failure(job: _Job, hosts: Sequence[_Host], code: int) -> str | None:
    wanted = job.request["ProcessingResources"]["ClusterConfig"]["InstanceCount"]
    failed = [
        f"{host.name} ended with exit code {host.exit_code}{', out of memory' if host.out_of_memory else ''}"
        for host in hosts
        if host.exit_code
    ]
    if failed:
        return f"AlgorithmError: {'; '.join(failed)}; see {job.log}"
    if code or len(hosts) != wanted:
        lines = [line.strip() for line in job.log.read_text(errors="replace").splitlines() if line.strip()]
        return f"ClientError: {lines[-1] if lines else f'local mode ended with {code}'}; see {job.log}"
    return None


def _end(job: _Job, seconds: int = STOP_SECONDS) -> None:
    """End a job's containers, after which the SDK uploads what they left; before there are any, end the SDK."""
    while not job.done.wait(0.5):
        if containers := containers_of(job.project):
            docker("stop", "-t", str(seconds), *containers, check=False)
            return
        if job.process and job.process.poll() is None:
            _signal_group(job.process, signal.SIGKILL)


def _signal_group(process: subprocess.Popen[bytes], number: int) -> bool:
    """Send a signal to the SDK's process and to Docker Compose; whether one of them is there."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return False
    return True


def _wait_for_group(process: subprocess.Popen[bytes], seconds: float = 30) -> None:
    """Wait until Docker Compose is gone too, which could still start containers; kill it in the end."""
    deadline = time.monotonic() + seconds
    while _signal_group(process, 0):
        if time.monotonic() > deadline:
            _signal_group(process, signal.SIGKILL)
            return
        time.sleep(0.1)


def _remove(folder: Path, image: str) -> None:
    """Remove a job's folder; what its containers wrote belongs to root, so root in a container removes it."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        mount = f"{folder}:/leftovers"
        remove = "rm -rf /leftovers/* /leftovers/.[!.]*"
        docker("run", "--rm", "--network=none", "--volume", mount, "--entrypoint=sh", image, "-c", remove, check=False)
        shutil.rmtree(folder, ignore_errors=True)
