"""What is compiled is kept, loaded by others, and made anew where it is damaged; what cannot be had is told."""

from __future__ import annotations

import fcntl
import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wfdb_oracles import small_library
from wfdb_oracles.small_library import LIBRARY

from scaledproc.extractors.wfdb import machine_code
from scaledproc.extractors.wfdb.beats import compiled
from scaledproc.extractors.wfdb.machine_code import Library, NotCompiledError, load, load_where_it_pays
from scaledproc.extractors.wfdb.windows.measures import numba_kernel


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where it is kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(machine_code, "_hopeless", set())
    machine_code._digest.cache_clear()
    return tmp_path / "scaledproc" / "machine-code"


@pytest.fixture(scope="module")
def machine_code_of_it(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        load(LIBRARY)
        return machine_code._path(LIBRARY).read_bytes()


def keep(content: bytes) -> Path:
    path = machine_code._path(LIBRARY)
    path.parent.mkdir(mode=0o700, parents=True)
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def works(functions: machine_code.Functions | None) -> bool:
    if functions is None:
        return False
    out = np.zeros(2)
    functions["double"](np.array([3, -4]), 1.5, False, out)
    return out.tolist() == [9, -12]


def ask(size: int = 10, little: int = 10, much: int = 20) -> bool:
    return works(load_where_it_pays(LIBRARY, size, little=little, much=much))


@pytest.mark.slow
def test_what_is_compiled_is_kept_and_loaded(folder: Path) -> None:
    assert works(load(LIBRARY))
    (path,) = folder.glob("*.o")
    kept = path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0
    assert works(load(LIBRARY))
    assert ask()
    assert not ask(size=9)
    assert path.read_bytes() == kept


@pytest.mark.slow
def test_it_is_compiled_only_where_that_pays(folder: Path) -> None:
    assert not ask(size=19)
    assert not folder.exists()
    assert ask(size=20)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["cut short", "other bytes", "empty", "others may write"])
def test_what_is_damaged_is_made_anew(fault: str, machine_code_of_it: bytes) -> None:
    content = machine_code_of_it
    if fault == "cut short":
        content = content[:-1]
    elif fault == "other bytes":
        content = content[:99] + bytes([content[99] ^ 1]) + content[100:]
    elif fault == "empty":
        content = b""
    path = keep(content)
    if fault == "others may write":
        path.chmod(0o620)
    assert not ask()
    assert works(load(LIBRARY))
    assert path.read_bytes()[32:] == machine_code_of_it[32:]


@pytest.mark.slow
def test_who_does_not_wait_goes_on_while_another_process_compiles(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True)
    with (folder / "small_library.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert not ask(size=20)
    assert ask(size=20)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "entries"),
    [
        ("needs something", small_library.ALLOCATING),
        ("numba computes something else", small_library.OTHER),
        ("LLVM cannot read it", small_library.UNREADABLE),
        ("ends the compiling process", small_library.ENDING),
    ],
)
def test_what_cannot_be_compiled_is_left_to_numpy(
    fault: str, entries: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"made_for_{fault.replace(' ', '_')}"
    (named,) = (each for each, value in vars(small_library).items() if value is entries)
    lines = ["from wfdb_oracles.small_library import *", f"LIBRARY = Library(__name__, {named})"]
    (tmp_path / f"{name}.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    library: Library = __import__(name).LIBRARY
    with pytest.raises(NotCompiledError):
        load(library)
    if fault == "ends the compiling process":
        return
    # It is known from then on: nobody tries again.
    monkeypatch.setattr(sys, "executable", "/nothing")
    with pytest.raises(NotCompiledError, match="cannot compile"):
        load(library)
    assert load_where_it_pays(library, 20, little=10, much=20) is None


@pytest.mark.parametrize("fault", ["no folder", "no interpreter", "no numba"])
def test_where_it_cannot_be_kept_or_compiled_numpy_is_used(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        if fault == "no folder":
            (tmp_path / "scaledproc").write_text("a file")
        elif fault == "no interpreter":
            patch.setattr(sys, "executable", "/nothing")
        else:
            patch.setitem(sys.modules, "llvmlite", None)
        with pytest.raises(NotCompiledError):
            load(LIBRARY)
        assert not ask(size=20)
    assert not ask(size=20), "it is tried once"


def test_wrong_arrays_and_errors_are_told(machine_code_of_it: bytes) -> None:
    keep(machine_code_of_it)
    double = load(LIBRARY)["double"]
    out = np.zeros(3)
    for values in (np.zeros(2), np.zeros((2, 2), np.int64), np.arange(4)[::2], np.zeros(2, np.int32)):
        with pytest.raises(TypeError, match="instead of"):
            double(values, 1.0, False, out)
    with pytest.raises(ValueError, match="argument"):
        double(np.arange(2), 1.0, False)
    with pytest.raises(RuntimeError, match="ended with"):
        double(np.arange(4), 1.0, False, out)
    read_only = np.arange(3)
    read_only.flags.writeable = False
    double(read_only, 1.0, True, out)
    assert out.tolist() == [0, -2, -4]
    double(np.arange(0), 1.0, True, out)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["the folder", "the lock"])
def test_nothing_is_compiled_where_others_can_write(place: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(mode=0o700, parents=True)
    lock = folder / "small_library.lock"
    lock.touch(0o600)
    (folder if place == "the folder" else lock).chmod(0o777)
    monkeypatch.setattr(sys, "executable", "/nothing")
    with pytest.raises(NotCompiledError, match="others can write"):
        load(LIBRARY)


def test_a_link_in_the_place_of_the_lock_is_not_followed(folder: Path, tmp_path: Path) -> None:
    folder.mkdir(mode=0o700, parents=True)
    (tmp_path / "other").write_text("kept")
    (folder / "small_library.lock").symlink_to(tmp_path / "other")
    with pytest.raises(NotCompiledError):
        load(LIBRARY)
    assert (tmp_path / "other").read_text() == "kept"


@pytest.mark.slow
def test_neither_the_current_folder_nor_settings_of_numba_have_a_part(
    tmp_path: Path, machine_code_of_it: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "json.py").write_text("open('run', 'w')")
    (here / ".numba_config.yaml").write_text("DISABLE_JIT: 1")
    monkeypatch.chdir(here)
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    monkeypatch.setenv("NUMBA_OPT", "0")
    monkeypatch.setattr(sys, "path", [*sys.path, Path("other")])
    assert works(load(LIBRARY))
    assert machine_code._path(LIBRARY).read_bytes() == machine_code_of_it
    assert not (here / "run").exists()


@pytest.mark.slow
def test_old_files_of_other_lines_are_removed(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True)
    old, new, other = (folder / name for name in ("small_library-1.o", "small_library-2.o", "other-1.o"))
    for path in (old, new, other):
        path.touch()
    for path in (old, other):
        os.utime(path, (1e9, 1e9))
    load(LIBRARY)
    assert (old.exists(), new.exists(), other.exists()) == (False, True, True)


def test_a_fault_of_llvm_is_left_to_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    import llvmlite.binding as llvm

    def fails() -> None:
        raise RuntimeError("host features are unknown")

    monkeypatch.setattr(llvm, "get_host_cpu_features", fails)
    assert not ask(size=20)


def test_other_lines_are_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "from wfdb_oracles.small_library import Entry, Library\n"
    lines += "def f(out):\n    out[0] = NUMBER\nLIBRARY = Library(__name__, {'f': Entry(f, 'int64[::1]', [])})\n"
    source = tmp_path / "changing_lines.py"
    source.write_text(f"{lines}NUMBER = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    library = importlib.import_module("changing_lines").LIBRARY
    paths = {machine_code._path(library)}
    for content in (lines + "NUMBER = 1\n", lines + "NUMBER = 2\n"):
        source.write_text(content)
        machine_code._digest.cache_clear()
        paths.add(machine_code._path(library))
    assert len(paths) == 2


def test_what_lines_take_from_other_modules_counts() -> None:
    """Of all modules that the lines, and what they call, take anything from."""
    sources: set[str] = set()
    for library in (numba_kernel.LIBRARY, compiled.LIBRARY):
        for entry in library.entries.values():
            for function in entry.functions:
                machine_code._add_sources(function, sources)
    assert {Path(each).name for each in sources} == {
        *("fields.py", "numba_kernel.py", "steps.py", "transform_code.py"),
        *("compiled_beats.py", "compiled_peaks.py", "compiled_signal.py", "compiled_windows.py", "decision.py"),
    }


def test_numba_is_not_loaded(machine_code_of_it: bytes) -> None:
    keep(machine_code_of_it)
    program = (
        "import sys; from wfdb_oracles import small_library; from scaledproc.extractors.wfdb.machine_code import load\n"
        f"sys.path[:] = {sys.path!r}\n"
        "load(small_library.LIBRARY); assert 'numba' not in sys.modules"
    )
    support = str(Path(small_library.__file__).parents[1])
    subprocess.run([sys.executable, "-c", program], check=True, cwd=support)
