"""What the tests share: the command, the types of the fixtures in conftest, and a cheap extractor."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, Protocol

from s3server import S3Server

SCRIPT = Path(sys.executable).with_name("scaledproc")
COMMAND = [str(SCRIPT)] if SCRIPT.exists() else [sys.executable, "-m", "scaledproc"]
TreeWriter = Callable[[Mapping[str, bytes]], Path]

# One row for each text file; a file that says `poison` is a task that fails.
COUNT = """
import scaledproc

@scaledproc.extractor(schema={"path": "string", "size": "int64", "beside": "int64"}, anchor="*.txt")
def count(task):
    content = task.path.read_bytes()
    if content == b"poison":
        raise ValueError(f"poison in {task.path}")
    return {"path": task.anchor, "size": len(content), "beside": len(task.files)}
"""


# For the backend `sagemaker` against the emulated account.
SAGEMAKER: dict[str, Any] = {
    "role": "arn:aws:iam::123456789012:role/scaledproc",
    "image_uri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/scaledproc:test",
    "instance_type": "ml.m5.large",
    "poll_seconds": 0.2,
    "retry_wait": 0.1,
    "max_parallel_jobs": 2,
}


class Cli(Protocol):
    """The fixture `cli`: runs `scaledproc` with these arguments."""

    def __call__(
        self, *args: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> CompletedProcess[str]: ...


@dataclass(frozen=True)
class Bucket:
    """The fixture `s3`: a bucket on a running server."""

    server: S3Server
    name: str

    @property
    def storage_options(self) -> dict[str, object]:
        return self.server.storage_options

    @property
    def fs(self) -> Any:
        import s3fs

        return s3fs.S3FileSystem(**self.storage_options)

    def url(self, prefix: str) -> str:
        return f"s3://{self.name}/{prefix}"

    def objects(self, prefix: str) -> dict[str, bytes]:
        """The content of all objects below a prefix, by their names relative to it."""
        fs = self.fs
        return {name: fs.cat_file(f"{self.name}/{prefix}/{name}") for name in self.names(prefix)}

    def names(self, prefix: str) -> list[str]:
        """The objects below a prefix, by their names relative to it."""
        fs, start = self.fs, f"{self.name}/{prefix}/"
        fs.invalidate_cache()
        return [path.removeprefix(start) for path in fs.find(start)]


def tree_bytes(folder: Path) -> dict[str, bytes]:
    """The content of all files below a folder, by their relative paths; but for report.html, which has times."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "report.html")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def forget_memory() -> None:
    """Empty fsspec's memory filesystem, which all of a process shares."""
    import fsspec

    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


def forget_s3() -> None:
    """Drop the s3fs filesystems that are kept for whoever asks next: they lead to where the environment once did."""
    from s3fs import S3FileSystem

    from scaledproc.storage.s3.filesystem import RetryingS3FileSystem

    for each in (S3FileSystem, RetryingS3FileSystem):  # each keeps its own
        each.clear_instance_cache()


def clean_environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without anyone's AWS settings, and without what steers how it is shown."""
    unwanted = ("AWS_", "FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS", "FSSPEC_", "PYTHONWARNINGS", "PYTEST_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(unwanted) and key != "CI"}
    return {**kept, "COLUMNS": "120", "AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1", **(changes or {})}
