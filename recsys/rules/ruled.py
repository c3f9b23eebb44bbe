"""The candidates of a block of users under the rules: what each rule says of each, and the lists under any of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.blocks import Bools, Floats, History, Index
from recsys.rules.book import Book
from recsys.rules.fill import Cap, Diversity, Worth, fill, ranks
from recsys.rules.likeness import Likeness
from recsys.schema import EVENT_TYPES

PURCHASE = EVENT_TYPES.index("purchase")


@dataclass(frozen=True)
class Asked:
    """The scored candidates of a block: rows of a user contiguous, in order of item_index.

    history: of the block's users. users: a row each, the columns that conditions may name, null where nothing is known. user, item
    (r,): row of the block, item_index; score (r,) float64. is_new: what the user had is not listed (task `new`). chances (r,) float32 by
    column, NaN where unknown: at least those that a rule of the book names.
    """

    history: History
    users: pl.DataFrame
    user: Index
    item: Index
    score: NDArray[np.float64]
    is_new: bool
    chances: Mapping[str, Floats] = field(default_factory=dict)


@dataclass(frozen=True)
class Placed:
    """Lists of a block: user, row (-1: no candidate, pinned) and item_id (n,); rank from 1, score, is_pinned (n,).

    acted (n rows): of `Ruled.acted`, where it was asked for.
    """

    user: Index
    row: NDArray[np.int64]
    item_id: pl.Series
    rank: Index
    score: NDArray[np.float64]
    is_pinned: Bools
    acted: pl.DataFrame | None = None


class Ruled:
    """A block's candidates as cells (U, W) in order of item_id, then one of each pinned item that is no candidate of the user.

    item int32, row int64, -1 where there is none; score float64, -inf where there is no candidate.
    """

    def __init__(self, book: Book, asked: Asked) -> None:
        self.book, self.asked = book, asked
        counts = np.bincount(asked.user, minlength=asked.history.n_users)
        place = np.arange(len(asked.user)) - np.repeat(np.cumsum(counts) - counts, counts)
        pinned = sorted(set(book.pinned.values()))
        width = int(counts.max(initial=0))
        self.item: Index = np.full((len(counts), width + len(pinned)), -1, np.int32)
        self.row: NDArray[np.int64] = np.full(self.item.shape, -1, np.int64)
        self.score: Worth = np.full(self.item.shape, -np.inf)
        cells = asked.user, place
        self.item[cells], self.row[cells], self.score[cells] = asked.item, np.arange(len(place)), asked.score
        for extra, item in enumerate(pinned, start=width):
            self.item[:, extra] = np.where((self.item[:, :width] == item).any(axis=1), -1, item)
        self._cells = np.nonzero(self.item >= 0)
        self._held: dict[str, Bools] = {}
        self._listed: dict[tuple[tuple[str, ...], int], tuple[Index, dict[str, Index]]] = {}

    def lists(self, names: tuple[str, ...], k: int) -> tuple[Index, dict[str, Index]]:
        """The cell of each place (U, k) under the rules of these names, and that of each pin (U,); -1 where there is none."""
        if (names, k) not in self._listed:
            self._listed[names, k] = self._lists(names, k)
        return self._listed[names, k]

    def _lists(self, names: tuple[str, ...], k: int) -> tuple[Index, dict[str, Index]]:
        hard = self._allowed.copy()
        for name in set(names) & self._keeps.keys():
            hard &= self._keeps[name]
        worth = np.where(hard & (self.row >= 0), self.score + self._raised(names), -np.inf)
        caps = [Cap(self._code(column), most) for column, most in self.book.rules.caps.items() if f"caps.{column}" in names]
        pins = self._pins(names, hard, worth, caps, k)
        pinned: Index = np.full((len(self.item), k), -1, np.int32)
        for name, cells in pins.items():
            is_placed = np.flatnonzero(cells >= 0)
            if len(is_placed):  # a rank beyond k is no column
                pinned[is_placed, self.book.rules.pins[name].rank - 1] = cells[is_placed]
        if "min_score" in names:
            worth = np.where(self.score >= self.floor[:, None], worth, -np.inf)
        for name, (column, least) in self.book.rules.least_chances.items():
            if name in names:
                worth = np.where(self._chance(column) >= np.float32(least), worth, -np.inf)
        return fill(worth, pinned, caps, self._diversity if "mmr_lambda" in names else None), pins

    def unlikely(self, k: int) -> Bools:
        """(U,): who has a list of k places but for the rules of least chances."""
        names = self.book.rules.names
        others = tuple(name for name in names if name not in self.book.rules.least_chances)
        has_list, has_other = (self.lists(some, k)[0].max(axis=1, initial=-1) >= 0 for some in (names, others))
        return np.asarray(has_other & ~has_list)

    def placed(self, k: int) -> Placed:
        """The lists under all rules. A pinned item that is no candidate has the score of the user's lowest one (0 where there is none)."""
        listed, pins = self.lists(self.book.rules.names, k)
        user, place = np.nonzero(listed >= 0)
        cell = listed[user, place]
        lowest = np.min(self.score, axis=1, initial=np.inf, where=self.row >= 0)
        score = np.where(self.row[user, cell] >= 0, self.score[user, cell], np.where(np.isfinite(lowest), lowest, 0)[user])
        is_pinned = np.zeros(len(user), bool)
        for cells in pins.values():
            is_pinned |= cells[user] == cell
        ids = self.book.items["item_id"].gather(self.item[user, cell].astype(np.uint32))
        return Placed(user.astype(np.int32), self.row[user, cell], ids, (place + 1).astype(np.int32), score, is_pinned)

    def acted(self, k: int) -> pl.DataFrame:
        """Of the rows of `placed`: rules (List of String) and plain_rank (Int32), the place without any rule, null for none.

        rules: of pins those that placed the cell, of boosts those whose condition it meets, of the others those that, each alone,
        would list it at another place than no rule does, or not at all.
        """
        (listed, pins), width = self.lists(self.book.rules.names, k), self.item.shape[1]
        user, place = np.nonzero(listed >= 0)
        cell = listed[user, place]
        plain = ranks(self.lists((), k)[0], width)[user, cell]
        acted = {}
        for name in self.book.rules.names:
            kind, _, own = name.partition(".")
            if kind == "pins":
                acted[name] = pins[own][user] == cell
            elif kind == "boosts":
                acted[name] = self._holds(f"{name}.where")[user, cell]
            else:
                acted[name] = ranks(self.lists((name,), k)[0], width)[user, cell] != plain
        named = [pl.when(pl.col(name)).then(pl.lit(name)) for name in acted]
        rank = pl.when(pl.col("plain_rank") > 0).then("plain_rank").alias("plain_rank")
        return pl.DataFrame(acted | {"plain_rank": plain}).select(pl.concat_list(named).list.drop_nulls().alias("rules"), rank)

    def meant(self, pin: str) -> Bools:
        """(U,): for whom a pin is."""
        if not self.book.rules.pins[pin].users:
            return np.ones(len(self.item), bool)
        users = np.arange(len(self.item))
        return self.book.holds(f"pins.{pin}.users", self.asked.users, users, users)

    @cached_property
    def floor(self) -> NDArray[np.float64]:
        """(U,): the least score that rules.min_score allows."""
        mean, spread = self._moments
        return mean + (self.book.rules.min_score or 0.0) * spread

    @cached_property
    def _moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(U,) each: mean and standard deviation of the user's candidates, before any rule; 0 where there is none."""
        user, cell = np.nonzero(self._allowed & (self.row >= 0))
        score, n_users = self.score[user, cell], len(self.item)
        n = np.maximum(np.bincount(user, minlength=n_users), 1)
        mean = np.bincount(user, score, minlength=n_users) / n
        return mean, np.sqrt(np.bincount(user, (score - mean[user]) ** 2, minlength=n_users) / n)

    @cached_property
    def _allowed(self) -> Bools:
        """(U, W): is there an item, and may the task list it."""
        if not self.asked.is_new:
            return self.item >= 0
        return self._spread(~self.asked.history.seen(len(self.book.eligible))[self._of_cells])

    @cached_property
    def _keeps(self) -> dict[str, Bools]:
        """(U, W) by filter: may the cell be listed."""
        rules, history = self.book.rules, self.asked.history
        kept = {f"eligible.{name}": self._holds(f"eligible.{name}") for name in rules.eligible}
        # <=: a float32 of days may round up to the bound, never over it.
        if "seen_days" in rules.names:
            since = history.days_since(np.ones(len(history.item_index), bool), len(self.book.eligible))
            kept["seen_days"] = self._spread(since[self._of_cells] > rules.seen_days)
        if "bought_days" in rules.names:
            since = history.days_since(history.event_type == PURCHASE, len(self.book.eligible))
            kept["bought_days"] = self._spread(since[self._of_cells] > self.book.rest_days[self._of_cells[1]])
        return kept

    def _raised(self, names: tuple[str, ...]) -> NDArray[np.float64]:
        """(U, W): what boosts of these names add to the score."""
        raised = np.zeros(self.item.shape)
        for name, boost in self.book.rules.boosts.items():
            if f"boosts.{name}" in names:
                raised += boost.by * self._holds(f"boosts.{name}.where")
        return raised * self._moments[1][:, None]

    def _pins(self, names: tuple[str, ...], hard: Bools, worth: Worth, caps: list[Cap], k: int) -> dict[str, Index]:
        """(U,) by pin: the cell that it places, -1: none. The lower rank first, of one rank the first of the config."""
        asked = [name for name in self.book.rules.pins if f"pins.{name}" in names]
        rank = {name: self.book.rules.pins[name].rank for name in asked}
        users, pinned = np.arange(len(self.item)), dict[str, Index]()
        for name in sorted(asked, key=rank.__getitem__):
            earlier = dict(pinned)
            pinned[name] = np.full(len(users), -1, np.int32)
            if rank[name] > k or not self.item.shape[1]:
                continue
            choice = self._choice(name, hard, worth)
            for cap in caps:
                choice[_is_full(cap, earlier.values())] = -np.inf
            for other, cells in earlier.items():
                choice[users, cells] = np.where(cells >= 0, -np.inf, choice[users, cells])
                if rank[other] == rank[name]:
                    choice[cells >= 0] = -np.inf
            best = np.argmax(choice, axis=1)
            is_placed = self.meant(name) & np.isfinite(choice[users, best])
            pinned[name][is_placed] = best[is_placed]
        return pinned

    def _choice(self, pin: str, hard: Bools, worth: Worth) -> Worth:
        """(U, W): worth of the cells that a pin may place, -inf elsewhere."""
        if not self.book.rules.pins[pin].item:
            return np.where(self._holds(f"pins.{pin}.items"), worth, -np.inf)
        item = self.book.pinned.get(pin)
        return np.where(hard & (self.item == item), 0.0, -np.inf) if item is not None else np.full(worth.shape, -np.inf)

    @property
    def _of_cells(self) -> tuple[NDArray[np.int64], Index]:
        """User and item of each cell that has one."""
        return self._cells[0], self.item[self._cells]

    def _holds(self, place: str) -> Bools:
        if place not in self._held:
            self._held[place] = self._spread(self.book.holds(place, self.asked.users, *self._of_cells))
        return self._held[place]

    def _spread(self, values: Bools) -> Bools:
        """(U, W) of values of the cells that have an item; False elsewhere."""
        spread = np.zeros(self.item.shape, bool)
        spread[self._cells] = values
        return spread

    def _chance(self, column: str) -> Floats:
        """(U, W): NaN where unknown, as of what is no candidate."""
        chance = np.full(self.item.shape, np.nan, np.float32)
        is_candidate = self.row >= 0
        chance[is_candidate] = self.asked.chances[column][self.row[is_candidate]]
        return chance

    def _code(self, column: str) -> Index:
        return np.where(self.item >= 0, self.book.code(column)[self.item], -1).astype(np.int32)

    @cached_property
    def _diversity(self) -> Diversity | None:
        if self.book.vectors is None:
            return None
        return Diversity(Likeness(self.book.vectors, self.item), self.book.rules.mmr_lambda)


def _is_full(cap: Cap, listed: Iterable[Index]) -> Bools:
    """(U, W): is the cap of the cell's code reached by the listed cells (U,) each."""
    users, held = np.arange(len(cap.code)), np.zeros(cap.code.shape, np.int32)
    for cells in listed:
        code = np.where(cells >= 0, cap.code[users, cells], -1)
        held += (cap.code == code[:, None]) & (cap.code >= 0)
    return held >= cap.most
