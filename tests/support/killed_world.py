"""A store in memory, and processes that are killed at any step: what the models of runs are played in.

A kill is an exception after which nothing that the driver does to the store has any effect. A request of a driver that
is gone may be carried out at any later step. The filesystem knows conditions on what is replaced, as S3 does.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from fsspec.implementations.memory import MemoryFileSystem

from scaledproc._util.process import processes
from scaledproc._util.process.processes import Process
from scaledproc.execution.reuse import builders
from scaledproc.run_folder import plan_files, replacement, run
from scaledproc.storage.fencing import OvertakenError, current_change

OPERATIONS = ("put_file", "pipe_file", "cat_file", "rm", "rm_file", "ls", "find", "_open", "makedirs")


class KilledError(BaseException):
    """The process is gone."""


CHANGES = ("put_file", "pipe_file", "rm", "rm_file")


def version_now(fs: MemoryFileSystem, path: str) -> str:
    """As an etag: of the content alone."""
    file = fs.store.get(fs._strip_protocol(path))
    return "" if file is None else hashlib.md5(file.getvalue(), usedforsecurity=False).hexdigest()


class World:
    """The store, and the processes that are alive; what is to happen at which operation."""

    def __init__(self) -> None:
        self.operations = self.changes = 0
        self.left: int | None = None
        self.fault: Callable[[], BaseException] = KilledError
        self.is_after = False
        self.is_held = False
        self.held: Callable[[], None] | None = None
        self.arrives: int | None = None
        self.arrivals = 0
        self.is_dead = False
        self.is_within = False
        self.alive: set[int] = set()
        self.clock = 0.0
        self.drivers = 0

    def after(
        self, operations: int | None, fault: Callable[[], BaseException], *, is_after: bool, is_held: bool = False
    ) -> None:
        self.left, self.fault, self.is_after, self.is_dead = operations, fault, is_after, False
        self.is_held = is_held

    def arrive(self) -> bool:
        """Carry out the request that is under way; whether there was one."""
        held, self.held, self.arrives = self.held, None, None
        if held is not None:
            self.arrivals += 1
            held()
        return held is not None

    def hold(self, function: Callable[..., Any], fs: MemoryFileSystem, path: Any, *arguments: Any) -> None:
        """Keep a request that changes something, with what it has to say and to be true."""
        change = current_change()
        if function.__name__ == "put_file":  # the local file is gone by then
            content, path = Path(path).read_bytes(), arguments[0]
        else:
            content = arguments[0] if arguments else b""

        def late() -> None:
            self.is_within = True
            try:
                if function.__name__ in ("rm", "rm_file"):
                    for each in [path] if isinstance(path, str) else path:
                        fs.store.pop(fs._strip_protocol(each), None)
                elif change.version in (None, version_now(fs, path)):
                    fs.pipe_file(path, content)
            finally:
                self.is_within = False

        self.held = late

    def operation(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, before or after which the fault may come, but not within: an object is there whole or not at all.

        (The memory filesystem carries a `put_file` out in steps, and has an empty file after the first.)
        """

        def counted(fs: MemoryFileSystem, path: Any, *arguments: Any, **options: Any) -> Any:
            if self.is_within or "model/out" not in f"{path}{arguments}":
                return function(fs, path, *arguments, **options)
            if self.is_dead:
                raise KilledError
            is_now = False
            self.operations += 1
            is_change = function.__name__ in CHANGES and "lease.json" not in f"{path}{arguments}"
            self.changes += is_change
            if self.left is not None and (is_change or not self.is_held):
                self.left -= 1
                is_now = self.left == 0
            if self.arrives is not None:
                self.arrives -= 1
                if not self.arrives:
                    self.arrive()
            if is_now and self.is_held:
                self.hold(function, fs, path, *arguments)
            if is_now and not self.is_after:
                self._fail()
            if function.__name__ in ("put_file", "pipe_file"):
                target = arguments[0] if function.__name__ == "put_file" else path
                if current_change().version not in (None, version_now(fs, target)):
                    raise OvertakenError(f"{target} was changed by another")
            self.is_within = True
            try:
                result = function(fs, path, *arguments, **options)
            finally:
                self.is_within = False
            if is_now:
                self._fail()
            return result

        return counted

    def _fail(self) -> None:
        self.left = None
        error = self.fault()
        self.is_dead = isinstance(error, KilledError)
        raise error

    def process(self) -> Process:
        return Process("model", self.drivers, "")

    @contextlib.contextmanager
    def driver(self) -> Iterator[None]:
        """A new process, which is gone at the end."""
        self.drivers += 1
        number = self.drivers
        self.alive.add(number)
        try:
            yield
        finally:
            self.alive.discard(number)

    @contextlib.contextmanager
    def patched(self) -> Iterator[None]:
        """The memory filesystem and the machine are this world's."""
        one_thread = partial(ThreadPoolExecutor, 1)  # one after the other: operations are counted one within no other
        with contextlib.ExitStack() as stack:
            for name in OPERATIONS:
                own = self.operation(getattr(MemoryFileSystem, name))
                stack.enter_context(patch.object(MemoryFileSystem, name, own))
            for module in (plan_files, run, replacement, builders):
                stack.enter_context(patch.object(module, "ThreadPoolExecutor", lambda *_, **__: one_thread()))
            stack.enter_context(patch.object(MemoryFileSystem, "version_now", version_now, create=True))
            stack.enter_context(patch.object(processes, "this_process", self.process))
            stack.enter_context(patch.object(processes, "is_alive", lambda process: process.pid in self.alive))
            stack.enter_context(patch.object(processes, "elapsed", lambda: self.clock))
            yield
