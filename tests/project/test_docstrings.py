"""What the docstrings of the package promise by their form: each *Raises* entry says when."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("scaledproc", "backends")
BEGINNINGS = ("If ", "When ", "Where ")
UNNAMED = re.compile(r"(If|When|Where) (it|they|that|its|their|one (?!of\b))\b")
"""A condition that does not say of what it is."""
BESIDE_ANOTHER = re.compile(r"The same(,|\.|;| (of|as|for|in|where|by|without|so)\b)")
"""A first line that only its neighbour's explains."""
SHORTEST = 25  # characters; less does not tell of whom, and when


def raises_entries(docstring: str) -> Iterator[tuple[str, str]]:
    """The errors of a numpydoc *Raises* section, each with its text."""
    lines = inspect.cleandoc(docstring).splitlines()
    underlined = [n for n, line in enumerate(lines[1:]) if line and not line.strip("-")]
    for start in (n for n in underlined if lines[n] == "Raises"):
        end = next((n for n in underlined if n > start), len(lines))
        error, text = "", list[str]()
        for line in lines[start + 2 : end]:
            if line.startswith(" "):
                text.append(line.strip())
            elif line:
                if error:
                    yield error, " ".join(text)
                error, text = line, []
        if error:
            yield error, " ".join(text)


def faults(source: str) -> Iterator[str]:
    """The entries of a module that do not state a condition, by class and function."""

    def visit(node: ast.AST, where: str) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            name = where
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                name = f"{where}.{child.name}".lstrip(".")
                for error, text in raises_entries(ast.get_docstring(child) or ""):
                    if not text.startswith(BEGINNINGS) or len(text) < SHORTEST or UNNAMED.match(text):
                        yield f"{name}, {error}: {text!r}"
            yield from visit(child, name)

    return visit(ast.parse(source), "")


@pytest.mark.parametrize("folder", FOLDERS)
def test_raises_entries_state_a_condition(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    found = [f"{file.relative_to(ROOT)}: {fault}" for file in files for fault in faults(file.read_text())]
    assert not found, "\n".join(
        ["say when, in a sentence that begins with If, When or Where and names what it is about:", *found]
    )


def first_lines(source: str) -> Iterator[str]:
    """The first line of each docstring of a module that only another one explains."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    texts = [ast.get_docstring(node) or "" for node in ast.walk(ast.parse(source)) if isinstance(node, documented)]
    return (line for line in (text.partition("\n")[0] for text in texts) if BESIDE_ANOTHER.match(line))


@pytest.mark.parametrize("folder", FOLDERS)
def test_first_lines_say_of_what_they_are(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    found = [f"{file.relative_to(ROOT)}: {line}" for file in files for line in first_lines(file.read_text())]
    assert not found, "\n".join(["say what it is the same as:", *found])
    assert list(first_lines('def f():\n    """The same, but faster.\n\n    Fast.\n    """')) == [
        "The same, but faster."
    ]


@pytest.mark.parametrize(("folder", "least"), [("scaledproc", 150), ("backends", 40)])
def test_there_are_entries_to_look_at(folder: str, least: int) -> None:
    nodes = [node for file in (ROOT / folder).rglob("*.py") for node in ast.walk(ast.parse(file.read_text()))]
    documented = [node for node in nodes if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)]
    assert sum(len(list(raises_entries(ast.get_docstring(node) or ""))) for node in documented) >= least


MODULE = '''
class A:
    """Hold one.

    Raises
    ------
    ValueError
        If the name of the class is not a name.
    """

    async def f(self):
        """Do it.

        Raises
        ------
        OSError
            It cannot.
        KeyError, TypeError
            If the folder
            holds another plan.
        ValueError
            If it is short.
        RuntimeError
        TypeError
            If it is something that has no name.
        LookupError
            If one has another value.

        Notes
        -----
        Not
            of this section.
        """


def g():
    """Raise nothing.

    Returns
    -------
    int
        Short.
    """
'''


def test_what_is_found() -> None:
    assert list(faults(MODULE)) == [
        "A.f, OSError: 'It cannot.'",
        "A.f, ValueError: 'If it is short.'",
        "A.f, RuntimeError: ''",
        "A.f, TypeError: 'If it is something that has no name.'",
        "A.f, LookupError: 'If one has another value.'",
    ]
