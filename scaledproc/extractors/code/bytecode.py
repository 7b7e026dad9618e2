"""What a function's bytecode says, of code that has no file to be read: of a notebook, a shell, `python -c`."""

from __future__ import annotations

import ast
import dis
import hashlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import CodeType
from typing import TYPE_CHECKING, Any

from scaledproc.extractors.code.code_finder import Import

if TYPE_CHECKING:
    from scaledproc.extractors.code.code_finder import Function, PythonFile

_SILENT = frozenset({"RESUME", "NOP", "CACHE", "EXTENDED_ARG", "PRECALL"})
_ABOUT_ITSELF = frozenset({"__doc__", "__firstlineno__", "__static_attributes__", "__module__", "__qualname__"})


def code_digest(code: CodeType, write: Callable[[Any], str]) -> str:
    """A hash of what code does, without its name, docstring and lines; the same in processes of one Python version.

    Parameters
    ----------
    code
        The function's.
    write
        A constant as text.
    """
    return hashlib.sha256("\n".join(_lines(code, write)).encode(errors="surrogatepass")).hexdigest()


def _lines(code: CodeType, write: Callable[[Any], str]) -> Iterator[str]:
    count = code.co_argcount + code.co_kwonlyargcount + (code.co_flags & 4 > 0) + (code.co_flags & 8 > 0)
    yield f"{code.co_argcount} {code.co_posonlyargcount} {code.co_varnames[:count]} {code.co_flags & 0x3FF}"
    constant = ""
    for step in dis.get_instructions(code):
        if step.opname in _SILENT:
            continue
        if isinstance(step.argval, CodeType):
            yield "\n".join(_lines(step.argval, write))
        elif step.opname == "LOAD_CONST":
            if constant:
                yield constant
            constant = f"LOAD_CONST {write(step.argval)}"
            continue
        elif step.opname != "STORE_NAME" or step.argval not in _ABOUT_ITSELF:
            if constant:
                yield constant
            yield f"{step.opname} {step.argval!r}"
        constant = ""
    if code.co_exceptiontable:
        yield code.co_exceptiontable.hex()


@lru_cache(maxsize=4096)
def names_in(code: CodeType) -> tuple[list[tuple[str, ...]], list[Import]]:
    """The globals that code reads, each with the attributes that it takes of it; and what it imports."""
    chains: dict[tuple[str, ...], None] = {}
    imports: list[Import] = []
    chain: tuple[str, ...] = ()
    before: list[Any] = [None, None]
    for step in dis.get_instructions(code):
        if step.opname in _SILENT:
            continue
        if chain and step.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            chain = (*chain, str(step.argval))
            continue
        if chain:
            chains[chain] = None
        chain = (str(step.argval),) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME") else ()
        if step.opname == "IMPORT_NAME":
            level, names = before[-2:]
            imports.append(Import(str(step.argval), level or 0, tuple(names or ())))
        before = [before[-1], step.argval]
    if chain:
        chains[chain] = None
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            inner, more = names_in(constant)
            chains.update(dict.fromkeys(inner))
            imports += more
    return list(chains), imports


def nodes_of(code: CodeType, source: PythonFile) -> list[Function]:
    """The function in a file that some code was made from; several where they cannot be told apart."""
    name = code.co_name
    found = [
        node for node in source.functions.get(code.co_firstlineno, ()) if getattr(node, "name", "<lambda>") == name
    ]
    return [node for node in found if _holds(node, code)] or found if len(found) > 1 else found


def _holds(node: ast.AST, code: CodeType) -> bool:
    """Whether all that code does stands within the body of a lambda."""
    if not isinstance(node, ast.Lambda):
        return True
    body = node.body
    begin, end = (body.lineno, body.col_offset), (body.end_lineno or 0, body.end_col_offset or 0)
    places = [each for each in code.co_positions() if None not in each and each[3] != each[2]]
    return any(begin == (each[0], each[2]) or end == (each[1], each[3]) for each in places) and all(
        begin <= (each[0] or 0, each[2] or 0) and (each[1] or 0, each[3] or 0) <= end for each in places
    )
