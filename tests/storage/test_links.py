"""Links that a listing follows, and those that it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import Cli

import scaledproc
from scaledproc import Task
from scaledproc.api import verify
from scaledproc.planning.inventory import Inventory, take_inventory
from scaledproc.storage import local_files
from scaledproc.storage.links import Links
from scaledproc.storage.store import Store


@scaledproc.extractor(schema={"path": "string", "text": "string"}, anchor="*.csv", unit="file")
def text_of(task: Task) -> dict[str, Any]:
    return {"path": task.anchor, "text": task.path.read_text()}


@scaledproc.extractor(schema={"path": "string", "text": "string"}, anchor="*.csv", unit="file")
def text_by_handle(task: Task) -> dict[str, Any]:
    with task.open() as file:
        return {"path": task.anchor, "text": file.read().decode()}


def texts(run: scaledproc.Run) -> dict[str, str]:
    table = run.to_arrow().to_pydict()
    assert not run.quarantined, run.errors().to_pylist()
    return dict(zip(table["path"], table["text"], strict=True))


def paths(inventory: Inventory) -> list[str]:
    return sorted(inventory.files["path"].to_pylist())


def take(root: Path | str, **options: Any) -> Inventory:
    return take_inventory(Store.at(root), **options)


def annex(root: Path, name: str, content: str | None, git: Path | None = None) -> Path:
    """A locked annexed file; without its content where that is None."""
    key = f"MD5E-s{len(content or '12')}--{name.replace('/', '_')}"
    stored = (git or root / ".git") / "annex/objects/x1/y1" / key / key
    if content is not None:
        stored.parent.mkdir(parents=True)
        stored.write_text(content)
    link = root / name
    link.parent.mkdir(parents=True, exist_ok=True)
    up = "../" * name.count("/")
    link.symlink_to(f"{up}.git/annex/objects/x1/y1/{key}/{key}")
    return link


@pytest.mark.parametrize("extractor", [text_of, text_by_handle], ids=["path", "handle"])
@pytest.mark.parametrize("inside", ["", "sub-01", "sub-01/ses-1"])
def test_annexed_files_are_taken_once_from_anywhere_in_their_repository(
    tmp_path: Path, inside: str, extractor: Any
) -> None:
    root = tmp_path / "ds"
    annex(root, "sub-01/ses-1/a.csv", "a")
    annex(root, "sub-01/ses-1/b.csv", "bb")
    (root / "sub-01/ses-1/unlocked.csv").write_text("c")
    run = scaledproc.run(root / inside, tmp_path / "out", extractor=extractor, jobs=1)
    at = f"{'sub-01/ses-1'.removeprefix(inside).strip('/')}/".lstrip("/")
    assert texts(run) == {f"{at}a.csv": "a", f"{at}b.csv": "bb", f"{at}unlocked.csv": "c"}
    assert verify(tmp_path / "out", inventory=True).ok


def test_hidden_annex_is_still_taken_once(tmp_path: Path) -> None:
    annex(tmp_path / "ds", "a.csv", "a")
    found = take(tmp_path / "ds", hidden=True)
    assert paths(found) == ["a.csv"]
    told = "1 folder of content was left out (.git/annex/objects), as links in the dataset name its files"
    assert found.notes == (told,)


def test_content_that_is_not_here_is_told_with_the_remedy(tmp_path: Path) -> None:
    root = tmp_path / "ds"
    annex(root, "a.csv", "a")
    annex(root, "sub/{gone}.csv", None)
    (root / "sub/pointer.csv").write_text("/annex/objects/MD5E-s2--aa.csv\n")
    found = take(root)
    assert paths(found) == ["a.csv"]
    (note,) = [note for note in found.notes if "content" in note]
    assert note.startswith("2 files of git-annex")
    assert "git annex get" in note
    assert "the first is sub/" in note
    # Not a repository's: a text like any other.
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain/pointer.csv").write_text("/annex/objects/MD5E-s2--aa.csv\n")
    assert paths(take(tmp_path / "plain")) == ["pointer.csv"]


def test_subdataset_whose_git_folder_is_in_the_superdataset(tmp_path: Path) -> None:
    root = tmp_path / "super"
    modules = root / ".git/modules/sub"
    annex(root / "sub", "a.csv", "a", git=modules)
    (root / "sub/.git").symlink_to("../.git/modules/sub")
    assert paths(take(root / "sub")) == ["a.csv"]
    assert paths(take(root)) == ["sub/a.csv"]


def snapshot(root: Path) -> Path:
    revision = root / "hub/datasets--me--x/snapshots/abc123"
    blobs = root / "hub/datasets--me--x/blobs"
    (revision / "data").mkdir(parents=True)
    blobs.mkdir()
    for name, blob in (("a.csv", "h1"), ("data/b.csv", "h2"), ("same.csv", "h1")):
        (blobs / blob).write_text(blob)
        (revision / name).symlink_to(f"{'../' * (name.count('/') + 2)}blobs/{blob}")
    return revision


@pytest.mark.parametrize("extractor", [text_of, text_by_handle], ids=["path", "handle"])
def test_snapshot_of_a_hugging_face_cache(tmp_path: Path, extractor: Any) -> None:
    revision = snapshot(tmp_path)
    run = scaledproc.run(revision, tmp_path / "out", extractor=extractor, jobs=1)
    assert texts(run) == {"a.csv": "h1", "data/b.csv": "h2", "same.csv": "h1"}
    whole = take(tmp_path / "hub")
    assert paths(whole) == [f"datasets--me--x/snapshots/abc123/{name}" for name in ("a.csv", "data/b.csv", "same.csv")]
    told = "1 folder of content was left out (datasets--me--x/blobs), as links in the dataset name its files"
    assert whole.notes == (told,)
    assert paths(take(revision.parents[1] / "blobs")) == ["h1", "h2"]


@pytest.mark.parametrize("hidden", [False, True])
def test_blobs_of_a_cache_that_no_link_names(tmp_path: Path, hidden: bool) -> None:
    """Those of deleted revisions, and of a download that was cut off."""
    revision = snapshot(tmp_path)
    cache = revision.parents[1]
    for name in ("old", "h3.incomplete", "deep/h4"):
        (cache / "blobs" / name).parent.mkdir(exist_ok=True)
        (cache / "blobs" / name).write_text("of no revision")
    whole = take(cache, hidden=hidden)
    assert paths(whole) == [f"snapshots/abc123/{name}" for name in ("a.csv", "data/b.csv", "same.csv")]
    assert whole.notes == ("1 folder of content was left out (blobs), as links in the dataset name its files",)


@pytest.mark.parametrize("hidden", [False, True])
def test_folders_that_are_only_called_as_those_of_a_cache(tmp_path: Path, hidden: bool) -> None:
    """A folder `blobs` is a cache's where a link beside it leads to a file in it."""
    for name in ("snapshots/a.csv", "blobs/b.csv", "blobs/deep/c.csv", "x/snapshots/d.csv", "x/blobs/e.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    found = take(tmp_path, hidden=hidden)
    plain = ["blobs/b.csv", "blobs/deep/c.csv", "snapshots/a.csv", "x/blobs/e.csv", "x/snapshots/d.csv"]
    assert paths(found) == plain
    assert not found.notes
    (tmp_path / "snapshots/r").mkdir()
    (tmp_path / "snapshots/r/folder").symlink_to("../../blobs/deep")  # which is not followed
    (tmp_path / "snapshots/r/other.csv").symlink_to("../../x/blobs/e.csv")  # which are another folder's
    assert paths(take(tmp_path, hidden=hidden)) == sorted([*plain, "snapshots/r/other.csv"])
    (tmp_path / "blobs/h2").write_text("h2")
    (tmp_path / "snapshots/r/.g.csv").symlink_to("../../blobs/h2")  # whose content is hidden with it
    found = take(tmp_path, hidden=hidden)
    rest = [name for name in [*plain, "snapshots/r/other.csv"] if not name.startswith("blobs/")]
    assert paths(found) == sorted([*rest, *(["snapshots/r/.g.csv"] if hidden else [])])
    (note,) = [note for note in found.notes if "content" in note]
    assert note == "1 folder of content was left out (blobs), as links in the dataset name its files"


@pytest.mark.parametrize("inside", ["", "data", "data/sub"])
def test_files_of_a_dvc_repository_whose_cache_is_linked_to(tmp_path: Path, inside: str) -> None:
    root = tmp_path / "repository"
    (root / "data/sub").mkdir(parents=True)
    for name, up in (("data/a.csv", "../"), ("data/sub/b.csv", "../../")):
        cached = root / ".dvc/cache/files/md5" / name[-5] / "cd"
        cached.parent.mkdir(parents=True)
        cached.write_text(name)
        (root / name).symlink_to(f"{up}.dvc/cache/files/md5/{name[-5]}/cd")
    run = scaledproc.run(root / inside, tmp_path / "out", extractor=text_by_handle, jobs=1)
    names = [name for name in ("data/a.csv", "data/sub/b.csv") if name.startswith(inside)]
    expected = {name.removeprefix(inside).lstrip("/"): name for name in names}
    assert texts(run) == expected
    assert sorted(paths(take(root / inside, hidden=True))) == sorted(expected)


def test_links_to_anywhere_else_are_not_followed(tmp_path: Path) -> None:
    """What looks like a store, but is a link itself, would lead anywhere."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key.csv").write_text("secret")
    for name in ("annex", "objects", "git", "blobs", "dots", "dvc", "cache"):
        (tmp_path / name).mkdir()
    (tmp_path / "annex/.git").mkdir()
    (tmp_path / "annex/.git/annex").symlink_to(secret)
    (tmp_path / "objects/.git/annex").mkdir(parents=True)
    (tmp_path / "objects/.git/annex/objects").symlink_to(secret)
    (secret / "annex/objects").mkdir(parents=True)
    (secret / "annex/objects/key.csv").write_text("secret")
    (secret / "objects").mkdir()
    (secret / "objects/key.csv").write_text("secret")
    (tmp_path / "git/.git").symlink_to(secret)
    (tmp_path / "blobs/snapshots/r").mkdir(parents=True)
    (tmp_path / "blobs/blobs").symlink_to(secret)
    (tmp_path / "dots/.git/annex/objects").mkdir(parents=True)
    (secret / "cache").mkdir()
    (secret / "cache/key.csv").write_text("secret")
    (tmp_path / "dvc/.dvc").symlink_to(secret)
    (tmp_path / "cache/.dvc").mkdir()
    (tmp_path / "cache/.dvc/cache").symlink_to(secret)
    for link, target in {
        "annex/a.csv": ".git/annex/objects/key.csv",
        "objects/a.csv": ".git/annex/objects/key.csv",
        "git/a.csv": ".git/annex/objects/key.csv",
        "blobs/snapshots/r/a.csv": "../../blobs/key.csv",
        "dvc/a.csv": ".dvc/cache/key.csv",
        "cache/a.csv": ".dvc/cache/key.csv",
        "dots/a.csv": ".git/annex/objects/../../../../secret/key.csv",
    }.items():
        (tmp_path / link).symlink_to(target)
        assert (tmp_path / link).read_text() == "secret"
        folder, _, name = link.rpartition("/")
        assert Links(str(tmp_path / folder)).follow(name) is None, link
        assert paths(take(tmp_path / folder)) == [], link
        with pytest.raises(FileNotFoundError, match="no file of the dataset any more"):
            local_files.find(str(tmp_path / folder), name)


@pytest.mark.slow
def test_dataset_of_nothing_but_links_says_what_to_do(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "in").mkdir()
    for number in range(3):
        (tmp_path / f"{number}.csv").write_text("x")
        (tmp_path / f"in/{number}.csv").symlink_to(tmp_path / f"{number}.csv")
    done = cli("plan", tmp_path / "in")
    assert done.returncode == 1
    for part in ("all of its files are links", "3 links leading outside", f"-> {tmp_path}", "cp -rL"):
        assert part in done.stdout + done.stderr
    (tmp_path / "ds").mkdir()
    annex(tmp_path / "ds", "gone.csv", None)
    assert "git annex get" in "".join(cli("plan", tmp_path / "ds").stdout)
