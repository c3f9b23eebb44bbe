"""The slices of a verdict as text, what a mean over them hides, and what a figure is worth: between chance and the best possible order."""

from collections.abc import Iterator
from itertools import groupby

from recsys.evaluate import FEWEST_USERS
from recsys.report import rows
from recsys.report.plain import MISSING, aligned, figure, share
from recsys.report.rows import JUDGED, MAIN, WITHOUT_TEXT, Report, Row

DETAIL = "item_popularity_decile"
"""A finer cut of a slice that is told beside it: for charts and programs, too long for a terminal."""

TOO_FEW = "too few"
SHARE_OF = {"users": "of users", "relevant items": "of relevant"}
HEADER = ("slice and value", "users", "share", JUDGED, "no text", "minus best other", "it is", "best other")


def slices_table(report: Report, task: str) -> str:
    """Every slice with its values: users, share, the ranker with and without text, and the ranker minus the best other system there."""
    parts = [part for part in report["tasks"][task]["slices"] if part["slice"] != DETAIL]
    cells = [cells for name, of_slice in groupby(parts, lambda part: str(part["slice"])) for cells in _slice(name, list(of_slice))]
    return aligned(HEADER, cells) if cells else "  none: nobody is judged"


def _slice(name: str, parts: list[Row]) -> Iterator[list[str]]:
    yield [name, "", SHARE_OF.get(parts[0].get("share_of", ""), ""), *[""] * (len(HEADER) - 3)]
    yield from (_value(part) for part in parts)


def _value(part: Row) -> list[str]:
    systems = part["systems"]
    best = rows.best_other(systems)
    values = [systems[name][MAIN]["value"] if name in systems else None for name in (JUDGED, WITHOUT_TEXT)]
    against: Row = next((pair for pair in part.get("paired", []) if pair["b"] == best), dict.fromkeys(("difference", "low", "high")))
    word = TOO_FEW if rows.is_small(part) else rows.word(against["low"], against["high"])
    difference = figure(against["difference"], sign="+")
    value = "  " + " ".join(part["value"].split())
    return [value, f"{part['n']:,}", share(part.get("share")), *map(figure, values), difference, word, best or MISSING]


def slice_notes(report: Report, task: str) -> list[str]:
    """What one must know to read the slices, a sentence each, and every trap in the differences that people look at."""
    found = report["tasks"][task]
    notes = ["ndcg@10. A slice of items or events counts only those as relevant; the lists stay as they are."] if found["slices"] else []
    n_small = sum(rows.is_small(part) for part in found["slices"])
    if n_small:
        notes.append(f"{TOO_FEW}: {n_small} slices of fewer than {FEWEST_USERS} users, whose figures say nothing and have no interval.")
    return notes + trap_notes(report, task)


def trap_notes(report: Report, task: str) -> list[str]:
    """Where the ranker's difference from the one without text, or from the best other system, is not what most of its parts are."""
    found = report["tasks"][task]
    looked_at = (WITHOUT_TEXT, rows.best_other(found["systems"]))
    return [_trap(one) for one in found.get("traps", []) if one["b"] in looked_at and one["slice"] != DETAIL]


def _trap(one: Row) -> str:
    said = f"Mix: {one['a']} minus {one['b']} is {one['difference']:+.4f} over all, "
    part = f"{one['slice']} '{one['part']}' ({share(one['share'])} of the {one['share_of']}) brings {one['brings']:+.4f}"
    if one["kind"] == "carried by one":
        return f"{said}and without one part nothing of it is left: {part}."
    return f"{said}but {one['n_against']} of {one['n_changed']} values of {one['slice']} go the other way: {part}."


def anchors_line(report: Report, task: str) -> str:
    """What chance, popularity and the best order of the candidates reach, and how far the ranker is between; empty where nobody knows."""
    found = report["tasks"][task].get("anchors")
    if not found or found["value"] is None:
        return ""
    chance, popularity, oracle = (figure(found[name]) for name in ("random", "popularity", "oracle"))
    reached = f"random reaches {chance}, popularity {popularity}, the best order of what was retrieved {oracle}"
    said = f"{MAIN} {figure(found['value'])}: {reached}; "
    if found["way"] is None:
        return f"{said}no order of the candidates is above popularity."
    if found["way"] < 0:
        return f"{said}the {JUDGED} is below popularity."
    return f"{said}the {JUDGED} is {found['way']:.0%} of the way from popularity to that."
