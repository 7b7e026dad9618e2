"""A check from end to end, on the emulator, whichever way the service does what AWS does not document."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from processing_emulator import ProcessingEmulator
from support import SAGEMAKER, Bucket, Cli

from scaledproc.backends.sagemaker.check import run as check
from scaledproc.backends.sagemaker.check.run import Report, check_account, most_usd
from scaledproc.backends.sagemaker.service import Service
from scaledproc.backends.sagemaker.settings import Settings
from scaledproc.errors import ScaledprocError, UsageError

SWITCHES: dict[str, tuple[dict[str, Any], int, str]] = {
    "default": ({}, 0, "at their paths"),
    "whole keys": ({"manifests": "key"}, 0, "at their whole keys"),
    "one folder": ({"manifests": "flat"}, 0, "all in one folder"),
    "small tmp": ({"small_disk": "tmp"}, 1, "/opt/ml/processing"),
    "small volume": ({"small_disk": "processing"}, 1, "/tmp"),
    "no choice": ({"refuses_preferences": True}, 2, "no: types are tried"),
    "no nesting": ({"refuses_nested_outputs": True}, 3, "no: nothing of a run"),
    "dropped at the limit": ({"keeps_continuous": False}, 4, "no"),
}
"""The emulator's switch, which answer it changes, and how that begins."""


def settings(**given: Any) -> Settings:
    return Settings.parse({**SAGEMAKER, "instance_type": "ml.t3.medium,ml.t3.large", **given})


def run_check(emulator: ProcessingEmulator, where: str, **given: Any) -> Report:
    return check_account(Service(emulator.region), settings(**given), where, limit=1)


def is_clean(emulator: ProcessingEmulator, s3: Bucket) -> bool:
    # All files have a suffix; this store shows a folder for a while after its last file is gone.
    left = [name for name in s3.names("checks") if "." in name.rpartition("/")[2]]
    at_work = [job.name for job in emulator.jobs if job.status not in ("Completed", "Failed", "Stopped")]
    assert (left, at_work) == ([], [])
    return True


@pytest.fixture
def where(s3: Bucket) -> str:
    return s3.url("checks/mine")


@pytest.mark.slow
@pytest.mark.parametrize(
    "switch", [pytest.param(name, marks=[pytest.mark.slow] * (name != "default")) for name in SWITCHES]
)
def test_each_way_of_the_service_is_found_out(
    emulator: ProcessingEmulator, s3: Bucket, where: str, switch: str
) -> None:
    behaviour, number, beginning = SWITCHES[switch]
    for name, value in behaviour.items():
        setattr(emulator.behaviour, name, value)

    found = run_check(emulator, where)

    assert (found.answers[number].answer or "").startswith(beginning), found.answers[number]
    assert found.is_settled
    defaults = ["at their paths", None, "yes", "yes", "yes", None]
    for place, each in enumerate(defaults):
        if each is not None and place != number:
            assert (found.answers[place].answer or "").startswith(each), found.answers[place]
    assert is_clean(emulator, s3)
    assert 0 <= found.billed["usd"] < 0.01
    assert sum(found.billed["instance_seconds"].values()) > 1
    assert found.billed["jobs"] == len(emulator.jobs)


# However it ends, nothing is left


@pytest.mark.slow
def test_a_check_that_fails_midway_is_cleaned_up(emulator: ProcessingEmulator, s3: Bucket, where: str) -> None:
    emulator.faults.deny("DescribeProcessingJob", times=1)

    with pytest.raises(ScaledprocError, match="not authorized"):
        run_check(emulator, where)

    assert len(emulator.jobs) == 4
    assert is_clean(emulator, s3)


@pytest.mark.slow
def test_a_job_that_fails_leaves_its_question_open(emulator: ProcessingEmulator, s3: Bucket, where: str) -> None:
    emulator.faults.job_error("base", reason="InternalServerError: try again")

    found = run_check(emulator, where)

    assert not found.is_settled
    assert [each.answer is None for each in found.answers] == [True, True, False, False, False, True]
    assert "InternalServerError" in found.answers[0].why
    assert is_clean(emulator, s3)


@pytest.mark.slow
def test_jobs_wait_for_each_other_where_the_quota_is_one(
    s3: Bucket, where: str, tmp_path: Any, monkeypatch: Any
) -> None:
    quotas = {"ml.t3.medium for processing job usage": 1.0}
    with ProcessingEmulator(tmp_path / "machines", s3.server, quotas=quotas) as emulator:
        for name, value in emulator.environment().items():
            monkeypatch.setenv(name, value)

        found = run_check(emulator, where)

        assert found.is_settled
        assert is_clean(emulator, s3)


@pytest.mark.slow
def test_no_rights_at_all(emulator: ProcessingEmulator, s3: Bucket, where: str) -> None:
    emulator.faults.deny("CreateProcessingJob")

    found = run_check(emulator, where)

    assert not any(each.answer for each in found.answers)
    assert found.billed == {"jobs": 0, "instance_seconds": {}, "usd": 0, "prices": {}}
    assert is_clean(emulator, s3)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_check_is_cleaned_up(
    emulator: ProcessingEmulator, s3: Bucket, where: str, number: signal.Signals
) -> None:
    words = ["--role", emulator.role, "--image-uri", SAGEMAKER["image_uri"], "--poll-seconds", "0.2"]
    command = [sys.executable, "-m", "scaledproc", "sagemaker", "check", where, *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + 120
        while len(emulator.jobs) < 4 or not emulator.jobs[-1].pids:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.05)
        process.send_signal(number)
        told = process.communicate(timeout=120)[1]
    finally:
        process.kill()

    assert process.returncode == 130
    assert "Traceback" not in told
    assert is_clean(emulator, s3)


# The command


@pytest.mark.slow
def test_the_command_tells_answers_and_cost(emulator: ProcessingEmulator, s3: Bucket, where: str) -> None:
    words = ["--role", emulator.role, "--image-uri", SAGEMAKER["image_uri"], "--poll-seconds", "0.2", "--limit", "1"]
    command = [sys.executable, "-m", "scaledproc", "sagemaker", "check", where, *words]

    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert all(each["answer"] for each in found["answers"])
    assert found["billed"]["usd"] < 0.01
    assert "removed" in done.stderr
    assert is_clean(emulator, s3)


# Before anything is made


def test_what_costs_too_much_is_not_begun(emulator: ProcessingEmulator, s3: Bucket, where: str) -> None:
    for given, words in (
        ({"instance_type": "ml.m5.24xlarge"}, "smaller machines"),
        ({"instance_type": "ml.m4.xlarge"}, "--price ml.m4.xlarge=USD"),
        ({"role": None}, "no IAM role"),
    ):
        with pytest.raises(UsageError, match=words):
            run_check(emulator, where, **given)
    with pytest.raises(UsageError, match="s3://bucket/prefix"):
        run_check(emulator, "/tmp/here")
    assert not emulator.jobs
    assert is_clean(emulator, s3)
    assert most_usd(settings(), Service(emulator.region)) < 0.2 < check.MOST_USD


# Settings that are a run's alone

ISOLATED = """SchemaVersion: "1.0"
SageMaker:
  ProcessingJob:
    NetworkConfig:
      EnableNetworkIsolation: true
"""


@pytest.mark.slow
@pytest.mark.parametrize("words", [("check", "nowhere"), ("policy", "s3://data/waves", "nowhere")])
def test_what_a_command_does_not_take_does_not_keep_it_from_its_work(
    cli: Cli, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Neither what is set for runs in scaledproc.toml nor the SDK's configuration: what is wrong is the place alone."""
    (tmp_path / "scaledproc.toml").write_text(
        '[sagemaker]\nretries = 30\ninput_mode = "stage"\ndetach = true\nmax_runtime = "100d"\n'
        if words[0] == "check"
        else '[sagemaker]\nmax_runtime = "100d"\ncombine_local = true\ndetach = true\n'
    )
    (tmp_path / "sdk.yaml").write_text(ISOLATED)
    sdk = {f"SAGEMAKER_{who}_CONFIG_OVERRIDE": str(tmp_path / "sdk.yaml") for who in ("ADMIN", "USER")}
    done = cli("sagemaker", *words, env={**sdk, "AWS_DEFAULT_REGION": "us-east-1", "HOME": str(tmp_path)})

    assert done.returncode == 2
    assert done.stderr.partition("\n")[0].startswith("scaledproc: nowhere: "), done.stderr
