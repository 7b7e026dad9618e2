"""The backend `sagemaker` against an emulated Processing API, real S3 and workers that are real processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from processing_emulator import ProcessingEmulator
from support import SAGEMAKER, Bucket

import scaledproc
from scaledproc.run_folder.folder import Run
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


# The same where the service does what its documentation does not say. All files in one folder cannot do it: several
# records of a dataset have files of one name, and such a job is refused (test_sagemaker_behaviour.py).


@pytest.mark.slow
class TestFileModeWithWholeKeys(TestFileMode):
    behaviour: ClassVar[dict[str, Any]] = {"manifests": "key"}


@pytest.mark.slow
class TestNoChoiceOfMachines(SageMakerConformance):
    settings: ClassVar[dict[str, Any]] = {"instance_type": "ml.m5.large,ml.m5.xlarge"}
    behaviour: ClassVar[dict[str, Any]] = {"refuses_preferences": True}
