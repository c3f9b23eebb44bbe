"""What `recsys compare` prints for people: whether the two may be compared comes first."""

from collections.abc import Iterator
from typing import Any

from recsys.report.compare import NO_SLICES
from recsys.report.plain import MISSING, aligned, figure, prose
from recsys.report.rows import MAIN, Row
from recsys.report.unlike import shown
from recsys.report.words import interval

FEATURES = 10
"""Features printed; the JSON and the dashboard have all."""

NO_LISTS = "Not both runs keep their lists of the test window, so it is not known whose changed."
COUNTS = ("better", "tied", "worse")


def compared_text(found: dict[str, Any]) -> str:
    """What `compared` gives as tables for the terminal."""
    parts = [_heading(found), *(_not_compared(found) if found["obstacles"] else _compared(found))]
    parts += [_unlike("Windows", "window", found["windows"]), _unlike("Tables", "what", found["tables"]), _config(found["config"])]
    parts += [_unlike("Chosen on windows held out", "what", found["chosen"]), _features(found["features"]), _costs(found["costs"])]
    return "\n\n".join(parts)


def _heading(found: dict[str, Any]) -> str:
    sides = [
        f"{letter}  run {side['run_id']}, as of {side['as_of'][:10]}, task {side['task']}" + ", the current one" * side["is_current"]
        for letter, side in (("A", found["a"]), ("B", found["b"]))
    ]
    return "\n".join([*sides, "Every difference is A minus B."])


def _not_compared(found: dict[str, Any]) -> Iterator[str]:
    yield prose("NOT COMPARABLE: the figures of the two were not compared.", *(f"- {one}" for one in found["obstacles"]), found["advice"])
    cells = [
        [task, *(MISSING if side is None else f"{interval(side, 'value')}, {side['n']:,} users" for side in (of["a"], of["b"]))]
        for task, of in found["reached"].items()
    ]
    title = f"Each by itself: {MAIN} [95 % interval]. These two do not say which run is better.\n"
    yield title + aligned(("task", "A", "B"), cells)


def _compared(found: dict[str, Any]) -> Iterator[str]:
    yield prose("Comparable: the same test window, the same tables, the same notion of relevant. Paired by user.", *found["remarks"])
    for place, (task, of) in enumerate(found["tasks"].items()):
        yield prose(*answer_lines(of))
        if of["metrics"]:
            yield _metrics(task, of)
            yield _slices(task, of["slices"])
            if not place:  # long: the lists of the other task are in the JSON and on the dashboard
                yield _changed(task, of["changed"])


def answer_lines(of: Row) -> list[str]:
    """The answer of a task, its figures, and who is in it on one side alone."""
    alone = [
        f"{of[key]:,} users of {letter} are not in the other and were left out."
        for key, letter in (("only_a", "A"), ("only_b", "B"))
        if of[key]
    ]
    return [of["answer"], *filter(None, [of["detail"]]), *(alone if of["n_users"] else ())]


def reach_lines(of: Row) -> list[str]:
    """What so many users can show, and how many it would take."""
    if of["reach"]["seen"] is None:
        return []
    needed = ", ".join(f"{n:,} for {float(effect):.3f}" for effect, n in of["reach"]["needed"].items())
    return [
        f"Users it takes to show a difference in {MAIN} four times in five, where they differ as these do: {needed}. "
        f"These {of['n_users']:,} so show one of {figure(of['reach']['seen'])}."
    ]


def _metrics(task: str, of: Row) -> str:
    cells = [[row["metric"], *_figures(row)] for row in of["metrics"]]
    title = f"Paired by user, task {task}, {of['n_users']:,} users; p after Holm over the {len(cells)} rows\n"
    return title + aligned(("metric", *HEADER), cells) + "\n" + prose(*(f"  {line}" for line in reach_lines(of)))


HEADER = ("A", "B", "A - B [95 % interval]", "better", "tied", "worse", "p", "p Holm", "A is")


def _figures(row: Row) -> list[str]:
    counts = (f"{row[key]:,}" for key in COUNTS)
    return [
        figure(row["a"]),
        figure(row["b"]),
        interval(row, "difference", "+"),
        *counts,
        figure(row["p"]),
        figure(row["p_holm"]),
        row["word"],
    ]


def _slices(task: str, rows: list[Row] | None) -> str:
    if rows is None:
        return prose(NO_SLICES)
    cells = [
        [
            f"{row['slice']}: {row['value']}",
            f"{row['n']:,}",
            interval(row, "difference", "+"),
            figure(row["p"]),
            figure(row["p_holm"]),
            row["word"],
        ]
        for row in rows
    ]
    title = f"Slices, {MAIN}, task {task}; p after Holm over the {len(cells)} rows\n"
    return title + aligned(("slice", "users", "A - B [95 % interval]", "p", "p Holm", "A is"), cells)


def _changed(task: str, rows: list[Row] | None) -> str:
    if rows is None:
        return NO_LISTS
    if all(row["overlap"] == 1 for row in rows):
        return f"Lists, task {task}: no judged user has another list in A than in B."
    title = f"Users whose lists changed most from B to A, task {task} (overlap: rank-biased, 1 the same list, 0 nothing in common)"
    return "\n".join([title, *(line for row in rows if row["overlap"] < 1 for line in _user(row))])


def _user(row: Row) -> Iterator[str]:
    figures = f"{MAIN} A {figure(row['a'])}, B {figure(row['b'])}"
    yield f"  {row['user_id']}  overlap {row['overlap']:.2f}, {figures}; {len(row['stayed'])} where they were"
    for word in ("entered", "left"):
        if row[word]:
            yield from _wrapped(word, (f"{item['rank']} {item['title']}" for item in row[word]))
    if row["moved"]:
        yield from _wrapped("moved", (f"{item['rank_b']} to {item['rank_a']} {item['title']}" for item in row["moved"]))
    if row["went_for"] is not None:
        yield from _wrapped(
            "went for", (f"{item['title']} (A {item['rank_a'] or MISSING}, B {item['rank_b'] or MISSING})" for item in row["went_for"])
        )


def _wrapped(word: str, items: Iterator[str]) -> list[str]:
    return [f"    {line}" for line in prose(f"{word}: {'; '.join(' '.join(item.split()) for item in items)}").split("\n")]


def _unlike(title: str, key: str, rows: list[Row]) -> str:
    """Rows that differ, and how many do not."""
    cells = [[str(row[key]), shown(row["a"]), shown(row["b"])] for row in rows if not row["is_same"]]
    if not cells:
        return f"{title}: the same in both."
    return f"{title}; {len(rows) - len(cells)} more the same in both\n" + aligned((key, "A", "B"), cells, n_left=3)


def _config(rows: list[Row]) -> str:
    if not rows:
        return "Config: the same in both."
    parts = []
    for part, title in (("model", "Config, what models are made and judged by"), ("night", "Config, what concerns the nights alone")):
        cells = [[row["key"], shown(row["a"]), shown(row["b"])] for row in rows if row["part"] == part]
        parts.append(f"{title}\n" + aligned(("key", "A", "B"), cells, n_left=3) if cells else f"{title}: the same in both.")
    return "\n\n".join(parts)


def _features(rows: list[Row]) -> str:
    cells = [[row["feature"], _share(row["a"]), _share(row["b"]), f"{row['difference']:+.2%}"] for row in rows if row["difference"]][
        :FEATURES
    ]
    if not cells:
        return "Features: the same in both, and worth the same."
    title = f"Features, share of the gain of all: the {len(cells)} that changed most\n"
    return title + aligned(("feature", "A", "B", "A - B"), cells)


def _share(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2%}"


def _costs(rows: list[Row]) -> str:
    cells = [[row["what"], *(figure(row[key], 1) for key in ("a", "b")), figure(row["difference"], 1, "+")] for row in rows]
    return "Time, memory and size\n" + aligned(("what", "A", "B", "A - B"), cells)
