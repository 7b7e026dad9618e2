"""What a run's tables are, for programs that read datasets of any kind: Croissant 1.1, as JSON-LD.

https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from scaledproc.extractors.described import descriptions

CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
_CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that the specification gives; readers compare it."""
_PARQUET = "application/x-parquet"
_UNFIT = re.compile(r'[\s\x00-\x1f\x7f-\x9f%"<>\\^`{|}#?/]|\A\.{1,2}\Z')
"""What no IRI has (RFC 3987), and what begins or leads to another part of one; with the sign of the encoding itself, so
that no two names give the same."""
_KINDS: Sequence[tuple[Any, str]] = (
    (pa.types.is_boolean, "sc:Boolean"),
    (pa.types.is_string, "sc:Text"),
    (pa.types.is_large_string, "sc:Text"),
    (pa.types.is_string_view, "sc:Text"),
    (pa.types.is_date, "sc:Date"),
    (pa.types.is_timestamp, "sc:DateTime"),
    (pa.types.is_time, "sc:Time"),
    *(
        (getattr(pa.types, f"is_{kind.lower()}{bits}"), f"cr:{kind}{bits}")
        for kind in ("Int", "UInt")
        for bits in (8, 16, 32, 64)
    ),
    *((getattr(pa.types, f"is_float{bits}"), f"cr:Float{bits}") for bits in (16, 32, 64)),
)


@dataclass(frozen=True)
class DescribedTable:
    """A table of a run, as it was written.

    Parameters
    ----------
    name, file
        Of the table, and the file beside this one; the folder of its files, where the table is one.
    schema
        Its columns, with what is told of them.
    rows, size
        How many rows and bytes it has.
    digest
        SHA-256 of the file; empty where it is a folder.
    """

    name: str
    file: str
    schema: pa.Schema
    rows: int
    size: int
    digest: str


def croissant(label: str, plan_id: str, version: str, tables: Sequence[DescribedTable]) -> str:
    """The content of `croissant.json`: the same for the same tables, wherever they were made.

    Parameters
    ----------
    label, plan_id, version
        Of the extractor; of the plan; of scaledproc.
    tables
        The run's tables. Columns of types that Croissant has not, such as structs, are told of, and not described.
    """
    content = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": f"{label}-features",
        "description": f"Features that the extractor {label} gave, one table of rows for each record set. Made by "
        f"scaledproc {version}, plan {plan_id}.",
        "distribution": [_distribution(table) for table in tables],
        "recordSet": [_record_set(table) for table in tables],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _distribution(table: DescribedTable) -> dict[str, Any]:
    """A table's file, or its files."""
    if not table.digest:
        return {
            "@type": "cr:FileSet",
            "@id": _files_id(table.file),  # its rows have the table's own name
            "name": _files_id(table.file),
            "encodingFormat": _PARQUET,
            "includes": f"{table.file}/part-*.parquet",
        }
    return {
        "@type": "cr:FileObject",
        "@id": table.file,
        "name": table.file,
        "contentUrl": table.file,
        "contentSize": f"{table.size} B",
        "encodingFormat": _PARQUET,
        "sha256": table.digest,
    }


def _record_set(table: DescribedTable) -> dict[str, Any]:
    kinds = {field.name: _kind(field.type) for field in table.schema}
    told = descriptions(table.schema)
    source = {"fileObject": {"@id": table.file}} if table.digest else {"fileSet": {"@id": _files_id(table.file)}}
    left = [f"{name} ({table.schema.field(name).type})" for name, kind in kinds.items() if kind is None]
    more = f" Columns that cannot be described here: {', '.join(left)}." if left else ""
    return {
        "@type": "cr:RecordSet",
        "@id": table.name,
        "name": table.name,
        "description": f"{table.rows} rows.{more}",
        "field": [
            {
                "@type": "cr:Field",
                "@id": column_id(table.name, name),
                "name": name,
                **({"description": text} if (text := _about(told.get(name, {}))) else {}),
                **kind,
                "source": {**source, "extract": {"column": name}},
            }
            for name, kind in kinds.items()
            if kind is not None
        ],
    }


# What identifies a thing is told from all others by its form: `features` a table, `features/mean` a column of it,
# `features.parquet` its file, `features.files` the files of its folder. The name of a table has no dot and no slash.


def column_id(table: str, name: str) -> str:
    """What identifies a column: its table, and its name with what no identifier may have in percent encoding."""
    return f"{table}/{_UNFIT.sub(_encoded, name)}"


def _encoded(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode())


def _files_id(table: str) -> str:
    return f"{table}.files"


def _about(told: Mapping[str, str]) -> str:
    unit = f"Unit: {told['unit']}." if told.get("unit") else ""
    return " ".join(filter(None, (told.get("description", ""), unit)))


def _kind(kind: pa.DataType) -> dict[str, Any] | None:
    """A column's type as Croissant has it; None where it has none."""
    if pa.types.is_dictionary(kind):
        return _kind(kind.value_type)
    shape: list[str] = []
    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        shape.append(str(kind.list_size) if pa.types.is_fixed_size_list(kind) else "-1")
        kind = kind.value_type
    found = next((name for test, name in _KINDS if test(kind)), None)
    if found is None:
        return None
    return {"dataType": found, **({"isArray": True, "arrayShape": ",".join(shape)} if shape else {})}
