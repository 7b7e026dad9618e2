"""The code that goes to jobs: scaledproc itself into a managed image, and a user's own extractor into any."""

from __future__ import annotations

import base64
import hashlib
import importlib
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from processing_emulator import ML_ROOT, ProcessingEmulator
from support import Bucket, clean_environment, tree_bytes

import scaledproc
from scaledproc.backends.sagemaker.packaging.bundle import check_wheelhouse, make_bundle
from scaledproc.backends.sagemaker.packaging.wheel import requirements
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.storage.store import Store

FILES = {
    f"{group}/{name}.txt": b"x" * size for size, (group, name) in enumerate([("30", "a"), ("30", "b"), ("31", "c")])
}
EXTRACTOR = """
import scaledproc
from neighbour import weight

@scaledproc.extractor(schema={"path": "string", "weight": "int64"}, anchor="*.txt")
def weigh(task):
    return {"path": task.anchor, "weight": weight(task.path.read_bytes())}
"""
NEIGHBOUR = "from deeper import FACTOR\n\ndef weight(content):\n    return FACTOR * len(content)\n"
DEEPER = "FACTOR = 7\n"
PLUGIN = """
import pyarrow as pa
from my_plugin.scale import FACTOR
from scaledproc import Extractor

class Weigh(Extractor):
    name = "weigh"
    version = "1"
    anchors = ("*.txt",)
    unit = "folder"

    @property
    def schema(self):
        return pa.schema([("path", pa.string()), ("weight", pa.int64())])

    def extract(self, task):
        return {"path": task.anchor, "weight": FACTOR * len(task.path.read_bytes())}
"""
# As Debian and Ubuntu have it without the package python3-venv: venv is there, ensurepip is not.
NO_ENSUREPIP = f"""#!/bin/sh
case "$*" in
  *--without-pip*) ;;
  "-m venv "*) echo 'The virtual environment was not created successfully because ensurepip is not available.' >&2
               exit 1 ;;
esac
exec {sys.executable} "$@"
"""


def write_stub(folder: Path, name: str, number: str, files: dict[str, str]) -> None:
    """A wheel of next to nothing."""
    stem = f"{name.replace('-', '_')}-{number}"
    content = {
        **files,
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, text in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        record += f"{path},sha256={digest},{len(text.encode())}\n"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        for path, text in {**content, f"{stem}.dist-info/RECORD": f"{record}{stem}.dist-info/RECORD,,\n"}.items():
            wheel.writestr(path, text)


@pytest.fixture(scope="module")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels of all that scaledproc needs, which lead to what is installed here: to fill it takes no network."""
    folder = tmp_path_factory.mktemp("wheelhouse")
    here = "\n".join(dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]))
    for line in requirements():
        name = Requirement(line).name
        write_stub(folder, name, version(name), {"here.pth": here} if name == "numpy" else {})
    return folder


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the python3 of the managed image, as far as virtual environments go."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "python3").write_text(NO_ENSUREPIP)
    (folder / "python3").chmod(0o755)
    return folder


def start(code: Path, path: Path, root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(code / "start.sh"), *words],
        env={**clean_environment(), "PATH": f"{path}{os.pathsep}{os.defpath}", ML_ROOT: str(root), "TMPDIR": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def bundle(folder: Path, wheelhouse: Path | None) -> Path:
    made = make_bundle(
        Store.at(folder), "wfdb-summary", installs=True, wheelhouse=str(wheelhouse) if wheelhouse else None
    )
    assert made is not None
    return Path(made.uri)


# The start of a job in a managed image


@pytest.mark.slow
def test_it_installs_offline_without_ensurepip(tmp_path: Path, wheelhouse: Path, debian: Path) -> None:
    done = start(bundle(tmp_path / "run", wheelhouse), debian, tmp_path, "--help")

    assert done.returncode == 0, done.stderr
    assert "scaledproc sagemaker worker" in done.stdout
    assert not (tmp_path / "output").exists()


@pytest.mark.slow
def test_what_cannot_be_installed_is_told(tmp_path: Path, wheelhouse: Path, debian: Path) -> None:
    code = bundle(tmp_path / "run", wheelhouse)
    next(code.glob("wheels/wfdb-*.whl")).unlink()

    done = start(code, debian, tmp_path, "--help")

    message = (tmp_path / "output" / "message").read_bytes().decode()
    assert done.returncode == 1
    assert "UsageError: scaledproc cannot be installed" in message
    assert "wfdb" in message
    assert len(message.encode()) <= 1024
    assert message.strip() in done.stderr


def test_a_python_that_is_too_old(tmp_path: Path, wheelhouse: Path) -> None:
    old = tmp_path / "bin"
    old.mkdir()
    (old / "python3").write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2\nexit 1\n')
    (old / "python3").chmod(0o755)

    done = start(bundle(tmp_path / "run", wheelhouse), old, tmp_path)

    assert done.returncode == 1
    assert "the image has Python 3.9.2; scaledproc needs Python 3.11" in (tmp_path / "output" / "message").read_text()


def test_a_message_is_utf_8_even_if_cut(tmp_path: Path, wheelhouse: Path) -> None:
    odd = tmp_path / "bin"
    odd.mkdir()
    (odd / "python3").write_text("#!/bin/sh\n[ \"$1\" = --version ] && printf 'ä%.0s' $(seq 2000)\nexit 1\n")
    (odd / "python3").chmod(0o755)

    start(bundle(tmp_path / "run", wheelhouse), odd, tmp_path)

    assert (tmp_path / "output" / "message").read_bytes().decode("utf-8").startswith("UsageError: the image has")


def test_without_a_wheelhouse_the_versions_are_those_of_here(tmp_path: Path) -> None:
    code = bundle(tmp_path / "run", None)

    lines = (code / "constraints.txt").read_text().splitlines()
    assert f"pyarrow=={version('pyarrow')}" in lines
    assert f"wfdb=={version('wfdb')}" in lines
    assert not (code / "wheels").exists()


@pytest.mark.slow
def test_a_wheelhouse_is_looked_through_before_any_job(tmp_path: Path, wheelhouse: Path) -> None:
    check_wheelhouse(str(wheelhouse))
    poor = tmp_path / "poor"
    shutil.copytree(wheelhouse, poor)
    next(poor.glob("joblib-*.whl")).unlink()
    with pytest.raises(UsageError, match=r"--wheelhouse .*joblib"):
        check_wheelhouse(str(poor))
    foreign = tmp_path / "foreign"
    shutil.copytree(wheelhouse, foreign)
    numpy = next(foreign.glob("numpy-*.whl"))
    numpy.rename(foreign / numpy.name.replace("py3-none-any", "cp39-cp39-manylinux_2_17_aarch64"))
    with pytest.raises(UsageError, match=r"--wheelhouse .*numpy"):
        check_wheelhouse(str(foreign))


# What goes along


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's folder: a file with neighbours, a package, and an installed plug-in; it is the current one."""
    folder = tmp_path / "project"
    (folder / "pkg").mkdir(parents=True)
    (folder / "mine.py").write_text(EXTRACTOR)
    (folder / "neighbour.py").write_text(NEIGHBOUR)
    (folder / "deeper.py").write_text(DEEPER)
    (folder / "unrelated.py").write_text("raise SystemExit\n")
    (folder / "pkg" / "__init__.py").touch()
    (folder / "pkg" / "mod.py").write_text(EXTRACTOR.replace("from neighbour", "from pkg.neighbour"))
    (folder / "pkg" / "neighbour.py").write_text(NEIGHBOUR.replace("from deeper", "from .deeper"))
    (folder / "pkg" / "deeper.py").write_text(DEEPER)
    installed = tmp_path / ".venv" / "site-packages"  # whose name begins with a dot
    (installed / "my_plugin").mkdir(parents=True)
    (installed / "my_plugin" / "__init__.py").write_text(PLUGIN)
    (installed / "my_plugin" / "scale.py").write_text(DEEPER)
    (installed / "my_plugin-1.0.dist-info").mkdir()
    (installed / "my_plugin-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: my-plugin\nVersion: 1.0\n"
    )
    (installed / "my_plugin-1.0.dist-info" / "entry_points.txt").write_text(
        "[scaledproc.extractors]\nweigh = my_plugin:Weigh\n"
    )
    (installed / "large").mkdir()
    (installed / "large" / "__init__.py").touch()
    alone = EXTRACTOR.replace("from neighbour import weight", "import large\nweight = len")
    (installed / "alone.py").write_text(alone)
    monkeypatch.syspath_prepend(str(installed))
    monkeypatch.chdir(folder)
    importlib.invalidate_caches()
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("mine", "neighbour", "deeper", "pkg", "my_plugin", "alone"):
            del sys.modules[name]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "files", "extractor"),
    [
        ("mine.py:weigh", {"mine.py", "neighbour.py", "deeper.py"}, "/opt/ml/processing/code/user/mine.py:weigh"),
        ("pkg.mod:weigh", {"pkg/__init__.py", "pkg/mod.py", "pkg/neighbour.py", "pkg/deeper.py"}, None),
        ("weigh", {"my_plugin/__init__.py", "my_plugin/scale.py"}, "my_plugin:Weigh"),
        ("alone:weigh", {"alone.py"}, None),
        ("wfdb-summary", set(), None),
    ],
)
def test_what_goes_along(project: Path, tmp_path: Path, spec: str, files: set[str], extractor: str | None) -> None:
    made = make_bundle(Store.at(tmp_path / "run"), spec, installs=False, wheelhouse=None)

    if not files:
        assert made is None
        return
    assert made is not None
    assert set(tree_bytes(Path(made.uri) / "user")) == files
    assert (made.modules, made.extractor) == ("/opt/ml/processing/code/user", extractor)


def test_what_did_not_change_is_not_written_again(project: Path, tmp_path: Path) -> None:
    store = Store.at(tmp_path / "run")
    first = make_bundle(store, "mine.py:weigh", installs=False, wheelhouse=None)
    assert first is not None
    times = {path: path.stat().st_mtime_ns for path in Path(first.uri).rglob("*")}
    (project / "unrelated.py").write_text("1/0\n")

    again = make_bundle(store, "mine.py:weigh", installs=False, wheelhouse=None)
    assert again == first
    assert times == {path: path.stat().st_mtime_ns for path in Path(first.uri).rglob("*")}

    (project / "deeper.py").write_text("FACTOR = 8\n")
    other = make_bundle(store, "mine.py:weigh", installs=False, wheelhouse=None)
    assert other is not None
    assert other.uri != first.uri
    assert (Path(first.uri) / "user" / "deeper.py").read_text() == DEEPER


def test_an_upload_that_was_cut_short_is_done_again(project: Path, tmp_path: Path) -> None:
    store = Store.at(tmp_path / "run")
    made = make_bundle(store, "mine.py:weigh", installs=False, wheelhouse=None)
    assert made is not None
    (Path(made.uri) / "complete").unlink()
    (Path(made.uri) / "user" / "deeper.py").unlink()

    make_bundle(store, "mine.py:weigh", installs=False, wheelhouse=None)

    assert (Path(made.uri) / "user" / "deeper.py").read_text() == DEEPER


# From end to end


@pytest.fixture
def emulator(s3: Bucket, tmp_path: Path, debian: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProcessingEmulator]:
    """An account whose containers start as the managed image does."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    path = os.pathsep.join([str(debian), os.defpath])
    with ProcessingEmulator(tmp_path / "machines", s3.server, host_environment={"PATH": path}) as made:
        for name, value in made.environment().items():
            monkeypatch.setenv(name, value)
        yield made


def settings(wheelhouse: Path, **changes: Any) -> dict[str, Any]:
    return {
        "wheelhouse": str(wheelhouse),
        "role": "arn:aws:iam::123456789012:role/scaledproc",
        "instance_type": "ml.m5.large",
        "poll_seconds": 0.2,
        "retries": 0,
        **changes,
    }


@pytest.mark.slow
@pytest.mark.parametrize(("spec", "mode"), [("mine.py:weigh", "stage"), ("pkg.mod:weigh", "file"), ("weigh", "stage")])
def test_a_managed_image_gives_the_same_bytes_as_this_machine(
    emulator: ProcessingEmulator, s3: Bucket, project: Path, tmp_path: Path, wheelhouse: Path, spec: str, mode: str
) -> None:
    for name, content in FILES.items():
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(content)
    prefix = f"code-{spec.partition(':')[0].replace('.', '-')}-{mode}"
    scaledproc.fetch(tmp_path / "data", s3.url(f"{prefix}/data"))
    scaledproc.run(tmp_path / "data", tmp_path / "here", extractor=spec, jobs=1)
    changes = {"network_isolation": True} if mode == "file" else {"combine_local": True}

    run = scaledproc.run(
        s3.url(f"{prefix}/data"),
        s3.url(f"{prefix}/out"),
        extractor=spec,
        backend="sagemaker",
        jobs=1,
        shards=1,
        settings=settings(wheelhouse, input_mode=mode, **changes),
    )

    assert run.to_arrow().num_rows == len(FILES)
    here, there = tree_bytes(tmp_path / "here"), s3.objects(f"{prefix}/out")
    assert there["features.parquet"] == here["features.parquet"]
    assert there["errors.parquet"] == here["errors.parquet"]
    assert {job.request["AppSpecification"]["ContainerEntrypoint"][0] for job in emulator.jobs} == {"/bin/sh"}
    assert len(emulator.jobs) == (2 if mode == "file" else 1)
    assert "sagemaker-scikit-learn:1.4-2-py312-cpu-py3" in emulator.jobs[0].request["AppSpecification"]["ImageUri"]


@pytest.mark.slow
def test_an_installation_that_fails_names_its_reason(
    emulator: ProcessingEmulator, s3: Bucket, project: Path, tmp_path: Path, wheelhouse: Path, monkeypatch: Any
) -> None:
    poor = tmp_path / "poor"
    shutil.copytree(wheelhouse, poor)
    next(poor.glob("joblib-*.whl")).unlink()
    s3.fs.pipe_file(f"{s3.name}/code-poor/data/30/a.txt", b"a")

    def run() -> None:
        scaledproc.run(
            s3.url("code-poor/data"),
            s3.url("code-poor/out"),
            extractor="mine.py:weigh",
            backend="sagemaker",
            settings=settings(poor),
        )

    with pytest.raises(UsageError, match="joblib"):
        run()
    assert not emulator.jobs
    monkeypatch.setattr("scaledproc.backends.sagemaker.account.check_wheelhouse", lambda _: None)
    with pytest.raises(ScaledprocError, match=r"scaledproc cannot be installed[\s\S]*joblib"):
        run()


@pytest.mark.slow
def test_what_cannot_work_without_a_network_is_refused_before_any_job(
    emulator: ProcessingEmulator, s3: Bucket, project: Path, wheelhouse: Path
) -> None:
    s3.fs.pipe_file(f"{s3.name}/code-egress/data/30/a.txt", b"a")
    words = {**settings(wheelhouse), "wheelhouse": None, "input_mode": "file", "network_isolation": True}

    with pytest.raises(UsageError, match=r"--network-isolation.*--image-uri.*--wheelhouse"):
        scaledproc.run(
            *(s3.url("code-egress/data"), s3.url("code-egress/out")),
            extractor="mine.py:weigh",
            backend="sagemaker",
            settings=words,
        )

    assert not emulator.jobs
    assert not s3.objects("code-egress/out")
