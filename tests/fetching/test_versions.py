"""The newest version of a database."""

from __future__ import annotations

from pathlib import Path

from fetching_support import fetch
from physionet_server import PhysioNet

import scaledproc


def test_newest_version(net: PhysioNet, dest: Path) -> None:
    for version in ("1.9", "1.10", "0.1"):
        net.publish(f"several/{version}", {"version.txt": version.encode()})
    fetch(net, dest, "several")
    assert (dest / "version.txt").read_bytes() == b"1.10"
    done = scaledproc.fetch("physionet:several", dest, base_url=net.base_url.replace("/files", "//files"))
    assert done.source.endswith("several/1.10")  # from the index page of a mirror that has no API
