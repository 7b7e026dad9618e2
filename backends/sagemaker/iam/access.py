"""What runs with some settings touch, for the policies that allow it. AWS is not asked."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

from scaledproc.errors import UsageError

from ..settings import OF_POLICY, Settings, chosen
from .policy import Access


def access_of(
    words: Mapping[str, Any],
    dataset: str,
    output: str,
    *,
    account: str | None = None,
    dataset_kms_key: str | None = None,
) -> tuple[Access, list[str]]:
    """What a run would touch, and notes for a person.

    Parameters
    ----------
    words
        Settings, as `Settings.parse` takes them; what they leave open is the SDK's configuration's, as in a run.
    dataset, output
        URLs.
    account
        Twelve digits; the role's where none is given.
    dataset_kms_key
        What the dataset is encrypted with.

    Raises
    ------
    UsageError
        If a setting cannot have its value, the jobs run on this machine, the output is not in S3, or a role has no
        account.
    """
    settings = Settings.parse(words)
    notes: list[str] = []
    if importlib.util.find_spec("sagemaker") is not None:
        from ..account import sdk_defaults

        given = [name for name, value in words.items() if value is not None]
        settings = settings.with_defaults(chosen(sdk_defaults(), OF_POLICY), given)
    else:
        notes.append("the SageMaker SDK is not installed, so its configuration's defaults are not in these policies")
    if settings.is_local:
        raise UsageError("--instance-type local runs on this machine: no policy is needed")
    if not output.startswith("s3://"):
        raise UsageError(f"{output}: the output of SageMaker jobs is in S3: give s3://bucket/prefix")
    access = Access(
        dataset_uri=dataset if dataset.startswith(("s3://", "s3a://")) else None,
        output_uri=output,
        image_uri=settings.image_uri or _managed(settings, notes),
        role_arn=_role(settings, account, notes),
        dataset_kms_key=dataset_kms_key,
        output_kms_key=settings.output_kms_key,
        volume_kms_key=settings.volume_kms_key,
        subnets=settings.subnets,
        security_group_ids=settings.security_groups,
        job_name_prefix=settings.job_name_prefix,
        instance_types=tuple(dict.fromkeys((*settings.instance_type, settings.combine_instance_type))),
        chooses=len(settings.instance_type) > 1,
        region=settings.region,
        account=account,
        detach=settings.detach,
    )
    return access, notes


def _managed(settings: Settings, notes: list[str]) -> str | None:
    """The image that jobs would run in."""
    if settings.region is None:
        notes.append("without --region or --image-uri, the right to pull the image is not in these policies")
        return None
    if importlib.util.find_spec("sagemaker") is None:
        notes.append("without the SageMaker SDK or --image-uri, the right to pull the image is not in these policies")
        return None
    from ..account import managed_image

    return managed_image(settings.region)


def _role(settings: Settings, account: str | None, notes: list[str]) -> str | None:
    role = settings.role
    if role is None:
        notes.append("without --role, the caller may give any role to SageMaker")
    elif not role.startswith("arn:"):
        if account is None:
            raise UsageError(f"--role {role}: give its ARN, or --account beside it")
        return f"arn:{Access(region=settings.region).partition}:iam::{account}:role/{role}"
    return role
