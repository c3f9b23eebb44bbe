"""Why the items of a user's list are there, as the night kept it: what each family adds, the item it is because of, sources and rules."""

from typing import TYPE_CHECKING, Any

import polars as pl

from recsys.artefacts import Run, collected
from recsys.families import FAMILIES
from recsys.report.plain import MISSING, aligned, figure
from recsys.schema import EXPLANATIONS

if TYPE_CHECKING:
    import pandas as pd

WHY_PARTS = "explanations/part-*.parquet"

NO_EXPLANATIONS = "This night keeps no explanations: it was made before they were kept, or with rank.explain = 0."


def is_explained(night: Run) -> bool:
    """Does the night keep explanations."""
    return any(name.startswith("explanations/") for name in night.manifest["digests"])


def explanations_of(night: Run, user_id: str) -> pl.DataFrame:
    """The EXPLANATIONS of a user's list, by rank; no row where the night keeps none."""
    if not is_explained(night):
        return EXPLANATIONS.empty()
    rows = pl.scan_parquet(night.path / WHY_PARTS).filter(pl.col("user_id") == user_id)
    return collected(rows, night).sort("rank")


def why(row: dict[str, Any], titles: dict[str, str]) -> dict[str, Any]:
    """A row of EXPLANATIONS as a plain object: base, families (None where they are not kept), because, sources, rules, plain_rank.

    titles: item_id -> title, of the items that somebody was listed something because of.
    """
    near = row["because_item_id"]
    because = {"item_id": near, "title": titles.get(near, near), "similarity": row["because_similarity"]} if near is not None else None
    families = {name: row[name] for name in FAMILIES} if row["base"] is not None else None
    return {"base": row["base"], "families": families, "because": because, **{key: row[key] for key in ("sources", "rules", "plain_rank")}}


def families_frame(explained: dict[str, Any]) -> "pd.DataFrame":
    """family, meaning, adds (Float64): what each adds to the score or, below 0, takes from it; of a `why` that has families."""
    rows = [(name, meaning, float(explained["families"][name])) for name, meaning in FAMILIES.items()]
    return pl.DataFrame(rows, schema={"family": pl.String, "meaning": pl.String, "adds": pl.Float64}, orient="row").to_pandas()


def explained_text(listed: list[dict[str, Any]]) -> str:
    """Two tables for the terminal: what each family adds to each item's score, and where each item comes from. listed: rows with `why`."""
    rows = [(str(row["rank"]), row["why"]) for row in listed if row["why"] is not None]
    if not rows:
        return NO_EXPLANATIONS
    added = [
        [rank, figure(one["base"], 2), *(figure(value, 2, "+") for value in one["families"].values())]
        for rank, one in rows
        if one["families"]
    ]
    parts = (
        ["What each family of features adds to the score (docs/explanations.md)\n" + aligned(("rank", "base", *FAMILIES), added)]
        if added
        else []
    )
    from_where = [
        [rank, ", ".join(one["sources"]) or MISSING, *_near(one), ", ".join(one["rules"]) or MISSING, _moved(rank, one)]
        for rank, one in rows
    ]
    header = ("rank", "found by", "nearest liked item", "cosine", "rules", "without rules")
    return "\n\n".join([*parts, "Where each item comes from\n" + aligned(header, from_where, n_left=6)])


def _near(one: dict[str, Any]) -> tuple[str, str]:
    because = one["because"]
    return (because["title"], figure(because["similarity"], 2)) if because else (MISSING, MISSING)


def _moved(rank: str, one: dict[str, Any]) -> str:
    place = one["plain_rank"]
    return "not listed" if place is None else "the same" if str(place) == rank else f"place {place}"
