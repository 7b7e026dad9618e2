"""The time and price of a plan with a user's settings; and what the planner would take instead."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from scaledproc.backend.base import Expected
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.planning.calibration import calibrate, last_costs
from scaledproc.planning.cost_model import SLOWEST, Costs

from ..instances import Instance, find_instance
from ..jobs.combining import expected_on_disk, expected_rows
from ..jobs.job_list import COMBINE
from ..jobs.requests import Assignment
from ..jobs.requests import volume_gb as disk_of
from ..quotas import Demand, check_quotas
from ..settings import LOCAL
from .charges import Encryption, Route
from .estimate import Estimate, Fleet, Recommendation, Sizes, estimate, estimate_text, needed_volume_gb, recommend
from .prices import PriceList, lookup_prices, priced_instances

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scaledproc.extractors import Extractor
    from scaledproc.planning.plan import Plan
    from scaledproc.storage.store import Store

    from ..service import Service
    from ..settings import Settings


def forecast(
    settings: Settings,
    service: Service | None,
    plan: Plan,
    dataset: Store,
    extractor: Extractor,
    *,
    has_table: bool = True,
) -> Estimate:
    """Time and price of a plan as it is cut, on the machines that are set; `has_table` is as `on_disk` has it."""
    costs = _costs(settings, plan, dataset, extractor)
    fleet = _fleet(settings, service, plan, dataset, extractor, has_table=has_table)
    return estimate(sizes_of(plan, fleet), costs, fleet, known_prices(settings, service))


def advise(settings: Settings, service: Service | None, plan: Plan, dataset: Store, extractor: Extractor) -> Expected:
    """As `forecast`, and beside it what is cheaper and as quick as the published pattern's machines."""
    costs = _costs(settings, plan, dataset, extractor)
    fleet = _fleet(settings, service, plan, dataset, extractor)
    candidates = [find_instance(name) for name in sorted(priced_instances())]
    prices = known_prices(settings, service, candidates)
    expected = estimate(sizes_of(plan, fleet), costs, fleet, prices)
    quotas = quota_notes(settings, service, fleet, sizes_of(plan, fleet))
    lines = ["", "expected on Amazon SageMaker:", *estimate_text(expected), *(f"  quota: {note}" for note in quotas)]
    content = {**expected.to_dict(), "quotas": quotas}
    try:
        # What is recommended is a job for each shard, with the disk that it needs.
        apart = replace(fleet, single_job=False, replicates=False, volume_gb=None)
        better = recommend(Sizes.of(plan), costs, candidates, fleet=apart, lookup=prices)
    except UsageError as error:
        lines.append(f"recommended: none, {error}")
    else:
        lines += ["", "recommended:", *_words(better)]
        content["recommended"] = better.to_dict()
    return Expected(tuple(lines), content)


def quota_notes(settings: Settings, service: Service | None, fleet: Fleet, sizes: Sizes) -> list[str]:
    """What the account's quotas say against a plan, what they exclude too; nothing where no account is to be asked."""
    if service is None:
        return []
    demand = Demand(
        settings.instance_type,
        fleet.max_parallel,
        fleet.max_parallel if fleet.single_job else 1,
        fleet.volume_gb or needed_volume_gb(sizes, fleet),
        settings.max_runtime_seconds,
        None if fleet.combine is None else fleet.combine.name,
        0 if fleet.combine is None else fleet.combine_gb,
    )
    try:
        return check_quotas(service.client("service-quotas"), demand)
    except (ScaledprocError, OSError) as error:
        return str(error).splitlines()


def _words(better: Recommendation) -> list[str]:
    flags = f"--shards {better.shards} --instance-type {better.instance.name} --max-parallel-jobs {better.max_parallel}"
    return [flags, estimate_text(better.estimate)[0], *(f"  {reason}" for reason in better.reasons)]


def _costs(settings: Settings, plan: Plan, dataset: Store, extractor: Extractor) -> Costs:
    """Measured on some tasks here, by the last run, or assumed."""
    if settings.calibrate is not None:
        return calibrate(plan, dataset, extractor, settings.calibrate).costs
    return last_costs(extractor) or SLOWEST


def fleet_of(settings: Settings, plan: Plan, region: str | None) -> Fleet:
    """The machines that the settings make of a plan."""
    by_key = settings.input_mode == "sharded-by-key"
    at_once = settings.instances or settings.max_parallel_jobs
    return Fleet(
        find_instance("ml.m5.4xlarge" if settings.is_local else settings.instance_type[0]),
        max_parallel=max(min(at_once, plan.n_tasks if by_key else plan.n_shards), 1),
        mode="stage" if settings.input_mode == "stage" else "file",
        volume_gb=settings.volume_size,
        single_job=by_key or settings.instances is not None,
        replicates=settings.input_mode == "file" and settings.instances is not None,
        region=region,
        combine=None if settings.combine_local or settings.is_local else find_instance(settings.combine_instance_type),
        route=_route(settings),
        encrypts_output=settings.output_kms_key is not None,
        assumed=(NAT_ASSUMED,) if settings.subnets and settings.s3_route is None else (),
    )


NAT_ASSUMED = (
    "what the subnets have between the jobs and S3 is not said, and taken for a NAT gateway, the dearest: give "
    "--s3-route gateway if there is a gateway endpoint, which takes nothing"
)
KMS_ASSUMED = "how the dataset is encrypted cannot be asked, and is taken for KMS without bucket keys, the dearest"


def _route(settings: Settings) -> Route:
    """The way to S3; of a VPC of which nothing is said the dearest, so that `--max-cost` is kept."""
    if not settings.subnets:
        return "aws"
    return cast(Route, settings.s3_route or "nat")


def _fleet(
    settings: Settings,
    service: Service | None,
    plan: Plan,
    dataset: Store,
    extractor: Extractor,
    *,
    has_table: bool = True,
) -> Fleet:
    """The machines that the settings ask for, with the last one's disk; encryption is that of the first object."""
    fleet = fleet_of(settings, plan, service.region if service else settings.region)
    if fleet.combine is not None:
        last = Assignment(COMBINE, size=expected_on_disk(settings, plan, extractor, has_table=has_table))
        rows = expected_rows(plan, extractor)
        guess = () if rows.is_measured else (f"the last job's disk: rows are taken for {rows.source}",)
        try:
            fleet = replace(fleet, combine_gb=disk_of(settings, last), assumed=(*fleet.assumed, *guess))
        except UsageError as error:  # no disk is so large: a plan is shown all the same, a run refused
            fleet = replace(fleet, assumed=(*fleet.assumed, *guess, str(error)))
    encryption = dataset_encryption(service, plan, dataset)
    if encryption is None:
        return replace(fleet, dataset_encryption="each", assumed=(*fleet.assumed, KMS_ASSUMED))
    return replace(fleet, dataset_encryption=encryption)


def dataset_encryption(service: Service | None, plan: Plan, dataset: Store) -> Encryption | None:
    """Whether reading the dataset costs requests to KMS; None where its first object cannot be asked.

    A plan without an account has no price of KMS in it, nor a dataset that is read without a login.
    """
    if service is None or not dataset.uri.startswith("s3://") or not plan.files.num_rows or dataset.options.get("anon"):
        return "none"
    bucket, _, prefix = dataset.uri.removeprefix("s3://").partition("/")
    key = f"{prefix}/{plan.files['path'][0].as_py()}".lstrip("/")
    try:
        head = service.call("s3", "head_object", Bucket=bucket, Key=key)
    except (ScaledprocError, OSError):
        return None
    if not str(head.get("ServerSideEncryption", "")).startswith("aws:kms"):
        return "none"
    return "bucket-key" if head.get("BucketKeyEnabled") else "each"


def sizes_of(plan: Plan, fleet: Fleet) -> Sizes:
    """What each machine is given: where the service deals out files by their keys, an even part."""
    sizes = Sizes.of(plan)
    is_dealt = fleet.single_job and fleet.mode == "file" and not fleet.replicates
    return sizes.cut(fleet.max_parallel) if is_dealt else sizes


def known_prices(settings: Settings, service: Service | None, others: Sequence[Instance] = ()) -> PriceList:
    """Prices of the machines that are set and of others: as given, else asked of AWS where its Pricing API allows."""
    names = [each for each in settings.instance_type if each != LOCAL]
    names += [] if settings.combine_local else [settings.combine_instance_type]
    asked = list(dict.fromkeys([*map(find_instance, names), *others]))
    given = settings.prices
    asked = [each for each in asked if each.name not in given]
    found = (
        PriceList() if service is None or not asked else lookup_prices(service.client("pricing"), asked, service.region)
    )
    region = service.region if service else settings.region or ""
    mine = {name: replace(price, region=region) for name, price in given.items()}
    return replace(found, prices={**found.prices, **mine})
