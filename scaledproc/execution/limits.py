"""What one task may cost, and how often it is tried: as a user asks for it, and as run.json tells the workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from scaledproc._util.units import parse_number, parse_seconds
from scaledproc.errors import UsageError

LEAST_MEMORY = 256 * 10**6
"""Bytes: the interpreter and the libraries take some 150 MB of it."""


@dataclass(frozen=True)
class Limits:
    """What ends a task, and what ends a worker process.

    Parameters
    ----------
    task_timeout
        Seconds.
    memory_per_worker
        Bytes that a worker process may have.
    task_retries
        How often a task that failed is tried again. One that ended its process is tried again once at least.
    worker_lifespan
        Chunks, after which a worker process is replaced by a fresh one.
    """

    task_timeout: float | None = None
    memory_per_worker: int | None = None
    task_retries: int = 0
    worker_lifespan: int | None = None

    @classmethod
    def parse(
        cls,
        task_timeout: str | float | None = None,
        memory_per_worker: str | int | None = None,
        task_retries: int = 0,
        worker_lifespan: int | None = None,
    ) -> Self:
        """From `30`, `90s`, `5m` or `1h`; `2GB`; and numbers.

        Raises
        ------
        UsageError
            One of them makes no sense.
        """
        if task_retries < 0:
            raise UsageError(f"--task-retries {task_retries}: give 0 or more")
        if worker_lifespan is not None and worker_lifespan < 1:
            raise UsageError(f"--worker-lifespan {worker_lifespan}: give a number of chunks, 1 or more")
        return cls(
            None if task_timeout is None else parse_seconds(str(task_timeout), "--task-timeout"),
            None if memory_per_worker is None else _memory(str(memory_per_worker)),
            task_retries,
            worker_lifespan,
        )

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Those that run.json has among its options; a run of an earlier version has none."""
        return cls(**{name: options[name] for name in cls.__dataclass_fields__ if name in options})

    def to_options(self) -> dict[str, Any]:
        """For run.json."""
        return asdict(self)

    @property
    def need_processes(self) -> bool:
        """Whether they can only be kept for another process than this one."""
        return self.task_timeout is not None or self.memory_per_worker is not None or self.worker_lifespan is not None


def _memory(text: str) -> int:
    choices = "a size such as 2GB"
    by, value = parse_number(text, "--memory-per-worker", choices)
    if by == "count" and value < LEAST_MEMORY:
        raise UsageError(f"--memory-per-worker {text!r}: give {choices}")
    if value < LEAST_MEMORY:
        raise UsageError(f"--memory-per-worker {text!r}: a worker needs {LEAST_MEMORY // 10**6} MB or more")
    return value
