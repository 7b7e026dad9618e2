"""Copy a dataset to where a run can read it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from scaledproc._util.types import Where
from scaledproc.api.arguments import check_kinds, refuse_idle_options
from scaledproc.engine.options import FetchOptions, Listener, split_options
from scaledproc.engine.steps import reporting
from scaledproc.errors import UsageError
from scaledproc.events import Event, Note
from scaledproc.fetching.defaults import PARALLEL, PHYSIONET

if TYPE_CHECKING:
    from scaledproc.fetching.transfer import Fetched


def fetch(
    source: Where,
    dest: Where,
    *,
    groups: str | None = None,
    records: int | None = None,
    limit: int | None = None,
    include: Iterable[str] | str = (),
    exclude: Iterable[str] | str = (),
    only: Where | None = None,
    hidden: bool = False,
    parallel: int = PARALLEL,
    base_url: str = PHYSIONET,
    username: str | None = None,
    password: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    on_event: Listener | None = None,
) -> Fetched:
    """Copy a dataset, or a part of it, to where a run can read it. What is there already is left as it is.

    Parameters
    ----------
    source
        A folder's path, the URL of one on any fsspec filesystem, or a database of PhysioNet: `mimic3wdb/1.0`
        (`physionet:mimic3wdb/1.0` even where there is such a folder; the newest version where none is given).
    dest
        The folder to copy to, as a path or URL. The relative paths stay.
    groups
        Top folders: `30-39`, `30,32,35-37`, `p00-p09`.
    records
        At most so many records of each group: lines of the database's RECORDS, or folders of files.
    limit
        At most so many records altogether.
    include, exclude
        Globs of the files to copy, as for `plan`.
    only
        A file that lists the records, folders or subjects to copy, as for `plan`.
    hidden
        Whether to copy a folder's files and folders too whose names begin with a dot. What a database lists is copied.
    parallel
        Files at once.
    base_url
        Where the databases lie: PhysioNet, or a mirror of it.
    username, password
        For databases that need credentials; PHYSIONET_USERNAME and PHYSIONET_PASSWORD where none are given.
    storage_options
        Arguments for the fsspec filesystems; a name that begins with `input.` or `output.` is for that one only.
    on_event
        Called with each event as it happens.

    Returns
    -------
    Fetched
        What was fetched, what was there, and what could not be fetched (`failed`).

    Raises
    ------
    UsageError
        If SOURCE is neither a folder, a URL nor a database, DEST is a file or lies in SOURCE, or an option cannot have
        its value.
    ScaledprocError
        If the source cannot be read, has no file that was asked for, or the destination cannot be written. What was
        fetched is kept: the same call continues.
    """
    check_kinds(locals())
    asked = FetchOptions.parse(locals())
    from scaledproc.fetching.selection.only import Selection
    from scaledproc.fetching.selection.subset import Choice
    from scaledproc.fetching.transfer import Folder, fetch_files, open_source, open_store

    selection = None if only is None else Selection.read(only)
    choice = Choice(groups, records, limit, asked.include, asked.exclude, selection, hidden)
    inputs, outputs = split_options(storage_options)
    store = open_store(os.fspath(dest), outputs)
    notes: list[str] = []

    def hear(event: Event) -> None:
        if isinstance(event, Note):
            notes.append(event.text)
        if on_event is not None:
            on_event(event)

    with reporting(writes=True):
        login = _login(username, password)
        found = open_source(os.fspath(source), inputs, base_url, login, parallel, lambda text: hear(Note(text)))
        read = found.store if isinstance(found, Folder) else f"{found} is a database of PhysioNet"
        refuse_idle_options(storage_options, {"input": read, "output": store})
        done = fetch_files(found, store, choice, parallel=parallel, on_event=hear)
        return replace(done, notes=tuple(notes))


def _login(username: str | None, password: str | None) -> tuple[str, str] | None:
    username = username or os.environ.get("PHYSIONET_USERNAME")
    password = password or os.environ.get("PHYSIONET_PASSWORD")
    if username and not password:
        raise UsageError(f"there is no password for the username {username}: set PHYSIONET_PASSWORD")
    return (username, password) if username and password else None
