"""The built-in extractor `files`: one row for each file of any tree."""

from __future__ import annotations

import posixpath
from typing import Annotated, Any

from scaledproc._util.digests import digest_of_stream
from scaledproc.extractors.base import Task, extractor
from scaledproc.extractors.options import Option

SIGNATURES = {
    b"PAR1": "parquet",
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x89HDF\r\n\x1a\n": "hdf5",
    b"\x93NUMPY": "npy",
    b"SQLite format 3\x00": "sqlite",
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpeg",
    b"GIF8": "gif",
    b"II*\x00": "tiff",
    b"MM\x00*": "tiff",
    b"%PDF-": "pdf",
    b"fLaC": "flac",
    b"OggS": "ogg",
    b"\x7fELF": "elf",
}
"""Bytes that files of a format begin with."""
_LOOKED_AT = 4096  # bytes by which text is told from the rest


@extractor(
    schema={
        "path": "string",
        "extension": "string",
        "size": "int64",
        "type": "string",
        "sha256": "string",
        "first_bytes": "string",
    },
    anchor="*",
    unit="file",
    with_keys=False,
)
def files(
    task: Task, *, first: Annotated[int, Option("How many of the first bytes are told.", unit="bytes")] = 16
) -> dict[str, Any]:
    """Size, type, hash and first bytes of each file.

    Columns
    -------
    path
        Below the dataset's root.
    extension
        What follows the last dot of the name, in small letters and with the dot; empty where there is none. A dot that
        the name begins with, as `.bashrc`, does not count.
    size
        Bytes.
    type
        By the content, not the name: `empty`; a format whose signature the file begins with (`parquet`, `gzip`,
        `zip`, `bzip2`, `xz`, `zstd`, `hdf5`, `npy`, `sqlite`, `png`, `jpeg`, `gif`, `tiff`, `pdf`, `flac`, `ogg`,
        `elf`); else `text` where the first 4,096 bytes are UTF-8 without the byte 0, and `binary` where they are not.
    sha256
        SHA-256 of the content, in hexadecimal digits.
    first_bytes
        The first bytes in hexadecimal digits: 16 of them, or as many as the option `first` says.

    Raises
    ------
    ValueError
        If the option `first` is negative.
    """
    if first < 0:
        raise ValueError(f"first={first}: a number of bytes is not negative")
    with task.open() as file:
        beginning = file.read(max(first, _LOOKED_AT))
        file.seek(0)
        digest = digest_of_stream(file)
    return {
        "path": task.anchor,
        "extension": posixpath.splitext(task.anchor)[1].lower(),
        "size": digest.size,
        "type": type_of(beginning[:_LOOKED_AT]),
        "sha256": digest.sha256,
        "first_bytes": beginning[:first].hex(),
    }


def type_of(beginning: bytes) -> str:
    """The type of a file, by its first 4,096 bytes."""
    if not beginning:
        return "empty"
    for signature, kind in SIGNATURES.items():
        if beginning.startswith(signature):
            return kind
    return "text" if b"\0" not in beginning and _is_utf8(beginning) else "binary"


def _is_utf8(beginning: bytes) -> bool:
    try:
        beginning.decode()
    except UnicodeDecodeError as error:  # the last character may be cut
        return len(beginning) == _LOOKED_AT and error.reason == "unexpected end of data"
    return True
