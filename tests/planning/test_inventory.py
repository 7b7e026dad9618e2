"""What is found in a dataset, and what is passed over."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from support import TreeWriter

from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.planning.inventory import Inventory, matches, take_inventory
from scaledproc.storage.store import Store

PATHS = ["x", "30/x", "30/a/x", "30/a/b.hea", "31/b.hea", "c.hea", "130/x", "30/a/c.heap", "30/.hidden"]


def found(inventory: Inventory) -> list[str]:
    return sorted(inventory.files["path"].to_pylist())


def matched(paths: list[str], *globs: str) -> list[str]:
    column = pa.chunked_array([pa.array(paths, pa.large_string())])
    return [path for path, yes in zip(paths, matches(column, globs).to_pylist(), strict=True) if yes]


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("*", PATHS),
        ("**", PATHS),
        ("x", ["x", "30/x", "30/a/x", "130/x"]),
        ("*.hea", ["30/a/b.hea", "31/b.hea", "c.hea"]),
        ("30/", ["30/x", "30/a/x", "30/a/b.hea", "30/a/c.heap", "30/.hidden"]),
        ("30/**", ["30/x", "30/a/x", "30/a/b.hea", "30/a/c.heap", "30/.hidden"]),
        ("30/*", ["30/x", "30/.hidden"]),
        ("/30/x", ["30/x"]),
        ("**/x", ["x", "30/x", "30/a/x", "130/x"]),
        ("30/**/x", ["30/x", "30/a/x"]),
        ("**/a/*", ["30/a/x", "30/a/b.hea", "30/a/c.heap"]),
        ("3?/b.hea", ["31/b.hea"]),
        ("*/x", ["30/x", "130/x"]),
        ("30", []),
        ("[bc].hea", ["30/a/b.hea", "31/b.hea", "c.hea"]),
        ("[!b].hea", ["c.hea"]),
        ("[a-b].hea", ["30/a/b.hea", "31/b.hea"]),
        ("3[!0]/*", ["31/b.hea"]),
        ("c.he?", ["c.hea"]),
        ("c?hea", ["c.hea"]),
        ("c.hea.*", []),
        ("X", []),
        ("", []),
    ],
)
def test_glob(glob: str, expected: list[str]) -> None:
    assert matched(PATHS, glob) == expected
    assert matched(PATHS, "*.hea", glob) == [path for path in PATHS if path.endswith(".hea") or path in expected]


@pytest.mark.parametrize(
    ("glob", "name"),
    [
        ("*.hea", "two\nlines.hea"),
        ("two?lines.hea", "two\nlines.hea"),
        ("a\n/**", "a\n/b\n"),
        ("it's.hea", "it's.hea"),
        ('"*".hea', '"quoted".hea'),
        ("a[[]1].hea", "a[1].hea"),
        ("a[1.hea", "a[1.hea"),
        ("a(b)|c.hea", "a(b)|c.hea"),
        ("?.hea", "ü.hea"),
        ("\\d.hea", "\\d.hea"),
        ("[\\d].hea", "\\.hea"),
        ("{a,b}.hea", "{a,b}.hea"),
        ("a$^+.hea", "a$^+.hea"),
    ],
)
def test_glob_of_odd_names(glob: str, name: str) -> None:
    assert matched([name, "other.txt"], glob) == [name]


def test_dot_is_no_wildcard() -> None:
    assert matched(["a.hea", "aXhea"], "a.hea") == ["a.hea"]


@pytest.mark.parametrize("glob", ["[z-a].txt", "[[:x].txt", "[!].txt"])
def test_glob_that_makes_no_sense_matches_nothing_or_is_wrong_usage(glob: str) -> None:
    try:
        assert matched(["a.txt"], glob) == []
    except UsageError as error:
        assert glob in str(error)  # noqa: PT017 - either is fine


def test_include_and_exclude(tree: TreeWriter) -> None:
    store = Store.at(tree(dict.fromkeys(["30/a.hea", "30/a.dat", "30/old/b.hea", "31/c.hea", "README"], b"")))
    assert found(take_inventory(store)) == ["30/a.dat", "30/a.hea", "30/old/b.hea", "31/c.hea", "README"]
    assert found(take_inventory(store, include=["*.hea", "README"])) == [
        "30/a.hea",
        "30/old/b.hea",
        "31/c.hea",
        "README",
    ]
    assert found(take_inventory(store, exclude=["30/old/", "README"])) == ["30/a.dat", "30/a.hea", "31/c.hea"]
    assert found(take_inventory(store, include=["30/**"], exclude=["*.dat"])) == ["30/a.hea", "30/old/b.hea"]


def test_sizes_and_versions(tree: TreeWriter) -> None:
    root = tree({"a": b"12345", "b/c": b""})
    before = {row["path"]: row for row in take_inventory(Store.at(root)).files.to_pylist()}
    assert {path: row["size"] for path, row in before.items()} == {"a": 5, "b/c": 0}
    os.utime(root / "a", ns=(0, 1))
    after = {row["path"]: row for row in take_inventory(Store.at(root)).files.to_pylist()}
    assert after["a"]["version"] != before["a"]["version"]
    assert after["b/c"] == before["b/c"]


def test_skip_is_that_folder_alone(tree: TreeWriter) -> None:
    root = tree(dict.fromkeys(["a", "out/b", "out/deep/c", "outer/d", "x/out/e"], b""))
    assert found(take_inventory(Store.at(root), skip="out")) == ["a", "outer/d", "x/out/e"]
    assert found(take_inventory(Store.at(root), skip="x/out")) == ["a", "out/b", "out/deep/c", "outer/d"]


def test_odd_names_are_listed_as_they_are(tree: TreeWriter) -> None:
    names = ["a\nb", "it's", '"q"', "a[1]", "*", "ü", " ", "-n", "%41", "~", "a\\b", "x\x1b[0m"]
    inventory = take_inventory(Store.at(tree(dict.fromkeys([f"g 1/{name}" for name in names], b""))))
    assert found(inventory) == sorted(f"g 1/{name}" for name in names)
    assert inventory.notes == ()


def test_memory(memory: str) -> None:
    for name in ("30/a.hea", "30/b/c.dat"):
        Store.at(memory).write(name, b"123")
    inventory = take_inventory(Store.at(f"{memory}/"))
    assert found(inventory) == ["30/a.hea", "30/b/c.dat"]
    assert inventory.files["size"].to_pylist() == [3, 3]


def test_links(tree: TreeWriter, tmp_path: Path) -> None:
    root = tree({"a/file": b"12", "b/other": b""})
    (tmp_path / "outside").write_bytes(b"secret")
    (tmp_path / "data-too").mkdir()  # a neighbour whose name begins as the dataset's
    (tmp_path / "data-too/file").touch()
    for link, target in {
        "b/inside": "../a/file",
        "b/outside": "../../outside",
        "b/neighbour": "../../data-too/file",
        "b/dangling": "nowhere",
        "b/itself": "itself",
        "b/folder": "../a",
        "b/up": "../..",
    }.items():
        (root / link).symlink_to(target)
    inventory = take_inventory(Store.at(root))
    first = next(link for link in inventory.notes[0].split() if link.startswith("b/"))
    leads_to = (root / first).readlink()
    assert found(inventory) == ["a/file", "b/inside", "b/other"]
    assert dict(inventory.files.select(["path", "size"]).to_pandas().to_numpy())["b/inside"] == 2
    assert inventory.notes == (
        f"4 links leading outside the dataset (or nowhere) were left out; the first is {first} -> {leads_to}",
        "2 folder links were not followed",
    )


def test_the_dataset_itself_may_be_a_link(tree: TreeWriter, tmp_path: Path) -> None:
    root = tree({"a": b""})
    (root / "link").symlink_to("a")
    (tmp_path / "alias").symlink_to(root)
    assert found(take_inventory(Store.at(tmp_path / "alias"))) == ["a", "link"]


def test_pipe_is_left_out(tree: TreeWriter) -> None:
    root = tree({"a": b""})
    os.mkfifo(root / "pipe")
    inventory = take_inventory(Store.at(root))
    assert found(inventory) == ["a"]
    assert inventory.notes == ("1 special file (a pipe, a socket, a device) was left out",)


def test_name_that_is_not_utf8_is_left_out(tree: TreeWriter) -> None:
    root = tree({"a": b""})
    try:
        Path(os.fsdecode(bytes(root) + b"/\xff.hea")).touch()
    except OSError:
        pytest.skip("this file system refuses names that are not UTF-8")
    inventory = take_inventory(Store.at(root))
    assert found(inventory) == ["a"]
    assert inventory.notes == ("1 file whose name is not UTF-8 was left out",)


@pytest.fixture
def ordinary_user() -> Iterator[Path]:
    """A folder that an ordinary user owns, who this process is for a while: root may read everything."""
    user = os.geteuid() or 65_534
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, user, -1)
        root = os.geteuid() == 0
        if root:
            os.seteuid(user)
        try:
            yield Path(folder)
        finally:
            if root:
                os.seteuid(0)


def test_unreadable_folder(ordinary_user: Path) -> None:
    (ordinary_user / "closed").mkdir(mode=0)
    with pytest.raises(ScaledprocError, match=r"may not be read: .*closed"):
        take_inventory(Store.at(ordinary_user))
    (ordinary_user / "closed").chmod(0o700)


def test_closed_folder_that_is_left_out(ordinary_user: Path) -> None:
    def take(include: Sequence[str] = (), exclude: Sequence[str] = ()) -> list[str]:
        return found(take_inventory(Store.at(ordinary_user), include=include, exclude=exclude))

    (ordinary_user / "a.csv").touch()
    (ordinary_user / "lost+found").mkdir(mode=0)
    with pytest.raises(ScaledprocError, match=r"lost\+found'; leave it out with --exclude lost\+found/"):
        take()
    for glob in ("lost+found/", "lost+found/**", "lost+found", "lost*", "lost+found/*", "**/lost+found/**"):
        assert take(exclude=[glob]) == ["a.csv"], glob
    assert take(include=["30/**", "/31/*.csv"]) == []
    for include in ("*.csv", "**/a", "lost*/x", "lost+found/", "*/y"):
        with pytest.raises(ScaledprocError, match="may not be read"):
            take(include=[include])
    with pytest.raises(ScaledprocError, match="may not be read"):
        take(exclude=["lost+found/a.csv/", "*.hea"])
    (ordinary_user / "lost+found").chmod(0o700)


@pytest.mark.parametrize("where", ["{tmp}/nowhere", "file://{tmp}/nowhere", "memory://nowhere"])
def test_missing(tmp_path: Path, where: str) -> None:
    with pytest.raises(ScaledprocError, match="nowhere does not exist"):
        take_inventory(Store.at(where.format(tmp=tmp_path)))


def test_file_instead_of_a_folder(tree: TreeWriter, memory: str) -> None:
    Store.at(memory).write("a.hea", b"1")
    for folder in (tree({"a.hea": b"1"}), memory):
        with pytest.raises(ScaledprocError, match=r"a\.hea is a file; give the folder"):
            take_inventory(Store.at(f"{folder}/a.hea"))


def test_empty_folder(tmp_path: Path) -> None:
    inventory = take_inventory(Store.at(tmp_path), include=["*.hea"], exclude=["x"])
    assert inventory.files.num_rows == 0
    assert inventory.files.schema.names == ["path", "size", "version"]
