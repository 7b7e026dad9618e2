"""What happened, as small frozen dataclasses: what backends tell, and progress and reports are made from.

`to_json` gives a line of what `--json` and `scaledproc worker` print, and `from_json` the event of such a line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, Self

SHOWN_FAILURES = 5
"""How many of a chunk's or a shard's quarantined tasks an event carries; all are in `errors.parquet`."""


@dataclass(frozen=True)
class Failure:
    """A task in quarantine."""

    group: str
    unit: str
    anchor: str
    kind: str
    """`exception`, `schema`, `crash`, `memory` or `timeout`."""
    error: str
    """The name of the exception's class; of a signal, or the exit code, where the task ended its process."""
    message: str
    place: str = ""
    """The file of the extractor's own code that failed, a colon, and the line; empty where it is not known."""

    @property
    def cause(self) -> tuple[str, str, str]:
        """What failures have in common that are alike: kind, class and place; their message where no place is known."""
        return self.kind, self.error, self.place or re.sub(r"\d+", "#", self.message.replace(self.anchor, ""))


@dataclass(frozen=True)
class Event:
    """Something that happened in a run."""


@dataclass(frozen=True)
class Note(Event):
    """Something that a person should read."""

    text: str


@dataclass(frozen=True)
class RunStarted(Event):
    """The plan stands, and the jobs are about to begin."""

    plan_id: str
    tasks: int
    size: int
    shards: int
    chunks: int
    cores: int
    output: str
    resumed: bool


@dataclass(frozen=True)
class ReuseFound(Event):
    """It is known which tasks' rows are taken from earlier runs, and which tasks are to be done.

    Parameters
    ----------
    tasks, todo
        All of the plan, and those that are to be done.
    reasons
        How many of them for which reason: `new`, `changed`, `extractor`, `failed`, `undone`, `damaged`.
    text
        The same for a person.
    """

    tasks: int
    todo: int
    reasons: Mapping[str, int]
    text: str


@dataclass(frozen=True)
class _Done(Event):
    shard: int
    tasks: int
    rows: int
    size: int
    """Bytes of the tasks' files."""
    seconds: float
    """Time at work, added up over the cores."""
    quarantined: int
    failures: tuple[Failure, ...] = ()
    """The first few of the quarantined tasks."""
    resumed: bool = False
    """Whether an earlier process committed it."""
    said: int = 0
    """How many warnings and logs of its tasks are kept."""
    staging: float = 0.0
    """Seconds that cores had nothing to do while its files were being staged, added up over the cores."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], *, resumed: bool = False) -> Self:
        """From what `to_dict` gave."""
        failures = tuple(Failure(**failure) for failure in content["failures"])
        return cls(**{**content, "failures": failures, "resumed": resumed})


@dataclass(frozen=True)
class ShardDone(_Done):
    """A macro shard is committed."""

    digest: str = ""
    """SHA-256 of its file, taken as it was written."""


@dataclass(frozen=True)
class ChunkDone(_Done):
    """A chunk is committed."""

    chunk: int = 0


class State(StrEnum):
    """Where a macro shard is on its way through a backend's machines; each is the word that JSON has."""

    WAITING = "waiting"
    """Nobody has it."""
    UNCOMMITTED = "not committed"
    """Processes of the driver's own, which tell it alone, may be at work on it; no chunk of it is committed."""
    BEGUN = "begun"
    """Some of its chunks are committed, and no machine is known to have it."""
    QUEUED = "queued"
    STARTING = "starting"
    STAGING = "staging"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPING = "stopping"
    STOPPED = "stopped"
    RETRYING = "retrying"


@dataclass(frozen=True)
class ShardState(Event):
    """A macro shard's way through a backend's machines.

    Parameters
    ----------
    shard
        Its number.
    state
        Where it is; the word alone is taken too.
    job
        Which job has it, where there is one.
    detail
        Why, for a person.
    tasks, rows, size, quarantined
        What of it is done so far; bytes.
    seconds
        Since its first chunk was begun.
    failures
        The first of the quarantined tasks, as far as they are known.
    """

    shard: int
    state: State
    job: str = ""
    detail: str = ""
    tasks: int = 0
    rows: int = 0
    size: int = 0
    quarantined: int = 0
    seconds: float = 0.0
    failures: tuple[Failure, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", State(self.state))


@dataclass(frozen=True)
class JobPlanned(Event):
    """A backend that runs nothing would have run this."""

    job: str


@dataclass(frozen=True)
class CombineDone(Event):
    """The table, its summaries and the errors are written."""

    rows: int
    quarantined: int
    summaries: tuple[str, ...]
    seconds: float
    digests: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each file, by its name, taken as it was written."""
    notes: tuple[str, ...] = ()
    """What a person should read."""
    tables: Mapping[str, int] = field(default_factory=dict)
    """How many rows each further table has, by its name."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Bytes of files that were made before, by their names, where a table is a folder."""

    def to_json(self) -> bytes:
        """For a worker to leave, and whoever began the run to find."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, content: bytes) -> CombineDone:
        """From what `to_json` gave."""
        found = json.loads(content)
        return cls(**{**found, "summaries": tuple(found["summaries"]), "notes": tuple(found.get("notes", ()))})


@dataclass(frozen=True)
class Detached(Event):
    """A service has the run from now on; this process ends."""

    text: str
    output: str


@dataclass(frozen=True)
class RunFinished(Event):
    """The end of a run; `already` when it had been finished before, with the `seconds` that its table took anew."""

    output: str
    tasks: int
    rows: int
    size: int
    quarantined: int
    seconds: float
    already: bool = False
    failures: tuple[Failure, ...] = ()
    """One for each of the most frequent messages, the most frequent first; all are in `errors.parquet`."""
    table: str = "features.parquet"
    """The table's file or folder, below `output`."""
    further: Mapping[str, int] = field(default_factory=dict)
    """The rows of each further table, by its file or folder below `output`."""
    alike: tuple[int, ...] = ()
    """For each of `failures` how many tasks failed so: with the same message but for numbers and the task's name."""


@dataclass(frozen=True)
class RunFailed(Event):
    """The end of a command that could not do what was asked; told to programs."""

    error: str
    """The name of its class."""
    message: str
    exit_code: int
    differences: tuple[Mapping[str, Any], ...] = ()
    """Where the output folder holds the run of another plan, what differs: each with its kind, name and text."""


@dataclass(frozen=True)
class FetchStarted(Event):
    """It is known what is to be fetched, and there is room for it."""

    source: str
    dest: str
    files: int
    size: int
    unsized: int
    """How many of the files have a size that nobody told; `size` is that of the others."""
    already: int
    already_size: int
    free: int | None
    """Bytes free at a local destination."""


@dataclass(frozen=True)
class FetchMoved(Event):
    """What is fetched so far."""

    files: int
    size: int
    failed: int


def to_json(event: Event) -> str:
    """An event as one line of JSON: the name of its class under `event`, and its fields."""
    return json.dumps({"event": type(event).__name__, **asdict(event)})


def from_json(line: str | bytes) -> Event:
    """The event of which `to_json` made a line.

    Parameters
    ----------
    line
        One line of what a command with `--json`, or `scaledproc worker`, prints.

    Raises
    ------
    ValueError
        If the text is no JSON object, tells of no event that this version knows, or a value is missing, unknown or of
        another type than the event's.
    """
    try:
        found = json.loads(line)
    except RecursionError:
        raise ValueError("no event: it is nested too deep") from None
    kind = _KINDS.get(str(found.pop("event", None))) if isinstance(found, dict) else None
    if kind is None:
        raise ValueError(f"no event that this version knows: {line[:100]!r}")
    known = {each.name: each for each in fields(kind)}
    strange = found.keys() - known.keys()
    missing = [name for name, each in known.items() if name not in found and not _has_default(each)]
    if strange or missing:
        why = f"{missing[0]} is missing" if missing else f"{min(strange)!r} is unknown"
        raise ValueError(f"no {kind.__name__}: {why}")
    return kind(**{name: _value(kind, known[name], value) for name, value in found.items()})


def _has_default(each: Field[Any]) -> bool:
    return each.default is not MISSING or each.default_factory is not MISSING


def _value(kind: type[Event], each: Field[Any], value: Any) -> Any:
    """A field's value from that in JSON, which has no tuples and no classes."""
    made, is_right = value, False
    match str(each.type).partition("["):
        case "tuple", _, inner if isinstance(value, list):
            made = tuple(Failure(**one) if inner.startswith("Failure") and _is_failure(one) else one for one in value)
            wanted = next(found for text, found in _INNER.items() if inner.startswith(text))
            is_right = all(isinstance(one, wanted) for one in made)
        case "Mapping", _, _:
            kind_of_values = int if "int" in str(each.type) else str
            is_right = isinstance(value, dict) and all(type(one) is kind_of_values for one in value.values())
        case "State", _, _:
            is_right = value in tuple(State)
        case name, _, _ if name in _PLAIN:
            is_right = isinstance(value, _PLAIN[name]) and (name == "bool" or not isinstance(value, bool))
    if not is_right:
        raise ValueError(f"no {kind.__name__}: {each.name} is not what it should be")
    return made


def _is_failure(value: Any) -> bool:
    names = {each.name for each in fields(Failure)}
    return isinstance(value, dict) and names - {"place"} <= value.keys() <= names and _are_texts(value.values())


def _are_texts(values: Iterable[Any]) -> bool:
    return all(isinstance(each, str) for each in values)


_PLAIN: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "int | None": (int, type(None)),
    "float": (float, int),
    "bool": (bool,),
}
_INNER: Mapping[str, type] = {"Failure": Failure, "str": str, "int": int, "Mapping": dict}
_KINDS: Mapping[str, type[Event]] = {
    kind.__name__: kind
    for kind in (
        *(
            Note,
            RunStarted,
            ReuseFound,
            ShardDone,
            ChunkDone,
            ShardState,
            JobPlanned,
            CombineDone,
            Detached,
            RunFinished,
        ),
        *(RunFailed, FetchStarted, FetchMoved),
    )
}
