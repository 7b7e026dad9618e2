"""How a process of this project's own starts: numeric libraries get one thread, imports are not held up.

Only the command line's and the workers' processes: a program that calls `scaledproc.run` keeps what it has set.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
from collections.abc import Iterator

# Every process has one core: threads of numeric libraries below it would only fight over them. The command line's has
# nothing for them to do, and they spin while they wait.
ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "BLIS_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "NUMBA_NUM_THREADS",
    ),
    "1",
)
ENVIRONMENT = {
    **ONE_THREAD,
    # Arrow's usual one, mimalloc, reserves 1 GiB at once, which counts against a limit; and a process's first tables
    # take longer with it: merging 47,000 rows 0.09 to 0.19 s, with the system's 0.08 s.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}
"""For processes of this project's own."""
SAFE_PATH = "PYTHONSAFEPATH"
"""Without it a Python process finds the current folder's `signal.py` or `random.py` before the library's."""
_changing = threading.Lock()  # two threads at once would take each other's value for the user's
_MANY = 50_000  # objects between two collections, while what is made is made to stay
_usual: tuple[int, int, int] | None = None
_is_asked = False  # Ctrl-C was held back


def begin() -> None:
    """Before numeric libraries are imported."""
    global _usual
    os.environ.update({**ENVIRONMENT, **os.environ})
    if _usual is None:
        _usual = gc.get_threshold()
        gc.set_threshold(_MANY)


@contextlib.contextmanager
def library_first() -> Iterator[str | None]:
    """A Python process that is started meanwhile does not look into the current folder for the library's modules.

    Yields
    ------
    str or None
        What the environment says of it otherwise; for `restore_path` in that process, so that programs which tasks
        start behave as they would elsewhere.
    """
    with _changing:
        before = os.environ.get(SAFE_PATH)
        os.environ[SAFE_PATH] = before or "1"
        try:
            yield before
        finally:
            restore_path(before)


def restore_path(before: str | None) -> None:
    """Have the environment say of the current folder what it said before."""
    if before is None:
        os.environ.pop(SAFE_PATH, None)
    else:
        os.environ[SAFE_PATH] = before


def load() -> None:
    """Before a command's modules are loaded: Ctrl-C meanwhile ends it without a word, as there is nothing to tell yet.

    As an exception it would be a traceback, or be lost where an import's own callbacks are at work.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else somebody ignores it, or has his own
        signal.signal(signal.SIGINT, _leave)


def hold() -> None:
    """Before something is begun while modules are loaded: Ctrl-C waits until these are there, so that it is undone."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, _note)


def loaded() -> None:
    """Once a command has what it needs: Ctrl-C is an exception again, so that what was begun is undone.

    Raises
    ------
    KeyboardInterrupt
        If a person pressed Ctrl-C while it was held back.
    """
    global _is_asked
    if signal.getsignal(signal.SIGINT) in (_leave, _note):
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if _is_asked:
        _is_asked = False
        raise KeyboardInterrupt


def _note(_number: int, _frame: object) -> None:
    global _is_asked
    _is_asked = True


def _leave(number: int, _: object) -> None:
    os._exit(128 + number)


def end() -> None:
    """Before work begins: garbage is collected as ever, but not looked for in what was imported."""
    global _usual
    if _usual is not None:
        gc.freeze()
        gc.set_threshold(*_usual)
        _usual = None
