"""The map of the items: their vectors in a plane, a point an item, coloured by category, the chosen one and those near it on top."""

import altair as alt
import pandas as pd
import polars as pl
import streamlit as st

from recsys.report import TextVectors

PICK = "pick"
MOST_POINTS = 4000
"""More would make a browser wait, and no eye tells them apart."""

COLOURS = ("#3b82f6", "#f59e0b", "#14b8a6", "#e5484d", "#8b5cf6", "#ec4899", "#84cc16", "#06b6d4", "#a16207")
OTHERS_COLOUR = "#94a3b8"
OTHERS = "other"


def plane(vectors: TextVectors, items: pl.DataFrame, chosen: str | None, near: list[str]) -> tuple[pd.DataFrame, float]:
    """item_id, title, kind (the category, where it is a frequent one), category, x, y, role (chosen, near, item), and the share of the
    variance that the plane holds. At most MOST_POINTS rows: the busiest items, and always the chosen one and those near it.
    """
    places, share = vectors.plane()
    role = (
        pl.when(pl.col("item_id") == pl.lit(chosen, pl.String))
        .then(pl.lit("chosen"))
        .when(pl.col("item_id").is_in(near))
        .then(pl.lit("near"))
    )
    axes = {name: places[:, column] for column, name in enumerate("xy"[: places.shape[1]])}
    rows = pl.DataFrame({"item_id": vectors.item_id, "x": 0.0, "y": 0.0} | axes).with_columns(role=role.otherwise(pl.lit("item")))
    named = rows.join(items.select("item_id", "title", "category", "n_events"), on="item_id", how="left")
    kind = pl.when(pl.col("category").is_in(frequent(items))).then("category").otherwise(pl.lit(OTHERS))
    order = named.with_columns(kind=kind).sort(pl.col("role") == "item", -pl.col("n_events").fill_null(0).cast(pl.Int64), "item_id")
    drawn = order.head(MOST_POINTS).select("item_id", "title", "kind", "category", "x", "y", "role")
    return drawn.reverse().to_pandas(), share


def frequent(items: pl.DataFrame) -> list[str]:
    """The most frequent categories of the whole catalogue, by name: as many as have a colour of their own, the same on every map."""
    counts = items["category"].drop_nulls().value_counts(sort=False).sort(["count", "category"], descending=[True, False])
    return sorted(counts["category"].head(len(COLOURS)))


def chart(frame: pd.DataFrame, kinds: list[str]) -> alt.LayerChart:
    """The map, in the colours of the `frequent` categories; a click on a point is the selection `pick`, with its item_id."""
    colours = dict(zip(kinds, COLOURS, strict=False)) | {OTHERS: OTHERS_COLOUR}
    drawn = [kind for kind in (*kinds, OTHERS) if kind in set(frame["kind"])]
    scale = alt.Scale(domain=drawn, range=[colours[kind] for kind in drawn])
    axis = alt.Axis(labels=False, ticks=False, grid=False, domain=False)
    is_chosen = bool((frame["role"] == "chosen").any())
    base = alt.Chart(frame).encode(
        x=alt.X("x:Q", title=None, axis=axis, scale=alt.Scale(zero=False)),
        y=alt.Y("y:Q", title=None, axis=axis, scale=alt.Scale(zero=False)),
        color=alt.Color(
            "kind:N",
            title=None,
            scale=scale,
            legend=alt.Legend(orient="bottom", columns=4, labelLimit=120, symbolOpacity=1, symbolStrokeWidth=0),
        ),
        tooltip=[alt.Tooltip("title:N", title="item"), alt.Tooltip("category:N"), alt.Tooltip("item_id:N", title="id")],
    )
    pick = alt.selection_point(name=PICK, fields=["item_id"], on="click", toggle=False)
    points = base.mark_circle(size=28, opacity=0.25 if is_chosen else 0.6, cursor="pointer").add_params(pick)
    near = base.transform_filter("datum.role == 'near'").mark_circle(size=90, opacity=0.95, cursor="pointer")
    edge = "#f8fafc" if st.context.theme.type == "dark" else "#0f172a"
    chosen = base.transform_filter("datum.role == 'chosen'").mark_point(
        filled=True, size=260, shape="diamond", stroke=edge, strokeWidth=2, opacity=1
    )
    return (points + near + chosen).properties(height=480)
