"""What the off-policy estimates of a demo shop should have said: the same questions, answered by the truth that training never reads."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.demo.oracle import Truth
from recsys.demo.visits import EXAMINATION_POWER, POSITIONS
from recsys.demo.world import Floats
from recsys.evaluate import Pages
from recsys.pipeline.offpolicy import PageLog, page_log
from recsys.report.offpolicy import QUESTIONS, per_thousand
from recsys.report.plain import aligned

if TYPE_CHECKING:
    from recsys.artefacts import Run
    from recsys.pipeline.job import Job
    from recsys.pipeline.snapshot import Snapshot
    from recsys.pipeline.texts import Texts
    from recsys.pipeline.training import Models
    from recsys.pipeline.world import World

LOOKED = np.arange(1, POSITIONS + 1) ** -EXAMINATION_POWER
LOGGED = "as it was"


def known_truth(job: Job, world: World, texts: Texts, models: Models, known: Snapshot) -> dict[str, Any]:
    """An Examine of the training: `off_policy_truth`, by question and system the expected clicks per place shown."""
    assert models.ledger.test is not None
    log = page_log(job, world, known, models.ledger, models.rankers.whole)
    if isinstance(log, str):
        return {}
    truth, item_ids = Truth.read(job.base), world.catalogue.items["item_id"]
    return {"off_policy_truth": true_values(truth, log, item_ids, models.ledger.test.end)}


def true_values(truth: Truth, log: PageLog, item_ids: pl.Series, end: datetime) -> dict[str, dict[str, float]]:
    """Of a log of the days before `end`, by question: the clicks per place shown that each system's pages would have had, and LOGGED."""
    chance, weighted = _page_chances(truth, log, item_ids, end), log.pages.where(log.is_weighted)
    places = {name: _places(weighted, lists, chance) for name, lists in log.lists.items()}
    order = {name: _order(log.pages, score, chance) for name, score in log.score.items()}
    return {"places": places | {LOGGED: _as_it_was(weighted, chance)}, "order": order | {LOGGED: _as_it_was(log.pages, chance)}}


def _page_chances(truth: Truth, log: PageLog, item_ids: pl.Series, end: datetime) -> Floats:
    """(n_pages, n_items): P(click) of an item that is looked at, by the user of each page on its day."""
    column = truth.items["item_id"].to_frame().with_row_index("column").join(item_ids.to_frame(), on="item_id", maintain_order="right")
    days = np.array([_day(end, age) for age in log.age_days], dtype="datetime64[D]")
    found = np.zeros((len(days), len(item_ids)), np.float32)
    for day in np.unique(days):
        rows = np.flatnonzero(days == day)
        users, place = np.unique(log.pages.user[rows], return_inverse=True)
        of_day = truth.click_chance(log.users.gather(users), day.astype(date))
        found[rows] = of_day[place][:, column["column"].to_numpy()]
    return found


def _day(end: datetime, age_days: float) -> date:
    return (end - timedelta(days=float(age_days))).date()


def _as_it_was(pages: Pages, chance: Floats) -> float:
    return float((LOOKED[pages.position - 1] * chance[pages.page, pages.item]).mean())


def _places(pages: Pages, lists: NDArray[np.integer], chance: Floats) -> float:
    """Each place given to one of the items of the list that do not stand above it."""
    shown = np.full((len(pages.user), POSITIONS), -2)
    shown[pages.page, pages.position - 1] = pages.item
    total = 0.0
    for place in range(POSITIONS):
        page = pages.page[pages.position == place + 1]
        listed = lists[pages.user[page]]
        is_left = (listed >= 0) & ~(listed[:, :, None] == shown[page][:, None, :place]).any(axis=2)
        of_list = np.where(is_left, chance[page[:, None], listed], 0).sum(axis=1)
        total += LOOKED[place] * float((of_list / np.maximum(is_left.sum(axis=1), 1)).sum())
    return total / len(pages)


def _order(pages: Pages, score: NDArray[np.float64], chance: Floats) -> float:
    """The items of each page from the highest score down, those without one last and as they stood."""
    total, starts = 0.0, np.flatnonzero(np.r_[True, np.diff(pages.page) != 0])
    for first, last in zip(starts, np.append(starts[1:], len(pages)), strict=True):
        rows = sorted(range(first, last), key=lambda row: (np.isnan(score[row]), -score[row] if not np.isnan(score[row]) else row))
        for place, row in zip(pages.position[first:last], rows, strict=True):
            total += LOOKED[place - 1] * float(chance[pages.page[row], pages.item[row]])
    return total / len(pages)


def against_the_truth(run: Run) -> str:
    """Each off-policy estimate of a run beside the truth; empty where it has none."""
    report = run.record("report")
    if "off_policy_truth" not in report:
        return ""
    parts = []
    for question, title in QUESTIONS.items():
        entry, truth = report["off_policy"][question], report["off_policy_truth"][question]
        if "absent" in entry:
            continue
        said = {LOGGED: entry["logged"]} | {name: one["dr"] for name, one in entry["systems"].items()}
        cells = [[name, per_thousand(one), f"{1000 * truth[name]:.1f}", _verdict(one, truth[name])] for name, one in said.items()]
        parts.append(f"{title}\n{aligned(('system', 'estimate [95 % interval]', 'truth', ''), cells)}")
    return "\n".join(["What other pages would have brought, in clicks per 1,000 places shown, and the truth of the shop:", *parts])


def _verdict(estimate: dict[str, Any], truth: float) -> str:
    return "covered" if estimate["low"] <= truth <= estimate["high"] else "missed"
