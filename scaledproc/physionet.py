"""What an open database of PhysioNet (or of a mirror) has: its lists, its files, their sizes and checksums."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from html import unescape
from pathlib import Path
from threading import Event
from typing import NamedTuple, TypeVar
from urllib.parse import quote, unquote, urlsplit

from scaledproc.choosing import Choice, Item, Record, above, folder_of, group_of, is_plain, pick, unit_folders
from scaledproc.crew import each
from scaledproc.describe import bytes_text, count_text
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.listing import is_safe_name
from scaledproc.receipts import Lists
from scaledproc.storage import redacted, scratch_folder
from scaledproc.web import GIVE_UP, Client, ForbiddenError, LoginError, MissingError, UnreachableError, WebError

SUMS = "SHA256SUMS.txt"
DEPTH = 8  # folders in folders; a server could go on for ever
FEW = 3  # files of a folder whose sizes are asked for one by one rather than by reading the folder's index page
MANY = 200_000  # files; the list of more is not kept in the cache
LONG = 10_000_000  # bytes of a list that takes so long to read that a person wants to know of it

Note = Callable[[str], None]
Thing = TypeVar("Thing")
Result = TypeVar("Result")

_NAME = re.compile(r"(?P<name>\w[\w.-]*)(?:/(?P<version>\w[\w.-]*))?/?", re.ASCII)
_SUM = re.compile(r"(?P<sha256>[0-9a-fA-F]{64})[ \t]+\*?(?P<path>\S.*)")
_LINK = re.compile(r"""<a\s[^>]*?href=["']([^"'?#]+)["'][^>]*>.*?</a>([^<]*)""", re.IGNORECASE | re.DOTALL)
_INDEX = re.compile("index of|directory listing", re.IGNORECASE)


class _Page(NamedTuple):
    """A folder's index page."""

    files: dict[str, int | None]
    folders: list[str]


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
        self._pages: dict[str, _Page | None] = {}
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
            There is none, or the server cannot be reached.
        """
        found = _NAME.fullmatch(source)
        if found is None:
            raise UsageError(f"{source!r} is no PhysioNet database; give its name and version, such as mimic3wdb/1.0")
        version = found["version"] or _newest(client, found["name"], base_url.rstrip("/"))
        return cls(client, found["name"], version, base_url, note)

    def items(self, choice: Choice) -> list[Item]:
        """The files that are wanted, sorted; their sizes where they are known already.

        From SHA256SUMS.txt, where there is one: it names all files. Otherwise from the folders' index pages, and where
        the server has none, from the RECORDS files and the headers that they name.

        Raises
        ------
        ScaledprocError
            There is no such database, it needs credentials, or the server cannot be reached.
        UsageError
            A group is not there.
        """
        try:
            try:
                size, changed = self.client.about(self._url(SUMS))
            except MissingError:
                return sorted(self._from_lists(choice))
            known = Lists(self.url, size, changed, choice)
            items = known.read() if changed else None
            if items is None:
                items = sorted(self._from_sums(size, choice))
                if changed and len(items) <= MANY:
                    known.write(items)
        except (LoginError, ForbiddenError) as error:
            raise ScaledprocError(self.credentials_text(error)) from None
        except WebError as error:
            raise ScaledprocError(f"{self} cannot be read: {error}") from None
        return items

    def fill_sizes(self, items: list[Item]) -> tuple[list[Item], dict[str, str]]:
        """Ask for the sizes that are not known; also which files cannot be had, and why."""
        by_folder = Counter(folder_of(item.path) for item in items if item.size is None)
        many = [folder for folder, count in by_folder.items() if count > FEW]
        if many and self._page(many[0]) is not None:  # one request instead of many, where the server has such pages
            self._run(self._page, many[1:])
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
            It cannot be had.
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

    def _from_sums(self, size: int | None, choice: Choice) -> list[Item]:
        if size is None or size > LONG:
            self._note(f"reading {SUMS}" + (f", {bytes_text(size)}" if size else ""))
        with scratch_folder() as folder:
            sums = folder / SUMS
            self.client.download(self._url(SUMS), sums)
            if choice.is_all:
                return [*self._sums(sums), Item(SUMS)]
            choice.check_groups({group_of(item.path) for item in self._sums(sums)})
            if not choice.counts:
                return [item for item in self._sums(sums) if choice.has_group(group_of(item.path))]
            return self._records_from_sums(sums, choice)

    def _records_from_sums(self, sums: Path, choice: Choice) -> list[Item]:
        listed = self._records("")
        if listed is None:
            records = pick(unit_folders(item.path for item in self._sums(sums)), choice)
        else:
            records = pick(listed, choice, self._within)
        wanted = {record.path for record in records}
        named = set(self._run_flat(self._named_files, [record for record in records if record.stem]))
        found: list[Item] = []
        lacking = set(wanted)
        for item in self._sums(sums):
            of = wanted.intersection(_owners(item.path))
            if of or item.path in named:
                found.append(item)
                lacking -= of
        if lacking:
            self._note(
                f"{SUMS} has no file of {count_text(len(lacking), 'record')} in RECORDS ({min(lacking)}): not checked"
            )
            paths = self._run_flat(self._files_of, [record for record in records if record.path in lacking])
            found += [Item(path) for path in set(paths) - {item.path for item in found}]
        return found

    def _sums(self, sums: Path) -> Iterator[Item]:
        """The list of checksums, line by line: it can have millions."""
        strange = 0
        with sums.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                found = _SUM.fullmatch(line.rstrip("\r\n"))
                if found is None:
                    strange += bool(line.strip())
                    continue
                path = found["path"].removeprefix("./")
                if _is_usable(path):
                    yield Item(path, sha256=found["sha256"].lower())
                else:
                    strange += 1
        self._note_lines(strange, SUMS)

    # The files, from the lists of records

    def _from_lists(self, choice: Choice) -> list[Item]:
        self._note(f"{self} has no {SUMS}: the files cannot be checked against it")
        listed = self._records("")
        if listed is None:
            paths = self._crawl("")
            if not paths:
                raise ScaledprocError(
                    f"there is no database at {self} (neither {SUMS} nor RECORDS nor an index page), and no folder "
                    f"{self.name}/{self.version} here; is it spelled right?"
                )
            choice.check_groups({group_of(path) for path in paths})
            folders = {record.folder for record in pick(unit_folders(paths), choice)}
            return [
                Item(path, self._listed_size(path))
                for path in paths
                if (folder_of(path) in folders if choice.counts else choice.has_group(group_of(path)))
            ]
        choice.check_groups({record.group for record in listed})
        records = pick(listed, choice, self._within) if choice.counts else pick(listed, choice)
        found = set(self._run_flat(self._files_of, records))
        if choice.is_all:
            page = self._page("")
            found.update(page.files if page else ["RECORDS"])
        return [Item(path, self._listed_size(path)) for path in found]

    def _files_of(self, record: Record) -> list[str]:
        """The paths of a record's files."""
        page = self._page(record.folder)
        if not record.stem:
            return self._crawl(record.folder) if page else self._listed_files(record.folder)
        if page:
            beside = [_join(record.folder, name) for name in page.files]
            named = set(self._named_files(record))
            return [path for path in beside if path in named or record.path in _stems(path)]
        annotations = [f"{record.path}.{suffix}" for suffix in self._annotator_names()]
        return [*self._named_files(record), *(path for path in annotations if self._exists(path))]

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
            found += [_join(record.folder, name) for name in files if is_file(name)]
            pending += [name for name in segments if name not in seen and is_file(name)]
            seen.update(segments)
        return found

    def _annotator_names(self) -> list[str]:
        if self._annotators is None:
            lines = (self._text("ANNOTATORS") or "").splitlines()
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

    def _records(self, folder: str) -> list[Record] | None:
        content = self._text(_join(folder, "RECORDS"))
        if content is None:
            return None
        lines = [line.strip() for line in content.splitlines()]
        paths = [_join(folder, line) for line in lines if line]
        usable = [path for path in paths if _is_usable(path.rstrip("/"))]
        self._note_lines(len(paths) - len(usable), "RECORDS")
        return list(dict.fromkeys(_record(path) for path in usable))

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

    def _page(self, folder: str) -> _Page | None:
        if folder not in self._pages:
            content = self._text(f"{folder}/" if folder else "")
            self._pages[folder] = read_index(content) if content is not None else None
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


def names_in(header: str) -> tuple[list[str], list[str]]:
    """The segments and the signal files that a WFDB header names; leniently, as nothing is computed from them."""
    lines = [line.split("#")[0].split() for line in header.splitlines()]
    lines = [words for words in lines if words]
    if not lines:
        return [], []
    names = list(dict.fromkeys(words[0] for words in lines[1:] if words[0] != "~"))
    return (names, []) if "/" in lines[0][0] else ([], names)


def read_index(content: str) -> _Page | None:
    """The files (with their sizes in bytes, where they stand there) and folders of an index page; None for another."""
    if not _INDEX.search(content):
        return None
    files: dict[str, int | None] = {}
    folders: list[str] = []
    for link, rest in _LINK.findall(content):
        name = unquote(unescape(link)).removeprefix("./")
        if is_file(name):
            words = rest.split()
            files[name] = int(words[-1]) if len(words) > 1 and words[-1].isascii() and words[-1].isdigit() else None
        elif name.endswith("/") and is_file(name[:-1]):
            folders.append(name[:-1])
    return _Page(files, list(dict.fromkeys(folders)))


def is_file(name: str) -> bool:
    """Whether a name from a server can be a file's in one folder."""
    return "/" not in name and _is_usable(name)


def _is_usable(path: str) -> bool:
    return is_safe_name(path) and is_plain(path)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _record(path: str) -> Record:
    folder, _, stem = path.rpartition("/")
    return Record(folder, stem)


def _stems(path: str) -> Iterator[str]:
    """The records that a file can belong to, by its name: what stands before one of its dots."""
    start = path.rfind("/") + 1
    at = path.find(".", start)
    while at > 0:
        yield path[:at]
        at = path.find(".", at + 1)


def _owners(path: str) -> Iterator[str]:
    """All that a RECORDS file can list which the file belongs to: folders above it, and records beside it."""
    yield from _stems(path)
    yield from (f"{folder}/" for folder in above(path))
    if "/" not in path:
        yield "/"


def _newest(client: Client, name: str, base_url: str) -> str:
    """The newest version of a database, by PhysioNet's API, or by a mirror's index page."""
    listed: list[str] = []
    try:
        if urlsplit(base_url).path == "/files":
            api = f"{base_url.removesuffix('/files')}/api/v1/projects/{name}/versions/"
            try:
                listed = [str(entry["version"]) for entry in json.loads(client.text(api))]
            except (MissingError, ForbiddenError, ValueError, TypeError, KeyError):
                listed = []
        if not listed:
            page = read_index(client.text(f"{base_url}/{name}/"))
            listed = [folder for folder in page.folders if folder[0].isdigit()] if page else []
    except (MissingError, ForbiddenError):
        listed = []
    except WebError as error:
        raise ScaledprocError(f"{redacted(base_url)}/{name} cannot be read: {error}") from None
    usable = [version for version in listed if is_file(version)]
    if not usable:
        raise ScaledprocError(
            f"{name!r} is no folder here, and no version of such a database is listed at {redacted(base_url)}; "
            "give a folder, a URL, or a name and version such as mimic3wdb/1.0"
        )
    return max(usable, key=lambda version: [int(number) for number in re.findall(r"\d+", version)])
