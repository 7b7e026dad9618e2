"""The time and price of a plan with a user's settings; and what the planner would take instead."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from scaledproc.backend.base import Expected
from scaledproc.errors import UsageError
from scaledproc.planning.calibration import calibrate, last_costs
from scaledproc.planning.cost_model import SLOWEST, Costs

from ..instances import Instance, find_instance
from .estimate import Estimate, Fleet, Recommendation, Sizes, estimate, estimate_text, recommend
from .prices import PriceList, lookup_prices, priced_instances

if TYPE_CHECKING:
    from scaledproc.extractors import Extractor
    from scaledproc.planning.plan import Plan
    from scaledproc.storage.store import Store

    from ..service import Service
    from ..settings import Settings


def forecast(settings: Settings, service: Service | None, plan: Plan, dataset: Store, extractor: Extractor) -> Estimate:
    """Time and price of a plan as it is cut, on the machines that are set."""
    costs = _costs(settings, plan, dataset, extractor)
    fleet = fleet_of(settings, plan, service.region if service else settings.region)
    return estimate(sizes_of(plan, fleet), costs, fleet, _prices(service, [fleet.instance]))


def advise(settings: Settings, service: Service | None, plan: Plan, dataset: Store, extractor: Extractor) -> Expected:
    """As `forecast`, and beside it what is cheaper and as quick as the published pattern's machines."""
    costs = _costs(settings, plan, dataset, extractor)
    fleet = fleet_of(settings, plan, service.region if service else settings.region)
    candidates = [find_instance(name) for name in sorted(priced_instances())]
    prices = _prices(service, [fleet.instance, *candidates])
    expected = estimate(sizes_of(plan, fleet), costs, fleet, prices)
    lines = ["", "expected on Amazon SageMaker:", *estimate_text(expected)]
    content = expected.to_dict()
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
    )


def sizes_of(plan: Plan, fleet: Fleet) -> Sizes:
    """What each machine is given: where the service deals out files by their keys, an even part."""
    sizes = Sizes.of(plan)
    is_dealt = fleet.single_job and fleet.mode == "file" and not fleet.replicates
    return sizes.cut(fleet.max_parallel) if is_dealt else sizes


def _prices(service: Service | None, instances: list[Instance]) -> PriceList | None:
    """Asked of AWS, where its Pricing API allows; it is in one region for all."""
    if service is None:
        return None
    return lookup_prices(service.client("pricing"), instances, service.region)
