"""In a host of the emulator: one folder seems to lie on a small disk."""

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

_folder, _, _bytes = os.environ.get("EMULATOR_SMALL_DISK", "").rpartition(":")
_real: Any = shutil.disk_usage


def _usage(path: Any) -> Any:
    found = _real(path)
    if not _folder or not Path(path).resolve().is_relative_to(Path(_folder).resolve()):
        return found
    size = 0
    for file in Path(_folder).rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            size += file.lstat().st_size
    return type(found)(int(_bytes), size, max(int(_bytes) - size, 0))


shutil.disk_usage = _usage
