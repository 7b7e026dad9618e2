"""What the lists of a database say, whoever wrote them."""

from __future__ import annotations

import pytest

from scaledproc.fetching.selection.database_lists import is_list, read_index, read_lines, read_sum

SUM = "0" * 64


def test_index_pages() -> None:
    page = read_index(
        '<h1>Index of /files/x/</h1><a href="../">../</a>\n<a href="b/">b/</a> 1-Jan-2020 10:00 -\n'
        '<a href="a%20b.dat">a b.dat</a> 1-Jan-2020 10:00   12345\n<a href="c&amp;d">c&amp;d</a> 1-Jan-2020 10:00 1K\n'
        '<a href="?C=N">Name</a><a href="/etc/passwd">x</a> 1 2 3<a href="http://x.org/y">y</a>'
    )
    assert page is not None
    assert page.files == {"a b.dat": 12345, "c&d": None}
    assert page.folders == ["b"]
    assert read_index("<html>Welcome to <a href='x.dat'>x</a></html>") is None


@pytest.mark.parametrize(
    "link",
    [
        "/files/db/1.0/30/{}",
        "https://host:8080/files/db/1.0/30/{}",
        "http://host:8080/files/db/1.0/30/{}",  # of a server that a proxy encrypts for
        "//host:8080/files/db/1.0/30/{}",
        "{}",
        "./{}",
    ],
)
@pytest.mark.parametrize(("quoted", "name"), [('href="{}"', "it's%20a.dat"), ("class=x href='{}' rel=y", "a%20b.dat")])
def test_links_of_every_form(link: str, quoted: str, name: str) -> None:
    """From the server's root, in full, relative; an apostrophe is a sign like others."""
    links = [f"<a {quoted.format(link.format(each))}>x</a>  1 2 7\n" for each in (name, "inner/")]
    page = read_index(f"<title>Index of</title>{''.join(links)}", "https://host:8080/files/db/1.0/30/")
    assert page is not None
    assert page.files == {name.replace("%20", " "): 7}
    assert page.folders == ["inner"]


@pytest.mark.parametrize(
    "link",
    [
        "/files/db/1.0/31/x",
        "https://other/files/db/1.0/30/x",
        "ftp://host/files/db/1.0/30/x",
        "/x",
        "http://[",
        "../x",
        "\x1b[2J",
    ],
)
def test_links_that_lead_elsewhere(link: str) -> None:
    page = read_index(f'Index of<a href="{link}">x</a>', "https://host/files/db/1.0/30/")
    assert page is not None
    assert (page.files, page.folders) == ({}, [])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"{SUM} a/b.dat\n", "a/b.dat"),
        (f"{SUM} *./a b'c.dat\r\n", "a b'c.dat"),
        (f"\ufeff{SUM}  x", "x"),
        (f"{SUM} ../x", None),
        (f"{SUM} /x", None),
        (f"{SUM[1:]} x", None),
        (f"{SUM} \x1b[2J", None),
        ("<html>", None),
    ],
)
def test_sums(line: str, expected: str | None) -> None:
    found = read_sum(line)
    assert (found and found[0]) == expected


def test_lines() -> None:
    assert read_lines("\ufeff./30/a/\r\n\n  30/b \n") == ["30/a/", "30/b"]
    assert read_lines("././30/a/\n.//30//b\n/30/c//\n../d\n.e/f.\n") == ["30/a/", "30/b", "30/c/", "../d", ".e/f."]


def test_pages_and_binaries_are_no_lists() -> None:
    assert is_list("30/3000003/\n31/x\n")
    assert is_list("")
    for other in ("<!doctype html><p>x", "\ufeff \n<html>", "\x1f\x8b\x08\x00abc", "PK\x03\x04", "a\0b"):
        assert not is_list(other)
