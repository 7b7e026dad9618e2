"""One call of the extractor: the texts of its errors."""

from __future__ import annotations

from pathlib import Path

from scaledproc.execution.chunks.task_call import message_of
from scaledproc.extractors import Task


def test_messages_name_no_place_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "it's d").mkdir()
    task = Task("g", "g/u", "g/u/x.hea", tmp_path / "it's d", frozenset())
    root = str(task.root)
    for text, shown in {
        f"no {root}/g/u/x.dat": "no g/u/x.dat",
        f"[Errno 2] No such file or directory: {root + '/a'!r}": '[Errno 2] No such file or directory: "a"',
        f"at {root}": "at ",
        f"{root}-other/x": f"{root}-other/x",
        "<object at 0x7f12ab34cd56>": "<object at 0x…>",
    }.items():
        assert message_of(ValueError(text), task) == shown
