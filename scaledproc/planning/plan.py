"""The plan: one sorted table of tasks, cut twice. Pure: an inventory in, a plan out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scaledproc.errors import ScaledprocError
from scaledproc.extractors.code.fingerprint import WITH_KEYS, fingerprint_of
from scaledproc.extractors.described import undescribed
from scaledproc.extractors.tables import tables_of
from scaledproc.planning.cost_model import ASSUMED
from scaledproc.planning.inventory import globs_of, matches
from scaledproc.planning.layout import Layout
from scaledproc.planning.partition import ChunkCut, ShardCut, assumed_work, cut_chunks, cut_shards, split_evenly
from scaledproc.planning.path_arrays import blocks, stems
from scaledproc.planning.shared_files import shared_parts
from scaledproc.storage.listing import FileInfo

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from scaledproc.extractors import Extractor
    from scaledproc.planning.inventory import Inventory
    from scaledproc.planning.layout import Arranged
    from scaledproc.planning.partition import Offsets
    from scaledproc.planning.shared_files import SharedFile

FORMAT = 1
TASK_COLUMNS = ("group", "unit", "anchor", "size")
FILE_COLUMNS = ("path", "size", "version")
MANY_SHARDS = 1_000
BETTER = 0.95  # of the balance, below which another one is worth a word
HALF = 0.505  # of all bytes, from which on a share is shown as more than 50 %
LITTLE = 3.0  # seconds of a core, below which no cut is worth a word
SLICES = 1_000  # ranges of rows, up to which they are put together without being copied


class Chunk(NamedTuple):
    """One micro shard: `start:stop` in the plan's tasks."""

    shard: int
    number: int
    start: int
    stop: int
    size: int


@dataclass(frozen=True, repr=False, eq=False)
class Plan:
    """What will be done, in which order and in which pieces.

    Parameters
    ----------
    plan_id
        Hash of what determines the output: the extractor, the tasks, and the paths and sizes of their files. Neither
        the cuts nor the place where the dataset lies are in it.
    tasks
        Columns group, unit, anchor, size (bytes), sorted by the first three as bytes.
    files
        Columns path, size, version: all files of the units, in the order of the units.
    unit_tasks, unit_files
        Offsets of the units in `tasks` and in `files`, shape (units + 1,).
    shard_cuts, chunk_cuts
        Offsets of macro shards and of chunks in `tasks`; every shard's are also a chunk's.
    warnings
        What a person should know before the run.
    fingerprint
        What the rows depend on besides the tasks' files, part by part.
    reads
        The files that the extractor declared for all its tasks.
    is_whole
        Whether no listed file was left out by what was asked for, or by default; told when the plan is made.
    contents
        SHA-256 of each file, where these are compared by their content.
    """

    plan_id: str
    tasks: pa.Table
    files: pa.Table
    unit_tasks: Offsets
    unit_files: Offsets
    shard_cuts: Offsets
    chunk_cuts: Offsets
    warnings: tuple[str, ...] = field(default=())
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    reads: tuple[SharedFile, ...] = ()
    is_whole: bool = True
    contents: pa.Array | None = None

    def __repr__(self) -> str:
        from scaledproc._util.text import bytes_text, count_text

        return (
            f"<Plan {self.plan_id[:12]}: {count_text(self.n_tasks, 'task')} in {count_text(self.n_units, 'unit')}, "
            f"{bytes_text(self.size)}; {count_text(self.n_shards, 'shard')} (balance {self.balance:.2f}), "
            f"{count_text(self.n_chunks, 'chunk')}>"
        )

    def _repr_html_(self) -> str:
        """What `repr` tells, for a notebook, with the first shards."""
        from scaledproc._util.html import ROWS, summary_html
        from scaledproc._util.text import bytes_text

        facts = {"tasks": f"{self.n_tasks:,}", "units": f"{self.n_units:,}", "files": f"{self.files.num_rows:,}"}
        facts |= {"size": bytes_text(self.size), "shards": f"{self.n_shards:,}", "chunks": f"{self.n_chunks:,}"}
        facts["balance"] = f"{self.balance:.2f} (largest shard over mean; 1 is perfect)"
        rows = []
        for shard in range(min(self.n_shards, ROWS)):
            start, stop = int(self.shard_cuts[shard]), int(self.shard_cuts[shard + 1])
            units = self.units_of(start, stop)
            rows.append(
                (
                    *(shard, bytes_text(self.shard_sizes[shard]), f"{stop - start:,}", f"{len(units):,}"),
                    *(f"{self.n_chunks_of(shard):,}", self.unit_name(units[0]), self.unit_name(units[-1])),
                )
            )
        heads = ("shard", "size", "tasks", "units", "chunks", "from", "to")
        title = f"Plan {self.plan_id[:12]}"
        return summary_html(title, facts, heads, rows, total=self.n_shards, notes=self.warnings)

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return int(self.tasks.num_rows)

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.unit_tasks) - 1

    @property
    def n_shards(self) -> int:
        """Number of macro shards."""
        return len(self.shard_cuts) - 1

    @property
    def n_chunks(self) -> int:
        """Number of chunks over all shards."""
        return len(self.chunk_cuts) - 1

    @cached_property
    def size(self) -> int:
        """Bytes of all files of all units."""
        return int(pc.sum(self.files["size"]).as_py() or 0)

    @cached_property
    def task_sizes(self) -> NDArray[np.int64]:
        """Bytes of each task, shape (tasks,)."""
        return _integers(self.tasks["size"])

    @cached_property
    def shard_sizes(self) -> NDArray[np.int64]:
        """Bytes of each shard, shape (shards,)."""
        return _sums_between(self.task_sizes, self.shard_cuts)

    @property
    def balance(self) -> float:
        """Largest shard over the mean: 1 is perfect; the time of a run on one machine per shard grows with it."""
        mean = self.size / max(self.n_shards, 1)
        return float(self.shard_sizes.max() / mean) if mean else 1.0

    @cached_property
    def _first_chunks(self) -> Offsets:
        return np.searchsorted(self.chunk_cuts, self.shard_cuts)

    def chunks(self, shard: int) -> Iterator[Chunk]:
        """The chunks of a shard, in order."""
        first, last = int(self._first_chunks[shard]), int(self._first_chunks[shard + 1])
        cuts = self.chunk_cuts[first : last + 1]
        sizes = _sums_between(self.task_sizes, cuts)
        for number, size in enumerate(sizes):
            yield Chunk(shard, number, int(cuts[number]), int(cuts[number + 1]), int(size))

    def n_chunks_of(self, shard: int) -> int:
        """Number of chunks of a shard."""
        return int(self._first_chunks[shard + 1] - self._first_chunks[shard])

    def unit_name(self, unit: int) -> str:
        """A unit's path."""
        return str(self.tasks["unit"][int(self.unit_tasks[unit])].as_py())

    def files_of(self, unit: int) -> pa.Table:
        """The rows of `files` that are a unit's."""
        first, stop = int(self.unit_files[unit]), int(self.unit_files[unit + 1])
        return self.files.slice(first, stop - first)

    def listed(self, unit: int) -> list[FileInfo]:
        """A unit's files as they were listed."""
        return [FileInfo(*row) for row in zip(*self.files_of(unit).to_pydict().values(), strict=True)]

    @cached_property
    def unit_sizes(self) -> NDArray[np.int64]:
        """Bytes of each unit, shape (units,)."""
        return _sums_between(self._file_sizes, self.unit_files)

    def sizes_of(self, unit: int) -> dict[str, int]:
        """The paths of a unit's files, and the bytes of each."""
        first, stop = int(self.unit_files[unit]), int(self.unit_files[unit + 1])
        paths = self.files["path"].slice(first, stop - first).to_pylist()
        return dict(zip(paths, self._file_sizes[first:stop].tolist(), strict=True))

    def sizes_of_units(self, units: range, most: int) -> list[dict[str, int] | None]:
        """`sizes_of` of each of several units that follow each other; None of one that has more files than so many."""
        ends = self.unit_files[units.start : units.stop + 1]
        if (np.diff(ends) > most).any():
            return [None if ends[at + 1] - ends[at] > most else self.sizes_of(unit) for at, unit in enumerate(units)]
        first, *stops = ends.tolist()
        paths = self.files["path"].slice(first, stops[-1] - first).to_pylist()
        sizes = self._file_sizes[first : stops[-1]].tolist()
        return [
            dict(zip(paths[start - first : stop - first], sizes[start - first : stop - first], strict=True))
            for start, stop in zip([first, *stops], stops, strict=False)
        ]

    @cached_property
    def _file_sizes(self) -> NDArray[np.int64]:
        return _integers(self.files["size"])

    def units_of(self, start: int, stop: int) -> range:
        """The units that the tasks `start:stop` belong to."""
        first = int(np.searchsorted(self.unit_tasks, start, "right")) - 1
        return range(first, int(np.searchsorted(self.unit_tasks, stop, "left")))

    def of_tasks(self, wanted: NDArray[np.bool_]) -> Plan:
        """A plan of some of the tasks, in the same order and with all files of their units; not yet cut.

        Parameters
        ----------
        wanted
            Which tasks, shape (tasks,).
        """
        counts = np.add.reduceat(wanted.astype(np.int64), self.unit_tasks[:-1]) if self.n_units else np.zeros(0, int)
        is_in, lengths = counts > 0, np.diff(self.unit_files)
        tasks = self.tasks.filter(pa.array(wanted))
        digest = hashlib.sha256(self.plan_id.encode() + np.packbits(wanted).tobytes())
        is_file_in = pa.array(np.repeat(is_in, lengths))
        whole = np.array([0, len(tasks)]) if len(tasks) else np.zeros(1, np.int64)
        return replace(
            self,
            plan_id=digest.hexdigest()[: len(self.plan_id)],
            tasks=tasks,
            files=self.files.filter(is_file_in),
            contents=None if self.contents is None else self.contents.filter(is_file_in),
            unit_tasks=np.concatenate([[0], np.cumsum(counts[is_in])]).astype(np.int64),
            unit_files=np.concatenate([[0], np.cumsum(lengths[is_in])]).astype(np.int64),
            shard_cuts=whole,
            chunk_cuts=whole,
            warnings=(),
        )

    def cut(self, shards: ShardCut, chunks: ChunkCut, *, cores: int = 1, together: bool = False) -> Plan:
        """The same plan with other cuts.

        Parameters
        ----------
        shards, chunks
            The rules.
        cores
            Cores of one machine.
        together
            Whether these cores do all shards, not one.
        """
        of_units = self.tasks["group"].take(pa.array(self.unit_tasks[:-1])).combine_chunks()
        groups = of_units.dictionary_encode().indices.to_numpy(zero_copy_only=False)
        shard_cuts = self.unit_tasks[cut_shards(self.unit_sizes, groups, shards)]
        work = assumed_work(self.task_sizes, cores) if together and self.n_tasks else None
        pieces = [
            start
            + cut_chunks(
                self.task_sizes[start:stop], chunks, cores, work, is_last=not together or stop == self.n_tasks
            )[:-1]
            for start, stop in zip(shard_cuts[:-1].tolist(), shard_cuts[1:].tolist(), strict=True)
        ]
        chunk_cuts = np.concatenate([*pieces, [self.n_tasks]]).astype(np.int64)
        plan = replace(self, shard_cuts=shard_cuts, chunk_cuts=chunk_cuts)
        return replace(plan, warnings=(*self.warnings, *_warn_of_cuts(plan, shards)))

    # To and from the run's folder

    def task_table(self) -> pa.Table:
        """One row per task with its shard and chunk: what `plan.parquet` holds."""
        chunk_lengths = np.diff(self.chunk_cuts)
        shard_of_chunk = np.searchsorted(self.shard_cuts, self.chunk_cuts[:-1], "right") - 1
        number = np.arange(self.n_chunks) - self._first_chunks[shard_of_chunk]
        return self.tasks.append_column(
            "shard", pa.array(np.repeat(shard_of_chunk, chunk_lengths), pa.int32())
        ).append_column("chunk", pa.array(np.repeat(number, chunk_lengths), pa.int32()))

    def to_pandas(self) -> pd.DataFrame:
        """One row per task with its size in bytes, its shard and its chunk, as a DataFrame."""
        frame: pd.DataFrame = self.task_table().to_pandas()
        return frame

    def file_table(self) -> pa.Table:
        """One row per file with its unit's place: what `inventory.parquet` holds."""
        lengths = np.diff(self.unit_files)
        table = self.files.append_column("unit", pa.array(np.repeat(np.arange(self.n_units), lengths), pa.int64()))
        return table if self.contents is None else table.append_column("content", self.contents)

    @classmethod
    def from_tables(cls, plan_id: str, tasks: pa.Table, files: pa.Table) -> Plan:
        """The plan that `task_table` and `file_table` were made from."""
        shard = tasks["shard"].combine_chunks().to_numpy()
        chunk = tasks["chunk"].combine_chunks().to_numpy()
        unit = files["unit"].combine_chunks().to_numpy()
        return cls(
            plan_id=plan_id,
            tasks=tasks.select(TASK_COLUMNS),
            files=files.select(FILE_COLUMNS),
            unit_tasks=_unit_offsets(tasks),
            unit_files=_offsets_of_runs(unit),
            shard_cuts=_offsets_of_runs(shard),
            chunk_cuts=_offsets_of_runs(shard, chunk),
            contents=files["content"].combine_chunks() if "content" in files.schema.names else None,
        )


def make_plan(
    inventory: Inventory,
    extractor: Extractor,
    *,
    unit: str | None = None,
    anchors: tuple[str, ...] | None = None,
    limit: int | None = None,
    wants: Callable[[str], bool] | None = None,
    shards: ShardCut = ShardCut("folder"),  # noqa: B008 - frozen
    chunks: ChunkCut = ChunkCut("auto"),  # noqa: B008 - frozen
    cores: int = 1,
    together: bool = False,
    reads: Sequence[SharedFile] = (),
    with_keys: bool = False,
) -> Plan:
    """Group the files of a dataset into units and tasks, sort them, cut them.

    Parameters
    ----------
    inventory
        The files.
    extractor
        What will be called with each task; says how files form units and which start a task.
    unit, anchors
        Instead of the extractor's own.
    limit
        Only so many units, the first ones.
    wants
        Which anchors start a task, of those that could; all where none is given.
    shards, chunks
        The two cuts.
    cores, together
        Cores of one machine, and whether they do all shards.
    reads
        The files that the extractor declared. They belong to no unit, and start no task.
    with_keys
        Whether columns that lead back to a row's task come before its own.

    Raises
    ------
    UsageError
        If `unit` or a glob of `anchors` cannot be read, or there is no anchor.
    ScaledprocError
        If a file is in the inventory twice.
    """
    layout = Layout(unit or extractor.unit, anchors or extractor.anchors, extractor.companions)
    listed = inventory.files
    if reads:
        shared = pa.array([file.path for file in reads], listed.schema.field("path").type)
        listed = listed.filter(pc.invert(pc.is_in(listed["path"], value_set=shared)))
    found = fingerprint_of(extractor)
    arranged = layout.arrange(listed)
    if wants is not None:
        arranged = _with_anchors(arranged, listed["path"], wants)
    tasks_per_unit = np.diff(np.concatenate([[0], np.cumsum(arranged.is_anchor)])[arranged.offsets])
    chosen = np.flatnonzero(tasks_per_unit)[:limit]
    is_chosen = np.zeros(len(arranged.units), bool)
    is_chosen[chosen] = True
    is_in = np.repeat(is_chosen, np.diff(arranged.offsets))
    files, is_anchor = take_rows(listed.select(FILE_COLUMNS), arranged.order[is_in]), arranged.is_anchor[is_in]

    _refuse_twins(files["path"])

    unit_files = np.concatenate([[0], np.cumsum(np.diff(arranged.offsets)[chosen])]).astype(np.int64)
    unit_tasks = np.concatenate([[0], np.cumsum(tasks_per_unit[chosen])]).astype(np.int64)
    unit_of_task = pa.array(np.repeat(chosen, tasks_per_unit[chosen]))
    tasks = pa.table(
        {
            "group": arranged.groups.take(unit_of_task),
            "unit": arranged.units.take(unit_of_task),
            "anchor": files["path"].filter(pa.array(is_anchor)).cast(pa.large_string()),
        }
    )
    with ThreadPoolExecutor(1) as beside:  # hashing leaves the interpreter to others
        plan_id = beside.submit(
            plan_id_of, found.text, extractor, layout.unit, tasks, files, unit_files, reads, with_keys
        )
        task_of_file = _attribute(files["path"], is_anchor, unit_files, unit_tasks)
        sizes = np.bincount(task_of_file, weights=_integers(files["size"]), minlength=int(unit_tasks[-1]))
        del task_of_file
        warnings = [*inventory.notes, *found.notes]
        left_out = listed.num_rows - len(arranged.order)
        if left_out:
            warnings.append(f"{left_out:,} files were left out: the expression for units does not match their paths")
        if len(tasks) and limit is None and wants is None:
            idle = listed["path"].take(pa.array(arranged.order[~is_in]))
            warnings += _warn_of_orphans(idle, extractor.companions)
    plan = Plan(
        plan_id=plan_id.result(),
        tasks=tasks.append_column("size", pa.array(sizes.astype(np.int64))),
        files=files,
        unit_tasks=unit_tasks,
        unit_files=unit_files,
        shard_cuts=np.array([0, len(tasks)]) if len(tasks) else np.zeros(1, np.int64),
        chunk_cuts=np.array([0, len(tasks)]) if len(tasks) else np.zeros(1, np.int64),
        warnings=tuple(warnings),
        fingerprint={**found.parts, **shared_parts(reads), **({WITH_KEYS: "yes"} if with_keys else {})},
        reads=tuple(reads),
        is_whole=inventory.is_whole and not left_out,
    )
    return plan.cut(shards, chunks, cores=cores, together=together)


def _with_anchors(arranged: Arranged, paths: pa.ChunkedArray, wants: Callable[[str], bool]) -> Arranged:
    """The same files, of which only wanted ones start a task."""
    anchors = np.flatnonzero(arranged.is_anchor)
    is_wanted = [wants(path) for path in paths.take(pa.array(arranged.order[anchors])).to_pylist()]
    is_anchor = np.zeros(len(arranged.is_anchor), bool)
    is_anchor[anchors[np.array(is_wanted, bool)]] = True
    return replace(arranged, is_anchor=is_anchor)


def _refuse_twins(paths: pa.ChunkedArray) -> None:
    """See that no file is there twice, as in an inventory from elsewhere it can be: equal paths stand side by side.

    Raises
    ------
    ScaledprocError
        If a file is in the inventory twice.
    """
    if len(paths) < 2:
        return
    twins = pc.index(pc.equal(paths.slice(1), paths.slice(0, len(paths) - 1)), True).as_py()
    if twins >= 0:
        raise ScaledprocError(f"the inventory has the file {paths[twins].as_py()!r} twice")


def take_rows(table: pa.Table, rows: NDArray[np.int64]) -> pa.Table:
    """Rows of a table in another order; slices of it, where they are few enough ranges.

    A listing in the order of its names, as S3 gives it, is the plan's order but for a few folders. Copying it would
    double what is in memory.
    """
    starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
    if len(starts) > SLICES:
        return table.take(pa.array(rows))
    lengths = np.diff(starts, append=len(rows))
    ranges = zip(rows[starts].tolist(), lengths.tolist(), strict=True)
    return pa.concat_tables([table.slice(0, 0), *(table.slice(first, length) for first, length in ranges)])


def _attribute(
    paths: pa.ChunkedArray, is_anchor: NDArray[np.bool_], unit_files: Offsets, unit_tasks: Offsets
) -> NDArray[np.int32]:
    """Which task each file is counted to: its own, else the one of its stem, else the anchor before it in the unit.

    Only the balance of the chunks depends on it.

    Files of one stem mostly stand beside each other. Only those whose neighbours have no anchor are looked up.
    """
    lengths = np.diff(unit_files)
    task = np.cumsum(is_anchor, dtype=np.int32)
    task -= 1
    np.maximum(task, np.repeat(unit_tasks[:-1].astype(np.int32), lengths), out=task)
    starts_run = _begins_stem(paths)
    starts_run[unit_files[:-1]] = True
    run = np.cumsum(starts_run, dtype=np.int32) - 1
    anchor_rows = np.flatnonzero(is_anchor)
    of_run = np.full(int(run[-1]) + 1 if len(run) else 0, -1, np.int32)
    of_run[run[anchor_rows[::-1]]] = np.arange(len(anchor_rows), dtype=np.int32)[
        ::-1
    ]  # of several, the first one stays
    same_stem = of_run[run]
    del starts_run, run
    alone = np.flatnonzero((same_stem < 0) & ~is_anchor)
    if len(alone):
        unit_of_file = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
        same_stem[alone] = _find_in_unit(paths, alone, anchor_rows, unit_of_file)
    found = (same_stem >= 0) & ~is_anchor
    task[found] = same_stem[found]
    return task


def _begins_stem(paths: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Which paths have another stem than the path before them."""
    begins, last = [np.zeros(0, bool)], pa.array([], pa.large_string())
    for block in blocks(paths):
        found = pa.concat_arrays([last, stems(block)])
        if not len(last):
            begins.append(np.ones(1, bool))
        begins.append(pc.not_equal(found.slice(1), found.slice(0, len(found) - 1)).to_numpy(zero_copy_only=False))
        last = found.slice(len(found) - 1)
    return np.concatenate(begins)


def _find_in_unit(
    paths: pa.ChunkedArray, files: NDArray[np.int64], anchors: NDArray[np.int64], unit_of_file: NDArray[np.int32]
) -> NDArray[np.int64]:
    """The first anchor that has a file's stem, if it is in the file's unit; -1 if not. Places among `anchors`."""
    units = np.unique(unit_of_file[files])
    near = np.flatnonzero(np.isin(unit_of_file[anchors], units))
    wanted, known = _stems_at(paths, files), _stems_at(paths, anchors[near])
    found = pc.index_in(wanted, value_set=known).fill_null(-1).to_numpy()
    result = np.where(found < 0, -1, np.append(near, -1)[found])
    result[(result >= 0) & (unit_of_file[anchors[result]] != unit_of_file[files])] = -1
    return result


def _stems_at(paths: pa.ChunkedArray, rows: NDArray[np.int64]) -> pa.Array:
    taken = pa.chunked_array([paths.take(pa.array(rows)).combine_chunks()], pa.large_string())
    return pa.concat_arrays([pa.array([], pa.large_string()), *map(stems, blocks(taken))])


def _warn_of_orphans(paths: pa.ChunkedArray, companions: tuple[str, ...]) -> list[str]:
    """Companions, such as a `.dat`, among files that no unit with a task has."""
    orphans = paths.filter(matches(paths, companions)) if companions and len(paths) else paths.slice(0, 0)
    if not len(orphans):
        return []
    shown = ", ".join(repr(path) for path in orphans[:3].to_pylist()) + (", …" if len(orphans) > 3 else "")
    what = " or ".join(globs_of(orphans, companions))
    return [f"{len(orphans):,} {what} in folders without a header, so that no task reads them: {shown}"]


def _warn_of_cuts(plan: Plan, shards: ShardCut) -> list[str]:
    is_little = ASSUMED.seconds(plan.n_tasks, plan.size) < LITTLE  # whoever does all of it is done at once
    return [] if is_little and plan.n_shards <= MANY_SHARDS else _told_of_cuts(plan, shards)


def _told_of_cuts(plan: Plan, shards: ShardCut) -> list[str]:
    if plan.n_shards > 1 and shards.by == "folder" and plan.shard_sizes.max() > HALF * plan.size:
        largest = int(plan.shard_sizes.argmax())
        group, share = plan.tasks["group"][int(plan.shard_cuts[largest])].as_py(), plan.shard_sizes[largest] / plan.size
        told = f"group {group!r} holds {share:.0%} of all bytes, more than the rest put together"
        # As it would be cut: units are never cut, so it may be no better.
        sizes = _sums_between(plan.unit_sizes, split_evenly(plan.unit_sizes, plan.n_shards))
        balance = float(sizes.max() * len(sizes) / plan.size)
        if balance < BETTER * plan.balance:
            better = f"balance {balance:.2f} instead of {plan.balance:.2f}"
            return [f"{told}; --shards {plan.n_shards} cuts inside groups: {better}"]
        if plan.unit_sizes.max() <= HALF * plan.size:
            return [f"{told}; its units are too large for a better balance, as a unit is never cut"]
    if plan.n_shards > 1 and plan.unit_sizes.max() > HALF * plan.size:
        unit, share = int(plan.unit_sizes.argmax()), plan.unit_sizes.max() / plan.size
        return [f"unit {plan.unit_name(unit)!r} holds {share:.0%} of all bytes, and a unit is never cut"]
    if plan.n_shards > MANY_SHARDS and shards.by == "folder":
        return [f"{plan.n_shards:,} top folders make as many shards; --shards N or --shards 50GB makes fewer"]
    return []


def plan_id_of(
    fingerprint: str,
    extractor: Extractor,
    unit: str,
    tasks: pa.Table,
    files: pa.Table,
    unit_files: Offsets,
    reads: Sequence[SharedFile] = (),
    with_keys: bool = False,
) -> str:
    """What determines the output, as a hash; `fingerprint` is the extractor's, as text."""
    digest = hashlib.sha256(f"{FORMAT}\0{fingerprint}\0{undescribed(extractor.schema)}\0{unit}\0".encode())
    for name, schema in tables_of(extractor).items():
        digest.update(f"table {name}\0{undescribed(schema)}\0".encode())
    if with_keys:
        digest.update(f"{WITH_KEYS}\0".encode())
    for file in sorted(reads):
        digest.update(f"{file.path}\0{file.digest}\0".encode(errors="surrogateescape"))
    for column in (tasks["group"], tasks["unit"], tasks["anchor"], files["path"]):
        _hash_strings(digest, column)
    for chunk in files["size"].chunks:
        digest.update(chunk.to_numpy().astype("<i8", copy=False).data)
    digest.update(unit_files.astype("<i8", copy=False).data)
    return digest.hexdigest()[:32]


def _hash_strings(digest: Any, column: pa.ChunkedArray) -> None:
    """Hash lengths, then bytes: the same however the column is chunked or encoded."""
    pieces = [block for block in blocks(column.cast(pa.large_binary())) if len(block)]
    for piece in pieces:
        digest.update(np.diff(_offsets_in(piece)).astype("<i8", copy=False).data)
    for piece in pieces:
        first, last = _offsets_in(piece)[[0, -1]].tolist()
        if last > first:
            digest.update(memoryview(piece.buffers()[2])[first:last])


def _offsets_in(texts: pa.Array) -> NDArray[np.int64]:
    offsets: NDArray[np.int64] = np.frombuffer(texts.buffers()[1], np.int64)
    return offsets[texts.offset : texts.offset + len(texts) + 1]


def _unit_offsets(table: pa.Table) -> Offsets:
    """Offsets of the runs of equal (group, unit)."""
    n = table.num_rows
    if n == 0:
        return np.zeros(1, np.int64)
    changes = np.zeros(n - 1, bool)
    for name in ("group", "unit"):
        column = table[name]
        changes |= pc.not_equal(column.slice(1), column.slice(0, n - 1)).to_numpy(zero_copy_only=False)
    return np.concatenate([[0], np.flatnonzero(changes) + 1, [n]]).astype(np.int64)


def _offsets_of_runs(*columns: NDArray[Any]) -> Offsets:
    n = len(columns[0])
    if n == 0:
        return np.zeros(1, np.int64)
    changes = np.zeros(n - 1, bool)
    for column in columns:
        changes |= column[1:] != column[:-1]
    return np.concatenate([[0], np.flatnonzero(changes) + 1, [n]]).astype(np.int64)


def _sums_between(values: NDArray[np.int64], offsets: Offsets) -> NDArray[np.int64]:
    sums = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
    between: NDArray[np.int64] = sums[offsets[1:]] - sums[offsets[:-1]]
    return between


def _integers(column: pa.ChunkedArray) -> NDArray[np.int64]:
    values: NDArray[np.int64] = column.combine_chunks().to_numpy()
    return values
