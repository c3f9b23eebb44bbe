"""Nights: what was published when, by which run, how large, what is served, and whether it is still what was written."""

from collections.abc import Callable

import pandas as pd
import streamlit as st

from dashboards.pieces import Row, facts, listing, literal, table
from dashboards.project import Project, choose_night, nothing_yet, project, served_night
from recsys import report
from recsys.artefacts import Run


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


# Another section is a function of the project and the night that is looked at, and a line here.
SECTIONS: dict[str, Callable[[Project, Run], None]] = {"All nights": _published, "Checks": _checks}

page()
