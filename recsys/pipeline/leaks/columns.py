"""Columns of the items that know the window: written after the fact, one of them tells which items are chosen in it.

The items table has no history: it is today's, and stands beside every past moment. A code, a word, a price or a date that was put there
because an item sold tells a model of the past what will sell.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from recsys import metrics, timeline
from recsys.blocks import Bools, Catalogue
from recsys.config_tables import Check
from recsys.ingest import CheckResult
from recsys.pipeline.leaks.alone import both_ends, strength
from recsys.pipeline.leaks.found import FEWEST, beyond, found
from recsys.schema import ITEM_TEXTS

NAME = "item columns"

NUMBERS = ("price", "available_from", "available_until")
VALUES = ("brand", "category", "category_path", "attributes")
"""Texts that may be codes: each value is worth the share of chosen items among the others that have it."""

PRIOR = 1.0
"""Items at the overall share that are added to those of a value."""


@dataclass(frozen=True)
class Told:
    """How well one column (or one word of it) tells the items chosen in a window: AUC, the better direction."""

    column: str
    window: str
    auc: float
    how: str


def item_columns(
    catalogue: Catalogue, events: pl.DataFrame, windows: list[timeline.Window], labels: dict[str, int], limits: Check
) -> CheckResult:
    """Every column of ours that is filled, against what was chosen in each window, at each label that there is.

    Of the items that could be had in it. A label with fewer than FEWEST items chosen, or left, is not judged.
    """
    told, asked = [], []
    for window in windows:
        items = catalogue.items.filter(pl.Series(catalogue.eligible(window.start, window.end)))
        truth = timeline.truth(events, window, labels)
        for level in sorted(set(labels.values()) - {0}):
            is_chosen = items["item_id"].is_in(truth.filter(pl.col("label") >= level)["item_id"].implode()).to_numpy()
            if min(is_chosen.sum(), (~is_chosen).sum()) >= FEWEST:
                asked.append(f"{window.name} (label {level}: {is_chosen.sum():,} of {len(is_chosen):,})")
                told += [Told(column, window.name, auc, how) for column, auc, how in _columns(items, is_chosen)]
    if not asked:
        names = " and ".join(window.name for window in windows)
        return found(
            NAME, "PASS", 0, f"too few items are chosen, or left, in {names} for any column to tell them apart ({FEWEST} are needed)"
        )
    best = max(told, key=lambda one: one.auc)
    strong = [one for one in sorted(told, key=lambda one: -one.auc) if beyond(one.auc, limits.leak_auc) != "PASS"]
    message = (
        f"{len({one.column for one in told})} columns against the items chosen in {', '.join(asked)}; the strongest is "
        f"{best.column} ({best.how}), AUC {best.auc:.3f} of {best.window}"
    )
    hint = ". It was written after the fact: take the column as it stood before, or leave it out" if strong else ""
    examples = [f"{one.column} ({one.how}): AUC {one.auc:.3f} of {one.window}" for one in strong]
    return found(NAME, beyond(best.auc, limits.leak_auc), len({one.column for one in strong}), message + hint, dict.fromkeys(examples))


def _columns(items: pl.DataFrame, is_chosen: Bools) -> Iterator[tuple[str, float, str]]:
    for name in NUMBERS:
        values = items[name] if name == "price" else items[name].dt.epoch("us")
        yield name, max(strength(metrics.roc_auc(is_chosen, filled)) for filled in both_ends(values)), "its size"
    for name in VALUES:
        if name in items.columns:
            yield name, strength(metrics.roc_auc(is_chosen, _rates(items[name], is_chosen))), "its values"
    for name in ITEM_TEXTS:
        if name in items.columns:
            word, auc = _best_word(items[name], is_chosen)
            yield name, auc, f"the word {word!r}"


def _rates(values: pl.Series, is_chosen: Bools) -> np.ndarray:
    """(n,): of each item, the share of chosen ones among the other half of the items with its value, drawn towards the overall share.

    By halves: the share of the very item would tell it, and a column of distinct values would seem to know everything.
    """
    overall = is_chosen.mean()
    half = np.random.default_rng(0).permutation(len(is_chosen)) % 2
    rows = pl.DataFrame({"value": values.fill_null(""), "half": half, "chosen": is_chosen})
    of_value = rows.group_by("value", half=1 - pl.col("half")).agg(n=pl.len(), chosen=pl.col("chosen").sum())
    joined = rows.select("value", "half").join(of_value, on=["value", "half"], how="left", maintain_order="left").fill_null(0)
    return joined.select((pl.col("chosen") + PRIOR * overall) / (pl.col("n") + PRIOR)).to_series().to_numpy()


def _best_word(values: pl.Series, is_chosen: Bools) -> tuple[str, float]:
    """The word that tells best whether an item is chosen, and the AUC of having it: (1 + share of chosen - share of others that do) / 2."""
    n_chosen = int(is_chosen.sum())
    words = pl.DataFrame({"word": values.fill_null("").str.to_lowercase().str.extract_all(r"[\w-]+").list.unique(), "chosen": is_chosen})
    shares = words.explode("word").drop_nulls("word").group_by("word").agg(chosen=pl.col("chosen").sum(), n=pl.len())
    gap = pl.col("chosen") / n_chosen - (pl.col("n") - pl.col("chosen")) / (len(is_chosen) - n_chosen)
    best = shares.select("word", auc=0.5 + gap.abs() / 2).sort("auc", "word", descending=[True, False]).head(1)
    return best.row(0) if best.height else ("", 0.5)
