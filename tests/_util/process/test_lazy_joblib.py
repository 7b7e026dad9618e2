"""loky without joblib, until somebody asks for anything of joblib: then all is there, as ever."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAD = """
import sys
from scaledproc._util.process.lazy_joblib import LOKY, import_loky
import_loky()
assert LOKY in sys.modules and "joblib.parallel" not in sys.modules and "numpy" not in sys.modules
assert "psutil" not in sys.modules
"""
TAIL = """
import joblib, joblib.externals.loky
assert joblib.Parallel(1)(joblib.delayed(abs)(i) for i in (-1, -2)) == [1, 2]
assert joblib.externals.loky is sys.modules["joblib.externals.loky"]
assert joblib.externals.loky.process_executor is sys.modules[LOKY]
assert joblib.parallel is sys.modules["joblib.parallel"] is sys.modules[joblib.Parallel.__module__]
assert joblib.parallel.Parallel is joblib.Parallel and joblib.parallel.__spec__.origin == joblib.parallel.__file__
assert joblib.memory.Memory is joblib.Memory
assert not any("lazy_joblib" in type(finder).__module__ for finder in sys.meta_path)
assert joblib.__version__ and set(joblib.__all__) <= set(dir(joblib))
"""


def ends_well(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "statement",
    [
        "import joblib",
        "from joblib import Parallel, delayed, cpu_count",
        "from joblib import *; Parallel",
        "import joblib.parallel",
        "from joblib.parallel import Parallel; import joblib; assert Parallel is joblib.Parallel",
        "from joblib import memory; assert memory.Memory",
        "import joblib._store_backends as backends; assert backends.__name__ == 'joblib._store_backends'",
        "from joblib.externals.loky import get_reusable_executor",
    ],
)
def test_whoever_asks_for_joblib_gets_all_of_it(statement: str) -> None:
    ends_well(f"{HEAD}{statement}\n{TAIL}")


def test_what_is_not_there_fills_nothing_twice() -> None:
    ends_well(
        f"{HEAD}import joblib\n"
        "assert not hasattr(joblib, '__wrapped__') and 'joblib.parallel' not in sys.modules\n"
        "assert not hasattr(joblib, 'nothing') and 'joblib.parallel' in sys.modules\n"
        "try: import joblib.nothing\n"
        "except ModuleNotFoundError as error: assert error.name == 'joblib.nothing'\n"
        f"{TAIL}"
    )


def test_threads_that_ask_at_once() -> None:
    ends_well(
        f"{HEAD}import importlib, threading\n"
        "names = ['joblib.parallel', 'joblib', 'joblib.memory', 'joblib.numpy_pickle'] * 2\n"
        "threads = [threading.Thread(target=importlib.import_module, args=(name,)) for name in names]\n"
        "for each in threads: each.start()\n"
        "for each in threads: each.join()\n"
        f"{TAIL}"
    )


def test_psutil_comes_when_processes_are_ended_with_their_children() -> None:
    ends_well(
        f"{HEAD}import os, subprocess, time\n"
        "from joblib.externals.loky.process_executor import ProcessPoolExecutor\n"
        "executor = ProcessPoolExecutor(1)\n"
        'program = \'subprocess.Popen(["sleep", "60"]).pid\'\n'
        "pid = executor.submit(eval, program, {'subprocess': subprocess}).result()\n"
        "executor.shutdown(kill_workers=True)\n"
        "assert 'psutil' in sys.modules\n"
        "import psutil; assert psutil.Process().pid == os.getpid()\n"
        "until = time.monotonic() + 30\n"
        "while psutil.pid_exists(pid) and psutil.Process(pid).status() != 'zombie':\n"
        "    assert time.monotonic() < until; time.sleep(0.05)\n"
    )


def test_a_process_that_has_psutil_keeps_it() -> None:
    ends_well(
        "import psutil, sys\n"
        "from scaledproc._util.process.lazy_joblib import import_loky\n"
        "import_loky(); assert sys.modules['joblib.externals.loky.backend.utils'].psutil is psutil\n"
        "assert sys.modules['psutil'] is psutil"
    )


def test_a_process_that_has_joblib_is_left_alone() -> None:
    ends_well(
        "import joblib, sys; before = list(sys.meta_path)\n"
        "from scaledproc._util.process.lazy_joblib import import_loky\n"
        "import_loky(); assert sys.meta_path == before and '__getattr__' not in vars(joblib)"
    )


def test_where_loky_cannot_be_had_alone_nothing_is_left_of_it(tmp_path: Path) -> None:
    for name, text in {"__init__": "ready = True", "_multiprocessing_helpers": "from joblib import ready"}.items():
        (tmp_path / "joblib").mkdir(exist_ok=True)
        (tmp_path / f"joblib/{name}.py").write_text(text)
    ends_well(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); before = list(sys.meta_path)\n"
        "from scaledproc._util.process.lazy_joblib import import_loky\n"
        "import_loky(); assert sys.meta_path == before and not any(name.startswith('joblib') for name in sys.modules)\n"
        "import joblib; assert joblib.ready"
    )


def test_a_failed_import_can_be_tried_again(tmp_path: Path) -> None:
    ends_well(
        f"{HEAD}import builtins\n"
        "sys.modules['joblib.logger'] = None\n"
        "try: from joblib import Parallel\n"
        "except ModuleNotFoundError: pass\n"
        "else: raise AssertionError\n"
        "del sys.modules['joblib.logger']\n"
        f"from joblib import Parallel\n{TAIL}"
    )
