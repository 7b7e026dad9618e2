"""What differs between the run that a folder holds and the one that is asked for, in words and for programs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from scaledproc._util.text import clean_text, count_text
from scaledproc.extractors.code.fingerprint import CODE, FINISHING, WITH_KEYS, Fingerprint
from scaledproc.planning.comparison import compare_plans, same_files

if TYPE_CHECKING:
    from scaledproc.planning.plan import Plan
    from scaledproc.run_folder.record import RunRecord
    from scaledproc.run_folder.run import Run

SHOWN = 8
"""How many differences a message names."""
OLD = (
    "it was made by an earlier version of scaledproc, which did not note what the rows depend on: whether the code "
    "changed cannot be told"
)
_OPTIONS = ("unit", "anchors", "include", "exclude", "only", "hidden", "limit")
_HASH = "sha256:"
_LIST = re.compile(r" \((sha256:[0-9a-f]{16})\)\Z")
"""What run.json says of a list's content, after its name."""


@dataclass(frozen=True)
class Difference:
    """One thing that differs.

    Parameters
    ----------
    kind
        `file`, `function`, `class`, `global`, `enclosed`, `default`, `attribute`, `option`, `column`, `package`, `env`,
        `reads`, `units`, `layout`, …
    name
        Which one: `helpers.py`, `FACTOR`.
    text
        For a person: `helpers.py changed`, `global FACTOR: 7, was 1`.
    now, was
        Its value or hash; None where it is not there. Of `units`, how many.
    """

    kind: str
    name: str
    text: str
    now: Any = None
    was: Any = None

    def to_dict(self) -> dict[str, Any]:
        """The difference in JSON's types."""
        return asdict(self)


def texts_of(differences: Sequence[Difference]) -> str:
    """The differences in one line."""
    texts = [difference.text for difference in differences]
    more = [f"and {len(texts) - SHOWN:,} more differences"] if len(texts) > SHOWN else []
    return "; ".join([*texts[:SHOWN], *more])


def lines_of(differences: Sequence[Difference]) -> list[str]:
    """The differences, a line each; of another extractor its columns, options and code say nothing more."""
    if any(each.kind == "name" for each in differences):
        differences = [each for each in differences if each.kind in ("name", "layout", "units")]
    texts = [difference.text for difference in differences]
    return [*texts[:SHOWN], *([f"and {len(texts) - SHOWN:,} more"] if len(texts) > SHOWN else [])]


def extractor_differences(
    was: Mapping[str, str] | str, now: Fingerprint, *, only: Iterable[str] | None = None
) -> list[Difference]:
    """What differs between what run.json says of an extractor and the extractor.

    Parameters
    ----------
    was
        Its parts; a text in the run.json of an earlier version.
    now
        Of the extractor.
    only
        Kinds of parts to look at, as far as both have them: what another machine has to agree on.
    """
    if isinstance(was, str):
        return [] if was == now.text else [Difference("extractor", "", OLD)]
    if only is None:  # files of the dataset are no part of the extractor, nor is what a run does with its rows
        own = {name: part for name, part in was.items() if not name.startswith("reads ") and name != WITH_KEYS}
        return part_differences(own, now.parts)
    both = [name for name in was if name in now.parts and name.partition(" ")[0] in only]
    return part_differences({name: was[name] for name in both}, {name: now.parts[name] for name in both})


def part_differences(was: Mapping[str, str], now: Mapping[str, str]) -> list[Difference]:
    """What differs between the parts of two fingerprints; what follows from something else is left out."""
    names = sorted({*was, *now} - {FINISHING}, key=lambda name: (_rank(name), name))
    found = [
        _difference(name, was.get(name), now.get(name), defaults=(_default(name, was), _default(name, now)))
        for name in names
        if was.get(name) != now.get(name)
    ]
    kinds = {difference.kind for difference in found}
    if "python" in kinds:  # another version has other bytecode
        found = [each for each in found if each.kind not in ("code", "function", "class")]
    if kinds & {"file", "function"}:  # the extractor's own code is in one of these
        found = [each for each in found if each.kind != "code" or each.name]
    if "column" in kinds:
        found = [each for each in found if each.kind != "schema"]
    moved = [each for each in found if each.kind in ("function", "class")]
    if "name" in kinds:  # the same code under another name
        same = {each.was for each in moved if each.now is None} & {each.now for each in moved if each.was is None}
        found = [each for each in found if each not in moved or {each.was, each.now} - {None} - same]
    return found


_RANKS = ("fingerprint", "name", "version", "python", "file", "code", "function", "class", "option", "global")


def _rank(name: str) -> int:
    kind = name.partition(" ")[0]
    return _RANKS.index(kind) if kind in _RANKS else len(_RANKS)


def _default(part: str, parts: Mapping[str, str]) -> str | None:
    """What an option has where none is given: the default of the parameter of its name, if only one function has it."""
    kind, _, name = part.partition(" ")
    found = [value for other, value in parts.items() if other.startswith("default ") and other.endswith(f"({name})")]
    return found[0] if kind == "option" and len(found) == 1 else None


def _difference(
    part: str, was: str | None, now: str | None, defaults: tuple[str | None, str | None] = (None, None)
) -> Difference:
    kind, _, name = part.partition(" ")
    if part == WITH_KEYS:
        words = ("with", "without") if was is None else ("without", "with")
        return Difference(kind, name, f"{words[0]} the columns group, unit and anchor, was {words[1]}", now, was)
    called = clean_text(
        {
            "name": "the extractor's name",
            "version": "the extractor's version",
            "python": "Python",
            "code": name or "the function",
            "schema": "the schema",
            "fingerprint": "the extractor's fingerprint",
            "env": f"the environment variable {name}",
            "default": f"the default of {name}",
            **dict.fromkeys(("file", "function", "class", "option", "package", "reads", "attribute"), name),
        }.get(kind, part)
    )
    if was is None and now is not None and defaults[0] is not None:
        return Difference(kind, name, f"{called}: {_value(now)}, was {_value(defaults[0])} by default", now, was)
    if now is None and was is not None and defaults[1] is not None:
        return Difference(kind, name, f"{called}: {_value(defaults[1])} by default, was {_value(was)}", now, was)
    if was is None:
        value = "" if now is None or now.startswith(_HASH) or kind in CODE else f" ({clean_text(now)})"
        return Difference(kind, name, f"{called}{value} is new", now, was)
    if now is None:
        return Difference(kind, name, f"{called} is gone", now, was)
    is_value = not (was.startswith(_HASH) and now.startswith(_HASH)) and kind not in ("code", "fingerprint")
    text = f"{called}: {_value(now)}, was {_value(was)}" if is_value else f"{called} changed"
    return Difference(kind, name, text, now, was)


def _value(text: str) -> str:
    return "another value" if text.startswith(_HASH) else clean_text(text)


def option_differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """What was asked for in another way, as far as it decides which tasks there are."""
    return [
        Difference("layout", name, _option_text(name, now.get(name), was.get(name)), now.get(name), was.get(name))
        for name in _OPTIONS
        if (was.get(name) or None) != (now.get(name) or None)
    ]


def _option_text(name: str, now: Any, was: Any) -> str:
    if name == "only" and now and was:
        (list_now, *digest_now), (list_was, *digest_was) = _LIST.split(now), _LIST.split(was)
        if list_now == list_was and digest_now and digest_was:
            return f"--only: the names in {clean_text(list_now)} changed"
    return f"--{name.removesuffix('s')}: {_option(now)}, was {_option(was)}"


def _option(value: Any) -> str:
    words = value if isinstance(value, list | tuple) else [] if value is None else [value]
    return clean_text(" ".join(map(str, words))) or "not given"


def unit_differences(was: Plan, now: Plan) -> list[Difference]:
    """How many units are new, changed or gone: in their files' paths, sizes or versions."""
    counts = compare_plans(was, now).counts
    said = [(count, word) for word, count in counts.items() if count]
    if not said:
        return []
    count, word = said[0]
    plural = count_text(count, "unit")
    first = f"{plural} {_verb(count, word)}"
    text = ", ".join([first, *(f"{count:,} {_verb(count, word)}" for count, word in said[1:])])
    return [Difference("units", "", text, {**counts, "total": now.n_units}, {"total": was.n_units})]


def _verb(count: int, word: str) -> str:
    return word if word == "changed" else f"{'is' if count == 1 else 'are'} {word}"


def run_differences(existing: RunRecord, wanted: RunRecord, was: Plan | None, now: Plan) -> list[Difference]:
    """What differs between a run that is there and the one that is asked for.

    Parameters
    ----------
    existing, wanted
        What run.json says, and would say.
    was, now
        Their plans; None where that of the run that is there cannot be read.
    """
    before, after = existing.extractor["fingerprint"], wanted.extractor["fingerprint"]
    if isinstance(before, str):
        old_name = before.partition(" ")[0]
        label = str(existing.extractor.get("label") or old_name)
        found = [Difference("extractor", "", OLD)]
        if label != wanted.extractor["label"]:
            found = [_difference("name", repr(label), repr(wanted.extractor["label"]))]
        elif (
            before == f"{wanted.extractor['label']} {after.get('version', '').strip(chr(39))}"
        ):  # a built-in, as it was
            found = []
    else:
        found = part_differences(before, after)
    layout = option_differences(existing.options, wanted.options)
    if was is not None and not any(each.name == "unit" for each in layout):
        layout += unit_differences(was, now)
    return found + layout


def changed_files(run: Run, plan: Plan) -> int:
    """How many files changed since a run listed them (paths and sizes are the same: the plan's id is)."""
    return int((~same_files(run.plan, plan)[1]).sum())
