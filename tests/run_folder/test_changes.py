"""What differs between two runs is told once, with what it follows from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pytest

from scaledproc.extractors import extractor
from scaledproc.extractors.code.fingerprint import Fingerprint
from scaledproc.planning.inventory import Inventory
from scaledproc.planning.plan import Plan, make_plan
from scaledproc.run_folder.changes import (
    OLD,
    Difference,
    extractor_differences,
    option_differences,
    part_differences,
    run_differences,
    texts_of,
    unit_differences,
)
from scaledproc.run_folder.record import RunRecord

ONE, TWO = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
LIST_ONE, LIST_TWO = (f"names.txt (sha256:{digit * 16})" for digit in "12")


@extractor(schema={"n": "int64"}, anchor="*.hea")
def headers(task: object) -> list[object]:
    return []


def plan_of(files: Mapping[str, int], version: str = "") -> Plan:
    columns = {"path": pa.array(files, pa.large_string()), "size": pa.array(files.values(), pa.int64())}
    return make_plan(
        Inventory(pa.table({**columns, "version": pa.array([version] * len(files), pa.string())})), headers
    )


def record(fingerprint: Any, label: str = "x", **options: Any) -> RunRecord:
    return RunRecord("done", "id", "data", {"fingerprint": fingerprint, "label": label}, options, {})


def texts(was: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return [difference.text for difference in part_differences(was, now)]


@pytest.mark.parametrize(
    ("part", "was", "now", "text"),
    [
        ("name", "'a'", "'b'", "the extractor's name: 'b', was 'a'"),
        ("version", "'1'", "'2'", "the extractor's version: '2', was '1'"),
        ("version", None, "'2'", "the extractor's version is new"),
        ("python", "3.11", "3.12", "Python: 3.12, was 3.11"),
        ("code", ONE, TWO, "the function changed"),
        ("code finish", ONE, TWO, "finish changed"),
        ("code finish", None, TWO, "finish is new"),
        ("code finish", ONE, None, "finish is gone"),
        ("code finish", "1", "2", "finish changed"),
        ("schema", ONE, TWO, "the schema changed"),
        ("fingerprint", "one", "two", "the extractor's fingerprint changed"),
        ("env HOME", "1", "2", "the environment variable HOME: 2, was 1"),
        ("default n", "1", "2", "the default of n: 2, was 1"),
        ("file helpers.py", ONE, TWO, "helpers.py changed"),
        ("function f", ONE, TWO, "f changed"),
        ("class C", ONE, TWO, "C changed"),
        ("option n", "1", "2", "n: 2, was 1"),
        ("option n", None, "2", "n (2) is new"),
        ("option n", None, TWO, "n is new"),
        ("option n", "1", None, "n is gone"),
        ("package numpy", "1", "2", "numpy: 2, was 1"),
        ("reads a.csv", ONE, TWO, "a.csv changed"),
        ("attribute a", "1", "2", "a: 2, was 1"),
        ("global FACTOR", "1", "7", "global FACTOR: 7, was 1"),
        ("global FACTOR", "1", TWO, "global FACTOR: another value, was 1"),
        ("global FACTOR", ONE, "7", "global FACTOR: 7, was another value"),
        ("global FACTOR", ONE, TWO, "global FACTOR changed"),
        ("enclosed n", None, "7", "enclosed n (7) is new"),
        ("column x", "int64", "double", "column x: double, was int64"),
        ("column x", None, "double", "column x is new"),
        ("global a\x1b", "\x1b", "b", "global a�: b, was �"),
    ],
)
def test_one_part(part: str, was: str | None, now: str | None, text: str) -> None:
    kind, _, name = part.partition(" ")
    (found,) = part_differences({} if was is None else {part: was}, {} if now is None else {part: now})
    assert found == Difference(kind, name, text, now, was)
    assert found.to_dict() == {"kind": kind, "name": name, "text": text, "now": now, "was": was}


def test_parts_stand_in_an_order_that_a_person_reads() -> None:
    names = [
        "name",
        "version",
        "file b",
        "function a",
        "class a",
        "option z",
        "global a",
        "column c",
        "env A",
        "package p",
    ]
    was = dict.fromkeys(reversed(names), "1")
    found = part_differences(was, dict.fromkeys(names, "2"))
    assert [f"{each.kind} {each.name}".strip() for each in found] == names
    assert part_differences(was, was) == []
    assert [each.name for each in part_differences({}, {"global b": "1", "global a": "1"})] == ["a", "b"]


def test_what_follows_from_something_else_is_left_out() -> None:
    code = {"code": ONE, "code finish": ONE, "function f": ONE, "class C": ONE}
    other = dict.fromkeys(code, TWO)
    assert texts({**code, "python": "3.11"}, {**other, "python": "3.12"}) == ["Python: 3.12, was 3.11"]
    assert texts({**code, "file a.py": ONE}, {**code, "code": TWO, "file a.py": TWO}) == ["a.py changed"]
    assert texts(code, {**code, "code": TWO, "function f": TWO}) == ["f changed"]
    assert texts(code, {**code, "code": TWO, "class C": TWO}) == ["the function changed", "C changed"]
    assert texts(code, {**code, "code finish": TWO, "function f": TWO}) == ["finish changed", "f changed"]
    schema = {"schema": ONE, "column x": "a"}
    assert texts(schema, {"schema": TWO, "column x": "b"}) == ["column x: b, was a"]
    assert texts(schema, {**schema, "schema": TWO}) == ["the schema changed"]


def test_the_same_code_under_another_name() -> None:
    was, now = {"name": "'f'", "function f": ONE}, {"name": "'g'", "function g": ONE}
    assert texts(was, now) == ["the extractor's name: 'g', was 'f'"]
    assert texts(was, {"name": "'g'", "function g": TWO}) == [
        "the extractor's name: 'g', was 'f'",
        "f is gone",
        "g is new",
    ]
    helper = {"function h": ONE}
    assert texts({**was, "function h": TWO}, {**now, **helper}) == ["the extractor's name: 'g', was 'f'", "h changed"]
    assert texts({"function f": ONE}, {"function g": ONE}) == ["f is gone", "g is new"]


def test_an_extractor_and_what_was_noted_of_it() -> None:
    now = Fingerprint({"file a.py": ONE, "env A": "1"}, "text")
    assert extractor_differences("text", now) == []
    assert extractor_differences("other", now) == [Difference("extractor", "", OLD)]
    assert extractor_differences({"file a.py": ONE, "env A": "1", "reads x.csv": TWO}, now) == []
    was = {"file a.py": TWO, "env A": "2", "file b.py": ONE}
    assert texts_of(extractor_differences(was, now)) == (
        "a.py changed; b.py is gone; the environment variable A: 1, was 2"
    )
    assert texts_of(extractor_differences(was, now, only=("file",))) == "a.py changed"
    assert extractor_differences(was, now, only=()) == []


@pytest.mark.parametrize("count", [0, 1, 8, 9, 1010])
def test_many_differences_in_one_line(count: int) -> None:
    line = texts_of([Difference("option", "", f"d{number}") for number in range(count)])
    more = {9: "; and 1 more differences", 1010: "; and 1,002 more differences"}.get(count, "")
    assert line == "; ".join(f"d{number}" for number in range(min(count, 8))) + more


@pytest.mark.parametrize(
    ("was", "now", "expected"),
    [
        ({"unit": "folder"}, {"unit": "stem"}, [("unit", "--unit: stem, was folder")]),
        ({"anchors": ["*.a", "*.b"]}, {"anchors": ["*.c"]}, [("anchors", "--anchor: *.c, was *.a *.b")]),
        ({}, {"limit": 3}, [("limit", "--limit: 3, was not given")]),
        ({"include": ("a",)}, {}, [("include", "--include: not given, was a")]),
        ({"exclude": []}, {"exclude": None}, []),
        ({"hidden": False}, {}, []),
        ({"hidden": False}, {"hidden": True}, [("hidden", "--hidden: True, was False")]),
        ({"only": LIST_ONE}, {"only": LIST_TWO}, [("only", "--only: the names in names.txt changed")]),
        ({"only": LIST_ONE}, {"only": "names.txt"}, [("only", f"--only: names.txt, was {LIST_ONE}")]),
        ({"only": "names.txt"}, {"only": LIST_ONE}, [("only", f"--only: {LIST_ONE}, was names.txt")]),
        (
            {"only": LIST_ONE},
            {"only": LIST_TWO.replace("names", "more")},
            [("only", f"--only: {LIST_TWO.replace('names', 'more')}, was {LIST_ONE}")],
        ),
        ({"only": LIST_ONE}, {}, [("only", f"--only: not given, was {LIST_ONE}")]),
        ({}, {"only": LIST_ONE}, [("only", f"--only: {LIST_ONE}, was not given")]),
        ({"unit": LIST_ONE}, {"unit": LIST_TWO}, [("unit", f"--unit: {LIST_TWO}, was {LIST_ONE}")]),
        ({"chunk": "1"}, {"chunk": "2"}, []),  # decides no task
        (
            {"limit": 1, "unit": "file"},
            {"limit": 2, "unit": "stem"},
            [("unit", "--unit: stem, was file"), ("limit", "--limit: 2, was 1")],
        ),
    ],
)
def test_what_was_asked_for_in_another_way(
    was: dict[str, Any], now: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    found = option_differences(was, now)
    assert [(each.kind, each.name, each.text) for each in found] == [("layout", *each) for each in expected]
    assert [(each.now, each.was) for each in found] == [(now.get(name), was.get(name)) for name, _ in expected]


FILES = {"a/r.hea": 1, "a/r.dat": 2, "b/r.hea": 3, "c/r.hea": 4}


@pytest.mark.parametrize(
    ("now", "text", "counts"),
    [
        (FILES, "", (0, 0, 0)),
        (dict(reversed(FILES.items())), "", (0, 0, 0)),
        ({**FILES, "d/r.hea": 1}, "1 unit is new", (1, 0, 0)),
        ({**FILES, "d/r.hea": 1, "e/r.hea": 1}, "2 units are new", (2, 0, 0)),
        ({**FILES, "a/r.dat": 3}, "1 unit changed", (0, 1, 0)),
        ({**FILES, "a/q.dat": 3, "b/r.hea": 4}, "2 units changed", (0, 2, 0)),
        ({"a/r.hea": 1, "a/r.dat": 2, "b/r.hea": 3}, "1 unit is gone", (0, 0, 1)),
        ({"d/r.hea": 1, "c/r.hea": 5}, "1 unit is new, 1 changed, 2 are gone", (1, 1, 2)),
    ],
)
def test_units_that_are_new_changed_or_gone(now: dict[str, int], text: str, counts: tuple[int, int, int]) -> None:
    was, plan = plan_of(FILES), plan_of(now)
    found = unit_differences(was, plan)
    if not text:
        assert found == []
        return
    said = dict(zip(("new", "changed", "gone"), counts, strict=True))
    assert found == [Difference("units", "", text, {**said, "total": plan.n_units}, {"total": 3})]


def test_another_version_of_each_file() -> None:
    (found,) = unit_differences(plan_of(FILES), plan_of(FILES, "v2"))
    assert found.text == "3 units changed"


def test_two_runs() -> None:
    plan, more = plan_of(FILES), plan_of({**FILES, "d/r.hea": 1})
    parts = {"file a.py": ONE}
    assert run_differences(record(parts), record(parts), plan, plan) == []
    changed = run_differences(record(parts), record({"file a.py": TWO}, limit=3), plan, more)
    assert texts_of(changed) == "a.py changed; --limit: 3, was not given; 1 unit is new"
    no_plan = run_differences(record(parts), record({"file a.py": TWO}, limit=3), None, more)
    assert texts_of(no_plan) == "a.py changed; --limit: 3, was not given"
    cut = run_differences(record(parts), record(parts, unit="stem"), plan, more)
    assert texts_of(cut) == "--unit: stem, was not given"  # units that are others say nothing


@pytest.mark.parametrize(
    ("before", "label", "after", "now_label", "text"),
    [
        ("x 123", "x", {"file a.py": ONE}, "x", OLD),
        ("x 123", "x", {"file a.py": ONE}, "y", "the extractor's name: 'y', was 'x'"),
        ("x 123", None, {"file a.py": ONE}, "y", "the extractor's name: 'y', was 'x'"),
        ("z 123", "x", {"file a.py": ONE}, "x", OLD),
        ("x 3", "x", {"version": "'3'"}, "x", ""),
        ("x 3", "x", {"version": "'4'"}, "x", OLD),
        ("x 3", "x", {}, "x", OLD),
    ],
)
def test_a_run_of_an_earlier_version(
    before: str, label: str | None, after: dict[str, str], now_label: str, text: str
) -> None:
    plan = plan_of(FILES)
    existing = RunRecord("done", "id", "data", {"fingerprint": before, **({"label": label} if label else {})}, {}, {})
    found = run_differences(existing, record(after, now_label), plan, plan)
    assert texts_of(found) == text
    assert len(found) == bool(text)


def test_an_option_that_had_its_default_is_told_with_it() -> None:
    """A function's options have a part of their own only where they were given."""
    had, given = {"default f(low)": "95.0", "default f(n)": "1"}, {"option low": "90.0"}
    assert texts(had, {**had, **given}) == ["low: 90.0, was 95.0 by default"]
    assert texts({**had, **given}, had) == ["low: 95.0 by default, was 90.0"]
    twice = {**had, "default helper(low)": "2"}
    assert texts(twice, {**twice, **given}) == ["low (90.0) is new"]  # which of both it has cannot be told
