"""Whether places can be reached, read and written: folders, and objects in S3 with the credentials in use."""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from scaledproc._util.redaction import redacted
from scaledproc._util.text import bytes_text
from scaledproc._util.types import Where
from scaledproc.engine.doctor.findings import Finding, Verdict
from scaledproc.engine.doctor.machine import filesystem_of
from scaledproc.errors import ScaledprocError
from scaledproc.storage.store import Store, describe, store_errors

PATIENCE = 30.0
"""Seconds that a place may take to answer all that it is asked."""
ASKED = 3
"""Requests whose median time is told."""
_Found = TypeVar("_Found")


def find_place(
    where: Where, options: Mapping[str, Any] | None = None, *, write: bool = False, patience: float = PATIENCE
) -> Finding:
    """Whether a place can be listed and read, and written where that is asked.

    Parameters
    ----------
    where
        A path or a URL.
    options
        Arguments for its fsspec filesystem.
    write
        Whether to write a small file there, and to remove it again.
    patience
        Seconds that it may take together.

    Raises
    ------
    UsageError
        If the place is no path, or a URL of no protocol that is installed.
    """
    store = Store.at(where, options)
    name = redacted(os.fspath(where))
    try:
        return _within(patience, lambda: _look(name, store, write=write))
    except TimeoutError:
        text = f"no answer within {patience:.0f} s"
        return Finding(name, Verdict.MISSING, text, "see that the network and a proxy lead there", stops=True)
    except ScaledprocError as error:
        return Finding(name, Verdict.MISSING, str(error), "see that it is spelled right", stops=True)
    except store_errors() as error:
        return Finding(name, Verdict.MISSING, describe(error), _advice(store, error), stops=True)


def _look(name: str, store: Store, *, write: bool) -> Finding:
    took, (is_there, first, size) = _timed(lambda: _first_file(store))
    details: dict[str, Any] = {"there": is_there, "empty": first is None}
    parts = ["can be listed" if is_there else "is not there yet"]
    if first is not None:
        store.read(first, 1)
        parts = ["can be listed and read"]
    elif is_there and not any(True for _ in store.names()):
        parts = ["is empty"]
    if write:
        _try_writing(store)
        parts.append("can be written" if is_there else "can be made and written")
    if store.is_s3:
        from scaledproc.storage.s3.identity import credentials_text

        credentials = credentials_text(store.fs)
        details |= {"seconds": took, "credentials": credentials}
        parts += [f"answers in {1000 * took:.0f} ms", credentials]
    verdict, advice = Verdict.FINE, ""
    if not is_there:
        verdict, advice = Verdict.WORRY, "a run makes its output; for a dataset, see that it is spelled right"
    if store.local is not None:
        free = shutil.disk_usage(_there(store.local)).free
        kind = filesystem_of(_there(store.local))
        details |= {"free": free, "filesystem": kind}
        where = "" if is_there else " where it would be made"
        parts.append(f"{bytes_text(free)} free{where}{f' ({kind})' if kind else ''}")
        if not os.access(_there(store.local), os.W_OK | os.X_OK):
            parts.append("may not be written")
            advice = "a dataset needs no more; name another folder for an output" if is_there else "name another folder"
    return Finding(name, verdict, ", ".join(parts), advice, details={**details, "first_size": size})


def _try_writing(store: Store) -> None:
    """Write a file and remove it again, with the folders that were made for it."""
    made = _missing_folders(store)
    probe = f"scaledproc-doctor-{uuid4().hex}"
    try:
        store.write(probe, b"written by scaledproc doctor, which removes it\n")
    finally:
        store.remove(probe)
        with contextlib.suppress(OSError, NotImplementedError):  # not empty: another has written there meanwhile
            for folder in made:
                store.fs.rmdir(folder)


def _missing_folders(store: Store) -> list[str]:
    """The place and folders around it that are not there, the innermost first; none where folders are only names."""
    if store.is_s3:
        return []
    missing, folder = [], store.root.rstrip("/")
    while folder and not store.fs.exists(folder):
        missing.append(folder)
        folder = folder.rpartition("/")[0]
    return missing


def _first_file(store: Store) -> tuple[bool, str | None, int | None]:
    """Whether there is such a folder; the name of one of its files, and its bytes, where one is directly in it.

    Raises
    ------
    OSError
        If there is no such bucket, or the place may not be listed.
    """
    if store.is_s3:
        bucket, key, _ = store.fs.split_path(store.path("x"))
        prefix = key.removesuffix("x")
        answer = store.fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=ASKED)
        for each in answer.get("Contents", ()):
            if each["Key"] != prefix:
                return True, str(each["Key"]).removeprefix(prefix), int(each["Size"])
        return not prefix or bool(answer.get("Contents")), None, None
    if store.local is not None:
        if not store.local.exists():
            _there(store.local)
            return False, None, None
        with os.scandir(store.local) as entries:
            found = next((each for each in entries if each.is_file()), None)
        return (True, None, None) if found is None else (True, found.name, found.stat().st_size)
    try:
        infos = store.fs.ls(store.root, detail=True)
    except FileNotFoundError:
        return False, None, None
    files = [each for each in infos if each["type"] == "file"]
    return (True, str(files[0]["name"]).rpartition("/")[2], files[0].get("size")) if files else (True, None, None)


def _there(folder: Path) -> Path:
    """The folder, or the innermost around it that is there: where it would be made."""
    return next(each for each in (folder, *folder.parents) if each.exists())


def _timed(ask: Callable[[], _Found]) -> tuple[float, _Found]:
    """The median time of several requests, in seconds, after one that makes the connection; and the last answer."""
    answer, seconds = ask(), []
    for _ in range(ASKED):
        begun = time.perf_counter()
        answer = ask()
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds), answer


def _advice(store: Store, error: Exception) -> str:
    if store.is_s3:
        if isinstance(error, PermissionError):
            return "the policy of these credentials, or of the bucket, allows no more: see who is logged in"
        return "see that the bucket is spelled right, and that credentials, region and endpoint are its own"
    return "see that it is there, and that this user may use it"


def _within(seconds: float, do: Callable[[], _Found]) -> _Found:
    """What a function returns, or raises; it goes on alone where it takes longer.

    Raises
    ------
    TimeoutError
        If the function takes longer than so many seconds.
    """
    answers: list[_Found] = []
    errors: list[Exception] = []

    def work() -> None:
        try:
            answers.append(do())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=work, name="place", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answers:
        raise TimeoutError
    return answers[0]
