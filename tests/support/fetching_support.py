"""Fetching from a server that has the demo dataset as a database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from physionet_server import PhysioNet
from support import tree_bytes

import scaledproc

NAME = "mimic3wdb/1.0"


def fetch(net: PhysioNet, dest: Path | str, source: str = NAME, **options: Any) -> scaledproc.Fetched:
    return scaledproc.fetch(source, dest, base_url=net.base_url, **options)


def of(demo: Path, *folders: str) -> dict[str, bytes]:
    """The demo's files below some folders."""
    return {path: content for path, content in tree_bytes(demo).items() if path.startswith(folders)}
