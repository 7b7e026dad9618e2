"""Rooms that import-linter cannot tell apart: it knows `backends/` by its folder, and not as `scaledproc.backends`."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import TreeWriter

PACKAGE = Path(__file__).parents[2] / "scaledproc"
GROUP = "ENTRY_POINTS"
"""The name that has the group of entry points, which is called as the package is."""
_BACKENDS = re.compile(r"(scaledproc\.|\.*)backends([.:].*)?")


def imports_of_backends(package: Path) -> list[str]:
    """Where modules of a package name the backends' package: in an import, or in a text that can be imported."""
    return [
        f"{path.relative_to(package).as_posix()}:{line}"
        for path in sorted(package.rglob("*.py"))
        for line in _lines(ast.parse(path.read_text(encoding="utf-8")))
    ]


def _lines(tree: ast.Module) -> Iterator[int]:
    is_group = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [GROUP]
    }
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                names = [each.name for each in node.names]
            case ast.ImportFrom():
                home = "." * node.level + (node.module or "")
                names = [f"{home}{'' if home.endswith('.') else '.'}{each.name}" for each in node.names]
            case ast.Constant(value=str(text)) if node not in is_group:
                names = [text]
            case _:
                continue
        if any(_BACKENDS.fullmatch(name) for name in names):
            yield node.lineno


def test_nothing_imports_a_backend() -> None:
    """Each is found by its entry point."""
    assert len(list(PACKAGE.rglob("*.py"))) > 100
    assert imports_of_backends(PACKAGE) == []


@pytest.mark.parametrize(
    "line",
    [
        "import backends",
        "import json, scaledproc.backends.local",
        "from backends import local",
        "from backends.sagemaker.settings import Settings",
        "from scaledproc import backends",
        "from scaledproc.backends.sagemaker import settings",
        "from .. import backends",
        "from ..backends.local import LocalBackend",
        "import_module('scaledproc.backends.local')",
        "import_module(f'scaledproc.backends.{name}')",
        "__import__('backends')",
        "find_spec('.backends', 'scaledproc')",
        "lazily(__name__, {'backends.local': ('LocalBackend',)})",
        "GROUP = 'scaledproc.backends'",
    ],
)
def test_an_import_of_a_backend_is_found_wherever_it_stands(tree: TreeWriter, line: str) -> None:
    inner = f"def late() -> None:\n    {line}\n"
    package = tree({"engine/a.py": line.encode(), "engine/b.py": inner.encode(), "c.py": b"import scaledproc.backend"})
    assert imports_of_backends(package) == ["engine/a.py:1", "engine/b.py:2"]


def test_what_is_no_import_of_a_backend_is_not_taken_for_one(tree: TreeWriter) -> None:
    text = (
        f"{GROUP} = 'scaledproc.backends'\nfrom scaledproc.backend import base\nfrom .backend_settings import table\n"
        "about = 'the backends of a run'\nplugins(ENTRY_POINTS, 'local')\n"
    )
    assert imports_of_backends(tree({"a.py": text.encode()})) == []


def test_each_folder_of_code_is_installed() -> None:
    """A checkout that is installed with `-e` has all folders; what `pip install .` takes stands in a list."""
    root = PACKAGE.parent
    found = {".".join(path.parent.relative_to(root).parts) for path in PACKAGE.rglob("*.py")}
    found |= {
        ".".join(("scaledproc", *path.parent.relative_to(root).parts)) for path in (root / "backends").rglob("*.py")
    }
    listed = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    assert sorted(found.difference(listed)) == [], "add it to packages in pyproject.toml"
    assert sorted(set(listed).difference(found)) == [], "take it out of packages in pyproject.toml"
