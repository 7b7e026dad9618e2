"""An extractor and data that cost nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import TreeWriter

SIZES = """
import scaledproc

@scaledproc.extractor(schema={"name": "string"}, anchor="*.txt", unit="file")
def sizes(task):
    return {"name": task.anchor}
"""


@pytest.fixture
def extractor(tmp_path: Path) -> str:
    (tmp_path / "e.py").write_text(SIZES)
    return f"{tmp_path / 'e.py'}:sizes"


@pytest.fixture
def data(tree: TreeWriter) -> Path:
    return tree({f"g/{number}.txt": b"x" for number in range(4)})
