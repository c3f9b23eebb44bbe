"""Metrics: is this run better than simpler systems, for whom, thanks to what, at what cost; its chances; its text; runs and backtests."""

from functools import partial
from urllib.parse import quote

import pandas as pd
import streamlit as st

from dashboards import ablation, backtest, chances, charts, off_policy, slices
from dashboards.pieces import csv, facts, literal, table
from dashboards.project import Project, current_run, nothing_yet, project, runs_frame
from recsys import report
from recsys.artefacts import Run

FOUR = st.column_config.NumberColumn(format="%.4f")
TOP = 20
MAIN = ("ndcg@10", "recall@10", "map@10", "mrr@10", "coverage@10", "novelty@10")


def page() -> None:
    """The page."""
    here = project()
    st.title("Metrics")
    st.caption(f"Project {literal(here.name)}: is the ranker better than simpler systems, for whom, thanks to what, and at what cost.")
    current = current_run(here.home)
    complete, faults = here.home.found(here.home.runs)
    for fault in faults:
        st.warning(literal(f"Left out: {fault}"), icon=":material/warning:")
    if not complete:
        nothing_yet("There is no run yet, so there is nothing to judge.", here, "train")
        return
    left, right = st.columns([3, 1])
    with left:
        run = _choose_run(complete[::-1], current)
    names = report.tasks_of(run)
    task = right.segmented_control("Task", names, default=names[0], required=True, key="task", bind="query-params")
    st.caption(f"Task {task}: {report.SEEN_IN.get(task, '')}.")
    _headline(run, task)
    drawn = {
        "Systems": _systems,
        "Slices": slices.draw,
        "Candidates": _candidates,
        "Learning": _learning,
        "Features": _features,
        "Windows and cost": _windows,
        "Runs over time": partial(_runs, here, complete),
        "Backtest": partial(backtest.draw, here),
    }
    if report.has_calibration(run):
        drawn["Chances"] = chances.draw
    drawn["Pages"] = off_policy.draw
    if report.has_ablation(run):
        drawn["Did the text pay?"] = ablation.draw
    for tab, draw in zip(st.tabs(list(drawn), key="part", bind="query-params"), drawn.values(), strict=True):
        if tab.open:
            with tab:
                draw(run, task)


def _choose_run(complete: list[Run], current: Run | None) -> Run:
    by_id = {run.run_id: run for run in complete}
    first = list(by_id).index(current.run_id) if current and current.run_id in by_id else 0
    chosen = by_id[st.selectbox("Run", list(by_id), index=first, key="run", bind="query-params")]
    if current is None or chosen.run_id != current.run_id:
        st.caption(f"Not the current run{'' if current is None else ', which is ' + literal(current.run_id)}.")
    return chosen


def _headline(run: Run, task: str) -> None:
    systems, paired = report.systems_frame(run, task).set_index("system"), report.paired_frame(run, task).set_index("against")
    content = report.object_of(run)
    ranker = systems.loc["ranker"]
    others = systems.drop(index=["ranker", "ranker_no_text", *report.ANCHORS], errors="ignore")
    without = content["tasks"][task]["n_without_truth"]
    facts(
        ("ndcg@10 of the ranker", figure(ranker["ndcg@10"]), f"[{figure(ranker['low'])}, {figure(ranker['high'])}]"),
        _difference("Gained by text", paired, "ranker_no_text"),
        _difference(f"Against {others.index[0]}", paired, others.index[0]),
        ("Candidate recall", figure(content["candidate_recall"]["total"]), "the ceiling of the ranker"),
        ("Users judged", f"{ranker['n']:,.0f}", f"{without:,} more had nothing to find"),
    )


def _difference(label: str, paired: pd.DataFrame, against: str) -> tuple[str, str, str]:
    row = paired.loc[against]
    return label, figure(row["difference"], "+"), f"{row['word']} [{figure(row['low'], '+')}, {figure(row['high'], '+')}]"


def figure(value: float | None, sign: str = "") -> str:
    """A figure with four digits; `-` where it is undefined."""
    return "-" if pd.isna(value) else f"{value:{sign}.4f}"


def _systems(run: Run, task: str) -> None:
    systems, paired = report.systems_frame(run, task), report.paired_frame(run, task)
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Every system on the same users")
        st.altair_chart(charts.systems(systems))
        st.caption(literal(report.anchors_line(report.object_of(run), task)))
    with right:
        st.subheader("The ranker against each, paired by user")
        st.altair_chart(charts.paired(paired))
        st.caption("Green: the ranker is better; red: worse; grey: undecided, zero lies inside the 95 % interval of the difference.")
    shown = systems.assign(interval=[f"[{figure(low)}, {figure(high)}]" for low, high in zip(systems["low"], systems["high"], strict=True)])
    columns = {"system": "system", "ndcg@10": FOUR, "interval": "95 % interval of ndcg@10"}
    columns |= dict.fromkeys(MAIN[1:], FOUR) | {"n": _count("users")}
    table(shown, f"systems {task} {run.run_id}", columns)
    table(paired, f"paired {task} {run.run_id}", {"against": "ranker against"} | ablation.DIFFERENCE | {"word": "ranker is"})
    _more(systems, run, task)


def _more(systems: pd.DataFrame, run: Run, task: str) -> None:
    meanings = report.meanings()
    measured = [name for name in meanings if name in systems and systems[name].notna().any()]
    further = [name for name in measured if name not in MAIN]
    if further:
        table(systems[["system", *further]], f"more metrics {task} {run.run_id}", {"system": "system"} | dict.fromkeys(further, FOUR))
    for told in filter(None, (report.health_text(report.object_of(run), task), report.grouped_auc_text(report.object_of(run)))):
        st.caption(literal(told))
    with st.expander("What these figures say", icon=":material/help:"):
        st.markdown("\n".join(f"- [**{literal(name)}**]({_explained(name)}) {literal(meanings[name])}" for name in measured))
        st.caption("Each leads to its formula, a worked example, and when it misleads.")


def _explained(name: str) -> str:
    """The address of a figure's section of the glossary; from this page, wherever the dashboard is served."""
    return f"glossary?figure={quote(name.replace('@10', '@k'))}"


def _count(label: str) -> object:
    return st.column_config.NumberColumn(label, format="localized")


def _candidates(run: Run, task: str) -> None:
    found, frame = report.object_of(run)["candidate_recall"], report.recall_frame(run)
    total = "-" if found["total"] is None else f"{found['total']:.1%}"
    st.subheader(f"{total} of what users went for was among their candidates")
    st.caption("The mean over users of the test window, items they had before included. A ranker cannot list what no source retrieved.")
    left, right = st.columns(2, gap="large")
    left.altair_chart(charts.recall(frame))
    names = {"value": "recall, mean of users", "alone": "share of all pairs", "only": "by no other source"}
    with right:
        columns = {name: st.column_config.NumberColumn(label, format="percent") for name, label in names.items()}
        table(frame, f"candidate recall {run.run_id}", {"source": "source"} | columns)


def _learning(run: Run, task: str) -> None:
    curves = report.curves_frames(run)
    drawn = (("Text model", "text", charts.text_curve), ("Ranker", "ranker", charts.ranker_curve))
    for place, (title, name, draw) in zip(st.columns(2, gap="large"), drawn, strict=True):
        with place:
            st.subheader(title)
            if curves[name].empty:
                st.caption("No curve: nothing was chosen on a window held out.")
            else:
                st.altair_chart(draw(curves[name]))
                csv(curves[name], f"curve {name} {run.run_id}")
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
        columns = {"feature": "feature", "gain": st.column_config.NumberColumn(format="percent"), "meaning": "meaning"}
        table(frame, f"features {run.run_id}", columns, 560 if len(frame) > 15 else None)


def _windows(run: Run, task: str) -> None:
    content = report.object_of(run)
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.subheader("Windows")
        windows = report.windows_frame(run)
        st.altair_chart(charts.windows(windows))
        day = st.column_config.DateColumn(format="YYYY-MM-DD")
        table(
            windows,
            f"windows {run.run_id}",
            {"name": "window", "start": day, "end": day, "n_events": _count("events"), "n_queries": _count("users")},
        )
        st.caption(f"The end is not included. Eligible: {content['eligibility']}.")
    with right:
        st.subheader("Cost")
        table(report.seconds_frame(run), f"cost {run.run_id}", {"stage": "stage", "seconds": st.column_config.NumberColumn(format="%.1f")})
        st.caption(f"Peak memory {content['peak_memory_mb']:,.0f} MB. The refit runs every stage again, up to the end of the events.")


def _runs(here: Project, complete: list[Run], run: Run, task: str) -> None:
    frame, states = runs_frame(complete, task), report.run_states(here.home)
    frame = frame.assign(state=[states.get(run_id, "") for run_id in frame["run_id"]])
    st.altair_chart(charts.runs(frame))
    st.caption(
        "Each run is judged on its own test window. Where the windows differ, so do the users and what they did: a run that reaches less a "
        "week later need not be a worse one. The gain by text is within a run, on the same users, so it may be compared more freely."
    )
    signed = {
        name: st.column_config.NumberColumn(label, format="%+.4f")
        for name, label in (("gained", "gained by text"), ("gained_low", "low"), ("gained_high", "high"))
    }
    columns = {
        "run_id": "run",
        "state": "it is",
        "end": "test window until",
        "ndcg": st.column_config.NumberColumn("ndcg@10", format="%.4f"),
        "low": FOUR,
        "high": FOUR,
    }
    columns |= signed | {"word": "with text it is", "recall": st.column_config.NumberColumn("candidate recall", format="%.4f")}
    columns |= {"n": _count("users"), "minutes": st.column_config.NumberColumn(format="%.1f")}
    table(frame[::-1], f"runs {task} {here.name}", columns)


page()
