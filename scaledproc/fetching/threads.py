"""Threads that do many small things at once, and stop when they are told to."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable
from itertools import islice
from typing import TypeVar

Thing = TypeVar("Thing")
Result = TypeVar("Result")

TICK = 0.2  # seconds between two looks at the progress
GRACE = 5.0  # seconds that threads get to end their work when they are told to stop


def each(
    work: Callable[[Thing], Result], things: Iterable[Thing], *, threads: int, stop: threading.Event
) -> Generator[Result | None, None, None]:
    """The results of some work on each thing, in the order in which they are ready.

    Parameters
    ----------
    work
        Called in several threads at once. What it raises is raised here.
    things
        Taken one by one, when a thread is free.
    threads
        How many.
    stop
        Set when this ends early (an error, Ctrl-C, a closed generator); the work should look at it.

    Yields
    ------
    Result or None
        A result; None now and then while there is none, so that progress can be shown.
    """
    todo = iter(things)
    lock = threading.Lock()
    told: queue.SimpleQueue[tuple[bool, Result | None, BaseException | None]] = queue.SimpleQueue()

    def do_work() -> None:
        error: BaseException | None = None
        try:
            while not stop.is_set():
                with lock:
                    thing = list(islice(todo, 1))
                if not thing:
                    break
                told.put((True, work(thing[0]), None))
        except BaseException as raised:
            error = raised
        told.put((False, None, error))

    # Daemons: one that waits for a silent server must not keep the program from ending.
    workers = [threading.Thread(target=do_work, daemon=True, name=f"fetch-{number}") for number in range(threads)]
    for thread in workers:
        thread.start()
    at_work = threads
    ended = False
    try:
        while at_work:
            try:
                is_result, result, error = told.get(timeout=TICK)
            except queue.Empty:
                yield None
                continue
            if error is not None:
                raise error
            if is_result:
                yield result
            else:
                at_work -= 1
        ended = True
    finally:
        if not ended:
            stop.set()
        deadline = time.monotonic() + GRACE
        for thread in workers:
            thread.join(max(0.0, deadline - time.monotonic()))
