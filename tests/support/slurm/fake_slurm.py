"""A Slurm that is a function: jobs are done where it is asked."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import scaledproc
from scaledproc.backends.batch.calls import FullError, UnansweredError
from scaledproc.backends.batch.elements import Elements
from scaledproc.events import Event, Note, ShardState
from scaledproc.execution.tables.combine import combine
from scaledproc.execution.worker import run_shards
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.names import COMBINED
from scaledproc.run_folder.run import Run
from scaledproc.storage.store import Store
from scaledproc.testing import PROBE, output_bytes


@dataclass
class Fake:
    """A Slurm whose jobs are done when the queue is looked at, or end as they are told to.

    Parameters
    ----------
    output
        The run's folder.
    ends
        For each try of an element, how it ends; it is done where nothing is told.
    most
        Jobs that it takes at once.
    most_there
        Jobs that may be queued or at work.
    refused
        How often it was full.
    """

    output: Path
    ends: dict[int, list[str]] = field(default_factory=dict)
    most: int = 1000
    most_there: int = 1000
    refused: int = 0
    array: int = 1001
    submitted: list[tuple[str, ...]] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    jobs: dict[int, list[str]] = field(default_factory=dict)  # element: line of the queue
    cancelled: list[str] = field(default_factory=list)
    count: int = 0
    troubles: list[str] = field(default_factory=list)
    """For each call of sbatch, whether it does not answer, and took the jobs all the same or not."""
    named: dict[str, list[int]] = field(default_factory=dict)  # ids of the arrays and jobs of a name
    queued: int = 0
    """Looks for which a job waits before it works."""
    late: dict[int, int] = field(default_factory=dict)  # element: looks for which it works longer than the others
    waits: dict[int, int] = field(default_factory=dict)
    throttles: dict[str, int] = field(default_factory=dict)  # id of an array: how many of it may work at once
    calls: list[str] = field(default_factory=list)
    at_work: list[int] = field(default_factory=list)
    """At each look, how many jobs may have worked at the same time."""

    def __call__(self, *command: str, script: str | None = None) -> str:
        self.calls.append(command[0])
        if command[:3] == ("scontrol", "show", "config"):
            return f"KillWait = 20 sec\nMaxArraySize = {self.array}\n"
        if command[0] == "scancel":
            self.cancelled += command[1:]
            for job in self.jobs.values():
                if job[0] in command and job[1] in ("PENDING", "RUNNING"):
                    job[1:] = ["CANCELLED", "None"]
            return ""
        if "--format=%F" in command:
            return "".join(f"{job}\n" for word in command for job in self.named.get(word.partition("=")[2], []))
        if command[0] == "squeue":
            return self.queue()
        assert command[0] == "sbatch"
        if "--test-only" in command:
            return "sbatch: Job 1 to start at 2026-11-29T08:00:00 using 1 processors on nodes n1 in partition main"
        return self.submit(command, script or "")

    def submit(self, command: tuple[str, ...], script: str) -> str:
        given = dict(word.split("=", 1) for word in command if "=" in word)
        elements = [-1]
        if "--array" in given:
            ranges = [part.split("-") for part in given["--array"].partition("%")[0].split(",")]
            elements = [number for part in ranges for number in range(int(part[0]), int(part[-1]) + 1)]
        there = sum(job[1] in ("PENDING", "RUNNING") for job in self.jobs.values())
        if len(elements) > min(self.most, self.most_there - there):
            self.refused += 1
            raise FullError("QOSMaxSubmitJobPerUserLimit")
        trouble = self.troubles.pop(0) if self.troubles else ""
        if trouble == "refused":
            raise UnansweredError("Slurm: Socket timed out")
        self.count += 1
        self.named.setdefault(given["--job-name"], []).append(self.count)
        self.submitted.append(command)
        self.scripts.append(script)
        self.throttles[str(self.count)] = int(given.get("--array", "").partition("%")[2] or len(elements))
        for element in elements:
            self.jobs[element] = [str(self.count), "PENDING", "Priority"]
            self.waits[element] = self.queued
        if trouble == "taken":
            raise UnansweredError("Slurm does not answer: sbatch took more than 120 s")
        return f"{self.count}\n"

    def queue(self) -> str:
        lines = []
        there = Counter(job[0] for job in self.jobs.values() if job[1] in ("PENDING", "RUNNING"))
        self.at_work.append(sum(min(count, self.throttles[array]) for array, count in there.items()))
        for element, job in self.jobs.items():
            if job[1] == "PENDING" and self.waits[element]:
                self.waits[element] -= 1
            elif job[1] == "PENDING":
                job[1:] = ["RUNNING", "None"]
            elif job[1] == "RUNNING" and self.late.get(element, 0):
                self.late[element] -= 1
            elif job[1] == "RUNNING":
                ends = self.ends.get(element, [])
                job[1:] = [self.leave(element, ends.pop(0)) if ends else self.do(element), "None"]
            name = "N/A" if element < 0 else element
            lines.append(f"{job[0]}|{name}|{job[1]}|{job[2]}|{256 if job[1] == 'FAILED' else 0}|\n")
        return "".join(lines)

    def leave(self, element: int, state: str) -> str:
        """As a job that is killed while it commits a chunk: what it leaves is no chunk."""
        folder = self.output / f"work/{element:05d}"
        folder.mkdir(exist_ok=True)
        (folder / f".000000.parquet.{self.count}.part").write_bytes(b"PAR1")
        return state

    def do(self, element: int) -> str:
        run = RunFolder.open(Store.at(str(self.output)))
        if element < 0:
            run.store.write(COMBINED, combine(run).to_json())
        else:
            each = json.loads((self.output / "work/control/slurm.json").read_text())["each"]
            shards = Elements(run.record.counts["shards"], each).shards_of(element)
            list(run_shards(run, list(shards), jobs=1))
        return "COMPLETED"


@dataclass
class Runs:
    """Runs of the four tasks, and what they told."""

    folder: Path
    events: list[Event] = field(default_factory=list)
    dies: bool = False
    """Whether the driver ends as soon as it sees a job."""

    def hear(self, event: Event) -> None:
        self.events.append(event)
        if self.dies and isinstance(event, ShardState):
            raise KeyError(event)

    def __call__(self, *, shards: str = "4", **settings: Any) -> Run:
        return scaledproc.run(
            self.folder / "data",
            self.folder / "out",
            extractor=PROBE,
            backend="slurm",
            shards=shards,
            jobs=1,
            settings={"poll_seconds": 0.01, **settings},
            on_event=self.hear,
        )

    @property
    def notes(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Note)]

    def is_as_local(self) -> bool:
        local = scaledproc.run(
            self.folder / "data", self.folder / "local", extractor=PROBE, backend="local", jobs=1, shards="4"
        )
        return output_bytes(local.store) == output_bytes(Store.at(str(self.folder / "out")))
