"""Nights: what was published and is served, whether it is still what was written, how far it is from the night before, what rules did."""

from collections.abc import Callable

import pandas as pd
import streamlit as st

from dashboards.pieces import Row, facts, listing, literal, message, table
from dashboards.project import Project, choose_night, nothing_yet, project, served_night
from recsys import report
from recsys.artefacts import Run
from recsys.errors import ArtefactError


def page() -> None:
    """The page."""
    here = project()
    st.title("Nights")
    st.caption(f"Project {literal(here.name)}: what was published, what of it is served, and whether it is still whole.")
    served = served_night(here.home)
    frame = report.nights(here.home)
    for fault in here.home.found(here.home.nights)[1]:
        st.warning(literal(f"Left out: {fault}"), icon=":material/warning:")
    if frame.empty:
        nothing_yet("Nothing is published yet.", here, "rank")
        return
    night = choose_night(here, served)
    assert night is not None
    _facts(here, night, served, frame)
    for tab, draw in zip(st.tabs(list(SECTIONS), key="section", bind="query-params"), SECTIONS.values(), strict=True):
        if tab.open:
            with tab:
                draw(here, night)


def _facts(here: Project, night: Run, served: Run | None, frame: pd.DataFrame) -> None:
    said, row = night.manifest, frame.set_index("night_id").loc[night.run_id]
    is_served = served is not None and night.run_id == served.run_id
    facts(
        ("As of", said["as_of"][:10], f"{said['as_of'][11:16]} UTC" + (", served" if is_served else ", not served")),
        ("Users", f"{said['n_users']:,}", "with a list"),
        ("Rows", f"{said['n_rows']:,}", f"{said['n_rows'] / said['n_users']:.1f} a user; {row['mb']:,.1f} MB"),
        ("Took", f"{said['seconds']:,.0f} s", f"{said['n_users'] / max(said['seconds'], 1e-9):,.0f} users a second"),
        ("Run", said["run_id"], "" if row["has_run"] else "is not here any more"),
    )
    if not row["has_run"]:
        st.warning(
            literal(f"Run {said['run_id']}, which ranked this night, is gone or not whole. The lists stand all the same."),
            icon=":material/warning:",
        )
    elif st.button("The figures of its run", icon=":material/monitoring:", type="tertiary"):
        st.switch_page("metrics.py", query_params={"run": said["run_id"]})
    if said.get("model_knows_the_future"):
        st.warning(
            "Its model had learned from events after this moment (--allow-future-model): its lists know the future.",
            icon=":material/warning:",
        )


def _published(here: Project, night: Run) -> None:
    """Every complete night."""
    frame = report.nights(here.home)
    columns = {
        "as_of": st.column_config.DatetimeColumn("as of (UTC)", format="YYYY-MM-DD HH:mm"),
        "is_served": st.column_config.CheckboxColumn("served"),
        "n_users": st.column_config.NumberColumn("users", format="localized"),
        "n_rows": st.column_config.NumberColumn("rows", format="localized"),
        "seconds": st.column_config.NumberColumn("seconds", format="%.1f"),
        "mb": st.column_config.NumberColumn("MB", format="%.1f"),
        "run_id": "run",
        "has_run": st.column_config.CheckboxColumn("run is here"),
        "night_id": "night",
    }
    table(frame, f"nights {here.name}", columns)


def _checks(here: Project, night: Run) -> None:
    """Is the night still what was written, and is what it stands on still there. Reads all of its files: on request."""
    st.caption("Reads every file of this night and compares it with what was written.")
    if st.button("Check this night", icon=":material/fact_check:"):
        listing(
            Row("", check.name, chips=((check.status, check.status),), below=check.message, kind="check")
            for check in report.night_checks(here.home, night)
        )


def _monitoring(here: Project, night: Run) -> None:
    """How far the night is from the one before, and how its measures went from night to night."""
    try:
        frame = report.monitoring_frame(here.home)
    except ArtefactError as error:
        st.error(message(error), icon=":material/error:")
        return
    own = frame[frame["night_id"] == night.run_id].drop(columns=["night_id", "as_of"])
    if own.empty:
        nothing_yet("This night was not measured: `recsys nightly` measures the nights that it makes.", here, "nightly")
        return
    counts = own["status"].value_counts()
    facts(*((status, f"{counts.get(status, 0):,}", "measures") for status in ("PASS", "WARN", "FAIL")))
    order = own["status"].map({"FAIL": 0, "WARN": 1, "PASS": 2})
    columns = {"measure": "measure", "key": "of what", "value": st.column_config.NumberColumn("value", format="%.4f"), "status": "status"}
    table(own.assign(order=order).sort_values(["order", "measure", "key"]).drop(columns="order"), f"monitoring {night.run_id}", columns)
    whole = frame[(frame["key"] == "") & frame["measure"].isin(own["measure"])]
    if whole["as_of"].nunique() > 1:
        st.subheader("From night to night")
        nights = whole.assign(as_of=whole["as_of"].dt.tz_convert(None))  # UTC; Streamlit's way to Arrow would warn of the zone
        st.line_chart(nights, x="as_of", y="value", color="measure", x_label="as of", y_label="")


def _rules(here: Project, night: Run) -> None:
    """What each rule did to the lists of the night, and what it costs."""
    try:
        found = report.ruled_night(here.home, night.run_id)
    except ArtefactError as error:
        st.info(message(error), icon=":material/info:")
        return
    did, prices = report.rules_frames(found)
    names = {"removed": "rows removed", "moved": "rows moved", "users": "users", "short": "lists shorter", "missed": "pins not placed"}
    st.subheader("What each rule did")
    st.caption("Each alone, against the lists that there would be without rules.")
    table(did, f"rules {night.run_id}", {"rule": "rule"} | names)
    for note in found["tonight"]["notes"]:
        st.caption(literal(note))
    if prices is not None:
        st.subheader("What it costs")
        st.caption("On the test window of the night's run: ndcg@10, and paired with the lists without rules, with its 95 % interval.")
        figure = {name: st.column_config.NumberColumn(name, format="%.4f") for name in ("ndcg", "difference", "low", "high", "coverage")}
        table(prices, f"prices {night.run_id}", {"lists": "lists under"} | figure | {"revenue": "revenue@10"})
    if found["unpriced"]:
        st.caption(literal(f"Without a price, as the run was trained with other rules: {', '.join(found['unpriced'])}."))


# Another section is a function of the project and the night that is looked at, and a line here.
SECTIONS: dict[str, Callable[[Project, Run], None]] = {
    "All nights": _published,
    "Checks": _checks,
    "Monitoring": _monitoring,
    "Rules": _rules,
}

page()
