"""The report of a run as rows of plain values, in the order people read them: what both the terminal and the dashboard show."""

from typing import Any

from recsys.evaluate import ANCHORS, ORACLE

Row = dict[str, Any]
Report = dict[str, Any]

METRICS = ("ndcg@10", "recall@10", "map@10", "mrr@10", "coverage@10", "novelty@10")
MORE = (
    *("precision@10", "hit_rate@10", "ndcg_graded@10", "revenue_ndcg@10", "serendipity@10"),
    *("ild@10", "popularity@10", "repeat_rate@10", "gini@10"),
)
"""Further metrics, which a run of before they were measured lacks."""

JUDGED, WITHOUT_TEXT = "ranker", "ranker_no_text"
MAIN = "ndcg@10"
SEEN_IN = {
    "all": "everything the users did counts, also what they had before",
    "new": "only items the user never had count; what they had is masked for every system",
}


def tasks(report: Report) -> list[str]:
    """The tasks, the primary one first."""
    return sorted(report["tasks"], key=lambda task: (task != report["task"], task))


def systems(report: Report, task: str) -> list[Row]:
    """system, every metric (None where not measured), low and high of ndcg@10, n users, n_lists: the best first, the anchors last."""
    found = report["tasks"][task]["systems"]
    rows = [
        {
            "system": name,
            **{metric: by[metric]["value"] for metric in METRICS},
            **{metric: by.get(metric, {}).get("value") for metric in MORE},
            "low": by[MAIN]["low"],
            "high": by[MAIN]["high"],
            "n": by[MAIN]["n"],
            "n_lists": by["coverage@10"]["n"],
        }
        for name, by in found.items()
    ]
    return sorted(rows, key=lambda row: (row["system"] in ANCHORS, _descending(row[MAIN]), row["system"]))


def has_more(report: Report, task: str) -> bool:
    """Were the metrics of MORE measured in this run."""
    return any(metric in by for by in report["tasks"][task]["systems"].values() for metric in MORE)


def paired(report: Report, task: str, metric: str = MAIN) -> list[Row]:
    """The ranker against each other system: against, difference, low, high, better, tied, worse (users) and the word for it.

    Not against the oracle, which no order of the same candidates beats: how far it is says the line of the anchors.
    """
    rows = [
        {
            "against": pair["b"],
            **{key: pair[key] for key in ("difference", "low", "high", "better", "tied", "worse")},
            "word": word(pair["low"], pair["high"]),
        }
        for pair in report["tasks"][task]["paired"]
        if pair["metric"] == metric and pair["b"] != ORACLE
    ]
    return sorted(rows, key=lambda row: (_descending(row["difference"]), row["against"]))


def word(low: float | None, high: float | None) -> str:
    """What an interval of a difference says: `better` or `worse` where zero lies outside it, else `undecided`."""
    if low is None or high is None:
        return "undecided"
    return "better" if low > 0 else "worse" if high < 0 else "undecided"


def slices(report: Report, task: str) -> list[Row]:
    """slice, value, n, share, is_small, system, ndcg, low, high, role (ranker, ranker_no_text, best other, other): a row a system of every
    value of every slice. share of the users or of what was relevant; None in a run of an earlier version.
    """
    rows = []
    for part in report["tasks"][task]["slices"]:
        best = best_other(part["systems"])
        where = {key: part[key] for key in ("slice", "value", "n")} | {"share": part.get("share"), "is_small": is_small(part)}
        for system, by in part["systems"].items():
            role = system if system in (JUDGED, WITHOUT_TEXT) else "best other" if system == best else "other"
            rows.append(
                where | {"system": system, "ndcg": by[MAIN]["value"], "low": by[MAIN]["low"], "high": by[MAIN]["high"], "role": role}
            )
    return rows


def is_small(part: Row) -> bool:
    """Has a slice of a report too few users to say anything. Runs of an earlier version do not say so of any."""
    return bool(part.get("is_small", False))


def best_other(systems: dict[str, Any]) -> str | None:
    """The system of the highest ndcg@10 beside the ranker with and without text and the anchors; None where there is none."""
    others = {name: by[MAIN]["value"] for name, by in systems.items() if name not in (JUDGED, WITHOUT_TEXT, *ANCHORS)}
    return min(others, key=lambda name: (_descending(others[name]), name), default=None)


def recall(report: Report) -> list[Row]:
    """source, value, alone, only: the source of the highest recall first."""
    rows = [
        {"source": name, **{key: shares[key] for key in ("value", "alone", "only")}}
        for name, shares in report["candidate_recall"]["sources"].items()
    ]
    return sorted(rows, key=lambda row: (_descending(row["value"]), row["source"]))


def windows(report: Report) -> list[Row]:
    """name, start, end (ISO days), n_events, n_queries of each window, in order of time."""
    return [
        {"name": w["name"], "start": w["start"][:10], "end": w["end"][:10], "n_events": w["n_events"], "n_queries": w["n_queries"]}
        for w in report["windows"]
    ]


def seconds(report: Report) -> list[Row]:
    """stage, seconds: the longest first."""
    rows = [{"stage": stage, "seconds": spent} for stage, spent in report["seconds"].items()]
    return sorted(rows, key=lambda row: (-row["seconds"], row["stage"]))


def run(report: Report, task: str) -> Row:
    """One run among others: run_id, start and end of its test window, ndcg, low, high of the ranker, n users, ndcg without text, of the
    best other and its name, gained by text with its interval and word, candidate recall, minutes.
    """
    test = next(window for window in windows(report) if window["name"] == "test")
    figures = {name: by[MAIN] for name, by in report["tasks"][task]["systems"].items()}
    judged, best = figures[JUDGED], best_other(report["tasks"][task]["systems"])
    gained = next(
        (pair for pair in paired(report, task) if pair["against"] == WITHOUT_TEXT), dict.fromkeys(("difference", "low", "high", "word"))
    )
    return {
        "run_id": report["run_id"],
        "start": test["start"],
        "end": test["end"],
        "ndcg": judged["value"],
        "low": judged["low"],
        "high": judged["high"],
        "n": judged["n"],
        "without_text": figures[WITHOUT_TEXT]["value"] if WITHOUT_TEXT in figures else None,
        "best_other": figures[best]["value"] if best else None,
        "best_other_name": best,
        "gained": gained["difference"],
        "gained_low": gained["low"],
        "gained_high": gained["high"],
        "word": gained["word"],
        "recall": report["candidate_recall"]["total"],
        "minutes": sum(report["seconds"].values()) / 60,
    }


def _descending(value: float | None) -> float:
    return float("inf") if value is None else -value
