"""What a run on SageMaker will take in hours and dollars, before anything is started. Pure: sizes in, figures out."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scaledproc._util.text import bytes_text, count_text, seconds_text
from scaledproc.errors import UsageError
from scaledproc.planning.cost_model import Costs
from scaledproc.planning.partition import split_evenly

from ..instances import Instance, find_instance
from ..volumes import STAGED, volume_gb
from .charges import (
    GETS_A_SECOND,
    PUTS_PER_CHUNK,
    PUTS_PER_SHARD,
    SECONDS_PER_HEARTBEAT,
    Charges,
    Encryption,
    Route,
    charges,
    requests_for,
)
from .prices import OtherPrice, Price, PriceList, StoragePrice, other_price, price_of, storage_price

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scaledproc.planning.plan import Plan

    Integers = NDArray[np.int64]

# From the request until the container works: a machine is found, the image pulled. AWS names no figure. It is minutes:
# a user of Processing reports 8 min 17 s for a job whose script took 30 s (aws/sagemaker-python-sdk issue 4358), other
# kinds of SageMaker jobs often start in 2 to 4. Whether those minutes are billed is not documented; here they are.
STARTUP_SECONDS = 240.0
# After the work: outputs that SageMaker uploads, the machine given back. An assumption too.
OVERHEAD_SECONDS = 30.0

# Bytes per second into one machine. `stage`: the worker fetches with obstore ahead of its cores; 324 MB/s were measured
# on two busy cores that the server shared (benchmarks/steps/test_staging.py), where s3fs alone made 188. `file`: the
# service copies everything before the container starts, onto a gp2 volume, which takes 250 MiB/s at most and 128 MiB/s
# while it is smaller than 170 GiB.
STAGE_RATE = 300e6
# Each file costs time of its own: 1,700 small objects a second there. The same is taken for `file`.
SECONDS_PER_FILE = 1 / 1500
FILE_RATE = 250 * 2**20
FILE_RATE_SMALL = 128 * 2**20
SMALL_VOLUME_GB = 170
# The network's documented baseline: 0.3125 Gbit/s per vCPU for m5, half of that and less for t3.
NETWORK_PER_VCPU = 0.3125e9 / 8
NETWORK_PER_BURSTABLE_VCPU = 0.128e9 / 8

HOURS_PER_MONTH = 730

SMALLEST_MEMORY_GIB = 8  # room for the libraries in every process and for what is being fetched; an assumption

COMBINE_INSTANCE = "ml.m5.large"
PATTERN_INSTANCE = "ml.m5.4xlarge"
PATTERN_MACHINES = 10
"""What the published pattern ran on: one machine for each of ten folders."""


@dataclass(frozen=True, eq=False)
class Sizes:
    """What a plan asks for, unit by unit, and where it is cut for machines.

    Parameters
    ----------
    unit_bytes, unit_tasks, unit_files
        Of each unit, shape (units,).
    unit_largest
        Bytes of each unit's largest task, which one core does alone, shape (units,).
    cuts
        Offsets of macro shards in the units, shape (shards + 1,).
    chunks
        How many the plan has: each is written by a request or two.
    """

    unit_bytes: Integers
    unit_tasks: Integers
    unit_files: Integers
    unit_largest: Integers
    cuts: Integers
    chunks: int = 0

    @classmethod
    def of(cls, plan: Plan) -> Sizes:
        """The sizes of a plan."""
        cuts = np.searchsorted(plan.unit_tasks, plan.shard_cuts).astype(np.int64)
        largest = np.maximum.reduceat(plan.task_sizes, plan.unit_tasks[:-1]) if plan.n_units else plan.unit_sizes
        return cls(
            plan.unit_sizes,
            np.diff(plan.unit_tasks).astype(np.int64),
            np.diff(plan.unit_files).astype(np.int64),
            largest,
            cuts,
            plan.n_chunks,
        )

    def cut(self, shards: int) -> Sizes:
        """The same units in so many macro shards, as evenly as `--shards N` cuts them."""
        return replace(self, cuts=split_evenly(self.unit_bytes, shards))

    @cached_property
    def shard_bytes(self) -> Integers:
        """Of each macro shard, shape (shards,)."""
        return _sums(self.unit_bytes, self.cuts)

    @cached_property
    def shard_tasks(self) -> Integers:
        """Of each macro shard, shape (shards,)."""
        return _sums(self.unit_tasks, self.cuts)

    @cached_property
    def shard_files(self) -> Integers:
        """Of each macro shard, shape (shards,)."""
        return _sums(self.unit_files, self.cuts)

    @cached_property
    def shard_largest(self) -> Integers:
        """Bytes of the largest task of each macro shard, shape (shards,)."""
        largest: Integers = np.maximum.reduceat(self.unit_largest, self.cuts[:-1]) if self.n_shards else self.cuts[:0]
        return largest

    @property
    def n_shards(self) -> int:
        """Number of macro shards."""
        return len(self.cuts) - 1

    @property
    def size(self) -> int:
        """Bytes of all units."""
        return int(self.shard_bytes.sum())

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return int(self.shard_tasks.sum())

    @property
    def n_files(self) -> int:
        """Number of files."""
        return int(self.shard_files.sum())


@dataclass(frozen=True)
class Fleet:
    """The machines of a run.

    Parameters
    ----------
    instance
        Their type.
    max_parallel
        How many at once.
    mode
        `stage`: the worker fetches units while it works. `file`: SageMaker copies a job's whole input first.
    volume_gb
        The disk of each; what its data needs where none is given.
    single_job
        One job with `max_parallel` machines, each taking every so manieth shard, instead of one job for each shard.
        All are billed until the last one ends.
    replicates
        Whether each machine of a single job is given all its files first, and not only its own shards'.
    region
        Where; None where it is not known.
    startup_seconds, overhead_seconds
        Before and after a job's work.
    download_rate
        Bytes per second into one machine; from the mode, the disk and the network where none is given.
    combine, combine_gb
        The last job's machine, None where it is none of the service's, and its disk.
    route, dataset_encryption, encrypts_output
        What the way to S3 and the encryption cost: see `charges`.
    assumed
        What of these nobody said, for a person.
    """

    instance: Instance
    max_parallel: int
    mode: Literal["stage", "file"] = "stage"
    volume_gb: int | None = None
    single_job: bool = False
    replicates: bool = False
    region: str | None = None
    startup_seconds: float = STARTUP_SECONDS
    overhead_seconds: float = OVERHEAD_SECONDS
    download_rate: float | None = None
    combine: Instance | None = find_instance(COMBINE_INSTANCE)  # noqa: RUF009 - frozen
    combine_gb: int = STAGED
    route: Route = "aws"
    dataset_encryption: Encryption = "none"
    encrypts_output: bool = False
    assumed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.max_parallel < 1:
            raise UsageError(f"{self.max_parallel} machines cannot do anything; give 1 or more")

    @property
    def bytes_per_second(self) -> float:
        """Into one machine."""
        if self.download_rate:
            return self.download_rate
        # A disk whose size is not known yet is taken for a small one.
        file_rate: float = FILE_RATE_SMALL if (self.volume_gb or 0) < SMALL_VOLUME_GB else FILE_RATE
        per_vcpu = NETWORK_PER_BURSTABLE_VCPU if self.instance.is_burstable else NETWORK_PER_VCPU
        return min(STAGE_RATE if self.mode == "stage" else file_rate, per_vcpu * self.instance.vcpus)


@dataclass(frozen=True)
class Estimate:
    """What a run is expected to take.

    Parameters
    ----------
    wall_seconds
        From the first request to the finished table, with the quota for all machines and none to wait for.
    instance_hours
        Billed, over all machines and jobs.
    usd
        For machines, their volumes and reading; None where the price is not known. What S3 takes to keep data, and
        logs, are not in it.
    instance, jobs, max_parallel
        What it is for: the type, how many jobs (the combine job among them), how many machines at once.
    core_hours, startup_hours, combine_seconds
        The work itself; machine hours that only go into starting; the last job.
    longest_job_seconds
        What a limit on a job's time must allow.
    combine_instance, combine_usd
        The last job's machine, and its part; None where it is not the service's, or its price is not known.
    storage_usd, s3_usd, kms_usd, network_usd
        The volumes' part, that of the requests to S3 and to KMS, and that of a VPC's gateway or endpoint.
    lines, notes
        The account of it, and what it rests on, for a person.
    doubts
        Those of the notes by which the price may be another than is said.
    """

    wall_seconds: float
    instance_hours: float
    usd: float | None
    instance: str
    jobs: int
    max_parallel: int
    core_hours: float
    startup_hours: float
    combine_seconds: float
    longest_job_seconds: float
    combine_instance: str | None
    combine_usd: float | None
    storage_usd: float
    s3_usd: float
    kms_usd: float
    network_usd: float
    lines: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def machines_usd(self) -> float | None:
        """The machines' part of it, which is what billed time comes to."""
        if self.usd is None:
            return None
        return self.usd - self.storage_usd - self.s3_usd - self.kms_usd - self.network_usd

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = asdict(self)
        return {**found, "lines": list(self.lines), "notes": list(self.notes), "doubts": list(self.doubts)}


@dataclass(frozen=True)
class Recommendation:
    """Machines for a plan, and why these.

    Parameters
    ----------
    instance, shards, max_parallel
        The type, how many macro shards, how many machines at once.
    estimate
        Of that.
    deadline_seconds
        The time that it had to keep to.
    reasons
        For a person.
    """

    instance: Instance
    shards: int
    max_parallel: int
    estimate: Estimate
    deadline_seconds: float
    reasons: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "instance": self.instance.name,
            "shards": self.shards,
            "max_parallel": self.max_parallel,
            "estimate": self.estimate.to_dict(),
            "deadline_seconds": self.deadline_seconds,
            "reasons": list(self.reasons),
        }


def estimate(sizes: Sizes, costs: Costs, fleet: Fleet, lookup: PriceList | None = None) -> Estimate:
    """Time and money for a plan on some machines.

    Parameters
    ----------
    sizes
        The plan's.
    costs
        What work costs one core, taken to be the same on a vCPU of any type.
    fleet
        The machines.
    lookup
        Prices asked of AWS; the package's table where there are none.
    """
    if fleet.volume_gb is None:
        fleet = replace(fleet, volume_gb=needed_volume_gb(sizes, fleet))
    n_machines = min(fleet.max_parallel, max(sizes.n_shards, 1))
    seconds = _job_seconds(sizes, costs, fleet, n_machines)
    combine = math.ceil(sizes.n_tasks * costs.combine_task)
    if fleet.combine is not None:
        combine = math.ceil(fleet.startup_seconds + fleet.overhead_seconds + sizes.n_tasks * costs.combine_task)
    shard_wall, billed, starts = _simulate(seconds, n_machines, fleet, sizes)
    shard_hours, combine_hours = billed / 3600, combine / 3600 if fleet.combine is not None else 0.0
    prices = [price_of(each, fleet.region, lookup) for each in (fleet.instance, fleet.combine) if each is not None]
    storage = storage_price(fleet.region, lookup)
    volumes = shard_hours * (fleet.volume_gb or 0) + combine_hours * fleet.combine_gb
    storage_usd = volumes / HOURS_PER_MONTH * storage.usd_per_gb_month
    other = _charges(sizes, fleet, n_machines, billed + combine_hours * 3600)
    combine_price = prices[1] if fleet.combine is not None else None
    combine_usd = combine_hours * combine_price.usd_per_hour if combine_price is not None else None
    usd = None
    if prices[0] is not None and (combine_usd is not None or fleet.combine is None):
        usd = shard_hours * prices[0].usd_per_hour + (combine_usd or 0.0) + storage_usd + other.usd
    has_combine_job = fleet.combine is not None
    found = Estimate(
        wall_seconds=shard_wall + combine,
        instance_hours=shard_hours + combine_hours,
        usd=usd,
        instance=fleet.instance.name,
        jobs=(1 if fleet.single_job else len(seconds)) + has_combine_job,
        max_parallel=n_machines,
        core_hours=float(costs.seconds(sizes.n_tasks, sizes.size)) / 3600,
        startup_hours=(starts + has_combine_job) * fleet.startup_seconds / 3600,
        combine_seconds=combine,
        longest_job_seconds=max([float(combine), shard_wall if fleet.single_job else float(seconds.max(initial=0))]),
        combine_instance=fleet.combine.name if fleet.combine else None,
        combine_usd=combine_usd,
        storage_usd=storage_usd,
        s3_usd=other.reads_usd + other.writes_usd,
        kms_usd=other.kms_usd,
        network_usd=other.network_usd,
    )
    elsewhere = dict.fromkeys(each.note for each in (*prices, storage) if each is not None and each.note)
    doubts = (*fleet.assumed, *(lookup.notes if lookup else ()), *elsewhere)
    notes = (*_notes(costs, fleet, storage), *doubts, *_price_notes(fleet, prices))
    return replace(found, lines=_lines(found, sizes, fleet), notes=notes, doubts=doubts)


def _charges(sizes: Sizes, fleet: Fleet, machines: int, seconds: float) -> Charges:
    """Of a run whose machines run for so many seconds in all."""
    copies = machines if fleet.replicates else 1
    beats = seconds / SECONDS_PER_HEARTBEAT
    return charges(
        reads=requests_for(sizes.size, sizes.n_files) * copies,
        writes=PUTS_PER_CHUNK * sizes.chunks + PUTS_PER_SHARD * sizes.n_shards + beats,
        size=sizes.size * copies,
        route=fleet.route,
        dataset_encryption=fleet.dataset_encryption,
        encrypts_output=fleet.encrypts_output,
    )


def _price_notes(fleet: Fleet, prices: Sequence[Price | None]) -> Iterator[str]:
    """What each machine costs by whom, or that nobody says it."""
    machines = [each for each in (fleet.instance, fleet.combine) if each is not None]
    told = set()
    for instance, price in zip(machines, prices, strict=True):
        if instance.name in told:
            continue
        told.add(instance.name)
        if price is None:
            yield (
                f"the price of {instance} is not known: give --price {instance}=USD (an hour), or allow "
                "pricing:GetProducts to have it looked up"
            )
            continue
        yield f"{instance}: ${price.usd_per_hour:g}/h in {price.region}, {price.source}, {price.as_of}"


def estimate_text(found: Estimate) -> list[str]:
    """An estimate as a person reads it, line by line."""
    money = "price unknown" if found.usd is None else f"about {usd_text(found.usd)}"
    hours = found.instance_hours - (found.combine_seconds / 3600 if found.combine_instance else 0)
    machines = f"{hours:,.1f} hours of {found.instance}"
    if found.combine_instance:
        machines += f", {found.combine_seconds / 3600:,.1f} of {found.combine_instance}"
    head = f"{money}, {seconds_text(found.wall_seconds)} ({machines})"
    return [head, *(f"  {line}" for line in found.lines), *(f"  note: {note}" for note in found.notes)]


def usd_text(usd: float) -> str:
    """`$0.03`, `$12.50`, `$1,250`."""
    return f"${usd:,.0f}" if usd >= 1000 else f"${usd:,.2f}"


def refuse_above(found: Estimate, max_cost: float) -> None:
    """Stop before a run that may cost more than somebody wants to pay.

    Raises
    ------
    UsageError
        If the estimate is above `max_cost` US dollars or has no price, or `max_cost` is negative.
    """
    if not max_cost >= 0:
        raise UsageError(f"--max-cost {max_cost:g}: give US dollars, 0 or more")
    if found.usd is None:
        name = found.combine_instance if found.combine_instance and found.combine_usd is None else found.instance
        raise UsageError(
            f"--max-cost {max_cost:g} cannot be promised: the price of {name} is not known; give it with --price "
            f"{name}=USD (an hour), take another type, allow pricing:GetProducts, or leave --max-cost out"
        )
    if found.usd > max_cost:
        raise UsageError(
            f"this run is expected to cost {usd_text(found.usd)}, more than --max-cost {max_cost:g}; "
            "raise it, or take fewer files or other machines"
            + "".join(f"\nit rests on this: {doubt}" for doubt in found.doubts)
        )


def needed_volume_gb(sizes: Sizes, fleet: Fleet) -> int:
    """The disk of each machine."""
    if fleet.mode == "stage":
        return volume_gb("stage", int(sizes.unit_bytes.max(initial=0)))
    return volume_gb("file", sizes.size if fleet.replicates else int(sizes.shard_bytes.max(initial=0)))


def recommend(
    sizes: Sizes,
    costs: Costs,
    candidates: Iterable[Instance],
    *,
    deadline: float | None = None,
    max_parallel: int = 100,
    min_memory_gib: float = SMALLEST_MEMORY_GIB,
    fleet: Fleet | None = None,
    lookup: PriceList | None = None,
) -> Recommendation:
    """The cheapest machines that are quick enough.

    Every candidate is tried with 1 to `max_parallel` shards, each on a machine of its own: more shards would only add
    starts. Fewer shards cost fewer starts and take longer, so the deadline decides.

    Parameters
    ----------
    sizes, costs, lookup
        As for `estimate`.
    candidates
        The types to choose from. Those without a known price are passed over.
    deadline
        Seconds for the whole run; where none is given, what the published pattern's ten ml.m5.4xlarge would take for
        these shards.
    max_parallel
        Machines at once at most: the account's quota.
    min_memory_gib
        Smaller machines are passed over.
    fleet
        Mode, volume, region and start-up times; its type and number of machines do not count, unless for the default
        deadline.

    Raises
    ------
    UsageError
        If no candidate has a price and the memory, or none is quick enough.
    """
    base = fleet or Fleet(find_instance(PATTERN_INSTANCE), PATTERN_MACHINES)
    pattern_fleet = replace(base, instance=find_instance(PATTERN_INSTANCE), max_parallel=PATTERN_MACHINES)
    pattern = estimate(sizes, costs, pattern_fleet, lookup)
    limit = pattern.wall_seconds if deadline is None else deadline
    large = [one for one in candidates if one.memory_gib >= min_memory_gib]
    priced = [one for one in large if price_of(one, base.region, lookup) is not None]
    if base.combine is not None and price_of(base.combine, base.region, lookup) is None:
        raise UsageError(f"the price of {base.combine}, which combines, is not known: give --price {base.combine}=USD")
    if not priced:
        raise UsageError(
            f"none of these types has a known price and {min_memory_gib:g} GiB, so none can be called the cheapest"
        )
    tries: list[Recommendation] = []
    fastest = math.inf
    for shards in range(1, min(max_parallel, len(sizes.unit_bytes)) + 1):
        cut = sizes.cut(shards)
        for instance in priced:
            found = estimate(cut, costs, replace(base, instance=instance, max_parallel=shards), lookup)
            fastest = min(fastest, found.wall_seconds)
            if found.wall_seconds <= limit:
                tries.append(Recommendation(instance, shards, shards, found, limit, ()))
    if not tries:
        raise UsageError(
            f"no choice of these types on up to {max_parallel} machines takes {seconds_text(limit)} or less; "
            f"the quickest takes {seconds_text(fastest)}"
        )
    best = min(tries, key=lambda one: (one.estimate.usd, one.estimate.wall_seconds, one.shards, one.instance.name))
    return replace(best, reasons=_reasons(best, tries, pattern, deadline is None))


def _job_seconds(sizes: Sizes, costs: Costs, fleet: Fleet, machines: int) -> NDArray[np.float64]:
    """Of each shard's job, whole seconds as they are billed."""
    work = costs.seconds(sizes.shard_tasks, sizes.shard_bytes)
    if fleet.mode == "stage":  # fetching keeps a core busy too
        work = work + sizes.shard_bytes / (fleet.download_rate or STAGE_RATE) + sizes.shard_files * SECONDS_PER_FILE
    compute = work / fleet.instance.vcpus
    compute = np.maximum(compute, costs.seconds(1, sizes.shard_largest))
    fetch = sizes.shard_bytes / fleet.bytes_per_second + sizes.shard_files * SECONDS_PER_FILE
    # All machines together get no more answers a second than S3 gives of one prefix.
    fetch = np.maximum(fetch, requests_for(sizes.shard_bytes, sizes.shard_files) * machines / GETS_A_SECOND)
    took: NDArray[np.float64] = np.maximum(compute, fetch) if fleet.mode == "stage" else compute + fetch
    if fleet.replicates:
        return compute
    if fleet.single_job:
        return took
    return np.asarray(np.ceil(fleet.startup_seconds + took + fleet.overhead_seconds), np.float64)


def _simulate(seconds: NDArray[np.float64], machines: int, fleet: Fleet, sizes: Sizes) -> tuple[float, float, int]:
    """Wall seconds and billed machine seconds of the shards' jobs, and how many machines were started."""
    if fleet.single_job:
        loads = [float(seconds[first::machines].sum()) for first in range(machines)]
        before = fleet.startup_seconds
        if fleet.replicates:
            answers = requests_for(sizes.size, sizes.n_files) * machines / GETS_A_SECOND
            before += max(sizes.size / fleet.bytes_per_second + sizes.n_files * SECONDS_PER_FILE, answers)
        wall = math.ceil(before + max(loads) + fleet.overhead_seconds)
        return wall, wall * machines, machines
    return makespan(seconds.tolist(), machines), float(seconds.sum()), len(seconds)


def makespan(seconds: Sequence[float], machines: int) -> float:
    """When the last job ends, if each is started in order as soon as a machine is free."""
    free = [0.0] * min(machines, max(len(seconds), 1))
    for took in seconds:
        heapq.heapreplace(free, free[0] + took)
    return max(free)


def _lines(found: Estimate, sizes: Sizes, fleet: Fleet) -> tuple[str, ...]:
    what = f"{count_text(sizes.n_tasks, 'task')}, {bytes_text(sizes.size)} in {count_text(sizes.n_shards, 'shard')}"
    jobs = "one job" if fleet.single_job else f"{count_text(sizes.n_shards, 'job')}, the longest"
    besides = (
        (found.storage_usd, "volumes"),
        (found.s3_usd, "requests to S3"),
        (found.kms_usd, "requests to KMS"),
        (found.network_usd, _ROUTES[fleet.route]),
    )
    return (
        f"work: {what}: {found.core_hours:,.1f} core-hours",
        f"machines: {found.max_parallel} {fleet.instance} at once ({fleet.instance.vcpus} vCPUs each)",
        f"jobs: {jobs} {seconds_text(found.longest_job_seconds)}; then combine, {seconds_text(found.combine_seconds)}",
        f"billed: {found.instance_hours:,.2f} hours, {found.startup_hours:,.2f} of them starting",
        f"besides machines: {', '.join(f'{usd_text(usd)} for {what}' for usd, what in besides)}",
    )


_ROUTES: Mapping[Route, str] = {
    "aws": "the network",
    "gateway": "the network (a gateway endpoint)",
    "nat": "a NAT gateway",
    "interface": "an interface endpoint",
}


def _notes(costs: Costs, fleet: Fleet, storage: StoragePrice) -> list[str]:
    disk = f"${storage.usd_per_gb_month:g} per GB and month in {storage.region}"
    rate = f"{bytes_text(fleet.bytes_per_second)}/s and {1 / SECONDS_PER_FILE:.0f} files a second into each machine"
    notes = [
        f"speed: {costs.source}; the same on each vCPU",
        f"{seconds_text(fleet.startup_seconds)} to start a job, billed; nothing to wait for quota or capacity",
        f"{rate}, {'while it works' if fleet.mode == 'stage' else 'before it works'}",
        f"volumes: {disk}; what S3 takes to keep data, logs, and hours of gateways and endpoints are not in it",
        f"S3 answers {GETS_A_SECOND:,} GET a second of a prefix at first, for all machines together",
    ]
    used = ["s3_usd_per_1000_reads", "s3_usd_per_1000_writes"]
    used += ["kms_usd_per_10000"] if fleet.dataset_encryption != "none" or fleet.encrypts_output else []
    used += {"nat": ["nat_usd_per_gb"], "interface": ["endpoint_usd_per_gb"]}.get(fleet.route, [])
    notes += [f"{name.replace('_', ' ')}: {p.usd:g} in us-east-1, {p.source}, {p.as_of}" for name, p in _others(used)]
    if fleet.instance.is_burstable:
        notes.append(f"{fleet.instance} is burstable: for long it has only a share of its vCPUs, so it may take longer")
    return notes


def _others(names: Iterable[str]) -> list[tuple[str, OtherPrice]]:
    return [(name, other_price(name)) for name in names]


def _reasons(
    best: Recommendation, tries: Sequence[Recommendation], pattern: Estimate, is_patterns_time: bool
) -> tuple[str, ...]:
    assert best.estimate.usd is not None  # only types with a price were tried
    bound = "as the published pattern's ten ml.m5.4xlarge would take" if is_patterns_time else "as was asked for"
    figures = f"{usd_text(best.estimate.usd)}, {seconds_text(best.estimate.wall_seconds)}"
    reasons = [
        f"{count_text(best.shards, 'shard')} on as many {best.instance}: {figures}",
        f"no longer than {seconds_text(best.deadline_seconds)}, {bound}",
    ]
    if pattern.usd is not None:
        reasons.append(f"the pattern's machines: {usd_text(pattern.usd)}, {seconds_text(pattern.wall_seconds)}")
    others = [one for one in tries if one.instance.family != best.instance.family]
    if others:
        other = min(others, key=lambda one: (one.estimate.usd, one.estimate.wall_seconds))
        assert other.estimate.usd is not None  # as above
        reasons.append(
            f"the next family: {count_text(other.shards, 'shard')} on {other.instance}, {usd_text(other.estimate.usd)}"
        )
    starts = best.estimate.startup_hours / best.estimate.instance_hours
    reasons.append(f"starting is {starts:.0%} of what is billed; fewer shards would take too long or cost as much")
    reasons.append(f"it has {best.instance.memory_gib / best.instance.vcpus:g} GiB for each vCPU")
    return tuple(reasons)


def _sums(values: Integers, offsets: Integers) -> Integers:
    sums = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
    between: Integers = sums[offsets[1:]] - sums[offsets[:-1]]
    return between
