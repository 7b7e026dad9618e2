"""What a run says of itself in `run.json`, and how it is read and checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from scaledproc._util.redaction import redacted
from scaledproc.errors import ScaledprocError
from scaledproc.events import ShardDone
from scaledproc.extractors.tables import RESERVED, TABLE_NAME
from scaledproc.run_folder.forms import DATASET, FILE
from scaledproc.run_folder.names import (
    FEATURES,
    MAIN_TABLE,
    RECORD,
    common_metadata_name,
    table_file_name,
    table_name,
)
from scaledproc.storage.store import Store

FORMAT = 1
OTHER_FORM = "table_before"
"""The option in run.json of the form that the tables had before they were given another one."""
NO_ROWS = "the table has no rows"
"""What the note begins with that tells of a table without rows."""
_BEGINNING = "@"


@dataclass(frozen=True)
class RunRecord:
    """What `run.json` holds: where the output comes from.

    Parameters
    ----------
    state
        `beginning` until the plan is written, `running` until everything is, then `done`.
    plan_id
        Of the plan that is run.
    dataset
        The input's URL.
    extractor
        spec, label, options; fingerprint: what the rows depend on, part by part; and the files that it `reads`.
    options
        What the user asked for.
    versions
        Of scaledproc and of the libraries that touch the data.
    counts, bytes, timings
        Totals; seconds.
    shards
        For each macro shard its tasks, rows, bytes, quarantined tasks and seconds.
    backend
        Which one has it, under `name`, and what that needs to find its jobs again or tells of them at the end.
    digests
        SHA-256 of the files beside run.json, by name, taken as they were written; those of the shards are in `shards`.
    sizes
        Bytes of all these files, the shards' too, once the run is done.
    beginning
        Tells one beginning of a run in this folder from all others.
    replaces
        What an earlier run left in a folder elsewhere, where its files stay until this run's take their places: its
        `summaries` and further `tables`, and how many `shards`.
    notes
        What a person should read of the end, whether or not somebody watched.
    """

    state: Literal["beginning", "running", "done"]
    plan_id: str
    dataset: str
    extractor: Mapping[str, Any]
    options: Mapping[str, Any]
    versions: Mapping[str, str]
    counts: Mapping[str, int] = field(default_factory=dict)
    bytes: Mapping[str, int] = field(default_factory=dict)
    timings: Mapping[str, Any] = field(default_factory=dict)
    shards: Sequence[Mapping[str, Any]] = ()
    summaries: Sequence[str] = ()
    backend: Mapping[str, Any] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    beginning: str = ""
    replaces: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    format: int = FORMAT
    digest: str = ""
    """SHA-256 of all else, as `digest_of_content` takes it."""

    @property
    def work_id(self) -> str:
        """What the chunks of this beginning of the run name: those of another one may come late, and do not count."""
        return f"{self.plan_id}{_BEGINNING}{self.beginning}" if self.beginning else self.plan_id

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of the extractor's further tables."""
        return tuple(self.extractor.get("tables", ()))

    @property
    def has_table_folders(self) -> bool:
        """Whether each table is a folder with a file for each macro shard, instead of one file."""
        return self.options.get("table") == DATASET

    @property
    def last_of_table(self) -> str:
        """The file that the last step writes of the table: when it is there, so are the others."""
        return common_metadata_name(MAIN_TABLE) if self.has_table_folders else FEATURES

    @property
    def is_combined(self) -> bool:
        """Whether the table is there; it is not while it is made anew."""
        return self.last_of_table in self.digests

    def files_of_table(self, table: str = MAIN_TABLE) -> list[str]:
        """The files that have a table's rows, in the rows' order."""
        if not self.has_table_folders:
            return [table_name(table)]
        shards = self.counts["shards"]
        return [table_file_name(table, shard, shards) for shard in range(shards)]

    def place_of_table(self, table: str = MAIN_TABLE) -> str:
        """A table's file or folder."""
        return table if self.has_table_folders else table_name(table)

    def to_json(self) -> str:
        """The file's content."""
        content = asdict(self)
        return json.dumps({**content, "digest": digest_of_content(content)}, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, content: str) -> RunRecord:
        """From the file's content.

        Raises
        ------
        ValueError
            If the content is no run.json, is incomplete, or is of another format.
        """
        try:
            found = json.loads(content)
        except RecursionError:
            raise ValueError("it is nested too deep") from None
        if isinstance(found, dict) and isinstance(found.get("format"), int) and found["format"] > FORMAT:
            raise ValueError("it was written by a newer version of scaledproc: work on it with that one")
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise ValueError("not a run.json of this version of scaledproc")
        wrong = [name for name, is_right in _SHAPES.items() if name in found and not is_right(found[name])]
        if wrong:
            raise ValueError(f"{wrong[0]} is not what it should be")
        for name, keys in _NEEDED.items():
            if not keys <= found.get(name, {}).keys():
                raise ValueError(f"{name} is incomplete")
        if not _is_fingerprint(found["extractor"]["fingerprint"]):
            raise ValueError("extractor is not what it should be")
        if not _are_tables(found["extractor"].get("tables", [])):
            raise ValueError("extractor is not what it should be")
        if found.get("state") == "done" and not {"rows", "quarantined", "tasks"} <= found["counts"].keys():
            raise ValueError("counts is incomplete")
        try:
            return cls(**found)
        except TypeError as error:
            raise ValueError(str(error)) from None


def form_of(record: RunRecord) -> str:
    """The form of a run's tables."""
    return DATASET if record.has_table_folders else FILE


def plan_of(work_id: str) -> str:
    """The plan's id in a `RunRecord.work_id`."""
    return work_id.partition(_BEGINNING)[0]


def digest_of_content(content: Mapping[str, Any]) -> str:
    """SHA-256 of all that a run.json says, but for this digest."""
    others = {name: value for name, value in content.items() if name != "digest"}
    return hashlib.sha256(json.dumps(others, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _is_text(found: Any) -> bool:
    return isinstance(found, str)


def _is_mapping(found: Any) -> bool:
    return isinstance(found, dict)


def _is_counts(found: Any) -> bool:
    return isinstance(found, dict) and all(type(value) is int and value >= 0 for value in found.values())


def _is_texts(found: Any) -> bool:
    return isinstance(found, list) and all(map(_is_text, found))


def _is_digests(found: Any) -> bool:
    return isinstance(found, dict) and all(map(_is_text, found.values()))


def _is_replaces(found: Any) -> bool:
    return found == {} or (
        isinstance(found, dict)
        and _is_texts(found.get("summaries"))
        and _is_counts({"shards": found.get("shards")})
        and _are_tables(found.get("tables", []))
        and isinstance(found.get("folders", False), bool)
    )


def _is_fingerprint(found: Any) -> bool:
    return _is_text(found) or _is_digests(found)  # a text: of an earlier version


def _are_tables(found: Any) -> bool:
    return _is_texts(found) and all(TABLE_NAME.fullmatch(name) and name.lower() not in RESERVED for name in found)


def _is_shards(found: Any) -> bool:
    return isinstance(found, list) and all(
        isinstance(shard, dict)
        and _is_counts({name: shard.get(name) for name in ("shard", "tasks", "rows", "quarantined")})
        for shard in found
    )


_SHAPES: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("state", "plan_id", "dataset"), _is_text),
    **dict.fromkeys(("extractor", "options", "versions", "timings", "backend"), _is_mapping),
    "counts": _is_counts,
    "bytes": _is_counts,
    "shards": _is_shards,
    **dict.fromkeys(("summaries", "notes"), _is_texts),
    "digests": _is_digests,
    "sizes": _is_counts,
    **dict.fromkeys(("beginning", "digest"), _is_text),
    "replaces": _is_replaces,
}
"""What run.json has to be like, which anybody may have damaged."""
_NEEDED = {
    "extractor": {"spec", "options", "fingerprint"},
    "options": {"shards", "chunk", "unit"},
    "counts": {"shards"},
}


def reports_of(record: RunRecord) -> tuple[ShardDone, ...]:
    """What became of the shards of a finished run, as run.json keeps it."""
    return tuple(
        ShardDone(
            shard=int(shard["shard"]),
            tasks=int(shard["tasks"]),
            rows=int(shard["rows"]),
            size=int(shard["bytes"]),
            seconds=float(shard["work_seconds"]),
            quarantined=int(shard["quarantined"]),
            staging=float(shard.get("staging_seconds", 0.0)),
        )
        for shard in record.shards
    )


def read_record(store: Store) -> RunRecord | None:
    """What run.json in a folder says; None where there is none.

    Raises
    ------
    ScaledprocError
        If the folder may not be read, or its run.json is damaged or of another version.
    """
    try:
        return RunRecord.from_json(store.read(RECORD).decode())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise ScaledprocError(f"{store}/{RECORD} cannot be read: {error}; start afresh with --overwrite") from None
    except PermissionError as error:
        raise ScaledprocError(f"{store} may not be read: {redacted(str(error))}") from None
