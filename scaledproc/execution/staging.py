"""Local files for extractors: where they are already, or fetched into scratch space ahead of the cores."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from scaledproc._util.process.scratch import PrivateFolder
from scaledproc.errors import ScaledprocError
from scaledproc.storage.s3.download import REQUESTS, ChangedError, UnwritableError
from scaledproc.storage.store import describe

if TYPE_CHECKING:
    from scaledproc.planning.plan import Chunk, Plan
    from scaledproc.planning.shared_files import SharedFile
    from scaledproc.storage.listing import FileInfo
    from scaledproc.storage.store import Store

FILES_AHEAD = 2 * REQUESTS  # files that are fetched ahead where chunks have few: else requests would be idle
FETCHES = 64  # chunks whose units are fetched at once: small ones wait for answers most of the time


class StagedUnit(NamedTuple):
    """Where a unit's files are."""

    root: Path
    problem: str | None = None
    """Why they are not there."""
    is_dataset: bool = False
    """Whether that is the dataset itself, not a copy."""
    is_refused: bool = False
    """Whether the store does not let this account read one of them, or has it no more."""


class Direct:
    """A dataset on local disks: nothing to fetch."""

    def __init__(self, dataset: Store) -> None:
        assert dataset.local is not None
        self._unit = StagedUnit(dataset.local, is_dataset=True)
        self._root = dataset.local

    def share(self, files: Sequence[SharedFile]) -> Path:  # noqa: ARG002 - as Stager's
        """Have files at hand for all tasks; the folder below which they are."""
        return self._root

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def admits(self, chunk: Chunk) -> bool:  # noqa: ARG002 - as Stager's
        """Whether there is room for a chunk's units."""
        return True

    def stage(self, chunk: Chunk) -> Future[StagedUnits]:  # noqa: ARG002 - as Stager's
        """Where each of the chunk's units is."""
        future: Future[StagedUnits] = Future()
        future.set_result(_Everywhere(self._unit))
        return future

    def release(self, chunk: Chunk) -> None:
        """The chunk is done."""

    def removals(self) -> Collection[Future[None]]:
        """What ends when there is more room."""
        return ()


class _Everywhere(dict[int, StagedUnit]):
    def __init__(self, unit: StagedUnit) -> None:
        super().__init__()
        self._unit = unit

    def __missing__(self, key: int) -> StagedUnit:
        return self._unit


StagedUnits = Mapping[int, StagedUnit]


class Stager:
    """Fetches a remote dataset's units, each once, into bounded scratch space; removes them after their last task.

    Parameters
    ----------
    dataset
        Where they are.
    plan
        Which files they have.
    chunks
        All chunks that will come, to know which is a unit's last.
    scratch
        Where to make the scratch space; the system's temporary folder where none is given.
    capacity
        Bytes; half of what is free on that disk where none is given. A unit larger than that is fetched alone.
    """

    def __init__(
        self,
        dataset: Store,
        plan: Plan,
        chunks: Sequence[Chunk],
        scratch: Path | None = None,
        capacity: int | None = None,
    ) -> None:
        self._dataset = dataset
        self._plan = plan
        self._scratch = PrivateFolder(scratch)
        self._folder = self._scratch.path
        self._capacity = capacity or shutil.disk_usage(self._folder).free // 2
        self._uses = Counter(unit for chunk in chunks for unit in plan.units_of(chunk.start, chunk.stop))
        self._fetched: dict[int, Future[StagedUnits]] = {}  # one for all that one call fetches
        self._held = 0
        self._fetchers = ThreadPoolExecutor(FETCHES, thread_name_prefix="fetch")
        self._removals: dict[Future[None], int] = {}  # with the bytes that are free when it has ended
        self._remover = ThreadPoolExecutor(1, thread_name_prefix="remove")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._fetchers.shutdown(wait=True, cancel_futures=True)
        self._remover.shutdown(wait=True, cancel_futures=True)
        self._scratch.cleanup()

    def share(self, files: Sequence[SharedFile]) -> Path:
        """Fetch files for all tasks, to stay until the end; the folder below which they are.

        Raises
        ------
        ScaledprocError
            If a file cannot be fetched as it was listed.
        """
        root = self._folder / "shared"
        try:
            self._dataset.fetch([file.listed for file in files], root)
        except OSError as error:
            raise ScaledprocError(f"what the extractor reads cannot be fetched: {describe(error)}") from error
        self._capacity = max(self._capacity - sum(file.size for file in files), 0)
        return root

    def admits(self, chunk: Chunk) -> bool:
        """Whether there is room for a chunk's units; always where nothing else is held."""
        self.removals()
        wanted = sum(self._size(unit) for unit in self._units(chunk) if unit not in self._fetched)
        return self._held == 0 or self._held + wanted <= self._capacity

    def n_files(self, chunk: Chunk) -> int:
        """How many files the chunk's units have."""
        units = self._units(chunk)
        return int(self._plan.unit_files[units.stop] - self._plan.unit_files[units.start])

    def stage(self, chunk: Chunk) -> Future[StagedUnits]:
        """Begin to fetch the chunk's units, in one call; the result says where each is."""
        units = self._units(chunk)
        new = [unit for unit in units if unit not in self._fetched]
        if new:
            self._held += sum(map(self._size, new))
            self._fetched.update(dict.fromkeys(new, self._fetchers.submit(self._fetch, new)))
        if len(new) == len(units):
            return self._fetched[new[0]]
        # Those that it waits for were begun before it. A future is one chunk's alone.
        calls = {self._fetched[unit] for unit in units}
        return self._fetchers.submit(lambda: {unit: at for call in calls for unit, at in call.result().items()})

    def release(self, chunk: Chunk) -> None:
        """The chunk is done: begin to remove the units that no other chunk needs."""
        units = self._units(chunk)
        self._uses.subtract(units)
        over = [unit for unit in units if not self._uses[unit]]
        if over:  # in a thread: on some disks it takes its time, and the cores' next chunks do not wait for it
            roots = [self._fetched.pop(unit).result()[unit].root for unit in over]
            self._removals[self._remover.submit(_remove, roots)] = sum(map(self._size, over))

    def removals(self) -> Collection[Future[None]]:
        """What ends when there is more room; what has ended gave its room back."""
        for future in [future for future in self._removals if future.done()]:
            self._held -= self._removals.pop(future)
        return self._removals.keys()

    def _units(self, chunk: Chunk) -> range:
        return self._plan.units_of(chunk.start, chunk.stop)

    def _size(self, unit: int) -> int:
        return int(self._plan.unit_sizes[unit])

    def _fetch(self, units: Sequence[int]) -> StagedUnits:
        groups = [(self._plan.listed(unit), self._folder / str(unit)) for unit in units]
        wrong = self._dataset.fetch_groups(groups)
        return {
            unit: StagedUnit(
                root,
                self._problem(files, root, error),
                is_refused=isinstance(error, FileNotFoundError | PermissionError),
            )
            for unit, (files, root), error in zip(units, groups, wrong, strict=True)
        }

    def _problem(self, files: Sequence[FileInfo], root: Path, error: OSError | None) -> str | None:
        if isinstance(error, ChangedError | UnwritableError):
            return str(error)
        if isinstance(error, FileNotFoundError):
            names = [file.path for file in files]
            is_known = str(error) in names
            gone = str(error) if is_known else next((name for name in names if not self._dataset.exists(name)), None)
            return f"{gone} is gone since it was listed" if gone else describe(error)
        if error is not None:
            return describe(error)
        for file in files:
            found = (root / file.path).stat().st_size
            if found != file.size:
                return f"{file.path} has {found:,} bytes, had {file.size:,} when it was listed"
        return None


def _remove(folders: Sequence[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
