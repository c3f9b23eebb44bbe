"""The dashboard in a real browser: the address of a user shows that user's list."""

import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from toy_run import USERS, empty_project, with_night, with_run

APP = Path(__file__).parents[1] / "dashboards" / "app.py"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SECONDS = 60

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    path, home = empty_project(tmp_path)
    with_run(home)
    with_night(home)
    address = f"http://127.0.0.1:{(port := free_port())}"
    options = {"server.port": str(port), "server.address": "127.0.0.1", "server.headless": "true", "browser.gatherUsageStats": "false"}
    flags = [word for name, value in options.items() for word in (f"--{name}", value)]
    command = [sys.executable, "-m", "streamlit", "run", str(APP), *flags, "--", str(path)]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path) as server:
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


def test_the_address_of_a_user_shows_their_list(address: str) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        try:
            page = browser.new_page(viewport={"width": 1400, "height": 1000})
            page.goto(f"{address}/?user={USERS[3]}")
            rows = page.locator(".list .row")
            rows.first.wait_for(timeout=SECONDS * 1000)
            assert rows.count() == 5
            assert rows.nth(1).inner_text().split("\n")[:2] == ["2", "Title of item_1"]
            assert rows.nth(0).locator(".title").inner_text() == "<b>Lamp</b> & shade"
            page.goto(f"{address}/verdict")
            page.get_by_text("Gained by text").wait_for(timeout=SECONDS * 1000)
            page.locator("canvas, svg.marks, .vega-embed").first.wait_for(timeout=SECONDS * 1000)
            assert page.get_by_text("Traceback").count() == 0
        finally:
            browser.close()
