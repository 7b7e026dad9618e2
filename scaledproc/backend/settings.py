"""The backends' own settings as flags of the command line, made from what they declare.

A backend's settings are a dataclass, named by an entry point in the group `scaledproc.settings`: each field is a flag,
with its help in the field's metadata. Their modules are light to import, since `--help` shows them.

Each setting has a flag that begins with its backend, `--NAME-region`, so that settings of two backends,
or one and an option of the command, can have the same name. Where nothing else is called so, the flag without its
backend is the same and is the one that is shown: `--region`. Where several backends have a setting of that name, it is
the setting of the one that is chosen.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from functools import cache, wraps
from typing import Any

from scaledproc._util.command.config_file import table
from scaledproc._util.command.flags import flags_of, option_parameter, replace_parameter
from scaledproc._util.entry_points import SETTINGS, plugins
from scaledproc._util.options import Declared, declared
from scaledproc.errors import UsageError

SETTING, SHARED = "setting_", "setting_shared_"
"""How the names of a command's parameters begin that are settings of backends; of whichever is chosen."""
CHOSEN = ""
"""Stands for the backend that is chosen, among those that have the settings of a flag."""
Given = Mapping[str, Mapping[str, Any]]
"""By backend, the settings that were given as flags."""


@cache
def declared_settings() -> dict[str, tuple[Declared, ...]]:
    """What each backend's settings declare."""
    return {point.name: declared(point.load()) for point in plugins(SETTINGS)}


def with_settings(
    *only: str, backend: str | None = None, recall: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the backends' flags; it takes those that were given as `settings`, a mapping for each backend.

    Parameters
    ----------
    only
        Names of settings; all where none is given.
    backend
        The only one whose settings are meant.
    recall
        Whether only settings are meant that the jobs of a run cannot be asked without: their metadata says so.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True)
        chosen = [
            (owner, each)
            for owner, found in declared_settings().items()
            for each in found
            if (not only or each.name in only) and (not recall or each.about.get("recall")) and backend in (None, owner)
        ]
        taken = {flag for each in own.parameters.values() for flag in flags_of(each)}
        shown, other_names, shared, ambiguous, problem = _named(chosen, taken)
        made = {
            f"{SETTING}{at}": option_parameter(each, shown[owner, each.name], f"Backend {owner}", f"{SETTING}{at}")
            for at, (owner, each) in enumerate(chosen)
            if (owner, each.name) in shown
        }
        made |= {
            f"{SHARED}{each.name}": option_parameter(each, each.flag, "Backends", f"{SHARED}{each.name}", hidden=True)
            for each in shared
        }

        owners = {f"{SETTING}{at}": (owner, each.name) for at, (owner, each) in enumerate(chosen)}
        owners |= {f"{SHARED}{each.name}": (CHOSEN, each.name) for each in shared}

        @wraps(command)
        def called(**words: Any) -> None:
            if problem:
                raise UsageError(problem)
            given: dict[str, dict[str, Any]] = {}
            for name in made:
                owner, setting = owners[name]
                if (value := words.pop(name)) not in (None, []):
                    given.setdefault(owner, {})[setting] = value
            command(**words, settings=given)

        replace_parameter(called, own, "settings", made.values())
        vars(called)["other_names"] = {**vars(command).get("other_names", {}), **other_names}
        vars(called)["ambiguous"] = ambiguous
        vars(called)["owners"] = {name: owner for name, (owner, _) in owners.items() if owner}
        return called

    return decorate


def _named(
    chosen: list[tuple[str, Declared]], taken: set[str]
) -> tuple[dict[tuple[str, str], str], dict[str, str], list[Declared], dict[str, str], str]:
    """Which flag each setting is shown by; others that mean the same; what several backends have; what cannot be."""
    full = {(owner, each.name): f"--{owner}-{each.name}".replace("_", "-") for owner, each in chosen}
    shorts = Counter(each.flag for _, each in chosen)
    kinds = {flag: {each.kind for _, each in chosen if each.flag == flag} for flag in shorts}
    firm = {*full.values(), *taken}
    shown: dict[tuple[str, str], str] = {}
    other_names: dict[str, str] = {}
    shared: dict[str, Declared] = {}
    ambiguous: dict[str, str] = {}
    problem = ""
    for owner, each in chosen:
        own, setting = full[owner, each.name], f"the setting {each.name} of the backend {owner}"
        others = [f"the setting {name} of the backend {other}" for (other, name), flag in full.items() if flag == own]
        others = [*(each for each in others if each != setting), *(["this command"] if own in taken else [])]
        if others:
            problem = (
                f"{setting} and {others[0]} have one flag, {own}: uninstall a plug-in, or name the setting otherwise"
            )
        elif each.flag not in firm and shorts[each.flag] == 1:
            shown[owner, each.name] = each.flag
            other_names |= {f"{no}{own[2:]}": f"{no}{each.flag[2:]}" for no in ("", "no-")}
        else:
            shown[owner, each.name] = own
            if each.flag not in firm and len(kinds[each.flag]) == 1:
                shared.setdefault(each.flag, each)
            elif each.flag not in firm:
                several = " or ".join(full[other, found.name] for other, found in chosen if found.flag == each.flag)
                text = f"{each.flag} is a setting of several backends: give {several}"
                ambiguous |= {f"{no}{each.flag[2:]}": text for no in ("", "no-")}
    return shown, other_names, list(shared.values()), ambiguous, problem


def settings_for(backend: str, given: Given, taken: Collection[str] = ()) -> dict[str, Any]:
    """What a backend is set to: flags first, then its table in `scaledproc.toml`.

    Parameters
    ----------
    backend
        As it is called.
    given
        As `with_settings` gives them to a command.
    taken
        The flags of the command's own options, which a message does not take for a setting's.

    Raises
    ------
    UsageError
        If a flag is another backend's.
    """
    known = [each.name for each in declared_settings().get(backend, ())]
    for owner, values in given.items():
        strange = [name for name in values if owner not in (backend, CHOSEN) or name not in known]
        if strange:
            owners = {
                other: one for other, found in declared_settings().items() for one in found if one.name == strange[0]
            }
            whose = owner or " or ".join(owners)
            flag = owners[owner].flag_of(owner, taken) if owner else f"--{strange[0].replace('_', '-')}"
            raise UsageError(f"{flag} is for --backend {whose}, this is --backend {backend}")
    return {**(table(backend, known) if known else {}), **given.get(CHOSEN, {}), **given.get(backend, {})}


def settings_of_one(given: Given) -> dict[str, Any]:
    """The settings that were given for whichever backend a run has.

    Raises
    ------
    UsageError
        If settings of several backends are given.
    """
    owners = [owner for owner in given if owner != CHOSEN]
    if len(owners) > 1:
        raise UsageError(f"give settings of one backend: those of the run, not of {' and '.join(owners)}")
    return {name: value for owner in (CHOSEN, *owners) for name, value in given.get(owner, {}).items()}
