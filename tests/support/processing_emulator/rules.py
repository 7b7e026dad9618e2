"""What the documentation forbids in a CreateProcessingJob request and the service's model does not know of."""

from __future__ import annotations

import math
from pathlib import Path

from .data import DataError, split_uri
from .wire import Json, invalid

OWN_DISKS = {
    "g4dn": {"xlarge": 125, "2xlarge": 225, "4xlarge": 225, "8xlarge": 900, "12xlarge": 900, "16xlarge": 900},
    "g5": {
        "xlarge": 250,
        "2xlarge": 450,
        "4xlarge": 600,
        "8xlarge": 900,
        "12xlarge": 3800,
        "16xlarge": 1900,
        "24xlarge": 3800,
        "48xlarge": 7600,
    },
    "g6": {
        "xlarge": 250,
        "2xlarge": 450,
        "4xlarge": 600,
        "8xlarge": 900,
        "12xlarge": 3760,
        "16xlarge": 1880,
        "24xlarge": 3760,
        "48xlarge": 7520,
    },
    "g6e": {
        "xlarge": 250,
        "2xlarge": 450,
        "4xlarge": 600,
        "8xlarge": 900,
        "12xlarge": 3800,
        "16xlarge": 1900,
        "24xlarge": 3800,
        "48xlarge": 7600,
    },
    "g7e": {"2xlarge": 1900, "4xlarge": 1900, "8xlarge": 1900, "12xlarge": 3800, "24xlarge": 7600, "48xlarge": 15200},
    "p5": {"4xlarge": 3800},
    "r5d": {
        "large": 75,
        "xlarge": 150,
        "2xlarge": 300,
        "4xlarge": 600,
        "8xlarge": 1200,
        "12xlarge": 1800,
        "16xlarge": 2400,
        "24xlarge": 3600,
    },
}
"""GB of the disks that machines have themselves, by family and size, as EC2's DescribeInstanceTypes has them."""


def check_rules(request: Json) -> None:
    """Refuse a request that breaks a rule."""
    _check_cluster(request["ProcessingResources"]["ClusterConfig"])
    inputs, outputs = request.get("ProcessingInputs", []), request.get("ProcessingOutputConfig", {}).get("Outputs", [])
    for kind, ones in (("Input", inputs), ("Output", outputs)):
        names = [one[f"{kind}Name"] for one in ones]
        if len(set(names)) < len(names):
            raise invalid(f"{kind} names must be unique: {', '.join(names)}")
        for one in ones:
            _check_place(kind, one)
    paths = [
        one[f"S3{kind}"]["LocalPath"]
        for kind, ones in (("Input", inputs), ("Output", outputs))
        for one in ones
        if not one.get("AppManaged")
    ]
    if len({path.rstrip("/") for path in paths}) < len(paths):
        raise invalid(f"Every LocalPath of inputs and outputs must be another one: {', '.join(paths)}")


def _check_cluster(cluster: Json) -> None:
    preferences = cluster.get("InstancePreferences")
    for one in preferences or [cluster]:
        _, family, size = (*str(one.get("InstanceType")).split("."), "", "")[:3]
        if family in OWN_DISKS:
            if "VolumeKmsKeyId" in cluster:
                raise invalid("You can't request a VolumeKmsKeyId when using an instance type with local storage")
            if cluster["VolumeSizeInGB"] > OWN_DISKS[family].get(size, math.inf):
                raise invalid("You can't request a VolumeSizeInGB greater than the size of the local instance storage")
    if "SelectedInstanceType" in cluster or "SelectedInstanceCount" in cluster:
        raise invalid("SelectedInstanceType and SelectedInstanceCount are read-only")
    if (preferences is None) == ("InstanceType" not in cluster):
        raise invalid("Specify exactly one of InstanceType and InstancePreferences")
    if preferences is None:
        return
    types = [preference["InstanceType"] for preference in preferences]
    if len(set(types)) < len(types):
        raise invalid("An instance type can appear only once in InstancePreferences")
    counts = sum("InstanceCount" in preference for preference in preferences)
    if counts not in (0, len(preferences)) or (counts and "InstanceCount" in cluster):
        raise invalid("Specify InstanceCount in every preference, or in ClusterConfig and in none of them")


def _check_place(kind: str, one: Json) -> None:
    """Check where an input comes from and goes to, or an output."""
    name, is_app_managed = one[f"{kind}Name"], one.get("AppManaged", False)
    other = "DatasetDefinition" if kind == "Input" else "FeatureStoreOutput"
    if (f"S3{kind}" in one) == (other in one):
        raise invalid(f"{kind} {name} must specify exactly one of S3{kind} and {other}")
    if other in one:
        if is_app_managed:
            return
        reason = "is not emulated" if kind == "Input" else "is only supported when AppManaged is specified"
        raise invalid(f"{kind} {name}: {other} {reason}")
    s3 = one[f"S3{kind}"]
    path = s3.get("LocalPath")
    if path is None and not is_app_managed:
        raise invalid(f"{kind} {name}: LocalPath is required when AppManaged is False")
    if not is_app_managed and (not path.startswith("/opt/ml/processing/") or ".." in Path(path).parts):
        raise invalid(f"{kind} {name}: LocalPath must begin with /opt/ml/processing/: {path}")
    if s3.get("S3InputMode") == "Pipe" and not is_app_managed:
        raise invalid(f"{kind} {name}: S3InputMode Pipe is not emulated")
    if s3.get("S3CompressionType") == "Gzip" and s3.get("S3InputMode") != "Pipe":
        raise invalid(f"{kind} {name}: S3CompressionType Gzip needs S3InputMode Pipe")
    try:
        split_uri(s3["S3Uri"])
    except DataError as error:
        raise invalid(f"{kind} {name}: {error}") from error
