"""Options of extractors: what a signature declares, what a person may give, and where it arrives."""

from __future__ import annotations

import functools
import json
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import TreeWriter

import scaledproc
from scaledproc.errors import OtherPlanError, UsageError
from scaledproc.extractors import Extractor, Option, Task, load_extractor
from scaledproc.extractors.options import NEEDED, make_extractor, options_of, parse_options, without_defaults
from scaledproc.extractors.registry import change_options, refuse_secrets, settle_options
from scaledproc.extractors.wfdb.summary import WfdbSummary

SCHEMA = {"path": "string", "window": "int64"}
FILES = {"a/1.txt": b"one", "a/2.txt": b"two", "b/3.txt": b""}


@scaledproc.extractor(schema=SCHEMA, anchor="*.txt")
def windowed(  # type: ignore[no-untyped-def]
    task: Task,
    extra: int = 0,
    *,
    window: Annotated[int, Option("Length of a window.", unit="seconds")] = 60,
    scale: float = 1.0,
    channels: tuple[str, ...] = (),
    bands: list[float] | None = None,
    units: Literal["mV", "uV"] = "mV",
    is_quick: bool = False,
    plain=3,
    model: Path | None = None,
    _hidden: int = 1,
) -> dict[str, Any]:
    """Rows of windows.

    Parameters
    ----------
    task
        What there is.
    scale
        What values are multiplied
        with.
    channels, bands
        Which to take.

    Returns
    -------
    dict
        A row.
    """
    return {"path": task.anchor, "window": window}


@dataclass
class Windows(Extractor):
    """A class whose fields are its options."""

    name = "windows"
    anchors = ("*.txt",)

    window: int = 60
    names: list[str] = field(default_factory=lambda: ["a"])

    def __post_init__(self) -> None:
        if self.window == 13:
            raise ValueError("13 brings bad luck")

    @property
    def schema(self) -> pa.Schema:
        return pa.schema({"path": pa.string(), "window": pa.int64()})

    def extract(self, task: Task) -> dict[str, Any]:
        return {"path": task.anchor, "window": self.window}


@scaledproc.extractor(schema=SCHEMA, anchor="*.txt")
def needy(task: Task, *, window: int) -> dict[str, Any]:
    return {"path": task.anchor, "window": window}


def test_a_function_declares_what_stands_behind_the_task() -> None:
    found = options_of(windowed)

    assert list(found) == ["extra", "window", "scale", "channels", "bands", "units", "is_quick", "plain"]
    assert (found["window"].default, found["window"].about.unit) == (60, "seconds")
    assert found["window"].about.help == "Length of a window."
    assert found["scale"].about.help == "What values are multiplied with."
    assert found["channels"].about.help == found["bands"].about.help == "Which to take."
    assert found["units"].about.help == ""
    assert [each.type_text for each in found.values()][1:4] == ["int", "float", "tuple[str, ...]"]
    assert [each.placeholder for each in found.values()][1:4] == ["SECONDS", "NUMBER", "TEXT,…"]


def test_a_class_declares_what_it_is_made_with() -> None:
    assert {name: each.default for name, each in options_of(Windows).items()} == {"window": 60, "names": ["a"]}
    assert list(options_of(WfdbSummary)) == ["signal_names", "ranges"]
    assert options_of(Windows()) == {}  # it is made


def test_a_partial_has_the_options_that_are_left_and_other_defaults() -> None:
    found = load_extractor(functools.partial(windowed, window=30))
    assert options_of(found)["window"].default == 30
    assert options_of(load_extractor(functools.partial(needy, window=5)))["window"].default == 5
    assert options_of(needy)["window"].default is NEEDED


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ({"window": "30"}, {"window": 30}),
        ({"window": 30.0}, {"window": 30}),
        ({"scale": "2"}, {"scale": 2.0}),
        ({"scale": 2}, {"scale": 2.0}),
        ({"channels": "II, lead"}, {"channels": ["II, lead"]}),
        ({"channels": ["I", "II"]}, {"channels": ["I", "II"]}),
        ({"channels": '["I", "II"]'}, {"channels": ["I", "II"]}),
        ({"channels": "[IV]*"}, {"channels": ["[IV]*"]}),
        ({"bands": "[1, 2.5]"}, {"bands": [1.0, 2.5]}),
        ({"bands": "1,2.5"}, {"bands": [1.0, 2.5]}),
        ({"bands": "none"}, {"bands": None}),
        ({"bands": None}, {"bands": None}),
        ({"units": "uV"}, {"units": "uV"}),
        ({"is-quick": "yes"}, {"is_quick": True}),
        ({"is_quick": False}, {"is_quick": False}),
        ({"plain": "7"}, {"plain": 7}),
        ({"window": "60 seconds"}, {"window": 60}),
        ({"window": "5m"}, {"window": 300}),
    ],
)
def test_values(given: dict[str, Any], values: dict[str, Any]) -> None:
    found = parse_options(windowed, given)
    assert found == values
    assert json.loads(json.dumps(found)) == found
    assert [type(value) for value in found.values()] == [type(value) for value in values.values()]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"window": "long"}, "--set window=long: windowed takes for window a whole number"),
        ({"window": 1.5}, "a whole number"),
        ({"window": True}, "a whole number"),
        ({"window": [1, 2]}, "--set window=1, 2: windowed takes for window a whole number, once"),
        ({"window": "60 bytes"}, "a whole number, or a time such as 90s, 5m or 1h"),
        ({"bands": ["1", "x"]}, "--set bands=1, x: "),
        ({"window": None}, "a whole number"),
        ({"window": float("inf")}, "a whole number"),
        ({"scale": "nan"}, "a number"),
        ({"scale": 10**400}, "a number"),
        ({"units": "V"}, "--set units=V: windowed takes for units mV or uV"),
        ({"is_quick": "perhaps"}, "true or false"),
        ({"is_quick": 1}, "true or false"),
        ({"channels": 7}, "a text, or several"),
        ({"bands": "1,x"}, "a number, or several or none"),
        ({"windw": 1}, "'windowed' takes no option windw; is 'window' meant"),
        ({"other": 1}, "takes no option other; it has: extra, window, scale"),
        ({"model": "x"}, "option model of extractor 'windowed' cannot be set"),
        ({"_hidden": 1}, "takes no option _hidden"),
    ],
)
def test_values_that_cannot_be(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_options(windowed, given)


@scaledproc.extractor(schema=SCHEMA)
def sized(
    task: Task,
    *,
    memory: Annotated[int, Option(unit="bytes")] = 2**28,
    most: Annotated[int | None, Option(unit="bytes")] = None,
    share: Annotated[float, Option(unit="mV")] = 0.1,
) -> dict[str, Any]:
    return {}


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ({"memory": "256 MB"}, {"memory": 256_000_000}),
        ({"memory": "1.5GiB"}, {"memory": 3 * 2**29}),
        ({"memory": "17 bytes"}, {"memory": 17}),
        ({"memory": "17"}, {"memory": 17}),
        ({"most": "2k"}, {"most": 2000}),
        ({"most": "none"}, {"most": None}),
        ({"share": "2 mV"}, {"share": 2.0}),
    ],
)
def test_numbers_with_their_units(given: dict[str, Any], values: dict[str, Any]) -> None:
    assert parse_options(sized, given) == values
    assert type(next(iter(values.values()))) is type(next(iter(parse_options(sized, given).values())))


@pytest.mark.parametrize("text", ["256 QB", "3 tasks", "0.1", "-2GB", "bytes", "5h"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match=f"--set memory={text}: .* a whole number, or a size such as 2GB"):
        parse_options(sized, {"memory": text})


DEFAULTS: list[tuple[Any, Any]] = [
    *(
        (str, each)
        for each in (",", ";", "\t", "", " ", "a b", "it's", '"', "record", "[x", "none", "all", "$HOME", "(x)")
    ),
    *((int, each) for each in (0, -3, 10**30)),
    *((float, each) for each in (60.0, 0.5, 1e-9, 1e300, 1 / 3)),
    *((Annotated[int, Option(unit="bytes")], each) for each in (0, 1, 16, 1000, 1023, 2**28, 123_456_789, -5)),
    *((Annotated[float, Option(unit="seconds")], each) for each in (60.0, 0.25, 0.0)),
    *((bool, each) for each in (True, False)),
    *((tuple[str, ...], each) for each in ((), ("a",), ("a", "b c"), ("a,b", '"'), ("[",), ("[1]",), ("",), ("é",))),
    *((list[int], each) for each in ([], [1], [1, 2])),
    *((float | None, each) for each in (None, 1.5)),
    *((str | None, each) for each in (None, "none", "x")),
    *((int | str, each) for each in (5, "5", "x")),
    (Literal["a", "b c"], "b c"),
]


@pytest.mark.parametrize(("kind", "default"), DEFAULTS, ids=repr)
def test_a_default_is_shown_as_a_shell_takes_it_or_in_parentheses(kind: Any, default: Any) -> None:
    def made(task: Task, *, value: Any = default) -> dict[str, Any]:
        return {}

    made.__annotations__["value"] = kind
    found = scaledproc.extractor(schema=SCHEMA)(made)
    text = options_of(found)["value"].default_text
    if text.startswith("("):
        # A shell cannot end with such a word, or what it is given stands for something else.
        assert default in ((), [], None) or not text[2:-2].isprintable() or json.dumps(default) == text[1:-1]
    else:
        (word,) = shlex.split(text)
        given = parse_options(found, {"value": word})["value"]
        assert (given, type(given)) == (
            (list(default), list) if isinstance(default, tuple) else (default, type(default))
        )


def test_defaults_that_people_see() -> None:
    def shown(found: Any) -> list[str]:
        return [each.default_text for each in options_of(found).values()]

    assert shown(load_extractor("table")) == ["(none)", ",", "(those of pyarrow)", "256MiB"]
    assert shown(sized) == ["256MiB", "none", "0.1"]
    assert shown(windowed) == ["0", "60", "1", "(none)", "none", "mV", "false", "3"]
    assert shown(needy) == ["must be given"]


def test_defaults_of_other_types_are_shown_and_are_defaults() -> None:
    @scaledproc.extractor(schema=SCHEMA)
    def odd(  # type: ignore[no-untyped-def]
        task: Task,
        *,
        n: int = np.int64(5),  # type: ignore[assignment]
        share: float = np.float32(0.5),  # type: ignore[assignment]
        is_on: bool = np.True_,  # type: ignore[assignment]
        model: str = Path("a/b"),  # type: ignore[assignment]
        many: tuple[int, ...] = (np.int64(1), 2),  # type: ignore[assignment]
        strange: float | None = np.array([1.0, 2.0]),  # type: ignore[assignment]
    ):
        return {}

    found = options_of(odd)
    assert [each.default_text for each in found.values()] == ["5", "0.5", "true", "a/b", "1,2", '("[1. 2.]")']
    assert json.loads(json.dumps([each.default for each in found.values()])) == [5, 0.5, True, "a/b", [1, 2], "[1. 2.]"]
    given = {"n": "5", "share": "0.5", "is_on": "true", "model": "a/b", "many": "1,2", "strange": "3"}
    assert without_defaults(odd, parse_options(odd, given)) == {"strange": 3.0}


def test_what_an_extractor_refuses_is_told() -> None:
    with pytest.raises(UsageError, match="'windows' cannot be made with these options: 13 brings bad luck"):
        make_extractor(Windows, {"window": 13})
    with pytest.raises(UsageError, match="needs the option window: --set window=VALUE"):
        load_extractor(functools.partial(needy))
    with pytest.raises(UsageError, match="made already: give its class"):
        settle_options(Windows(), {"window": 1})
    with pytest.raises(UsageError, match="'count' takes no option window: it has none"):
        parse_options(scaledproc.extractor(schema=SCHEMA)(_counting()), {"window": 1})


def _counting() -> Any:
    def count(task: Task) -> dict[str, Any]:
        return {}

    return count


def test_a_default_that_is_given_is_none() -> None:
    assert without_defaults(windowed, {"window": 60, "scale": 1.0, "bands": None, "channels": []}) == {}
    assert without_defaults(windowed, {"window": 61, "is_quick": True}) == {"window": 61, "is_quick": True}
    assert settle_options(windowed, {"window": "60"}) == (windowed, {})
    assert settle_options(windowed, {}) == (windowed, None)
    assert without_defaults(needy, {"window": 5}) == {"window": 5}


def test_values_that_travelled_are_of_their_types_again() -> None:
    seen = []

    @scaledproc.extractor(schema=SCHEMA)
    def look(task: Task, *, several: tuple[int, ...] = (), ratio: float = 1.0) -> dict[str, Any]:
        seen.append((several, ratio))
        return {}

    values = json.loads(json.dumps(parse_options(look, {"several": "1,2", "ratio": 3})))
    made = make_extractor(make_extractor(look, values), values)  # twice is once
    made.extract(Task("a", "a", "a/x", Path("/"), frozenset()))

    assert seen == [((1, 2), 3.0)]
    assert isinstance(seen[0][1], float)


def windows_of(folder: Path) -> set[int]:
    return set(pq.read_table(folder / "features.parquet")["window"].to_pylist())


SOURCE = """
from dataclasses import dataclass
from typing import Annotated
import pyarrow as pa
import scaledproc

@scaledproc.extractor(schema={"path": "string", "window": "int64"}, anchor="*.txt")
def windowed(task, *, window: Annotated[int, "Length of a window."] = 60):
    return {"path": task.anchor, "window": window}

@dataclass
class Windows(scaledproc.Extractor):
    name = "windows"
    anchors = ("*.txt",)
    window: int = 60

    @property
    def schema(self):
        return pa.schema({"path": pa.string(), "window": pa.int64()})

    def extract(self, task):
        return {"path": task.anchor, "window": self.window}
"""


@pytest.mark.parametrize("name", ["windowed", "Windows"])
def test_options_arrive_in_every_process_and_are_part_of_the_plan(tree: TreeWriter, tmp_path: Path, name: str) -> None:
    dataset = tree(FILES)
    (tmp_path / "mine.py").write_text(SOURCE)
    spec = f"{tmp_path / 'mine.py'}:{name}"

    first = scaledproc.run(dataset, tmp_path / "out", extractor=spec, options={"window": "30"}, jobs=2, chunk=1)

    assert windows_of(tmp_path / "out") == {30}
    assert first.record.extractor["options"] == {"window": 30}
    assert first.record.extractor["fingerprint"]["option window"] == "30"
    plans = [scaledproc.plan(dataset, extractor=spec, options=each).plan_id for each in ({"window": 30}, {}, None)]
    assert plans[0] == first.plan.plan_id
    assert plans[1] == plans[2] == scaledproc.plan(dataset, extractor=spec, options={"window": 60}).plan_id
    assert plans[0] != plans[1]
    with pytest.raises(OtherPlanError, match="window"):
        scaledproc.run(dataset, tmp_path / "out", extractor=spec, jobs=1)
    again = scaledproc.run(dataset, tmp_path / "out", extractor=spec, options={"window": 30}, jobs=1)
    assert again.record.counts == first.record.counts
    with pytest.raises(UsageError, match="depends on window: give --set to scaledproc run"):
        scaledproc.combine(tmp_path / "out", options={"window": 20})


@pytest.mark.parametrize("extractor", [windowed, Windows])
def test_options_of_what_only_this_process_knows(tree: TreeWriter, tmp_path: Path, extractor: Any) -> None:
    done = scaledproc.run(tree(FILES), tmp_path / "out", extractor=extractor, options={"window": 30}, jobs=1)

    assert windows_of(tmp_path / "out") == {30}
    assert done.record.extractor["options"] == {"window": 30}


def test_a_worker_elsewhere_has_them_from_run_json(tree: TreeWriter, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SOURCE)

    class _StopError(Exception):
        pass

    def stop(event: Any) -> None:
        if type(event).__name__ == "RunStarted":
            raise _StopError

    with pytest.raises(_StopError):
        scaledproc.run(
            tree(FILES),
            tmp_path / "out",
            extractor=f"{tmp_path}/mine.py:windowed",
            options={"window": 7},
            jobs=1,
            on_event=stop,
        )
    from scaledproc.api import work

    list(work(tmp_path / "out", [0, 1], combine=True, jobs=1))
    assert windows_of(tmp_path / "out") == {7}


def test_nothing_is_begun_where_an_option_is_wrong(tree: TreeWriter, tmp_path: Path) -> None:
    dataset = tree(FILES)
    for options, words in (({"windw": 1}, "is 'window' meant"), ({"window": "x"}, "a whole number")):
        for go in (
            lambda options: scaledproc.run(dataset, tmp_path / "out", extractor=windowed, options=options),
            lambda options: scaledproc.plan(dataset, extractor=windowed, options=options),
        ):
            with pytest.raises(UsageError, match=words):
                go(options)
    with pytest.raises(UsageError, match="needs the option window"):
        scaledproc.run(dataset, tmp_path / "out", extractor=needy)
    assert not (tmp_path / "out").exists()


def test_what_only_the_table_depends_on_is_changed_by_combine(tmp_path: Path) -> None:
    (tmp_path / "names.toml").write_text('[waveform]\nlead_two = ["II"]\n')
    text = (tmp_path / "names.toml").read_text()
    given = {"signal_names": tmp_path / "names.toml"}

    assert change_options("wfdb-summary", {}, given) == {"signal_names": text}
    assert change_options("wfdb-summary", {"signal_names": text}, {"signal_names": "built-in"}) == {}
    assert parse_options(WfdbSummary, given) == {"signal_names": text}
    with pytest.raises(UsageError, match=r"--set signal_names=.*nowhere\.toml: No such file"):
        parse_options(WfdbSummary, {"signal_names": tmp_path / "nowhere.toml"})


def test_names_of_types_that_are_not_there_are_no_options() -> None:
    @scaledproc.extractor(schema=SCHEMA)
    def strange(task: Task, *, x: NowhereDefined = 1, y: Iterable[int] = (), z: int = 1) -> dict[str, Any]:  # type: ignore[name-defined]  # noqa: F821
        return {}

    assert list(options_of(strange)) == ["z"]


SECRET = "hunter2-hunter2"


@pytest.mark.parametrize("name", ["token", "api_key", "db_password", "client_secret"])
def test_a_secret_is_no_option(name: str, tmp_path: Path) -> None:
    """It would stand in run.json, as a worker elsewhere finds the options there."""
    (tmp_path / "asks.py").write_text(
        "import scaledproc\n"
        "@scaledproc.extractor(schema={'n': 'int64'}, anchor='*.txt')\n"
        f"def asks(task, *, {name}: str = '', times: int = 1):\n"
        "    return {'n': 1}\n"
    )
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.txt").write_text("a")
    spec = f"{tmp_path / 'asks.py'}:asks"
    for call in (
        lambda: scaledproc.plan(tmp_path / "data", extractor=spec, options={name: SECRET}),
        lambda: scaledproc.run(tmp_path / "data", tmp_path / "out", extractor=spec, options={name: SECRET}, jobs=1),
    ):
        with pytest.raises(
            UsageError, match=rf"--set {name}: it looks like a secret.*env=\(\"{name.upper()}\",\)"
        ) as seen:
            call()
        assert SECRET not in str(seen.value)
    assert not (tmp_path / "out").exists()
    run = scaledproc.run(tmp_path / "data", tmp_path / "out", extractor=spec, options={name: ""}, jobs=1)
    with pytest.raises(UsageError, match="it looks like a secret"):
        scaledproc.combine(run.store.uri, options={name: SECRET})


def test_a_value_that_cannot_be_is_not_shown_where_it_is_a_secret() -> None:
    @scaledproc.extractor(schema={"n": "int64"}, anchor="*.txt")
    def asks(task: Task, *, token: int = 1) -> dict[str, int]:
        return {"n": token}

    with pytest.raises(UsageError, match=r"--set token=\*\*\*: asks takes for token a whole number"):
        parse_options(asks, {"token": SECRET})


@pytest.mark.parametrize(
    ("name", "value"), [("sort_key", "time"), ("key", "ecg"), ("max_tokens", 5), ("token_file", "f")]
)
def test_what_is_no_secret_is_an_option(name: str, value: object) -> None:
    refuse_secrets({name: value})


def of_function(function: Any) -> Any:
    return scaledproc.extractor(schema={"x": "int64"}, anchor="*.csv")(function)


def test_parameters_behind_the_task_are_options_with_a_star_and_without_one() -> None:
    def plain(task: Any, window=3, *, name: str = "a") -> dict[str, int]:  # type: ignore[no-untyped-def]
        return {"x": window}

    found = of_function(plain)
    assert list(options_of(found)) == ["window", "name"]
    assert parse_options(found, {"window": "5"}) == {"window": 5}
    made = make_extractor(found, {"window": 5})
    assert made.function("task") == {"x": 5}  # type: ignore[attr-defined]
    assert without_defaults(found, {"window": 3}) == {}  # so that the plan stays what it was


def test_a_parameter_that_nothing_gives_is_told_before_the_first_task() -> None:
    def bare(task: Any, window) -> dict[str, int]:  # type: ignore[no-untyped-def]
        return {"x": window}

    def typed(task: Any, window: int) -> dict[str, int]:
        return {"x": window}

    with pytest.raises(UsageError, match=r"'bare' takes window besides the task, .* window: int, --set window="):
        make_extractor(of_function(bare), {})
    with pytest.raises(UsageError, match="needs the option window: --set window=VALUE"):
        make_extractor(of_function(typed), {})
    given = functools.partial(bare, window=4)
    assert make_extractor(of_function(given), {}).function("task") == {"x": 4}  # type: ignore[attr-defined]


def test_a_wrapped_function_needs_what_the_wrapper_is_called_with() -> None:
    def inner(task: Any, database: object, window: int) -> dict[str, Any]:
        return {"x": (database, window)}

    @functools.wraps(inner)
    def closed(task: Any) -> dict[str, Any]:
        return inner(task, "database", 3)

    @functools.wraps(inner)
    def opened(task: Any, **options: Any) -> dict[str, Any]:
        return inner(task, "database", **options)

    @functools.wraps(inner)
    def given(task: Any, window: int = 7, *, more: int = 1) -> dict[str, Any]:
        return inner(task, "database", window * more)

    assert list(options_of(of_function(closed))) == []
    assert make_extractor(of_function(closed), {}).function("task") == {"x": ("database", 3)}  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="'inner' takes no option window: it has none"):
        make_extractor(of_function(closed), {"window": 5})

    assert list(options_of(of_function(opened))) == ["window"]
    made = make_extractor(of_function(opened), {"window": 5})
    assert made.function("task") == {"x": ("database", 5)}  # type: ignore[attr-defined]
    make_extractor(of_function(opened), {})  # which might give it by itself

    found = options_of(of_function(given))
    assert {name: each.default for name, each in found.items()} == {"window": 7, "more": 1}
    assert make_extractor(of_function(given), {"more": 2}).function("task") == {"x": ("database", 14)}  # type: ignore[attr-defined]


def test_a_decorator_that_passes_all_on_leaves_the_options_as_they_are() -> None:
    def through(function: Any) -> Any:
        @functools.wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            return function(*arguments, **options)

        return call

    @through
    @through
    def inner(task: Any, window: Annotated[int, Option("Length of a window.")] = 60, *, scale: float) -> dict[str, Any]:
        return {"x": window * scale}

    found = options_of(of_function(inner))
    assert {name: (each.kind, each.default, each.about.help) for name, each in found.items()} == {
        "window": (int, 60, "Length of a window."),
        "scale": (float, NEEDED, ""),
    }
    assert make_extractor(of_function(inner), {"scale": 2}).function("task") == {"x": 120}  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="needs the option scale"):
        make_extractor(of_function(inner), {})

    class Called:
        @through
        def __call__(self, task: Any, window: int = 60) -> dict[str, Any]:
            return {"x": window}

        @through
        def method(self, task: Any, window: int) -> dict[str, Any]:
            return {"x": window}

    assert options_of(of_function(Called()))["window"].default == 60
    assert options_of(of_function(Called().method))["window"].default is NEEDED
    assert list(options_of(of_function(functools.cache(inner)))) == ["window", "scale"]

    half = functools.partial(inner, scale=3.0)
    assert options_of(of_function(half))["scale"].default == 3.0
    assert make_extractor(of_function(half), {"window": 2}).function("task") == {"x": 6}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"schema": pa.schema([])}, 'class Mine has no name: write name = "mine" in it'),
        ({"name": "mine", "schema": {"x": "int64"}}, "class Mine has a schema that is a dict: write schema = "),
        (
            {"name": "mine", "schema": pa.schema([]), "anchors": "*.csv"},
            "its anchors are a text: write anchors = ('*.csv',) in it",
        ),
    ],
)
def test_what_a_class_lacks_is_told_with_the_line_to_write(attributes: dict[str, Any], said: str) -> None:
    found = type("Mine", (scaledproc.Extractor,), {**attributes, "extract": lambda self, task: ()})
    for each in (found, found()):
        with pytest.raises(UsageError, match=re.escape(said)):
            make_extractor(each, {})
