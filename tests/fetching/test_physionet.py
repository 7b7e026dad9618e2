"""Databases of PhysioNet: their lists, records, indexes and checksums."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fetching_support import NAME, fetch, of
from physionet_server import PhysioNet
from support import tree_bytes

import scaledproc
from scaledproc.errors import ScaledprocError
from scaledproc.events import Event, Note
from scaledproc.fetching.http import Client, UnreachableError, WebError
from scaledproc.fetching.selection import database_folders


@pytest.mark.parametrize("sums", [True, False])
@pytest.mark.parametrize("indexes", [True, False])
def test_records_without_folders(net: PhysioNet, dest: Path, sums: bool, indexes: bool) -> None:
    """A flat database: the files of a record are those of its name and those that its headers name."""
    files = {
        "RECORDS": b"100\n1000\nm\n",
        "ANNOTATORS": b"atr\treference beats\nqrs\tothers\n",
        "100.hea": b"100 2 360 10\n100.dat 212\nother_b.dat 16\n",
        "100.dat": b"d" * 30,
        "other_b.dat": b"e" * 20,
        "100.atr": b"beats",
        "1000.hea": b"1000 1 360 10\n1000.dat 212\n",
        "1000.dat": b"not of 100",
        "m.hea": b"m/2 1 360 20\nm_1 10\n~ 10\n",
        "m_1.hea": b"m_1 1 360 10\nm_1.dat 16\n",
        "m_1.dat": b"s" * 20,
    }
    net.publish("flat/1.0.0", files, sums=sums)
    net.indexes = indexes
    done = fetch(net, dest, "flat/1.0.0", records=1)
    assert set(tree_bytes(dest)) == {"100.hea", "100.dat", "other_b.dat", "100.atr"}
    assert not done.failed
    fetch(net, dest, "flat/1.0.0", limit=3)
    assert set(tree_bytes(dest)) == set(files) - {"RECORDS", "ANNOTATORS"}


@pytest.mark.parametrize("indexes", [True, False])
def test_lines_of_a_header_that_are_not_read_name_no_file(net: PhysioNet, dest: Path, indexes: bool) -> None:
    files = {
        "RECORDS": b"r\nm\n",
        "r.hea": b"r 2 360 10\nr.dat 16\nr.dat 16\nother.dat 16\n",
        "r.dat": b"d" * 40,
        "m.hea": b"m/1 1 360 10\nm_1 10\nm_2 10\n",
        "m_1.hea": b"m_1 1 360 10\nm_1.dat 16\n",
        "m_1.dat": b"s" * 20,
    }
    net.publish("more/1.0.0", files, sums=False)
    net.indexes = indexes
    done = fetch(net, dest, "more/1.0.0", limit=2)
    assert not done.failed
    assert set(tree_bytes(dest)) == set(files) - {"RECORDS"}


def test_lists_of_lists(net: PhysioNet, dest: Path) -> None:
    """A line of RECORDS can name a folder of folders; `records` counts the innermost."""
    files = {"RECORDS": b"waves/\n", "waves/RECORDS": b"p1/\np2/\np3/\n"}
    for patient in ("p1", "p2", "p3"):
        files |= {f"waves/{patient}/RECORDS": b"r\n", f"waves/{patient}/r/r.hea": b"r 0 1 1\n"}
    net.publish("nested/0.1", files)
    fetch(net, dest, "nested/0.1", records=2)
    assert {path for path in tree_bytes(dest) if path.endswith(".hea")} == {"waves/p1/r/r.hea", "waves/p2/r/r.hea"}
    assert not net.asked()["nested/0.1/waves/p3/RECORDS"]  # no more than what is wanted


@pytest.mark.parametrize("indexes", [True, False])
def test_real_records_by_their_headers(net: PhysioNet, dest: Path, shared_data: Path, indexes: bool) -> None:
    """Masters, layouts, gaps and numerics of real records, from lists as PhysioNet has them."""
    files = tree_bytes(shared_data / "mimic3wdb/1.0")
    units = sorted({path.rpartition("/")[0] for path in files})
    lists = {"RECORDS": "".join(f"{unit}/\n" for unit in units).encode()}
    for unit in units:
        name = unit.rpartition("/")[2]
        records = [record for record in (name, f"{name}n") if f"{unit}/{record}.hea" in files]
        lists[f"{unit}/RECORDS"] = "".join(f"{record}\n" for record in records).encode()
    net.publish("real/1.0", {**files, **lists}, sums=False)
    net.indexes = indexes
    done = fetch(net, dest, "real/1.0", groups="30-39")
    assert tree_bytes(dest) == {**files, **{path: lists[path] for path in lists if "/" in path}}
    assert not done.failed


def test_record_without_checksums(net: PhysioNet, dest: Path, demo: Path) -> None:
    """What RECORDS names and SHA256SUMS.txt does not is fetched all the same, and told of."""
    sums = net.files[f"{NAME}/SHA256SUMS.txt"].splitlines(keepends=True)
    net.files[f"{NAME}/SHA256SUMS.txt"] = b"".join(line for line in sums if b" 30/3000003/" not in line)
    done = fetch(net, dest, groups="30", records=2)
    assert tree_bytes(dest) == of(demo, "30/3000003/", "30/3000105/")
    assert done.notes == ("SHA256SUMS.txt has no file of 1 record in RECORDS (30/3000003/): not checked",)


@pytest.mark.parametrize("options", [{}, {"groups": "30"}, {"groups": "30,39"}])
def test_records_and_folders_that_the_sums_lack(
    net: PhysioNet, dest: Path, demo: Path, options: dict[str, Any]
) -> None:
    """A whole database or group has what RECORDS and the index pages show, also where no checksum is listed."""
    sums = net.files[f"{NAME}/SHA256SUMS.txt"].splitlines(keepends=True)
    lacking = (b" 30/3000003/", b" RECORDS")
    net.files[f"{NAME}/SHA256SUMS.txt"] = b"".join(s for s in sums if not any(name in s for name in lacking))
    net.files[f"{NAME}/RECORDS"] += b"39/3900001/\n"
    added = {"39/3900001/x.hea": b"x 0 1 1\n", "30/new/y.hea": b"y 0 1 1\n", "30/3000105/z.txt": b"beside"}
    net.files |= {f"{NAME}/{path}": content for path, content in added.items()}
    done = fetch(net, dest, **options)
    groups = tuple(f"{group}/" for group in options.get("groups", "30,31,32,39").split(","))
    expected = {path: content for path, content in {**tree_bytes(demo), **added}.items() if path.startswith(groups)}
    fetched = tree_bytes(dest)
    assert {path: fetched[path] for path in expected} == expected
    assert not done.failed
    told = " ".join(done.notes)
    assert "1 record in RECORDS (30/3000003/)" in told or "2 records in RECORDS (30/3000003/)" in told
    assert "1 folder on the index pages (30/new/): not checked" in told
    assert f"has no line for {'1 file' if options else '2 files'} on the index pages" in told  # RECORDS is the other
    again = fetch(net, dest, **options)
    assert (again.files, again.failed) == (0, ())


@pytest.mark.parametrize("page", [b"<html><body>Log in</body></html>", b"\x1f\x8b\x08\0\0\0", b"", b"what\n"])
def test_sums_that_are_none(net: PhysioNet, dest: Path, demo: Path, page: bytes) -> None:
    """A page with status 200, or a packed file, is no list of checksums: the other lists are read."""
    net.files[f"{NAME}/SHA256SUMS.txt"] = page
    done = fetch(net, dest, groups="30")
    assert {path for path in of(demo, "30/") if not path.endswith("RECORDS")} <= set(tree_bytes(dest))
    assert any("is no list of checksums: the files cannot be checked against it" in note for note in done.notes)


def test_pages_for_everything(net: PhysioNet, dest: Path) -> None:
    """A portal that answers each request with a page of its own gives nothing that is taken for data."""
    page = b"<html><body>Please log in to this network</body></html>"
    net.files = dict.fromkeys([f"wifi/1/{name}" for name in ("SHA256SUMS.txt", "RECORDS", "ANNOTATORS")], page)
    net.indexes = False
    with pytest.raises(ScaledprocError, match="there is no database at"):
        fetch(net, dest, "wifi/1")
    assert not dest.exists()


@pytest.mark.slow
@pytest.mark.parametrize("sums", [True, False])
@pytest.mark.parametrize("indexes", [True, False])
def test_records_without_slashes(net: PhysioNet, dest: Path, demo: Path, sums: bool, indexes: bool) -> None:
    """Folders are known for such, however RECORDS is written."""
    lines = net.files[f"{NAME}/RECORDS"].decode().splitlines()
    net.files[f"{NAME}/RECORDS"] = "\ufeff".encode() + "".join(f"./{line.rstrip('/')}\r\n" for line in lines).encode()
    net.indexes = indexes
    for folder in {path.rpartition("/")[0] for path in of(demo, "30/3", "31/3", "32/3")}:
        net.files[f"{NAME}/{folder}/RECORDS"] = f"{folder[3:]}\n{folder[3:]}n\n".encode()
    if not sums:
        del net.files[f"{NAME}/SHA256SUMS.txt"]
    done = fetch(net, dest, records=1)
    fetched = {path: content for path, content in tree_bytes(dest).items() if not path.endswith("RECORDS")}
    assert fetched == of(demo, "30/3000003/", "31/3100011/", "32/3200058/")
    assert not done.failed


@pytest.mark.parametrize("sums", [True, False])
@pytest.mark.parametrize("indexes", [True, False])
def test_only_what_a_list_names(
    net: PhysioNet, dest: Path, demo: Path, tmp_path: Path, sums: bool, indexes: bool
) -> None:
    """Records by name or path, folders; what is not there is named."""
    net.indexes = indexes
    if not sums:
        del net.files[f"{NAME}/SHA256SUMS.txt"]
        for folder in {path.rpartition("/")[0] for path in of(demo, "30/3", "31/3", "32/3")}:
            net.files[f"{NAME}/{folder}/RECORDS"] = f"{folder[3:]}\n{folder[3:]}n\n".encode()
    names = tmp_path / "cohort.txt"
    names.write_text("# mine\n3000003\n31/3100112/\n\nnobody\n39/x\n")
    done = fetch(net, dest, only=names)
    fetched = {path: content for path, content in tree_bytes(dest).items() if sums or not path.endswith("RECORDS")}
    assert fetched == of(demo, "30/3000003/", "31/3100112/")
    assert f"2 of 4 names in {names} are not in {net.base_url}/{NAME}: nobody, 39/x" in done.notes
    assert fetch(net, dest, only=names).files == 0
    names.write_text("nobody\n")
    with pytest.raises(ScaledprocError, match="no file that was asked for"):
        fetch(net, dest, only=names)


@pytest.mark.parametrize("sums", [True, False])
@pytest.mark.parametrize("indexes", [True, False])
def test_only_records_with_segments_of_other_names(
    net: PhysioNet, dest: Path, tmp_path: Path, sums: bool, indexes: bool
) -> None:
    """As in the matched subset of MIMIC-III: the master is called after the patient, its segments are not."""
    folder = "p00/p000020"
    files = {
        "RECORDS": b"p00/p000020/\np00/p000030/\n",
        f"{folder}/RECORDS": b"p000020-2183-04-28-17-47\np000020-2183-04-28-17-47n\np000020-2184-01-01-00-00\n",
        f"{folder}/p000020-2183-04-28-17-47.hea": b"p000020-2183-04-28-17-47/2 1 125 20\n3544749_0001 10\nodd 10\n",
        f"{folder}/p000020-2183-04-28-17-47n.hea": b"p000020-2183-04-28-17-47n 1 1 5\n3544749n.dat 16\n",
        f"{folder}/3544749n.dat": b"n" * 10,
        f"{folder}/3544749_0001.hea": b"3544749_0001 1 125 10\n3544749_0001.dat 80\n",
        f"{folder}/3544749_0001.dat": b"a" * 10,
        f"{folder}/odd.hea": b"odd 1 125 10\nother.dat 80\n",
        f"{folder}/other.dat": b"b" * 10,
        f"{folder}/p000020-2184-01-01-00-00.hea": b"p000020-2184-01-01-00-00/1 1 125 10\n3544750_0001 10\n",
        f"{folder}/3544750_0001.hea": b"3544750_0001 1 125 10\n3544750_0001.dat 80\n",
        f"{folder}/3544750_0001.dat": b"c" * 10,
        "p00/p000030/RECORDS": b"p000030-2100-01-01-00-00\n",
        "p00/p000030/p000030-2100-01-01-00-00.hea": b"p000030-2100-01-01-00-00/1 1 125 10\n~ 10\n",
    }
    net.publish("matched/1.0", files, sums=sums)
    net.indexes = indexes
    cohort = tmp_path / "cohort.csv"
    cohort.write_text("subject_id,record\n20,p000020-2183-04-28-17-47\n30,\n")
    done = fetch(net, dest, "matched/1.0", only=f"{cohort}:record")
    mine = ("p000020-2183-04-28-17-47.hea", "3544749_0001.hea", "3544749_0001.dat", "odd.hea", "other.dat")
    assert set(tree_bytes(dest)) == {f"{folder}/{name}" for name in mine}
    assert not done.failed
    planned = scaledproc.plan(dest, only=f"{cohort}:record")
    assert planned.n_tasks == 3
    subjects = dest.with_name("subjects")
    done = fetch(net, subjects, "matched/1.0", only=f"{cohort}:subject_id")
    assert set(tree_bytes(subjects)) == set(files) - {"RECORDS"}
    copied = scaledproc.fetch(subjects, dest.with_name("copy"), only=f"{cohort}:record")
    assert copied.files == len(mine)


@pytest.mark.parametrize("sums", [True, False])
@pytest.mark.parametrize("indexes", [True, False])
@pytest.mark.parametrize("options", [{}, {"limit": 1}, {"only": True}])
def test_numerics_of_mimic_iv(
    net: PhysioNet, dest: Path, tmp_path: Path, sums: bool, indexes: bool, options: dict[str, Any]
) -> None:
    """They are called after their record, and no header names them."""
    folder = "waves/p100/p10014354/81739927"
    files = {
        "RECORDS": f"{folder}/81739927\n".encode(),
        f"{folder}/81739927.hea": b"81739927/1 1 62.4725/999.56 10\n81739927_0000 10\n",
        f"{folder}/81739927_0000.hea": b"81739927_0000 1 62.4725/999.56 10\n81739927_0000e.dat 516\n",
        f"{folder}/81739927_0000e.dat": b"e",
        f"{folder}/81739927n.csv.gz": b"n",
    }
    net.publish("iv/0.1", files, sums=sums)
    net.indexes = indexes
    if "only" in options:
        (tmp_path / "names.txt").write_text(f"{folder}/81739927\n")
        options = {"only": tmp_path / "names.txt"}
    done = fetch(net, dest, "iv/0.1", **options)
    assert set(files) - {"RECORDS"} <= set(tree_bytes(dest))
    assert not done.failed


@pytest.mark.parametrize("sums", [True, False])
@pytest.mark.parametrize("indexes", [True, False])
def test_records_that_are_nowhere(net: PhysioNet, dest: Path, sums: bool, indexes: bool) -> None:
    files = {"RECORDS": b"a/r1\na/r2\n", "a/r1.hea": b"r1 1 1 1\nr1.dat 16\n", "a/r1.dat": b"12"}
    net.publish("lacks/1", files, sums=sums)
    net.indexes = indexes
    done = fetch(net, dest, "lacks/1")
    assert [failure.path for failure in done.failed] == ["a/r2.hea"]


@pytest.mark.parametrize(("indexes", "options"), [(True, {}), (True, {"limit": 1}), (False, {"limit": 1})])
def test_a_file_that_the_sums_lack(net: PhysioNet, dest: Path, indexes: bool, options: dict[str, Any]) -> None:
    """Also in a folder of few files."""
    files = {"RECORDS": b"a/r1\n", "a/r1.hea": b"r1 1 1 1\nr1.dat 16\n"}
    net.publish("partly/1", files)
    net.files["partly/1/a/r1.dat"] = b"12"
    net.indexes = indexes
    done = fetch(net, dest, "partly/1", **options)
    assert "a/r1.dat" in tree_bytes(dest)
    assert any("has no line for 1 file" in note for note in done.notes)


def test_a_record_whose_index_page_shows_nothing(
    net: PhysioNet, dest: Path, demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page whose links lead elsewhere shows no file: what RECORDS names is then missing, and told to be."""
    lines = net.files[f"{NAME}/SHA256SUMS.txt"].splitlines(keepends=True)
    net.files[f"{NAME}/SHA256SUMS.txt"] = b"".join(line for line in lines if b" 30/3000003/" not in line)
    page = "<h1>Index of</h1><a href='https://elsewhere/x'>x</a>"
    index = net.index
    monkeypatch.setattr(net, "index", lambda folder: page if "3000003" in folder else index(folder))
    for options in ({}, {"groups": "30"}):
        done = fetch(net, dest, **options)
        assert [failure.path for failure in done.failed] == ["30/3000003/RECORDS"]


@pytest.mark.parametrize("content", [b"../a/\n..\n", b"\n \n", b""])
def test_a_list_of_records_without_one_is_none(net: PhysioNet, dest: Path, demo: Path, content: bytes) -> None:
    del net.files[f"{NAME}/SHA256SUMS.txt"]
    net.files[f"{NAME}/RECORDS"] = content
    done = fetch(net, dest, groups="30")
    assert of(demo, "30/") == {path: found for path, found in tree_bytes(dest).items() if path != "RECORDS"}
    assert any(f"RECORDS of {net.base_url}/{NAME} is no list of records" in note for note in done.notes)
    net.indexes = False
    with pytest.raises(ScaledprocError, match="there is no database at"):
        fetch(net, dest, groups="30")


@pytest.mark.parametrize(
    ("option", "wanted"),
    [
        ("", "waves/"),
        ("groups=waves", "waves/"),
        ("p1\np2\n", "waves/"),
        ("p11\nwaves/p2/p21\n", ("waves/p1/p11", "waves/p2")),
    ],
)
def test_folders_deep_down_that_the_sums_lack(
    net: PhysioNet, dest: Path, tmp_path: Path, option: str, wanted: str | tuple[str, ...]
) -> None:
    """At any depth, and in a folder that has files of its own and no other folder in the sums."""
    there = ["p1/p11/1/1.hea", "p1/p12/2/2.hea", "p2/p21/RECORDS"]
    lacking = ["p1/p11/3/3.hea", "p1/p13/4/4.hea", "p2/p21/5/5.hea", "p2/p21/5/more/5.dat"]
    net.publish("deep/1", {f"waves/{path}": b"r 0\n" for path in there})
    net.files |= {f"deep/1/waves/{path}": b"r 0\n" for path in lacking}
    (tmp_path / "only.txt").write_text(option)
    options: dict[str, Any] = {"only": tmp_path / "only.txt"} if option[:1] == "p" else {}
    if option[:1] == "g":
        options["groups"] = "waves"
    done = fetch(net, dest, "deep/1", **options)
    expected = {f"waves/{path}" for path in there + lacking if f"waves/{path}".startswith(wanted)}
    assert {path for path in tree_bytes(dest) if "/" in path} == expected
    told = "\n".join(done.notes)
    folders = "2 folders" if isinstance(wanted, str) else "1 folder"
    assert f"has no file of {folders} on the index pages (waves/p1/p11/3/): not checked" in told
    assert "has no line for 2 files on the index pages (waves/p2/p21/5/5.hea): not checked" in told
    assert not any(count > 1 for path, count in net.asked().items() if path.endswith("/"))
    again = fetch(net, dest, "deep/1", **options)
    assert (again.files, again.failed) == (0, ())


def pages_asked(net: PhysioNet) -> list[str]:
    return sorted(path for path in net.asked() if path.endswith("/"))


@pytest.mark.parametrize(
    ("globs", "expected", "asked"),
    [
        ({"include": ["list.csv"]}, {"list.csv"}, ["", "a3/", "a3/p5/", "a3/p5/s5/"]),
        ({"include": ["a1/**"]}, {"a1/p1/s1/1.hea", "a1/p1/s2/2.hea"}, ["", "a1/", "a1/p1/", "a1/p1/s1/", "a1/p1/s2/"]),
        ({"include": ["a3/**"]}, {"a3/p5/s5/5.hea"}, None),
        ({"include": ["*.hea"], "exclude": ["a2/"]}, None, None),
    ],
)
def test_index_pages_of_folders_that_no_glob_can_match_in_are_not_asked_for(
    net: PhysioNet, dest: Path, globs: dict[str, list[str]], expected: set[str] | None, asked: list[str] | None
) -> None:
    there = ["list.csv", "a1/p1/s1/1.hea", "a2/p2/s3/3.hea", "a2/p3/s4/4.hea"]
    net.publish("ecg/1", dict.fromkeys(there, b"r 0\n"))
    net.files |= dict.fromkeys(["ecg/1/a1/p1/s2/2.hea", "ecg/1/a2/p2/s6/6.hea", "ecg/1/a3/p5/s5/5.hea"], b"r 0\n")
    fetch(net, dest, "ecg/1", **globs)
    assert set(tree_bytes(dest)) == (expected or {"a1/p1/s1/1.hea", "a1/p1/s2/2.hea", "a3/p5/s5/5.hea"})
    assert not any(path.startswith("ecg/1/a2/") for path in pages_asked(net))
    if asked is not None:
        assert pages_asked(net) == [f"ecg/1/{path}" for path in asked]


def test_index_pages_above_the_files_are_asked_for_up_to_a_number(
    net: PhysioNet, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_folders, "MOST_PAGES", 5)
    net.publish("ecg/1", {f"g/a{n}/p{m}/s/1.hea": b"r 0\n" for n in range(3) for m in range(4)})
    net.files |= {"ecg/1/g/a1/new/s/2.hea": b"r 0\n", "ecg/1/g/a1/p1/t/3.hea": b"r 0\n"}
    done = fetch(net, dest, "ecg/1")
    assert "g/a1/new/s/2.hea" in tree_bytes(dest)
    assert "g/a1/p1/t/3.hea" not in tree_bytes(dest)
    assert pages_asked(net)[:2] == ["ecg/1/", "ecg/1/g/"]
    assert not any(path.count("/") == 5 and "/p" in path for path in pages_asked(net))
    (note,) = [note for note in done.notes if "not compared" in note]
    assert note.startswith(
        "the index pages of 12 folders (the first is g/a0/p0/) and of those in them were not compared"
    )


@pytest.mark.parametrize("error", [UnreachableError("the server answers 500, 6 times"), WebError("it answers 400")])
def test_an_index_page_above_the_files_that_fails_ends_no_fetch(
    net: PhysioNet, dest: Path, monkeypatch: pytest.MonkeyPatch, error: WebError
) -> None:
    files = {f"a{n:02}/p/s/1.hea": b"r 0\n" for n in range(40)}
    net.publish("ecg/1", files)
    failed = []
    text = Client.text

    def text_or_error(client: Client, url: str) -> str:
        if url.endswith("/p/"):
            failed.append(url)
            raise error
        return text(client, url)

    monkeypatch.setattr(Client, "text", text_or_error)
    done = fetch(net, dest, "ecg/1")
    assert set(files) <= set(tree_bytes(dest))
    assert not done.failed
    (note,) = [note for note in done.notes if "not compared" in note]
    assert note.startswith("the index pages of 40 folders (the first is a")
    assert f"/p/: {error}) and of those in them were not compared with SHA256SUMS.txt" in note
    assert len(failed) < 40  # it is not asked on and on


def test_a_list_that_names_its_own_folder(net: PhysioNet, dest: Path) -> None:
    files = {"RECORDS": b"a/\n", "a/RECORDS": b"./\n/\nr1\n", "a/r1.hea": b"r1 1 1 1\nr1.dat 16\n", "a/r1.dat": b"12"}
    net.publish("itself/1", files, sums=False)
    net.indexes = False
    done = fetch(net, dest, "itself/1")
    assert (set(tree_bytes(dest)), done.failed) == (set(files), ())
    assert any("2 lines of RECORDS cannot be used" in note for note in done.notes)


def test_pasted_url(net: PhysioNet, dest: Path, demo: Path) -> None:
    fetch(net, dest, "https://physionet.org/content/mimic3wdb/1.0/", groups="32", records=1)
    assert tree_bytes(dest) == of(demo, "32/3200058/")


def test_hostile_lists(net: PhysioNet, dest: Path, tmp_path: Path) -> None:
    """No name from a server leads out of DEST or reaches the terminal."""
    net.publish("bad/1", {"RECORDS": b"../../x/\nok/\n", "ok/a.txt": b"fine", "../../evil.txt": b"!", "\x1b[2J": b"!"})
    net.files["bad/1/SHA256SUMS.txt"] += b"what is this\n" + b"0" * 64 + b"  /etc/passwd\n"
    events: list[Event] = []
    done = fetch(net, dest, "bad/1", on_event=events.append)
    assert set(tree_bytes(tmp_path / "dest")) == {"RECORDS", "ok/a.txt", "SHA256SUMS.txt"}
    assert not (tmp_path / "evil.txt").exists()
    assert any(isinstance(event, Note) and "4 lines of SHA256SUMS.txt" in event.text for event in events)
    assert not done.failed


def test_no_such_database(net: PhysioNet, dest: Path) -> None:
    with pytest.raises(ScaledprocError, match=r"there is no database at .*/nothing/1.0 .*and no folder nothing/1.0"):
        fetch(net, dest, "nothing/1.0")
    with pytest.raises(ScaledprocError, match="'nothing' is no folder here, and no version"):
        fetch(net, dest, "nothing")
    assert not dest.exists()
