"""Events as lines of JSON, there and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaledproc import events
from scaledproc.events import (
    ChunkDone,
    CombineDone,
    Event,
    Failure,
    Note,
    RunFailed,
    ShardState,
    State,
    from_json,
    to_json,
)

texts = st.text(max_size=5)
failures = st.builds(Failure, *[texts] * 6)
KINDS = sorted(
    (kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event)),
    key=lambda kind: kind.__name__,
)
SHOWN = [kind for kind in KINDS if kind is not Event and not kind.__name__.startswith("_")]


def values_of(kind: type[Event], name: str) -> st.SearchStrategy[Any]:
    """Values of a field, by what it is declared to be."""
    if (kind, name) == (RunFailed, "differences"):
        return st.lists(st.dictionaries(texts, texts), max_size=2).map(tuple)
    return {
        str: texts,
        int: st.integers(),
        float: st.floats(allow_nan=False),
        bool: st.booleans(),
        State: st.sampled_from(State),
        int | None: st.none() | st.integers(),
        tuple[Failure, ...]: st.lists(failures, max_size=2).map(tuple),
        tuple[int, ...]: st.lists(st.integers(), max_size=2).map(tuple),
        tuple[str, ...]: st.lists(texts, max_size=2).map(tuple),
        Mapping[str, int]: st.dictionaries(texts, st.integers(), max_size=2),
    }.get(get_type_hints(kind)[name], st.dictionaries(texts, texts, max_size=2))


@st.composite
def made(draw: st.DrawFn) -> Event:
    kind = draw(st.sampled_from(SHOWN))
    return kind(**{each.name: draw(values_of(kind, each.name)) for each in fields(kind)})


@given(made())
def test_there_and_back(event: Event) -> None:
    line = to_json(event)
    assert "\n" not in line
    assert from_json(line) == event
    assert from_json(line.encode() + b"\n") == event


def test_every_kind_is_known() -> None:
    assert {kind.__name__ for kind in SHOWN} >= {"Note", "ShardDone", "ChunkDone", "CombineDone", "FetchMoved"}
    assert set(SHOWN) == set(events._KINDS.values())


def test_what_has_a_default_may_be_missing() -> None:
    found = from_json('{"event": "CombineDone", "rows": 1, "quarantined": 0, "summaries": ["a"], "seconds": 1}')
    assert found == CombineDone(1, 0, ("a",), 1)


GOOD = json.loads(to_json(ChunkDone(1, 2, 3, 4, 5.0, 1, (Failure("g", "u", "a", "exception", "E", "m"),))))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "Expecting value"),
        ("[" * 100_000, "nested too deep"),
        ("[]", "no event that this version knows"),
        ("{}", "no event that this version knows"),
        ('{"event": ["Note"], "text": "x"}', "no event that this version knows"),
        ('{"event": "_Done"}', "no event that this version knows"),
        ('{"event": "Event"}', "no event that this version knows"),
        ('{"event": "Note"}', "no Note: text is missing"),
        ('{"event": "Note", "text": "x", "more": 1}', "no Note: 'more' is unknown"),
        ('{"event": "Note", "text": 1}', "no Note: text is not what it should be"),
        *(
            (json.dumps({**GOOD, name: value}), f"no ChunkDone: {name} is not what it should be")
            for name, value in (
                *(("shard", "1"), ("tasks", 1.5), ("rows", True), ("size", None), ("seconds", "1"), ("resumed", 1)),
                *(("failures", {}), ("failures", ["x"]), ("failures", [{"group": "g"}]), ("chunk", [])),
            )
        ),
        ('{"event": "ShardState", "shard": 1, "state": "merry"}', "no ShardState: state is not what it should be"),
        ('{"event": "ShardState", "shard": 1, "state": []}', "no ShardState: state is not what it should be"),
        ('{"event": "CombineDone", "rows": 1, "quarantined": 0, "summaries": [1], "seconds": 1}', "summaries is not"),
        (to_json(CombineDone(1, 0, (), 1.0)).replace("{}", '{"a": 1}'), "digests is not what it should be"),
    ],
)
def test_what_is_none_is_refused(line: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        from_json(line)


def test_the_words_of_a_note_stay() -> None:
    assert from_json(to_json(Note("ü\n\ud800"))) == Note("ü\n\ud800")


def test_a_shards_state_is_its_word_in_json() -> None:
    event = ShardState(1, "running")  # type: ignore[arg-type]  # as backends tell that know no more than the word
    assert event.state is State.RUNNING
    assert '"state": "running"' in to_json(event)
    with pytest.raises(ValueError, match="'merry' is not a valid State"):
        ShardState(1, "merry")  # type: ignore[arg-type]
