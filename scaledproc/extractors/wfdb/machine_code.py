"""What numba compiles, kept as machine code: loading takes 0.03 s and 50 MB, where numba takes 0.6 s and 130 MB.

A library's functions take arrays and numbers, and neither make nor return any objects: so their machine code needs
nothing of numba. They are compiled in a process of its own, which tries them beside the same lines in Python before it
keeps them in the user's cache folder, under a name that says what they depend on: their lines, the versions of numba
and LLVM, and the processor.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from hashlib import sha256
from importlib import import_module, metadata
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from scaledproc._util.user_cache import cache_folder

Functions = Mapping[str, Callable[..., None]]
"""A library's functions by their names."""
_NEEDED = {"NRT_MemInfo_call_dtor"}
"""What machine code may need from outside: what lets go an array of numba's own, of which there are none."""
_LONGEST = 300
"""Seconds that compiling may take; it takes some ten."""
_OLD = 90 * 86_400
"""Seconds after which what was kept is removed, once the same library is compiled from other lines."""
_PROGRAM = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from {module} import make; make(*sys.argv[2:])"
_engines: list[Any] = []  # what is loaded is there as long as these are
_hopeless: set[str] = set()  # the modules of libraries that cannot be had


class NotCompiledError(Exception):
    """A library cannot be had: numba is not installed, or cannot compile it, or there is no room to keep it."""


@dataclass(frozen=True)
class Entry:
    """A function to be compiled.

    Parameters
    ----------
    function
        Its lines. What of its own package it calls is compiled with it.
    takes
        The types of its arguments, as numba writes them: `int32[::1]`, `int64[:,::1]`, `float64`.
    trials
        Each makes arguments by which it is tried; what it writes into their arrays must be what the lines write in
        Python.
    instead
        Other functions by the names that it calls.
    compiled
        As `instead`, but only where it is compiled: the trial calls the functions that have the names in Python.
    scratch
        The places of arguments that are room, in which the lines in Python may leave something else.
    """

    function: Callable[..., None]
    takes: str
    trials: Sequence[Callable[[], Sequence[Any]]]
    instead: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    compiled: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    scratch: Sequence[int] = ()

    @property
    def replaced(self) -> dict[str, Callable[..., Any]]:
        """What is compiled in the place of functions that its lines, and what these call, name."""
        return {**self.instead, **self.compiled}

    @property
    def functions(self) -> list[Callable[..., Any]]:
        """All lines that its machine code is made of, but for what they call."""
        return [self.function, *self.replaced.values()]


@dataclass(frozen=True)
class Native:
    """A function that is written in LLVM's language, for lines that are compiled to call; Python cannot call it.

    Parameters
    ----------
    name
        What it is called there.
    takes
        The types of its arguments, as numba writes them: numbers and addresses (`uintp`). It returns nothing.
    text
        Makes the text of a module that has it, given its name.
    """

    name: str
    takes: str
    text: Callable[[str], str]

    def __call__(self, *_: int) -> None:
        """Refuse to be called.

        Raises
        ------
        NotImplementedError
            If the lines that call it are not compiled, as those of a trial.
        """
        raise NotImplementedError(f"{self.name} is for what is compiled")


@dataclass(frozen=True)
class Library:
    """Functions that are compiled together.

    Parameters
    ----------
    module
        Where it is found, as `LIBRARY`.
    entries
        Its functions by their names.
    """

    module: str
    entries: Mapping[str, Entry]


def load(library: Library) -> Functions:
    """The functions of a library, compiled if they are not kept.

    Raises
    ------
    NotCompiledError
        If the library cannot be had.
    """
    found = _found(library, may_compile=True, waits=True)
    assert found is not None, "it waits for what another process compiles"
    return found


def load_where_it_pays(library: Library, size: int, *, little: int, much: int) -> Functions | None:
    """The functions of a library; None where it does not pay, or they cannot be had, or not yet.

    Parameters
    ----------
    library
        Which one.
    size
        Bytes that this process has before it.
    little
        From so many on loading pays.
    much
        From so many on compiling pays.
    """
    if size < little or library.module in _hopeless:
        return None
    try:
        return _found(library, may_compile=size >= much, waits=False)
    except NotCompiledError:
        _hopeless.add(library.module)
        return None


def make(module: str, path: str) -> None:
    """Compile a library, try it, and keep it; that it cannot be compiled is kept too, and nobody tries it again."""
    signal.alarm(_LONGEST)  # who waits for it may be gone
    library: Library = import_module(module).LIBRARY
    from numba.core.errors import NumbaError

    try:
        content = _compiled(library)
        _try(library, _linked(library, content))
    except (NotCompiledError, NumbaError, RuntimeError):  # the last one is what LLVM ends with
        content = b""
    _keep(Path(path), content)


def _found(library: Library, *, may_compile: bool, waits: bool) -> Functions | None:
    """The functions of a library; None where they are not kept, or not yet.

    Raises
    ------
    NotCompiledError
        If the library cannot be had.
    """
    try:
        path = _path(library)
        content = _kept(path)
        if content is None and may_compile:
            with _alone(path, _name(library), waits=waits) as is_alone:
                if not is_alone:
                    return None
                content = _kept(path)
                if content is None:
                    content = _made_elsewhere(library, path)
        return None if content is None else _linked(library, content)
    except NotCompiledError:
        raise
    except Exception as error:  # whatever is wrong with numba, LLVM, this machine: numpy does the same
        raise NotCompiledError(str(error)) from error


# What is kept


def _path(library: Library) -> Path:
    """The file of a library's machine code."""
    return cache_folder() / "machine-code" / f"{_name(library)}-{_digest(library.module)}.o"


def _name(library: Library) -> str:
    return library.module.rpartition(".")[2]


@cache
def _digest(module: str) -> str:
    """Of all that the machine code of a module's library depends on."""
    import llvmlite
    import llvmlite.binding as llvm

    depends = sha256()
    for each in (
        metadata.version("numba"),
        llvmlite.__version__,
        np.__version__,
        sys.version,
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
    ):
        depends.update(each.encode() + b"\0")
    sources = {__file__}
    library: Library = sys.modules[module].LIBRARY
    for entry in library.entries.values():
        for function in entry.functions:
            _add_sources(function, sources)
    for source in sorted(sources):
        depends.update(Path(source).read_bytes())
    return depends.hexdigest()[:32]


def _add_sources(function: Any, found: set[str]) -> None:
    """Add the files with the lines of a function, of what it calls, and of modules whose constants it uses."""
    found.add(sys.modules[function.__module__].__file__ or "")
    for used in _used(function).values():
        if isinstance(used, Native):
            _add_sources(used.text, found)
        elif isinstance(used, FunctionType):
            _add_sources(used, found)
        else:
            found.add(used.__file__ or "")


def _used(function: Any) -> dict[str, Any]:
    """Functions and modules of its own package that a function's lines name, and natives; it does not call itself."""
    package = _package(function.__module__)
    found = {name: function.__globals__.get(name) for name in function.__code__.co_names}
    return {
        name: each
        for name, each in found.items()
        if isinstance(each, Native)
        or (isinstance(each, FunctionType) and _package(each.__module__) == package)
        or (isinstance(each, ModuleType) and _package(each.__name__) == package)
    }


def _package(module: str) -> str:
    return module.partition(".")[0]


def _kept(path: Path) -> bytes | None:
    """Machine code, empty where none could be made; None where none is kept, or damaged, or others can write it."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as file:
        if not _is_private(os.fstat(handle)) or not _is_private(path.parent.lstat()):
            return None
        content = file.read()
    digest, content = content[:32], content[32:]
    return content if sha256(content).digest() == digest else None


def _is_private(status: os.stat_result) -> bool:
    """Whether only this user writes there: it is code that is run."""
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _keep(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=path.name, dir=path.parent)  # for its owner alone
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(sha256(content).digest() + content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    for other in path.parent.glob(f"{path.name.rpartition('-')[0]}-*"):
        if time.time() - other.stat().st_mtime > _OLD:
            other.unlink()


@contextmanager
def _alone(path: Path, name: str, *, waits: bool) -> Iterator[bool]:
    """Whether no other process compiles this now; none begins before the end.

    Raises
    ------
    NotCompiledError
        If others can write where it would be kept, or the file system does not tell: it would never be loaded.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(path.with_name(f"{name}.lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        if not _is_private(os.fstat(lock)) or not _is_private(path.parent.lstat()):
            raise NotCompiledError(f"others can write to {path.parent}")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(lock)


def _made_elsewhere(library: Library, path: Path) -> bytes:
    """Machine code that another process makes, whose memory and whose end by a fault of the compiler are its own.

    Nothing of the current folder, and no setting of numba's, has a part in it: what is kept is for others too.
    """
    program = _PROGRAM.format(module=__name__)
    folders = [str(Path(each).absolute()) for each in sys.path]
    words = [sys.executable, "-P", "-W", "ignore", "-c", program, json.dumps(folders), library.module, str(path)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    nothing = subprocess.DEVNULL
    subprocess.run(  # noqa: S603 - our own program
        words,
        check=True,
        stdin=nothing,
        stdout=nothing,
        stderr=nothing,
        timeout=_LONGEST,
        env=environment,
        cwd=path.parent,
    )
    content = _kept(path)
    if content is None:
        raise NotCompiledError(f"{path} is not what was written there")
    return content


# Compiling


def _compiled(library: Library) -> bytes:
    """The machine code of all functions of a library, under their names.

    Raises
    ------
    NotCompiledError
        If the machine code would need something that is not there when it is loaded.
    """
    import llvmlite.binding as llvm
    from numba import njit

    compiling: Any = partial(njit, nogil=True, error_model="numpy")
    natives: set[Native] = set()
    whole = llvm.parse_assembly("")
    for name, entry in library.entries.items():
        lines = _calling(entry.function, entry.replaced, _building(compiling, entry.replaced, natives), natives)
        compiled = compiling(f"void({entry.takes})", no_cpython_wrapper=True, no_cfunc_wrapper=True)(lines)
        module = llvm.parse_assembly(compiled.inspect_llvm(compiled.signatures[0]))
        (own,) = [
            each for each in module.functions if not each.is_declaration and each.linkage == llvm.Linkage.external
        ]
        kinds = [str(each.type) for each in own.arguments]
        if kinds != ["ptr", "ptr", *(kind for each in _parsed(entry.takes) for kind in each.passed)]:
            raise NotCompiledError(f"{name} takes {', '.join(kinds)}")
        own.name = name
        whole.link_in(module)
    for native in sorted(natives, key=lambda each: each.name):
        whole.link_in(llvm.parse_assembly(native.text(native.name)))
    needed = {each.name for each in whole.functions if each.is_declaration and not each.name.startswith("llvm.")}
    if needed - _NEEDED:
        raise NotCompiledError(f"it needs {', '.join(sorted(needed - _NEEDED))}")
    return bytes(_machine().emit_object(whole))


def _building(
    compiling: Any, replaced: Mapping[str, Callable[..., Any]], natives: set[Native]
) -> Callable[[Callable[..., Any]], Any]:
    """What compiles functions that an entry's lines call, each once."""

    @cache
    def build(function: Callable[..., Any]) -> Any:
        return compiling()(_calling(function, replaced, build, natives))

    return build


def _calling(
    function: Any, replaced: Mapping[str, Any], build: Callable[..., Any], natives: set[Native]
) -> FunctionType:
    """The same lines, where what they call of their own package is compiled; the natives among it are added to some."""
    import llvmlite.binding as llvm
    from numba.core import types

    names = function.__code__.co_names
    used = {**_used(function), **{name: each for name, each in replaced.items() if name in names}}
    others = {name: build(each) for name, each in used.items() if isinstance(each, FunctionType)}
    for name, each in used.items():
        if isinstance(each, Native):
            natives.add(each)
            takes = [getattr(types, kind) for kind in each.takes.split(", ")]
            others[name] = types.ExternalFunction(each.name, types.void(*takes))
            llvm.add_symbol(each.name, _address_of_abort())  # numba links what it compiles, before the text is there
    return FunctionType(function.__code__, {**function.__globals__, **others}, function.__name__)


def _machine() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    about = {"cpu": llvm.get_host_cpu_name(), "features": llvm.get_host_cpu_features().flatten()}
    return llvm.Target.from_default_triple().create_target_machine(
        opt=3, reloc="pic", codemodel="jitdefault", jit=True, **about
    )


def _try(library: Library, functions: Functions) -> None:
    """See that each function does with its trial what its lines do in Python.

    Raises
    ------
    NotCompiledError
        If a function does something else.
    """
    for name, entry in library.entries.items():
        function: Any = entry.function
        lines = FunctionType(function.__code__, {**function.__globals__, **entry.instead}, name)
        for trial in entry.trials:
            ours, theirs = trial(), trial()
            with np.errstate(all="ignore"):
                lines(*theirs)
            functions[name](*ours)
            for place, (a, b) in enumerate(zip(ours, theirs, strict=True)):
                if place not in entry.scratch and isinstance(a, np.ndarray) and a.tobytes() != b.tobytes():
                    raise NotCompiledError(f"{name} gives something else than its lines in Python")


# Loading


def _linked(library: Library, content: bytes) -> Functions:
    """Machine code as functions.

    Raises
    ------
    NotCompiledError
        If the file says that numba cannot compile the library.
    """
    if not content:
        raise NotCompiledError("numba cannot compile it")
    import llvmlite.binding as llvm

    for name in _NEEDED:  # it is never called, see there
        llvm.add_symbol(name, _address_of_abort())
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(content))
    engine.finalize_object()
    _engines.append(engine)
    return {
        name: _Native(engine.get_function_address(name), _parsed(entry.takes))
        for name, entry in library.entries.items()
    }


def _address_of_abort() -> int | None:
    return ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p).value


@dataclass(frozen=True)
class _Argument:
    """The type of an argument; `dims` is 0 for a number."""

    dtype: np.dtype[Any]
    dims: int

    @property
    def passed(self) -> list[str]:
        """What is passed for it, as LLVM writes it.

        Of an array: what owns it, twice (nothing does), how many elements it has and of what size, where the first one
        is, its shape, and its strides.
        """
        if self.dims:
            return ["ptr", "ptr", "i64", "i64", "ptr", *["i64"] * (2 * self.dims)]
        return ["double" if self.dtype.kind == "f" else f"i{8 * self.dtype.itemsize}"]


def _parsed(takes: str) -> list[_Argument]:
    found = []
    for kind, _, dims in re.findall(r"(\w+)(\[([:,1 ]*)\])?(?:,\s*|$)", takes):
        dtype = np.dtype("bool" if kind in {"boolean", "bool"} else kind)
        found.append(_Argument(dtype, dims.count(",") + 1 if dims else 0))
    return found


_PASSED = {"ptr": ctypes.c_void_p, "double": ctypes.c_double, "i64": ctypes.c_int64, "i8": ctypes.c_bool}
"""What ctypes passes: numbers are whole, real, or true or false."""


class _Native:
    """A function in machine code, as numba's functions are called.

    Parameters
    ----------
    address
        Where it is.
    arguments
        What it takes.
    """

    def __init__(self, address: int, arguments: Sequence[_Argument]) -> None:
        self._arguments = arguments
        kinds = [_PASSED[kind] for each in arguments for kind in each.passed]
        self._call = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *kinds)(address)
        self._results = (ctypes.c_void_p * 2)()
        self._places = ctypes.addressof(self._results), ctypes.addressof(self._results) + ctypes.sizeof(ctypes.c_void_p)

    def __call__(self, *values: Any) -> None:
        """Call it.

        Raises
        ------
        TypeError
            If an array is not of the type and shape that was declared, or not contiguous.
        RuntimeError
            If the lines raise an error.
        """
        passed: list[Any] = [*self._places]
        for value, argument in zip(values, self._arguments, strict=True):
            if not argument.dims:
                passed.append(value)
                continue
            if value.dtype != argument.dtype or value.ndim != argument.dims or not value.flags.c_contiguous:
                raise TypeError(f"{value.dtype} of shape {value.shape} instead of {argument}")
            passed += (None, None, value.size, value.itemsize, _address(value), *value.shape, *value.strides)
        status = self._call(*passed)
        if status:
            raise RuntimeError(f"compiled code ended with {status}")


def _address(array: Any) -> int:
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # a third of the time
    except (TypeError, ValueError):  # it cannot be written, or is empty
        return int(array.ctypes.data)
