"""What one task may cost, and how often it is tried: as a user asks for it, and as run.json tells the workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from scaledproc._util.options import at_least, option, size_option, texts, time_option
from scaledproc.errors import UsageError

LEAST_MEMORY = 256 * 10**6
"""Bytes: the interpreter and the libraries take some 150 MB of it."""

RETRIED = ("timeout", "memory", "exception")
"""Kinds of failures that can be asked to be tried again."""
MOST_STEP = 100


def _kinds(value: Any, flag: str) -> tuple[str, ...]:
    found = tuple(each.strip() for text in texts(value, flag) for each in text.split(",") if each.strip())
    if strange := [each for each in found if each not in RETRIED]:
        raise UsageError(f"{flag} {strange[0]!r}: give one or several of {', '.join(RETRIED)}")
    return tuple(dict.fromkeys(found))


def _factor(value: Any, flag: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= MOST_STEP:
        raise UsageError(f"{flag} {value!r}: give a number from 1 to {MOST_STEP}, such as 2")
    return float(value)


@dataclass(frozen=True)
class Limits:
    """What ends a task, and what ends a worker process: options of a run."""

    task_timeout: float | None = time_option(
        None,
        "End a task that takes longer, such as 90s or 5m.",
        default_text="never",
        details="Also one that hangs in native code; it is quarantined as `timeout`.",
        record=True,
    )
    memory_per_worker: int | None = size_option(
        None,
        "Memory that a worker process may take, such as 2GB.",
        least=LEAST_MEMORY,
        such_as="2GB",
        default_text="no limit",
        details="Some 150 MB of it are Python and libraries; a task that wants more is quarantined as `memory`. Linux.",
        record=True,
    )
    task_retries: int = option(
        0,
        "How often a failed task is tried again; one that ended its process is, once, anyway.",
        metavar="N",
        read=at_least(0, "0 or more"),
        record=True,
        rare=True,
    )
    worker_lifespan: int | None = option(
        None,
        "Replace a worker process after so many chunks.",
        metavar="N",
        unit="chunks",
        default_text="when it has grown",
        read=at_least(1, "a number of chunks, 1 or more"),
        record=True,
        rare=True,
    )

    retry_on: tuple[str, ...] = option(
        (),
        "Try a task once more that failed so: timeout, memory or exception; several with commas.",
        metavar="KINDS",
        accepts="str | Iterable[str]",
        read=_kinds,
        details="Where `--task-retries` gives more attempts, these count.",
        record=True,
        rare=True,
    )
    memory_step: float = option(
        1.0,
        "A task that took more than --memory-per-worker gets so many times as much when it is tried again.",
        metavar="FACTOR",
        read=_factor,
        details="It is alone at work on the machine's cores then.",
        record=True,
        rare=True,
    )
    keep_logs: bool = option(
        False,
        "Keep what every task prints and logs in logs/, not only that of tasks that fail.",
        details="64 kB of a task.",
        record=True,
        rare=True,
    )

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Those that run.json has among its options; a run of an earlier version has none."""
        found = {each.name: options[each.name] for each in fields(Limits) if each.name in options}
        known: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in found.items()
        }
        return cls(**known)

    def retries_of(self, kind: str) -> int:
        """How often a task that failed in some way is tried again."""
        return max(self.task_retries, 1 if kind in self.retry_on else 0)

    def to_options(self) -> dict[str, Any]:
        """The limits by name, as run.json holds them."""
        return {each.name: getattr(self, each.name) for each in fields(Limits)}

    @property
    def need_processes(self) -> bool:
        """Whether they can only be kept for another process than this one."""
        return self.task_timeout is not None or self.memory_per_worker is not None or self.worker_lifespan is not None
