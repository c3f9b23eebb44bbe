"""The tab "Slices" of the metrics: for whom and for what the ranker is good, what is too small to say, and what the mean hides."""

import pandas as pd
import streamlit as st

from dashboards import charts
from dashboards.pieces import literal, table
from recsys import report
from recsys.artefacts import Run

NAMES = {
    "item_age": "age of the item",
    "user_activity": "activity of the user",
    "item_popularity": "popularity of the item",
    "item_popularity_decile": "popularity by tenths",
    "item_category": "category",
    "item_price": "price",
    "event_type": "what the user did",
}
"""Those that every verdict has; a column that the config names has its own."""


def choose(frame: pd.DataFrame) -> str:
    """A choice among the slices of a frame, cold ones first."""
    names = list(frame["slice"].unique())
    return str(st.selectbox("Slice", names, format_func=lambda name: literal(NAMES.get(name, name))))


def draw(run: Run, task: str) -> None:
    """The tab."""
    whole = report.slices_frame(run, task)
    if whole.empty:
        st.info("Nobody is judged in this task, so there are no slices.", icon=":material/info:")
        return
    chosen = choose(whole)
    frame = whole[whole["slice"] == chosen]
    st.altair_chart(charts.slices(frame))
    systems = [name for name in report.systems_frame(run, task)["system"] if name in set(frame["system"])]
    count, share = st.column_config.NumberColumn("users", format="localized"), st.column_config.NumberColumn(format="percent")
    columns = {"value": NAMES.get(chosen, chosen), "n": count, "share": share, "told": "enough users"}
    table(
        _wide(frame), f"slices {chosen} {task} {run.run_id}", columns | dict.fromkeys(systems, st.column_config.NumberColumn(format="%.4f"))
    )
    for note in report.slice_notes(report.object_of(run), task):
        st.caption(literal(note))


def _wide(frame: pd.DataFrame) -> pd.DataFrame:
    """A row a value, in the order of the verdict, a column a system."""
    ndcg = frame.pivot(index="value", columns="system", values="ndcg")
    values = frame.drop_duplicates("value")[["value", "n", "share", "is_small"]]
    told = values["is_small"].map({True: report.TOO_FEW, False: "yes"})
    return values.assign(told=told).merge(ndcg, left_on="value", right_index=True)
