"""The traceback of one task in `errors.log`."""

from __future__ import annotations

from collections.abc import Sequence


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
