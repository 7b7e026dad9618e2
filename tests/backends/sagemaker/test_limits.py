"""The service's limits: the same as botocore's model says, and every one named to the person who passes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import botocore.session
import pytest
from aws_json import aws_json, denied

from scaledproc.backends.sagemaker import limits
from scaledproc.backends.sagemaker.limits import Quotas, check_quotas, check_request, parse_quotas
from scaledproc.errors import UsageError

MODEL = botocore.session.get_session().get_service_model("sagemaker")


@pytest.mark.parametrize(
    ("shape", "low", "high"),
    [
        ("ProcessingJobName", 1, limits.MAX_NAME),
        ("ProcessingInstanceCount", 1, limits.MAX_INSTANCES),
        ("ProcessingInputs", 0, limits.MAX_INPUTS),
        ("ProcessingOutputs", 0, limits.MAX_OUTPUTS),
        ("ContainerArguments", 1, limits.MAX_ARGUMENTS),
        ("ContainerArgument", 0, limits.MAX_ARGUMENT_LENGTH),
        ("ProcessingEnvironmentMap", 0, limits.MAX_ENVIRONMENT),
        ("ProcessingEnvironmentValue", 0, limits.MAX_ENVIRONMENT_LENGTH),
        ("ProcessingVolumeSizeInGB", 1, limits.MAX_VOLUME_GB),
        ("ProcessingMaxRuntimeInSeconds", 1, limits.MAX_RUNTIME_SECONDS),
        ("TagList", 0, limits.MAX_TAGS),
        ("TagKey", 1, limits.MAX_TAG_KEY),
        ("TagValue", 0, limits.MAX_TAG_VALUE),
        ("ProcessingInstancePreferenceList", 1, limits.MAX_PREFERENCES),
    ],
)
def test_limits_are_those_of_the_service(shape: str, low: int, high: int) -> None:
    metadata = MODEL.shape_for(shape).metadata

    assert (metadata["min"], metadata["max"]) == (low, high)


def request(**changes: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "ProcessingJobName": "scaledproc-1",
        "ProcessingResources": {
            "ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30}
        },
        "AppSpecification": {
            "ImageUri": "image",
            "ContainerEntrypoint": ["scaledproc"],
            "ContainerArguments": ["work"],
        },
        "RoleArn": "arn:aws:iam::123456789012:role/jobs",
        "Environment": {"A": "b"},
        "Tags": [{"Key": "cost centre", "Value": "ünï/1"}],
        "StoppingCondition": {"MaxRuntimeInSeconds": 86_400},
    }
    return {**whole, **changes}


def cluster(**changes: Any) -> dict[str, Any]:
    return {"ProcessingResources": {"ClusterConfig": {"VolumeSizeInGB": 30, **changes}}}


def arguments(*values: str) -> dict[str, Any]:
    return {"AppSpecification": {"ImageUri": "image", "ContainerArguments": list(values)}}


def test_a_request_within_the_limits_passes() -> None:
    check_request(request())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ProcessingJobName": "a_b"}, "job_name_prefix"),
        ({"ProcessingJobName": "a" * 64}, "job_name_prefix"),
        (cluster(VolumeSizeInGB=0), "volume_gb 0"),
        (cluster(VolumeSizeInGB=16_385), "volume_gb 16,385"),
        (cluster(InstanceCount=101), "instances 101"),
        (cluster(InstanceCount=0), "instances 0"),
        (cluster(InstancePreferences=[{"InstanceType": f"ml.m5.{n}xlarge"} for n in range(6)]), "instance_types"),
        (cluster(InstancePreferences=[{"InstanceType": "ml.m5.large"}] * 2), "named twice"),
        ({"ProcessingInputs": [{}] * 11}, "inputs 11"),
        ({"ProcessingOutputConfig": {"Outputs": [{}] * 11}}, "outputs 11"),
        (arguments(*["a"] * 101), "101 arguments"),
        (arguments("a", "b" * 257), "argument 2 .* 257 characters"),
        (arguments("a\nb"), "line break"),
        ({"Environment": {f"A{n}": "" for n in range(101)}}, "101 variables"),
        ({"Environment": {"A": "b" * 257}}, "value of A has 257"),
        ({"Environment": {"1A": ""}}, "'1A' cannot be a variable"),
        ({"Tags": [{"Key": str(n), "Value": ""} for n in range(51)]}, "51 tags"),
        ({"Tags": [{"Key": "aws:x", "Value": ""}]}, "reserved"),
        ({"Tags": [{"Key": "a" * 129, "Value": ""}]}, "1 to 128"),
        ({"Tags": [{"Key": "a", "Value": "a" * 257}]}, "up to 256"),
        ({"Tags": [{"Key": "a#", "Value": ""}]}, "cannot have '#'"),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 777_601}}, "max_runtime 777,601"),
    ],
)
def test_what_aws_would_refuse_is_refused_before(changes: Mapping[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        check_request(request(**changes))


def test_secrets_are_not_shown() -> None:
    for changes in (arguments("secret" * 50), {"Environment": {"A": "secret" * 50}}):
        with pytest.raises(UsageError) as told:
            check_request(request(**changes))
        assert "secret" not in str(told.value)


def quota(name: str, value: float) -> dict[str, Any]:
    return {"ServiceCode": "sagemaker", "QuotaCode": "L-1", "QuotaName": name, "Value": value, "Unit": "None"}


PAGES: list[dict[str, Any]] = [
    {
        "Quotas": [
            quota("ml.m5.4xlarge for processing job usage", 4.0),
            quota("ml.m5.4xlarge for training job usage", 50.0),
        ],
        "NextToken": "more",
    },
    {
        "Quotas": [
            quota("ml.c5.xlarge for processing job usage", 0.0),
            quota("ml.m5.large for processing job usage", 100.0),
            quota("Number of instances across processing jobs", 20.0),
            quota("Number of instances across training jobs", 1.0),
        ]
    },
]


def test_quotas_of_processing_are_found_among_all() -> None:
    found = parse_quotas([*PAGES, {}, {"Quotas": [{"QuotaName": None}, {"QuotaName": "x", "Value": "y"}]}])

    assert found == Quotas({"ml.m5.4xlarge": 4, "ml.c5.xlarge": 0, "ml.m5.large": 100}, 20)


def test_quotas_are_asked_page_by_page() -> None:
    def answer(body: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        return 200, PAGES[1 if body.get("NextToken") == "more" else 0]

    with aws_json({"ListServiceQuotas": answer}) as service:
        client = service.client("service-quotas")
        few = check_quotas(client, ["ml.m5.4xlarge", "ml.c5.xlarge", "ml.r5.large"], 10)
        assert check_quotas(client, ["ml.m5.large"], 20) == []
        many = check_quotas(client, ["ml.m5.large"], 21)

    assert len(few) == 3
    assert "10 ml.m5.4xlarge are wanted, and this account may have 4 at once" in few[0]
    assert "lower max_parallel to 4" in few[0]
    assert "may have none" in few[1]
    assert "no quota for ml.r5.large" in few[2]
    assert len(many) == 1
    assert "may have 20 over all Processing jobs" in many[0]
    assert all(body["ServiceCode"] == "sagemaker" for _, body in service.requests)


def test_quotas_that_cannot_be_asked_are_a_note() -> None:
    with aws_json({"ListServiceQuotas": denied}) as service:
        (note,) = check_quotas(service.client("service-quotas"), ["ml.m5.large"], 1)
        client = service.client("service-quotas")

    assert "AccessDenied" in note
    assert "servicequotas:ListServiceQuotas" in note
    (gone,) = check_quotas(client, ["ml.m5.large"], 1)  # nobody listens there now
    assert "could not be asked" in gone
    json.dumps([note, gone])
