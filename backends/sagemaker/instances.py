"""The machines of SageMaker Processing: their vCPUs and memory, known without asking AWS."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from scaledproc.errors import UsageError

SHOWN = 4  # names that an error suggests

_TO_24 = "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge"
_TO_96 = f"{_TO_24} 32xlarge 48xlarge 96xlarge"
_FLEX = "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge"
_GPU = "xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge"

# By family: GiB per vCPU and the sizes that Processing has. A size says its vCPUs: large 2, xlarge 4, Nxlarge 4 N.
# vCPUs, memory and disks of all types were compared on 2026-11-29 with what EC2's DescribeInstanceTypes says of them,
# as Karpenter publishes it (aws/karpenter-provider-aws 1d92708, website/content/en/docs/reference/instance-types.md).
# p3 has left that table; its vCPUs and its lack of disks are in the table of v1.0, its memory in EC2's catalogues.
_FAMILIES: Mapping[str, tuple[float, str]] = {
    "t3": (4, "medium large xlarge 2xlarge"),
    "m4": (4, "xlarge 2xlarge 4xlarge 10xlarge 16xlarge"),
    "m5": (4, "large xlarge 2xlarge 4xlarge 12xlarge 24xlarge"),
    "m6i": (4, f"{_TO_24} 32xlarge"),
    "m7i": (4, f"{_TO_24} 48xlarge"),
    "m8i": (4, _TO_96),
    "m7i-flex": (4, _FLEX),
    "m8i-flex": (4, _FLEX),
    "c4": (1.875, "xlarge 2xlarge 4xlarge 8xlarge"),
    "c5": (2, "xlarge 2xlarge 4xlarge 9xlarge 18xlarge"),
    "c6i": (2, f"{_TO_24} 32xlarge".removeprefix("large ")),
    "c7i": (2, f"{_TO_24} 48xlarge"),
    "c8i": (2, _TO_96.removeprefix("large ")),
    "c7i-flex": (2, _FLEX.removeprefix("large ")),
    "c8i-flex": (2, _FLEX.removeprefix("large ")),
    "r5": (8, _TO_24),
    "r5d": (8, _TO_24),
    "r6i": (8, f"{_TO_24} 32xlarge"),
    "r7i": (8, f"{_TO_24} 48xlarge"),
    "r8i": (8, _TO_96),
    "r8i-flex": (8, _FLEX),
    "g4dn": (4, _GPU),
    "g5": (4, f"{_GPU} 24xlarge 48xlarge"),
    "g6": (4, f"{_GPU} 24xlarge 48xlarge"),
    "g6e": (8, f"{_GPU} 24xlarge 48xlarge"),
}
# What does not follow the rule: vCPUs, GiB.
_EXCEPTIONS: Mapping[str, tuple[int, float]] = {
    "ml.t3.medium": (2, 4),
    "ml.c4.8xlarge": (36, 60),
    "ml.p3.2xlarge": (8, 61),
    "ml.p3.8xlarge": (32, 244),
    "ml.p3.16xlarge": (64, 488),
    "ml.p5.4xlarge": (16, 256),
    "ml.g7e.2xlarge": (8, 64),
    "ml.g7e.4xlarge": (16, 128),
    "ml.g7e.8xlarge": (32, 256),
    "ml.g7e.12xlarge": (48, 512),
    "ml.g7e.24xlarge": (96, 1024),
    "ml.g7e.48xlarge": (192, 2048),
}
# GB of the disk that a machine has itself, which SageMaker mounts instead of a volume: EC2's instance store volumes.
_OWN_DISKS: Mapping[str, str] = {
    "r5d": "large 75 xlarge 150 2xlarge 300 4xlarge 600 8xlarge 1200 12xlarge 1800 16xlarge 2400 24xlarge 3600",
    "g4dn": "xlarge 125 2xlarge 225 4xlarge 225 8xlarge 900 12xlarge 900 16xlarge 900",
    "g5": "xlarge 250 2xlarge 450 4xlarge 600 8xlarge 900 12xlarge 3800 16xlarge 1900 24xlarge 3800 48xlarge 7600",
    "g6": "xlarge 250 2xlarge 450 4xlarge 600 8xlarge 900 12xlarge 3760 16xlarge 1880 24xlarge 3760 48xlarge 7520",
    "g6e": "xlarge 250 2xlarge 450 4xlarge 600 8xlarge 900 12xlarge 3800 16xlarge 1900 24xlarge 3800 48xlarge 7600",
    "g7e": "2xlarge 1900 4xlarge 1900 8xlarge 1900 12xlarge 3800 24xlarge 7600 48xlarge 15200",
    "p5": "4xlarge 3800",
}


@dataclass(frozen=True)
class Instance:
    """A type of machine.

    Parameters
    ----------
    name
        As SageMaker spells it: `ml.m5.4xlarge`.
    vcpus
        Hardware threads; for most types two are one core.
    memory_gib
        In all.
    """

    name: str
    vcpus: int
    memory_gib: float

    @property
    def family(self) -> str:
        """`m5` of `ml.m5.4xlarge`."""
        return self.name.split(".")[1]

    @property
    def is_burstable(self) -> bool:
        """Whether it has only a share of its vCPUs for long."""
        return self.family.startswith("t")

    def __str__(self) -> str:
        return self.name


def find_instance(name: str) -> Instance:
    """The instance type of a name.

    Raises
    ------
    UsageError
        If SageMaker Processing has no such type, or the table here lacks it.
    """
    found = INSTANCES.get(name)
    if found is None:
        raise UsageError(f"SageMaker Processing has no {name!r}; there are {', '.join(_like(name))}, …")
    return found


def own_disk(name: str) -> int | None:
    """GB of the disk that a type of machine has itself; None where it is given a volume."""
    family, _, size = name.removeprefix("ml.").partition(".")
    words = _OWN_DISKS.get(family, "").split()
    return next((int(gb) for each, gb in zip(words[::2], words[1::2], strict=True) if each == size), None)


def _like(name: str) -> list[str]:
    """The names that somebody may have meant, nearest first."""
    wanted = name.strip().lower()
    wanted = wanted if wanted.startswith("ml.") else f"ml.{wanted}"
    if wanted in INSTANCES:
        return [wanted]
    family, _, size = wanted.removeprefix("ml.").partition(".")
    relatives = [one for one in INSTANCES.values() if one.family == family]
    if not relatives:
        return difflib.get_close_matches(wanted, INSTANCES, SHOWN, 0) or sorted(INSTANCES)[:SHOWN]
    vcpus = _vcpus(size)
    nearest = sorted(relatives, key=lambda one: abs(one.vcpus - vcpus))[:SHOWN]
    return [one.name for one in sorted(nearest, key=lambda one: one.vcpus)]


def _vcpus(size: str) -> int:
    """Of a size by the rule; of what is no size, those of an xlarge."""
    count = size.removesuffix("xlarge")
    return 2 if size in ("medium", "large") else 4 * int(count) if count.isdecimal() else 4


def _table() -> Iterator[Instance]:
    for family, (ratio, sizes) in _FAMILIES.items():
        for size in sizes.split():
            vcpus = _vcpus(size)
            yield Instance(f"ml.{family}.{size}", vcpus, vcpus * ratio)
    for name, (vcpus, memory) in _EXCEPTIONS.items():
        yield Instance(name, vcpus, memory)


INSTANCES: Mapping[str, Instance] = {one.name: one for one in _table()}
"""Every type that is known, by name."""
