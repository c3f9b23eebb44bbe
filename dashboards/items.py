"""Items: near ones by text on a map, who gets one tonight, what is new and how often it is listed."""

from datetime import datetime
from html import escape

import polars as pl
import streamlit as st

from dashboards import maps
from dashboards.pieces import Row, counted, csv, facts, listing, literal, message, rank, table
from dashboards.project import Project, choose_night, current_run, items_of, listed, nothing_yet, project, served_night, vectors_of
from recsys import report
from recsys.artefacts import Run
from recsys.errors import ArtefactError
from recsys.report import TextVectors

N_MATCHES = 12
N_NEAR = 12
N_AROUND = 80
N_USERS = 30


def page() -> None:
    """The page."""
    here = project()
    run, served = current_run(here.home), served_night(here.home)
    st.title("Items")
    st.caption(f"Project {literal(here.name)}: which are near by their texts, who gets one, and whether the new ones are listed.")
    if run is None and served is None:
        nothing_yet("There is no run yet, so there is nothing to show.", here, "train")
        return
    left, right = st.columns(2)
    with left:
        typed = st.text_input(
            "Item", key="item", bind="query-params", placeholder="words of a title, or an id", icon=":material/search:", live=True
        ).strip()
    with right:
        night = choose_night(here, served)
    source = night or run
    assert source is not None
    items = items_of(here.home, source)
    known = items.filter(pl.col("item_id") == typed)
    if typed and known.is_empty():
        _matches(items, typed)
        return
    if typed:
        _item(here, source, night, items, known.row(0, named=True))
    else:
        _catalogue(here, source, night, items)


def _matches(items: pl.DataFrame, typed: str) -> None:
    found = report.search_items(items, typed, N_MATCHES)
    if found.is_empty():
        st.warning(literal(f"No item {typed!r} in this project: no id and no title holds it."))
    for row in found.iter_rows(named=True):
        label = " · ".join(filter(None, (row["title"], row["category"], row["item_id"])))
        st.button(literal(label), key=f"item {row['item_id']}", on_click=_select, args=(row["item_id"],))


def _select(item_id: str) -> None:
    st.session_state["item"] = item_id


def _picked() -> None:
    """A point of the map was chosen."""
    picked = st.session_state["map"]["selection"].get(maps.PICK) or []
    if picked:
        _select(str(picked[0]["item_id"]))


def _catalogue(here: Project, source: Run, night: Run | None, items: pl.DataFrame) -> None:
    """The whole catalogue: the map, what is new, what is listed most."""
    drawn = {"Map": _map_of_all, "New items": _new, "Most listed": _most}
    for tab, draw in zip(st.tabs(list(drawn), key="look", bind="query-params"), drawn.values(), strict=True):
        if tab.open:
            with tab:
                draw(here, source, night, items)


def _map_of_all(here: Project, source: Run, night: Run | None, items: pl.DataFrame) -> None:
    vectors = _vectors(here, source)
    if vectors:
        _map(vectors, items)


def _vectors(here: Project, source: Run) -> TextVectors | None:
    """The vectors; None where there are none: then the page says why."""
    try:
        return vectors_of(here.home, source)
    except ArtefactError as error:
        st.info(message(error), icon=":material/info:")
        return None


def _map(vectors: TextVectors, items: pl.DataFrame, chosen: str | None = None) -> None:
    """The map of all items, or of those around the chosen one."""
    around = vectors.nearest(chosen, N_AROUND)["item_id"].to_list() if chosen else []
    drawn = vectors.among([chosen, *around]) if chosen else vectors
    frame, share = maps.plane(drawn, items, chosen, around[:N_NEAR])
    st.altair_chart(maps.chart(frame, maps.frequent(items)), key="map", on_select=_picked, selection_mode=maps.PICK)
    absent = f" {vectors.n_absent:,} items with a text have no vector yet." if vectors.n_absent else ""
    part = f" The busiest {len(frame):,} of {len(drawn.item_id):,} are drawn." if len(frame) < len(drawn.item_id) else ""
    part = f" Drawn are the {len(around)} nearest, larger those of the list." if chosen else part
    st.caption(
        f"Each point is an item, by its text as the run reads it. The two directions in which the vectors differ most hold {share:.0%} of "
        f"their variance: the map is a hint, the list of near items is exact. Click a point to see it.{part}{absent}"
    )


def _new(here: Project, source: Run, night: Run | None, items: pl.DataFrame) -> None:
    if night is None:
        nothing_yet("Nothing is published yet.", here, "rank")
        return
    frame = report.new_items(items, listed(night), night)
    if frame.empty:
        st.info(f"No item came in the {report.NEW_DAYS} days before {night.manifest['as_of'][:10]}.", icon=":material/info:")
        return
    shown, n_rows = int((frame["n_lists"] > 0).sum()), night.manifest["n_rows"]
    facts(
        ("New items", f"{len(frame):,}", f"of {items.height:,}, in {report.NEW_DAYS} days before {night.manifest['as_of'][:10]}"),
        ("Stand in a list", f"{shown:,}", f"{shown / len(frame):.0%} of the new ones"),
        ("Places they take", f"{frame['n_lists'].sum():,}", f"{frame['n_lists'].sum() / n_rows:.1%} of all {n_rows:,}"),
        ("Share of the items", f"{len(frame) / items.height:.1%}", "what they would take by chance"),
    )
    columns = {
        "title": st.column_config.TextColumn("item"),
        "days": st.column_config.NumberColumn("days old", format="%.1f"),
        "n_events": st.column_config.NumberColumn("interactions", format="localized"),
        "n_lists": st.column_config.NumberColumn("lists", format="localized"),
        "mean_rank": st.column_config.NumberColumn("mean place", format="%.1f"),
        "category": "category",
        "item_id": "id",
    }
    table(frame, f"new items {night.run_id}", columns)
    st.caption("Days since an item became available, or had its first event; none where neither is known, and nothing happened yet.")


def _most(here: Project, source: Run, night: Run | None, items: pl.DataFrame) -> None:
    if night is None:
        nothing_yet("Nothing is published yet.", here, "rank")
        return
    n_users = night.manifest["n_users"]
    rows = listed(night).join(items, on="item_id", how="left").with_columns(share=pl.col("n_lists") / n_users)
    frame = rows.sort(["n_lists", "item_id"], descending=[True, False]).to_pandas()
    tenth = max(1, items.height // 10)
    facts(
        ("Items in a list", f"{len(frame):,}", f"{len(frame) / items.height:.0%} of {items.height:,}"),
        (
            "The most listed tenth",
            f"{frame['n_lists'].head(tenth).sum() / frame['n_lists'].sum():.0%}",
            f"of all places, by {tenth:,} items",
        ),
        ("The most listed item", f"{frame['share'].iloc[0]:.0%}", "of all lists hold it"),
    )
    columns = {
        "title": st.column_config.TextColumn("item"),
        "n_lists": st.column_config.NumberColumn("lists", format="localized"),
        "share": st.column_config.NumberColumn("of all lists", format="percent"),
        "mean_rank": st.column_config.NumberColumn("mean place", format="%.1f"),
        "n_events": st.column_config.NumberColumn("interactions", format="localized"),
        "category": "category",
        "item_id": "id",
    }
    table(frame, f"listed items {night.run_id}", columns)


def _item(here: Project, source: Run, night: Run | None, items: pl.DataFrame, item: dict[str, object]) -> None:
    """One item: what it is, what is near, who gets it."""
    item_id = str(item["item_id"])
    st.subheader(literal(item["title"]))
    st.button("All items", icon=":material/arrow_back:", type="tertiary", on_click=_select, args=("",))
    _facts(night, source, item)
    description = report.item_of(here.home, source, item_id).get("description")
    if description:
        st.html(f'<p class="description">{escape(str(description))}</p>')
    left, right = st.columns([5, 6], gap="large")
    with left:
        st.subheader("Near by text")
        vectors = _vectors(here, source)
        near = vectors.nearest(item_id, N_NEAR) if vectors else None
        if vectors and near is not None:
            _near(vectors, items, item_id, near)
    with right:
        if vectors and near is not None and near.height:
            _map(vectors, items, item_id)
    _who(here, night, item_id)


def _facts(night: Run | None, source: Run, item: dict[str, object]) -> None:
    since = item["since"]
    days = (report.moment_of(source) - since).days if isinstance(since, datetime) else None
    known = listed(night).filter(pl.col("item_id") == item["item_id"]) if night else pl.DataFrame()
    n_lists = int(known["n_lists"][0]) if known.height else 0
    share = f"{n_lists / night.manifest['n_users']:.1%} of all lists" if night else "nothing is published yet"
    facts(
        ("Id", str(item["item_id"]), str(item["category"] or "no category")),
        ("Price", "-" if item["price"] is None else f"{item['price']:,.2f}", "at its latest event, else the list price"),
        (
            "Since",
            "-" if days is None else f"{since:%Y-%m-%d}",
            "nobody says" if days is None else f"{counted(days, 'day')} before the list",
        ),
        ("Interactions", f"{item['n_events']:,}", f"before {source.manifest['as_of'][:10]}"),
        ("Lists that hold it", f"{n_lists:,}" if night else "-", share),
        ("Mean place", f"{known['mean_rank'][0]:.1f}" if known.height else "-", ""),
    )


def _near(vectors: TextVectors, items: pl.DataFrame, item_id: str, near: pl.DataFrame) -> None:
    if vectors.row(item_id) is None:
        st.info("This item has no text, or none that was encoded yet: nothing is near it.", icon=":material/info:")
        return
    named = near.join(items, on="item_id", how="left", maintain_order="left").with_row_index("rank", 1)
    listing(
        Row(rank(row["rank"]), row["title"], row["item_id"], below=row["category"] or "", main=f"{row['cosine']:.3f}")
        for row in named.iter_rows(named=True)
    )
    st.caption(
        "On the right the cosine of the two texts, as the run's encoder reads them. An item without an event is near others all the same."
    )
    csv(named, f"near {item_id}")


def _who(here: Project, night: Run | None, item_id: str) -> None:
    st.subheader("Who gets it")
    if night is None:
        nothing_yet("Nothing is published yet.", here, "rank")
        return
    frame = report.listed_for(night, item_id)
    if frame.is_empty():
        st.info("It stands in no list of this night.", icon=":material/info:")
        return
    part = f", the first {N_USERS} of {len(frame):,}" if len(frame) > N_USERS else ""
    st.caption(f"Who has it on the highest places{part}; beside the id is the place. Press one to see the whole list.")
    with st.container(horizontal=True):
        for user_id, place in frame.head(N_USERS).select("user_id", "rank").iter_rows():
            if st.button(f"{literal(user_id)} · {place}", key=f"who {user_id}"):
                st.switch_page("users.py", query_params={"user": user_id})
    csv(frame, f"who gets {item_id} {night.run_id}")


page()
