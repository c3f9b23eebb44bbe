"""The tab "Backtest" of the metrics: the same fit judged at several past cutoffs, how far apart they are, and what all say together."""

import streamlit as st

from dashboards import charts
from dashboards.ablation import COUNT, DIFFERENCE, FOUR, SIGNED
from dashboards.pieces import literal, table
from dashboards.project import Project, nothing_yet
from recsys import report
from recsys.artefacts import Run


def draw(here: Project, run: Run, task: str) -> None:
    """The tab; where there is no backtest, the command that makes one. It belongs to the project, not to the run that is chosen."""
    found = {made.run_id: made for made in report.backtests(here.home)[::-1]}
    if not found:
        nothing_yet("There is no backtest yet.", here, "backtest")
        return
    made = found[st.selectbox("Backtest", list(found))]
    st.text("\n".join(report.backtest_notes(made, task)))
    systems = report.backtest_frame(made, task)
    if systems.empty:
        return
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("By cutoff")
        st.altair_chart(charts.cutoffs(report.cutoffs_frame(made, task)))
        st.caption("Each with its 95 % interval on the test window before the cutoff. The best other is the best one over all cutoffs.")
    paired = report.backtest_paired_frame(made, task)
    with right:
        st.subheader("The ranker against each, over all cutoffs")
        st.altair_chart(charts.paired(paired))
        st.caption("Green: the ranker is better; red: worse; grey: undecided. Users are drawn whole, with all of their cutoffs.")
    over = {"mean": "mean of cutoffs", "lowest": "lowest", "highest": "highest", "sd": "sd"}
    columns = {"system": "system", "value": st.column_config.NumberColumn("ndcg@10", format="%.4f"), "low": FOUR, "high": FOUR}
    columns |= {name: st.column_config.NumberColumn(label, format="%.4f") for name, label in over.items()} | {"n_cutoffs": "cutoffs"}
    table(systems, f"backtest {task} {made.run_id}", columns | {"n": st.column_config.NumberColumn("users", format="localized")})
    named = {"against": "ranker against"} | DIFFERENCE | {"p": FOUR, "p_holm": st.column_config.NumberColumn("p (Holm)", format="%.4f")}
    named |= {"won": COUNT, "lost": COUNT, "n_cutoffs": "cutoffs", "lowest": SIGNED, "highest": SIGNED, "word": "ranker is"}
    table(paired, f"backtest paired {task} {made.run_id}", named)
    st.caption(
        literal("Holm: the p-value made good for asking about so many systems. More, with candidate recall by source: recsys backtest.")
    )
