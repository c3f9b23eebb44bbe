"""The pages of a demo shop, whose truth is known: estimates that hold it, and a ranker that learns from what was shown."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys import config_file, timeline
from recsys.demo import pages as demo_pages
from recsys.demo.oracle import Truth
from recsys.demo.shop import write_shop
from recsys.pipeline import rows
from recsys.pipeline.job import Job, Silent, utc_now
from recsys.pipeline.offpolicy import NO_PAGES, NO_PROPENSITY, PageLog, off_policy, page_log
from recsys.pipeline.snapshot import Snapshot, TextSide, snapshot
from recsys.pipeline.training import Rankers, fit_rankers
from recsys.pipeline.world import World, read_world


@dataclass
class Shop:
    folder: Path
    job: Job
    world: World
    ledger: timeline.Ledger
    known: Snapshot
    rankers: Rankers

    def log(self, change: Any = None) -> PageLog | str:
        """The page log, of the events as they are or changed by a polars expression."""
        world = replace(self.world, events=change(self.world.events)) if change else self.world
        return page_log(self.job, world, self.known, self.ledger, self.rankers.whole)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("shop")
    write_shop(folder, 7, n_items=150, n_users=700, n_days=63)
    made = config_file.load(folder / "recsys.toml")
    job = Job(made.model_copy(update={"ranker": made.ranker.model_copy(update={"trees": 30})}), folder, utc_now(), Silent())
    world = read_world(job)
    ledger = timeline.evaluation_ledger(world.start, world.end, job.config)
    sides = tuple(TextSide.silent(len(world.catalogue)) for _ in ledger.moments)
    rankers, _ = fit_rankers(job, world, sides, ledger)
    assert ledger.test is not None
    window = (world.catalogue, ledger.test.start, ledger.test.end, sides[-1], job.config, world.catalogue.categories)
    return Shop(folder, job, world, ledger, snapshot(world.events, *window, job.threads, job.clock), rankers)


def test_the_estimates_hold_the_truth_of_the_shop(shop: Shop) -> None:
    log = shop.log()
    assert isinstance(log, PageLog)
    assert shop.ledger.test is not None
    truth = demo_pages.true_values(Truth.read(shop.folder), log, shop.world.catalogue.items["item_id"], shop.ledger.test.end)
    found = off_policy(shop.job, log)
    said = {(question, name): one["dr"] for question in ("places", "order") for name, one in found[question]["systems"].items()}
    assert all(not one["refused"] for question in ("places", "order") for one in found[question]["systems"].values())
    missed = [key for key, one in said.items() if not one["low"] <= truth[key[0]][key[1]] <= one["high"]]
    assert missed == []
    assert len(said) == 8


def test_the_ranker_would_bring_more_than_the_pages_did_and_the_estimate_says_so(shop: Shop) -> None:
    log = shop.log()
    assert isinstance(log, PageLog)
    found = off_policy(shop.job, log)
    assert found["places"]["systems"]["ranker_no_text"]["more"]["low"] > 0
    assert found["order"]["systems"]["ranker_no_text"]["more"]["low"] > 0


def test_looks_are_those_of_the_shop(shop: Shop) -> None:
    log = shop.log()
    assert isinstance(log, PageLog)
    np.testing.assert_allclose(log.model.looked, demo_pages.LOOKED, atol=0.1)


def test_the_model_never_sees_the_test_window(shop: Shop) -> None:
    test = shop.ledger.test
    assert test is not None
    is_before = pl.col("event_time") < pl.lit(test.start, pl.Datetime("us", "UTC"))
    quiet = shop.log(lambda events: events.filter(is_before | (pl.col("event_type") != "click")))
    whole = shop.log()
    assert isinstance(quiet, PageLog)
    assert isinstance(whole, PageLog)
    np.testing.assert_array_equal(quiet.model.appeal, whole.model.appeal)
    np.testing.assert_array_equal(quiet.model.looked, whole.model.looked)


def test_without_propensities_the_order_alone_is_estimated(shop: Shop) -> None:
    log = shop.log(lambda events: events.with_columns(propensity=pl.lit(None, pl.Float32)))
    found = off_policy(shop.job, log)
    assert found["places"] == {"absent": NO_PROPENSITY}
    assert found["order"]["systems"]["ranker"]["dr"]["value"] > 0


def test_without_positions_there_is_nothing_to_ask(shop: Shop) -> None:
    assert off_policy(shop.job, shop.log(lambda events: events.with_columns(position=pl.lit(None, pl.Int32)))) == {"absent": NO_PAGES}


def test_places_that_nobody_acts_on_cannot_be_told_apart(shop: Shop) -> None:
    found = off_policy(shop.job, shop.log(lambda events: events.filter(pl.col("event_type") == "impression")))
    assert "20 acts each" in found["absent"]


def fold_rows(shop: Shop, pages: bool) -> rows.Part:
    settings = shop.job.config.ranker.model_copy(update={"pages": pages})
    job = replace(shop.job, config=shop.job.config.model_copy(update={"ranker": settings}))
    sides = tuple(TextSide.silent(len(shop.world.catalogue)) for _ in shop.ledger.moments)
    return rows.fold_rows(job, shop.world, sides, shop.ledger)


def test_pages_are_queries_of_their_own_with_something_chosen_and_something_ignored(shop: Shop) -> None:
    part = fold_rows(shop, pages=True)
    is_page = part.position > 0
    query, label = part.rows.query_id[is_page], part.rows.label[is_page]
    assert is_page.any()
    assert not np.isin(part.rows.query_id[~is_page], query).any()
    for one in np.unique(query):
        assert (label[query == one] > 0).any()
        assert (label[query == one] == 0).any()


def test_what_is_learned_from_candidates_stays_with_pages_beside_it(shop: Shop) -> None:
    part, alone = fold_rows(shop, pages=True), fold_rows(shop, pages=False)
    assert (alone.position == 0).all()
    shown = part.position > 0
    assert set(part.rows.query_id[~shown]) == set(alone.rows.query_id)
    assert part.rows.label[~shown].sum() == alone.rows.label.sum()
