"""`plan --backend sagemaker`: what a run will take, before it is begun."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from processing_emulator import ProcessingEmulator
from support import Bucket, Cli

import scaledproc
from scaledproc.backends.sagemaker.cost import forecast as module
from scaledproc.backends.sagemaker.cost.estimate import estimate, needed_volume_gb
from scaledproc.backends.sagemaker.cost.forecast import dataset_encryption, fleet_of, forecast, sizes_of
from scaledproc.backends.sagemaker.jobs import combining
from scaledproc.backends.sagemaker.jobs.job_list import shard_assignments
from scaledproc.backends.sagemaker.jobs.requests import Assignment, volume_gb
from scaledproc.backends.sagemaker.service import ServiceError
from scaledproc.backends.sagemaker.settings import Settings
from scaledproc.extractors.registry import load_extractor
from scaledproc.planning.cost_model import SLOWEST
from scaledproc.planning.plan import Plan
from scaledproc.storage.store import Store

PLAN = ("plan", "--backend", "sagemaker")
NOBODY = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "HOME": "/nonexistent"}


@pytest.fixture
def account(s3: Bucket, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment that leads to an account whose prices may not be asked."""
    with ProcessingEmulator(tmp_path / "machines", s3.server) as emulator:
        yield {**emulator.environment(), "HOME": str(tmp_path)}  # where no run's speed is remembered


@pytest.mark.slow
def test_a_plan_in_s3_tells_time_and_price(cli: Cli, s3: Bucket, demo: Path, account: dict[str, str]) -> None:
    scaledproc.fetch(demo, s3.url("planned"), storage_options={f"output.{k}": v for k, v in s3.storage_options.items()})

    done = cli(*PLAN, s3.url("planned"), "--instance-type", "ml.m5.xlarge", env=account)
    as_json = cli(*PLAN, s3.url("planned"), "--instance-type", "ml.m5.xlarge", "--json", env=account)

    assert done.returncode == 0, done.stderr
    assert "expected on Amazon SageMaker:" in done.stdout
    assert "AccessDeniedException: allow pricing:GetProducts" in done.stdout
    assert "ml.m5.xlarge: $0.23/h in us-east-1" in done.stdout
    assert "recommended:" in done.stdout
    expected = json.loads(as_json.stdout)["expected"]
    shards = json.loads(as_json.stdout)["shards"]
    n_shards = len(shards) if isinstance(shards, list) else shards
    assert expected["jobs"] == n_shards + 1
    # By hand: next to no work, so each job is its start and its end.
    assert expected["instance_hours"] * 3600 == pytest.approx((n_shards + 1) * 272, abs=(n_shards + 1) * 3)
    # Machines, the last one smaller, their 30 GB each; a request for each of the dataset's files, some for each shard
    # and for each chunk, and a heartbeat every 5 s.
    hours, last = expected["instance_hours"], expected["combine_seconds"] / 3600
    assert expected["combine_instance"] == "ml.m5.large"
    machines = (hours - last) * 0.23 + last * 0.115 + hours * 30 * 0.14 / 730
    reads = 104 * 0.0004 / 1000
    writes = (hours * 3600 / 5 + 4 * n_shards) * 0.005 / 1000
    assert machines + reads + writes < expected["usd"] <= machines + reads + writes + 2 * 104 * 0.005 / 1000
    assert expected["recommended"]["estimate"]["usd"] <= expected["usd"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), None),
        (("--combine-instance-type", "ml.c5.4xlarge"), "ml.c5.4xlarge for processing job usage"),
        (("--volume-size", "2000", "--combine-local"), "a job needs 2,000 GB, and the quota 'Size of EBS volume"),
        (("--max-runtime", "6d"), "Longest run time"),
    ],
)
def test_a_plan_tells_what_the_quotas_exclude(
    cli: Cli, demo: Path, account: dict[str, str], words: tuple[str, ...], told: str | None
) -> None:
    """And is shown all the same."""
    machines = ("--instance-type", "ml.m5.xlarge", "--combine-instance-type", "ml.m5.xlarge")
    done = cli(*PLAN, demo, *machines, *words, "--json", env=account)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["expected"]["quotas"]
    assert (found == []) if told is None else (len(found) == 1 and told in found[0])
    shown = cli(*PLAN, demo, *machines, *words, env=account).stdout
    assert (f"  quota: {found[0]}" in shown) if told else ("quota:" not in shown)


@pytest.mark.slow
def test_it_needs_neither_credentials_nor_a_region(cli: Cli, demo: Path) -> None:
    for region in ({}, {"AWS_DEFAULT_REGION": "eu-west-1"}):
        done = cli(*PLAN, demo, "--json", env={**NOBODY, **region})

        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["expected"]["usd"] > 0


@pytest.mark.slow
def test_calibrated_speed_is_named(cli: Cli, demo: Path) -> None:
    done = cli(*PLAN, demo, "--calibrate", "4", env=NOBODY)

    assert done.returncode == 0, done.stderr
    assert SLOWEST.source not in done.stdout
    assert "4 tasks" in done.stdout


@pytest.mark.slow
def test_a_run_that_costs_too_much_is_not_begun(
    s3: Bucket, demo: Path, account: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in account.items():
        monkeypatch.setenv(name, value)
    scaledproc.fetch(demo, s3.url("dear"))
    settings = {"role": "arn:aws:iam::123456789012:role/x", "image_uri": "scaledproc:test", "max_cost": 0.01}

    with pytest.raises(scaledproc.UsageError, match=r"expected to cost \$0\.\d\d, more than --max-cost 0\.01"):
        scaledproc.run(s3.url("dear"), s3.url("dear-out"), backend="sagemaker", settings=settings)

    assert not s3.objects("dear-out")


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Files of 1 to 60 MB (but for their content) in three folders."""
    folder = tmp_path_factory.mktemp("uneven")
    rng = np.random.default_rng(1)
    for group in ("30", "31", "32"):
        (folder / group).mkdir()
        for number in range(8):
            with (folder / group / f"{number}.txt").open("wb") as file:
                file.truncate(int(rng.integers(1_000_000, 60_000_000)))

    class Anything(scaledproc.Extractor):
        name = "anything"
        version = "1"
        anchors = ("*.txt",)
        unit = "file"

        @property
        def schema(self) -> Any:
            import pyarrow as pa

            return pa.schema([("path", pa.string())])

        def extract(self, task: scaledproc.Task) -> dict[str, str]:
            return {"path": task.anchor}

    return scaledproc.plan(folder, extractor=Anything())


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        {},
        {"instances": 2},
        {"input_mode": "file"},
        {"input_mode": "file", "instances": 2},
        {"input_mode": "sharded-by-key", "instances": 5},
        {"volume_size": 77},
    ],
)
def test_the_estimate_has_the_machines_and_disks_of_the_jobs(uneven: Plan, words: dict[str, Any]) -> None:
    settings = Settings.parse(words)
    options: dict[str, Any] = {"unit": "file", "include": [], "exclude": [], "limit": None, "shards": "folder"}
    assignments = shard_assignments(settings, uneven, range(uneven.n_shards), options, "s3://bucket/run")

    fleet = fleet_of(settings, uneven, None)
    sizes = sizes_of(uneven, fleet)

    machines = assignments[0].instances if len(assignments) == 1 else min(settings.max_parallel_jobs, len(assignments))
    assert fleet.max_parallel == machines
    assumed = fleet.volume_gb or needed_volume_gb(sizes, fleet)
    assert assumed == pytest.approx(max(volume_gb(settings, assignment) for assignment in assignments), abs=1)


@pytest.mark.parametrize(("words", "gb"), [({}, 272), ({"combine_volume_size": 40}, 40), ({"input_mode": "file"}, 539)])
def test_the_last_job_s_disk_is_priced_as_it_is_asked_for(
    uneven: Plan, monkeypatch: pytest.MonkeyPatch, words: dict[str, Any], gb: int
) -> None:
    monkeypatch.setattr(combining, "last_costs", lambda _: None)
    monkeypatch.setattr(combining, "ROWS_OF_INPUT", 200 * 10**9 / uneven.size)
    settings, extractor = Settings.parse(words), load_extractor("table")
    fleet = fleet_of(settings, uneven, None)
    plain = estimate(sizes_of(uneven, fleet), SLOWEST, fleet)
    monkeypatch.setattr(module, "last_costs", lambda _: None)
    found = forecast(settings, None, uneven, Store.at("."), extractor)

    last = Assignment("combine", size=combining.expected_on_disk(settings, uneven, extractor))
    assert volume_gb(settings, last) == gb
    more = found.storage_usd - plain.storage_usd
    assert more == pytest.approx((gb - 30) * found.combine_seconds / 3600 / 730 * 0.14, rel=1e-6)
    assert any("the last job's disk: rows are taken for a tenth of the input" in note for note in found.notes)


@pytest.mark.parametrize(
    ("settings", "route", "combines"),
    [
        ({}, "aws", "ml.m5.large"),
        ({"subnets": "subnet-0a1b2c3d", "security_groups": "sg-0a1b2c3d"}, "nat", "ml.m5.large"),
        (
            {"subnets": "subnet-0a1b2c3d", "security_groups": "sg-0a1b2c3d", "s3_route": "gateway"},
            "gateway",
            "ml.m5.large",
        ),
        ({"combine_local": True}, "aws", None),
        ({"combine_instance_type": "ml.r5.large"}, "aws", "ml.r5.large"),
    ],
)
def test_a_fleet_has_the_way_and_the_last_machine_of_the_settings(
    uneven: Plan, settings: dict[str, Any], route: str, combines: str | None
) -> None:
    fleet = fleet_of(Settings.parse(settings), uneven, "us-east-1")

    assert fleet.route == route
    assert (fleet.combine.name if fleet.combine else None) == combines
    assert not fleet.encrypts_output
    assert bool(fleet.assumed) == (route == "nat"), "the dearest is taken where nobody says it, and that is said"
    assert fleet_of(Settings.parse({"output_kms_key": "alias/x"}), uneven, "us-east-1").encrypts_output


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ({}, "none"),
        ({"ServerSideEncryption": "AES256"}, "none"),
        ({"ServerSideEncryption": "aws:kms"}, "each"),
        ({"ServerSideEncryption": "aws:kms:dsse"}, "each"),
        ({"ServerSideEncryption": "aws:kms", "BucketKeyEnabled": True}, "bucket-key"),
        (ServiceError("denied", "no"), None),
    ],
)
def test_the_first_object_tells_of_the_encryption(uneven: Plan, head: Any, expected: str | None) -> None:
    class Answers:
        region = "us-east-1"

        def call(self, client: str, operation: str, **given: Any) -> Any:
            assert (client, operation, given["Bucket"]) == ("s3", "head_object", "bucket")
            assert given["Key"] == f"some/{uneven.files['path'][0].as_py()}"
            if isinstance(head, Exception):
                raise head
            return head

    dataset = SimpleNamespace(uri="s3://bucket/some", options={})
    assert dataset_encryption(Answers(), uneven, dataset) == expected
    assert dataset_encryption(None, uneven, dataset) == "none"
