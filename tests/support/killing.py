"""Kills of runs in processes of their own: the code that an extractor's module begins with, and what is left behind."""

from __future__ import annotations

from pathlib import Path

KILL_AT_STEP = """
import json, os, pathlib, signal, sys, time

order = json.loads(os.environ.get("KILL", "{}"))  # {"step": of all commits' steps, "target": whom}
is_worker = "loky" in " ".join(sys.orig_argv)
if "outlive" in order and is_worker:  # as a process does that is held up in the kernel, by a slow disk
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    parent, getppid = os.getppid(), os.getppid

    def held_up():
        over = os.environ["STEPS"] + ".over"
        is_over = os.path.exists(over) and time.time() - os.stat(over).st_mtime > order["outlive"] + 1
        return getppid() if is_over else parent

    os.getppid = held_up

def step():
    if "outlive" in order and not is_worker:
        return
    with open(os.environ["STEPS"], "ab", buffering=0) as file:
        file.write(b"x")
        reached = file.tell() >= order["step"]
    if not reached or os.path.exists(os.environ["STEPS"] + ".over"):
        return
    open(os.environ["STEPS"] + ".over", "w").close()
    if order["target"] == "group":
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getppid() if is_worker and order["target"] == "driver" else os.getpid(), signal.SIGKILL)
    time.sleep(order.get("outlive", 5))  # else whoever killed its driver has no more to do

def around(function):
    def stepped(*args, **options):
        step()
        result = function(*args, **options)
        step()
        return result
    return stepped

if order:
    os.fsync, pathlib.Path.replace = around(os.fsync), around(pathlib.Path.replace)
"""
"""Kills whom `KILL` names, once the commits of all processes have come to a step: a flush or a rename."""


def names_in(folder: Path) -> list[str]:
    """All that is in a folder and below it."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
