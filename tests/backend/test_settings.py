"""Flags of several backends, of which some have settings of one name, or of an option's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, make_dataclass
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from scaledproc._util.command.flags import add_command, with_options
from scaledproc.backend import settings as of_backends
from scaledproc.backend.settings import settings_for, settings_of_one, with_settings
from scaledproc.engine.options import RUN_FLAGS, RunOptions
from scaledproc.errors import UsageError


@dataclass
class Point:
    """An entry point."""

    name: str
    settings: dict[str, tuple[type, Any]]

    def load(self) -> type:
        made = [
            (name, kind, field(default=default, metadata={"help": f"The {name}.", "recall": name == "region"}))
            for name, (kind, default) in self.settings.items()
        ]
        return make_dataclass("Settings", [(name, kind.__name__, each) for name, kind, each in made], frozen=True)


SLURM = Point("slurm", {"region": (str, None), "partition": (str, "short"), "limit": (int, 7), "json": (bool, False)})
CLOUD = Point("our-cloud", {"region": (str, None), "spot": (bool, True), "zones": (tuple, ())})
LOCAL = Point("local", {"nice": (int, 0)})
Try = Callable[..., dict[str, Any]]


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Try]]:
    """A command with these backends' flags and the run's: what it makes of words."""

    def make(*points: Point, **asked: Any) -> Try:
        monkeypatch.setattr(of_backends, "plugins", lambda group: points)
        of_backends.declared_settings.cache_clear()
        caught: dict[str, Any] = {}

        @with_settings(**asked)
        @with_options(RunOptions)
        def command(
            given: dict[str, Any],
            as_json: Annotated[bool, typer.Option("--json", "-j")] = False,
            *,
            settings: dict[str, Any],
        ) -> None:
            caught.update(given, as_json=as_json, settings=settings)

        app = typer.Typer(pretty_exceptions_enable=False)
        add_command(app, command)

        def run(*words: str) -> dict[str, Any]:
            caught.clear()
            result = CliRunner().invoke(app, words, env={"COLUMNS": "200", "TERM": "dumb"})
            if result.exception is not None and not isinstance(result.exception, SystemExit):
                raise result.exception
            assert result.exit_code == 0, result.output
            return {**caught, "output": result.output}

        return run

    yield make
    of_backends.declared_settings.cache_clear()


def test_a_flag_with_and_without_its_backend(tried: Callable[..., Try]) -> None:
    go = tried(SLURM, CLOUD)

    assert go("--partition", "long")["settings"] == {"slurm": {"partition": "long"}}
    assert go("--slurm-partition", "long")["settings"] == {"slurm": {"partition": "long"}}
    assert go("--no-spot")["settings"] == go("--no-our-cloud-spot")["settings"] == {"our-cloud": {"spot": False}}
    assert go("--zones", "a", "--our-cloud-zones=b")["settings"] == {"our-cloud": {"zones": ["a", "b"]}}
    assert go()["settings"] == {}


def test_settings_of_one_name_are_told_apart(tried: Callable[..., Try]) -> None:
    go = tried(SLURM, CLOUD)

    found = go("--slurm-region", "x", "--our-cloud-region", "y")["settings"]
    assert found == {"slurm": {"region": "x"}, "our-cloud": {"region": "y"}}
    assert tried(SLURM)("--region", "x")["settings"] == {"slurm": {"region": "x"}}


def test_a_setting_of_several_backends_is_that_of_the_chosen_one(tried: Callable[..., Try]) -> None:
    go = tried(SLURM, CLOUD, LOCAL)
    given = go("--region", "x", "--slurm-region", "y")["settings"]

    assert settings_for("our-cloud", go("--region", "x")["settings"]) == {"region": "x"}
    assert settings_for("slurm", given) == {"region": "y"}
    assert settings_of_one(go("--region", "x")["settings"]) == {"region": "x"}
    assert settings_of_one(go("--region", "x", "--our-cloud-region", "y")["settings"]) == {"region": "y"}
    with pytest.raises(UsageError, match="--region is for --backend slurm or our-cloud, this is --backend local"):
        settings_for("local", go("--region", "x")["settings"])
    assert " --region " not in go("--help-all")["output"]


def test_settings_of_one_name_and_two_kinds_are_asked_for_by_their_backends(tried: Callable[..., Try]) -> None:
    go = tried(SLURM, Point("other", {"partition": (bool, False)}))

    assert go("--slurm-partition", "x", "--other-partition")["settings"]["other"] == {"partition": True}
    with pytest.raises(UsageError, match="--partition is a setting of several backends: give --slurm-partition or --o"):
        go("--partition", "x")


def test_a_setting_called_as_an_option_of_the_command(tried: Callable[..., Try]) -> None:
    found = tried(SLURM)("--limit", "3", "--slurm-limit", "4", "--json", "--no-slurm-json")

    assert (found["limit"], found["as_json"]) == (3, True)
    assert found["settings"] == {"slurm": {"limit": 4, "json": False}}


def test_help_shows_each_setting_once(tried: Callable[..., Try]) -> None:
    shown = tried(SLURM, CLOUD)("--help-all")["output"]

    slurm, cloud = shown.split("Backend slurm")[1].split("Backend our-cloud")
    for flag in ("--slurm-region", "--partition", "--slurm-limit", "--slurm-json"):
        assert slurm.count(f"│ {flag} ") == 1, flag
    assert "--slurm-partition" not in shown
    assert "--our-cloud-region" in cloud
    assert "--spot" in cloud
    assert "Default: short." in slurm


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ((Point("a", {"b_c": (str, None)}), Point("a-b", {"c": (str, None)})), "--a-b-c"),
        ((Point("task", {"retries": (int, 1)}),), "this command have one flag, --task-retries"),
    ],
)
def test_flags_that_cannot_be_told_apart_are_refused(
    tried: Callable[..., Try], points: tuple[Point, ...], words: str
) -> None:
    go = tried(*points)
    with pytest.raises(UsageError, match=words):
        go()
    assert "Usage" in go("--help")["output"]


def test_settings_of_whichever_backend_a_run_has(tried: Callable[..., Try]) -> None:
    go = tried(SLURM, CLOUD, recall=True)

    assert "--partition" not in go("--help")["output"]
    assert settings_of_one(go("--slurm-region", "x")["settings"]) == {"region": "x"}
    assert settings_of_one({}) == {}
    with pytest.raises(UsageError, match="settings of one backend"):
        settings_of_one(go("--slurm-region", "x", "--our-cloud-region", "y")["settings"])


def test_settings_of_the_chosen_backend(tried: Callable[..., Try]) -> None:
    go = tried(SLURM, CLOUD)

    assert settings_for("slurm", go("--partition", "long")["settings"]) == {"partition": "long"}
    with pytest.raises(UsageError, match="--spot is for --backend our-cloud, this is --backend slurm"):
        settings_for("slurm", go("--spot")["settings"])


def test_a_flag_of_another_backend_that_is_called_as_one_of_the_run(tried: Callable[..., Try]) -> None:
    given = tried(SLURM, LOCAL)("--slurm-limit", "3")["settings"]
    with pytest.raises(UsageError, match=r"^--slurm-limit is for --backend slurm, this is --backend local"):
        settings_for("local", given, RUN_FLAGS)


def test_pythons_names_of_options_are_flags_too(tried: Callable[..., Try]) -> None:
    found = tried()("--storage-options", "anon=true", "--options", "window=3")

    assert found["storage_options"] == {"anon": True}
    assert found["options"] == {"window": "3"}
