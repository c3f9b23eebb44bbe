"""Promises of the demo shop: seeded to the byte, honest propensities, texts that carry interest, a truth kept apart."""

import hashlib
import time
from collections import Counter
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys import config_file
from recsys.artefacts import Home, draft
from recsys.demo import oracle_share, true_interest, visits, words, write_shop
from recsys.demo.tour import against_the_oracle
from recsys.demo.world import START, make_goods, make_people
from recsys.errors import DataError

SMALL = {"n_items": 120, "n_users": 60, "n_days": 35}
LAST = START + timedelta(days=SMALL["n_days"])


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    write_shop(folder, **SMALL)
    return folder


@pytest.fixture(scope="module")
def events(shop: Path) -> pl.DataFrame:
    types = {"value": pl.Float64, "request_id": pl.String, "position": pl.Int32, "propensity": pl.Float64}
    days = [pl.read_csv(path, schema_overrides=types) for path in sorted(shop.glob("events/*.csv.gz"))]
    return pl.concat(days).with_columns(pl.col("time").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", time_zone="UTC"))


@pytest.fixture(scope="module")
def items(shop: Path) -> pl.DataFrame:
    frame = pl.read_csv(shop / "items.csv")
    dates = pl.col("available_from", "available_until").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")
    return frame.with_columns(dates, pl.col("title", "description").fill_null(""))


def digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return whole.hexdigest()


def all_users(shop: Path) -> pl.Series:
    return pl.read_parquet(shop / "truth" / "users.parquet")["user_id"].unique().sort()


def lists_of(users: pl.Series, items: pl.Series, columns: np.ndarray) -> pl.DataFrame:
    n, k = columns.shape
    frame = pl.DataFrame({"user_id": users.gather(np.repeat(np.arange(n), k)), "item_id": items.gather(columns.ravel())})
    return frame.with_columns(rank=pl.Series(np.tile(np.arange(1, k + 1), n)), as_of=pl.lit(LAST).cast(pl.Datetime("us", "UTC")))


def test_same_seed_same_bytes_other_seed_others_and_a_small_shop_is_quick(shop: Path, tmp_path: Path) -> None:
    start = time.process_time()
    write_shop(tmp_path / "again", **SMALL)
    assert time.process_time() - start < 2
    write_shop(tmp_path / "other", seed=8, **SMALL)
    assert digest(tmp_path / "again") == digest(shop) != digest(tmp_path / "other")


def test_a_shop_may_be_written_over_itself_but_over_nothing_else(tmp_path: Path) -> None:
    write_shop(tmp_path, **SMALL)
    write_shop(tmp_path, **SMALL)
    with pytest.raises(DataError, match="Name an empty folder"):
        write_shop(tmp_path, **SMALL | {"n_days": 28})
    (tmp_path / "recsys.toml").write_text("# my own")
    with pytest.raises(DataError, match="Name an empty folder"):
        write_shop(tmp_path, **SMALL)


def test_a_shop_too_small_is_refused_by_every_size_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"n_items is 3, not 60 or more; n_days is 7, not 28 or more"):
        write_shop(tmp_path, n_items=3, n_users=60, n_days=7)


def test_its_config_loads_maps_the_shops_words_and_never_names_the_truth(shop: Path, events: pl.DataFrame) -> None:
    loaded = config_file.load(shop / "recsys.toml")
    words = {word for event_type in loaded.events.types.values() for word in event_type.names}
    assert words == set(visits.KINDS) >= set(events["event"])
    assert set(loaded.events.columns.values()) == set(events.columns)
    assert "truth" not in (shop / "recsys.toml").read_text()
    assert not next(shop.glob(loaded.items.path)).is_relative_to(shop / "truth")


def page_chances(weight: tuple[float, ...], eps: float, page: tuple[int, ...]) -> list[float]:
    """The policy told another way: at each place, every item left gets its part of both mixtures."""
    chances, left = [], list(range(len(weight)))
    for item in page:
        chances.append(eps / len(left) + (1 - eps) * weight[item] / sum(weight[other] for other in left))
        left.remove(item)
    return chances


def test_logged_propensities_are_the_frequencies_of_many_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visits, "POSITIONS", 3)
    weight, n = (8.0, 4.0, 2.0, 1.0, 1.0), 200_000
    item, propensity = visits.draw_pages(np.random.default_rng(1), np.array(weight), n)
    counts = Counter(map(tuple, item.tolist()))
    assert len(counts) == 5 * 4 * 3
    for page, count in counts.items():
        expected = float(np.prod(page_chances(weight, visits.UNIFORM_SHARE, page)))
        assert abs(count / n - expected) < 5 * np.sqrt(expected / n)
    for page, logged in zip(item[:200].tolist(), propensity[:200].tolist(), strict=True):
        assert logged == pytest.approx(page_chances(weight, visits.UNIFORM_SHARE, tuple(page)))


@given(weight=st.lists(st.floats(0.01, 100), min_size=12, max_size=40), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_a_page_holds_distinct_items_each_with_a_probability(weight: list[float], seed: int) -> None:
    item, propensity = visits.draw_pages(np.random.default_rng(seed), np.array(weight), 30)
    assert all(len(set(page)) == visits.POSITIONS for page in item.tolist())
    assert item.min() >= 0
    assert item.max() < len(weight)
    assert ((propensity > 0) & (propensity <= 1)).all()


def test_every_page_is_logged_whole_with_its_propensities(events: pl.DataFrame) -> None:
    views = events.filter(pl.col("event") == "view")
    pages = views.group_by("request_id").agg(pl.col("position").sort(), pl.col("item").n_unique(), pl.col("user").n_unique())
    assert (pages["position"].list.eval(pl.element() == pl.int_range(1, 11).cast(pl.Int32)).list.all()).all()
    assert (pages["item"] == 10).all()
    assert (pages["user"] == 1).all()
    assert views["propensity"].is_between(0, 1, closed="right").all()
    unshown = events.filter(pl.col("request_id").is_null())
    assert set(unshown["event"]) == {"click", "add_to_cart", "buy", "refund"}
    assert unshown["propensity"].null_count() == unshown["position"].null_count() == unshown.height


def test_a_basket_follows_a_click_and_a_refund_a_purchase(events: pl.DataFrame) -> None:
    for before, after in pairwise(("click", "add_to_cart", "buy", "refund")):
        first = events.filter(pl.col("event") == before).group_by("user", "item").agg(first=pl.col("time").min())
        led = events.filter(pl.col("event") == after).join(first, on=["user", "item"], how="left")
        assert led.height > 0
        assert (led["first"] < led["time"]).all()
        assert led["first"].null_count() == 0
    assert (events["value"].is_not_null() == (events["event"] == "buy")).all()


def test_the_lower_the_place_the_fewer_the_clicks(tmp_path: Path) -> None:
    write_shop(tmp_path, n_items=120, n_users=800, n_days=28)
    rows = pl.concat([pl.read_csv(p).select("event", pl.col("position").cast(pl.Int32)) for p in sorted(tmp_path.glob("events/*.gz"))])
    is_click = (pl.col("event") == "click").sum()
    ctr = rows.drop_nulls().group_by("position").agg(ctr=is_click / (pl.col("event") == "view").sum()).sort("position")["ctr"]
    assert ctr[0] > 1.3 * ctr[1:3].mean()  # type: ignore[operator]
    assert ctr[1:3].mean() > ctr[3:6].mean() > ctr[6:].mean()  # type: ignore[operator]


def test_new_items_come_every_week_and_none_acts_out_of_its_time(events: pl.DataFrame, items: pl.DataFrame) -> None:
    days = items["available_from"].dt.date()
    assert set(days.filter(days >= START)) == {START + timedelta(weeks=week) for week in range(1, SMALL["n_days"] // 7)}
    joined = events.join(items.select(item="item_id", since="available_from", until="available_until"), on="item")
    assert joined.height == events.height
    assert (joined["time"] >= joined["since"]).all()
    assert (joined.filter(pl.col("until").is_not_null())["time"] < joined["until"].drop_nulls()).all()
    assert joined["until"].drop_nulls().len() > 0
    assert events["time"].max().date() == LAST - timedelta(days=1)  # type: ignore[union-attr]


def test_the_catalogue_has_the_flaws_of_a_real_one(items: pl.DataFrame) -> None:
    bare = items.filter(pl.col("title") == "")
    assert bare.height == 2
    assert (bare["description"] == "").all()
    titled = items.filter(pl.col("title") != "")
    assert (titled["description"] == "").sum() > 0
    assert titled.select("title", "description").is_duplicated().sum() > 0


def test_items_of_the_same_facets_are_wanted_by_the_same_people() -> None:
    goods, people = make_goods(np.random.default_rng(3), 600, 35), make_people(np.random.default_rng(4), 400, 35, 0.2)
    interest = people.taste[0] @ goods.traits.T
    likeness = np.corrcoef((interest - interest.mean(axis=1, keepdims=True)).T)
    category, theme = goods.facets[:, 0], goods.facets[:, 2]
    same_category, same_theme = category[:, None] == category, theme[:, None] == theme
    others = ~np.eye(len(goods), dtype=bool)
    assert likeness[same_category & same_theme & others].mean() > 0.6
    assert likeness[~same_category & same_theme].mean() > 0.2
    assert abs(likeness[~same_category & ~same_theme].mean()) < 0.1


def test_a_theme_is_told_in_many_words_and_in_no_two_themes_alike() -> None:
    told = [word for facet in words.THEMES.values() for word in facet.titles + facet.phrases]
    assert len(told) == len(set(told))
    assert all(len(facet.titles) >= 4 <= len(facet.phrases) for facet in words.THEMES.values())
    texts = words.write_texts(np.random.default_rng(0), np.tile([6, 0, 0, 1, 0, 0], (400, 1)), np.ones(400, dtype=np.int64))
    is_told = [
        any(word.lower() in " ".join(text).lower() for word in (*words.THEMES["nautical"].titles, *words.THEMES["nautical"].phrases))
        for text in texts
    ]
    assert np.mean(is_told) == 1
    assert len(set(texts)) > 390


def test_the_oracles_own_lists_have_the_whole_share_and_others_less(shop: Path, items: pl.DataFrame) -> None:
    users, ids = all_users(shop), items["item_id"]
    interest = true_interest(shop, users, LAST)
    best = np.argsort(-interest, axis=1, kind="stable")[:, :12]
    chance = np.argsort(np.random.default_rng(0).random(interest.shape), axis=1)[:, :10]
    perfect, random = oracle_share(shop, lists_of(users, ids, best)), oracle_share(shop, lists_of(users, ids, chance))
    assert perfect["user_id"].to_list() == users.to_list()
    assert perfect["share"].to_numpy() == pytest.approx(1)
    assert (random["share"] < 1).all()
    assert random["share"].mean() < 0.5  # type: ignore[operator]


def test_who_gets_no_list_from_a_system_got_nothing_from_it(shop: Path, items: pl.DataFrame, tmp_path: Path) -> None:
    users = all_users(shop)
    best = np.argsort(-true_interest(shop, users, LAST), axis=1, kind="stable")[:, :10]
    whole = lists_of(users, items["item_id"], best).drop("as_of").with_columns(task=pl.lit("all"))
    half = whole.filter(pl.col("user_id").is_in(users[::2].implode()))
    with draft(tmp_path / "runs" / "one", {}) as folder:
        folder.table("lists", pl.concat([whole.with_columns(system=pl.lit("ranker")), half.with_columns(system=pl.lit("half"))]))
        folder.table("windows", pl.DataFrame({"name": ["test"], "start": [LAST]}))
    told = against_the_oracle(shop, Home(tmp_path).load("one")).splitlines()
    assert told[1].split() == ["ranker", "1.0000"]
    assert told[2].split()[:2] == ["half", "0.5000"]
    assert told[2].split()[2:6] == ["ranker", "minus", "it", "+0.5000"]


def test_true_interest_is_nought_for_what_is_not_on_offer_and_else_a_label(shop: Path, items: pl.DataFrame) -> None:
    interest = true_interest(shop, all_users(shop)[:5], START)
    is_open = (items["available_from"].dt.date() <= START).to_numpy()
    assert interest.dtype == np.float32
    assert interest.shape == (5, items.height)
    assert (interest[:, ~is_open] == 0).all()
    assert ((interest[:, is_open] > 0) & (interest[:, is_open] < 3)).all()


def test_true_interest_knows_what_was_bought_before_the_day_but_not_on_it(shop: Path, events: pl.DataFrame, items: pl.DataFrame) -> None:
    lasting = pl.read_parquet(shop / "truth" / "items.parquet").filter(~pl.col("is_consumable") & (pl.col("last_day") > 60))["item_id"]
    bought = events.filter((pl.col("event") == "buy") & pl.col("item").is_in(lasting.to_list())).sort("time").row(0, named=True)
    column, user = items["item_id"].index_of(bought["item"]), pl.Series([bought["user"]])
    day = bought["time"].date()
    on_the_day, after = (true_interest(shop, user, when)[0, column] for when in (day, day + timedelta(days=1)))
    assert after < 0.4 * on_the_day


@pytest.mark.parametrize(
    ("users", "days", "message"),
    [(["nobody"], 0, "nobody"), (["u00001"], -1, "not one of its days"), (["u00001"], 36, "not one of its days")],
)
def test_true_interest_refuses_what_is_not_of_the_shop(shop: Path, users: list[str], days: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        true_interest(shop, pl.Series(users), START + timedelta(days=days))


def test_oracle_share_refuses_items_and_folders_that_are_not_the_shops(shop: Path, items: pl.DataFrame, tmp_path: Path) -> None:
    lists = lists_of(all_users(shop)[:1], items["item_id"], np.array([[0]]))
    with pytest.raises(DataError, match="XXX"):
        oracle_share(shop, lists.with_columns(item_id=pl.lit("XXX")))
    with pytest.raises(DataError, match="no such file"):
        oracle_share(tmp_path, lists)
    assert oracle_share(shop, lists.clear()).height == 0
