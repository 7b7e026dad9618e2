"""The account's quotas of SageMaker Processing: asked while planning, before anything is paid for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scaledproc.errors import UsageError

QUOTA_CODE = "sagemaker"
QUOTA_PAGE = "https://console.aws.amazon.com/servicequotas/home/services/sagemaker/quotas"
ASK_FOR_MORE = f"ask for more at {QUOTA_PAGE}"
VOLUME_GB = 1_024
"""What an account may have for each machine where its quotas do not say it."""

_PER_JOB_QUOTA = "Maximum number of instances per processing job"
_RUNTIME_QUOTA = "Longest run time for a processing job"
_VOLUME_QUOTA = "Size of EBS volume for a processing job instance"
_SMALLER = "a smaller --volume-size, more --shards, or --input-mode stage"
_SMALLER_TABLE = (
    "--table dataset, whose rows it does not read, --combine-volume-size GB if the table is smaller than that, or "
    "--combine-local"
)
_USAGE = re.compile(r"(?P<type>ml\.[\w.-]+) for processing job usage", re.IGNORECASE)
_ACROSS = re.compile(r"(total |maximum )?number of instances across (all )?processing jobs", re.IGNORECASE)
_PER_JOB = re.compile(r"(maximum )?number of instances (per|for a) processing job", re.IGNORECASE)
_VOLUME = re.compile(r"(maximum )?size of (an )?(EBS )?volume for a processing job( instance)?", re.IGNORECASE)
_RUNTIME = re.compile(r"(longest|maximum) run ?time for a processing job", re.IGNORECASE)


def usage_type(quota: str) -> str | None:
    """The type of machines that a quota counts, by its name; None for another one."""
    found = _USAGE.fullmatch(quota.strip())
    return found["type"].lower() if found else None


@dataclass(frozen=True)
class Quotas:
    """What an account may have in Processing jobs; None where no such quota was found.

    Parameters
    ----------
    by_type
        Machines at once, of each type.
    across
        Machines at once, over all types.
    per_job
        Machines of one job.
    volume
        GB of each machine's disk.
    runtime
        Seconds of a job.
    """

    by_type: Mapping[str, int] = field(default_factory=dict)
    across: int | None = None
    per_job: int | None = None
    volume: int | None = None
    runtime: int | None = None


@dataclass(frozen=True)
class Demand:
    """What a run asks for.

    Parameters
    ----------
    types
        Machines for the shards; each on its own may be asked for all of them.
    at_once
        Machines at once.
    per_job
        Machines of the largest job.
    volume
        GB of the largest disk.
    runtime
        Seconds that a job may take.
    combine, combine_volume
        The last job's machine, None where it runs here, and the GB of its disk.
    """

    types: Sequence[str]
    at_once: int = 1
    per_job: int = 1
    volume: int = 0
    runtime: int = 0
    combine: str | None = None
    combine_volume: int = 0


def parse_quotas(pages: Iterable[Mapping[str, Any]]) -> Quotas:
    """The quotas of Processing in the pages of `ListServiceQuotas`; what is of another form is passed over."""
    by_type: dict[str, int] = {}
    others: dict[str, int] = {}
    names = {"across": _ACROSS, "per_job": _PER_JOB, "volume": _VOLUME, "runtime": _RUNTIME}
    for page in pages:
        for quota in page.get("Quotas") or ():
            name, value = quota.get("QuotaName"), quota.get("Value")
            if not isinstance(name, str) or not isinstance(value, int | float):
                continue
            if (type_name := usage_type(name)) is not None:
                by_type[type_name] = int(value)
            for kind, pattern in names.items():
                if pattern.fullmatch(name.strip()):
                    others[kind] = int(value)
    return Quotas(by_type, **others)


def quota_faults(quotas: Quotas, demand: Demand) -> list[str]:
    """What the service would refuse however long one waits: each with the quota's name."""
    faults = []
    possible = [name for name in demand.types if quotas.by_type.get(name, demand.per_job) >= demand.per_job]
    if not possible:
        faults += [_of_type(quotas, name, demand.per_job, "a job", "--instance-type") for name in demand.types]
    if demand.combine is not None and quotas.by_type.get(demand.combine) == 0:
        advice = "--combine-instance-type or --combine-local"
        faults.append(_of_type(quotas, demand.combine, 1, "the last job, which combines,", advice))
    for who, name, quota, wanted, unit, advice in (
        ("a job", _PER_JOB_QUOTA, quotas.per_job, demand.per_job, "", "fewer --instances"),
        ("a job", _VOLUME_QUOTA, quotas.volume, demand.volume, " GB", _SMALLER),
        ("the last job", _VOLUME_QUOTA, quotas.volume, demand.combine_volume, " GB", _SMALLER_TABLE),
        ("a job", _RUNTIME_QUOTA, quotas.runtime, demand.runtime, " seconds", "a lower --max-runtime"),
    ):
        if quota is not None and wanted > quota:
            faults.append(
                f"{who} needs {wanted:,}{unit}, and the quota {name!r} is {quota:,}: {ASK_FOR_MORE}, or give {advice}"
            )
    return faults


def _of_type(quotas: Quotas, name: str, wanted: int, who: str, advice: str) -> str:
    return (
        f"{who} needs {wanted} {name}, and the quota '{name} for processing job usage' is {quotas.by_type[name]}: "
        f"{ASK_FOR_MORE}, or give another {advice}"
    )


def quota_warnings(quotas: Quotas, demand: Demand) -> list[str]:
    """What a person should know before so many machines are asked for."""
    warnings = []
    for name in dict.fromkeys(demand.types):
        quota = quotas.by_type.get(name)
        if quota is None:
            warnings.append(f"this account shows no quota for {name} in Processing jobs; it may not be had here")
        elif quota < demand.at_once:
            has = "none" if quota == 0 else f"{quota} at once"
            rest = (
                ASK_FOR_MORE
                if quota == 0
                else f"the others wait; {ASK_FOR_MORE}, or lower --max-parallel-jobs to {quota}"
            )
            warnings.append(
                f"{demand.at_once} {name} are wanted, and this account may have {has} ('{name} for processing job "
                f"usage'): {rest}"
            )
    if demand.combine is not None and demand.combine not in (*demand.types, *quotas.by_type):
        warnings.append(f"this account shows no quota for {demand.combine}, which combines; it may not be had here")
    if quotas.across is not None and quotas.across < demand.at_once:
        warnings.append(
            f"{demand.at_once} machines are wanted, and this account may have {quotas.across} over all Processing "
            f"jobs: {ASK_FOR_MORE}"
        )
    for who, volume, advice in (
        ("a job", demand.volume, _SMALLER),
        ("the last job", demand.combine_volume, _SMALLER_TABLE),
    ):
        if quotas.volume is None and volume > VOLUME_GB:
            warnings.append(
                f"{who} needs a disk of {volume:,} GB, and accounts may have {VOLUME_GB:,} GB where nothing else was "
                f"agreed ('{_VOLUME_QUOTA}'): {ASK_FOR_MORE}, or give {advice}"
            )
    return warnings


def check_quotas(client: Any, demand: Demand) -> list[str]:
    """Ask the account's quotas, and say where they are small, or cannot be asked.

    Parameters
    ----------
    client
        boto3's `service-quotas` client, for the region of the jobs.
    demand
        What the run asks for.

    Raises
    ------
    UsageError
        If a quota excludes a job of the run: with all such quotas.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        quotas = parse_quotas(client.get_paginator("list_service_quotas").paginate(ServiceCode=QUOTA_CODE))
    except (ClientError, BotoCoreError) as error:
        response = getattr(error, "response", None) or {}
        code = response.get("Error", {}).get("Code") or type(error).__name__
        advice = "; allow servicequotas:ListServiceQuotas" if "Denied" in code else ""
        return [
            f"the account's quotas could not be asked ({code}{advice}), so too small ones show only when jobs start"
        ]
    faults = quota_faults(quotas, demand)
    if faults:
        raise UsageError("\n".join(faults))
    return quota_warnings(quotas, demand)
