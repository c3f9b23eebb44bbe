"""A small shop out of one seed: a catalogue with texts, months of events, a config, and, apart from them, the truth.

The world is described in `recsys.demo.world`, its daily life in `recsys.demo.visits`. What training may read are
`items.csv`, `events/` and `recsys.toml`; `truth/` is for `recsys.demo.oracle` alone.
"""

import gzip
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from recsys.demo.settings import SETTINGS
from recsys.demo.visits import BUY, KINDS, Columns, State, simulate_day
from recsys.demo.words import CATEGORIES, COLOUR_NAMES, MATERIAL_NAMES, STYLE_NAMES, THEME_NAMES
from recsys.demo.world import N_TRAITS, PERIOD_DAYS, START, Goods, People, make_goods, make_people
from recsys.errors import DataError

FEWEST = {"n_items": 60, "n_users": 20, "n_days": 28}
VISITS_A_DAY = 0.23
MIDNIGHT = datetime.combine(START, time(), UTC)


def write_shop(folder: Path, seed: int = 7, n_items: int = 2000, n_users: int = 1600, n_days: int = 112) -> None:
    """Write the shop into `folder`: items.csv, events/YYYY-MM-DD.csv.gz, recsys.toml and truth/.

    The days run from 2026-03-02. The same arguments give the same bytes. Raises DataError for a shop too small to be one,
    and for a folder that holds something else.
    """
    _check_room(folder, {"n_items": n_items, "n_users": n_users, "n_days": n_days})
    worlds, life = (np.random.default_rng([seed, part]) for part in range(2))
    goods = make_goods(worlds, n_items, n_days)
    people = make_people(worlds, n_users, n_days, VISITS_A_DAY)
    state = State(clicks=worlds.gamma(0.5, 4.0, n_items), habit=np.zeros((n_users, n_items), dtype=np.float32))
    for name in ("events", "truth"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    _write_items(folder, goods)
    for day in range(n_days):
        _write_day(folder, goods, people, simulate_day(life, goods, people, state, day), day)
    _write_truth(folder, goods, people, pl.concat([pl.DataFrame(rows) for rows in state.habits]))
    (folder / "recsys.toml").write_text(SETTINGS.format(seed=seed), encoding="utf-8")


def _check_room(folder: Path, sizes: dict[str, int]) -> None:
    small = [f"{name} is {sizes[name]}, not {fewest} or more" for name, fewest in FEWEST.items() if sizes[name] < fewest]
    if small:
        raise DataError(f"demo shop: {'; '.join(small)}. Ask for a larger shop.")
    if not folder.exists():
        return
    days = {f"{START + timedelta(days=day)}.csv.gz" for day in range(sizes["n_days"])}
    found = {path.name for path in (folder / "events").glob("*")}
    settings = folder / "recsys.toml"
    is_other = settings.exists() and not settings.read_text(encoding="utf-8").startswith(SETTINGS.partition("\n")[0])
    if is_other or (found and not settings.exists()) or found - days:
        raise DataError(f"{folder}: holds events or a recsys.toml that are not of this demo shop. Name an empty folder.")


def _write_items(folder: Path, goods: Goods) -> None:
    titles, descriptions = zip(*goods.texts, strict=True)
    pl.DataFrame(
        {
            "item_id": goods.item_ids,
            "title": titles,
            "description": descriptions,
            "category": [CATEGORIES[place].name for place in goods.facets[:, 0]],
            "price": goods.price.max(axis=1).astype(np.float64).round(2),
            "available_from": [MIDNIGHT + timedelta(days=int(day)) for day in goods.first_day],
            "available_until": [MIDNIGHT + timedelta(days=int(day)) if day < goods.price.shape[1] else None for day in goods.last_day],
        },
        schema_overrides={"available_until": pl.Datetime("us", "UTC")},
    ).write_csv(folder / "items.csv", datetime_format="%Y-%m-%dT%H:%M:%SZ")


def _write_day(folder: Path, goods: Goods, people: People, rows: Columns, day: int) -> None:
    price = goods.price[rows["item"], day].astype(np.float64).round(2)
    date = START + timedelta(days=day)
    has_page = pl.col("page") >= 0
    frame = pl.DataFrame(rows | {"price": price}).select(
        time=pl.lit(MIDNIGHT + timedelta(days=day)) + pl.duration(microseconds="time"),
        user=pl.lit(pl.Series(people.user_ids)).gather("user"),
        item=pl.lit(pl.Series(goods.item_ids)).gather("item"),
        event=pl.lit(pl.Series(KINDS)).gather("kind"),
        price="price",
        value=pl.when(pl.col("kind") == BUY).then("price"),
        request_id=pl.when(has_page).then(
            pl.format("R{}-{}", pl.lit(date.strftime("%y%m%d")), pl.col("page").cast(pl.String).str.zfill(5))
        ),
        position=pl.when(has_page).then("position"),
        propensity=pl.when(has_page).then(pl.col("propensity").round(9)),
    )
    text = frame.sort("time", "user", "position", "item").write_csv(datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ")
    # mtime 0: the moment of writing must not be in the bytes.
    (folder / "events" / f"{date}.csv.gz").write_bytes(gzip.compress(text.encode(), compresslevel=5, mtime=0))


def _write_truth(folder: Path, goods: Goods, people: People, habits: pl.DataFrame) -> None:
    facet = goods.facets
    pl.DataFrame(
        {
            "item_id": goods.item_ids,
            "noun": [CATEGORIES[c].nouns[n].name for c, n in facet[:, :2]],
            "theme": [THEME_NAMES[place] for place in facet[:, 2]],
            "material": [MATERIAL_NAMES[place] for place in facet[:, 3]],
            "colour": [COLOUR_NAMES[place] for place in facet[:, 4]],
            "style": [STYLE_NAMES[place] for place in facet[:, 5]],
            "quality": goods.quality,
            "price_level": goods.level,
            "is_consumable": goods.is_consumable,
            "first_day": goods.first_day,
            "last_day": goods.last_day,
            "traits": pl.Series(goods.traits, dtype=pl.Array(pl.Float32, N_TRAITS)),
            "lift": pl.Series(goods.lift, dtype=pl.Array(pl.Float32, goods.lift.shape[1])),
        }
    ).write_parquet(folder / "truth" / "items.parquet")
    n_periods, n_users, _ = people.taste.shape
    pl.DataFrame(
        {
            "user_id": people.user_ids * n_periods,
            "period": np.repeat(np.arange(n_periods), n_users),
            "first_day": np.repeat(np.arange(n_periods) * PERIOD_DAYS, n_users),
            "taste": pl.Series(people.taste.reshape(-1, N_TRAITS), dtype=pl.Array(pl.Float32, N_TRAITS)),
        }
    ).write_parquet(folder / "truth" / "users.parquet")
    habits.write_parquet(folder / "truth" / "habits.parquet")
