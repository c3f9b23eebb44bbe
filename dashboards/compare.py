"""Compare: two runs side by side; may they be compared, is one better, for whom, whose lists changed, and in what else they differ."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from dashboards import charts
from dashboards.pieces import Marks, Row, counted, facts, listing, literal, mark, message, rank, table
from dashboards.project import Project, changed, judged, nothing_yet, obstacles, project, sliced, table_rows
from recsys import report
from recsys.artefacts import Run
from recsys.report import Versus

TOP = 20
FOUR = st.column_config.NumberColumn(format="%.4f")
COUNT = st.column_config.NumberColumn(format="localized")
DIFFERENCE = {
    "difference": st.column_config.NumberColumn("A - B", format="%+.4f"),
    "low": st.column_config.NumberColumn(format="%+.4f"),
    "high": st.column_config.NumberColumn(format="%+.4f"),
    "p": FOUR,
    "p_holm": st.column_config.NumberColumn("p after Holm", format="%.4f"),
    "word": "A is",
    "better": st.column_config.NumberColumn("users better", format="localized"),
    "tied": COUNT,
    "worse": COUNT,
}
SIDES = {"a": "A", "b": "B"}
WENT_FOR = ("source", "went for it")


def page() -> None:
    """The page."""
    here = project()
    st.title("Compare")
    st.caption(f"Project {literal(here.name)}: two runs side by side. Every difference is A minus B.")
    complete, faults = here.home.found(here.home.runs)
    for fault in faults:
        st.warning(literal(f"Left out: {fault}"), icon=":material/warning:")
    if len(complete) < 2:
        had = "There is one run, and" if complete else "There is no run yet;"
        nothing_yet(f"{had} a comparison needs two.", here, "train")
        return
    pair = _choose(here, {run.run_id: run for run in complete[::-1]})
    if pair is None:
        st.info("Both are the same run, and a run is no better than itself. Choose another one.", icon=":material/info:")
        return
    found = obstacles(pair)
    tabs = _not_compared(pair, found) if found else _compared(here, pair)
    tabs |= {
        "Config": partial(_config, pair),
        "Data": partial(_data, here, pair),
        "Features": partial(_features, pair),
        "Cost": partial(_cost, pair),
    }
    for tab, draw in zip(st.tabs(list(tabs), key="part", bind="query-params"), tabs.values(), strict=True):
        if tab.open:
            with tab:
                draw()


def _choose(here: Project, by_id: dict[str, Run]) -> Versus | None:
    """The two runs, in the address as `?a=` and `?b=`: the latest one beside the current one, or the one before it, unless others are
    chosen.
    """
    names, current = list(by_id), here.home.current()
    second = next(name for name in (current, here.home.before(), names[1]) if name in names[1:])
    left, right = st.columns(2)
    a = left.selectbox("Run A", names, index=0, key="a", bind="query-params")
    b = right.selectbox("Run B", names, index=names.index(second), key="b", bind="query-params")
    for place, chosen in ((left, a), (right, b)):
        place.caption(f"As of {by_id[chosen].manifest['as_of'][:10]}{', the current run' if chosen == current else ''}")
    return None if a == b else Versus(by_id[a], by_id[b])


def _not_compared(pair: Versus, found: list[str]) -> dict[str, Callable[[], None]]:
    """Why not, what each reached by itself, and no tab of figures."""
    st.warning(message("\n".join(["Not comparable: the figures of the two were not compared.", *found])), icon=":material/block:")
    st.caption(message(report.advice(pair)))
    for task, sides in report.reached(pair).items():
        facts(*(_alone(task, letter, sides[side]) for side, letter in SIDES.items()))
    st.caption("Each by itself, on its own test window. These figures do not say which run is better.")
    return {}


def _alone(task: str, letter: str, side: dict[str, Any] | None) -> tuple[str, str, str]:
    label = f"{letter} alone, ndcg@10, task {task}"
    if side is None or side["value"] is None:
        return label, "-", "nobody is judged"
    return label, figure(side["value"]), f"[{figure(side['low'])}, {figure(side['high'])}], {side['n']:,} users"


def _compared(here: Project, pair: Versus) -> dict[str, Callable[[], None]]:
    """The answer first, then the tabs of figures."""
    names = report.shared_tasks(pair)
    task = st.segmented_control("Task", names, default=names[0], required=True, key="task", bind="query-params")
    st.caption("Comparable: the same test window, the same tables, the same notion of relevant. Paired by user.")
    for remark in report.remarks(pair):
        st.caption(literal(remark))
    of = judged(pair, task)
    first, *rest = report.answer_lines(of)
    st.subheader(literal(first))
    for line in rest:
        st.caption(literal(line))
    if not of["metrics"]:
        return {}
    main = of["metrics"][0]
    facts(
        ("ndcg@10 of A", figure(main["a"]), ""),
        ("ndcg@10 of B", figure(main["b"]), ""),
        ("A minus B", figure(main["difference"], "+"), f"{main['word']} [{figure(main['low'], '+')}, {figure(main['high'], '+')}]"),
        ("p after Holm", figure(main["p_holm"]), f"{figure(main['p'])} before"),
        ("Users", f"{of['n_users']:,}", f"{main['better']:,} better, {main['tied']:,} tied, {main['worse']:,} worse"),
    )
    return {
        "Metrics": partial(_metrics, pair, task, of),
        "Slices": partial(_slices, pair, task),
        "Users": partial(_users, here, pair, task),
    }


def figure(value: float | None, sign: str = "") -> str:
    """A figure with four digits; `-` where it is undefined."""
    return "-" if value is None else f"{value:{sign}.4f}"


def _named(name: str, pair: Versus, task: str = "") -> str:
    return " ".join(filter(None, (name, task, pair.a.run_id, pair.b.run_id)))


def _metrics(pair: Versus, task: str, of: dict[str, Any]) -> None:
    frame = pd.DataFrame(of["metrics"]).drop(columns=["slice", "value"])
    st.altair_chart(charts.metric_differences(frame))
    st.caption("Green: A is better; red: worse; grey: undecided, zero lies inside the 95 % interval of the difference.")
    table(frame, _named("compared", pair, task), {"metric": "metric", "a": _four("A"), "b": _four("B")} | DIFFERENCE)
    st.caption(f"p after Holm: good for having asked {len(frame)} questions at once.")
    for line in report.reach_lines(of):
        st.caption(line)


def _four(label: str) -> object:
    return st.column_config.NumberColumn(label, format="%.4f")


def _slices(pair: Versus, task: str) -> None:
    rows = sliced(pair, task)
    if rows is None:
        st.info(message(report.NO_SLICES), icon=":material/info:")
        return
    frame = pd.DataFrame(rows).drop(columns="metric")
    st.altair_chart(charts.sliced_differences(frame))
    columns = {"value": "value", "slice": "slice", "n": st.column_config.NumberColumn("users", format="localized")}
    table(frame, _named("compared slices", pair, task), columns | {"a": _four("A"), "b": _four("B")} | DIFFERENCE)
    st.caption(f"ndcg@10. {report.chance(len(frame))} p after Holm is good for having asked {len(frame)} questions at once.")


def _users(here: Project, pair: Versus, task: str) -> None:
    rows = changed(here.home, pair, task)
    if rows is None:
        st.info(report.NO_LISTS, icon=":material/info:")
        return
    if all(row["overlap"] == 1 for row in rows):
        st.info("No judged user has another list in A than in B.", icon=":material/info:")
        return
    st.subheader(f"The {counted(len(rows), 'user')} whose lists changed most")
    by_id = {row["user_id"]: row for row in rows}
    row = by_id[st.selectbox("User", list(by_id), key="changed", bind="query-params")]
    facts(
        ("Overlap", f"{row['overlap']:.2f}", "rank-biased: 1 the same list, 0 nothing in common"),
        ("ndcg@10", f"{figure(row['a'])} / {figure(row['b'])}", "of A / of B"),
        (
            "From B to A",
            f"{len(row['entered'])} entered",
            f"{len(row['left'])} left, {len(row['moved'])} moved, {len(row['stayed'])} stayed",
        ),
    )
    for place, draw in zip(st.columns(2, gap="large"), (_list_a, _list_b), strict=True):
        with place:
            draw(row)
    _went_for(row)
    counts = pd.DataFrame([{key: len(v) if isinstance(v, list) else v for key, v in one.items()} for one in rows])
    names = {"user_id": "user", "overlap": st.column_config.NumberColumn(format="%.3f"), "a": _four("ndcg@10 of A"), "b": _four("of B")}
    table(
        counts,
        _named("changed lists", pair, task),
        names | {name: name.replace("_", " ") for name in ("entered", "left", "moved", "went_for")},
    )


def _list_a(row: dict[str, Any]) -> None:
    """A's list, each place beside B's."""
    places = [(item, item["rank"], mark(None)) for item in row["entered"]]
    places += [(item, item["rank_a"], mark(item["rank_b"] - item["rank_a"])) for item in row["moved"]]
    _list("A", row, places)


def _list_b(row: dict[str, Any]) -> None:
    """B's list, and what of it left."""
    places = [(item, item["rank"], (("gone", "left"),)) for item in row["left"]]
    _list("B", row, places + [(item, item["rank_b"], ()) for item in row["moved"]])


def _list(letter: str, row: dict[str, Any], places: list[tuple[dict[str, Any], int, Marks]]) -> None:
    wanted = {item["item_id"] for item in row["went_for"] or ()}
    places = sorted([*places, *((item, item["rank"], ()) for item in row["stayed"])], key=lambda place: place[1])
    st.subheader(f"List of {letter}")
    if not places:
        st.info(f"{letter} has no list for this user.", icon=":material/info:")
        return
    listing(
        Row(rank(at), item["title"], item["item_id"], (*marks, *((WENT_FOR,) if item["item_id"] in wanted else ())), below=item["item_id"])
        for item, at, marks in places
    )


def _went_for(row: dict[str, Any]) -> None:
    if row["went_for"] is None:
        st.caption("What the user then went for is not kept by either run.")
        return
    missed = [item["title"] for item in row["went_for"] if item["rank_a"] is None and item["rank_b"] is None]
    if missed:
        st.caption(literal(f"Went for, and in neither list: {', '.join(missed)}."))


def _side_by_side(rows: list[dict[str, Any]], key: str, label: str, name: str) -> None:
    """Rows with an a and a b, those that differ first."""
    frame = pd.DataFrame(
        [{key: row[key], **{side: report.shown(row[side]) for side in SIDES}, "same": row.get("is_same", False)} for row in rows]
    )
    table(frame.sort_values("same", kind="stable"), name, {key: label} | SIDES | {"same": st.column_config.CheckboxColumn("the same")})


def _config(pair: Versus) -> None:
    rows = report.config_rows(pair)
    titles = {"model": "What models are made and judged by", "night": "What concerns the nights alone"}
    for part, title in titles.items():
        st.subheader(title)
        of = [row for row in rows if row["part"] == part]
        if of:
            _side_by_side(of, "key", "setting", _named(f"config {part}", pair))
        else:
            st.caption("The same in both.")
    st.subheader("Chosen on windows held out")
    _side_by_side(report.chosen_rows(pair), "what", "what", _named("chosen", pair))


def _data(here: Project, pair: Versus) -> None:
    st.subheader("Tables")
    _side_by_side(table_rows(here.home, pair), "what", "what", _named("tables", pair))
    st.subheader("Windows")
    _side_by_side(report.window_rows(pair), "window", "window", _named("windows", pair))
    st.caption("The end is not included.")


def _features(pair: Versus) -> None:
    frame = pd.DataFrame(report.feature_rows(pair))
    moved = frame[frame["difference"] != 0].head(TOP)
    st.subheader("Share of the total gain, what changed most" if len(moved) else "Every feature is worth the same in both")
    if len(moved):
        st.altair_chart(charts.shares(moved))
    share = {side: st.column_config.NumberColumn(label, format="percent") for side, label in SIDES.items()}
    columns = (
        {"feature": "feature"} | share | {"difference": st.column_config.NumberColumn("A - B", format="percent"), "meaning": "meaning"}
    )
    table(frame, _named("features", pair), columns)


def _cost(pair: Versus) -> None:
    one = {name: st.column_config.NumberColumn(label, format="%.1f") for name, label in (SIDES | {"difference": "A - B"}).items()}
    table(pd.DataFrame(report.cost_rows(pair)), _named("cost", pair), {"what": "what"} | one)


page()
