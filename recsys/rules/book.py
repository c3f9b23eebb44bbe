"""The rules of a config, read against the items as they are at one moment: once a night, before anybody is ranked."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.blocks import Bools, Floats, Index
from recsys.config_rules import Rules
from recsys.errors import SourceError
from recsys.sql import Condition, condition, fault, qualified

Places = NDArray[np.int64] | Index


@dataclass(frozen=True)
class Book:
    """What the rules say, and what they say it of.

    items: columns as conditions name them, rows of the catalogue. eligible (n_items,): what may be shown at that moment. vectors
    (n_items, dim): unit vectors of the items' texts, zero where there is none; None where nothing is known of texts.
    conditions: by place below [rules].
    """

    rules: Rules
    items: pl.DataFrame
    eligible: Bools
    vectors: Floats | None
    conditions: dict[str, Condition]

    @classmethod
    def of(cls, rules: Rules, items: pl.DataFrame, users: pl.DataFrame, eligible: Bools, vectors: Floats | None) -> "Book":
        """users: the columns that conditions may name, of no user. Raises SourceError where a rule does not fit its columns' types."""
        known = {"item": items.columns, "user": users.columns}
        read = {place: condition(text, known) for place, text in rules.conditions.items()}
        made = cls(rules, items, eligible, vectors, read)
        nobody = np.empty(0, np.int32)
        for place in read:
            made.holds(place, users, nobody, nobody)
        for column in rules.caps:
            if items[column].dtype.is_nested():
                raise SourceError(f"rules.caps.{column}: is {items[column].dtype}, and a cap counts single values. Cap another column.")
        return made

    def holds(self, place: str, users: pl.DataFrame, user: Places, item: Places) -> Bools:
        """(r,): is the condition at `place` TRUE of each pair of a row of `users` (r,) and an item (r,). Raises SourceError naming it."""
        asked = self.conditions[place]
        if not asked.user_columns:
            return np.take(self._of_items[place], item)
        of_users = users.select(pl.col(name).alias(qualified(name, "user")) for name in asked.user_columns)
        if not asked.item_columns:
            return np.take(self._true(place, of_users), user)
        of_items = self.items.select(pl.col(name).alias(qualified(name, "item")) for name in asked.item_columns)
        return self._true(place, pl.concat([of_items[item], of_users[user]], how="horizontal"))

    @cached_property
    def pinned(self) -> dict[str, int]:
        """item_index of the item that each pin names: of pins that name one which may be shown."""
        places = dict(zip(self.items["item_id"], range(self.items.height), strict=True)) if self.rules.pins else {}
        found = {name: places[pin.item] for name, pin in self.rules.pins.items() if pin.item in places}
        return {name: place for name, place in found.items() if self.eligible[place]}

    @cached_property
    def rest_days(self) -> NDArray[np.float32]:
        """(n_items,): days after a purchase in which an item is not listed; 0: no such rule for it."""
        days = np.full(self.items.height, self.rules.bought_days, np.float32)
        for category, of_category in self.rules.bought_days_by_category.items():
            days[(self.items["category"] == category).fill_null(False).to_numpy()] = of_category
        return days

    def code(self, column: str) -> Index:
        """(n_items,) int32: one number a value of a column, -1 where there is none."""
        if column not in self._codes:
            ranked = self.items[column].cast(pl.String).rank("dense").fill_null(0)
            self._codes[column] = ranked.to_numpy().astype(np.int32) - np.int32(1)
        return self._codes[column]

    @cached_property
    def _codes(self) -> dict[str, Index]:
        return {}

    @cached_property
    def _of_items(self) -> dict[str, Bools]:
        alone = {place: asked for place, asked in self.conditions.items() if not asked.user_columns}
        items = self.items.rename(lambda name: qualified(name, "item"))
        return {place: self._true(place, items) for place in alone}

    def _true(self, place: str, frame: pl.DataFrame) -> Bools:
        """Of each row: NULL is not TRUE."""
        asked = self.conditions[place]
        try:
            found = frame.select(asked.expression.alias(place))[place]
        except pl.exceptions.PolarsError as error:
            raise SourceError(f"rules.{place}: `{asked.text}` cannot be computed: {fault(error)}. Mend it in the config.") from None
        if found.dtype != pl.Boolean:
            raise SourceError(f"rules.{place}: `{asked.text}` is {found.dtype}, not true or false. Compare it with something.")
        return found.fill_null(False).to_numpy().astype(bool)

    def notes(self, k: int) -> Iterator[str]:
        """What can never come true on these items, in lists of k places, a sentence each."""
        yield from self._pin_notes(k)
        yield from self._value_notes(priced=True)
        if self.rules.mmr_lambda < 1 and (self.vectors is None or not self.vectors.any()):
            yield "rules.mmr_lambda: no item has a vector of its text, so nothing is alike and nothing is moved"

    def _value_notes(self, priced: bool) -> Iterator[str]:
        for place, met in self._of_items.items():
            if not met.any() and (priced or "price" not in self.conditions[place].item_columns):
                yield f"rules.{place}: no item meets it"
        for category in self.rules.bought_days_by_category:
            if category not in self.items["category"]:
                yield f"rules.bought_days_by_category: no item is of the category {category!r}"
        for column in self.rules.caps:
            if self.items[column].null_count() == self.items.height:
                yield f"rules.caps.{column}: no item has a {column}, so nothing is capped"

    def tried(self, users: pl.DataFrame, k: int) -> list[str]:
        """The notes that need neither texts nor the prices of events, once every condition was computed of every item and every user.

        Raises SourceError as `of` does.
        """
        n = max(self.items.height, users.height)
        user, item = (np.arange(n) % max(frame.height, 1) for frame in (users, self.items))
        for place, asked in self.conditions.items():
            if users.height or not asked.user_columns:
                self.holds(place, users, user, item)
        return [*self._pin_notes(k), *self._value_notes(priced=False)]

    def _pin_notes(self, k: int) -> Iterator[str]:
        for name, pin in self.rules.pins.items():
            place = f"rules.pins.{name}"
            if pin.rank > k:
                yield f"{place}: is at rank {pin.rank}, and the lists have {k} places: it is not placed"
            if not pin.item:
                continue
            if name not in self.pinned:
                is_known = pin.item in self.items["item_id"]
                why = "may not be shown at that moment (available_from, available_until)" if is_known else "is not among the items"
                yield f"{place}: item {pin.item!r} {why}: it is not placed"
                continue
            for rule in self.rules.eligible:
                met = self._of_items.get(f"eligible.{rule}")
                if met is not None and not met[self.pinned[name]]:
                    yield f"{place}: item {pin.item!r} does not meet rules.eligible.{rule}: it is not placed"
