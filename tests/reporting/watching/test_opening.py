"""A page's address is in a file of its owner's alone, and never on a command line."""

from __future__ import annotations

import stat
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from scaledproc.reporting.watching.opening import opened

URL = "http://127.0.0.1:1/a-secret/"


def test_the_browser_gets_a_file_that_leads_to_the_page_and_is_gone_at_the_end() -> None:
    given: list[Path] = []

    def browse(address: str) -> bool:
        assert "a-secret" not in address
        given.append(Path(unquote(urlsplit(address).path)))
        return True

    with opened(URL, browse) as is_open:
        (file,) = given
        assert is_open
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert f'http-equiv="refresh" content="0;url={URL}"' in file.read_text()
    assert not file.exists()


def test_the_file_is_gone_where_the_browser_fails() -> None:
    given: list[Path] = []

    def browse(address: str) -> bool:
        given.append(Path(unquote(urlsplit(address).path)))
        raise RuntimeError("no display")

    with pytest.raises(RuntimeError, match="no display"), opened(URL, browse):
        pass
    assert not given[0].exists()
