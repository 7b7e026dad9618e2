"""What a user can ask for: each option once, for the command line, scaledproc.toml, Python and run.json.

To add one, declare a field here (or of `Limits`, if workers need it) and a parameter of the functions in
`scaledproc.api` that take it; a test compares the two. Its flag, its key in scaledproc.toml, its place in run.json and
its line in the documents follow. Light to import, since `--help` shows what is declared here.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from scaledproc._util.options import (
    at_least,
    declared,
    mapping,
    one_of,
    option,
    option_of,
    read_options,
    text,
    texts,
    time_option,
)
from scaledproc._util.process.signals import GRACE_IN_JOBS
from scaledproc._util.types import Where
from scaledproc.errors import UsageError
from scaledproc.execution.limits import Limits
from scaledproc.fetching.defaults import PARALLEL, PHYSIONET
from scaledproc.run_folder.forms import DATASET, FILE

if TYPE_CHECKING:
    from scaledproc.backend.base import Backend
    from scaledproc.events import Event
    from scaledproc.extractors import Extractor

Listener = Callable[["Event"], None]
MOST_SHARDS = 1_000_000
"""Numbers that a range of macro shards may have: a longer one is a slip."""

SHOWN_TASKS = 10
"""How many tasks and messages of each kind `scaledproc show` tells of."""

SHOWN_EXAMPLES = 3
"""Tasks of which a report draws pieces of the data, where nobody said how many."""


def _shards(value: str | int, _: str) -> str | int:
    from scaledproc.planning.partition import ShardCut

    ShardCut.parse(value)
    return value


def _chunk(value: str | int, _: str) -> str | int:
    from scaledproc.planning.partition import ChunkCut

    ChunkCut.parse(value)
    return value


def _share_of_failures(value: str | int, flag: str) -> int | float:
    """A number of tasks, or a share of them."""
    given = str(value)
    try:
        if given.endswith("%"):
            share = float(given[:-1]) / 100
            if 0 <= share <= 1:
                return share
        elif int(given) >= 0:
            return int(given)
    except ValueError:
        pass
    raise UsageError(f"{flag} {given!r}: give a number of tasks such as 10, or a share such as 5%")


def _places(value: Any, flag: str) -> tuple[str, ...]:
    """Folders' paths or URLs."""
    one = isinstance(value, str | os.PathLike)
    found: tuple[Any, ...] = (value,) if one else tuple(value) if isinstance(value, Iterable) else (None,)
    if not all(isinstance(each, str | os.PathLike) for each in found):
        raise UsageError(f"{flag} {value!r}: give a folder's path or URL, or several")
    return tuple(os.fspath(each) for each in found)


def _groups(value: Any, flag: str) -> str:
    """Top folders, between commas."""
    from scaledproc.fetching.selection.subset import parts

    if not all(parts(text(value, flag))):
        raise UsageError(f"{flag} {value!r}: give top folders such as 30-39 or 30,32,35-37")
    return str(value)


def storage_words(pairs: Iterable[str]) -> dict[str, Any]:
    """Storage options of texts such as `anon=true`.

    Raises
    ------
    UsageError
        If a text has no `=`, or nothing before it.
    """
    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--storage-option {key!r}: give KEY=VALUE")
        try:
            options[key] = json.loads(value)
        except ValueError:
            options[key] = value
    return options


def parse_shards(texts: Iterable[str]) -> tuple[int, ...]:
    """Numbers from texts such as `3` and `0-3,7`.

    Raises
    ------
    UsageError
        If a text is neither a number nor a range of numbers, or a range goes downwards or is too long.
    """
    shards: list[int] = []
    words = list(texts)
    for piece in ",".join(words).split(",") if words else ():
        match = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9}))?\s*", piece)
        if not match:
            raise UsageError(f"--shard {piece!r}: give a number such as 3, or numbers such as 0-3,7")
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < first + MOST_SHARDS:
            raise UsageError(f"--shard {piece!r}: from the smaller number to the larger one, {MOST_SHARDS:,} at most")
        shards += range(first, last + 1)
    return tuple(shards)


def split_options(storage_options: Mapping[str, Any] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Storage options for the input and for the output; a prefix `input.` or `output.` means only that one.

    Raises
    ------
    UsageError
        If the storage options are no mapping, or a name in it is no text.
    """
    inputs: dict[str, Any] = {}
    outputs: dict[str, Any] = {}
    if storage_options is None:
        return inputs, outputs
    for key, value in mapping(storage_options, "storage_options").items():
        side, dot, name = key.partition(".")
        if dot and side in ("input", "output"):
            (inputs if side == "input" else outputs)[name] = value
        else:
            inputs.setdefault(key, value)
            outputs.setdefault(key, value)
    return inputs, outputs


def set_words(pairs: Iterable[str]) -> dict[str, Any]:
    """An extractor's options of texts such as `window=60`; one that is repeated has several values.

    Raises
    ------
    UsageError
        If a text has no `=`, or nothing before it.
    """
    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {pair!r}: give NAME=VALUE")
        name = key.replace("-", "_")
        before = options.get(name)
        options[name] = value if before is None else [*(before if isinstance(before, list) else [before]), value]
    return options


@dataclass(frozen=True)
class FileOptions:
    """Which of a dataset's files are looked at."""

    include: tuple[str, ...] = option(
        (),
        "Only files that match this glob ('30/**', '*.csv'); can be repeated.",
        metavar="GLOB",
        default_text="all files",
        accepts="Iterable[str] | str",
        read=texts,
        record=True,
    )
    exclude: tuple[str, ...] = option(
        (),
        "No files that match this glob; can be repeated.",
        metavar="GLOB",
        accepts="Iterable[str] | str",
        read=texts,
        record=True,
    )
    only: Where | None = option(
        None,
        "Only the records, folders or subjects that this file lists: one a line, or in a column of a CSV file.",
        metavar="FILE[:COLUMN]",
        record=True,
        details="Names of the list that are in no dataset are told.",
    )
    hidden: bool = option(
        False, "Take files and folders too whose names begin with a dot, such as .git.", record=True, rare=True
    )
    storage_options: Mapping[str, Any] | None = option(
        None,
        "For the fsspec filesystem, such as anon=true; input.KEY or output.KEY for one side; can be repeated.",
        metavar="KEY=VALUE",
        flag="storage_option",
        words=storage_words,
    )

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Self:
        """Those that a function was given, read and checked; names that are no options are left out.

        Raises
        ------
        UsageError
            If an option cannot have its value.
        """
        return cls(**read_options(cls, given))


@dataclass(frozen=True)
class PlanOptions(FileOptions):
    """What a plan is made by: the parameters of `scaledproc.plan`."""

    extractor: str | Extractor = option(
        "wfdb-summary",
        "A built-in's name, [bold]package.module:name[/] or [bold]path/to/file.py:name[/].",
        metavar="NAME",
        accepts="AnExtractor",
        completes="extractor",
        details="The name behind the colon can be left out where the file defines one extractor.",
    )
    options: Mapping[str, Any] | None = option(
        None,
        "Option of the extractor; can be repeated. [bold]scaledproc extractors[/] shows what each has.",
        metavar="NAME=VALUE",
        flag="set",
        words=set_words,
        in_file=False,
    )
    unit: str | None = option(
        None,
        "What must stay together: folder, stem, file, or a regular expression with a group named unit.",
        metavar="KIND",
        default_text="the extractor's",
        record=True,
    )
    anchor: tuple[str, ...] = option(
        (),
        "Glob of the files that start a task; can be repeated.",
        metavar="GLOB",
        default_text="the extractor's",
        accepts="Iterable[str] | str",
        read=texts,
        record="anchors",
    )
    limit: int | None = option(
        None,
        "Only so many units, for a try.",
        metavar="N",
        unit="units",
        default_text="all units",
        read=at_least(1, "1 or more"),
        record=True,
    )
    inventory: Where | None = option(
        None,
        "Plan by this list instead of listing INPUT: a file of [bold]scaledproc inventory[/], or the manifest.json of "
        "an Amazon S3 Inventory report.",
        metavar="FILE|URL",
        record=True,
        rare=True,
    )
    shards: str | int = option(
        "folder",
        "Cut for machines: folder (one per top folder), a number, or a size such as 50GB.",
        metavar="CUT",
        read=_shards,
        record=True,
    )
    chunk: str | int = option(
        "auto",
        "Cut for cores: auto, per-core, a number of tasks, or a size such as 64MB.",
        metavar="CUT",
        read=_chunk,
        record=True,
    )
    compare: str = option(
        "listed",
        "How a file is known to be the one of before: listed (its size and its time or etag) or content (SHA-256).",
        read=one_of("listed", "content"),
        record=True,
        details="By content, `touch` or another copy of the dataset costs no task. Each file is read once for it, "
        "unless `fetch` or an earlier run has its checksum.",
        rare=True,
    )
    with_keys: bool | None = option(
        None,
        "Put the columns group, unit and anchor in front of each row, which lead back to its task.",
        default_text="the extractor's: with them for a function, without for a class that does not say so",
        record=True,
        details="They are made of the plan when the table is written: no task is done again for them.",
        rare=True,
    )
    jobs: int | None = option(
        None,
        "Processes; 1 without limits works in this one.",
        metavar="N",
        default_text="the cores that this process may use",
        read=at_least(1, "1 or more"),
        details="With 1, `breakpoint()` in an extractor has the terminal; `--task-timeout`, `--memory-per-worker` and "
        "`--worker-lifespan` need another process.",
    )


def wants_keys(options: PlanOptions, extractor: Extractor) -> bool:
    """Whether columns that lead back to a row's task come before its own: as asked for, else as the extractor says."""
    return extractor.with_keys if options.with_keys is None else options.with_keys


@dataclass(frozen=True)
class RunOptions(Limits, PlanOptions):
    """What a run is made by: the parameters of `scaledproc.run`."""

    backend: str | Backend = option(
        "local", "Where jobs run: an installed backend, such as local or dry-run.", completes="backend", metavar="NAME"
    )
    max_failures: int | float | None = option(
        None,
        "Quarantined tasks that are still a success.",
        metavar="N|P%",
        unit="tasks",
        python_default_text="any number",
        accepts="str | int | None",
        read=_share_of_failures,
        command_default="0",
    )
    table: str | None = option(
        None,
        "The form of the table: file, or dataset (a folder with one file for each macro shard).",
        metavar="file|dataset",
        default_text="file; that of the run in OUTPUT, where there is one",
        read=one_of(FILE, DATASET),
        record=True,
        details="A folder has no size that is too large: its files are written where the shards are made, and the last "
        "step reads no rows. On a finished run another form is made of its shards.",
    )
    report: bool = option(
        True,
        "Write report.html at the end: a page that tells whether to trust the table.",
        default_text="written",
        record=True,
        details="`scaledproc report OUTPUT` makes it at any time.",
    )
    overwrite: bool = option(
        False,
        "Throw away a run that is in OUTPUT.",
        in_file=False,
        details="In a store such as S3 its files stay until the new ones replace them.",
    )
    update: bool = option(
        False,
        "Bring the run that is in OUTPUT up to date: do what is new or changed or failed, keep the rest.",
        in_file=False,
        details="The result has the bytes of a run from nothing. The earlier one stays as it is until the new one is "
        "whole.",
    )
    retry_failed: bool = option(
        False,
        "Do the quarantined tasks of the finished run that is in OUTPUT again, and nothing else.",
        in_file=False,
    )
    reuse: tuple[str, ...] = option(
        (),
        "Take rows from the run in this folder too, of tasks with the same files; can be repeated.",
        metavar="OTHER_OUTPUT",
        accepts="Iterable[Where] | Where",
        read=_places,
        in_file=False,
        details="Such as a sample that was made on a laptop, a run on another cut, or a copy in S3.",
        rare=True,
    )
    scratch: Where | None = option(
        None,
        "Folder to stage remote data in.",
        metavar="FOLDER",
        default_text="the system's temporary folder",
    )
    grace: float | None = time_option(
        None,
        "Time to finish the chunks at work, after Ctrl-C or SIGTERM; a second one leaves at once.",
        least=0,
        python_default_text="signals are left to the program",
        command_default="30",
        rare=True,
    )

    def fails(self, quarantined: int, tasks: int) -> bool:
        """Whether a run of so many tasks has more of them quarantined than were allowed."""
        most = self.max_failures
        return most is not None and quarantined > (most if isinstance(most, int) else most * tasks)

    @cached_property
    def limits(self) -> Limits:
        """What ends a task, and what ends a worker process."""
        return Limits(**Limits.to_options(self))


RUN_FLAGS = frozenset(flag for each in declared(RunOptions) for flag in each.flags)
"""The flags of a run's options: a backend's setting of such a name has only the flag that begins with its backend."""


@dataclass(frozen=True)
class FetchOptions(FileOptions):
    """What is copied, and from where: the parameters of `scaledproc.fetch`."""

    groups: str | None = option(None, "Only these top folders: 30-39, or 30,32,35-37.", read=_groups)
    records: int | None = option(
        None, "Only so many records (or folders of files) of each.", metavar="N", read=at_least(1, "1 or more")
    )
    limit: int | None = option(
        None, "Only so many records altogether.", metavar="N", unit="records", read=at_least(1, "1 or more")
    )
    parallel: int = option(
        PARALLEL,
        "Files at once; a public server is thankful for few.",
        metavar="N",
        unit="files",
        read=at_least(1, "1 or more"),
    )
    base_url: str = option(PHYSIONET, "Where the databases lie, for mirrors.", metavar="URL")
    username: str | None = option(
        None,
        "For databases that need credentials; the password is PHYSIONET_PASSWORD.",
        default_text="PHYSIONET_USERNAME",
    )
    password: str | None = option(
        None, "For databases that need credentials.", default_text="PHYSIONET_PASSWORD", flag=""
    )


@dataclass(frozen=True)
class JobOrder:
    """What a worker is told: the folder of a run, and the options of `scaledproc worker`."""

    run: str = field(metadata={"flag": ""})
    shards: tuple[int, ...] = option(
        (), "Macro shards to make; can be repeated.", metavar="N|N-M,…", flag="shard", words=parse_shards
    )
    combine: bool = option(False, "Combine the shards, after those that are to be made.")
    finish: bool = option(False, "End the run after combining: nobody watches.")
    extractor: str | None = option(None, "What finds the extractor here, if not what run.json says.", metavar="SPEC")
    code: str | None = option(None, "Folder of modules that the extractor needs.", metavar="FOLDER")
    report: str | None = option(None, "Tell by this name how the work goes on.", metavar="NAME")
    jobs: int | None = option_of(PlanOptions, "jobs")
    storage_options: Mapping[str, Any] | None = option_of(FileOptions, "storage_options", shown=False)
    scratch: Where | None = option_of(RunOptions, "scratch")
    grace: float = time_option(
        GRACE_IN_JOBS,
        "Time to finish the chunks at work, when told to end.",
        least=0,
        default_text=f"{GRACE_IN_JOBS:g}",
    )

    @classmethod
    def parse(cls, run: str, given: Mapping[str, Any]) -> Self:
        """The job of a run that a command was told.

        Raises
        ------
        UsageError
            If an option cannot have its value.
        """
        others = {name: value for name, value in given.items() if name != "run"}  # a command's, or a function's
        return cls(run, **{name: value for name, value in read_options(cls, others).items() if value is not None})

    @property
    def inputs(self) -> dict[str, Any]:
        """Arguments for the fsspec filesystem of the dataset."""
        return split_options(self.storage_options)[0]

    @property
    def outputs(self) -> dict[str, Any]:
        """Arguments for the fsspec filesystem of the run."""
        return split_options(self.storage_options)[1]

    @property
    def scratch_folder(self) -> Path | None:
        """Where to stage remote data; None for the system's temporary folder."""
        return Path(self.scratch) if self.scratch else None
