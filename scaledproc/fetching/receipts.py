"""What the user's cache remembers: which files were found right, and which of a long list were wanted.

So neither is read again to continue. Not beside the dataset: a file more would be one of its files to whoever reads it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from pathlib import Path
from typing import IO, NamedTuple

from scaledproc._util.user_cache import cache_folder
from scaledproc.fetching.selection.subset import Item
from scaledproc.storage.store import Store


class Receipt(NamedTuple):
    """A file as it was when it was right."""

    size: int
    version: str
    """At the destination: when it was changed last; empty where that cannot be known without asking."""
    proof: str
    """What it was compared with: its checksum, or the source's version of it."""


class Receipts:
    """The receipts of one destination. Where no cache can be written there are none, and nothing else is different."""

    def __init__(self, dest: Store) -> None:
        self._path = _cached(dest.uri)
        self._lock = threading.Lock()
        self._file: IO[str] | None = None
        self._known = self._read()

    def get(self, path: str) -> Receipt | None:
        """The last receipt for a file."""
        return self._known.get(path)

    def add(self, path: str, receipt: Receipt) -> None:
        """Remember a file. Can be called from several threads."""
        with self._lock, contextlib.suppress(OSError):
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("a", encoding="utf-8", buffering=1)
            self._file.write(json.dumps([path, *receipt]) + "\n")

    def close(self) -> None:
        """Write what is still held."""
        with self._lock, contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()
                self._file = None

    def _read(self) -> dict[str, Receipt]:
        known: dict[str, Receipt] = {}
        with contextlib.suppress(OSError, UnicodeError), self._path.open(encoding="utf-8") as lines:
            for line in lines:
                with contextlib.suppress(ValueError, TypeError):  # the last line of a killed process
                    path, size, version, proof = json.loads(line)
                    known[str(path)] = Receipt(int(size), str(version), str(proof))
        return known


class Lists:
    """Lists of wanted files, by what they were made from."""

    def __init__(self, *made_from: object) -> None:
        self._path = _cached(json.dumps(made_from, default=str))

    def read(self) -> tuple[list[Item], list[str]] | None:
        """The list, and the records that it is of; None where it is not known."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            items, records = json.loads(self._path.read_text(encoding="utf-8"))
            return [Item(*fields) for fields in items], [str(record) for record in records]
        return None

    def write(self, items: list[Item], records: list[str]) -> None:
        """Keep a list, with the records that it is of; nothing happens where the cache cannot be written."""
        with contextlib.suppress(OSError):
            Store.at(self._path.parent).write(self._path.name, json.dumps([items, records]).encode())


def _cached(key: str) -> Path:
    return cache_folder() / "fetch" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
