"""Users: what somebody did so far, and the list that tonight offers them."""

from html import escape

import pandas as pd
import streamlit as st

from dashboards.project import Project, current_run, nothing_yet, project, served_night
from recsys import report
from recsys.artefacts import Run

N_MATCHES = 12
CATEGORY = "category"


def page() -> None:
    """The page."""
    here = project()
    run, night = current_run(here.home), served_night(here.home)
    st.title("Users")
    st.caption(f"Project {here.name}: what somebody did so far, and the list that tonight offers them.")
    if run is None and night is None:
        nothing_yet("There is no run yet, so there is nothing to show.", here, "train")
        return
    source = night or run
    assert source is not None
    night = _choose_night(here, night)
    typed = st.text_input("User id", key="user", bind="query-params", placeholder="type a user id", icon=":material/search:", width=420)
    user_id = typed.strip()
    if not user_id:
        _offer(here, source, "", "Type the id of a user, or begin with one of these:")
        return
    _user(here, night or source, night, user_id)


def _choose_night(here: Project, served: Run | None) -> Run | None:
    """The night to show: the one that is served, or another that the reader picks."""
    if served is None:
        return None
    known = list(report.nights(here.home)["night_id"])
    if len(known) < 2:
        return served
    names = {night_id: f"{night_id}{' (served)' if night_id == served.run_id else ''}" for night_id in known}
    chosen = st.selectbox("Night", known, index=known.index(served.run_id), format_func=names.__getitem__)
    return here.home.night(chosen)


def _user(here: Project, source: Run, night: Run | None, user_id: str) -> None:
    history = report.history_of(here.home, source, user_id)
    tonight = report.tonight_of(here.home, night.run_id, user_id) if night else None
    if history.empty and (tonight is None or tonight.empty):
        st.warning(f"No user {user_id!r} in this project: neither an event before {source.manifest['as_of'][:10]} nor a list.")
        _offer(here, source, user_id, "Ids that hold what you typed:")
        return
    _figures(history, tonight, source)
    left, right = st.columns([6, 5], gap="large")
    with left:
        _history(history, source)
    with right:
        _tonight(here, night, tonight, user_id)


def _offer(here: Project, source: Run, search: str, words: str) -> None:
    """Buttons of users to look at."""
    matches = report.user_ids(here.home, source, search, N_MATCHES)
    if not matches:
        return
    st.caption(words)
    with st.container(horizontal=True):
        for user_id in matches:
            st.button(user_id, key=f"offer {user_id}", on_click=_select, args=(user_id,))


def _select(user_id: str) -> None:
    st.session_state["user"] = user_id


def _figures(history: pd.DataFrame, tonight: pd.DataFrame | None, source: Run) -> None:
    as_of = pd.Timestamp(source.manifest["as_of"])
    latest = f"{history['event_time'].iloc[0]:%Y-%m-%d}" if len(history) else "-"
    days = f"{(as_of - history['event_time'].iloc[0]).days} days before" if len(history) else "no history"
    columns = st.columns(4)
    columns[0].metric("Interactions", f"{len(history):,}", border=True)
    columns[1].metric("Different items", f"{history['item_id'].nunique():,}", border=True)
    columns[2].metric(f"Latest ({days})", latest, border=True)
    columns[3].metric("Items in tonight's list", "-" if tonight is None else f"{len(tonight):,}", border=True)


def _history(history: pd.DataFrame, source: Run) -> None:
    st.subheader("History")
    st.caption(f"Everything before {source.manifest['as_of'][:10]}, the latest first")
    if history.empty:
        st.info(f"No interaction of this user before {source.manifest['as_of'][:10]}.", icon=":material/info:")
        return
    shown = ["event_time", "event_type", "title", "category", "price", "item_id"]
    st.dataframe(
        # Without a zone: Streamlit's way to the browser uses what pandas deprecates for moments with one.
        history.assign(event_time=history["event_time"].dt.tz_convert(None)),
        hide_index=True,
        height=min(740, 35 * len(history) + 38),
        column_order=[name for name in shown if name != CATEGORY or history[CATEGORY].notna().any()],
        column_config={
            "event_time": st.column_config.DatetimeColumn("when (UTC)", format="YYYY-MM-DD HH:mm", width=130),
            "event_type": st.column_config.TextColumn("what", width=80),
            "title": st.column_config.TextColumn("item", width=250),
            "price": st.column_config.NumberColumn("price", format="%.2f", width=60),
            "item_id": st.column_config.TextColumn("id", width=80),
        },
    )


def _tonight(here: Project, night: Run | None, tonight: pd.DataFrame | None, user_id: str) -> None:
    st.subheader("Tonight's list")
    if night is None or tonight is None:
        nothing_yet("Nothing is published yet.", here, "rank")
        return
    st.caption(f"As of {night.manifest['as_of'][:10]}, by run {night.manifest['run_id']}")
    if tonight.empty:
        st.info(f"The night has no list for {user_id}: it was made for other users.", icon=":material/info:")
        return
    with st.container(border=True, height=740):
        st.html(f'<div class="list">{"".join(map(_row, tonight.to_dict("records")))}</div>')


def _row(item: dict[str, object]) -> str:
    """One place of the list as HTML. Titles are the shop's own words: escaped."""
    price = f"{item['price']:,.2f}" if pd.notna(item["price"]) else ""
    category = f'<span class="category">{escape(str(item["category"]))}</span>' if pd.notna(item["category"]) else ""
    score = f"item {item['item_id']}, score {item['score']:.4f} (only its order within a user means something)"
    return (
        f'<div class="row" title="{escape(score)}"><div class="rank">{item["rank"]}</div>'
        f'<div><div class="title">{escape(str(item["title"]))}</div><div class="below">{category}{escape(str(item["reason"]))}</div></div>'
        f'<div class="price">{price}</div></div>'
    )


page()
