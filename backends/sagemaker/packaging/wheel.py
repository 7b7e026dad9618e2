"""A wheel of the scaledproc that is running, to be installed where its jobs run.

Made from the installed files rather than by a build backend: that needs neither a checkout nor the network, and gives
the code that made the plan, also where it is installed editable.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution
from importlib.util import find_spec
from pathlib import Path

from scaledproc.errors import ScaledprocError

NAME = "scaledproc"
_PACKAGES = (NAME, f"{NAME}.backends")  # the second one lies elsewhere in a checkout
_WHEEL = f"Wheel-Version: 1.0\nGenerator: {NAME}\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold


def project_wheel(folder: Path) -> Path:
    """Write a wheel of the running scaledproc, the same bytes for the same code.

    Parameters
    ----------
    folder
        Where to; it must exist.

    Returns
    -------
    Path
        The wheel, named as pip wants it.

    Raises
    ------
    ScaledprocError
        If scaledproc runs without being installed, so that its metadata is missing.
    """
    distribution = _distribution()
    info = f"{NAME}-{distribution.version}.dist-info"
    files = dict(_code())
    files |= {f"{info}/{name}": content for name, content in _metadata(distribution)}
    files[f"{info}/RECORD"] = _record(files, f"{info}/RECORD")
    wheel = folder / f"{NAME}-{distribution.version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_STORED) as archive:  # compressed bytes depend on zlib's version
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system = 3  # Unix, whose file modes follow
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content)
    return wheel


def requirements() -> list[str]:
    """What scaledproc needs in order to run, without its extras."""
    return [line for line in _distribution().requires or [] if "extra ==" not in line]


def _distribution() -> Distribution:
    for found in Distribution.discover(name=NAME):
        if found.read_text("METADATA") and found.read_text("entry_points.txt"):  # an egg-info has no METADATA
            return found
    raise ScaledprocError("scaledproc is not installed here, so it cannot be packed; pip install it first")


def _code() -> Iterator[tuple[str, bytes]]:
    """The packages' files by their names in a wheel, sorted."""
    files: dict[str, Path] = {}
    for package in _PACKAGES:
        spec = find_spec(package)
        for root in (spec and spec.submodule_search_locations) or ():
            for path in Path(root).rglob("*"):
                inner = path.relative_to(root)
                if path.is_file() and not any(_is_debris(part) for part in inner.parts):
                    files[f"{package.replace('.', '/')}/{inner.as_posix()}"] = path
    for name in sorted(files):
        yield name, files[name].read_bytes()


def _is_debris(part: str) -> bool:
    return part == "__pycache__" or part.startswith(".") or part.endswith((".pyc", "~"))


def _metadata(distribution: Distribution) -> Iterator[tuple[str, bytes]]:
    for name in ("METADATA", "entry_points.txt"):
        yield name, (distribution.read_text(name) or "").encode()
    yield "WHEEL", _WHEEL.encode()
    for file in distribution.files or ():
        if "licenses" in file.parts:
            yield "/".join(file.parts[1:]), Path(str(file.locate())).read_bytes()


def _record(files: dict[str, bytes], own_name: str) -> bytes:
    """Every file with its hash and size, as the wheel format wants it."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        rows.writerow((name, f"sha256={digest}", len(content)))
    rows.writerow((own_name, "", ""))
    return text.getvalue().encode()
