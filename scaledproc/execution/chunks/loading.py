"""What each process loads once: the extractor, seen to be the one of the plan, and lists of units of many files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from scaledproc._util.redaction import remember_secrets
from scaledproc.errors import UsageError
from scaledproc.execution.workers.sending import Sent
from scaledproc.extractors import Extractor, load_extractor
from scaledproc.extractors.code.fingerprint import edited_file
from scaledproc.run_folder.names import INVENTORY
from scaledproc.storage.store import Store


def warm_up(source: str | Extractor, options: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
    """In a process that will make chunks: import what that needs, and hear of what must not be shown."""
    remember_secrets(secrets)
    load_cached(source, options)


def load_cached(
    source: str | Extractor | Sent, options: Mapping[str, Any], code: tuple[tuple[str, int, int], ...] = ()
) -> Extractor:
    """The extractor, made once in each process.

    Parameters
    ----------
    source, options
        The extractor, or what finds it.
    code
        The files that its code was read from when the run was planned, with their times and sizes; empty where that is
        not to be seen again.

    Raises
    ------
    UsageError
        If the extractor cannot be loaded, or its code was edited since.
    """
    given = source.extractor if isinstance(source, Sent) else source
    found = given if isinstance(given, Extractor) else _load_named(given, json.dumps(options, sort_keys=True))
    if code:
        _check_code(code, found.label)
    return found


def load_anew() -> None:
    """Forget what this process loaded: its file may have been edited since, between one run and the next."""
    _load_named.cache_clear()
    _check_code.cache_clear()


@lru_cache(maxsize=4)
def _load_named(spec: str, options: str) -> Extractor:
    """The extractor of a name, made once in each process."""
    return load_extractor(spec, json.loads(options))


@lru_cache(maxsize=4)
def _check_code(code: tuple[tuple[str, int, int], ...], label: str) -> None:
    """See, once in each process, that it loaded the code that the run was planned with.

    Raises
    ------
    UsageError
        If a file of the extractor's code was edited since the run was planned.
    """
    path = edited_file(code)
    if path is not None:
        raise UsageError(
            f"{path}, which {label} is made of, was edited while the run was at work; what is committed is of the code "
            "before: the same command tells what differs"
        )


class UnitFiles(NamedTuple):
    """A unit's files, and what they were like when they were listed."""

    files: frozenset[str]
    sizes: Mapping[str, int]

    @classmethod
    def of(cls, sizes: Mapping[str, int]) -> UnitFiles:
        """From its files' sizes by their paths."""
        return cls(frozenset(sizes), sizes)


@lru_cache(maxsize=4)
def listed_files(store: Store, unit: int) -> UnitFiles:
    """A unit's files as the run's inventory has them."""
    with store.open(INVENTORY) as file:
        table = pq.read_table(file, columns=["path", "size"], filters=[("unit", "=", unit)])
    return UnitFiles.of(dict(zip(table["path"].to_pylist(), table["size"].to_pylist(), strict=True)))
