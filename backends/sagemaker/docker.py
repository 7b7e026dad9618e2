"""The docker command, and what it says when it cannot be used."""

from __future__ import annotations

import shutil
import subprocess
import sys

from scaledproc.errors import ScaledprocError


def docker(*words: str, check: bool = True) -> str:
    """Run a docker command and return what it prints.

    Raises
    ------
    ScaledprocError
        If there is no docker, or the command failed and `check` is set.
    """
    try:
        done = subprocess.run(  # noqa: S603 - no shell
            ["docker", *words],  # noqa: S607 - wherever the user's is
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError:
        raise ScaledprocError("this needs Docker, and there is no command `docker` here; install it") from None
    if check and done.returncode:
        raise ScaledprocError(f"docker {words[0]} failed: {_last_line(done.stderr)}")
    return done.stdout.strip()


def docker_shown(*words: str) -> None:
    """Run a docker command whose output a person sees, on standard error.

    Raises
    ------
    ScaledprocError
        If the docker command failed.
    """
    done = subprocess.run(["docker", *words], stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)  # noqa: S603, S607 - as above
    if done.returncode:
        raise ScaledprocError(f"docker {words[0]} failed; it says above why")


def require_docker() -> str:
    """The processor's name of the machine that Docker runs on, such as `amd64`.

    Raises
    ------
    ScaledprocError
        If Docker is not installed, or not running, or not for this user.
    """
    if shutil.which("docker") is None:
        raise ScaledprocError("this needs Docker, and there is no command `docker` here; install it")
    try:
        return docker("version", "--format", "{{.Server.Arch}}")
    except ScaledprocError as error:
        raise ScaledprocError(f"Docker is installed but does not answer; start it. {error}") from None


def has_image(name: str) -> bool:
    """Whether an image is on this machine, so that it need not be pulled."""
    return bool(docker("image", "inspect", "--format={{.Id}}", name, check=False))


def containers_of(project: str, *flags: str) -> list[str]:
    """The containers that Docker Compose made for a project: those that run, with `--all` all."""
    return docker("ps", "--quiet", *flags, "--filter", f"label=com.docker.compose.project={project}").split()


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("Run 'docker", "See 'docker"))]
    return lines[-1] if lines else "it does not say why"
