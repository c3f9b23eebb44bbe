"""What other lists would have brought, estimated from pages that were shown: IPS, SNIPS and doubly robust, or a clear no.

Two questions can be answered from a log without trying anything out.

*Places given away* (needs propensities): had a place of a page been given to one of the system's items, drawn evenly from those not yet
above it, all other places as they were. Each row then weighs (chance under the system) / (chance under the log).
*The same items in another order* (needs positions): had the items of a page been sorted by the system. Every item was shown, so only the
looks differ: a row weighs looked(new place) / looked(old place) of `Examination` (Joachims, Swaminathan and Schnabel 2017).

With weights w, acts r and a model m of them that saw none of these pages, per place shown:

    IPS    mean(w r)                                   Horvitz and Thompson 1952
    SNIPS  mean(w r) / mean(w) x what w should average  Swaminathan and Joachims 2015
    DR     mean(m of the new item + w (r - m))         Dudik, Langford and Li 2011

All are right where the propensities are, DR whatever m says; a good m makes it narrower.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.evaluate.examination import Examination, Pages
from recsys.evaluate.intervals import Figure, bootstrap_means, percentile_interval, summed
from recsys.metrics import Floats

FEWEST_EFFECTIVE = 100
"""Effective rows ((sum w)^2 / sum w^2, Kong 1992) below which there is no estimate."""

FEWEST_WEIGHTED_ACTS = 10
"""Acts of weighted rows below which there is none: the interval of a mean of a handful of heavy rows promises too much."""

PARTS = ("ips", "dr", "more", "weight", "expected")

FULL_WEIGHT = 0.1
"""How far from 1 the whole interval of (mean weight / what it should be) may lie."""


@dataclass(frozen=True)
class Offer:
    """What a system would have put at every place of some pages.

    weight (n,): chance under the system / under the log; expected (n,): what the weight of such a row averages, 0 where the system has
    nothing for the place, or None where nobody knows; direct (n,): the model's chance of an act on what the system puts there.
    """

    weight: Floats
    expected: Floats | None
    direct: Floats


@dataclass(frozen=True)
class Overlap:
    """How much of a log speaks of a system. matched: rows with a weight; acts: acts on them; effective: even rows that they are worth."""

    matched: int
    acts: int
    effective: float


@dataclass(frozen=True)
class Estimate:
    """Acts per place shown, under one system. n of a Figure counts users.

    ips, snips, dr: the value; snips None for another order, whose weights need not average 1; more: dr minus what was, on the same pages;
    weight: mean weight / what it should be. refused: why none of the figures should be believed; empty where they may.
    """

    ips: Figure
    snips: Figure | None
    dr: Figure
    more: Figure
    overlap: Overlap
    weight: Figure | None
    refused: str


def offer_of_lists(pages: Pages, lists: NDArray[np.integer], model: Examination) -> Offer:
    """A place for one of the items of its user's list, drawn evenly from those that do not stand above it.

    lists (n_users, k): item_index, each once, -1 where there is none. Positions as in `Examination`, propensities known.
    """
    n_items = len(model.appeal)
    user, place = np.nonzero(lists >= 0)
    is_listed = np.isin(pages.user_of_row * n_items + pages.item, user * n_items + lists[user, place])
    appeal = np.where(is_listed, model.appeal[pages.item], 0)
    whole = np.bincount(user, model.appeal[lists[user, place]], minlength=len(lists))
    left = (lists >= 0).sum(axis=1)[pages.user_of_row] - _above(pages, is_listed.astype(np.float64)).round()
    has_any = left > 0
    weight = np.where(is_listed, 1 / (np.maximum(left, 1) * pages.propensity), 0)
    mean_appeal = (whole[pages.user_of_row] - _above(pages, appeal)) / np.maximum(left, 1)
    return Offer(weight, has_any.astype(np.float64), np.where(has_any, model.looked[pages.position - 1] * mean_appeal, 0))


def offer_of_order(pages: Pages, score: Floats, model: Examination) -> Offer:
    """The items of a page by falling score (n,), those without one (NaN) last and as they stood, on the places that the page had."""
    order = np.lexsort((pages.position, -np.where(np.isnan(score), -np.inf, score), pages.page))
    new = np.empty_like(pages.position)
    new[order] = pages.position  # rows of a page are contiguous and from the top down, in both orders
    return Offer(model.looked[new - 1] / model.looked[pages.position - 1], None, model.chance(pages.item, new))


def estimates(
    pages: Pages, offers: Iterable[tuple[str, Offer]], model: Examination, bootstrap: int, seed: int
) -> tuple[Figure, dict[str, Estimate]]:
    """What was, and what would have been under each offer: acts per place, with 95 % intervals by a bootstrap that draws users whole.

    The interval knows neither how sure `model` is of the looks, nor that the users of next month are others.
    """
    acted, said = pages.acted.astype(np.float64), model.chance(pages.item, pages.position)
    user = np.unique(pages.user_of_row, return_inverse=True)[1]
    sums: dict[tuple[str, str], Floats] = {("", "rows"): summed(np.ones(len(pages)), user), ("", "logged"): summed(acted, user)}
    overlap = {}
    for name, offer in offers:
        robust = offer.direct + offer.weight * (acted - said)
        expected = np.ones(len(pages)) if offer.expected is None else offer.expected
        parts = {"ips": offer.weight * acted, "dr": robust, "more": robust - acted, "weight": offer.weight, "expected": expected}
        sums |= {(name, part): summed(values, user) for part, values in parts.items()}
        overlap[name] = _overlap(offer, acted)
    drawn = bootstrap_means(sums, bootstrap, seed)
    # The last of each is the value itself, those before it are of the resamples.
    totals = {key: np.append(drawn[key], values.mean() if len(values) else np.nan) for key, values in sums.items()}
    means = {key: _ratio(total, totals["", "rows"]) for key, total in totals.items()}
    n = len(sums["", "rows"])
    estimated = {name: _estimate({part: means[name, part] for part in PARTS}, *found, len(pages), n) for name, found in overlap.items()}
    return _figure(means["", "logged"], n), estimated


def _overlap(offer: Offer, acted: Floats) -> tuple[Overlap, bool]:
    squares, matched = float(offer.weight @ offer.weight), offer.weight > 0
    effective = float(offer.weight.sum()) ** 2 / squares if squares else 0.0
    return Overlap(int(matched.sum()), int(acted[matched].sum()), effective), offer.expected is not None


def _estimate(means: Mapping[str, Floats], overlap: Overlap, is_known: bool, n_rows: int, n: int) -> Estimate:
    """means: by part, of the resamples and, last, the value itself; is_known: is it known what weights should average."""
    full = _ratio(means["weight"], means["expected"])
    weight, snips = (_figure(full, n), _figure(_ratio(means["ips"], full), n)) if is_known else (None, None)
    values = {part: _figure(means[part], n) for part in ("ips", "dr", "more")}
    return Estimate(**values, snips=snips, overlap=overlap, weight=weight, refused=_refusal(n_rows, overlap, weight))


def _figure(means: Floats, n: int) -> Figure:
    return Figure(float(means[-1]), *percentile_interval(means[:-1]), n)


def _refusal(n_rows: int, overlap: Overlap, weight: Figure | None) -> str:
    told = f"{overlap.matched:,} of {n_rows:,} places count, worth {overlap.effective:,.0f} even ones, with {overlap.acts:,} acts"
    if overlap.effective < FEWEST_EFFECTIVE or overlap.acts < FEWEST_WEIGHTED_ACTS:
        return f"too little overlap: {told}; {FEWEST_EFFECTIVE} and {FEWEST_WEIGHTED_ACTS} are needed"
    if weight is not None and weight.high < 1 - FULL_WEIGHT:
        return f"the log never shows a part of what it lists: the weights average {weight.value:.2f} where 1 is right ({told})"
    if weight is not None and weight.low > 1 + FULL_WEIGHT:
        return f"the propensities are too small to be true: the weights average {weight.value:.2f} where 1 is right ({told})"
    return ""


def _above(pages: Pages, values: Floats) -> Floats:
    """(n,): the sum of values (n,) over the rows of the same page above each row."""
    before = np.cumsum(values) - values
    first = np.flatnonzero(np.r_[True, np.diff(pages.page) != 0]) if len(pages) else np.zeros(0, np.int64)
    above: Floats = before - np.repeat(before[first], np.diff(np.append(first, len(pages))))
    return above


def _ratio(over: Floats, under: Floats) -> Floats:
    ratio: Floats = np.divide(over, under, out=np.full(len(over), np.nan), where=under > 0)
    return ratio
