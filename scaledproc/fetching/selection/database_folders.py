"""Which folders a database's index pages show and its list of checksums does not have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from scaledproc._util.text import count_text
from scaledproc.fetching.http import GIVE_UP, WebError
from scaledproc.fetching.selection.database_lists import Page
from scaledproc.fetching.selection.only import matching
from scaledproc.fetching.selection.subset import Choice, Item, above, folder_of
from scaledproc.planning.inventory import leaves_out

MOST_PAGES = 500
"""That are asked for to compare folders alone: some databases have a folder for each of 160,000 patients."""


class ComparedFolders(NamedTuple):
    """What a comparison of index pages with the checksums gave.

    Parameters
    ----------
    lacking
        Folders that a page shows and the checksums do not have.
    unread
        Folders whose pages were not read, as there were too many or they failed.
    error
        Of the first page that failed.
    """

    lacking: list[str]
    unread: list[str]
    error: str | None

    @property
    def unread_text(self) -> str:
        """Which pages were not read, for a person."""
        first = f"{min(self.unread) or '.'}/" + (f": {self.error}" if self.error else "")
        return (
            f"the index pages of {count_text(len(self.unread), 'folder')} (the first is {first}) and of those in them"
        )


def compare_folders(
    start: Sequence[str],
    known: frozenset[str],
    page: Callable[[str], Page | None],
    run: Callable[[Callable[[str], tuple[str, Page | None, bool]], Iterable[str]], list[tuple[str, Page | None, bool]]],
    takes: Callable[[str], bool],
    looks_in: Callable[[str], bool],
) -> ComparedFolders:
    """Compare the index pages of folders that have folders, level by level, up to `MOST_PAGES`.

    Parameters
    ----------
    start
        The folders to begin with.
    known
        All folders that the checksums have.
    page
        Asks for a folder's page; a `WebError` of it is told, not raised.
    run
        Does some work on each of several folders at once.
    takes
        Whether a folder is wanted.
    looks_in
        Whether a folder's page is of use.
    """
    parents = {folder_of(folder) for folder in known}
    found = ComparedFolders([], [], None)
    errors: list[str] = []

    def read(folder: str) -> tuple[str, Page | None, bool]:
        if len(errors) < GIVE_UP:
            try:
                return folder, page(folder), True
            except WebError as error:
                errors.append(str(error))
        return folder, None, False

    asked, level = 0, list(start)
    while level:
        asked += len(level)
        if asked > MOST_PAGES:
            found.unread.extend(level)
            break
        first = read(level[0])
        if first[1] is None and first[2]:
            break  # a server that shows no index
        inner: list[str] = []
        for folder, shown, is_read in [first, *run(read, level[1:])]:
            if shown is not None:
                inner += [f"{folder}/{name}".lstrip("/") for name in shown.folders]
            elif not is_read:
                found.unread.append(folder)
        wanted = sorted(folder for folder in inner if takes(folder))
        found.lacking.extend(folder for folder in wanted if folder not in known)
        level = [folder for folder in wanted if folder in parents and looks_in(folder)]
    return found._replace(error=errors[0] if errors else None)


def looks_in(found: list[Item], choice: Choice) -> Callable[[str], bool]:
    """What tells of a folder whether its index page may show a folder with files that the choice's globs want.

    A glob without a slash matches in any folder: it is then looked for where the checksums have a file that it matches.
    """
    paths = [glob for glob in choice.include if "/" in glob]
    if len(paths) == len(choice.include):
        return lambda folder: not leaves_out(folder, paths, choice.exclude)
    near = folders_in(item.path for item in matching(found, choice))
    return lambda folder: folder in near or (bool(paths) and not leaves_out(folder, paths, choice.exclude))


def outermost(known: Iterable[str], takes: Callable[[str], bool], looks_in: Callable[[str], bool]) -> list[str]:
    """Those of the folders that hold folders that are wanted whole, and lie in none that is."""
    parents = {folder_of(folder) for folder in known} - {""}
    return sorted(each for each in parents if takes(each) and not takes(folder_of(each)) and looks_in(each))


def folders_in(paths: Iterable[str]) -> frozenset[str]:
    """The folders that some paths lie in, and all above these."""
    return frozenset(parent for folder in {folder_of(path) for path in paths} for parent in (folder, *above(folder)))
