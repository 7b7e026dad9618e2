"""What every backend must pass, on a real Slurm of two nodes."""

from __future__ import annotations

from typing import Any

import pytest
from slurm_support import Slurm

from scaledproc.run_folder.run import Run
from scaledproc.testing import BackendConformance

pytestmark = [pytest.mark.slow, pytest.mark.slurm]


@pytest.mark.usefixtures("slurm")
class TestSlurm(BackendConformance):
    backend = "slurm"
    jobs = 1

    def run(self, dataset: str, output: str, **arguments: Any) -> Run:
        return super().run(dataset, output, settings={"poll_seconds": 0.2}, **arguments)

    def command(self, dataset: str, output: str, *arguments: str) -> list[str]:
        return super().command(dataset, output, *arguments, "--slurm-poll-seconds", "0.2")


def test_nothing_is_left_of_a_test(slurm: Slurm) -> None:
    assert slurm.call("squeue", "--noheader") == ""
