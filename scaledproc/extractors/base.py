"""The seam for features: an extractor turns a task into rows."""

from __future__ import annotations

import hashlib
import inspect
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any, ClassVar

from scaledproc.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Task:
    """The smallest piece of work: one anchor, with its unit's files beside it.

    Parameters
    ----------
    group, unit, anchor
        Relative to the dataset's root; `.` is the root itself.
    root
        The local folder below which the unit's files lie under their relative paths.
    files
        The relative paths of all the unit's files.
    """

    group: str
    unit: str
    anchor: str
    root: Path
    files: frozenset[str] = field(repr=False)

    @property
    def path(self) -> Path:
        """The anchor on local disk."""
        return self.root / self.anchor

    def beside(self, name: str) -> Path:
        """A file named relative to the anchor's folder, which must be one of the unit's.

        Raises
        ------
        FileNotFoundError
            The unit has no such file, or what has its place by now is no file below the root. Nothing outside the unit
            is ever looked at.
        """
        return Path(self.locate(name))

    def locate(self, name: str) -> str:
        """What `beside` gives, as text: making a `Path` takes longer than opening the file."""
        folder, slash, _ = self.anchor.rpartition("/")
        relative = f"{folder}{slash}{name}"
        if relative not in self.files:
            raise FileNotFoundError(f"the unit {self.unit!r} has no file {relative!r}")
        path = f"{self.root}/{relative}"
        # What was listed may have been replaced since: by a pipe, on which one would wait, or by a link elsewhere.
        at = relative.find("/")
        while at >= 0:
            if stat.S_ISLNK(os.lstat(f"{self.root}/{relative[:at]}").st_mode):  # which no listing follows
                raise FileNotFoundError(f"{relative[:at]!r} is no folder of the dataset any more")
            at = relative.find("/", at + 1)
        kind = os.lstat(path).st_mode
        if stat.S_ISLNK(kind):
            target = Path(path).resolve()
            kind = target.stat().st_mode if target.is_relative_to(self.root.resolve()) else 0
        if not stat.S_ISREG(kind):
            raise FileNotFoundError(f"{relative!r} is no file of the dataset any more")
        return path


class Extractor(ABC):
    """Turns tasks into rows of features.

    Derive from it for full control, or decorate a plain function with `extractor`. An instance is made once in each
    process. What `extract` returns must fit `schema`: a mapping (one row), a table of Arrow, pandas or polars, or
    an iterable of these, such as a generator. docs/values.md tells what each type takes.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    """Raise it when the same input gives other rows: it is part of the plan's id."""
    anchors: tuple[str, ...] = ("*",)
    """Globs of the files that start a task."""
    unit: str = "folder"
    """How files form units, as in `--unit`."""
    companions: tuple[str, ...] = ()
    """Globs of files that mean nothing without an anchor of their name; the plan warns of those that lack one."""

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

    @property
    def label(self) -> str:
        """What a person calls it."""
        return self.name

    @property
    def fingerprint(self) -> str:
        """Changes when the extractor's rows may; part of the plan's id.

        Parameters count when they are public attributes with plain values. Override it where that is not enough.
        """
        values = {name: value for name, value in sorted(vars(self).items()) if not name.startswith("_")}
        parameters = ", ".join(f"{name}={_identity(value)}" for name, value in values.items())
        return f"{self.name} {self.version} {parameters}".rstrip()


class FunctionExtractor(Extractor):
    """An extractor made from a plain function; still callable as that function."""

    name = "function"

    def __init__(
        self,
        function: Callable[[Task], Any],
        schema: pa.Schema,
        *,
        anchors: tuple[str, ...],
        unit: str,
        finish: Callable[[pa.Table], pa.Table] | None,
        summarise: Callable[[Iterable[pa.Table]], Mapping[str, pa.Table]] | None,
    ) -> None:
        self.function = function
        self.anchors = anchors
        self.unit = unit
        self._schema = schema
        self._finish = finish
        self._summarise = summarise

    def __call__(self, task: Task) -> Any:
        """Call the function."""
        return self.function(task)

    def __repr__(self) -> str:
        return f"<extractor {self.label}: {', '.join(self.schema.names)}>"

    @property
    def schema(self) -> pa.Schema:
        """As declared."""
        return self._schema

    @property
    def label(self) -> str:
        """The name of the function."""
        return self.function.__name__

    @property
    def fingerprint(self) -> str:
        """The name and what can be told of the code."""
        functions = [f for f in (self.function, self._finish, self._summarise) if f is not None]
        return f"{self.label} {hashlib.sha256(chr(0).join(map(_source, functions)).encode()).hexdigest()}"

    def extract(self, task: Task) -> Any:
        """What the function returns."""
        return self.function(task)

    def finish(self, table: pa.Table) -> pa.Table:
        """As given to the decorator."""
        return self._finish(table) if self._finish else table

    def summarise(self, tables: Iterable[pa.Table]) -> Mapping[str, pa.Table]:
        """As given to the decorator."""
        return self._summarise(tables) if self._summarise else {}


def extractor(
    *,
    schema: pa.Schema | Mapping[str, Any],
    anchor: str | Iterable[str] = "*",
    unit: str = "folder",
    finish: Callable[[pa.Table], pa.Table] | None = None,
    summarise: Callable[[Iterable[pa.Table]], Mapping[str, pa.Table]] | None = None,
) -> Callable[[Callable[[Task], Any]], FunctionExtractor]:
    r"""Make an extractor of a function `task -> rows`.

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

    Examples
    --------
    >>> import scaledproc
    >>> @scaledproc.extractor(schema={"path": "string", "lines": "int64"}, anchor="*.csv")
    ... def count_lines(task):
    ...     return {"path": task.anchor, "lines": task.path.read_bytes().count(b"\n")}
    >>> count_lines
    <extractor count_lines: path, lines>
    """
    arrow_schema = _as_schema(schema)
    anchors = (anchor,) if isinstance(anchor, str) else tuple(anchor)

    def decorate(function: Callable[[Task], Any]) -> FunctionExtractor:
        return FunctionExtractor(function, arrow_schema, anchors=anchors, unit=unit, finish=finish, summarise=summarise)

    return decorate


def _as_schema(schema: pa.Schema | Mapping[str, Any]) -> pa.Schema:
    import pyarrow as pa

    if isinstance(schema, pa.Schema):
        return schema
    try:
        return pa.schema(
            [(name, pa.type_for_alias(kind) if isinstance(kind, str) else kind) for name, kind in schema.items()]
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"the extractor's schema cannot be read: {error}") from None


def _source(function: Callable[..., Any]) -> str:
    """What identifies a function's behaviour as far as can be told: its file or its own code, and what it encloses."""
    enclosed = [_identity(cell.cell_contents) for cell in getattr(function, "__closure__", None) or ()]
    try:
        path = inspect.getsourcefile(function)
        is_file = path is not None and Path(path).is_file()
        text = Path(str(path)).read_text(encoding="utf-8") if is_file else inspect.getsource(function)
    except (OSError, TypeError):
        text = _code_text(function.__code__)
    return "\n".join([function.__qualname__, text, *enclosed])


def _code_text(code: CodeType) -> str:
    """A function's code without addresses in memory."""
    constants = [_code_text(value) if isinstance(value, CodeType) else _identity(value) for value in code.co_consts]
    return f"{code.co_code.hex()} {constants} {code.co_names}"


def _identity(value: Any) -> str:
    """A text that changes with a value, for plain values; for others that of their type."""
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
        return repr(value)
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_identity, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_identity(key)}: {_identity(item)}' for key, item in value.items())}}}"
    if inspect.isfunction(value):
        return _code_text(value.__code__)
    return f"{type(value).__module__}.{type(value).__qualname__}"
