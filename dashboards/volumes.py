"""Data: how much happens, by day and type; what was read, kept and rejected; what the named checks say."""

import subprocess
import sys
from datetime import datetime
from typing import Any

import streamlit as st

from dashboards import charts
from dashboards.pieces import Row, counted, csv, facts, listing, literal, table
from dashboards.project import Project, current_run, nothing_yet, project, served_night, volumes_frame
from recsys import report
from recsys.artefacts import Run

ORDER = ("FAIL", "WARN", "PASS")


def page() -> None:
    """The page."""
    here = project()
    run, served = current_run(here.home), served_night(here.home)
    st.title("Data")
    st.caption(f"Project {literal(here.name)}: how much happens, what was kept of it, and what the named checks say.")
    source = served or run
    volumes, checks, counts = st.tabs(["Volumes", "Checks", "Read and rejected"], key="about", bind="query-params")
    if checks.open:
        with checks:
            _checks(here)
    for tab, draw in ((volumes, _volumes), (counts, _counts)):
        if tab.open:
            with tab:
                if source is None:
                    nothing_yet("There is no run yet, so no tables were kept.", here, "train")
                else:
                    draw(here, source)


def _volumes(here: Project, source: Run) -> None:
    frame = volumes_frame(here.home, source)
    days = frame["day"].nunique()
    facts(
        ("Events", f"{frame['n'].sum():,}", f"of {counted(frame['event_type'].nunique(), 'type')}"),
        ("Days", f"{days:,}", f"{frame['day'].min():%Y-%m-%d} to {frame['day'].max():%Y-%m-%d}"),
        ("A day", f"{frame.groupby('day')['n'].sum().median():,.0f}", "events, the median"),
        ("Latest day", f"{frame.loc[frame['day'] == frame['day'].max(), 'n'].sum():,}", "events; it may not be over"),
    )
    for event_type, of_type in frame.groupby("event_type", sort=False):
        st.subheader(f"{event_type}: {of_type['n'].sum():,}")
        st.altair_chart(charts.volumes(of_type))
    st.caption(literal(f"Events a day, of tables {source.manifest['tables']}, on which {source.run_id} stands."))
    csv(frame, f"volumes {source.manifest['tables']}")


def _counts(here: Project, source: Run) -> None:
    frame = report.counts_frame(here.home, source)
    columns = {"table": "table", "what": "what", "rows": st.column_config.NumberColumn(format="localized")}
    table(frame, f"counts {source.manifest['tables']}", columns)
    st.caption(
        literal(
            f"As counted when tables {source.manifest['tables']} were made; their table `rejects` holds every rejected row with its reason."
        )
    )


def _checks(here: Project) -> None:
    """What the last `recsys check` found; the button runs that command."""
    if st.button(
        "Check now", icon=":material/fact_check:", help="Runs recsys check: it reads the raw files, and takes as long as they are large."
    ):
        with st.spinner("recsys check reads the raw files ...", show_time=True):
            _run_check(here)
    found = here.home.checks()
    if found is None:
        nothing_yet("The data were not checked yet.", here, "check")
        return
    checks = sorted(found["checks"], key=lambda check: ORDER.index(check["status"]))
    told = ", ".join(f"{sum(check['status'] == status for check in checks)} {status}" for status in ORDER)
    st.caption(f"{told}. The last recsys check was {datetime.fromisoformat(found['made']):%Y-%m-%d %H:%M} UTC.")
    listing(
        Row(
            "",
            check["name"],
            chips=((check["status"], check["status"]),),
            below=_found(check),
            kind="check",
        )
        for check in checks
    )
    frame = report.checks_frame(found)
    csv(frame, f"checks {here.name}")


def _found(check: dict[str, Any]) -> str:
    examples = "; ".join(check["examples"])
    return f"{check['message']} (for example: {examples})" if examples else check["message"]


def _run_check(here: Project) -> None:
    """In a process of its own: it holds the raw rows in memory, and may need torch. It keeps what it finds."""
    command = [sys.executable, "-m", "recsys.cli", "check", "--config", str(here.path), "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):  # 1: a check failed, which the page shows
        st.error(literal(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"recsys check ended with {done.returncode}."))


page()
