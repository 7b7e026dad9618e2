"""The list of mutants that no test can notice."""

from __future__ import annotations

import tomllib

import pytest
from mutants import EQUAL, ROOT, TESTS, strange_entries


@pytest.mark.slow
def test_the_list_names_mutants_that_there_are() -> None:
    listed = tomllib.loads(EQUAL.read_text(encoding="utf-8"))["mutant"]
    assert strange_entries({(each["file"], each["within"], each["was"], each["becomes"]) for each in listed}) == []


def test_an_entry_that_names_no_mutant_is_found() -> None:
    entry = (
        "scaledproc/storage/retry.py",
        "Gone",
        "headers.get('retry-after', '')",
        "headers.get('retry-after', 'XX')",
    )
    assert strange_entries({entry, ("scaledproc/gone.py", *entry[1:])}) == [
        f"{file}, within 'Gone': {entry[2]!r} -> {entry[3]!r}" for file in ("scaledproc/gone.py", entry[0])
    ]


def test_every_module_and_its_tests_are_there() -> None:
    for file, tests in TESTS.items():
        assert all((ROOT / each).is_file() for each in (file, *tests)), file
