"""How a process of this project's own starts."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from scaledproc._util.process import startup


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_waits_where_something_was_begun() -> None:
    startup.load()
    startup.hold()
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        startup.loaded()
    startup.loaded()  # once
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_who_handles_ctrl_c_keeps_it() -> None:
    heard = []
    signal.signal(signal.SIGINT, lambda *_: heard.append(1))
    startup.load()
    startup.hold()
    signal.raise_signal(signal.SIGINT)
    startup.loaded()
    assert heard == [1]
