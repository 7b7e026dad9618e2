"""The page in real Chromium: it loads without a complaint, works, can be read by all, and runs nothing of the data."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import scaledproc
from scaledproc import Task
from scaledproc.extractors.account import (
    SMALL,
    Account,
    Example,
    Facts,
    Flags,
    Matrix,
    Reading,
    Spans,
    Trace,
    Worry,
    histogram,
)
from scaledproc.extractors.base import FunctionExtractor
from scaledproc.reporting.report import report_html
from scaledproc.reporting.watching.server import PageServer, secret_path
from scaledproc.run_folder.run import Run

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SCRIPT = "<script>window.harmed = 1</script>"
IMAGE = "<img src=http://127.0.0.1:9/x onerror=window.harmed=1>"
HOSTILE = (
    SCRIPT,
    IMAGE,
    '"><svg onload=window.harmed=1>',
    "javascript:window.harmed=1",
    "</style></title></textarea>" + SCRIPT,
    "=HYPERLINK(0)",
    "\u202egnp.exe\u2066 \u05d0\u05d1",
    "&lt;b&gt; {{7*7}} ${7*7}",
    "\x1b[2J\x00 a \ud7ff",
    "x" * 5000,
)
TURNING = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1200, "height": 900}


@scaledproc.extractor(
    schema=pa.schema([("path", pa.string()), (SCRIPT, pa.string()), (IMAGE, pa.float64())]), anchor="*.txt", unit="file"
)
def hostile(task: Any, *, words: str = IMAGE) -> Any:
    """Rows, warnings and failures that want to harm."""
    at = int(task.path.read_text())
    text = HOSTILE[at % len(HOSTILE)]
    task.warn(f"{at} {text}")
    if at % 3 == 0:
        raise ValueError(f"{text} {'abcdefghij'[at % 10]}")
    return {"path": task.anchor, SCRIPT: text, IMAGE: float(at)}


class Hostile(FunctionExtractor):
    """Tells of its table, and draws of its data, with names that want to harm, as a dataset may have them."""

    def account(self, read: Reading) -> Account:
        heads = tuple(HOSTILE[:4])
        rows = tuple((text, text, Flags((text,)), histogram([1.0, 2.0], 1, 2)) for text in HOSTILE)
        return Account(
            tuple(Worry(SMALL, text) for text in HOSTILE),
            (
                *(Facts(text, heads, rows, text) for text in HOSTILE),
                *(Spans(text, text, ((text, ((0.0, 1.0), (2.0, 3.0))),), text) for text in HOSTILE),
                Matrix(f"Together {HOSTILE[6]}", HOSTILE, tuple((1,) * len(HOSTILE) for _ in HOSTILE), HOSTILE[6]),
            ),
            HOSTILE[6],
        )

    def traces(self, task: Task, choice: int) -> Example:
        traces = tuple(Trace(text, text, 3.0, (1.0, None, 2.0, 3.0)) for text in HOSTILE)
        return Example(f"{task.anchor} {HOSTILE[choice % len(HOSTILE)]}", traces)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, driven by Playwright."""
    import os

    path = shutil.which("chromium")
    if path is None:
        text = "there is no chromium: apt-get install chromium"
        (pytest.fail if os.environ.get("SCALEDPROC_REQUIRE_ALL") == "1" else pytest.skip)(text)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def harmful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run whose names, values, messages and options want to harm."""
    folder = tmp_path_factory.mktemp("harm")
    data = folder / "data"
    for at in range(60):
        place = data / f"{IMAGE.replace('/', chr(0x2215))}{at % 3}" / f"\u202e{at} '&quot;.txt"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(str(at))
    run = scaledproc.run(data, folder / "out <b>", extractor=hostile, options={"words": SCRIPT}, jobs=1)
    assert run.quarantined == 20
    assert isinstance(run.extractor, FunctionExtractor)
    run.extractor.__class__ = Hostile
    return _written(run, folder, examples=2)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run on the demo dataset, with pieces of its samples; no line breaks within the long names."""
    from scaledproc.demo import write_demo

    folder = tmp_path_factory.mktemp("plain")
    write_demo(folder / "data/waves_of_the_year/patient_16955095/stay_82284982")
    run = scaledproc.run(folder / "data", folder / "out", jobs=1)
    return _written(run, folder, examples=2)


def _written(run: Run, folder: Path, **options: Any) -> Path:
    place = folder / "page.html"
    place.write_text(report_html(run, extractor=run.extractor, **options), encoding="utf-8")
    return place


class Seen:
    """A page that is open, and what the browser said of it."""

    def __init__(self, browser: Any, file: Path, size: dict[str, int], scheme: str = "light") -> None:
        context = browser.new_context(viewport=size, color_scheme=scheme)
        self.page = context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: self.said.append(dialog.message))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri())

    def open_all(self) -> None:
        self.page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")

    def is_calm(self) -> bool:
        """Whether nothing was said, and nothing asked but for the file itself."""
        return not self.said and all(url.startswith("file:") for url in self.asked) and len(self.asked) == 1


def test_nothing_of_the_data_is_run_and_no_request_leaves(browser: Any, harmful: Path) -> None:
    seen = Seen(browser, harmful, DESK)
    seen.open_all()
    seen.page.wait_for_timeout(300)
    assert seen.is_calm(), (seen.said, seen.asked)
    assert seen.page.evaluate("window.harmed") is None
    assert seen.page.evaluate("document.scripts.length") == 1
    assert seen.page.evaluate("document.images.length + document.querySelectorAll('svg [onload]').length") == 0
    text = seen.page.inner_text("main")
    assert SCRIPT in text
    assert IMAGE in text
    html = harmful.read_text(encoding="utf-8")
    assert "Hostile" not in html
    assert html.count("gnp.exe") > 40  # in titles, labels, units and heads too
    # What turns the text around is shown as a replacement character, wherever it stands.
    assert [char for char in TURNING if char in html] == []
    assert seen.page.evaluate("document.querySelectorAll('svg text').length") > 50
    assert not any(char in seen.page.evaluate("document.documentElement.outerHTML") for char in TURNING)


def test_search_sort_and_zoom_work(browser: Any, plain: Path) -> None:
    seen = Seen(browser, plain, DESK)
    page = seen.page
    table = page.locator("#data table.live").first
    signals = table.locator("tbody tr")
    count = signals.count()
    assert count > 6
    field = page.get_by_label("Search in: Signals")
    field.fill("numerics hr")
    assert [row.locator("th").inner_text() for row in signals.all() if row.is_visible()] == ["HR"]
    field.fill("")
    assert sum(row.is_visible() for row in signals.all()) == count
    hours = table.get_by_role("button", name="Hours")
    rows = "Array.from(document.querySelector('#data table.live').tBodies[0].rows)"
    values = f"{rows}.map((row) => +row.cells[4].dataset.value)"
    hours.click()
    assert page.evaluate(values) == sorted(page.evaluate(values), reverse=True)
    hours.focus()
    page.keyboard.press("Enter")
    assert page.evaluate(values) == sorted(page.evaluate(values))
    assert table.locator("th[aria-sort=ascending]").count() == 1
    canvas = page.locator("#data svg.canvas").first
    before = canvas.bounding_box()
    page.locator("#data").get_by_role("button", name="Zoom in").first.click()
    after = canvas.bounding_box()
    assert before is not None
    assert after is not None
    assert after["width"] == pytest.approx(2 * before["width"], rel=0.01)
    assert seen.is_calm(), (seen.said, seen.asked)


@pytest.mark.parametrize(
    ("which", "size", "scheme"),
    [
        ("plain", DESK, "light"),
        ("plain", DESK, "dark"),
        ("plain", PHONE, "light"),
        ("plain", PHONE, "dark"),
        ("harmful", PHONE, "light"),
        ("harmful", DESK, "dark"),
    ],
    ids=["desk-light", "desk-dark", "phone-light", "phone-dark", "harmful-phone-light", "harmful-desk-dark"],
)
def test_everybody_can_read_it(
    browser: Any, which: str, size: dict[str, int], scheme: str, request: pytest.FixtureRequest
) -> None:
    seen = Seen(browser, request.getfixturevalue(which), size, scheme)
    seen.open_all()
    assert faults(seen.page) == []
    assert seen.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def faults(page: Any) -> list[tuple[str, str]]:
    """What axe finds that keeps somebody from reading a page."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [(each["id"], each["nodes"][0]["html"][:200]) for each in found]


def test_the_check_of_reading_finds_faults(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "faint.html"
    file.write_text(
        "<!doctype html><html lang=en><title>t</title><main><h1>t</h1><p style='color:#ddd'>faint</p></main>"
    )
    assert [name for name, _ in faults(Seen(browser, file, DESK).page)] == ["color-contrast"]


def test_what_is_printed_is_opened(browser: Any, plain: Path, tmp_path: Path) -> None:
    seen = Seen(browser, plain, DESK)
    seen.page.emulate_media(media="print")
    seen.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert seen.page.locator("details:not([open])").count() == 0
    assert not seen.page.locator(".tools").first.is_visible()
    assert len(seen.page.pdf()) > 10_000


def test_a_page_that_is_watched_is_left_alone_until_it_changes(browser: Any, harmful: Path) -> None:
    """What a person sorted and searched stays while the server answers the same."""
    path = secret_path()
    html = report_html(Run.open(harmful.parent / "out <b>"), live=path).replace("state done", "state running")
    served = [html.encode()]
    answers = list[int]()

    def answer() -> bytes:
        answers.append(len(served))
        return served[-1]

    with PageServer(answer, path) as server:
        page = browser.new_page(viewport=DESK)
        page.goto(server.url)
        button = page.locator("#failures table.live thead button").first
        button.scroll_into_view_if_needed()
        button.click()
        assert page.locator("[aria-sort]").count() == 1
        end = time.monotonic() + 30
        while len(answers) < 4:
            assert time.monotonic() < end
            page.wait_for_timeout(100)
        assert page.locator("[aria-sort]").count() == 1
        served.append(html.replace("state running", "state running changed").encode())
        page.wait_for_selector(".state.changed", timeout=30_000)
        assert page.locator("[aria-sort]").count() == 0
        page.close()
