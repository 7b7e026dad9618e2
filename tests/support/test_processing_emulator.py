"""The emulator of SageMaker Processing, through the real boto3."""

from __future__ import annotations

import io
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pyarrow.parquet as pq
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from processing_emulator import Job, ProcessingEmulator
from support import COUNT, Bucket

NUMBERS = itertools.count()
SESSION = boto3.Session()  # it keeps the services' models, which take long to read
SHELL = ["/bin/sh", "-c"]
Json = dict[str, Any]


class Account:
    """An emulator with boto3's clients for it, and short ways to make requests."""

    def __init__(self, emulator: ProcessingEmulator, bucket: Bucket, prefix: str, stack: ExitStack) -> None:
        self.emulator, self.bucket, self.prefix, self._stack = emulator, bucket, prefix, stack
        self.sagemaker, self.logs, self.s3 = (self.client(service) for service in ("sagemaker", "logs", "s3"))

    def client(self, service: str, **options: Any) -> Any:
        environment = self.emulator.environment()
        client = SESSION.client(
            service,
            region_name=self.emulator.region,
            endpoint_url=environment["AWS_ENDPOINT_URL_S3" if service == "s3" else "AWS_ENDPOINT_URL"],
            aws_access_key_id=options.get("key", environment["AWS_ACCESS_KEY_ID"]),
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            config=Config(retries={"total_max_attempts": options.get("attempts", 1)}),
        )
        self._stack.callback(client.close)
        return client

    def put(self, files: Mapping[str, bytes]) -> None:
        for name, content in files.items():
            self.s3.put_object(Bucket=self.bucket.name, Key=f"{self.prefix}/{name}", Body=content)

    def uri(self, name: str) -> str:
        return self.bucket.url(f"{self.prefix}/{name}")

    def objects(self, name: str) -> dict[str, bytes]:
        start, found = f"{self.prefix}/{name}/", {}
        for listed in self.s3.list_objects_v2(Bucket=self.bucket.name, Prefix=start).get("Contents", ()):
            with closing(self.s3.get_object(Bucket=self.bucket.name, Key=listed["Key"])["Body"]) as body:
                found[listed["Key"].removeprefix(start)] = body.read()
        return found

    def request(self, script: str = "true", /, hosts: int = 1, **changes: Any) -> Json:
        return {
            "ProcessingJobName": f"job-{next(NUMBERS)}",
            "RoleArn": self.emulator.role,
            "AppSpecification": {"ImageUri": "image", "ContainerEntrypoint": SHELL, "ContainerArguments": [script]},
            "ProcessingResources": {
                "ClusterConfig": {"InstanceCount": hosts, "InstanceType": "ml.m5.xlarge", "VolumeSizeInGB": 1}
            },
            **changes,
        }

    def create(self, script: str = "true", /, hosts: int = 1, **changes: Any) -> str:
        request = self.request(script, hosts, **changes)
        self.sagemaker.create_processing_job(**request)
        return str(request["ProcessingJobName"])

    def run(self, script: str = "true", /, hosts: int = 1, **changes: Any) -> Job:
        return self.emulator.wait(self.create(script, hosts, **changes))

    def status(self, name: str) -> Any:
        return self.sagemaker.describe_processing_job(ProcessingJobName=name)["ProcessingJobStatus"]

    def start_pipeline(self, steps: Sequence[Json], **changes: Any) -> str:
        name = f"pipeline-{next(NUMBERS)}"
        definition = {"Version": "2020-12-01", "Steps": steps, **changes.pop("definition", {})}
        self.sagemaker.create_pipeline(
            PipelineName=name, PipelineDefinition=json.dumps(definition), RoleArn=self.emulator.role, **changes
        )
        return str(self.sagemaker.start_pipeline_execution(PipelineName=name)["PipelineExecutionArn"])

    def step(self, step: str, script: str = "true", **changes: Any) -> Json:
        arguments = self.request(script)
        del arguments["ProcessingJobName"]
        return {"Name": step, "Type": "Processing", "Arguments": arguments, **changes}

    def steps(self, arn: str) -> dict[str, Json]:
        found = self.sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)["PipelineExecutionSteps"]
        return {step["StepName"]: step for step in found}


Opener = Callable[..., Account]


@pytest.fixture
def open_account(s3: Bucket, tmp_path: Path) -> Iterator[Opener]:
    """Start emulators with options, each with data of its own."""
    with ExitStack() as stack:

        def start(**options: Any) -> Account:
            number = next(NUMBERS)
            emulator = stack.enter_context(ProcessingEmulator(tmp_path / str(number), s3.server, **options))
            return Account(emulator, s3, f"emulator/{number}", stack)

        yield start


@pytest.fixture
def account(open_account: Opener) -> Account:
    return open_account()


@contextmanager
def refused(code: str, words: str = "") -> Iterator[None]:
    with pytest.raises(ClientError) as caught:
        yield
    error = caught.value.response["Error"]
    assert error["Code"] == code
    assert words in error["Message"]


def source(uri: str, path: str = "in", **changes: Any) -> Json:
    s3 = {"S3Uri": uri, "LocalPath": f"/opt/ml/processing/{path}", "S3DataType": "S3Prefix", **changes}
    return {"InputName": path, "S3Input": s3}


def target(uri: str, path: str = "out", mode: str = "EndOfJob") -> Json:
    return {
        "OutputName": path,
        "S3Output": {"S3Uri": uri, "LocalPath": f"/opt/ml/processing/{path}", "S3UploadMode": mode},
    }


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


# The life of a job.


def test_a_job_runs_its_hosts_and_tells_how_it_went(account: Account) -> None:
    script = 'cat config/resourceconfig.json; echo; echo "$WORD $AWS_REGION $AWS_DEFAULT_REGION."; echo "from $0" >&2;'
    before = datetime.now(UTC) - timedelta(seconds=1)
    job = account.run(script + " printf fine > output/message", hosts=2, Environment={"WORD": "spoken"})
    shown = account.sagemaker.describe_processing_job(ProcessingJobName=job.name)
    assert shown["ProcessingJobStatus"] == "Completed", job.log
    assert shown["ExitMessage"] == "finefine"
    assert "FailureReason" not in shown
    times = [shown[f"{name}Time"] for name in ("Creation", "ProcessingStart", "ProcessingEnd", "LastModified")]
    assert times == sorted(times)
    assert before < times[0] < times[2]
    for number, host in enumerate(job.hosts, 1):
        resources, word, *_ = (line for _, line in host.lines)
        assert json.loads(resources) == {
            "current_host": f"algo-{number}",
            "hosts": ["algo-1", "algo-2"],
            "current_instance_type": "ml.m5.xlarge",
        }
        assert word == "spoken us-east-1 ."
        config = json.loads((host.root / "config" / "processingjobconfig.json").read_text())
        assert (config["ProcessingJobArn"], config["Environment"]) == (job.arn, {"WORD": "spoken"})
    assert not any(is_there(pid) for pid in job.pids)
    assert account.emulator.unknown == []


def test_a_host_that_fails_fails_the_job_and_ends_the_others(account: Account) -> None:
    outputs = {"Outputs": [target(account.uri("end")), target(account.uri("always"), "live", "Continuous")]}
    fails = """grep -q '"current_host": "algo-2"' config/resourceconfig.json && echo sorry > output/message && exit 3"""
    script = f"touch processing/out/lost processing/live/kept; {fails}; sleep 60"
    job = account.run(script, hosts=2, ProcessingOutputConfig=outputs)
    assert (job.status, job.failure_reason) == ("Failed", "AlgorithmError: See job logs for more information")
    assert [host.exit_code for host in job.hosts] == [137, 3]
    assert job.exit_message == "sorry\n"
    assert account.objects("end") == {}
    assert list(account.objects("always")) == ["kept"]
    assert not any(is_there(pid) for pid in job.pids)


def test_the_exit_message_is_1_kb_of_utf_8(account: Account) -> None:
    job = account.run("printf 'x%s' $(yes é | head -600 | tr -d '\\n') > output/message")
    assert job.exit_message == "x" + "é" * 511  # 1,023 bytes: the next character does not fit
    job = account.run("printf '\\377' > output/message")
    assert (job.status, job.exit_message) == ("Failed", None)
    assert str(job.failure_reason).startswith("ClientError: /opt/ml/output/message is not UTF-8")


def test_a_job_is_stopped_with_time_to_end(account: Account) -> None:
    outputs = {"Outputs": [target(account.uri("out"), mode="Continuous")]}
    script = "trap 'echo done > processing/out/last; exit 0' TERM; touch output/ready; while :; do sleep 0.05; done"
    name = account.create(script, ProcessingOutputConfig=outputs)
    job = account.emulator.job(name)
    until(lambda: job.hosts and (job.hosts[0].root / "output" / "ready").exists())
    account.sagemaker.stop_processing_job(ProcessingJobName=name)
    assert account.status(name) in ("Stopping", "Stopped")
    account.emulator.wait(name)
    assert account.status(name) == "Stopped"
    assert account.objects("out") == {"last": b"done\n"}
    with refused("ValidationException", "in status Stopped"):
        account.sagemaker.stop_processing_job(ProcessingJobName=name)


def test_a_job_that_does_not_listen_is_killed(open_account: Opener) -> None:
    account = open_account(stop_grace=0.3)
    name = account.create("trap '' TERM; touch output/ready; sleep 60 & wait; wait; sleep 60")
    job = account.emulator.job(name)
    until(lambda: job.hosts and (job.hosts[0].root / "output" / "ready").exists())
    account.sagemaker.stop_processing_job(ProcessingJobName=name)
    account.emulator.wait(name)
    assert (job.status, job.hosts[0].exit_code) == ("Stopped", 137)


@pytest.mark.slow
def test_a_job_that_takes_too_long_is_stopped(account: Account) -> None:
    job = account.run("sleep 60", StoppingCondition={"MaxRuntimeInSeconds": 1})
    assert (job.status, job.failure_reason) == ("Stopped", None)
    assert job.started
    assert job.ended
    assert 1 <= (job.ended - job.started).total_seconds() < 10


def test_jobs_wait_for_a_slot(account: Account) -> None:
    first = account.create("while [ ! -e go ]; do sleep 0.02; done", hosts=2)
    second = account.create()
    job = account.emulator.job(first)
    until(lambda: len(job.pids) == 2)
    shown = account.sagemaker.describe_processing_job(ProcessingJobName=second)
    assert shown["ProcessingJobStatus"] == "InProgress"
    assert "ProcessingStartTime" not in shown
    for host in job.hosts:
        (host.root / "go").touch()
    assert account.emulator.wait(second).status == "Completed"
    assert account.emulator.wait(first).status == "Completed"


def test_a_job_can_be_stopped_before_it_starts(open_account: Opener) -> None:
    account = open_account(start_delay=60)
    name = account.create()
    account.sagemaker.stop_processing_job(ProcessingJobName=name)
    job = account.emulator.wait(name)
    assert (job.status, job.started, job.hosts) == ("Stopped", None, [])


def test_the_project_s_own_command_is_what_an_image_runs(account: Account) -> None:
    specification = {"ImageUri": "image", "ContainerArguments": ["--version"]}
    job = account.run(AppSpecification=specification)
    assert job.status == "Completed", job.log
    assert "0." in job.log
    specification = {"ImageUri": "image", "ContainerEntrypoint": ["python3", "-c", "import sys; print(sys.executable)"]}
    assert sys.executable in account.run(AppSpecification=specification).log
    job = account.run(AppSpecification={"ImageUri": "image", "ContainerEntrypoint": ["no-such-command"]})
    assert str(job.failure_reason).startswith("ClientError: CannotStartContainerError")


@pytest.mark.slow
def test_hosts_reach_s3_with_the_project_s_own_code(account: Account) -> None:
    account.put({"data/a.txt": b"one", "data/b.txt": b"three", "code/count.py": COUNT.encode()})
    arguments = ["--jobs", "1", "--extractor", "processing/code/count.py:count"]
    specification = {"ImageUri": "image", "ContainerArguments": [*arguments, account.uri("data"), account.uri("table")]}
    inputs = [source(account.uri("code/"), "code")]
    job = account.run(AppSpecification=specification, ProcessingInputs=inputs)
    assert job.status == "Completed", job.log
    table = pq.read_table(io.BytesIO(account.objects("table")["features.parquet"]))
    assert table.column("size").to_pylist() == [3, 5]


@pytest.mark.slow
def test_leaving_ends_hosts_and_their_children(s3: Bucket, tmp_path: Path) -> None:
    with ExitStack() as stack:
        emulator = stack.enter_context(ProcessingEmulator(tmp_path, s3.server))
        account = Account(emulator, s3, "emulator/leaving", stack)
        job = emulator.job(account.create("sleep 60 & echo $! > output/child; wait"))
        until(lambda: job.hosts and (job.hosts[0].root / "output" / "child").exists())
        child = job.hosts[0].root / "output" / "child"
        until(child.read_text)
        pids = [*job.pids, int(child.read_text())]
        assert all(is_there(pid) for pid in pids)
    until(lambda: not any(is_there(pid) for pid in pids))


# Data.


def listing(job: Job, path: str = "in") -> list[list[str]]:
    """The files of an input on each host."""
    folders = [host.root / "processing" / path for host in job.hosts]
    return [
        sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
        for folder in folders
    ]


def test_a_prefix_takes_all_keys_that_begin_with_it(account: Account) -> None:
    account.put({"data/30/a": b"1", "data/30/b/c": b"2", "data/30/b/": b"", "data/300/d": b"3", "data/31/e": b"4"})
    job = account.run(
        ProcessingInputs=[
            source(account.uri("data/30"), "loose"),
            source(account.uri("data/30/"), "folder"),
            source(account.uri("data/30/a"), "single"),
        ]
    )
    assert job.status == "Completed", job.failure_reason
    assert listing(job, "loose") == [["300/d", "a", "b/c"]]
    assert listing(job, "folder") == [["a", "b/c"]]
    assert listing(job, "single") == [["a"]]
    assert (job.hosts[0].root / "processing" / "folder" / "b" / "c").read_bytes() == b"2"


def test_keys_are_replicated_or_dealt(account: Account) -> None:
    account.put({f"data/{name}": b"" for name in "abcde"})
    uri = account.uri("data/")
    inputs = [source(uri, "all"), source(uri, "shard", S3DataDistributionType="ShardedByS3Key")]
    job = account.run(hosts=2, ProcessingInputs=inputs)
    assert listing(job, "all") == [list("abcde")] * 2
    assert listing(job, "shard") == [list("ace"), list("bd")]
    one = source(account.uri("data/a"), S3DataDistributionType="ShardedByS3Key")
    job = account.run("ls processing/in", hosts=2, ProcessingInputs=[one])
    assert job.status == "Completed"
    assert listing(job) == [["a"], []]


def test_a_manifest_names_its_keys(account: Account) -> None:
    account.put({"data/a": b"1", "data/b/c": b"2", "data/d": b"3"})

    def run(content: Any, **changes: Any) -> Job:
        account.put({"manifest": json.dumps(content).encode()})
        one = source(account.uri("manifest"), S3DataType="ManifestFile", **changes)
        return account.run(hosts=2, ProcessingInputs=[one])

    prefix = {"prefix": account.uri("data/")}
    assert listing(run([prefix, "d", "b/c"])) == [["b/c", "d"]] * 2
    assert listing(run([prefix, "d", "a", "b/c"], S3DataDistributionType="ShardedByS3Key")) == [["a", "d"], ["b/c"]]
    broken: list[Any] = [[prefix, "a", "missing"], [prefix], ["a"], {}, [prefix, 1]]
    for wrong in broken:
        job = run(wrong)
        assert job.status == "Failed"
        assert str(job.failure_reason).startswith("ClientError: ")
        assert job.pids == []


def test_an_empty_prefix_fails_the_job(account: Account) -> None:
    job = account.run(ProcessingInputs=[source(account.uri("nothing/"))])
    assert job.status == "Failed"
    assert f'ClientError: No S3 objects found under S3 URL "{account.uri("nothing/")}"' in str(job.failure_reason)
    job = account.run(ProcessingInputs=[source("s3://no-such-bucket-here/x")])
    assert str(job.failure_reason).startswith("ClientError: ")


def test_what_the_application_manages_is_left_alone(account: Account) -> None:
    one = {"InputName": "in", "AppManaged": True, "S3Input": {"S3Uri": "s3://bucket/x", "S3DataType": "S3Prefix"}}
    out = {**target(account.uri("out")), "AppManaged": True}
    job = account.run(
        "mkdir -p processing/out; touch processing/out/x",
        ProcessingInputs=[one],
        ProcessingOutputConfig={"Outputs": [out]},
    )
    assert job.status == "Completed", job.failure_reason
    assert account.objects("out") == {}


def test_outputs_of_all_hosts_go_to_one_place(account: Account) -> None:
    script = "cd processing/out; mkdir -p sub; pwd | cut -d/ -f1 > same; echo x > sub/$(basename $(dirname $HOME))"
    job = account.run(script, hosts=2, ProcessingOutputConfig={"Outputs": [target(account.uri("out/"))]})
    assert account.objects("out") == {"same": b"\n", "sub/algo-1": b"x\n", "sub/algo-2": b"x\n"}
    assert len(job.uploads) == 4


def test_continuous_outputs_are_uploaded_as_they_change(account: Account) -> None:
    outputs = {"Outputs": [target(account.uri("out"), mode="Continuous")]}
    script = "echo 1 > processing/out/x; while [ ! -e go ]; do sleep 0.02; done; echo two > processing/out/x"
    name = account.create(script, ProcessingOutputConfig=outputs)
    until(lambda: account.objects("out") == {"x": b"1\n"})
    job = account.emulator.job(name)
    assert account.status(name) == "InProgress"
    (job.hosts[0].root / "go").touch()
    account.emulator.wait(name)
    assert account.objects("out") == {"x": b"two\n"}


def test_network_isolation_keeps_hosts_from_s3(account: Account) -> None:
    code = (
        'import botocore.session as b; s3 = b.get_session().create_client("s3", "us-east-1");'
        ' print("buckets", len(s3.list_buckets()["Buckets"]))'
    )
    application = {"ImageUri": "image", "ContainerEntrypoint": ["python3", "-c"], "ContainerArguments": [code]}
    account.put({"x": b"1"})
    open_job = account.create(AppSpecification=application)
    closed = account.create(
        AppSpecification=application,
        NetworkConfig={"EnableNetworkIsolation": True},
        ProcessingInputs=[source(account.uri("x"))],
        Environment={"AWS_MAX_ATTEMPTS": "1"},
    )
    assert "buckets" in account.emulator.wait(open_job).log
    job = account.emulator.wait(closed)
    assert job.status == "Failed"
    assert listing(job) == [["x"]]  # the service copies; the container cannot
    assert "NoCredentialsError" in job.log


# Requests.


def test_requests_are_checked(account: Account) -> None:
    def create(words: str, code: str = "ValidationException", **changes: Any) -> None:
        with refused(code, words):
            account.sagemaker.create_processing_job(**account.request(**changes))

    here, there = source(account.uri("x")), target(account.uri("y"))
    wrong_place = source(account.uri("x"))
    wrong_place["S3Input"]["LocalPath"] = "/data"
    cluster = {"InstanceCount": 1, "InstanceType": "ml.m5.xlarge", "VolumeSizeInGB": 1}

    def resources(**changes: Any) -> Json:
        return {"ClusterConfig": {key: value for key, value in {**cluster, **changes}.items() if value is not None}}

    create("at 'processingJobName' failed to satisfy constraint", ProcessingJobName="a_b")
    create("length less than or equal to 63", ProcessingJobName="a" * 64)
    create("at 'roleArn'", RoleArn="arn:aws:iam::1:role/too-short")
    create("enum value set", ProcessingResources=resources(InstanceType="ml.m5.tiny"))
    create("value less than or equal to 100", ProcessingResources=resources(InstanceCount=101))
    create("less than or equal to 10", ProcessingInputs=[source(account.uri("x"), f"in{n}") for n in range(11)])
    create("LocalPath must begin with /opt/ml/processing/", ProcessingInputs=[wrong_place])
    create("names must be unique", ProcessingInputs=[here, here])
    create("another one", ProcessingInputs=[here], ProcessingOutputConfig={"Outputs": [target("s3://b/x", "in")]})
    create("exactly one of S3Input", ProcessingInputs=[{"InputName": "in"}])
    create(
        "enum value set",
        ProcessingOutputConfig={"Outputs": [{**there, "S3Output": {**there["S3Output"], "S3UploadMode": "Often"}}]},
    )
    create("length less than or equal to 256", AppSpecification={"ImageUri": "i", "ContainerArguments": ["x" * 257]})
    create("regular expression", Environment={"not-a-name": "x"})
    preferences = [{"InstanceType": "ml.m5.xlarge"}, {"InstanceType": "ml.c5.xlarge"}]
    create("exactly one of InstanceType", ProcessingResources=resources(InstancePreferences=preferences))
    create("exactly one of InstanceType", ProcessingResources=resources(InstanceType=None))
    create(
        "only once",
        ProcessingResources=resources(InstanceType=None, InstancePreferences=[preferences[0], preferences[0]]),
    )
    assert account.emulator.jobs == []
    name = account.create()
    create("already exists", "ResourceInUse", ProcessingJobName=name)
    with refused("ValidationException", "Could not find"):
        account.sagemaker.describe_processing_job(ProcessingJobName="nobody")


def test_jobs_are_listed_in_pages(account: Account) -> None:
    names = [account.create(ProcessingJobName=f"listed-{number:02}") for number in range(12)]
    for name in names:
        account.emulator.wait(name)
    bad = account.run("exit 1")
    pages = account.sagemaker.get_paginator("list_processing_jobs")

    def listed(**options: Any) -> list[str]:
        found = pages.paginate(**options, PaginationConfig={"PageSize": 5})
        return [job["ProcessingJobName"] for one in found for job in one["ProcessingJobSummaries"]]

    assert listed() == [*names, bad.name]
    assert listed(NameContains="listed", SortOrder="Descending", SortBy="Name") == names[::-1]
    assert listed(StatusEquals="Failed") == [bad.name]
    soon = datetime.now(UTC) + timedelta(hours=1)
    assert listed(CreationTimeAfter=soon) == listed(LastModifiedTimeAfter=soon) == []
    assert len(listed(LastModifiedTimeAfter=soon - timedelta(hours=2))) == 13
    assert len(account.sagemaker.list_processing_jobs()["ProcessingJobSummaries"]) == 10
    with refused("ValidationException", "less than or equal to 100"):
        account.sagemaker.list_processing_jobs(MaxResults=101)
    with refused("ValidationException", "NextToken"):
        account.sagemaker.list_processing_jobs(NextToken="nonsense")


def test_tags_can_be_added(account: Account) -> None:
    job = account.run(Tags=[{"Key": "a", "Value": "1"}])
    account.sagemaker.add_tags(ResourceArn=job.arn, Tags=[{"Key": "b", "Value": "2"}])
    tags = account.sagemaker.list_tags(ResourceArn=job.arn)["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"a": "1", "b": "2"}


def test_the_neighbouring_services_answer(open_account: Opener) -> None:
    products = [{"product": {"attributes": {"instanceName": "ml.m5.xlarge"}}}, {"product": {"attributes": {}}}]
    account = open_account(products=products, quotas={"ml.m5.xlarge for processing job usage": 1})
    assert account.client("sts").get_caller_identity()["Account"] == account.emulator.account
    quotas = account.client("service-quotas").list_service_quotas(ServiceCode="sagemaker")["Quotas"]
    assert [(one["QuotaName"], one["Value"]) for one in quotas] == [("ml.m5.xlarge for processing job usage", 1.0)]
    with refused("ResourceLimitExceeded", "a request delta of 2 Instances"):
        account.create(hosts=2)
    only = [{"Type": "TERM_MATCH", "Field": "instanceName", "Value": "ml.m5.xlarge"}]
    pricing = account.client("pricing")
    found = pricing.get_products(ServiceCode="AmazonSageMaker", Filters=only)["PriceList"]
    assert [json.loads(one) for one in found] == products[:1]
    account.emulator.products = None
    with refused("AccessDeniedException"):
        pricing.get_products(ServiceCode="AmazonSageMaker")
    assert account.emulator.unknown == []
    with refused("UnknownOperationException"):
        account.sagemaker.list_models()
    with refused("InvalidAction"):
        account.client("iam").list_roles()
    assert account.emulator.unknown == ["sagemaker.ListModels", "ListRoles"]
    with refused("UnrecognizedClientException"):
        account.client("sagemaker", key="somebody").list_processing_jobs()


def test_boto3_is_led_here_by_the_environment(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in account.emulator.environment().items():
        monkeypatch.setenv(name, value)
    session = boto3.Session()
    urls = {}
    for service in ("sagemaker", "logs", "sts", "service-quotas", "pricing", "s3"):
        client = session.client(service)
        urls[service] = client.meta.endpoint_url
        client.close()
    server = account.bucket.server.endpoint
    assert urls == {**dict.fromkeys(urls, account.emulator.endpoint), "s3": server}


def test_what_hosts_print_is_in_log_streams(account: Account) -> None:
    with refused("ResourceNotFoundException"):
        account.logs.describe_log_streams(logGroupName="/aws/sagemaker/ProcessingJobs")
    job = account.run("for n in 1 2 3 4 5; do echo line $n; done; printf 'no end'", hosts=2)
    group: Json = {"logGroupName": "/aws/sagemaker/ProcessingJobs"}
    streams = account.logs.describe_log_streams(**group, logStreamNamePrefix=f"{job.name}/")["logStreams"]
    names = [stream["logStreamName"] for stream in streams]
    assert [name.rpartition("-")[0] for name in names] == [f"{job.name}/algo-1", f"{job.name}/algo-2"]
    texts, options = [], {"startFromHead": True}
    while True:
        answer = account.logs.get_log_events(**group, logStreamName=names[0], limit=4, **options)
        texts += [event["message"] for event in answer["events"]]
        if answer["nextForwardToken"] == options.get("nextToken"):
            break
        options["nextToken"] = answer["nextForwardToken"]
    assert texts == [*(f"line {number}" for number in range(1, 6)), "no end"]
    last = account.logs.get_log_events(**group, logStreamName=names[1], limit=2)["events"]
    assert [event["message"] for event in last] == ["line 5", "no end"]
    found = account.logs.filter_log_events(**group, logStreamNamePrefix=job.name, filterPattern='?"line 2" ?end')
    assert sorted(event["message"] for event in found["events"]) == ["line 2", "line 2", "no end", "no end"]


# Faults.


def test_calls_are_throttled_and_counted(account: Account) -> None:
    account.emulator.faults.throttle("ListProcessingJobs", times=2)
    with refused("ThrottlingException", "Rate exceeded"):
        account.sagemaker.list_processing_jobs()
    patient = account.client("sagemaker", attempts=3)
    assert patient.list_processing_jobs()["ProcessingJobSummaries"] == []
    assert [call.error for call in account.emulator.calls] == ["ThrottlingException"] * 2 + [None]
    assert account.emulator.count("ListProcessingJobs") == 3


def test_a_share_of_calls_is_throttled_in_the_same_way_for_a_seed(open_account: Opener) -> None:
    def errors() -> list[str | None]:
        account = open_account(seed=7)
        account.emulator.faults.throttle(share=0.5)
        for _ in range(20):
            try:
                account.sagemaker.list_processing_jobs()
            except ClientError:
                continue
        return [call.error for call in account.emulator.calls]

    first = errors()
    assert first == errors()
    assert set(first) == {None, "ThrottlingException"}


def test_calls_are_refused(account: Account) -> None:
    faults = account.emulator.faults
    faults.expire_token(times=1)
    with refused("ExpiredTokenException"):
        account.sagemaker.list_processing_jobs()
    faults.deny("ListProcessingJobs")
    faults.resource_limit(times=1)
    with refused("AccessDeniedException"):
        account.sagemaker.list_processing_jobs()
    with refused("ResourceLimitExceeded"):
        account.create()
    faults.clear()
    account.sagemaker.list_processing_jobs()
    faults.service_fault("StopProcessingJob")
    with refused("InternalFailure"):
        account.sagemaker.stop_processing_job(ProcessingJobName="x")


def test_there_may_be_no_machines(account: Account) -> None:
    account.emulator.faults.no_capacity("ml.m5.xlarge")
    job = account.run()
    assert job.status == "Failed"
    assert str(job.failure_reason).startswith("CapacityError: ")
    cluster = {
        "VolumeSizeInGB": 1,
        "InstancePreferences": [
            {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1},
            {"InstanceType": "ml.c5.xlarge", "InstanceCount": 2},
        ],
    }
    job = account.run("cat config/resourceconfig.json", ProcessingResources={"ClusterConfig": cluster})
    assert job.status == "Completed"
    assert job.log.count('"current_instance_type": "ml.c5.xlarge"') == 2
    shown = account.sagemaker.describe_processing_job(ProcessingJobName=job.name)
    chosen = shown["ProcessingResources"]["ClusterConfig"]
    assert (chosen["SelectedInstanceType"], chosen["SelectedInstanceCount"]) == ("ml.c5.xlarge", 2)


def test_hosts_are_killed_half_way(account: Account) -> None:
    faults = account.emulator.faults
    outputs = {"Outputs": [target(account.uri("out"))]}
    faults.kill_host(2, when=lambda host: (host.root / "output" / "half").exists())
    job = account.run("touch output/half processing/out/x; sleep 60", hosts=2, ProcessingOutputConfig=outputs)
    assert (job.status, job.failure_reason) == ("Failed", "AlgorithmError: See job logs for more information")
    assert account.objects("out") == {}
    assert not any(is_there(pid) for pid in job.pids)
    faults.kill_host(1, after=0.1, lost=True)
    job = account.run("sleep 60")
    assert str(job.failure_reason).startswith("InternalServerError: ")
    faults.job_error("job", reason="InternalServerError: so", after=0.1)
    assert account.run("sleep 60").failure_reason == "InternalServerError: so"
    assert account.run().status == "Completed"


def test_a_host_may_do_nothing_and_say_that_it_is_done(account: Account) -> None:
    account.emulator.faults.idle_host(2)
    outputs = {"Outputs": [target(account.uri("out"))]}
    job = account.run("touch processing/out/$(basename $(dirname $HOME))", hosts=2, ProcessingOutputConfig=outputs)
    assert job.status == "Completed"
    assert list(account.objects("out")) == ["algo-1"]


# Pipelines.


def test_a_pipeline_runs_its_steps_in_order(account: Account) -> None:
    steps = [account.step("last", DependsOn=["a", "b", "c"]), *(account.step(name, "sleep 0.2") for name in "abc")]
    steps[0]["Arguments"]["Environment"] = {
        "WORD": {"Get": "Parameters.Word"},
        "BOTH": {"Std:Join": {"On": "-", "Values": ["x", {"Get": "Parameters.Word"}]}},
    }
    arn = account.start_pipeline(
        steps,
        ParallelismConfiguration={"MaxParallelExecutionSteps": 1},
        definition={"Parameters": [{"Name": "Word", "Type": "String", "DefaultValue": "given"}]},
    )
    assert account.sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"] == (
        "Executing"
    )
    account.emulator.wait_for_execution(arn)
    shown = account.sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
    assert shown["PipelineExecutionStatus"] == "Succeeded"
    found = account.steps(arn)
    assert {name: step["StepStatus"] for name, step in found.items()} == dict.fromkeys([*"abc", "last"], "Succeeded")
    jobs = account.emulator.jobs
    assert len(jobs) == 4
    for one, following in itertools.pairwise(jobs):  # one at a time
        assert one.ended
        assert one.ended <= following.created
    assert found["last"]["Metadata"]["ProcessingJob"]["Arn"] == jobs[-1].arn
    assert jobs[-1].request["Environment"] == {"WORD": "given", "BOTH": "x-given"}


def test_steps_run_side_by_side_without_a_limit(account: Account) -> None:
    script = "touch output/here; while [ ! -e go ]; do sleep 0.02; done"
    arn = account.start_pipeline([account.step(name, script) for name in "ab"])
    until(lambda: sum(len(job.pids) for job in account.emulator.jobs) == 2)
    for job in account.emulator.jobs:
        (job.hosts[0].root / "go").touch()
    assert account.emulator.wait_for_execution(arn).status == "Succeeded"


@pytest.mark.slow
def test_a_step_is_tried_again_by_its_policy(account: Account) -> None:
    faults = account.emulator.faults
    policy = {"ExceptionType": ["SageMaker.JOB_INTERNAL_ERROR", "SageMaker.CAPACITY_ERROR"], "MaxAttempts": 2}
    faults.job_error("flaky", times=2)
    faults.throttle("CreateProcessingJob", times=1)  # tried again without a policy
    arn = account.start_pipeline([account.step("flaky", "sleep 0.1", RetryPolicies=[policy])])
    account.emulator.wait_for_execution(arn)
    step = account.steps(arn)["flaky"]
    assert (step["StepStatus"], step["AttemptCount"]) == ("Succeeded", 4)
    assert [job.status for job in account.emulator.jobs] == ["Failed", "Failed", "Completed"]

    faults.job_error("hopeless", times=3)
    arn = account.start_pipeline([account.step("hopeless", "sleep 0.1", RetryPolicies=[policy])])
    account.emulator.wait_for_execution(arn)
    step = account.steps(arn)["hopeless"]
    assert (step["StepStatus"], step["AttemptCount"]) == ("Failed", 3)
    assert step["FailureReason"].startswith("InternalServerError")


def test_a_step_that_fails_fails_its_pipeline(account: Account) -> None:
    policy = {"ExceptionType": ["SageMaker.JOB_INTERNAL_ERROR"]}
    steps = [account.step("bad", "exit 1", RetryPolicies=[policy]), account.step("after", DependsOn=["bad"])]
    arn = account.start_pipeline(steps)
    execution = account.emulator.wait_for_execution(arn)
    assert execution.status == "Failed"
    found = account.steps(arn)
    assert list(found) == ["bad"]
    assert (found["bad"]["AttemptCount"], len(account.emulator.jobs)) == (1, 1)
    shown = account.sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
    assert shown["FailureReason"] == "Step failure: One or multiple steps failed."


def test_a_pipeline_is_stopped_and_deleted(account: Account) -> None:
    arn = account.start_pipeline([account.step("long", "sleep 60"), account.step("next", DependsOn=["long"])])
    until(lambda: account.emulator.jobs and account.emulator.jobs[0].pids)
    name = account.emulator.executions[0].pipeline.name
    with refused("ConflictException"):
        account.sagemaker.delete_pipeline(PipelineName=name)
    account.sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)
    assert account.emulator.wait_for_execution(arn).status == "Stopped"
    assert account.emulator.jobs[0].status == "Stopped"
    assert account.steps(arn)["long"]["StepStatus"] == "Stopped"
    listed = account.sagemaker.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"]
    assert [(one["PipelineExecutionArn"], one["PipelineExecutionStatus"]) for one in listed] == [(arn, "Stopped")]
    account.sagemaker.delete_pipeline(PipelineName=name)
    with refused("ResourceNotFound"):
        account.sagemaker.describe_pipeline(PipelineName=name)


def test_pipelines_are_defined_and_checked(account: Account) -> None:
    sagemaker, role = account.sagemaker, account.emulator.role

    def definition(*steps: Json, version: str = "2020-12-01") -> str:
        return json.dumps({"Version": version, "Steps": steps})

    good = definition(account.step("a"))
    sagemaker.create_pipeline(PipelineName="p", PipelineDefinition=good, RoleArn=role)
    with refused("ValidationException", "already exists"):
        sagemaker.create_pipeline(PipelineName="p", PipelineDefinition=good, RoleArn=role)
    other = definition(account.step("b"))
    assert sagemaker.update_pipeline(PipelineName="p", PipelineDefinition=other)["PipelineVersionId"] == 2
    assert sagemaker.describe_pipeline(PipelineName="p")["PipelineDefinition"] == other
    circle = [account.step("a", DependsOn=["b"]), account.step("b", DependsOn=["a"])]
    for wrong, words in (
        ("{", "not JSON"),
        (definition(account.step("a"), version="1"), "Version"),
        (definition(), "no Steps"),
        (definition(account.step("a"), account.step("a")), "unique"),
        (definition(account.step("a", DependsOn=["z"])), "not there"),
        (definition(*circle), "circle"),
        (definition(account.step("a", RetryPolicies=[{"ExceptionType": ["Any"]}])), "ExceptionType"),
        (definition({**account.step("a"), "Type": "Training"}), "not emulated"),
    ):
        with refused("ValidationException", words):
            sagemaker.create_pipeline(PipelineName="wrong", PipelineDefinition=wrong, RoleArn=role)
