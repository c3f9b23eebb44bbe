"""The tab "Did the text pay?" of the metrics: what each state of knowledge about text brings, where, and what it costs."""

import streamlit as st

from dashboards import charts, slices
from dashboards.pieces import literal, table
from recsys import report
from recsys.artefacts import Run

FOUR = st.column_config.NumberColumn(format="%.4f")
SIGNED = st.column_config.NumberColumn(format="%+.4f")
COUNT = st.column_config.NumberColumn(format="localized")
DIFFERENCE = dict.fromkeys(("difference", "low", "high"), SIGNED) | {
    "better": st.column_config.NumberColumn("users better", format="localized"),
    "tied": COUNT,
    "worse": COUNT,
    "word": "the first is",
}


def draw(run: Run, task: str) -> None:
    """The tab, for a run trained with `--ablate`."""
    first, *rest = report.answer(run, task)
    st.subheader(literal(first))
    for sentence in rest:
        st.text(sentence)  # a category may hold what markdown would read as markup
    st.subheader("What it knows of text, and what that costs")
    _variants(run, task)
    pairs = report.differences_frame(run, task)
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Paired by user")
        st.altair_chart(charts.differences(pairs))
        st.caption("Green: the first is better; red: worse; grey: undecided, zero lies inside the 95 % interval of the difference.")
    with right:
        st.subheader("Where")
        names = list(pairs["pair"])
        pair = st.selectbox("Pair", names, index=names.index(report.headline(run)))
        where = report.sliced_frame(run, task, pair)
        if where.empty:
            st.info("Nobody is judged in this task, so there are no slices.", icon=":material/info:")
        else:
            chosen = slices.choose(where)
            st.altair_chart(charts.sliced_differences(where[where["slice"] == chosen]))
    if not where.empty:
        columns = {"value": "value", "slice": "slice", "n": st.column_config.NumberColumn("users", format="localized")} | DIFFERENCE
        table(where, f"where {pair} {task} {run.run_id}", columns)
        st.caption(report.chance(int(where["low"].notna().sum())))
    st.subheader("Every pair in figures")
    table(pairs, f"pairs {task} {run.run_id}", {"pair": "pair"} | DIFFERENCE)


def _variants(run: Run, task: str) -> None:
    columns = {
        "variant": "variant",
        "ndcg": st.column_config.NumberColumn("ndcg@10", format="%.4f"),
        "low": FOUR,
        "high": FOUR,
        "training_minutes": st.column_config.NumberColumn("training, minutes", format="%.2f"),
        "text_minutes": st.column_config.NumberColumn("of it text", format="%.2f"),
        "scoring_seconds": st.column_config.NumberColumn("scoring, seconds", format="%.1f"),
        "meaning": "text",
    }
    table(report.variants_frame(run, task), f"variants {task} {run.run_id}", columns)
    st.caption(literal(" ".join(report.notes(run))))
