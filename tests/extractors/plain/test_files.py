"""The inventory of any tree as features."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import TreeWriter

import scaledproc
from scaledproc import Task
from scaledproc.extractors.plain.files import SIGNATURES, files, type_of
from scaledproc.testing import ExtractorConformance

CONTENTS = {
    "a/empty.TXT": b"",
    "a/text.txt": "schön\n".encode(),
    "b/latin": "schön\n".encode("latin-1"),
    "b/packed.csv.gz": gzip.compress(b"a\n1\n", mtime=0),
    "c/zeros.bin": bytes(10_000),
}


class TestFiles(ExtractorConformance):
    extractor = "files"

    @pytest.fixture
    def dataset(self, tree: TreeWriter) -> Path:
        return tree(CONTENTS)

    def test_values(self, dataset: Path, tmp_path: Path) -> None:
        rows = scaledproc.run(dataset, tmp_path / "out", extractor="files", jobs=1).to_arrow().to_pylist()
        assert [row["path"] for row in rows] == list(CONTENTS)
        assert [row["type"] for row in rows] == ["empty", "text", "binary", "gzip", "binary"]
        assert [row["extension"] for row in rows] == [".txt", ".txt", "", ".gz", ".bin"]
        for row in rows:
            content = CONTENTS[row["path"]]
            assert (row["size"], row["first_bytes"]) == (len(content), content[:16].hex())
            assert row["sha256"] == hashlib.sha256(content).hexdigest()

    @pytest.mark.parametrize(
        ("name", "extension"),
        [(".bashrc", ""), ("a/.bashrc", ""), (".a.TXT", ".txt"), ("a.b/c", ""), ("a.tar.gz", ".gz"), ("a.", ".")],
    )
    def test_extensions(self, tree: TreeWriter, name: str, extension: str) -> None:
        """Dots in front of a name hide a file, and begin no extension."""
        row = files(Task(".", name, name, tree({name: b"1"}), frozenset({name})))
        assert row["extension"] == extension

    def test_how_many_first_bytes(self, dataset: Path) -> None:
        for first in (0, 1, 9_000):
            (row,) = scaledproc.try_task("files", dataset, "c/zeros.bin", options={"first": first}).to_pylist()
            assert row["first_bytes"] == "00" * first
        with pytest.raises(ValueError, match="not negative"):
            scaledproc.try_task("files", dataset, "c/zeros.bin", options={"first": -1})


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1))
def test_text_is_text_wherever_it_is_cut(text: str) -> None:
    content = (text * (9_000 // len(text) + 1)).encode()
    if not any(content.startswith(each) for each in SIGNATURES):
        assert type_of(content[:4096]) == "text"
        assert type_of(content[:20] + b"\xff" + content[20:4000]) in {"binary", *SIGNATURES.values()}
