"""The SageMaker SDK's local mode: CreateProcessingJob requests on real containers, with a real S3 server."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Bucket

from scaledproc.backends.sagemaker.local_mode.session import LocalMode, refuse_what_is_not_local
from scaledproc.errors import ScaledprocError, UsageError

INPUT, OUTPUT = "/opt/ml/processing/input/data", "/opt/ml/processing/output/run"
ENDED = ("Completed", "Failed", "Stopped")

# What each host does: it copies its share of the input, the second one only after the first has long ended.
SHARE = """
import json, os, pathlib, sys, time
config = json.loads(pathlib.Path("/opt/ml/config/resourceconfig.json").read_text())
me = sorted(config["hosts"]).index(config["current_host"])
time.sleep(3 * me)
source, target = map(pathlib.Path, sys.argv[1:])
for path in sorted(source.rglob("*.txt"))[me :: len(config["hosts"])]:
    (target / path.name).write_text(f"{path.read_text()} {os.environ['WORD']} by {me}")
print("host", me, "did it")
"""


@pytest.fixture
def local_mode(
    docker: None, sdk: None, s3: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[LocalMode]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # logs of jobs that failed stay
    for key, value in s3.server.environment().items():
        monkeypatch.setenv(key, value)
    mode = LocalMode()
    yield mode
    folder = mode.log_folder
    mode.close()
    assert not containers("--all")
    assert [path.suffix for path in folder.rglob("*")] in ([], [".log"])


def containers(*flags: str) -> list[str]:
    command = ["docker", "ps", *flags, "--quiet", "--filter", "label=com.docker.compose.project"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def request(name: str, s3_uri: str, output_uri: str, image: str, code: str, hosts: int = 1) -> dict[str, Any]:
    """A request as boto3's create_processing_job takes it."""
    return {
        "ProcessingJobName": name,
        "RoleArn": "arn:aws:iam::123456789012:role/unused",
        "AppSpecification": {
            "ImageUri": image,
            "ContainerEntrypoint": ["/opt/scaledproc/bin/python", "-c", code],
            "ContainerArguments": [INPUT, OUTPUT],
        },
        "Environment": {"WORD": "cost $5 & ${HOME}"},
        "ProcessingResources": {
            "ClusterConfig": {"InstanceType": "local", "InstanceCount": hosts, "VolumeSizeInGB": 30}
        },
        "ProcessingInputs": [
            {
                "InputName": "data",
                "S3Input": {
                    "S3Uri": s3_uri,
                    "LocalPath": INPUT,
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                    "S3DataDistributionType": "FullyReplicated",
                },
            }
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "run",
                    "S3Output": {"S3Uri": output_uri, "LocalPath": OUTPUT, "S3UploadMode": "EndOfJob"},
                }
            ]
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    }


def wait(mode: LocalMode, name: str) -> dict[str, Any]:
    until(lambda: mode.describe(name)["ProcessingJobStatus"] in ENDED)
    found: dict[str, Any] = mode.describe(name)
    return found


def until(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.docker
class TestJobs:
    @pytest.mark.slow
    def test_two_hosts(self, local_mode: LocalMode, s3: Bucket, worker_image: str) -> None:
        for number in range(3):
            s3.fs.pipe_file(f"{s3.name}/local-mode/local/in/sub/{number}.txt", b"text %d" % number)
        asked = request(
            "two-hosts", s3.url("local-mode/local/in/"), s3.url("local-mode/local/out"), worker_image, SHARE, hosts=2
        )
        before = copy.deepcopy(asked)
        started = time.monotonic()
        local_mode.create(asked)
        assert time.monotonic() - started < 2
        assert asked == before
        assert local_mode.describe("two-hosts")["ProcessingJobStatus"] == "InProgress"
        with pytest.raises(ScaledprocError, match="two-hosts already"):
            local_mode.create(asked)

        found = wait(local_mode, "two-hosts")
        log = local_mode.log("two-hosts").read_text()
        assert found["ProcessingJobStatus"] == "Completed", log
        assert found["ProcessingEndTime"] > found["ProcessingStartTime"] >= found["CreationTime"]
        assert "FailureReason" not in found
        assert s3.objects("local-mode/local/out") == {
            "0.txt": b"text 0 cost $5 & ${HOME} by 0",
            "1.txt": b"text 1 cost $5 & ${HOME} by 1",  # although the other host ended before
            "2.txt": b"text 2 cost $5 & ${HOME} by 0",
        }
        assert "host 0 did it" in log
        assert "host 1 did it" in log
        assert [job["ProcessingJobName"] for job in local_mode.list("two")] == ["two-hosts"]
        assert local_mode.list("three") == []

    @pytest.mark.slow
    def test_a_host_that_fails(self, local_mode: LocalMode, s3: Bucket, worker_image: str) -> None:
        code = f"""
import json, pathlib, sys
config = json.loads(pathlib.Path("/opt/ml/config/resourceconfig.json").read_text())
me = sorted(config["hosts"]).index(config["current_host"])
pathlib.Path("/opt/ml/output/message").write_text(f"message of {{me}}")
pathlib.Path("{OUTPUT}", f"made-by-{{me}}").write_text("")
for number in range(1000):
    print("line", number)
sys.exit("the last word" if me else None)
"""
        local_mode.create(
            request(
                "failing", s3.url("local-mode/none/"), s3.url("local-mode/failing/out"), worker_image, code, hosts=2
            )
        )
        found = wait(local_mode, "failing")
        assert found["ProcessingJobStatus"] == "Failed"
        log = local_mode.log("failing")
        assert found["FailureReason"].startswith("AlgorithmError: algo-2-")
        assert found["FailureReason"].endswith(f"ended with exit code 1; see {log}")
        assert found["ExitMessage"] == "message of 1"
        assert log.read_text().rstrip().endswith("line 999\nthe last word")  # nothing is lost
        assert set(s3.objects("local-mode/failing/out")) == {"made-by-0", "made-by-1"}

    @pytest.mark.slow
    def test_the_images_own_entry_point(self, local_mode: LocalMode, s3: Bucket, worker_image: str) -> None:
        asked = request("own", s3.url("local-mode/none/"), s3.url("local-mode/own/out"), worker_image, "")
        asked["AppSpecification"] = {"ImageUri": worker_image, "ContainerArguments": ["/nothing", "--combine"]}
        local_mode.create(asked)
        found = wait(local_mode, "own")
        assert found["ProcessingJobStatus"] == "Failed"
        assert "scaledproc: /nothing" in local_mode.log("own").read_text()

    @pytest.mark.slow
    def test_a_bucket_that_is_not_there(self, local_mode: LocalMode, s3: Bucket, worker_image: str) -> None:
        local_mode.create(request("lost", "s3://no-such-bucket/x/", s3.url("local-mode/lost/out"), worker_image, ""))
        found = wait(local_mode, "lost")
        assert found["ProcessingJobStatus"] == "Failed"
        assert "NoSuchBucket" in found["FailureReason"]

    @pytest.mark.slow
    def test_stop(self, local_mode: LocalMode, s3: Bucket, worker_image: str) -> None:
        code = f"""
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
pathlib.Path("{OUTPUT}/begun").write_text("")
print("at work", flush=True)
time.sleep(600)
"""
        local_mode.create(
            request(
                "stopped", s3.url("local-mode/none/"), s3.url("local-mode/stopped/out"), worker_image, code, hosts=2
            )
        )
        local_mode.create(
            request("waiting", s3.url("local-mode/none/"), s3.url("local-mode/waiting/out"), worker_image, code)
        )
        local_mode.stop("waiting")
        until(lambda: local_mode.log("stopped").read_text().count("at work") == 2)
        local_mode.stop("stopped")
        assert local_mode.describe("stopped")["ProcessingJobStatus"] in ("Stopping", "Stopped")
        found = wait(local_mode, "stopped")
        assert found["ProcessingJobStatus"] == "Stopped"
        assert "FailureReason" not in found
        assert set(s3.objects("local-mode/stopped/out")) == {"begun"}
        found = wait(local_mode, "waiting")
        assert found["ProcessingJobStatus"] == "Stopped"
        assert "ProcessingStartTime" not in found

    @pytest.mark.slow
    def test_a_killed_process_takes_its_containers_along(
        self, local_mode: LocalMode, s3: Bucket, worker_image: str, tmp_path: Path
    ) -> None:
        code = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("at work", flush=True)
time.sleep(600)
"""
        asked = request(
            "orphan", s3.url("local-mode/none/"), s3.url("local-mode/orphan/out"), worker_image, code, hosts=2
        )
        begin = f"""
import json, time
from scaledproc.backends.sagemaker.local_mode.session import LocalMode
mode = LocalMode()
mode.create(json.loads({json.dumps(json.dumps(asked))}))
print(mode.log("orphan"), flush=True)
time.sleep(600)
"""
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        command = [sys.executable, "-c", begin]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout
                log = Path(process.stdout.readline().strip())
                until(lambda: log.read_text().count("at work") == 2)
            finally:
                process.kill()
        until(lambda: not containers())
        subprocess.run(["docker", "rm", *containers("--all")], check=True)

    @pytest.mark.slow  # as it starts Docker
    def test_an_image_that_is_not_here_is_not_pulled(self, local_mode: LocalMode, s3: Bucket) -> None:
        with pytest.raises(UsageError, match=r"no image 127.0.0.1:9/none:none on this machine"):
            local_mode.create(
                request("x", s3.url("local-mode/none/"), s3.url("local-mode/x/out"), "127.0.0.1:9/none:none", "")
            )
        with pytest.raises(ScaledprocError, match="no local job x"):
            local_mode.describe("x")


BASE = request("base", "s3://bucket/in/", "s3://bucket/out", "image:tag", "")


def changed(path: str, value: object) -> dict[str, Any]:
    """The request with one setting changed, named by its path."""
    asked: dict[str, Any] = json.loads(json.dumps(BASE))
    *parents, last = path.split(".")
    place: Any = asked
    for key in parents:
        place = place[int(key) if key.isdecimal() else key]
    place[last] = value
    return asked


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("ProcessingResources.ClusterConfig.InstanceType", "ml.m5.large", "InstanceType=ml.m5.large"),
        ("ProcessingInputs.0.S3Input.S3DataType", "ManifestFile", "S3DataType=ManifestFile"),
        ("ProcessingInputs.0.S3Input.S3InputMode", "Pipe", "S3InputMode=Pipe"),
        (
            "ProcessingInputs.0.S3Input.S3DataDistributionType",
            "ShardedByS3Key",
            "S3DataDistributionType=ShardedByS3Key",
        ),
        ("ProcessingInputs.0.S3Input.S3CompressionType", "Gzip", "S3CompressionType=Gzip"),
        ("ProcessingInputs.0.AppManaged", True, "AppManaged"),
        ("ProcessingOutputConfig.Outputs.0.S3Output.S3UploadMode", "Continuous", "S3UploadMode=Continuous"),
        ("ProcessingOutputConfig.Outputs.0.AppManaged", True, "AppManaged"),
        ("ProcessingOutputConfig.KmsKeyId", "alias/mine", "KmsKeyId"),
    ],
)
def test_what_local_mode_has_not_is_refused(path: str, value: object, words: str) -> None:
    refuse_what_is_not_local(BASE)
    with pytest.raises(UsageError, match="local mode cannot do this job") as raised:
        refuse_what_is_not_local(changed(path, value))
    assert words in str(raised.value)
