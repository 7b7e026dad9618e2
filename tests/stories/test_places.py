"""Where datasets lie: repositories and caches of links, hidden files, other runs, archives, web servers."""

from __future__ import annotations

import http.server
import os
import pathlib
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support import Bucket, Cli, TreeWriter

import scaledproc
from scaledproc import Task
from scaledproc.api import save_inventory
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.events import Event, Note
from scaledproc.planning.inventory import Inventory, choose, take_inventory
from scaledproc.reporting.text import plan_text
from scaledproc.storage.store import Store


@scaledproc.extractor(schema={"path": "string", "text": "string"}, anchor="*.csv", unit="file")
def text_of(task: Task) -> dict[str, Any]:
    return {"path": task.anchor, "text": task.path.read_text()}


def texts(run: scaledproc.Run) -> dict[str, str]:
    table = run.to_arrow().to_pydict()
    assert not run.quarantined, run.errors().to_pylist()
    return dict(zip(table["path"], table["text"], strict=True))


def paths(inventory: Inventory) -> list[str]:
    return sorted(inventory.files["path"].to_pylist())


def take(root: Path | str, **options: Any) -> Inventory:
    return take_inventory(Store.at(root), **options)


def test_pointers_of_git_lfs_are_no_data(tmp_path: Path) -> None:
    (tmp_path / ".git/lfs").mkdir(parents=True)
    (tmp_path / "a.csv").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 2\n")
    (tmp_path / "b.csv").write_text("version")
    found = take(tmp_path)
    assert paths(found) == ["b.csv"]
    assert "git lfs pull" in " ".join(found.notes)


# Hidden files


def test_hidden_files_and_folders_are_left_out_and_counted(tree: TreeWriter) -> None:
    names = ["a.csv", "._a.csv", ".ipynb_checkpoints/a.csv", ".git/x", "u/.nfs0001", "u/.DS_Store", "u/b.csv", "u/c.d"]
    root = tree(dict.fromkeys(names, b"x"))
    assert paths(take(root)) == ["a.csv", "u/b.csv", "u/c.d"]
    (note,) = take(root).notes
    assert note.startswith("5 hidden files and folders were left out (the first is ")
    assert note.endswith("--hidden takes them too")
    assert paths(take(root, hidden=True)) == sorted(names)
    assert take(root, hidden=True).notes == ()
    within = tree(dict.fromkeys([f".cache/deep/{name}" for name in names], b"x")) / ".cache/deep"
    assert paths(take(within)) == ["a.csv", "u/b.csv", "u/c.d"]


def test_hidden_objects_and_inventories(memory: str, tmp_path: Path) -> None:
    for name in ("a.csv", "u/.hid/x/1", "u/.hid/2", ".top", "u/b..csv"):
        Store.at(memory).write(name, b"x")
    found = take(memory)
    assert paths(found) == ["a.csv", "u/b..csv"]
    assert found.notes == ("2 hidden files and folders were left out (the first is .top); --hidden takes them too",)
    saved = save_inventory(memory, tmp_path / "all.parquet", hidden=True)
    assert saved.files.num_rows == 5
    planned = scaledproc.plan(memory, extractor=text_of, anchor="*", inventory=tmp_path / "all.parquet")
    assert sorted(planned.tasks["anchor"].to_pylist()) == ["a.csv", "u/b..csv"]
    assert scaledproc.plan(memory, extractor=text_of, anchor="*", hidden=True).n_tasks == 5


def test_hidden_keys_of_s3(s3: Bucket) -> None:
    url = s3.url("hidden")
    for name in ("a.csv", ".git/objects/1", "u/._b.csv"):
        Store.at(url, s3.storage_options).write(name, b"x")
    store = Store.at(url, s3.storage_options)
    assert paths(take_inventory(store)) == ["a.csv"]
    assert len(paths(take_inventory(store, hidden=True))) == 3


@pytest.mark.slow
def test_hidden_by_the_command_line_and_its_record(tree: TreeWriter, cli: Cli, tmp_path: Path) -> None:
    root = tree({"a.csv": b"1", ".b.csv": b"2"})
    (tmp_path / "x.py").write_text(
        "import scaledproc\n"
        "@scaledproc.extractor(schema={'n': 'int64'}, anchor='*.csv', unit='file')\n"
        "def n(task): return {'n': int(task.path.read_text())}\n"
    )
    words = ("--extractor", "x.py:n", root)
    assert "1 hidden file or folder was left out (.b.csv)" in cli("plan", *words).stdout
    done = cli("run", "--backend", "local", "--jobs", "1", "--hidden", *words, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    run = scaledproc.Run.open(tmp_path / "out")
    assert run.record.options["hidden"] is True
    assert run.to_arrow()["n"].to_pylist() == [2, 1]
    assert cli("verify", "--inventory", tmp_path / "out").returncode == 0
    done = cli("inventory", "--hidden", root, "all.parquet")
    assert done.stdout.startswith("2 files")


# Other runs below the dataset


def test_folders_of_runs_are_left_out_and_told(tree: TreeWriter, tmp_path: Path) -> None:
    root = tree({"a.csv": b"1", "b/c.csv": b"2", "x/run.json": b"{}", "x/kept.csv": b"3"})
    first = scaledproc.run(root, root / "out/1", extractor=text_of, jobs=1)
    assert sorted(texts(first)) == ["a.csv", "b/c.csv", "x/kept.csv"]
    (root / "out/1/added.csv").write_text("of the run's folder")
    found = take(root)
    assert paths(found) == ["a.csv", "b/c.csv", "x/kept.csv", "x/run.json"]
    assert found.notes == (
        "1 folder of earlier runs was left out (the first is out/1); to take its files name it as INPUT",
    )
    second = scaledproc.run(root, root / "out/2", extractor=text_of, jobs=1)
    assert second.record.plan_id == first.record.plan_id
    assert "run.json" in paths(take(root / "out/1"))  # the run itself as a dataset


def test_an_output_in_the_dataset_is_told_once(tree: TreeWriter, tmp_path: Path) -> None:
    root = tree({"a.csv": b"1", "b/c.csv": b"2"})
    told: list[Event] = []

    def notes(out: Path, **options: Any) -> list[str]:
        told.clear()
        scaledproc.run(root, out, extractor=text_of, jobs=1, on_event=told.append, **options)
        return [event.text for event in told if isinstance(event, Note)]

    once = ["the output lies in the dataset's folder, where plans leave out folders of runs"]
    assert notes(root / "out/1") == once
    assert notes(root / "out/1") == []
    assert notes(root / "out/1", update=True) == []
    assert notes(root / "out/2") == [
        "1 folder of earlier runs was left out (the first is out/1); to take its files name it as INPUT"
    ]  # more than that this one lies there too
    assert notes(root / "out/1") == []  # though the other one is left out there
    left_out = "2 folders of earlier runs were left out (the first is out/1); to take its files name it as INPUT"
    assert notes(tmp_path / "elsewhere") == [left_out]
    assert notes(tmp_path / "elsewhere") == []
    planned = scaledproc.plan(root, extractor=text_of)
    assert plan_text(planned, 1).splitlines()[-1] == f"note: {left_out}"
    save_inventory(root, tmp_path / "listed.parquet")
    by_file = scaledproc.plan(root, extractor=text_of, inventory=tmp_path / "listed.parquet")
    assert plan_text(by_file, 1).splitlines()[-1] == f"note: {left_out}"
    alike = replace(planned, warnings=(f"{left_out}, it says",))
    assert plan_text(alike, 1).splitlines()[-1] == f"warning: {left_out}, it says", "no text makes it a note of runs"


def test_a_run_that_goes_on_is_left_out_too(tree: TreeWriter) -> None:
    names = ["a", "r.1/run.json", "r.1/plan.parquet", "r.1/inventory.parquet", "r.1/work/00000/000000.parquet", "r11/x"]
    root = tree(dict.fromkeys(names, b""))
    assert paths(take(root)) == ["a", "r11/x"]


# Listing while others write


def test_what_vanishes_while_it_is_listed(tree: TreeWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree({"a/1": b"", "a/2": b"", "b/3": b"", "c/4": b""})
    real = os.scandir

    def scandir(handle: int) -> Any:
        where = str(Path(f"/proc/self/fd/{handle}").readlink())
        found = list(real(handle))
        if where == str(root):
            (root / "b/3").unlink()
            (root / "b").rmdir()
        if where == str(root / "a"):
            (root / "a/1").unlink()

        class Entries(list[Any]):
            def __enter__(self) -> Any:
                return iter(self)

            def __exit__(self, *_: object) -> None:
                pass

        return Entries(found)

    monkeypatch.setattr(os, "scandir", scandir)
    found = take(root)
    assert paths(found) == ["a/2", "c/4"]
    assert found.notes == ("2 names in INPUT were gone before they were looked at",)
    with pytest.raises(ScaledprocError, match="does not exist"):
        take(root / "b")


# Places that are no folders


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_archives(tmp_path: Path, kind: str) -> None:
    content = {f"{folder}f{number}.csv": f"{folder}{number}" * 5_000 for folder in ("", "s/") for number in range(12)}
    archive = tmp_path / f"x.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as file:
            for name, text in content.items():
                file.writestr(name, text)
    else:
        (tmp_path / "t").mkdir()
        with tarfile.open(archive, "w") as tar:
            for name, text in content.items():
                (tmp_path / "t/one").write_text(text)
                tar.add(tmp_path / "t/one", name)
    run = scaledproc.run(f"{kind}://::{archive}", tmp_path / "out", extractor=text_of, jobs=1, chunk=1)
    assert texts(run) == content
    run = scaledproc.run(f"{kind}://s::{archive}", tmp_path / "out2", extractor=text_of, jobs=1)
    assert texts(run) == {name[2:]: text for name, text in content.items() if name.startswith("s/")}


@pytest.fixture
def web(tree: TreeWriter) -> Iterator[str]:
    """A web server's listing of a folder."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tree({"a b.csv": b"x"})))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_listing_without_sizes_is_refused(web: str) -> None:
    with pytest.raises(ScaledprocError, match=r"cannot be listed: the sizes.*a%20b\.csv.*copy the files to a folder"):
        take(web)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("s3://b/out", "s3://b/out"),
        ("s3://b", "s3://b"),
        ("gs://b/x/y", "gs://b/x/y"),
        ("myscheme+x://host/x", "myscheme+x://host/x"),
        ("memory://x", "memory://x"),
        ("https://example.org/a", "https://example.org/a"),
    ],
)
def test_url_that_went_through_pathlib(given: str, meant: str, tree: TreeWriter, tmp_path: Path) -> None:
    path = pathlib.Path(given)
    with pytest.raises(
        UsageError, match=rf"lost a slash, as pathlib.Path makes of one: give it as text, {meant}$".replace("+", r"\+")
    ):
        scaledproc.plan(path, extractor=text_of)
    with pytest.raises(UsageError, match="lost a slash"):
        scaledproc.run(tree({"a.csv": b"1"}), path, extractor=text_of, jobs=1)
    with pytest.raises(UsageError, match="lost a slash"):
        save_inventory(tree({"a.csv": b"1"}), path / "x.parquet")


def test_paths_with_colons_are_paths(tmp_path: Path) -> None:
    for name in ("a:", "12:30", "C:/x", "x:y/z", "odd:name"):
        assert Store.at(f"{tmp_path}/{name}").local == tmp_path / name
    with pytest.raises(UsageError, match="s3://b/x"):
        Store.at(pathlib.Path("/somewhere") / pathlib.Path("s3://b/x"))


# What a unit's files are called


def test_names_beside_an_anchor(tree: TreeWriter) -> None:
    names = ["s/raw/0.bin", "s/labels/0.json", "s/raw/1.bin"]
    root = tree({**dict.fromkeys(names, b"x"), "other/0.json": b"x"})
    task = Task("s", "s", "s/raw/0.bin", root, frozenset(names))
    assert task.beside("../labels/0.json").read_bytes() == b"x"
    assert task.beside("./1.bin").samefile(root / "s/raw/1.bin")
    with task.open("../raw/../labels/0.json") as label, task.open() as anchor:
        assert label.read() == anchor.read() == b"x"
    for outside in ("../../other/0.json", "/s/labels/0.json", "../../../data/s/raw/1.bin", "..", "", ".", "../labels",
                    str(root / "s/raw/1.bin"), "../labels/0.json\0"):  # fmt: skip
        with pytest.raises(FileNotFoundError, match="has no file"):
            task.beside(outside)


def test_groups_without_a_name(tree: TreeWriter) -> None:
    with pytest.raises(UsageError, match=r"has a group without a name: write \(\?:…\)"):
        scaledproc.plan(tree({"a.csv": b""}), extractor=text_of, unit="(?P<unit>a(b)?)")


def test_equal_groups_hold_no_more_than_the_rest(tree: TreeWriter) -> None:
    root = tree({"31/a.csv": b"", "32/a.csv": b""})
    os.truncate(root / "31/a.csv", 2_000_000_000)  # files that take no room
    os.truncate(root / "32/a.csv", 2_002_000_000)
    half = scaledproc.plan(root, extractor=text_of)
    assert not [warning for warning in half.warnings if "holds" in warning]
    os.truncate(root / "32/a.csv", 2_200_000_000)
    more = scaledproc.plan(root, extractor=text_of)
    assert more.warnings == ("unit '32/a.csv' holds 52% of all bytes, and a unit is never cut",)


def test_choose_keeps_the_order_of_tables() -> None:
    table = pa.table(
        {"path": pa.array(["b", ".x/y", "a"], pa.large_string()), "size": [1, 2, 3], "version": ["", "", ""]}
    )
    assert choose(Inventory(table)).files["size"].to_pylist() == [1, 3]


def test_files_of_another_extractor_are_told_with_its_name(tree: TreeWriter, tmp_path: Path) -> None:
    root = tree({"a.csv": b"x\n1\n", "b/c.dat": b"2"})
    with pytest.raises(ScaledprocError, match=r"there are 1 .csv, 1 .dat\).* or --extractor table, which begins tasks"):
        scaledproc.run(root, tmp_path / "out", jobs=1)
    with pytest.raises(ScaledprocError, match=r"\); name others with --anchor, or another extractor"):
        scaledproc.run(tree({"x/b.bin": b"2"}) / "x", tmp_path / "out", jobs=1)
