"""Whose record it is: the ids of MIMIC's tables, from what a header's comments and the names of its files say."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

LONGEST_COMMENTS = 8_192
"""Characters of a header's comments that each of its rows repeats."""

# MIMIC-III has `p00/p000020`, MIMIC-IV `p169/p16955095` and, for ECGs, `p1000/p10000032`: the patient's folder repeats
# the digits of the one above, which is not seen where the dataset's root is that one.
_FOLDER = re.compile(
    r"(?:^|/)p(\d{2})/p(\1\d{4})(?=/|$)|(?:^|/)p(\d{3,4})/p(?=\d{8}(?:/|$))(\3\d+)|^p(\d{8}|\d{6})(?=/|$)"
)
_RECORD = re.compile(r"p(\d{6})-\d{4}-\d\d-\d\d-\d\d-\d\dn?")
_COMMENT = re.compile(r"(?<!\w)<?(subject_id|hadm_id)>?\s*[:=]?\s*(\d{1,18})(?!\w|[.:/-]\w|,\d)", re.IGNORECASE)


class Identity(NamedTuple):
    """The patient and the hospital stay, as MIMIC's tables number them; None where nothing tells."""

    subject_id: int | None
    hadm_id: int | None
    note: str | None = None
    """What contradicts itself: such an id is None."""


def identity(folder: str, names: Iterable[str], comments: tuple[str, ...]) -> Identity:
    """The ids that comments and names agree on.

    Parameters
    ----------
    folder
        Of the header, relative to the dataset's root.
    names
        Those of the record and of the record that it is a segment of.
    comments
        Those of their headers.
    """
    return _identity(folder, tuple([name for name in names if name[:1] == "p"]), comments)


@lru_cache(maxsize=64)
def _identity(folder: str, names: tuple[str, ...], comments: tuple[str, ...]) -> Identity:
    """What names and comments tell of a patient, remembered: a record's segments mostly differ in nothing of this."""
    subjects: set[int] = set()
    stays: set[int] = set()
    for text in comments:
        for key, number in _COMMENT.findall(text):
            (subjects if key.lower() == "subject_id" else stays).add(int(number))
    if (from_folder := _subject_of_folder(folder)) is not None:
        subjects.add(from_folder)
    for name in names:
        if found := _RECORD.fullmatch(name):
            subjects.add(int(found[1]))
    notes = [
        f"{what} could be {' or '.join(map(str, sorted(ids)))}"
        for what, ids in (("subject_id", subjects), ("hadm_id", stays))
        if len(ids) > 1
    ]
    subject, stay = (next(iter(ids)) if len(ids) == 1 else None for ids in (subjects, stays))
    return Identity(subject, stay, "; ".join(notes) or None)


def _subject_of_folder(folder: str) -> int | None:
    found = {int(digits) for match in _FOLDER.finditer(folder) for digits in (match[2], match[4], match[5]) if digits}
    return found.pop() if len(found) == 1 else None


def is_of_patient(name: str) -> bool:
    """Whether a record is named after a patient, as those of MIMIC-III's matched subset are."""
    return _RECORD.fullmatch(name) is not None
