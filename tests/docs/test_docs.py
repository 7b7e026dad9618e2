"""Every command and every code block of README and documentation runs, and shows what the page says it shows."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from doc_blocks import Block, Runner, assert_shown, blocks_of, clean_path, needs_of
from moto_account import moto_account
from physionet_server import physionet_server
from processing_emulator import ProcessingEmulator
from support import Bucket, clean_environment, forget_s3, tree_bytes

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "ARCHITECTURE.md",
    *sorted(
        path for path in (ROOT / "docs").rglob("*.md") if "reference" not in path.parts and "_build" not in path.parts
    ),
]
BUCKET = "my-bucket"
# The emulated account's machines start at once, and are looked at often.
SAGEMAKER = """[sagemaker]
role = "arn:aws:iam::123456789012:role/scaledproc"
image-uri = "123456789012.dkr.ecr.us-east-1.amazonaws.com/scaledproc:test"
poll-seconds = 0.2
"""


QUICK = (
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "docs/concepts.md",
    "docs/index.md",
)


def marks_of(page: Path) -> list[pytest.MarkDecorator]:
    """Pages of a second or two are run by everybody; the others start servers, and many runs."""
    is_quick = "sh" not in {b.language for b in all_of(page)} and not needs_of(page.read_text(encoding="utf-8"))
    return [] if name_of(page) in QUICK or is_quick else [pytest.mark.slow]


def all_of(page: Path) -> list[Block]:
    """The blocks of a page."""
    return list(blocks_of(page.read_text(encoding="utf-8")))


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture
def runner(
    request: pytest.FixtureRequest, tmp_path: Path, demo: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Runner]:
    """What runs the blocks of the page that the test has, with the servers that the page says it needs."""
    page: Path = request.getfixturevalue("page")
    needs = needs_of(page.read_text(encoding="utf-8"))
    assert needs <= {"s3", "sagemaker", "physionet", "aws"}, needs
    folder = tmp_path / "ada"
    folder.mkdir()
    environment = {"PATH": clean_path(), "DEMO": str(demo), "EXAMPLES": str(ROOT / "examples"), "REPOSITORY": str(ROOT)}
    replaced: dict[str, str] = {}
    with ExitStack() as stack:
        if needs & {"s3", "sagemaker"}:
            bucket: Bucket = request.getfixturevalue("s3")
            environment |= bucket.server.environment()
            replaced["http://localhost:8333"] = bucket.server.endpoint
            fs = bucket.fs
            if fs.exists(BUCKET):
                fs.rm(BUCKET, recursive=True)
            fs.mkdir(BUCKET)
        if "sagemaker" in needs:
            emulator: ProcessingEmulator = request.getfixturevalue("emulator")
            environment |= emulator.environment()
            (folder / "scaledproc.toml").write_text(SAGEMAKER)
        if "aws" in needs:
            account = stack.enter_context(moto_account())
            environment |= {**account.environment(), "AWS_ENDPOINT_URL": account.endpoint}
            environment["AWS_DEFAULT_REGION"] = "us-east-1"
        if "physionet" in needs:
            server = stack.enter_context(physionet_server())
            server.publish("mimic3wdb/1.0", tree_bytes(demo))
            replaced["scaledproc fetch mimic3wdb/1.0"] = f"scaledproc fetch --base-url {server.base_url} mimic3wdb/1.0"
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HOME", str(folder))
        monkeypatch.chdir(folder)
        monkeypatch.syspath_prepend(folder)
        forget_s3()
        yield Runner(folder, clean_environment(environment), replaced)
    forget_s3()
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(f"{folder}/"):
            del sys.modules[name]


@pytest.mark.parametrize("page", [pytest.param(page, marks=marks_of(page), id=name_of(page)) for page in PAGES])
def test_blocks_of_a_page(page: Path, runner: Runner) -> None:
    for block in blocks_of(page.read_text(encoding="utf-8")):
        if block.language != "with":
            try:
                runner.run(block)
            except Exception as error:
                raise AssertionError(f"{name_of(page)}, line {block.line}: {error}") from error


def test_no_block_is_left_out_without_a_reason() -> None:
    left_out = {
        f"{name_of(page)}:{block.line}": block.notes["not run"]
        for page in PAGES
        for block in blocks_of(page.read_text(encoding="utf-8"))
        if "not run" in block.notes
    }
    assert all(len(reason) > 10 for reason in left_out.values()), left_out


@pytest.mark.parametrize(("name", "most"), [("README.md", 150), ("ARCHITECTURE.md", 180)])
def test_first_pages_are_short(name: str, most: int) -> None:
    assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= most


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`(scaledproc(?:\.\w+)+)`", text):
        if not name.endswith(".toml"):
            assert resolve(name) is not None, name
    for path in re.findall(r"`((?:scaledproc|backends|tests|benchmarks|docs|examples)/[\w/.]*)`", text):
        assert (ROOT / path).exists() or path.startswith(("docs/reference", "docs/_build")), path


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_links_of_the_first_pages_lead_somewhere(name: str) -> None:
    for link, part in re.findall(r"\]\(([^)#]+)(?:#([^)]*))?\)", (ROOT / name).read_text(encoding="utf-8")):
        assert link.startswith("https://") or (ROOT / link).exists(), link
        assert not part or part in parts_of((ROOT / link).read_text(encoding="utf-8")), f"{link}#{part}"


def parts_of(page: str) -> set[str]:
    """The names that links to a page's headings have."""
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def resolve(name: str) -> object:
    """The module, class or function of that name."""
    words = name.split(".")
    for count in range(len(words), 0, -1):
        try:
            found: object = importlib.import_module(".".join(words[:count]))
        except ModuleNotFoundError:
            continue
        for word in words[count:]:
            found = getattr(found, word)
        return found
    return None


# What runs the blocks


def blocks(text: str) -> list[Block]:
    return list(blocks_of(text))


def test_comments_before_a_block_are_its_notes() -> None:
    found = blocks("<!-- exit: 3 -->\n```sh\nfalse\n```\n\nText.\n\n```sh\ntrue\n```\n")
    assert [(block.language, block.text, dict(block.notes)) for block in found] == [
        ("sh", "false\n", {"exit": "3"}),
        ("sh", "true\n", {}),
    ]


def test_setup_and_needs_are_found() -> None:
    text = "# A\n<!-- with: s3 physionet -->\n<!-- setup\ntrue: a\nfalse\n-->\n"
    assert needs_of(text) == {"s3", "physionet"}
    assert blocks(text)[-1] == Block(3, "setup", "true: a\nfalse")


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ("a\nb", "a\nb\n"),
        ("1 row in 0.3 s", "1 row in 12.9 s"),
        ("9 min 02 s", "8 min 57 s"),
        ("75.6 GB free", "1 TB free"),
        ("…\nlast", "first\nsecond\nlast"),
        ("first\n…", "first\nsecond\nthird"),
        ("a …, z", "a b c, z"),
    ],
)
def test_what_is_shown_may_differ_in_what_is_measured(expected: str, found: str) -> None:
    assert_shown(expected, found)


@pytest.mark.parametrize(
    ("expected", "found"),
    [("a", "b"), ("a", "a\nb"), ("149 rows in 1 s", "150 rows in 1 s"), ("…\nlast", "last\nmore"), ("a…", "b")],
)
def test_what_is_shown_may_not_differ_in_anything_else(expected: str, found: str) -> None:
    with pytest.raises(AssertionError, match="this is printed"):
        assert_shown(expected, found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```sh\nexit 5\n```", "exit code 5, not 0"),
        ("```sh\necho a\n```\n```\nb\n```", "this is printed"),
        ("```pycon\n>>> 1 + 1\n3\n```", "this is printed"),
        ("```python\nassert False, 'wrong'\n```", "wrong"),
        ("```ruby\nputs 1\n```", "nobody knows how to run"),
        ("<!-- not run: no -->\n```sh\ntrue\n```", "says why"),
    ],
)
def test_what_a_page_gets_wrong_is_found(tmp_path: Path, text: str, message: str) -> None:
    runner = Runner(tmp_path, {"PATH": clean_path()}, {})
    *before, last = blocks_of(text)
    for block in before:
        runner.run(block)
    with pytest.raises(AssertionError, match=message):
        runner.run(last)
