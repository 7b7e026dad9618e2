"""Patients and stays, by comments and names."""

from __future__ import annotations

from pathlib import Path

import pytest
from wfdb_units import rows_of, segment


@pytest.mark.parametrize(
    ("folder", "subject"),
    [
        ("p00/p000020", 20),
        ("p00/p000020/deeper", 20),
        ("waves/p169/p16955095/82284982", 16955095),
        ("files/p1000/p10000032/s40689238", 10000032),
        ("p000020", 20),  # where the root is p00
        ("p16955095/82284982", 16955095),
        ("p01/p000020", None),
        ("x/p000020", None),
        ("p00/p0000201", None),
        ("p00/p000020/p00/p000030", None),
        ("30/3000003", None),
        ("p00", None),
    ],
)
def test_patients_by_their_folder(tmp_path: Path, folder: str, subject: int | None) -> None:
    assert rows_of(tmp_path, segment("a"), folder)["a"]["subject_id"] == subject


def test_ids_by_comments_and_names(tmp_path: Path) -> None:
    rows = rows_of(
        tmp_path,
        {
            **segment("a", more="# subject_id 16955095\n# hadm_id 25163344\n# other 3\n"),
            **segment("b", more="#<subject_id>: 7 <HADM_ID>: 8\n"),
            **segment("c", more="# subject_id 7\n# subject_id 8\n# hadm_id 9\n"),
            **segment("d", more="# my_subject_id 7\n# subject_id 7.5\n# subject_ids 7\n# subject_id seven\n"),
            **segment("f", more="# subject_id 16,955,095\n# hadm_id 25/163\n"),
            **segment("g", more="# subject_id=16955095,hadm_id=25163344.\n"),
            **segment("e", more=f"# subject_id {10**30}\n"),
            **segment("p000020-2183-04-28-17-47n", fs=1),
            **segment("p000020"),
        },
    )
    ids = {name: (row["subject_id"], row["hadm_id"]) for name, row in rows.items()}
    assert ids == {
        "a": (16955095, 25163344),
        "b": (7, 8),
        "c": (None, 9),
        "d": (None, None),
        "e": (None, None),
        "f": (None, None),
        "g": (16955095, 25163344),
        "p000020-2183-04-28-17-47n": (20, None),
        "p000020": (None, None),
    }
    assert rows["c"]["header_note"] == "subject_id could be 7 or 8"
    assert rows["a"]["comments"] == "subject_id 16955095\nhadm_id 25163344\nother 3"


def test_comments_are_cut_off_where_they_are_endless(tmp_path: Path) -> None:
    row = rows_of(tmp_path, segment("a", more="# é" + "x" * 100_000 + "\n"))["a"]
    assert len(row["comments"]) == 8_192
    assert "cut off" in row["header_note"]
