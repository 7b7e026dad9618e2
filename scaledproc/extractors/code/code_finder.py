"""Which modules code imports: found by reading it, nothing is imported for it."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any, Literal, NamedTuple

_OWN = Path(__file__).resolve().parents[2]
_STDLIB = tuple({Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")})
_INSTALLED = frozenset({"site-packages", "dist-packages"})
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_SILENT = frozenset({"type_comment", "type_ignores", "kind", "ctx"})
_BLOCKS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class Import(NamedTuple):
    """An import statement: `from ..module import names` has two levels."""

    module: str
    level: int = 0
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class PythonFile:
    """A file of Python, read.

    Parameters
    ----------
    digest
        Of what it says: the same with other comments, docstrings, line breaks and spaces, and whatever stands under
        `if __name__ == "__main__"`.
    imports
        All in it, also those within functions.
    is_empty
        Whether it says nothing.
    functions
        The functions in it, by their first lines.
    """

    digest: str
    imports: tuple[Import, ...]
    is_empty: bool
    functions: Mapping[int, list[Function]] = field(default_factory=dict, repr=False, compare=False)


@dataclass
class Reached:
    """What code imports, directly and through what it imports.

    Parameters
    ----------
    files
        Modules that are not installed, by their name; extension modules too.
    installed
        Files of installed packages that are imported, by the name of the module; None where it has no file.
    """

    files: dict[str, Path] = field(default_factory=dict)
    installed: dict[str, Path | None] = field(default_factory=dict)


Kind = Literal["own", "standard", "installed", "local"]


def kind_of(path: Path) -> Kind:
    """Whose a module is, by its file: scaledproc's own, Python's, an installed package's, or the user's."""
    return _kind_of(str(path))


@lru_cache(maxsize=4096)
def _kind_of(path: str) -> Kind:
    if _INSTALLED & set(Path(path).parts):
        return "own" if Path(path).is_relative_to(_OWN) else "installed"
    resolved = Path(path).resolve()
    if resolved.is_relative_to(_OWN):
        return "own"
    return "standard" if any(resolved.is_relative_to(folder) for folder in _STDLIB) else "local"


def read_source(path: Path) -> PythonFile:
    """A file of Python; what cannot be read as such counts by its bytes.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    return _parsed(path.read_bytes())


@lru_cache(maxsize=512)
def _parsed(content: bytes) -> PythonFile:
    # Kept by content: an edit within a tick of the file system's clock may change neither a file's time nor its size.
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError):
        return PythonFile(hashlib.sha256(content).hexdigest(), (), is_empty=False)
    kept = ast.Module([each for each in _without_docstring(tree) if not _is_main_block(each)], [])
    functions: dict[int, list[Function]] = {}
    for node in ast.walk(tree):
        if isinstance(node, Function):
            decorators = getattr(node, "decorator_list", ())
            functions.setdefault(min([node.lineno, *(each.lineno for each in decorators)]), []).append(node)
    return PythonFile(digest_of_node(kept), tuple(imports_in(tree)), is_empty=not kept.body, functions=functions)


def digest_of_node(node: ast.AST) -> str:
    """A hash of what a piece of code says, the same in all versions of Python that have the same grammar for it."""
    words: list[str] = []
    _add_words(node, words)
    return hashlib.sha256("".join(words).encode(errors="surrogatepass")).hexdigest()


def _add_words(node: Any, words: list[str]) -> None:
    """A syntax tree as text, without what does not matter, and without fields that only some versions have."""
    if isinstance(node, ast.AST):
        words.append(f"({type(node).__name__}")
        for name in node._fields:
            if name in _SILENT:
                continue
            value = getattr(node, name, None)
            if (value is None or value == []) and not isinstance(node, ast.Constant):
                continue
            if name == "body" and isinstance(node, _BLOCKS):
                value = _without_docstring(node)
            words.append(f" {name}=")
            _add_words(value, words)
        words.append(")")
    elif isinstance(node, list):
        words.append("[")
        for each in node:
            _add_words(each, words)
            words.append(",")
        words.append("]")
    else:
        words.append(f"{type(node).__name__}:{node!r}")


def _without_docstring(node: Any) -> list[ast.stmt]:
    body: list[ast.stmt] = node.body
    return body[1:] if ast.get_docstring(node, clean=False) is not None else body


def _is_main_block(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.If)
        and not node.orelse
        and isinstance(node.test, ast.Compare)
        and ast.unparse(node.test) in ("__name__ == '__main__'", "'__main__' == __name__")
    )


def imports_in(tree: ast.AST) -> Iterator[Import]:
    """All imports in some code, those in functions too, and those by a function where the name is written out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield Import(node.module or "", node.level, tuple(alias.name for alias in node.names))
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            name = node.args[0].value
            if called in ("import_module", "__import__") and isinstance(name, str):
                levels = len(name) - len(name.lstrip("."))
                yield Import(name.lstrip("."), levels)


def reach(imports: Iterable[Import], package: str = "", folder: Path | None = None) -> Reached:
    """What some imports lead to.

    Parameters
    ----------
    imports
        As they stand in the code.
    package
        The package that the code is in, for relative ones.
    folder
        Where modules are looked for that are not on Python's path.
    """
    found = Reached()
    seen: set[str] = set()
    pending = [name for each in imports for name in _names(each, package)]
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        spec = _find(name, folder)
        if spec is None:
            continue
        if spec.origin in (None, "namespace"):
            continue
        if spec.origin in ("built-in", "frozen"):
            continue
        path = Path(str(spec.origin))
        kind = kind_of(path)
        if kind == "installed" or (kind == "own" and name.partition(".")[2] not in ("", "extractors")):
            found.installed[name] = path
        elif kind == "local" and not path.is_file():  # in a zip file, say
            found.installed[name] = None
        elif kind == "local":
            found.files[name] = path
            inner = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
            pending += [each for line in imports_of(path) for each in _names(line, inner)]
    return found


def imports_of(path: Path) -> tuple[Import, ...]:
    """The imports of a file; none of one that is no Python."""
    if path.suffix != ".py":
        return ()
    with contextlib.suppress(OSError):
        return read_source(path).imports
    return ()


def _names(line: Import, package: str) -> Iterator[str]:
    """The modules that an import may lead to: each package on the way, and what may be a module of one."""
    base = line.module
    if line.level:
        parts = package.split(".") if package else []
        kept = parts[: len(parts) - line.level + 1]
        if not kept or len(parts) < line.level:
            return
        base = ".".join([*kept, *([line.module] if line.module else [])])
    pieces = base.split(".")
    yield from (".".join(pieces[: end + 1]) for end in range(len(pieces)))
    yield from (f"{base}.{name}" for name in line.names if name != "*")


def _find(name: str, folder: Path | None) -> ModuleSpec | None:
    """Where a module is, as `import` would find it; only packages above it that are here already are asked."""
    top, *inner = name.split(".")
    spec: ModuleSpec | None = None
    with contextlib.suppress(Exception):  # whatever finders raise, and modules without a specification
        spec = importlib.util.find_spec(top)
    if spec is None and folder is not None:
        spec = PathFinder.find_spec(top, [str(folder)])
    at = top
    for each in inner:
        if spec is None or spec.submodule_search_locations is None:
            return None
        if spec.origin and kind_of(Path(spec.origin)) == "standard":
            return None
        at = f"{at}.{each}"
        places = [*spec.submodule_search_locations]
        loaded = getattr(sys.modules.get(at), "__spec__", None)
        spec = loaded if isinstance(loaded, ModuleSpec) else PathFinder.find_spec(at, places)
    return spec
