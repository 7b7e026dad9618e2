"""What a table's columns mean: units and descriptions, as its schema's fields and its file say them."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from scaledproc.extractors.base import Extractor

UNIT, DESCRIPTION = b"unit", b"description"
"""The keys of a field's metadata that say what its column means, each a text."""
_SECTION = re.compile(r"^Columns\n-+\n(.*?)(?=^\S[^\n]*\n-+\n|\Z)", re.MULTILINE | re.DOTALL)
_ENTRY = re.compile(r"^(\S[^\n]*)\n((?:(?:[ \t][^\n]*)?\n)*)", re.MULTILINE)


def undescribed(schema: pa.Schema) -> pa.Schema:
    """A schema without what its fields say of units and meanings, on which no row depends."""
    return pa.schema([_without(field) for field in schema], metadata=schema.metadata)


def descriptions(schema: pa.Schema) -> dict[str, dict[str, str]]:
    """The unit and the description of each column whose field tells some."""
    found = {}
    for field in schema:
        told = {
            key.decode(): _text(field.metadata[key]) for key in (UNIT, DESCRIPTION) if key in (field.metadata or {})
        }
        if told:
            found[field.name] = told
    return found


def described(extractor: Extractor, schema: pa.Schema, declared: pa.Schema) -> pa.Schema:
    """The columns of a table with what is told of them.

    Parameters
    ----------
    extractor
        Whose table it is: the built-in ones' documentation tells what their columns mean.
    schema
        The table's columns, once finished. What its fields say themselves goes first.
    declared
        The columns before `finish`, which may lose what their fields say.
    """
    texts = _documented(extractor)
    before = {field.name: field.metadata or {} for field in declared}
    fields = []
    for field in schema:
        found = {key: value for key, value in before.get(field.name, {}).items() if key in (UNIT, DESCRIPTION)}
        fields.append(field.with_metadata({**texts.get(field.name, {}), **found, **(field.metadata or {})} or None))
    return pa.schema(fields, metadata=schema.metadata)


def _without(field: pa.Field) -> pa.Field:
    kept = {key: value for key, value in (field.metadata or {}).items() if key not in (UNIT, DESCRIPTION)}
    return field.with_metadata(kept or None) if field.metadata else field


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


def _documented(extractor: Extractor) -> Mapping[str, Mapping[bytes, bytes]]:
    """What a built-in extractor's documentation says of its columns; nothing of others, whose may change any day."""
    from scaledproc.extractors.code.fingerprint import is_own

    source = _source_of(extractor)
    if not is_own(source):
        return {}
    texts = column_texts(inspect.getdoc(source) or "")
    found = {name: {DESCRIPTION: text.encode()} for name, text in texts.items()}
    for name, like in getattr(extractor, "documented_as", {}).items():
        if like in texts:
            found[name] = {DESCRIPTION: texts[like].encode()}
    for name, text in getattr(extractor, "told_by_options", {}).items():
        found[name] = {DESCRIPTION: text.encode()}
    units: Mapping[str, str] = getattr(extractor, "units", {})
    for name, unit in units.items():
        found.setdefault(name, {})[UNIT] = unit.encode()
    return found


def _source_of(extractor: Extractor) -> Any:
    """What has the documentation of an extractor's columns: its class, or its function."""
    from scaledproc.extractors.base import FunctionExtractor

    if not isinstance(extractor, FunctionExtractor):
        return type(extractor)
    source: Any = extractor.function
    while isinstance(source, functools.partial):
        source = source.func
    return source


def documented_columns(extractor: Extractor) -> dict[str, str]:
    """What an extractor's documentation says of its columns, whoever wrote it."""
    return column_texts(inspect.getdoc(_source_of(extractor)) or "")


def column_texts(doc: str) -> dict[str, str]:
    """What a docstring's section `Columns` says of each column."""
    return {name: text for names, text in column_entries(doc) for name in names}


def column_entries(doc: str) -> list[tuple[list[str], str]]:
    """The entries of a docstring's section `Columns`, in numpydoc's layout: names (`a, b : type`), and their text."""
    section = _SECTION.search(f"{doc}\n")
    return [
        ([name.strip() for name in head.partition(" : ")[0].split(",")], " ".join(text.split()))
        for head, text in ([] if section is None else _ENTRY.findall(section[1]))
    ]
