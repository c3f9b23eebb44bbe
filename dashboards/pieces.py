"""What every page is made of: text that is never markup, facts, lists, and tables with their CSV. The shop's own words are escaped here."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote

import polars as pl
import streamlit as st

if TYPE_CHECKING:
    import pandas as pd

MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-!|~$:<>&])")
COMMAND = re.compile(r"\\`(recsys [^`]*?)\\`")


LONG = 14
"""Characters of a fact above which it is set smaller."""


def literal(text: object) -> str:
    """Any text as Markdown that shows it as it is: for labels and messages, which Streamlit reads as Markdown."""
    return MARKDOWN.sub(r"\\\1", str(text)).replace("\n", "  \n")


def message(text: object) -> str:
    """A message of ours as Markdown that shows it as it is, its commands of recsys as code."""
    return COMMAND.sub(lambda found: f"`{found[1].replace(chr(92), '')}`", literal(text))


def counted(n: int, one: str) -> str:
    """So many of something: `1 day`, `2 days`."""
    return f"{n:,} {one}{'' if n == 1 else 's'}"


Marks = tuple[tuple[str, str], ...]
"""Chips of a row: kind and word."""


@dataclass(frozen=True)
class Row:
    """A row of a list: what stands left of it, the title (and the item it leads to), chips and words below it, figures on the right."""

    left: str
    title: str
    item_id: str = ""
    chips: Marks = ()
    below: str = ""
    main: str = ""
    under: str = ""
    kind: str = ""

    def html(self) -> str:
        """The row; every text in it escaped."""
        title = escape(self.title)
        if self.item_id:
            title = f'<a href="items?item={quote(self.item_id, safe="")}" target="_self">{title}</a>'
        chips = "".join(f'<span class="chip {escape(kind)}">{escape(word)}</span>' for kind, word in self.chips)
        below = f'<div class="below">{chips}{escape(self.below)}</div>' if chips or self.below else ""
        figures = f'<div class="main">{escape(self.main)}</div><div class="under">{escape(self.under)}</div>'
        return (
            f'<div class="row {escape(self.kind)}">{self.left}<div><div class="title">{title}</div>{below}</div>'
            f'<div class="right">{figures}</div></div>'
        )


def mark(move: int | None) -> Marks:
    """How a place differs from that in the other list, of `report.moves`."""
    if move is None:
        return (("new", "entered"),)
    return (("up", f"▲ {move}"),) if move > 0 else (("down", f"▼ {-move}"),) if move < 0 else ()


def rank(place: object) -> str:
    """The left of a row: its place."""
    return f'<div class="rank">{escape(str(place))}</div>'


def when(moment: datetime) -> str:
    """The left of a row: a moment, UTC."""
    return f'<div class="when">{moment:%Y-%m-%d}<br>{moment:%H:%M}</div>'


def listing(rows: Iterable[Row], height: int | None = None, kind: str = "") -> None:
    """A list; within `height` pixels where it is given, and scrolled there."""
    body = f'<div class="list {kind}">{"".join(row.html() for row in rows)}</div>'
    with st.container(border=True, height=height or "content"):
        st.html(body)


def facts(*found: tuple[str, str, str]) -> None:
    """Figures side by side, as many in a line as fit: label, value, and words under it."""
    st.html(f'<div class="facts">{"".join(_fact(*one) for one in found)}</div>')


def _fact(label: str, value: str, under: str) -> str:
    length = " long" if len(value) > LONG else ""
    return (
        f'<div class="fact"><div class="label">{escape(label)}</div><div class="value{length}">{escape(value)}</div>'
        f'<div class="under">{escape(under)}</div></div>'
    )


def csv(frame: "pl.DataFrame | pd.DataFrame", name: str, place: str = "") -> None:
    """A button that downloads a table as `<name>.csv`: made when it is pressed. place: tells two buttons of one name apart."""
    st.download_button(
        "CSV",
        lambda: (frame.write_csv() if isinstance(frame, pl.DataFrame) else frame.to_csv(index=False)).encode(),
        file_name=f"{re.sub(r'[^A-Za-z0-9._-]+', '_', name)}.csv",
        mime="text/csv",
        key=f"csv {name} {place}",
        type="tertiary",
        icon=":material/download:",
        on_click="ignore",
    )


def table(frame: "pd.DataFrame", name: str, columns: dict[str, object], height: int | None = None) -> None:
    """A table with only these columns, in this order (the first stays in view), and its CSV with all of them.

    columns: name -> label or st.column_config column.
    """
    # Without a zone: Streamlit's way to the browser uses what pandas deprecates for moments with one.
    zoned = {column: frame[column].dt.tz_convert(None) for column in frame.select_dtypes("datetimetz").columns}
    with st.container(gap="xsmall"):
        _drawn(frame.assign(**zoned), columns, height)
        csv(frame, name)


def _drawn(frame: "pd.DataFrame", columns: dict[str, object], height: int | None) -> None:
    st.dataframe(
        frame,
        hide_index=True,
        height=height or "auto",
        column_order=list(columns),
        column_config={column: pinned(shown) if place == 0 else shown for place, (column, shown) in enumerate(columns.items())},
        placeholder="-",
    )


def pinned(shown: object) -> object:
    """The same column, kept in view when a phone scrolls the others."""
    if isinstance(shown, dict):
        return {**shown, "pinned": True}
    return st.column_config.Column(str(shown), pinned=True)
