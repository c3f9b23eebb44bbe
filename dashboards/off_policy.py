"""The tab "Pages" of the metrics: what other lists would have brought on the pages that were shown"""

import streamlit as st

from dashboards import charts
from dashboards.pieces import literal, table
from recsys import report
from recsys.artefacts import Run

ONE = st.column_config.NumberColumn(format="%.1f")
COLUMNS = {
    "system": "system",
    "value": st.column_config.NumberColumn("acts per 1,000 places", format="%.1f"),
    "low": ONE,
    "high": ONE,
    "more": st.column_config.NumberColumn("more than it was", format="%+.1f"),
    "more_low": st.column_config.NumberColumn("low ", format="%+.1f"),
    "more_high": st.column_config.NumberColumn("high ", format="%+.1f"),
    "ips": st.column_config.NumberColumn("IPS", format="%.1f"),
    "snips": st.column_config.NumberColumn("SNIPS", format="%.1f"),
    "effective": st.column_config.NumberColumn("even places", format="localized"),
    "acts": st.column_config.NumberColumn("acts on them", format="localized"),
}
MEANT = {
    "places": "Had each place, the others as they were, gone to one of the system's ten items, drawn evenly from those not above it.",
    "order": "Had the items of each page been sorted by the system. Each was shown, so only how often its place is looked at differs.",
}


def draw(run: Run, task: str) -> None:
    """The tab; says why there is nothing where a run has no page."""
    whys = {question: report.why_no_off_policy(report.object_of(run), question) for question in report.QUESTIONS}
    looks = report.looks_frame(run)
    if looks.empty:
        st.info(literal(f"No estimate from pages: {whys['places']}. What is needed: docs/off_policy.md of recsys."), icon=":material/info:")
        return
    st.caption(
        "Estimates of what would have happened, out of what was shown in the test window: doubly robust, with 95 % intervals over users. "
        "Even places: how many places, each counting once, the weighted ones are worth."
    )
    for question, title in report.QUESTIONS.items():
        st.subheader(title)
        st.caption(MEANT[question])
        if whys[question]:
            st.info(literal(f"No estimate: {whys[question]}."), icon=":material/info:")
        else:
            _question(run, question)
    st.subheader("How often a place is looked at")
    st.altair_chart(charts.looks(looks))


def _question(run: Run, question: str) -> None:
    frame = report.off_policy_frame(run, question)
    left, right = st.columns([2, 3], gap="large")
    left.altair_chart(charts.off_policy(frame))
    with right:
        table(frame, f"off policy {question} {run.run_id}", COLUMNS)
        for row in frame[frame["refused"] != ""].itertuples():
            st.caption(literal(f"{row.system}: no estimate, {row.refused}."))
