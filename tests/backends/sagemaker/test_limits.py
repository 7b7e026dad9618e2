"""The service's limits: the same as botocore's model says, and every one named to the person who passes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import botocore.session
import pytest

from scaledproc.backends.sagemaker import limits
from scaledproc.backends.sagemaker.limits import check_request
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
        ("S3Uri", 0, limits.MAX_URI),
        ("ProcessingLocalPath", 0, limits.MAX_PATH),
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
        (
            {"ProcessingInputs": [{"InputName": "a", "S3Input": {"S3Uri": "s3://" + "b" * 1_020}}]},
            "S3Uri of 'a' has 1,025",
        ),
        ({"ProcessingInputs": [{"InputName": "a", "S3Input": {"LocalPath": "/" * 257}}]}, "LocalPath of 'a' has 257"),
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
