"""Verdict: is this run better than the simpler systems, for whom, thanks to what, and at what cost."""

import pandas as pd
import streamlit as st

from dashboards import ablation, charts
from dashboards.project import current_run, nothing_yet, project
from recsys import report
from recsys.artefacts import Home, Run

TASKS = {"all": "all: what users had counts too", "new": "new: only items they never had"}
SLICES = {"item_age": "age of the item", "item_popularity": "popularity of the item", "user_activity": "activity of the user"}
FOUR = st.column_config.NumberColumn(format="%.4f")
SIGNED = st.column_config.NumberColumn(format="%+.4f")
COUNT = st.column_config.NumberColumn(format="localized")
TOP = 20


def page() -> None:
    """The page."""
    here = project()
    st.title("Verdict")
    st.caption(f"Project {here.name}: is the ranker better than simpler systems, for whom, thanks to what, and at what cost.")
    current = current_run(here.home)
    known = here.home.run_ids()[::-1]
    if not known:
        nothing_yet("There is no run yet, so there is nothing to judge.", here, "train")
        return
    left, right = st.columns([3, 2])
    run = _choose_run(left, here.home, known, current)
    names = report.tasks_of(run)
    task = right.segmented_control("Task", names, default=names[0], required=True, format_func=lambda name: TASKS.get(name, name))
    _headline(run, task)
    drawn = {
        "Systems": _systems,
        "Slices": _slices,
        "Candidates": _candidates,
        "Learning": _learning,
        "Features": _features,
        "Windows and cost": _windows,
    }
    if report.has_ablation(run):
        drawn["Did the text pay?"] = ablation.draw
    for tab, draw in zip(st.tabs(list(drawn)), drawn.values(), strict=True):
        with tab:
            draw(run, task)


def _choose_run(place: "st.delta_generator.DeltaGenerator", home: Home, known: list[str], current: Run | None) -> Run:
    served = current.run_id if current else None
    names = {run_id: f"{run_id}{' (current)' if run_id == served else ''}" for run_id in known}
    return home.load(place.selectbox("Run", known, index=known.index(served) if served in names else 0, format_func=names.__getitem__))


def _headline(run: Run, task: str) -> None:
    systems, paired = report.systems_frame(run, task).set_index("system"), report.paired_frame(run, task).set_index("against")
    content = report.object_of(run)
    ranker = systems.loc["ranker"]
    others = systems.drop(index=["ranker", "ranker_no_text"], errors="ignore")
    columns = st.columns(5)
    interval = f"[{figure(ranker['low'])}, {figure(ranker['high'])}]"
    _metric(columns[0], "ndcg@10 of the ranker", figure(ranker["ndcg@10"]), interval)
    _difference(columns[1], "Gained by text", paired, "ranker_no_text")
    _difference(columns[2], f"Against {others.index[0]}", paired, others.index[0])
    _metric(columns[3], "Candidate recall", figure(content["candidate_recall"]["total"]), "the ceiling of the ranker")
    without = content["tasks"][task]["n_without_truth"]
    _metric(columns[4], "Users judged", f"{ranker['n']:,.0f}", f"{without:,} more had nothing to find")


def _metric(place: "st.delta_generator.DeltaGenerator", label: str, value: str, below: str) -> None:
    place.metric(label, value, below, delta_color="off", delta_arrow="off", border=True)


def _difference(place: "st.delta_generator.DeltaGenerator", label: str, paired: pd.DataFrame, against: str) -> None:
    row = paired.loc[against]
    _metric(place, label, figure(row["difference"], "+"), f"{row['word']} [{figure(row['low'], '+')}, {figure(row['high'], '+')}]")


def figure(value: float, sign: str = "") -> str:
    """A figure with four digits; `-` where it is undefined."""
    return "-" if pd.isna(value) else f"{value:{sign}.4f}"


def _systems(run: Run, task: str) -> None:
    systems, paired = report.systems_frame(run, task), report.paired_frame(run, task)
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Every system on the same users")
        st.altair_chart(charts.systems(systems))
    with right:
        st.subheader("The ranker against each, paired by user")
        st.altair_chart(charts.paired(paired))
    shown = systems.assign(interval=[f"[{figure(low)}, {figure(high)}]" for low, high in zip(systems["low"], systems["high"], strict=True)])
    order = ["system", "ndcg@10", "interval", "recall@10", "map@10", "mrr@10", "coverage@10", "novelty@10", "n"]
    config = dict.fromkeys(order[1:-1], FOUR) | {"interval": st.column_config.TextColumn("95 % interval of ndcg@10"), "n": _count("users")}
    st.dataframe(shown, hide_index=True, column_order=order, column_config=config)
    st.caption("Novelty: how rare the listed items are, in bits. Coverage: share of the catalogue in at least one list.")
    config = dict.fromkeys(("difference", "low", "high"), SIGNED) | {
        "against": "ranker against",
        "better": _count("users better"),
        "tied": COUNT,
        "worse": COUNT,
        "word": "ranker is",
    }
    st.dataframe(paired, hide_index=True, column_config=config)
    st.caption("Better and worse only where zero lies outside the 95 % interval of the difference; else undecided.")


def _count(label: str) -> object:
    return st.column_config.NumberColumn(label, format="localized")


def _slices(run: Run, task: str) -> None:
    whole = report.slices_frame(run, task)
    if whole.empty:
        st.info("Nobody is judged in this task, so there are no slices.", icon=":material/info:")
        return
    names = sorted(whole["slice"].unique())
    chosen = st.segmented_control("Slice", names, default=names[0], required=True, format_func=lambda name: SLICES.get(name, name))
    frame = report.slices_frame(run, task, chosen)
    st.altair_chart(charts.slices(frame))
    wide = frame.pivot(index=["value", "n"], columns="system", values="ndcg").reset_index()
    systems = [name for name in report.systems_frame(run, task)["system"] if name in wide]
    config = dict.fromkeys(systems, FOUR) | {"value": SLICES.get(chosen, chosen), "n": _count("users")}
    st.dataframe(wide, hide_index=True, column_order=["value", "n", *systems], column_config=config)
    st.caption("ndcg@10. A slice of items counts only those items as relevant; the lists stay as they are.")


def _candidates(run: Run, task: str) -> None:
    found, frame = report.object_of(run)["candidate_recall"], report.recall_frame(run)
    total = "-" if found["total"] is None else f"{found['total']:.1%}"
    st.subheader(f"{total} of what users went for was among their candidates")
    st.caption("The mean over users of the test window, items they had before included. A ranker cannot list what no source retrieved.")
    left, right = st.columns(2, gap="large")
    left.altair_chart(charts.recall(frame))
    names = {"value": "recall, mean of users", "alone": "share of all pairs", "only": "by no other source"}
    config = {name: st.column_config.NumberColumn(label, format="percent", width=130) for name, label in names.items()}
    right.dataframe(frame, hide_index=True, column_order=["source", *names], column_config=config)


def _learning(run: Run, task: str) -> None:
    curves = report.curves_frames(run)
    drawn = (("Text model", "text", charts.text_curve), ("Ranker", "ranker", charts.ranker_curve))
    for place, (title, name, draw) in zip(st.columns(2, gap="large"), drawn, strict=True):
        with place:
            st.subheader(title)
            if curves[name].empty:
                st.caption("No curve: nothing was chosen on a valid window.")
            else:
                st.altair_chart(draw(curves[name]))
    st.caption(
        f"{report.chosen_text(report.object_of(run))} Those without text, `ranker_no_text`, know what behaviour can find; those added are "
        "for users who liked something that text knows."
    )


def _features(run: Run, task: str) -> None:
    frame = report.importance_frame(run)
    left, right = st.columns([2, 3], gap="large")
    with left:
        st.subheader(f"The first {min(TOP, len(frame))} of {len(frame)} features")
        st.altair_chart(charts.importance(frame.head(TOP)))
    with right:
        st.subheader("What they mean")
        columns = {
            "feature": st.column_config.TextColumn(width=160),
            "meaning": st.column_config.TextColumn(width=480),
            "gain": st.column_config.NumberColumn(format="percent", width=70),
        }
        st.dataframe(frame, hide_index=True, height=560, column_order=["feature", "meaning", "gain"], column_config=columns)


def _windows(run: Run, task: str) -> None:
    content = report.object_of(run)
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.subheader("Windows")
        st.altair_chart(charts.windows(report.windows_frame(run)))
        day = st.column_config.DateColumn(format="YYYY-MM-DD")
        config = {"name": "window", "start": day, "end": day, "n_events": _count("events"), "n_queries": _count("users")}
        st.dataframe(report.windows_frame(run), hide_index=True, column_config=config)
        st.caption(f"The end is not included. Eligible: {content['eligibility']}.")
    with right:
        st.subheader("Cost")
        st.dataframe(report.seconds_frame(run), hide_index=True, column_config={"seconds": st.column_config.NumberColumn(format="%.1f")})
        st.caption(f"Peak memory {content['peak_memory_mb']:,.0f} MB. The refit runs every stage again, up to the end of the events.")


page()
