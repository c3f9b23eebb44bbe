"""Users: what somebody did so far, the list that tonight offers them, another night's list beside it; and a list for somebody new."""

from datetime import datetime
from typing import Any

import polars as pl
import streamlit as st

from dashboards import newcomer
from dashboards.pieces import Marks, Row, counted, csv, facts, listing, literal, mark, rank, when
from dashboards.project import Project, active_users, choose_night, current_run, items_of, nothing_yet, project, served_night
from recsys import report
from recsys.artefacts import Run

N_MATCHES = 12
N_EVENTS = 200  # the latest, which a page shows; the CSV has all

HEIGHT = 1000
LOOKED_AT = "looked at"


def page() -> None:
    """The page."""
    here = project()
    run, served = current_run(here.home), served_night(here.home)
    st.title("Users")
    st.caption(f"Project {literal(here.name)}: what somebody did so far, and the list that tonight offers them.")
    if run is None and served is None:
        nothing_yet("There is no run yet, so there is nothing to show.", here, "train")
        return
    source = served or run
    assert source is not None
    somebody, new = st.tabs(["A user", "Somebody new"], key="who", bind="query-params")
    if somebody.open:
        with somebody:
            _somebody(here, run, served)
    if new.open:
        with new:
            newcomer.draw(here, source)


def _somebody(here: Project, run: Run | None, served: Run | None) -> None:
    user_id, night, other = _asked(here, served)
    source = night or run
    assert source is not None
    if not user_id:
        _offer("Looked at before", st.session_state.get(LOOKED_AT, []))
        _offer("Active last", active_users(here.home, source, N_MATCHES))
        return
    history = report.history_of(here.home, source, user_id)
    tonight = report.tonight_of(here.home, night.run_id, user_id, items_of(here.home, night)) if night else None
    if history.is_empty() and (tonight is None or tonight.is_empty()):
        st.warning(literal(f"No user {user_id!r} in this project: neither an event before {source.manifest['as_of'][:10]} nor a list."))
        _offer("Ids that hold what you typed", report.user_ids(here.home, source, user_id, N_MATCHES))
        return
    _remember(user_id)
    _figures(history, tonight, source)
    if night and other and tonight is not None:
        _side_by_side(here, night, other, tonight, user_id)
        _history(history, source, user_id)
        return
    left, right = st.columns([6, 5], gap="large")
    with left:
        _history(history, source, user_id)
    with right:
        _tonight(here, night, tonight, user_id)


def _asked(here: Project, served: Run | None) -> tuple[str, Run | None, Run | None]:
    """The user, the night, and the night beside it."""
    places = st.columns([2, 3, 3])
    with places[0]:
        typed = st.text_input(
            "User id", key="user", bind="query-params", placeholder="an id, or its beginning", icon=":material/search:", live=True
        )
    with places[1]:
        night = choose_night(here, served)
    with places[2]:
        return typed.strip(), night, _other_night(here, night)


def _remember(user_id: str) -> None:
    before = st.session_state.get(LOOKED_AT, [])
    st.session_state[LOOKED_AT] = [user_id, *(one for one in before if one != user_id)][:N_MATCHES]


def _offer(words: str, user_ids: list[str]) -> None:
    """Buttons of users to look at."""
    if user_ids:
        st.caption(words)
        with st.container(horizontal=True):
            for user_id in user_ids:
                st.button(literal(user_id), key=f"{words} {user_id}", on_click=_select, args=(user_id,))


def _select(user_id: str) -> None:
    st.session_state["user"] = user_id


def _figures(history: pl.DataFrame, tonight: pl.DataFrame | None, source: Run) -> None:
    as_of = report.moment_of(source)
    latest: datetime | None = history["event_time"][0] if len(history) else None
    facts(
        ("Interactions", f"{len(history):,}", f"before {as_of:%Y-%m-%d}"),
        ("Different items", f"{history['item_id'].n_unique():,}", ""),
        ("Latest", f"{latest:%Y-%m-%d}", f"{counted((as_of - latest).days, 'day')} before") if latest else ("Latest", "-", "no history"),
        ("Items in the list", "-" if tonight is None else f"{len(tonight):,}", ""),
    )


def _history(history: pl.DataFrame, source: Run, user_id: str) -> None:
    as_of = source.manifest["as_of"][:10]
    st.subheader("History")
    if history.is_empty():
        st.info(f"No interaction of this user before {as_of}.", icon=":material/info:")
        return
    part = f", the latest {N_EVENTS} of {len(history):,}" if len(history) > N_EVENTS else ""
    st.caption(f"Everything before {as_of}, UTC, the latest first{part}")
    shown = history.head(N_EVENTS)
    with st.container(gap="xsmall"):
        listing(map(_event, shown.iter_rows(named=True)), HEIGHT if len(shown) > 20 else None, "dated")
        csv(history, f"history {user_id}")


def _event(event: dict[str, Any]) -> Row:
    return Row(when(event["event_time"]), *_item(event), chips=((event["event_type"], event["event_type"]),), **_below(event))


def _tonight(here: Project, night: Run | None, tonight: pl.DataFrame | None, user_id: str) -> None:
    if night is None or tonight is None:
        st.subheader("Tonight's list")
        nothing_yet("Nothing is published yet.", here, "rank")
        return
    _one_list("Tonight's list", night, tonight, [], user_id)
    if len(tonight):
        _why(here, night, tonight, user_id)


def _why(here: Project, night: Run, tonight: pl.DataFrame, user_id: str) -> None:
    """Of one item of the list, chosen by the reader: what speaks for it, what against it, and where it comes from."""
    titles = {item: f"{rank} · {title}" for rank, item, title in tonight.select("rank", "item_id", "title").iter_rows()}
    asked = st.selectbox(
        "Why is it there?",
        list(titles),
        index=None,
        key="why",
        bind="query-params",
        placeholder="an item of the list",
        format_func=titles.get,
    )
    if not asked:
        return
    why = report.whys_of(here.home, night, user_id).get(asked)
    if why is None:
        st.info(literal(report.NO_EXPLANATIONS), icon=":material/info:")
        return
    _comes_from(why)
    if why["families"] is None:
        st.caption("Families are kept for the first places of a list alone (`rank.explain`), and not for what no source found.")
        return
    from dashboards import charts  # the page comes up without the library that draws

    frame = report.families_frame(why)
    st.altair_chart(charts.families(frame), width="stretch")
    st.caption(
        f"From {why['base']:.4f}, which the ranker gives before it knows anything, to its score. They explain the model, not the person."
    )
    csv(frame, f"why {user_id} {asked}", night.run_id)


def _comes_from(why: dict[str, Any]) -> None:
    """The item it is because of, the sources and the rules."""
    because, place = why["because"], why["plain_rank"]
    words = [f"Found by {', '.join(why['sources'])}." if why["sources"] else "No source found it: the shop placed it."]
    if because:
        words.append(f"Its text is near that of {because['title']} (cosine {because['similarity']:.2f}), which is in the history.")
    if why["rules"]:
        without = f"be at place {place}" if place else "not be in the list"
        words.append(f"Rules that acted: {', '.join(why['rules'])}; without any it would {without}.")
    st.caption(literal(" ".join(words)))


def _listed(night: Run, shown: pl.DataFrame, marks: list[Marks], user_id: str) -> None:
    st.caption(
        literal(
            f"As of {night.manifest['as_of'][:10]}, by run {night.manifest['run_id']}. Under the price the score: only its order counts."
        )
    )
    rows = [_place(item, of_item) for item, of_item in zip(shown.iter_rows(named=True), marks or [()] * len(shown), strict=True)]
    with st.container(gap="xsmall"):
        listing(rows, HEIGHT if len(rows) > 20 else None)
        csv(shown, f"list {user_id} {night.run_id}", night.run_id)


def _place(item: dict[str, Any], marks: Marks) -> Row:
    reason, source = item["reason"], item["source"]
    chips = (*marks, *((("source", source),) if source else ()))
    kind = "gone" if any(mark == "gone" for mark, _ in marks) else ""
    return Row(
        rank(item["rank"]),
        *_item(item),
        chips=chips,
        **_below(item, reason, report.chance_words(item)),
        under=f"{item['score']:.4f}",
        kind=kind,
    )


def _item(row: dict[str, Any]) -> tuple[str, str]:
    return row["title"], row["item_id"]


def _below(row: dict[str, Any], reason: str = "", likely: str = "") -> dict[str, str]:
    price = "" if row["price"] is None else f"{row['price']:,.2f}"
    return {"below": " · ".join(filter(None, (reason, row["category"], likely))), "main": price}


def _other_night(here: Project, night: Run | None) -> Run | None:
    """Another night to put beside this one, in the address as `?with=`."""
    known = [one.run_id for one in here.home.found(here.home.nights)[0] if night is None or one.run_id != night.run_id][::-1]
    if not known:
        return None
    chosen = st.selectbox("Compare with", known, index=None, key="with", bind="query-params", placeholder="another night, of any run")
    return here.home.night(chosen) if chosen else None


def _side_by_side(here: Project, night: Run, other: Run, tonight: pl.DataFrame, user_id: str) -> None:
    """Both lists, with what entered, left and moved between the other one and this one."""
    before = report.tonight_of(here.home, other.run_id, user_id, items_of(here.home, other))
    here_moves, there_moves = report.moves(tonight, before), report.moves(before, tonight)
    entered, moved = here_moves.count(None), sum(1 for move in here_moves if move)
    st.caption(
        f"From the other list to this one: {entered} entered, {there_moves.count(None)} left, {moved} moved, "
        f"{len(tonight) - entered - moved} are where they were."
    )
    left, right = st.columns(2, gap="large")
    with left:
        _one_list("This list", night, tonight, [mark(move) for move in here_moves], user_id)
    with right:
        _one_list("The other list", other, before, [(("gone", "left"),) if move is None else () for move in there_moves], user_id)


def _one_list(title: str, night: Run, shown: pl.DataFrame, marks: list[Marks], user_id: str) -> None:
    st.subheader(title)
    if shown.is_empty():
        st.info(literal(f"The night has no list for {user_id}: it was made for other users."), icon=":material/info:")
        return
    _listed(night, shown, marks, user_id)


page()
