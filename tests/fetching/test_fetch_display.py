"""How a fetch is shown on a terminal."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

from fetching_support import NAME
from physionet_server import PhysioNet
from support import COMMAND, clean_environment

# The command


def environment(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CACHE_HOME": str(tmp_path / "cache"), "NETRC": str(tmp_path / "none")}


def test_terminal(net: PhysioNet, tmp_path: Path) -> None:
    """A bar that moves, on a terminal."""
    leader, follower = os.openpty()
    env = {**clean_environment(environment(tmp_path)), "TERM": "xterm"}
    words = ["fetch", NAME, "dest", "--base-url", net.base_url, "--limit", "2"]
    process = subprocess.Popen([*COMMAND, *words], cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=follower)
    os.close(follower)
    shown = b""
    with contextlib.suppress(OSError):  # the end, on Linux
        while piece := os.read(leader, 65536):
            shown += piece
    os.close(leader)
    assert process.wait(60) == 0
    assert b"to fetch" in b" ".join(shown.split())  # rich breaks its lines
    assert b"100 %" in shown
