"""What an AWS account has for a run: who calls, the role, the image, the buckets, the quotas."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaledproc.errors import ScaledprocError, UsageError

from .jobs.requests import Assignment, volume_gb
from .packaging.bundle import check_wheelhouse
from .service import Service, ServiceError
from .settings import Settings

if TYPE_CHECKING:
    from scaledproc.extractors import Extractor
    from scaledproc.run_folder.folder import RunFolder

# The managed image that is made for processing jobs and has Python 3.11 or later.
MANAGED_IMAGE = {"framework": "sklearn", "version": "1.4-2-py312", "instance_type": "ml.m5.xlarge"}
# The SDK's configuration: https://sagemaker.readthedocs.io/en/stable/overview.html (SageMaker, ProcessingJob)
_SDK_PATHS = {
    "role": ("RoleArn",),
    "volume_kms_key": ("ProcessingResources", "ClusterConfig", "VolumeKmsKeyId"),
    "output_kms_key": ("ProcessingOutputConfig", "KmsKeyId"),
    "subnets": ("NetworkConfig", "VpcConfig", "Subnets"),
    "security_groups": ("NetworkConfig", "VpcConfig", "SecurityGroupIds"),
    "network_isolation": ("NetworkConfig", "EnableNetworkIsolation"),
    "encrypt_inter_container_traffic": ("NetworkConfig", "EnableInterContainerTrafficEncryption"),
    "env": ("Environment",),
    "tags": ("Tags",),
}


def sdk_defaults() -> dict[str, Any]:
    """What the SageMaker SDK's configuration files set for processing jobs, by the names of `Settings`.

    Raises
    ------
    UsageError
        If a configuration file is not as the SDK wants it.
    """
    from sagemaker.core.config import load_sagemaker_config

    try:
        found: Mapping[str, Any] = load_sagemaker_config()
    except Exception as error:  # the SDK raises what its parsers do
        text = str(error).strip().partition("\n")[0]  # then comes the whole schema
        raise UsageError(f"the SageMaker SDK's configuration cannot be read: {text}") from None
    job = (found.get("SageMaker") or {}).get("ProcessingJob") or {}
    defaults = {}
    for name, path in _SDK_PATHS.items():
        value: Any = job
        for key in path:
            value = (value or {}).get(key)
        if name == "tags":
            value = {tag["Key"]: tag["Value"] for tag in value or ()}
        if value not in (None, {}, []):
            defaults[name] = value
    return defaults


@dataclass(frozen=True)
class Account:
    """What requests need of an account.

    Parameters
    ----------
    number
        Twelve digits.
    role, image_uri
        As found.
    notes
        For a person.
    quotas
        Warnings about them are asked of this service; None where there is none.
    """

    number: str
    role: str
    image_uri: str
    notes: tuple[str, ...] = ()
    quotas: Service | None = None

    @classmethod
    def local(cls, settings: Settings) -> Account:
        """For containers on this machine: no account is needed."""
        return cls("000000000000", "arn:aws:iam::000000000000:role/local", str(settings.image_uri))

    @classmethod
    def ask(cls, service: Service, settings: Settings) -> Account:
        """The account as AWS tells of it, with the role and the image that jobs run by, and notes for a person.

        Raises
        ------
        UsageError
            If there are no credentials or no role, or the image cannot work as set.
        """
        number = service.account()
        if settings.role is None:
            raise UsageError(
                "no IAM role for the jobs: give --role, or set SageMaker.ProcessingJob.RoleArn in the SDK's "
                "configuration; scaledproc sagemaker policy prints what the role needs"
            )
        notes: list[str] = []
        image = settings.image_uri
        if image is None:
            image = managed_image(service.region)
            notes += _check_install(settings, image)
        return cls(number, service.role_arn(settings.role), image, tuple(notes), service)

    def quota_notes(
        self, settings: Settings, assignments: Sequence[Assignment], combine: Assignment | None
    ) -> list[str]:
        """What the account's quotas say against these jobs and the last one, where that is one of the service's.

        Raises
        ------
        UsageError
            If a quota excludes a job of the run.
        """
        if self.quotas is None:
            return []
        from .quotas import Demand, check_quotas

        machines = max((assignment.instances for assignment in assignments), default=1)
        at_once = machines if machines > 1 else min(settings.max_parallel_jobs, max(len(assignments), 1))
        demand = Demand(
            settings.instance_type,
            at_once,
            machines,
            max((volume_gb(settings, assignment) for assignment in assignments), default=0),
            settings.max_runtime_seconds,
            None if combine is None else settings.combine_instance_type,
            0 if combine is None else volume_gb(settings, combine),
        )
        try:
            return check_quotas(self.quotas.client("service-quotas"), demand)
        except UsageError:
            raise
        except (ScaledprocError, OSError) as error:
            return [f"the account's quotas cannot be asked: {error}"]


def managed_image(region: str) -> str:
    """The URI of an AWS-managed image with Python 3.11 or later.

    Raises
    ------
    UsageError
        If the SDK knows no such image for the region.
    """
    from sagemaker.core import image_uris

    try:
        return str(image_uris.retrieve(**MANAGED_IMAGE, region=region))
    except (ValueError, KeyError) as error:
        raise UsageError(f"the SageMaker SDK knows no image for {region}: {error}; give --image-uri") from None


def _check_install(settings: Settings, image: str) -> Iterator[str]:
    if settings.wheelhouse is None and settings.network_isolation:
        raise UsageError(
            "--network-isolation: without a network, the managed image cannot install scaledproc; give --image-uri "
            "(scaledproc sagemaker image makes one), or --wheelhouse with wheels of all that it needs"
        )
    if settings.wheelhouse is not None:
        check_wheelhouse(settings.wheelhouse)
    if settings.wheelhouse is None:
        yield f"each job installs scaledproc in {image.rpartition('/')[2]} first: --image-uri starts faster"
    if settings.wheelhouse is None and settings.subnets:
        yield "the jobs install from a package index: the subnets need a way there (NAT), or give --wheelhouse"


def check_buckets(service: Service, run: RunFolder, settings: Settings) -> Iterator[str]:
    """See whether the buckets are there, may be reached, and are in the jobs' region.

    Raises
    ------
    UsageError
        If a bucket is not there, may not be reached, or is in another region.
    """
    buckets = {store.uri.removeprefix("s3://").partition("/")[0]: store for store in (run.dataset, run.store)}
    for bucket, store in buckets.items():
        if not store.uri.startswith("s3://") or store.options.get("anon"):
            continue
        try:
            head = service.call("s3", "head_bucket", Bucket=bucket)
        except ServiceError as error:
            text = str(error)
            if text.startswith("404"):
                raise UsageError(f"there is no bucket {bucket}") from None
            if text.startswith("301"):
                raise UsageError(f"bucket {bucket} is in another region than {service.region}: give --region") from None
            raise UsageError(f"bucket {bucket} cannot be reached: {error}") from None
        where = head.get("BucketRegion") or head["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
        if where and where != service.region:
            raise UsageError(
                f"bucket {bucket} is in {where}, the jobs would run in {service.region}: give --region {where}, since "
                "reading across regions is slow and is charged"
            )
    if settings.input_mode != "stage" and any(store.options.get("anon") for store in buckets.values()):
        yield "the service copies with the jobs' role, not anonymously"


def check_variables(extractor: Extractor, settings: Settings) -> None:
    """See whether the jobs get the environment variables that the rows depend on, as they are here."""
    for name in extractor.env:
        if settings.environment.get(name) != os.environ.get(name):
            raise UsageError(
                f"{extractor.label} depends on the environment variable {name}, which the jobs have not as it is here: "
                f"give --env {name}=VALUE, and the same here"
            )


def check_places(run: RunFolder, settings: Settings) -> None:
    """See whether dataset and output are where jobs can reach them."""
    if not run.store.uri.startswith("s3://"):
        raise UsageError(f"{run.store}: the output of SageMaker jobs is in S3: give s3://bucket/prefix")
    if not run.dataset.uri.startswith("s3://") and settings.input_mode != "stage":
        raise UsageError(f"{run.dataset}: --input-mode {settings.input_mode} copies from S3: give s3://bucket/prefix")
