"""Shards of rows that are there, several at once."""

from __future__ import annotations

import threading

import pytest

from scaledproc.execution.reuse.builders import Builders


class Waiting:
    """A pool of many processes: so many shards may wait for one."""

    jobs = 32


def test_the_shards_come_in_order() -> None:
    assert Builders(None, None, 2).each(range(50), lambda shard, _: shard**2) == [shard**2 for shard in range(50)]


def test_no_more_than_have_room_are_built_at_once() -> None:
    at_work, most, lock = [0], [0], threading.Lock()
    pause = threading.Event()

    def build(shard: int, _: object) -> int:
        with lock:
            at_work[0] += 1
            most[0] = max(most[0], at_work[0])
        pause.wait(0.002)
        with lock:
            at_work[0] -= 1
        return shard

    Builders(None, Waiting(), 3).each(range(40), build)  # type: ignore[arg-type]
    assert most[0] <= 3


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_after_an_error_no_further_one_is_begun(error: BaseException) -> None:
    """Each would take as long, and find the same."""
    begun: list[int] = []
    is_wrong = threading.Event()

    def build(shard: int, _: object) -> int:
        begun.append(shard)
        if shard == 0:
            is_wrong.set()
            raise error
        is_wrong.wait(5)
        return shard

    with pytest.raises(type(error)):
        Builders(None, Waiting(), 4).each(range(100), build)  # type: ignore[arg-type]
    assert len(begun) <= 8  # those that were at work, and what slipped in beside the one that failed
