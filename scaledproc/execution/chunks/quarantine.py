"""What is kept of tasks that failed: texts of bounded length, and rows that do not wait in memory."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from scaledproc._util.redaction import redacted
from scaledproc.errors import DamagedError
from scaledproc.events import SHOWN_FAILURES, Failure
from scaledproc.run_folder.names import WORK_ERROR_SCHEMA
from scaledproc.storage.parquet import Writer, read_tables

if TYPE_CHECKING:
    from scaledproc.extractors import Task
    from scaledproc.storage.store import Store

MESSAGE = 8_000
"""Bytes of a message in `errors.parquet`."""
NAME = 4_096
"""Bytes of any other text in an event: as long as a path may be."""
TRACE = 2**20 + 2**18
"""Bytes of a traceback in `errors.log`: a message of 1 MB, and where it came from."""
_READ = 4 * 2**20  # characters of a text that are looked through
_BORDER = 2**16  # of these so many at the end are left out, where a secret may have been cut in two
_HELD = 8 * 2**20
_ROWS = 4_096
_CALLER = "execution/chunks/task_call.py"
_WAYS = ("execution/", "extractors/base.py", "extractors/rows/")  # ours, through which an extractor is called
_BEGIN = "\nTraceback (most recent call last):\n"
_FRAME = re.compile(r'^  File "(.+)", line (\d+), in ', re.MULTILINE)
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")


def bounded(text: str, most: int) -> str:
    """A text, cut to so many bytes of UTF-8; what cannot be written so is replaced."""
    content = text.encode(errors="replace")
    if len(content) <= most:
        return content.decode()
    return content[: most - 3].decode(errors="ignore") + "…"


def cleaned(text: str) -> str:
    """The beginning of a text, more of it than is kept, without what must not be shown."""
    return redacted(text) if len(text) <= _READ else redacted(text[:_READ])[:-_BORDER]


def placeless(text: str, task: Task) -> str:
    """A text without what differs from machine to machine: where the dataset lies, addresses in memory."""
    text = cleaned(text)
    for root in dict.fromkeys((str(task.root), os.path.realpath(task.root), repr(str(task.root))[1:-1])):
        if len(root) > 1:
            text = re.sub(rf"{re.escape(root)}(?:/|(?![\w.-]))", "", text)
    return _ADDRESS.sub("0x…", text)


class RowFile:
    """Takes rows one by one, and writes them to a file, if there are any.

    Parameters
    ----------
    schema
        Their columns.
    committing
        Gives the path to write, when it is entered; what is written counts when it is left.
    """

    def __init__(self, schema: pa.Schema, committing: Callable[[], AbstractContextManager[Path]]) -> None:
        self._schema = schema
        self._committing = committing
        self._stack = ExitStack()
        self._writer: Writer | None = None
        self._held: list[Mapping[str, Any]] = []
        self._size = 0
        self.count = 0

    def __enter__(self) -> Self:
        self._stack.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, at)
            return
        with self._stack:
            self._write()

    def add(self, row: Mapping[str, Any], size: int) -> None:
        """Add a row with so many characters; rows are written when there are enough of them."""
        self.count += 1
        self._held.append(row)
        self._size += size
        if self._size >= _HELD or len(self._held) >= _ROWS:
            self._write()

    def _write(self) -> None:
        if not self._held:
            return
        if self._writer is None:
            self._writer = self._stack.enter_context(
                Writer(self._stack.enter_context(self._committing()), self._schema)
            )
        self._writer.write_table(pa.Table.from_pylist(self._held, schema=self._schema))
        self._held, self._size = [], 0


class ErrorRows(RowFile):
    """Takes the rows of quarantined tasks."""

    def __init__(self, committing: Callable[[], AbstractContextManager[Path]]) -> None:
        super().__init__(WORK_ERROR_SCHEMA, committing)
        self.first: tuple[Failure, ...] = ()

    def append(self, row: Mapping[str, Any]) -> None:
        """Add the row of one quarantined task."""
        if self.count < SHOWN_FAILURES:
            self.first = (*self.first, failure_of(row))
        self.add(row, len(row["message"]) + len(row["traceback"]))


def failure_of(row: Mapping[str, Any]) -> Failure:
    """What events tell of a row of errors."""
    names = ("group", "unit", "anchor", "kind", "error")
    return Failure(
        **{name: bounded(row[name], NAME) for name in names},
        message=bounded(row["message"], MESSAGE),
        place=bounded(own_place(row["traceback"]), NAME),
    )


def own_place(trace: str) -> str:
    """The file and line of the extractor's own code that a traceback leads through last; empty where it is not there.

    The first frame is ours, and so tells where this package lay on the machine that made the traceback.
    """
    frames = _FRAME.findall(trace[trace.rfind(_BEGIN) + 1 :])
    if not frames or not frames[0][0].endswith(_CALLER):
        return ""
    root = frames[0][0].removesuffix(_CALLER)
    ways = tuple(root + each for each in _WAYS)
    own = next((file for file, _ in frames if not file.startswith(ways)), root)
    if own.startswith(root):  # a built-in extractor, or rows that were refused
        return ""
    # What the extractor called in a library is no line of its own.
    return next(f"{Path(file).name}:{line}" for file, line in reversed(frames) if file == own)


def read_rows(store: Store, name: str, rows: int, committed: str) -> Iterator[pa.Table]:
    """What a `RowFile` wrote for a chunk or a shard.

    Parameters
    ----------
    store, name
        Where it is.
    rows
        As many as the chunk or the shard told of; without any there is no file.
    committed
        The file that says that the chunk or the shard is there.

    Raises
    ------
    DamagedError
        If the rows are not all there. `committed` is removed then, so that the next start makes it anew.
    """
    if not rows:
        return
    try:
        yield from read_tables(store, name, rows=rows)
    except (DamagedError, FileNotFoundError) as error:
        store.remove(committed)
        raise DamagedError(f"{store}/{name} is gone or damaged; run the same command again") from error
