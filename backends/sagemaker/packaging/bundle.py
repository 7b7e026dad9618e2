"""The code that is shipped beside an image: scaledproc itself where the image lacks it, and a user's own extractor."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from scaledproc._util.entry_points import plugins
from scaledproc.errors import UsageError
from scaledproc.extractors.code.code_finder import Import, imports_of, kind_of, reach
from scaledproc.extractors.registry import ENTRY_POINTS

from ..jobs.requests import CODE, START, Code
from .image import Python, fetch_wheels, make_context
from .wheel import project_wheel, requirements

if TYPE_CHECKING:
    from scaledproc.storage.store import Store

CONSTRAINTS = "constraints.txt"
MANAGED_PYTHON = Python("3.12", "x86_64", 39)  # of Ubuntu 24.04, which the managed image is made from
USER = "user"
MOST_FILES, MOST_BYTES = 2_000, 100 * 2**20
_SKIPPED = {"__pycache__", ".git", ".venv", "node_modules", ".mypy_cache", ".ruff_cache", ".pytest_cache"}

# Installs what lies beside it, offline where wheels of the dependencies do, then becomes the worker. A failure leaves
# its reason where DescribeProcessingJob shows it. The virtual environment keeps the older libraries of the image out;
# it is made without pip, as the managed image has pip itself but not the package python3-venv.
_START = """#!/bin/sh
set -u
code=$(cd "$(dirname "$0")" && pwd)
root=${SCALEDPROC_ML_ROOT:-/opt/ml}
say() {
  mkdir -p "$root/output"
  printf '%s\\n' "$1" >&2
  printf '%s\\n' "$1" | LC_ALL=C tr -cd '\\n -~' | head -c 1000 > "$root/output/message"  # it must be UTF-8
  exit 1
}
home=$(mktemp -d)
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  say "UsageError: the image has $(python3 --version 2>&1); scaledproc needs Python 3.11 or later: give --image-uri"
python3 -m venv --without-pip "$home/venv" > "$home/log" 2>&1 ||
  say "UsageError: no virtual environment can be made in the image: $(tail -n 3 "$home/log")"
if [ -d "$code/wheels" ]; then export PIP_NO_INDEX=1 PIP_FIND_LINKS="$code/wheels"
else export PIP_CONSTRAINT="$code/constraints.txt"; fi
python3 -m pip --python "$home/venv/bin/python" install --disable-pip-version-check --quiet "$code"/scaledproc-*.whl \
  > "$home/log" 2>&1 || say "UsageError: scaledproc cannot be installed (no package index? --wheelhouse, or \
--image-uri): $(grep -v -e '^WARNING' -e '^$' "$home/log" | tail -n 3)"
unset PIP_NO_INDEX PIP_FIND_LINKS PIP_CONSTRAINT
exec "$home/venv/bin/scaledproc" sagemaker worker "$@"
"""


def make_bundle(store: Store, extractor: str, *, installs: bool, wheelhouse: str | None) -> Code | None:
    """Put the code that a run's workers need into the run's folder, under the hash of its content.

    Parameters
    ----------
    store
        The run's folder.
    extractor
        What the user named.
    installs
        Whether scaledproc itself is to be installed from it.
    wheelhouse
        A local folder of wheels to install from, so that no network is needed.

    Returns
    -------
    Code or None
        None where the image has all.

    Raises
    ------
    UsageError
        If the user's code cannot be found, or is too much to be meant.
    """
    with tempfile.TemporaryDirectory(prefix="scaledproc-") as scratch:
        folder = Path(scratch)
        if installs:
            project_wheel(folder)
            (folder / START).write_text(_START)
            if wheelhouse is not None:
                _copy_wheels(Path(wheelhouse).expanduser(), folder / "wheels")
            else:
                (folder / CONSTRAINTS).write_text(_constraints())
        spec = _copy_extractor(extractor, folder / USER)
        is_users = (folder / USER).is_dir()
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        if not names:
            return None
        digest = hashlib.sha256()
        for name in names:
            digest.update(f"{name}\0".encode() + hashlib.sha256((folder / name).read_bytes()).digest())
        where = f"work/code/{digest.hexdigest()[:16]}"
        there = set(store.names(where))
        if "complete" not in there:
            for name in names:
                store.write(f"{where}/{name}", (folder / name).read_bytes())
            store.write(f"{where}/complete", b"")  # an upload that was cut short is done again
        return Code(f"{store.uri}/{where}/", installs, f"{CODE}/{USER}" if is_users else None, spec)


def check_wheelhouse(wheelhouse: str) -> None:
    """See whether the wheels are all that the managed image needs, by pip's own resolver; nothing is installed.

    Raises
    ------
    UsageError
        If a wheel is missing, or is for another Python or machine.
    """
    platforms = [f"--platform={each}" for each in MANAGED_PYTHON.platforms]
    with tempfile.TemporaryDirectory(prefix="scaledproc-") as scratch:
        wheel = project_wheel(Path(scratch))
        command = [
            *(sys.executable, "-P", "-m", "pip", "install", "--dry-run", "--quiet", "--disable-pip-version-check"),
            *("--ignore-installed", "--target", f"{scratch}/none", "--no-index", "--only-binary=:all:"),
            *("--find-links", str(Path(wheelhouse).expanduser()), f"--python-version={MANAGED_PYTHON.version}"),
            *("--implementation=cp", *platforms, str(wheel)),
        ]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    if done.returncode and "No module named pip" not in done.stderr:
        errors = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR:")]
        raise UsageError(
            f"--wheelhouse {wheelhouse}: not all that scaledproc needs on Python {MANAGED_PYTHON.version}, "
            f"{MANAGED_PYTHON.machine}: {errors[-1] if errors else done.stderr.strip()[-300:]}"
        )


def fill_wheelhouse(folder: Path) -> int:
    """Fetch wheels of all that scaledproc needs in the managed image, in the versions of here; how many there are.

    Raises
    ------
    ScaledprocError
        If pip is missing, or cannot fetch one of the wheels.
    """
    with tempfile.TemporaryDirectory(prefix="scaledproc-") as scratch:
        context = Path(scratch)
        make_context(context)
        fetch_wheels(context, MANAGED_PYTHON)
        folder.mkdir(parents=True, exist_ok=True)
        wheels = sorted((context / "wheelhouse").glob("*.whl"))
        for wheel in wheels:
            shutil.copyfile(wheel, folder / wheel.name)
    return len(wheels)


def _copy_wheels(wheelhouse: Path, folder: Path) -> None:
    folder.mkdir()
    for wheel in sorted(wheelhouse.glob("*.whl")):
        shutil.copyfile(wheel, folder / wheel.name)


def _constraints() -> str:
    """The versions that are installed here: other ones may give other bytes."""
    names = sorted(match[0] for match in (re.match(r"[\w.-]+", line) for line in requirements()) if match)
    found = [(name, version(name)) for name in names]
    return "".join(f"{name}=={number}\n" for name, number in found if "+" not in number)


def _copy_extractor(spec: str, folder: Path) -> str | None:
    """Copy a user's own code; how its extractor is called in the container, where that is another way."""
    where, colon, name = spec.rpartition(":")
    if not colon:
        return _plugin(spec, folder)
    if where.endswith(".py"):
        path = Path(where).expanduser().absolute()
        if not path.is_file():
            raise UsageError(f"there is no file {path}")
        _copy({path, *_beside(imports_of(path), path.parent)}, path.parent, folder)
        return f"{CODE}/{USER}/{path.name}:{name}"
    package = where.partition(".")[0]
    if package == "scaledproc":
        return None
    _copy_package(package, folder)
    return None


def _plugin(name: str, folder: Path) -> str | None:
    """An extractor with an entry point: a built-in is there anyway; another's package is copied."""
    for point in plugins(ENTRY_POINTS, name):
        package = point.module.partition(".")[0]
        if package == "scaledproc":
            return None
        _copy_package(package, folder)
        return point.value.partition(" ")[0]
    return None


def _copy_package(package: str, folder: Path) -> None:
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise UsageError(f"module {package!r} cannot be found, so it cannot be sent to the machines")
    origin = Path(found.origin)
    if found.submodule_search_locations is None:
        files, root = [origin], origin.parent
    else:
        files, root = _files(origin.parent), origin.parent.parent
    if kind_of(origin) == "local":
        imports = [Import(package), *(line for file in files for line in imports_of(file) if not line.level)]
        files += _beside(imports, root)
    _copy(set(files), root, folder)


def _beside(imports: Iterable[Import], root: Path) -> set[Path]:
    """The modules below a folder that code imports, and what these import; of packages all that is in them."""
    found: set[Path] = set()
    for path in reach(imports, folder=root).files.values():
        if path.is_relative_to(root):
            top = root / path.relative_to(root).parts[0]
            found |= {path} if top == path else set(_files(top))
    return found


def _files(package: Path) -> list[Path]:
    return [
        path
        for path in sorted(package.rglob("*"))
        if path.is_file() and not _SKIPPED & set(path.relative_to(package).parts)
    ]


def _copy(files: Collection[Path], root: Path, folder: Path) -> None:
    if len(files) > MOST_FILES or sum(path.stat().st_size for path in files) > MOST_BYTES:
        raise UsageError(
            f"the extractor's code below {root} is more than {MOST_FILES:,} files or {MOST_BYTES // 2**20} MB: build "
            "an image with it (--image-uri), or move it to a folder of its own"
        )
    for path in files:
        target = folder / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
