"""What an extractor's rows depend on: what changes its fingerprint, what does not, and how it is told."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest

import scaledproc
from scaledproc.errors import UsageError
from scaledproc.extractors import Extractor, load_extractor
from scaledproc.extractors.code.fingerprint import Fingerprint, fingerprint_of
from scaledproc.extractors.tables import tables_of
from scaledproc.extractors.wfdb.summary import WfdbSummary
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


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path / "lab")
    yield made
    made.forget()


def told(was: Fingerprint, now: Fingerprint) -> str:
    """What differs, in words; the texts differ exactly when parts do."""
    differ = extractor_differences(was.parts, now)
    assert (was.text != now.text) == bool(differ)
    return texts_of(differ)


# Files

EDITS = {
    "a helper": ("helpers.py", "value + ten()", "value - ten()", "helpers.py changed"),
    "a helper's helper": ("deeper.py", "return 10", "return 11", "deeper.py changed"),
    "a name from a module": ("scaling.py", "* 2", "* 3", "scaling.py changed"),
    "a helper that is imported late": ("lazy.py", "return value", "return -value", "lazy.py changed"),
    "a module of a package": ("tools/near.py", "+ one", "- one", "tools/near.py changed"),
    "a relative import": ("tools/far.py", "return value", "return -value", "tools/far.py changed"),
    "a relative import from above": ("tools/sibling.py", "1", "2", "tools/sibling.py changed"),
    "the package itself": ("tools/__init__.py", "", "import gc\ngc.isenabled()\n", "tools/__init__.py"),
    "a method": ("feat.py", "self.shift(self.shift(value))", "self.shift(value)", "feat.py changed"),
    "a base class": ("feat.py", "value + self.offset", "value - self.offset", "feat.py changed"),
    "a class's attribute": ("feat.py", "offset = 1", "offset = 2", "feat.py changed; Base.offset: 2, was 1"),
    "a global": ("feat.py", "FACTOR = 3", "FACTOR = 4", "feat.py changed; global FACTOR: 4, was 3"),
    "a computed global": ("feat.py", '"[1, 2]"', '"[1, 3]"', "feat.py changed; global TABLE: [1, 3], was [1, 2]"),
    "a default": ("feat.py", "window=30", "window=60", "feat.py changed; the default of f(window): 60, was 30"),
    "a decorated function": ("feat.py", "np.int64(0)", "np.int64(1)", "feat.py changed"),
    "what decorates it": ("feat.py", "return function(task)", "return dict(function(task))", "feat.py changed"),
    "a cached function": ("feat.py", "value * FACTOR", "value + FACTOR", "feat.py changed"),
    "the schema": ("feat.py", '{"v": "int64"}, anchor="*.txt", unit', '{"v": "int32"}, anchor="*.txt", unit', "int32"),
}
NO_EDITS = {
    "a comment": ("helpers.py", "    return", "    # how much\n    return"),
    "a comment in its own file": ("feat.py", "FACTOR = 3", "FACTOR = 3  # three"),
    "a docstring": ("feat.py", '"""Rows."""', '"""Rows of values."""'),
    "a new docstring": ("helpers.py", "    return", '    """Add ten."""\n    return'),
    "a module's docstring": ("feat.py", '"""Features."""', '"""All features."""'),
    "the layout": ("helpers.py", "return value + ten()", "return (\n        value\n        + ten()\n    )"),
    "quotes": ("feat.py", '"[1, 2]"', "'[1, 2]'"),
    "what runs as a script": ("helpers.py", "def add", "if __name__ == '__main__':\n    add(1)\n\n\ndef add"),
    "a module that it does not import": ("unused.py", "0", "1"),
    "a module of its package that it does not import": ("tools/unused.py", "0", "1"),
}


@pytest.mark.parametrize("case", EDITS)
def test_an_edit_is_seen_and_named(lab: Lab, case: str) -> None:
    file, old, new, expected = EDITS[case]
    before = lab.look()
    lab.edit(file, old, new)
    assert expected in told(before, lab.look())


@pytest.mark.parametrize("case", NO_EDITS)
def test_what_changes_no_row_is_no_edit(lab: Lab, case: str) -> None:
    before = lab.look()
    lab.edit(*NO_EDITS[case])
    assert lab.look() == before


def test_a_renamed_function_is_another_extractor(lab: Lab) -> None:
    before = lab.look()
    lab.edit("feat.py", "def f(task", "def g(task")
    assert told(before, lab.look("g")).startswith("the extractor's name: 'g', was 'f'")


def test_partials_lambdas_and_options(lab: Lab) -> None:
    before = lab.look("two")
    assert "option exponent" in before.parts
    lab.edit("feat.py", "exponent=3", "exponent=4")
    assert "exponent: 4, was 3" in told(before, lab.look("two"))
    assert lab.look("first").parts["code"] != lab.look("second").parts["code"], "on one line"
    mean = type(lab.load("Mean"))
    assert told(fingerprint_of(mean(30)), fingerprint_of(mean(60))) == "window: 60, was 30"  # type: ignore[call-arg]
    assert fingerprint_of(mean(30)) == fingerprint_of(mean(30))  # type: ignore[call-arg]


def test_a_method_of_an_extractor_class(lab: Lab) -> None:
    before = lab.look("Mean")
    lab.edit("feat.py", '{"v": self._window}', '{"v": self._window + 1}')
    assert told(before, lab.look("Mean")) == "feat.py changed"
    lab.edit("feat.py", 'name = "mean"', 'name = "mean"\n    version = "2"')
    assert "the extractor's version: '2', was '1'" in told(before, lab.look("Mean"))


def test_a_module_and_its_file_are_the_same_code(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    by_file = lab.look()
    lab.forget()
    monkeypatch.syspath_prepend(str(lab.folder))
    assert fingerprint_of(load_extractor("feat:f")) == by_file


def test_installed_packages_count_by_their_version(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    before = lab.look()
    assert before.parts["package numpy"] == importlib.import_module("numpy").__version__
    assert "package scaledproc" not in before.parts, "a new release must not throw everything away"
    lab.edit("lazy.py", "return value", "import yaml\n    return value")  # of a distribution of another name
    found = lab.look().parts
    assert found["package pyyaml"] if "package pyyaml" in found else found["package PyYAML"]


def test_a_built_in_extractor_counts_by_name_and_version() -> None:
    assert fingerprint_of(load_extractor("wfdb-summary")).text == f"wfdb-summary {WfdbSummary.version}"
    assert load_extractor("wfdb-summary", {"signal_names": "x"}).fingerprint == f"wfdb-summary {WfdbSummary.version}"


def test_what_a_built_in_extractor_says_of_its_further_tables_costs_no_task() -> None:
    one, other = (load_extractor("wfdb-windows", {"beats_table": True}) for _ in range(2))
    other.tables = {
        name: schema.set(0, schema.field(0).with_metadata({"description": "Another text."}))
        for name, schema in tables_of(other).items()
    }
    assert tables_of(one)["beats"].field(0).metadata != tables_of(other)["beats"].field(0).metadata
    assert fingerprint_of(one) == fingerprint_of(other)


def test_what_derives_from_a_built_in_is_told_by_its_own_code(lab: Lab) -> None:
    lab.write(
        {
            "mine.py": "from scaledproc.extractors.wfdb.summary import WfdbSummary\n\n\n"
            "class Mine(WfdbSummary):\n    name = 'mine'\n    def extract(self, task):\n        return []\n"
        }
    )
    before = lab.look("Mine", "mine.py")
    assert before.parts["base wfdb-summary"] == repr(WfdbSummary.version)
    lab.edit("mine.py", "return []", "return super().extract(task)")
    assert told(before, lab.look("Mine", "mine.py")) == "mine.py changed"


def test_a_fingerprint_of_ones_own_is_all_that_counts(lab: Lab) -> None:
    lab.edit("feat.py", 'name = "mean"', 'name = "mean"\n    fingerprint = "mine 1"')
    assert lab.look("Mean") == Fingerprint({"fingerprint": "mine 1"}, "mine 1")


def test_the_environment_that_is_declared(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.edit("feat.py", 'unit="file")', 'unit="file", env=["MODEL", "API_TOKEN"])')
    monkeypatch.delenv("MODEL", raising=False)
    monkeypatch.setenv("API_TOKEN", "hush")
    before = lab.look()
    monkeypatch.setenv("MODEL", "large")
    assert told(before, lab.look()) == "the environment variable MODEL: 'large', was not set"
    assert "hush" not in str(lab.look())
    assert told(before, lab.look()) != ""


def test_secrets_and_long_values_are_not_written(lab: Lab) -> None:
    lab.edit("feat.py", "FACTOR = 3", f"FACTOR = 3\nPASSWORD = 'swordfish'\nLONG = 'x{'y' * 1000}'")
    lab.edit("feat.py", "value * FACTOR", "len(PASSWORD + LONG) + FACTOR")
    before = lab.look()
    assert "swordfish" not in str(before.parts)
    assert max(map(len, before.parts.values())) < 100
    lab.edit("feat.py", "swordfish", "sawfish")
    assert "global PASSWORD changed" in told(before, lab.look())


# The same in all processes

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


def test_a_module_of_another_extractors_folder_is_not_taken_for_the_neighbour(lab: Lab, tmp_path: Path) -> None:
    other = Lab(tmp_path / "other")
    try:
        other.look()
        with pytest.raises(
            UsageError, match=r"gives .*other/.*\.py in this Python, and not .*lab/.*\.py, which lies beside"
        ):
            fingerprint_of(load_extractor(f"{lab.folder / 'feat.py'}:f"))
    finally:
        other.forget()
    lab.look()


def test_an_extractors_file_is_not_looked_for_among_neighbours(lab: Lab, tmp_path: Path) -> None:
    """As a module it is called `scaledproc.extractors.files.…`, and a checkout has a folder of that name."""
    other = tmp_path / "other/base.py"
    other.parent.mkdir()
    other.write_text("def base(task):\n    return {'v': 1}\n")
    wrap = f"""
import scaledproc
from pathlib import Path
from scaledproc.extractors.files import import_file

base = import_file(Path({str(other)!r})).base


@scaledproc.extractor(schema={{"v": "int64"}}, anchor="*.txt")
def g(task):
    return base(task)
"""
    lab.write({"scaledproc/__init__.py": "", "wrap.py": wrap})
    assert any("base.py" in name for name in lab.look("g", "wrap.py").parts)


def test_processes_machines_and_hash_seeds_agree(lab: Lab, tmp_path: Path) -> None:
    from joblib.externals.loky.backend.reduction import dumps

    lab.edit("feat.py", "FACTOR = 3", "FACTOR = 3\nfrom pathlib import Path\nHERE = Path(__file__).parent / 'x'")
    lab.edit("feat.py", "return value * FACTOR", "return value * FACTOR * len(str(HERE))")
    here = "".join(f"{name} {part}\n" for name, part in fingerprint_of(lab.load()).parts.items())
    pickled = bytes(dumps(lab.load()))
    elsewhere = shutil.copytree(lab.folder, tmp_path / "another" / "place")
    load = "from scaledproc.extractors import load_extractor\n" + SHOW.format(
        f"load_extractor({str(elsewhere / 'feat.py')!r} + ':f')"
    )
    assert run_python("-c", load, seed="1") == here
    sent = f"import sys; sys.path.append({str(lab.folder)!r})" + SHOW.format(f"pickle.loads({pickled!r})")
    assert run_python("-c", sent, seed="2") == here


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


def test_code_without_a_file_is_the_same_however_it_is_run(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(CELL + SHOW.format("f"))
    send = (
        "\nfrom scaledproc.execution.workers.sending import check_sendable\ncheck_sendable(f)\n"
        "from joblib.externals.loky.backend.reduction import dumps\nprint(bytes(dumps(f)).hex())"
    )
    by_text = run_python("-c", CELL + SHOW.format("f"), seed="1")
    assert run_python("script.py", seed="2", folder=tmp_path) == by_text
    assert "global config Config(k=1)" in by_text
    pickled = run_python("-", stdin=CELL + send, seed="3").strip()
    assert run_python("-c", SHOW.format(f"pickle.loads(bytes.fromhex({pickled!r}))"), seed="4") == by_text


# Notebooks


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


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    return Notebook(monkeypatch)


CELLS = {
    "a global": ("FACTOR = 7", "global FACTOR: 7, was 3"),
    "a global in place": ("TAGS.add('d')", "global TAGS: set {'a', 'b', 'c', 'd'}, was set {'a', 'b', 'c'}"),
    "an object": ("config = Config(3)", "global config: Config(k=3), was Config(k=1)"),
    "an object in place": ("config.k = 5", "global config: Config(k=5), was Config(k=1)"),
    "a helper": ("@functools.cache\ndef helper(x): return x * 1000", "helper changed"),
    "another type": ("FACTOR = 3.0", "global FACTOR: 3.0, was 3"),
    "a class": (
        "class Config:\n    def __init__(self, k): self.k = -k\nconfig = Config(1)",
        "Config.__init__ changed; global config: Config(k=-1), was Config(k=1)",
    ),
    "a helper by another": ("@functools.cache\ndef other(x): return x\nhelper = other", "other is new"),
}


@pytest.mark.parametrize("case", CELLS)
def test_what_a_cell_changes_is_seen(notebook: Notebook, case: str) -> None:
    cell, expected = CELLS[case]
    before = notebook.look()
    notebook.run(cell)
    assert expected in told(before, notebook.look())


@pytest.mark.parametrize(
    "cell",
    [
        CELL,
        "@functools.cache\ndef helper(x):\n    'Ten times.'\n    # a comment\n    return (x *\n  10)",
        "unrelated = 7",
        "helper(3)",
    ],
)
def test_a_cell_that_changes_nothing(notebook: Notebook, cell: str) -> None:
    before = notebook.look()
    notebook.run(cell)
    assert notebook.look() == before


VALUES = [
    ("[1, 2]", "(1, 2)"),
    ("{'a': 1}", "{'a': 2}"),
    ("1", "True"),
    ("np.arange(4)", "np.arange(4) + 1"),
    ("np.arange(4)", "np.arange(4).reshape(2, 2)"),
    ("np.arange(4)", "np.arange(4, dtype='i4')"),
    ("np.array(['a', None], object)", "np.array(['b', None], object)"),
    ("np.float32(1)", "np.float64(1)"),
    ("pd.DataFrame({'a': [1, 2], 'b': ['x', None]})", "pd.DataFrame({'a': [1, 2], 'b': ['y', None]})"),
    ("pd.DataFrame({'a': [1, 2]})", "pd.DataFrame({'a': [1, 2]}, index=[1, 2])"),
    ("pd.Series(['a', 'b'], dtype='category')", "pd.Series(['a', 'c'], dtype='category')"),
    ("pa.table({'a': [1]})", "pa.table({'a': [2]})"),
    ("pa.array([[1], None])", "pa.array([[2], None])"),
    ("Point(1, [2])", "Point(1, [3])"),
    ("re.compile('a')", "re.compile('a', re.I)"),
    ("Path('a')", "Path('b')"),
    ("datetime.date(2026, 1, 1)", "datetime.date(2026, 1, 2)"),
    ("Color.RED", "Color.BLUE"),
    ("collections.Counter('aab')", "collections.Counter('abb')"),
    ("collections.deque([1])", "collections.deque([2])"),
    ("types.SimpleNamespace(k=1)", "types.SimpleNamespace(k=2)"),
    ("Slotted(1)", "Slotted(2)"),
    ("functools.partial(min, 1)", "functools.partial(min, 2)"),
    ("functools.partial(min, 1)", "functools.partial(max, 1)"),
    ("(lambda x: x)", "(lambda x: -x)"),
    ("Config(1).__init__", "Config(2).__init__"),
    ("{'f': [lambda: 1]}", "{'f': [lambda: 2]}"),
    ("np.vectorize(lambda x: x)", "np.vectorize(lambda x: -x)"),
    ("np.random.default_rng(1)", "np.random.default_rng(2)"),
    ("zip", "map"),
    ("b'a' * 1000", "b'a' * 1001"),
    ("float('nan')", "float('inf')"),
    ("Config(Config(1))", "Config(Config(2))"),
    ("16**5000", "16**5001"),  # of more digits than Python writes
    ("{16**5000: 1}", "{16**5000: 2}"),
    ("[range(16**5000)]", "[range(16**5001)]"),
    ("Fraction(1, 16**5000)", "Fraction(1, 16**5001)"),
]
IMPORTS = """
import collections, datetime, enum, re, types
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
import pandas as pd
import pyarrow as pa
Color = enum.Enum("Color", "RED BLUE")
@dataclass
class Point:
    x: int
    y: list
class Slotted:
    __slots__ = ("a",)
    def __init__(self, a): self.a = a
def make(enclosed):
    return scaledproc.extractor(schema={"v": "int64"})(lambda task: enclosed)
"""


@pytest.mark.parametrize(("one", "other"), VALUES)
def test_what_is_enclosed_counts_by_its_value(notebook: Notebook, one: str, other: str) -> None:
    notebook.run(IMPORTS)
    for name, text in (("a", one), ("b", one), ("c", other)):
        notebook.run(f"{name} = make({text})")
    same, again, changed = map(notebook.look, "abc")
    assert same == again
    assert not same.notes
    assert "enclosed" in told(same, changed)


def test_what_cannot_be_told_counts_by_its_type_and_is_said(notebook: Notebook, tmp_path: Path) -> None:
    notebook.run(
        IMPORTS + "import socket, threading\nconfig.channel = [socket.socket()]\nconfig.lock = threading.Lock()"
    )
    found = notebook.look()
    assert found.notes == (
        "global config.channel (socket.socket) of f cannot be compared: a change of it goes unnoticed",
    )
    notebook.run("config.channel[0].close(); config.channel = [socket.socket()]")
    assert notebook.look() == found
    (tmp_path / "a.txt").write_text("1")
    assert found.notes[0] in scaledproc.plan(tmp_path, extractor=notebook.module.f).warnings
    notebook.run("config.channel[0].close()")


def test_values_that_contain_themselves(notebook: Notebook) -> None:
    notebook.run(IMPORTS + "loop = [1]; loop.append(loop); other = [2]; other.append(other)")
    notebook.run("config = Config(loop); loop.append(config)")
    before = notebook.look()
    assert notebook.look() == before
    notebook.run("config = Config(other)")
    assert "global config" in told(before, notebook.look())


def test_functions_that_call_each_other_and_themselves(notebook: Notebook) -> None:
    notebook.run("def even(n): return n == 0 or odd(n - 1)\ndef odd(n): return n != 0 and even(n - 1)")
    notebook.run("helper = functools.cache(even)")
    before = notebook.look()
    notebook.run("def odd(n): return n == 1 or even(n - 1)")
    assert told(before, notebook.look()) == "odd changed"


def test_a_module_that_was_edited_after_it_was_loaded_is_refused(
    lab: Lab, notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.forget()
    monkeypatch.syspath_prepend(str(lab.folder))
    notebook.run("import scaling\nfrom scaling import scale\nhelper = functools.cache(lambda x: scale(x))")
    before = notebook.look()
    lab.edit("scaling.py", "* 2", "* 300")
    with pytest.raises(scaledproc.UsageError, match=r"scaling.py was edited after .*importlib.reload\(scaling\)"):
        notebook.look()
    notebook.run("import importlib; importlib.reload(scaling)")
    assert told(before, notebook.look()) != "", "the old function is still in use"
    notebook.run("from scaling import scale")
    assert told(before, notebook.look()) == "scaling.py changed"


def test_imports_within_a_notebooks_function(lab: Lab, notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.forget()
    monkeypatch.syspath_prepend(str(lab.folder))
    notebook.run("@functools.cache\ndef helper(x):\n    from tools import near\n    return near.near(x)")
    before = notebook.look()
    assert "file tools/sibling.py" in before.parts
    lab.edit("tools/sibling.py", "1", "2")
    assert told(before, notebook.look()) == "tools/sibling.py changed"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    for number in range(3):
        (tmp_path / "data" / f"{number}.txt").write_text(str(number))
    return tmp_path / "data"


def test_what_a_run_in_this_process_changes_itself_is_no_edit(notebook: Notebook, data: Path, tmp_path: Path) -> None:
    notebook.run(
        """
        CACHE, model = {}, None
        def helper(x):
            global model
            model = model or Config(x)
            return CACHE.setdefault(x, x * 10)
        """
    )
    already: list[bool] = []

    def listen(event: Any) -> None:
        already.append(getattr(event, "already", False))

    def run() -> list[int]:
        done = scaledproc.run(data, tmp_path / "out", extractor=notebook.module.f, jobs=1, on_event=listen)
        return [row["v"] for row in done.to_arrow().to_pylist()]

    assert run() == run() == [0, 90, 180]
    assert already[-1]
    assert notebook.module.CACHE
    notebook.run("CACHE[1] = 77")
    with pytest.raises(scaledproc.UsageError, match="global CACHE"):
        run()


def test_schema_order_alone(notebook: Notebook) -> None:
    one, other = (
        scaledproc.extractor(schema=pa.schema([(name, "int64") for name in names]))(notebook.module.helper)
        for names in ("ab", "ba")
    )
    assert told(fingerprint_of(one), fingerprint_of(other)) == "the schema changed"
