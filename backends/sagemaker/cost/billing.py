"""What jobs took, as billed time says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from scaledproc.errors import UsageError

from ..instances import find_instance
from ..jobs.decisions import runtime
from .prices import price_of


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


def bill(jobs: Iterable[Bill], region: str | None) -> dict[str, Any]:
    """All of a run's jobs together, for run.json: `usd` is null where a price is not known."""
    found = list(jobs)
    seconds: dict[str, float] = {}
    for each in found:
        seconds[each.instance_type] = seconds.get(each.instance_type, 0.0) + each.seconds * each.instances
    usd: float | None = 0.0
    for name, total in seconds.items():
        try:
            price = price_of(find_instance(name), region)
        except UsageError:  # local mode's, or one that is newer than the table
            price = None
        usd = None if usd is None or price is None else usd + total / 3600 * price.usd_per_hour
    return {
        "jobs": len(found),
        "instance_seconds": {name: round(total, 1) for name, total in sorted(seconds.items())},
        "usd": None if usd is None else round(usd, 4),
    }
