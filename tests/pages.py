"""The pages of the dashboard as tests open them: a page by its address, what it says, and what it downloads."""

import re
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING

from streamlit.testing.v1 import AppTest

if TYPE_CHECKING:
    import pandas as pd

APP = Path(__file__).parents[1] / "dashboards" / "app.py"
PAGES = {
    "users": "users.py",
    "metrics": "metrics.py",
    "compare": "compare.py",
    "items": "items.py",
    "nights": "nights.py",
    "data": "volumes.py",
    "glossary": "glossary.py",
}


def open_page(page: str = "users", **address: str | list[str]) -> AppTest:
    """The page of that name with these in its address."""
    app = AppTest.from_file(APP, default_timeout=60)
    if page != "users":
        app.run()
        app.switch_page(PAGES[page])
    for name, value in address.items():
        app.query_params[name] = value
    return calm(app.run())


def calm(app: AppTest) -> AppTest:
    assert not app.exception
    return app


def html(app: AppTest) -> str:
    return "".join(element.proto.body for element in app.get("html"))


def plain(text: str) -> str:
    """Markdown whose characters are escaped, as a reader sees it."""
    return re.sub(r"\\(.)", r"\1", text)


def words(app: AppTest) -> str:
    """Everything that the page says outside of its tables and charts."""
    kinds = (app.info, app.warning, app.error, app.code, app.caption, app.subheader, app.text)
    said = "\n".join(plain(element.value) for kind in kinds for element in kind)
    return said + "\n" + re.sub(r"<style>.*?</style>|<[^>]*>", " ", html(app), flags=re.DOTALL)


def seen(app: AppTest) -> str:
    return unescape(words(app))


def titles(app: AppTest) -> list[str]:
    return [unescape(re.sub(r"<[^>]*>", "", found)) for found in re.findall(r'<div class="title">(.*?)</div>', html(app))]


def chips(app: AppTest) -> list[str]:
    return [unescape(found) for found in re.findall(r'<span class="chip [^"]*">(.*?)</span>', html(app))]


def facts(app: AppTest) -> dict[str, str]:
    """label -> value."""
    found = re.findall(r'<div class="label">(.*?)</div><div class="value[^"]*">(.*?)</div>', html(app))
    return {unescape(label): unescape(value) for label, value in found}


def buttons(app: AppTest) -> list[str]:
    return [plain(button.label) for button in app.button]


def press(app: AppTest, label: str) -> AppTest:
    return calm(next(button for button in app.button if plain(button.label) == label).click().run())


def downloads(app: AppTest) -> list[str]:
    """The names of the buttons that download a table."""
    return [element.proto.id for element in app.get("download_button")]


def frames(app: AppTest) -> "list[pd.DataFrame]":
    return [element.value for element in app.dataframe]
