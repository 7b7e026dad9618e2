"""What an open database of PhysioNet (or of a mirror) has: its lists, its files, their sizes and checksums."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import TypeVar
from urllib.parse import quote

from scaledproc._util.redaction import redacted
from scaledproc._util.text import bytes_text, count_text
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.fetching.http import (
    GIVE_UP,
    Client,
    ForbiddenError,
    LoginError,
    MissingError,
    UnreachableError,
    WebError,
)
from scaledproc.fetching.receipts import Lists
from scaledproc.fetching.selection.database_folders import compare_folders, folders_in, looks_in, outermost
from scaledproc.fetching.selection.database_lists import (
    Page,
    is_file,
    is_list,
    is_usable,
    read_index,
    read_lines,
    read_sum,
)
from scaledproc.fetching.selection.headers import names_in
from scaledproc.fetching.selection.only import Selected, choose_files, matching
from scaledproc.fetching.selection.subset import (
    NUMERICS,
    Choice,
    Item,
    Record,
    above,
    folder_of,
    group_of,
    pick,
    stems,
    unit_folders,
)
from scaledproc.fetching.threads import each
from scaledproc.fetching.versions import newest_version
from scaledproc.planning.inventory import leaves_out
from scaledproc.storage.store import scratch_folder

SUMS = "SHA256SUMS.txt"
DEPTH = 8  # folders in folders; a server could go on for ever
MANY = 200_000  # files; the list of more is not kept in the cache
LONG = 10_000_000  # bytes of a list that takes so long to read that a person wants to know of it

Note = Callable[[str], None]
Thing = TypeVar("Thing")
Result = TypeVar("Result")

_NAME = re.compile(r"(?P<name>\w[\w.-]*)(?:/(?P<version>\w[\w.-]*))?/?", re.ASCII)


class Database:
    """One version of a database.

    Parameters
    ----------
    client
        What asks the server.
    name, version
        As in `mimic3wdb` and `1.0`.
    base_url
        The URL under which the databases lie.
    note
        Called with what a person should know.
    """

    def __init__(self, client: Client, name: str, version: str, base_url: str, note: Note) -> None:
        self.name = name
        self.version = version
        self.client = client
        self.url = f"{base_url.rstrip('/')}/{name}/{version}"
        self._tell = note
        self._told: set[str] = set()
        self._pages: dict[str, Page | None] = {}
        self._top_records: tuple[str | None] | None = None
        self._folders: frozenset[str] | None = None  # that the list of checksums has, where there is one
        self._wants: Callable[[str], bool] = lambda _: False
        self._takes: Callable[[str], bool] = lambda _: False  # whether all below a folder is wanted
        self._choice = Choice()
        self._items: list[Item] = []
        self._annotators: list[str] | None = None

    def __str__(self) -> str:
        return redacted(self.url)

    @property
    def stop(self) -> Event:
        """Set to end what is under way."""
        return self.client.stop

    @classmethod
    def find(cls, client: Client, source: str, base_url: str, note: Note) -> Database:
        """The database that `name` or `name/version` means; the newest version where none is given.

        Raises
        ------
        ScaledprocError
            If `source` is no name of a database, no version of it is listed, or the server cannot be reached. Whether a
            version that is given is there, `items` finds out.
        """
        found = _NAME.fullmatch(source)
        if found is None:
            raise UsageError(f"{source!r} is no PhysioNet database; give its name and version, such as mimic3wdb/1.0")
        version = found["version"] or newest_version(client, found["name"], base_url.rstrip("/"))
        return cls(client, found["name"], version, base_url, note)

    def items(self, choice: Choice) -> list[Item]:
        """The files that are wanted, sorted; their sizes where they are known already.

        From SHA256SUMS.txt, where there is one: it names all files. Otherwise from the folders' index pages, and where
        the server has none, from the RECORDS files and the headers that they name.

        Raises
        ------
        ScaledprocError
            If there is no such database, it needs credentials, or the server cannot be reached.
        UsageError
            If the database has no folder of a group that was asked for.
        """
        try:
            try:
                size, changed = self.client.about(self._url(SUMS))
            except MissingError:
                self._note(f"{self} has no {SUMS}: the files cannot be checked against it")
                return sorted(self._from_lists(choice))
            with scratch_folder() as folder:
                self._choice = choice
                self._items = sorted(self._from_sums(folder / SUMS, size, changed, choice))
                return self._items
        except (LoginError, ForbiddenError) as error:
            raise ScaledprocError(self.credentials_text(error)) from None
        except WebError as error:
            raise ScaledprocError(f"{self} cannot be read: {error}") from None

    def fill_sizes(self, items: list[Item]) -> tuple[list[Item], dict[str, str]]:
        """Ask for the sizes that are not known; also which files cannot be had, and why.

        Where index pages tell the sizes, files that stand there beside the wanted ones and that no list of checksums
        has are wanted too.
        """
        by_folder = Counter(folder_of(item.path) for item in items if item.size is None)
        folders = [folder for folder, _ in by_folder.most_common()]
        # One request instead of many, where the server has such pages; and they show what no list has.
        if folders and self._page(folders[0]) is not None:
            self._run(self._page, folders[1:])
            items = [*items, *self._unchecked(folders)]
        sized = [item if item.size is not None else item._replace(size=self._listed_size(item.path)) for item in items]
        asked = {item.path: item for item in sized if item.size is None}
        problems: dict[str, str] = {}
        silent = 0
        with closing(each(self._ask_size, list(asked), threads=self.client.parallel, stop=self.stop)) as answers:
            for answer in answers:
                if answer is None:
                    continue
                path, size, error = answer
                if isinstance(error, (MissingError, ForbiddenError)):
                    problems[path] = str(error)
                asked[path] = asked[path]._replace(size=size)
                silent = silent + 1 if isinstance(error, UnreachableError) else 0
                if silent >= GIVE_UP:
                    raise ScaledprocError(f"{self} does not answer ({error}); try again later")
        return [asked.get(item.path, item) for item in sized if item.path not in problems], problems

    def fetch(self, item: Item, part: Path, tell: Callable[[int], None]) -> None:
        """Download a file.

        Raises
        ------
        WebError
            If the server refuses the file, has none, or does not answer.
        """
        self.client.download(self._url(item.path), part, tell)

    def credentials_text(self, error: WebError) -> str:
        """What to do about a server that asks for a login."""
        page = f"https://physionet.org/content/{self.name}/{self.version}/"
        if self.client.has_login:
            return (
                f"{self} needs credentials, and those given do not open it ({error}): is the data use agreement signed "
                f"at {page}, and are PHYSIONET_USERNAME and PHYSIONET_PASSWORD right? PhysioNet takes passwords only "
                "from programs that it knows; where it knows wget alone, download with that, and then give the folder "
                "as SOURCE"
            )
        return (
            f"{self} needs credentials ({error}): sign the data use agreement at {page}, then give your PhysioNet "
            "username and password as --username and in the environment, PHYSIONET_USERNAME and PHYSIONET_PASSWORD"
        )

    # The files, from the list of checksums

    def _from_sums(self, sums: Path, size: int | None, changed: str | None, choice: Choice) -> list[Item]:
        known = Lists(self.url, size, changed, choice, self._text_of_records())
        found = known.read() if changed else None
        if found is None:
            if size is None or size > LONG:
                self._note(f"reading {SUMS}" + (f", {bytes_text(size)}" if size else ""))
            self.client.download(self._url(SUMS), sums)
            if next(self._sums(sums), None) is None:
                self._note(f"{SUMS} of {self} is no list of checksums: the files cannot be checked against it")
                return self._from_lists(choice)
            self._folders = folders_in(item.path for item in self._sums(sums))
            found = self._chosen_from_sums(sums, choice)
            if changed and len(found[0]) <= MANY:
                known.write(*found)
        items, owners = found
        if choice.only is not None:
            selected = Selected(choice.only)
            self._wants = selected.wants
            if not choice.counts:
                self._takes = lambda folder: (
                    choice.has_group(folder.partition("/")[0]) and selected.wants_folder(folder)
                )
        elif choice.counts:
            wanted = frozenset(owners)
            self._wants = lambda path: not wanted.isdisjoint(_owners(path))
        else:
            self._wants = lambda path: choice.has_group(group_of(path))
            self._takes = lambda folder: choice.has_group(folder.partition("/")[0])
        return [*items, *self._lacking_folders(items, choice)]

    def _chosen_from_sums(self, sums: Path, choice: Choice) -> tuple[list[Item], list[str]]:
        """The wanted files, and the records that they are of, where these were counted."""
        listed = [record for record in self._records("") or () if choice.has_group(record.group)]
        if choice.groups is not None:
            choice.check_groups({group_of(item.path) for item in self._sums(sums)} | {r.group for r in listed})
        items = (item for item in self._sums(sums) if choice.has_group(group_of(item.path)))
        if choice.only is not None:
            found = list(items)
            selected = Selected(choice.only)
            selected.follow((item.path for item in found), self._read_headers, into_segments=True)
            found = [item for item in found if selected.wants(item.path)]
            records = [record for record in listed if _is_selected(record, selected)]
            if choice.counts:
                records = pick(records or unit_folders(item.path for item in found), choice)
                counted = {record.path for record in records}
                found = [item for item in found if not counted.isdisjoint(_owners(item.path))]
            found += self._lacking(found, records)
            return [*found, *self._named_beside(found, selected.named)], []
        if choice.counts:
            records = (
                pick(listed, choice, self._within) if listed else pick(unit_folders(i.path for i in items), choice)
            )
            wanted = {record.path for record in records}
            named = set(self._run_flat(self._named_files, [record for record in records if record.stem]))
            found = [i for i in self._sums(sums) if i.path in named or not wanted.isdisjoint(_owners(i.path))]
            found += self._lacking(found, records)
            return [*found, *self._named_beside(found, named)], sorted(wanted)
        found = list(items)
        return [*found, *self._lacking(found, listed), *([Item(SUMS)] if choice.is_all else [])], []

    def _lacking(self, found: list[Item], records: list[Record]) -> list[Item]:
        """The files of records of which the sums have none; they cannot be checked."""
        lacking = {record.path: record for record in records}
        for item in found:
            for owner in _owners(item.path):
                lacking.pop(owner, None)
        if not lacking:
            return []
        self._note(
            f"{SUMS} has no file of {count_text(len(lacking), 'record')} in RECORDS ({min(lacking)}): not checked"
        )
        there = {item.path for item in found}
        paths = dict.fromkeys(self._run_flat(self._files_of, lacking.values()))
        return [Item(path, self._listed_size(path)) for path in paths if path not in there]

    def _named_beside(self, found: list[Item], named: Iterable[str]) -> list[Item]:
        """The files that headers of wanted records name, which are there and of which the sums have no line."""
        known = {item.path for item in found}
        asked = self._run(lambda path: (path, self._exists(path)), [path for path in named if path not in known])
        more = sorted(path for path, is_there in asked if is_there)
        if more:
            self._note(f"{SUMS} has no line for {count_text(len(more), 'file')} of headers ({more[0]}): not checked")
        return [Item(path) for path in more]

    def _lacking_folders(self, found: list[Item], choice: Choice) -> list[Item]:
        """The files of folders that index pages show and the sums do not have; they cannot be checked."""
        if choice.counts:
            return []
        known = folders_in(item.path for item in found)
        may_show = looks_in(found, choice)
        start = [""] if choice.only is None else outermost(known, self._takes, may_show)
        compared = compare_folders(start, known, self._page, self._run, self._takes, may_show)
        if compared.unread:
            self._note(f"{compared.unread_text} were not compared with {SUMS}: folders that it lacks may be left out")
        lacking = [folder for folder in compared.lacking if not leaves_out(folder, choice.include, choice.exclude)]
        if not lacking:
            return []
        self._note(
            f"{SUMS} has no file of {count_text(len(lacking), 'folder')} on the index pages ({min(lacking)}/): "
            "not checked"
        )
        return [Item(path, self._listed_size(path)) for path in self._run_flat(self._crawl, lacking)]

    def _unchecked(self, folders: Iterable[str]) -> list[Item]:
        """The files on these folders' index pages that are wanted by where they are, and that no list has."""
        pages = {folder: page for folder in folders if (page := self._page(folder)) is not None}
        paths = [_join(folder, name) for folder, page in pages.items() for name in page.files]
        below = [_join(folder, name) for folder, page in pages.items() for name in page.folders]
        globs = self._choice.include, self._choice.exclude
        if below := [folder for folder in below if self._takes(folder) and not leaves_out(folder, *globs)]:
            there = folders_in(item.path for item in self._items)
            paths += self._run_flat(self._crawl, [folder for folder in below if folder not in there])
        known = {item.path for item in self._items if folder_of(item.path) in pages}
        more = [Item(path) for path in paths if path not in known and self._wants(path)]
        more = matching(more, self._choice)
        if more:
            self._note(
                f"{SUMS} has no line for {count_text(len(more), 'file')} on the index pages ({more[0].path}): "
                "not checked"
            )
        return more

    def _sums(self, sums: Path) -> Iterator[Item]:
        """The list of checksums, line by line: it can have millions."""
        strange = 0
        with sums.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                found = read_sum(line)
                if found is not None:
                    yield Item(found[0], sha256=found[1])
                else:
                    strange += bool(line.strip())
        self._note_lines(strange, SUMS)

    # The files, from the lists of records

    def _from_lists(self, choice: Choice) -> list[Item]:
        listed = self._records("")
        if listed is None:
            paths = self._crawl("")
            if not paths:
                raise ScaledprocError(
                    f"there is no database at {self} (neither {SUMS} nor RECORDS nor an index page), and no folder "
                    f"{self.name}/{self.version} here; is it spelled right?"
                )
            choice.check_groups({group_of(path) for path in paths})
            chosen = choose_files(paths, choice, self._read_headers)
            return [Item(path, self._listed_size(path)) for path in chosen]
        choice.check_groups({record.group for record in listed})
        if choice.only is not None:
            selected = Selected(choice.only)
            inside = (r for record in listed if choice.has_group(record.group) for r in self._search(record, selected))
            records = pick(inside, choice)
        else:
            records = pick(listed, choice, self._within) if choice.counts else pick(listed, choice)
        found = set(self._run_flat(self._files_of, records))
        if choice.is_all:
            page = self._page("")
            found.update(page.files if page else ["RECORDS"])
        return [Item(path, self._listed_size(path)) for path in found]

    def _search(self, record: Record, selected: Selected, depth: int = DEPTH) -> Iterator[Record]:
        """The records in a listed one that a selection wants; lists are read as long as a name is not found."""
        if _is_selected(record, selected):
            yield record
        elif not record.stem and depth and selected.missing:
            for inside in self._records(record.folder) or ():
                yield from self._search(inside, selected, depth - 1)

    def _files_of(self, record: Record) -> list[str]:
        """The paths of a record's files."""
        page = self._page(record.folder)
        if not record.stem:
            return (self._crawl(record.folder) if page else []) or self._listed_files(record.folder)
        if page:
            beside = [_join(record.folder, name) for name in page.files]
            named = set(self._named_files(record))
            found = [path for path in beside if path in named or record.path in stems(path)]
            return found or [f"{record.path}.hea"]  # which is then told to be missing
        further = [f"{record.path}{NUMERICS}", *(f"{record.path}.{suffix}" for suffix in self._annotator_names())]
        return [*self._named_files(record), *(path for path in further if self._exists(path))]

    def _listed_files(self, folder: str) -> list[str]:
        """The files of a folder by its RECORDS and the headers, where the server shows no index."""
        found = [f"{folder}/RECORDS"]
        for record in (self._records(folder) or ()) if folder.count("/") <= DEPTH else ():
            found += self._files_of(record) if record.stem else self._listed_files(record.folder)
        return found

    def _named_files(self, record: Record) -> list[str]:
        """The files that a record's header names, its segments' too."""
        found: list[str] = []
        pending, seen = [record.stem], {record.stem, "~"}
        while pending:
            header = f"{pending.pop()}.hea"
            found.append(_join(record.folder, header))
            try:
                segments, files = names_in(self.client.text(self._url(found[-1])))
            except MissingError:
                continue  # told when its size is asked for
            found += [_join(record.folder, name) for name in files if is_usable(name)]
            pending += [name for name in segments if name not in seen and is_file(name)]
            seen.update(segments)
        return found

    def _read_headers(self, headers: Sequence[str]) -> list[tuple[list[str], list[str]]]:
        """The segments and the files that headers name; none for those that are not there."""
        found = dict(self._run(lambda header: (header, names_in(self._text(header) or "")), headers))
        return [found[header] for header in headers]

    def _annotator_names(self) -> list[str]:
        if self._annotators is None:
            text = self._text("ANNOTATORS") or ""
            lines = text.splitlines() if is_list(text) else []
            self._annotators = [words[0] for line in lines if (words := line.split()) and is_file(words[0])]
        return self._annotators

    # RECORDS

    def _within(self, record: Record, depth: int = DEPTH) -> Iterator[Record]:
        """A folder's records where its own RECORDS names folders again; itself where it does not."""
        inner = [] if record.stem or not depth else [r for r in self._records(record.folder) or () if not r.stem]
        for inside in inner:
            yield from self._within(inside, depth - 1)
        if not inner:
            yield record

    def _text_of_records(self) -> str | None:
        """The first RECORDS file, which is asked for once."""
        if self._top_records is None:
            self._top_records = (self._text("RECORDS"),)
        return self._top_records[0]

    def _records(self, folder: str) -> list[Record] | None:
        content = self._text(_join(folder, "RECORDS")) if folder else self._text_of_records()
        if content is None:
            return None
        lines = read_lines(content) if is_list(content) else []
        usable = [_join(folder, line) for line in lines if is_usable(line.rstrip("/"))]
        if not usable:
            self._note(f"{_join(folder, 'RECORDS')} of {self} is no list of records: it is passed over")
            return None
        self._note_lines(len(lines) - len(usable), "RECORDS")
        records = list(dict.fromkeys(map(_record, usable)))
        named = next((record for record in records if record.stem), None)
        if named is None:
            return records
        is_folder = self._folder_test(named)
        return [Record(record.path) if record.stem and is_folder(record) else record for record in records]

    def _folder_test(self, first: Record) -> Callable[[Record], bool]:
        """What tells of records that a list names without a slash at the end whether they are folders."""
        folders = self._folders
        if folders is not None:
            return lambda record: record.path in folders
        page = self._page(first.folder)
        if page is not None:
            return lambda record: (
                (found := self._page(record.folder)) is not None
                and record.stem in found.folders
                and f"{record.stem}.hea" not in found.files
            )
        are_folders = not self._exists(f"{first.path}.hea") and self._exists(f"{first.path}/RECORDS")
        return lambda _: are_folders

    # Index pages

    def _crawl(self, folder: str) -> list[str]:
        """All files below a folder, by index pages."""
        page = self._page(folder)
        if page is None or folder.count("/") > DEPTH:
            return []
        return [
            *(_join(folder, name) for name in page.files),
            *(path for name in page.folders for path in self._crawl(_join(folder, name))),
        ]

    def _page(self, folder: str) -> Page | None:
        if folder not in self._pages:
            try:
                content = self._text(f"{folder}/" if folder else "")
            except WebError:
                self._pages[folder] = None  # which is not asked for again
                raise
            url = self._url(f"{folder}/" if folder else "")
            self._pages[folder] = read_index(content, url) if content is not None else None
        return self._pages[folder]

    def _listed_size(self, path: str) -> int | None:
        page = self._pages.get(folder_of(path))
        return page.files.get(path.rpartition("/")[2]) if page else None

    # Requests

    def _url(self, path: str) -> str:
        return f"{self.url}/{quote(path)}"

    def _text(self, path: str) -> str | None:
        try:
            return self.client.text(self._url(path))
        except MissingError:
            return None
        except ForbiddenError:
            if path and not path.endswith("/"):
                raise
            return None  # a server that shows no index

    def _exists(self, path: str) -> bool:
        try:
            self.client.size(self._url(path))
        except MissingError:
            return False
        return True

    def _ask_size(self, path: str) -> tuple[str, int | None, WebError | None]:
        try:
            return path, self.client.size(self._url(path)), None
        except LoginError as error:
            raise ScaledprocError(self.credentials_text(error)) from None
        except WebError as error:  # where there was no answer, there may be one to GET
            return path, None, error

    def _run(self, work: Callable[[Thing], Result], things: Iterable[Thing]) -> list[Result]:
        with closing(each(work, things, threads=self.client.parallel, stop=self.client.stop)) as results:
            return [result for result in results if result is not None]

    def _run_flat(self, work: Callable[[Thing], list[str]], things: Iterable[Thing]) -> Iterator[str]:
        return (path for paths in self._run(work, things) for path in paths)

    def _note_lines(self, count: int, where: str) -> None:
        if count:
            self._note(
                f"{count_text(count, 'line')} of {where} cannot be used and {'is' if count == 1 else 'are'} left out"
            )

    def _note(self, text: str) -> None:
        """Tell something, once: the lists are read several times."""
        if text not in self._told:
            self._told.add(text)
            self._tell(text)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _record(path: str) -> Record:
    folder, _, stem = path.rpartition("/")
    return Record(folder, stem)


def _is_selected(record: Record, selected: Selected) -> bool:
    return selected.wants(f"{record.path}.hea") if record.stem else selected.wants_folder(record.folder)


def _owners(path: str) -> Iterator[str]:
    """All that a RECORDS file can list which the file belongs to: folders above it, and records beside it."""
    yield from stems(path)
    yield from (f"{folder}/" for folder in above(path))
    if "/" not in path:
        yield "/"
