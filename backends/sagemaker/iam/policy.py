"""The least that IAM must allow: to whoever starts a run, and to the role that its jobs take."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scaledproc.errors import UsageError

from ..limits import check_name

Policy = Mapping[str, Any]
Statement = dict[str, Any]

VERSION = "2012-10-17"
SERVICE = "sagemaker.amazonaws.com"
LOG_GROUP = "/aws/sagemaker/ProcessingJobs"

_PARTITIONS = (
    ("cn-", "aws-cn"),
    ("us-gov-", "aws-us-gov"),
    ("us-isob-", "aws-iso-b"),
    ("us-isof-", "aws-iso-f"),
    ("eu-isoe-", "aws-iso-e"),
    ("us-iso-", "aws-iso"),
    ("eusc-", "aws-eusc"),
)
_S3 = re.compile(r"s3a?://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>.*))?", re.DOTALL)
_ECR = re.compile(
    r"(?P<account>\d{12})\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\."
    r"(?:(?:amazonaws\.com|on\.aws)[a-z.]*|amazonaws\.eu|c2s\.ic\.gov|sc2s\.sgov\.gov|csp\.hci\.ic\.gov"
    r"|cloud\.adc-e\.uk)"
    r"/(?P<repository>[^:@]+)(?:[:@].*)?"
)
_ROLE = re.compile(r"arn:(?P<partition>aws[a-z-]*):iam::(?P<account>\d{12}):role/.+")
_ACCOUNT = re.compile(r"\d{12}")


@dataclass(frozen=True)
class Access:
    """What a run touches.

    Parameters
    ----------
    dataset_uri, output_uri, code_uri
        `s3://bucket/prefix`; None for what is not in S3 or not used.
    image_uri
        The container's image. Rights to pull it are needed where it is in a private ECR repository.
    role_arn
        The role of the jobs.
    dataset_kms_key, output_kms_key, volume_kms_key
        ARN, id or `alias/…` of a customer's key; None where AWS's own keys or none encrypt.
    subnets, security_group_ids
        Of a VPC that the jobs are in.
    job_name_prefix
        What their names begin with.
    instance_types
        Those that may be asked for; all where none is given.
    chooses
        Whether requests name several types to choose from. AWS does not say that it fills the condition key
        `sagemaker:InstanceTypes` of these, so a request without it is allowed then.
    region, account
        Where; the account is the role's where it is not given, and `*` stands for what is not known.
    detach
        Whether the run is handed to a SageMaker pipeline, whose role then starts the jobs.
    """

    dataset_uri: str | None = None
    output_uri: str | None = None
    code_uri: str | None = None
    image_uri: str | None = None
    role_arn: str | None = None
    dataset_kms_key: str | None = None
    output_kms_key: str | None = None
    volume_kms_key: str | None = None
    subnets: Sequence[str] = ()
    security_group_ids: Sequence[str] = ()
    job_name_prefix: str = "scaledproc"
    instance_types: Sequence[str] = ()
    chooses: bool = False
    region: str | None = None
    account: str | None = None
    detach: bool = False

    def __post_init__(self) -> None:
        check_name(self.job_name_prefix)
        if self.role_arn is not None and not _ROLE.fullmatch(self.role_arn):
            raise UsageError(f"{self.role_arn!r} is not a role's ARN, such as arn:aws:iam::123456789012:role/name")
        if self.account is not None and not _ACCOUNT.fullmatch(self.account):
            raise UsageError(f"{self.account!r} is not an account's number: it has 12 digits")

    @property
    def partition(self) -> str:
        """`aws`, `aws-cn`, `aws-us-gov` and so on: from the region, else from the role."""
        if self.region:
            return next((name for start, name in _PARTITIONS if self.region.startswith(start)), "aws")
        role = _ROLE.fullmatch(self.role_arn or "")
        return role["partition"] if role else "aws"

    def arn(self, service: str, resource: str, *, account: str | None = None, region: str | None = None) -> str:
        """An ARN in this run's partition, region and account."""
        return f"arn:{self.partition}:{service}:{region or self._region}:{account or self._account}:{resource}"

    @property
    def _region(self) -> str:
        return self.region or "*"

    @property
    def _account(self) -> str:
        role = _ROLE.fullmatch(self.role_arn or "")
        return self.account or (role["account"] if role else "*")


def caller_policy(access: Access) -> Policy:
    """The policy of whoever starts, watches and stops a run.

    Raises
    ------
    UsageError
        If one of the URIs is not in S3.
    """
    jobs = _jobs(access)
    own = [access.arn("sagemaker", f"processing-job/{name}*") for name in _prefixes(access)]
    statements = [
        *_buckets(access, code=_WRITE),
        *_keys(access),
        _statement("StartJobs", ["sagemaker:CreateProcessingJob"], own, _job_conditions(access)),
        _statement("TagJobs", ["sagemaker:AddTags"], own),
        _statement("WatchJobs", ["sagemaker:DescribeProcessingJob", "sagemaker:StopProcessingJob"], jobs),
        # These know no resources.
        _statement("ListJobs", ["sagemaker:ListProcessingJobs"], ["*"]),
        _statement(
            "GiveRole",
            ["iam:PassRole"],
            [access.role_arn or f"arn:{access.partition}:iam::{access.account or '*'}:role/*"],
            {"StringEquals": {"iam:PassedToService": SERVICE}},
        ),
        _statement("ReadLogs", ["logs:DescribeLogStreams", "logs:GetLogEvents"], _log_group(access)),
        _statement("AskQuotasAndPrices", ["servicequotas:ListServiceQuotas", "pricing:GetProducts"], ["*"]),
    ]
    if access.detach:
        pipelines = access.arn("sagemaker", f"pipeline/{access.job_name_prefix.lower()}*")
        on_pipelines = (
            "CreatePipeline",
            "UpdatePipeline",
            "StartPipelineExecution",
            "ListPipelineExecutions",
            "DeletePipeline",
        )
        on_executions = ("DescribePipelineExecution", "ListPipelineExecutionSteps", "StopPipelineExecution")
        statements += [
            _statement(
                "Pipelines", [*(f"sagemaker:{name}" for name in on_pipelines), "sagemaker:AddTags"], [pipelines]
            ),
            _statement("Executions", [f"sagemaker:{name}" for name in on_executions], [f"{pipelines}/execution/*"]),
        ]
    return _policy(statements)


def role_policy(access: Access) -> Policy:
    """The policy of the role that the jobs have.

    Raises
    ------
    UsageError
        If one of the URIs is not in S3, or the run is detached and the role's ARN is not known.
    """
    group = _log_group(access)
    statements = [
        *_buckets(access, code=_READ),
        *_keys(access),
        _statement(
            "WriteLogs",
            ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
            group,
        ),
        _statement(
            "WriteMetrics",
            ["cloudwatch:PutMetricData"],
            ["*"],
            {"StringEquals": {"cloudwatch:namespace": LOG_GROUP}},
        ),
        *_image(access),
        *_volume(access),
        *_network(access),
    ]
    if access.detach:
        if access.role_arn is None:
            raise UsageError("a detached run needs the role's ARN: the role gives itself to the jobs of its pipeline")
        own = _jobs(access)
        statements += [
            _statement("StartJobs", ["sagemaker:CreateProcessingJob"], own, _job_conditions(access)),
            _statement("TagJobs", ["sagemaker:AddTags"], own),
            _statement("WatchJobs", ["sagemaker:DescribeProcessingJob", "sagemaker:StopProcessingJob"], own),
            _statement(
                "GiveItself", ["iam:PassRole"], [access.role_arn], {"StringEquals": {"iam:PassedToService": SERVICE}}
            ),
        ]
    return _policy(statements)


def trust_policy(access: Access) -> Policy:
    """Who may take the role: SageMaker, and where the account is known, only on its behalf."""
    statement: Statement = {
        "Sid": "SageMaker",
        "Effect": "Allow",
        "Principal": {"Service": SERVICE},
        "Action": "sts:AssumeRole",
    }
    role = _ROLE.fullmatch(access.role_arn or "")
    account = access.account or (role["account"] if role else None)
    if account:
        statement["Condition"] = {"StringEquals": {"aws:SourceAccount": account}}
    return {"Version": VERSION, "Statement": [statement]}


def policy_json(policy: Policy) -> str:
    """As the console and `aws iam` take it."""
    return json.dumps(policy, indent=2) + "\n"


_READ = ("s3:GetObject",)
_WRITE = ("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject")


def _buckets(access: Access, code: tuple[str, ...]) -> list[Statement]:
    """Rights to list and to read or write each place in S3."""
    statements = []
    for sid, uri, actions in (
        ("Dataset", access.dataset_uri, _READ),
        ("Output", access.output_uri, _WRITE),
        ("Code", access.code_uri, code),
    ):
        if uri is None:
            continue
        place = _S3.fullmatch(uri)
        if place is None:
            raise UsageError(f"{uri!r} is not in S3; policies are for s3://bucket/prefix")
        bucket = f"arn:{access.partition}:s3:::{place['bucket']}"
        prefix = (place["prefix"] or "").strip("/")
        # In a pattern of IAM, a * or ? of a name has to be written so.
        name = re.sub(r"[*?$]", lambda found: f"${{{found[0]}}}", prefix)
        # IfExists: S3 asks for ListBucket, without a prefix, to say that an object is missing rather than forbidden.
        below = {"StringLikeIfExists": {"s3:prefix": [name, f"{name}/*"]}} if prefix else None
        objects = [f"{bucket}/{name}", f"{bucket}/{name}/*"] if prefix else [f"{bucket}/*"]
        statements += [
            _statement(f"List{sid}", ["s3:ListBucket"], [bucket], below),
            _statement(f"Use{sid}", list(actions), objects),
        ]
    return statements


def _keys(access: Access) -> list[Statement]:
    """Rights to use the keys of the data; Decrypt with a write is for uploads in parts."""
    statements = []
    if access.dataset_kms_key:
        statements.append(_key_statement(access, "DecryptDataset", ["kms:Decrypt"], access.dataset_kms_key))
    if access.output_kms_key:
        # Encrypt is for what SageMaker itself uploads, GenerateDataKey for what the worker writes.
        actions = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"]
        statements.append(_key_statement(access, "EncryptOutput", actions, access.output_kms_key))
    return statements


def _volume(access: Access) -> list[Statement]:
    """SageMaker encrypts a volume by a grant, which it makes in the role's name."""
    if not access.volume_kms_key:
        return []
    for_aws = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    return [_key_statement(access, "EncryptVolumes", ["kms:CreateGrant"], access.volume_kms_key, for_aws)]


def _key_statement(
    access: Access, sid: str, actions: list[str], key: str, conditions: Mapping[str, Any] | None = None
) -> Statement:
    """Rights to a key; one that is named by its alias is any key that bears it, for a policy cannot name the alias."""
    _, _, resource = key.partition(":key/") if key.startswith("arn:") else ("", "", key)
    alias = key[key.find("alias/") :] if "alias/" in key else None
    if alias is not None:
        parts = key.split(":") if key.startswith("arn:") else []
        target = access.arn("kms", "key/*", region=parts[3], account=parts[4]) if parts else access.arn("kms", "key/*")
        by_alias = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": alias}}
        return _statement(sid, actions, [target], {**by_alias, **(conditions or {})})
    return _statement(
        sid, actions, [key if key.startswith("arn:") else access.arn("kms", f"key/{resource}")], conditions
    )


def _image(access: Access) -> list[Statement]:
    """Rights to pull the image from a private ECR repository; others need none."""
    image = _ECR.fullmatch(access.image_uri or "")
    if image is None:
        return []
    repository = access.arn(
        "ecr", f"repository/{image['repository']}", account=image["account"], region=image["region"]
    )
    pull = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    return [
        _statement("PullImage", pull, [repository]),
        _statement("LogInToRegistry", ["ecr:GetAuthorizationToken"], ["*"]),
    ]


def _network(access: Access) -> list[Statement]:
    """Rights to put the machines' network interfaces into a VPC."""
    if not access.subnets:
        return []
    interfaces = access.arn("ec2", "network-interface/*")
    places = [
        # Of any account: those of a shared VPC are its owner's.
        *(access.arn("ec2", f"subnet/{one}", account="*") for one in access.subnets),
        *(access.arn("ec2", f"security-group/{one}", account="*") for one in access.security_group_ids),
    ]
    looks = ("DhcpOptions", "NetworkInterfaces", "SecurityGroups", "Subnets", "Vpcs")
    return [
        _statement("MakeInterfaces", ["ec2:CreateNetworkInterface"], [interfaces, *places]),
        _statement(
            "UseInterfaces", ["ec2:CreateNetworkInterfacePermission", "ec2:DeleteNetworkInterface"], [interfaces]
        ),
        # These know no resources.
        _statement(
            "LookAtNetwork",
            ["ec2:DeleteNetworkInterfacePermission", *(f"ec2:Describe{name}" for name in looks)],
            ["*"],
        ),
    ]


def _job_conditions(access: Access) -> Mapping[str, Any] | None:
    """What narrows the jobs that may be started. `ForAllValues` is true of nothing at all, so Null goes with it."""
    conditions: dict[str, dict[str, Any]] = {}
    for key, values in (
        ("sagemaker:InstanceTypes", access.instance_types),
        ("sagemaker:VpcSubnets", access.subnets),
        ("sagemaker:VpcSecurityGroupIds", access.security_group_ids),
    ):
        if values:
            conditions.setdefault("ForAllValues:StringEquals", {})[key] = list(values)
            if key != "sagemaker:InstanceTypes" or not access.chooses:  # it may not be filled of a choice
                conditions.setdefault("Null", {})[key] = "false"
    if access.volume_kms_key and access.volume_kms_key.startswith("arn:"):
        conditions["ArnEquals"] = {"sagemaker:VolumeKmsKey": access.volume_kms_key}
    return conditions or None


def _jobs(access: Access) -> list[str]:
    """The run's jobs; those of a pipeline get names of SageMaker's making."""
    names = [*_prefixes(access), *(["pipelines-"] if access.detach else [])]
    return [access.arn("sagemaker", f"processing-job/{name}*") for name in names]


def _prefixes(access: Access) -> list[str]:
    """How the names of the run's jobs begin in ARNs, which SageMaker writes in small letters."""
    return list(dict.fromkeys((access.job_name_prefix, access.job_name_prefix.lower())))


def _log_group(access: Access) -> list[str]:
    group = access.arn("logs", f"log-group:{LOG_GROUP}")
    return [group, f"{group}:*"]


def _statement(
    sid: str, actions: list[str], resources: list[str], conditions: Mapping[str, Any] | None = None
) -> Statement:
    statement: Statement = {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}
    if conditions:
        statement["Condition"] = dict(conditions)
    return statement


def _policy(statements: list[Statement]) -> Policy:
    return {"Version": VERSION, "Statement": statements}
