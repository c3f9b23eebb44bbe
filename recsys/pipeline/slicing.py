"""The slices of a verdict: what is known of items and users at a moment, as columns by which lists are judged apart."""

import polars as pl

from recsys import evaluate
from recsys.config import Config
from recsys.pipeline.snapshot import Snapshot, labels
from recsys.pipeline.tables import events_of
from recsys.schema import EVENT_TYPES

NEW_DAYS = 28
AGES = pl.Enum(["cold: no event yet", f"up to {NEW_DAYS} days", "older"])
POPULARITY = pl.Enum(["head: top 10 %", "middle: next 40 %", "tail: the rest"])
DECILES = pl.Enum(["decile 1 (most popular)", *(f"decile {n}" for n in range(2, 10)), "decile 10 (least)"])
ACTIVITY = pl.Enum(["0 items: cold", "1 to 9 items", "10 to 49 items", "50 items or more"])


def item_slices(snapshot: Snapshot, seen: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """item_id, n_users (who had it) and price as of now of every eligible item, and its slices as Enums.

    item_age by the days since the first event; item_popularity and item_popularity_decile by the share of items that at least as many
    users had: equal ones are together, so a tenth may hold fewer; item_price in quarters; item_category and the columns of items that
    the config names by the values that most pairs of `truth` have.
    """
    is_eligible = pl.Series(snapshot.eligible)
    items, known = snapshot.catalogue.items.filter(is_eligible), snapshot.items.values.filter(is_eligible)
    n_users, wanted = (_rows_of(items["item_id"], pairs) for pairs in (seen, truth))
    own = {f"item.{name}": items[name] for name in _named(snapshot.config, "item")}
    cut = {"item_category": items["category"], "item_price": known["item_price"], **own}
    place = n_users.rank("max", descending=True) / max(len(n_users), 1)
    return pl.DataFrame(
        {
            "item_id": items["item_id"],
            "n_users": n_users,
            "price": known["item_price"],
            "item_age": _leveled(known["item_since_first_event"].fill_null(-1), (-1, NEW_DAYS), AGES),
            "item_popularity": _leveled(place, (0.1, 0.5), POPULARITY),
            "item_popularity_decile": _leveled(place, tuple(n / 10 for n in range(1, 10)), DECILES),
            **{name: evaluate.as_slice(column, wanted, name) for name, column in cut.items()},
        }
    )


def user_slices(users: pl.Series, seen: pl.DataFrame, table: pl.LazyFrame | None, config: Config) -> pl.DataFrame:
    """user_id of every user asked (sorted), and their slices as Enums: user_activity by the items they had, and the columns of the table
    of users that the config names, by as many users. Of who is not in that table nothing is known.
    """
    names = _named(config, "user")
    n_items, own = _rows_of(users, seen), users.to_frame("user_id")
    if names and table is not None:
        own = own.join(events_of(table.select("user_id", *names), own["user_id"]), on="user_id", how="left", maintain_order="left")
    ones = pl.ones(len(users), pl.UInt32, eager=True)
    cut = {f"user.{name}": evaluate.as_slice(own[name], ones, f"user.{name}") for name in names}
    return pl.DataFrame({"user_id": users, "user_activity": _leveled(n_items, (0, 9, 49), ACTIVITY), **cut})


def _rows_of(ids: pl.Series, pairs: pl.DataFrame) -> pl.Series:
    """n (UInt32) of each id: the rows of `pairs` that have it."""
    counts = pairs.group_by(ids.name).agg(n=pl.len())
    return ids.to_frame().join(counts, on=ids.name, how="left", maintain_order="left")["n"].fill_null(0)


def _leveled(numbers: pl.Series, limits: tuple[float, ...], names: pl.Enum) -> pl.Series:
    """The name of the first level whose limit a number does not exceed; the last name has no limit."""
    levels = sum(((numbers > limit).cast(pl.UInt32) for limit in limits), pl.zeros(len(numbers), pl.UInt32, eager=True))
    return names.categories.gather(levels).cast(names)


def made_by(config: Config) -> tuple[str, ...]:
    """What makes an item relevant, by label from 0 up: the event types of that label; empty where it is none, or not enough."""
    by_type = labels(config)
    return tuple(
        " or ".join(name for name in EVENT_TYPES if by_type.get(name) == label) if label >= config.evaluate.relevant_from else ""
        for label in range(max(by_type.values()) + 1)
    )


def try_slices(config: Config, items: pl.DataFrame, users: pl.LazyFrame | None) -> None:
    """Raises SourceError where a column that `evaluate.slices` names is a list, a date or anything else that is not cut."""
    schemas = {"item": items.schema, "user": users.collect_schema() if users is not None else pl.Schema()}
    for table, schema in schemas.items():
        for name in _named(config, table):
            evaluate.refuse_unsliceable(schema[name], f"{table}.{name}")


def _named(config: Config, table: str) -> list[str]:
    return [place.removeprefix(f"{table}.") for place in config.evaluate.slices if place.startswith(f"{table}.")]
