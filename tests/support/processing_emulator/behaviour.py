"""What AWS does not document, each with a switch: what is right must be right whichever way the service does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .wire import Json, invalid


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
    """

    manifests: Literal["relative", "key", "flat"] = "relative"
    refuses_preferences: bool = False

    def check(self, request: Json) -> None:
        """Refuse a CreateProcessingJob request that the service does not take."""
        if self.refuses_preferences and "InstancePreferences" in request["ProcessingResources"]["ClusterConfig"]:
            raise invalid("InstancePreferences is not supported; specify InstanceType")

    def place(self, key: str, relative: str) -> str:
        """Where an object of a manifest goes, relative to LocalPath."""
        return {"relative": relative, "key": key, "flat": key.rpartition("/")[2]}[self.manifests]
