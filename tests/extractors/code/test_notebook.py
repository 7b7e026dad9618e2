"""What an extractor of a notebook's cells depends on: objects that no file has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from changing_code import CELL, Lab, Notebook, told

import scaledproc
from scaledproc.extractors.code.fingerprint import fingerprint_of

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
