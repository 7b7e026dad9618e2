"""What an extractor's rows depend on, part by part: its code, what that reaches, its parameters, what it declares."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scaledproc._util.redaction import is_secret_name, redacted
from scaledproc.errors import UsageError
from scaledproc.extractors.tables import tables_of

if TYPE_CHECKING:
    from scaledproc.extractors.base import Extractor

SHOWN = 80
"""Characters of a value that is written as it is; longer ones are by their hash."""
FILES = "scaledproc.extractors.files."
"""What the names of modules begin with that are extractors' files."""
CODE = frozenset(
    {"name", "version", "base", "code", "file", "function", "class", "column", "schema", "table", "fingerprint"}
)
"""Kinds of parts that are code. Others may differ from machine to machine, such as a path that a module computes."""
WITH_KEYS = "with_keys"
"""The part that says that columns that lead back are put in front of the rows: of a plan, not of an extractor."""
FINISHING = "finishing"
"""The part that names those which only `finish` or `summarise` depend on, and no row of a shard."""
DESCRIBED = "columns' units and descriptions"
"""The part that says what columns mean."""
_LEFT: dict[tuple[str, str, str], str] = {}
"""By extractor, part and what a run in this process left as its value: what that was before."""


@dataclass(frozen=True)
class Fingerprint:
    """What rows depend on.

    Parameters
    ----------
    parts
        By what it is called, such as `file helpers.py` or `global FACTOR`: a short value as it is, else a hash.
    text
        Changes with any part: what the plan's id covers.
    notes
        What cannot be told, for a person.
    files
        The modules' files on this machine: path, time of change and size.
    """

    parts: Mapping[str, str]
    text: str
    notes: tuple[str, ...] = ()
    files: tuple[tuple[str, int, int], ...] = field(default=(), compare=False)


def fingerprint_of(extractor: Extractor) -> Fingerprint:
    """What an extractor's rows depend on, as far as can be told.

    scaledproc's own extractors are told by their name, version and parameters: a new release of the package must not
    throw away what an earlier one made, so their version is raised where rows change. So is a class that has a
    `fingerprint` of its own told by that.
    """
    from scaledproc.extractors.base import Extractor, FunctionExtractor

    kind = type(extractor)
    if kind.fingerprint is not Extractor.fingerprint:
        text = extractor.fingerprint
        return Fingerprint({"fingerprint": text}, text)
    if is_own(kind) and not isinstance(extractor, FunctionExtractor):
        return _of_built_in(extractor)
    from scaledproc.extractors.code.walking import Walk

    walk = Walk()
    walk.parts["name"] = repr(extractor.label)
    if isinstance(extractor, FunctionExtractor):
        walk.add_main(extractor.function)
        walk.finish()
        of_rows = {*walk.parts}
        for name in ("finish", "summarise", "partial_summaries", "merge_summaries"):
            function = getattr(extractor, f"given_{name}")
            if function is not None:
                walk.parts[f"code {name}"] = walk.write(function, name)
        walk.finish()
        if later := sorted({*walk.parts} - of_rows):
            walk.parts[FINISHING] = json.dumps(later)
    else:
        walk.parts["version"] = repr(extractor.version)
        walk.add_attributes(extractor, extractor.apart)
    walk.finish()
    _add_schema(walk.parts, extractor)
    for name in extractor.env:
        value = os.environ.get(name)
        walk.parts[f"env {name}"] = "not set" if value is None else shown(name, repr(value))
    label = extractor.label
    parts = {name: _LEFT.get((label, name, walk.parts[name]), walk.parts[name]) for name in sorted(walk.parts)}
    notes = tuple(f"{what} of {label} cannot be compared: a change of it goes unnoticed" for what in walk.untold)
    return Fingerprint(parts, digest_of_parts(parts), notes, tuple(sorted(walk.files)))


@contextmanager
def working_here(extractor: Extractor) -> Iterator[None]:
    """While an extractor is at work in this process: what it changes itself, such as a cache, is no edit."""
    before = fingerprint_of(extractor).parts
    try:
        yield
    finally:
        with suppress(UsageError):  # the next plan says it
            for name, part in fingerprint_of(extractor).parts.items():
                if name.partition(" ")[0] not in CODE and part != before.get(name, part):
                    _LEFT[extractor.label, name, part] = before[name]


def digest_of_parts(parts: Mapping[str, str]) -> str:
    """The hash of all parts."""
    return hashlib.sha256(json.dumps(sorted(parts.items())).encode()).hexdigest()


def edited_file(files: Iterable[tuple[str, int, int]]) -> str | None:
    """The first of a fingerprint's files that is not as it was."""
    for path, changed, size in files:
        try:
            found = os.stat(path)  # noqa: PTH116 - of a text
        except OSError:
            return path
        if (found.st_mtime_ns, found.st_size) != (changed, size):
            return path
    return None


def is_own(kind: type) -> bool:
    """Whether a class is part of scaledproc itself."""
    return kind.__module__.startswith("scaledproc.") and not kind.__module__.startswith(FILES)


def shown(name: str, text: str) -> str:
    """A value's text as it may be written: short and no secret, else its hash."""
    from scaledproc.extractors.code.values import folded

    is_short = len(text) <= SHOWN and "\n" not in text
    return text if is_short and not is_secret_name(name) and redacted(text) == text else folded(text)


def _of_built_in(extractor: Extractor) -> Fingerprint:
    # Their tables follow from options and version; what these say of columns is the documentation's text.
    own = {name for name in vars(extractor) if not name.startswith("_") and name != "tables"}
    values = {name: vars(extractor)[name] for name in sorted(own)}
    text = f"{extractor.name} {extractor.version} {', '.join(f'{name}={value!r}' for name, value in values.items())}"
    parts = {"name": repr(extractor.label), "version": repr(extractor.version)}
    parts |= {f"option {name}": shown(name, repr(value)) for name, value in values.items()}
    return Fingerprint(parts, text.rstrip())


def _add_schema(parts: dict[str, str], extractor: Extractor) -> None:
    from scaledproc.extractors.code.values import folded
    from scaledproc.extractors.described import descriptions, undescribed

    schemas = {"": extractor.schema, **tables_of(extractor)}
    told = {name: found for name, each in schemas.items() if (found := descriptions(each))}
    if told:
        parts[DESCRIBED] = folded(json.dumps(told, sort_keys=True))
    schema = undescribed(schemas.pop(""))
    parts |= {f"column {field.name}": f"{field.type}{'' if field.nullable else ' not null'}" for field in schema}
    parts["schema"] = folded(schema.to_string(show_schema_metadata=True, truncate_metadata=False))
    for name, table in schemas.items():
        parts[f"table {name}"] = folded(
            undescribed(table).to_string(show_schema_metadata=True, truncate_metadata=False)
        )
