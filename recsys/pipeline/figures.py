"""The figures of a run: learning curves, importances, metric bars with intervals."""

from collections.abc import Iterator
from typing import Any

from matplotlib.figure import Figure

from recsys.pipeline.calibrating import LISTED

TOP = 25


def of_run(report: dict[str, Any], curves: dict[str, Any], features: dict[str, Any]) -> dict[str, Figure]:
    """name -> figure."""
    figures = {"text_learning_curve": _text_curve(curves["text"]), "ranker_learning_curve": _ranker_curve(curves)}
    figures["feature_importance"] = _importance(features["importance"])
    for task, content in report["tasks"].items():
        figures |= {f"reliability_{kind}_{task}": one for kind, one in _reliabilities(report, task)}
        figures[f"ndcg_at_10_{task}"] = _bars(content["systems"], "ndcg@10", f"ndcg@10, task {task}, 95 % intervals")
    return figures


def _reliabilities(report: dict[str, Any], task: str) -> Iterator[tuple[str, Figure]]:
    for kind, entry in report["calibration"]["tasks"][task].items():
        for part in entry.get("slices", []):
            if part["slice"] == "place" and part["value"] == LISTED:
                title = f"Chance of a {kind} within {report['calibration']['days']} days, {LISTED}, task {task}"
                yield kind, _reliability(part["curve"], title)


def _reliability(curve: list[dict[str, Any]], title: str) -> Figure:
    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.subplots()
    said, happened = ([one[key] for one in curve] for key in ("predicted", "happened"))
    axes.plot(said, happened, marker="o")
    axes.axline((0, 0), slope=1, linestyle="--", color="grey")
    axes.set(xlabel="mean chance of a tenth of the candidates", ylabel="share of it that happened", title=title)
    return figure


def _text_curve(curve: list[dict[str, Any]]) -> Figure:
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    for phase in ("warm", "joint", "blend"):
        rows = [row for row in curve if row["phase"] == phase and row["ndcg"] is not None]
        axes.plot([row["step"] for row in rows], [row["ndcg"] for row in rows], marker="o", label=phase)
    axes.set(xlabel="step of the phase", ylabel="ndcg@100 on the text window's own validation", title="Text model")
    axes.legend()
    return figure


def _ranker_curve(curves: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    for name in ("ranker", "ranker_no_text"):
        axes.plot(range(1, len(curves[name]) + 1), curves[name], label=name)
    axes.set(xlabel="trees added (ranker: to those of ranker_no_text)", ylabel="LightGBM's own ndcg@10 on the valid window", title="Ranker")
    axes.legend()
    return figure


def _importance(importance: dict[str, float]) -> Figure:
    top = list(importance.items())[:TOP][::-1]
    figure = Figure(figsize=(8, 7), layout="constrained")
    axes = figure.subplots()
    axes.barh([name for name, _ in top], [gain for _, gain in top])
    axes.set(xlabel="total gain", title=f"Feature importance, first {len(top)}")
    return figure


def _bars(systems: dict[str, Any], metric: str, title: str) -> Figure:
    rows = [(name, found[metric]) for name, found in systems.items() if found[metric]["value"] is not None][::-1]
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    values = [row["value"] for _, row in rows]
    spread = [[row["value"] - row["low"] for _, row in rows], [row["high"] - row["value"] for _, row in rows]]
    axes.barh([name for name, _ in rows], values, xerr=spread, capsize=3)
    axes.set(xlabel=metric, title=title)
    return figure
