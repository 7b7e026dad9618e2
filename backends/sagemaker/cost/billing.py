"""What jobs took, as billed time says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scaledproc.errors import UsageError

from ..instances import find_instance
from ..jobs.decisions import runtime
from .prices import PriceList, price_of


@dataclass(frozen=True)
class Bill:
    """What a job took: so many machines of a type, each for so many seconds."""

    job: str
    instance_type: str
    instances: int
    seconds: float

    @classmethod
    def of(cls, name: str, description: Mapping[str, Any]) -> Bill:
        """From what DescribeProcessingJob says of a job that ended."""
        cluster = description.get("ProcessingResources", {}).get("ClusterConfig", {})
        return cls(
            name,
            str(cluster.get("SelectedInstanceType") or cluster.get("InstanceType") or ""),
            int(cluster.get("SelectedInstanceCount") or cluster.get("InstanceCount") or 1),
            runtime(description),
        )


def bill(
    jobs: Iterable[Bill], region: str | None, prices: PriceList | None = None, unknown: Sequence[str] = ()
) -> dict[str, Any]:
    """All of a run's jobs together, for run.json: `usd` is for their machines, in their region.

    Parameters
    ----------
    jobs
        What each took.
    region
        Where they ran.
    prices
        As given, or as AWS was asked.
    unknown
        What of the run's jobs is not known, for a person.

    Returns
    -------
    dict
        With `prices`, by type, whose they are and since when. Where a price of the region, or what a job took, is not
        known, `usd` is null, and `usd_is_null_for` says why.
    """
    found = list(jobs)
    seconds: dict[str, float] = {}
    for each in found:
        seconds[each.instance_type] = seconds.get(each.instance_type, 0.0) + each.seconds * each.instances
    usd, why, told = 0.0, [], {}
    for name, total in sorted(seconds.items()):
        if not total:  # a job that had no machine
            continue
        try:
            price = price_of(find_instance(name), region, prices)
        except UsageError:  # local mode's, or one that is newer than the table
            price = None
        if price is None:
            why.append(f"no price of {name or 'a machine'} is known")
        elif price.region != region:
            why.append(f"the price of {name} is known for {price.region} alone, and the jobs ran in {region}")
        else:
            usd += total / 3600 * price.usd_per_hour
            told[name] = {"usd_per_hour": price.usd_per_hour, "source": price.source, "as_of": price.as_of.isoformat()}
    made: dict[str, Any] = {
        "jobs": len(found),
        "instance_seconds": {name: round(total, 1) for name, total in sorted(seconds.items())},
        "usd": None if why or unknown else round(usd, 4),
        "prices": told,
    }
    reasons = [f"{'; '.join(why)}: give --price TYPE=USD, or allow pricing:GetProducts"] if why else []
    if reasons := [*unknown, *reasons]:
        made["usd_is_null_for"] = "; ".join(reasons)
    return made
