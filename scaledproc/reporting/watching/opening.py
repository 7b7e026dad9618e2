"""Show a page in a browser without its address, which has a secret, on any command line: others read those."""

from __future__ import annotations

import html
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def opened(url: str, browse: Callable[[str], bool]) -> Iterator[bool]:
    """Let a browser open a file that leads to a page, and which only its owner can read; whether it was opened.

    Parameters
    ----------
    url
        The page's address. The file, which is there until the context ends, has it.
    browse
        Opens an address in a browser, and tells whether there is one: `webbrowser.open`.
    """
    handle, name = tempfile.mkstemp(prefix="scaledproc-watch-", suffix=".html")  # only its owner can read it
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(
                '<!DOCTYPE html><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
                f'<meta http-equiv="refresh" content="0;url={html.escape(url)}"><title>scaledproc</title>\n'
            )
        yield browse(Path(name).as_uri())
    finally:
        with suppress(OSError):
            Path(name).unlink()
