"""A finished run against its plan: every task accounted for exactly once, every file as it was written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa

from scaledproc._util.digests import digest_of_stream
from scaledproc._util.text import count_text
from scaledproc.errors import ScaledprocError
from scaledproc.execution.tables.finishing import finish_table, finished_schema, has_keys, same_rows
from scaledproc.execution.tables.keys import KeyColumns, decoded, keyed_schema, tasks_of_shards
from scaledproc.extractors.code.fingerprint import fingerprint_of
from scaledproc.extractors.rows.several import MAIN, CountsByTable, columns_of_table, rows_of_table
from scaledproc.extractors.tables import tables_of
from scaledproc.planning.plan import plan_id_of
from scaledproc.planning.shared_files import of_record
from scaledproc.run_folder.changes import extractor_differences, texts_of
from scaledproc.run_folder.names import (
    CROISSANT,
    ERROR_LOG,
    ERROR_SCHEMA,
    ERRORS,
    INVENTORY,
    LEASE,
    MAIN_TABLE,
    PLAN,
    RECORD,
    REPORT,
    SHARDS,
    TASKS,
    UPDATE,
    common_metadata_name,
    shard_name,
)
from scaledproc.run_folder.record import digest_of_content
from scaledproc.run_folder.replacement import is_half_replaced
from scaledproc.storage.parquet import as_stored, open_reader, read_note, read_tables
from scaledproc.storage.row_groups import Rows, rebatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scaledproc.extractors import Extractor
    from scaledproc.planning.inventory import Inventory
    from scaledproc.planning.plan import Plan
    from scaledproc.run_folder.run import Run

T = TypeVar("T")


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
        If the run is not finished, or the dataset cannot be listed.
    """
    if run.record.state != "done":
        raise ScaledprocError(f"the run in {run.store} is not finished; run the same command again")
    check = _Check(run)
    check.step(RECORD, check.record)
    check.step(UPDATE, check.update)
    check.step(RECORD, check.digests)
    plan = check.step(PLAN, check.plan)
    if plan is not None:
        check.step(PLAN, lambda: check.plan_id(plan))
        failed = check.step(ERRORS, lambda: check.errors(plan))
        check.step(SHARDS, lambda: check.shards(plan, np.zeros(plan.n_tasks, bool) if failed is None else failed))
        if inventory is not None:
            now = inventory()
            check.step(INVENTORY, lambda: check.inventory(plan, now))
    shards = len(run.record.shards) if plan is None else plan.n_shards
    check.step(run.record.place_of_table(), lambda: check.table(shards))
    for name in run.record.tables:
        check.step(run.record.place_of_table(name), partial(check.further, name, shards))
    check.step(RECORD, check.strays)
    if run.record.has_table_folders:
        check.step(MAIN_TABLE, check.strays_in_tables)
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
        self._counts: dict[int, NDArray[np.int64]] = {}  # of shards: how many rows each of its tasks gave

    def _wrong(self, file: str, text: str) -> None:
        self.problems.append(Problem(file, text))

    def step(self, file: str, look: Callable[[], T]) -> T | None:
        """What a look at something gives; None where damage is so bad that it ends in an error."""
        try:
            return look()
        except Exception as error:  # whatever damaged files give: nothing that they say may end this
            self._wrong(file, f"cannot be looked at: {type(error).__name__}: {error}")
            return None

    def record(self) -> None:
        """run.json is what was written, and does not contradict itself."""
        record = self._run.record
        if record.digest != digest_of_content(asdict(record)):
            self._wrong(RECORD, "is not what was written: its SHA-256 of itself differs")
        for what in ("rows", "quarantined", "tasks"):
            total = sum(int(shard[what]) for shard in record.shards)
            further = sum(record.counts.get(f"rows_{name}", 0) for name in record.tables) if what == "rows" else 0
            if total != record.counts[what] + further:
                self._wrong(RECORD, f"says {record.counts[what]:,} {what}, and {total:,} of all shards together")

    def update(self) -> None:
        """No update was ended while it took this run's place."""
        if is_half_replaced(self._run):
            self._wrong(UPDATE, "is being put in the place of this run: the command that updates it continues that")
        elif self._run.store.exists(f"{UPDATE}/{RECORD}"):
            self.notes.append("an update of it was begun, and is not whole yet")

    def _wanted(self) -> dict[str, str]:
        """The digest of each of the run's files; empty where run.json has none."""
        record = self._run.record
        needed = [PLAN, INVENTORY, ERRORS, *(f"{name}.csv" for name in record.summaries)]
        for table in (MAIN_TABLE, *record.tables):
            needed += record.files_of_table(table)
            needed += [common_metadata_name(table)] if record.has_table_folders else []
        needed += [ERROR_LOG] if record.counts["quarantined"] else []
        needed += [name for name in (TASKS, CROISSANT) if self._run.store.exists(name)]  # runs of before have none
        shards = {shard_name(int(shard["shard"])): str(shard.get("digest") or "") for shard in record.shards}
        return {**dict.fromkeys(needed, ""), **record.digests, **shards}

    def digests(self) -> None:
        """Compare each file of the run with the digest that run.json has of it."""
        for name, digest in sorted(self._wanted().items()):
            if digest:
                self.n_digests += 1
                self._compare(name, digest)
            else:
                self._wrong(RECORD, f"has no digest of {name}")

    def strays(self) -> None:
        """Look for files in the folder that are not the run's."""
        store = self._run.store
        known = {name.partition("/")[0] for name in self._wanted()} | {RECORD, REPORT, LEASE, SHARDS, UPDATE}
        if inner := store.contains(self._run.dataset):
            known.add(inner.partition("/")[0])
        others = [name for name in store.names() if name not in known]
        if store.local is None:  # some stores go on to list a folder that is empty, and find it in itself
            files = store.versions()
            others = [name for name in others if name in files or {*store.fs.find(path := store.path(name))} - {path}]
        if others:
            self.notes.append(f"{count_text(len(others), 'name')} here {_are(others)} not the run's ({_first(others)})")

    def strays_in_tables(self) -> None:
        """Look in the tables' folders for files that are not the run's, which others take for rows of the table."""
        known = self._wanted()
        for table in (MAIN_TABLE, *self._run.record.tables):
            for name in self._run.store.names(table):
                if f"{table}/{name}" in known:
                    continue
                if name.startswith((".", "_")):  # which nobody reads as rows
                    self.notes.append(f"{table}/{name} is not the run's")
                else:
                    self._wrong(f"{table}/{name}", "is not the run's: who reads the folder takes it for a part of it")

    def _compare(self, name: str, digest: str) -> None:
        try:
            with self._run.store.open(name) as file:
                found = digest_of_stream(file).sha256
        except FileNotFoundError:
            self._wrong(name, "is gone")
        except Exception as error:  # a name may be one that no file can have
            self._wrong(name, f"cannot be read: {error}")
        else:
            if found != digest:
                self._wrong(name, "is not what was written: its SHA-256 differs")

    def plan(self) -> Plan | None:
        """The plan has as much as run.json says."""
        try:
            plan = self._run.plan
        except Exception as error:  # whatever damaged tables give
            self._wrong(PLAN, f"cannot be read: {error}")
            return None
        record = self._run.record
        sizes = {"tasks": plan.n_tasks, "units": plan.n_units, "files": plan.files.num_rows}
        sizes |= {"shards": plan.n_shards, "chunks": plan.n_chunks}
        told = {**record.counts, "bytes": record.bytes.get("input")}
        for what, count in {**sizes, "bytes": plan.size}.items():
            if count != told.get(what):
                self._wrong(PLAN, f"has {count:,} {what}; run.json says {told.get(what)}")
        return plan

    def plan_id(self, plan: Plan) -> None:
        """The plan is what the run's id says."""
        extractor = self._extractor()
        if extractor is None:
            return
        unit = str(self._run.record.options["unit"])
        tasks = plan.tasks.select(["group", "unit", "anchor"])
        text, reads = fingerprint_of(extractor).text, of_record(self._run.record.extractor)
        with_keys = has_keys(self._run.record)
        found = plan_id_of(text, extractor, unit, tasks, plan.files, plan.unit_files, reads, with_keys)
        if found != self._run.record.plan_id:
            self._wrong(PLAN, "has another plan id than run.json: other tasks, files or sizes")

    def _extractor(self) -> Extractor | None:
        """The extractor, where it can be had as it was."""
        try:
            extractor = self._run.extractor
        except Exception as error:  # another machine's, or a module that is gone
            reason = str(error)
        else:
            differ = extractor_differences(self._run.record.extractor["fingerprint"], fingerprint_of(extractor))
            if not differ:
                return extractor
            reason = f"{extractor.label} is not what it was: {texts_of(differ)}"
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
                counts = _counts(said["counts"], stop - start)
                place = (said["plan_id"], int(said["shard"]))
            except FileNotFoundError:
                self._wrong(name, "is gone")
                continue
            except Exception as error:
                self._wrong(name, f"its footer cannot be read: {type(error).__name__}: {error}")
                continue
            self.n_shards += 1
            self._counts[shard] = counts
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
            if reported[shard]["tasks"] != stop - start:
                self._wrong(
                    RECORD, f"says {reported[shard]['tasks']:,} tasks of shard {shard}; the plan has {stop - start:,}"
                )
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

    def table(self, shards: int) -> None:
        """The table is the shards, one after the other."""
        extractor = self._extractor()
        schema = None if extractor is None else finished_schema(extractor, with_keys=has_keys(self._run.record))
        is_comparable = extractor is not None or not self._run.record.tables

        def made(part: range) -> Iterator[pa.Table] | None:
            return self._made(extractor, part) if is_comparable else None

        self.rows = self._compare_table(MAIN_TABLE, "rows", shards, schema, made)

    def further(self, name: str, shards: int) -> None:
        """A further table has the rows that the shards have of it."""
        extractor = self._extractor()
        schema = None if extractor is None else tables_of(extractor)[name]

        if schema is not None and has_keys(self._run.record):
            schema = keyed_schema(schema, own_keys=extractor.own_keys if extractor is not None else ())

        def made(part: range) -> Iterator[pa.Table] | None:
            return None if extractor is None else self._with_keys(extractor, name, part, lambda piece: piece)

        self._compare_table(name, f"rows_{name}", shards, schema, made)

    def _compare_table(
        self,
        table: str,
        count: str,
        shards: int,
        expected: pa.Schema | None,
        made: Callable[[range], Iterator[pa.Table] | None],
    ) -> int:
        """Compare a table's files with what is made of the shards that each is of; how many rows it has.

        Parameters
        ----------
        table, count
            Its name; under what run.json counts its rows.
        shards
            How many there are.
        expected
            Its columns; None where the extractor cannot be had.
        made
            Gives the rows of some shards; None where these cannot be told.
        """
        record = self._run.record
        parts = [range(shard, shard + 1) for shard in range(shards)] if record.has_table_folders else [range(shards)]
        names = record.files_of_table(table)[: len(parts)]
        total = sum(self._compared(file, expected, made(part)) for file, part in zip(names, parts, strict=True))
        if total != record.counts.get(count):
            where = record.place_of_table(table)
            self._wrong(where, f"has {total:,} rows; run.json says {record.counts.get(count, 0):,}")
        if record.has_table_folders:
            self._compare_common(common_metadata_name(table), expected)
        return total

    def _compare_common(self, file: str, expected: pa.Schema | None) -> None:
        """The columns of all files of a table, as a file of its own says."""
        try:
            with self._run.store.open_for_arrow(file) as opened, open_reader(opened) as found_file:
                schema = found_file.schema_arrow.remove_metadata()
        except FileNotFoundError:
            self._wrong(file, "is gone")
            return
        if expected is not None and not schema.equals(expected.remove_metadata()):
            self._wrong(file, "has other columns than the extractor declares")

    def _compared(self, file: str, expected: pa.Schema | None, pieces: Iterator[pa.Table] | None) -> int:
        """Compare a file of a table with what is made of the shards; how many rows it has.

        Parameters
        ----------
        file
            Which one.
        expected
            Its columns; None where the extractor cannot be had. Then only the rows are counted.
        pieces
            Its rows as the shards have them; None where these cannot be told.
        """
        try:
            with self._run.store.open_for_arrow(file) as opened, open_reader(opened) as found_file:
                n_rows, schema = int(found_file.metadata.num_rows), found_file.schema_arrow.remove_metadata()
        except FileNotFoundError:
            self._wrong(file, "is gone")
            return 0
        except Exception as error:
            self._wrong(file, f"its footer cannot be read: {type(error).__name__}: {error}")
            return 0
        if expected is not None and not schema.equals(expected.remove_metadata()):
            self._wrong(file, "has other columns than the extractor declares")
            return n_rows
        at = 0
        rows = Rows(read_tables(self._run.store, file))
        try:
            for made in pieces or ():
                found = pa.concat_tables([schema.empty_table(), *rows.take(made.num_rows)])
                if found.num_rows < made.num_rows:
                    raise ValueError
                if expected is not None and not same_rows(made, found):
                    self._wrong(file, f"differs from the shards in the rows from {at:,} on")
                    return n_rows
                at += found.num_rows
            if pieces is not None and next(rows.take(1), None) is not None:
                raise ValueError
        except ValueError:
            self._wrong(file, "has not as many rows as the shards")
        except Exception as error:
            self._wrong(file, f"cannot be compared with the shards: {error}")
        return n_rows

    def _made(self, extractor: Extractor | None, shards: range) -> Iterator[pa.Table]:
        """The table's rows as the shards have them; without the extractor, as they were before its `finish`."""
        if extractor is None:
            yield from self._of_table(None, MAIN, shards)
        else:
            yield from self._with_keys(extractor, MAIN, shards, lambda piece: finish_table(extractor, piece))

    def _with_keys(
        self, extractor: Extractor, name: str, shards: range, finished: Callable[[pa.Table], pa.Table]
    ) -> Iterator[pa.Table]:
        """The rows of one table as the run should have written them."""
        if not has_keys(self._run.record):
            yield from map(finished, self._of_table(extractor, name, shards))
            return
        counts: list[NDArray[np.int64]] = []
        tasks = tasks_of_shards(self._run.store, shards)
        keys = KeyColumns(tasks, counts, [MAIN, *tables_of(extractor)].index(name))
        for piece in self._of_table(extractor, name, shards, counts):
            yield decoded(keys.add(finished(piece)))

    def _of_table(
        self, extractor: Extractor | None, name: str, shards: range, counts: list[NDArray[np.int64]] | None = None
    ) -> Iterator[pa.Table]:
        """The rows that some shards have of one table; how many each task gave is added to `counts`."""
        further = {} if extractor is None else tables_of(extractor)
        columns, own = None, None
        if extractor is not None and further:
            own = as_stored(extractor.schema if name == MAIN else further[name])
            columns = columns_of_table(name, own)

        def of_shard(shard: int) -> Iterator[pa.Table]:
            read = read_tables(self._run.store, shard_name(shard), columns)
            if counts is None:
                return read
            by_table = CountsByTable(self._counts[shard], 1 + len(further))
            counts.append(by_table.counts if further else self._counts[shard][:, np.newaxis])
            return map(by_table.see, read) if further else read

        tables = chain.from_iterable(map(of_shard, shards))
        if own is not None:
            tables = chain(rows_of_table(tables, [MAIN, *further].index(name), name, own))
        return rebatch(table.replace_schema_metadata(None) for table in tables)

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


def _counts(runs: Any, most: int) -> NDArray[np.int64]:
    """How many rows each task gave; no more than one too many, as anybody may have written the footer."""
    counts: list[int] = []
    for count, times in np.asarray(runs, np.int64).reshape(-1, 2).tolist():
        if count < 0 or times < 0:
            raise ValueError("a task cannot have given less than nothing")
        counts += [count] * min(times, most + 1 - len(counts))
    return np.array(counts, np.int64)


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _first(names: list[str]) -> str:
    return repr(names[0]) if len(names) == 1 else f"the first is {names[0]!r}"
