"""The jobs of a check, and what their ends answer. Pure: descriptions of jobs in, answers out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..jobs.decisions import is_not_the_volume, runtime
from ..jobs.requests import CODE, DATASET, RESULTS
from ..limits import check_request, tag_text
from ..settings import Settings

FILES: Mapping[str, bytes] = {"first/one.txt": b"1\n", "second/two.txt": b"22\n"}
"""The dataset: in two folders, so that a manifest's layout shows."""
VOLUME_GB = 17
"""Of a size that no disk has by chance."""
LIMIT = 60
"""Seconds that the job is given which is to run into its limit."""
LONGEST = 900
"""Seconds that each other job is given."""
BASE, CHOICE, NESTED, LIMITED = "base", "choice", "nested", "limited"


@dataclass(frozen=True)
class Answer:
    """What was found of one thing that AWS does not document.

    Parameters
    ----------
    question
        In words.
    answer
        None where it is not settled.
    why
        What it rests on, or why it is not settled.
    """

    question: str
    answer: str | None
    why: str = ""


@dataclass(frozen=True)
class Ended:
    """What became of a job of a check.

    Parameters
    ----------
    description
        As DescribeProcessingJob has it; none if the job was refused.
    refusal
        In the service's words, if it was.
    is_request
        Whether the request itself was refused, and not for a quota or for lack of rights.
    left
        The objects that it left.
    """

    description: Mapping[str, Any] | None = None
    refusal: str = ""
    is_request: bool = False
    left: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        """How it ended; empty if it never was."""
        return str((self.description or {}).get("ProcessingJobStatus", ""))

    @property
    def why(self) -> str:
        """Why it did not end well."""
        found = self.description or {}
        return self.refusal or str(found.get("FailureReason") or f"the job ended as {self.status or 'nothing'}")

    @property
    def seen(self) -> dict[str, Any]:
        """What the job itself saw."""
        try:
            found = json.loads((self.description or {}).get("ExitMessage") or "{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def check_job(
    kind: str, name: str, where: str, settings: Settings, account: tuple[str, str], limit: int = LIMIT
) -> dict[str, Any]:
    """The request for one job of a check.

    Parameters
    ----------
    kind
        `base`: a manifest, the disks, the start. `choice`: several types to choose from. `nested`: an output whose URI
        is above that of an input. `limited`: one that runs into its time limit.
    name
        The job's.
    where
        The URL of the check's folder.
    settings
        The types to ask for (the second is for `choice` alone), keys, VPC, tags.
    account
        The role's ARN and the image's URI.
    limit
        Seconds that `limited` is given.
    """
    role, image = account
    cluster: dict[str, Any] = {"InstanceCount": 1, "VolumeSizeInGB": VOLUME_GB}
    if kind == CHOICE:
        cluster["InstancePreferences"] = [{"InstanceType": each} for each in settings.instance_type]
    else:
        cluster["InstanceType"] = settings.instance_type[0]
    if settings.volume_kms_key:
        cluster["VolumeKmsKeyId"] = settings.volume_kms_key
    output = where if kind == NESTED else f"{where}/out/{kind}"
    mode = "Continuous" if kind == LIMITED else "EndOfJob"
    request: dict[str, Any] = {
        "ProcessingJobName": name,
        "ProcessingResources": {"ClusterConfig": cluster},
        "StoppingCondition": {"MaxRuntimeInSeconds": limit if kind == LIMITED else LONGEST},
        "AppSpecification": {
            "ImageUri": image,
            "ContainerEntrypoint": ["python3", f"{CODE}/probe.py"],
            "ContainerArguments": [str(3 * limit) if kind == LIMITED else "0"],
        },
        "RoleArn": role,
        "ProcessingInputs": [
            _input("code", f"{where}/code/", CODE, "S3Prefix"),
            _input("dataset", f"{where}/manifest.json", DATASET, "ManifestFile"),
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "results",
                    "AppManaged": False,
                    "S3Output": {"S3Uri": output, "LocalPath": RESULTS, "S3UploadMode": mode},
                }
            ]
        },
        "Tags": [
            {"Key": key, "Value": value}
            for key, value in {"scaledproc:check": tag_text(where), **settings.tag_map}.items()
        ],
    }
    if settings.output_kms_key:
        request["ProcessingOutputConfig"]["KmsKeyId"] = settings.output_kms_key
    if settings.subnets:
        request["NetworkConfig"] = {
            "VpcConfig": {"Subnets": list(settings.subnets), "SecurityGroupIds": list(settings.security_groups)}
        }
    check_request(request)
    return request


def _input(name: str, uri: str, local: str, kind: str) -> dict[str, Any]:
    s3 = {"S3Uri": uri, "LocalPath": local, "S3DataType": kind, "S3InputMode": "File"}
    return {"InputName": name, "AppManaged": False, "S3Input": s3}


def answers(ended: Mapping[str, Ended], key: str) -> list[Answer]:
    """What the ends of the jobs say.

    Parameters
    ----------
    ended
        By the job's kind.
    key
        The key of the dataset's folder in its bucket, which the manifest's prefix has.
    """
    base = ended[BASE]
    return [
        _layout(base, key),
        _scratch(base),
        _choice(ended[CHOICE]),
        _nested(ended[NESTED]),
        _limited(ended[LIMITED]),
        _start(base),
    ]


def _layout(base: Ended, key: str) -> Answer:
    question = "Where do the files of a manifest land below LocalPath?"
    files = base.seen.get("files")
    if not isinstance(files, list):
        return Answer(question, None, base.why)
    places = {
        "at their paths, relative to the manifest's prefix": sorted(FILES),
        "at their whole keys": sorted(f"{key}/{name}" for name in FILES),
        "all in one folder": sorted(name.rpartition("/")[2] for name in FILES),
    }
    found = next((words for words, names in places.items() if _are_same(files, names)), None)
    return Answer(question, found, f"the job saw {', '.join(map(str, files)) or 'nothing'}")


def _are_same(seen: Sequence[object], names: Sequence[str]) -> bool:
    """Whether a job saw these files; of long names it tells the end, after an ellipsis."""
    return len(seen) == len(names) and all(
        name == text or (str(text)[:1] == "…" and name.endswith(str(text)[1:]))
        for text, name in zip(seen, names, strict=True)
    )


def _scratch(base: Ended) -> Answer:
    question = f"On which disk is the volume ({VOLUME_GB} GB were asked for)?"
    disks = base.seen.get("disks")
    if not isinstance(disks, dict) or not disks:
        return Answer(question, None, base.why)
    told = ", ".join(f"{name} has {total / 1e9:,.1f} GB" for name, (total, _, _) in disks.items())
    fits = [
        name
        for name, (total, _, _) in disks.items()
        if not is_not_the_volume(total, VOLUME_GB) and total < 1.1 * VOLUME_GB * 2**30
    ]
    if len({device for _, _, device in disks.values()}) == 1 and len(fits) != 1:
        return Answer(question, "both places are on one disk", told)
    return Answer(question, " and ".join(fits) or "on neither of the two", told)


def _choice(choice: Ended) -> Answer:
    question = "Is a request for several types of machines (InstancePreferences) taken?"
    if choice.is_request:
        return Answer(question, "no: types are tried one after the other", choice.refusal)
    if choice.status != "Completed":
        return Answer(question, None, choice.why)
    cluster = (choice.description or {}).get("ProcessingResources", {}).get("ClusterConfig", {})
    return Answer(question, "yes", f"it ran on {cluster.get('SelectedInstanceType', 'a type that is not told')}")


def _nested(nested: Ended) -> Answer:
    question = "May an output be above the inputs of its own job?"
    if nested.is_request:
        return Answer(question, "no: nothing of a run depends on it", nested.refusal)
    if nested.status != "Completed":
        return Answer(question, None, nested.why)
    has_left = "seen.json" in nested.left
    return Answer(question, "yes" if has_left else "no: it was taken, and nothing arrived", _left(nested.left))


def _limited(limited: Ended) -> Answer:
    question = "Is what a Continuous output had kept when a job runs into its time limit?"
    if limited.status != "Stopped":
        return Answer(question, None, limited.why)
    return Answer(question, "yes" if limited.left else "no", _left(limited.left))


def _start(base: Ended) -> Answer:
    question = "How long does a job take to start, and is that billed?"
    found = base.description or {}
    if base.status != "Completed" or not found.get("ProcessingStartTime"):
        return Answer(question, None, base.why)
    before = (found["ProcessingStartTime"] - found["CreationTime"]).total_seconds()
    return Answer(
        question,
        f"{before:,.0f} s before the time that is billed, {runtime(found):,.0f} s in it",
        f"the work itself took {base.seen.get('seconds', '?')} s",
    )


def _left(names: Sequence[str]) -> str:
    return f"it left {', '.join(names) or 'nothing'}"
