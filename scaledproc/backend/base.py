"""The seam for machines: a backend runs jobs and tells what became of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from scaledproc.errors import UsageError
from scaledproc.events import Event, ShardState, State

if TYPE_CHECKING:
    from scaledproc.execution.limits import Limits
    from scaledproc.execution.workers.pool import Pool
    from scaledproc.extractors import Extractor
    from scaledproc.planning.plan import Plan
    from scaledproc.run_folder.folder import RunFolder
    from scaledproc.storage.store import Store


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
        Whether jobs run on this machine, as processes of the driver: extractors that only this process knows are within
        reach, and so are this machine's disks.
    shares_disk
        Whether the machines elsewhere see this machine's folders under the same paths, as those of a cluster with a
        shared filesystem do. Then dataset, output and an extractor's file may be local paths. `is_here` implies it.
    shares
        Whether several drivers may go on with one run side by side, as its jobs have names that keep them from being
        started twice. Otherwise the second driver of a run is refused.
    """

    executes: bool = True
    is_here: bool = False
    shares_disk: bool = False
    shares: bool = False

    @property
    def reaches_disk(self) -> bool:
        """Whether jobs can read and write this machine's folders."""
        return self.is_here or self.shares_disk


@dataclass(frozen=True)
class Expected:
    """What a run will take, before it is begun.

    Parameters
    ----------
    lines
        For a person.
    content
        What they say, for a program, as JSON's types.
    """

    lines: tuple[str, ...]
    content: Mapping[str, Any]


class Backend(ABC):
    """Runs jobs somewhere.

    A job is done by `scaledproc worker RUN --shard N` or `--combine`, or by the functions behind that command
    (`scaledproc.execution.worker.run_shards`, `scaledproc.execution.tables.combine.combine`); there is no second way.
    `scaledproc.testing` has the tests that every backend must pass.

    Parameters
    ----------
    jobs
        Processes of each machine; None for as many as it has cores.
    scratch
        Where remote data is staged.
    """

    capabilities: ClassVar[Capabilities]
    name: ClassVar[str] = ""
    """As its entry point is called; run.json has it, so that another machine finds the run's jobs by it."""

    def __init__(self, *, jobs: int | None = None, scratch: Path | None = None, **settings: Any) -> None:
        if settings:
            flag = next(iter(settings)).replace("_", "-")
            raise UsageError(f"--{flag} is not for the backend {self.name or type(self).__name__!r}")
        self.jobs = jobs
        self.scratch = scratch

    @classmethod
    def recall(cls, record: Mapping[str, Any], settings: Mapping[str, Any]) -> Backend:  # noqa: ARG003 - for those with machines elsewhere
        """One that finds the jobs of a run again, from what `record` left in run.json and what is set now."""
        return cls()

    @property
    @abstractmethod
    def cores(self) -> int:
        """Cores of one machine, for the plan's chunks."""

    @abstractmethod
    def run(self, run: RunFolder, jobs: Sequence[Job]) -> Iterator[Event]:
        """Do the jobs, which do not depend on each other, and tell what happens as it happens.

        Raises
        ------
        ScaledprocError
            If some of the jobs cannot be done. Committed shards stay.
        """

    def starting(self, limits: Limits) -> AbstractContextManager[object]:
        """Begin what needs neither plan nor extractor, while this process imports what a run needs.

        The command line alone calls it, where nothing speaks against a new run; `prepared` comes within.

        Parameters
        ----------
        limits
            Of the run's tasks.
        """
        return nullcontext()

    def prepared(
        self,
        limits: Limits,
        source: str | Extractor,
        options: Mapping[str, Any],
    ) -> AbstractContextManager[object]:
        """Begin what needs no plan, such as starting processes, while the plan is made; `run` comes within.

        Parameters
        ----------
        limits
            Of the run's tasks.
        source, options
            Its extractor, or what finds it.
        """
        return nullcontext()

    @property
    def processes(self) -> Pool | None:
        """Processes of this machine that `prepared` has started, which the engine may give work; None without any."""
        return None

    def stop(self) -> None:
        """End what is still at work here; called when `run` is not read to its end."""

    def interrupt(self, ask: Callable[[str], bool]) -> str:
        """A person pressed Ctrl-C; called instead of `stop`. What became of the jobs, in words, where that matters.

        Parameters
        ----------
        ask
            Puts a question that is answered by yes or no; no where nobody can answer.
        """
        self.stop()
        return ""

    # What backends with machines elsewhere do besides

    def take_over(self, record: Mapping[str, Any]) -> None:
        """Hear what `record` left in the run.json of a run that is to be continued."""

    def store_options(self, side: Literal["input", "output"]) -> Mapping[str, Any]:
        """Arguments for this process's filesystem of the dataset or of the run: a profile, encryption."""
        return {}

    def check(self, run: RunFolder, plan: Plan) -> Iterator[str]:
        """See whether a plan can be run, before anything is written; notes for a person.

        Raises
        ------
        UsageError
            If the plan, the run's places or the backend's settings are such that it cannot be run.
        """
        yield from ()

    def record(self) -> Mapping[str, Any]:
        """What run.json is to say of it: what `recall` needs, and at the end what the jobs took."""
        return {"name": self.name or type(self).__name__}

    def detach(self, run: RunFolder) -> str:
        """Hand all jobs that are left to a service that goes on without this process; what was made, in words.

        Raises
        ------
        UsageError
            If the backend has no service that goes on by itself.
        """
        raise UsageError(f"the backend {self.name or type(self).__name__!r} cannot go on by itself")

    def settle(self, run: RunFolder) -> Mapping[str, Any] | None:
        """What `record` would say of a run that ended with nobody watching; None where nothing is to be added."""
        return None

    @property
    def detaches(self) -> bool:
        """Whether `detach` is asked for, instead of `run`."""
        return False

    def states(self, run: RunFolder) -> Sequence[ShardState]:
        """What its machines do for a run now, whoever started it: shards that are queued, at work or failed."""
        return ()

    def at_work(self, run: RunFolder) -> int:
        """How many of its machines or jobs are at work for a run now, whoever started them; 0 where it cannot tell."""
        return sum(state.state not in (State.FAILED, State.STOPPED) for state in self.states(run))

    def halt(self, run: RunFolder) -> int:
        """Stop the jobs of a run, whoever started them; how many there were."""
        return 0

    def estimate(self, plan: Plan, dataset: Store, extractor: Extractor) -> Expected | None:
        """What a run is expected to take and to cost, where that can be told; nothing is started elsewhere for it."""
        return None
