"""Where a container finds the files that the service copied for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from scaledproc.backends.sagemaker.container.inputs import MissingInputError, input_root

URI = "s3://bucket/some/prefix"
NAMES = ["a/1.txt", "a/2.txt", "b/3.txt"]


def put(folder: Path, names: Sequence[str]) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name.rpartition("/")[2])
    return folder


@pytest.mark.parametrize("layout", ["{0}", "some/prefix/{0}", "{1}"])
def test_each_place_is_found(tmp_path: Path, layout: str) -> None:
    put(tmp_path, [layout.format(name, name.rpartition("/")[2]) for name in NAMES])
    root = input_root(tmp_path, URI, NAMES)
    assert [(root / name).read_text() for name in NAMES] == ["1.txt", "2.txt", "3.txt"]


def test_some_files_that_are_gone_do_not_hide_the_others(tmp_path: Path) -> None:
    put(tmp_path, ["some/prefix/b/3.txt"])
    assert input_root(tmp_path, URI, NAMES) == tmp_path / "some/prefix"


def test_a_file_of_the_root_is_in_its_place_in_two_layouts(tmp_path: Path) -> None:
    """With all files in one folder, one that has no folder says nothing."""
    put(tmp_path, ["0.txt", "1.txt", "2.txt"])
    root = input_root(tmp_path, URI, ["0.txt", "a/1.txt", "a/2.txt"])
    assert [(root / name).read_text() for name in ("0.txt", "a/1.txt", "a/2.txt")] == ["0.txt", "1.txt", "2.txt"]


def test_files_of_one_name_are_refused_in_one_folder(tmp_path: Path) -> None:
    put(tmp_path, ["1.txt", "2.txt"])
    with pytest.raises(MissingInputError, match=r"a/1\.txt and b/1\.txt have one place"):
        input_root(tmp_path, URI, ["a/1.txt", "a/2.txt", "b/1.txt"])


def test_what_is_there_is_told_where_nothing_is(tmp_path: Path) -> None:
    put(tmp_path, ["other/1.txt"])
    with pytest.raises(MissingInputError) as caught:
        input_root(tmp_path, URI, NAMES, is_share=True)
    text = str(caught.value)
    for place in ("a/1.txt", "some/prefix/a/1.txt", "1.txt"):
        assert f"{tmp_path}/{place}" in text
    assert "there are other/1.txt" in text


def test_a_machine_may_get_none_of_the_files_that_are_shared_out(tmp_path: Path) -> None:
    assert input_root(tmp_path, URI, NAMES, is_share=True) == tmp_path
    with pytest.raises(MissingInputError, match="there is nothing"):
        input_root(tmp_path, URI, NAMES)
