"""Hard rules, held to the lists as they lie on the disk: by joins and SQL, where the lists were made by arrays.

What a rule is, the config says; how it was kept, nothing here knows.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from recsys.schema import TIME
from recsys.sql import marked


@dataclass(frozen=True)
class Rest:
    """After an event of these types an item is not listed to its user: for `days`, by category for other days; None: for good."""

    types: tuple[str, ...]
    days: int | None
    by_category: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Hard:
    """What no list of a night may break, by name of the rule.

    items: item_id and every column that a condition names; users: user_id and theirs, or None. conditions: SQL over item.* and user.*,
    TRUE of every listed pair. caps: column of items, and most of one value in a list. floors: user_id, floor (Float64), a frame a part:
    no lower score is listed, but for items of the reason `pinned`; filled while the lists are made. least: column of the lists, and its
    least value, but for what is pinned.
    """

    as_of: datetime
    items: pl.DataFrame
    users: pl.LazyFrame | None
    events: pl.LazyFrame
    conditions: dict[str, str] = field(default_factory=dict)
    caps: dict[str, tuple[str, int]] = field(default_factory=dict)
    rests: dict[str, Rest] = field(default_factory=dict)
    pinned: str = ""
    floors: list[pl.DataFrame] = field(default_factory=list)
    least: dict[str, tuple[str, float]] = field(default_factory=dict)

    def breaches(self, part: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
        """Name of a rule, and the rows of a part (RECOMMENDATIONS, whole users) that break it: each rule that is broken."""
        found = [*self._unmet(part), *self._capped(part), *self._rested(part), *self._low(part), *self._unlikely(part)]
        return ((name, rows) for name, rows in found if rows.height)

    def _unmet(self, part: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
        nobody = pl.DataFrame(schema={"user_id": pl.String})
        users = self._of(part, self.users).collect() if self.users is not None else nobody
        for name, text in self.conditions.items():
            query = (
                "SELECT list.user_id, list.item_id FROM list LEFT JOIN item ON list.item_id = item.item_id "
                f'LEFT JOIN "user" ON list.user_id = "user".user_id WHERE NOT COALESCE(({marked(text, as_tables=True)}\n), FALSE)'
            )
            with pl.SQLContext({"list": part.select("user_id", "item_id"), "item": self.items, "user": users}, eager=True) as context:
                yield name, context.execute(query)

    def _capped(self, part: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
        for name, (column, most) in self.caps.items():
            of_items = self.items.select("item_id", value=pl.col(column))
            values = part.select("user_id", "item_id").join(of_items, on="item_id", how="left").drop_nulls("value")
            yield name, values.filter(pl.len().over("user_id", "value") > most)

    def _rested(self, part: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
        pairs = part.lazy().select("user_id", "item_id")
        known = self._of(part, self.events.filter(pl.col("event_time") < pl.lit(self.as_of, TIME)))
        for name, rest in self.rests.items():
            latest = known.filter(pl.col("event_type").is_in(rest.types)).group_by("user_id", "item_id").agg(pl.col("event_time").max())
            rows = pairs.join(latest, on=["user_id", "item_id"], how="inner")
            if rest.days is not None:
                days = pl.col("category").replace_strict(rest.by_category, default=rest.days, return_dtype=pl.Int64)
                of_items = self.items.lazy().select("item_id", days=days if rest.by_category else pl.lit(rest.days))
                until = pl.col("event_time") + pl.duration(days=pl.col("days"))
                rows = rows.join(of_items, on="item_id", how="left").filter(until > pl.lit(self.as_of, TIME))
            yield name, rows.select("user_id", "item_id").collect(engine="streaming")

    def _low(self, part: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
        if self.floors:
            floors = self._of(part, pl.concat(self.floors).lazy()).collect()
            rows = part.filter(pl.col("reason") != self.pinned).join(floors, on="user_id", how="left")
            yield "rules.min_score", rows.filter(~(pl.col("score") >= pl.col("floor")).fill_null(False))

    def _unlikely(self, part: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
        for name, (column, least) in self.least.items():
            is_met = (pl.col(column) >= pl.lit(least, pl.Float32)).fill_null(False) | (pl.col("reason") == self.pinned)
            yield name, part.filter(~is_met)

    def _of(self, part: pl.DataFrame, frame: pl.LazyFrame) -> pl.LazyFrame:
        """The rows of the part's users; of files, which are sorted by user, only their row groups are read."""
        users = part["user_id"].unique()
        near = frame.filter(pl.col("user_id").is_between(pl.lit(users.min()), pl.lit(users.max())))
        return near.join(users.to_frame().lazy(), on="user_id", how="semi")
