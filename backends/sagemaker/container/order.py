"""What the worker in a container is told. Light to import: the command's flags are made of it."""

from __future__ import annotations

from dataclasses import dataclass

from scaledproc._util.options import option
from scaledproc.engine.options import JobOrder


@dataclass(frozen=True)
class ContainerOrder(JobOrder):
    """A job, and what the service mounted for it: the options of `scaledproc sagemaker worker`.

    `run` is the run's folder; or, with `output`, a folder in which parts of that are mounted.
    """

    by_host: bool = option(False, "Only this machine's share of the shards, by its place in its job.")
    present: bool = option(False, "Only the tasks whose files are on this machine; leave parts of shards.")
    parts: str | None = option(None, "The job whose parts are put together before the shards are combined.")
    dataset: str | None = option(None, "Where the dataset is mounted.", metavar="FOLDER")
    output: str | None = option(
        None, "Leave results here for the service: the run's folder is not in reach.", metavar="FOLDER"
    )
    shared: str | None = option(
        None, "Where the files are that the extractor declared for all tasks, if not in the dataset.", metavar="FOLDER"
    )
