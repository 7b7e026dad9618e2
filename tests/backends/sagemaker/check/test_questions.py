"""What the ends of a check's jobs say: case by case."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from scaledproc.backends.sagemaker.check.questions import (
    BASE,
    CHOICE,
    FILES,
    LIMITED,
    NESTED,
    VOLUME_GB,
    Answer,
    Ended,
    answers,
    check_job,
)
from scaledproc.backends.sagemaker.settings import Settings

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
GB = 10**9
KEY = "some/dataset"


def ended(status: str = "Completed", left: tuple[str, ...] = ("seen.json",), **seen: Any) -> Ended:
    description = {
        "ProcessingJobStatus": status,
        "CreationTime": START,
        "ProcessingStartTime": START + dt.timedelta(seconds=100),
        "ProcessingEndTime": START + dt.timedelta(seconds=160),
        "ExitMessage": json.dumps(seen),
        "ProcessingResources": {"ClusterConfig": {"SelectedInstanceType": "ml.t3.large"}},
    }
    return Ended(description, left=left)


def asked(**given: Ended) -> dict[str, Answer]:
    jobs = {BASE: ended(), CHOICE: ended(), NESTED: ended(), LIMITED: ended("Stopped"), **given}
    return {each.question.split()[0] + each.question.split()[1]: each for each in answers(jobs, KEY)}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (sorted(FILES), "at their paths"),
        ([f"{KEY}/{name}" for name in sorted(FILES)], "at their whole keys"),
        ([f"…{name[2:]}" for name in (f"{KEY}/{name}" for name in sorted(FILES))], "at their whole keys"),
        (["one.txt", "two.txt"], "all in one folder"),
        (["one.txt"], None),
        ([], None),
        (["other/one.txt", "other/two.txt"], None),
    ],
)
def test_where_a_manifest_s_files_are(files: list[str], expected: str | None) -> None:
    found = asked(base=ended(files=files))["Wheredo"]
    assert found.answer is None if expected is None else (found.answer or "").startswith(expected)


@pytest.mark.parametrize(
    ("disks", "expected"),
    [
        ({"/tmp": [50 * GB, 1, 1], "/opt/ml/processing": [VOLUME_GB * GB, 1, 2]}, "/opt/ml/processing"),
        ({"/tmp": [VOLUME_GB * 2**30, 1, 1], "/opt/ml/processing": [100 * GB, 1, 2]}, "/tmp"),
        ({"/tmp": [100 * GB, 1, 1], "/opt/ml/processing": [100 * GB, 1, 1]}, "both places are on one disk"),
        ({"/tmp": [100 * GB, 1, 1], "/opt/ml/processing": [90 * GB, 1, 2]}, "on neither of the two"),
        ({}, None),
    ],
)
def test_where_the_volume_is(disks: dict[str, Any], expected: str | None) -> None:
    assert asked(base=ended(disks=disks))["Onwhich"].answer == expected


def test_a_refused_request_is_an_answer_and_a_quota_is_none() -> None:
    refused, full = Ended(refusal="ValidationException: no", is_request=True), Ended(refusal="ResourceLimitExceeded: 0")
    for name, kind in (("Isa", CHOICE), ("Mayan", NESTED)):
        assert (asked(**{kind: refused})[name].answer or "").startswith("no: ")
        assert asked(**{kind: refused})[name].why == refused.refusal
        assert asked(**{kind: full})[name] == Answer(asked()[name].question, None, full.refusal)
        assert asked(**{kind: ended("Failed")})[name].answer is None
        assert asked()[name].answer == "yes"
    assert (asked(nested=ended(left=()))["Mayan"].answer or "").startswith("no: ")


def test_what_is_kept_at_a_time_limit() -> None:
    assert asked()["Iswhat"].answer == "yes"
    assert asked(limited=ended("Stopped", left=()))["Iswhat"].answer == "no"
    assert asked(limited=ended("Completed"))["Iswhat"].answer is None


def test_what_a_start_takes() -> None:
    assert asked(base=ended(seconds=3))["Howlong"].answer == "100 s before the time that is billed, 60 s in it"
    assert asked(base=Ended(refusal="no"))["Howlong"] == Answer(asked()["Howlong"].question, None, "no")


@pytest.mark.parametrize("message", ["", "no JSON", "[1]", "{"])
def test_a_message_that_is_none_of_the_probe_s(message: str) -> None:
    odd = Ended({**(ended().description or {}), "ExitMessage": message})
    assert asked(base=odd)["Wheredo"].answer is None


def test_requests_ask_for_one_thing_each() -> None:
    settings = Settings.parse(
        {
            "instance_type": "ml.t3.medium,ml.t3.large",
            "output_kms_key": "alias/a",
            "volume_kms_key": "alias/b",
            "subnets": "subnet-0a1b2c3d",
            "security_groups": "sg-0a1b2c3d",
            "tags": ["team=x"],
        }
    )
    where = "s3://bucket/folder/scaledproc-check-1"
    made = {kind: check_job(kind, kind, where, settings, ("role", "image")) for kind in (BASE, CHOICE, NESTED, LIMITED)}
    clusters = {kind: one["ProcessingResources"]["ClusterConfig"] for kind, one in made.items()}
    assert {kind for kind, cluster in clusters.items() if "InstancePreferences" in cluster} == {CHOICE}
    outputs = {kind: one["ProcessingOutputConfig"]["Outputs"][0]["S3Output"] for kind, one in made.items()}
    assert {kind for kind, output in outputs.items() if output["S3Uri"] == where} == {NESTED}
    assert {kind for kind, output in outputs.items() if output["S3UploadMode"] == "Continuous"} == {LIMITED}
    for one in made.values():
        assert one["ProcessingOutputConfig"]["KmsKeyId"] == "alias/a"
        assert one["ProcessingResources"]["ClusterConfig"]["VolumeKmsKeyId"] == "alias/b"
        assert one["NetworkConfig"]["VpcConfig"]["Subnets"] == ["subnet-0a1b2c3d"]
        assert {"Key": "team", "Value": "x"} in one["Tags"]
