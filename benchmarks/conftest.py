"""Data made once a session, and tables shown at its end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # what lies here is run as scripts too, and so is no package

from data import Dataset, write_dataset

if TYPE_CHECKING:
    from collections.abc import Callable

TABLES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def large(data_folder: Path) -> Dataset:
    """Few long segments, as most of the database's bytes are."""
    return write_dataset(data_folder / "large", "large", segments=45, segment_size=1_400_000)


@pytest.fixture(scope="session")
def small(data_folder: Path) -> Dataset:
    """Many segments of under a minute, as most of the database's files are."""
    return write_dataset(data_folder / "small", "small", segments=1_000, segment_size=7_000)


@pytest.fixture(scope="session")
def few(data_folder: Path) -> Dataset:
    """A tenth of the small segments."""
    return write_dataset(data_folder / "few", "few", segments=100, segment_size=7_000)


@pytest.fixture(scope="session")
def mixed(data_folder: Path) -> Dataset:
    """Long and short segments, as in one dataset."""
    long = write_dataset(data_folder / "mixed" / "a", "long", segments=20, segment_size=1_400_000)
    short = write_dataset(data_folder / "mixed" / "b", "short", segments=200, segment_size=7_000)
    return Dataset("mixed", data_folder / "mixed", long.segments + short.segments, long.size + short.size)


@pytest.fixture
def show(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Keeps a table for the end of the session."""
    return request.config.stash.setdefault(TABLES, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for text in config.stash.get(TABLES, []):
        terminalreporter.write_line(f"\n{text}")
