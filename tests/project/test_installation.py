"""Tests in a checkout that is not installed say so at once, instead of failing one by one."""

from __future__ import annotations

import pytest
from installation import check_installation, why_not_usable


def test_this_one_is_installed() -> None:
    assert not check_installation()


@pytest.mark.parametrize(
    ("backends", "has_entry_points", "said"),
    [
        ("/a/backends/__init__.py", True, ""),
        ("/a/scaledproc/backends/__init__.py", True, ""),
        (None, False, "/a/scaledproc is not installed"),
        ("/a/backends/__init__.py", False, "/a/scaledproc is not installed"),
        (
            "/b/backends/__init__.py",
            True,
            "/a/scaledproc is tested, and its backends would be those of another",
        ),
    ],
)
def test_what_is_not_usable(backends: str | None, has_entry_points: bool, said: str) -> None:
    found = why_not_usable("/a/scaledproc/__init__.py", backends, has_entry_points=has_entry_points)
    assert found.startswith(said)
    assert bool(found) == bool(said)
    assert not said or "pip install -e . --no-deps" in found
