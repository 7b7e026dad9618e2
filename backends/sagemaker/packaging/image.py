"""The worker's container image: the running scaledproc and what it needs, from the Dockerfile beside this file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import distributions, version
from pathlib import Path

from scaledproc.errors import ScaledprocError, UsageError

from ..docker import docker, docker_shown, has_image, require_docker
from .wheel import project_wheel, requirements

_DOMAINS = {
    "cn-": "amazonaws.com.cn",
    "us-isob-": "sc2s.sgov.gov",
    "us-isof-": "csp.hci.ic.gov",
    "eu-isoe-": "cloud.adc-e.uk",
    "us-iso-": "c2s.ic.gov",
    "eusc-": "amazonaws.eu",
}
"""Where a region's hosts are, as botocore's partitions say; elsewhere amazonaws.com."""
BASE_IMAGE = "public.ecr.aws/docker/library/python:3.12-slim"
PLATFORM = "linux/amd64"  # that of SageMaker's instances
_DOCKERFILE = Path(__file__).with_name("Dockerfile")
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}  # Docker's names, and those in wheels
_ASK_PYTHON = "import json, platform as p; print(json.dumps([p.python_version(), p.libc_ver(), p.machine()]))"


@dataclass(frozen=True)
class Python:
    """The Python of a base image, as far as wheels depend on it.

    Parameters
    ----------
    version
        Such as `3.12`.
    machine
        Such as `x86_64`.
    glibc
        The second number of glibc's version: 36 for 2.36.
    """

    version: str
    machine: str
    glibc: int

    @property
    def platforms(self) -> list[str]:
        """The platforms whose wheels run there, by their names in wheels, the newest first."""
        names = [f"manylinux_2_{minor}_{self.machine}" for minor in range(self.glibc, 4, -1)]
        return [*names, *(f"{old}_{self.machine}" for old in ("manylinux2014", "manylinux2010", "manylinux1"))]


def default_tag() -> str:
    """The image's name where none is given."""
    return f"scaledproc:{version('scaledproc')}"


def build_image(
    tag: str, *, base_image: str = BASE_IMAGE, wheelhouse: Path | None = None, platform: str = PLATFORM
) -> None:
    """Build the worker's image. What it shows of its work goes to standard error.

    Parameters
    ----------
    tag
        The image's name.
    base_image
        What it is made from: any image with glibc and Python 3.11 or later.
    wheelhouse
        A folder with wheels of everything that scaledproc needs. Where none is given, pip fetches them here, in the
        versions that are installed here where they are the base image's too: other versions may give other bytes.
    platform
        What the image is for, in Docker's words.

    Raises
    ------
    ScaledprocError
        If Docker does not answer, pip cannot fetch the wheels, or the image cannot be built.
    """
    here = require_docker()
    foreign = [] if platform == f"linux/{here}" else ["--platform", platform]
    with tempfile.TemporaryDirectory(prefix="scaledproc-image-") as scratch:
        context = Path(scratch)
        make_context(context, wheelhouse)
        if wheelhouse is None:
            fetch_wheels(context, python_of(base_image, foreign))
        words = ["--tag", tag, "--build-arg", f"BASE_IMAGE={base_image}", *foreign]
        docker_shown("build", "--network=none", *words, str(context))


def make_context(folder: Path, wheelhouse: Path | None = None) -> None:
    """Write what `docker build` needs, but the wheels that pip must fetch.

    Raises
    ------
    UsageError
        If the wheelhouse is no folder with wheels.
    """
    (folder / "project").mkdir()
    project_wheel(folder / "project")
    (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in requirements()))
    shutil.copy(_DOCKERFILE, folder / "Dockerfile")
    (folder / "wheelhouse").mkdir()
    if wheelhouse is not None:
        wheels = sorted(wheelhouse.glob("*.whl"))
        if not wheels:
            raise UsageError(f"--wheelhouse {wheelhouse}: there are no wheels in it (*.whl)")
        for wheel in wheels:
            shutil.copy(wheel, folder / "wheelhouse")


def python_of(base_image: str, flags: list[str]) -> Python:
    """Ask a base image for its Python; the image is pulled if it is not here.

    Raises
    ------
    ScaledprocError
        If the image cannot be pulled, has no Python, or has no glibc, which wheels are fetched for.
    """
    if not has_image(base_image):
        docker_shown("pull", *flags, base_image)
    said = docker("run", "--rm", "--network=none", *flags, "--entrypoint=python3", base_image, "-c", _ASK_PYTHON)
    python, (libc, libc_version), machine = json.loads(said)
    if libc != "glibc":
        raise UsageError(f"--base-image {base_image}: it has no glibc; take another one, or give --wheelhouse")
    return Python(".".join(python.split(".")[:2]), machine, int(libc_version.split(".")[1]))


def fetch_wheels(context: Path, python: Python) -> None:
    """Fill a build context's wheelhouse by pip, with the versions that are installed here.

    Raises
    ------
    ScaledprocError
        If pip is missing, or cannot fetch one of the wheels.
    """
    constraints = context / "constraints.txt"
    installed = {dist.name: dist.version for dist in distributions() if dist.name and "+" not in dist.version}
    constraints.write_text("".join(f"{name}=={number}\n" for name, number in sorted(installed.items())))
    command = [
        *(sys.executable, "-P", "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--only-binary=:all:", "--dest", str(context / "wheelhouse")),
        *("--implementation=cp", f"--python-version={python.version}"),
        *(f"--platform={platform}" for platform in python.platforms),
        *("--requirement", str(context / "requirements.txt"), "--constraint", str(constraints)),
    ]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    constraints.unlink()
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR:") or "No module named" in line]
        raise ScaledprocError(
            f"pip cannot fetch the wheels for the image's Python {python.version} on {python.machine}: "
            f"{' '.join(errors[:2]) or done.stderr.strip()[-300:]}; --wheelhouse names a folder that has them"
        )


def push_commands(tag: str, *, account: str = "ACCOUNT", region: str = "REGION") -> list[str]:
    """The shell commands that push an image to Amazon ECR, and then use it.

    Parameters
    ----------
    tag
        The image's name here.
    account, region
        Whose registry; the words in capitals are for a person to replace.
    """
    domain = next((name for start, name in _DOMAINS.items() if region.startswith(start)), "amazonaws.com")
    registry = f"{account}.dkr.ecr.{region}.{domain}"
    repository = tag.partition(":")[0]
    uri = f"{registry}/{tag if ':' in tag else f'{tag}:latest'}"
    return [
        f"aws ecr create-repository --region {region} --repository-name {repository}  # once",
        f"aws ecr get-login-password --region {region} | docker login --username AWS --password-stdin {registry}",
        f"docker tag {tag} {uri}",
        f"docker push {uri}",
        f"scaledproc --backend sagemaker --image-uri {uri} INPUT OUTPUT",
    ]
