"""Files of a dataset that an extractor declares for all its tasks: found for a plan, at hand for the work."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from scaledproc._util.digests import digest_of_stream
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.storage.links import Links
from scaledproc.storage.listing import FileInfo, version_of
from scaledproc.storage.local_files import Stamp, stamp_of

if TYPE_CHECKING:
    from scaledproc.storage.store import Store


class SharedFile(NamedTuple):
    """A declared file, as it was when the run was planned.

    Parameters
    ----------
    path
        Relative to the dataset's root.
    size
        Bytes.
    version
        As a listing has it.
    digest
        SHA-256 of its content.
    """

    path: str
    size: int
    version: str
    digest: str

    @property
    def listed(self) -> FileInfo:
        """The file as a listing has it."""
        return FileInfo(self.path, self.size, self.version)


class AtHand(NamedTuple):
    """Where a declared file is on this machine.

    Parameters
    ----------
    path
        The file.
    stamp
        What it was like when its content was compared with the plan's.
    """

    path: Path
    stamp: Stamp


def find_shared(dataset: Store, names: Iterable[str], who: str) -> tuple[SharedFile, ...]:
    """The declared files of a dataset.

    Parameters
    ----------
    dataset
        Where they are.
    names
        Their paths, relative to its root.
    who
        What the extractor is called, for messages.

    Raises
    ------
    UsageError
        If one of the files is not there, or its name leads out of the dataset.
    """
    return tuple(_find(dataset, name, who) for name in dict.fromkeys(names))


def _find(dataset: Store, name: str, who: str) -> SharedFile:
    if not name or name != PurePosixPath(name).as_posix() or name.startswith("/") or {"..", "."} & set(name.split("/")):
        raise UsageError(f"{who} declares that it reads {name!r}: give a path relative to the dataset's root")
    try:
        if dataset.local is not None:
            _check_local(dataset.local, name)
        else:
            dataset.fs.invalidate_cache()
        info = dataset.fs.info(dataset.path(name))
        if info["type"] != "file":
            raise FileNotFoundError(name)
        with dataset.open(name) as file:
            digest, size = digest_of_stream(file)
            version = getattr(file, "etag", None) or version_of(info)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise UsageError(f"{who} declares that it reads {name!r}, but {dataset} has no such file") from None
    return SharedFile(name, size, str(version), digest)


def _check_local(root: Path, name: str) -> None:
    """See that it is a regular file below the root, or a link that a listing would follow."""
    path = root / name
    is_inside = path.parent.resolve().is_relative_to(root.resolve())
    is_followed = not path.is_symlink() or Links(str(root)).follow(name) is not None
    if not (is_inside and is_followed and stat.S_ISREG(path.stat().st_mode)):
        raise FileNotFoundError(name)


def shared_parts(files: Iterable[SharedFile]) -> dict[str, str]:
    """What of an extractor's fingerprint they are."""
    return {f"reads {file.path}": f"sha256:{file.digest[:32]}" for file in files}


def to_record(files: Iterable[SharedFile]) -> list[dict[str, Any]]:
    """The declared files as run.json holds them."""
    return [file._asdict() for file in files]


def of_record(extractor: Mapping[str, Any]) -> tuple[SharedFile, ...]:
    """The declared files that run.json tells of.

    Raises
    ------
    ScaledprocError
        If run.json is damaged there, or names a file outside of the dataset.
    """
    try:
        found = [SharedFile(**each) for each in extractor.get("reads", ())]
    except TypeError:
        raise ScaledprocError("run.json is damaged: what the extractor reads; start afresh with --overwrite") from None
    if any({"..", ""} & set(file.path.split("/")) for file in found):
        raise ScaledprocError("run.json is damaged: a file that the extractor reads is outside of the dataset")
    return tuple(found)


def at_hand(files: Sequence[SharedFile], root: Path) -> dict[str, AtHand]:
    """Where each is on this machine, which has them below a folder.

    Raises
    ------
    ScaledprocError
        If a file is gone, or is not what it was when the run was planned.
    """
    found = {}
    for file in files:
        path = root / file.path
        try:
            with path.open("rb") as opened:
                found[file.path] = AtHand(path, stamp_of(os.fstat(opened.fileno())))  # before it is read
                same = digest_of_stream(opened)[0] == file.digest
        except OSError as error:
            raise ScaledprocError(f"{file.path}, which the extractor reads, cannot be read: {error.strerror}") from None
        if not same:
            raise ScaledprocError(f"{file.path}, which the extractor reads, changed since the run was planned")
    return found


def paths_of(shared: Mapping[str, AtHand]) -> dict[str, Path]:
    """Where they are, as a task gets it."""
    return {name: file.path for name, file in shared.items()}


def check_shared(shared: Mapping[str, AtHand], names: Iterable[str]) -> None:
    """See whether the ones that a task was given are what they were.

    Raises
    ------
    ScaledprocError
        If one of the files cannot be read, or was edited: rows of two versions of it must not come into one table.
    """
    for name in names:
        path, before = shared[name]
        try:
            after = stamp_of(path.stat())
        except OSError as error:
            raise ScaledprocError(f"{name}, which the extractor reads, cannot be read: {error.strerror}") from None
        if after[:3] != before[:3]:  # other rights or another name elsewhere do no harm
            raise ScaledprocError(
                f"{name}, which the extractor reads, was edited while the run was at work; what is committed is of its "
                "content before: the same command continues where that is back, and else tells what differs"
            )
