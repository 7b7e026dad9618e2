"""Tests that every extractor must pass: a task's rows depend on the task alone."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import scaledproc
from scaledproc.errors import UsageError
from scaledproc.execution.tables.finishing import finish_table, finished_schema
from scaledproc.execution.tables.keys import KEYS, without_keys
from scaledproc.execution.workers.sending import check_sendable
from scaledproc.extractors import Extractor, Task, load_extractor
from scaledproc.extractors.options import ExtractorOption, make_extractor, options_of, parse_options
from scaledproc.extractors.registry import find_extractor, settle_options
from scaledproc.extractors.rows.collector import SchemaError
from scaledproc.extractors.rows.several import MAIN, collector_for, rows_of_table, schema_between
from scaledproc.extractors.tables import TableRows, tables_of
from scaledproc.planning.shared_files import at_hand, paths_of
from scaledproc.run_folder.names import table_name
from scaledproc.storage.parquet import read_tables
from scaledproc.testing.probes import output_bytes

if TYPE_CHECKING:
    from scaledproc.api import AnExtractor

CHUNKS = (("1", "folder"), ("2", "1"), ("per-core", "3"), ("1000", "1"))
Outcome = Any
"""A task's rows as an Arrow table, or a text of what it raised."""


class ExtractorConformance:
    """Inherit it, name the extractor, override the fixture `dataset`, and run it with pytest."""

    extractor: ClassVar[AnExtractor]
    """As for `scaledproc.run`: `package.module:name`, `path/to/file.py:name`, or the extractor itself."""
    arguments: ClassVar[Mapping[str, Any]] = {}
    """More arguments for `scaledproc.plan`, such as `unit`, or `options` for the extractor's own."""
    other_options: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """By option, options in which it has another value, with the options that this value needs. To be given for an
    option that takes none of the plain values that are tried, such as the name of a file."""

    def __init_subclass__(cls, **words: Any) -> None:
        super().__init_subclass__(**words)
        if "options" in vars(cls):
            raise TypeError(f"{cls.__name__}.options is called `arguments`: more arguments for scaledproc.plan")

    @pytest.fixture
    def dataset(self, tmp_path: Path) -> Path:
        """Hook: a small local dataset with several tasks; some of them may be such that the extractor raises."""
        raise NotImplementedError("override the fixture `dataset`")

    def load(self) -> Extractor:
        """The extractor as another process would have it; what is given as an object, by pickling."""
        source, options = settle_options(self.extractor, self.arguments.get("options"))
        return load_extractor(source, options) if isinstance(source, str) else pickled(source)

    def tasks(self, dataset: Path) -> list[Task]:
        """The tasks of the dataset, in the plan's order."""
        made = scaledproc.plan(dataset, extractor=self.extractor, **self.arguments)
        shared = paths_of(at_hand(made.reads, dataset))
        tasks = []
        for index in range(made.n_tasks):
            (unit,) = made.units_of(index, index + 1)
            files = frozenset(made.files_of(unit)["path"].to_pylist())
            group, name, anchor = (made.tasks[column][index].as_py() for column in ("group", "unit", "anchor"))
            tasks.append(Task(group, name, anchor, dataset, files, shared))
        return tasks

    def outcomes(self, extractor: Extractor, tasks: list[Task]) -> dict[str, Outcome]:
        """What becomes of tasks, one after the other, by their anchors."""
        return {task.anchor: outcome(extractor, task) for task in tasks}

    def test_the_dataset_says_something(self, dataset: Path) -> None:
        """There are several tasks, and some of them give rows."""
        found = self.outcomes(self.load(), self.tasks(dataset))
        assert len(found) > 1, "give a dataset of several tasks"
        assert any(isinstance(each, pa.Table) and each.num_rows for each in found.values()), found

    def test_same_rows_alone_and_in_any_order(self, dataset: Path) -> None:
        """What a task gives depends on no task before it."""
        tasks = self.tasks(dataset)
        expected = self.outcomes(self.load(), tasks)
        check_same(self.outcomes(self.load(), tasks[::-1]), expected)
        check_same({task.anchor: outcome(self.load(), task) for task in tasks}, expected)

    def test_same_rows_after_pickling(self, dataset: Path) -> None:
        """An extractor that has worked here works the same in another process, and counts as the same."""
        extractor, tasks = self.load(), self.tasks(dataset)
        expected = self.outcomes(extractor, tasks)
        again = pickled(extractor)
        check_same(self.outcomes(again, tasks), expected)
        assert again.fingerprint == extractor.fingerprint == self.load().fingerprint

    def test_each_option_changes_the_fingerprint(self) -> None:
        """A run with another value of an option is another plan, unless only what is made of the rows needs it.

        It is skipped, with the names of the options, where none of the values that it tries for them is accepted:
        then give some in `other_options`.
        """
        found = find_extractor(self.extractor)
        options = settle_options(self.extractor, self.arguments.get("options"))[1] or {}
        before = make_extractor(found, options)
        known = options_of(found)
        assert self.other_options.keys() <= known.keys(), f"the extractor has only the options {', '.join(known)}"
        unchecked = []
        for name, option in known.items():
            if option.about.in_report or not before.apart.isdisjoint((name, f"_{name}")):
                continue
            if (pair := _with_another(found, options, option, self.other_options.get(name))) is None:
                unchecked.append(name)
                continue
            fingerprint, other = (made.fingerprint for made in pair)
            assert other != fingerprint, f"the option {name} does not change the fingerprint"
        if unchecked:
            pytest.skip(
                f"whether these options change the fingerprint was not checked, as no value that was tried is "
                f"accepted: {', '.join(unchecked)}; give one of each in {type(self).__name__}.other_options"
            )

    def test_same_bytes_in_any_chunk(self, dataset: Path, tmp_path: Path) -> None:
        """Whatever the shards, the chunks and the processes: the same table, errors and summaries."""
        expected: dict[str, str] = {}
        for number, (chunk, shards) in enumerate(CHUNKS):
            run = scaledproc.run(
                dataset,
                tmp_path / f"out{number}",
                extractor=self.extractor,
                chunk=chunk,
                shards=shards,
                jobs=2 if number == 1 else 1,
                **self.arguments,
            )
            found = {name: digest for name, digest in output_bytes(run.store).items() if "/" not in name}
            expected = expected or found
            assert found == expected, (chunk, shards)

    def test_the_schema_holds(self, dataset: Path) -> None:
        """Each row fits the schema, and `finish` makes the same of all rows as of any part of them."""
        extractor = self.load()
        collector = collector_for(extractor)
        for task in self.tasks(dataset):
            try:
                collector.add(extractor.extract(task))
            except SchemaError:
                raise
            except Exception:  # noqa: S112 - an error of the task's, which a run keeps
                continue
        rows = collector.take()
        assert rows.schema.equals(schema_between(extractor))
        if tables_of(extractor):
            rows = pa.concat_tables(rows_of_table([rows], 0, MAIN, extractor.schema))
        whole = finish_table(extractor, rows)
        assert whole.schema.equals(finished_schema(extractor))
        for size in (1, 7):
            pieces = [finish_table(extractor, rows.slice(start, size)) for start in range(0, rows.num_rows, size)]
            assert table_bytes(pa.concat_tables([whole.slice(0, 0), *pieces])) == table_bytes(whole), size

    def test_each_row_leads_back_to_its_task(self, dataset: Path, tmp_path: Path) -> None:
        """With the columns group, unit and anchor, as a run has them by default or is asked for, all else is the same.

        An extractor whose own columns are called so says with `own_keys` that they are the task's, or `with_keys =
        False`, or leaves it at that.
        """
        extractor = self.load()
        runs = []
        for with_keys in (False, True):
            if with_keys and not extractor.with_keys and has_key_columns(extractor):
                return  # which are not the task's
            out = tmp_path / f"out{with_keys}"
            runs.append(
                scaledproc.run(
                    dataset,
                    out,
                    extractor=self.extractor,
                    **{**self.arguments, "jobs": 1, "with_keys": with_keys},
                )
            )
        plain, keyed = runs
        assert {name: file for name, file in output_bytes(keyed.store).items() if name.endswith(".csv")} == {
            name: file for name, file in output_bytes(plain.store).items() if name.endswith(".csv")
        }
        anchors = [task.anchor for task in self.tasks(dataset)]
        for number, name in enumerate([MAIN, *tables_of(extractor)]):
            table = pa.concat_tables(list(read_tables(keyed.store, table_name(name))))
            before = pa.concat_tables(list(read_tables(plain.store, table_name(name))))
            assert table.schema.names[: len(KEYS)] == list(KEYS)
            own = [key for key in KEYS if key in before.schema.names]
            assert table.select(own).to_pylist() == before.select(own).to_pylist()
            assert table_bytes(without_keys(table)) == table_bytes(before.drop_columns(own))
            column = "rows" if number == 0 else f"rows_{name}"
            gave = pa.concat_tables(list(read_tables(keyed.store, "tasks.parquet")))[column].to_pylist()
            expected = [anchor for anchor, count in zip(anchors, gave, strict=True) for _ in range(count)]
            assert table["anchor"].to_pylist() == expected

    def test_what_it_returned_may_be_written_over(self, dataset: Path) -> None:
        """Nothing that was returned is used again for the rows of another task, or of the same one."""
        extractor, tasks = self.load(), self.tasks(dataset)
        expected = self.outcomes(self.load(), tasks)
        for _ in range(2):
            for task in tasks:
                try:
                    returned = extractor.extract(task)
                    kept = list(returned) if isinstance(returned, Iterator) else returned
                except Exception:  # noqa: S112 - an error of the task's, which the comparison sees
                    continue
                write_over(kept)
        check_same(self.outcomes(extractor, tasks), expected)


def has_key_columns(extractor: Extractor) -> bool:
    """Whether a table of an extractor has a column that is called as one of those that lead back, and is none."""
    schemas = [finished_schema(extractor), *tables_of(extractor).values()]
    return any(name in schema.names for schema in schemas for name in {*KEYS} - {*extractor.own_keys})


def table_bytes(table: pa.Table) -> bytes:
    """A table as Parquet has it, where NaN is equal to itself."""
    sink = pa.BufferOutputStream()
    pq.write_table(table.combine_chunks(), sink)
    written: bytes = sink.getvalue().to_pybytes()
    return written


def check_same(found: Mapping[str, Outcome], expected: Mapping[str, Outcome]) -> None:
    """See that the same became of tasks, to the byte: NaN is the same as itself, and -0.0 is not the same as 0.0."""
    assert found.keys() == expected.keys()
    for anchor, had in expected.items():
        has = found[anchor]
        is_same = has == had if isinstance(has, str) or isinstance(had, str) else table_bytes(has) == table_bytes(had)
        assert is_same, f"task {anchor} gave {has}\nand before {had}"


def _with_another(
    found: Any, options: Mapping[str, Any], option: ExtractorOption, other: Mapping[str, Any] | None
) -> tuple[Extractor, Extractor] | None:
    """The extractor, and the same with another value of an option.

    Parameters
    ----------
    found
        The extractor's class, or the extractor.
    options
        What it has else.
    option
        Which one gets another value.
    other
        That value, with the options that it needs; None to try some values.

    Returns
    -------
    pair
        None where it takes none of those that are tried.
    """
    if other is not None:
        values = parse_options(found, other)
        needed = {name: value for name, value in values.items() if name != option.name}
        return make_extractor(found, {**options, **needed}), make_extractor(found, {**options, **values})
    had = options.get(option.name, option.default)
    for value in (*get_args(option.kind), True, False, 1, 2, 3.5, 60, "a", "1s", ["a"], [1], None):
        try:
            values = parse_options(found, {option.name: value})
            if values[option.name] in (had, list(had) if isinstance(had, tuple) else had):
                continue
            return make_extractor(found, options), make_extractor(found, {**options, **values})
        except UsageError:
            continue
    return None


def pickled(extractor: Extractor) -> Extractor:
    """An extractor after a way to another process, as the pool sends it."""
    from joblib.externals.loky.backend.reduction import dumps

    check_sendable(extractor)
    again: Extractor = pickle.loads(dumps(extractor))  # noqa: S301 - made here
    return again


def outcome(extractor: Extractor, task: Task) -> Outcome:
    """The rows of a task, or what it raised."""
    collector = collector_for(extractor)
    try:
        collector.add(extractor.extract(task))
        return collector.take()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def write_over(returned: Any) -> None:
    """Write over all that can be changed of what an extractor returned."""
    if isinstance(returned, TableRows):
        write_over(returned.given)
    elif isinstance(returned, dict):
        for value in returned.values():
            write_over(value)
        returned.clear()
    elif isinstance(returned, list):
        for value in returned:
            write_over(value)
        returned.clear()
    elif isinstance(returned, tuple):
        for value in returned:
            write_over(value)
    elif isinstance(returned, np.ndarray):
        if returned.flags.writeable:
            returned.fill(None if returned.dtype == object else 0)
    elif type(returned).__module__.partition(".")[0] == "pandas" and hasattr(returned, "drop"):
        returned.drop(returned.index, inplace=True)
