"""What `pytest benchmarks` takes and gives: options, data, tables at the end, and the same as JSON and as a page."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "showing"))
sys.path.insert(0, str(Path(__file__).parent / "support"))  # what lies there is run as scripts too: no package

from data import Dataset, Part, cached_dataset
from page import page
from results import Results, Section, write_json
from sample import Asked, Subject, generated_subject, own_subject

from scaledproc._util.text import clean_text
from scaledproc.errors import ScaledprocError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plots import Plot

RESULTS = pytest.StashKey[Results]()
WRITTEN = pytest.StashKey[list[Path]]()
FOLDER = "scaledproc-benchmarks"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One after the other, in this process: what is timed has the machine for itself."""
    del config
    return 0


def pytest_addoption(parser: pytest.Parser) -> None:
    """What the benchmarks take from the command line."""
    group = parser.getgroup("scaledproc", "scaledproc: how to cut your own data")
    group.addoption(
        "--dataset",
        metavar="URL",
        help="a folder or URL: measure a sample of it instead of generated data, and write the chunk size that is "
        "recommended for all of it into scaledproc.toml in the current folder",
    )
    group.addoption(
        "--extractor",
        metavar="NAME",
        default="wfdb-summary",
        help="a built-in's name, package.module:name, or path/to/file.py:name; by default wfdb-summary",
    )
    group.addoption("--unit", metavar="HOW", help="how its files form units, as for scaledproc")
    group.addoption(
        "--anchor", metavar="GLOB", action="append", default=[], help="its files that start a task; can be repeated"
    )
    group.addoption(
        "--storage-option",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="for its fsspec filesystem, such as anon=true; can be repeated",
    )
    group.addoption("--sample", metavar="SIZE", default="2GB", help="take at most so much of it; by default 2GB")
    group.addoption("--rounds", metavar="N", type=int, help="how often everything is measured; by default 3, at most 9")
    group.addoption(
        "--full",
        action="store_true",
        help="the long tables too: 1 GB and 4 GB, 4,000 and 40,000 segments, with the targets asserted (an hour)",
    )
    group.addoption(
        "--results",
        metavar="FOLDER",
        default=FOLDER,
        help=f"where to write results.json and results.html; by default ./{FOLDER}",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Begin the session's results, and have pytest-benchmark show what its times are good for."""
    config.addinivalue_line("markers", "full: takes long; left out unless --full is given")
    config.addinivalue_line("markers", "own_data: also on a user's own data, with --dataset")
    config.stash[RESULTS] = Results()
    if not config.getoption("benchmark_columns", None):
        config.option.benchmark_columns = ["min", "median", "max", "rounds"]
    if config.getoption("dataset"):
        config.stash[RESULTS].dataset = f"a sample of {asked(config).shown}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what was not asked for."""

    def wanted(item: pytest.Item) -> bool:
        if config.getoption("dataset") and not item.get_closest_marker("own_data"):
            return False
        return bool(config.getoption("full")) or not item.get_closest_marker("full")

    left_out = [item for item in items if not wanted(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if wanted(item)]


def asked(config: pytest.Config) -> Asked:
    """What the user said of the data."""
    return Asked(
        dataset=config.getoption("dataset"),
        extractor=config.getoption("extractor"),
        unit=config.getoption("unit"),
        anchors=tuple(config.getoption("anchor")),
        storage_options=tuple(config.getoption("storage_option")),
        sample=config.getoption("sample"),
    )


# Data


@pytest.fixture(scope="session")
def kept() -> Iterator[ExitStack]:
    """Holds datasets of the cache for the session."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="session")
def is_full(pytestconfig: pytest.Config) -> bool:
    """Whether the long tables were asked for."""
    return bool(pytestconfig.getoption("full"))


@pytest.fixture(scope="session")
def rounds(pytestconfig: pytest.Config) -> int:
    """How often contestants take turns."""
    return min(max(int(pytestconfig.getoption("rounds") or 3), 1), 9)


@pytest.fixture(scope="session")
def large(kept: ExitStack) -> Dataset:
    """Few long segments, as most of the database's bytes are."""
    return kept.enter_context(cached_dataset("large", Part(45, 1_400_000)))


@pytest.fixture(scope="session")
def larger(kept: ExitStack) -> Dataset:
    """One gigabyte of long segments."""
    return kept.enter_context(cached_dataset("larger", Part(727, 1_413_000)))


@pytest.fixture(scope="session")
def largest(kept: ExitStack) -> Dataset:
    """Four gigabytes of long segments."""
    return kept.enter_context(cached_dataset("largest", Part(2_850, 1_413_000)))


@pytest.fixture(scope="session")
def small(kept: ExitStack, is_full: bool) -> Dataset:
    """Many segments of under a minute, as most of the database's files are: 1,000, in full 4,000."""
    return kept.enter_context(cached_dataset("small", Part(4_000 if is_full else 1_000, 7_000)))


@pytest.fixture(scope="session")
def many(kept: ExitStack) -> Dataset:
    """Forty thousand of them."""
    return kept.enter_context(cached_dataset("many", Part(40_000, 7_000)))


@pytest.fixture(scope="session")
def few(kept: ExitStack) -> Dataset:
    """A hundred of the small segments."""
    return kept.enter_context(cached_dataset("few", Part(100, 7_000)))


@pytest.fixture(scope="session")
def one(kept: ExitStack) -> Dataset:
    """A single segment."""
    return kept.enter_context(cached_dataset("one", Part(1, 7_000)))


@pytest.fixture(scope="session")
def mixed(kept: ExitStack) -> Dataset:
    """Long and short segments, as in one dataset."""
    return kept.enter_context(cached_dataset("mixed", Part(120, 1_400_000), Part(1_200, 7_000)))


@pytest.fixture(scope="session")
def subject(request: pytest.FixtureRequest, results: Results, kept: ExitStack) -> Subject:
    """What chunk sizes are tried on: a sample of the user's data, or else the mixed dataset."""
    config = request.config
    if not config.getoption("dataset"):
        return generated_subject(request.getfixturevalue("mixed"), asked(config))
    try:
        made = kept.enter_context(own_subject(asked(config)))
    except ScaledprocError as error:
        pytest.exit(f"scaledproc: {clean_text(str(error))}", returncode=error.exit_code)
    results.dataset = f"{made.about}; extractor {config.getoption('extractor')}"
    return made


# Results


@pytest.fixture(scope="session")
def results(pytestconfig: pytest.Config) -> Results:
    """What the session found so far."""
    return pytestconfig.stash[RESULTS]


class Show:
    """Keeps a table for the end of the session, for its JSON and for its page."""

    def __init__(self, results: Results, test: str) -> None:
        self._results = results
        self._test = test

    def __call__(self, text: str, plot: Plot | None = None) -> None:
        """Keep text, best a `measure.table`, and the plot that belongs to it."""
        self._results.sections.append(Section(self._test, text, plot))


@pytest.fixture
def show(request: pytest.FixtureRequest, results: Results) -> Callable[..., None]:
    """Keeps a table for the end of the session: `show(text)` or `show(text, plot)`."""
    return Show(results, request.node.nodeid)


def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, object]) -> None:
    """Put what the session found into pytest-benchmark's JSON."""
    output_json["scaledproc"] = config.stash[RESULTS].to_json()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write JSON and page."""
    config = session.config
    found = config.stash[RESULTS]
    if not found.sections:
        return
    folder = Path(config.getoption("results")).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    content = write_json(config, found, folder / "results.json")
    (folder / "results.html").write_text(page(found, content), encoding="utf-8")
    config.stash[WRITTEN] = [folder / "results.json", folder / "results.html"]


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show the tables, what is recommended, and where it all is."""
    found = config.stash[RESULTS]
    for section in found.sections:
        terminalreporter.write_line(f"\n{section.text}")
    if found.recommendation is not None:
        terminalreporter.write_line(f"\nrecommended: --chunk {found.recommendation.chunk}", bold=True)
        terminalreporter.write_line(f"  {found.recommendation.reason}")
        if found.compared:
            terminalreporter.write_line(f"  {found.compared}")
        if found.noise:
            terminalreporter.write_line(f"  {found.noise}")
        if found.written is not None:
            terminalreporter.write_line(f"  written into {found.written}, from where the next run here takes it")
    if WRITTEN in config.stash:
        terminalreporter.write_line("")
        for path in config.stash[WRITTEN]:
            terminalreporter.write_line(f"results: {path}")
