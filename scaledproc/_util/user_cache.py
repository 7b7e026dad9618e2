"""The user's cache folder: what is only kept to save time, and may be lost."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """Where this project keeps it: below XDG_CACHE_HOME or ~/.cache; below the temporary folder for who has no home."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    except RuntimeError:  # nobody's home
        base = Path(tempfile.gettempdir())
    return base / "scaledproc"
