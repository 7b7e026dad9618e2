"""A finished run against its plan: every task accounted for exactly once, every file as it was written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scaledproc.combining import finish_table, finished_schema
from scaledproc.errors import ScaledprocError
from scaledproc.merging import Rows
from scaledproc.planning import plan_id_of
from scaledproc.row_groups import rebatch
from scaledproc.run_folder import ERROR_SCHEMA, ERRORS, FEATURES, INVENTORY, PLAN, RECORD, shard_name
from scaledproc.storage import store_errors
from scaledproc.tables import open_reader, read_note, read_tables

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scaledproc.extractors import Extractor
    from scaledproc.inventory import Inventory
    from scaledproc.planning import Plan
    from scaledproc.run_folder import Run

_BLOCK = 2**20


@dataclass(frozen=True)
class Problem:
    """Something that is not as it should be.

    Parameters
    ----------
    file
        Where, relative to the run's folder.
    text
        What.
    """

    file: str
    text: str


@dataclass(frozen=True)
class Verified:
    """What was found.

    Parameters
    ----------
    output, plan_id
        Which run.
    tasks, rows, quarantined, shards, files
        How much of it was looked at; files are those whose digest was compared.
    problems
        What is wrong.
    notes
        What could not be looked at.
    """

    output: str
    plan_id: str
    tasks: int
    rows: int
    quarantined: int
    shards: int
    files: int
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify_run(run: Run, inventory: Callable[[], Inventory] | None = None) -> Verified:
    """Check a finished run against its plan; all of it is read.

    Parameters
    ----------
    run
        The run.
    inventory
        Lists the dataset as it is now, where that is to be compared too.

    Raises
    ------
    ScaledprocError
        It is not finished.
    """
    if run.record.state != "done":
        raise ScaledprocError(f"the run in {run.store} is not finished; run the same command again")
    check = _Check(run)
    check.digests()
    plan = check.plan()
    if plan is not None:
        failed = check.errors(plan)
        check.shards(plan, failed)
        if inventory is not None:
            check.inventory(plan, inventory())
    check.table()
    return Verified(
        output=str(run.store),
        plan_id=run.record.plan_id,
        tasks=plan.n_tasks if plan is not None else 0,
        rows=check.rows,
        quarantined=check.quarantined,
        shards=check.n_shards,
        files=check.n_digests,
        problems=tuple(dict.fromkeys(check.problems)),
        notes=tuple(check.notes),
    )


class _Check:
    def __init__(self, run: Run) -> None:
        self._run = run
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self.rows = self.quarantined = self.n_shards = self.n_digests = 0

    def _wrong(self, file: str, text: str) -> None:
        self.problems.append(Problem(file, text))

    def digests(self) -> None:
        """Each file is what was written."""
        record = self._run.record
        wanted = dict(record.digests)
        for shard in record.shards:
            wanted[shard_name(int(shard["shard"]))] = str(shard.get("digest") or "")
        lacking = [name for name, digest in wanted.items() if not digest]
        needed = {PLAN, INVENTORY, FEATURES, ERRORS, *(f"{name}.csv" for name in record.summaries)}
        lacking += sorted(needed - wanted.keys())
        if lacking:
            self.notes.append(f"run.json has no digest of {len(lacking)} files (the first is {lacking[0]})")
        for name, digest in sorted(wanted.items()):
            if digest:
                self.n_digests += 1
                self._compare(name, digest)

    def _compare(self, name: str, digest: str) -> None:
        found = hashlib.sha256()
        try:
            with self._run.store.open(name) as file:
                while block := file.read(_BLOCK):
                    found.update(block)
        except FileNotFoundError:
            self._wrong(name, "is gone")
        except store_errors() as error:
            self._wrong(name, f"cannot be read: {error}")
        else:
            if found.hexdigest() != digest:
                self._wrong(name, "is not what was written: its SHA-256 differs")

    def plan(self) -> Plan | None:
        """The plan is what the run's id says."""
        try:
            plan = self._run.plan
        except Exception as error:  # whatever damaged tables give
            self._wrong(PLAN, f"cannot be read: {error}")
            return None
        counts = self._run.record.counts
        for what, count in (("tasks", plan.n_tasks), ("shards", plan.n_shards), ("files", plan.files.num_rows)):
            if count != counts.get(what, count):
                self._wrong(PLAN, f"has {count:,} {what}; run.json says {counts[what]:,}")
        extractor = self._extractor()
        if extractor is not None:
            unit = str(self._run.record.options["unit"])
            tasks = plan.tasks.select(["group", "unit", "anchor"])
            if plan_id_of(extractor, unit, tasks, plan.files, plan.unit_files) != self._run.record.plan_id:
                self._wrong(PLAN, "has another plan id than run.json: other tasks, files or sizes")
        return plan

    def _extractor(self) -> Extractor | None:
        """The extractor, where it can be had as it was."""
        try:
            extractor = self._run.extractor
        except Exception as error:  # another machine's, or a module that is gone
            reason = str(error)
        else:
            if extractor.fingerprint == self._run.record.extractor["fingerprint"]:
                return extractor
            reason = f"{extractor.label} is not what it was"
        note = f"the plan's id and what finish() made of the rows were not looked at: {reason}"
        if note not in self.notes:
            self.notes.append(note)
        return None

    def errors(self, plan: Plan) -> NDArray[np.bool_]:
        """Which tasks are in the errors, each once, shape (tasks,)."""
        failed = np.zeros(plan.n_tasks, bool)
        try:
            table = pa.concat_tables([ERROR_SCHEMA.empty_table(), *read_tables(self._run.store, ERRORS)])
        except Exception as error:
            self._wrong(ERRORS, f"cannot be read: {error}")
            return failed
        self.quarantined = table.num_rows
        places = {name: at for at, name in enumerate(plan.tasks["anchor"].to_pylist())}
        names = ("group", "unit", "anchor")
        for row in zip(*(table[name].to_pylist() for name in names), strict=True):
            place = places.get(row[2])
            if place is None or row != tuple(plan.tasks[name][place].as_py() for name in names):
                self._wrong(ERRORS, f"has a task that the plan has not: {row[2]!r}")
            elif failed[place]:
                self._wrong(ERRORS, f"has a task twice: {row[2]!r}")
            else:
                failed[place] = True
        if table.num_rows != self._run.record.counts["quarantined"]:
            self._wrong(
                ERRORS, f"has {table.num_rows:,} rows; run.json says {self._run.record.counts['quarantined']:,}"
            )
        return failed

    def shards(self, plan: Plan, failed: NDArray[np.bool_]) -> None:
        """Each task is in its shard exactly once, in the plan's place, or in the errors."""
        reported = {int(shard["shard"]): shard for shard in self._run.record.shards}
        known = {shard_name(shard) for shard in range(plan.n_shards)}
        for name in sorted({f"shards/{name}" for name in self._run.store.names("shards")} - known):
            self._wrong(name, "is not of this plan")
        for shard in range(plan.n_shards):
            name = shard_name(shard)
            start, stop = int(plan.shard_cuts[shard]), int(plan.shard_cuts[shard + 1])
            try:
                with self._run.store.open_for_arrow(name) as opened, open_reader(opened) as file:
                    rows, said = file.metadata.num_rows, read_note(file, opened)
                counts = np.repeat(*np.array(said["counts"], np.int64).reshape(-1, 2).T)
                place = (said["plan_id"], int(said["shard"]))
            except FileNotFoundError:
                self._wrong(name, "is gone")
                continue
            except Exception as error:
                self._wrong(name, f"its footer cannot be read: {type(error).__name__}: {error}")
                continue
            self.n_shards += 1
            if place[0] != self._run.record.plan_id:
                self._wrong(name, f"is of another plan ({place[0]})")
            if place[1] != shard:
                self._wrong(name, f"is shard {place[1]}, in the place of shard {shard}")
                continue
            if len(counts) != stop - start:
                self._wrong(name, f"accounts for {len(counts):,} tasks; the plan has {stop - start:,} in this shard")
                continue
            self._of_tasks(name, plan, start, counts, failed[start:stop])
            if shard not in reported:
                self._wrong(RECORD, f"says nothing of shard {shard}")
                continue
            for what, expected in (("its tasks", int(counts.sum())), ("run.json", int(reported[shard]["rows"]))):
                if rows != expected:
                    self._wrong(name, f"has {rows:,} rows; by {what} it is {expected:,}")

    def _of_tasks(
        self, name: str, plan: Plan, start: int, counts: NDArray[np.int64], failed: NDArray[np.bool_]
    ) -> None:
        both = np.flatnonzero(failed & (counts > 0))
        if len(both):
            task = plan.tasks["anchor"][start + int(both[0])].as_py()
            self._wrong(name, f"has rows of {len(both):,} tasks that are in the errors (the first is {task!r})")

    def table(self) -> None:
        """The table is the shards, one after the other."""
        extractor = self._extractor()
        try:
            with self._run.store.open_for_arrow(FEATURES) as opened, open_reader(opened) as file:
                self.rows, schema = file.metadata.num_rows, file.schema_arrow.remove_metadata()
        except FileNotFoundError:
            self._wrong(FEATURES, "is gone")
            return
        except Exception as error:
            self._wrong(FEATURES, f"its footer cannot be read: {type(error).__name__}: {error}")
            return
        if self.rows != self._run.record.counts["rows"]:
            self._wrong(FEATURES, f"has {self.rows:,} rows; run.json says {self._run.record.counts['rows']:,}")
        if extractor is not None and not schema.equals(finished_schema(extractor).remove_metadata()):
            self._wrong(FEATURES, "has other columns than the extractor declares")
            return
        at = 0
        rows = Rows(read_tables(self._run.store, FEATURES))
        try:
            for made in self._made(extractor):
                found = pa.concat_tables([schema.empty_table(), *rows.take(made.num_rows)])
                if found.num_rows < made.num_rows:
                    raise ValueError
                if extractor is not None and not _same(made, found):
                    self._wrong(FEATURES, f"differs from the shards in the rows from {at:,} on")
                    return
                at += found.num_rows
            if next(rows.take(1), None) is not None:
                raise ValueError
        except ValueError:
            self._wrong(FEATURES, "has not as many rows as the shards")
        except Exception as error:
            self._wrong(FEATURES, f"cannot be compared with the shards: {error}")

    def _made(self, extractor: Extractor | None) -> Iterator[pa.Table]:
        """The table's rows as the shards have them; without the extractor, as they were before its `finish`."""
        names = map(shard_name, range(self._run.record.counts["shards"]))
        for piece in rebatch(chain.from_iterable(read_tables(self._run.store, name) for name in names)):
            yield piece if extractor is None else finish_table(extractor, piece)

    def inventory(self, plan: Plan, now: Inventory) -> None:
        """The dataset still has the files of the plan, as they were."""
        listed = now.files
        sizes = zip(listed["size"].to_pylist(), listed["version"].to_pylist(), strict=True)
        found = dict(zip(listed["path"].to_pylist(), sizes, strict=True))
        columns: list[list[Any]] = [plan.files[name].to_pylist() for name in ("path", "size", "version")]
        gone = [path for path in columns[0] if path not in found]
        changed = [p for p, *was in zip(*columns, strict=True) if p in found and found[p] != tuple(was)]
        for paths, what in ((gone, "are gone from the dataset"), (changed, "of the dataset changed since")):
            if paths:
                self._wrong(INVENTORY, f"{len(paths):,} files {what} (the first is {paths[0]!r})")


def _same(made: pa.Table, found: pa.Table) -> bool:
    return all(_equal(made[name], found[name]) for name in made.schema.names)


def _equal(made: pa.ChunkedArray, found: pa.ChunkedArray) -> bool:
    if made.equals(found):
        return True
    if made.type != found.type:
        return False
    # NaN is not equal to itself, wherever it stands: then as Parquet writes them.
    return _written(made) == _written(found)


def _written(column: pa.ChunkedArray) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": column.combine_chunks()}), sink, compression="none", use_dictionary=False)
    written: bytes = sink.getvalue().to_pybytes()
    return written
