"""Folders that one looks through at a glance, files that one reads in a sitting: none grows beyond that unseen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ("scaledproc", "backends", "tests")
MOST_ENTRIES, MOST_LINES = 13, 640
"""Files and folders of a folder, without `__init__.py`; lines of a file."""
LARGER_FOLDERS: Mapping[str, int] = {
    "backends/sagemaker": 18,
    "scaledproc": 19,
    "scaledproc/_util": 14,
    "scaledproc/reporting/report": 15,
    "scaledproc/run_folder": 14,
    "tests": 22,
    "tests/backends/sagemaker": 17,
    "tests/support": 18,
}
LONGER_FILES: Mapping[str, int] = {
    "tests/backends/sagemaker/jobs/test_control.py": 820,
    "tests/backends/sagemaker/test_sagemaker_behaviour.py": 780,
    "tests/cli/test_main.py": 730,
    "tests/engine/test_update.py": 730,
    "tests/extractors/rows/test_collector.py": 750,
    "tests/extractors/rows/test_scalars.py": 770,
    "tests/support/test_processing_emulator.py": 770,
}
"""What has more, and how many: a number may become lower, and an entry may go; none comes."""
NO_SOURCE = {"__pycache__", "__init__.py", "golden_requests"}


def folders() -> Iterator[Path]:
    for source in SOURCES:
        yield ROOT / source
        found = sorted((ROOT / source).rglob("*"))
        yield from (path for path in found if path.is_dir() and path.name not in NO_SOURCE)


def entries(folder: Path) -> list[str]:
    found = (path for path in folder.iterdir() if path.name not in NO_SOURCE and not path.name.startswith("."))
    return [path.name for path in found if path.is_file() or any(path.rglob("*.py"))]


def too_large(sizes: Mapping[str, int], most: int, known: Mapping[str, int]) -> list[str]:
    """What is larger than it may be, and what need not be listed any more."""
    larger = {name: size for name, size in sizes.items() if size > known.get(name, most)}
    stale = {name: sizes.get(name, 0) for name in known if sizes.get(name, 0) <= most}
    return [
        *(f"{name}: {size}, more than {known.get(name, most)}" for name, size in larger.items()),
        *(f"{name}: {size}, take it off the list" for name, size in stale.items()),
    ]


def test_no_folder_has_more_entries_than_one_looks_through() -> None:
    sizes = {folder.relative_to(ROOT).as_posix(): len(entries(folder)) for folder in folders()}
    assert len(sizes) > 50
    assert too_large(sizes, MOST_ENTRIES, LARGER_FOLDERS) == []


def test_no_file_is_longer_than_one_reads() -> None:
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_bytes().splitlines())
        for folder in folders()
        for path in sorted(folder.glob("*.py"))
    }
    assert len(lengths) > 400
    assert too_large(lengths, MOST_LINES, LONGER_FILES) == []


def test_the_lists_can_only_shrink() -> None:
    assert too_large({"a": 14, "b": 13, "c": 16}, 13, {"c": 15, "b": 15, "d": 20}) == [
        "a: 14, more than 13",
        "c: 16, more than 15",
        "b: 13, take it off the list",
        "d: 0, take it off the list",
    ]
