"""Tables of one's own: read once, where the run is started, and only if they can be used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from scaledproc.errors import UsageError
from scaledproc.extractors.wfdb.given_tables import BUILT_IN, NamesOption, RangesOption

TABLES = {
    "names": (NamesOption, '[waveform]\nII = ["lead 2"]\n', '[waveform]\nII = "lead 2"\n'),
    "ranges": (
        RangesOption,
        '[numerics.HR]\nlow = 1\nhigh = 2\nunits = ["bpm"]\nsource = "me"\n',
        "[numerics.HR]\nlow = 1\n",
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_the_content_of_a_file_travels_if_it_can_be_used(name: str, tmp_path: Path) -> None:
    option, good, bad = TABLES[name]
    read: Callable[[Any], str | None] = get_args(option)[1].read
    file = tmp_path / "table.toml"
    file.write_text(good)
    assert read(file) == read(str(file)) == good
    for content in (bad, "[", "[waveform\n"):
        file.write_text(content)
        with pytest.raises(UsageError):
            read(file)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "gone.toml")
    assert read(BUILT_IN) is None
