"""Impression lists: what was shown in one request, and what the user then did with it. No torch.

A list is the impressions of one user with one `request_id`, each item once (its first showing). An act (click, cart, purchase) belongs
to the list of its own request where that had shown the item by then; any other act to the latest list that had shown the item to that
user, at most so many hours before. A return before the window's end takes back what was done with the item in every list before it,
and a short view is no act.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.blocks import MICROSECONDS_A_DAY, Bools, Catalogue, Floats, History, Index
from recsys.errors import TableError
from recsys.schema import LIKED, TIME
from recsys.text.signals import Types, is_short

PAIR = ["user_index", "item_id"]
LIST = ["user_index", "request_id"]
COLUMNS = ["item_id", "event_type", "event_time", "value", "request_id", "position", "propensity"]


@dataclass(frozen=True)
class Shown:
    """The impression lists of a block of users in a window: lists of a user contiguous, in order of time.

    user_ids; per list user_index (m,) int32 and age_days (m,) float32, from its first impression to the window's end, > 0;
    indptr (m + 1,) int64; per item shown, by position, item_index (n,) int32, position (n,) int32 from 1 (0: unknown),
    propensity (n,) float32 (NaN: unknown), label (n,) int8, the highest of what was done with it (0: ignored), weight (n,)
    float32, the highest training weight of that (0: ignored). n_left_out: impressions without request_id, of items outside
    the catalogue, or of an item again in the same list.
    """

    user_ids: pl.Series
    user_index: Index
    age_days: Floats
    indptr: NDArray[np.int64]
    item_index: Index
    position: Index
    propensity: Floats
    label: NDArray[np.int8]
    weight: Floats
    n_left_out: int

    @classmethod
    def of(
        cls, events: pl.LazyFrame, catalogue: Catalogue, user_ids: pl.Series, start: datetime, end: datetime, types: Types, hours: float
    ) -> "Shown":
        """The lists of `user_ids` (unique, sorted) out of EVENTS in `[start, end)`; an act is looked for up to `hours` after its showing.

        Nothing at or after `end` is seen, so a list shown shortly before it is judged by what was done by then. Memory is that of
        the block's events: take users block by block, and `joined`.
        """
        users = pl.LazyFrame({"user_id": user_ids}).with_row_index("user_index")
        inside = events.filter((pl.col("event_time") >= pl.lit(start, TIME)) & (pl.col("event_time") < pl.lit(end, TIME)))
        block = inside.select("user_id", *COLUMNS).join(users, on="user_id", how="inner").drop("user_id").collect()
        rows = _rows(block, catalogue)
        judged = _returns(rows.join(_acts(rows, block, types, hours), on="row", how="left"), block).sort("row")
        n_impressions = int((block["event_type"] == "impression").sum())
        return cls._packed(judged, user_ids, end, n_impressions - rows.height)

    @classmethod
    def _packed(cls, rows: pl.DataFrame, user_ids: pl.Series, end: datetime, n_left_out: int) -> "Shown":
        first = np.flatnonzero(rows.select(is_first=pl.struct(LIST).is_first_distinct())["is_first"].to_numpy())
        age = rows.select(age=(pl.lit(end, TIME) - pl.col("moment")).dt.total_microseconds() / MICROSECONDS_A_DAY)["age"]
        return cls(
            user_ids,
            rows["user_index"].to_numpy()[first].astype(np.int32),
            age.to_numpy()[first].astype(np.float32),
            np.append(first, rows.height).astype(np.int64),
            rows["item_index"].to_numpy().astype(np.int32),
            rows["position"].fill_null(0).to_numpy().astype(np.int32),
            rows["propensity"].fill_null(np.nan).to_numpy().astype(np.float32),
            rows["label"].fill_null(0).to_numpy().astype(np.int8),
            rows["weight"].fill_null(0).to_numpy().astype(np.float32),
            n_left_out,
        )

    @classmethod
    def joined(cls, parts: "list[Shown]") -> "Shown":
        """The lists of blocks of users that follow one another, in one window, as one; at least one block."""
        users = np.cumsum([0, *(len(part.user_ids) for part in parts)])
        counts = np.concatenate([np.diff(part.indptr) for part in parts])
        return cls(
            pl.concat([part.user_ids for part in parts]),
            np.concatenate([part.user_index + before for part, before in zip(parts, users[:-1], strict=True)]).astype(np.int32),
            np.concatenate([part.age_days for part in parts]),
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            np.concatenate([part.item_index for part in parts]),
            np.concatenate([part.position for part in parts]),
            np.concatenate([part.propensity for part in parts]),
            np.concatenate([part.label for part in parts]),
            np.concatenate([part.weight for part in parts]),
            sum(part.n_left_out for part in parts),
        )

    def __len__(self) -> int:
        return len(self.user_index)

    @property
    def list_index(self) -> NDArray[np.int64]:
        """(n,) int64: the list of each item shown."""
        return np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.indptr))

    @property
    def is_chosen(self) -> Bools:
        """(n,): did the user do something with it that carries weight."""
        return self.weight > 0

    @property
    def row_weight(self) -> Floats:
        """(n,) float32: the weight of what was done with it, and 1 where it was ignored (weighted logistic regression, Covington 2016)."""
        return np.where(self.is_chosen, self.weight, 1).astype(np.float32)

    @property
    def counts(self) -> dict[str, int]:
        """How many lists, items shown in them, items chosen, lists with a choice, and impressions left out."""
        with_choice = len(np.unique(self.list_index[self.is_chosen]))
        return {
            "lists": len(self),
            "shown": len(self.item_index),
            "chosen": int(self.is_chosen.sum()),
            "lists_with_choice": with_choice,
            "left_out": self.n_left_out,
        }

    def where(self, kept: Bools) -> "Shown":
        """Some of the lists: kept (m,)."""
        rows = kept[self.list_index]
        return replace(
            self,
            user_index=self.user_index[kept],
            age_days=self.age_days[kept],
            indptr=np.concatenate([[0], np.cumsum(np.diff(self.indptr)[kept])]).astype(np.int64),
            item_index=self.item_index[rows],
            position=self.position[rows],
            propensity=self.propensity[rows],
            label=self.label[rows],
            weight=self.weight[rows],
        )

    def starts(self, history: History) -> NDArray[np.int64]:
        """(m,) int64: the first row of `history` that is not before the list; from its user's first row to there is what was known.

        history: of the same users in the same order, as of the window's end.
        """
        user = np.concatenate([self.user_index, history.user_index])
        age = np.concatenate([self.age_days, history.age_days])
        is_row = np.arange(len(user)) >= len(self)
        order = np.lexsort((is_row, -age, user))  # at one moment the list comes first: what happens then is not before it
        before = np.empty(len(user), np.int64)
        before[order] = np.cumsum(is_row[order])
        return before[: len(self)]


def refuse_none(shown: Shown, loss: str) -> None:
    """Raise TableError where a loss over impressions has no list in which something was chosen and something ignored."""
    if shown.is_chosen.any() and not shown.is_chosen.all():
        return
    told = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in shown.counts.items())
    raise TableError(
        f'events: text.loss = "{loss}" learns from what was shown and chosen or ignored, and the text window has too little of it '
        f'({told}). Declare request_id in events.columns and the names of events.types.impression, or set text.loss = "softmax".'
    )


def _rows(block: pl.DataFrame, catalogue: Catalogue) -> pl.DataFrame:
    """One row an item shown, in the order of Shown, with its place in `row` and its list's first moment in `moment`."""
    shown = block.filter((pl.col("event_type") == "impression") & pl.col("request_id").is_not_null())
    index = pl.Series("item_index", catalogue.index_of(shown["item_id"]))
    known = shown.with_columns(index).filter(pl.col("item_index") >= 0)
    once = known.sort("event_time", "position", "propensity", nulls_last=True).unique([*LIST, "item_id"], keep="first", maintain_order=True)
    timed = once.with_columns(moment=pl.col("event_time").min().over(LIST))
    ordered = timed.sort("user_index", "moment", "request_id", "position", "item_index", nulls_last=True)
    return ordered.drop("event_type", "value").with_row_index("row")


def _acts(rows: pl.DataFrame, block: pl.DataFrame, types: Types, hours: float) -> pl.DataFrame:
    """row, label, weight: the highest of the acts that belong to a row, where there is one."""
    kind = pl.col("event_type")
    acts = block.filter(kind.is_in(LIKED) & ~is_short(types)).select(
        *PAIR,
        "request_id",
        act_time="event_time",
        label=kind.replace_strict({name: of.label for name, of in types.items()}, default=0, return_dtype=pl.Int8),
        weight=kind.replace_strict({name: of.weight for name, of in types.items()}, default=0, return_dtype=pl.Float32),
    )
    acts = acts.with_row_index("act")
    own = acts.join(rows.select("row", *PAIR, "request_id", "event_time"), on=[*PAIR, "request_id"])
    own = own.filter(pl.col("act_time") >= pl.col("event_time"))
    others = acts.join(own, on="act", how="anti").sort("act_time")
    latest = others.join_asof(
        rows.select("row", *PAIR, "event_time").sort("event_time", "row"),
        left_on="act_time",
        right_on="event_time",
        by=PAIR,
        tolerance=timedelta(hours=hours),
        check_sortedness=False,
    ).filter(pl.col("row").is_not_null())
    belonging = pl.concat([part.select("row", "label", "weight") for part in (own, latest)])
    return belonging.group_by("row").agg(pl.col("label", "weight").max())


def _returns(rows: pl.DataFrame, block: pl.DataFrame) -> pl.DataFrame:
    """The rows, with nothing done where the item was sent back later."""
    returned = block.filter(pl.col("event_type") == "return").group_by(PAIR).agg(returned=pl.col("event_time").max())
    is_back = (pl.col("returned") >= pl.col("event_time")).fill_null(False)
    zeroed = [pl.when(~is_back).then(name).alias(name) for name in ("label", "weight")]
    return rows.join(returned, on=PAIR, how="left").with_columns(zeroed)
