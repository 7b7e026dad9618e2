"""From an extractor to all that it reaches: functions, classes, modules and values, as parts of a fingerprint."""

from __future__ import annotations

import functools
import hashlib
import platform
import re
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaledproc.errors import UsageError
from scaledproc.extractors.code.bytecode import code_digest, names_in, nodes_of
from scaledproc.extractors.code.code_finder import Import, digest_of_node, imports_of, kind_of, reach, read_source
from scaledproc.extractors.code.fingerprint import is_own, shown
from scaledproc.extractors.code.values import ValueWriter, folded
from scaledproc.extractors.files import PREFIX, short_name

if TYPE_CHECKING:
    from scaledproc.extractors.code.code_finder import Function, Kind

_UNSEEN = frozenset(
    {
        *("scaledproc", "scaledproc.extractors", "scaledproc.extractors.base", "scaledproc.extractors.options"),
        "scaledproc.errors",
    }
)
_MISSING = object()
_PLAIN = (bool, int, float, str, bytes, tuple)
_METHODS = (staticmethod, classmethod, property, functools.cached_property)
_CALLABLES = (types.FunctionType, types.MethodType, type, functools.partial)
_LOADED: dict[str, tuple[Any, str]] = {}
"""The modules that were looked at in this process, with their specifications and what their files said then."""
_OF_CLASSES = frozenset(
    {
        *("__module__", "__doc__", "__dict__", "__weakref__", "__qualname__", "__annotations__", "__orig_bases__"),
        *("__abstractmethods__", "_abc_impl", "__firstlineno__", "__static_attributes__", "__match_args__"),
        *("__annotate__", "__annotate_func__", "__annotations_cache__", "__parameters__"),
        *("__slots__", "__slotnames__", "__conditional_annotations__", "__replace__"),
    }
)


class Walk:
    """Goes from an extractor to all that it reaches."""

    def __init__(self) -> None:
        self.parts: dict[str, str] = {}
        self.untold: dict[str, None] = {}
        self.files: set[tuple[str, int, int]] = set()
        self._todo: deque[Callable[[], None]] = deque()
        self._seen: dict[int, Any] = {}
        self._several: dict[str, set[str]] = {}
        self._inner: dict[int, str] = {}
        self._reached: set[tuple[Import, str]] = set()
        self._home: str | None = None
        self._folder = ""
        self._writer: ValueWriter | None = None

    # What it begins with

    def add_main(self, function: Any) -> None:
        """What is called with each task: a function, a `partial` of one, a method, an object that can be called."""
        while isinstance(function, functools.partial):
            for name, value in (*enumerate(function.args, 1), *function.keywords.items()):
                key = name if isinstance(name, str) else f"argument {name}"
                self._later(functools.partial(self._add_value, "option", key, value))
            function = function.func
        if isinstance(function, types.MethodType):
            self._settle(function.__func__)
            self.add_attributes(function.__self__)
            function = function.__func__
        elif isinstance(function, types.BuiltinFunctionType):
            self.parts["code"] = self.write(function, "the function")
            return
        elif not isinstance(function, types.FunctionType):
            wrapped = getattr(function, "__wrapped__", None)
            if not isinstance(wrapped, types.FunctionType):
                self.add_attributes(function)
                return
            function = wrapped
        self._settle(function)
        self.parts["code"] = self.write(function, "the function")

    def add_attributes(self, thing: Any, apart: Iterable[str] = ()) -> None:
        """An object whose attributes are parameters."""
        kind = type(thing)
        self._settle(kind)
        self.write(kind, kind.__name__)
        values = {**_in_slots(thing), **getattr(thing, "__dict__", {})}
        made_later = {name for each in kind.__mro__ for name, value in vars(each).items() if _is_cached(value)}
        for name in sorted(values.keys() - made_later - set(apart)):
            short = name.lstrip("_")
            key = name if short == name or short in values or not short else short
            self._add_value("option", key, values[name])

    def finish(self) -> None:
        """Go on until nothing new is reached; more can be added then, and this called again."""
        while self._todo:
            self._todo.popleft()()
        for name, texts in self._several.items():
            self.parts[name] = next(iter(texts)) if len(texts) == 1 else folded("\n".join(sorted(texts)))

    def write(self, value: Any, name: str) -> str:
        """A value as text; what it reaches is looked at later."""
        if self._writer is None:
            self._writer = ValueWriter(self._identify, self._folder, lambda what: self.untold.setdefault(what))
        return self._writer.write(value, name)

    def _settle(self, code: Any) -> None:
        """Names are those of the module that it begins in."""
        if self._home is None:
            module, path, _ = _place(code)
            self._home = module
            self._folder = "" if path is None or path.parent == path.parent.parent else str(path.parent)

    def _later(self, step: Callable[[], None]) -> None:
        self._todo.append(step)

    def _is_new(self, thing: Any) -> bool:
        if id(thing) in self._seen:
            return False
        self._seen[id(thing)] = thing
        return True

    def _add_value(self, kind: str, name: str, value: Any) -> None:
        self._add(kind, name, shown(name, self.write(value, _called(kind, name))))

    def _add(self, kind: str, name: str, text: str) -> None:
        """A part; there may be several of one name, such as two lambdas."""
        self._several.setdefault(f"{kind} {name}", set()).add(text)

    def _called_in(self, module: str, name: str) -> str:
        return name if module in (self._home, "__main__") else f"{short_name(module)}.{name}"

    # Code: functions, classes, modules

    def _identify(self, code: Any) -> str:
        """What a function, a class or a module is called within a text; what it is made of becomes parts."""
        if isinstance(code, types.ModuleType):
            self._module(code)
            return f"module {code.__name__}" if not code.__name__.startswith(PREFIX) else "module"
        module, path, kind = _place(code)
        if kind in ("standard", "installed", "own"):
            self._installed(module, path, kind)
            return f"{module}.{code.__qualname__}{self._wrapped(code) if isinstance(code, types.FunctionType) else ''}"
        name = self._called_in(module, code.__qualname__)
        if isinstance(code, type):
            if self._is_new(code):
                self._later(lambda: self._class(code, name, path))
            return name
        text = self._digest(code, path)
        if self._is_new(code):
            self._later(lambda: self._function(code, name, path, text))
        return f"{name}#{text[:16]}"

    def _wrapped(self, function: types.FunctionType) -> str:
        """The user's functions in one that a library made of them, such as a decorator's."""
        if not self._is_new(function):
            return self._inner.get(id(function), "")
        found = [function.__dict__.get("__wrapped__")]
        for cell in function.__closure__ or ():
            with suppress(ValueError):  # not yet filled
                content = cell.cell_contents
                found += list(content.values()) if isinstance(content, dict) else [content]
        texts = [self.write(each, function.__name__) for each in found if isinstance(each, _CALLABLES)]
        self._inner[id(function)] = f"({', '.join(texts)})" if texts else ""
        return self._inner[id(function)]

    def _digest(self, function: types.FunctionType, path: Path | None) -> str:
        """A function's own code."""
        from scaledproc.extractors.code.code_finder import read_source

        code = function.__code__
        nodes = nodes_of(code, read_source(path)) if path is not None else []
        if nodes:
            return hashlib.sha256("".join(map(_digest_unnamed, nodes)).encode()).hexdigest()
        self.parts["python"] = f"{platform.python_implementation()} {sys.version_info[0]}.{sys.version_info[1]}"
        return code_digest(code, lambda value: self.write(value, function.__name__))

    def _function(self, function: types.FunctionType, name: str, path: Path | None, text: str) -> None:
        if path is None:
            self._add("function", name, f"sha256:{text[:32]}")
        else:
            self._file(path, function.__globals__)
        chains, imports = names_in(function.__code__)
        package = str(function.__globals__.get("__package__") or "")
        if path is None:
            self._imports(imports, package)
        module = str(function.__globals__.get("__name__", ""))
        for chain in chains:
            self._global(module, function.__globals__, chain)
        for free, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
            try:
                content = cell.cell_contents
            except ValueError:  # not yet filled
                continue
            if free != "__class__":
                self._add_reached("enclosed", free, content)
        defaults = function.__defaults__ or ()
        words = function.__code__.co_varnames[: function.__code__.co_argcount]
        for word, value in zip(words[len(words) - len(defaults) :], defaults, strict=True):
            self._add_reached("default", f"{name}({word})", value)
        for word, value in (function.__kwdefaults__ or {}).items():
            self._add_reached("default", f"{name}({word})", value)
        for word, value in function.__dict__.items():
            if word == "__wrapped__":
                self.write(value, name)
            else:
                self._add_reached("attribute", f"{name}.{word}", value)

    def _global(self, module: str, values: Mapping[str, Any], chain: tuple[str, ...]) -> None:
        name, *attributes = chain
        value = values.get(name, _MISSING)
        while isinstance(value, types.ModuleType):
            kind = self._module(value)
            if not attributes or kind != "local":
                return
            name = f"{name}.{attributes[0]}"
            value = getattr(value, attributes.pop(0), _MISSING)
        if value is not _MISSING and name != "__name__":
            self._add_reached("global", self._called_in(module, name), value)

    def _add_reached(self, kind: str, name: str, value: Any) -> None:
        """A value; but code that goes by its own name is told by that alone."""
        if isinstance(value, type | types.FunctionType):
            text = self.write(value, name)
            if value.__name__ != name.rpartition(".")[2] or "<locals>" in value.__qualname__:
                self._add(kind, name, shown(name, text))
        else:
            self._add_value(kind, name, value)

    def _class(self, kind: type, name: str, path: Path | None) -> None:
        if path is not None:
            self._file(path, vars(sys.modules.get(kind.__module__)) if kind.__module__ in sys.modules else {})
        lines = [self.write(base, name) for base in (*kind.__bases__, type(kind))]
        for base in kind.__bases__:
            if is_own(base) and vars(base).get("name") and base.__module__ not in _UNSEEN:
                self._add("base", str(vars(base)["name"]), repr(getattr(base, "version", "")))
        for word, value in sorted(vars(kind).items()):
            if word in _OF_CLASSES or isinstance(value, types.MemberDescriptorType | types.GetSetDescriptorType):
                continue
            if word in ("__dataclass_fields__", "__pydantic_fields__"):
                for field, each in value.items():
                    defaults = (
                        (each.default_factory, each.default)
                        if word == "__pydantic_fields__"
                        else (each.default_factory,)
                    )
                    lines.append(f"{field} {self.write(defaults, f'{name}.{field}')}")
                continue
            if word == "__dataclass_params__":
                lines.append(repr(value))
                continue
            if word.startswith("__") and not isinstance(value, (*_CALLABLES, *_METHODS, *_PLAIN)):
                continue  # what libraries and Python itself keep there
            inner = value.__func__ if isinstance(value, staticmethod | classmethod) else value
            if word == "__repr__" and "__dataclass_fields__" in vars(kind):
                continue  # where it is generated, a process that got the class by pickle has another one
            if isinstance(inner, types.FunctionType) and inner.__code__.co_filename.startswith("<"):
                if path is not None:  # a library made it, of what the file has
                    continue
                if word.startswith("__") and "__dataclass_fields__" in vars(kind):  # mostly of the fields, told above
                    lines.append(f"{word} {self._digest(inner, None)}")
                    continue
            if isinstance(inner, types.FunctionType | property | functools.cached_property | type):
                text = self.write(inner, f"{name}.{word}")  # a method is a part of its own
                is_method = getattr(inner, "__qualname__", "") == f"{kind.__qualname__}.{word}"
                lines.append(f"{word} {type(value).__name__} {'' if is_method else text}")
            else:
                self._add_value("attribute", f"{name}.{word}", value)
        if path is None:
            lines.append(repr(vars(kind).get("__slots__")))
            self._add("class", name, folded("\n".join(lines)))

    def _module(self, module: types.ModuleType) -> Kind | None:
        """Note what a module is made of; whose it is."""
        file = getattr(module, "__file__", None)
        if not file or module.__name__ == "__main__":  # a module that was made and not found has no specification
            return "local" if module.__name__ == "__main__" or getattr(module, "__spec__", None) is None else None
        kind = kind_of(Path(file))
        if kind == "local":
            self._file(Path(file), vars(module))
        else:
            self._installed(module.__name__, Path(file), kind)
        return kind

    # Files and packages

    def _file(self, path: Path, values: Mapping[str, Any]) -> None:
        """A module that is not installed, and all that it imports."""
        name = str(values.get("__name__", ""))
        self._add_file(name, path)
        package = "" if name.startswith(PREFIX) else str(values.get("__package__") or name.rpartition(".")[0])
        self._imports(imports_of(path), package)
        if package:  # they were imported before it
            self._imports([Import(package)], "")

    def _imports(self, lines: Iterable[Import], package: str) -> None:
        new = [line for line in dict.fromkeys(lines) if (line, package) not in self._reached]
        if not new:
            return
        self._reached.update((line, package) for line in new)
        found = reach(new, package, Path(self._folder) if self._folder else None)
        for name, path in found.files.items():
            self._add_file(name, path)
        for name, file in found.installed.items():
            self._add_package(name, file)

    def _add_file(self, module: str, path: Path) -> None:
        if self._folder:
            _refuse_stranger(module, path, Path(self._folder))
        try:
            found = path.stat()
            self.files.add((str(path), found.st_mtime_ns, found.st_size))
            if path.suffix == ".py":
                source = read_source(path)
                digest = "" if source.is_empty else source.digest
            else:
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError:  # removed since it was imported
            digest = "gone"
        _refuse_edited(module, path, digest)
        if digest:
            self.parts[f"file {self._file_name(module, path)}"] = f"sha256:{digest[:32]}"

    def _file_name(self, module: str, path: Path) -> str:
        """A file's path without what differs from machine to machine: from the extractor's folder, or its package's."""
        if self._folder and path.is_relative_to(self._folder):
            return path.relative_to(self._folder).as_posix()
        depth = module.count(".") + (path.stem == "__init__")
        return "/".join(path.parts[-depth - 1 :])

    def _installed(self, module: str, path: Path | None, kind: Kind | None) -> None:
        if kind == "installed" or (kind == "own" and module not in _UNSEEN):
            self._add_package(module, path)

    def _add_package(self, module: str, path: Path | None) -> None:
        name, number = _distribution(module, str(path or ""))
        self.parts[f"package {name}"] = number


def _refuse_stranger(module: str, path: Path, folder: Path) -> None:
    """See that an extractor's file gets the module that lies beside it, where there is one of that name.

    Raises
    ------
    UsageError
        If this process has another folder's module of the same name, as of an extractor that was loaded before.
    """
    top = module.partition(".")[0]
    if module.startswith(PREFIX) or path.is_relative_to(folder):
        return
    for own in (folder / f"{top}.py", folder / top / "__init__.py"):
        if own.is_file():
            raise UsageError(
                f"import {top} gives {path} in this Python, and not {own}, which lies beside the extractor: the other "
                "folder came first; load the extractor in a Python of its own, or give one of the modules another name"
            )


def _refuse_edited(module: str, path: Path, digest: str) -> None:
    """See that a module of this process is still what its file says.

    Raises
    ------
    UsageError
        If the file was edited after it was looked at, and not loaded again.
    """
    spec = getattr(sys.modules.get(module), "__spec__", None)
    if spec is None:
        return
    known, said = _LOADED.setdefault(module, (spec, digest))
    if known is not spec:  # it was loaded again
        _LOADED[module] = spec, digest
    elif said != digest:
        raise UsageError(
            f"{path} was edited after this Python loaded it: importlib.reload({module}) and define again what uses it, "
            "or restart Python"
        )


def _is_outdated(function: types.FunctionType, module: str) -> bool:
    """Whether a module that was loaded again has another function in the place of this one."""
    found: Any = sys.modules.get(module)
    for name in function.__qualname__.split("."):
        found = getattr(found, name, None)
    codes = []
    while isinstance(found, types.FunctionType):
        codes.append(found.__code__)
        found = getattr(found, "__wrapped__", None)
    return bool(codes) and function.__code__ not in codes


def _is_cached(value: Any) -> bool:
    return isinstance(value, functools.cached_property)


@lru_cache(maxsize=4096)
def _digest_unnamed(node: Function) -> str:
    """Of a function without the name that it has: that is told apart from what it does."""
    if not hasattr(node, "name"):
        return digest_of_node(node)
    make: Any = type(node)
    return digest_of_node(make(**{name: getattr(node, name, None) for name in node._fields} | {"name": ""}))


def _in_slots(thing: Any) -> dict[str, Any]:
    """What an object has in the slots of its class."""
    slots = (
        name
        for each in type(thing).__mro__
        for name, value in vars(each).items()
        if isinstance(value, types.MemberDescriptorType)
    )
    return {name: getattr(thing, name) for name in slots if hasattr(thing, name)}


def _place(code: Any) -> tuple[str, Path | None, Kind | None]:
    """The module of a function or class, its file where it has one, and whose it is; a notebook's is nobody's."""
    if isinstance(code, type):
        module = code.__module__
        file = getattr(sys.modules.get(module), "__file__", None)
    else:
        module = str(code.__globals__.get("__name__", code.__module__))
        file = code.__globals__.get("__file__") or code.__code__.co_filename
    if module == "__main__":
        return module, None, None
    top = module.partition(".")[0]
    if top == "builtins" or (file is None and top in sys.stdlib_module_names):
        return module, None, "standard"
    if not file or not Path(file).is_file():
        return module, None, None
    kind = kind_of(Path(file))
    if kind == "local" and isinstance(code, types.FunctionType) and _is_outdated(code, module):
        return module, None, None
    return module, Path(file), kind


@lru_cache(maxsize=256)
def _distribution(module: str, file: str) -> tuple[str, str]:
    """What an installed module's package is called, and its version."""
    top = module.partition(".")[0]
    try:
        return top, version(top)
    except PackageNotFoundError:
        pass
    path = Path(file)
    for folder in path.parents:
        if folder.name in ("site-packages", "dist-packages"):
            line = re.compile(rf"^{re.escape(path.relative_to(folder).as_posix())},", re.MULTILINE)
            for record in sorted(folder.glob("*.dist-info/RECORD")):
                if line.search(record.read_text(encoding="utf-8", errors="replace")):
                    name, _, number = record.parent.name.removesuffix(".dist-info").rpartition("-")
                    return name, number
    return top, str(getattr(sys.modules.get(top), "__version__", "of an unknown version"))


def _called(kind: str, name: str) -> str:
    """How a person is told of a part."""
    return name if kind == "option" else f"{kind} {name}"
