"""The backend `sagemaker` against an emulated Processing API, real S3 and workers that are real processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from processing_emulator import ProcessingEmulator
from support import SAGEMAKER, Bucket

import scaledproc
from scaledproc.errors import ScaledprocError
from scaledproc.run_folder.run import Run
from scaledproc.storage.store import Store
from scaledproc.testing import BackendConformance


class SageMakerConformance(BackendConformance):
    """What every backend promises, by jobs."""

    backend = "sagemaker"
    settings: ClassVar[dict[str, Any]] = {}
    counts = False
    behaviour: ClassVar[dict[str, Any]] = {}

    @pytest.fixture(autouse=True)
    def _account(self, emulator: ProcessingEmulator, s3: Bucket) -> None:
        self.emulator = emulator
        self.bucket = s3
        for name, value in self.behaviour.items():
            setattr(emulator.behaviour, name, value)

    def place(self, folder: Path) -> str:
        url = self.bucket.url(f"data-{uuid4().hex}")
        scaledproc.fetch(folder, url)
        return url

    def new_output(self, folder: Path) -> str:
        return self.bucket.url(f"out-{uuid4().hex}")

    def run(self, dataset: str, output: str, **options: Any) -> Run:
        return super().run(dataset, output, settings={**SAGEMAKER, **self.settings}, **options)

    def command(self, dataset: str, output: str, *arguments: str) -> list[str]:
        flags: list[str] = []
        for name, value in {**SAGEMAKER, **self.settings}.items():
            flag = f"--{name.replace('_', '-')}"
            flags += [flag] if value is True else [flag, str(value)]
        return [*super().command(dataset, output, *arguments), *flags]


@pytest.mark.slow
class TestJobPerShard(SageMakerConformance):
    """The default: one job for each macro shard, which stages."""


@pytest.mark.slow
class TestHostsOfOneJob(SageMakerConformance):
    settings: ClassVar[dict[str, Any]] = {"instances": 2}
    jobs = 1


@pytest.mark.slow
class TestFileMode(SageMakerConformance):
    settings: ClassVar[dict[str, Any]] = {"input_mode": "file", "network_isolation": True}
    jobs = 1
    commits_before_kill = 1

    def committed(self, store: Store) -> int:
        """Whole shards: what a machine without a network does shows when its job has ended."""
        return len(store.names("shards"))


# The same where the service does what its documentation does not say.


@pytest.mark.slow
class TestFileModeWithWholeKeys(TestFileMode):
    """And a `/tmp` on the machine's own small disk, beside the volume: nothing may be put there."""

    behaviour: ClassVar[dict[str, Any]] = {
        "manifests": "key",
        "small_disk": "tmp",
        "refuses_nested_outputs": True,
    }


@pytest.mark.slow
class TestFileModeInOneFolder(TestFileMode):
    """Files of one name take each other's place there. Such a run is refused, and goes on as its message says."""

    behaviour: ClassVar[dict[str, Any]] = {"manifests": "flat"}

    def run(self, dataset: str, output: str, **options: Any) -> Run:
        try:
            return super().run(dataset, output, **options)
        except ScaledprocError as error:
            if "give --input-mode stage" not in str(error):
                raise
        settings = {**SAGEMAKER, **self.settings, "input_mode": "stage", "network_isolation": False}
        return BackendConformance.run(self, dataset, output, settings=settings, **options)

    def test_resumes_after_a_kill(self, tmp_path: Path) -> None:
        """A run that is refused does not come to where it is killed."""
        pytest.skip("as with --input-mode stage, which has this test of its own")


@pytest.mark.slow
class TestNoChoiceOfMachines(SageMakerConformance):
    """Nor room on the volume: the only room is in `/tmp`."""

    settings: ClassVar[dict[str, Any]] = {"instance_type": "ml.m5.large,ml.m5.xlarge"}
    behaviour: ClassVar[dict[str, Any]] = {"refuses_preferences": True, "small_disk": "processing"}
