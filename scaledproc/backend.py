"""The seam for machines: a backend runs jobs and tells what became of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import ClassVar

from scaledproc.errors import UsageError
from scaledproc.events import Event, JobPlanned
from scaledproc.pool import cores
from scaledproc.run_folder import Run

ENTRY_POINTS = "scaledproc.backends"


@dataclass(frozen=True)
class Job:
    """What a backend is given: make a macro shard's features, or combine.

    Parameters
    ----------
    shard
        The shard's number; None to combine.
    """

    shard: int | None = None

    @property
    def arguments(self) -> tuple[str, ...]:
        """What follows `scaledproc worker RUN` in the command that does this job."""
        return ("--combine",) if self.shard is None else ("--shard", str(self.shard))

    def __str__(self) -> str:
        return "combine" if self.shard is None else f"shard {self.shard}"


@dataclass(frozen=True)
class Capabilities:
    """What the engine must know of a backend; it never asks for a backend's name.

    Parameters
    ----------
    executes
        Whether jobs are run at all. Where not, nothing is written.
    is_here
        Whether jobs run on this machine: its disks, and extractors that only this process knows, are within reach.
    """

    executes: bool = True
    is_here: bool = False


class Backend(ABC):
    """Runs jobs somewhere.

    A job is done by `scaledproc worker RUN --shard N` or `--combine`, or by the functions behind that command
    (`scaledproc.worker.run_shards`, `scaledproc.combining.combine`); there is no second way. `scaledproc.testing` has
    the tests that every backend must pass.

    Parameters
    ----------
    jobs
        Processes of each machine; None for as many as it has cores.
    scratch
        Where remote data is staged.
    """

    capabilities: ClassVar[Capabilities]

    def __init__(self, *, jobs: int | None = None, scratch: Path | None = None) -> None:
        self.jobs = jobs
        self.scratch = scratch

    @property
    @abstractmethod
    def cores(self) -> int:
        """Cores of one machine, for the plan's chunks."""

    @abstractmethod
    def run(self, run: Run, jobs: Sequence[Job]) -> Iterator[Event]:
        """Do the jobs, which do not depend on each other, and tell what happens as it happens.

        Raises
        ------
        ScaledprocError
            They cannot be done. Committed shards stay.
        """

    def stop(self) -> None:  # noqa: B027 - most have nothing to do
        """End what is still at work; called when `run` is not read to its end."""


class DryRun(Backend):
    """Shows the plan and the jobs, and does nothing."""

    capabilities = Capabilities(executes=False, is_here=True)

    @property
    def cores(self) -> int:
        """Those that this process may use, or as many as were asked for."""
        return cores(self.jobs)

    def run(self, run: Run, jobs: Sequence[Job]) -> Iterator[Event]:
        """Tell the command that would do each job."""
        for job in jobs:
            yield JobPlanned(" ".join(("scaledproc worker", str(run.store), *job.arguments)))


def load_backend(name: str) -> type[Backend]:
    """A backend by name; it is imported only now.

    Raises
    ------
    UsageError
        There is none, or what it needs is not installed.
    """
    for point in entry_points(group=ENTRY_POINTS, name=name):
        try:
            backend = point.load()
        except ImportError as error:
            raise UsageError(f"backend {name!r} cannot be used: {error}; {_install_hint(point)}") from error
        if not (isinstance(backend, type) and issubclass(backend, Backend)):
            raise UsageError(f"{point.value}, registered as backend {name!r}, is no scaledproc.Backend")
        return backend
    known = sorted(point.name for point in entry_points(group=ENTRY_POINTS))
    raise UsageError(f"no backend is called {name!r}; there are: {', '.join(known)}")


def _install_hint(point: EntryPoint) -> str:
    package = point.dist.name if point.dist else "scaledproc"
    extras = f"[{','.join(point.extras)}]" if point.extras else ""
    return f"pip install '{package}{extras}'"
