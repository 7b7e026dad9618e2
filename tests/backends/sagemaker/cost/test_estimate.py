"""Machines, prices and estimates: what a run on SageMaker will take, without asking SageMaker."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scaledproc
from scaledproc.backends.sagemaker.cost.estimate import (
    Fleet,
    Sizes,
    estimate,
    estimate_text,
    makespan,
    recommend,
    refuse_above,
)
from scaledproc.backends.sagemaker.cost.prices import (
    Price,
    PriceList,
    price_of,
    priced_instances,
)
from scaledproc.backends.sagemaker.instances import find_instance
from scaledproc.errors import UsageError
from scaledproc.planning.cost_model import SLOWEST, Costs

M5 = find_instance("ml.m5.4xlarge")
UNPRICED = find_instance("ml.m4.xlarge")
COSTS = Costs(0.01, 1e-8, combine_task=1e-4, source="a test")
GB = 10**9


def sizes_of(sizes: list[int], shards: int, tasks: int = 2) -> Sizes:
    """Units of these bytes, each of so many equal tasks."""
    size = np.array(sizes, np.int64)
    count = np.full(len(size), tasks, np.int64)
    whole = Sizes(size, count, 2 * count, size // tasks, np.array([0, len(size)]))
    return whole.cut(shards)


@pytest.mark.slow
def test_none_of_it_imports_boto3() -> None:
    modules = ", ".join(
        f"scaledproc.backends.sagemaker.{name}" for name in ("cost.estimate", "iam.policy", "limits", "cost.prices")
    )
    code = f"import sys, {modules}; sys.exit(any(name in sys.modules for name in ('boto3', 'botocore', 'sagemaker')))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Estimates


def test_an_estimate_by_hand() -> None:
    sizes = sizes_of([320 * GB, 160 * GB], 2)
    fleet = Fleet(
        M5, 1, volume_gb=30, startup_seconds=100, overhead_seconds=20, download_rate=100e6, region="us-east-1"
    )

    found = estimate(sizes, COSTS, fleet)

    # Fetching bounds both jobs: 3,200 s and 1,600 s, and 4 files of 0.7 ms each.
    jobs = [100 + 3201 + 20, 100 + 1601 + 20]
    combine = 121  # 4 tasks of 0.1 ms each, on a machine of its own
    hours = (sum(jobs) + combine) / 3600
    assert found.wall_seconds == sum(jobs) + combine
    assert found.instance_hours == pytest.approx(hours)
    assert found.longest_job_seconds == jobs[0]
    assert found.storage_usd == pytest.approx(hours / 730 * 30 * 0.14)
    # A GET for each file and each further 8 MiB of it; PUTs of two shards, and a heartbeat every 5 s.
    gets, puts = 8 + 480 * GB // 2**23, 2 * 4 + hours * 3600 / 5
    assert found.s3_usd == pytest.approx(gets * 0.0004 / 1000 + puts * 0.005 / 1000)
    assert (found.kms_usd, found.network_usd) == (0, 0)
    assert (found.combine_instance, found.combine_usd) == ("ml.m5.large", pytest.approx(121 / 3600 * 0.115))
    machines = sum(jobs) / 3600 * 0.922 + found.combine_usd
    assert found.usd == pytest.approx(machines + found.storage_usd + found.s3_usd)
    assert (found.jobs, found.startup_hours) == (3, pytest.approx(300 / 3600))
    assert found.core_hours == pytest.approx((480 * GB * 1e-8 + 4 * 0.01) / 3600)
    two = estimate(sizes, COSTS, replace(fleet, max_parallel=2))
    assert two.wall_seconds == jobs[0] + combine
    assert two.usd == found.usd


def test_copying_first_takes_longer_than_staging_meanwhile() -> None:
    sizes = sizes_of([100 * GB], 1, tasks=1000)
    stage, file = (Fleet(M5, 1, mode=mode, download_rate=100e6) for mode in ("stage", "file"))
    slow = replace(COSTS, byte=1e-6)

    difference = estimate(sizes, slow, file).wall_seconds - estimate(sizes, slow, stage).wall_seconds

    # 1,000 s, and 1.3 s for the files: staging keeps one core of 16 busy with it, copying first holds up all of them.
    assert difference == pytest.approx(1001.3 * (1 - 1 / 16), abs=2)


def test_one_job_of_many_machines_starts_once_and_bills_all_to_the_end() -> None:
    sizes = sizes_of([100 * GB, 50 * GB, 10 * GB, 10 * GB], 4)
    fleet = Fleet(M5, 2, single_job=True, download_rate=100e6, startup_seconds=100, overhead_seconds=0)

    found = estimate(sizes, COSTS, fleet)

    first = 100 + 1101  # the first and the third shard, and their files
    assert found.wall_seconds == first + found.combine_seconds
    assert found.instance_hours == pytest.approx((2 * first + found.combine_seconds) / 3600)
    assert found.jobs == 2


def test_small_machines_are_bound_by_their_network() -> None:
    rates = [
        Fleet(find_instance(name), 1).bytes_per_second for name in ("ml.t3.medium", "ml.m5.large", "ml.m5.4xlarge")
    ]

    assert rates == [32e6, 78.125e6, 300e6]
    assert Fleet(M5, 1, mode="file").bytes_per_second == 128 * 2**20
    assert Fleet(M5, 1, mode="file", volume_gb=500).bytes_per_second == 250 * 2**20


def test_what_an_estimate_rests_on_is_told() -> None:
    found = estimate(sizes_of([GB] * 4, 2), SLOWEST, Fleet(find_instance("ml.t3.large"), 2, region="eu-west-1"))
    text = "\n".join(estimate_text(found))

    for part in ("about $", "benchmark", "4 min 00 s to start", "burstable", "eu-west-1 may be", "MB/s", "core-hours"):
        assert part in text
    assert json.loads(json.dumps(found.to_dict()))["jobs"] == 3


def test_what_makes_a_price_doubtful_is_told_apart() -> None:
    """A person who gives --max-cost is told of these, and of no other notes."""
    fleet = Fleet(M5, 2, region="eu-west-1", assumed=("the subnets have NAT",))
    asked = PriceList({}, None, ("today's prices could not be asked of AWS (AccessDenied)",))
    found = estimate(sizes_of([GB] * 4, 2), COSTS, fleet, asked)

    elsewhere = "prices are those of us-east-1; eu-west-1 may be cheaper or dearer"
    assert found.doubts == (*fleet.assumed, *asked.notes, elsewhere)
    assert set(found.doubts) < set(found.notes)
    assert len(set(found.notes)) == len(found.notes)
    with pytest.raises(UsageError, match=f"more than --max-cost 0;(.|\n)*it rests on this: {elsewhere}"):
        refuse_above(found, 0)
    assert estimate(sizes_of([GB] * 4, 2), COSTS, Fleet(M5, 2, region="us-east-1")).doubts == ()


def test_an_unknown_price_is_said_not_guessed() -> None:
    found = estimate(sizes_of([GB], 1), COSTS, Fleet(UNPRICED, 1))

    assert found.usd is None
    assert estimate_text(found)[0].startswith("price unknown, ")
    with pytest.raises(UsageError, match=r"cannot be promised.*ml\.m4\.xlarge"):
        refuse_above(found, 1000)


def test_the_cost_that_somebody_will_pay_is_kept_to() -> None:
    found = estimate(sizes_of([GB] * 50, 10), COSTS, Fleet(M5, 10))

    refuse_above(found, found.usd)
    with pytest.raises(UsageError, match="more than --max-cost 0"):
        refuse_above(found, 0)
    for nonsense in (-1, float("nan")):
        with pytest.raises(UsageError, match="0 or more"):
            refuse_above(found, nonsense)


def test_sizes_are_those_of_the_plan(demo: Path) -> None:
    plan = scaledproc.plan(demo, shards=2)
    sizes = Sizes.of(plan)

    assert sizes.shard_bytes.tolist() == plan.shard_sizes.tolist()
    assert sizes.n_tasks == plan.n_tasks
    assert sizes.n_files == plan.files.num_rows
    assert sizes.size == plan.size
    assert sizes.shard_largest.max() == plan.task_sizes.max()
    assert sizes.cut(3).shard_bytes.tolist() == scaledproc.plan(demo, shards=3).shard_sizes.tolist()


def test_a_plan_without_tasks_takes_a_combine_job(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    found = estimate(Sizes.of(scaledproc.plan(tmp_path / "empty")), COSTS, Fleet(M5, 4))

    assert found.wall_seconds == found.combine_seconds == 270


@pytest.mark.parametrize("machines", [0, -1])
def test_no_machine_is_no_fleet(machines: int) -> None:
    with pytest.raises(UsageError, match="1 or more"):
        Fleet(M5, machines)


UNITS = st.lists(st.integers(0, 200 * GB), min_size=1, max_size=30)
FLEETS = st.builds(
    Fleet,
    st.sampled_from([find_instance(name) for name in sorted(priced_instances())]),
    st.integers(1, 12),
    mode=st.sampled_from(["stage", "file"]),
    single_job=st.booleans(),
)


@pytest.mark.slow
@given(UNITS, st.integers(1, 10), FLEETS, st.data())
def test_more_data_is_never_cheaper_or_quicker(
    units: list[int], shards: int, fleet: Fleet, data: st.DataObject
) -> None:
    sizes = sizes_of(units, shards)
    more = data.draw(st.lists(st.integers(0, 50 * GB), min_size=len(units), max_size=len(units)))
    larger = replace(sizes, unit_bytes=sizes.unit_bytes + np.array(more))

    small, large = (estimate(each, COSTS, fleet) for each in (sizes, larger))

    assert large.usd >= small.usd
    assert large.wall_seconds >= small.wall_seconds
    assert large.longest_job_seconds >= small.longest_job_seconds


@pytest.mark.slow
@given(UNITS, st.integers(1, 10), FLEETS)
def test_no_estimate_is_below_the_work_itself(units: list[int], shards: int, fleet: Fleet) -> None:
    sizes = sizes_of(units, shards)

    found = estimate(sizes, COSTS, fleet)

    machine_hours = found.core_hours / fleet.instance.vcpus
    assert found.instance_hours >= machine_hours + found.startup_hours - 1e-9
    assert found.usd >= machine_hours * price_of(fleet.instance, None).usd_per_hour
    assert found.combine_usd == found.combine_seconds / 3600 * 0.115
    assert found.wall_seconds >= machine_hours * 3600 / found.max_parallel
    assert found.instance_hours * 3600 <= found.wall_seconds * found.max_parallel + 1e-6


@pytest.mark.slow
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.integers(1, 20))
def test_the_makespan_is_between_its_bounds(seconds: list[float], machines: int) -> None:
    bound = max(sum(seconds) / machines, max(seconds))

    assert bound * (1 - 1e-9) <= makespan(seconds, machines) <= (bound + max(seconds)) * (1 + 1e-9)


@pytest.mark.slow
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_one_machine_takes_the_sum_and_one_for_each_job_the_longest(seconds: list[float]) -> None:
    assert makespan(seconds, 1) == pytest.approx(sum(seconds))
    assert makespan(seconds, len(seconds)) == max(seconds)


# What is beside machines


def test_the_way_through_a_vpc_by_hand() -> None:
    sizes = sizes_of([300 * GB, 100 * GB], 2)
    usd = {way: estimate(sizes, COSTS, Fleet(M5, 2, route=way)) for way in ("aws", "gateway", "nat", "interface")}

    assert usd["aws"].usd == usd["gateway"].usd
    assert usd["nat"].network_usd == pytest.approx(400 * 0.045)
    assert usd["interface"].network_usd == pytest.approx(400 * 0.01)
    assert usd["nat"].usd - usd["aws"].usd == pytest.approx(18)
    assert "$18.00 for a NAT gateway" in "\n".join(estimate_text(usd["nat"]))


def test_requests_to_kms_by_hand() -> None:
    sizes = sizes_of([8 * 2**20] * 50_000, 2, tasks=1)  # two files of 4 MiB each, and so 150,000 requests
    none, each, some = (
        estimate(sizes, COSTS, Fleet(M5, 2, dataset_encryption=kind)) for kind in ("none", "each", "bucket-key")
    )

    assert none.kms_usd == 0
    assert each.kms_usd == pytest.approx(150_000 * 0.03 / 10_000)
    assert some.kms_usd == pytest.approx(each.kms_usd * 0.03)
    assert each.usd - none.usd == pytest.approx(each.kms_usd)
    written = estimate(sizes, COSTS, Fleet(M5, 2, encrypts_output=True))
    assert written.kms_usd == pytest.approx((written.s3_usd - 150_000 * 0.0004 / 1000) / 0.005 * 1000 * 0.03 / 10_000)


def test_s3_answers_so_many_requests_a_second_of_all_machines() -> None:
    sizes = sizes_of([2000] * 100_000, 100, tasks=1)  # 200,000 requests
    few, many = (estimate(sizes, COSTS, Fleet(M5, machines, startup_seconds=0)) for machines in (1, 100))

    assert many.wall_seconds >= 200_000 / 5_500
    assert few.wall_seconds >= 200_000 / 1_500
    assert many.longest_job_seconds - 30 >= 200_000 / 5_500, "the 100 share what one alone would have"


def test_the_last_job_has_a_machine_of_its_own_or_none() -> None:
    sizes = sizes_of([GB] * 4, 2)
    large, here = (estimate(sizes, COSTS, Fleet(M5, 2, combine=each)) for each in (M5, None))

    assert large.combine_usd == pytest.approx(large.combine_seconds / 3600 * 0.922)
    assert (here.jobs, large.jobs) == (2, 3)
    assert here.combine_instance is here.combine_usd is None
    assert here.usd < large.usd
    unknown = estimate(sizes, COSTS, Fleet(M5, 2, combine=UNPRICED))
    assert unknown.usd is None
    with pytest.raises(UsageError, match=r"--price ml\.m4\.xlarge=USD"):
        refuse_above(unknown, 1000)
    with pytest.raises(UsageError, match="which combines"):
        recommend(sizes, COSTS, [M5], fleet=Fleet(M5, 2, combine=UNPRICED))


# Recommendations


CANDIDATES = [
    find_instance(f"ml.{name}") for name in ("m5.xlarge", "m5.4xlarge", "c5.4xlarge", "r5.4xlarge", "m4.xlarge")
]


@pytest.fixture(scope="module")
def ten_folders() -> Sizes:
    rng = np.random.default_rng(10)
    units = [int(size) for size in rng.integers(GB, 20 * GB, 200)]
    return sizes_of(units, 10, tasks=20)


@pytest.mark.slow
def test_what_is_recommended_is_no_slower_than_the_pattern_and_no_dearer(ten_folders: Sizes) -> None:
    pattern = estimate(ten_folders, COSTS, Fleet(M5, 10))

    found = recommend(ten_folders, COSTS, CANDIDATES)

    assert found.deadline_seconds == pattern.wall_seconds
    assert found.estimate.wall_seconds <= pattern.wall_seconds
    assert found.estimate.usd < pattern.usd
    assert any("pattern's machines" in reason for reason in found.reasons)
    assert found.to_dict()["instance"] == found.instance.name


def test_no_other_choice_is_cheaper_in_time(ten_folders: Sizes) -> None:
    found = recommend(ten_folders, COSTS, CANDIDATES, deadline=3600 * 2, max_parallel=12)

    for instance in CANDIDATES[:-1]:
        for shards in range(1, 13):
            other = estimate(ten_folders.cut(shards), COSTS, Fleet(instance, shards))
            assert other.wall_seconds > 7200 or other.usd >= found.estimate.usd


@pytest.mark.slow
def test_more_time_is_never_dearer(ten_folders: Sizes) -> None:
    costs = [
        recommend(ten_folders, COSTS, CANDIDATES, deadline=hours * 3600, max_parallel=30).estimate.usd
        for hours in (1, 2, 4, 24)
    ]

    assert costs == sorted(costs, reverse=True)


def test_starting_makes_many_small_jobs_dear() -> None:
    found = recommend(sizes_of([10**7] * 100, 100), COSTS, [M5], deadline=3600)

    assert found.shards == 1


def test_what_cannot_be_recommended() -> None:
    sizes = sizes_of([GB] * 10, 10)

    with pytest.raises(UsageError, match="known price"):
        recommend(sizes, COSTS, [UNPRICED])
    with pytest.raises(UsageError, match="the quickest takes"):
        recommend(sizes, COSTS, [M5], deadline=60)


@pytest.mark.slow
def test_prices_that_were_looked_up_decide(ten_folders: Sizes) -> None:
    dear = PriceList({"ml.m5.xlarge": Price(50.0, "us-east-1", "a test", date(2026, 1, 1))})

    assert recommend(ten_folders, COSTS, CANDIDATES[:2]).instance.name == "ml.m5.xlarge"
    assert recommend(ten_folders, COSTS, CANDIDATES[:2], lookup=dear).instance.name == "ml.m5.4xlarge"


def test_a_machine_of_one_job_has_its_own_files_or_all() -> None:
    sizes = sizes_of([100 * GB] * 4, 4)

    apart = estimate(sizes, COSTS, Fleet(M5, 4, mode="file", volume_gb=600, single_job=True))
    copied = estimate(sizes, COSTS, Fleet(M5, 4, mode="file", volume_gb=600, single_job=True, replicates=True))

    assert copied.wall_seconds - apart.wall_seconds == pytest.approx(
        300 * GB / Fleet(M5, 4, mode="file", volume_gb=600).bytes_per_second, abs=2
    )
    gets = (8 + 400 * GB // 2**23) * 0.0004 / 1000
    assert copied.s3_usd - apart.s3_usd >= 3 * gets
    small = estimate(sizes, COSTS, Fleet(M5, 4, mode="file", single_job=True))
    large = estimate(sizes, COSTS, Fleet(M5, 4, mode="file", single_job=True, replicates=True))
    assert large.storage_usd / large.instance_hours > 3 * small.storage_usd / small.instance_hours
