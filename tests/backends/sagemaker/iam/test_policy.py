"""The IAM policies: right by a linter that knows AWS's actions, and no wider than what is in use."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import botocore.session
import pytest
from support import Cli

from scaledproc.backends.sagemaker.iam.policy import Access, caller_policy, policy_json, role_policy, trust_policy
from scaledproc.errors import UsageError

ACCOUNT = "123456789012"
SMALL = Access("s3://data/waves/1.0", "s3://out/run", role_arn=f"arn:aws:iam::{ACCOUNT}:role/jobs")
FULL = Access(
    dataset_uri="s3://data/waves/1.0/",
    output_uri="s3://out/run",
    code_uri="s3://code/scaledproc/source",
    image_uri=f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/team/scaledproc:1.0",
    role_arn=f"arn:aws:iam::{ACCOUNT}:role/service-role/jobs",
    dataset_kms_key=f"arn:aws:kms:us-east-1:{ACCOUNT}:key/1",
    output_kms_key="22222222-2222-2222-2222-222222222222",
    volume_kms_key=f"arn:aws:kms:us-east-1:{ACCOUNT}:key/3",
    subnets=("subnet-1", "subnet-2"),
    security_group_ids=("sg-1",),
    job_name_prefix="Mimic",
    instance_types=("ml.m5.4xlarge",),
    region="us-east-1",
    account=ACCOUNT,
    detach=True,
)
BUILDERS: tuple[Callable[[Access], Mapping[str, Any]], ...] = (caller_policy, role_policy)
ACCESSES = {
    "nothing but a role": Access(role_arn=SMALL.role_arn),
    "two places": SMALL,
    "everything": FULL,
    "whole buckets": Access("s3://data", "s3://out/"),
    "China": replace(
        SMALL, region="cn-north-1", role_arn=f"arn:aws-cn:iam::{ACCOUNT}:role/jobs", volume_kms_key="alias/disk"
    ),
    "GovCloud": replace(SMALL, region="us-gov-west-1", role_arn=f"arn:aws-us-gov:iam::{ACCOUNT}:role/jobs"),
}


def statements(policy: Mapping[str, Any], action: str) -> list[Mapping[str, Any]]:
    return [one for one in policy["Statement"] if action in one["Action"]]


def resources(policy: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for statement in policy["Statement"]:
        for resource in statement["Resource"]:
            yield statement["Sid"], resource


def allows(policy: Mapping[str, Any], action: str, resource: str) -> bool:
    return any(fnmatchcase(resource, pattern) for one in statements(policy, action) for pattern in one["Resource"])


@pytest.fixture(scope="module")
def linter() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it leaves its own data files open
        import parliament

        return parliament.analyze_policy_string


@pytest.mark.slow
@pytest.mark.parametrize("name", ACCESSES)
@pytest.mark.parametrize("make", BUILDERS)
def test_a_linter_finds_nothing(linter: Any, make: Callable[[Access], Mapping[str, Any]], name: str) -> None:
    policy = policy_json(make(ACCESSES[name]))

    findings = [str(finding) for finding in linter(policy).findings]

    # Documented by AWS for every action on a key; the linter's table has it for none.
    assert [finding for finding in findings if "kms:ResourceAliases" not in finding] == []


def test_the_linter_would_find_a_slip(linter: Any) -> None:
    policy = policy_json(role_policy(FULL)).replace("logs:PutLogEvents", "logs:PutLogEvent")

    assert any("PutLogEvent" in str(finding) for finding in linter(policy).findings)


@pytest.mark.slow
@pytest.mark.parametrize("make", BUILDERS)
def test_every_action_is_an_operation_that_botocore_knows(make: Callable[[Access], Mapping[str, Any]]) -> None:
    session = botocore.session.get_session()
    models = {"servicequotas": "service-quotas"}
    no_operation = {"s3:ListBucket", "iam:PassRole"}  # rights that have no call of the same name

    for statement in make(FULL)["Statement"]:
        for action in statement["Action"]:
            service, _, operation = action.partition(":")
            if action in no_operation:
                continue
            known = session.get_service_model(models.get(service, service)).operation_names
            assert operation in known, action


@pytest.mark.parametrize("name", ACCESSES)
@pytest.mark.parametrize("make", BUILDERS)
def test_a_policy_fits_into_what_iam_takes(make: Callable[[Access], Mapping[str, Any]], name: str) -> None:
    policy = make(ACCESSES[name])
    sids = [statement["Sid"] for statement in policy["Statement"]]

    assert len(re.sub(r"\s", "", policy_json(policy))) <= 6144
    assert len(set(sids)) == len(sids)
    assert all(re.fullmatch("[A-Za-z0-9]+", sid) for sid in sids)
    assert json.loads(policy_json(policy)) == policy


@pytest.mark.parametrize("make", BUILDERS)
def test_only_what_knows_no_resources_is_allowed_on_all_of_them(make: Callable[[Access], Mapping[str, Any]]) -> None:
    everywhere = {sid for sid, resource in resources(make(FULL)) if resource == "*"}

    assert everywhere <= {"ListJobs", "AskQuotasAndPrices", "WriteMetrics", "LogInToRegistry", "LookAtNetwork"}


@pytest.mark.parametrize("make", BUILDERS)
def test_the_dataset_is_only_read(make: Callable[[Access], Mapping[str, Any]]) -> None:
    policy = make(FULL)

    assert allows(policy, "s3:GetObject", "arn:aws:s3:::data/waves/1.0/30/a.hea")
    assert not allows(policy, "s3:GetObject", "arn:aws:s3:::data/waves/1.01/secret")
    assert not allows(policy, "s3:GetObject", "arn:aws:s3:::data/other")
    for action in ("s3:PutObject", "s3:DeleteObject"):
        assert not allows(policy, action, "arn:aws:s3:::data/waves/1.0/30/a.hea")
        assert allows(policy, action, "arn:aws:s3:::out/run/shards/00000.parquet")
        assert not allows(policy, action, "arn:aws:s3:::out/running/x")
    assert allows(policy, "s3:AbortMultipartUpload", "arn:aws:s3:::out/run/features.parquet")
    listing = next(one for one in policy["Statement"] if one["Sid"] == "ListDataset")
    assert listing["Condition"] == {"StringLikeIfExists": {"s3:prefix": ["waves/1.0", "waves/1.0/*"]}}


def test_only_the_caller_writes_code() -> None:
    code = "arn:aws:s3:::code/scaledproc/source/a.tar.gz"

    assert allows(caller_policy(FULL), "s3:PutObject", code)
    assert not allows(role_policy(FULL), "s3:PutObject", code)
    assert allows(role_policy(FULL), "s3:GetObject", code)


def test_names_with_wildcards_are_taken_as_they_are() -> None:
    policy = role_policy(Access("s3://data/a*b"))

    assert "arn:aws:s3:::data/a${*}b/*" in {resource for _, resource in resources(policy)}


def test_jobs_can_only_be_started_as_they_were_set() -> None:
    (start,) = statements(caller_policy(FULL), "sagemaker:CreateProcessingJob")

    own = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:processing-job"
    assert start["Resource"] == [f"{own}/Mimic*", f"{own}/mimic*"]
    assert start["Condition"]["ForAllValues:StringEquals"] == {
        "sagemaker:InstanceTypes": ["ml.m5.4xlarge"],
        "sagemaker:VpcSubnets": ["subnet-1", "subnet-2"],
        "sagemaker:VpcSecurityGroupIds": ["sg-1"],
    }
    assert set(start["Condition"]["Null"].values()) == {"false"}
    assert start["Condition"]["ArnEquals"] == {"sagemaker:VolumeKmsKey": FULL.volume_kms_key}
    assert "Condition" not in statements(caller_policy(SMALL), "sagemaker:CreateProcessingJob")[0]


def test_the_role_is_given_to_sagemaker_alone() -> None:
    (give,) = statements(caller_policy(FULL), "iam:PassRole")

    assert give["Resource"] == [FULL.role_arn]
    assert give["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}


def test_pipelines_are_there_when_a_run_is_detached() -> None:
    attached = replace(FULL, detach=False)

    assert statements(caller_policy(FULL), "sagemaker:StartPipelineExecution")
    assert not any("ipeline" in str(one) for make in BUILDERS for one in make(attached)["Statement"])
    assert not statements(role_policy(attached), "sagemaker:CreateProcessingJob")
    (start,) = statements(role_policy(FULL), "sagemaker:CreateProcessingJob")
    assert f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:processing-job/pipelines-*" in start["Resource"]
    with pytest.raises(UsageError, match="role's ARN"):
        role_policy(Access(detach=True))


def test_all_that_is_asked_of_the_service_is_allowed() -> None:
    sources = Path(str(find_spec("scaledproc.backends.sagemaker.service").origin)).parent.rglob("*.py")  # type: ignore[union-attr]
    text = "".join(source.read_text() for source in sources)
    asked = set(re.findall(r'"(sagemaker|logs|iam|service-quotas)",\s*"([a-z_]+)"', text)) - {("iam", "get_role")}
    asked -= {("sagemaker", "worker")}  # words of the command line

    assert len(asked) > 10
    for service, operation in asked:
        name = "".join(word.capitalize() for word in operation.split("_"))
        assert statements(caller_policy(FULL), f"{service}:{name}"), operation


def test_keys() -> None:
    policy = role_policy(FULL)

    assert statements(policy, "kms:CreateGrant")[0]["Resource"] == [FULL.volume_kms_key]
    assert allows(policy, "kms:Decrypt", str(FULL.dataset_kms_key))
    assert not allows(policy, "kms:GenerateDataKey", str(FULL.dataset_kms_key))
    assert allows(policy, "kms:GenerateDataKey", f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{FULL.output_kms_key}")
    assert not any("kms:" in str(one["Action"]) for make in BUILDERS for one in make(SMALL)["Statement"])


@pytest.mark.parametrize("key", ["alias/disk", f"arn:aws:kms:eu-west-1:{ACCOUNT}:alias/disk"])
def test_a_key_that_is_named_by_its_alias(key: str) -> None:
    (grant,) = statements(
        role_policy(Access(volume_kms_key=key, region="eu-west-1", account=ACCOUNT)), "kms:CreateGrant"
    )

    assert grant["Resource"] == [f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/*"]
    assert grant["Condition"]["ForAnyValue:StringEquals"] == {"kms:ResourceAliases": "alias/disk"}
    assert grant["Condition"]["Bool"] == {"kms:GrantIsForAWSResource": "true"}


def test_images() -> None:
    (pull,) = statements(role_policy(FULL), "ecr:BatchGetImage")
    elsewhere = f"{'9' * 12}.dkr.ecr.eu-west-1.amazonaws.com/scaledproc@sha256:{'0' * 64}"
    (other,) = statements(role_policy(replace(FULL, image_uri=elsewhere)), "ecr:BatchGetImage")

    assert pull["Resource"] == [f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/team/scaledproc"]
    assert other["Resource"] == [f"arn:aws:ecr:eu-west-1:{'9' * 12}:repository/scaledproc"]
    assert not statements(role_policy(replace(FULL, image_uri="python:3.11")), "ecr:GetAuthorizationToken")


def test_a_network_is_only_there_with_subnets() -> None:
    (make,) = statements(role_policy(FULL), "ec2:CreateNetworkInterface")

    assert "arn:aws:ec2:us-east-1:*:subnet/subnet-2" in make["Resource"]
    assert "arn:aws:ec2:us-east-1:*:security-group/sg-1" in make["Resource"]
    assert not any("ec2:" in str(one["Action"]) for one in role_policy(SMALL)["Statement"])


@pytest.mark.parametrize(
    ("region", "partition"),
    [
        ("us-east-1", "aws"),
        ("eu-central-1", "aws"),
        ("cn-northwest-1", "aws-cn"),
        ("us-gov-east-1", "aws-us-gov"),
        ("us-iso-east-1", "aws-iso"),
        ("us-isob-east-1", "aws-iso-b"),
        ("eusc-de-east-1", "aws-eusc"),
    ],
)
def test_partitions_are_those_that_botocore_knows(region: str, partition: str) -> None:
    assert botocore.session.get_session().get_partition_for_region(region) == partition
    access = Access("s3://data/x", region=region)
    assert access.partition == partition
    for make in BUILDERS:
        for _, resource in resources(make(access)):
            assert resource == "*" or resource.startswith(f"arn:{partition}:")


def test_trust() -> None:
    (statement,) = trust_policy(FULL)["Statement"]
    (anywhere,) = trust_policy(Access())["Statement"]

    assert statement["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    assert "Condition" not in anywhere


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"role_arn": "jobs"}, "role's ARN"),
        ({"account": "12"}, "12 digits"),
        ({"job_name_prefix": "-a"}, "job_name_prefix"),
    ],
)
def test_what_cannot_be(change: dict[str, str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        replace(SMALL, **change)


def test_a_place_that_is_not_in_s3() -> None:
    with pytest.raises(UsageError, match="not in S3"):
        caller_policy(Access("/home/ada/data"))


# The command


@pytest.fixture
def command(cli: Cli, tmp_path: Path) -> Callable[..., CompletedProcess[str]]:
    """`scaledproc sagemaker policy`, with nobody's configuration, no credentials, and no way to AWS."""
    (tmp_path / "none.yaml").write_text('SchemaVersion: "1.0"\n')
    none = str(tmp_path / "none.yaml")

    def run(*words: str) -> CompletedProcess[str]:
        return cli(
            *("sagemaker", "policy", *words),
            env={
                "SAGEMAKER_ADMIN_CONFIG_OVERRIDE": none,
                "SAGEMAKER_USER_CONFIG_OVERRIDE": none,
                "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
                "HOME": str(tmp_path),
            },
        )

    return run


PLACES = ("s3://data/waves/1.0", "s3://out/run")


@pytest.mark.slow
def test_the_command_prints_the_policies_of_a_run(command: Callable[..., CompletedProcess[str]], linter: Any) -> None:
    key = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/11111111-1111-1111-1111-111111111111"
    flags = ("--role", SMALL.role_arn or "", "--region", "eu-west-1", "--output-kms-key", key, "--detach")

    done = command(*PLACES, *flags, "--subnets", "subnet-0a1b2c3d", "--security-groups", "sg-0a1b2c3d")

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found) == ["caller", "role", "trust"]
    for name in ("caller", "role"):
        assert [str(each) for each in linter(json.dumps(found[name])).findings] == []
    assert found["trust"]["Statement"][0]["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    job = f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:processing-job/pipelines-abc"
    for action in ("CreateProcessingJob", "DescribeProcessingJob", "StopProcessingJob", "AddTags"):
        assert allows(found["role"], f"sagemaker:{action}", job)
    assert allows(found["role"], "iam:PassRole", SMALL.role_arn or "")
    assert not allows(found["role"], "iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/other")
    assert allows(
        found["caller"], "sagemaker:CreatePipeline", f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:pipeline/scaledproc-1"
    )
    assert allows(found["role"], "kms:GenerateDataKey", key)
    managed = [name for _, name in resources(found["role"]) if "repository/sagemaker-scikit-learn" in name]
    assert managed
    assert statements(found["role"], "ec2:CreateNetworkInterface")


@pytest.mark.slow
def test_the_command_prints_one_policy_alone(command: Callable[..., CompletedProcess[str]]) -> None:
    done = command(*PLACES, "--for", "role", "--image-uri", "scaledproc:1")

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["Version"] == "2012-10-17"
    assert not statements(found, "sagemaker:CreateProcessingJob")
    assert "--role" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*PLACES, "--detach"), "ARN"),
        ((*PLACES, "--role", "jobs"), "--account"),
        (("s3://data/in", "out"), "S3"),
        ((*PLACES, "--account", "12"), "12 digits"),
        ((*PLACES, "--subnets", "subnet-0a1b2c3d"), "--security-groups"),
    ],
)
def test_the_command_says_what_is_missing(
    command: Callable[..., CompletedProcess[str]], words: tuple[str, ...], message: str
) -> None:
    done = command(*words)

    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_prefix_with_capitals_is_in_arns_in_small_letters() -> None:
    own = statements(caller_policy(Access(job_name_prefix="ECG")), "sagemaker:CreateProcessingJob")[0]["Resource"]
    assert [name.rpartition("/")[2] for name in own] == ["ECG*", "ecg*"]


@pytest.mark.parametrize(
    "host",
    [
        "123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov",
        "123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov",
        "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
    ],
)
def test_an_image_of_any_partition_may_be_pulled(host: str) -> None:
    region = host.split(".")[3]
    found = role_policy(Access(output_uri="s3://out/run", image_uri=f"{host}/scaledproc:1", region=region))
    assert statements(found, "ecr:BatchGetImage")


def test_a_choice_of_machines_does_not_need_the_key_that_may_be_left_empty() -> None:
    for chooses in (False, True):
        made = Access(instance_types=("ml.m5.large", "ml.m5.xlarge"), chooses=chooses)
        condition = statements(caller_policy(made), "sagemaker:CreateProcessingJob")[0]["Condition"]
        assert ("Null" in condition) != chooses
        assert condition["ForAllValues:StringEquals"]["sagemaker:InstanceTypes"] == ["ml.m5.large", "ml.m5.xlarge"]
