"""The commands and where they are: each is imported when it is named, as all of them take longer than some runs."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Any, Final

import typer

from scaledproc._util.command.flags import add_command

MARKUP: Final = "rich"
"""Of the texts of help."""
_PLACES = {
    "run": "run:run",
    "plan": "run:plan",
    "inventory": "inspect:save_inventory",
    "extractors": "inspect:extractors",
    "try": "trial:try_task",
    "init": "init:init",
    "combine": "run:combine",
    "verify": "inspect:verify",
    "show": "inspect:show_tasks",
    "report": "inspect:report",
    "worker": "worker:worker",
    "status": "inspect:status",
    "watch": "watch:watch",
    "stop": "inspect:stop",
    "fetch": "fetch:fetch",
    "doctor": "doctor:doctor",
}
"""In the order of the help: a module of this folder, and the function in it."""


class Commands(MutableMapping[str, Any]):
    """By their names, the commands as click has them, and those that plug-ins add."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}
        self._added: list[str] = []

    def __getitem__(self, name: str) -> Any:
        if name not in self:
            raise KeyError(name)
        if name not in self._made:
            try:
                self._made[name] = _made(name, _PLACES[name])
            except KeyError as error:  # which would be taken for a name that is not there
                raise RuntimeError(f"the command {name} cannot be loaded") from error
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        if name not in self:
            self._added.append(name)
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        raise TypeError("commands stay")

    def __contains__(self, name: object) -> bool:
        return name in _PLACES or name in self._added

    def __iter__(self) -> Iterator[str]:
        return iter([*_PLACES, *self._added])

    def __len__(self) -> int:
        return len(_PLACES) + len(self._added)


def _made(name: str, place: str) -> Any:
    module, _, function = place.partition(":")
    command = getattr(import_module(f"scaledproc.cli.{module}"), function)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=MARKUP)
    add_command(app, command, name)
    return typer.main.get_command(app)
