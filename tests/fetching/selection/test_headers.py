"""What headers name."""

from __future__ import annotations

from scaledproc.fetching.selection.headers import names_in


def test_names_in_headers() -> None:
    assert names_in("m/3 2 125 50 # of three\nm_layout 0\nm_0001 20\n~ 30\n# m_9\n") == (["m_layout", "m_0001"], [])
    assert names_in("r 3 125\na.dat 80\na.dat 80\n~ 0\n") == ([], ["a.dat"])
    assert names_in("") == ([], [])
    assert names_in("<html>\n<a href=x>x</a>\n</html>") == ([], [])
