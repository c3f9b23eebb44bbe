"""The dashboard in a real browser: addresses, phone and desk, light and dark, downloads, the map under the mouse, and the log-in."""

import io
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from toy_run import EVIL, ITEM_IDS, USERS, ablation, empty_project, shuffled, with_night, with_run, with_vectors

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

APP = Path(__file__).parents[1] / "dashboards" / "app.py"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SECONDS = 60
EARLIER = "20261123-031500-ab12cd"
CHART = "[data-testid=stVegaLiteChart] :is(canvas, svg.marks)"
DESK, PHONE = {"width": 1400, "height": 1000}, {"width": 390, "height": 844}
PAGES = {
    "users": f"?user={USERS[3]}",
    "newcomer": "?who=Somebody+new&chosen=item_1",
    "systems": "metrics",
    "text": "metrics?part=Did+the+text+pay%3F",
    "runs": "metrics?part=Runs+over+time",
    "compare": "compare",
    "compared slices": "compare?part=Slices",
    "compared lists": f"compare?part=Users&changed={USERS[3]}",
    "compared config": "compare?part=Config",
    "items": "items",
    "item": "items?item=item_0",
    "new items": "items?look=New+items",
    "nights": "nights",
    "data": "data",
}
WIDE = """main => [...main.querySelectorAll("h1, h3, p, button, .fact, .row")]
    .filter(one => !one.closest("[role=tab]") && one.getBoundingClientRect().right > 391).length"""
AUTH = """
[auth]
redirect_uri = "http://localhost:8501/oauth2callback"
cookie_secret = "a long random secret of more than thirty-two characters"
client_id = "shop"
client_secret = "secret"
server_metadata_url = "http://127.0.0.1:9/.well-known/openid-configuration"
"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def served(folder: Path, secrets: str = "") -> Iterator[str]:
    """The address of a dashboard over a toy project in `folder`, started there, with these secrets."""
    path, home = empty_project(folder)
    with_run(home, run_id=EARLIER, ranker=shuffled(1), config={"ranker": {"trees": 500}})
    with_run(home, {"ablation": ablation()}, ranker=shuffled(2), config={"ranker": {"trees": 900}})
    with_night(home, items=ITEM_IDS[5:8])
    with_night(home)
    with_vectors(home)
    if secrets:
        (folder / ".streamlit").mkdir()
        (folder / ".streamlit" / "secrets.toml").write_text(secrets)
    address = f"http://127.0.0.1:{(port := free_port())}"
    options = {"server.port": str(port), "server.address": "127.0.0.1", "server.headless": "true"}
    flags = [word for name, value in options.items() for word in (f"--{name}", value)]
    command = [sys.executable, "-m", "streamlit", "run", str(APP), *flags, "--", str(path)]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log, cwd=folder) as server:
        try:
            wait_for(f"{address}/_stcore/health", server)
            yield address
        finally:
            server.terminate()


def wait_for(url: str, server: "subprocess.Popen[bytes]") -> None:
    """Until the server answers; it is asked each half second."""
    for _ in range(2 * SECONDS):
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            try:
                server.wait(0.5)
            except subprocess.TimeoutExpired:
                continue
            break
    pytest.fail(f"the dashboard does not answer at {url}; exit code {server.poll()}")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("dashboard")) as address:
        yield address


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_api.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        try:
            yield browser
        finally:
            browser.close()


@pytest.fixture
def browser(chromium: Any) -> Iterator[Any]:
    yield chromium
    for context in chromium.contexts:
        for page in context.pages:
            page.close()


def opened(browser: Any, url: str, size: dict[str, int] = DESK, scheme: str = "light") -> Any:
    """The page at a url, when it has nothing more to do."""
    readers = {one.reader: one for one in browser.contexts}  # one reader opens many pages: Streamlit's own files come once
    reader = size["width"], scheme
    if reader not in readers:
        readers[reader] = browser.new_context(viewport=size, color_scheme=scheme)
        readers[reader].reader = reader
    page = readers[reader].new_page()
    page.set_default_timeout(SECONDS * 1000)
    page.asked = set()
    page.on("request", lambda request: page.asked.add(request.url.split("/")[2]))
    page.goto(url)
    return calm(page)


def calm(page: Any) -> Any:
    page.locator("h1").first.wait_for()
    page.wait_for_timeout(300)
    page.wait_for_function("!document.querySelector('[data-testid=stStatusWidget]')")
    page.wait_for_timeout(700)
    assert page.get_by_text("Traceback").count() == 0
    return page


def points(page: Any) -> list[tuple[float, float]]:
    """Where the points of the map are drawn."""
    page.locator(CHART).first.scroll_into_view_if_needed()
    boxes = [one.bounding_box() for one in page.locator(f"{CHART} g.mark-symbol.role-mark path").all()]
    return [(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) for box in boxes]


def test_the_address_of_a_user_shows_their_list(address: str, browser: Any) -> None:
    page = opened(browser, f"{address}/?user={USERS[3]}")
    rows = page.locator(".list:not(.dated) .row")
    assert rows.count() == 5
    assert rows.nth(1).inner_text().split("\n")[:2] == ["2", "Title of item_1"]
    assert rows.nth(0).locator(".title").inner_text() == EVIL
    rows.nth(1).locator("a").click()
    page.get_by_text("Near by text").wait_for()
    assert page.url.endswith("/items?item=item_1")


@pytest.mark.parametrize("name", list(PAGES))
def test_no_page_is_wider_than_a_phone_and_none_asks_another_server(address: str, browser: Any, name: str) -> None:
    page = opened(browser, f"{address}/{PAGES[name]}", PHONE)
    main = page.locator("[data-testid=stMain]")
    assert main.evaluate("main => main.scrollWidth <= main.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert main.evaluate(WIDE) == 0
    assert page.asked == {address.removeprefix("http://")}


@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
def test_pages_and_charts_follow_the_readers_own_light_or_dark(address: str, browser: Any, scheme: str, is_dark: bool) -> None:
    page = opened(browser, f"{address}/metrics", scheme=scheme)
    chart = Image.open(io.BytesIO(page.locator(CHART).first.screenshot())).convert("L")
    shades = np.asarray(chart)
    assert (np.median(shades) < 60) == is_dark
    words = shades[:, : shades.shape[1] // 6]  # the names of the systems
    assert words.max() > 140 if is_dark else words.min() < 140


def test_a_night_an_item_and_a_run_have_addresses(address: str, browser: Any) -> None:
    page = opened(browser, f"{address}/nights")
    page.get_by_role("combobox").first.click()
    page.get_by_role("option").nth(1).click()
    calm(page)
    assert "?night=" in page.url
    again = opened(browser, page.url)
    assert again.get_by_text("Not the night that is served.").count() == 1
    assert opened(browser, f"{address}/items?item=item_3").locator("h3").first.inner_text() == "Title of item_3"


def test_the_csv_of_a_list_is_the_list(address: str, browser: Any, tmp_path: Path) -> None:
    page = opened(browser, f"{address}/?user={USERS[3]}")
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").nth(1).click()
    assert download.value.suggested_filename.startswith(f"list_{USERS[3]}_2026")
    download.value.save_as(tmp_path / "list.csv")
    table = pl.read_csv(tmp_path / "list.csv")
    assert table["item_id"].to_list() == ITEM_IDS[:5]
    assert table["title"][0] == EVIL
    assert table["source"].to_list() == ["popularity"] * 5


def test_a_point_of_the_map_says_its_title_as_text_and_a_click_selects_it(address: str, browser: Any) -> None:
    page = opened(browser, f"{address}/items")
    said = []
    for x, y in points(page):
        page.mouse.move(x, y)
        page.wait_for_timeout(300)
        said.append(page.locator("#vg-tooltip-element").inner_text())
    assert any(EVIL in one for one in said)
    assert page.locator("#vg-tooltip-element b").count() == 0
    page.mouse.click(*points(page)[0])
    page.get_by_text("Near by text").wait_for()
    assert "item=item_" in page.url


def test_where_a_log_in_is_configured_nothing_is_shown_before_it(tmp_path: Path, browser: Any) -> None:
    with served(tmp_path, AUTH) as address:
        for name in ("users", "systems", "items"):
            page = opened(browser, f"{address}/{PAGES[name]}")
            assert page.get_by_role("button", name="Log in").count() == 1
            assert page.locator(".list, .facts, [data-testid=stDataFrame]").count() == 0
            assert page.get_by_text("Title of item_1").count() == 0


def test_secrets_that_cannot_be_read_let_nobody_in(tmp_path: Path, browser: Any) -> None:
    with served(tmp_path, "[auth\nnot toml") as address:
        page = browser.new_page()
        page.goto(f"{address}/?user={USERS[3]}")
        page.get_by_text("nobody is let in").wait_for(timeout=SECONDS * 1000)
        assert page.locator(".list").count() == 0
        page.context.close()
