"""The tab "Did the text pay?" of the verdict: what each state of knowledge about text brings, where, and what it costs."""

import streamlit as st

from dashboards import charts
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
    st.subheader(first)
    for sentence in rest:
        st.text(sentence)  # a category may hold what markdown would read as markup
    st.subheader("What it knows of text, and what that costs")
    _variants(run, task)
    pairs = report.differences_frame(run, task)
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Paired by user")
        st.altair_chart(charts.differences(pairs))
    with right:
        st.subheader("Where")
        names = list(pairs["pair"])
        pair = st.selectbox("Pair", names, index=names.index(report.headline(run)))
        where = report.sliced_frame(run, task, pair)
        if where.empty:
            st.info("Nobody is judged in this task, so there are no slices.", icon=":material/info:")
        else:
            st.altair_chart(charts.sliced_differences(where))
    if not where.empty:
        columns = {"slice": "slice", "value": "value", "n": st.column_config.NumberColumn("users", format="localized")} | DIFFERENCE
        st.dataframe(where, hide_index=True, column_order=list(columns), column_config=columns)
        st.caption(report.chance(len(where)))
    with st.expander("Every pair in figures"):
        st.dataframe(pairs, hide_index=True, column_config=DIFFERENCE)


def _variants(run: Run, task: str) -> None:
    config = {
        "variant": st.column_config.TextColumn(width=140),
        "meaning": st.column_config.TextColumn("text", width=380),
        "ndcg": st.column_config.NumberColumn("ndcg@10", format="%.4f"),
        "low": FOUR,
        "high": FOUR,
        "training_minutes": st.column_config.NumberColumn("training, minutes", format="%.2f"),
        "text_minutes": st.column_config.NumberColumn("of it text", format="%.2f"),
        "scoring_seconds": st.column_config.NumberColumn("scoring, seconds", format="%.1f"),
    }
    st.dataframe(report.variants_frame(run, task), hide_index=True, column_order=list(config), column_config=config)
    st.caption(" ".join(report.notes(run)))
