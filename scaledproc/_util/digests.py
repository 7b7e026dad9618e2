"""SHA-256 of files, by which this project tells whether one is what it was."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import IO, Any, NamedTuple

_BLOCK = 2**20  # bytes


class Digest(NamedTuple):
    """What a file's content is known by."""

    sha256: str
    size: int


def digest_of_stream(file: IO[bytes] | Any) -> Digest:
    """The digest of all that is left to read."""
    found, size = hashlib.sha256(), 0
    while block := file.read(_BLOCK):
        found.update(block)
        size += len(block)
    return Digest(found.hexdigest(), size)


def digest_of(path: Path) -> str:
    """SHA-256 of a local file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
