"""What AWS does not document, each with a switch: what is right must be right whichever way the service does it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .wire import Json, invalid

SMALL_DISKS = {"tmp": 16_384, "processing": 2_000_000}
"""Bytes of a disk that is small; more files than that fail the job. Where results are left, some room is needed."""
SMALL_DISK = "EMULATOR_SMALL_DISK"
"""For the hosts: the folder of a small disk, a colon, its bytes."""
VOLUME = "EMULATOR_VOLUME"
"""The same of the other folder, which is on the volume."""
SHIM = Path(__file__).parent / "shim"
"""A folder for the hosts' PYTHONPATH: `sitecustomize` there has a process see the small disk."""


@dataclass
class Behaviour:
    """How the service behaves where its documentation is silent. A test may change it at any time.

    Parameters
    ----------
    manifests
        Where the objects of a manifest land below LocalPath: at the path that the manifest has, at their whole key, or
        by the last part of it, the last of those with the same name staying.
    refuses_preferences
        Whether a request with InstancePreferences is refused, as by a region or a pipeline that does not know of it.
    small_disk
        What lies on a small disk beside the volume: `/tmp`, or `/opt/ml/processing`; None: nothing does.
    keeps_continuous
        Whether a job that is stopped, or fails, has left what its Continuous outputs had by then.
    refuses_nested_outputs
        Whether a request is refused of which an output's S3Uri is above that of an input.
    """

    manifests: Literal["relative", "key", "flat"] = "relative"
    refuses_preferences: bool = False
    small_disk: Literal["tmp", "processing"] | None = None
    keeps_continuous: bool = True
    refuses_nested_outputs: bool = False

    def check(self, request: Json) -> None:
        """Refuse a CreateProcessingJob request that the service does not take."""
        if self.refuses_preferences and "InstancePreferences" in request["ProcessingResources"]["ClusterConfig"]:
            raise invalid("InstancePreferences is not supported; specify InstanceType")
        outputs = request.get("ProcessingOutputConfig", {}).get("Outputs", ())
        for output in outputs if self.refuses_nested_outputs else ():
            above = output["S3Output"]["S3Uri"].rstrip("/") + "/"
            if any(one["S3Input"]["S3Uri"].startswith(above) for one in request.get("ProcessingInputs", ())):
                raise invalid(f"The output {above} contains inputs of the same job")

    def uploads(self, mode: str, status: str) -> bool:
        """Whether outputs are uploaded of a job that is in a status."""
        return status == "Completed" or (mode == "Continuous" and self.keeps_continuous)

    def environment(self, temporary: Path, processing: Path, volume_gb: int) -> dict[str, str]:
        """What has a host see its small disk."""
        if self.small_disk is None:
            return {}
        folder, other = (temporary, processing) if self.small_disk == "tmp" else (processing, temporary)
        small = f"{folder}:{SMALL_DISKS[self.small_disk]}"
        return {SMALL_DISK: small, VOLUME: f"{other}:{volume_gb * 10**9}", "PYTHONPATH": str(SHIM)}

    def is_full(self, temporary: Path, processing: Path) -> bool:
        """Whether a host has put more onto its small disk than that holds."""
        if self.small_disk is None:
            return False
        folder = temporary if self.small_disk == "tmp" else processing
        return _size(folder) > SMALL_DISKS[self.small_disk]

    def place(self, key: str, relative: str) -> str:
        """Where an object of a manifest goes, relative to LocalPath."""
        return {"relative": relative, "key": key, "flat": key.rpartition("/")[2]}[self.manifests]


def _size(folder: Path) -> int:
    """Bytes of all files below a folder, from which some are removed meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.lstat().st_size if path.is_file() else 0
    return total
