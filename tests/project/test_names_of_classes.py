"""A class's name says what it is by itself: none is taken by several, but where that is known."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
SEVERAL = {
    "Account",
    "Choice",
    "Column",
    "Limits",
    "Part",
    "Place",
    "Recommendation",
    "Selection",
    "Settings",
    "Timeline",
}
"""Names of several classes: one may go, none comes. `Settings` is what each backend has."""


def shared_names(sources: Iterable[str]) -> set[str]:
    """Names of public classes that several of some modules define."""
    found: defaultdict[str, int] = defaultdict(int)
    for source in sources:
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name] += 1
    return {name for name, count in found.items() if count > 1}


def test_each_class_has_a_name_of_its_own() -> None:
    files = [file for folder in ("scaledproc", "backends") for file in sorted((ROOT / folder).rglob("*.py"))]
    assert len(files) > 250
    assert shared_names(file.read_text(encoding="utf-8") for file in files) == SEVERAL


def test_what_counts_as_shared() -> None:
    assert shared_names(["class A: ...\nclass B: ...\nclass _C: ...", "class A: ...\nclass _C: ..."]) == {"A"}
