"""Extractors' files as modules: `path/to/file.py`, under a name that any process can import.

What a file defines can be pickled by its name, as what a package defines: for processes that an extractor starts
itself. The name has the file's path and the hash of its content, so that an edited file is another module.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

__path__: list[str] = []  # so that modules may have names below this one's

PREFIX = f"{__name__}."
_NAME = re.compile(rf"{re.escape(__name__)}\.(?P<stem>\w+?)_(?P<digest>[0-9a-f]{{16}})_(?P<path>(?:[0-9a-f]{{2}})+)")


def import_file(path: Path) -> ModuleType:
    """The module that a file is."""
    stem = re.sub(r"\W", "_", path.stem)
    return importlib.import_module(f"{__name__}.{stem}_{_digest(path.read_bytes())}_{os.fsencode(path).hex()}")


def short_name(module: str) -> str:
    """What a person calls a module: one that is an extractor's file by the file's name."""
    match = _NAME.fullmatch(module)
    return match["stem"] if match else module


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


class _Loader(SourceFileLoader):
    """Reads the file itself, never bytecode that was kept: that is told from newer by the second and the size alone."""

    def get_code(self, fullname: str) -> CodeType:
        match, content = _NAME.fullmatch(fullname), self.get_data(self.path)
        if match is None or match["digest"] != _digest(content):
            raise ImportError(f"{self.path} was edited after this program read it", name=fullname, path=self.path)
        code: CodeType = self.source_to_code(content, self.path)
        return code

    def exec_module(self, module: ModuleType) -> None:
        folder = str(Path(self.path).parent)
        if folder not in sys.path:  # so that the file finds its neighbours, as when it is run itself
            sys.path.append(folder)
        super().exec_module(module)


class _Finder:
    @staticmethod
    def find_spec(fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:  # noqa: ARG004 - Python's own signature
        if not fullname.startswith(PREFIX):
            return None
        match = _NAME.fullmatch(fullname)
        if match is None:  # the file says `from .neighbour import …`
            raise ImportError("attempted relative import with no known parent package", name=fullname)
        file = os.fsdecode(bytes.fromhex(match["path"]))
        return importlib.util.spec_from_file_location(fullname, file, loader=_Loader(fullname, file))


sys.meta_path.append(_Finder)
