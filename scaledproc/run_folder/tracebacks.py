"""The tracebacks of single tasks in `errors.log`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

SEARCHED = 64 * 2**20
"""Bytes of a log that are looked through for a few tasks."""
_HELD = 2**20  # bytes of a traceback


def few_tracebacks(log: Iterable[bytes], wanted: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
    """The tracebacks of some tasks, as far as they are near the beginning of a log that may be large.

    Parameters
    ----------
    log
        Its lines.
    wanted
        The tasks' anchors, each with the anchor that comes next in the log; None for the last one.
    """
    begins = {f"{anchor}\n".encode(errors="replace"): anchor for anchor in wanted}
    task, end, held, size, seen = None, b"", list[bytes](), 0, 0
    for line in log:
        seen += len(line)
        if task is not None and line == end:
            yield task, b"".join(held).decode(errors="replace")
            task = None
        if task is None and line in begins:
            task = begins.pop(line)
            end = f"{wanted[task]}\n".encode(errors="replace") if wanted[task] is not None else b""
            held, size = [], 0
        elif task is not None:
            held.append(line)
            size += len(line)
            if size > _HELD:  # of a message as long as that nothing is told
                task = None
        if seen > SEARCHED or (task is None and not begins):
            return
    if task is not None and not end:
        yield task, b"".join(held).decode(errors="replace")


def traceback_in(log: str, anchors: Sequence[str], anchor: str) -> str | None:
    """A task's traceback; None where it cannot be told from the others.

    Parameters
    ----------
    log
        Of each quarantined task, in order: the anchor, on a line of its own, and the traceback.
    anchors
        Theirs.
    anchor
        The task's, one of them.
    """
    place = anchors.index(anchor)
    text = f"\n{log}"
    start = _only(text, anchor)
    stop = len(text) if place + 1 == len(anchors) else _only(text, anchors[place + 1])
    if start is None or stop is None or stop < start:
        return None
    return text[start + len(anchor) + 2 : stop].rstrip("\n")


def _only(text: str, anchor: str) -> int | None:
    """Where the only line begins that is an anchor: a message may have others."""
    line = f"\n{anchor}\n"
    start = text.find(line)
    return None if start < 0 or text.find(line, start + 1) >= 0 else start
