"""Jobs on another machine by ssh: the guide's template, with a server on loopback, else with what stands for `ssh`."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import scaledproc
from scaledproc.api import stop
from scaledproc.testing import PROBE, output_bytes
from scaledproc.testing.probes import write_probe_dataset

pytestmark = pytest.mark.slow

GUIDE = Path(__file__).parents[3] / "docs/guides/batch-systems.md"
WAIT = 30.0  # seconds


def wait_until(holds: Any) -> None:
    end = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def template() -> dict[str, Any]:
    """The one of the guide."""
    tables = [tomllib.loads(text.partition("```")[0])["commands"] for text in GUIDE.read_text().split("```toml\n")[1:]]
    (found,) = [table for table in tables if table["submit"].startswith("ssh ")]
    return {**found, "poll_seconds": 0.2}


@pytest.fixture(params=["server", "stand-in"])
def machine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`ssh node1` leads to this machine."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin/ssh"
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    if request.param == "stand-in":  # a remote shell gets all words in one, and none of this machine's environment
        command.write_text('#!/bin/sh\nshift 2\n[ "$1" = node1 ] || exit 255\nshift\nexec env -i sh -c "$*"\n')
        command.chmod(0o755)
        yield
        return
    programs = [shutil.which(name) for name in ("sshd", "ssh", "ssh-keygen")]
    if not all(programs) or os.geteuid() != 0:
        pytest.skip("needs root, and sshd, ssh and ssh-keygen: the package openssh-server")
    sshd, ssh, keygen = map(str, programs)
    for name in ("host", "user"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    Path("/run/sshd").mkdir(exist_ok=True)
    options = {
        "ListenAddress": "127.0.0.1",
        "Port": port,
        "HostKey": tmp_path / "host",
        "StrictModes": "no",
        "AuthorizedKeysFile": tmp_path / "user.pub",
        "PidFile": "none",
        "UsePAM": "no",
        "PermitRootLogin": "yes",
    }
    (tmp_path / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in options.items()))
    known = f"-o UserKnownHostsFile={tmp_path / 'known'} -o StrictHostKeyChecking=no -o LogLevel=ERROR"
    where = f"-F none -i {tmp_path / 'user'} -p {port} -o HostName=127.0.0.1 {known}"
    command.write_text(f'#!/bin/sh\nexec {ssh} {where} "$@"\n')
    command.chmod(0o755)
    with subprocess.Popen([sshd, "-D", "-f", str(tmp_path / "sshd_config")]) as server:
        try:
            wait_until(lambda: subprocess.run([str(command), "-o", "BatchMode=yes", "node1", "true"]).returncode == 0)
            yield
        finally:
            server.terminate()


@pytest.mark.usefixtures("machine")
def test_jobs_by_ssh_are_as_local_ones(tmp_path: Path) -> None:
    dataset = write_probe_dataset(tmp_path / "data", poison=True, seconds=0.1)
    cuts: dict[str, Any] = {"extractor": PROBE, "jobs": 1, "shards": "3"}
    local = scaledproc.run(dataset, tmp_path / "local", **cuts)
    found = scaledproc.run(dataset, tmp_path / "out", backend="commands", settings=template(), **cuts)

    assert output_bytes(found.store) == output_bytes(local.store)


@pytest.mark.usefixtures("machine")
def test_jobs_by_ssh_are_stopped_and_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = write_probe_dataset(tmp_path / "data", seconds=1.0)
    cuts: dict[str, Any] = {"extractor": PROBE, "jobs": 1, "shards": "2", "chunk": "1"}
    words = [
        word for name, value in template().items() for word in (f"--commands-{name.replace('_', '-')}", str(value))
    ]
    command = [sys.executable, "-m", "scaledproc", "run", str(dataset), str(tmp_path / "out"), "--extractor", PROBE]
    options = ["--backend", "commands", "--jobs", "1", "--shards", "2", "--chunk", "1", "--quiet", *words]
    with subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL) as driver:
        wait_until(lambda: list((tmp_path / "out").glob("work/0*/0*.parquet")))
        given = {name: template()[name] for name in ("poll", "cancel", "find")}
        try:
            assert stop(tmp_path / "out", settings=given) == 1
            driver.wait(WAIT)
        finally:
            driver.kill()
    assert driver.returncode == 1
    found = scaledproc.run(dataset, tmp_path / "out", backend="commands", settings=template(), **cuts)
    local = scaledproc.run(dataset, tmp_path / "local", **cuts)
    assert output_bytes(found.store) == output_bytes(local.store)
