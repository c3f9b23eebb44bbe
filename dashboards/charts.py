"""The charts of the dashboard: a frame of `recsys.report` in, an Altair chart out, readable on light and on dark."""

import altair as alt
import pandas as pd
import streamlit as st

from recsys.report import ANCHORS, TOO_FEW

RANKER, WITHOUT_TEXT, OTHER, NEUTRAL = "#3b82f6", "#f59e0b", "#14b8a6", "#94a3b8"
WORDS = {"better": "#22a06b", "undecided": NEUTRAL, "tied": NEUTRAL, "worse": "#e5484d", TOO_FEW: NEUTRAL}
FEW = alt.Axis(tickCount=6)
TWO = alt.Legend(orient="bottom", columns=2)
"""As wide as a phone."""

ROLES = {"ranker": RANKER, "ranker_no_text": WITHOUT_TEXT, "best other": OTHER}


def systems(frame: pd.DataFrame) -> alt.LayerChart:
    """ndcg@10 of each system as a bar with its 95 % interval as whiskers, the best first; the anchors as lines to measure them by."""
    found = frame.rename(columns={"ndcg@10": "ndcg"}).dropna(subset="ndcg")
    is_anchor = found["system"].isin(ANCHORS)
    rows = found[~is_anchor]
    order = list(rows["system"])
    colour = alt.Color("system:N", legend=None, scale=alt.Scale(domain=order, range=[ROLES.get(name, NEUTRAL) for name in order]))
    y = alt.Y("system:N", sort=order, title=None, axis=alt.Axis(labelLimit=220))
    base = alt.Chart(rows).encode(y=y, tooltip=_figures())
    bars = base.mark_bar(cornerRadiusEnd=3, opacity=0.85).encode(x=alt.X("ndcg:Q", title="ndcg@10, 95 % interval", axis=FEW), color=colour)
    return (bars + _whiskers(base) + _marks(found[is_anchor])).properties(height=36 * len(rows) + 60)


def _marks(anchors: pd.DataFrame) -> alt.LayerChart:
    base = alt.Chart(anchors).encode(x="ndcg:Q", tooltip=_figures())
    lines = base.mark_rule(strokeDash=[4, 4], strokeWidth=1.5, color=NEUTRAL)
    return lines + base.mark_text(baseline="bottom", dy=-4, color=NEUTRAL).encode(y=alt.value(0), text="system:N")


def paired(frame: pd.DataFrame) -> alt.LayerChart:
    """The ranker's difference from each system with its interval, against a line at zero."""
    return _differences(frame, "against", "ndcg@10, ranker minus the other")


def differences(frame: pd.DataFrame) -> alt.LayerChart:
    """The difference within each pair of variants with its interval, against a line at zero."""
    return _differences(frame, "pair", "difference in ndcg@10")


def metric_differences(frame: pd.DataFrame) -> alt.LayerChart:
    """The difference of two runs in each metric with its interval, against a line at zero."""
    return _differences(frame, "metric", "A minus B")


def sliced_differences(frame: pd.DataFrame) -> alt.LayerChart:
    """The difference of one pair in each value of a slice, with its interval where there are users enough for one."""
    place = [f"{row.value}  ({TOO_FEW if row.word == TOO_FEW else 'n'} {row.n:,})" for row in frame.itertuples()]
    return _differences(frame.assign(place=place), "place", "difference in ndcg@10")


def _differences(frame: pd.DataFrame, row: str, title: str) -> alt.LayerChart:
    rows = frame.dropna(subset="difference")
    scale = alt.Scale(domain=list(WORDS), range=list(WORDS.values()))
    colour = alt.Color("word:N", title=None, scale=scale, legend=None)
    y = alt.Y(f"{row}:N", sort=list(rows[row]), title=None, axis=alt.Axis(labelLimit=300, labelOverlap=False))
    tooltip = [row, *(alt.Tooltip(f"{name}:Q", format="+.4f") for name in ("difference", "low", "high")), "better", "tied", "worse"]
    base = alt.Chart(rows).encode(y=y, color=colour, tooltip=tooltip)
    zero = alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule(strokeDash=[4, 4], color=NEUTRAL).encode(x="zero:Q")
    lines = base.mark_rule(strokeWidth=3).encode(x=alt.X("low:Q", title=title, axis=FEW), x2="high:Q")
    points = base.mark_point(filled=True, size=90, opacity=1).encode(x="difference:Q")
    return (zero + lines + points).properties(height=30 * len(rows) + 60)


def slices(frame: pd.DataFrame) -> alt.LayerChart:
    """ndcg@10 of the ranker with and without text and of the best other system, in each value of a slice; pale where users are too few."""
    rows = frame[frame["role"] != "other"].dropna(subset="ndcg")
    place = [f"{row.value}  ({TOO_FEW if row.is_small else 'n'} {row.n:,})" for row in rows.itertuples()]
    rows = rows.assign(place=place)
    roles = list(ROLES)
    colour = alt.Color("role:N", title=None, scale=alt.Scale(domain=roles, range=list(ROLES.values())), legend=TWO)
    offset = alt.YOffset("role:N", sort=roles)
    tooltip = ["value", *_figures()]
    y = alt.Y("place:N", sort=list(dict.fromkeys(place)), title=None, axis=alt.Axis(labelLimit=260))
    base = alt.Chart(rows).encode(y=y, yOffset=offset, tooltip=tooltip)
    pale = alt.when("datum.is_small").then(alt.value(0.3)).otherwise(alt.value(0.85))
    x = alt.X("ndcg:Q", title="ndcg@10, 95 % interval", axis=FEW)
    bars = base.mark_bar(cornerRadiusEnd=2).encode(x=x, color=colour, opacity=pale)
    return (bars + _whiskers(base)).properties(height=90 * rows["value"].nunique() + 80)


def recall(frame: pd.DataFrame) -> alt.Chart:
    """What share of what users went for each source retrieved, alone and as the only one."""
    names = {"alone": "retrieved by it", "only": "by no other source"}
    rows = frame.melt(id_vars="source", value_vars=list(names), var_name="share", value_name="of_pairs").replace({"share": names})
    colour = alt.Color(
        "share:N", title=None, scale=alt.Scale(domain=list(names.values()), range=[RANKER, OTHER]), legend=alt.Legend(orient="bottom")
    )
    y = alt.Y("source:N", sort=list(frame["source"]), title=None, axis=alt.Axis(labelLimit=220))
    chart = alt.Chart(rows).mark_bar(cornerRadiusEnd=2, opacity=0.9)
    x = alt.X("of_pairs:Q", title="share of all pairs of user and relevant item", axis=alt.Axis(format="%", tickCount=5))
    tooltip = ["source", "share", alt.Tooltip("of_pairs:Q", format=".2%")]
    return chart.encode(x=x, y=y, yOffset=alt.YOffset("share:N", sort=list(names.values())), color=colour, tooltip=tooltip).properties(
        height=44 * len(frame) + 80
    )


def text_curve(frame: pd.DataFrame) -> alt.Chart:
    """ndcg of the text model by step, a line a phase."""
    colours = {"warm": WITHOUT_TEXT, "joint": RANKER, "blend": OTHER}
    return _curve(frame, "step", "phase", colours, "step of the phase", "ndcg@100 on its own validation")


def ranker_curve(frame: pd.DataFrame) -> alt.Chart:
    """LightGBM's own ndcg@10 on held-out windows by trees added, a line a ranker: the one with text goes on from the other's trees."""
    colours = {"ranker": RANKER, "ranker_no_text": WITHOUT_TEXT}
    return _curve(frame, "trees", "system", colours, "trees added", "LightGBM's ndcg@10")


def _curve(frame: pd.DataFrame, x: str, line: str, colours: dict[str, str], x_title: str, y_title: str) -> alt.Chart:
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    # A curve lives in a narrow band: from zero its shape would not be seen.
    y = alt.Y("ndcg:Q", title=y_title, scale=alt.Scale(zero=False))
    chart = alt.Chart(frame.dropna(subset="ndcg")).mark_line(point=len(frame) < 60, strokeWidth=2.5)
    colour = alt.Color(f"{line}:N", title=None, scale=scale, legend=alt.Legend(orient="bottom"))
    tooltip = [line, x, alt.Tooltip("ndcg:Q", format=".4f")]
    return chart.encode(x=alt.X(f"{x}:Q", title=x_title), y=y, color=colour, tooltip=tooltip).properties(height=340)


def importance(frame: pd.DataFrame) -> alt.Chart:
    """Share of the total gain of each feature, with its meaning on hover."""
    y = alt.Y("feature:N", sort=list(frame["feature"]), title=None, axis=alt.Axis(labelLimit=260))
    is_text = frame.assign(kind=frame["feature"].str.startswith("text_").map({True: "text", False: "behaviour and item"}))
    scale = alt.Scale(domain=["text", "behaviour and item"], range=[RANKER, NEUTRAL])
    colour = alt.Color("kind:N", title=None, scale=scale, legend=alt.Legend(orient="bottom"))
    x = alt.X("gain:Q", title="share of the total gain", axis=alt.Axis(format="%", tickCount=5))
    bars = alt.Chart(is_text).mark_bar(cornerRadiusEnd=2, opacity=0.9)
    return bars.encode(x=x, y=y, color=colour, tooltip=["feature", "meaning", alt.Tooltip("gain:Q", format=".2%")]).properties(
        height=24 * len(frame) + 80
    )


def shares(frame: pd.DataFrame) -> alt.Chart:
    """By how much the share of the total gain of each feature differs between two runs, the largest change first."""
    y = alt.Y("feature:N", sort=list(frame["feature"]), title=None, axis=alt.Axis(labelLimit=260))
    x = alt.X("difference:Q", title="share of the total gain, A minus B", axis=alt.Axis(format="+%", tickCount=5))
    figures = [alt.Tooltip(f"{name}:Q", format=".2%") for name in ("a", "b", "difference")]
    bars = alt.Chart(frame).mark_bar(cornerRadiusEnd=2, opacity=0.9, color=RANKER)
    return bars.encode(x=x, y=y, tooltip=["feature", "meaning", *figures]).properties(height=24 * len(frame) + 60)


def families(frame: pd.DataFrame) -> alt.LayerChart:
    """What each family of features adds to a score, or takes from it, against a line at zero; its meaning on hover."""
    word = frame["adds"].map(lambda value: "better" if value >= 0 else "worse")
    scale = alt.Scale(domain=["better", "worse"], range=[WORDS["better"], WORDS["worse"]])
    tooltip = ["family", "meaning", alt.Tooltip("adds:Q", format="+.4f")]
    base = alt.Chart(frame.assign(word=word)).encode(y=alt.Y("family:N", sort=list(frame["family"]), title=None), tooltip=tooltip)
    x = alt.X("adds:Q", title="added to the score", axis=FEW)
    bars = base.mark_bar(cornerRadiusEnd=2, opacity=0.85).encode(x=x, color=alt.Color("word:N", legend=None, scale=scale))
    zero = alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule(color=NEUTRAL).encode(x="zero:Q")
    return (bars + zero).properties(height=24 * len(frame) + 40)


def windows(frame: pd.DataFrame) -> alt.Chart:
    """The windows on the line of time."""
    y = alt.Y("name:N", sort=list(frame["name"]), title=None)
    days = [alt.Tooltip(f"{name}:T", format="%Y-%m-%d") for name in ("start", "end")]
    chart = alt.Chart(frame).mark_bar(cornerRadius=3, height=16, color=RANKER, opacity=0.85)
    tooltip = ["name", *days, alt.Tooltip("n_events:Q", format=",", title="events"), alt.Tooltip("n_queries:Q", format=",", title="users")]
    return chart.encode(x=alt.X("start:T", title=None), x2="end:T", y=y, tooltip=tooltip).properties(height=32 * len(frame) + 40)


def _figures() -> list[object]:
    values = [alt.Tooltip(f"{name}:Q", format=".4f") for name in ("ndcg", "low", "high")]
    return ["system", *values, alt.Tooltip("n:Q", title="users")]


def _whiskers(base: alt.Chart) -> alt.LayerChart:
    colour = "#e2e8f0" if st.context.theme.type == "dark" else "#1e293b"
    line = base.mark_rule(color=colour, strokeWidth=1.5).encode(x="low:Q", x2="high:Q")
    ends = [base.mark_tick(color=colour, size=8, thickness=1.5).encode(x=f"{end}:Q") for end in ("low", "high")]
    return alt.layer(line, *ends)


def volumes(frame: pd.DataFrame) -> alt.Chart:
    """Events of one type, a bar a day, from zero up."""
    tooltip = [alt.Tooltip("day:T", format="%A %Y-%m-%d"), alt.Tooltip("n:Q", format=",", title="events")]
    bars = alt.Chart(frame).mark_bar(color=RANKER)
    x = alt.X("yearmonthdate(day):T", title=None)
    return bars.encode(x=x, y=alt.Y("n:Q", title=None, axis=alt.Axis(format="~s", tickCount=3)), tooltip=tooltip).properties(height=130)


def reliability(frame: pd.DataFrame) -> alt.LayerChart:
    """The share that happened by the mean chance of each bin, a line a kind, against the line where the two are equal."""
    top = float(frame[["predicted", "happened"]].max().max())
    scale = alt.Scale(domain=["click", "purchase"], range=[RANKER, OTHER])
    tooltip = [
        "kind",
        *(alt.Tooltip(f"{name}:Q", format=".3%") for name in ("predicted", "happened")),
        alt.Tooltip("n:Q", title="candidates"),
    ]
    x = alt.X("predicted:Q", title="said: mean chance of a tenth of the candidates", axis=alt.Axis(format="%", tickCount=5))
    y = alt.Y("happened:Q", title="happened: share of it", axis=alt.Axis(format="%", tickCount=5))
    lines = alt.Chart(frame).mark_line(point=alt.OverlayMarkDef(size=70, filled=True), strokeWidth=2.5)
    lines = lines.encode(x=x, y=y, color=alt.Color("kind:N", title=None, scale=scale, legend=TWO), tooltip=tooltip)
    equal = alt.Chart(pd.DataFrame({"predicted": [0.0, top], "happened": [0.0, top]})).mark_line(strokeDash=[4, 4], color=NEUTRAL)
    return (equal.encode(x=x, y=y) + lines).properties(height=360)


def off_policy(frame: pd.DataFrame) -> alt.LayerChart:
    """What each system's pages would have brought with its interval, against a line at what was; one without an estimate is left out."""
    logged, rows = frame.iloc[:1], frame.iloc[1:].dropna(subset="value")
    order = list(rows["system"])
    colour = alt.Color("system:N", legend=None, scale=alt.Scale(domain=order, range=[ROLES.get(name, NEUTRAL) for name in order]))
    tooltip = ["system", *(alt.Tooltip(f"{name}:Q", format=".1f") for name in ("value", "low", "high", "effective"))]
    base = alt.Chart(rows).encode(y=alt.Y("system:N", sort=order, title=None), color=colour, tooltip=tooltip)
    was = alt.Chart(logged).mark_rule(strokeDash=[4, 4], color=NEUTRAL).encode(x="value:Q", tooltip=tooltip[:4])
    lines = base.mark_rule(strokeWidth=3).encode(
        x=alt.X("low:Q", title="acts per 1,000 places shown; dashed: as it was", axis=FEW), x2="high:Q"
    )
    return (was + lines + base.mark_point(filled=True, size=90, opacity=1).encode(x="value:Q")).properties(height=36 * len(rows) + 60)


def looks(frame: pd.DataFrame) -> alt.Chart:
    """How often each place of a page is looked at, the first 1."""
    x = alt.X("place:O", title="place of the page", axis=alt.Axis(labelAngle=0))
    bars = alt.Chart(frame).mark_bar(cornerRadiusEnd=3, opacity=0.85, color=RANKER)
    return bars.encode(
        x=x, y=alt.Y("looked:Q", title="looked at", axis=FEW), tooltip=["place", alt.Tooltip("looked:Q", format=".2f")]
    ).properties(height=240)


def runs(frame: pd.DataFrame) -> alt.LayerChart:
    """ndcg@10 of each run's ranker with its interval, beside it the one without text and the best other system; the latest window last."""
    names = {"ndcg": "ranker", "without_text": "ranker_no_text", "best_other": "best other"}
    rows = frame.melt(
        id_vars=["run_id", "end", "n", "best_other_name", "low", "high"], value_vars=list(names), var_name="role", value_name="value"
    )
    rows = rows.replace({"role": names}).dropna(subset="value")
    order = list(frame["run_id"])
    x = alt.X("run_id:N", sort=order, title=None, axis=alt.Axis(labelAngle=-30, labelLimit=170))
    scale = alt.Scale(domain=list(ROLES), range=list(ROLES.values()))
    colour = alt.Color("role:N", title=None, scale=scale, legend=TWO)
    figures = [alt.Tooltip(f"{name}:Q", format=".4f") for name in ("value", "low", "high")]
    tooltip = [
        "run_id",
        "role",
        "best_other_name",
        *figures,
        alt.Tooltip("n:Q", title="users"),
        alt.Tooltip("end:N", title="test window until"),
    ]
    base = alt.Chart(rows).encode(x=x, color=colour, tooltip=tooltip)
    y = alt.Y("value:Q", title="ndcg@10 on its own test window", scale=alt.Scale(zero=False))
    whiskers = base.transform_filter("datum.role == 'ranker'").mark_rule(strokeWidth=2.5).encode(y=alt.Y("low:Q"), y2="high:Q")
    return (whiskers + base.mark_point(filled=True, size=90, opacity=1).encode(y=y)).properties(height=360)


def cutoffs(frame: pd.DataFrame) -> alt.LayerChart:
    """ndcg@10 at each cutoff with its interval, a line each for the ranker with and without text and the best other system."""
    rows = frame[frame["role"] != "other"].dropna(subset="ndcg")
    scale = alt.Scale(domain=list(ROLES), range=list(ROLES.values()))
    colour = alt.Color("role:N", title=None, scale=scale, legend=TWO)
    x = alt.X("cutoff:O", title=None, axis=alt.Axis(labelAngle=-30))
    # Side by side: whiskers of one cutoff would hide each other.
    base = alt.Chart(rows).encode(x=x, xOffset=alt.XOffset("role:N", sort=list(ROLES)), color=colour, tooltip=["cutoff", *_figures()])
    y = alt.Y("ndcg:Q", title="ndcg@10, 95 % interval", scale=alt.Scale(zero=False))
    whiskers = base.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q"), y2="high:Q")
    return (base.mark_line(strokeWidth=2).encode(y=y) + whiskers + base.mark_point(filled=True, size=70, opacity=1).encode(y=y)).properties(
        height=340
    )
