"""CreateProcessingJob requests: as they are kept in golden_requests/, and as the SDK, boto3 and a server take them.

`pytest tests/backends/sagemaker/jobs/test_requests.py --renew-golden` writes the files anew; look at their
differences before committing them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from moto_account import moto_account

from scaledproc.backends.sagemaker.jobs import pipeline
from scaledproc.backends.sagemaker.jobs.requests import (
    CODE,
    Assignment,
    Choice,
    Code,
    Place,
    instance_types,
    processing_job,
)
from scaledproc.backends.sagemaker.settings import Settings
from scaledproc.errors import UsageError

GOLDEN = Path(__file__).with_name("golden_requests")
RUN = "s3://features/run"
ROLE = "arn:aws:iam::123456789012:role/scaledproc"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/scaledproc:1.0"
KEY = "arn:aws:kms:us-east-1:123456789012:key/11111111-1111-1111-1111-111111111111"
OTHER_KEY = "alias/disks"
SHARD = Assignment("s00003", (3,), size=200 * 10**9, prefixes=("33/",))
ALL = Assignment("hosts", tuple(range(10)), size=40 * 10**9, instances=4)
COMBINE = Assignment("combine", size=10**9)


@dataclass(frozen=True)
class Case:
    """A feature: what is set, and what the job does."""

    settings: dict[str, Any]
    assignment: Assignment
    code: Code | None = None
    options: dict[str, Any] | None = None

    def request(self) -> dict[str, Any]:
        settings = Settings.parse({"role": ROLE, "image_uri": IMAGE, "instance_type": "ml.m5.4xlarge", **self.settings})
        place = Place(
            settings=settings,
            dataset="s3://waves/mimic",
            run=RUN,
            image_uri=IMAGE,
            role=ROLE,
            region="us-east-1",
            code=self.code,
            storage_options=self.options or {},
        )
        types = instance_types(settings, self.assignment, Choice())
        made: dict[str, Any] = processing_job(
            place, f"scaledproc-0123456789-{self.assignment.key}-1", self.assignment, types
        )
        return made


FILE = {"input_mode": "file"}
BUNDLE = f"{RUN}/work/code/0123456789abcdef/"
CASES = {
    "stage": Case({}, SHARD),
    "file-prefixes": Case(FILE, replace(SHARD, prefixes=("33/", "34/"))),
    "file-manifest": Case(FILE, replace(SHARD, prefixes=(), manifest=f"{RUN}/work/manifests/s00003.json")),
    "sharded-by-key": Case(
        {"input_mode": "sharded-by-key"},
        replace(ALL, key="keys", manifest=f"{RUN}/work/manifests/keys.json"),
    ),
    "instances": Case({"instances": 4}, ALL),
    "preferences": Case({"instance_type": "ml.m5.4xlarge,ml.c5.4xlarge,ml.m4.4xlarge"}, SHARD),
    "encryption-stage": Case({"volume_kms_key": OTHER_KEY, "output_kms_key": KEY}, SHARD),
    "encryption-file": Case({**FILE, "volume_kms_key": OTHER_KEY, "output_kms_key": KEY}, SHARD),
    "vpc": Case(
        {"subnets": "subnet-0a1b2c3d,subnet-0a1b2c3e", "security_groups": "sg-0a1b2c3d"},
        SHARD,
    ),
    "isolation": Case({**FILE, "network_isolation": True}, SHARD),
    "inter-container-encryption": Case({"instances": 4, "encrypt_inter_container_traffic": True}, ALL),
    "tags-and-environment": Case({"tags": {"team": "signals"}, "env": {"MODE": "quick"}}, SHARD),
    "limits": Case({"max_runtime": "9d", "volume_size": 16_384}, SHARD),
    "storage-options": Case({}, SHARD, options={"input.anon": True, "output.requester_pays": True}),
    "code-for-an-image": Case({}, SHARD, Code(BUNDLE, False, f"{CODE}/user", f"{CODE}/user/mine.py:name")),
    "code-with-scaledproc": Case({}, SHARD, Code(BUNDLE, True)),
    "combine-stage": Case({}, COMBINE),
    "combine-file": Case(FILE, COMBINE),
    "combine-parts": Case(
        {"input_mode": "sharded-by-key", "output_kms_key": KEY},
        replace(COMBINE, parts="scaledproc-0123456789-keys-1", has_shards=False),
    ),
    "combine-detached": Case({"detach": True}, COMBINE),
    "combine-detached-file": Case({**FILE, "detach": True}, COMBINE),
    "combine-detached-isolated": Case({**FILE, "detach": True, "network_isolation": True}, COMBINE),
}


def detached() -> dict[str, Any]:
    """The definition of a run's pipeline."""
    settings = Settings.parse({"role": ROLE, "image_uri": IMAGE, "instance_type": "ml.m5.4xlarge", "detach": True})
    assignments = [SHARD, replace(SHARD, key="s00004", shards=(4,), prefixes=("34/",))]
    requests = [Case({"detach": True}, assignment).request() for assignment in (*assignments, COMBINE)]
    made: dict[str, Any] = pipeline.definition(settings, assignments, COMBINE, requests)
    return made


MADE: dict[str, Callable[[], dict[str, Any]]] = {
    **{name: case.request for name, case in CASES.items()},
    "pipeline": detached,
}


@pytest.mark.parametrize("name", MADE)
def test_a_request_is_what_it_was(name: str, request: pytest.FixtureRequest) -> None:
    path, made = GOLDEN / f"{name}.json", MADE[name]()
    if request.config.getoption("--renew-golden"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(made, indent=2) + "\n")

    assert json.loads(path.read_text()) == made


def test_no_golden_request_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(MADE)


# The real clients, in front of a server that knows the shapes


@pytest.fixture(scope="module")
def account() -> Iterator[None]:
    """A server on loopback that answers as AWS does; this process's AWS environment leads to it."""
    with moto_account() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in {**server.environment(), "AWS_REGION": "us-east-1"}.items():
            patch.setenv(name, value)
        yield


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The bodies of all requests, as they went out."""
    from botocore.endpoint import Endpoint

    bodies: list[dict[str, Any]] = []
    send = Endpoint.make_request

    def make_request(self: Endpoint, operation_model: Any, request_dict: Any) -> Any:
        if operation_model.name == "CreateProcessingJob":
            bodies.append(json.loads(request_dict["body"]))
        return send(self, operation_model, request_dict)

    monkeypatch.setattr(Endpoint, "make_request", make_request)
    return bodies


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_boto3_and_the_server_take_it(account: None, sent: list[dict[str, Any]], name: str) -> None:
    import boto3

    client = boto3.client("sagemaker")
    made = {**CASES[name].request(), "ProcessingJobName": f"boto3-{name}"}

    client.create_processing_job(**made)

    found = client.describe_processing_job(ProcessingJobName=f"boto3-{name}")
    assert sent == [made]
    for key in ("AppSpecification", "RoleArn", "ProcessingInputs"):  # of which the server keeps account
        assert found[key] == made[key], key
    client.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_sdk_takes_it(account: None, sent: list[dict[str, Any]], name: str) -> None:
    from sagemaker.core.resources import ProcessingJob

    made = {**CASES[name].request(), "ProcessingJobName": f"sdk-{name}"}

    created = ProcessingJob.create(**{**_for_sdk(made), "environment": made["Environment"]})

    assert created is not None
    assert sent == [_without_false(made)]


def test_the_server_takes_the_pipeline(account: None) -> None:
    import boto3

    client = boto3.client("sagemaker")
    definition = json.dumps(detached())

    client.create_pipeline(
        PipelineName="scaledproc-0123456789",
        PipelineDefinition=definition,
        RoleArn=ROLE,
        ClientRequestToken="0" * 32,
    )

    assert client.describe_pipeline(PipelineName="scaledproc-0123456789")["PipelineDefinition"] == definition
    client.close()


def _without_false(value: Any) -> Any:
    """The SDK leaves out what is false, which the service takes for false."""
    if isinstance(value, list):
        return [_without_false(each) for each in value]
    if isinstance(value, dict):
        return {key: _without_false(each) for key, each in value.items() if each is not False}
    return value


def _for_sdk(value: Any) -> Any:
    """As the SDK's shapes name it: in snake case, but for the names that are a user's."""
    from sagemaker.core.utils.code_injection.codec import pascal_to_snake

    if isinstance(value, list):
        return [_for_sdk(each) for each in value]
    if isinstance(value, dict):
        return {pascal_to_snake(key): _for_sdk(each) for key, each in value.items()}
    return value


@pytest.mark.parametrize("name", sorted(CASES))
def test_outputs_are_not_above_their_own_inputs(name: str) -> None:
    made = MADE[name]()
    inputs = [each["S3Input"]["S3Uri"] for each in made.get("ProcessingInputs", ())]
    for output in made.get("ProcessingOutputConfig", {"Outputs": []})["Outputs"]:
        where = output["S3Output"]["S3Uri"].rstrip("/")
        assert not [uri for uri in inputs if f"{uri.rstrip('/')}/".startswith(f"{where}/")]


def test_no_input_is_left_to_the_application() -> None:
    """AWS documents AppManaged for its own containers alone."""
    for name in MADE:
        assert not any(each["AppManaged"] for each in MADE[name]().get("ProcessingInputs", ()))


def test_the_run_is_a_tag_whatever_its_url_has() -> None:
    assignment = replace(SHARD, prefixes=("33/",))
    place = Place(Settings.parse({}), "s3://waves/mimic", "s3://features/r\u00fcn#1,{x}", IMAGE, ROLE)
    (tag,) = processing_job(place, "a", assignment, ["ml.m5.large"])["Tags"]
    assert tag["Value"] == "s3://features/r\u00fcn_1__x_"


@pytest.mark.parametrize(("name", "gb", "is_refused"), [("ml.r5d.large", 76, True), ("ml.r5d.large", 75, False)])
def test_a_machine_with_a_disk_of_its_own_is_given_no_larger_one(name: str, gb: int, is_refused: bool) -> None:
    place = Place(Settings.parse({"volume_size": gb}), "s3://waves/mimic", RUN, IMAGE, ROLE)
    if is_refused:
        with pytest.raises(UsageError, match="75 GB of its own"):
            processing_job(place, "a", SHARD, [name])
    else:
        assert processing_job(place, "a", SHARD, [name])
