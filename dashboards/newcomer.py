"""Somebody new: a list out of a few chosen items, made while one looks, without the model; the page says what made it."""

import polars as pl
import streamlit as st

from dashboards.pieces import Row, csv, listing, literal, message, rank
from dashboards.project import Project, choices, items_of, vectors_of
from recsys import report
from recsys.artefacts import Run
from recsys.errors import ArtefactError
from recsys.report import TextVectors

N_MATCHES = 10
PLACES = 20
CHOSEN = "chosen"
WAYS = {"Both": ("item_cosine", "text"), "Who chose the same": ("item_cosine",), "Their texts": ("text",)}
SAID = {
    "item_cosine": "who chose the same: the cosine of the sets of users who liked two items, summed over what was chosen",
    "text": "their texts: the cosine to the mean of the chosen items' vectors",
}


def draw(here: Project, source: Run) -> None:
    """The tab: source is a run or a night, as of which the list is made."""
    items = items_of(here.home, source)
    chosen = [item_id for item_id in dict.fromkeys(st.query_params.get_all(CHOSEN)) if item_id in items["item_id"]]
    left, right = st.columns([5, 6], gap="large")
    with left:
        st.subheader("They chose")
        _chosen(items, chosen)
        _search(items, chosen)
    with right:
        st.subheader("Their list")
        if chosen:
            _list(here, source, items, chosen)
        else:
            st.info("Choose an item or more, and the list is made at once.", icon=":material/touch_app:")


def _chosen(items: pl.DataFrame, chosen: list[str]) -> None:
    for item_id in chosen:
        without = [one for one in chosen if one != item_id]
        title = items.row(by_predicate=pl.col("item_id") == item_id, named=True)["title"]
        st.button(literal(title), key=f"drop {item_id}", icon=":material/close:", type="primary", on_click=_choose, args=(without,))


def _search(items: pl.DataFrame, chosen: list[str]) -> None:
    typed = st.text_input("Add an item", key="add", placeholder="words of a title, or an id", icon=":material/search:", live=True).strip()
    rest = items.filter(~pl.col("item_id").is_in(chosen))
    found = report.search_items(rest, typed, N_MATCHES)
    st.caption("The busiest items" if not typed else "Found" if found.height else literal(f"No title and no id holds {typed!r}."))
    with st.container(gap="xsmall"):
        _matches(found, chosen)


def _matches(found: pl.DataFrame, chosen: list[str]) -> None:
    for row in found.iter_rows(named=True):
        label = " · ".join(filter(None, (row["title"], row["category"])))
        st.button(literal(label), key=f"add {row['item_id']}", icon=":material/add:", on_click=_choose, args=([*chosen, row["item_id"]],))


def _choose(item_ids: list[str]) -> None:
    st.query_params[CHOSEN] = item_ids


def _list(here: Project, source: Run, items: pl.DataFrame, chosen: list[str]) -> None:
    way = st.segmented_control("Made by", list(WAYS), default="Both", required=True, key="made", bind="query-params")
    vectors, missing = _vectors(here, source) if "text" in WAYS[way] else (None, "")
    made = report.newcomer_list(choices(here.home, source), vectors, chosen, WAYS[way], PLACES)
    if missing:
        st.warning(message(f"Without their texts: {missing}"), icon=":material/info:")
    used = [SAID[name] for name in WAYS[way] if name != "text" or vectors]
    st.caption(
        f"Made just now by {' and by '.join(used) or 'nothing'}. It is what these retrieve as of {source.manifest['as_of'][:10]}, not "
        "the ranker's list: no model was asked. What was chosen is left out, and so is what may not be shown."
    )
    if made.is_empty():
        st.info("Nobody who chose these chose anything else, and no text is near them.", icon=":material/info:")
        return
    named = made.join(items.select("item_id", "title", "category"), on="item_id", how="left", maintain_order="left")
    listing(
        Row(
            rank(row["rank"]),
            row["title"],
            row["item_id"],
            (("source", report.source_of(row["reason"])),),
            " · ".join(filter(None, (row["reason"], row["category"]))),
        )
        for row in named.iter_rows(named=True)
    )
    csv(named, f"list of somebody who chose {' '.join(chosen)}"[:80])


def _vectors(here: Project, source: Run) -> tuple[TextVectors | None, str]:
    try:
        return vectors_of(here.home, source), ""
    except ArtefactError as error:
        return None, str(error)
