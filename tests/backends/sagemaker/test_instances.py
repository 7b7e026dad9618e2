"""Which machines there are, with their vCPUs and memory."""

from __future__ import annotations

import botocore.session
import pytest
from processing_emulator.rules import OWN_DISKS

from scaledproc.backends.sagemaker.instances import INSTANCES, Instance, find_instance, own_disk
from scaledproc.errors import UsageError

ENUM = botocore.session.get_session().get_service_model("sagemaker").shape_for("ProcessingInstanceType").enum


# Machines


def test_every_type_of_processing_is_known_unless_it_has_gpus() -> None:
    assert [name for name in ENUM if name not in INSTANCES and name.split(".")[1][0] not in "gp"] == []
    assert set(INSTANCES) <= set(ENUM)


@pytest.mark.parametrize(
    ("name", "vcpus", "memory"),
    [
        ("ml.m5.4xlarge", 16, 64),
        ("ml.m5.large", 2, 8),
        ("ml.t3.medium", 2, 4),
        ("ml.t3.large", 2, 8),
        ("ml.m4.10xlarge", 40, 160),
        ("ml.c4.4xlarge", 16, 30),
        ("ml.c4.8xlarge", 36, 60),
        ("ml.c5.9xlarge", 36, 72),
        ("ml.c5.18xlarge", 72, 144),
        ("ml.r5d.24xlarge", 96, 768),
        ("ml.m6i.32xlarge", 128, 512),
        ("ml.r7i.48xlarge", 192, 1536),
        ("ml.c8i.96xlarge", 384, 768),
        ("ml.r8i-flex.16xlarge", 64, 512),
        ("ml.g4dn.xlarge", 4, 16),
        ("ml.g7e.2xlarge", 8, 64),
        ("ml.g7e.48xlarge", 192, 2048),
        ("ml.p3.16xlarge", 64, 488),
    ],
)
def test_vcpus_and_memory(name: str, vcpus: int, memory: float) -> None:
    assert find_instance(name) == Instance(name, vcpus, memory)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ml.m5.3xlarge", "ml.m5.2xlarge"),
        ("m5.4xlarge", "ml.m5.4xlarge"),
        ("ml.m9i.large", "ml.m8i.large"),
        ("", "ml."),
    ],
)
def test_a_type_that_is_not_there_names_its_neighbours(name: str, meant: str) -> None:
    with pytest.raises(UsageError, match="SageMaker Processing has no") as told:
        find_instance(name)

    assert meant in str(told.value)


def test_disks_are_those_of_ec2() -> None:
    theirs = {f"ml.{family}.{size}": gb for family, sizes in OWN_DISKS.items() for size, gb in sizes.items()}

    assert {name: gb for name in INSTANCES if (gb := own_disk(name)) is not None} == theirs
