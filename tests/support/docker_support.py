"""Docker for the tests: a daemon of our own, a base image from Debian's packages, the worker's image on top of it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BASE_IMAGE, WORKER_IMAGE = "scaledproc-test-base", "scaledproc-test:worker"
START_SECONDS, STOP_SECONDS = 60.0, 30.0
# Without a firewall's rules and a way out, which no test needs and not every machine lets one have.
APART = ("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false")
UNUSED = ("doc", "man", "locale", "info")  # folders of /usr/share
PACKAGES = "python3-venv,ca-certificates,libstdc++6"


def docker_answers() -> bool:
    """Whether a daemon runs that this user may use."""
    return shutil.which("docker") is not None and _succeeds("docker", "info")


def has_compose() -> bool:
    return shutil.which("docker-compose") is not None or _succeeds("docker", "compose", "version")


def has_image(name: str) -> bool:
    return _succeeds("docker", "image", "inspect", name)


def remove_image(name: str) -> None:
    _succeeds("docker", "image", "rm", "--force", name)


def may_start_docker() -> bool:
    return os.geteuid() == 0 and None not in (shutil.which("docker"), shutil.which("dockerd"))


@contextmanager
def docker_daemon() -> Iterator[str]:
    """Start a daemon apart from any other and give its address; stop it and remove all of it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="scaledproc-docker-"))  # not in pytest's, which it keeps
    address = f"unix://{folder}/socket"
    places = {"--data-root": "data", "--exec-root": "exec", "--pidfile": "pid"}
    words = [f"{option}={folder / name}" for option, name in places.items()]
    # With setpriv, the kernel ends the daemon when the thread that started it ends, even if it was killed.
    guard = [setpriv, "--pdeathsig", "TERM", "--"] if (setpriv := shutil.which("setpriv")) else []
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen([*guard, "dockerd", "--host", address, *words, *APART], stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _succeeds("docker", "--host", address, "info"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"dockerd did not start:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def may_make_base_image() -> bool:
    return os.geteuid() == 0 and shutil.which("mmdebstrap") is not None


def make_base_image(name: str) -> None:
    """Import an image with this machine's own release of Debian or Ubuntu, and of it only what Python needs.

    The packages come from wherever apt has them from here.
    """
    sources = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    used = [str(path) for path in sources if path.suffix in (".list", ".sources") and path.is_file()]
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    command = [
        *("mmdebstrap", "--mode=root", "--variant=essential", "--format=tar", f"--include={PACKAGES}"),
        *("--quiet", '--aptopt=Acquire::Languages "none"'),
        *(f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in UNUSED),
        *(release, "-", *used),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as made:
        imported = subprocess.run(["docker", "import", "-", name], stdin=made.stdout, capture_output=True, check=False)
        _, said = made.communicate()
    if made.returncode or imported.returncode:
        raise RuntimeError(f"no base image:\n{said.decode()[-3000:]}\n{imported.stderr.decode()[-1000:]}")


def make_worker_image(name: str, base_image: str) -> str:
    """Build the worker's image by the command that users have for it, and return what that prints."""
    command = [sys.executable, "-m", "scaledproc", "sagemaker", "image", "--tag", name, "--base-image", base_image]
    built = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200)
    if built.returncode:
        raise RuntimeError(f"no worker image:\n{built.stderr[-5000:]}")
    return built.stdout


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
