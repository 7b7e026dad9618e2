"""Extractors whose code changes: a folder of modules, and a notebook's cells; and how a change is told."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

from scaledproc.extractors import Extractor, load_extractor
from scaledproc.extractors.code.fingerprint import Fingerprint, fingerprint_of
from scaledproc.run_folder.changes import extractor_differences, texts_of

FEAT = '''
"""Features."""
import functools
import json
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

import scaledproc
import helpers
from scaling import scale
from tools.near import near

FACTOR = 3
TABLE = json.loads("[1, 2]")


class Base:
    offset = 1

    def shift(self, value):
        return value + self.offset


class Shift(Base):
    def twice(self, value):
        return self.shift(self.shift(value))


@functools.cache
def cached(value):
    return value * FACTOR


def traced(function):
    @functools.wraps(function)
    def wrapper(task):
        return function(task)

    return wrapper


@scaledproc.extractor(schema={"v": "int64"}, anchor="*.txt", unit="file")
@traced
def f(task, window=30, tags={"b", "a"}):
    """Rows."""
    from lazy import late

    value = int(task.path.read_text())
    return {"v": late(scale(Shift().twice(near(value)))) + helpers.add(value) + cached(TABLE[0]) + np.int64(0)}


def power(task, exponent=2, *, base=10):
    return {"v": base**exponent}


two = scaledproc.extractor(schema={"v": "int64"}, anchor="*.txt")(functools.partial(power, exponent=3))
first, second = [scaledproc.extractor(schema={"v": "int64"})(each) for each in (lambda t: {"v": 1}, lambda t: {"v": 2})]


class Mean(scaledproc.Extractor):
    name = "mean"
    anchors = ("*.txt",)

    def __init__(self, window=60):
        self._window = window

    @property
    def schema(self):
        return pa.schema([("v", pa.int64())])

    def extract(self, task):
        return {"v": self._window}
'''
FILES = {
    "feat.py": FEAT,
    "helpers.py": "from deeper import ten\n\ndef add(value):\n    return value + ten()\n",
    "deeper.py": "def ten():\n    return 10\n",
    "scaling.py": "def scale(value):\n    return value * 2\n",
    "lazy.py": "def late(value):\n    return value\n",
    "tools/__init__.py": "",
    "tools/near.py": "from . import far\nfrom .inner.most import one\n\ndef near(value): return far.far(value) + one\n",
    "tools/far.py": "def far(value):\n    return value\n",
    "tools/inner/__init__.py": "",
    "tools/inner/most.py": "from ..sibling import one\n",
    "tools/sibling.py": "one = 1\n",
    "tools/unused.py": "nothing = 0\n",
    "unused.py": "nothing = 0\n",
}


class Lab:
    """A folder of modules, each time loaded as a new process would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write(FILES)

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text)
            shutil.rmtree((self.folder / name).parent / "__pycache__", ignore_errors=True)

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text()
        assert old in text
        self.write({name: text.replace(old, new)})

    def forget(self) -> None:
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(str(self.folder)):
                del sys.modules[name]
        importlib.invalidate_caches()
        sys.path[:] = [entry for entry in sys.path if entry != str(self.folder)]

    def load(self, name: str = "f", file: str = "feat.py") -> Extractor:
        self.forget()
        return load_extractor(f"{self.folder / file}:{name}")

    def look(self, name: str = "f", file: str = "feat.py") -> Fingerprint:
        return fingerprint_of(self.load(name, file))


def told(was: Fingerprint, now: Fingerprint) -> str:
    """What differs, in words; the texts differ exactly when parts do."""
    differ = extractor_differences(was.parts, now)
    assert (was.text != now.text) == bool(differ)
    return texts_of(differ)


SHOW = """
import base64, pickle, sys
from scaledproc.extractors.code.fingerprint import fingerprint_of
for part in fingerprint_of({0}).parts.items():
    print(*part)
"""


def run_python(*words: str, stdin: str | None = None, seed: str = "0", folder: Path | None = None) -> str:
    done = subprocess.run(
        [sys.executable, *words],
        input=stdin,
        env={**os.environ, "PYTHONHASHSEED": seed},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


CELL = """
import functools, scaledproc
import numpy as np
FACTOR = 3
TAGS = {"b", "a", "c"}
class Config:
    def __init__(self, k): self.k = k
config = Config(1)
@functools.cache
def helper(x): return x * 10
@scaledproc.extractor(schema={"v": "int64"}, anchor="*.txt", unit="file")
def f(task):
    return {"v": helper(int(task.path.read_text())) * FACTOR * config.k * len(TAGS) + np.int64(0)}
"""


class Notebook:
    """Cells that are run one after the other, as a kernel does it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.module = ModuleType("__main__")
        self.count = 0
        monkeypatch.setitem(sys.modules, "__main__", self.module)
        self.run(CELL)

    def run(self, cell: str) -> None:
        self.count += 1
        exec(compile(textwrap.dedent(cell), f"/tmp/ipykernel_1/{self.count}.py", "exec"), vars(self.module))

    def look(self, name: str = "f") -> Fingerprint:
        return fingerprint_of(getattr(self.module, name))
