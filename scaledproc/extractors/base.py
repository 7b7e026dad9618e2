"""The seam for features: an extractor turns a task into rows."""

from __future__ import annotations

import copy
import functools
import os
import posixpath
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from scaledproc.errors import UsageError
from scaledproc.extractors.tables import checked_tables
from scaledproc.storage.local_files import Watch, find, open_located, remember

if TYPE_CHECKING:
    import pyarrow as pa

    from scaledproc.extractors.account import Account, Example, Reading


TASK_WARNINGS = 20
"""How many warnings of one task are kept."""
WARNING_CHARS = 4_000  # of each, before it is cut to so many bytes


class Warnings:
    """What a task warned of: so many texts, and how many more there were."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._more = 0
        self.is_kept = False
        """Whether a run keeps them; else Python's own warnings tell of them."""

    def add(self, text: str) -> None:
        """Take one."""
        if len(self._texts) < TASK_WARNINGS:
            self._texts.append(text[:WARNING_CHARS])
        else:
            self._more += 1

    def clear(self) -> None:
        """Begin anew, as the task does that is tried again."""
        self._texts, self._more, self.is_kept = [], 0, True

    def shown(self) -> list[str]:
        """Those that are kept."""
        return [*self._texts, *([f"… and {self._more:,} more warnings of this task"] if self._more else [])]


@dataclass(frozen=True)
class Task:
    """The smallest piece of work: one anchor, with its unit's files beside it.

    Paths are relative to the dataset's root and have `/` between folders, wherever the dataset lies. `task.path`,
    `task.beside(name)` and `task.open(name)` give files; other files of the dataset may not be on this machine.

    Parameters
    ----------
    group
        The top folder that the unit lies in, such as `30`; `.` for files directly under the root.
    unit
        What names the files that belong together: by default their folder, such as `30/3000003` (`.` is the root
        itself); with `--unit stem` or `file` a path; with a regular expression what its group `unit` matched.
    anchor
        The path of the file that started this task.
    root
        The local folder below which the unit's files lie under their relative paths: the dataset itself, or a private
        copy of the unit.
    files
        The relative paths of all the unit's files, the anchor and those of other tasks of the unit among them.
    shared_files
        Where the files are that the extractor declared with `reads`.

    Examples
    --------
    Of the unit `sub-01`, whose files are in two folders:

    >>> from pathlib import Path
    >>> files = frozenset({"sub-01/raw/0.bin", "sub-01/labels/0.json"})
    >>> task = Task("sub-01", "sub-01", "sub-01/raw/0.bin", Path("/data"), files)
    >>> str(task.path)
    '/data/sub-01/raw/0.bin'
    >>> sorted(task.files)
    ['sub-01/labels/0.json', 'sub-01/raw/0.bin']

    `task.beside("../labels/0.json")` is the file of its labels.
    """

    group: str
    unit: str
    anchor: str
    root: Path
    files: frozenset[str] = field(repr=False)
    shared_files: Mapping[str, Path] | None = field(default=None, repr=False)
    watch: Watch | None = field(default=None, repr=False, compare=False, kw_only=True)
    """The engine's own: what of the files was looked at, to be compared when the task is done."""
    warnings: Warnings = field(default_factory=Warnings, repr=False, compare=False, kw_only=True)
    """The engine's own: what the task warned of."""

    @property
    def path(self) -> Path:
        """The anchor on local disk."""
        return self.root / self.anchor

    def beside(self, name: str) -> Path:
        """A file named relative to the anchor's folder, such as `x.dat` or `../labels/x.json`: one of the unit's.

        Raises
        ------
        FileNotFoundError
            If the unit has no such file, or what has its place by now is no file below the root. Nothing outside the
            unit is ever looked at.
        """
        return Path(self.locate(name))

    def open(self, name: str | None = None) -> BinaryIO:
        """A file that is named as for `beside`, or the anchor, open for reading.

        It is the unit's file also where somebody exchanges its folder with a link to elsewhere meanwhile, to which a
        path would lead.

        Raises
        ------
        FileNotFoundError
            If `beside` would raise it: the unit has no such file, or what has its place is no file of the dataset.
        OSError
            If the file cannot be opened.
        """
        return os.fdopen(open_located(self.locate(self.anchor.rpartition("/")[2] if name is None else name)), "rb")

    def shared(self, name: str) -> Path:
        """A file of the dataset that the extractor declared with `reads`, named relative to the dataset's root.

        Raises
        ------
        FileNotFoundError
            If the extractor did not declare the file.
        """
        path = (self.shared_files or {}).get(name)
        if path is None:
            raise FileNotFoundError(f"{name!r} is not declared: @extractor(…, reads=[{name!r}]) has it at hand")
        if self.watch is not None:
            self.watch.shared.add(name)
        return path

    def warn(self, text: str) -> None:
        """Tell of something that is wrong with the task's data, and go on.

        Each warning becomes a row of the run's `warnings.parquet`: 20 of a task, a text of 1,000 bytes each, without
        where the dataset lies. The task's rows are kept. Outside a run it is a Python warning.

        Examples
        --------
        ::

            if not_finite.any():
                task.warn(f"{not_finite.sum()} samples are not finite; left out")
        """
        self.warnings.add(str(text))
        if not self.warnings.is_kept:
            import warnings

            warnings.warn(f"{self.anchor}: {text}", stacklevel=2)

    def locate(self, name: str) -> str:
        """What `beside` gives, as text: making a `Path` takes longer than opening the file."""
        folder, slash, _ = self.anchor.rpartition("/")
        if name.startswith("/"):
            raise FileNotFoundError(f"the unit {self.unit!r} has no file {name!r}")
        return self.locate_in_unit(f"{folder}{slash}{name}")

    def locate_in_unit(self, relative: str) -> str:
        """The local path, as text, of a file of the unit that is named relative to the dataset's root."""
        path = f"{self.root}/{relative}"
        if relative not in self.files:
            plain = posixpath.normpath(relative)
            if plain not in self.files:
                raise FileNotFoundError(f"the unit {self.unit!r} has no file {relative!r}")
            relative = plain
        # What was listed may have been replaced since: by a pipe, on which one would wait, or by a link elsewhere.
        found = self.watch.find(relative) if self.watch is not None else find(str(self.root), relative)
        remember(path, found)
        return path


class Extractor(ABC):
    """Turns tasks into rows of features.

    Derive from it for full control, or decorate a plain function with `extractor`. An instance is made once in each
    process. What `extract` returns must fit `schema`: a mapping (one row), a table of Arrow, pandas or polars, or
    an iterable of these, such as a generator. docs/values.md tells what each type takes.

    What it is made with are its options, such as the fields of a dataclass: `--set window=60` sets one that is called
    `window`. Each has a type that a person can write and a default; `Option` says more of one.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    """Raise it when the same input gives other rows for a reason that the fingerprint does not see."""
    anchors: tuple[str, ...] = ("*",)
    """Globs of the files that start a task."""
    unit: str = "folder"
    """How files form units, as in `--unit`."""
    companions: tuple[str, ...] = ()
    """Globs of files that mean nothing without an anchor; the plan warns of those in folders that have none."""
    companion_column: str | None = None
    """The column that has the path, below the dataset's root, of the companion a row was made from: so the end of a run
    tells of those that no row was made from."""
    reads: tuple[str, ...] = ()
    """Files of the dataset, relative to its root, that every task may read: `Task.shared` finds them."""
    env: tuple[str, ...] = ()
    """Environment variables that the rows depend on."""
    tables: Mapping[str, pa.Schema | Mapping[str, Any]] = MappingProxyType({})
    """Schemas of further tables that `extract` gives rows of by `scaledproc.rows`, by the tables' names."""
    with_keys: bool = False
    """Whether the columns group, unit and anchor come before those of the schema where a run does not say."""
    own_keys: tuple[str, ...] = ()
    """Those of the columns group, unit and anchor that the rows have themselves, with their task's values. Where the
    columns are put in front of the rows, they take the place of these."""
    apart: ClassVar[frozenset[str]] = frozenset()
    """Attributes that are no part of the fingerprint, as no row depends on them."""

    def __init_subclass__(cls, **words: Any) -> None:
        """Let a single text stand for a tuple of one."""
        super().__init_subclass__(**words)
        for name in ("reads", "env", "own_keys"):
            if name in vars(cls) and not isinstance(vars(cls)[name], property):
                setattr(cls, name, _texts(vars(cls)[name]))

    @property
    @abstractmethod
    def schema(self) -> pa.Schema:
        """The Arrow schema of the rows that `extract` returns."""

    @abstractmethod
    def extract(self, task: Task) -> Any:
        """The rows of one task. What it raises puts the task into quarantine; the run goes on."""

    def expect(self, size: int) -> None:  # noqa: B027 - most have nothing to load
        """Hear how many bytes this process may still be given, about: the place for what takes long to load.

        Called between tasks, before those of each chunk; it counts for no task, nor for its time limit. What is done
        here must not change the rows; what it raises ends the run.
        """

    def finish(self, table: pa.Table) -> pa.Table:
        """Rows as the combine step writes them: row-wise, so that it gives the same for any slice of the table."""
        return table

    def summarise(self, tables: Iterable[pa.Table]) -> Mapping[str, pa.Table]:  # noqa: ARG002 - for those who override
        """Named summary tables over all finished rows, which come in order and in pieces of a fixed size."""
        return {}

    def partial_summaries(self, tables: Iterable[pa.Table]) -> Mapping[str, pa.Table]:
        """What `merge_summaries` needs to know of some of the rows: those of one macro shard, finished and in order.

        Where a table is a folder (`--table dataset`), each shard's machine sums up its own rows, so that nobody reads
        all of them. Without this, `summarise` reads them in the last step.
        """
        raise NotImplementedError

    def merge_summaries(self, partials: Iterable[Mapping[str, pa.Table]]) -> Mapping[str, pa.Table]:
        """What `summarise` gives for all rows, of what `partial_summaries` gave for each macro shard's, in order."""
        raise NotImplementedError

    def noticed(self, table: pa.Table) -> Iterable[str]:  # noqa: ARG002 - for those who override
        """Texts that `end_notes` needs to know of some finished rows, each once; few of them, as all are held.

        Called in the last steps of a run, never while tasks are done.
        """
        return ()

    def end_notes(self, noticed: frozenset[str]) -> Iterable[str]:  # noqa: ARG002 - for those who override
        """What a person should read at the end of a run, each in a sentence: what an option asked for in vain, say.

        Parameters
        ----------
        noticed
            What `noticed` gave of all rows.
        """
        return ()

    def account(self, read: Reading) -> Account | None:  # noqa: ARG002 - for those who override
        """What a report tells of a run's table besides what it tells of every table; None for nothing.

        Called where a report is made, never in a run's tasks.

        Parameters
        ----------
        read
            Gives some columns of the table, in the plan's order and in pieces. A table that is very large is given in
            part: each row group as a whole, at equal distances. `scaledproc.extractors.account.share_read` tells which
            part; the report says it beside what comes of it, and leaves stretches of time out.
        """
        return None

    def traces(self, task: Task, choice: int) -> Example | None:  # noqa: ARG002 - for those who override
        """A piece of a task's data for a report to draw; None where it has nothing to be drawn.

        Parameters
        ----------
        task
            One of the run's, with its files at hand.
        choice
            A number that decides which piece: the same one gives the same piece.
        """
        return None

    @property
    def label(self) -> str:
        """What a person calls it."""
        return self.name

    @property
    def fingerprint(self) -> str:
        """Changes when the extractor's rows may; part of the plan's id.

        It covers the code of the class and all that this reaches, and the attributes of the instance. Override it where
        you know better: then it is all that counts.
        """
        from scaledproc.extractors.code.fingerprint import fingerprint_of

        return fingerprint_of(self).text


class FunctionExtractor(Extractor):
    """An extractor made from a plain function; still callable as that function."""

    name = "function"

    def __init__(
        self,
        function: Callable[..., Any],
        schema: pa.Schema,
        *,
        anchors: tuple[str, ...],
        unit: str,
        finish: Callable[[pa.Table], pa.Table] | None,
        summarise: Callable[[Iterable[pa.Table]], Mapping[str, pa.Table]] | None,
        reads: tuple[str, ...] = (),
        env: tuple[str, ...] = (),
        tables: Mapping[str, pa.Schema] | None = None,
        partial_summaries: Callable[[Iterable[pa.Table]], Mapping[str, pa.Table]] | None = None,
        merge_summaries: Callable[[Iterable[Mapping[str, pa.Table]]], Mapping[str, pa.Table]] | None = None,
        with_keys: bool = True,
    ) -> None:
        self.function = function
        self.with_keys = with_keys
        self.tables = dict(tables or {})
        self.anchors = anchors
        self.unit = unit
        self.reads = reads
        self.env = env
        self.given_finish = finish
        self.given_summarise = summarise
        self.given_partial_summaries = partial_summaries
        self.given_merge_summaries = merge_summaries
        self._schema = schema

    def __call__(self, task: Task, /, *arguments: Any, **named: Any) -> Any:
        """Call the function."""
        return self.function(task, *arguments, **named)

    def with_arguments(self, *arguments: Any, **named: Any) -> FunctionExtractor:
        """The extractor of a `partial` of the function."""
        made = copy.copy(self)
        made.function = functools.partial(self.function, *arguments, **named)
        return made

    def __repr__(self) -> str:
        return f"<extractor {self.label}: {', '.join(self.schema.names)}>"

    @property
    def schema(self) -> pa.Schema:
        """As declared."""
        return self._schema

    @property
    def label(self) -> str:
        """The name of the function."""
        function: Any = self.function
        while isinstance(function, functools.partial):
            function = function.func
        return str(getattr(function, "__name__", type(function).__name__))

    def extract(self, task: Task) -> Any:
        """What the function returns."""
        return self.function(task)

    def finish(self, table: pa.Table) -> pa.Table:
        """As given to the decorator."""
        return self.given_finish(table) if self.given_finish else table

    def summarise(self, tables: Iterable[pa.Table]) -> Mapping[str, pa.Table]:
        """As given to the decorator."""
        return self.given_summarise(tables) if self.given_summarise else {}

    def partial_summaries(self, tables: Iterable[pa.Table]) -> Mapping[str, pa.Table]:
        """As given to the decorator."""
        return self.given_partial_summaries(tables) if self.given_partial_summaries else {}

    def merge_summaries(self, partials: Iterable[Mapping[str, pa.Table]]) -> Mapping[str, pa.Table]:
        """As given to the decorator."""
        return self.given_merge_summaries(partials) if self.given_merge_summaries else {}


_NOT_GIVEN: Any = object()
_NO_SCHEMA = (
    "@scaledproc.extractor needs to be told the columns of the rows: "
    '@scaledproc.extractor(schema={"path": "string", "lines": "int64"}, anchor="*.csv") above the function'
)


def extractor(
    *wrong: Any,
    schema: pa.Schema | Mapping[str, Any] = _NOT_GIVEN,
    anchor: str | Iterable[str] = "*",
    unit: str = "folder",
    finish: Callable[[pa.Table], pa.Table] | None = None,
    summarise: Callable[[Iterable[pa.Table]], Mapping[str, pa.Table]] | None = None,
    reads: str | Iterable[str] = (),
    env: str | Iterable[str] = (),
    tables: Mapping[str, pa.Schema | Mapping[str, Any]] | None = None,
    partial_summaries: Callable[[Iterable[pa.Table]], Mapping[str, pa.Table]] | None = None,
    merge_summaries: Callable[[Iterable[Mapping[str, pa.Table]]], Mapping[str, pa.Table]] | None = None,
    with_keys: bool = True,
) -> Callable[[Callable[..., Any]], FunctionExtractor]:
    r"""Make an extractor of a function `task -> rows`, or of anything that can be called so.

    Parameters of the function behind the task are the extractor's options: with `task, *, window: int = 60` one sets
    it by `--set window=30`. `Option` says more of one.

    Parameters
    ----------
    schema
        An Arrow schema, or a mapping of column names to Arrow types or their names (`"int64"`, `"string"`).
    anchor
        Glob, or several, of the files that start a task.
    unit
        How files form units: `folder`, `stem`, `file`, or a regular expression with a group named `unit`.
    finish, summarise
        As the methods of `Extractor`.
    reads
        Files of the dataset, relative to its root, that every task may read: `task.shared("labels.csv")` is where one
        is. Their content is part of what the rows depend on.
    env
        Names of environment variables that the rows depend on.
    tables
        Schemas of further tables, by their names; the function gives rows of one by `scaledproc.rows`.
    partial_summaries, merge_summaries
        As the methods of `Extractor`: `summarise` in two steps, the first of them for each macro shard.
    with_keys
        Whether a run puts the columns group, unit and anchor in front of each row of all tables, which lead back to
        its task. A run may say otherwise.
    wrong
        Nothing: what stands without parentheses behind `@scaledproc.extractor` is refused with what to write.

    Raises
    ------
    UsageError
        If there is no schema, or what is given cannot be an extractor.

    Examples
    --------
    >>> import scaledproc
    >>> @scaledproc.extractor(schema={"path": "string", "lines": "int64"}, anchor="*.csv")
    ... def count_lines(task):
    ...     return {"path": task.anchor, "lines": task.path.read_bytes().count(b"\n")}
    >>> count_lines
    <extractor count_lines: path, lines>
    """
    if (partial_summaries is None) != (merge_summaries is None) or (partial_summaries is not None and not summarise):
        raise UsageError(
            "give partial_summaries and merge_summaries together, beside summarise, whose two steps they are"
        )
    from scaledproc.extractors.schemas import as_schema

    if wrong or schema is _NOT_GIVEN:
        raise UsageError(_NO_SCHEMA)
    arrow_schema = as_schema(schema)
    further = checked_tables(tables or {})
    anchors, files, variables = map(_texts, (anchor, reads, env))

    def decorate(function: Callable[..., Any]) -> FunctionExtractor:
        if not callable(function):
            raise UsageError(f"{function!r} cannot be called with a task, so it is no extractor")
        return FunctionExtractor(
            function,
            arrow_schema,
            anchors=anchors,
            unit=unit,
            finish=finish,
            summarise=summarise,
            reads=files,
            env=variables,
            tables=further,
            partial_summaries=partial_summaries,
            merge_summaries=merge_summaries,
            with_keys=with_keys,
        )

    return decorate


def _texts(given: str | Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)
