"""The tab "Chances" of the metrics: can the probabilities of the lists be believed, for whom, and what would simpler ways have said"""

import streamlit as st

from dashboards import charts
from dashboards.pieces import literal, table
from recsys import report
from recsys.artefacts import Run

FIGURES = {
    "n": st.column_config.NumberColumn("candidates", format="localized"),
    "base_rate": st.column_config.NumberColumn("happened", format="%.5f"),
    "predicted": st.column_config.NumberColumn("said", format="%.5f"),
    "gap": st.column_config.NumberColumn("too high by", format="%+.5f"),
    "low": st.column_config.NumberColumn(format="%+.5f"),
    "high": st.column_config.NumberColumn(format="%+.5f"),
    "ece": st.column_config.NumberColumn("ECE", format="%.5f"),
    "brier_skill": st.column_config.NumberColumn("skill (Brier)", format="%+.4f"),
    "log_loss_skill": st.column_config.NumberColumn("skill (log loss)", format="%+.4f"),
}


def draw(run: Run, task: str) -> None:
    """The tab, for a run that has chances."""
    entry = report.object_of(run)["calibration"]
    n = entry["n_users"]
    st.caption(
        f"The chance that a user clicks or buys an item within {entry['days']} days of being among the candidates. Learned on "
        f"{n['learned']:,} users with a history as of the valid window, judged on {n['judged']:,} as of the test window, whether they "
        "then acted or not."
    )
    for kind, why in report.absent(report.object_of(run), task).items():
        st.info(literal(f"No chance of a {kind}: {why}."), icon=":material/info:")
    said, curve = report.said_frame(run, task), report.reliability_frame(run, task)
    if said.empty:
        return
    left, right = st.columns([2, 3], gap="large")
    with left:
        st.subheader("Said and happened, first ten places")
        st.altair_chart(charts.reliability(curve))
    with right:
        st.subheader("What was said, and what simpler ways would have said")
        table(said, f"chances {task} {run.run_id}", {"said_by": "said by", "kind": "chance of"} | FIGURES)
        st.caption(
            "ECE: how far said and happened are apart within tenths of the candidates. Skill: 0 is as good as knowing the share alone, 1 "
            "is certain and right. A single number for everybody has hardly an ECE, and no skill."
        )
    st.subheader("By kind of user, item and place")
    columns = {"value": "value", "slice": "slice", "kind": "chance of"} | FIGURES
    table(report.chances_sliced_frame(run, task), f"chances by slice {task} {run.run_id}", columns)
