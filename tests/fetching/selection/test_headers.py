"""What headers name."""

from __future__ import annotations

from scaledproc.fetching.selection.headers import names_in


def test_names_in_headers() -> None:
    assert names_in("m/3 2 125 50 # of three\nm_layout 0\nm_0001 20\n~ 30\n# m_9\n") == (["m_layout", "m_0001"], [])
    assert names_in("r 3 125\na.dat 80\na.dat 80\n~ 0\n") == ([], ["a.dat"])
    assert names_in("") == ([], [])
    assert names_in("<html>\n<a href=x>x</a>\n</html>") == ([], [])


def test_lines_beyond_the_number_in_the_record_line_are_not_read() -> None:
    assert names_in("r 2 360 10\na.dat 16\n# of two\n\na.dat 16\nother.dat 16\n") == ([], ["a.dat"])
    assert names_in("r 2.0 360 10\r\na.dat 16\r\n~ 0\r\nother.dat 16\r\n") == ([], ["a.dat"])
    assert names_in("m/2 1 360 20\nm_1 10\n~ 5\nm_2 10\n") == (["m_1"], [])
    assert names_in("null 0 360 10\nother.dat 16\n") == ([], [])
    # Where the number cannot be read, any line may be one.
    assert names_in("r two 360\na.dat 16\nother.dat 16\n") == ([], ["a.dat", "other.dat"])
    assert names_in("m/ 1 360\nm_1 16\n") == (["m_1"], [])
    assert names_in("r\na.dat 16\n") == ([], ["a.dat"])


def test_comments_begin_lines_alone() -> None:
    assert names_in("# r.dat\nr 1 360 10\n  # x.dat\na#1.dat 16 200/# 16\n") == ([], ["a#1.dat"])
