"""What a display shows, whatever command it is of."""

from __future__ import annotations

from told import Clock, chunk, shard_done, started, state

from scaledproc.events import CombineDone, Event, FetchMoved, FetchStarted, JobPlanned, Note, ReuseFound
from scaledproc.reporting.terminal.scene import Scene

FETCH = FetchStarted("there", "here", 100, 1_000_000, 0, 0, 0, None)


def said(scene: Scene, *events: Event) -> list[str]:
    return [line for event in events for line in scene.hear(event)]


def test_before_anything_is_told_the_time_passes() -> None:
    clock = Clock()
    scene = Scene("planning", clock)
    clock.now = 12.0
    assert (scene.doing, scene.fraction, scene.parts()) == ("planning", None, ["12 s"])
    assert said(scene, chunk(0, 0), FetchMoved(1, 1, 0)) == []  # of what was not begun


def test_a_run() -> None:
    clock = Clock()
    scene = Scene(clock=clock)
    assert said(scene, started(100, 1000, 2))[0].startswith("plan aaaaaaaaaaaa: 100 tasks, 1.0 kB, 2 shards")
    assert (scene.doing, scene.fraction, scene.parts()) == ("extracting", 0.0, ["starting"])
    clock.now = 10.0
    assert said(scene, chunk(0, 0, 50, 500)) == []
    assert scene.fraction == 0.5
    assert scene.parts() == ["50/100 tasks", "500 B of 1.0 kB", "50 B/s", "about 10 s left"]
    assert scene.machines() == ""
    assert scene.table(80, 20) == []
    said(scene, shard_done(0, 50, 500), shard_done(1, 50, 500))
    assert (scene.doing, scene.fraction) == ("combining", 1.0)


def test_the_time_left_passes_without_events() -> None:
    clock = Clock()
    scene = Scene(clock=clock)
    said(scene, started(1000, 1000))
    clock.now = 100.0
    said(scene, chunk(0, 0, 500, 500))
    assert scene.parts()[-1] == "about 1 min 30 s left"
    clock.now = 101.0
    shown = [scene.parts()[-1]]
    for _ in range(40):
        clock.now += 1.0
        shown.append(scene.parts()[-1])
    assert len(set(shown)) <= 4, shown  # nothing is heard meanwhile, so it moves little


def test_machines() -> None:
    scene = Scene(clock=Clock())
    said(scene, started(shards=3), state(0, "starting"), state(1, "running", 5, 50, 1.0))
    assert scene.machines() == "1 running, 1 starting, 1 waiting after 0 s"
    assert [line.split()[0] for line in scene.table(80, 20)] == ["shard", "1", "0"]
    assert said(scene, state(1, "failed", detail="denied")) == []
    assert scene.say_troubles() == ["shard 1 failed: denied (job-1)"]
    assert scene.say_troubles() == []


def test_a_fetch() -> None:
    clock = Clock()
    scene = Scene("looking", clock)
    assert said(scene, FETCH) == ["there to here: 100 files (1.0 MB) to fetch"]
    assert scene.doing == "fetching"
    clock.now = 10.0
    said(scene, FetchMoved(50, 500_000, 2))
    assert 0.49 < (scene.fraction or 0) < 0.51
    assert scene.parts() == ["50/100 files", "500 kB of 1.0 MB", "50.0 kB/s", "about 10 s left", "2 failed"]
    said(scene, FetchMoved(98, 1_000_000, 2))
    assert scene.fraction == 1.0
    assert "left" not in " ".join(scene.parts())


def test_a_fetch_of_unknown_size_does_not_pass_its_end() -> None:
    scene = Scene(clock=Clock())
    said(scene, FetchStarted("a", "b", 1, 0, 1, 0, 0, None), FetchMoved(0, 999, 0))
    assert scene.fraction == 1.0
    assert scene.parts()[0] == "0/1 files"


def test_lines_that_stay() -> None:
    scene = Scene(clock=Clock())
    assert said(
        scene,
        Note("a\x1bb"),
        ReuseFound(10, 2, {"new": 2}, "2 of 10 tasks: 2 new"),
        JobPlanned("worker x"),
        CombineDone(10, 0, (), 1.0),
    ) == [
        "note: a�b",
        "to do: 2 of 10 tasks: 2 new; the rows of 8 tasks are reused",
        "would run: worker x",
        "combined 10 rows in 1.0 s",
    ]
