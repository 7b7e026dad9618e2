"""What a task's header says of all its rows: where its signal files are, whose record it is, and when it begins."""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from scaledproc.extractors.wfdb.headers.identity import LONGEST_COMMENTS, identity

if TYPE_CHECKING:
    from scaledproc.extractors.base import Task
    from scaledproc.extractors.wfdb.headers.header import Header
    from scaledproc.extractors.wfdb.headers.record import Place


def listed_files(anchor: str, files: frozenset[str], header: Header) -> dict[str, str]:
    """Where each signal file that a header names is, below the dataset's root.

    Parameters
    ----------
    anchor
        Where the header is.
    files
        Of the unit.
    header
        What it says.
    """
    folder, slash, _ = anchor.rpartition("/")
    return {
        file: _as_listed(f"{folder}{slash}{posixpath.normpath(file) if '/' in file else file}", files)
        for file in header.files
    }


def _as_listed(path: str, files: frozenset[str]) -> str:
    """A file of the unit under the name that it has there: letters with accents are written in several ways."""
    if path.isascii() or path in files:
        return path
    wanted = unicodedata.normalize("NFC", path)
    alike = [file for file in files if not file.isascii() and unicodedata.normalize("NFC", file) == wanted]
    return alike[0] if len(alike) == 1 else path


def shared_values(
    task: Task, record: str, place: Place, header: Header | None = None, more: Iterable[str] = ()
) -> dict[str, Any]:
    """What all rows of a task have: where and whose they are, and what the headers say."""
    own = () if header is None else header.comments
    comments = own if not place.comments or place.comments == own else (*own, *place.comments)
    names = (record,) if place.record_name is None else (record, place.record_name)
    who = identity(task.anchor.rpartition("/")[0], names, comments)
    notes = [*place.notes, *more] if header is None or header.note is None else [header.note, *place.notes, *more]
    if who.note:
        notes.append(who.note)
    text = "\n".join(comments) if comments else None
    if text is not None and len(text) > LONGEST_COMMENTS:
        text = text[:LONGEST_COMMENTS]
        notes.append(f"the comments are cut off after {LONGEST_COMMENTS:,} characters")
    return {
        "group": task.group,
        "unit": task.unit,
        "record": record,
        "record_name": place.record_name,
        "subject_id": who.subject_id,
        "hadm_id": who.hadm_id,
        "start": place.start,
        "offset_s": place.offset_s,
        "start_date": None if header is None else header.date,
        "start_time": None if header is None else header.time,
        "comments": text,
        "header_note": "; ".join(notes) or None,
    }
