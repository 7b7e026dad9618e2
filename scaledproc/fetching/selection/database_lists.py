"""What the lists of a database say: SHA256SUMS.txt, RECORDS, index pages. Texts in, names out."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from scaledproc.fetching.selection.subset import is_plain
from scaledproc.storage.listing import is_safe_name

_SUM = re.compile(r"\ufeff?(?P<sha256>[0-9a-fA-F]{64})[ \t]+\*?(?P<path>\S.*)")
_INDEX = re.compile("index of|directory listing", re.IGNORECASE)
_TEXT_CONTROLS = "\t\n\r\f\v"


class Page(NamedTuple):
    """A folder's index page."""

    files: dict[str, int | None]
    """Names, with their sizes in bytes where they stand there."""
    folders: list[str]


def read_sum(line: str) -> tuple[str, str] | None:
    """The path and the SHA-256 of a line of SHA256SUMS.txt; None for a line that is none."""
    found = _SUM.fullmatch(line.rstrip("\r\n"))
    if found is None:
        return None
    path = found["path"].removeprefix("./")
    return (path, found["sha256"].lower()) if is_usable(path) else None


def read_lines(content: str) -> list[str]:
    """The names in a list such as RECORDS, a line each, as written but for parts that mean nothing: `./`, `//`.

    A slash at the beginning is one of them: a list names what is below its own folder.
    """
    lines = (line.strip() for line in content.removeprefix("\ufeff").splitlines())
    return [_plain(line) for line in lines if line]


def _plain(path: str) -> str:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return "/".join(parts) + ("/" if parts and path.endswith("/") else "")


def is_list(content: str) -> bool:
    """Whether an answer can be a list of names or a header, and is no page of HTML and nothing binary.

    Some servers answer each question with a page, and status 200.
    """
    begin = content.removeprefix("\ufeff").lstrip()[:1000]
    return not begin.startswith("<") and all(sign.isprintable() or sign in _TEXT_CONTROLS for sign in begin)


def read_index(content: str, url: str = "") -> Page | None:
    """The files and folders of an index page; None for another page.

    Parameters
    ----------
    content
        The page.
    url
        Where it was found: links may be written in full, or from the server's root.
    """
    if not _INDEX.search(content):
        return None
    links = _Links()
    links.feed(content)
    links.close()
    files: dict[str, int | None] = {}
    folders: dict[str, None] = {}
    for link, rest in links.found:
        name = _name_of(link, url)
        if name is None:
            continue
        if is_file(name):
            words = rest.split()
            files[name] = int(words[-1]) if len(words) > 1 and words[-1].isascii() and words[-1].isdigit() else None
        elif name.endswith("/") and is_file(name[:-1]):
            folders[name[:-1]] = None
    return Page(files, list(folders))


def is_file(name: str) -> bool:
    """Whether a name from a server can be a file's in one folder."""
    return "/" not in name and is_usable(name)


def is_usable(path: str) -> bool:
    """Whether a path from a server leads to nowhere else, and may be shown on a terminal."""
    return is_safe_name(path) and is_plain(path)


class _Links(HTMLParser):
    """The links of a page, each with the text that follows it up to the next tag."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self._is_inside = False
        self._is_after = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._is_after = False
        link = dict(attrs).get("href") if tag == "a" else None
        if link:
            self.found.append((link, ""))
            self._is_inside = True

    def handle_endtag(self, tag: str) -> None:
        self._is_after = tag == "a" and self._is_inside
        self._is_inside = self._is_inside and tag != "a"

    def handle_data(self, data: str) -> None:
        if self._is_after:
            link, rest = self.found[-1]
            self.found[-1] = (link, rest + data)


def _name_of(link: str, url: str) -> str | None:
    """The name that a link means in its page's folder; None where it leads elsewhere."""
    if not is_plain(link):  # which `urlsplit` makes another one of
        return None
    try:
        target, folder = urlsplit(link), urlsplit(url)
    except ValueError:  # no URL
        return None
    if target.query or (target.scheme != folder.scheme and target.scheme not in ("", "http", "https")):
        return None
    if target.netloc and target.netloc != folder.netloc:
        return None
    name = unquote(target.path)
    if target.netloc or name.startswith("/"):
        here = unquote(folder.path)
        return name.removeprefix(here) if url and name.startswith(here) else None
    return name.removeprefix("./")
